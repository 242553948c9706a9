"""The metrics of a hub about its ClickHouse: parts, merges, deletions, how far replicas are behind, disks."""

from __future__ import annotations

from dataclasses import replace

from localops.encoding.openmetrics import Family, Sample
from localops.server.clickhouse.engine import Engine, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.clickhouse.engine import Address

# The longest wait for a host: the program that reads the metrics waits for the answer.
_SECONDS = 5.0
_OWN = "database = currentDatabase()"
_NAME = "localops_hub_clickhouse"
# By the name of a figure: its description, and the statement that returns labels with numbers.
_FIGURES = {
    "parts": (
        "Parts of a table; ClickHouse slows inserts at some hundreds in one month.",
        f"select table, count() as many from system.parts where {_OWN} and active group by table",  # noqa: S608
    ),
    "rows": (
        "Rows of a table, with versions that are not merged yet.",
        f"select table, sum(rows) as many from system.parts where {_OWN} and active group by table",  # noqa: S608
    ),
    "bytes": (
        "Bytes of a table on disk.",
        f"select table, sum(bytes_on_disk) as many from system.parts where {_OWN} and active group by table",  # noqa: S608
    ),
    "merges": (
        "Running merges of a table.",
        f"select table, count() as many from system.merges where {_OWN} group by table",  # noqa: S608
    ),
    "deletions": (
        "Deletions in a table that have not ended.",
        f"select table, count() as many from system.mutations where {_OWN} and is_done = 0 group by table",  # noqa: S608
    ),
    "replica_lag_seconds": (
        "How far a replica of a table is behind the others.",
        f"select table, toUInt64(absolute_delay) as many from system.replicas where {_OWN}",  # noqa: S608
    ),
    # Not on the oldest servers.
    "disk_free_bytes": ("Free bytes of a disk.", "select name, free_space as many from system.disks"),
}


class Hosts:
    """The hosts of a store, with a connection to each."""

    def __init__(self, where: Address) -> None:
        self._engines = [Engine(replace(where, hosts=(host,)), seconds=_SECONDS) for host in where.hosts]

    def families(self) -> list[Family]:
        """Return the figures of every host; of a host that does not answer, only that it is down."""
        up: list[Sample] = []
        samples: dict[str, list[Sample]] = {name: [] for name in _FIGURES}
        for engine in self._engines:
            _, _, host = engine.address.hosts[0].partition("://")
            answers = True
            for name, (_, statement) in _FIGURES.items():
                label = "disk" if name.startswith("disk") else "table"
                try:
                    lines = engine.ask(statement)
                except EngineError as error:
                    if not error.code:
                        answers = False
                        break
                    continue
                samples[name] += [Sample(many, {"host": host, label: value}) for value, many in lines]
            up.append(Sample(answers, {"host": host}))
        families = [Family(f"{_NAME}_up", "gauge", "1 if a host of ClickHouse answers.", up)]
        families += [Family(f"{_NAME}_{name}", "gauge", _FIGURES[name][0], some) for name, some in samples.items()]
        return [family for family in families if family.samples]

    def close(self) -> None:
        """Close the connections."""
        for engine in self._engines:
            engine.close()
