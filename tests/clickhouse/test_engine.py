"""Statements, rows and errors of a real ClickHouse server."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest

from localops.errors import ConfigError
from localops.server.clickhouse import migrations, sharding
from localops.server.clickhouse.engine import Address, Engine, EngineError, address, literal
from tests.clickhouse.servers import Server

ODD = ["", "a'b", "back\\slash", "new\nline", "tab\t", "\0", "{name}", "\u2028", "🜁", "\\'", "%s", "')--"]


def test_a_url_names_hosts_a_database_and_a_user(tmp_path: Path) -> None:
    """A URL names hosts, a database and a user; the password never shows."""
    (tmp_path / "password").write_text("secret\n")
    where = address(
        f"clickhouse://me@one:9000,two,[::1]/runs?password_file={tmp_path}/password&insert_quorum=2&cluster=all", {}
    )
    assert where.hosts == ("http://one:9000", "http://two:8123", "http://[::1]:8123")
    assert (where.database, where.user, where.password) == ("runs", "me", "secret")
    assert (where.settings, where.cluster) == ((("insert_quorum", "2"),), "all")
    assert "secret" not in f"{where} {where!r}"
    secure = address("clickhouses://one", {"LOCALOPS_CLICKHOUSE_PASSWORD": "from here"})
    assert (secure.hosts, secure.user, secure.password) == (("https://one:8443",), "default", "from here")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgres://one/db", "expected clickhouse://"),
        ("clickhouse://", "expected clickhouse://"),
        ("clickhouse://one:port/db", "Port could not be cast"),
        ("clickhouse://me:geheim@one/db", "can be read by others"),
        ("clickhouse://one/da-ta", "expected a database of letters"),
        ("clickhouse://one/db?password_file=/not/there", "cannot be read: /not/there: No such file"),
        ("clickhouse://one/db?cluster=a b", "expected a cluster of letters"),
        ("clickhouse://one/db?shards=2", "expected shards such as 2"),
        ("clickhouse://one/db?cluster=all&shards=3,2@2027-01-01", "expected shards such as 2"),
        ("clickhouse://one/db?cluster=all&shards=1,2@2027-01-01,3@2026-01-01", "expected shards such as 2"),
        ("clickhouse://one/db?log_days=0", "expected log_days to be a number of days"),
        ("clickhouse://one/db?max_memory_usage=2GB", "expected max_memory_usage to be a number of bytes"),
        ("clickhouse://one/db?ca=/not/there", "the certificates /not/there are not there"),
    ],
)
def test_a_url_that_names_nothing_is_refused(url: str, problem: str) -> None:
    """An invalid URL is refused with what was expected."""
    with pytest.raises(ConfigError) as refusal:
        address(url, {})
    assert problem in str(refusal.value)
    assert "geheim" not in str(refusal.value)


def test_values_are_written_as_literals(clickhouse: Server) -> None:
    """Any value can be written into a statement, and is read back unchanged."""
    engine = clickhouse.engine()
    for odd in ODD:
        assert engine.ask("select {name} as a, {other} as b", name=odd, other="{name}") == [(odd, "{name}")]
    numbers = engine.ask("select toInt64({big}) as a, {small} as b, {list} as c", big=2**53 + 1, small=-1, list=[1, 2])
    assert numbers == [(2**53 + 1, -1, [1, 2])]
    assert engine.ask("select {id} as a, {nothing} as b", id=b"\x00\xff", nothing=None) == [("00ff", None)]
    with pytest.raises(TypeError, match="expected a number"):
        literal({})


def test_rows_are_stored_as_they_are(clickhouse: Server) -> None:
    """Rows are stored and read as they are, also many."""
    engine = clickhouse.engine()
    engine.do("create table if not exists odd (n Int64, t String, o Nullable(String)) engine = Memory")
    rows = [(2**63 - 1 - n, odd, odd if n % 2 else None) for n, odd in enumerate(ODD)]
    assert engine.put("odd", ("n", "t", "o"), rows) == len(rows)
    assert engine.put("odd", ("n", "t", "o"), []) == 0
    assert engine.ask("select n, t, o from odd order by n desc") == rows
    many = ((n, "x" * 100, None) for n in range(30_000))
    assert engine.put("odd", ("n", "t", "o"), many) == 30_000
    assert sum(1 for _ in engine.rows("select n, t from odd where o is null and n < 30000")) == 30_000
    # An answer that is not read to its end leaves no half of it to the next question.
    assert next(engine.rows("select n from odd where n >= 0 order by n limit 20000")) == (0,)
    assert engine.ask("select 1 as one") == [(1,)]


def test_errors_say_what_the_server_says(clickhouse: Server) -> None:
    """An error has the number and the words of the server."""
    with pytest.raises(EngineError, match="doesn't exist") as refusal:
        clickhouse.engine().ask("select x from nothing_of_this_name")
    assert (refusal.value.code, refusal.value.is_passing) == (60, False)
    with pytest.raises(EngineError, match=f"127.0.0.1:{clickhouse.port}: user locked is not let in") as refusal:
        clickhouse.engine(user="locked", password="wrong").ask("select 1 as one")
    assert not refusal.value.is_passing
    assert clickhouse.engine(user="locked", password="geheim und lang").ask("select 1 as one") == [(1,)]
    with pytest.raises(EngineError, match="readonly") as refusal:
        clickhouse.engine(user="reader").put("system.one", ("dummy",), [(1,)])
    # An error after the first rows stands in the middle of the answer.
    with pytest.raises(EngineError):
        list(clickhouse.engine().rows("select throwIf(number = 900000) as n from system.numbers limit 1000000"))


def test_another_host_answers_when_one_is_gone(clickhouse: Server) -> None:
    """When a host is out of reach, the next one answers."""
    here = f"http://127.0.0.1:{clickhouse.port}"
    engine = Engine(Address(("http://127.0.0.1:1", here)))
    assert [engine.ask("select 1 as one") for _ in range(3)] == [[(1,)]] * 3
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1 refuses the connection: start") as failure:
        Engine(Address(("http://127.0.0.1:1",))).ask("select 1 as one")
    assert failure.value.is_passing


def test_a_host_that_is_no_clickhouse_is_named() -> None:
    """Not with the words of a library, but what, where, and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def hang_up() -> None:
            for _ in range(2):
                listening.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        for scheme, words in (("http", "broke off the connection"), ("https", "cannot be reached over TLS")):
            with pytest.raises(EngineError, match=f"ClickHouse at 127.0.0.1:{port} {words}") as failure:
                Engine(Address((f"{scheme}://127.0.0.1:{port}",))).ask("select 1 as one")
            assert "object at 0x" not in str(failure.value)
            assert failure.value.is_passing


