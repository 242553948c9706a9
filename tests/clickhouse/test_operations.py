"""What an operator does with the data folder of a hub whose rows are in ClickHouse: it is known to be a cache."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localops import clock, config
from localops.encoding import openmetrics
from localops.errors import ConfigError
from localops.reading import mirrored
from localops.recording.scores import Score
from localops.server.clickhouse.condition import Hosts
from localops.server.clickhouse.engine import Address, Engine, address
from localops.server.keys import Keys
from localops.server.policy import Rules
from localops.server.retention import BEGIN
from localops.server.survey import Survey
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT, Program
from tests.clickhouse.servers import Server
from tests.server.hubs import RealHub, batch_of, hub, session_rows
from tests.warm import localops


@pytest.fixture
def cold(both: Both, clickhouse: Server) -> tuple[Both, Program]:
    """Return stores with sessions that are evicted; that on ClickHouse is closed, and its folder is a hub's."""
    program = Program(41)
    both.begin_again(bound=0)
    for step in program.steps(deletions=False):
        assert step(both.store) == step(both.home)
    both.store.make_room(PROJECT)
    both.store.close()
    os.unlink(both.mirror.parent / "hub.json")
    Keys(str(both.mirror.parent), new=True).create(PROJECT)
    mirrored.note(str(both.mirror.parent), clickhouse.url(both.database))
    return both, program


def _hub(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = localops("hub", *arguments)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def test_serve_notes_its_store(tmp_path: Path, clickhouse: Server) -> None:
    """The folder names it, and a hub without --store does not serve what is only a part."""
    url = clickhouse.url("noted")
    with hub(tmp_path, "default", "--store", url) as running:
        data = running.data
        assert mirrored.store_of(str(data)) == url
    refused = _hub("serve", "--data", data, code=2)
    assert "only the cache of a hub" in refused.stderr
    assert f"--store {url}" in refused.stderr


@pytest.mark.parametrize("command", [["sessions"], ["scrub", "--yes"], ["prune", "--older-than", "1d"], ["doctor"]])
def test_other_commands_say_what_it_is(cold: tuple[Both, Program], command: list[str]) -> None:
    """They would see and change a part of the rows."""
    folder = cold[0].mirror.parent
    done = localops(*command, "--home", str(folder))
    assert done.returncode == 2, done.stdout
    assert f"{folder} is only the cache of a hub" in done.stderr


def test_a_password_is_never_in_the_url() -> None:
    """Neither with the user nor among the options, as the URL is stored in the folder."""
    with pytest.raises(ConfigError, match=r"instead of \?password="):
        address("clickhouse://me@one/runs?password=secret", {})


def test_check_reads_every_row_from_clickhouse(cold: tuple[Both, Program]) -> None:
    """Cold rows are not lost; a row that ClickHouse lacks is, and one that differs is damaged."""
    both, _ = cold
    data = both.mirror.parent
    engine = Engine(address(str(mirrored.store_of(str(data)))))
    [(rows,)] = engine.ask("select uniqExact(id, phase) as many from lo_event")
    assert both.rows_here() < rows
    [facts] = _checked(data)
    assert (facts["ok"], facts["rows"], facts["lost"], facts["damaged"]) == (True, rows, [], [])
    columns = "project, session, id, phase, seq, kind, format, day, sum, rev"
    [(session, id, phase)] = engine.ask(
        "select session, id, phase from lo_event final where kind = 'tool' order by seq limit 1"
    )
    [(seq,)] = engine.ask("select seq from lo_event where id = {id} and phase = {phase}", id=id, phase=phase)
    engine.do(
        f"insert into lo_event ({columns}) "
        "select project, session, id, phase, seq, kind, format, day, sum + 1, rev + 1 "
        f"from lo_event where session = '{session}' and id = '{id}' and phase = {phase}"
    )
    [(lost, lost_seq)] = engine.ask("select id, seq from lo_event where kind = 'action' order by seq limit 1")
    engine.do("create table kept as lo_event engine = Log")
    engine.do("insert into kept select * from lo_event where id <> {id}", id=lost)
    engine.do("truncate table lo_event")
    engine.do("insert into lo_event select * from kept")
    [facts] = _checked(data, code=1)
    assert (facts["ok"], facts["damaged"], facts["lost"]) == (False, [seq], [lost_seq])


def test_delete_reaches_clickhouse(cold: tuple[Both, Program]) -> None:
    """A cold session goes, also when the cache was lost before; its tombstone is stored."""
    both, program = cold
    data = both.mirror.parent
    for name in os.listdir(both.mirror):
        if name.startswith(("journal.db", "search.db")):
            os.unlink(both.mirror / name)
    session = program.sessions[0].hex()
    _hub("delete", session, "--data", data, "--project", PROJECT, "--yes")
    engine = Engine(address(str(mirrored.store_of(str(data)))))
    asked = "select gone from lo_session final where session = {session}"
    assert engine.ask(asked, session=session) == [(1,)]
    assert both.home.delete(PROJECT, program.sessions[0])
    both.store = both.opened()
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)
    assert "already deleted" in _hub("delete", session, "--data", data, "--project", PROJECT, code=1).stderr


