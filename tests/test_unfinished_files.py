"""Files of values that are not complete: a killed writer's are searched and deleted, a living one's are named."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localops.journal import blobs
from localops.journal.journal import Journal
from localops.upkeep import prune
from localops.upkeep.scrub import Scrubbed, scrub
from localops.upkeep.sweep import Sweep

KEY = "sk-ant-api03-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h" + "7a"
_WRITER = """
import sys
from localops.journal import blobs

def pieces():
    yield b"header " + sys.argv[2].encode() + b" " * 70_000
    print("half", flush=True)
    sys.stdin.read()

blobs.keep_pieces(sys.argv[1], pieces(), "0" * 64)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a project with a journal."""
    path = tmp_path / "home" / "default"
    path.mkdir(parents=True, mode=0o700)
    path.parent.chmod(0o700)
    with closing(Journal(str(path))):
        return path


@pytest.fixture
def writer(folder: Path) -> Iterator[subprocess.Popen[Any]]:
    """Return a process that has written a half of a file."""
    command = [sys.executable, "-c", _WRITER, str(folder), KEY]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    yield process
    process.kill()
    process.communicate()


def _kill(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _found(folder: Path) -> list[tuple[str, str]]:
    search = Sweep(str(folder.parent))
    search.project(folder.name)
    return [(place.source, place.rule) for place in search.result.places]


def _scrub(folder: Path) -> Scrubbed:
    return scrub(str(folder.parent), folder.name)


def test_what_a_killed_writer_has_left_is_found_and_deleted(folder: Path, writer: subprocess.Popen[Any]) -> None:
    """At once: no row names it, and no program finishes it."""
    _kill(writer)
    assert _found(folder) == [("unfinished", "anthropic")]
    done = _scrub(folder)
    assert (done.abandoned, done.is_clean, blobs.unfinished(str(folder))) == (1, True, [])
    assert _found(folder) == []


def test_a_file_that_is_being_written_is_named_and_stays(folder: Path, writer: subprocess.Popen[Any]) -> None:
    """It belongs to a program, whose row will follow."""
    [path] = blobs.unfinished(str(folder))
    assert blobs.is_being_written(path)
    done = _scrub(folder)
    assert (done.abandoned, done.is_clean) == (0, False)
    assert done.left is not None
    assert [place.file for place in done.left.places] == [path]
    _kill(writer)
    assert _scrub(folder).is_clean


def test_prune_reports_and_deletes_them(folder: Path, writer: subprocess.Popen[Any]) -> None:
    """One that is being written is too young; a killed writer's is deleted at any age."""
    with closing(Journal(str(folder))) as journal:
        assert prune.sweep_blobs(journal) == (0, 1)
        _kill(writer)
        assert len(blobs.abandoned(str(folder))) == 1
        assert prune.sweep_blobs(journal) == (1, 0)


def test_an_upload_with_a_secret_is_deleted(folder: Path) -> None:
    """Its sender sends it again; one without a secret continues."""
    uploads = folder / blobs.UPLOADS
    uploads.mkdir(mode=0o700)
    (uploads / ("a" * 64)).write_text(f"header {KEY} and")
    (uploads / ("b" * 64)).write_text("nothing of the kind")
    assert _found(folder) == [("upload", "anthropic")]
    done = _scrub(folder)
    assert (done.uploads, done.is_clean) == (1, True)
    assert [path.name for path in uploads.iterdir()] == ["b" * 64]
