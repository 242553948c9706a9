"""The host of a program: its machine, process, packages, and the file system under a path.

Everything is read from `os`, `sys` and `/proc`; nothing is run or sent, and only the machine's id is kept. What cannot
be read (not Linux, a locked-down `/proc`) is left out. `environment` has the keys of AgentOps' `host_env`.
"""

from __future__ import annotations

import os
import sys
from stat import S_ISDIR, S_ISREG

from localops.interruption import pass_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypedDict

    class Identity(TypedDict):
        """The process that writes: compared when a journal may have moved, else only shown to people."""

        machine: str
        boot: str | None
        hostname: str
        pid: int
        started: int | None


# WAL shares memory between processes; on these file systems it cannot be shared (reliably) between hosts.
_NETWORK = frozenset("nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre gpfs glusterfs virtiofs drvfs vboxsf".split())

# A folder on sys.path may be anything (a home, a data folder); one with so many entries holds no packages.
_MOST_ENTRIES = 10_000

_GIB = 1 << 30

BOOT_ID = "/proc/sys/kernel/random/boot_id"  # the file with the id that the kernel draws at boot

# Bound here, as the interpreter takes `open` out of the builtins before it frees what may still record.
open_file = open

_machine: list[str] = []  # the id once it is known: while the interpreter shuts down, nothing can be imported for it


def environment(opt_out: bool = False) -> dict[str, Any]:
    """Describe SDK, machine and packages: `basics` and `details` together.

    With `opt_out` only the name and version of this library and the version of Python remain.
    """
    return {**basics(opt_out), **details(opt_out)}


def basics(opt_out: bool = False) -> dict[str, Any]:
    """Return the part that costs nothing: versions, operating system, working directory, virtual environment."""
    if opt_out:
        return {"SDK": _sdk()}
    return {
        "SDK": _sdk(),
        "OS": _operating_system(),
        "Project Working Directory": {"Project Working Directory": _working_directory()},
        "Virtual Environment": {"Virtual Environment": _virtual_environment()},
    }


def details(opt_out: bool = False) -> dict[str, Any]:
    """Return the part that takes a few milliseconds: CPU, RAM, disks, packages, a fuller `SDK` than in `basics`."""
    if opt_out:
        return {}
    packages = _installed_packages()
    return {
        "SDK": {**_sdk(), "System Packages": _loaded(packages)},
        "CPU": _cpu(),
        "RAM": _ram(),
        "Disk": _disks(),
        "Installed Packages": {"Installed Packages": packages},
    }


def identity() -> Identity:
    """Return the identity of this process: machine, boot, host name, pid, and when the process was started."""
    return {
        "machine": machine_id(),
        "boot": boot_id(),
        "hostname": hostname(),
        "pid": os.getpid(),
        "started": process_started(),
    }


def machine_id() -> str:
    """Return a stable id of this machine: a digest, as `/etc/machine-id` itself should not leave it.

    Without that file it is made from the host name.
    """
    if not _machine:
        name = _first_line("/etc/machine-id") or _first_line("/var/lib/dbus/machine-id") or hostname()
        _machine.append(_digest(f"localops machine {name}"))
    return _machine[0]


def boot_id() -> str | None:
    """Return the id that the kernel drew at boot; None if it draws none."""
    return _first_line(BOOT_ID) or None


def hostname() -> str:
    """Return the machine's name on the network, as the machine knows it."""
    return os.uname().nodename


def place_of(path: str) -> str:
    """Return what tells a file from its copies: this machine, and the file's number on its disk."""
    return f"{machine_id()} {os.stat(path).st_ino}"


def owner(path: str) -> str | None:
    """Return the owner of a file if that is another user; None if it is this one, or cannot be seen."""
    try:
        user = os.stat(path).st_uid
    except OSError as error:
        pass_on(error)
        return None
    if user == os.getuid():
        return None
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def process_started(pid: int | None = None) -> int | None:
    """Return when a process (default: this one) was started, in clock ticks since boot; None if not known.

    Together with the pid it tells a process from a later one with the same pid.
    """
    stat = _read(f"/proc/{'self' if pid is None else pid}/stat")
    fields = stat.rpartition(")")[2].split()  # the name before it may contain blanks and brackets
    return int(fields[19]) if len(fields) > 19 else None


