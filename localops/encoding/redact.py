"""Keep secrets out of the journal: recognise them by their shape, by the name before them, or as known literals.

This module handles literals, from the user and from the environment. `quick_look` has the fast check that most events
pass, and `shapes` finds secrets in a text. `encode` and `plain_values` apply redaction to bodies.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from localops.encoding import escapes, shapes
from localops.encoding.lazy import lazy
from localops.encoding.named_values import NAME, SOME_KEY
from localops.encoding.named_values import hides as hides
from localops.encoding.named_values import is_value_of_pair as is_value_of_pair
from localops.encoding.quick_look import looks_secret
from localops.encoding.shapes import argument as argument
from localops.encoding.urls import Later, password_in
from localops.interruption import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from localops.encoding.named_values import Span

OWN = "pattern"
"""The label of a match of the user's patterns."""
NOTE = re.compile(r"\[redacted:[^\]]*\]")
"""What replaces a secret."""
_NOTE_BEGINS = "[redacted:"
# The rest of a note at the end of a text, where an earlier release cut it.
_CUT_NOTE = re.compile(r"\[re(?:d(?:a(?:c(?:t(?:e(?:d(?::[a-z_-]*)?)?)?)?)?)?)?\Z")
SHORTEST_LITERAL = 4
"""Shorter literals are not searched for, as they occur in harmless words."""

_NAMES_KNOWN = 4096
_KNOWN_ROOM = 1 << 20  # characters; each text counts _KNOWN_EACH more
_KNOWN_EACH = 200
_LONGEST_NAME = 128
_MOST_CUT = 4  # secrets that may continue behind a part of a text that was unescaped
_MOST_SHAPES, _MOST_NAMES = 256, 64
_NO_SECRET = frozenset("password changeme change_me disabled required optional undefined".split())


class Secret(str):
    """A literal that must never be written, with the label that replaces it."""

    label: str

    def __new__(cls, value: str, label: str = "secret") -> Secret:
        """Create a secret with its label."""
        secret = super().__new__(cls, value)
        secret.label = label
        return secret


class Known:
    """A cache of names and texts that contain no secret, each with a number that the caller stores with it.

    Events repeat the same names and many texts, which need not be searched again.
    """

    def __init__(self) -> None:
        self.names: dict[str, float] = {}
        self.texts: dict[str, float] = {}
        self.shapes: dict[tuple[str, ...], float] = {}
        """The names of dicts, all of them clean, each with a number for the whole dict."""
        self._room = _KNOWN_ROOM

    def add(self, names: dict[str, float], texts: dict[str, float]) -> None:
        """Remember the clean names and texts of an event; if there are too many, forget the others."""
        size = sum(map(len, texts)) + _KNOWN_EACH * len(texts)
        if names:
            size += sum(map(len, names)) + _KNOWN_EACH * len(names)
        if size > _KNOWN_ROOM // 8:
            return
        self._room -= size
        if self._room < 0:
            self._room = _KNOWN_ROOM
            self.names.clear()
            self.texts.clear()
        if names:
            self.names.update(names)
        self.texts.update(texts)

    def add_shape(self, names: tuple[str, ...], number: float) -> None:
        """Remember the names of a dict; if there are too many dicts, forget the others."""
        if len(names) > _MOST_NAMES:
            return
        if len(self.shapes) >= _MOST_SHAPES:
            self.shapes.clear()
        self.shapes[names] = number


