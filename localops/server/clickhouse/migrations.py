"""Create the tables in ClickHouse, and bring them to the newest form, in numbered steps.

A step is a file of statements in the folder `tables`: NUMBER_core.sql for every server, NUMBER_modern.sql for those
that have codecs.  Each statement can run twice, so that a step that was cut off runs again.
"""

from __future__ import annotations

import re
from importlib import resources

from localops import clock, output
from localops.errors import LocalopsError
from localops.server.clickhouse import sharding
from localops.server.clickhouse.engine import PART, Address, Engine, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Servers from this version on have codecs, LowCardinality, indexes of words and fsync after an insert.
MODERN = (23,)
_REMEMBERED = "lo_migration"
_REMEMBER = f"""create table if not exists {_REMEMBERED} {{on_cluster}} (number UInt32, at_ns Int64)
engine = {{engine:{_REMEMBERED}}} order by number"""
_TABLES = ("lo_event", "lo_session", "lo_received", "lo_meta", "lo_lease")
_VERSIONS = {"lo_migration": "at_ns"}
_UNKNOWN_DATABASE, _UNKNOWN_TABLE, _ILLEGAL_COLUMN = 81, 60, 44
# The logs of a server, and those that it has renamed with a number after a change of their columns.
_LOGS = """
select name, create_table_query
from system.tables
where database = 'system' and engine like '%MergeTree' and match(name, '_log(_[0-9]+)?$')
  and has((select groupArray(table) from system.columns where database = 'system' and name = 'event_date'), name)"""
# Access denied, and a user that may only read.
_NOT_ALLOWED = frozenset({164, 497})


class NewerTables(LocalopsError):
    """A newer release of localops made the tables."""


def newest() -> int:
    """Return the number of the last step."""
    return max(numbers())


def migrate(engine: Engine) -> list[int]:
    """Make the database and its tables, or bring them to the newest form; return the steps that ran.

    Where the address names a cluster, tables are replicated and made on all of its hosts.
    """
    _make_database(engine)
    where = engine.address
    steps = [] if _is_made(engine) else _made(engine)
    if where.log_days is not None and engine.version >= MODERN:
        _limit_logs(engine, where.log_days)
    return steps


def _is_made(engine: Engine) -> bool:
    """Return whether all tables have their newest form: then there is no need to wait for a host that is down."""
    where = engine.address
    try:
        done = {number for (number,) in engine.ask(f"select number from {_REMEMBERED}")}  # noqa: S608
    except EngineError as error:
        if error.code != _UNKNOWN_TABLE:
            raise
        return False
    return done == set(numbers()) and (not where.shards or sharding.is_distributed(engine, _TABLES))


def _made(engine: Engine) -> list[int]:
    """Make tables, or bring them to the newest form; return the steps that ran."""
    where = engine.address
    if where.shards:
        sharding.prepare(engine)
    engine.do(_filled(_REMEMBER, where))
    remembered = f"{_REMEMBERED}{PART if where.shards else ''}"
    done = {number for (number,) in _ask_each(engine, f"select number from {remembered}")}  # noqa: S608
    if done and max(done) > newest():
        raise NewerTables(
            f"the tables in {engine.address} are of step {max(done)}, and this localops knows {newest()}: upgrade it"
        )
    steps = [number for number in numbers() if number not in done]
    # With shards all steps run, as hosts of a new shard have no table yet; each statement can run twice.
    for number in numbers() if where.shards else steps:
        for statement in statements(number, modern=engine.version >= MODERN):
            run(engine, statement)
    if where.shards:
        sharding.distribute(engine, [*_TABLES, _REMEMBERED], again=bool(steps))
    for number in steps:
        engine.put(_REMEMBERED, ("number", "at_ns"), [(number, clock.now_ns())])
    return steps


def run(engine: Engine, statement: str) -> None:
    """Run a statement of a step; adding a column that exists is no error."""
    try:
        engine.do(_filled(statement, engine.address))
    except EngineError as error:
        # A server before 19 knows no `add column if not exists`.
        if error.code != _ILLEGAL_COLUMN or " add column " not in statement or "already exists" not in str(error):
            raise


def _ask_each(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; ask every host if there are shards, as each has other rows."""
    if not engine.address.shards:
        return engine.ask(statement)
    return [line for host in sharding.hosts(engine) for line in host.ask(statement)]


def _limit_logs(engine: Engine, days: int) -> None:
    """Have ClickHouse delete its own logs after some days.

    This is not a numbered step, as a server starts such a table again, without this limit, whenever the table's
    columns or configuration have changed.
    """
    limit = f"event_date + toIntervalDay({days})"
    for name, create in engine.ask(_LOGS):
        if f"TTL {limit}" not in create:
            try:
                engine.do(f"alter table system.{name} {_on(engine.address)} modify ttl {limit}")
            except EngineError as error:
                if error.code not in _NOT_ALLOWED:
                    raise
                output.say(f"{error}: its logs stay unlimited; leave out ?log_days, or grant the statement")
                return


def _make_database(engine: Engine) -> None:
    name = engine.address.database
    try:
        engine.ask("select 1 as one")
    except EngineError as error:
        if error.code != _UNKNOWN_DATABASE:
            raise
        engine.do(f"create database if not exists {name} {_on(engine.address)}", without_database=True)


def numbers() -> list[int]:
    """Return the numbers of the steps."""
    names = [path.name for path in resources.files(__package__).joinpath("tables").iterdir()]
    return sorted(int(name.partition("_")[0]) for name in names if name.endswith("_core.sql"))


def statements(number: int, *, modern: bool) -> list[str]:
    """Return the statements of a step."""
    folder = resources.files(__package__).joinpath("tables")
    path = folder.joinpath(f"{number}_modern.sql")
    if not modern or not path.is_file():
        path = folder.joinpath(f"{number}_core.sql")
    text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def _on(where: Address) -> str:
    return "" if where.cluster is None else f"on cluster `{where.cluster}`"


def _filled(statement: str, where: Address) -> str:
    """Return a statement with its engine and, on a cluster, where it runs."""

    def engine(found: re.Match[str]) -> str:
        table = found[1]
        version = _VERSIONS.get(table, "rev")
        if where.cluster is None:
            return f"ReplacingMergeTree({version})"
        path = f"/clickhouse/tables/{{shard}}/{where.database}/{table}"
        return f"ReplicatedReplacingMergeTree('{path}', '{{replica}}', {version})"

    if where.shards:
        statement = re.sub(r"\b(table(?: if not exists)?) (lo_\w+)", rf"\1 \2{PART}", statement)
    statement = statement.replace("{on_cluster}", _on(where))
    return re.sub(r"\{engine:(\w+)\}", engine, statement)
