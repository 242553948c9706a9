"""Tables over several shards: the shard of a session follows from its id and its day, so it never changes.

Each shard has its part of a table, and a table of ClickHouse's engine Distributed covers all parts.  A greater number
of shards applies from a day on: sessions that began before stay where they are, so a row that is sent again gets to
the same shard.
"""

from __future__ import annotations

import re
from dataclasses import replace

from localops.errors import ConfigError
from localops.server.clickhouse.engine import PART, Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The tables whose rows are spread; all other tables are on the first shard only.
_SPREAD = ("lo_event", "lo_session")
_STEP = re.compile(r"day >= '(\d{4}-\d\d-\d\d)', cityHash64\(session\) % (\d+)")
_FIRST = re.compile(r"cityHash64\(session\) % (\d+)\)*$")
_ENGINES = "select name, engine, engine_full from system.tables where database = {database} and name in {names}"


def hosts(engine: Engine) -> list[Engine]:
    """Return one engine for each host."""
    return [Engine(replace(engine.address, hosts=(host,))) for host in engine.address.hosts]


def prepare(engine: Engine) -> None:
    """Rename the tables of a store without shards: they become the parts on the first shard."""
    for host in hosts(engine):
        names = ["lo_migration", *(f"lo_{name}" for name in ("event", "session", "received", "meta", "lease"))]
        for name, kind, _ in host.ask(_ENGINES, database=engine.address.database, names=names):
            if kind != "Distributed":
                if "Replicated" not in kind:
                    raise ConfigError(
                        f"{engine.address} has tables that are not replicated: move the hub to another one"
                    )
                host.do(f"rename table {name} to {name}{PART}")
        host.close()


def is_distributed(engine: Engine, names: Sequence[str]) -> bool:
    """Return whether the tables that cover all shards exist, for the number of shards in the address."""
    tables = engine.ask(_ENGINES, database=engine.address.database, names=list(names))
    return {name for name, kind, _ in tables if kind == "Distributed"} == set(names) and all(
        known(full) == engine.address.shards for name, _, full in tables if name in _SPREAD
    )


def distribute(engine: Engine, names: Sequence[str], *, again: bool) -> None:
    """Create the tables that cover all shards, or create them again if the number of shards has changed."""
    where = engine.address
    tables = {name: full for name, _, full in engine.ask(_ENGINES, database=where.database, names=list(names))}
    if "lo_event" in tables:
        _check_steps(engine, known(tables["lo_event"]))
    for name in names:
        key = expression(where.shards) if name in _SPREAD else "0"
        if again or name not in tables or (name in _SPREAD and known(tables[name]) != where.shards):
            engine.do(f"drop table if exists {name} on cluster `{where.cluster}`")
            engine.do(
                f"create table {name} on cluster `{where.cluster}` as {where.database}.{name}{PART} "
                f"engine = Distributed('{where.cluster}', '{where.database}', '{name}{PART}', {key})"
            )


def expression(steps: Sequence[tuple[str, int]]) -> str:
    """Return the expression of ClickHouse for the shard of a row."""
    (_, first), *later = steps
    text = f"cityHash64(session) % {first}"
    for day, many in later:
        text = f"if(day >= '{day}', cityHash64(session) % {many}, {text})"
    return text


def known(engine_full: str) -> tuple[tuple[str, int], ...]:
    """Return the days and numbers of shards of a table from ClickHouse's description of it."""
    later = _STEP.findall(engine_full)[::-1]
    begun = _FIRST.search(engine_full.strip())
    if begun is None:
        return ()
    return (("1970-01-01", int(begun[1])), *((day, int(many)) for day, many in later))


def _check_steps(engine: Engine, before: tuple[tuple[str, int], ...]) -> None:
    """Raise ConfigError if stored rows would be looked for on another shard than theirs."""
    steps = engine.address.shards
    [(today,)] = engine.ask("select toString(today()) as day")
    new = steps[len(before) :]
    if steps[: len(before)] != before or any(day <= today for day, _ in new):
        text = ",".join(str(many) if day == "1970-01-01" else f"{many}@{day}" for day, many in before)
        raise ConfigError(
            f"invalid --store: the rows in {engine.address} are spread by shards={text}; add shards by "
            ",NUMBER@DAY with a day to come, and take none away"
        )
