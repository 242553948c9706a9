"""Reads a mirror like any journal, except that it brings back cold sessions when a statement needs them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from localops.encoding import encode
from localops.journal import rows
from localops.journal.reader import Reader
from localops.journal.sql import statements
from localops.server.clickhouse import kind_sums, mirror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from localops.journal.stored import Stored
    from localops.server.clickhouse.mirror import Mirror

# The statements about one session that need only rows which always stay, in addition to those of queries.sql.
_LIGHT = {
    "queries.sql": mirror.LIGHT,
    "lists.sql": ["key_of"],
    "prune.sql": ["missing", "sent_nowhere"],
    "hub.sql": ["seqs", "gone_by"],
    "pages.sql": ["fresh_rows"],
}
# In a mirror all rows are folded, and `total` has an index.
_CHANGED = "select session, 0 from total indexed by total_by_last_seq where last_seq > :after"
_BODY_AT = "select body from event where seq = ?"
_LAST_OF_BATCH = "select min(:after + :many, max(seq)) from event having max(seq) > :after"
_SEQS_OF = "select i.seq from json_each(?) j join id_of i on i.id = unhex(j.value)"
_COLD_AMONG = """
select i.id
from json_each(?) j
join id_of i on i.id = unhex(j.value)
where not exists (select 1 from event e where e.seq = i.seq)"""


class MirrorReader(Reader):
    """A mirror that is opened for reading; `bring` brings back cold sessions.

    The sessions that were read are pinned until `release`.
    """

    def __init__(self, path: str, mirror: Mirror, bring: Callable[[Sequence[bytes]], None]) -> None:
        super().__init__(path)
        self._mirror, self._bring = mirror, bring
        self._pins: set[bytes] = set()

    def need(self, sessions: Sequence[bytes]) -> None:
        """Bring back sessions, if they are cold, and keep them until `release`."""
        for session in sessions:
            if session not in self._pins:
                self._pins.add(session)
                self._mirror.pin(session)
        cold = [session for session in sessions if super(MirrorReader, self).ask(mirror.IS_COLD, (session,))]
        if cold:
            self._bring(cold)

    def need_rows(self, ids: Sequence[bytes]) -> None:
        """Bring back the sessions of rows, with one question for all of them."""
        known = super().ask(_COLD_AMONG, (encode.dumps([id.hex() for id in ids]).decode(),))
        self.need(sorted(set(self._mirror.archive.owners([id for (id,) in known]).values())) if known else [])

    def release(self) -> None:
        """Allow the eviction of the sessions that were read."""
        pins, self._pins = self._pins, set()
        self._mirror.release(pins)

    def close(self) -> None:
        """Close the file."""
        self.release()
        super().close()

    def ask(self, statement: str, values: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one of our own statements, all at once."""
        known = _known()
        if statement == known.changed:
            return super().ask(_CHANGED, values)
        if statement.endswith(known.by_kind):
            return super().ask(statement.removesuffix(known.by_kind) + kind_sums.by_kind(), values)
        if isinstance(values, dict):
            self._prepare(statement, values)
        if statement == known.last_of_batch and isinstance(values, dict) and self._is_cold_after(values["after"]):
            return super().ask(_LAST_OF_BATCH, values)
        answer = super().ask(statement, values)
        if not answer and self._bring_named(statement, values):
            return super().ask(statement, values)
        return answer

    def some(self, statement: str, values: Mapping[str, object], most: int) -> tuple[list[tuple[Any, ...]], bool]:
        """Return rows of a statement until their last columns have `most` bytes, and whether these are all."""
        self._prepare(statement, values)
        if statement == _known().batch and self._is_cold_after(values["after"]):
            return self._calls(values), True
        return super().some(statement, values, most)

    def _prepare(self, statement: str, values: Mapping[str, object]) -> None:
        session = values.get("session")
        if isinstance(session, bytes) and any(session) and statement not in _known().light:
            self.need([session])

    def _bring_named(self, statement: str, values: Any) -> bool:
        """Bring back the session of a row that the values name by identity or seq; return whether there is one."""
        session = None
        if statement == _known().row:
            if not super().ask("select 1 from id_of where id = :id and phase = :phase", values):
                return False
            session = self._mirror.archive.owners([values["id"]]).get(values["id"])
        elif statement in _known().by_seq:
            [seq] = values.values() if isinstance(values, dict) else values
            session = self._mirror.archive.session_at(seq)
        if session is None or not super().ask(mirror.IS_COLD, (session,)):
            return False
        self.need([session])
        return True

    # For the table of calls, which reads the rows in their order

    def _is_cold_after(self, seq: object) -> bool:
        return bool(super().ask("select 1 from cold where upto > ? limit 1", (seq,)))

    def _calls(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return from the archive what the statement `batch` of call_table.sql returns."""
        between = self._mirror.archive.between(values["after"], values["upto"])
        ids = encode.dumps([row.id.hex() for row in between]).decode()
        # Leave out rows that have another seq here, or were deleted.
        seqs = {seq for (seq,) in super().ask(_SEQS_OF, (ids,))}
        return [_as_of_call(row) for row in between if row.kind in _OF_CALLS and row.seq in seqs]


_OF_CALLS = ("llm", "tool", "llm_copy", "error", "price", "pruned")


def _as_of_call(row: Stored) -> tuple[Any, ...]:
    fields = encode.loads(row.body) if row.body and row.kind in ("llm", "price") else None
    plain = fields if isinstance(fields, dict) else {}
    counts = rows.counts(plain if row.kind == "llm" and row.phase == rows.DONE else {})
    # From the row's columns or `counts`, in the order of the statement.
    tokens = (getattr(row, name) if hasattr(row, name) else counts[name] for name in rows.TOKENS)
    head = (row.seq, row.id, row.phase, row.session, row.kind, row.name, row.parent)
    is_first_price = int(row.kind == "price" and plain.get("was") is None)
    body = row.body if row.kind in ("llm", "tool") else None
    return (*head, row.at_ns, row.start_ns, row.end_ns, row.model, *tokens, row.cost, row.failed, is_first_price, body)


class _Known(NamedTuple):
    """The statements that a mirror answers in another way."""

    light: frozenset[str]
    changed: str
    by_kind: str
    row: str
    by_seq: frozenset[str]
    last_of_batch: str
    batch: str


@cache
def _known() -> _Known:
    light = frozenset(statements(file)[name] for file, names in _LIGHT.items() for name in names)
    return _Known(
        light,
        statements("pages.sql")["changed"],
        statements("report.sql")["by_kind"],
        statements("queries.sql")["row"],
        frozenset(
            (statements("pages.sql")["row_at"], statements("call_table.sql")["row_at"], _BODY_AT),
        ),
        statements("call_table.sql")["last_of_batch"],
        statements("call_table.sql")["batch"],
    )
