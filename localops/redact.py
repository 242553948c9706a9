"""What must not be written: secrets, known by their shape, by the name in front of them, or because we were told.

It owns the patterns, the cheap test that most events pass, and the secrets of the environment. Where the text comes
from and where it goes is the business of `encode`.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SHORTEST_LITERAL = 4
"""A literal below this many characters would be found in innocent words, so it is not looked for."""

_NEVER_SECRET = frozenset(
    "password passwd changeme change_me secret disabled enabled required optional default undefined".split()
)
_NAME_CACHE = 4096


class Secret(str):
    """A literal that must never be written, with the words that take its place."""

    label: str

    def __new__(cls, value: str, label: str = "secret") -> Secret:
        secret = super().__new__(cls, value)
        secret.label = label
        return secret


class Redactor:
    """Replaces secrets by a note of what stood there, such as `[redacted:openai]`.

    `secrets` are literals (a `Secret` brings its label), `patterns` regular expressions of which every match is replaced,
    `keys` further names whose values are secret, and `hook(name, text)` a last look at every string: what it returns is
    written. With patterns or a hook every string is visited, which costs microseconds where the built-in rules cost none.

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
        self._keys = frozenset("".join(_words(key)) for key in keys) - {""}
        self._hook = hook
        self._named: dict[str, str] = {}
        self.always = bool(self._patterns or hook or self._keys)
        self.suspects = _suspicion(self._literals) if not self.always else _suspect_all

    def clean(self, text: str, name: str = "") -> tuple[str, int]:
        """The text without its secrets, and how many were taken out; `name` is what the text was called, if anything."""
        count = 0
        for literal, replacement in self._literals:
            if literal in text:
                count += text.count(literal)
                text = text.replace(literal, replacement)
        for needles, find in _SHAPES:
            if any(needle in text for needle in needles):
                text, found = find(text)
                count += found
        for pattern in self._patterns:
            text, found = pattern.subn("[redacted:pattern]", text)
            count += found
        if self._hook is not None:
            seen, text = text, self._ask(name, text)
            count += seen != text
        return text, count

    def names(self, name: str) -> str:
        """The label for whatever is called `name`, or an empty string when that name is no secret's.

        >>> [Redactor().names(name) for name in ("X-Api-Key", "accessToken", "prompt_tokens", "tokenizer")]
        ['api_key', 'token', '', '']
        """
        label = self._named.get(name)
        if label is None:
            label = self._label(name[-256:])
            if len(self._named) >= _NAME_CACHE:
                self._named.clear()
            if len(name) <= 256:
                self._named[name] = label
        return label

    def _label(self, name: str) -> str:
        words = _words(name)
        squashed = "".join(words)
        if squashed in self._keys:
            return squashed
        if not words:
            return ""
        if words[-1] in _WORD_LABELS:
            return _WORD_LABELS[words[-1]]
        return next((label for ending, label in _ENDING_LABELS.items() if squashed.endswith(ending)), "")

    def _ask(self, name: str, text: str) -> str:
        assert self._hook is not None
        try:
            answer = self._hook(name, text)
        except Exception:
            # A hook that fails cannot vouch for the text, so the text is what has to go.
            return "[redacted:hook failed]"
        return answer if isinstance(answer, str) else "[redacted:hook failed]"


def environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """The values in an environment that its own names call secret, each labelled with the name it was found under.

    >>> environment_secrets({"OPENAI_API_KEY": "abcd-efgh-1234", "HOME": "/root", "TOKEN_FILE": "/run/token"})
    ['abcd-efgh-1234']
    """
    name_of = Redactor().names
    found: list[str] = []
    for name, value in environ.items():
        named = name_of(name) or (
            _words(name)[-1:] == ["key"] and len(value) >= 16 and any(map(str.isdigit, value))
        )
        password = _URL.search(value)
        if password:
            value = password["password"]
        if (named or password) and _could_be_secret(value):
            found.append(Secret(value, f"env {name}"))
    return found


def _could_be_secret(value: str) -> bool:
    plain = value.lower().startswith(("/", "./", "~", "file:", "http://", "https://"))
    return len(value) >= 8 and not plain and value.lower() not in _NEVER_SECRET


