"""Rows are recovered from damaged journals, each verified, and without pruned ones."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from localops import clock
from localops.errors import ConfigError, NotFound
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import facts, lower_bounds, post_mortem
from localops.reading.analytics import Chosen
from localops.reading.home import Filters, Home
from localops.upkeep import prune, salvage

PAGE = 4096
pytestmark = pytest.mark.foreign_open  # it damages and carves files that no connection is open on


def _record(folder: Path, many: int, *, size: int = 600) -> list[rows.Row]:
    """Write a journal of `many` events of every length up to `size`; return its rows."""
    journal = Journal(str(folder))
    chance = random.Random(7)
    session = clock.new_id()
    for index in range(many):
        body = '{"params":"' + chance.choice("abcé") * chance.randrange(size) + '"}'
        at = clock.now_ns()
        journal.append(
            rows.make("tool", session, id=clock.new_id(at), at_ns=at, name=f"t{index}", cost=index, body=body)
        )
    journal.fold()
    journal.close()
    with Reader(str(folder / "journal.db")) as reader:
        return [row.bare for row in reader.stream()]


def _saved(path: Path, folder: Path) -> tuple[salvage.Saved, set[rows.Row]]:
    saved = salvage.save(str(path), str(folder))
    with Reader(str(folder / "journal.db")) as reader:
        return saved, {row.bare for row in reader.stream()}


def _zero(path: Path, pages: list[int]) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(bytes(PAGE))


def test_a_sound_journal_comes_back_whole(tmp_path: Path) -> None:
    """Nothing is lost where nothing is broken, rows on overflow pages included."""
    written = _record(tmp_path / "a", 300, size=20_000)
    saved, rows_there = _saved(tmp_path / "a" / "journal.db", tmp_path / "b")
    assert rows_there >= set(written)
    assert (saved.rows, saved.lost, saved.broken) == (len(written), 0, 0)


def test_the_first_page_is_not_needed(tmp_path: Path) -> None:
    """Without header and schema every row on other pages is recovered."""
    written = _record(tmp_path / "a", 500)
    path = tmp_path / "a" / "journal.db"
    _zero(path, [0])
    saved, rows_there = _saved(path, tmp_path / "b")
    assert rows_there >= set(written)
    assert saved.lost == 0


def test_twenty_lost_pages_cost_little(tmp_path: Path) -> None:
    """Of pages lost at random only the rows on them are lost, and the report counts them."""
    written = _record(tmp_path / "a", 3_000, size=2_000)
    path = tmp_path / "a" / "journal.db"
    pages = path.stat().st_size // PAGE
    _zero(path, random.Random(3).sample(range(pages), 20))
    saved, rows_there = _saved(path, tmp_path / "b")
    assert len(rows_there & set(written)) >= 0.97 * len(written)
    assert saved.rows == len(rows_there & set(written))
    assert saved.lost == len(written) - saved.rows


def test_a_changed_row_is_left_out(tmp_path: Path) -> None:
    """A row that SQLite would read without an error is left out if its checksum differs."""
    written = _record(tmp_path / "a", 50)
    path = tmp_path / "a" / "journal.db"
    path.write_bytes(path.read_bytes().replace(b"t25", b"t99"))
    saved, rows_there = _saved(path, tmp_path / "b")
    assert saved.broken == 1
    assert set(written) - rows_there == {row for row in written if row[4] == "t25"}


def test_half_a_file_gives_half_of_its_rows(tmp_path: Path) -> None:
    """From a file that was cut off, the rows of the rest are recovered, and the report has what is missing."""
    written = _record(tmp_path / "a", 1_000)
    path = tmp_path / "a" / "journal.db"
    size = path.stat().st_size
    os.truncate(path, size // 2)
    saved, rows_there = _saved(path, tmp_path / "b")
    assert len(rows_there & set(written)) > 0.3 * len(written)
    assert saved.cut == size // PAGE - size // 2 // PAGE


@pytest.mark.parametrize("header", [True, False])
def test_rows_that_are_only_in_the_wal_come_back(header: bool, tmp_path: Path) -> None:
    """Rows that never reached the file are found in the WAL, even without the file and the WAL's header."""
    journal = Journal(str(tmp_path / "a"))
    session, at = clock.new_id(), clock.now_ns()
    row = rows.make("tool", session, id=clock.new_id(at), at_ns=at, name="search")
    journal.append(row)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")  # like after a crash
    journal.close()
    path = tmp_path / "copy" / "journal.db"
    path.write_bytes(b"")
    if not header:
        wal = tmp_path / "copy" / "journal.db-wal"
        wal.write_bytes(bytes(32) + wal.read_bytes()[32:])
    _, rows_there = _saved(path, tmp_path / "b")
    assert row in rows_there


