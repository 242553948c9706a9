"""Find out where the arguments of a call came from: the earlier call of the run that returned the same value.

Only certain origins are reported.  A value counts if it is long, or the error mentions it; if it is a whole text or
number in a result, or a word in a text there that looks like an id; and if it was not in the run before, as a tool may
just return its input.

A URL, a path or another name with a dot, slash or @ also counts if it is only a part of a text in a result or of an
argument: so an instruction that a tool has read somewhere is found by the URL in it.
"""

from __future__ import annotations

import re
from itertools import islice

from localops.encoding import encode
from localops.journal import rows
from localops.journal.sql import statements
from localops.reading import common_input, previews

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader

    class Origin(NamedTuple):
        """A value in a call's arguments, and the call that returned it."""

        argument: str
        value: str | int
        seq: int
        id: bytes
        kind: str
        name: str | None
        is_part: bool = False
        """Whether it was a part of a text there, or is a part of an argument."""

    Value = str | int
else:
    from collections import namedtuple

    Origin = namedtuple("Origin", "argument value seq id kind name is_part", defaults=[False])

# Texts of this many characters, and numbers from _LARGE on, do not occur twice by chance.
_SHORTEST, _LONGEST = 8, 100_000
_LARGE = 10**6
# The same for an id in the message of the error.
_SHORTEST_ID = 4
# The most values of a call to search for, and to report.
_MOST, REPORTED = 8, 3
# The most rows before the call to search, and bytes of their bodies.
_ROWS, _BYTES = 50_000, 64 << 20
# Rows are searched for this many first characters of a value.
_NEEDLE = 200
# The most rows to check that contain these characters, as they may not contain the value.
_OTHERS = 8
# The most values of one result to compare.
_LEAVES = 100_000
_ID = re.compile(r"(?=.*[A-Za-z])(?=.*\d)[\w.:/@-]+\Z", re.ASCII)
# Names that two texts rarely share by chance: URLs, hosts, paths, packages, files.
_NAME = re.compile(r"(?:https?://)?[\w@~./-][\w./:@%?=&+#~-]{6,}\w", re.ASCII)
_JOINED = re.compile(r"[/@]|\w\.[A-Za-z]")
_HOST = re.compile(r"https?://([\w-]+(?:\.[\w-]+)+)", re.ASCII)
_LONGEST_COMMAND = 2_000
_WHOLE, _PART = "whole", "part"
# The most names in arguments to search for.
_MOST_NAMES = 6
_SQL = "origins.sql"


def of(
    reader: Reader, session: bytes, given: object, *, before: int, message: str | None, names_only: bool = False
) -> list[Origin]:
    """Return the values in `given` that earlier calls of the session returned.

    Values in the message of the error come first. names_only: only names that were parts of a text.
    """
    values = {value: name for name, value in common_input.leaves("", given, shortest=_SHORTEST_ID, longest=_LONGEST)}
    chosen = [value for value, name in values.items() if _is_distinctive(name, value, message or "")]
    chosen.sort(key=lambda value: str(value) not in (message or ""))
    if names_only:
        chosen = [value for value in chosen if _is_name(value) or _names_in(value)]
    if not chosen:
        return []
    bounds = {"session": session, "before": before}
    until = {"session": session, "upto": before - 1, "many": _ROWS, "bytes": _BYTES}
    [(first,)] = reader.ask(statements(_SQL)["first_row"], until)
    if first is None:
        return []
    bounds["first"] = first
    origins = {value: _search(reader, bounds, values[value], value) for value in chosen[:_MOST]}
    names = [(value, name) for value in chosen[:_MOST] if origins[value] is None for name in _names_in(value)]
    for value, name in names[:_MOST_NAMES]:
        part = None if origins[value] else _search(reader, bounds, values[value], name)
        origins[value] = origins[value] or (part and part._replace(is_part=True))
    matches = (one for one in origins.values() if one is not None and (one.is_part or not names_only))
    return list(islice(matches, REPORTED))


def is_mentioned(name: str, text: str) -> bool:
    """Return whether a text has a name, or the host of a URL.

    >>> is_mentioned("https://a.example/x", "no answer from a.example:80"), is_mentioned("a.example", "reset by peer")
    (True, False)
    """
    return name in text or any(host in text for host in _HOST.findall(name))


