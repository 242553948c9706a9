"""Participants: the processes that record, each of which holds a lock on a file of its own.

A participant is alive as long as the lock on `alive/<id>` is held: the kernel frees a POSIX lock when its process dies,
a forked child does not inherit it, and it is visible across pid namespaces.  A process never tests its own file, as
closing any descriptor of it would release the lock.

The file states its own inode, so that a copy of it is recognised: a copy without a lock does not prove that the
process is dead.
"""

from __future__ import annotations

import fcntl
import os
from zlib import crc32

from localops import clock, host, interruption
from localops.journal.locks import Descriptors, high_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TRIES = 200  # attempts to lock the file before another process removes it; each takes about 50 µs
_HIGH_TRIES = 5
_IDENTITY = "file"  # the first word of the line with the inode and device of the lock file and the place of its project
_BOOT = "boot"  # the first word of the line with the id of the boot in which its process ran
_LEFT = "its process uses another file now"
_RESUMED = "resumed"  # the first word of a line with the id of a session that its process resumed
_MOST_BYTES = 1_000
_MOST_RESUMES = 10
_ID_LENGTH = 32  # of the name of a lock file: the id of its process, in hex
CARD = ("participant", "pid", "started", "host", "machine", "boot", "place", "watched", "pids")
"""The fields that identify a process."""
_mine: set[str] = set()


def folder_of(project: str) -> str:
    """Return the folder of a project's lock files."""
    return os.path.join(project, "alive")


class Participant:
    """This process as one that takes part in a project's sessions."""

    def __init__(self, project: str) -> None:
        self.id = clock.new_id()
        self.pid = os.getpid()
        self.path = os.path.join(folder_of(project), self.id.hex())
        self._file: int | None = None
        self._inode = 0
        self._resumes = 0
        self._facts: dict[str, object] = {}
        self._announce()

    def _announce(self) -> None:
        """Create the file and hold its lock; do without if the folder cannot be written."""
        for attempt in range(_TRIES):
            try:
                host.make_private(os.path.dirname(self.path))
                if attempt < _HIGH_TRIES:
                    with high_descriptors():
                        handle = self._open()
                else:
                    # `high_descriptors` first closes a hundred descriptors: others may remove the file meanwhile.
                    handle = self._open()
            except OSError as error:
                if not _is_programs(error):
                    return
                continue
            if self._hold(handle):
                return
            # Another process tested or removed the file before it was locked.
            os.close(handle)

    def _open(self) -> int:
        return os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _hold(self, handle: int) -> bool:
        """Lock the file, and return whether it is still the one at its path."""
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._inode = os.fstat(handle).st_ino
            if os.stat(self.path).st_ino != self._inode:
                return False
        except OSError as error:
            _is_programs(error)
            return False
        self._file = handle
        _mine.add(self.path)
        try:
            os.write(handle, f"pid {self.pid}\n{self._identity(handle)}\n".encode())
        except OSError as error:
            # A full disk: a copy of this file is then not recognised.
            _is_programs(error)
        return True

    def _identity(self, handle: int) -> str:
        facts = os.fstat(handle)
        identity = f"{_IDENTITY} {facts.st_ino} {facts.st_dev} {_place(os.path.dirname(os.path.dirname(self.path)))}"
        return f"{identity}\n{_BOOT} {_boot_id()}"

    def card(self) -> dict[str, object]:
        """Return the facts that identify this process, also on other hosts, for the row that says it takes part."""
        # Cached, as reading them takes longer than writing a row.
        if not self._facts:
            self._facts = {
                "participant": self.id.hex(),
                "pid": self.pid,
                "started": host.process_started(self.pid),
                "host": host.hostname(),
                "machine": host.machine_id(),
                "boot": host.boot_id(),
            }
        return {
            **self._facts,
            # 0 without a lock: then a missing file must not mean that the process has died.
            "place": _place(os.path.dirname(os.path.dirname(self.path))) if self._file is not None else 0,
        }

    def _is_open(self) -> bool:
        """Return whether the descriptor is still ours: the program may have closed it, and reused its number."""
        try:
            return self._file is not None and os.fstat(self._file).st_ino == self._inode
        except OSError as error:
            interruption.pass_on(error)
            return False

    def check(self) -> None:
        """Create and lock the file again if it was removed, moved or closed."""
        is_open = self._is_open()
        try:
            if is_open and os.stat(self.path).st_ino == self._inode:
                return
        except OSError as error:
            interruption.pass_on(error)
        if is_open:
            self._leave_file()
        self.close()
        self._announce()

    def _leave_file(self) -> None:
        """Note in a lock file that was moved that its process uses another one, and so does not lock this one."""
        try:
            os.write(-1 if self._file is None else self._file, f"{_LEFT}\n".encode())
        except OSError as error:
            _is_programs(error)

    def note_resume(self, session: bytes) -> None:
        """Note in the lock file that this process resumed a session, which an older copy of the journal does not."""
        self._resumes += 1
        if self._is_open() and self._resumes <= _MOST_RESUMES:
            try:
                os.write(-1 if self._file is None else self._file, f"{_RESUMED} {session.hex()}\n".encode())
            except OSError as error:
                _is_programs(error)

    def close(self) -> None:
        """Stop taking part: remove the file (not in a forked child, where it is the parent's) and release the lock."""
        still_open = self._is_open()
        handle, self._file = self._file, None
        if handle is None:
            return
        if self.pid == os.getpid():
            _mine.discard(self.path)
            try:
                os.unlink(self.path)
            except OSError as error:
                _is_programs(error)
        if still_open:
            os.close(handle)


