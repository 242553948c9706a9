"""Find the secrets in a text: keys and tokens by their shape, values by the name before them.

Every search starts from a literal that is rare in other text, in one fast pass over the whole text. The text around it
is then matched with patterns of a bounded length, so the time is linear in the text. `named_values` checks the values
of names.
"""

from __future__ import annotations

import re

from localops.encoding.beginnings import behind, by_tail, is_dense
from localops.encoding.named_values import (
    AFTER,
    GAP,
    LONG_WORD,
    LONGEST,
    NO_VALUE_OF_ARGUMENT,
    PLACEHOLDER,
    SHORT_LOOK,
    Look,
    closing,
    looks_random,
    uncluttered,
)
from localops.encoding.urls import Later, oracle_password, url_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.encoding.named_values import Handler, Span


def spans(
    text: str,
    names: Callable[[str], str],
    own: re.Pattern[str] | None = None,
    zones: list[tuple[int, int]] | None = None,
) -> list[Span]:
    """Return the places of the secrets in a text, in no order, some perhaps inside others.

    `names` returns the label for a name, or an empty text if it is not a secret's name; `own` matches the ends of
    further names in the text in small letters. With `zones`, names and beginnings of keys are only looked for there.
    """
    if len(text) < 16 and text.isalnum():
        return []
    look = Look(text, names)
    zones = [(0, len(text))] if zones is None else zones
    look.search(text, _PASSES_OVER_TEXT, zones)
    look.search(look.low, _PASSES_OVER_LOW, zones)
    if own is not None:
        look.search(look.low, [("", own, _key), ("<", _ANY_ELEMENT, _element)], zones)
    return look.secrets


# The letters of an escaped sign, as in JSON or an address inside a text: what follows them begins a word.
_ESCAPES = r"(?<=\\[nrtbfvae0])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2})"
_ESCAPED = Later(rf"(?:{_ESCAPES})\Z")
_START = rf"(?:(?<![A-Za-z0-9])|{_ESCAPES})"
# A hyphen before a token is that of a line in a diff, and `_` around one that of Markdown.
_END = r"(?![_-]{0,3}[A-Za-z0-9])"


def _is_in_word(text: str, start: int) -> bool:
    """Return whether a beginning is inside of a word; a letter of bytes that are not text is no part of one."""
    before = text[max(0, start - 1) : start]
    return before.isalnum() and before.isascii() and _ESCAPED.search(text, start, start) is None


def _prefixed(look: Look, match: re.Match[str]) -> None:
    text, end = look.text, match.start() + 1
    if end <= look.past:
        return
    for beginning, label, rest, test in by_tail().get(text[end - 3 : end], ()):
        start = end - len(beginning)
        if start < 0 or not text.startswith(beginning, start) or _is_in_word(text, start):
            continue
        secret = rest.match(text, end, end + SHORT_LOOK)
        if secret is not None and test(secret[0]) and not (beginning == "sk-" and text.startswith(_NO_KEYS, end)):
            look.past = rest.match(text, end).end()
            look.add((start, look.past), label)


_NO_KEYS = ("ant-", "ecdsa-", "ssh-")


def _dotted(look: Look, match: re.Match[str]) -> None:
    _prefixed(look, match)
    text, end = look.text, match.end()
    rest = _DISCORD_REST.match(text, end)
    if rest is not None:
        before = _DISCORD_START.search(text, max(0, end - 30), end - 1)
        if before is not None:
            look.add((end - 1 - len(before[0]), rest.end()), "discord")
        return
    rest, start = _AIRTABLE_REST.match(text, end), end - 18
    if rest is None or start < 0 or _AIRTABLE_START.fullmatch(text, start, end - 1) is None:
        return
    if not _is_in_word(text, start):
        look.add((start, rest.end()), "airtable")


_DISCORD_START = Later(rf"{_START}[MNO][A-Za-z0-9_-]{{22,27}}\Z", re.ASCII)
_DISCORD_REST = Later(rf"[A-Za-z0-9_-]{{6}}\.[A-Za-z0-9_-]{{27,40}}{_END}")
_AIRTABLE_START = Later(r"pat[A-Za-z0-9]{14}")
_AIRTABLE_REST = Later(rf"[0-9a-f]{{64}}{_END}")


def _mailchimp(look: Look, match: re.Match[str]) -> None:
    start = match.start() - 32
    if start >= 0 and _HEX32.fullmatch(look.text, start, match.start()) and not _is_in_word(look.text, start):
        look.add((start, match.end()), "mailchimp")


