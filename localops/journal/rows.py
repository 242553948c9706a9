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

FORMAT = 1  # how a body is to be read; grows when an older reader would misread it

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
_SILENT = slice(COLUMNS.index("end_ns"), COLUMNS.index("format"))  # what most rows say nothing in
_SILENCE = (None,) * len(COLUMNS[_SILENT])
PLAIN = COLUMNS[: _SILENT.start] + COLUMNS[_SILENT.stop :]

BOOKS = frozenset(
    "session join leave tags end price clock journal pruned loss host video metadata".split()
)  # rows that keep the books; every other kind is work
UNBILLED = "failed before it was billed"  # the name of the price row of a call that cost nothing
PLURALS = {"llms": "llm", "tools": "tool", "actions": "action", "errors": "error", "agents": "agent", "apis": "api"}
NOBODY = bytes(16)  # the session of rows that belong to the journal itself

OPEN = 1  # the phase of a row that says an operation has begun
DONE = 0  # the phase of every other row


def id_text(id: bytes) -> str:
    """Return an id as people meet it everywhere: a UUID with dashes, in lower case."""
    text = id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def checksum(columns: Sequence[Any], body: str | None) -> int:
    """The crc32 of the columns before `sum` and the body, packed by marshal version 0: no flipped bit goes unseen."""
    return crc32(_pack((*columns, body), 0))


def checksums(columns: Sequence[Sequence[Any]]) -> list[int]:
    """The checksums that rows have to have, given as columns: all of COLUMNS, what stands under `sum` is left out."""
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
    """A whole row, checksum included, from named parts."""
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
    """A whole row from its columns before `sum`, and its body."""
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
    """A row that says nothing from `end_ns` to `tags`, in short: fewer values to bind, which is felt on every event."""
    # fmt: off
    columns = (
        id, phase, session, kind, name, parent, agent, at_ns, start_ns,
        None, None, None, None, None, None, None, None, None, FORMAT, body,
    )
    # fmt: on
    return (id, phase, session, kind, name, parent, agent, at_ns, start_ns, FORMAT, crc32(_pack(columns, 0)), body)


def whole(row: Row) -> Row:
    """The row with all its COLUMNS, whichever form it is given in."""
    return row if len(row) == len(COLUMNS) else (*row[: _SILENT.start], *_SILENCE, *row[_SILENT.start :])


def intact(row: Sequence[Any]) -> bool:
    """Whether a row still has the checksum it was written with."""
    return bool(row[_SUM] == crc32(_pack(tuple(row[:_SUM]) + tuple(row[_SUM + 1 :]), 0)))
