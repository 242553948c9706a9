"""What a row of the journal is: its columns, its kinds, its checksum.

A row is a plain tuple in the order of COLUMNS (without `seq`, which the journal gives).  Most are written in a
shorter form, that of PLAIN; `whole` gives back the other.  Nothing here knows where rows are kept; `spill.py` writes
them as lines, `journal.py` as SQL.
"""

from __future__ import annotations

from itertools import repeat
from marshal import dumps as _pack
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Row = tuple[Any, ...]

FORMAT = 1  # of a body; grows when an older reader would misread it

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
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "tokens_reasoning",
    "cost",
    "failed",
    "tags",
    "format",
    "sum",
    "body",
)
_SUM = COLUMNS.index("sum")
_OPTIONAL = slice(COLUMNS.index("end_ns"), COLUMNS.index("format"))  # columns that are null in most rows
_NULLS = (None,) * len(COLUMNS[_OPTIONAL])
PLAIN = COLUMNS[: _OPTIONAL.start] + COLUMNS[_OPTIONAL.stop :]

# The kinds of rows that keep the books; every other kind is work.  SQL gets these lists from here (sql/__init__.py).
BOOK_KINDS = "session join leave tags end price clock journal pruned loss host video metadata".split()
BOOKS = frozenset(BOOK_KINDS)
MILESTONES = [kind for kind in BOOK_KINDS if kind not in ("price", "journal", "pruned")]  # they make a session's story
STARTS, LEAVES = ("session", "join"), ("leave", "end")  # when a participant comes and goes
UNBILLED = "failed before it was billed"  # the name of the price row of a call that cost nothing
FIGURES = "figures known later"  # that of a call whose tokens or cost were given after its row was written
PLURALS = {"llms": "llm", "tools": "tool", "actions": "action", "errors": "error", "agents": "agent", "apis": "api"}
NO_SESSION = bytes(16)  # the session of rows that belong to the journal itself

OPEN = 1  # the phase of a row that opens an operation
DONE = 0  # the phase of every other row


def id_text(id: bytes) -> str:
    """Return an id as text: a UUID with dashes, in lower case."""
    text = id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def checksum(columns: Sequence[Any], body: str | None) -> int:
    """Return the crc32 of the columns before `sum` and the body, packed by marshal version 0."""
    return crc32(_pack((*columns, body), 0))


def checksums(columns: Sequence[Sequence[Any]]) -> list[int]:
    """Return the correct checksums of rows that are given as columns: all of COLUMNS, of which `sum` is ignored."""
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
    tokens: Sequence[int | None] = (None, None, None, None),
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
    """Return a short row, without the columns from `end_ns` to `tags`, which are null: fewer to bind, so faster."""
    # fmt: off
    columns = (
        id, phase, session, kind, name, parent, agent, at_ns, start_ns,
        None, None, None, None, None, None, None, None, None, FORMAT, body,
    )
    # fmt: on
    return (id, phase, session, kind, name, parent, agent, at_ns, start_ns, FORMAT, crc32(_pack(columns, 0)), body)


def whole(row: Row) -> Row:
    """Return a row with all its COLUMNS, from a whole or a short one."""
    return row if len(row) == len(COLUMNS) else (*row[: _OPTIONAL.start], *_NULLS, *row[_OPTIONAL.start :])


def intact(row: Sequence[Any]) -> bool:
    """Return whether a row still has the checksum that it was written with."""
    return bool(row[_SUM] == crc32(_pack(tuple(row[:_SUM]) + tuple(row[_SUM + 1 :]), 0)))