def maker() -> int | None:
    """Return the pid of the process that started this one by multiprocessing, if any."""
    module = sys.modules.get("multiprocessing.process")
    parent = module.parent_process() if module is not None else None
    return parent.pid if parent is not None else None


def parent_of(pid: int) -> int | None:
    """Return the parent of a process, if it can be seen."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def command_of(pid: int) -> str:
    """Return the command line of a process, its arguments separated by blanks; empty if it cannot be seen."""
    return _read(f"/proc/{pid}/cmdline").replace("\0", " ")


def filesystem(path: str, mountinfo: str | None = None) -> str:
    """Return the kind of file system that holds `path` (`ext4`, `nfs4`, …), or `""` if that is not known."""
    place = real_path(path)
    kind, longest = "", 0
    for mount, mounted, _ in _mounts(mountinfo):
        # `>=`: of two mounts on one folder the later one covers the earlier.
        if len(mount) >= longest and _holds(mount, place):
            kind, longest = mounted, len(mount)
    return kind


def is_mount(path: str) -> bool:
    """Return whether something is mounted on a folder, also another folder of the same disk."""
    place = real_path(path)
    return os.path.ismount(place) or any(mount == place for mount, _, _ in _mounts())


def is_network(kind: str) -> bool:
    """Return whether SQLite's WAL must not be used on this kind of file system; any `fuse.…` counts as a network."""
    return kind in _NETWORK or kind.startswith("fuse.")


def keep_owner(file: int | str, like: str) -> None:
    """Give a new file, by its descriptor or path, the owner of another one, when root writes for another user."""
    if os.name == "posix" and os.geteuid() == 0:
        facts = os.stat(like)
        if isinstance(file, int):
            os.fchown(file, facts.st_uid, facts.st_gid)
        else:
            os.lchown(file, facts.st_uid, facts.st_gid)


def keep_owners(folder: str) -> None:
    """Give everything of root's in a folder to the owner of the folder, when root worked for another user."""
    if os.name != "posix" or os.geteuid() != 0 or os.stat(folder).st_uid == 0:
        return
    facts = os.stat(folder)
    for inner, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(inner, name)
            if os.lstat(path).st_uid == 0:
                os.lchown(path, facts.st_uid, facts.st_gid)


# Not those of `os.path`, which take a TimeoutError of a signal handler for the system's: no such file.