class Redactor:
    """Replace secrets by a note of their kind, such as `[redacted:openai]`.

    `secrets` are literals (a `Secret` has its own label), `patterns` regular expressions whose matches are replaced,
    and `keys` further names whose values are secret. `hook(name, text)` is called last for every text, and its
    result is written. With patterns or a hook, every text is visited, which takes microseconds per event.

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
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._secrets = list(secrets)
        self._environ = environ
        self.environ_data = _data({} if environ is None else environ)
        self._environ_seen: dict[Any, Any] | None = None
        self.environ_size = 0
        self._environ_secrets: list[str] = []
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._hook = hook
        self._own_words = [_own_words(key) for key in keys]
        self._own_names = [rf"(?<![A-Za-z])(?i:{w})|(?<=[a-z])(?=[A-Z])(?i:{w})" for w in self._own_words]
        self._names = "|".join([NAME, *self._own_names])
        self._labels: dict[str, str] = {}
        self._all_literals: list[tuple[str, str]] = []
        self._parts: tuple[list[tuple[str, str]], list[str]] = ([], [])
        self._literal_parts: list[tuple[int, int, bytes]] = []
        self.known = Known()
        """For callers: texts without secrets. It is replaced by a new object when the secrets change."""
        self._set_literals()
        self.look_again()
        self.suspects = _everything if self._patterns or hook else self._quick_look()
        """Return whether a JSON text may contain something to redact; False is always right, True may be wrong."""

    def look_again(self) -> bool:
        """Read the secrets in the environment again, as the program may change it while it runs.

        Return True, so that this can be a chore of the journal, which then runs it again.
        """
        if self._environ is not None:
            now = dict(_data(self._environ))
            if now != self._environ_seen:
                self._update_environment(self._environ, now)
        return True

    def _update_environment(self, environ: Mapping[str, str], now: dict[Any, Any]) -> None:
        try:
            secrets = environment_secrets(environ)
        except RuntimeError:
            # Another thread changed the environment meanwhile: try again with the next event.
            return
        self._environ_seen, self.environ_size = now, len(now)
        # Keep secrets that were removed from the environment, as the program may still use them.
        known = {str(secret): secret for secret in [*self._environ_secrets, *secrets]}
        self._environ_secrets = list(known.values())
        self._set_literals()

    def _set_literals(self) -> None:
        self._all_literals = _all_literals([*self._secrets, *self._environ_secrets])
        secrets = [*self._secrets, *self._environ_secrets]
        parts = _least(part for each in secrets if len(each) >= SHORTEST_LITERAL for part in _quick_parts(str(each)))
        self._literal_parts[:] = [(*_rarest(part), part) for part in parts if not looks_secret(part)]
        # Replaced last: a thread that is still searching for the earlier secrets adds its result to the earlier object.
        self.known = Known()

    def _quick_look(self) -> Callable[[bytes], object]:
        """Return the function `suspects`, with all it needs in local variables, as it runs for each event."""
        looks, literals, environ = looks_secret, self._literal_parts, self.environ_data
        own = [re.compile(name.encode()).search for name in self._own_names]

        def suspects(body: bytes) -> object:
            if len(environ) != self.environ_size:
                self.look_again()
            if looks(body):
                return True
            for rare_sign, other_sign, part in literals:
                if rare_sign in body and other_sign in body and part in body:
                    return True
            return any(search(body) for search in own) if own else False

        return suspects

    # Compiled when they are first used: each takes half a millisecond, and most programs have no secrets.

    @lazy
    def _name(self) -> re.Pattern[str]:
        return re.compile(rf"(?:{self._names})\Z")

    @lazy
    def _own_name_pattern(self) -> re.Pattern[str] | None:
        """Return a pattern for the end of one of the user's names, in a text in lower case."""
        words = "|".join(self._own_words)
        return re.compile(rf"(?:{words})(?=[\\\"'`*]*(?:u002[27]|&[a-z0-9#]{{2,5}};)? *[=:])") if words else None

    def has_only_shapes_for(self, text: str) -> bool:
        """Return whether a text cannot contain a secret that the user or the environment defines."""
        own = self._patterns or self._hook or self._own_names
        return not own and not any(literal in text for literal, _ in self._all_literals)

    def clean(self, text: str, name: str | None = None) -> tuple[str, int]:
        """Return the text with its secrets replaced, and their number.

        `name` is the name of the field; the hook is called only with a name, so not for names themselves.
        """
        if self._environ is not None and len(_data(self._environ)) != self.environ_size:
            self.look_again()
        # All rules search the original text, as their matches may overlap.
        spans = self._spans(text)
        for pattern in self._patterns:
            if pattern.search(text) is not None:
                spans += _matches(pattern, text)
        count = 0
        if spans and (spans := _outside_notes(text, spans)):
            text, count = _without(text, spans)
        if self._hook is not None and name is not None:
            seen, text = text, _call_hook(self._hook, name, text)
            count += seen != text
        return text, count

    def places(self, text: str) -> list[Span]:
        """Return the spans of the secrets in a text, in order; without the hook, which returns no spans.

        >>> Redactor(secrets=["correct horse"]).places("it is correct horse")
        [(6, 19, 'secret')]
        """
        spans = self._spans(text)
        for pattern in self._patterns:
            spans += _matches(pattern, text)
        return in_order(text, spans)

    def shaped(self, text: str) -> list[Span]:
        """Return the spans of secrets, without those of the user's patterns, in no order."""
        return self._spans(text)

    @property
    def patterns(self) -> list[re.Pattern[str]]:
        """Return the user's patterns."""
        return self._patterns

    def watch(self, watched: Callable[[re.Pattern[str]], Any]) -> None:
        """Replace each pattern by what a function returns for it, so that a command can report which one is slow."""
        self._patterns = list(map(watched, self._patterns))

    def number(self, value: float) -> str | None:
        """Return the note for a whole number whose digits match one of the user's patterns; None for other numbers.

        Decimal fractions are not searched: a pattern such as `\\d{13,16}` would match most of them by chance.

        >>> Redactor(patterns=[r"\\d{13,16}"]).number(4111111111111111)
        '[redacted:pattern]'
        """
        whole = int(value)
        if whole != value:
            return None
        digits = str(whole)
        return _note(OWN) if any(_matches(pattern, digits) for pattern in self._patterns) else None

    def _spans(self, text: str) -> list[Span]:
        """Return the spans of secrets by shape, by name and of literals, in no order."""
        spans = [*shapes.spans(text, self.names, self._own_name_pattern), *self._literal_spans(text)]
        longest = max((end - start for start, end, _ in spans), default=0)
        for reading in escapes.readings(text, self._is_suspect, longest):
            spans += map(reading.origin, self._literal_spans(reading.text))
            places = shapes.spans(reading.text, self.names, self._own_name_pattern, reading.zones)
            spans += map(reading.origin, places)
            cut = {reading.origin(place)[0] for place in places if reading.goes_on(place)}
            for start in sorted(cut)[:_MOST_CUT]:
                spans += self._spans_from(text, start)
        return spans

    def _spans_from(self, text: str, start: int) -> Iterator[Span]:
        """Yield the spans of a secret that starts here and is longer than the part of the text that was unescaped."""
        for reading in escapes.readings_from(text, start):
            places = shapes.spans(reading.text, self.names, self._own_name_pattern, [(0, 1)])
            yield from (place for place in map(reading.origin, places) if place[0] == start)

    def _is_suspect(self, text: str) -> object:
        """Return whether a text may contain a secret by the built-in rules, or by the user's names or literals."""
        if self._own_name_pattern is not None or any(part in text for part in self._parts_of_literals()):
            return True
        return looks_secret(text.encode("utf-8", "replace"))

    def _parts_of_literals(self) -> list[str]:
        """Return for each literal its longest part that no escape changes."""
        literals = self._all_literals
        known, parts = self._parts
        if known is not literals:  # the literals have changed with the environment
            parts = [max(re.findall("[A-Za-z0-9]*", literal), key=len) for literal, _ in literals]
            self._parts = literals, parts
        return parts

    def _literal_spans(self, text: str) -> Iterator[Span]:
        for literal, label in self._all_literals:
            at = text.find(literal)
            while at >= 0:
                yield at, at + len(literal), label
                at = text.find(literal, at + len(literal))

    def names(self, name: str) -> str:
        """Return the label for a value called `name`; empty if that is not the name of a secret.

        >>> [Redactor().names(name) for name in ("X-Api-Key", "accessToken", "prompt_tokens", "tokenizer")]
        ['api_key', 'token', '', '']
        """
        label = self._labels.get(name)
        if label is None:
            match = self._name.search(name[-_LONGEST_NAME:])
            label = _label(match[0]) if match else SOME_KEY if _SOME_KEYS.search(name[-_LONGEST_NAME:]) else ""
            if len(self._labels) >= _NAMES_KNOWN:
                self._labels.clear()
            if len(name) <= _LONGEST_NAME:
                self._labels[name] = label
        return label

    def variable(self, name: str) -> str:
        """Return the label for a value whose name is another value beside it, as in a list of variables, or ""."""
        return self.names(name) if _VARIABLE.fullmatch(name) else ""

    def option(self, argument: str) -> str:
        """Return the label for the word after an argument like `--password`, or ""."""
        return self.names(argument[2:]) if _ARGUMENT.fullmatch(argument) else ""


