"""Spill files: rows as lines in a file of one process, for when SQLite cannot take them.

Lines are appended and synced at once.  The next process that opens the journal renames a file, locks it, copies it into
the journal (known ids are ignored) and only then removes it.  A writer locks the file for each line and checks that it
is still the one at that path, so that no line is lost between.  If the project's folder cannot be written, the file is
in the user's state folder.
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

_CLAIMED = ".taken"
_loaded: ModuleType | None = None


def load_wire() -> ModuleType:
    """Return the module `wire`; loaded late, as a command that only counts spill files does not need orjson."""
    global _loaded
    if _loaded is None:
        from localops.journal import wire

        _loaded = wire
    return _loaded


def places(project: str) -> tuple[str, str]:
    """Return the folders that a spill file may be in: beside the journal, else in the user's state folder."""
    path = host.real_path(project)
    name = f"{os.path.basename(path)}-{zlib.crc32(os.fsencode(path)):08x}"
    return os.path.join(project, "spill"), os.path.join(config.state_folder(), "spill", name)


def strays(home: str) -> list[str]:
    """Return the projects of a home with rows in the user's state folder, even those without a folder of their own."""
    names = [os.path.basename(folder).rpartition("-")[0] for folder in _in_state()]
    return sorted({name for name in names if name and waiting(os.path.join(home, name))})


def elsewhere(home: str) -> list[str]:
    """Return spill files in the user's state folder that belong to no project of this home."""
    spilled = []
    for folder in _in_state():
        name = os.path.basename(folder).rpartition("-")[0]
        if places(os.path.join(home, name))[1] != folder:
            blobs = os.path.join(folder, "blobs")
            paths = _files(folder) + ([blobs] if _names(blobs) else [])
            spilled += [path for path in paths if path == blobs or is_ours(path)]
    return spilled


def _in_state() -> list[str]:
    top = os.path.join(config.state_folder(), "spill")
    try:
        return sorted(os.path.join(top, name) for name in os.listdir(top))
    except OSError as error:
        interruption.pass_on(error)
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
        """Append a row and sync it; return False when no folder takes it."""
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
                # Its name must outlive a power cut, too.
                if not size:
                    host.sync_folder(folder)
                return True
            os.ftruncate(handle, size)
        except OSError as error:
            interruption.pass_on(error)
        finally:
            os.close(handle)
        return False

    def _open(self, folder: str) -> int:
        """Return the locked file, which is certain to be the one at its path; never wait for a lock."""
        for _ in range(20):
            path = os.path.join(folder, self._name)
            flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(path, flags, 0o600)
            try:
                _lock(handle)
                is_current = os.stat(path).st_ino == os.fstat(handle).st_ino
            except BaseException as error:
                os.close(handle)
                if not isinstance(error, OSError):
                    raise
                interruption.pass_on(error)
            else:
                if is_current:
                    return handle
                os.close(handle)
            # A reader has it, or this thread has, in a write that a signal interrupted.
            self._rename()
        raise OSError("no spill file could be opened")


def _lock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def waiting(project: str) -> list[str]:
    """Return the spill files of a project, oldest name first."""
    return [path for path in _all_files(project) if is_ours(path)]


def foreign(project: str) -> list[str]:
    """Return files among the spill files that are not this user's, and are left to their owners."""
    # A file that does not exist any more was just collected.
    return [path for path in _all_files(project) if not is_ours(path) and os.path.lexists(path)]


def _all_files(project: str) -> list[str]:
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
    """Return how many rows wait in spill files."""
    return sum(1 for _ in _lines(project))


def rows(project: str) -> Iterator[Row]:
    """Yield the rows that wait, without collecting them."""
    for line in _lines(project):
        try:
            yield load_wire().to_row(line)
        except (ValueError, TypeError, IndexError):
            # Set aside when the file is collected.
            continue


def _lines(project: str) -> Iterator[bytes]:
    for path in waiting(project):
        try:
            with open(path, "rb") as file:
                yield from file
        except OSError:  # just collected
            continue


class Claim:
    """A spill file that is claimed for reading: renamed and locked; `done` removes it, `close` before that keeps it."""

    def __init__(self, path: str) -> None:
        # A name of its own, as its writer may continue under the old one, in a file that is claimed later.
        self.path = path if path.endswith(_CLAIMED) else f"{path}.{os.urandom(4).hex()}{_CLAIMED}"
        if not _is_own(os.lstat(path)):
            raise PermissionError(errno.EPERM, "not a spill file of this user", path)
        # A file that is claimed already was left by a dead reader, or is being read.
        if path != self.path:
            os.rename(path, self.path)
        # If the lock stayed held, no process could collect the file as long as this one runs.  This object closes it
        # in C, where no signal handler runs first, also when the program interrupts us before the claim is assigned.
        # It is the only descriptor: the lock would last as long as any copy.
        self.file = BufferedReader(FileIO(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)))
        try:
            self._lock()
        except BaseException:
            self.file.close()
            raise

    def _lock(self) -> None:
        """Lock the file, and check that no other process collected it before that."""
        try:
            _lock(self.file.fileno())
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, "another process is collecting this spill file", self.path) from error
        if os.stat(self.path).st_ino != os.fstat(self.file.fileno()).st_ino:
            raise FileNotFoundError(errno.ENOENT, "another process has collected this spill file", self.path)

    def rows(self) -> Iterator[Row | bytes]:
        """Yield the rows of the file in order, and a line that cannot be read as its bytes."""
        for line in self.file:
            try:
                yield load_wire().to_row(line)
            except (ValueError, TypeError, IndexError):
                yield line

    def done(self, unread: list[bytes]) -> None:
        """Remove the file, whose rows are safe elsewhere, but keep lines that could not be read."""
        if unread:
            with open(self.path.split(".ndjson")[0] + ".unreadable", "ab") as file:
                file.writelines(unread)
                file.flush()
                os.fsync(file.fileno())
            host.sync_folder(os.path.dirname(self.path))
        os.unlink(self.path)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def is_ours(path: str) -> bool:
    """Return whether this is a plain file of this user, as all that we write."""
    try:
        return _is_own(os.lstat(path))
    except OSError as error:
        interruption.pass_on(error)
        return False


def _is_own(facts: os.stat_result) -> bool:
    import stat

    return stat.S_ISREG(facts.st_mode) and (not hasattr(os, "getuid") or facts.st_uid == os.getuid())
