"""Sums of each session by kind of event, in the mirror: they include rows that are only in ClickHouse.

In a home, the report by kind reads every row; a hub on ClickHouse reads these sums, which are also in the state of each
session.
"""

from __future__ import annotations

from functools import cache

from localops.journal import rows
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Execute = Callable[..., Any]

_FIGURES = ("n", "failed", *rows.TOKENS, "cost", "unpriced", "took_ns")
_SUMS = ", ".join(_FIGURES)
# An earlier release had sums of cold rows only, in a table of this name.
_EARLIER = "cold_kind"
TABLES = ("kind_sum", "kind_mark", _EARLIER)
_PREPARED = (
    f"""create table if not exists kind_sum(
      session blob not null, kind text not null, {", ".join(f"{name} integer not null" for name in _FIGURES)},
      primary key(session, kind)) strict, without rowid""",
    # The seq up to which rows are in the sums.
    "create table if not exists kind_mark(one integer primary key check(one = 1), seq integer not null) strict",
    "insert or ignore into kind_mark values(1, 0)",
)
_HAS_EARLIER = f"select 1 from sqlite_schema where name = '{_EARLIER}'"  # noqa: S608
_COLUMNS = "select name from pragma_table_info('kind_sum')"
_MARK = "select seq from kind_mark"
_MOVE_MARK = "update kind_mark set seq = ?"
_NEWEST = "select coalesce(max(seq), 0) from event"
_OF = f"select kind, {_SUMS} from kind_sum where session = ? order by kind"  # noqa: S608
_FORGET = "delete from kind_sum where session = ?"
_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in _FIGURES)
_ON_CONFLICT = f"on conflict(session, kind) do update set {_ADDED}"
_ADD = f"insert into kind_sum values({', '.join('?' * (2 + len(_FIGURES)))}) {_ON_CONFLICT}"
# Without rows that are in the table of an earlier release: those of cold sessions, up to a seq.
_NOT_COLD = "and not exists (select 1 from cold c where c.session = event.session and c.upto >= event.seq)"


def prepare(execute: Execute) -> None:
    """Create the tables in a transaction; in a mirror of an earlier release, complete the sums that it has."""
    is_earlier = execute(_HAS_EARLIER).get is not None
    if is_earlier:
        execute(f"alter table {_EARLIER} rename to kind_sum")
    for statement in _PREPARED:
        execute(statement)
    # It may lack columns for kinds of tokens.
    known = {name for (name,) in execute(_COLUMNS).fetchall()}
    for name in (name for name in rows.TOKENS if name not in known):
        execute(f"alter table kind_sum add column {name} integer not null default 0")
    if is_earlier:
        fold(execute, only=_NOT_COLD)


def fold(execute: Execute, *, only: str = "") -> None:
    """Add the rows after the last fold, in a transaction.  `only`: a condition for them."""
    after, upto = execute(_MARK).get, execute(_NEWEST).get
    if upto > after:
        between = _between(only)
        values = {"after": after, "upto": upto}
        execute(f"insert into kind_sum(session, kind, {_SUMS}) {between} {_ON_CONFLICT}", values)
        execute(_MOVE_MARK, (upto,))


def of(execute: Execute, session: bytes) -> list[list[Any]]:
    """Return the sums of a session by kind, of the rows up to the last fold."""
    return [list(line) for line in execute(_OF, (session,)).fetchall()]


def add(execute: Execute, session: bytes, sums: Sequence[Any]) -> None:
    """Add the sums of a kind, beginning with its name."""
    execute(_ADD, (session, *sums))


def forget(execute: Execute, session: bytes) -> None:
    """Delete the sums of a session that was deleted."""
    execute(_FORGET, (session,))


def recompute(execute: Execute, session: bytes, upto: int | None = None) -> None:
    """Compute the sums of a session again, up to a seq or the last fold; all of its rows must be here."""
    execute(_FORGET, (session,))
    values = {"session": session, "upto": execute(_MARK).get if upto is None else upto}
    for kind, _, *figures in execute(_of_one(), values).fetchall():
        execute(_ADD, (session, kind, *(figure or 0 for figure in figures)))


def move_mark(execute: Execute, upto: int) -> None:
    """Note that rows up to a seq are in the sums."""
    execute(_MOVE_MARK, (upto,))


def by_kind() -> str:
    """Return the report by kind of report.sql, from the sums and the rows after the last fold."""
    tail = _between("").replace(":after", f"({_MARK})").replace(":upto", "9223372036854775807")
    figures = ", ".join(f"sum({name})" for name in _FIGURES)
    return f"""
select kind, count(distinct session) as sessions, {figures}
from (
  select session, kind, {_SUMS} from kind_sum
  union all
  select * from ({tail})
)
where session in (select session from chosen)
group by kind
order by 3 desc, 1"""  # noqa: S608


@cache
def _between(only: str) -> str:
    return statements("report.sql")["by_kind_between"].replace("/* only some */", only)


@cache
def _of_one() -> str:
    of_one = statements("report.sql")["by_kind_of_one"]
    return of_one.replace("where r.session = :session", "where r.session = :session and r.seq <= :upto")
