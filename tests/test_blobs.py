"""Blobs lie under the digest of their bytes, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from localops import host
from localops.journal import blobs
from localops.reading.story import Story
from localops.upkeep import doctor
from tests import programs, warm


def test_a_blob_is_found_under_its_digest(tmp_path: Path) -> None:
    """Bytes and files are stored under their SHA-256, once and private, and are read back unchanged."""
    data = os.urandom(3 << 20)
    (tmp_path / "video").write_bytes(data)
    digest = blobs.keep(str(tmp_path), data)
    assert digest == hashlib.sha256(data).hexdigest() == blobs.keep_file(str(tmp_path), str(tmp_path / "video"))
    kept = Path(blobs.path_of(str(tmp_path), digest))
    assert kept.read_bytes() == data
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()] == [kept]


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "/", "0" * 63 + "\n"]
)
def test_only_digests_name_blobs(name: str) -> None:
    """A name that is not a SHA-256 in lower case never becomes a path."""
    with pytest.raises(ValueError, match="not a SHA-256"):
        blobs.path_of("/project", name)


def test_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    """A blob that could not be written whole is an OSError, and no part of it stays."""
    code = (
        "import resource, signal, sys\nfrom localops.journal import blobs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\nblobs.keep(sys.argv[1], b'x' * 300_000)"
    )
    assert "OSError" in programs.run(code, tmp_path).stderr
    assert [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()] == []


LARGE = "an answer of many words " * 100_000


def _blocked(project: Path, *more: Path) -> None:
    """Put a file where the folder of blobs would be, and in further places."""
    host.make_private(str(project))
    for path in (project / "blobs", *more):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("in the way")


def _recorded(code: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that records one large value, and a picture from a file."""
    return programs.run(
        "import localops, sys\nsession = localops.init()\n"
        f"session.record(localops.ActionEvent('note', {LARGE[:24]!r} * 100_000, screenshot=sys.argv[1]))\n"
        f"{code}\nsession.end_session('Success')",
        __file__,
    )


def test_a_value_that_cannot_be_stored_waits_whole(tmp_path: Path) -> None:
    """If blobs/ cannot be written, the value is in the state folder; the row names it, readers find it there."""
    project = Path(programs.project())
    _blocked(project)
    done = _recorded()
    assert done.returncode == 0
    assert done.stderr.count("a large value cannot be written to") == 1
    with programs.reader() as reader:
        ((body,),) = reader.ask("select body from event where name = 'note'")
    digests = sorted(blobs.named([body]))
    assert json.loads(body)["notes"] == {"blob": 1}
    assert sorted(blobs.waiting(str(project))) == digests
    assert hashlib.sha256(LARGE.encode()).hexdigest() in digests
    assert Path(blobs.find(str(project), hashlib.sha256(LARGE.encode()).hexdigest())).read_text() == LARGE
    faults = [finding for finding in doctor.examine(str(project.parent), ["default"], deep=True) if finding.fault]
    assert [finding.text.split(",")[0] for finding in faults] == ["2 large values wait in the state folder"]


def test_waiting_values_are_moved_into_place(tmp_path: Path) -> None:
    """The next program that records moves waiting values, once that is possible; so does `doctor --fix`."""
    project = Path(programs.project())
    for mend in (
        lambda: programs.run("import localops; localops.init()"),
        lambda: doctor.mend(str(project.parent), ["default"]),
    ):
        _blocked(project)
        _recorded()
        waiting = blobs.waiting(str(project))
        assert len(waiting) == 2
        (project / "blobs").unlink()
        mend()
        assert blobs.waiting(str(project)) == []
        assert all(os.path.isfile(blobs.path_of(str(project), digest)) for digest in waiting)
        shutil.rmtree(project / "blobs")


def test_a_value_that_cannot_be_kept_is_counted(tmp_path: Path) -> None:
    """A cut value prints one warning, and is shown by doctor, status and the figures of the session."""
    project = Path(programs.project())
    _blocked(project, tmp_path / "state" / "localops" / "spill")
    done = _recorded("session.record(localops.ActionEvent('note', params='x' * 2_000_000))")
    assert (done.returncode, done.stderr.count("only its beginning is kept")) == (0, 1)
    session = programs.sessions()[0]
    with programs.reader() as reader:
        assert Story.read(reader, session).losses == (0, 0, 2)
        notes = [json.loads(body) for (body,) in reader.ask("select body from event where name = 'note'")]
    assert [note["notes"] for note in notes] == [{"blob_failed": 1}] * 2
    faults = [finding.text for finding in doctor.examine(str(project.parent), ["default"]) if finding.fault]
    assert any(text.startswith("2 large values could not be stored completely: 2 of session") for text in faults)
    status = warm.localops("status", "--json")
    assert json.loads(status.stdout)["projects"][0]["cut"] == 2
    shown = warm.localops("analytics", "last")
    assert "Cut values" in shown.stdout


def test_a_blob_of_another_user_is_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A readable blob need not be written again, though its age cannot be changed."""
    digest = blobs.keep(str(tmp_path), b"theirs")

    def refuse(path: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(os, "utime", refuse)
    assert blobs.keep(str(tmp_path), b"theirs") == digest
    assert blobs.waiting(str(tmp_path)) == []


def test_bytes_with_another_digest_are_refused(tmp_path: Path) -> None:
    """A blob is never under the digest of other bytes."""
    with pytest.raises(ValueError, match="wrong digest"):
        blobs.keep_pieces(str(tmp_path), [b"1" * 100, b"2"], hashlib.sha256(b"1" * 100).hexdigest())
    assert [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()] == []
