"""Plan B: rows as lines in a file of this process, for when SQLite cannot take them.

Lines are appended and synced at once; whoever opens the journal next renames a file, locks it, reads it into the
journal (known ids are ignored) and only then removes it.  A writer locks the file for each line and looks whether it
is still the one at that path, so no line falls between.  When the project folder cannot be written, the user's state
folder takes the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from io import BufferedReader, FileIO

from localops import config, host, interruption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from localops.journal.rows import Row

_TAKEN = ".taken"
_loaded: ModuleType | None = None


def load_wire() -> ModuleType:
    """Return what turns rows into lines; loaded late, as a command that looks whether any wait needs no orjson."""
    global _loaded
    if _loaded is None:
        from localops.journal import wire

        _loaded = wire
    return _loaded


def places(project: str) -> tuple[str, str]:
    """The folders a spill file may be in: beside the journal, else in the user's state folder."""
    path = os.path.realpath(project)
    name = f"{os.path.basename(path)}-{zlib.crc32(os.fsencode(path)):08x}"
    return os.path.join(project, "spill"), os.path.join(config.state_folder(), "spill", name)


def strays(home: str) -> list[str]:
    """The projects of a home that have rows in the user's state folder, even where their own folder was never made."""
    found = [os.path.basename(folder).rpartition("-")[0] for folder in _in_state()]
    return sorted({name for name in found if name and waiting(os.path.join(home, name))})


def elsewhere(home: str) -> list[str]:
    """Spill files in the user's state folder that belong to no project of this home: to one of another, or of none."""
    found = []
    for folder in _in_state():
        name = os.path.basename(folder).rpartition("-")[0]
        if places(os.path.join(home, name))[1] != folder:
            blobs = os.path.join(folder, "blobs")
            paths = _files(folder) + ([blobs] if _names(blobs) else [])
            found += [path for path in paths if path == blobs or is_ours(path)]
    return found


def _in_state() -> list[str]:
    top = os.path.join(config.state_folder(), "spill")
    try:
        return sorted(os.path.join(top, name) for name in os.listdir(top))
    except OSError:
        return []


class Spill:
    """The spill file of this process; opened at the first row that needs it."""

    def __init__(self, project: str) -> None:
        self._places = places(project)
        self._rename()

    def _rename(self) -> None:
        unique = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._name = f"{host.hostname()[:40]}-{unique}.ndjson".replace(os.sep, "_")

    def write(self, row: Row) -> bool:
        """Append a row and sync it; False when no place takes it."""
        line = load_wire().from_row(row)
        return any(self._append(folder, line) for folder in self._places)

    def _append(self, folder: str, line: bytes) -> bool:
        try:
            host.make_private(folder, synced=True)
            handle = self._open(folder)
        except OSError as error:
            interruption.pass_on(error)
            return False
        try:
            size = os.fstat(handle).st_size
            if os.write(handle, line) == len(line):
                os.fsync(handle)
                if not size:  # its name must outlive a power cut, too
                    host.sync_folder(folder)
                return True
            os.ftruncate(handle, size)
        except OSError as error:
            interruption.pass_on(error)
        finally:
            os.close(handle)
        return False

    def _open(self, folder: str) -> int:
        """The locked file, certain to be the one that a reader will find; never waits for a lock."""
        for _ in range(20):
            path = os.path.join(folder, self._name)
            flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(path, flags, 0o600)
            try:
                _lock(handle)
                found = os.stat(path).st_ino == os.fstat(handle).st_ino
            except BaseException as error:
                os.close(handle)
                if not isinstance(error, OSError):
                    raise
                interruption.pass_on(error)
            else:
                if found:
                    return handle
                os.close(handle)
            self._rename()  # a reader has it, or this very thread in a write that a signal interrupted
        raise OSError("no spill file could be opened")


def _lock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def waiting(project: str) -> list[str]:
    """The spill files that hold rows for this project, oldest name first."""
    return [path for path in _found(project) if is_ours(path)]


def foreign(project: str) -> list[str]:
    """What lies among the spill files and is not this user's: nobody but its owner takes it in."""
    # One that is gone was taken in just now.
    return [path for path in _found(project) if not is_ours(path) and os.path.lexists(path)]


def _found(project: str) -> list[str]:
    return [path for folder in places(project) for path in _files(folder)]


def _files(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in _names(folder) if ".ndjson" in name]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        interruption.pass_on(error)
        return []


def count(project: str) -> int:
    """How many rows wait in spill files."""
    return sum(1 for _ in _lines(project))


def rows(project: str) -> Iterator[Row]:
    """The rows that wait, read where they are."""
    for line in _lines(project):
        try:
            yield load_wire().to_row(line)
        except (ValueError, TypeError, IndexError):
            continue  # whoever takes the file in will set it aside


def _lines(project: str) -> Iterator[bytes]:
    for path in waiting(project):
        try:
            with open(path, "rb") as file:
                yield from file
        except OSError:  # taken in just now
            continue


class Claim:
    """A spill file taken for reading: renamed and locked; `done` removes it, closing it before that keeps it."""

    def __init__(self, path: str) -> None:
        # A name of its own: its writer goes on under the old one, and that file will be taken as well.
        self.path = path if path.endswith(_TAKEN) else f"{path}.{os.urandom(4).hex()}{_TAKEN}"
        if not _is_own(os.lstat(path)):
            raise PermissionError(errno.EPERM, "not a spill file of this user", path)
        if path != self.path:  # one that is taken already was left by a reader that died, or is at work
            os.rename(path, self.path)
        # With the lock left held, nobody could take the file in as long as this process runs.  This object closes it
        # in C, where no signal handler runs first, also when the program interrupts us before the claim has a name.
        # It is the only descriptor: the lock would last as long as a copy of it.
        self.file = BufferedReader(FileIO(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)))
        try:
            self._lock()
        except BaseException:
            self.file.close()
            raise

    def _lock(self) -> None:
        """Lock the file, and see that nobody has taken it in between its opening and that."""
        try:
            _lock(self.file.fileno())
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, "another process is taking this spill file in", self.path) from error
        if os.stat(self.path).st_ino != os.fstat(self.file.fileno()).st_ino:
            raise FileNotFoundError(errno.ENOENT, "another process has taken this spill file in", self.path)

    def rows(self) -> Iterator[Row | bytes]:
        """Yield the rows of the file in order; a line that cannot be read comes back as its bytes."""
        for line in self.file:
            try:
                yield load_wire().to_row(line)
            except (ValueError, TypeError, IndexError):
                yield line

    def done(self, unread: list[bytes]) -> None:
        """The rows are safe elsewhere: remove the file, but keep what nobody could read."""
        if unread:
            with open(self.path.split(".ndjson")[0] + ".unreadable", "ab") as file:
                file.writelines(unread)
                file.flush()
                os.fsync(file.fileno())
            host.sync_folder(os.path.dirname(self.path))
        os.unlink(self.path)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


def is_ours(path: str) -> bool:
    """Return whether this is a plain file of this user; anything else in the folder was not written by us."""
    try:
        return _is_own(os.lstat(path))
    except OSError as error:
        interruption.pass_on(error)
        return False


def _is_own(facts: os.stat_result) -> bool:
    import stat

    return stat.S_ISREG(facts.st_mode) and (not hasattr(os, "getuid") or facts.st_uid == os.getuid())
