"""A home that is read: what it tidies and finds, and that a list is right without any tidying."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import localops
from localops import clock, config, host
from localops.encoding import encode
from localops.errors import Ambiguous, ConfigError, NotFound
from localops.journal import rows, sql
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.spill import Claim, Spill, waiting
from localops.reading.home import Filters, Home, Listed, id_range
from tests import programs
from tests.examples import examples

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def _rows(number: int, *, state: str | None, tag: str, model: str) -> list[rows.Row]:
    """Return a session as rows: begun `number` seconds after START."""
    at = START + number * SECOND
    session = clock.new_id(at)
    tags = encode.dumps([tag]).decode()
    card = {"participant": clock.new_id().hex(), "host": "elsewhere", "machine": "0", "boot": "0"}
    body = encode.dumps(card).decode()
    session_rows = [
        rows.make(
            "session",
            session,
            id=session,
            at_ns=at,
            name=f"run {number}",
            tags=tags,
            parent=bytes.fromhex(card["participant"]),
            body=body,
        ),
        rows.make("agent", session, id=clock.new_id(at), at_ns=at + 1, name=f"agent {number % 2}"),
        rows.make("llm", session, id=clock.new_id(at), at_ns=at + 2, model=model, tokens=(7, 3, None, None), cost=5),
    ]
    if state is not None:
        session_rows.append(rows.make("end", session, id=clock.new_id(at), at_ns=at + 3, name=state))
    return session_rows


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Return the journal of the project `default`."""
    return Journal(str(tmp_path / "home" / "default"))


def _stop_folding(journal: Journal) -> None:
    """Mark the derived tables as those of a newer release: this one then reads past the mark without folding."""
    journal.transact(lambda execute: execute(f"pragma user_version = {sql.SCHEMA + 1}"))


def _look(listed: Listed) -> tuple[Any, ...]:
    return (listed.name, listed.state, listed.session, *listed[3:6], *listed[7:])


STATES = (None, "Success", "Failure", "Indeterminate")
MODELS = ("gpt", "llama")
FILTERS = [
    Filters(),
    Filters(state="Failure"),
    Filters(state="Unknown"),
    Filters(tag="red"),
    Filters(model="gpt"),
    Filters(agent="agent 1"),
    Filters(since=START + 3 * SECOND),
    Filters(until=START + 3 * SECOND),
    Filters(state="Success", tag="red", model="llama", agent="agent 1", since=START),
]


@pytest.mark.parametrize("filters", FILTERS)
def test_a_list_is_the_same_before_and_after_folding(journal: Journal, filters: Filters) -> None:
    """Rows past the mark count like any others, in every filter."""
    sessions = [
        _rows(number, state=STATES[number % 4], tag=("red", "blue")[number % 3 == 0], model=MODELS[number % 2])
        for number in range(8)
    ]
    journal.add([row for session in sessions[:4] for row in session[:2]])
    _stop_folding(journal)
    for session in [*(session[2:] for session in sessions[:4]), *sessions[4:]]:
        for row in session:
            journal.append(row)
    journal.close()
    with Home() as home:
        assert home.projects[0].ask("behind")[0][0] > 8
        unfolded = [_look(listed) for listed in home.sessions(filters)]
    journal.transact(lambda execute: execute(f"pragma user_version = {sql.SCHEMA}"))
    journal.close()
    with Home() as home:
        assert home.projects[0].ask("behind")[0][0] == 0
        assert [_look(listed) for listed in home.sessions(filters)] == unfolded
    assert unfolded


