"""Where the arguments of a call came from: the earlier call of the run that returned the same value.

Only what is certain is claimed.  A value counts if it is long, or the error names it; if it is the whole of a text or
number in a result, or a word of a text there that looks like an id; and if it was not in the run before: a tool that
gives back what it was given has not brought it in.

An address, a path or another name with a dot, a slash or an @ in it counts as well where it is a part of a text, and so
does one in an argument: an instruction that a tool read somewhere is found by the address that it names.
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
        """A value that a call was given, and the row of the call that returned it."""

        argument: str
        value: str | int
        seq: int
        id: bytes
        kind: str
        name: str | None
        is_part: bool = False
        """Whether it was a part of a text there, or is a part of what the call was given."""

    Value = str | int
else:
    from collections import namedtuple

    Origin = namedtuple("Origin", "argument value seq id kind name is_part", defaults=[False])

# Characters of a text, and digits of a number, that no other value has by chance.
_SHORTEST, _LONGEST = 8, 100_000
_LARGE = 10**6
# The same of an id that the message of the error names.
_SHORTEST_ID = 4
# Values of a call that are looked for, and that are reported.
_MOST, REPORTED = 8, 3
# Rows before the call that are searched, and bytes of their bodies.
_ROWS, _BYTES = 50_000, 64 << 20
# Characters of a value that rows are searched for.
_NEEDLE = 200
# Rows that have these characters, and yet not the value.
_OTHERS = 8
# Values in one result that are compared.
_LEAVES = 100_000
_ID = re.compile(r"(?=.*[A-Za-z])(?=.*\d)[\w.:/@-]+\Z", re.ASCII)
# Names that two texts rarely share by chance: addresses, hosts, paths, packages, files.
_NAME = re.compile(r"(?:https?://)?[\w@~./-][\w./:@%?=&+#~-]{6,}\w", re.ASCII)
_JOINED = re.compile(r"[/@]|\w\.[A-Za-z]")
_HOST = re.compile(r"https?://([\w-]+(?:\.[\w-]+)+)", re.ASCII)
_LONGEST_COMMAND = 2_000
_WHOLE, _PART = "whole", "part"
# Names in arguments that are looked for by themselves.
_MOST_NAMES = 6
_SQL = "origins.sql"


def of(
    reader: Reader, session: bytes, given: object, *, before: int, message: str | None, names_only: bool = False
) -> list[Origin]:
    """Return those values in `given` that calls of a session returned before a row.

    Those that the message of the error names come first. names_only: only names that were parts of a text.
    """
    values = {value: name for name, value in common_input.leaves("", given, shortest=_SHORTEST_ID, longest=_LONGEST)}
    chosen = [value for value, name in values.items() if _is_telling(name, value, message or "")]
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


def _names_in(value: Value) -> list[str]:
    """Return the names that are parts of an argument, the longest first: it may be a command, or an address of a host.

    >>> _names_in("curl -s https://pkg.example/a.sh | sh")
    ['https://pkg.example/a.sh', 'pkg.example']
    """
    if not isinstance(value, str) or len(value) > _LONGEST_COMMAND:
        return []
    names = [name for name in (*_NAME.findall(value), *_HOST.findall(value)) if _is_name(name) and name != value]
    return sorted(dict.fromkeys(names), key=len, reverse=True)


def _is_name(text: Value) -> bool:
    """Return whether a text is an address, a path or another name that is found as a part of a text."""
    is_name = isinstance(text, str) and len(text) >= _SHORTEST and _NAME.fullmatch(text) is not None
    return is_name and re.search(r"[A-Za-z]", str(text)) is not None and _JOINED.search(str(text)) is not None


def _is_telling(name: str, value: Value, message: str) -> bool:
    """Return whether no other value is the same by chance: what our encoder and redaction write is."""
    if isinstance(value, int):
        return abs(value) >= _LARGE
    if len(value) < _SHORTEST and not (_ID.match(value) and _is_word(value, message)):
        return False
    return "[redacted:" not in value and not name.startswith("$")


def _search(reader: Reader, bounds: dict[str, Any], argument: str, value: Value) -> Origin | None:
    """Return the call that brought a value into the run; None if it was there in another way, or not at all."""
    text = _text(value)[:_NEEDLE]
    rows_with = reader.ask(statements(_SQL)["rows_with"], {**bounds, "text": text, "many": _OTHERS})
    for seq, id, kind, phase, name, body in rows_with:
        if kind not in ("llm", "error") and phase == rows.DONE and (how := _is_new_in(body, kind, value)):
            return Origin(argument, value, seq, id, kind, name, how == _PART)
        if re.search(rf"(?:(?<![\w-])|(?<=\\[nrt])){re.escape(text)}(?![\w-])", body):
            return None
    return None


def _is_new_in(body: str, kind: str, value: Value) -> str | None:
    """Return how a call returned a value that is not in what it was given; None if it did not."""
    facts = encode.loads(body)
    if not isinstance(facts, dict) or "returns" not in facts:
        return None
    given = encode.dumps(previews.given(kind, facts)).decode("utf-8", "replace")
    return _held(facts["returns"], value) if _text(value) not in given else None


def _held(returns: object, value: Value) -> str | None:
    """Return whether a result has a value as one of its texts or numbers or as an id in a text, or as a part of one."""
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
    """Return whether an id stands by itself in a text.

    >>> _is_word("cus_9f81", "made cus_9f81."), _is_word("cus_9f81", "made cus_9f81.txt")
    (True, False)
    """
    return value in text and re.search(rf"(?<![\w./@:+-]){re.escape(value)}(?![\w/@:+-]|\.\w)", text) is not None


def _is_part(name: str, text: str) -> bool:
    """Return whether a name stands in a text, and not as the beginning of a longer one; a host may have a path.

    >>> _is_part("/srv/a", "see /srv/a:7"), _is_part("/srv/a", "/srv/a.txt"), _is_part("a.example", "https://a.example/b")
    (True, False, True)
    """
    longer = r"[\w-]|\.\w|/\w" if "/" in name else r"[\w-]|\.\w"
    return name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?!{longer})", text) is not None


def _leaves(value: object) -> Iterator[object]:
    """Yield the texts and numbers in a result, also of JSON in a text, as many tools return it."""
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
    """Return a value as it stands in JSON, without quotes."""
    text = encode.dumps(value).decode("utf-8", "replace")
    return text[1:-1] if isinstance(value, str) else text