def _is_programs(error: OSError) -> bool:
    """Return whether this OSError is a TimeoutError of a signal handler, not a failed system call; if so, hold it."""
    return error.errno is None and interruption.hold_if_programs(error)


def is_alive(project: str, card: Mapping[str, object]) -> bool | None:
    """Return whether the process of a card still runs; None if that cannot be seen from here."""
    path = os.path.join(folder_of(project), str(card.get("participant")))
    if path in _mine:
        return True
    if card.get("watched"):
        return _runs(card)
    if not _same_kernel(card):
        # Our machine has been rebooted since, so the process is dead; another machine cannot be seen from here.
        return False if card.get("machine") == host.machine_id() else None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        # It has ended, if the row is from this folder; it may also come from another home.
        return False if card.get("place") in (None, _place(project)) else None
    except OSError as error:
        interruption.pass_on(error)
        return None
    is_proof = _is_original(handle, project)
    return host.is_locked(handle, fcntl.lockf) or (False if is_proof else None)


def went_on_elsewhere(project: str, card: Mapping[str, object]) -> bool:
    """Return whether the process of a card continued in another folder because this one was moved while it ran."""
    return _is_left(os.path.join(folder_of(project), str(card.get("participant"))))


def elsewhere_now(project: str) -> list[bytes]:
    """Return the ids of the processes that continued in another folder because this one was moved."""
    try:
        names = os.listdir(folder_of(project))
    except OSError as error:
        interruption.pass_on(error)
        return []
    ids = [name for name in names if len(name) == _ID_LENGTH and _is_left(os.path.join(folder_of(project), name))]
    return [bytes.fromhex(name) for name in ids]


def _boot_id() -> str:
    """Return the id of this boot, like `host.boot_id`, but leave no file open if a signal handler raises meanwhile."""
    file = Descriptors()
    try:
        file.open(host.BOOT_ID)
        return os.read(file.handles[0], _MOST_BYTES).decode().strip()
    except OSError as error:
        # Not on every system.
        _is_programs(error)
        return ""
    finally:
        file.__exit__()


def was_here_since_boot(project: str) -> bool:
    """Return whether a process that has not removed its lock file recorded here since the machine was started."""
    boot = host.boot_id()
    try:
        paths = [os.path.join(folder_of(project), name) for name in os.listdir(folder_of(project))] if boot else []
    except OSError as error:
        interruption.pass_on(error)
        return False
    return any(f"{_BOOT} {boot}" in _lines(path) for path in paths if path not in _mine)


