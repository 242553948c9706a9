"""What must not be written: secrets, known by their shape, by the name before them, or because we were told.

It owns the patterns, the cheap test that most events pass, and the secrets of the environment. Where the text
comes from and where it goes is the business of `encode`.
"""

from __future__ import annotations

import re
from functools import cached_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

SHORTEST_LITERAL = 4
"""A literal below this many characters would be found in innocent words, so it is not looked for."""

_NAMES_KNOWN = 4096
_LONGEST_NAME = 128
_NO_SECRET = frozenset("password changeme change_me disabled required optional undefined".split())


class Secret(str):
    """A literal that must never be written, with the words that take its place."""

    label: str

    def __new__(cls, value: str, label: str = "secret") -> Secret:
        """A text that knows what it is called."""
        secret = super().__new__(cls, value)
        secret.label = label
        return secret


class Redactor:
    """Replaces secrets by a note of what stood there, such as `[redacted:openai]`.

    `secrets` are literals (a `Secret` brings its label), `patterns` regular expressions whose every match
    goes, `keys` further names whose values are secret, and `hook(name, text)` a last look at every text:
    what it returns is written. With patterns or a hook every text is visited, which costs microseconds an
    event.

    >>> Redactor(secrets=["correct horse"]).clean("it is correct horse, with password=hunter22")
    ('it is [redacted:secret], with password=[redacted:password]', 2)
    """

    def __init__(
        self,
        *,
        secrets: Iterable[str] = (),
        patterns: Iterable[str | re.Pattern[str]] = (),
        keys: Iterable[str] = (),
        hook: Callable[[str, str], str] | None = None,
    ) -> None:
        self._literals = _literals(secrets)
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._hook = hook
        own_names = [_own_name(key) for key in keys]
        self._names = "|".join([_NAME, *own_names])
        self._labels: dict[str, str] = {}
        self.suspects = _everything if self._patterns or hook else _suspicion(self._literals, own_names)
        """Whether a JSON text may hold something to redact. It may be wrong, but only by saying yes."""

    # Compiling takes half a millisecond each, and most programs have nothing to hide.

    @cached_property
    def _name(self) -> re.Pattern[str]:
        return re.compile(rf"(?:{self._names})\Z")

    @cached_property
    def _assignment(self) -> re.Pattern[str]:
        return re.compile(_ASSIGNMENT.replace("NAME", self._names))

    def clean(self, text: str, name: str | None = None) -> tuple[str, int]:
        """The text without its secrets, and how many there were.

        `name` is what the text is called; the hook is asked about texts that have one, so not about names.
        """
        count = 0
        for literal, replacement in self._literals:
            if literal in text:
                count += text.count(literal)
                text = text.replace(literal, replacement)
        for needles, find in _SHAPES:
            if any(needle in text for needle in needles):
                text, found = find(text)
                count += found
        if "=" in text or ":" in text:
            text, found = _replace(self._assignment, text, _assigned)
            count += found
        if "--" in text:
            text, found = _replace(_OPTION, text, self._named)
            count += found
        if "<" in text:
            text, found = _replace(_ELEMENT, text, self._named)
            count += found
        for pattern in self._patterns:
            text, found = pattern.subn("[redacted:pattern]", text)
            count += found
        if self._hook is not None and name is not None:
            seen, text = text, _ask(self._hook, name, text)
            count += seen != text
        return text, count

    def names(self, name: str) -> str:
        """The label for whatever is called `name`, or an empty text when no secret is called so.

        >>> [Redactor().names(name) for name in ("X-Api-Key", "accessToken", "prompt_tokens", "tokenizer")]
        ['api_key', 'token', '', '']
        """
        label = self._labels.get(name)
        if label is None:
            match = self._name.search(name[-_LONGEST_NAME:])
            label = _label(match[0]) if match else _SOME_KEY if _SOME_KEYS.search(name[-_LONGEST_NAME:]) else ""
            if len(self._labels) >= _NAMES_KNOWN:
                self._labels.clear()
            if len(name) <= _LONGEST_NAME:
                self._labels[name] = label
        return label

    def option(self, argument: str) -> str:
        """The label for what follows an argument like `--password`, or an empty text."""
        return self.names(argument[2:]) if _ARGUMENT.fullmatch(argument) else ""

    def _named(self, match: re.Match[str]) -> tuple[str, str] | None:
        """The word behind an option, or the text in an element, that has a secret's name."""
        label = self.names(match["name"])
        return ("value", label) if label and hides(label, match["value"]) else None


