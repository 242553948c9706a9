"""A journal of an earlier release opens, reads the same, and continues; that of a later one is left alone.

For each schema before ours there is a journal that a release made: `fixtures/journal_of_schema_<number>.db.gz`.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.errors import NewerJournal
from localops.journal import rollups, rows, sql
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.reading.home import Home
from tests import programs, warm
from tests.made import event

_FIXTURES = Path(__file__).parent / "fixtures"
_OLDER = range(1, sql.SCHEMA)

# What the release that made the journal printed of it: name, state, LLM calls, tools, errors, nano-dollars.
_SESSIONS_OF_SCHEMA_1 = [
    ("folded", "Indeterminate", 0, 0, 0, 0),
    ("killed run", "Indeterminate", 0, 0, 0, 0),
    ("failed run", "Failure", 0, 1, 1, 0),
    ("good run", "Success", 2, 1, 0, 222_000),
]


def _put_older(version: int, folder: str | None = None) -> str:
    """Put a journal of an older schema in a folder, that of the default project if none is named; return the folder."""
    folder = folder or programs.project()
    os.makedirs(folder)
    path = os.path.join(folder, "journal.db")
    with gzip.open(_FIXTURES / f"journal_of_schema_{version}.db.gz") as packed, open(path, "xb") as file:
        shutil.copyfileobj(packed, file)
    os.chmod(path, 0o600)
    return folder


@pytest.fixture
def older() -> str:
    """Return a project folder with a journal of schema 1: two ended sessions, a killed one, a price that came later."""
    return _put_older(1)


@pytest.fixture(params=_OLDER)
def any_older(request: pytest.FixtureRequest) -> str:
    """Return a project folder with a journal of each older schema in turn."""
    return _put_older(request.param)


def _ask(folder: str, statement: str) -> list[tuple[Any, ...]]:
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return reader.ask(statement)


def _schema(folder: str) -> list[tuple[Any, ...]]:
    """Every table, view, index and trigger of a journal, without comments and spaces, and the number of its schema."""
    objects = _ask(folder, "select type, name, sql from sqlite_schema where sql is not null order by name")
    plain = [(kind, name, re.sub(r"--[^\n]*|\s", "", text)) for kind, name, text in objects]
    return [*plain, *_ask(folder, "pragma user_version")]


def _fresh_schema(tmp_path: Path) -> list[tuple[Any, ...]]:
    fresh = Journal(str(tmp_path / "fresh"))
    fresh.fold()
    fresh.close()
    return _schema(fresh.folder)


def _derived(folder: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is folded from the rows; sessions by their ids, as their keys depend on the order of folding."""
    of_session = "(select session from total t where t.key = d.key)"
    tables = {table: _ask(folder, f"select * from {table}") for table in ("id_of", "milestone")}
    tables["total"] = [row[1:] for row in _ask(folder, "select * from total")]
    for table in ("event_of", "unfinished"):
        tables[table] = _ask(folder, f"select {of_session}, seq from {table} d")
    columns = "name, target, author, given_ns, id, seq, seen_ns, type, number, label, version"
    tables["scored"] = _ask(folder, f"select {of_session}, {columns} from scored d")
    figures = ", ".join(rows.FIGURES)
    tables["facet"] = _ask(folder, f"select {of_session}, dim, value, {figures} from facet d")
    assert tables.keys() == set(rollups.DERIVED)
    return {table: sorted(content, key=repr) for table, content in tables.items()}


def _open_and_close(folder: str) -> None:
    """Migrate a journal, as any process does that records into it or keeps it."""
    journal = Journal(folder)
    journal.fold()
    journal.close()


def _listed() -> list[tuple[object, ...]]:
    with Home() as home:
        return [(one.name, one.state, one.llms, one.tools, one.errors, one.cost) for one in home.sessions()]


# What an older release made


def test_migrations_are_numbered_without_a_gap() -> None:
    """Each step leads from one schema to the next, and the last of them to ours."""
    names = [path.name for path in Path(sql.__file__).parent.glob("migration_*.sql")]
    assert sorted(names) == sorted(f"migration_{after + 1}.sql" for after in _OLDER)
    assert [len(sql.migrations(after)) for after in range(sql.SCHEMA + 1)] == [2, *range(sql.SCHEMA, 0, -1)]


def test_a_migrated_journal_equals_a_new_one(any_older: str, tmp_path: Path) -> None:
    """From whichever schema: tables, views, indexes and triggers are those of a journal begun today, no row changed."""
    kept = "select * from event where kind != 'journal' order by seq"
    before = _ask(any_older, kept)
    assert before
    _open_and_close(any_older)
    assert _schema(any_older) == _fresh_schema(tmp_path)
    assert _ask(any_older, kept) == before
    assert _ask(any_older, "pragma integrity_check") == [("ok",)]