def real_path(path: str, links: int = 40) -> str:
    """Return a path without symbolic links; of `links` that lead nowhere at most so many are followed."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        pass_on(error)
    # Something is missing, or cannot be seen.
    # Not asked for a whole path: the working folder may have been removed.
    parent, name = os.path.split(path if os.path.isabs(path) else os.path.join(os.getcwd(), path))
    if name in ("", ".", ".."):
        place = real_path(parent, links)
        return os.path.dirname(place) if name == ".." else place
    try:
        target = os.readlink(path) if links else ""
    except OSError as error:
        pass_on(error)
        target = ""
    if target:
        return real_path(os.path.join(parent, target), links - 1)
    return os.path.join(real_path(parent, links), name)


def exists(path: str) -> bool:
    """Return whether there is something at a path that can be seen."""
    return _mode(path) is not None


def is_file(path: str) -> bool:
    """Return whether there is a plain file at a path."""
    return S_ISREG(_mode(path) or 0)


def is_folder(path: str) -> bool:
    """Return whether there is a folder at a path."""
    return S_ISDIR(_mode(path) or 0)


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except OSError as error:
        pass_on(error)
    except ValueError:  # a NUL in the name
        pass
    return None


def is_locked(handle: int, lock: Callable[[int, int], object]) -> bool:
    """Close a file, and return whether another process has locked it by `fcntl.flock` or `fcntl.lockf`."""
    import fcntl  # late, as Windows has none

    try:
        # Shared, so that two tests at a time both get it.
        lock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        pass_on(error)
        return True
    finally:
        os.close(handle)


def open_to_others(path: str) -> int | None:
    """Return the mode of a file that other users than owner and group can use; None for any other file."""
    try:
        mode = os.stat(path).st_mode & 0o7777
    except OSError as error:
        pass_on(error)
        return None
    return mode if mode & 0o007 else None


def make_private(folder: str, *, synced: bool = False) -> None:
    """Create a folder and its missing parents for this user alone; `os.makedirs` opens the parents to all.

    With `synced` each survives a power cut.  On the usual file systems, syncing a new file in it also syncs its
    folders; renaming a file that was synced before does not.
    """
    try:
        made = _make(folder)
    except FileNotFoundError:
        above = os.path.dirname(folder)
        if above in ("", folder):
            raise
        make_private(above, synced=synced)
        made = _make(folder)  # if this fails too, as in /proc, no folder can be created here
    if made and synced:
        sync_folder(os.path.dirname(folder) or ".")


def replace(temporary: str, path: str) -> None:
    """Rename a written and synced file to its final name, so that a power cut does not undo it."""
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path) or ".")


class Replaced:
    """A context with the path of a new file that takes the place of `path` when it is complete; errors name `path`."""

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        self._path, self._unfinished = path, os.path.join(folder, f".{name}.{os.getpid()}")

    def __enter__(self) -> str:
        return self._unfinished

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                replace(self._unfinished, self._path)
        except OSError as failure:
            raise OSError(failure.errno, failure.strerror, self._path) from failure
        finally:
            if os.path.exists(self._unfinished):
                os.unlink(self._unfinished)
        if isinstance(error, OSError) and error.filename == self._unfinished:
            error.filename = self._path


def write_whole(path: str, content: bytes) -> None:
    """Replace a file in one step, so that a reader never sees half of it; others may read it, as far as umask allows.

    The temporary file beside it begins with a dot, so that a program which reads all files of a folder skips it.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_private(path: str, content: bytes) -> None:
    """Replace a file, whole or not at all and for its user alone; synced, so that a power cut does not undo it."""
    from contextlib import suppress  # late, as recording writes no such file

    # A new file, so that the content is never in one that others can read.
    temporary = f"{path}.{os.getpid()}"
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # it may not exist yet
            os.unlink(temporary)
        if isinstance(error, OSError):
            # The temporary name means nothing to the user.
            error.filename = path
        raise


def sync_folder(folder: str) -> None:
    """Sync the names in a folder to disk, if the file system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:  # not a Unix
        pass_on(error)
        return
    try:
        os.fsync(handle)
    except OSError as error:  # a file system without it
        pass_on(error)
    finally:
        os.close(handle)


def _make(folder: str) -> bool:
    """Create a folder; return False if it exists already."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not is_folder(folder):
            raise
        return False
    return True


def _sdk() -> dict[str, Any]:
    from localops import __version__  # the package is still being imported when this module is

    version = ".".join(map(str, sys.version_info[:3]))
    return {"Name": "localops", "AgentOps SDK Version": __version__, "Python Version": version}


def _operating_system() -> dict[str, str]:
    system = os.uname()
    return {
        "Hostname": system.nodename,
        "OS": system.sysname,
        "OS Version": system.version,
        "OS Release": system.release,
    }


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError as error:  # it was removed meanwhile
        pass_on(error)
        return None


def _virtual_environment() -> str | None:
    return os.environ.get("VIRTUAL_ENV") or (sys.prefix if sys.prefix != sys.base_prefix else None)


def _cpu() -> dict[str, Any]:
    total = os.cpu_count() or 1
    facts = {"Physical cores": _physical_cores(), "Total cores": total, "CPU Usage": _cpu_usage(total)}
    return {name: fact for name, fact in facts.items() if fact is not None}


def _cpu_usage(cores: int) -> str | None:
    """Return the load of the last minute: true usage needs two measurements and a wait between them."""
    try:
        return f"{min(100.0, 100 * os.getloadavg()[0] / cores):.1f}%"
    except OSError as error:
        pass_on(error)
        return None


