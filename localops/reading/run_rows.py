"""The rows of a run that a post-mortem reads: errors, the last rows, operations and what contains them.

The work is limited: of a long session, only both ends are read, and `is_complete` is false.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cached_property

from localops.encoding import encode
from localops.journal import rows
from localops.journal.sql import statements
from localops.reading import analytics, facts, previews

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot

    class Trouble(NamedTuple):
        """A row of the statement `troubles`."""

        seq: int
        id: bytes
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        model: str | None
        failed: int | None
        cost: int | None
        tokens_in: int | None
        tokens_out: int | None

    class Half(NamedTuple):
        """A row of the statement `halves`: where an operation began, or where it ended."""

        seq: int
        id: bytes
        phase: int
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        start_ns: int | None
        end_ns: int | None
        model: str | None
        failed: int | None
        cut_off: int = 0
else:
    Trouble = namedtuple("Trouble", "seq id kind name parent agent at_ns model failed cost tokens_in tokens_out")
    Half = namedtuple("Half", (*rows.HALF, "cut_off"), defaults=[0])

# Rows to read at each end of a session.
END = 50_000
MOST_TROUBLES = 10_000
AFTER = 20_000
"""Rows to search after an error, or before the end."""
FAR = 1 << 62
# Operations that contain an error.
LEVELS = 16
LAST = 64
"""Rows to search for the last operation before a place."""
_SQL = "post_mortem.sql"


class RunRows:
    """Look up the rows of a run, with a few statements of limited cost."""

    def __init__(self, seen: Snapshot, reader: Reader) -> None:
        self.seen, self.reader = seen, reader
        self.head, self.tail = self._edges()
        end = seen.story.last_end
        # Rows after the end of the session do not explain it.
        counts = end is not None and end.at_ns == seen.standing.ended_ns and not seen.standing.derived
        self.until_ns = end.at_ns if counts and end is not None else FAR
        self.troubles = self._read_troubles()
        self.failed = {one.id for one in self.troubles if one.kind != "error"}
        self.failed |= {one.parent for one in self.errors if one.failed and one.parent}

    @property
    def is_complete(self) -> bool:
        """Return whether all rows of the session are read."""
        return self.head == FAR and len(self.troubles) < MOST_TROUBLES

    @cached_property
    def errors(self) -> list[Trouble]:
        """The error rows in `troubles`."""
        return [one for one in self.troubles if one.kind == "error"]

    def errors_from(self, one: Trouble) -> list[Trouble]:
        """Return the errors at or after the time of a failure, including the failure itself if it is an error."""
        return [each for each in self.errors if (each.at_ns, each.id) >= (one.at_ns, one.id)]

    def _read_troubles(self) -> list[Trouble]:
        if not self.seen.totals.errors and not self.seen.totals.failed:
            return []
        read = self.ask("troubles", head=self.head, tail=self.tail, many=MOST_TROUBLES)
        return list(map(Trouble._make, read))

    def _edges(self) -> tuple[int, int]:
        """Return the last seq of the rows to read at the beginning, and the first seq of those at the end."""
        if self.seen.totals.rows <= 2 * END:
            return FAR, 0
        [(head, tail)] = self.ask("edges", many=END)
        return (FAR, 0) if head is None or tail is None or tail <= head else (head, tail)

    @cached_property
    def last_rows(self) -> list[Half]:
        """The last rows before the end of the session, newest first."""
        return self.last_before(self.until_ns)

    def last_before(self, until_ns: int) -> list[Half]:
        """Return the last rows up to a time, newest first by their times: imported rows are stored in any order."""
        return [Half(*row) for row in self.ask("last_rows", upto=FAR, until=until_ns, many=AFTER, few=LAST)]

    def after(self, seq: int) -> int:
        """Return after which seq to search for rows that follow the given one: in a short session, search all rows."""
        return 0 if self.seen.totals.rows <= AFTER else seq

    def halves(self, id: bytes) -> list[Half]:
        """Return the rows of an operation, the opening row first."""
        return sorted((Half(*row) for row in self.statement("halves", id=id)), key=lambda half: -half.phase)

    def around(self, id: bytes | None) -> Iterator[list[Half]]:
        """Yield the rows of an operation and of each one that contains it, from the inside out."""
        known: set[bytes] = set()
        while id is not None and id not in known and len(known) < LEVELS:
            known.add(id)
            halves = self.halves(id)
            if not halves:
                return
            yield halves
            id = halves[-1].parent

    def operation(self, kind: str, name: str | None, model: str | None, id: bytes, agent: bytes | None) -> Facts:
        """Return the facts that name an operation in lists."""
        names = self.agents([agent])
        halves = self.halves(id)
        return {
            "id": facts.full_id(id),
            "seq": halves[0].seq if halves else None,
            "kind": short(kind),
            "name": short(name),
            "model": short(model),
            "agent": names.get(agent),
        }

    def agents(self, ids: Iterable[bytes | None]) -> dict[bytes | None, str]:
        """Return the names of agents."""
        texts = {id: rows.id_text(id) for id in ids if id is not None}
        names = analytics.agent_names(self.reader, list(texts.values()))
        return {id: str(short(names[text])) for id, text in texts.items()}

    def preview(self, seq: int | None, kind: str, *, is_result: bool = False) -> str:
        """Return the input or the result in a row, on one line."""
        body = self.body(seq)
        return previews.result(kind, body) if is_result else previews.line(kind, body)

    def input_of(self, id: bytes, kind: str) -> str:
        """Return the input of an operation: that of its first row with an input."""
        return next(filter(None, (self.preview(half.seq, kind) for half in self.halves(id))), "")

    def body(self, seq: int | None) -> dict[str, Any]:
        """Return the body of a row; empty if it does not exist or cannot be read."""
        if seq is None:
            return {}
        read = self.reader.ask("select body from event where seq = ?", (seq,))
        return _load_body(read[0][0]) if read else {}

    def args(self, id: bytes) -> bytes | None:
        """Return the arguments of a call in a comparable form; None if they were not recorded."""
        read = ((half.kind, self.body(half.seq)) for half in self.halves(id))
        return next(filter(None, (_args_in(kind, body) for kind, body in read)), None)

    def ask(self, name: str, /, **values: object) -> list[tuple[Any, ...]]:
        """Run a statement about the session; return its rows."""
        return self.statement(name, session=self.seen.id, **values)

    def statement(self, name: str, /, **values: object) -> list[tuple[Any, ...]]:
        """Run a statement about given ids or rows; return its rows."""
        return self.reader.ask(statements(_SQL)[name], values)


def level_of(half: Half, names: dict[bytes | None, str]) -> Facts:
    """Return the facts about an operation as a level in the path of an error."""
    return {
        "id": facts.full_id(half.id),
        "kind": short(half.kind),
        "name": short(half.name),
        "model": short(half.model),
        "agent": names.get(half.agent),
    }


def began_ns(one: Half) -> int:
    """Return when an operation began, from either of its rows."""
    return one.at_ns if one.start_ns is None else one.start_ns


def ended_ns(one: Half) -> int:
    """Return when an operation ended, from its closing row."""
    return one.at_ns if one.end_ns is None else one.end_ns


def _args_in(kind: str, body: dict[str, Any]) -> bytes | None:
    given = previews.given(kind, body)
    return encode.sorted_dumps(given) if given not in (None, {}, [], "") else None


def _load_body(body: str | None) -> dict[str, Any]:
    try:
        value = encode.loads(body) if body else {}
    # A damaged body.
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {"params": value}


def as_hex(ids: Iterable[bytes | None]) -> str:
    """Return ids as a JSON list, which statements expect."""
    return encode.dumps([id.hex() for id in ids if id is not None]).decode()


def short(value: object) -> str | None:
    """Return the beginning of the first line of a recorded text."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    text = text.strip().partition("\n")[0] if isinstance(value, str) else text
    return text if len(text) <= previews.LONGEST else f"{text[: previews.LONGEST - 1]}…"