def test_senders_and_quotas_know_what_is_cold(cold: tuple[Both, Program]) -> None:
    """Newest events, rows, and bytes in ClickHouse."""
    both, _ = cold
    data = both.mirror.parent
    listed = json.loads(_hub("senders", "--data", data, "--json").stdout)["senders"]
    assert listed
    assert {each["journal"]: each["rows"] for each in listed} == {
        each.journal: each.rows for each in both.home.senders(PROJECT)
    }
    assert all(each["newest_row"] for each in listed)
    _hub("quota", "set", "--data", data, "--project", PROJECT, "--bytes", "1GB", "--rows", "1000000")
    [quota] = json.loads(_hub("quota", "list", "--data", data, "--json").stdout)["quotas"]
    assert quota["rows"]["used"] == both.home.stored(PROJECT)[0]
    engine = Engine(address(str(mirrored.store_of(str(data)))))
    [(size,)] = engine.ask(
        "select sum(bytes_on_disk) from system.parts where active and database = currentDatabase() "
        "and table = 'lo_event'"
    )
    # Of the only project, all of it; merges make it smaller meanwhile.
    assert 0 < quota["bytes"]["used"] <= 2 * int(size)


def test_retire_and_judge_reach_clickhouse(cold: tuple[Both, Program]) -> None:
    """Cold sessions are scored and retired as in a home."""
    both, program = cold
    both.store = both.opened(bound=0)
    score = Score("correct", value=True, by="human")
    for session in program.sessions[:2]:
        assert both.store.judge(PROJECT, session, score) is not None
        assert both.home.judge(PROJECT, session, score) is not None
    both.store.make_room(PROJECT)
    rules = replace(Rules(), keep_ns=1, unknown=True)
    now_ns = clock.now_ns()
    going = [
        both.store.expired(PROJECT, rules, now_ns, BEGIN).going,
        both.home.expired(PROJECT, rules, now_ns, BEGIN).going,
    ]
    assert {each.session for each in going[0]} == {each.session for each in going[1]}
    for store, chosen in zip((both.store, both.home), going, strict=True):
        taken = store.retire(PROJECT, chosen[:3])
        assert (taken.sessions, taken.failed) == (3, None)
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)
    both.lose_mirror()
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)


def test_metrics_tell_of_every_host(both: Both, clickhouse: Server) -> None:
    """Parts, rows and bytes of each table, deletions, and which host does not answer."""
    for step in Program(42, sessions=2, machines=1).steps(doors=False, deletions=False):
        step(both.store)
    survey = Survey(both.store, both.store.folder, lambda: None)
    survey._look()
    text = openmetrics.text(survey.beneath).decode()
    here = f"127.0.0.1:{clickhouse.port}"
    assert f'localops_hub_clickhouse_up{{host="{here}"}} 1' in text
    for figure in ("parts", "rows", "bytes"):
        [many] = re.findall(rf'localops_hub_clickhouse_{figure}{{host="{here}",table="lo_event"}} (\d+)', text)
        assert int(many) > 0
    assert "localops_hub_waiting_sessions " in text
    hosts = Hosts(Address(("http://127.0.0.1:1", f"http://{here}"), both.database))
    up, *others = hosts.families()
    assert [(sample.value, dict(sample.labels)["host"]) for sample in up.samples] == [(0, "127.0.0.1:1"), (1, here)]
    assert {dict(sample.labels)["host"] for family in others for sample in family.samples} == {here}
    hosts.close()


def test_a_backup_of_the_cache_is_restored(tmp_path: Path, clickhouse: Server) -> None:
    """It says that rows are elsewhere; with it a hub has all of them again, also those since."""
    url = clickhouse.url("restored")
    with hub(tmp_path, "default", "--store", url) as running:
        first, later = session_rows(3), session_rows(4)
        assert running.take(batch_of(first))[0] == 200
        done = _hub("backup", "--data", running.data, "-o", tmp_path / "saved", "--verify")
        assert f"rows that only {url} has are not in it" in done.stderr
        assert running.take(batch_of(later, journal="b" * 32))[0] == 200
        listed = _sessions(running)
        running.stop()
        _hub("restore", "--from", tmp_path / "saved", "--data", running.data, "--replace")
        assert mirrored.store_of(str(running.data)) == url
        running.start()
        assert _sessions(running) == listed
        assert [facts["ok"] for facts in _checked(running.data)] == [True]


def test_a_backup_of_evicted_sessions_is_good(cold: tuple[Both, Program], tmp_path: Path) -> None:
    """Rows that are only in ClickHouse are not lost ones of the backup."""
    _hub("backup", "--data", cold[0].mirror.parent, "-o", tmp_path / "saved", "--verify")
    _hub("restore", "--from", tmp_path / "saved", "--data", tmp_path / "again")
    assert config.projects(str(tmp_path / "again")) == [PROJECT]


def _checked(data: Path, code: int = 0) -> list[dict[str, Any]]:
    done = _hub("check", "--data", data, "--json", code=code)
    projects: list[dict[str, Any]] = json.loads(done.stdout)["projects"]
    return projects


def _sessions(running: RealHub) -> set[str]:
    status, listed = running.ask("GET", "/api/1/sessions")
    assert status == 200
    return {each["session_id"] for each in listed["sessions"]}