_HEX32 = Later(r"[0-9a-f]{32}")


def _shaped(*shapes: tuple[str, str]) -> Handler:
    """Return a handler that tries patterns with their labels where the pass has stopped; a group marks the secret."""
    patterns = [(label, Later(pattern)) for label, pattern in shapes]

    def handle(look: Look, match: re.Match[str]) -> None:
        for label, pattern in patterns:
            secret = pattern.match(look.text, match.start())
            if secret is not None:
                look.add(secret.span(secret.lastindex or 0), label)

    return handle


def _aws(look: Look, match: re.Match[str]) -> None:
    """Find the id of a key, and the secret near it, which has no shape of its own."""
    text = look.text
    id = _AWS_ID.match(text, match.start())
    if id is None:
        return
    look.add(id.span(), "aws")
    for near in _AWS_SECRET.finditer(text, id.end(), id.end() + 200):
        if looks_random(near[0]):
            look.add(near.span(), "aws")
            return


_AWS_ID = Later(r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_AWS_SECRET = Later(rf"(?:(?<![A-Za-z0-9/+=])|{_ESCAPES})[A-Za-z0-9/+]{{40}}(?![_-]{{0,3}}[A-Za-z0-9/+])")


def _telegram(look: Look, match: re.Match[str]) -> None:
    text, at = look.text, match.start()
    rest = _TELEGRAM_REST.match(text, at)
    before = _TELEGRAM_BOT.search(text[max(0, at - 12) : at - 1])
    if rest is not None and before is not None:
        look.add((at - 1 - len(before[0]), rest.end()), "telegram")


_TELEGRAM_BOT = Later(r"(?<![0-9])[0-9]{5,11}\Z")
_TELEGRAM_REST = Later(rf"A[A-Za-z0-9_-]{{33,36}}{_END}")


def _square(look: Look, match: re.Match[str]) -> None:
    """Find a token that begins like the base64 of a small number, and changes between kinds of letters throughout."""
    token = _SQUARE.match(look.text, max(0, match.start() - 1))
    if token is not None and looks_random(token[0][4:]):
        look.add(token.span(), "square")
    page = _FACEBOOK.match(look.text, max(0, match.start() - 1))
    if page is not None:
        look.add(page.span(), "facebook")


_FACEBOOK = Later(rf"{_START}EAA[A-Z][A-Za-z0-9]{{90,}}+(?![_-]{{0,3}}[A-Za-z0-9+/=])")
_SQUARE = Later(rf"{_START}EAAA[A-Za-z0-9_-]{{40,60}}(?![_-]{{0,3}}[A-Za-z0-9+/=])")


def _hexadecimal(look: Look, match: re.Match[str]) -> None:
    """Find a private key of a wallet, which looks like the digest of a transaction, by the words before it."""
    start = match.start() - 1
    if _WALLET.search(look.low[max(0, start - 96) : start]):
        look.add((start, match.end()), "private_key")


_WALLET = Later(r"(?:priv(?:ate)?[ _-]?key|secret[ _-]?key|wallet key|signing[ _-]?key|\bpriv\b|\bpk\b)[^\n]{0,64}\Z")


def _bare_key(look: Look, match: re.Match[str]) -> None:
    """Find sixty-four hexadecimal digits behind the words for a private key."""
    secret = _HEX64.search(look.text, match.end(), match.end() + 100)
    if secret is not None:
        look.add(secret.span(), "private_key")


_HEX64 = Later(rf"{_START}(?:0x)?[0-9a-fA-F]{{64}}(?![0-9A-Za-z])")


def _tilde(look: Look, match: re.Match[str]) -> None:
    text, at = look.text, match.start()
    if text.startswith("Q", at - 1):
        start = at - 5
        secret = _AZURE.match(text, start) if start >= 0 else None
        if secret is not None and not _is_in_word(text, start):
            look.add(secret.span(), "azure")
    elif text.startswith("sha256", at - 6):
        secret = _OPENSHIFT.match(text, at)
        if secret is not None:
            look.add((at - 6, secret.end()), "openshift")


_AZURE = Later(rf"[A-Za-z0-9_~.]{{3}}[0-9]Q~[A-Za-z0-9_~.-]{{31,34}}(?!~){_END}")
_OPENSHIFT = Later(rf"~[A-Za-z0-9_-]{{43}}{_END}")


def _url(look: Look, match: re.Match[str]) -> None:
    """Find the password in a URL, or a token in place of a user."""
    text, at = look.text, match.end()
    password = url_password(text, look.low, match.start())
    if password is not None:
        look.add(password, "url")
    user = _URL_USER.match(text, at)
    if user is not None and (looks_random(user[1]) or _LONG_HEX.fullmatch(user[1])):
        look.add(user.span(1), "url")


def _oracle(look: Look, match: re.Match[str]) -> None:
    """Find the password in the address of an Oracle database, which has a form of its own."""
    password = oracle_password(look.text, match.end())
    if password is not None:
        look.add(password, "url")


_URL_USER = Later(r"(?!\[redacted:)([^\s:/@\"'\\?#]{16,256}+)(?::[\w-]{0,64})?@")
_LONG_HEX = Later(r"[0-9a-fA-F]{20,128}")


def _query(look: Look, match: re.Match[str]) -> None:
    """Find the value of `?key=`, `?code=` or a signature, if it looks like a key."""
    value = _QUERY_VALUE.match(look.text, match.end())
    if value is None:
        return
    before = look.low[max(0, match.start() - 4) : match.start()]
    name = "code" if before == "code" else "key" if before.endswith("key") else "signature"
    is_random = looks_random(value[0]) or _LONG_HEX.fullmatch(value[0]) is not None
    if name == "signature" or is_random or (name == "code" and _is_code(value[0])):
        look.add(value.span(), name)


def _is_code(text: str) -> bool:
    """Return whether it may be the code of an OAuth answer, not that of a currency, a shop or an error."""
    return len(text) >= 20 and is_dense(text)


_QUERY_VALUE = Later(r"[A-Za-z0-9%+/._~-]{16,2048}+={0,2}+")


def _scheme(look: Look, match: re.Match[str]) -> None:
    credential = _CREDENTIAL.match(look.text, match.end())
    if credential is None:
        return
    label = match[0].strip()
    if label == "bearer" or _is_pair(credential[1]):
        look.add(credential.span(1), label)


def _is_pair(text: str) -> bool:
    """Return whether a text is the base64 of a user and a password, or too long for a word."""
    from binascii import Error, a2b_base64

    try:
        plain = a2b_base64(text[: len(text.rstrip("=")) // 4 * 4])
    except Error:
        return False
    return b":" in plain and plain[: plain.find(b":")].isascii()


_CREDENTIAL = Later(r"\s{0,8}+((?=[A-Za-z._~+/-]{0,64}(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9._~+/-]{8,}+={0,2}+)")


def _key(look: Look, match: re.Match[str]) -> None:
    end = match.end()
    if look.text[end : end + 1] != "=" or NO_VALUE_OF_ARGUMENT.match(look.text, end + 1) is None:
        look.assignment(end)


def _refusal(look: Look, match: re.Match[str]) -> None:
    look.refusal(match.end())


def _password(look: Look, match: re.Match[str]) -> None:
    text, start, end = look.text, match.start(), match.end()
    # Elsewhere it may be that in the address of a database, which begins with any sign.
    is_argument = text[start - 1 : start] == "(" or text[start - 2 : start] == ", "
    if not is_argument or text[end : end + 1] != "=" or NO_VALUE_OF_ARGUMENT.match(text, end + 1) is None:
        look.assignment(end)


def _spoken_of(look: Look, match: re.Match[str]) -> None:
    """Find the password in "the password for the test server is …"."""
    look.spoken(match.end(), match.end("spoken"))


def _sql(look: Look, match: re.Match[str]) -> None:
    statement = _SQL_VALUE.match(look.text, match.end())
    if statement is not None and _SQL.search(look.low, max(0, match.start() - 256), match.start()):
        look.take(statement.start(1), statement.end(1), "password")


def _netrc(look: Look, match: re.Match[str]) -> None:
    look.add(match.span(1), "password")


_REST_OF_NAME = r"ass(?:[ _.-]?(?:words?|wort|wd|phrases?))?+|wd"
_SPOKEN_OF = r" (?:for|of|to) (?:[\w.@'/-]{1,32} ){1,5}(?:is|was)(?::|(?= ))"
_SQL = Later(r"\b(?:(?:alter|create) (?:user|role|login)\b[^;\n]{1,200} |set )\Z")
_SQL_VALUE = Later(r"[ ]{1,8}(?:(?i:for) [^=;\n]{1,128}=[ ]{0,8}|=[ ]{0,8})?+'([^'\s\\]{1,256})'")


def _authorization(look: Look, match: re.Match[str]) -> None:
    credential = _SCHEMED.match(look.text, match.end()) if match[0].endswith("ization") else None
    if credential is not None:
        look.add(credential.span("credential"), "authorization")
    look.assignment(match.end())


_SCHEMED = Later(
    r"""(?x) (?:\\{0,63}["'])?+ [ ]{0,8}+ [:=] \s{0,8}+ (?:\\{0,63}["'])?+ (?:[A-Za-z][A-Za-z0-9-]{1,31}+[ ]{1,4}+)?+
    (?!\[redacted:) (?P<credential>(?=[^\s"'\\,;]{0,64}?[0-9]) [^\s"'\\,;()\[\]]{4,4096}+) (?![(\[])"""
)


def _option(look: Look, match: re.Match[str]) -> None:
    """Find the word behind `--password` and similar options, but not a placeholder in a usage text."""
    text, end = look.text, match.start()
    option = _OPTION.match(text, end)
    if option is None:
        return
    label = look.names(option["name"])
    if not label:
        return
    start = option.end()
    quote = option["quote"] or option["item"]
    if not quote and _DESCRIBED.match(text, option.end("name")) and _IN_HELP.search(text, max(0, end - 80), end):
        return
    stop = closing(text, start, quote) if quote else -1
    if stop < 0:
        stop = start + len(uncluttered(text[start : look.end_of_word(start, LONG_WORD)]))
    # In a program, the name of the option may be repeated as that of a parameter.
    is_name = option["item"] is not None and text[start:stop].replace("_", "-") == option["name"]
    if not is_name and not _USAGE.match(text[start:stop]):
        look.take(start, stop, label)


# The line of a help text: `  -p, --password string   Password or …`, `--password   the password to use`.
_IN_HELP = Later(r"(?:\A|\n|\\n)[ \t]{0,64}(?:-[A-Za-z0-9],[ ]{1,4})?\Z")
_DESCRIBED = Later(r"[ ][A-Za-z]{1,32}[ ]{2,64}[A-Z(]|[ ]{2,64}[A-Za-z]{1,32}[ ][a-z(]")
# In a list of arguments, as JSON or Python write it.
_NEXT_ITEM = rf"\\{{0,63}}[\"'],{GAP}(?P<item>\\{{0,63}}[\"'])"
_OPTION = Later(rf"--(?P<name>[A-Za-z_.-]{{1,64}}+)(?:[ ]{{1,8}}+(?P<quote>\\{{0,63}}[\"'])?+|{_NEXT_ITEM})(?!-)")
_USAGE = Later(r"[A-Z_]+\Z|[({\[=;,$`][\w ]{0,64}[)}\]]?\Z|\$\(|\$[A-Za-z_]\w*\Z")


def _short_option(look: Look, match: re.Match[str]) -> None:
    """Find the password of `mysql -pX`, `sshpass -p X` and `redis-cli -a X`."""
    text, at = look.text, match.start()
    before = look.low[max(0, at - 200) : at]
    value = _SHORT_VALUE.match(text, at) if any(command in before for command in _COMMANDS_WITH_SHORT) else None
    if value is None:
        return
    before = _BETWEEN_ITEMS.sub(" ", before) + value[1]
    if _SHORT_COMMANDS.search(before + " " if value["blank"] or value["item"] else before) is None:
        return
    start = value.end()
    quote = value["quote"] or value["item"]
    # An option with its value may be an item.
    quote = quote or (text[at - 1] if text[at - 1] in "\"'" else "")
    stop = closing(text, start, quote) if quote else -1
    if stop < 0:
        stop = look.end_of_word(start, LONG_WORD)
    if not _USAGE.match(text[start:stop]):
        look.take(start, stop, "password")


_SHORT_VALUE = Later(rf"(-[pa])(?:{_NEXT_ITEM}|(?P<blank>[ ]{{1,8}})?(?P<quote>\\{{0,63}}[\"'])?)(?!-)")
_BETWEEN_ITEMS = Later(rf"\\{{0,63}}[\"'],{GAP}\\{{0,63}}[\"']")
_COMMANDS_WITH_SHORT = ("mysql", "mariadb", "7z", "sshpass", "redis-cli", "login", "mongo")
_SHORT_COMMANDS = Later(
    rf"{_START}(?:(?:mysql|mysqldump|mysqladmin|mysqlimport|mariadb|mariadb-dump|7z)\b[^\n|;&]{{0,160}}[ ]-p"
    r"|sshpass[ ]-p[ ]?|redis-cli\b[^\n|;&]{0,160}[ ]-a[ ]"
    r"|\b(?:(?:docker|podman|helm registry|az)[ ]login|mongo|mongosh|mongodump|mongorestore)\b"
    r"[^\n|;&]{0,160}[ ]-p[ ])\Z",
    re.ASCII,
)


def _user(look: Look, match: re.Match[str]) -> None:
    """Find the password in `-u user:password` of curl; `-u 1000:1000` is a user and a group."""
    password = _USER.match(look.text, match.start())
    if password is not None and not password["password"].isdigit():
        start, stop = password.span("password")
        look.take(start, stop, "password", perhaps_path=False)


_USER = Later(
    rf"""(?x) (?:-[uU]|--(?:proxy-)?user) (?: [ =]{{1,8}}+ ["']?+ | {_NEXT_ITEM} )
    [^\s:"'\\]{{1,128}}+ (?<!\[redacted) : (?!\[redacted:) (?P<password>[^\s"'\\]{{1,256}}+)"""
)


def _long_option(look: Look, match: re.Match[str]) -> None:
    _option(look, match)
    _user(look, match)


def argument(before: str, text: str) -> int | None:
    """Return where the secret begins in an argument of a command, or None; `before` are those before it.

    >>> argument(" curl -u", "ada:hunter22"), argument(" mysql", "-phunter22"), argument(" grep", "-p")
    (4, 2, None)
    """
    at = -1
    if before.endswith(_USER_OPTIONS):
        at = text.find(":") + 1 or -1
        if text[at:].isdigit():
            return None
    elif before.endswith((" -p", " -a")):
        at = 0 if _SHORT_COMMANDS.search(before.lower() + " ") else -1
    elif text.startswith("-p"):
        at = 2 if _SHORT_COMMANDS.search(before.lower() + " -p") else -1
    secret = text[at:] if at >= 0 else ""
    return at if secret and not _USAGE.match(secret) and not PLACEHOLDER.match(secret) else None


_USER_OPTIONS = (" -u", " -U", " --user", " --proxy-user")


def _element(look: Look, match: re.Match[str]) -> None:
    """Find the text of an XML element with a secret's name."""
    text, end = look.text, match.start()
    label = look.names(match[1] if look.low is text else text[match.start(1) : match.end(1)])
    if not label:
        return
    start = max(text.rfind(">", max(0, end - LONGEST), end), -1) + 1
    if text.endswith("]]>", 0, start):
        end = start - 3
        start = text.rfind("<![CDATA[", max(0, end - LONGEST), end) + 9
    if start < 9 and not text.startswith((">", "<"), max(0, start - 1)):
        return
    value = text[start:end]
    blank = len(value) - len(value.lstrip())
    if "<" not in value:
        look.take(start + blank, end, label)


def _webhook(look: Look, match: re.Match[str]) -> None:
    secret = _WEBHOOK.match(look.text, match.start() - 3)
    if secret is not None:
        look.add(secret.span(1), "webhook")


# The last letters of the names of secrets.
_NAME_ENDS = "rd|ds|rt|wd|se|ey|ys|ss|al|ls|et|ts|ie|es|ta|ic|en|th|on"
_ANY_ELEMENT = Later(r"<\\{0,63}/([\w:.-]{1,128}+)\s{0,8}>")


_WEBHOOK = Later(
    r"(?i)hooks(?:\.slack\.com/(?:services|workflows|triggers)/|/[0-9]{15,22}/|\.zapier\.com/hooks/catch/)"
    r"([A-Za-z0-9_+/-]{20,128})"
)


def _phrase(look: Look, match: re.Match[str]) -> None:
    """Find the words of a wallet behind their name."""
    words = _SEED.match(look.text, match.end())
    if words is not None:
        look.add(words.span(1), "mnemonic")


_SEED = Later(
    r"[^a-z\n]{0,24}(?:(?:is|words|are|was|of|my|the|for|your|wallet)\b[^a-z]{1,8}){0,4}(?:\\n|\s){0,4}"
    r"((?:[a-z]{3,8}(?:,? |, ?|\n|\\n)){11,23}[a-z]{3,8})(?![a-z0-9])"
)


def _private_key(look: Look, match: re.Match[str]) -> None:
    """Find a PEM private key: its end is searched for, as one pattern for the whole would be quadratic."""
    text = look.text
    if look.secrets and look.secrets[-1][1] > match.start() and look.secrets[-1][2] == "private_key":
        return
    end = text.find("-----END", match.end())
    close = text.find("-----", end + 5, end + 64) if end >= 0 else -1
    look.add((match.start(), close + 5 if close >= 0 else len(text)), "private_key")


def _hyphen(look: Look, match: re.Match[str]) -> None:
    _prefixed(look, match)
    if match.lastgroup is not None:
        _HYPHENS[match.lastgroup](look, match)


_HYPHENS: dict[str, Handler] = {
    "pem": _private_key,
    "long": _long_option,
    "user": _user,
    "short": _short_option,
    "us": _mailchimp,
}


def _capital_a(look: Look, match: re.Match[str]) -> None:
    _CAPITAL_A(look, match)
    _aws(look, match)
    _telegram(look, match)
    _square(look, match)


_CAPITAL_A = _shaped(
    ("google", rf"{_START}AIza[A-Za-z0-9_-]{{30,}}+"),
    ("atlassian", rf"{_START}AT[AC]TT3[A-Za-z0-9_=.-]{{50,}}+"),
    ("bitbucket", rf"{_START}ATBB[A-Za-z0-9_=.-]{{28,}}+"),
    ("aws", rf"{_START}ABSK[A-Za-z0-9+/]{{100,}}+={{0,2}}+"),
    ("artifactory", rf"{_START}AKCp[A-Za-z0-9]{{60,}}+"),
    ("datastax", rf"{_START}AstraCS:[A-Za-z0-9:]{{20,}}+"),
)
_TWILIO = _shaped(("twilio", rf"{_START}SK[0-9a-fA-F]{{32}}(?![A-Za-z0-9])"))


def _capital_j(look: Look, match: re.Match[str]) -> None:
    """Find a JSON web token, or a PEM private key in base64."""
    text, at = look.text, match.start()
    if at < look.past:
        return
    for before, label, pattern in _CAPITAL_J:
        secret = pattern.match(text, max(0, at - before))
        if secret is not None:
            look.add(secret.span(), label)
    # What begins later in this word ends where it does.
    word = _JWT_WORD.match(text, max(0, at - 2))
    if word is not None:
        look.past = word.end()


_JWT_WORD = Later(rf"{_START}eyJ[A-Za-z0-9_-]*+")
_CAPITAL_J = [
    (2, "grafana", Later(rf"{_START}eyJrIjoi[A-Za-z0-9+/]{{60,}}+={{0,2}}+")),
    (2, "jwt", Later(rf"{_START}eyJ[A-Za-z0-9_-]{{6,}}+(?:\.[A-Za-z0-9_-]{{6,}}+){{2}}")),
    (
        11,
        "private_key",
        Later(r"LS0tLS1CRUdJTiB(?:QUklWQV|QR1AgUFJJVk|SU0Eg|FQyBQ|PUEVOU1|FTkNS|EU0Eg)[A-Za-z0-9+/]{16,}+={0,2}+"),
    ),
]


def _letter_k(look: Look, match: re.Match[str]) -> None:
    _LETTER_K[match.lastgroup](look, match)


_LETTER_K: dict[str | None, Handler] = {
    None: _key,
    "hook": _webhook,
    "refusal": _refusal,
}


def _databricks(look: Look, match: re.Match[str]) -> None:
    look.add((match.start() - 2, match.end()), "databricks")


def _letter_p(look: Look, match: re.Match[str]) -> None:
    _LETTER_P[match.lastgroup](look, match)


_LETTER_P: dict[str | None, Handler] = {
    None: _password,
    "spoken": _spoken_of,
    "sql": _sql,
    "phrase": _phrase,
    "private": _bare_key,
    "dapi": _databricks,
}


# For each pass: the literal that must be in the text, the pattern where it stops, and the handler of the place. Each
# pattern begins with a rare character, which makes a search fast. These go over the text as it is.
_PASSES_OVER_TEXT: list[tuple[str, Any, Handler]] = [
    ("_", Later(lambda: rf"_{behind('_')}(?=[\w+/=.-]{{10}})"), _prefixed),
    (
        "-",
        Later(
            lambda: (
                r"-(?:(?P<long>(?=-[A-Za-z][A-Za-z_.-]{0,63}+[ =\\\"']))|(?P<us>us[0-9]{1,2}(?![_-]{0,3}[0-9A-Za-z]))"
                r"|(?P<short>(?<=[\s\"']-)(?=[pa](?:[^\s-]|[ ]{1,8}[^\s-])))"
                r"|(?P<pem>----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)|(?P<user>(?<![\w-]-)(?=[uU][ =\\\"']))"
                rf"|{behind('-')}(?=[\w.+/=-]{{10}}))"
            )
        ),
        _hyphen,
    ),
    (
        ".",
        Later(
            lambda: (
                rf"\.(?:{behind('.')}(?=[A-Za-z0-9_-]{{16}})|(?=[A-Za-z0-9_-]{{6}}\.[A-Za-z0-9_-]{{27}})"
                r"|(?<=pat[A-Za-z0-9]{14}\.)(?=[0-9a-f]{64}))"
            )
        ),
        _dotted,
    ),
    ("A", Later(r"A(?=[KSB]IA|CCA|Iza|T[AC]TT3|TBB|BSK|KCp|straCS:|A[A-Za-z0-9_-]{32})"), _capital_a),
    ("S", Later(r"S(?=K[0-9a-fA-F]{32})"), _TWILIO),
    ("J", Later(r"J(?:(?<=eyJ)|(?<=CRUdJ)(?=Ti))"), _capital_j),
    ("~", Later(r"~(?=[A-Za-z0-9_~.-]{31})"), _tilde),
    ("x", Later(r"x(?<=0x)[0-9a-fA-F]{64}(?![0-9A-Za-z])"), _hexadecimal),
    ("@", Later(r":(?=//)//"), _url),
    (
        "login",
        Later(
            rf"l(?:(?<=\sl)|(?<=\\nl))ogin\s{{1,8}}\S{{1,128}}?(?:\s{{1,8}}|\\n)(?i:p(?:{_REST_OF_NAME}))"
            r"[ \t]{1,8}(?!\[redacted:)([^\s\"'\\]{1,256})"
        ),
        _netrc,
    ),
]
# And these over the text in small letters.
_PASSES_OVER_LOW: list[tuple[str, Any, Handler]] = [
    (
        "k",
        Later(
            rf"k(?:(?:(?<=[a-z0-9 _.-]k)ey(?:s|[ _.-]data)?|en|ies?){AFTER}|(?P<hook>s(?<=hooks)(?=[./]))"
            r"|(?P<refusal>e[yn](?= provided ?:| [^ ]{6,512} is (?:not valid|invalid|incorrect))))"
        ),
        _letter_k,
    ),
    (
        "p",
        Later(
            rf"p(?:(?:{_REST_OF_NAME})(?:{AFTER}|(?<!pass)(?=(?P<spoken>{_SPOKEN_OF}))"
            r"|(?P<sql>(?<=password)(?=[ ]{1,8}(?:for [^=;\n]{1,128}=[ ]{0,8}|=[ ]{0,8})?+')))"
            r"|(?P<phrase>hrase(?=s?[^\n].{30}))|(?P<dapi>i(?<=dapi)[0-9a-f]{32}(?:-[0-9])?(?![0-9a-z]))"
            r"|(?P<private>rivate[ _-]?key(?=[^\n]{64})))"
        ),
        _letter_p,
    ),
    ("c", Later(rf"c(?=re)re(?:ts?|dentials?){AFTER}"), _key),
    ("u", Later(rf"u(?=th)th(?:orization)?{AFTER}"), _authorization),
    ("m", Later(r"mnemonic(?=.{30})"), _phrase),
    ("jdbc:oracle:", Later(r"jdbc:oracle:[a-z0-9]{1,8}:"), _oracle),
    ("b", Later(r"b(?=earer |asic )(?:earer|asic) "), _scheme),
    (
        "=",
        Later(r"=(?<=[gey]=)(?:(?<=[?&;6]sig=)|(?<=[?&;]code=)|(?<=[?&;]key=)|(?<=[-?&;6]signature=))"),
        _query,
    ),
    ("<", Later(rf"<\\{{0,63}}/([\w:.-]{{1,128}}+)(?<={_NAME_ENDS})\s{{0,8}}>"), _element),
]
