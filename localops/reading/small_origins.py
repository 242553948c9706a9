"""Find where small arguments of a call came from: numbers such as `version=40`, and short texts such as `zone="b"`.

Small values often recur in a run by chance, so the name must also match.  An argument is reported if a result has it
under the same name (`version`), or as `id` if the tool or an outer key names the same thing (`customer=7` from
`find_customer`); a large number in only one result is reported under any name.  0, 1 and texts that are not ids are
reported only together with another argument from the same result; counts and limits are never reported.  Nor is a
value that occurred earlier in the run elsewhere: in an argument, in a prompt, or in the result of another tool.
"""

from __future__ import annotations

import re
from itertools import islice

from localops.encoding import encode
from localops.journal.sql import statements
from localops.reading import common_input, previews

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.reading.origins import Origin

    Value = str | int | float
    Words = tuple[str, ...]
    Entry = tuple[Words, int]
    """A list in a result, by the words of its keys, and an index in it."""

    class Argument(NamedTuple):
        """A value in the input of a call, and its name."""

        name: str
        value: Value

    class Leaf(NamedTuple):
        """A text or number in a result: the words of its key, those of the outer keys, and its list entry."""

        words: Words
        around: Words
        value: object
        entry: Entry | None

    class Found(NamedTuple):
        """An argument, the row of the call that returned it, and the list entries with it."""

        argument: str
        value: Value
        seq: int
        id: bytes
        kind: str
        name: str | None
        entries: frozenset[Entry]
else:
    from collections import namedtuple

    Argument = namedtuple("Argument", "name value")
    Leaf = namedtuple("Leaf", "words around value entry")
    Found = namedtuple("Found", "argument value seq id kind name entries")