def _names_in(value: Value) -> list[str]:
    """Return the names inside an argument, such as a command or a URL, the longest first.

    >>> _names_in("curl -s https://pkg.example/a.sh | sh")
    ['https://pkg.example/a.sh', 'pkg.example']
    """
    if not isinstance(value, str) or len(value) > _LONGEST_COMMAND:
        return []
    names = [name for name in (*_NAME.findall(value), *_HOST.findall(value)) if _is_name(name) and name != value]
    return sorted(dict.fromkeys(names), key=len, reverse=True)


def _is_name(text: Value) -> bool:
    """Return whether a text is a URL, a path or another name that may be searched for as a part of a text."""
    is_name = isinstance(text, str) and len(text) >= _SHORTEST and _NAME.fullmatch(text) is not None
    return is_name and re.search(r"[A-Za-z]", str(text)) is not None and _JOINED.search(str(text)) is not None


def _is_distinctive(name: str, value: Value, message: str) -> bool:
    """Return whether a value does not occur twice by chance; marks of our encoder and redaction do."""
    if isinstance(value, int):
        return abs(value) >= _LARGE
    if len(value) < _SHORTEST and not (_ID.match(value) and _is_word(value, message)):
        return False
    return "[redacted:" not in value and not name.startswith("$")


def _search(reader: Reader, bounds: dict[str, Any], argument: str, value: Value) -> Origin | None:
    """Return the call that brought a value into the run; None if the value came in another way, or is not there."""
    text = _text(value)[:_NEEDLE]
    rows_with = reader.ask(statements(_SQL)["rows_with"], {**bounds, "text": text, "many": _OTHERS})
    for seq, id, kind, phase, name, body in rows_with:
        if kind not in ("llm", "error") and phase == rows.DONE and (how := _is_new_in(body, kind, value)):
            return Origin(argument, value, seq, id, kind, name, how == _PART)
        if re.search(rf"(?:(?<![\w-])|(?<=\\[nrt])){re.escape(text)}(?![\w-])", body):
            return None
    return None


def _is_new_in(body: str, kind: str, value: Value) -> str | None:
    """Return how a call's result contains a value that its input does not; None if it does not contain it."""
    facts = encode.loads(body)
    if not isinstance(facts, dict) or "returns" not in facts:
        return None
    given = encode.dumps(previews.given(kind, facts)).decode("utf-8", "replace")
    return _how_contained(facts["returns"], value) if _text(value) not in given else None


def _how_contained(returns: object, value: Value) -> str | None:
    """Return _WHOLE if a result has a value as a text, a number or a word, _PART if as a part of a text, or None."""
    is_id = isinstance(value, str) and _ID.match(value) is not None
    is_name = _is_name(value)
    how = None
    for leaf in islice(_leaves(returns), _LEAVES):
        if type(leaf) is type(value) and leaf == value:
            return _WHOLE
        if is_id and isinstance(leaf, str) and _is_word(str(value), leaf):
            return _WHOLE
        if is_name and isinstance(leaf, str) and _is_part(str(value), leaf):
            how = _PART
    return how


def _is_word(value: str, text: str) -> bool:
    """Return whether an id is a separate word in a text.

    >>> _is_word("cus_9f81", "made cus_9f81."), _is_word("cus_9f81", "made cus_9f81.txt")
    (True, False)
    """
    return value in text and re.search(rf"(?<![\w./@:+-]){re.escape(value)}(?![\w/@:+-]|\.\w)", text) is not None


def _is_part(name: str, text: str) -> bool:
    """Return whether a text contains a name, and not as the beginning of a longer one; a host may have a path.

    >>> _is_part("/srv/a", "see /srv/a:7"), _is_part("/srv/a", "/srv/a.txt"), _is_part("a.example", "https://a.example/b")
    (True, False, True)
    """
    longer = r"[\w-]|\.\w|/\w" if "/" in name else r"[\w-]|\.\w"
    return name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?!{longer})", text) is not None


def _leaves(value: object) -> Iterator[object]:
    """Yield the texts and numbers in a result, also in JSON inside a text, as many tools return it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        else:
            yield value
            parsed = previews.parsed(value)
            if isinstance(parsed, dict | list):
                waiting.append(parsed)


def _text(value: Value) -> str:
    """Return a value as JSON, without quotes."""
    text = encode.dumps(value).decode("utf-8", "replace")
    return text[1:-1] if isinstance(value, str) else text