@settings(max_examples=examples(15))
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"])), min_size=1, max_size=12))
def test_pages_put_together_are_the_list(sessions: list[tuple[str, str]]) -> None:
    """However sessions are spread over projects and time, pages after each other have each once, newest first."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for number, (project, tag) in enumerate(sessions):
            journal = Journal(f"{folder}/{project}")
            journal.add(_rows(number // 2, state="Success", tag=tag, model="gpt"))  # two begin at the same time
            journal.close()
        with Home(folder) as home:
            whole = [listed.session for listed in home.sessions()]
            paged: list[bytes] = []
            while page := next(home.sessions(before=paged[-1].hex() if paged else None), None):
                paged.append(page.session)
            starts = [listed.first_ns for listed in home.sessions()]
    assert paged == whole
    assert len(set(whole)) == len(sessions)
    assert starts == sorted(starts, reverse=True)


def test_a_list_has_a_session_once_while_others_record_and_fold(journal: Journal) -> None:
    """A row, or a fold, between the two parts of a list neither hides a session nor doubles it."""
    for number in (1, 2):
        for row in _rows(number, state="Success", tag="red", model="gpt"):
            journal.append(row)
    journal.fold()
    with Home() as home:
        [project] = home.projects
        newest = next(home.sessions()).session
        begun = project.sessions(Filters())
        journal.append(rows.make("tags", newest, id=clock.new_id(), at_ns=START + 5 * SECOND, name="add"))
        assert [listed.name for listed in begun] == ["run 2", "run 1"]
        begun = project.sessions(Filters())
        journal.fold()
        assert [listed.name for listed in begun] == ["run 2", "run 1"]


def test_spilled_rows_come_in_when_a_home_is_opened(journal: Journal) -> None:
    """Rows that waited beside the journal are in the list, and no longer wait."""
    for row in _rows(1, state="Success", tag="red", model="gpt"):
        journal.append(row)
    journal.close()
    spill = Spill(journal.folder)
    for row in _rows(2, state="Success", tag="red", model="gpt"):
        assert spill.write(row)
    with Home() as home:
        assert [listed.name for listed in home.sessions()] == ["run 2", "run 1"]
    assert not waiting(journal.folder)


def test_a_project_that_only_spilled_is_a_project(tmp_path: Path) -> None:
    """Rows that never reached a journal are moved into a new one when the project is read."""
    spill = Spill(config.project_folder(str(tmp_path / "home"), "default"))
    for row in _rows(1, state="Success", tag="red", model="gpt"):
        assert spill.write(row)
    with Home() as home:
        assert [listed.name for listed in home.sessions()] == ["run 1"]


def test_a_foreign_folder_is_no_project(tmp_path: Path) -> None:
    """A folder without a journal is left out everywhere."""
    (tmp_path / "home" / "notes").mkdir(parents=True)
    with Home() as home:
        assert home.projects == []
    with pytest.raises(NotFound, match="no project 'notes'"):
        Home(project="notes")


def test_ids_are_found_by_their_beginning_in_every_project() -> None:
    """With or without dashes, in any letter case; `last` is the newest of all projects."""
    first = localops.start_session(name="first")
    second = localops.start_session(name="second", config=localops.Config(project="other"))
    assert first is not None
    assert second is not None
    with Home() as home:
        for ident in (str(first.session_id), first.session_id.hex.upper(), str(first.session_id)[:20]):
            assert home.find(ident)[1] == first.session_id.bytes
        assert home.find("last")[1] == second.session_id.bytes
        assert home.find("last")[0].name == "other"
        with pytest.raises(Ambiguous, match="more than one session"):
            home.find(str(first.session_id)[:4])
        for _ in range(7):
            localops.start_session()
        with pytest.raises(Ambiguous, match=r"(?:[0-9a-f-]{36} in \w+,? ){5}and 4 more; give more of the id"):
            home.find(str(first.session_id)[:4])


def test_a_running_session_is_left_running() -> None:
    """Tidying derives no end for a session that is alive."""
    session = localops.start_session()
    assert session is not None
    with Home() as home:
        assert next(home.sessions()).state == "Running"
        assert home.projects[0].standing(session.session_id.bytes).state == "Running"


@pytest.mark.parametrize("wrong", ["", "abc", "xyzw", "a" * 33, "last one", "%"])
def test_an_invalid_id_is_an_error(wrong: str) -> None:
    """The message explains the form of an id."""
    with pytest.raises(NotFound, match="hex digits"):
        id_range(wrong)


@given(st.binary(min_size=16, max_size=16), st.integers(4, 32))
def test_an_id_lies_in_the_range_of_each_of_its_beginnings(id: bytes, digits: int) -> None:
    """The range of a prefix contains the id, and ends where the next prefix begins."""
    low, high = id_range(id.hex()[:digits])
    assert low <= id <= high
    assert (int.from_bytes(high, "big") - int.from_bytes(low, "big") + 1) == 16 ** (32 - digits)


def _plans(journal: Journal, file: str) -> dict[str, list[str]]:
    from localops.journal.sql import statements

    plans: dict[str, list[str]] = {}
    for name, statement in statements(file).items():
        used = dict.fromkeys(re.findall(r":(\w+)", statement))

        def explain(execute: Callable[..., Any], text: str = statement, bound: Any = used, key: str = name) -> None:
            plans[key] = [row[3] for row in execute("explain query plan " + text, bound)]

        journal.transact(explain)
    return plans


def test_no_list_looks_at_every_session(journal: Journal) -> None:
    """Each statement of lists.sql walks an index, except those that count everything or take the last rows."""
    tables = ("event", "total", "facet", "milestone", "scored", "e", "t", "o", "p", "s")
    for name, plan in _plans(journal, "lists.sql").items():
        scans = [step for step in plan if step.startswith("SCAN ") and step.split()[1] in tables]
        if name not in (
            "standing_of_journal",
            "newest_rows",
            "newest_at",
            "ended",
            "not_ended",
            "judged_by",
            "score_names",
        ):
            assert all("total_by_start" in step for step in scans), (name, plan)


def test_rows_spilled_before_there_was_a_project_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were recorded while the home could not be made are listed as soon as it can be."""
    home = tmp_path / "later"
    home.write_text("in the way")
    monkeypatch.setenv("LOCALOPS_HOME", str(home))
    session = localops.init()
    assert session is not None
    session.end_session("Success")
    home.unlink()
    home.mkdir()
    with Home(str(home)) as opened:
        assert [listed.session for listed in opened.sessions()] == [session.session_id.bytes]