def _physical_cores() -> int | None:
    """Count distinct sets of hardware threads; `/proc/cpuinfo` is slow with many cores, and incomplete on ARM."""
    folder = "/sys/devices/system/cpu"
    threads = (_first_line(f"{folder}/cpu{n}/topology/thread_siblings") for n in range(os.cpu_count() or 0))
    return len({sharing for sharing in threads if sharing}) or None


def _ram() -> dict[str, str]:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    available = _available_memory()
    if available is None:
        return {"Total": _gigabytes(total)}
    return {
        "Total": _gigabytes(total),
        "Available": _gigabytes(available),
        "Used": _gigabytes(total - available),
        "Percentage": _percentage(total - available, total),
    }


def _available_memory() -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _disks() -> dict[str, Any]:
    """Return local disks only: reading the size of a network file system can hang as long as its server does."""
    disks: dict[str, Any] = {}
    for mount, kind, device in _mounts():
        local = device.startswith("/dev/") and not device.startswith("/dev/loop") and not is_network(kind)
        if local and device not in disks and (usage := _disk(mount)):
            disks[device] = usage
    return disks


def _disk(mount: str) -> dict[str, str] | None:
    try:
        stat = os.statvfs(mount)
    except OSError as error:  # no permission
        pass_on(error)
        return None
    total, free = stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize
    used = total - stat.f_bfree * stat.f_frsize
    return {
        "Mountpoint": mount,
        "Total": _gigabytes(total),
        "Used": _gigabytes(used),
        "Free": _gigabytes(free),
        "Percentage": _percentage(used, used + free),
    }


def _installed_packages() -> dict[str, str]:
    """Return name and version of every distribution, from folder names: importlib.metadata reads every file."""
    packages: dict[str, str] = {}
    for folder in sys.path:
        for entry in _entries(folder or "."):
            if not entry.endswith((".dist-info", ".egg-info")):  # most are not, and there are hundreds
                continue
            name, dash, version = entry[:-10].rstrip(".").partition("-")
            if dash:
                # An import takes the first match on the path; eggs append their Python to the version.
                packages.setdefault(_canonical(name), version.partition("-py")[0])
    return dict(sorted(packages.items()))


def _entries(folder: str) -> list[str]:
    from itertools import islice

    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, _MOST_ENTRIES)]
    except OSError as error:  # a zip, or nothing: sys.path may name what does not exist
        pass_on(error)
        return []


def _loaded(packages: dict[str, str]) -> dict[str, str]:
    """Return the packages that the program has imported, if module and package have the same name."""
    modules = {_canonical(name): name for name in sys.modules.copy() if "." not in name}
    return {modules[name]: version for name, version in packages.items() if name in modules}


def _canonical(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()


def _mounts(mountinfo: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield mount point, kind and device of each mount, in the order of mounting."""
    for line in (_read("/proc/self/mountinfo") if mountinfo is None else mountinfo).splitlines():
        place, _, source = line.partition(" - ")
        before, after = place.split(" "), source.split(" ")
        if len(before) > 4 and len(after) > 1:
            yield _unescaped(before[4]), after[0], _unescaped(after[1])


def _unescaped(field: str) -> str:
    r"""Undo the kernel's `\040` for a blank, and similar codes for tab, newline and backslash."""
    if "\\" not in field:
        return field
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _holds(mount: str, path: str) -> bool:
    return mount == path or path.startswith(mount.rstrip("/") + "/")


def _gigabytes(size: int) -> str:
    return f"{size / _GIB:.2f} GB"


def _percentage(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0.0%"


def _digest(text: str) -> str:
    # hashlib loads OpenSSL (2.5 ms at the start of every run); the module behind its blake2b needs none.
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _first_line(path: str) -> str:
    return _read(path).partition("\n")[0].strip()


def _read(path: str) -> str:
    """Return the text of a small system file; empty if it cannot be read."""
    try:
        with open_file(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        pass_on(error)
        return ""
