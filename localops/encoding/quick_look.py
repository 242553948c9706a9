"""The fast check of a whole JSON text for secrets: nearly every event passes it, and is not searched further.

Each pattern begins with a rare character, which makes the search fast; one alternation of all would take five times as
long. They search a text in lower case, with `_` for `-` and `.`, and `~` for `%`, which saves three searches. Between a
name and its value, quotes are allowed, also those of JSON in JSON and of HTML, and the escapes that `escapes` undoes. A
name may also be the value of an attribute, an entry of a list of variables, or an item of a list, with its value beside
it.
"""

from __future__ import annotations

import re

from localops.encoding import beginnings, escapes
from localops.encoding.urls import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def looks_secret(body: bytes) -> object:
    """Return whether a JSON text may contain a secret by shape or by name; False is always right, True may be wrong."""
    plain = body.translate(_PLAIN)
    return (
        _k(plain)
        or _p(plain)
        # `rfind` of a few letters takes a third of the time of a pattern.
        or (plain.rfind(b"cre") >= 0 and _c(plain))
        or (plain.rfind(b"uth") >= 0 and _u(plain))
        or ((plain.rfind(b"earer") >= 0 or plain.rfind(b"asic") >= 0) and _b(plain))
        or ((match := _underscore(plain)) and _begins_token(body, plain, match))
        or plain.rfind(b"mnemonic") >= 0
        # Searching for a byte as a number is twenty times as fast, and most of these are rare.
        or (_A_SIGN in body and _capital_a(body))
        or (_J_SIGN in body and (body.rfind(b"eyJ") >= 0 or body.rfind(b"CRUdJTi") >= 0))
        or (_AT_SIGN in body and _address.search(plain))
        or (_LESS_SIGN in plain and _element.search(plain))
        or (_EQUALS_SIGN in plain and _equals.search(plain))
        or (_TILDE_SIGN in plain and (_TILDE_SIGN in body or plain.rfind(b"2f~2") >= 0) and _odd_tilde(body, plain))
    )


_PLAIN = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-.%", b"abcdefghijklmnopqrstuvwxyz__~")
_THEN = (
    r"""(?:[\\"'`*]*(?:u002[27]|&[a-z0-9#]{2,5};)?\]? *[=:]| (?:is|was)[ :]"""
    r"""|(?:\\{0,63}["'`]|&[a-z0-9#]{2,5};)(?:[\\, ].{0,120}?value| ?(?:[^<>]{0,120}?=[^<>]{0,120}?)?/?(?:>|&gt;))"""
    r"""|\\+[nr][\\nrt "']{0,64}value|\\{0,63}["'] ?(?:[],)\r]|\\{1,8}[nr])|[*_`]{0,3} {0,32}\|"""
    rf"""|(?:\\{{0,63}}["'`*_])?(?:{escapes.COLOUR}){{1,16}}(?:\\{{0,63}}["'`*_])? *[=:|]"""
    r"""|\\{1,8}(?!u001b|x1b|0?33|e)[ux0-7]|~[0-9a-f]{2}|&[a-z#])"""
)


def _search(
    name: str, pattern: str, *words: bytes, unless: Callable[[bytes], bool] = lambda _: False
) -> Callable[..., re.Match[bytes] | None]:
    """Return a search that first looks for words, as each text that matches the pattern contains one of them.

    Compiling the patterns takes longer than everything else at the start of a program, and a short program never needs
    most of them. When a text contains a word or is long, and after some texts, the pattern is compiled, and its search
    replaces the global `name`. A text for which `unless` returns True may match without a word.
    """
    texts = iter(range(_FEW_TEXTS))

    def search(plain: bytes) -> re.Match[bytes] | None:
        is_short = len(plain) < _LONG_TEXT and next(texts, None) is not None
        if is_short and not any(word in plain for word in words) and not unless(plain):
            return None
        compiled = re.compile(_fill_in(pattern)).search
        globals()[name] = compiled
        return compiled(plain)

    return search