# The most arguments to search for.
_MOST = 12
# Rows before the call whose results are searched, and bytes of their bodies.
_ROWS, _BYTES = 400, 4 << 20
# The first rows of the run, with its task, which are also searched for other sources of the value.
_EARLIER = 50
# Values of one result to compare, and characters of a text in it.
_LEAVES, _LONGEST = 20_000, 20_000
# Characters of a short text; `origins.py` handles longer texts.
_LONGEST_TEXT = 7
# From this number on, a number in only one result is reported under any name.
_LARGE = 1_000
_YEARS = range(1900, 2101)
# Counts, limits and states, whose values recur everywhere, even under the same name.
_GENERIC = frozenset(
    "count counts total limit page pages size offset index status state code timeout retry retries attempt attempts "
    "max min step steps depth length width height level duration second seconds ms score temperature top type kind "
    "result ok error success mode format order sort unit units lang language".split()
)
_STATES = frozenset("true false none null nil yes no on off ok asc desc any all".split())
# Words that distinguish arguments about the same kind of thing: `from_id`, `new_version`.
_WHICH = frozenset(
    "from to source src target dest destination dst new old first second last latest next previous prev parent current "
    "expected base a b left right start end other".split()
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_IS_ID = re.compile(r"(?=.*[A-Za-z])(?=.*\d)[\w.:/@-]+\Z", re.ASCII)
_NUMBER_IN_TEXT = re.compile(r"([A-Za-z_]+)[\"']?(?:\s*[:=#]\s*|\s+(?:is\s+)?)(-?\d+(?:\.\d+)?)(?![\w-]|\.\d)")
_SQL = "origins.sql"


def of(
    reader: Reader, session: bytes, given: object, *, caller: str | None, before: int, known: Collection[Origin] = ()
) -> list[Found]:
    """Return the small values in `given` that a call of a session returned before a row.

    caller: the name of the call with the values. known: the origins of its other arguments.
    """
    names, with_known = {one.argument for one in known}, {one.seq for one in known}
    wanted = [one for one in islice(_arguments("", given), _MOST) if one.name not in names and _is_candidate(one)]
    if not with_known and not any(_is_conclusive(one.value) for one in wanted):
        return []
    bounds = {"session": session, "before": before}
    until = {"session": session, "upto": before - 1, "many": _ROWS, "bytes": _BYTES}
    [(first,)] = reader.ask(statements(_SQL)["first_row"], until)
    if first is None or not wanted:
        return []
    search = _Search(reader, {**bounds, "first": first}, caller)
    matches: dict[Argument, Found] = {}
    several: set[Argument] = set()
    for row in search.results():
        for argument, one in search.in_result(row, wanted):
            if matches.setdefault(argument, one).name != one.name:
                several.add(argument)
    sure = [one for argument, one in matches.items() if argument not in several and search.is_first(argument, one)]
    with_known |= {one.seq for one in sure if _is_conclusive(one.value)}
    return [one for one in sure if _is_conclusive(one.value) or one.seq in with_known]


def with_entries(one: Origin, returns: object) -> Found:
    """Return the origin of a long value, with the entries of a list in the result that have it."""
    leaves = islice(_leaves(returns, one.name), _LEAVES)
    same = (leaf for leaf in leaves if type(leaf.value) is type(one.value) and leaf.value == one.value)
    entries = frozenset(leaf.entry for leaf in same if leaf.entry is not None)
    return Found(one.argument, one.value, one.seq, one.id, one.kind, one.name, entries)


def other_entries(matches: Sequence[Found]) -> dict[str, int]:
    """Return the list entry of each argument, counted from 1, if no entry has all of them; else an empty dict."""
    if len(matches) < 2 or len({one.seq for one in matches}) > 1 or not all(one.entries for one in matches):
        return {}
    if frozenset.intersection(*(one.entries for one in matches)):
        return {}
    # Entries of different lists in one result are not comparable.
    if len({words for one in matches for words, _ in one.entries}) > 1:
        return {}
    return {one.argument: min(at for _, at in one.entries) + 1 for one in matches}


class _Search:
    """The search for the arguments of one call in earlier results."""

    def __init__(self, reader: Reader, bounds: dict[str, Any], caller: str | None) -> None:
        self._reader, self._bounds, self._caller = reader, bounds, _words(caller or "")

    def results(self) -> Iterator[Any]:
        """Return the rows that may have results."""
        return iter(self._reader.ask(statements(_SQL)["results"], self._bounds))

    def in_result(self, row: Any, wanted: Sequence[Argument]) -> Iterator[tuple[Argument, Found]]:
        """Yield the arguments that are in the result of a call, but not in its own input."""
        seq, id, kind, _, name, body = row
        wanted = [one for one in wanted if _in_json(one.value) in body]
        facts = encode.loads(body) if wanted else None
        if not isinstance(facts, dict) or "returns" not in facts:
            return
        given = {one.value for one in _arguments("given", previews.given(kind, facts))}
        sought = [one for one in wanted if one.value not in given]
        leaves = [*islice(_leaves(facts["returns"], name), _LEAVES)] if sought else []
        tool = _words(name or "")
        for one in sought:
            same = [leaf for leaf in leaves if type(leaf.value) is type(one.value) and leaf.value == one.value]
            named = [leaf for leaf in same if _is_named(_words(one.name), leaf, tool, self._caller)]
            if named or (same and _is_rare(one.value)):
                entries = frozenset(leaf.entry for leaf in named or same if leaf.entry is not None)
                yield one, Found(one.name, one.value, seq, id, kind, name, entries)

    def is_first(self, argument: Argument, one: Found) -> bool:
        """Return whether the value has no other source before the result."""
        needle = _in_json(one.value)
        token = re.compile(rf"(?:(?<![\w.-])|(?<=\\[nrt])){re.escape(needle)}(?![\w-]|\.\d)")
        near = self._rows_with(needle, self._bounds["first"], one.seq, _ROWS)
        far = self._rows_with(needle, 0, self._bounds["first"], _EARLIER)
        # For a number that counts under any name, all rows must be checked.
        is_known = len(far) < _EARLIER or not _is_rare(one.value)
        with_it = [row for row in (*far, *near) for *_, text in [row] if token.search(text)]
        return is_known and not any(self._is_source(row, argument, one, token) for row in with_it)

    def _rows_with(self, needle: str, first: int, before: int, many: int) -> Sequence[Any]:
        bounds = {**self._bounds, "first": first, "before": before, "text": needle, "many": many}
        return self._reader.ask(statements(_SQL)["rows_with"], bounds)

    def _is_source(self, row: Any, argument: Argument, one: Found, token: re.Pattern[str]) -> bool:
        """Return whether a row with the value may be its source: a prompt, arguments, or another tool's result."""
        _, _, kind, _, name, body = row
        facts = encode.loads(body)
        if kind in ("llm", "error") or not isinstance(facts, dict) or (name != one.name and _is_rare(one.value)):
            return True
        is_given = token.search(encode.dumps(previews.given(kind, facts)).decode("utf-8", "replace")) is not None
        return is_given or (name != one.name and any(self.in_result(row, [argument])))


def _arguments(name: str, given: object) -> Iterator[Argument]:
    """Yield the short texts and numbers in the input of a call, each value once."""
    seen = set()
    for key, value in common_input.values(name, given, most=_MOST):
        if isinstance(value, str | int | float) and not isinstance(value, bool) and (key, value) not in seen:
            seen.add((key, value))
            yield Argument(key, value)


def _is_candidate(one: Argument) -> bool:
    words = _words(one.name)
    if not words or one.name.startswith("$"):
        return False
    if isinstance(one.value, str):
        is_short = 0 < len(one.value) <= _LONGEST_TEXT and one.value.lower() not in _STATES
        return is_short and "[redacted:" not in one.value and words[-1] not in _GENERIC
    return words[-1] not in _GENERIC or _is_rare(one.value)


def _is_conclusive(value: Value) -> bool:
    return _IS_ID.match(value) is not None if isinstance(value, str) else value not in (0, 1, -1)


def _is_rare(value: Value) -> bool:
    """Return whether a number is unlikely to be a limit, a size, a year, or another frequent number."""
    if isinstance(value, str):
        return False
    if isinstance(value, float) and not value.is_integer():
        return len(repr(value).replace(".", "").strip("-0")) >= 4
    number = abs(int(value))
    is_power = number & (number - 1) == 0 or number & (number + 1) == 0
    return number >= _LARGE and number % 100 != 0 and number not in _YEARS and not is_power


def _is_named(words: Words, leaf: Leaf, tool: Words, caller: Words) -> bool:
    """Return whether an argument and a value in a result have the same name, or names with the same meaning there.

    >>> _is_named(("from", "id"), Leaf(("id",), (), 7, 0), ("list",), ("move",))
    True
    >>> _is_named(("user", "id"), Leaf(("id",), (), 7, 0), ("list", "order"), ("move",))
    False
    """
    key = leaf.words
    if not key or words == key:
        return bool(key)
    around = {*leaf.around, *tool}
    if words[-len(key) :] == key:
        return all(word in _WHICH or word in around for word in words[: -len(key)])
    if key[-len(words) :] == words and words != ("id",):
        return all(word in _WHICH or word in around or word in caller for word in key[: -len(words)])
    return key == ("id",) and set(words) <= around


def _leaves(returns: object, tool: str | None) -> Iterator[Leaf]:
    """Yield the texts and numbers in a result with their keys; a single value has the tool's name as its key.

    >>> [leaf[0] + leaf[2:] for leaf in _leaves([{"shelfIds": [7]}, {"note": "version 40"}], None)]
    [('note', 'version 40', ((), 1)), ('version', 40, ((), 1)), ('shelf', 'id', 7, ((), 0))]
    """
    waiting: list[tuple[Words, Words, object, Entry | None]] = [(_words(tool or "")[1:], (), returns, None)]
    while waiting:
        words, around, value, entry = waiting.pop()
        if isinstance(value, dict):
            inner = around if value is returns else (*around, *words)
            waiting += [(_words(key), inner, item, entry) for key, item in value.items()]
        elif isinstance(value, list):
            here = (*around, *words)
            waiting += [(words, around, item, (here, at) if entry is None else entry) for at, item in enumerate(value)]
        else:
            yield Leaf(words, around, value, entry)
            if isinstance(value, str) and len(value) <= _LONGEST:
                parsed = previews.parsed(value)
                if isinstance(parsed, dict | list):
                    waiting.append((words, around, parsed, entry))
                else:
                    yield from _in_text(value, around, entry)


def _in_text(text: str, around: Words, entry: Entry | None) -> Iterator[Leaf]:
    """Yield the numbers in a text that follow a name."""
    for name, digits in _NUMBER_IN_TEXT.findall(text):
        yield Leaf(_words(name), around, float(digits) if "." in digits else int(digits), entry)


def _words(name: str) -> Words:
    """Return the words of a name, in lower case and in the singular.

    >>> _words("fromShelf_IDs"), _words("status")
    (('from', 'shelf', 'id'), ('status',))
    """
    name = name.replace("IDs", "Ids")
    return tuple(_singular(word.lower()) for word in _WORD.findall(name))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 2 and word[-1] == "s" and word[-2] not in "su" else word


def _in_json(value: Value) -> str:
    """Return a value as in JSON, without quotes."""
    text = encode.dumps(value).decode("utf-8", "replace")
    return text[1:-1] if isinstance(value, str) else text
