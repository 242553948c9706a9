"""A participant is alive exactly as long as its process."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from localops import host
from localops.journal import participants
from tests import programs

_TAKE_PART = (
    "import sys, os\nfrom localops.journal.participants import Participant\nmine = Participant(sys.argv[1])\n"
    "print(mine.id.hex(), flush=True)\nsys.stdin.readline()\n"
)


def card(participant: str) -> dict[str, object]:
    """Return the row's description of a participant under this kernel."""
    return {"participant": participant, "boot": host.boot_id(), "machine": host.machine_id()}


def test_alive_until_killed() -> None:
    """The kernel frees the lock of a killed process, and no sooner."""
    with programs.start(_TAKE_PART, programs.project()) as program:
        who = card(programs.first_line(program).strip())
        assert participants.is_alive(programs.project(), who) is True
        programs.kill(program)
    assert participants.is_alive(programs.project(), who) is False


def test_a_fork_does_not_keep_its_parent_alive() -> None:
    """A forked child that lives on holds no lock of its parent's, and closing in it frees none."""
    code = _TAKE_PART.replace("sys.stdin", "child = os.fork()\nif not child: mine.close()\nsys.stdin") + "os._exit(0)"
    with programs.start(code, programs.project()) as program:
        assert program.stdin is not None
        who = card(programs.first_line(program).strip())
        assert participants.is_alive(programs.project(), who) is True
        program.stdin.write("\n")  # one of the two goes on
        program.stdin.flush()
        program.stdin.close()
        program.wait(30)
    assert participants.is_alive(programs.project(), who) is False


def test_sweeping_takes_only_the_dead() -> None:
    """The file of a process that is gone is removed; that of one that lives, or is to be kept, stays."""
    mine = participants.Participant(programs.project())
    dead, kept = (programs.run(_TAKE_PART + "os._exit(1)", programs.project()).stdout.strip() for _ in range(2))
    participants.sweep(programs.project(), {kept})
    assert sorted(os.listdir(participants.folder_of(programs.project()))) == sorted([kept, mine.id.hex()])
    assert dead not in os.listdir(participants.folder_of(programs.project()))
    mine.close()


def test_who_begins_while_others_sweep_is_seen() -> None:
    """Participants that come while their folder is swept all the time hold a lock that others see."""
    sweeper = (
        "import sys\nfrom localops.journal import participants\nwhile True: participants.sweep(sys.argv[1], set())"
    )
    program = programs.start(sweeper, programs.project())
    try:
        for _ in range(300):
            mine = participants.Participant(programs.project())
            assert os.stat(mine.path).st_ino == mine._inode
            mine.close()
    finally:
        programs.kill(program)


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock that is held is that of the file others find, not of one that was removed in between."""
    swept: list[str] = []
    lock = fcntl.lockf

    def sweep_and_lock(handle: int, how: int) -> None:
        if not swept:
            swept.extend(os.listdir(participants.folder_of(programs.project())))
            os.unlink(os.path.join(participants.folder_of(programs.project()), swept[0]))
        lock(handle, how)

    monkeypatch.setattr(fcntl, "lockf", sweep_and_lock)
    mine = participants.Participant(programs.project())
    assert swept == [mine.id.hex()]
    assert os.stat(mine.path).st_ino == mine._inode
    mine.close()


def test_one_at_a_time() -> None:
    """A second process is refused what must not be done twice at a time."""
    os.makedirs(programs.project())
    code = "import sys\nfrom localops.journal import participants\nwith participants.alone(sys.argv[1]): print('in')"
    with participants.alone(programs.project()):
        assert "BlockingIOError" in programs.run(code, programs.project()).stderr
    assert programs.run(code, programs.project()).stdout == "in\n"


def test_a_participant_without_a_lock_is_not_dead(tmp_path: Path) -> None:
    """A participant that could make no file counts as alive."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "alive").write_text("in the way")
    mine = participants.Participant(str(folder))
    (folder / "alive").unlink()
    assert participants.is_alive(str(folder), mine.card()) is None


def test_a_copy_of_a_lock_file_proves_nothing(tmp_path: Path) -> None:
    """A copy of a project does not show whether a process is dead; a project that was only renamed does."""
    project, copy, renamed = programs.project(), str(tmp_path / "copy"), str(tmp_path / "renamed")
    with programs.start(_TAKE_PART, project) as program:
        who = card(programs.first_line(program).strip())
        shutil.copytree(project, copy)
        assert [participants.is_alive(folder, who) for folder in (project, copy)] == [True, None]
        programs.kill(program)
    assert [participants.is_alive(folder, who) for folder in (project, copy)] == [False, None]
    os.rename(project, renamed)
    assert participants.is_alive(renamed, who) is False


def test_a_process_whose_home_was_moved_is_not_seen_as_dead_there(tmp_path: Path) -> None:
    """It locks a new file at the old place: the moved file without a lock does not mean that it died."""
    project, moved = programs.project(), str(tmp_path / "moved")
    mine = participants.Participant(project)
    os.rename(project, moved)
    mine.check()
    code = (
        "import sys\nfrom localops.journal import participants\n"
        f"print(*[participants.is_alive(folder, {mine.card()!r}) for folder in sys.argv[1:]])"
    )
    assert programs.run(code, project, moved).stdout == "True None\n"
    mine.close()


def test_a_lock_file_of_an_earlier_release_is_proof() -> None:
    """It does not state which file it is."""
    dead = programs.run(_TAKE_PART + "os._exit(1)", programs.project()).stdout.strip()
    Path(participants.folder_of(programs.project()), dead).write_text("pid 1\n")
    assert participants.is_alive(programs.project(), card(dead)) is False
