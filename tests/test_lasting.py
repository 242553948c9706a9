"""A file that counts as written to disk has its name there, too: its folder was synced after the name was given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import localops
from localops import clock, host
from localops.cli.backup import backup
from localops.cli.export import export
from localops.journal import blobs, rows, spill
from localops.server import home_store, keys
from localops.transfer import remotes
from localops_sync import bundle_file
from tests import names

LARGE = "a large value " * 100_000


def _keep(folder: Path) -> None:
    blobs.keep(str(folder), os.urandom(2 << 20))


def _keep_again(folder: Path) -> None:
    """Write a blob again whose name another process has given and not synced."""
    digest = blobs.keep(str(folder), b"known")
    with names.unsynced() as unsafe:
        os.replace(blobs.path_of(str(folder), digest), folder / "x")
        os.replace(folder / "x", blobs.path_of(str(folder), digest))
        assert names.lost(unsafe, folder)
        blobs.keep(str(folder), b"known")
        assert names.lost(unsafe, folder) == []


def _keep_file(folder: Path) -> None:
    blobs.keep_file(str(folder), __file__)


def _keep_aside(folder: Path) -> None:
    host.make_private(str(folder))
    (folder / "blobs").write_text("in the way")
    blobs.keep(str(folder), b"x" * 100)
    assert blobs.waiting(str(folder))


def _collect(folder: Path) -> None:
    _keep_aside(folder)
    (folder / "blobs").unlink()
    assert blobs.collect(str(folder)) == 1


def _upload(folder: Path) -> None:
    data = b"of another machine"
    digest = blobs.keep(str(folder / "elsewhere"), data)
    hub = home_store.HomeStore(str(folder / "home"))
    hub.add_to_blob("team", digest, 0, len(data), data)
    hub.close()


def _spill(folder: Path) -> None:
    at = clock.now_ns()
    row = rows.make("action", clock.new_id(), id=clock.new_id(at), at_ns=at, body="{}")
    assert spill.Spill(str(folder)).write(row)


def _take_unreadable(folder: Path) -> None:
    _spill(folder)
    claim = spill.Claim(spill.waiting(str(folder))[0])
    claim.done([b"neither this\n"])
    claim.close()


def _remotes(folder: Path) -> None:
    remotes.save(str(folder), {"hub": remotes.Remote("hub", "https://hub.example", "hub")})


def _keys(folder: Path) -> None:
    keys.Keys(str(folder)).create("team", "somebody")


@pytest.mark.parametrize(
    "work",
    [_keep, _keep_again, _keep_file, _keep_aside, _collect, _upload, _spill, _take_unreadable, _remotes, _keys],
)
def test_written_files_are_there_after_a_power_cut(work: Callable[[Path], None], tmp_path: Path) -> None:
    """Content and all names on the way to it are synced."""
    with names.unsynced() as unsafe:
        work(tmp_path / "project")
        left = names.lost(unsafe, tmp_path)
    assert [path for path in left if not path.endswith(".lock")] == []


def test_bundles_and_exports_are_found_after_a_power_cut(tmp_path: Path) -> None:
    """A file to carry away, or to keep, is whole and has its name on disk."""
    session = localops.init()
    assert session is not None
    session.record(localops.ActionEvent(params=LARGE))
    session.end_session("Success")
    home = os.environ["LOCALOPS_HOME"]
    with names.unsynced() as unsafe:
        bundle_file.pack(home, [bundle_file.Share("default")], str(tmp_path / "out.bundle"))
        CliRunner().invoke(export, ["last", "-o", str(tmp_path / "out.json")], catch_exceptions=False)
        CliRunner().invoke(backup, ["-o", str(tmp_path / "out.db")], catch_exceptions=False)
        left = names.lost(unsafe, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("out.*")) == ["out.bundle", "out.db", "out.json"]
    assert [path for path in left if path.startswith("out.") and path != "out.db"] == []
    assert str(tmp_path / "out.db") not in unsafe.names  # its content is SQLite's to sync


@pytest.mark.parametrize("durability", ["power", "process"])
def test_only_a_session_that_outlives_a_power_cut_waits_for_its_folders(tmp_path: Path, durability: str) -> None:
    """Under "power" the folders of a new home are on disk with the first event; otherwise that is not waited for."""
    home = tmp_path / "new" / "home"
    with names.unsynced() as unsafe:
        localops.init(home=home, durability=durability)
        folders = {str(home.parent), str(home), str(home / "default")}
        left = {os.path.realpath(folder) for folder in folders} & unsafe.names
    assert len(left) == (0 if durability == "power" else 3)


def test_a_file_without_a_folder_in_its_name_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in the working directory is moved into place like any other."""
    monkeypatch.chdir(tmp_path)
    Path("new").write_text("content")
    host.replace("new", "final")
    assert Path("final").read_text() == "content"
