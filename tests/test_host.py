"""localops.host: the facts are right, opting out works, and nothing heavy is loaded for them."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import localops
from localops import host

linux = pytest.mark.skipif(sys.platform != "linux", reason="this is about /proc")

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt rw - tmpfs tmpfs rw
31 30 0:41 / /mnt/team\\040data rw shared:2 master:3 - nfs4 server:/export rw
32 22 0:42 / /mnt2 rw - fuse.sshfs me@there: rw
33 30 0:43 / /mnt/over rw - ext4 /dev/sdb1 rw
34 33 0:44 / /mnt/over rw - cifs //server/share rw
a line that the kernel never wrote
"""


def test_environment_has_the_keys_that_readers_know() -> None:
    """The description has AgentOps' format, with the part that is recorded later."""
    described = host.environment()
    assert described == {**described, "OS": host.basics()["OS"]}
    assert described["SDK"]["AgentOps SDK Version"] == localops.__version__
    assert described["SDK"]["Python Version"] == platform.python_version()
    assert described["OS"]["Hostname"] == socket.gethostname()
    assert described["OS"]["OS"] == platform.system()
    assert described["Project Working Directory"] == {"Project Working Directory": os.getcwd()}
    assert described["CPU"]["Total cores"] == os.cpu_count()
    assert described["RAM"]["Total"].endswith(" GB")


def test_opting_out_leaves_versions_only() -> None:
    """With the opt-out no host name, folder, disk or package is described, in neither part."""
    assert host.environment(opt_out=True) == {
        "SDK": {
            "Name": "localops",
            "AgentOps SDK Version": localops.__version__,
            "Python Version": platform.python_version(),
        }
    }


def test_the_parts_make_the_whole() -> None:
    """Basics now and details later, laid over each other, are the whole description."""
    merged = {**host.basics(), **host.details()}
    assert merged.keys() == host.environment().keys()
    assert merged["SDK"].keys() > host.basics()["SDK"].keys()


def test_packages_are_those_installed() -> None:
    """Folder names tell the same names and versions as the metadata does."""
    described = host.details()["Installed Packages"]["Installed Packages"]
    for name in ("pytest", "apsw", "sqlite-utils"):
        assert described[name] == metadata.version(name)


def test_the_first_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two versions of a package the one that an import would find is described; eggs are understood."""
    for folder in ("a/Some_Thing-1.0.dist-info", "b/some.thing-2.0.dist-info", "b/egg-3.1-py3.11.egg-info"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "gone")])
    packages = host.details()["Installed Packages"]["Installed Packages"]
    assert packages == {"egg": "3.1", "some-thing": "1.0"}


def test_a_removed_folder_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose working directory was removed can still be described."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert host.basics()["Project Working Directory"] == {"Project Working Directory": None}


def test_identity_is_stable_and_hides_the_machine_id() -> None:
    """The identity is the same each time, and does not contain the machine's own secret id."""
    assert host.identity() == host.identity()
    assert len(host.machine_id()) == 32
    secret = Path("/etc/machine-id")
    assert not secret.exists() or host.machine_id() != secret.read_text().strip()


@linux
def test_a_process_is_known_by_its_start() -> None:
    """Another process was started at another time than this one, and a dead one at none."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started, own = host.process_started(child.pid), host.process_started()
        child.communicate(b"\n")
    assert started is not None
    assert own is not None
    assert started > own
    assert host.process_started(child.pid) is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/team data/run", "nfs4"),
        ("/mnt/team", "tmpfs"),
        ("/mnt", "tmpfs"),
        ("/mnt2/a/b", "fuse.sshfs"),
        ("/mnt22", "ext4"),
        ("/mnt/over/x", "cifs"),
        ("/", "ext4"),
    ],
)
def test_filesystem_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    """The longest mount point above a path decides, by whole names, and the later of two on one folder."""
    assert host.filesystem(path, MOUNTS) == kind


def test_filesystem_follows_links(tmp_path: Path) -> None:
    """A link counts as its target, also when nothing is there yet."""
    (tmp_path / "link").symlink_to("/mnt2")
    assert host.filesystem(str(tmp_path / "link" / "home"), MOUNTS) == "fuse.sshfs"


@linux
def test_filesystem_of_this_machine() -> None:
    """The kernel's own table is read when no other is given."""
    assert host.filesystem("/proc/self/status") == "proc"
    assert host.filesystem("/proc/self/status", "") == ""


@pytest.mark.parametrize(("kind", "network"), [("nfs4", True), ("9p", True), ("fuse.gcsfuse", True), ("ext4", False)])
def test_is_network(kind: str, network: bool) -> None:
    """Shared file systems are distinguished from local ones; NTFS through a local disk's FUSE is local."""
    assert host.is_network(kind) is network
    assert not host.is_network("fuseblk")


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    """Every folder that was missing on the way is closed to others, and one that is there stays as it is."""
    (tmp_path / "there").mkdir(mode=0o755)
    for _ in range(2):
        host.make_private(str(tmp_path / "there" / "home" / "project" / "alive"))
    modes = [
        (tmp_path / "there" / below).stat().st_mode & 0o777 for below in ("home", "home/project", "home/project/alive")
    ]
    assert modes == [0o700, 0o700, 0o700]
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o755


def test_no_folder_is_made_below_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that was removed is an error, and so is a file in the way."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        host.make_private(str(tmp_path / "file" / "home"))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        host.make_private("home")


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    """Its user alone may read it, also where others could read the one before."""
    path = tmp_path / "keys"
    path.write_text("old")
    path.chmod(0o644)
    host.write_private(str(path), b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert os.listdir(tmp_path) == ["keys"]


def test_a_private_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The error names the file that was asked for, and no half of it stays beside it."""
    path = tmp_path / "keys"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="keys") as caught:
        host.write_private(str(path), b"new")
    assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == ["keys"]


def test_a_description_loads_nothing_heavy() -> None:
    """No socket, subprocess, OpenSSL or metadata reader is loaded to describe a machine."""
    code = "import sys; from localops import host; host.environment(), host.identity(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"socket", "subprocess", "hashlib", "importlib.metadata", "psutil"} & set(done.stdout.split())


def test_a_folder_that_cannot_be_made_is_an_error() -> None:
    """If no folder can be created, as in /proc, the error is raised once."""
    with pytest.raises(OSError, match="nope"):
        host.make_private("/proc/nope/project")


def test_a_real_path_is_that_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for links that lead nowhere or to themselves, and for folders that are missing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name, target in {"in": "a/b", "out": "nowhere/x", "one": "two", "two": "one", "up": "a/b/../../gone"}.items():
        (tmp_path / name).symlink_to(target)
    paths = "a in in/.. in/../c out out/y one one/x up up/../a gone gone/more/. gone/../a a/ ./in/ . / /gone/../tmp"
    for path in [*paths.split(), "", *(str(tmp_path / name) for name in ("in", "in/x", "gone"))]:
        assert host.real_path(path) == os.path.realpath(path), path