def _lines(path: str) -> list[str]:
    """Return the lines of another process's lock file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(handle, _MOST_BYTES, 0).decode(errors="replace").splitlines()
        finally:
            os.close(handle)
    except OSError as error:
        interruption.pass_on(error)
        return []


def _is_left(path: str) -> bool:
    """Return whether the process of a lock file noted in it that it uses another one."""
    return path not in _mine and _LEFT in _lines(path)


def _is_original(handle: int, project: str) -> bool:
    """Return whether a lock file is the one that its process locked last, and not a copy.

    Files of earlier releases do not state their inode; they count as original.  Either the device may differ, as it
    gets another number when its file system is mounted again, or the path of the project, as it may have been moved.
    """
    try:
        lines, facts = os.pread(handle, _MOST_BYTES, 0).decode(errors="replace").splitlines(), os.fstat(handle)
    except OSError as error:
        interruption.pass_on(error)
        return True
    if _LEFT in lines:
        return False
    stated = next((line.split()[1:] for line in lines if line.startswith(_IDENTITY)), None)
    if stated is None:
        return True
    inode, *places = map(str, (facts.st_ino, facts.st_dev, _place(project)))
    return stated[:1] == [inode] and any(here == there for here, there in zip(places, stated[1:], strict=False))


def watched_card() -> dict[str, object]:
    """Return the additional fields in the card of a process that holds no lock, and is looked up by its pid."""
    return {"watched": 1, "pids": _pid_namespace()}


def _runs(card: Mapping[str, object]) -> bool | None:
    """Return whether the process with the pid of a card still runs; None if that cannot be seen from here."""
    pid, started = card.get("pid"), card.get("started")
    if not _same_kernel(card):
        return False if card.get("machine") == host.machine_id() else None
    if not isinstance(pid, int) or pid <= 0 or card.get("pids") != _pid_namespace():
        return None
    if started is not None:
        return host.process_started(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError as error:  # it belongs to another user
        interruption.pass_on(error)
        return True
    return True


def _pid_namespace() -> int:
    """Return the number of this process's pid namespace; 0 if the system has none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError as error:
        interruption.pass_on(error)
        return 0


def _place(project: str) -> int:
    """Return a number that identifies the folder without revealing its path."""
    return crc32(os.fsencode(host.real_path(project)))


class alone(Descriptors):  # noqa: N801 (used like a function, and cheaper than a generator)
    """Hold the lock of a folder, for work that only one process may do at a time; BlockingIOError if it is held."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def __enter__(self) -> None:
        self.open(self._folder)
        try:
            fcntl.flock(self.handles[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self.__exit__()
            raise


def _same_kernel(card: Mapping[str, object]) -> bool:
    """Return whether a participant runs on our kernel, where its lock is visible, in any container."""
    if card.get("boot") and host.boot_id():
        return card["boot"] == host.boot_id()
    return card.get("machine") == host.machine_id()


def dead_resumes(project: str) -> dict[str, set[bytes]]:
    """Return the ids of the processes that resumed sessions and died without removing their files, each with those."""
    try:
        names = os.listdir(folder_of(project))
    except OSError as error:
        interruption.pass_on(error)
        return {}
    resumes = {name: _resumed_by(os.path.join(folder_of(project), name)) for name in names}
    return {name: sessions for name, sessions in resumes.items() if sessions}


def _resumed_by(path: str) -> set[bytes]:
    """Return the sessions that a process had resumed; empty if it lives."""
    if path in _mine:
        return set()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            lines = os.pread(handle, _MOST_BYTES, 0).decode(errors="replace").splitlines()
        except BaseException:
            os.close(handle)
            raise
    except OSError as error:
        interruption.pass_on(error)
        return set()
    if host.is_locked(handle, fcntl.lockf):
        return set()
    try:
        return {bytes.fromhex(line.split()[1]) for line in lines if line.startswith(f"{_RESUMED} ")}
    except (ValueError, IndexError):  # other code wrote into the file
        return set()


def sweep(project: str, keep: set[str]) -> None:
    """Remove the files of dead participants whose sessions have all ended."""
    try:
        names = os.listdir(folder_of(project))
    except OSError as error:
        interruption.pass_on(error)
        return
    for name in names:
        path = os.path.join(folder_of(project), name)
        if name not in keep and path not in _mine:
            _remove_if_dead(path)


def _remove_if_dead(path: str) -> None:
    """Remove the file of a dead participant, while holding its lock, so that a new one notices the removal."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        interruption.pass_on(error)
        return
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(handle).st_ino:
            os.unlink(path)
    except OSError as error:
        # The participant is alive, or the file was removed already.
        interruption.pass_on(error)
    finally:
        os.close(handle)


os.register_at_fork(after_in_child=_mine.clear)
