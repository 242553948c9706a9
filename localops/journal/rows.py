"""The columns, kinds and checksum of a row of the journal.

A row is a plain tuple in the order of COLUMNS (without `seq`, which the journal assigns).  Most rows are written in a
shorter form, that of PLAIN; `whole` returns the long one.  This module does not store rows: `spill.py` writes them as
lines, `journal.py` by SQL.
"""

from __future__ import annotations

from itertools import repeat
from marshal import dumps as _pack
from zlib import crc32

from localops.journal import token_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any, ClassVar, Self

    Row = tuple[Any, ...]

    class Columns(token_kinds.OfRow):
        """The columns that most readers of a row need."""

        seq: int
        id: bytes
        phase: int
        session: bytes
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        start_ns: int | None
        end_ns: int | None
        model: str | None
        cost: int | None
        failed: int | None

    class Record(tuple[Any, ...]):
        """For type checkers: a namedtuple whose fields are declared in classes that it shares with others."""

        _fields: ClassVar[tuple[str, ...]]

        def __new__(cls, *_: Any, **__: Any) -> Self:
            """Return a record of values in the order of the fields, or by name."""

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Self: ...
        def _asdict(self) -> dict[str, Any]: ...
        def _replace(self, **named: Any) -> Self: ...

    class Sums(Record, token_kinds.Summed):
        """Sums over events, which every record of figures has; cost in nano-dollars."""

        events: int
        failed: int
        cost: int
        unpriced: int

    class Counts(Sums):
        """The same sums, and the numbers of events by kind."""

        actions: int
        llms: int
        tools: int
        errors: int


FORMAT = 1  # of a body; raised if an older reader would misread it

COLUMNS = (
    "id",
    "phase",
    "session",
    "kind",
    "name",
    "parent",
    "agent",
    "at_ns",
    "start_ns",
    "end_ns",
    "model",
    *token_kinds.columns(token_kinds.OF_ROW),
    "cost",
    "failed",
    "tags",
    "format",
    "sum",
    "body",
)
_SUM, _BODY = COLUMNS.index("sum"), COLUMNS.index("body")
_PHASE, _KIND = COLUMNS.index("phase"), COLUMNS.index("kind")
_OPTIONAL = slice(COLUMNS.index("end_ns"), COLUMNS.index("format"))  # the columns that are null in most rows
_NULLS = (None,) * len(COLUMNS[_OPTIONAL])
PLAIN = COLUMNS[: _OPTIONAL.start] + COLUMNS[_OPTIONAL.stop :]

# The kinds of bookkeeping rows; every other kind is an event.  SQL gets these lists from here (sql/__init__.py).
BOOK_KINDS = "session join leave tags end price clock journal pruned loss host video metadata scored".split()
BOOKS = frozenset(BOOK_KINDS)
# The kinds of milestones, which make up a session's story.
MILESTONES = [kind for kind in BOOK_KINDS if kind not in ("price", "journal", "pruned", "scored")]
# Those of which rows are added where a session is read, or after it.
BY_READERS = "end leave loss scored clock journal pruned".split()
STARTS, LEAVES = ("session", "join"), ("leave", "end")  # a participant begins, or stops, to take part
# All kinds that we define, and those whose rows we name: such kinds and names are not searched for secrets.
OWN_KINDS = BOOKS | set(
    "action llm tool error agent api operation task workflow guardrail llm_copy error_copy resolution budget loop log "
    "agentops".split()
)
NAMED_BY_US = BOOKS - {"session", "join", "pruned", "scored"}
# The token counts of an LLM call.  Those in COUNTS_IN_BODY are stored in the body, so that older releases can check and
# pass on the row.  The table has them as columns, too: filled from the body, not sent, and not part of the checksum.
SENT_TOKENS = token_kinds.columns(token_kinds.OF_ROW)
COUNTS_IN_BODY = {kind.column: kind.field for kind in token_kinds.COPIED if kind.column}
TOKENS = (*SENT_TOKENS, *COUNTS_IN_BODY)
_KEYS = tuple(COUNTS_IN_BODY.values())
_NO_COUNTS = (None,) * len(COUNTS_IN_BODY)
MOST_TOKENS = 10**12  # more than any call has; sums of such counts fit a column
# The columns of derived tables: a session's totals, the figures of a part of it, and a session in a list.
TOTALS = ("rows", "events", "actions", "llms", "tools", "errors", "failed", *TOKENS, "cost", "unpriced")
FIGURES = ("events", "failed", *TOKENS, "cost", "unpriced", "took_ns")
LISTED = ("session", "key", "first_ns", "last_ns", "name", "state", *TOTALS[1:])
# The columns to read of opening and closing rows, without their bodies.
HALF = tuple("seq id phase kind name parent agent at_ns start_ns end_ns model failed".split())
WAL_PAGES = "wal_pages"  # the key in a row about a loss with the pages of the WAL that were missing after a crash
UNBILLED = "failed before it was billed"  # the name of the price row of a call that cost nothing
END_IN_CHILD = "end_in_child"  # the kind of the event with which a forked child returns from its parent's operation
LEFT_TO_CHILD = "left to a child"  # the name of the note of a process that leaves the end of an operation to a child
THREAD_ENDED = "thread ended"  # the name of the row about an exception that ended a thread
LATER_FIGURES = "figures known later"  # the name of the price row with figures that came after a call's row
PLURALS = {"llms": "llm", "tools": "tool", "actions": "action", "errors": "error", "agents": "agent", "apis": "api"}
NO_SESSION = bytes(16)  # the session of rows that belong to the journal itself