def _session(folder: Path) -> bytes:
    """Return the session of the tools."""
    session = next(row[2] for row in _stream(folder) if row[3] == "tool")
    assert isinstance(session, bytes)
    return session


def test_what_was_pruned_stays_gone(tmp_path: Path) -> None:
    """Pages that prune has freed still have rows; they are not recovered, nor counted as lost."""
    _record(tmp_path / "a", 50)
    before = (tmp_path / "a" / "journal.db").read_bytes()
    session, path = _session(tmp_path / "a"), tmp_path / "a" / "journal.db"
    journal = Journal(str(tmp_path / "a"))
    with Reader(journal.path) as reader:
        choice = replace(prune.look(reader, journal.folder, session), stays=None)
    assert prune.take(journal, [choice]).sessions == 1
    journal.close()
    # Free pages that still hold the rows, as those of a file that was recorded into and could not be packed.
    path.write_bytes(path.read_bytes() + before[PAGE:])
    saved, rows_there = _saved(path, tmp_path / "b")
    assert (saved.removed, saved.lost) == (choice.rows, 0)
    assert not [row for row in rows_there if row[2] == session]


def test_what_another_machine_pruned_stays(tmp_path: Path) -> None:
    """The rows about what a sender of a hub has pruned delete nothing on the hub."""
    written = _record(tmp_path / "a", 50)
    journal = Journal(str(tmp_path / "a"))
    session, at = _session(tmp_path / "a"), clock.now_ns()
    id = clock.new_id(at)
    journal.append(rows.make("pruned", rows.NO_SESSION, id=id, at_ns=at, parent=session, body='{"rows":50}'))
    journal.close()
    saved, rows_there = _saved(tmp_path / "a" / "journal.db", tmp_path / "b")
    assert (saved.removed, saved.lost) == (0, 0)
    assert rows_there >= set(written)


def _stream(folder: Path) -> list[rows.Row]:
    with Reader(str(folder / "journal.db")) as reader:
        return [row.bare for row in reader.stream()]


def test_a_file_without_rows_is_an_error(tmp_path: Path) -> None:
    """A file that never was a journal is an error, and no new file is made."""
    path = tmp_path / "notes.txt"
    path.write_bytes(random.Random(1).randbytes(50_000))
    with pytest.raises(NotFound, match="holds no row of a journal"):
        salvage.save(str(path), str(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    """Recovered rows go to a new file only."""
    _record(tmp_path / "a", 1)
    with pytest.raises(ConfigError, match="already holds a journal"):
        salvage.save(str(tmp_path / "a" / "journal.db"), str(tmp_path / "a"))


def test_sessions_that_lost_rows_may_be_of_cost_at_least_what_is_there(tmp_path: Path) -> None:
    """What began after the loss, or had ended before it, is exact; figures of several are bounds with one of them."""
    journal = Journal(str(tmp_path / "a" / "default"))
    sessions = {name: clock.new_id() for name in ("before", "around", "open", "after")}

    def write(name: str, kind: str, body: str | None = None) -> None:
        at, number = clock.now_ns(), name if kind == "session" else "Success" if kind == "end" else "act"
        journal.append(rows.make(kind, sessions[name], id=clock.new_id(at), at_ns=at, name=number, body=body))

    for name, kinds in (
        ("before", ("session", "tool", "end")),
        ("open", ("session", "tool")),
        ("around", ("session",)),
    ):
        for kind in kinds:
            write(name, kind)
    for _ in range(200):
        write("around", "tool", '{"params":"' + "x" * 900 + '"}')
    for name, kinds in (("around", ("end",)), ("after", ("session", "tool", "end"))):
        for kind in kinds:
            write(name, kind)
    journal.fold()
    journal.close()
    path = tmp_path / "a" / "default" / "journal.db"
    with Reader(str(path)) as reader:
        [(page,)] = reader.ask(
            "select pageno from dbstat where name = 'event' and ncell > 3 and pagetype = 'leaf' limit 1 offset 20", ()
        )
    _zero(path, [page - 1])
    lost = salvage.save(str(path), str(tmp_path / "b" / "default")).lost
    assert 0 < lost < 10
    with Home(str(tmp_path / "b")) as home:
        [project] = home.projects
        damaged = {name: project.snapshot(id).story.damaged for name, id in sessions.items()}
        assert damaged == {"before": 0, "around": lost, "open": lost, "after": 0}
        listed = {one.name: facts.listed(one)["cost_at_least"] for one in home.sessions(Filters())}
        assert listed == {"before": False, "around": True, "open": True, "after": False}
        why = post_mortem.of("default", project.snapshot(sessions["around"]), project.reader)
        assert (why["damaged"], why["done"]["cost_at_least"]) == (lost, True)
        assert project.lacking(Chosen()) == 2
        assert lower_bounds.across([project], "session", Chosen()).cost == {sessions["around"], sessions["open"]}