def is_of_value(name: str) -> bool:
    """Return whether a field's name ends in "value": then a field before it may hold its name.

    >>> [is_of_value(name) for name in ("value", "ParameterValue", "valueFrom")]
    [True, True, False]
    """
    return name[-5:].lower() == "value"


def is_of_name(name: str) -> bool:
    """Return whether a field may hold the name of another: it is called a name or key, or `path` as in a JSON patch."""
    return name[-4:].lower() == "name" or name[-3:].lower() == "key" or name == "path"


def is_collection(label: str) -> bool:
    """Return whether a label is in the plural, so that each field of such a mapping is a secret."""
    return label.endswith("s") and not label.endswith("pass")


def environment_secrets(environ: Mapping[str, str]) -> list[str]:
    """Return the values of variables with a secret's name, each as a `Secret` labelled with the name.

    >>> environment_secrets({"OPENAI_API_KEY": "abcd-efgh-1234", "HOME": "/root", "TOKEN_FILE": "/run/token"})
    ['abcd-efgh-1234']
    """
    secrets: list[str] = []
    for name, value in environ.items():
        password = password_in(value) if "@" in value and "://" in value else None
        if password:
            value = password
        if _could_be_secret(value) and (password or _is_secrets_name(name) or _is_some_key(name, value)):
            secrets.append(Secret(value, f"env {name}"))
    return secrets


