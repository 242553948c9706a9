"""Find secrets by the names before them: `password=…`, `"api_key": "…"`, a list of variables, a table.

`NAME` is the pattern of a secret's name. `shapes` finds such names, and keys and tokens with a shape of their own;
`Look`, a search through one text, checks the values after the names.
"""

from __future__ import annotations

import re

from localops.encoding.urls import Later, url_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[["Look", re.Match[str]], None]

Span = tuple[int, int, str]
"""The start, the end and the label of a secret."""

SOME_KEY = "key"
"""The label of a name like `cache_key`: under it, only a value that looks random is a secret."""

# Only whole words: a "token" is a secret, but every LLM call has "prompt_tokens" and "tokenizer". "PWD" alone is the
# working directory of a shell, and "pass" or "key" alone may mean anything.
_KEYS = (
    "api secret access private signing encryption account master service auth client deploy license subscription"
    " webhook ssh openai anthropic azure google gemini groq mistral cohere deepseek xai together replicate openrouter"
    " huggingface hf perplexity tavily pinecone aws gcp github gitlab slack stripe sendgrid twilio"
)
_PASSES = "db database user smtp imap mail email ftp ldap http proxy login admin root mysql postgres pg redis mongo"
# Words before `token` for special tokens of a tokenizer, and the first token of an answer.
_PIECES = "first eos bos pad unk sep cls mask eot eod eom bot stop image audio video special decoded"
# Words before `token` for the place in a list where the next request continues.
_PLACES = "page next continuation sync cursor pagination resumption delta"
_PIECES += "".join(f" {place} {place.title()}" for place in _PLACES.split())
_NO_PLACE = "".join(f"(?<!(?i:{place}))" for place in _PLACES.split())
NAME = (
    rf"(?i:pass[ _.-]?(?:words?|wort|wd|phrase)|(?:{_KEYS.replace(' ', '|')})[ _.-]?keys?"
    rf"|(?:{_PASSES.replace(' ', '|')})[ _.-]?pass|authorization|credentials?|key[ _.-]data|mnemonic"
    r"|(?:seed|recovery)[ _.-]?phrase)"
    rf"|(?<![A-Za-z]){''.join(rf'(?<!{piece}[ _.-])' for piece in _PIECES.split())}(?i:token)"
    r"|(?<![A-Za-z])(?i:secrets?|cookies?|auth)"
    rf"|(?<=[a-z]){_NO_PLACE}Token|(?<=[a-z])(?:Secrets?|Cookies?|Auth)"
    r"|(?<![A-Za-z])pwd|(?<=[a-z])Pwd|(?<=[A-Za-z][_.-])(?i:pwd)"
)
"""The pattern of the last words in the name of a secret."""


def looks_random(text: str) -> bool:
    """Return whether a text alternates between small letters, capitals and digits more often than names do."""
    if not 16 <= len(text) <= 512 or _RANDOM.fullmatch(text) is None or _UUID.fullmatch(text):
        return False
    kinds = ["0" if sign.isdigit() else "A" if sign.isupper() else "a" for sign in text if sign.isalnum()]
    changes = sum(kinds[at] != kinds[at - 1] for at in range(1, len(kinds)))
    return 3 * changes >= len(kinds)


def is_value_of_pair(text: str) -> bool:
    """Return whether the text after a secret's name in a pair is a secret, not an option or the name of a type."""
    return len(text) > 1 and not text.startswith("--") and _WORDS.match(text) is None


def hides(label: str, text: str | None) -> bool:
    """Return whether a value under a label is a secret; `text` is None for a value that is not a text.

    `pwd` may be the working directory, credentials and keys may be the path of a file, and the value of any other key
    must look random.
    """
    if label == SOME_KEY:
        # A tenth of hexadecimal ids alternates too rarely, so without this rule, some ids of a run would stay.
        return text is not None and (looks_random(text) or _HEX_ID.fullmatch(text) is not None)
    if text is not None and (text.startswith(("/", "~", ".")) or text[1:3] in (":\\", ":/")):
        return not (label == "pwd" or (label in _FILES and _PATH.fullmatch(text)))
    return text != "" and (text is None or text.lower() not in _NO_SECRETS.get(label, ()))