def test_a_home_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    """It is not taken for one in which nothing was recorded yet."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="not a directory"):
        Home(str(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may look anywhere")
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_home_that_cannot_be_looked_into_is_an_error(mode: int, journal: Journal, tmp_path: Path) -> None:
    """Neither one that cannot be listed nor one that cannot be entered is taken for an empty one."""
    (tmp_path / "home").chmod(mode)
    try:
        with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
            Home()
    finally:
        (tmp_path / "home").chmod(0o700)


@pytest.fixture
def taken(journal: Journal) -> Iterator[list[rows.Row]]:
    """Return a session that died, whose newest rows are in a spill file that another process holds."""
    first, *others = _rows(1, state="Success", tag="red", model="gpt")
    card = encode.dumps({"participant": first[0].hex(), "boot": host.boot_id(), "machine": host.machine_id()})
    journal.append(rows.make("session", first[2], id=first[0], at_ns=first[7], parent=first[0], body=card.decode()))
    journal.close()
    mine = Spill(journal.folder)
    assert all(mine.write(row) for row in others)
    claim = Claim(waiting(journal.folder)[0])
    yield others
    claim.close()


def test_rows_that_wait_are_counted(taken: list[rows.Row]) -> None:
    """They are in no figure, and how many they are is known project by project."""
    with Home() as home:
        assert home.waiting == {"default": len(taken)}
        assert next(home.sessions()).events == 0


def test_an_end_that_waits_is_an_end(taken: list[rows.Row]) -> None:
    """A session whose end could not be taken in yet did not die, for readers and for recorders."""
    other = localops.start_session()
    assert other is not None
    other.end_session("Failure")
    with Home() as home:
        assert home.projects[0].standing(taken[0][2]).state == "Success"
        assert sorted(listed.state for listed in home.sessions()) == ["Failure", "Success"]
        assert [listed.session for listed in home.sessions(Filters(state="Success"))] == [taken[0][2]]


def test_a_project_whose_rows_all_wait_is_not_unknown() -> None:
    """With no journal there is nothing to list, but it is known that rows wait."""
    spill = Spill(programs.project())
    for row in _rows(1, state="Success", tag="red", model="gpt"):
        assert spill.write(row)
    claim = Claim(waiting(programs.project())[0])
    for project in (None, "default"):
        with Home(project=project) as home:
            assert home.waiting == {"default": 4}
    claim.close()


def _identity(path: str) -> list[tuple[Any, ...]]:
    with Reader(path) as reader:
        return reader.ask("select value from meta where key = 'journal'") + reader.ask("select max(seq) from event")


@pytest.mark.foreign_open  # it copies the files
def test_a_look_at_a_copy_leaves_it_what_it_is(journal: Journal, tmp_path: Path) -> None:
    """A copied home keeps its journal's id, and its rows, until a program writes there."""
    for row in _rows(1, state=None, tag="red", model="gpt"):
        journal.append(row)
    journal.close()
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    copy = str(tmp_path / "copy" / "default")
    for row in _rows(2, state="Success", tag="red", model="gpt"):
        assert Spill(copy).write(row)
    before = _identity(f"{copy}/journal.db")
    with Home(str(tmp_path / "copy")) as home:
        assert [listed.name for listed in home.sessions()] == ["run 1"]
        assert home.waiting == {"default": 4}
    assert before == _identity(f"{copy}/journal.db") == _identity(journal.path)
    writer = Journal(copy)
    writer.collect()
    writer.close()
    with Home(str(tmp_path / "copy")) as home:
        assert (home.waiting, len(list(home.sessions()))) == ({}, 2)
    assert _identity(f"{copy}/journal.db")[0] != before[0]