def test_figures_of_an_older_release_are_the_same(any_older: str) -> None:
    """The derived tables of a migrated journal are the same when they are folded again from its first row."""
    _open_and_close(any_older)
    migrated = _derived(any_older)
    journal = Journal(any_older)
    journal.rebuild()
    journal.close()
    assert _derived(any_older) == migrated
    assert all(migrated[table] for table in ("total", "milestone", "facet", "id_of", "event_of"))


def test_a_price_that_came_later_is_in_an_older_journal_too(any_older: str) -> None:
    """Each call costs what its session counts, in a journal that is only read and in one that was migrated."""
    for migrate in (False, True):
        if migrate:
            _open_and_close(any_older)
        costs = [cost for (cost,) in _ask(any_older, "select cost_usd from event_detail where kind = 'llm'")]
        [(sessions,)] = _ask(any_older, "select sum(cost) from session_total")
        assert None not in costs
        assert round(sum(costs) * 1e9) == sessions


def test_an_older_journal_is_read_without_being_changed(older: str) -> None:
    """A reader sees it through the views of this release, and writes nothing."""
    with Reader(os.path.join(older, "journal.db")) as reader:
        assert reader.is_of_older_schema
        (joined,) = reader.ask("select count(*) from session s join event_detail e on e.session = s.session_id")
        assert joined == (32,)
        assert reader.ask("pragma user_version") == [(1,)]


def test_cache_writes_that_were_only_in_bodies_are_counted() -> None:
    """A journal of schema 5 has them in no column: its totals count them, whether it is only read or migrated."""
    folder = _put_older(5)
    names = "name, tokens_cached, tokens_cache_write"
    seen = []
    for migrate in (False, True):
        if migrate:
            _open_and_close(folder)
        with Reader(os.path.join(folder, "journal.db")) as reader:
            assert reader.is_of_older_schema is not migrate
            sessions = reader.ask(f"select {names} from session order by 1")
            events = reader.ask("select sum(tokens_cache_write), count(tokens_cache_write) from event_detail")
            lines = {by: analytics.across(reader, by, analytics.Chosen()) for by in ("model", "agent", "tag", "kind")}
            [(cached,)] = reader.ask("select session from total where name = 'with a cache'")
            parts = [part for dim in analytics.DIMS for part in analytics.parts(reader, cached, dim)]
        seen.append((sessions, events, lines, parts))
        assert sessions == [("killed", 10, 20), ("past the mark", 0, 300), ("with a cache", 400, 166)]
        assert events == [(486, 6)]
        counts = {by: {line.value: line.tokens_cache_write for line in lines[by]} for by in lines}
        assert counts["model"] == {"claude-3-5-sonnet-20241022": 486, "gpt-4o": 0}
        assert counts["agent"] == {"planner": 126}
        assert counts["tag"] == {"folded": 166, "cache": 186, "tail": 300, "own": 384}
        assert counts["kind"]["llm"] == 486
        assert counts["kind"]["llm_copy"] == 0
    assert seen[0] == seen[1]


def test_an_older_release_may_record_into_a_migrated_journal() -> None:
    """It does not fill the column that it does not know, and a rebuild does."""
    folder = _put_older(5)
    _open_and_close(folder)
    journal = Journal(folder)

    def lose(execute: Any) -> None:
        execute("update event set tokens_cache_write = null where seq > (select max(seq) - 3 from event)")

    journal.transact(lose, folded=False)
    journal.rebuild()
    journal.close()
    assert _ask(folder, "select sum(tokens_cache_write) from session_total") == [(486,)]


def test_what_was_withdrawn_is_not_current_in_an_older_journal() -> None:
    """Whether one of schema 7 is only read or migrated, a score that was taken back shows with none that count."""
    folder = _put_older(7)
    for migrate in (False, True):
        if migrate:
            _open_and_close(folder)
        assert _ask(folder, "select distinct name, value from score where current order by 1") == [
            ("correct", 1.0),
            ("kind", "good"),
        ]


def test_an_older_journal_is_listed_as_before(older: str) -> None:
    """Commands show the same sessions and figures as the release that made it."""
    assert _listed() == _SESSIONS_OF_SCHEMA_1