def _data(environ: Mapping[str, str]) -> Mapping[Any, Any]:
    """Return the dict inside `os.environ`, whose length is computed five times as fast."""
    inner = getattr(environ, "_data", environ)
    return inner if isinstance(inner, dict) else environ


def _is_secrets_name(name: str) -> bool:
    """Return whether a name is that of a secret; mostly without the pattern, which takes milliseconds to compile."""
    if name.isupper() and name.endswith(_SURE_ENDS):
        return True
    return name.lower().endswith(_ENDS) and _SECRETS_NAME.search(name) is not None


def _is_some_key(name: str, value: str) -> bool:
    """Return whether a variable named `…_KEY` has a value like a key; SORT_KEY=created_at has not."""
    return name.upper().endswith("_KEY") and len(value) >= 16 and any(map(str.isdigit, value))


def _could_be_secret(value: str) -> bool:
    """Return whether a value is not an ordinary word, path or address; a short one must contain more than letters."""
    plain = value.lower()
    is_place = plain.startswith(("/", "./", "../", "~", "file:", "http://", "https://"))
    is_odd = len(value) >= 6 and not plain.isalpha() and not plain.isdigit()
    return (len(value) >= 8 or is_odd) and not is_place and plain not in _NO_SECRET


def _call_hook(hook: Callable[[str, str], str], name: str, text: str) -> str:
    try:
        answer: object = hook(name, text)
    except BaseException as error:  # if the hook fails, the text must not be written
        try:
            answer = settle(error, lambda: hook(name, text))
        except BaseException:
            return "[redacted:hook failed]"
    return answer if isinstance(answer, str) else "[redacted:hook failed]"