def test_threads_share_an_engine(clickhouse: Server) -> None:
    """Threads that share an engine get their own answers."""
    engine = clickhouse.engine()
    answers: list[int] = []

    def ask(number: int) -> None:
        answers.extend(value for _ in range(20) for (value,) in engine.ask("select {n} as n", n=number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted(number for number in range(30) for _ in range(20))


def test_tables_are_made_once_and_again(clickhouse: Server) -> None:
    """Tables are made once; a step that was cut off runs again."""
    engine = clickhouse.engine("made")
    assert migrations.migrate(engine) == list(range(1, migrations.newest() + 1))
    assert migrations.migrate(engine) == []
    tables = {name for (name,) in engine.ask("select name from system.tables where database = 'made'")}
    assert {"lo_event", "lo_session", "lo_received", "lo_migration"} <= tables
    # A step that was cut off runs again.
    engine.do("drop table lo_received")
    engine.do("drop table lo_migration")
    assert migrations.migrate(engine) == list(range(1, migrations.newest() + 1))
    engine.put("lo_migration", ("number", "at_ns"), [(migrations.newest() + 1, 1)])
    with pytest.raises(migrations.NewerTables, match="upgrade it"):
        migrations.migrate(engine)


def test_a_column_can_be_added_twice(clickhouse: Server) -> None:
    """A step that was cut off runs again, also where the server knows no `if not exists`; other faults are raised."""
    engine = clickhouse.engine("columns")
    migrations.migrate(engine)
    for _ in range(2):
        migrations.run(engine, "alter table lo_meta {on_cluster} add column more Nullable(Int64)")
    assert engine.ask("select more from lo_meta") == []
    with pytest.raises(EngineError):
        migrations.run(engine, "alter table lo_nothing {on_cluster} add column more Nullable(Int64)")


def test_tables_of_a_cluster_are_replicated() -> None:
    """They are made on all of its hosts, under a path of their own database."""
    where = Address(("http://one:8123",), "runs", cluster="all")
    for number in migrations.numbers():
        for statement in migrations.statements(number, modern=False):
            filled = migrations._filled(statement, where)
            assert " on cluster `all` " in filled
            if (table := re.match(r"create table if not exists (\w+)", filled)) is not None:
                path = f"'/clickhouse/tables/{{shard}}/runs/{table[1]}', '{{replica}}', "
                assert f"ReplicatedReplacingMergeTree({path}" in filled


def test_both_forms_of_the_tables_have_the_same_columns() -> None:
    """Old and new servers have tables of the same columns."""
    for number in migrations.numbers():
        core, modern = (migrations.statements(number, modern=modern) for modern in (False, True))
        assert [_columns(statement) for statement in core] == [_columns(statement) for statement in modern]


def _columns(statement: str) -> list[tuple[str, str]]:
    lines = [line.strip().rstrip(",") for line in statement.splitlines()[1:] if line.startswith("  ") and line.strip()]
    columns = [
        line.split(" codec(")[0].replace("LowCardinality(", "(") for line in lines if not line.startswith("index ")
    ]
    bare = [line.partition(" ") for line in columns]
    return [(name, kind.replace("(", "").replace(")", "")) for name, _, kind in bare]


def test_a_statement_has_a_bound_for_memory(clickhouse: Server) -> None:
    """Grouping and sorting use the disk before it is reached; what cannot may be tried again later."""
    engine = clickhouse.engine()
    asked = "select value from system.settings where name = 'max_memory_usage'"
    assert engine.ask(asked) == [("1500000000",)]
    url = f"{clickhouse.url('default')}?max_memory_usage=40000000"
    small, in_memory = (Engine(address(f"{url}{more}", {})) for more in ("", "&max_bytes_before_external_group_by=0"))
    assert small.ask(asked) == [("40000000",)]
    numbers = "select number from system.numbers limit 2000000"
    grouped = f"select sum(many) as all from (select count() as many from ({numbers}) group by number)"
    assert small.ask(grouped) == [(2_000_000,)]
    with pytest.raises(EngineError) as refusal:
        in_memory.ask(grouped)
    assert (refusal.value.code, refusal.value.is_passing) == (241, True)


def test_an_insert_does_not_wait_long_for_a_replica_that_is_gone(clickhouse: Server) -> None:
    """Senders try again, on another host if there is one; the URL may set another limit."""
    asked = "select value from system.settings where name = 'insert_quorum_timeout'"
    for options, expected in (
        ("?insert_quorum=2", "10000"),
        ("?insert_quorum=2&insert_quorum_timeout=5", "5"),
    ):
        assert Engine(address(f"{clickhouse.url('default')}{options}", {})).ask(asked) == [(expected,)]


def test_a_session_stays_on_its_shard(clickhouse: Server) -> None:
    """A greater number of shards applies from a day on, which ClickHouse's description of a table shows."""
    where = address("clickhouse://one/db?cluster=all&shards=1,2@2027-01-01,5@2028-01-01", {})
    assert where.shards == (("1970-01-01", 1), ("2027-01-01", 2), ("2028-01-01", 5))
    key = sharding.expression(where.shards)
    assert sharding.known(f"Distributed('all', 'db', 'lo_event_part', {key})") == where.shards
    asked = (
        f"select groupUniqArray({key}) as shards from (select toString(number) as session, toDate('{{day}}') as day "
    )
    asked += "from (select number from system.numbers limit 50))"
    for day, many in (("2026-12-31", 1), ("2027-06-01", 2), ("2028-01-01", 5)):
        [(shards,)] = clickhouse.engine().ask(asked.format(day=day))
        assert sorted(shards) == list(range(many))