def _fill_in(pattern: str) -> bytes:
    filled = pattern.replace("THEN", _THEN).replace("(?<=PREFIX)", beginnings.behind_prefixes())
    return filled.replace("COLOUR", escapes.COLOUR).encode("latin-1")


def _has_long_tail(plain: bytes) -> bool:
    """Return whether 20 characters of a token follow an underscore, except in a UUID."""
    runs = [run for run in plain.translate(_RUNS).split() if b"_" in run and len(run) - run.find(b"_") > 20]
    return any(len(run) != 36 or run[8:24:5] != b"____" or run.translate(None, _HEX) for run in runs)


def _has_coloured_prefix(plain: bytes) -> bool:
    return b"[" in plain and re.search(rb"_(?:\\|\x1b)", plain) is not None


_TOKENS = b"abcdefghijklmnopqrstuvwxyz0123456789_+/"
_HEX = b"0123456789abcdef_"
_RUNS = bytes(sign if sign in _TOKENS else 32 for sign in range(256))
_FEW_TEXTS, _LONG_TEXT = 64, 50_000
_k = _search(
    "_k",
    r"k(?:e(?:y(?<=[a-z0-9 _?&;]key)(?:s|[ _]data)?|n)THEN|ey(?:_[0-9a-f]{32}|_____| block_____|(?<=private.key)"
    r"|(?<=secret.key)|(?<=signing.key))|e[yn] (?:provided ?:|[^ ]{6,512} is (?:not valid|invalid|incorrect))"
    r"|er login|ies?THEN|s[_/](?<=hooks[_/])|_(?:live_|test_|prod_)"
    r"|[0-9a-f]{32}(?<=sk.{32}))",
    *b"key ken kie hooks_ hooks/ k_live_ k_test_ k_prod_".split(),
    b"ker login",
    *(b"sk%x" % digit for digit in range(16)),
)
_p = _search(
    "_p",
    r"p(?:ass(?:[ _]?(?:w|phrase)|THEN| _p)|wdTHEN|hrase(?:(?<=(?:seed|very|cret|ckup).phrase)|(?<=seedphrase))"
    r"|i[0-9a-f]{32}(?<=dapi[0-9a-f]{32}))",
    *b"pass pwd phrase dapi".split(),
)
_c = _search("_c", r"cre(?:ts?|dentials?)THEN", b"cret", b"credential")
_u = _search("_u", r"u(?=th)th(?:orization)?THEN", b"uth")
_b = _search("_b", r"b(?=e|a)(?:earer|asic)(?:[ ~]|COLOUR)", b"bearer", b"basic")
_underscore = _search(
    "_underscore",
    r"_(?:_(?=[a-z])(?=[a-z_]{0,64}?(?:pass|pwd|token|secret|key|auth|cookie|credential|user|phrase))"
    r"|u(?:(?=[ =\\\"'])|s[0-9])|p(?:[^ \\\"_](?:(?<=[ \"']_p.)|(?<=\\[nrt]_p.))| (?=[^ ]{1,64} )(?<= _p )"
    r"|(?=\\{0,8}[\"'])(?<=[\"']_p))|a(?: (?<= _a )|(?=\\{0,8}[\"'])(?<=[\"']_a))"
    # The prefix of a token in a colour of its own, as `grep` shows what it has looked for.
    r"|\\\\{0,7}(?:u001b|x1b|0?33|e)\[|\x1b\["
    # A long run of letters and digits behind a prefix, or behind the first part of a token of Discord or Airtable.
    r"|(?=[a-z0-9_+/]{20}(?<!_[0-9a-f]{4}_[0-9a-f]{4}_.{10})(?<!_[0-9a-f]{4}_[0-9a-f]{12}.{3}))"
    r"(?:(?<=PREFIX)|(?=[a-z0-9_]{6}_[a-z0-9_]{27})|(?<=pat[a-z0-9]{14}_)(?=[0-9a-f]{64}))())",
    b"__",
    *(b"_u" + sign for sign in (b" ", b"=", b"\\", b'"', b"'", b"s")),
    *b"n_p r_p t_p \"_p '_p \"_a '_a".split(),
    *(b" _p", b" _a "),
    unless=lambda plain: _has_long_tail(plain) or _has_coloured_prefix(plain),
)
_capital_a = _search(
    "_capital_a",
    r"A(?:[KSB]IA|CCA|Iza|T[AC]TT3|TBB|BSK|KCp|straCS:|A[A-Za-z0-9_-]{32})",
    *b"AKIA ASIA ABIA ACCA AIza ATATT3 ATCTT3 ATBB ABSK AKCp AstraCS AA".split(),
)
# These are compiled when they are first used, as their first characters are rare.
_equals = Later(rb"=(?<=[gey]=)(?:(?<=[?&;6]sig=)|(?<=[?&;]code=)|(?<=[_?&;6]signature=))")
# Each secret's name contains one of these.
_WORDS = "pass pwd key token secret cookie auth credential mnemonic phrase".split()
_element = Later(rb"<\\*/[^<>]{0,128}(?:" + "|".join(_WORDS).encode() + rb")")
_tilde = Later(rb"~(?:(?<=Q~)|(?<=sha256~))")
_encoded_at = Later(rb"~(?:25){0,4}40")
_address = Later(rb":(?://|\\+(?:/|u002f)|&[a-z#]|(?<=jdbc:)oracle:)")
_escape = Later(
    rf"(?:{escapes.COLOUR}|\\(?:[a-z]|u[0-9a-f]{{4}}|[0-7]{{1,3}}|x..|u.{{8}})|~(?:25){{0,4}}(?:..|1b~(?:25){{0,4}}5b[^a-z]{{0,16}}[a-z])|=..)\Z".encode(
        "latin-1"
    )
)
_AT_SIGN, _A_SIGN, _J_SIGN, _LESS_SIGN, _EQUALS_SIGN, _TILDE_SIGN, _HYPHEN, _DOT = b"@AJ<=~-."