def hides(label: str, text: str | None) -> bool:
    """Whether a text under a label (None for a value that is no text) is the secret it is called.

    `pwd` may be the folder where a shell stands, and what else is called some key must look like one.
    """
    if label == _SOME_KEY:
        return text is not None and _looks_random(text)
    if label == "pwd" and text is not None and (text.startswith(("/", "~", ".")) or text[1:3] in (":\\", ":/")):
        return False
    return text != ""


def is_collection(label: str) -> bool:
    """Whether a label is that of many secrets: a mapping of that name has one behind each name of its own."""
    return label.endswith("s") and not label.endswith("pass")


def _looks_random(text: str) -> bool:
    """Whether a text changes between small letters, capitals and digits as often as no name does."""
    if not 16 <= len(text) <= 512 or _RANDOM.fullmatch(text) is None or _UUID.fullmatch(text):
        return False
    kinds = ["0" if sign.isdigit() else "A" if sign.isupper() else "a" for sign in text if sign.isalnum()]
    changes = sum(kinds[at] != kinds[at - 1] for at in range(1, len(kinds)))
    return 3 * changes >= len(kinds)


class _Later:
    """A pattern that is compiled when it is first used: most programs never need it, and all pay for their start."""

    def __init__(self, pattern: str | bytes, flags: int = 0) -> None:
        self._source: tuple[Any, int] = pattern, flags

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(*self._source), name)
        setattr(self, name, method)
        return method


def environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """The values that an environment calls secret, each a `Secret` labelled with the name it was found under.

    >>> environment_secrets({"OPENAI_API_KEY": "abcd-efgh-1234", "HOME": "/root", "TOKEN_FILE": "/run/token"})
    ['abcd-efgh-1234']
    """
    found: list[str] = []
    for name, value in environ.items():
        password = _URL.search(value) if "@" in value else None
        if password:
            value = password["password"]
        if _could_be_secret(value) and (password or _is_secrets_name(name) or _is_some_key(name, value)):
            found.append(Secret(value, f"env {name}"))
    return found


def _is_secrets_name(name: str) -> bool:
    """Whether a secret is called so; most names hold none of the words and cost no pattern."""
    plain = name.lower()
    return any(word in plain for word in _WORDS) and _SECRETS_NAME.search(name) is not None


def _is_some_key(name: str, value: str) -> bool:
    """Keys come under any name; but SORT_KEY=created_at is not one of them."""
    return name.upper().endswith("_KEY") and len(value) >= 16 and any(map(str.isdigit, value))


def _could_be_secret(value: str) -> bool:
    """A word of six letters would be found in other words, so a short one must have a digit among its letters."""
    plain = value.lower()
    is_place = plain.startswith(("/", "./", "../", "~", "file:", "http://", "https://"))
    is_odd = len(value) >= 6 and not plain.isalpha() and not plain.isdigit()
    return (len(value) >= 8 or is_odd) and not is_place and plain not in _NO_SECRET


def _ask(hook: Callable[[str, str], str], name: str, text: str) -> str:
    try:
        answer: object = hook(name, text)
    except Exception:  # a hook that fails cannot vouch for the text, so the text has to go
        return "[redacted:hook failed]"
    return answer if isinstance(answer, str) else "[redacted:hook failed]"


def _literals(secrets: Iterable[str]) -> list[tuple[str, str]]:
    """All forms of each literal with its replacement; the longest first, as one may be part of another."""
    found: dict[str, str] = {}
    for secret in secrets:
        if len(secret) >= SHORTEST_LITERAL:
            for form in _forms(str(secret)):
                found.setdefault(form, f"[redacted:{getattr(secret, 'label', 'secret')}]")
    return sorted(found.items(), key=lambda pair: -len(pair[0]))