def test_an_older_journal_continues(older: str) -> None:
    """A recorder appends to it, folds, and its ids are written as in a new one."""
    session = clock.new_id()
    journal = Journal(older)
    at = clock.now_ns()
    assert journal.append(rows.make("session", session, id=session, at_ns=at, name="later", body="{}"))
    assert journal.append(rows.make("action", session, id=clock.new_id(), at_ns=at, name="step"))
    journal.rebuild()
    assert analytics.totals(journal, session).actions == 1
    journal.close()
    assert _listed()[1:] == _SESSIONS_OF_SCHEMA_1
    ids = _ask(older, "select id, parent from event_detail where kind = 'tool' and parent is not null limit 1")
    assert [text.count("-") for text in ids[0]] == [4, 4]


# A migration that is cut off, or done by many


# Kills itself when the statement with a number is about to run, counted from the one that begins the migration.
_DIES = """
import os, signal, sys
import apsw
from localops.journal.journal import Journal
stop, ran = int(sys.argv[2]), []

def trace(cursor, statement, bindings):
    if ran or statement == "begin immediate":
        if len(ran) == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        ran.append(statement)
    return True

def watch(connection):
    connection.exec_trace = trace

apsw.connection_hooks.append(watch)
Journal(sys.argv[1]).fold()
apsw.connection_hooks.clear()
last = max(n for n, statement in enumerate(ran) if "create view" in statement)
print(ran.index("commit", last))
"""


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 0.75, 1.0, "the commit is done"])
def test_a_migration_that_is_killed_leaves_the_journal_as_it_was(older: str, tmp_path: Path, part: Any) -> None:
    """Wherever a process dies at it, the journal reads as before, and the next process brings it to our schema."""
    commit = int(programs.run(_DIES, _put_older(1, str(tmp_path / "uncut")), 1_000_000).stdout)
    assert commit > 10
    before = _schema(older)
    stop = commit + 1 if isinstance(part, str) else round(part * commit)
    assert programs.run(_DIES, older, stop).returncode == -signal.SIGKILL
    assert _schema(older) == (before if stop <= commit else _fresh_schema(tmp_path))
    assert _listed() == _SESSIONS_OF_SCHEMA_1
    _open_and_close(older)
    assert _schema(older) == _fresh_schema(tmp_path)


def test_many_processes_that_come_at_once_migrate_once(older: str, tmp_path: Path) -> None:
    """Recorders that meet an older journal together all write to it, and spill nothing."""
    code = (
        "import sys\nfrom localops.journal.journal import Journal\nfrom tests.made import event\n"
        "print('up', flush=True)\nsys.stdin.readline()\njournal = Journal(sys.argv[1])\n"
        "assert all([journal.append(event(f'{sys.argv[2]} {n}')) for n in range(20)])\n"
        "print(journal.counts['spilled'])\njournal.close()\n"
    )
    many = [programs.start(code, older, name) for name in "abcd"]
    for one in many:
        assert one.stdout is not None
        assert one.stdout.readline() == "up\n"
    for one in many:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.communicate(timeout=60)[0] for one in many] == ["0\n"] * 4
    assert {f"{name} {n}" for name in "abcd" for n in range(20)} <= set(programs.names())
    assert _schema(older) == _fresh_schema(tmp_path)


# What a newer release made


def _made_by_a_newer_release(folder: str) -> str:
    """Make a journal whose tables have other names, and that asks older releases not to write to it."""
    journal = Journal(folder)
    journal.append(event("theirs"))
    journal.fold()
    newer = sql.SCHEMA + 1

    def grow(execute: Any) -> None:
        for (view,) in execute("select name from sqlite_schema where type = 'view'").fetchall():
            execute(f"drop view {view}")
        execute("alter table milestone rename to step")
        execute("update meta set value = ? where key = 'writer'", (str(newer),))
        execute(f"pragma user_version = {newer}")

    journal.transact(grow, folded=False)
    journal.close()
    return journal.path


def test_a_newer_journal_is_left_alone_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Writers and readers both say that localops has to be upgraded, instead of naming a missing column."""
    folder = programs.project()
    path = _made_by_a_newer_release(folder)
    numbers = f"schema {sql.SCHEMA + 1}, this one knows {sql.SCHEMA}"
    with Reader(path) as reader, pytest.raises(NewerJournal, match=re.escape(numbers)):
        reader.all("story", session=b"s" * 16)
    journal = Journal(folder)
    assert journal.append(event("ours"))
    journal.close()
    assert journal.counts["spilled"] == 1
    warning = capsys.readouterr().err
    assert numbers in warning
    assert "upgrade localops" in warning
    assert _ask(folder, "pragma user_version") == [(sql.SCHEMA + 1,)]


@pytest.mark.parametrize("command", ["sessions", "status", "doctor"])
def test_commands_report_a_newer_journal(command: str) -> None:
    """No command ends in a traceback or in SQLite's own message."""
    _made_by_a_newer_release(programs.project())
    done = warm.localops(command)
    assert "upgrade localops" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