def _begins_token(body: bytes, plain: bytes, match: re.Match[bytes] | None) -> bool:
    """Return whether this or a later match is an option or a token, not just a long run of letters and digits."""
    while match is not None:
        at = match.start() + 1
        # Only a long run has the group. Other matches are options, if the character is a hyphen, or a coloured prefix.
        if match[1] is None and body[at - 1] == _HYPHEN and not match[0].endswith(b"["):
            return True
        if match[1] is not None and _is_second_part(body, at):
            return True
        if (match[1] is not None or match[0].endswith(b"[")) and _ends_prefix(plain, at):
            return True
        match = _underscore(plain, at)
    return False


def _is_second_part(body: bytes, at: int) -> bool:
    """Return whether the second part of a token of Discord or Airtable may begin at `at`."""
    return body[at - 1] == _DOT and (body[at + 6 : at + 7] == b"." or body[at - 18 : at - 15] == b"pat")


def _ends_prefix(plain: bytes, at: int) -> bool:
    """Return whether a prefix of a token ends at `at` and does not begin inside a word: `sg_`, but not `msg_`."""
    prefixes = beginnings.prefixes()
    for prefix in prefixes.get(plain[at - 3 : at], ()):
        begin = at - len(prefix)
        if begin >= 0 and plain.startswith(prefix, begin) and not _continues_word(plain, begin):
            return True
    return False


def _continues_word(plain: bytes, at: int) -> bool:
    """Return whether the character before `at` in a JSON text is a letter or digit, and not part of an escape."""
    return plain[max(0, at - 1) : at].isalnum() and _escape.search(plain[max(0, at - 48) : at]) is None


def _odd_tilde(body: bytes, plain: bytes) -> object:
    """Return whether a tilde is part of a token, or stands for `%` in a URL with `%2F%2F` and `%40`."""
    return _tilde.search(body) or _encoded_at.search(plain)