def _literals(secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Each literal with its replacement, also as it looks inside JSON and URLs; the longest first, so that none hides in another."""
    found: dict[str, str] = {}
    for secret in secrets:
        if len(secret) >= SHORTEST_LITERAL:
            for form in _forms(str(secret)):
                found.setdefault(form, f"[redacted:{getattr(secret, 'label', 'secret')}]")
    return sorted(found.items(), key=lambda pair: -len(pair[0]))


def _forms(secret: str) -> list[str]:
    if re.fullmatch(r"[\w.~-]+", secret, re.ASCII):
        return [secret]
    from json import dumps
    from urllib.parse import quote, quote_plus

    inner = [dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
    readable = secret.encode("utf-8", "replace")
    return [
        secret,
        *inner,
        *(dumps(form)[1:-1] for form in inner),
        quote(readable, safe=""),
        quote(readable),
        quote_plus(readable),
    ]


# --- names -----------------------------------------------------------------------------------------------------------

# Whole words only: a "token" is a secret, "prompt_tokens" and "tokenizer" are what every LLM call is full of.
_WORD_LABELS = {
    "token": "token",
    "secret": "secret",
    "secrets": "secret",
    "pwd": "password",
    "jwt": "jwt",
    "bearer": "bearer",
    "cookie": "cookie",
}
# These are distinctive enough to count at the end of any name, however its words are joined.
_ENDING_LABELS = {
    "password": "password",
    "passwords": "password",
    "passwd": "password",
    "passphrase": "password",
    "apikey": "api_key",
    "apikeys": "api_key",
    "secretkey": "secret_key",
    "accesskey": "access_key",
    "privatekey": "private_key",
    "signingkey": "signing_key",
    "encryptionkey": "encryption_key",
    "authorization": "authorization",
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z _.:/-]+")


def _words(name: str) -> list[str]:
    """The words of a name, whether snake_case, kebab-case, camelCase, SHOUTED or spaced."""
    return [word.lower() for word in _WORD.findall(name)]


# --- shapes ----------------------------------------------------------------------------------------------------------
# Quantifiers are possessive or bounded, and a start is only a start where the run before it ended: linear on any text.

_QUOTE = r"\\{0,7}[\"']"
_NAMED = re.compile(
    r"""(?P<name>
          (?i:passwords?|passwd|passphrase|api[ _.-]?keys?|secret[ _.-]?key|access[ _.-]?key|private[ _.-]?key
            |signing[ _.-]?key|encryption[ _.-]?key|authorization)
          | (?<![A-Za-z])(?i:token|secrets?|pwd|jwt|cookie)
          | (?<=[a-z])(?:Token|Secrets?|Pwd|Jwt|Cookie)
        )
        (?:\\{0,7}["'])?+ [ \t]{0,8}+ (?:=>|:=|[=:]) [ \t]{0,8}+
        (?:(?P<quote>\\{0,7}["'])(?!\[redacted:)(?P<quoted>[^"'\\\r\n]{4,4096}+)(?=\\{0,7}["'])
          |(?P<bare>(?=[^\s"'\\,;&]{0,64}?[0-9])[^\s"'\\,;&<>(){}\[\]|]{6,4096}+)(?![(\[]))""",
    re.VERBOSE,
)
_URL = re.compile(r"://[^\s:/@\"'\\?#]{0,128}+:(?!\[redacted:)(?P<password>[^\s/@\"'\\]{1,256}+)@")


def _shape(label: str, pattern: str) -> Callable[[str], tuple[str, int]]:
    compiled: list[re.Pattern[str]] = []

    def find(text: str) -> tuple[str, int]:
        if not compiled:
            compiled.append(re.compile(pattern))
        return compiled[0].subn(f"[redacted:{label}]", text)

    return find


def _find_private_keys(text: str) -> tuple[str, int]:
    """Takes out PEM private keys by searching for the end: one pattern for the whole of it would be quadratic."""
    out, done, count = [], 0, 0
    for begin in re.finditer(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", text):
        if begin.start() < done:
            continue
        end = text.find("-----END", begin.end())
        close = text.find("KEY-----", end) if end >= 0 else -1
        out += [text[done : begin.start()], "[redacted:private_key]"]
        done = close + len("KEY-----") if 0 <= close <= end + 64 else len(text)
        count += 1
    return "".join([*out, text[done:]]), count


def _find_urls(text: str) -> tuple[str, int]:
    return _replace_group(_URL, text, lambda match: ("password", "url"))


def _find_named(text: str) -> tuple[str, int]:
    def group(match: re.Match[str]) -> tuple[str, str]:
        name = "".join(_words(match["name"]))
        label = _WORD_LABELS.get(name) or _ENDING_LABELS[name]
        return ("quoted" if match["quote"] else "bare", label)

    return _replace_group(_NAMED, text, group)


def _replace_group(
    pattern: re.Pattern[str], text: str, group: Callable[[re.Match[str]], tuple[str, str]]
) -> tuple[str, int]:
    out, done, count = [], 0, 0
    for match in pattern.finditer(text):
        which, label = group(match)
        out += [text[done : match.start(which)], f"[redacted:{label}]"]
        done = match.end(which)
        count += 1
    return "".join([*out, text[done:]]), count


_START = r"(?<![A-Za-z0-9])"
_MIXED = r"(?=[a-z_-]{0,64}[A-Z0-9])"
_SHAPES: tuple[tuple[tuple[str, ...], Callable[[str], tuple[str, int]]], ...] = (
    (("PRIVATE KEY",), _find_private_keys),
    (("sk-ant-",), _shape("anthropic", rf"{_START}sk-ant-{_MIXED}[A-Za-z0-9_-]{{12,}}+")),
    (("sk-",), _shape("openai", rf"{_START}sk-{_MIXED}[A-Za-z0-9_-]{{16,}}+")),
    (("k_live_", "k_test_"), _shape("stripe", rf"{_START}[rs]k_(?:live|test)_[A-Za-z0-9]{{10,}}+")),
    (("gsk_",), _shape("groq", rf"{_START}gsk_[A-Za-z0-9]{{16,}}+")),
    (("AKIA", "ASIA"), _shape("aws", rf"{_START}A[KS]IA[A-Z0-9]{{16}}(?![A-Za-z0-9])")),
    (("github_pat_",), _shape("github", rf"{_START}github_pat_[A-Za-z0-9_]{{20,}}+")),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), _shape("github", rf"{_START}gh[pousr]_[A-Za-z0-9]{{20,}}+")),
    (("glpat-",), _shape("gitlab", rf"{_START}glpat-[A-Za-z0-9_-]{{16,}}+")),
    (("xox",), _shape("slack", rf"{_START}xox[a-z]-[A-Za-z0-9-]{{10,}}+")),
    (("xapp-",), _shape("slack", rf"{_START}xapp-[A-Za-z0-9-]{{10,}}+")),
    (("AIza",), _shape("google", rf"{_START}AIza[A-Za-z0-9_-]{{30,}}+")),
    (("hf_",), _shape("huggingface", rf"{_START}hf_{_MIXED}[A-Za-z0-9]{{20,}}+")),
    (
        ("eyJ",),
        _shape("jwt", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}+\.[A-Za-z0-9_-]{6,}+\.[A-Za-z0-9_-]{6,}+"),
    ),
    (
        ("earer ",),
        _shape(
            "bearer", r"(?<=[Bb]earer )\s{0,8}+(?=[A-Za-z._~+/-]{0,64}[0-9=])[A-Za-z0-9._~+/-]{8,}+={0,2}+"
        ),
    ),
    (
        ("asic ",),
        _shape("basic", r"(?<=[Bb]asic )\s{0,8}+(?=[A-Za-z+/-]{0,64}[0-9=])[A-Za-z0-9+/_-]{8,}+={0,2}+"),
    ),
    (("@",), _find_urls),
    (("=", ":"), _find_named),
)


# --- suspicion -------------------------------------------------------------------------------------------------------


def _suspect_all(_body: bytes) -> object:
    return True


def _suspicion(literals: list[tuple[str, str]]) -> Callable[[bytes], object]:
    """A test of a whole JSON body that may be wrong, but only by saying yes: most events are asked nothing else."""
    needles = [_plainest(literal) for literal, _ in literals]
    pattern = re.compile(
        b"sk-|k_live_|k_test_|gsk_|akia|asia|gh[pousr]_|github_pat_|glpat-|xox|xapp-|aiza|hf_|eyj|earer |asic "
        b"|private key|api[ _.:/-]*key|(?:secret|access|private|signing|encryption)[ _.:/-]*key|pass[ _.:/-]*w|pass[ _.:/-]*phrase"
        b"|secrets?[\\\\\"' \t]*[:=]|(?:token|pwd|jwt|bearer|cookie)[\\\\\"' \t]*[:=]|authorization|://[^ /]*@".replace(
            b"[:=]", b"(?:[:=]|[^a-rt-z])"
        )
    )

    def suspects(body: bytes) -> bool:
        lowered = body.lower()
        return pattern.search(lowered) is not None or any(needle in body for needle in needles)

    return suspects


def _plainest(literal: str) -> bytes:
    """The longest part of a literal that JSON writes as it is."""
    return max(re.findall(r'[^\\"\x00-\x1f]*', literal), key=len).encode("utf-8", "replace")