OPEN = 1  # the phase of a row that opens an operation
DONE = 0  # the phase of every other row


def left_to_child_id(operation: bytes) -> bytes:
    """Return the id of the row of a process that left the end of an operation to its child."""
    import uuid  # late, as commands that only read do not need it

    return uuid.uuid5(uuid.UUID(bytes=operation), LEFT_TO_CHILD).bytes


def id_text(id: bytes) -> str:
    """Return an id as text: a UUID with dashes, in lower case."""
    text = id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def checksum(columns: Sequence[Any], body: str | None) -> int:
    """Return the crc32 of the columns before `sum` and the body, packed by marshal version 0."""
    return crc32(_pack((*columns, body), 0))


def checksums(columns: Sequence[Sequence[Any]]) -> list[int]:
    """Compute the checksums of rows that are given column by column (all of COLUMNS; `sum` is ignored)."""
    packed = map(_pack, zip(*columns[:_SUM], *columns[_SUM + 1 :], strict=True), repeat(0))
    return list(map(crc32, packed))


def make(
    kind: str,
    session: bytes,
    *,
    id: bytes,
    at_ns: int,
    phase: int = DONE,
    name: str | None = None,
    parent: bytes | None = None,
    agent: bytes | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    model: str | None = None,
    tokens: Sequence[int | None] = (None,) * len(SENT_TOKENS),
    cost: int | None = None,
    failed: int | None = None,
    tags: str | None = None,
    body: str | None = None,
) -> Row:
    """Return a whole row, with its checksum, from named columns."""
    columns = (
        id,
        phase,
        session,
        kind,
        name,
        parent,
        agent,
        at_ns,
        start_ns,
        end_ns,
        model,
        *tokens,
        cost,
        failed,
        tags,
        FORMAT,
    )
    return seal(columns, body)


def seal(columns: tuple[Any, ...], body: str | None) -> Row:
    """Return a whole row from its columns before `sum`, and its body."""
    return (*columns, crc32(_pack((*columns, body), 0)), body)


def plain(
    id: bytes,
    phase: int,
    session: bytes,
    kind: str,
    name: str | None,
    parent: bytes | None,
    agent: bytes | None,
    at_ns: int,
    start_ns: int | None,
    body: str | None,
) -> Row:
    """Return a short row, without the columns from `end_ns` to `tags`, which are null: faster to write."""
    # fmt: off
    columns = (
        id, phase, session, kind, name, parent, agent, at_ns, start_ns,
        None, None, None, None, None, None, None, None, None, FORMAT, body,
    )
    # fmt: on
    return (id, phase, session, kind, name, parent, agent, at_ns, start_ns, FORMAT, crc32(_pack(columns, 0)), body)


