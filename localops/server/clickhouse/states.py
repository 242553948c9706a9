"""The state of a session: its rows in the derived tables of a journal as JSON, and columns for other readers.

ClickHouse stores the JSON so that a mirror can be rebuilt without reading every row, and the columns so that users can
build dashboards on them.
"""

from __future__ import annotations

from typing import NamedTuple

from localops.encoding import encode
from localops.journal import rows
from localops.journal.sql import SCHEMA
from localops.server.clickhouse import kind_sums
from localops.server.clickhouse.event_rows import day_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Execute = Callable[..., Any]

# The derived tables with rows of a session, and the column that identifies the session.
_TABLES = {"total": "session", "facet": "key", "milestone": "session", "scored": "key", "unfinished": "key"}
# The columns whose values are bytes.
_IDS = frozenset({"session", "id", "participant", "target"})
COLUMNS = (
    *("session", "day", "rev", "gone", "gone_ns", "name", "state", "host", "first_ns", "last_ns", "rows", "events"),
    *("actions", "llm_calls", "tool_calls", "errors", "failed", *rows.TOKENS, "cost", "unpriced"),
    *("tags", "models", "derived"),
)
_NAMES = {"llms": "llm_calls", "tools": "tool_calls"}
_HOST = """
select json_extract(e.body, '$.host')
from milestone m
join event e on e.seq = m.seq
where m.session = ? and m.kind = 'session' and json_valid(e.body)
order by m.at_ns, m.id
limit 1"""


class Derived(NamedTuple):
    """The derived rows of a session, by table, and its sums by kind."""

    total: dict[str, Any]
    rows: dict[str, list[list[Any]]]
    kinds: list[list[Any]]


class States:
    """Reads and writes derived rows; `execute` belongs to a transaction on a journal that is completely folded."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._columns = {table: _columns(execute, table) for table in _TABLES}

    def of(self, session: bytes, rev: int) -> tuple[Any, ...] | None:
        """Return the state of a session in the order of COLUMNS; None if the session is not here."""
        records = self._rows("total", session)
        if not records:
            return None
        total = dict(zip(self._columns["total"], records[0], strict=True))
        parts = {table: self._rows(table, total["key"]) for table in ("facet", "scored", "unfinished")}
        parts["milestone"] = self._rows("milestone", session)
        named = [dict(zip(self._columns["facet"], facet, strict=True)) for facet in parts["facet"]]
        columns = {_NAMES.get(name, name): value for name, value in total.items()}
        columns |= {
            "session": session.hex(),
            "day": day_of(session),
            "rev": rev,
            "gone": 0,
            "gone_ns": 0,
            "host": self._execute(_HOST, (session,)).get,
            "tags": sorted({part["value"] for part in named if part["dim"] == "tag" and part["whole"]}),
            "models": sorted({part["value"] for part in named if part["dim"] == "model"}),
            "derived": self._packed(total, parts, kind_sums.of(self._execute, session)),
        }
        return tuple(columns[name] for name in COLUMNS)

    def derived(self, session: bytes) -> str | None:
        """Return the derived rows of a session as text; None if the session is not here."""
        state = self.of(session, 0)
        return None if state is None else str(state[COLUMNS.index("derived")])

    def _rows(self, table: str, owner: object) -> list[tuple[Any, ...]]:
        columns = ", ".join(self._columns[table])
        statement = f"select {columns} from {table} where {_TABLES[table]} = ?"  # noqa: S608
        return self._execute(statement, (owner,)).fetchall()  # type: ignore[no-any-return]

    def _packed(self, total: dict[str, Any], parts: dict[str, list[tuple[Any, ...]]], kinds: list[list[Any]]) -> str:
        document = {
            "schema": SCHEMA,
            "total": _plain(total.values()),
            "kinds": kinds,
            **{table: list(map(_plain, records)) for table, records in parts.items()},
        }
        return encode.dumps(document).decode()

    def unpacked(self, derived: str) -> Derived | None:
        """Return derived rows; None if they are of another schema, so that they have to be derived again."""
        document = encode.loads(derived) if derived else None
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            return None
        total = dict(zip(self._columns["total"], self._bytes("total", document["total"]), strict=True))
        parts = {table: [self._bytes(table, row) for row in document[table]] for table in _TABLES if table != "total"}
        return Derived(total, parts, document["kinds"])

    def _bytes(self, table: str, row: Sequence[Any]) -> list[Any]:
        return [
            bytes.fromhex(value) if name in _IDS and value is not None else value
            for name, value in zip(self._columns[table], row, strict=True)
        ]

    def write(self, derived: Derived, *, upto: int) -> None:
        """Write the derived rows of a session whose rows up to a seq are cold."""
        self._insert("total", [list(derived.total.values())])
        for table, records in derived.rows.items():
            self._insert(table, records)
        session = derived.total["session"]
        self._execute("insert into cold values(?, ?)", (session, upto))
        for kind in derived.kinds:
            kind_sums.add(self._execute, session, kind)

    def _insert(self, table: str, records: Iterable[Sequence[Any]]) -> None:
        columns = self._columns[table]
        places = ", ".join("?" * len(columns))
        statement = f"insert into {table}({', '.join(columns)}) values({places})"
        for row in records:
            self._execute(statement, row)


def _columns(execute: Execute, table: str) -> list[str]:
    return [name for (name,) in execute("select name from pragma_table_info(?) order by cid", (table,)).fetchall()]


def _plain(row: Iterable[Any]) -> list[Any]:
    return [value.hex() if isinstance(value, bytes) else value for value in row]


def keep_keys(execute: Execute, sessions: Iterable[tuple[bytes, int]]) -> None:
    """Give sessions that will be folded the keys that they had before: lists order equal sessions by key."""
    sums = ", ".join(rows.TOTALS)
    zeros = ", ".join("0" * len(rows.TOTALS))
    statement = (
        f"insert or ignore into total(key, session, {sums}, first_ns, last_ns, last_seq) values(?, ?, {zeros}, ?, ?, 0)"
    )
    latest = (1 << 63) - 1
    for session, key in sessions:
        execute(statement, (key, session, latest, -latest - 1))
