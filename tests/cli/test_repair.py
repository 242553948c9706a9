"""`localops repair`: a damaged journal becomes a sound one, and the damaged file is kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal.reader import Reader
from tests import programs

pytestmark = pytest.mark.foreign_open  # it damages and carves files that no connection is open on


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Return a journal whose first page is lost, with 100 events in it."""
    session = localops.start_session()
    assert session is not None
    for index in range(100):
        session.record(localops.ToolEvent(name=f"t{index}", params="x" * 100))
    session.end_session("Success")
    localops.api.client().close()
    path = tmp_path / "home" / "default" / "journal.db"
    data = path.read_bytes()
    path.write_bytes(bytes(4096) + data[4096:])
    return path


def _tools(path: Path) -> int:
    with Reader(str(path)) as reader:
        return sum(1 for row in reader.stream() if row.kind == "tool")


def test_the_new_journal_takes_the_place_of_the_damaged_one(damaged: Path, as_json: Any) -> None:
    """--replace: every row is back under the old name, and the damaged file is kept beside it unchanged."""
    before = damaged.read_bytes()
    report = as_json("repair", "--project", "default", "--replace")
    assert (report["lost"], report["broken"]) == (0, 0)
    assert _tools(damaged) == 100
    assert Path(report["kept_aside"]).read_bytes() == before
    assert not list(damaged.parent.glob("*.repaired-*"))


def test_rows_can_be_saved_to_a_new_place(damaged: Path, command: Any, tmp_path: Path) -> None:
    """-o leaves everything where it is."""
    before = damaged.read_bytes()
    code, out, _ = command("repair", str(damaged), "-o", str(tmp_path / "saved"))
    assert code == 0
    assert "no row is missing" in out
    assert damaged.read_bytes() == before
    assert _tools(tmp_path / "saved" / "journal.db") == 100


def test_a_journal_that_is_open_is_not_replaced(damaged: Path, command: Any) -> None:
    """While a process holds it, only a new place will do."""
    with damaged.open("rb"):
        code, _, err = command("repair", "--project", "default", "--replace")
    assert code == 1
    assert "is open in" in err


@pytest.mark.parametrize("arguments", [(), ("x", "--project", "y"), ("--project", "default", "--replace", "-o", "z")])
def test_what_is_meant_must_be_clear(damaged: Path, command: Any, arguments: tuple[str, ...]) -> None:
    """To give neither or both of two alternatives is wrong usage."""
    assert command("repair", *arguments)[0] == 2


def test_a_repair_that_fails_leaves_nothing_behind(damaged: Path, tmp_path: Path) -> None:
    """On a full disk the damaged file is what it was, and nothing half done lies beside it."""
    before = sorted(damaged.parent.iterdir())
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))\n"
        "from localops import cli; cli.main(['repair', '--project', 'default', '--replace'])"
    )
    done = programs.run(code)
    assert (done.returncode, "disk" in done.stderr) == (1, True)
    assert sorted(damaged.parent.iterdir()) == before


def test_a_file_without_rows_is_left_alone(damaged: Path, command: Any) -> None:
    """A file that is not a journal is not replaced by an empty one."""
    damaged.write_text("hello")
    code, _, err = command("repair", "--project", "default", "--replace")
    assert (code, "holds no row of a journal" in err) == (1, True)
    assert damaged.read_text() == "hello"


def test_a_repair_in_the_same_second_finds_a_name(damaged: Path, as_json: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair that was killed in this second has left a file under the name that this one would take."""
    monkeypatch.setattr(time, "strftime", lambda *_: "20261128-120000")
    for word in ("repaired", "damaged"):
        left = damaged.parent / f"journal.db.{word}-20261128-120000"
        left.mkdir()
        (left / "half").write_bytes(b"half")
    report = as_json("repair", "--project", "default", "--replace")
    assert report["kept_aside"].endswith("-20261128-120000-2")
    assert _tools(damaged) == 100