def _all_literals(secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Return all escaped forms of each literal, with its label."""
    literals: dict[str, str] = {}
    for secret in secrets:
        if len(secret) >= SHORTEST_LITERAL:
            for form in _forms(str(secret)):
                literals.setdefault(form, getattr(secret, "label", "secret"))
    return list(literals.items())


def _forms(secret: str) -> list[str]:
    """Return a literal unchanged, and as JSON, JSON inside JSON, Python, URLs, HTML and XML escape it."""
    if re.fullmatch(r"[\w.~-]+", secret, re.ASCII):
        return [secret]
    from json import dumps
    from urllib.parse import quote, quote_plus

    octets = secret.encode("utf-8", "replace")
    once = [dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
    # Some encoders escape more than JSON requires: slashes, and characters that are special in HTML.
    once += [form.replace("/", "\\/") for form in (secret, *once)]
    once += [_as_numbers(form, signs, case) for form in once for signs in _SIGNS_OF_PAGES for case in "xX"]
    # Python escapes apostrophes only in a text with both kinds of quotes: put both before it.
    once += [repr(secret)[1:-1], repr(f"'\"{secret}")[4:-1], repr(octets)[2:-1]]
    twice = [dumps(form, ensure_ascii=False)[1:-1] for form in once]
    addresses = [quote(octets, safe=""), quote(octets), quote_plus(octets)]
    marked = [_as_markup(secret, *quotes) for quotes in _QUOTES_IN_MARKUP]
    return [secret, *once, *twice, *marked, *addresses, quote(addresses[0])]


_SIGNS_OF_PAGES = ("<>&", "<>&'=", "<>&'+", "<>&'=+")


def _as_numbers(form: str, signs: str, case: str) -> str:
    return re.sub(f"[{signs}]", lambda sign: f"\\u{ord(sign[0]):04{case}}", form)


def _as_markup(secret: str, quote: str, apostrophe: str) -> str:
    plain = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace('"', quote).replace("'", apostrophe)


_QUOTES_IN_MARKUP = [('"', "'"), ("&quot;", "&#x27;"), ("&quot;", "&#39;"), ("&quot;", "&apos;"), ("&#34;", "&#39;")]


_SECRETS_NAME = Later(rf"(?:{NAME})\Z")
# Every name that the pattern matches ends in one of _ENDS; a name in capitals that ends in one of _SURE_ENDS matches.
_ENDS = tuple("word words wort wd phrase key keys pass credential credentials secret secrets cookie cookies".split())
_ENDS += ("authorization", "data", "mnemonic", "token", "auth")
_SURE_ENDS = tuple("_API_KEY _ACCESS_KEY _SECRET_KEY _PRIVATE_KEY _SECRET _PASSWORD _TOKEN".split())
_SOME_KEYS = Later(r"(?:(?i:[a-z0-9][ _.-]keys?)|[a-z0-9]Keys?)\Z")
_VARIABLE = Later(r"[A-Za-z0-9_.:/-]{1,128}")
_ARGUMENT = Later(r"--[A-Za-z_.-]{1,64}")


def _own_words(key: str) -> str:
    """Return a pattern for one of the user's names, in lower case, with any separators between its words."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z _.-]+", key)
    return "[ _.-]?".join(re.escape(word.lower()) for word in words)


def _label(name: str) -> str:
    return re.sub("[ .-]", "_", name.lower())


def _without(text: str, spans: list[Span]) -> tuple[str, int]:
    """Return the text with a note for each secret, and their number."""
    parts, done, count = [], 0, 0
    for start, end, label in _merged(spans):
        parts += [text[done:start], _note(label)]
        done, count = end, count + 1
    return "".join([*parts, text[done:]]), count


def _note(label: str) -> str:
    return f"{_NOTE_BEGINS}{label}]"


def _matches(pattern: re.Pattern[str], text: str) -> list[Span]:
    # Empty matches are skipped.
    return [(match.start(), match.end(), OWN) for match in pattern.finditer(text) if match[0]]


def in_order(text: str, spans: list[Span]) -> list[Span]:
    """Return spans in order, overlapping ones merged, without those inside notes."""
    spans = _outside_notes(text, spans)
    return list(_merged(spans)) if spans else []


def _outside_notes(text: str, spans: list[Span]) -> list[Span]:
    """Return spans without those that are part of a note; a span that overlaps a note is extended to all of it."""
    if not spans or _NOTE_BEGINS[:3] not in text:
        return spans
    notes = [match.span() for match in NOTE.finditer(text)]
    if (rest := _CUT_NOTE.search(text, text.rfind("["))) is not None:
        notes.append(rest.span())
    return [around for span in spans if (around := _with_notes(span, notes)) is not None]


def cut(text: str, limit: int) -> str:
    """Return the beginning of a clean text, of at most `limit` characters; a note is kept whole.

    >>> cut("key [redacted:openai] and more", 20)
    'key[redacted:openai]'
    """
    if len(text) <= limit:
        return text
    start = text.rfind(_NOTE_BEGINS, 0, limit - 1 + len(_NOTE_BEGINS))
    note = NOTE.match(text, start) if start >= 0 else None
    if note is None or note.end() <= limit:
        return text[:limit]
    left = limit - len(note.group())
    return cut(text[:start], left) + note.group() if left >= 0 else text[:start]


def _with_notes(span: Span, notes: list[tuple[int, int]]) -> Span | None:
    """Return a span extended to the notes that it overlaps; None if it contains only notes."""
    start, end, label = span
    noted = 0
    for note_start, note_end in notes[max(0, bisect_right(notes, (start,)) - 1) :]:
        if note_start >= end:
            break
        if note_end > start:
            start, end = min(start, note_start), max(end, note_end)
            noted += note_end - note_start
    return (start, end, label) if noted < end - start else None


def _merged(spans: list[Span]) -> Iterator[Span]:
    """Yield spans in order, overlapping ones merged, with the label of the longest."""
    spans.sort()
    start, end, label = spans[0]
    longest = end - start
    for next_start, next_end, next_label in spans[1:]:
        if next_start < end:
            if next_end - next_start > longest:
                longest, label = next_end - next_start, next_label
            end = max(end, next_end)
            continue
        yield start, end, label
        start, end, label = next_start, next_end, next_label
        longest = end - start
    yield start, end, label


def _everything(_body: bytes) -> object:
    return True


_OFTEN_TO_RARE = b' etaoinsrhld"cu:,mfpgwybv._k-10253{}[]/TASIxCMWDEBj9486PRNLOFzqHGU7'


def _rarest(part: bytes) -> tuple[int, int]:
    """Return the two bytes of a literal that are rarest in ordinary texts."""
    ranked = sorted(set(part), key=lambda sign: _OFTEN_TO_RARE.find(sign) % 256)  # one not listed is rarer than all
    return ranked[-1], ranked[-2:][0]


_LONG_PART, _LONG_RUN = 6, 8


def _quick_parts(secret: str) -> list[bytes]:
    """Return the parts to search for in the JSON of a body: each form of a literal contains one of them."""
    runs: list[str] = re.findall(r"[A-Za-z0-9_.~-]+", secret)
    run = max(runs, key=len, default="")
    # Every form contains this run unchanged; but a run of only letters may be an ordinary word.
    if len(run) >= _LONG_RUN and not run.isalpha():
        return [run.encode()]
    return [part for form in _forms(secret) for part in _parts(form)]


def _parts(form: str) -> list[bytes]:
    """Return the longest part that JSON does not escape; if it is short, the whole form, unescaped and as JSON."""
    parts: list[str] = re.findall(r'[^\\"\x00-\x1f]+', form)
    longest = max(parts, key=len, default="")
    if longest == form or len(longest) >= _LONG_PART:
        return [longest.encode("utf-8", "replace")]
    from json import dumps

    return [each.encode("utf-8", "replace") for each in (form, dumps(form, ensure_ascii=False)[1:-1])]


def _least(parts: Iterable[bytes]) -> list[bytes]:
    """Drop parts that contain another part: searching for the contained one is enough."""
    least: list[bytes] = []
    for part in sorted(set(parts), key=len):
        if not any(other in part for other in least):
            least.append(part)
    return least