def whole(row: Row) -> Row:
    """Return a row of any form with exactly the COLUMNS."""
    if len(row) < len(COLUMNS):
        return (*row[: _OPTIONAL.start], *_NULLS, *row[_OPTIONAL.start :])
    return row[: len(COLUMNS)]


def body_of(row: Row) -> str | None:
    """Return the body of a row in any form."""
    last = _BODY if len(row) > _BODY else -1
    body: str | None = row[last]
    return body


def with_body(row: Row, body: str | None) -> Row:
    """Return a row with another body and its checksum, as a whole row.

    >>> row = plain(bytes(16), 0, bytes(16), "action", None, None, None, 1, None, "{}")
    >>> intact(with_body(row, "[]")), body_of(with_body(row, "[]"))
    (True, '[]')
    """
    return (*seal(whole(row)[:_SUM], body), *row[len(COLUMNS) :])


def cleaned(row: Row, clean: Mapping[str, str]) -> Row:
    """Return a row with its body replaced, if `clean` has a replacement for it."""
    body = body_of(row)
    return with_body(row, clean[body]) if body is not None and body in clean else row


def with_counts(row: Row, fields: Mapping[str, object]) -> Row:
    """Return the row of an LLM call, followed by the counts from the fields of its body.

    If a count is not an int in range, return the row alone: SQL then reads the counts from the encoded body.
    """
    for key in _KEYS:
        count = fields.get(key)
        if count is not None and (type(count) is not int or not 0 <= count <= MOST_TOKENS):
            return row
    return (*row, *map(fields.get, _KEYS))


def with_counts_if_known(row: Row) -> Row:
    """Return a whole row, with null counts if its body cannot have any; otherwise the counts are left out."""
    if len(row) > len(COLUMNS):
        return row
    if row[_KIND] == "llm" and row[_PHASE] == DONE and any(key in (body_of(row) or "") for key in _KEYS):
        return whole(row)
    return (*whole(row), *_NO_COUNTS)


def counts(fields: Mapping[str, object]) -> dict[str, int | None]:
    """Return the counts in the fields of a body, by column; None for a missing or invalid one."""
    values = {name: fields.get(key) for name, key in COUNTS_IN_BODY.items()}
    return {name: value if type(value) is int and 0 <= value <= MOST_TOKENS else None for name, value in values.items()}


def count_from_body(name: str, phase: str = "phase", kind: str = "kind", body: str = "body") -> str:
    """Return the SQL expression of a column that is filled from the body: null without a valid count."""
    key = COUNTS_IN_BODY[name]
    return (
        f"case when {kind} = 'llm' and {phase} = 0 and instr({body}, '{key}') > 0 and json_valid({body}) "
        f"and json_type({body}, '$.{key}') = 'integer' "
        f"and json_extract({body}, '$.{key}') between 0 and {MOST_TOKENS} then json_extract({body}, '$.{key}') end"
    )


def insertion(columns: Collection[str], verb: str = "insert", many: int = 1) -> str:
    """Return the statement that inserts rows of these columns, and of whole rows also the counts of their bodies.

    The values of `many` rows follow each other.
    """
    each = [_places(columns, row * len(columns)) for row in range(many)]
    values = ", ".join(f"({', '.join(places.values())})" for places in each)
    return f"{verb} into event({', '.join(each[0])}) values{values}"


def _places(columns: Collection[str], before: int) -> dict[str, str]:
    """Return what stands for each column of a row in a statement, after the values of other rows."""
    places = {name: f"?{place}" for place, name in enumerate(columns, before + 1)}
    if COUNTS_IN_BODY.keys().isdisjoint(places) and "tokens_in" in places:
        counted = [places[name] for name in ("phase", "kind", "body")]
        places |= {name: count_from_body(name, *counted) for name in COUNTS_IN_BODY}
    return places


def intact(row: Sequence[Any]) -> bool:
    """Return whether a row still has the checksum that it was written with."""
    return bool(row[_SUM] == crc32(_pack(tuple(row[:_SUM]) + tuple(row[_SUM + 1 :]), 0)))
