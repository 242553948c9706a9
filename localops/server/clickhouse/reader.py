"""Reads of a mirror: as of any journal, but that cold sessions are brought back when they are named."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from localops.encoding import encode
from localops.journal.reader import Reader
from localops.journal.sql import statements
from localops.server.clickhouse import mirror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from localops.server.clickhouse.mirror import Mirror

# The statements about one session that need none of its rows but those that stay, beside those of queries.sql.
_LIGHT = {
    "queries.sql": mirror.LIGHT,
    "lists.sql": ["key_of"],
    "prune.sql": ["missing", "sent_nowhere"],
    "hub.sql": ["seqs", "gone_by"],
    "pages.sql": ["fresh_rows", "rows_between"],
}
# All rows are folded, and `total` has an index.
_CHANGED = "select session, 0 from total indexed by total_by_last_seq where last_seq > :after"
_COLD_AMONG = """
select i.id
from json_each(?) j
join id_of i on i.id = unhex(j.value)
where not exists (select 1 from event e where e.seq = i.seq)"""


class MirrorReader(Reader):
    """A mirror that is opened for reading; `bring` is called with cold sessions, and brings them back.

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
        """Let the sessions that were read be evicted."""
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
            return super().ask(statement.removesuffix(known.by_kind) + mirror.by_kind(), values)
        if isinstance(values, dict):
            self._prepare(statement, values)
        rows = super().ask(statement, values)
        if not rows and statement == known.row and isinstance(values, dict) and self._bring_row(values):
            return super().ask(statement, values)
        return rows

    def some(self, statement: str, values: Mapping[str, object], most: int) -> tuple[list[tuple[Any, ...]], bool]:
        """Return rows of a statement until their last columns have `most` bytes, and whether these are all."""
        self._prepare(statement, values)
        return super().some(statement, values, most)

    def _prepare(self, statement: str, values: Mapping[str, object]) -> None:
        session = values.get("session")
        if isinstance(session, bytes) and any(session) and statement not in _known().light:
            self.need([session])

    def _bring_row(self, values: Mapping[str, Any]) -> bool:
        """Bring back the session of a row that is not here; return whether there was one."""
        if not super().ask("select 1 from id_of where id = :id and phase = :phase", values):
            return False
        session = self._mirror.archive.owners([values["id"]]).get(values["id"])
        if session is None or not super().ask(mirror.IS_COLD, (session,)):
            return False
        self.need([session])
        return True


class _Known(NamedTuple):
    """The statements that a mirror answers in another way."""

    light: frozenset[str]
    changed: str
    by_kind: str
    row: str


@cache
def _known() -> _Known:
    light = frozenset(statements(file)[name] for file, names in _LIGHT.items() for name in names)
    return _Known(
        light,
        statements("pages.sql")["changed"],
        statements("report.sql")["by_kind"],
        statements("queries.sql")["row"],
    )
