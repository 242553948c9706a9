"""Find the calls that contain all words of a text, in their input, result or error.

The full-text index finds rows with the longest word; then all rows of each such call are checked.  A search can be
interrupted and continued, so that a server can answer before a long one is done; later it reads only new rows.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import NamedTuple

from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.sql import statements
from localops.reading.search import NEWEST, Query, Searched, strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localops.reading.call_table import CallTable
    from localops.reading.home import Project

# The part of a call by the name of a body's field; other fields, names and tags are in no part.
_PART_OF = {
    "completion": "answer",
    "tool_calls": "answer",
    "returns": "result",
    "params": "arguments",
    "prompt": "prompt",
    "system_instructions": "prompt",
}
# If several parts have the text, the first of these is shown; a prompt is last, as it repeats earlier messages.
PARTS = ("answer", "result", "error", "arguments", "prompt")

# Characters of a passage before and after the words.
_SIDE = 16


class Match(NamedTuple):
    """The part of a call that has the words, and the passage around them."""

    part: str
    text: str


class Wanted(NamedTuple):
    """The words that a call must contain, in one of PARTS or anywhere."""

    text: str
    part: str | None = None


class CallSearch:
    """The matching calls of one project, as far as its rows were searched."""

    def __init__(self, wanted: Wanted) -> None:
        self._query, self._part = Query(wanted.text), wanted.part
        # The longest word is probably in the fewest rows.
        self._pivot = max(self._query.parts, key=len)
        # With a single term, one matching row is enough.
        self._is_simple = len(self._query.parts) == 1 and self._part is None
        self._begin(0)

    def _begin(self, made_ns: int) -> None:
        self._made_ns = made_ns
        self._numbers: set[int] = set()
        # Rows up to `_after` are searched; those in (`_after`, `_upto`] are searched backwards, so far to `_before`.
        self._after = self._upto = 0
        self._before: int | None = None
        # Matching rows of calls that the table does not have yet.
        self._early: list[Searched] = []

    def go_on(self, project: Project, table: CallTable, until: float = inf) -> bool:
        """Search more rows until monotonic() is `until`; return whether all available rows are searched."""
        if table.made_ns != self._made_ns:
            self._begin(table.made_ns)
        early, self._early = self._early, []
        self._add_matches(project, table, early)
        index = project.index()
        newest = min(index.upto, int(project.reader.ask(statements("lists.sql")["last_seq"])[0][0]))
        while self._before is not None or self._upto < newest:
            if self._before is None:
                self._after, self._upto, self._before = self._upto, newest, NEWEST
            for matches, place in index.between(self._pivot, self._after, self._upto, self._before):
                self._add_matches(project, table, matches)
                self._before = place
                if monotonic() > until:
                    return False
            self._before = None
        return True

    def mask(self) -> bytes:
        """Return a byte for each number of a call: 1 if the call has the words."""
        mask = bytearray(max(self._numbers, default=0) + 1)
        for num in self._numbers:
            mask[num] = 1
        return bytes(mask)

    def _add_matches(self, project: Project, table: CallTable, matches: Iterable[Searched]) -> None:
        by_call: dict[bytes, list[Searched]] = {}
        for row in matches:
            id = row.parent if row.kind == "error" else row.id if row.kind in ("llm", "tool") else None
            if id is not None:
                by_call.setdefault(id, []).append(row)
        if not by_call:
            return
        ids = encode.dumps([id.hex() for id in by_call]).decode()
        for num, id, error_seq in table.ask(table.sql["with_ids"], {"ids": ids}):
            of_call = by_call.pop(id)
            if num in self._numbers:
                continue
            if self._is_simple:
                # If a call has several errors, only the last, which it failed with, counts.
                is_match = any(row.kind != "error" or row.seq == error_seq for row in of_call)
            else:
                is_match = self._has_all(project, id, error_seq)
            if is_match:
                self._numbers.add(num)
        if by_call and table.upto < self._upto:
            self._early += [row for of_call in by_call.values() for row in of_call]

    def _has_all(self, project: Project, id: bytes, error_seq: int | None) -> bool:
        halves = list(_rows(project, id, error_seq))
        if self._part is None:
            texts = [row.text for row in halves]
        else:
            texts = [text for row in halves for part, text in _parts(row) if part == self._part]
        return all(any(Query(term).is_in(text) for text in texts) for term in self._query.parts)


def match(project: Project, id: bytes, error_seq: int | None, wanted: Wanted) -> Match | None:
    """Return the part of a call with the most of the words, and the passage; None if no part has any."""
    query = Query(wanted.text)
    parts: dict[str, list[str]] = {}
    for row in _rows(project, id, error_seq):
        for part, text in _parts(row):
            if part is not None and wanted.part in (None, part):
                parts.setdefault(part, []).append(text)
    best: tuple[int, Match] | None = None
    for part in PARTS:
        for text in parts.get(part, ()):
            has = _terms_in(query, text)
            if not has or (best is not None and len(has) <= best[0]):
                continue
            # Only the best line, without fields around it, such as the role of a message.
            line = max(text.split("\n"), key=lambda line: len(_terms_in(query, line)))
            terms = _terms_in(query, line)
            passage = Query(terms[0]).snippet(line, _SIDE) if terms else Query(has[0]).snippet(text, _SIDE)
            best = (len(has), Match(part, passage))
    return None if best is None else best[1]


def _terms_in(query: Query, text: str) -> list[str]:
    return [term for term in query.parts if Query(term).is_in(text)]


def _rows(project: Project, id: bytes, error_seq: int | None) -> Iterator[Searched]:
    """Yield the rows of a call, and the row of the error it failed with."""
    for phase in (rows.DONE, rows.OPEN):
        row = stored.one(project.reader, id, phase)
        if row is not None:
            yield _searched(row)
    if error_seq is not None:
        for columns in project.reader.ask(statements("pages.sql")["row_at"], {"seq": error_seq}):
            yield _searched(stored.Stored._make(columns))


def _searched(row: stored.Stored) -> Searched:
    return Searched(*(getattr(row, name) for name in Searched._fields))


def _parts(row: Searched) -> Iterator[tuple[str | None, str]]:
    """Yield the texts of a row, each with the name of its part."""
    if row.kind == "error":
        yield "error", row.text
        return
    try:
        body = encode.loads(row.body or "{}")
    # A damaged body.
    except ValueError:
        return
    plain = body if isinstance(body, dict) else {"params": body}
    for name, value in plain.items():
        yield _PART_OF.get(name), "\n".join(strings(value))