def _forms(secret: str) -> list[str]:
    """A literal as it is, as it looks inside JSON and inside JSON inside JSON, and as it looks in a URL."""
    if re.fullmatch(r"[\w.~-]+", secret, re.ASCII):
        return [secret]
    from json import dumps
    from urllib.parse import quote, quote_plus

    once = [dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
    twice = [dumps(form, ensure_ascii=False)[1:-1] for form in once]
    octets = secret.encode("utf-8", "replace")
    return [secret, *once, *twice, quote(octets, safe=""), quote(octets), quote_plus(octets)]


# Whole words only: a "token" is a secret, "prompt_tokens" and "tokenizer" are in every LLM call. "PWD" alone is
# where a shell stands, and a "pass" or a "key" alone may be anything.
_KEYS = (
    "api secret access private signing encryption account master service auth client deploy license subscription"
    " webhook ssh openai anthropic azure google gemini groq mistral cohere deepseek xai together replicate openrouter"
    " huggingface hf perplexity tavily pinecone aws gcp github gitlab slack stripe sendgrid twilio"
)
_PASSES = "db database user smtp imap mail email ftp ldap http proxy login admin root mysql postgres pg redis mongo"
_NAME = (
    rf"(?i:pass[ _.-]?(?:words?|wd|phrase)|(?:{_KEYS.replace(' ', '|')})[ _.-]?keys?|(?:{_PASSES.replace(' ', '|')})"
    r"[ _.-]?pass|authorization|credentials?)|(?<![A-Za-z])(?i:token|secrets?|cookies?|auth)"
    r"|(?<=[a-z])(?:Token|Secrets?|Cookies?|Auth)|(?<![A-Za-z])pwd|(?<=[a-z])Pwd|(?<=[A-Za-z][_.-])(?i:pwd)"
)
_WORDS = "pass pwd key token secret cookie auth credential".split()  # one of them is in each of these names
_SECRETS_NAME = _Later(rf"(?:{_NAME})\Z")
_SOME_KEY = "key"
_SOME_KEYS = _Later(r"(?:(?i:[a-z0-9][ _.-]keys?)|[a-z0-9]Keys?)\Z")
_RANDOM = _Later(r"[A-Za-z0-9_+/-]+={0,2}", re.ASCII)
_UUID = _Later(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# A name, what may stand between it and its value (the quote that ends the name, `=` or `:`, the quote that
# begins the value; each perhaps escaped, as in JSON inside a text), and the value. Without quotes it stands
# right behind a `=` and up to the end of the word, or it looks random; it may not be a call or an index:
# `token = next(tokens)` is a line of a program.
_ASSIGNMENT = r"""(?x)(?P<name>NAME)
    (?:\\{0,7}["'])?+
    (?: [ ]{0,8}+ (?:=>|:=|[=:]) \s{0,8}+
        (?: (?P<quote>\\{0,7}["']) (?!\[redacted:) (?P<quoted>[^"'\\\r\n]{2,4096}+) (?=\\{0,7}["'])
          | (?P<bare>(?=[^\s"'\\,;&]{0,64}?[0-9]) [^\s"'\\,;&<>(){}\[\]|]{4,4096}+) (?![(\[]) )
      | = (?P<direct>(?!(?:None|True|False|null|true|false)\b) [^\s"'\\,;&<>(){}\[\]|$%*`]{1,256}+)
        (?=[\s;&"'\\]|\Z) )"""
_URL = _Later(r"://[^\s:/@\"'\\?#]{0,128}+:(?!\[redacted:)(?P<password>[^\s/\"'\\<>]{1,256})@")
_AUTHORIZATION = _Later(
    r"""(?xi) authorization (?:\\{0,7}["'])?+ [ ]{0,8}+ [:=] \s{0,8}+ (?:\\{0,7}["'])?+
    (?:[a-z][a-z0-9-]{1,31}+[ ]{1,4}+)?+
    (?P<credential>(?=[^\s"'\\,;]{0,64}?[0-9]) [^\s"'\\,;()\[\]]{4,4096}+) (?![(\[])"""
)
# On a command line: the word behind --password and its like, but not the word that stands for one in a usage text.
_ARGUMENT = _Later(r"--[A-Za-z_.-]{1,64}")
_OPTION = _Later(
    r"""(?x) (?<![\w-]) -- (?P<name>[A-Za-z_.-]{1,64}+) [ ]{1,8}+ ["']?
    (?P<value>(?![A-Z_]+\b) [^\s"'\\<>(){}\[\]|$`,;=-] [^\s"'\\<>(){}\[\]|`,;]{0,4096}+)"""
)
# The closing tag has the name without the attributes.
_ELEMENT = _Later(
    r"""(?x) (?:>|<!\[CDATA\[) \s{0,64}+ (?!\[redacted:) (?P<value>(?:[^<>\]]|\](?!\]>)){1,4096}+) (?:\]\]>\s{0,64}+)?+
    <\\{0,7}/ (?P<name>[\w:.-]{1,128}+) \s{0,8}+ >"""
)
# A signed URL opens its file to whoever has it; the `&` in it may be written as HTML or as JSON does.
_SIGNATURE = _Later(
    r"(?i)(?:[?&;]|\\u0026)(?:X-(?:Amz|Goog)-Signature|sig(?:nature)?)=(?P<signature>[A-Za-z0-9%+/_~-]{16,2048}+={0,2}+)"
)
_USER = _Later(
    r"""(?x) (?<![\w-]) (?:-[uU]|--(?:proxy-)?user) [ =]{1,8}+ ["']? [^\s:"'\\]{1,128}+ :
    (?!\[redacted:) (?P<password>[^\s"'\\]{1,256}+)"""
)
_COOKIE = _Later(r"(?i)(?<![a-z])cookie: {0,8}+(?=[^\s=;\"'\\]{1,128}+=)(?P<cookie>[^\"'\\\r\n]{2,8192}+)")


def _own_name(key: str) -> str:
    """The pattern of a name given by the user, however its words are joined."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z _.-]+", key)
    joined = "[ _.-]?".join(re.escape(word.lower()) for word in words)
    return rf"(?<![A-Za-z])(?i:{joined})|(?<=[a-z])(?=[A-Z])(?i:{joined})"


def _label(name: str) -> str:
    return re.sub("[ .-]", "_", name.lower())


def _assigned(match: re.Match[str]) -> tuple[str, str] | None:
    label = _label(match["name"])
    which = "quoted" if match["quote"] else "direct" if match["direct"] else "bare"
    return (which, label) if hides(label, match[which]) else None


def _replace(
    pattern: re.Pattern[str] | _Later, text: str, group: Callable[[re.Match[str]], tuple[str, str] | None]
) -> tuple[str, int]:
    """The text with one group of every match replaced; which, by what label, and whether, says `group`."""
    parts, done, count = [], 0, 0
    for match in pattern.finditer(text):
        found = group(match)
        if found is None:
            continue
        which, label = found
        parts += [text[done : match.start(which)], f"[redacted:{label}]"]
        done = match.end(which)
        count += 1
    return ("".join([*parts, text[done:]]), count) if count else (text, 0)


def _url_passwords(text: str) -> tuple[str, int]:
    return _replace(_URL, text, lambda _: ("password", "url"))


def _cookies(text: str) -> tuple[str, int]:
    return _replace(_COOKIE, text, lambda _: ("cookie", "cookie"))


def _signatures(text: str) -> tuple[str, int]:
    return _replace(_SIGNATURE, text, lambda _: ("signature", "signature"))


def _credentials(text: str) -> tuple[str, int]:
    return _replace(_AUTHORIZATION, text, lambda _: ("credential", "authorization"))


def _users(text: str) -> tuple[str, int]:
    """The passwords in `-u user:password`; `-u 1000:1000` is a user and a group."""
    return _replace(_USER, text, lambda found: None if found["password"].isdigit() else ("password", "password"))


def _private_keys(text: str) -> tuple[str, int]:
    """Takes out PEM private keys by searching for the end: one pattern for the whole would be quadratic."""
    parts, done, count = [], 0, 0
    for begin in re.finditer(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", text):
        if begin.start() < done:
            continue
        end = text.find("-----END", begin.end())
        close = text.find("-----", end + 5, end + 64) if end >= 0 else -1
        parts += [text[done : begin.start()], "[redacted:private_key]"]
        done = close + 5 if close >= 0 else len(text)
        count += 1
    return "".join([*parts, text[done:]]), count


def _shape(label: str, pattern: str) -> Callable[[str], tuple[str, int]]:
    compiled: list[re.Pattern[str]] = []

    def find(text: str) -> tuple[str, int]:
        if not compiled:  # most programs never need most of them
            compiled.append(re.compile(pattern))
        return compiled[0].subn(f"[redacted:{label}]", text)

    return find


_START = r"(?<![A-Za-z0-9])"
# Words joined by hyphens are no key: soon there must be a digit or a capital. The bound keeps it linear.
_MIXED = r"(?=[a-z_-]{0,64}[A-Z0-9])"
_CREDENTIAL = r"\s{0,8}+(?=[A-Za-z._~+/-]{0,64}(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9._~+/-]{8,}+={0,2}+"
_GITHUB = "ghp_ gho_ ghu_ ghs_ ghr_".split()
_GITLAB = "glpat- gldt- glrt- glcbt- glptt-".split()
_SHOPIFY = "shpat_ shpca_ shppa_ shpss_".split()
_OCEAN = "dop_v1_ doo_v1_ dor_v1_".split()
# What must be in a text for a shape to be in it, and how to take that shape out. Quantifiers are possessive
# or bounded and no run is tried from its middle: the time is linear in the text, whatever it says.
_SHAPES: list[tuple[list[str], Callable[[str], tuple[str, int]]]] = [
    (["PRIVATE KEY"], _private_keys),
    (["sk-ant-"], _shape("anthropic", rf"{_START}sk-ant-{_MIXED}[A-Za-z0-9_-]{{12,}}+")),
    (["sk-"], _shape("openai", rf"{_START}sk-(?!ecdsa-|ssh-){_MIXED}[A-Za-z0-9_-]{{16,}}+")),
    (["k_live_", "k_test_"], _shape("stripe", rf"{_START}[rs]k_(?:live|test)_[A-Za-z0-9]{{10,}}+")),
    (["AKIA", "ASIA"], _shape("aws", rf"{_START}A[KS]IA[A-Z0-9]{{16}}(?![A-Za-z0-9])")),
    (["github_pat_"], _shape("github", rf"{_START}github_pat_[A-Za-z0-9_]{{20,}}+")),
    (_GITHUB, _shape("github", rf"{_START}gh[pousr]_[A-Za-z0-9]{{20,}}+")),
    (_GITLAB, _shape("gitlab", rf"{_START}gl(?:pat|[dr]t|cbt|ptt)-{_MIXED}[A-Za-z0-9_.-]{{20,}}+")),
    (["xox"], _shape("slack", rf"{_START}xox[a-z]-[A-Za-z0-9-]{{10,}}+")),
    (["xapp-"], _shape("slack", rf"{_START}xapp-[A-Za-z0-9-]{{10,}}+")),
    (["xai-"], _shape("xai", rf"{_START}xai-{_MIXED}[A-Za-z0-9]{{20,}}+")),
    (["gsk_"], _shape("groq", rf"{_START}gsk_{_MIXED}[A-Za-z0-9]{{20,}}+")),
    (["pplx-"], _shape("perplexity", rf"{_START}pplx-{_MIXED}[A-Za-z0-9]{{20,}}+")),
    (["nvapi-"], _shape("nvidia", rf"{_START}nvapi-{_MIXED}[A-Za-z0-9_-]{{20,}}+")),
    (["tvly-"], _shape("tavily", rf"{_START}tvly-{_MIXED}[A-Za-z0-9_-]{{20,}}+")),
    (["AIza"], _shape("google", rf"{_START}AIza[A-Za-z0-9_-]{{30,}}+")),
    (["hf_"], _shape("huggingface", rf"{_START}hf_{_MIXED}[A-Za-z0-9]{{20,}}+")),
    (["npm_"], _shape("npm", rf"{_START}npm_{_MIXED}[A-Za-z0-9]{{30,}}+")),
    (["pypi-"], _shape("pypi", rf"{_START}pypi-{_MIXED}[A-Za-z0-9_-]{{32,}}+")),
    (_SHOPIFY, _shape("shopify", rf"{_START}shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{{32,}}+")),
    (_OCEAN, _shape("digitalocean", rf"{_START}do[opr]_v1_[a-f0-9]{{32,}}+")),
    (["SG."], _shape("sendgrid", rf"{_START}SG\.[A-Za-z0-9_-]{{16,}}+\.[A-Za-z0-9_-]{{16,}}+")),
    (["eyJ"], _shape("jwt", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}+(?:\.[A-Za-z0-9_-]{6,}+){2}")),
    (["earer "], _shape("bearer", rf"(?<=[Bb]earer ){_CREDENTIAL}")),
    (["asic "], _shape("basic", rf"(?<=[Bb]asic ){_CREDENTIAL}")),
    (["uthorization", "UTHORIZATION"], _credentials),
    (["ookie: ", "OOKIE: "], _cookies),
    (["curl"], _users),
    (["ig=", "ignature="], _signatures),
    (["@"], _url_passwords),
]


def _everything(_body: bytes) -> object:
    return True


def _suspicion(literals: list[tuple[str, str]], names: list[str]) -> Callable[[bytes], object]:
    """A quick look at a whole JSON text: nearly every event passes it and is asked nothing else.

    Each pattern begins with a letter that is rare, which is what makes a search fast. One alternation of
    them all would take five times as long.
    """
    k = re.compile(
        rb"k(?:-(?<=sk-)|_(?:live|test)_|ey(?:s?[\\\"']* *[=:]|-----| block-----)|(?:en|ies?)[\\\"']* *[=:])"
    ).search
    passwords = re.compile(rb"p(?:ass(?:[ _.-]?(?:w|phrase)|[\\\"']* *[=:])|wd[\\\"']* *[=:])").search
    secret = re.compile(rb"cre(?:t(?<=secret)s?|dentials?)[\\\"']* *[=:]").search
    auth = re.compile(rb"auth(?:orization)?[\\\"']* *[=:]").search
    scheme = re.compile(rb"b(?:earer |asic )").search
    underscore = _Later(rb"_(?:[a-z0-9]{16}|(?<=github_pat_))")
    hyphen = _Later(
        rb"-(?:-[a-z_.-]{0,64}?(?:pass|pwd|token|secret|key|auth|cookie|credential|user)|u[ =\\\"']"
        rb"|(?<=[tixy]-)(?:(?<=gl[dr]t-)|(?<=gl(?:pat|cbt|ptt)-)|(?<=xai-)|(?<=pypi-)|(?<=nvapi-)|(?<=pplx-)|(?<=tvly-)))"
    )
    element = _Later(rb"<\\*/[^<>]{0,128}(?:" + "|".join(_WORDS).encode() + rb")")
    x = _Later(rb"x(?:ox|app-)")
    capital_a = _Later(rb"A(?:[KS]IA|Iza)")
    underscore_sign, hyphen_sign, x_sign, a_sign, i_sign, g_sign, at_sign, j_sign, less_sign, equals_sign = (
        b"_-xAIG@J<="
    )

    def looks_secret(body: bytes) -> object:
        low = body.lower()
        return (
            k(low)
            or passwords(low)
            or secret(low)
            or auth(low)
            or scheme(low)
            # A number in bytes is found five times as fast as a text, and these are rare.
            or (underscore_sign in low and underscore.search(low))
            or (hyphen_sign in low and (hyphen.search(low) or (x_sign in low and x.search(low))))
            or (i_sign in body and a_sign in body and capital_a.search(body))
            or (g_sign in body and b"SG." in body)
            or (j_sign in body and b"eyJ" in body)
            or (at_sign in body and b"://" in body)
            or (less_sign in low and element.search(low))
            or (equals_sign in low and (b"sig=" in low or b"signature=" in low))
        )

    told = [
        (*_rarest(part), part) for part in {_plainest(literal) for literal, _ in literals} if not looks_secret(part)
    ]
    own = [re.compile(name.encode()).search for name in names]

    def looks_told(body: bytes) -> object:
        if looks_secret(body):
            return True
        for rare_sign, other_sign, part in told:
            if rare_sign in body and other_sign in body and part in body:
                return True
        return any(search(body) for search in own) if own else False

    return looks_told if told or own else looks_secret


_OFTEN_TO_RARE = b' etaoinsrhld"cu:,mfpgwybv._k-10253{}[]/TASIxCMWDEBj9486PRNLOFzqHGU7'


def _rarest(part: bytes) -> tuple[int, int]:
    """The two bytes of a literal that other texts hold the least."""
    signs = set(part or b"{")  # nothing is plain in the literal: every body is suspect, and has a brace
    ranked = sorted(signs, key=lambda sign: _OFTEN_TO_RARE.find(sign) % 256)  # one not listed is rarer than all
    return ranked[-1], ranked[-2:][0]


def _plainest(literal: str) -> bytes:
    """The longest part of a literal that JSON writes as it is."""
    parts: list[str] = re.findall(r'[^\\"\x00-\x1f]+', literal)
    return max(parts, key=len, default="").encode("utf-8", "replace")