# The mode of a request in a browser, and names of methods of authentication.
_NO_SECRETS = {
    "credentials": frozenset(("include", "omit", "same-origin")),
    "auth": frozenset(
        "basic bearer digest ntlm kerberos negotiate oauth oauth1 oauth2 oidc saml ldap jwt mtls".split()
    ),
}
_FILES = frozenset("credentials credential key private_key ssh_key secret token client_key service_key".split())
_PATH = Later(r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[\\/]+[\w.@ -]{1,64}){1,16}")
_RANDOM = Later(r"[A-Za-z0-9_+/-]+={0,2}", re.ASCII)
_HEX_ID = Later(r"(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])(?:[0-9a-f]{16,512}|[0-9A-F]{16,512})")
_UUID = Later(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


# Characters that a search can see after the end of its zone.
_SEEN = 640


_QUOTE_SIGN = r"""\\{0,63}+["'`]|&(?:quot|apos|\#0?3[49]|\#x2[27]);|\\{1,63}+u002[27]"""
# The text between a name and its value: the quote that ends the name, which may be escaped as in JSON inside a text or
# in HTML, and a sign or a verb.
_SEPARATOR = Later(
    rf"""(?x) (?:{_QUOTE_SIGN}|\*{{1,2}}|_{{1,2}})?+ \]? [ \t]{{0,8}}+
    (?: (?P<sign>=>|:=|={{1,3}}+|:)(?:\*\*)? | (?<=[ ])(?P<verb>is|was)(?::|(?=[ ])) )"""
)
AFTER = (
    r"""(?=(?:\\{0,63}+["'`]|&[a-z0-9#]{2,5};|\\{1,63}+u002[27]|\*{1,2}|_{1,2})?+\]?[ \t]{0,8}+"""
    r"""(?:[:=]|(?<= )(?:is|was)[ :])"""
    # A name that is itself a value, with its own value next to it.
    r"""|(?:\\{0,63}+["'`]|&[a-z0-9#]{2,5};)(?:[ ]?,|\r?\n|\\{1,63}+[nr]|[^{}<>()]{0,240}?(?:value|>|&gt;))"""
    r"""|[ \t\\]{0,63}(?:\n|\r|(?<=\\)[nr])(?:\s|\\{1,63}+[nrt]?){0,64}["']?[\w.-]{0,32}?value"""
    # In a table, a cell with one word that has a digit or a sign.
    r"""|[*_`]{0,2}[ \t]{0,32}\|[ \t]{0,32}[*_`]{0,2}(?=[^\s|`*]{0,512}?[0-9!@#$%^+~?])"""
    r"""[^\s|`*]{4,512}+[*`]{0,2}[ \t]{0,64}\|"""
    r"""|[*_`]{0,2}[ \t]{0,32}\|[^\n|"']{0,64}+["'])"""
)
# Values that are easily recognized as no secret: a bracket, a short word or number, a keyword, a variable.
_ENDS_THERE = r"""(?=[\t\r\n"'\x1b]|\\[nrtu]|\\{1,63}["']|\Z)"""
_NOTHING = rf"""(?: [\[{{(]{{1,3}} (?:[ ]|{_ENDS_THERE})
    | (?:null|None|true|True|false|False|[A-Za-z]{{2,3}}|[0-9]{{1,2}})
      (?: [,)\]}}]{{1,4}}(?=[ ]) | [,.:)\]}}]{{0,4}}{_ENDS_THERE}) )"""
_NO_VALUE = Later(
    rf"""(?x) (?: (?:\\{{0,63}}+["'`]|\*{{1,2}}|_{{1,2}})?+ \]? [ \t]{{0,8}}+ : | [ \t]{{1,8}}+ = (?=[ \t]) )
    [ \t]{{0,8}}+ {_NOTHING}"""
)
_NO_VALUE_AT_ONCE = Later(
    r"""(?x) \r?\n(?=[A-Zac-eg-qstv-z]) | (?:None|null|nil|NULL|undefined|[Tt]rue|[Ff]alse)\b(?![\w@\#$%^*!-])
    | \$\{[A-Za-z_]\w*[^\w{}] | \$(?:[A-Z_][A-Z0-9_]*|\{\w+\})[,.:)\]}]{0,2}(?:[\s"']|;\s|\\[nrt]|\Z)"""
)
# In a program, an argument with the name of its parameter; in a URL, an empty value.
NO_VALUE_OF_ARGUMENT = Later(
    r"(?<=[a-z]=)(?:[A-Za-z_$]+(?:\.[A-Za-z_$]+)*(?:,(?=\s)|\)[:,.]?(?=[\s\"']|\Z))|&(?:amp;)?[\w.-]{1,64}=)"
)
_QUOTED = Later(rf"\s{{0,8}}+[bBuUrRfF]?(?P<quote>{_QUOTE_SIGN})")
_LINE_ENDS = ("\n", "\r")
_NO_BEGINNINGS = frozenset(("", "=", ">", "*", *" \t\n\r\v\f"))
_PERHAPS_QUOTE = frozenset("\"'`\\&bBuUrRfF \t\n\r\v\f")
_ENDS_OF_LINE = frozenset(("\n", "\r", "\\"))
LONGEST = 4096
SHORT_LOOK = 512
# A word up to the next space or quote; `;`, `&`, `,` and a backslash end it only where they can.
_ORDINARY = (
    r"""[^\s"'\\;&,<\[`\x00\x1b]++|\[(?!redacted:)|`(?![.,;:)]*(?:\s|\Z|["'\\]))|,(?=[^\s"'\\,])(?![\w.-]{1,64}[=:])"""
)
_BACKSLASH = r"""|\\\\(?!\\*["'])|\\(?!\\)(?![nrtu"'`])|<(?!/[A-Za-z]|br[ />])"""
# Characters of `://` and a user such as `__token__`.
_LONGEST_USER = 40
_WORD = Later(rf"(?:{_ORDINARY}{_BACKSLASH})+")
LONG_WORD = Later(
    rf"(?:{_ORDINARY}{_BACKSLASH}|,(?=,+[^\s\"'\\])|;(?=[^\s\"'\\;])(?![\w .-]{{1,64}}=)"
    r"|&(?=[^\s\"'\\&])(?!(?:amp;)?[\w.-]{1,64}=)(?!(?:quot|apos|lt|gt|#\w{1,5});))+"
)
# After `name: ` or a verb, these signs do not end a value, as a sentence continues after a space.
_WHOLE_WORD = Later(
    rf"(?:{_ORDINARY}{_BACKSLASH}|;(?=[^\s\"'\\;])|&(?=[^\s\"'\\&])(?!(?:quot|apos|lt|gt|nbsp|#\w{{1,5}});))+"
)
# In an ODBC connection string, only a semicolon ends a value.
_CONNECTION = Later(
    r"(?:\A|[;\s\"'{])(?:uid|user(?: ?id|name)?|server|driver|dsn|data source|database|initial catalog|host|port"
    r"|address) ?=[^=;\n]{0,128};(?:[^=;\n]{1,64}=[^=;\n]{0,128};){0,4} ?\Z"
)
_CONNECTION_WORD = Later(rf"(?:{_ORDINARY}{_BACKSLASH}|[,`<]|&(?!(?:quot|apos|lt|gt|#\w{{1,5}});))+")
_VALUE_WITH_SIGN = Later(r"[=>]{1,2}(?=[^\s=\"'\\]{4})(?=[^\s\"'\\]{0,64}[0-9!#$%*+?@^~])")
PLACEHOLDER = Later(
    r"""(?x) \[redacted: | (?:[A-Z][a-z]{2,9}[ ])?[$%\#]?\{\{?[^{}]*\}\}?\Z | <[^<>]*>\Z | \$[A-Z_][A-Z0-9_]*\Z
    | [yY](?i:our)[-_](?=[A-Za-z_-]{0,40}(?i:key|token|secret|pass|here))[A-Za-z_-]{2,48}\Z | [a-z]{2,5}[-_]\Z
    # The word ends at a blank or a quote, maybe before its closing bracket.
    | [$%\#]?\{\{?(?:!?[A-Za-z_][\w.]*(?:[\[(]|:\w*)?)?\Z | <(?:[A-Za-z_-]+)?\Z | \$\{[A-Za-z_]\w*[^\w{}]
    | \$\(\( | [$%]\((?:[\w./<-]+\W{0,8})?(?:\)|\Z)
    | %[A-Za-z_]{1,64}%\Z | %[sdr]\Z | [xX*•.…_-]{3,}\Z | \*{3,} | \.{3} | \W{1,3}\Z
    | (?:None|True|False|null|nil|undefined|true|false|NULL)\b(?![\w@\#$%^*!-])
    | (?:os|process|env|environ|config|settings|self|this|import|secrets|vault)[.(\[] """
)
# A call, an index or an attribute in a line of a program.
_CALL = Later(
    r"!?[A-Za-z_$][\w$]{0,64}+(?:\??\.[\w$]{1,64}+){0,16}+[(\[](?:[\w.,=*:]*\Z|[\w$.,:=*()\[\]{}+/<>|-]*[)\]}][,;:.]*\Z)"
)
_MEMBER = Later(r"!?[A-Za-z_$]+(?:\??\.[A-Za-z_$]+)+\Z")
_IDENTIFIER = Later(r"!?[A-Za-z_$][A-Za-z_$]*(?:\??\.[A-Za-z_$]+)*\Z")
_SPECIAL = Later(r"[A-Za-z0-9].*[!@#$%^*+~?].*[A-Za-z0-9]")
_DIGIT = Later(r"\D{0,64}[0-9]")
_STANDARD = Later(r"(?:ERC|BEP|SPL|EIP|RFC)-?[0-9]{1,5}\Z")
# After `name: ` on a line of its own, a plain word is a value, unless it is one of these words.
_WORDS_OF_PROGRAMS = frozenset(
    "str string bytes int integer bool boolean float number any object none null text varchar char true false array"
    " list dict optional required secret password token yes no on off enabled disabled empty hidden masked redacted"
    " changeme default unknown invalid missing undefined todo example placeholder basic bearer oauth oauth2 never"
    " always auto prompt file env vault plain incorrect wrong expired correct valid".split()
)
# An error message with the refused key, with or without a word like `provided`.
_REFUSAL = Later(
    r"""(?x) [ ] (?: (?P<provided>(?i:provided))[ ]?:[ ]{0,8}+(?:\\{0,63}["'`])?+
    | (?P<quote>\\{0,63}["'`])?+
      (?=[^\s"'`\\]{6,512} (?:\\{0,63}["'`])?+ [ ](?i:is[ ](?:not[ ]valid|invalid|incorrect))) )"""
)
_REFUSED = Later(r"(?:incorrect|invalid|wrong|unknown|bad) (?:[\w.-]{1,32} ){0,2}[\w.-]{1,32}\Z")
_REASONS = frozenset(
    "unauthorized unauthenticated forbidden malformed unrecognized rejected disabled inactive deactivated suspended"
    " incorrect undefined required authentication permission".split()
)
_SENTENCE_END = Later(r"\.?(?:[\"'`]|\\{1,63}[nr\"']|\s*\Z|\r?\n)|\.\s")
_LINE_BEFORE = Later(r"[ \t]{0,64}(?:- )?[\"']?[\w.-]{1,64}")
# The first line of a text in JSON is regarded as YAML if the next line is.
_TEXT_BEFORE = Later(r"[:,\[{]\s?\\{0,63}[\"'](?:- )?[\w.-]{1,64}\Z")
_LINE_OF_YAML = Later(r"(?:\\{1,63}r)?\\{1,63}n(?:\\{1,63}t|[ ]){0,32}(?:- )?[\w.-]{1,64}:(?: |\\{1,63}[nr])")
# In JSON inside JSON, where two backslashes may also be a backslash in the value.
_NESTED_LINE = Later(r"\\{2,63}(?:r\\{2,63})?n[ ]{0,32}(?:- )?[\w.-]{1,64}:")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ESCAPING = frozenset("\\%")
_ESCAPE = Later(r"\\(?:[nrtbfvae0]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})|%[0-9A-Fa-f]{2}")
_NAME_SIGNS = f"{_LETTERS}0123456789_.-"
_BLANKS = Later(r"\s{0,8}+")
_LINE_END = Later(r"[ \t]{0,8}(?:\#[^\n]{0,256})?(?:\r?\n|\\{1,63}[nr]|\Z)")
_PLAIN_WORD = Later(r"[A-Za-z][A-Za-z_-]{3,63}\Z(?<![a-z][A-Z][a-z]{3})")
_PLAIN_LABELS = frozenset(
    "password passwort passwd passphrase pass_word pwd secret token db_pass user_pass admin_pass".split()
)
_LONGEST_VARIABLE = 200
_NAME_KEY = Later(rf"(?:[nN]ame|NAME|[kK]ey|KEY)(?:{_QUOTE_SIGN})?+[ ]{{0,8}}+[:=]|(?:\n|\\n)[ \t]{{0,64}}-[ ]")
_NAME_FIELD = Later(rf"(?:[nN]ame|NAME|[kK]ey|KEY|\bpath)(?:{_QUOTE_SIGN})?+[ ]{{0,8}}+\Z")
_NAME_IS_VALUE = Later(rf"[:=][ ]{{0,8}}+(?:{_QUOTE_SIGN})?+([A-Za-z0-9_.:/-]{{1,128}}+)\Z")
_VALUE_SIGN = Later(rf"(?:{_QUOTE_SIGN})?+[ \t]{{0,8}}+[:=](?![=:])")
_CLOSES = Later(_QUOTE_SIGN)
_FIELD_ENDS = Later(r"(?<![A-Za-z0-9])[\w.-]{0,32}\Z")
_NO_BRACKETS = Later(r"[^{}<>()]{0,240}+")
_LINE = Later(r"(?:\\{0,63}[\"'])?(?:[ \t\r]|\\{1,63}[tr]){0,8}(?:\n|\\{1,63}n)(?:\s|\\{1,63}[nrt]){0,64}[\"']?")
_ENDS_ELEMENT = Later(rf"(?:{_QUOTE_SIGN})[^<>]{{0,240}}?(?:>|&gt;)")
_FORM = Later(r"(?i)<(?:input|button|option|select|meta|label|textarea|param)\s[^<>]*\Z")
_BRACED = Later(r"\{(?:[^{}\r\n]|\}\}){1,256}\}")
# As in OpenTelemetry: {"key": …, "value": {"stringValue": …}}.
_INNER_VALUE = Later(
    rf"\s{{0,8}}\{{(?:\s|\\{{1,63}}[nt]){{0,32}}(?:{_QUOTE_SIGN})?+\w{{0,16}}(?i:value)(?:{_QUOTE_SIGN})?+\s{{0,8}}:"
)
_NEWLINE = r"(?:\r?\n|(?:\\{1,63}r)?\\{1,63}n)"
# A part of a multipart form: name="password", a blank line, the value.
_PART = Later(
    rf"(?:{_QUOTE_SIGN})(?:{_NEWLINE}[\w-]{{1,32}}:[^\r\n\\]{{0,128}}){{0,4}}{_NEWLINE}{_NEWLINE}([^\r\n\\]{{1,4096}})"
)
# The space between items of a list, which JSON may write on separate lines.
GAP = r"(?:\s|\\{1,63}[nt]){0,32}"
_PAIR_BEGINS = Later(rf"(?:(?<![\w)\]])|(?<=\\[nrt]))[\[(]{GAP}[bBuU]?(?:{_QUOTE_SIGN})([\w.:/-]{{1,128}}+)\Z")
_PAIR_GOES_ON = Later(rf"(?:{_QUOTE_SIGN})[ ]?,{GAP}[bBuU]?(?P<quote>{_QUOTE_SIGN})")
_PAIR_ENDS = Later(rf"(?:{_QUOTE_SIGN}),?{GAP}[\])]")
_WORDS = Later(r"[A-Za-z][A-Za-z _-]*\Z")
_CELL_BEFORE = Later(r"\|[ \t]{0,32}[*_`]{0,2}[\w .-]{1,64}\Z")
_CELL = Later(r"[*_`]{0,2}[ \t]{0,32}\|[ \t]{0,32}[*_`]{0,2}([^\s|`*]{4,512}+)[*`]{0,2}[ \t]{0,64}\|")
# A type between a name and its value: `password: str = "…"`, `let token: &str = "…"`.
_TYPE = Later(
    r"[ ]{0,8}+&?(?:'\w{1,16} )?[A-Za-z_][\w.]{0,64}+(?:\[[\w., |]{0,64}\])?(?:[ ]?\|[ ]?\w{1,32}+){0,4}"
    r"\??[ ]{0,8}+=(?!=)"
)
_SURELY_QUOTED = ('"', ' "')
_WRAPPED = Later(
    rf"[ ]{{0,8}}+(?:\w{{1,32}}\.){{0,4}}Secret(?:Str|Bytes|String)?\([ ]{{0,8}}+(?=[bBuUrR]?(?:{_QUOTE_SIGN}))"
)
# In YAML, a value may follow a tag, an anchor, or the sign of a value on the next lines.
_TAG = Later(r"[ ]{1,8}+(?:(?:!!\w{1,16}|&[\w-]{1,64})[ ]{1,8}){1,2}")
_BLOCK = Later(rf"[ ]{{0,8}}+[|>][0-9+-]{{0,2}}[ ]{{0,8}}(?:{_NEWLINE})(?P<indent>[ ]{{1,64}}+)")
_BLOCK_LINE = Later(rf"[^\s\\\"']{{4,512}}+(?=[ ]{{0,8}}(?:{_NEWLINE}|\\{{0,63}}[\"']|\Z))")
_NEXT_LINE = Later(rf"[ ]{{0,8}}{_NEWLINE}([ ]{{1,64}}+)")
_COOKIE = Later(r":[ ]{1,8}+(?=[^\s=;\"'\\]{1,128}+=)(?!\[redacted:)(?P<cookie>[^\"'\\\r\n]{2,8192}+)")


class Look:
    """A search through one text, and its results."""

    def __init__(self, text: str, names: Callable[[str], str]) -> None:
        self.text = text
        low = text.lower()
        if len(low) != len(text):
            # This is the only letter whose lower case has two characters.
            low = text.replace("\u0130", "I").lower()
        self.low = low
        self.names = names
        self.secrets: list[Span] = []
        self.past = 0

    def search(self, body: str, passes: list[tuple[str, Any, Handler]], zones: list[tuple[int, int]]) -> None:
        """Call each handler for the matches of its pattern in the zones; handlers may read the whole text."""
        for sign, pattern, handle in passes:
            if sign not in body:
                continue
            self.past = 0
            for first, last in zones:
                for match in pattern.finditer(body, first, last + _SEEN):
                    if match.start() >= last:
                        break
                    handle(self, match)

    def add(self, span: tuple[int, int], label: str) -> None:
        """Add a secret."""
        self.secrets.append((*span, label))

    def take(self, start: int, stop: int, label: str, *, perhaps_path: bool = True) -> bool:
        """Add a value under a label if it is a secret; return whether it is."""
        value = self.text[start:stop]
        if not value or PLACEHOLDER.match(value) or (perhaps_path and not hides(label, value)):
            return False
        self.add((start, stop), label)
        self.past = max(self.past, stop)
        return True

    def assignment(self, end: int) -> None:
        """Check the value of the name that ends here."""
        text = self.text
        if end <= self.past:
            return
        if text[end : end + 1] == "=" and text[end + 1 : end + 2] not in _NO_BEGINNINGS:
            if _NO_VALUE_AT_ONCE.match(text, end + 1) is None:
                self._check_after_equals(end)
            return
        if _NO_VALUE.match(text, end) is not None or (text[end : end + 1] in ":_" and self._is_user(end)):
            return
        separator = _SEPARATOR.match(text, end)
        if separator is None:
            if not (self._in_pair(end) or self._in_table(end)):
                self._check_neighbour(end)
            return
        name, label = self._name_before(end)
        if label := label or _label_of_capitals(name):
            self._check_after_separator(name, label, end, separator)

    def _is_user(self, end: int) -> bool:
        """Return whether a name is the user in a URL, as in `https://__token__:…@host`, as URLs have their own rule."""
        at = self.low.rfind("://", max(0, end - _LONGEST_USER), end)
        place = url_password(self.text, self.low, at) if at >= 0 else None
        return place is not None and self.text[end : place[0]].strip("_") == ":"

    def _check_after_equals(self, end: int) -> None:
        """Check the value after a name that ends here and one `=`."""
        name, label = self._name_before(end)
        if not (label := label or _label_of_capitals(name)):
            return
        text, start = self.text, self._after_type(end + 1, "=")
        quoted = _QUOTED.match(text, start) if text[start] in _PERHAPS_QUOTE else None
        if quoted is None or not self._check_quoted(label, quoted, 2):
            self._check_unquoted(name, label, start if quoted is None else quoted.end())

    def _check_quoted(self, label: str, quoted: re.Match[str], least: int) -> bool:
        """Check a value in quotes with at least `least` characters; return whether there are closing quotes."""
        start = quoted.end()
        stop = closing(self.text, start, quoted["quote"])
        if stop - start >= least:
            self.take(start, stop, label)
        return stop >= 0

    def _name_before(self, end: int) -> tuple[str, str]:
        """Return the name that ends here, which may be empty, and its label."""
        before = self.text[max(0, end - 80) : end]
        start = max(len(before.rstrip(_NAME_SIGNS)), len(before) - 64)
        sign = before[start - 1 : start]
        if sign == " ":
            word = len(before[: start - 1].rstrip(_LETTERS))
            start = word if 0 < start - 1 - word <= 16 else start
            sign = before[start - 1 : start]
        name = before[start:]
        label = self.names(name)
        if sign in _ESCAPING and not label:
            escape = _ESCAPE.match(before, start - 1)
            if escape is not None and (behind := self.names(before[escape.end() :])):
                return before[escape.end() :], behind
        return name, label

    def refusal(self, end: int) -> None:
        """Check the key in an error: `Incorrect API key provided: X`, `API key X is not valid`; its name ends here."""
        error = _REFUSAL.match(self.text, end)
        label = self._name_before(end)[1] if error is not None else ""
        if error is None or not label or end <= self.past:
            return
        begin = error.end()
        value = uncluttered(self.text[begin : self.end_of_word(begin, _WORD)])
        is_key = self._is_refused(value, begin, end) if error["provided"] else error["quote"] and len(value) >= 8
        if is_key or self._is_secret(label, value):
            self.take(begin, begin + len(value), label)

    def _check_neighbour(self, end: int) -> None:
        """Check the value next to a name that is itself a value, as in an attribute or a list of variables."""
        text, quote = self.text, _CLOSES.match(self.text, end)
        behind = self._find_value_field(end if quote is None else quote.end())
        if behind is None and quote is None:
            return
        named, label = self._find_name_field(end)
        if not label:
            return
        is_line = quote is not None and text[quote.end() : quote.end() + 1] in _ENDS_OF_LINE
        if is_line and (part := _PART.match(text, end)) is not None:
            self.take(part.start(1), part.end(1), label)
        elif behind is not None and _NAME_KEY.search(text, end, behind[0]) is None:
            inner = _INNER_VALUE.match(text, behind[1])
            start = behind[1] if inner is None else inner.end()
            self._check_field(label, start, named, on_next_line=_LINE.fullmatch(text, end, behind[0]) is not None)
        elif _ENDS_ELEMENT.match(text, end):
            opening = text.rfind("<", max(0, named - SHORT_LOOK), named)
            at = self.low.rfind("value", max(0, opening), named) if opening >= 0 else -1
            sign = _VALUE_SIGN.match(text, at + 5) if at >= 0 else None
            if sign is not None:
                self._check_field(label, sign.end(), named, on_next_line=False)

    def _find_value_field(self, begin: int) -> tuple[int, int] | None:
        """Return the start of a field `value` after a name that ends here, and the end of its sign; else None."""
        text, low, most = self.text, self.low, begin + 280
        at = low.find("value", begin, most)
        while at >= 0:
            sign = _VALUE_SIGN.match(text, at + 5)
            field = _FIELD_ENDS.search(text, max(begin, at - 32), at) if sign is not None else None
            if sign is not None and field is not None:
                start = field.start()
                return (start, sign.end()) if _NO_BRACKETS.fullmatch(text, begin, start) is not None else None
            at = low.find("value", at + 5, most)
        return None

    def _find_name_field(self, end: int) -> tuple[int, str]:
        """Return start and label of a field for a name, key or path whose value ends here and names a secret."""
        text, first = self.text, max(0, end - _LONGEST_VARIABLE)
        sign = end
        while (sign := max(text.rfind(":", first, sign), text.rfind("=", first, sign))) >= 0:
            name = _NAME_IS_VALUE.match(text, sign, end)
            if name is None:
                break
            field = _NAME_FIELD.search(text, max(first, sign - 80), sign)
            if field is not None:
                return field.start(), self.names(name[1])
        return 0, ""

    def _in_pair(self, end: int) -> bool:
        """Check the second item of a list of two, as for a header, if the first is a name that ends here."""
        text, first = self.text, max(0, end - _LONGEST_VARIABLE)
        goes_on = _PAIR_GOES_ON.match(text, end)
        if goes_on is None:
            return False
        bracket = max(text.rfind("[", first, end), text.rfind("(", first, end))
        begins = _PAIR_BEGINS.match(text, bracket, end) if bracket >= 0 else None
        label = self.names(begins[1]) if begins is not None else ""
        if not label:
            return False
        start = goes_on.end()
        stop = closing(self.text, start, goes_on["quote"])
        is_pair = stop >= 0 and _PAIR_ENDS.match(self.text, stop) is not None
        if is_pair and is_value_of_pair(self.text[start:stop]):
            self.take(start, stop, label)
        return is_pair

    def _in_table(self, end: int) -> bool:
        """Check the next cell in a Markdown table, after a cell with a name that ends here."""
        cell = _CELL.match(self.text, end)
        if cell is None or _CELL_BEFORE.search(self.text, max(0, end - 100), end) is None:
            return False
        label, value = self._name_before(end)[1], cell[1].rstrip("_")
        if label and self._is_secret(label, value):
            self.take(cell.start(1), cell.start(1) + len(value), label)
        return True

    def _check_block(self, label: str, start: int) -> None:
        """Check the lines of a YAML block, which are words with a digit or a sign."""
        block = _BLOCK.match(self.text, start)
        at = block.end() if block is not None else -1
        while block is not None and (line := _BLOCK_LINE.match(self.text, at)) is not None:
            if not self._is_secret(label, line.group()) or not self.take(at, line.end(), label):
                break
            newline = _NEXT_LINE.match(self.text, line.end())
            if newline is None or newline[1] != block["indent"]:
                break
            at = newline.end()

    def _check_field(self, label: str, start: int, named: int, *, on_next_line: bool) -> None:
        """Check a value next to its name; without quotes, only on a line of its own, as in YAML."""
        text = self.text
        quoted = _QUOTED.match(text, start)
        if quoted is not None:
            begin = quoted.end()
            stop = closing(text, begin, quoted["quote"])
            value = text[begin:stop] if stop >= 0 else ""
            # Elements of a form also contain words for people.
            if len(value) > 1 and (
                self._is_secret(label, value) or _FORM.search(text, max(0, named - 160), named) is None
            ):
                self.take(begin, stop, label)
        elif on_next_line:
            begin = _BLANKS.match(text, start).end()
            value = uncluttered(text[begin : self.end_of_word(begin, _WORD)])
            if self._is_secret(label, value) or self._ends_line(label, value, begin, start - 1):
                self.take(begin, begin + len(value), label)

    def _check_after_separator(self, name: str, label: str, end: int, separator: re.Match[str]) -> None:
        text, sign = self.text, separator["sign"]
        start = self._after_type(separator.end(), sign)
        quoted = _QUOTED.match(text, start)
        if quoted is not None:
            if not self._check_quoted(label, quoted, 8 if sign in _COMPARISONS else 2):
                self._check_unquoted(name, label, quoted.end())
        elif sign == ":" and _BLOCK.match(text, start) is not None:
            self._check_block(label, start)
        elif separator["verb"]:
            self._check_spoken(label, start)
        elif sign == "=" and text[separator.start("sign") - 1] not in " \t" and not text[start : start + 1].isspace():
            self._check_unquoted(name, label, start)
        elif self._begins_with_sign(name, at := separator.start("sign") + 1):
            self._check_unquoted(name, label, at)
        # `NAME=` at the end of a line is empty, as in an example of a `.env` file.
        elif sign[:2] != "==" and not (sign == "=" and text.startswith(_LINE_ENDS, separator.end("sign"))):
            self._check_after_space(label, start, end)

    def _after_type(self, start: int, sign: str) -> int:
        """Return where a value begins, after its type in a program or its tag in YAML."""
        text = self.text
        if text.startswith(_SURELY_QUOTED, start) or (sign != ":" and text.find("Secret", start, start + 150) < 0):
            return start
        typed = _TYPE.match(text, start) if sign == ":" else None
        # Without quotes, it is a call or a line of YAML.
        if typed is not None and _QUOTED.match(text, at := (_WRAPPED.match(text, typed.end()) or typed).end()):
            return int(at)
        before = _WRAPPED.match(text, start) or (_TAG.match(text, start) if sign == ":" else None)
        return start if before is None else int(before.end())

    def _check_unquoted(self, name: str, label: str, start: int) -> None:
        """Check a value without quotes, directly after its sign."""
        text = self.text
        if label == "pwd" and (braced := _BRACED.match(text, start)):
            self.take(start + 1, braced.end() - 1, label)
            return
        is_environment = _is_variable(name)
        is_connection = label.startswith(("pwd", "password")) and self._is_in_connection(name, start)
        word = _CONNECTION_WORD if is_connection else LONG_WORD if is_environment else _WORD
        stop = self.end_of_word(start, word)
        value = uncluttered(text[start:stop])
        stop = start + len(value)
        is_code = not (is_environment or is_connection) and self._is_code(value, stop)
        if is_code or not self.take(start, stop, label, perhaps_path=not is_connection):
            self.past = max(self.past, stop)

    def _is_code(self, value: str, stop: int) -> object:
        """Return whether a value that ends here is a call, an attribute or an argument of a program."""
        if ("(" in value or "[" in value) and _CALL.match(value):
            return True
        ends = self.text[stop : stop + 1]
        is_argument = ends in {",", ")"} and _IDENTIFIER.match(value.removeprefix("("))
        return is_argument or ("." in value and _MEMBER.match(value))

    def _begins_with_sign(self, name: str, start: int) -> bool:
        """Return whether a value begins here with `=`, so that `==` is not a comparison."""
        if self.text[start - 1] != "=" or not _VALUE_WITH_SIGN.match(self.text, start):
            return False
        return _is_variable(name) or self._is_in_connection(name, start)

    def _is_in_connection(self, name: str, start: int) -> bool:
        """Return whether the value that starts here is in an ODBC connection string: `Server=h;Uid=a;Pwd=...`."""
        end = start - 1 - len(name)
        return self.text[max(0, end - 1) : end].strip() in {"", ";"} and bool(
            _CONNECTION.search(self.low, max(0, end - 256), end)
        )

    def _check_after_space(self, label: str, start: int, end: int) -> None:
        """Check a value without quotes after a space or a colon, which may be any word of a sentence."""
        text = self.text
        if label.startswith("cookie") and (cookie := _COOKIE.match(text, start - 1)):
            self.add(cookie.span("cookie"), "cookie")
            self.past = cookie.end()
            return
        begin = _BLANKS.match(text, start).end()
        value = self._word_of_sentence(label, begin, start)
        if "\\" in value and (line := _NESTED_LINE.search(text, begin, begin + len(value) + 100)) is not None:
            value = value[: line.start() - begin]
        is_secret = self._is_secret(label, value) or self._ends_line(label, value, begin, end)
        if is_secret or self._is_refused(value, begin, end):
            self.take(begin, begin + len(value), label)
        else:
            self.past = max(self.past, begin + len(value))

    def spoken(self, end: int, start: int) -> None:
        """Check the word that a sentence gives as the value of the name that ends here."""
        label = self._name_before(end)[1] if end > self.past else ""
        if label:
            self._check_spoken(label, start)

    def _check_spoken(self, label: str, start: int) -> None:
        """Check the word after "the password is"."""
        text = self.text
        begin = _BLANKS.match(text, start).end()
        value = self._word_of_sentence(label, begin, start).rstrip("!?")
        if self._is_secret(label, value) and not value.isdigit():
            self.take(begin, begin + len(value), label)

    def _word_of_sentence(self, label: str, begin: int, start: int) -> str:
        """Return the word that begins here, up to a space or a quote; in a program, it may end at other signs."""
        stop = self.end_of_word(begin, _WORD)
        short = uncluttered(self.text[begin:stop])
        if begin == start or self.text[stop : stop + 1] not in _JOINS:
            return short
        whole = uncluttered(self.text[begin : self.end_of_word(begin, _WHOLE_WORD)])
        # `token: string;id2: number`, `token = next();x1 = 2`
        is_code = short.lower() in _WORDS_OF_PROGRAMS or _CALL.match(short) or _MEMBER.match(short)
        return short if is_code or PLACEHOLDER.match(short) or not self._is_secret(label, whole) else whole

    def _is_refused(self, value: str, begin: int, end: int) -> bool:
        """Return whether an error calls a value wrong: then any word is a secret that ends the sentence."""
        if len(value) < 8 or value.lower() in _REASONS or not _SENTENCE_END.match(self.text, begin + len(value)):
            return False
        return _REFUSED.search(self.low, max(0, end - 64), end) is not None

    def _is_secret(self, label: str, value: str) -> bool:
        """Return whether a word is neither a plain word nor part of a program."""
        if len(value) < (4 if label.startswith(("pass", "pwd")) else 6) or value[0] in "([{<|>":
            return False
        if _CALL.match(value) or (label == "token" and _STANDARD.match(value)):
            return False
        return _DIGIT.match(value) is not None or (_SPECIAL.match(value) is not None and not _MEMBER.match(value))

    def _ends_line(self, label: str, value: str, begin: int, end: int) -> bool:
        """Return whether a value ends the line of its name, as in YAML, and is not a word that describes it."""
        if not value or label not in _PLAIN_LABELS:
            return False
        text, low = self.text, value.lower()
        between = text[end:begin]
        if "=" in between or "\n" in between or not _LINE_END.match(text, begin + len(value)):
            return False
        if not (self._begins_line(end) or self._begins_text(end, begin + len(value))):
            return False
        if value[0] in "([{<|>":
            return len(value) >= 8 and value[-1] not in ")]}>" and _DIGIT.match(value) is not None
        return _PLAIN_WORD.match(value) is not None and low not in _WORDS_OF_PROGRAMS

    def _begins_line(self, end: int) -> bool:
        """Return whether a name that ends here begins a line, which may be in a text in JSON."""
        text, first = self.text, max(0, end - 140)
        line = text.rfind("\n", first, end) + 1
        return (_LINE_BEFORE.fullmatch(text, line, end) if line or not first else None) is not None or (
            (line := text.rfind("\\n", first, end)) >= 0 and _LINE_BEFORE.fullmatch(text, line + 2, end) is not None
        )

    def _begins_text(self, end: int, after: int) -> bool:
        """Return whether a name that ends here begins a text in JSON whose next line also begins with a name."""
        return bool(_LINE_OF_YAML.match(self.text, after) and _TEXT_BEFORE.search(self.text, max(0, end - 130), end))

    def end_of_word(self, start: int, word: Later) -> int:
        """Return the end of the word that begins here; a long word is read up to a limit."""
        match = word.match(self.text, start, start + SHORT_LOOK)
        if match is None:
            return start
        if match.end() >= start + SHORT_LOOK - 1:
            match = word.match(self.text, start, start + 2 * LONGEST)
        end: int = match.end()
        return end


def _label_of_capitals(name: str) -> str:
    """Return the label of `PWD`, whose value decides whether it is the working directory."""
    return "pwd" if name.lower() == "pwd" else ""


def _is_variable(name: str) -> bool:
    """Return whether a name, perhaps after a word such as `export`, is an environment variable."""
    word = name.rpartition(" ")[2]
    # In JSON, the letter of an escaped line feed may precede it.
    return word.isupper() or (word[:1] in "nrt" and word[1:].isupper())


def uncluttered(value: str) -> str:
    """Remove the end of a sentence from a word, and a bracket that was opened before it."""
    while value and (value[-1] in ".,:`" or (value[-1] in ")]}>" and _OPENS[value[-1]] not in value)):
        value = value[:-1]
    return value


_COMPARISONS = frozenset(("==", "==="))
_JOINS = frozenset(";&")
_OPENS = {")": "(", "]": "[", "}": "{", ">": "<"}


def closing(text: str, start: int, quote: str) -> int:
    """Return the place of the closing quotes, or -1.

    In JSON inside a text, a quote follows one backslash, at the next levels three and seven. A quote within the value
    has more backslashes than the closing one.
    """
    limit = start + LONGEST
    if len(quote) == 1 and (at := text.find(quote, start, limit)) >= 0 and text[at - 1] != "\\":
        return at if text.find("\n", start, at) < 0 else -1
    line = text.find("\n", start, limit)
    limit = line if line >= 0 else limit
    sign = quote[-1]
    if sign not in "\"'`":
        return text.find(quote, start, limit)
    level = len(quote) - 1
    at = text.find(sign, start, limit)
    while at >= 0:
        first = at
        while first > start and text[first - 1] == "\\":
            first -= 1
        count = at - first
        if count <= level:
            return first
        if (count - level) % (2 * level + 2) == 0:
            return at - level
        at = text.find(sign, at + 1, limit)
    return -1
