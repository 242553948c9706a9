"""Spill files: rows as lines in a file of one process, written when SQLite cannot write them.

Each line is appended and synced immediately.  The next process that opens the journal renames a spill file, locks it,
copies it into the journal (known ids are skipped) and only then removes it.  For each line, the writer locks the file
and checks that it is still the one at its path, so that no line goes to a file that was just collected.  If the
project's folder cannot be written, the file is in the user's state folder.
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
_SESSION, _HEAD, _ID = b'"session":"', 128, 32  # the key, the first bytes of a line, which have it, the digits of an id
_wire: ModuleType | None = None


def load_wire() -> ModuleType:
    """Import and return the module `wire`; here, as a command that only counts spill files needs no orjson."""
    global _wire
    if _wire is None:
        from localops.journal import wire

        _wire = wire
    return _wire


def places(project: str) -> tuple[str, str]:
    """Return the two folders for spill files, by preference: beside the journal, and in the user's state folder."""
    path = host.real_path(project)
    name = f"{os.path.basename(path)}-{zlib.crc32(os.fsencode(path)):08x}"
    return os.path.join(project, "spill"), os.path.join(config.state_folder(), "spill", name)


def strays(home: str) -> list[str]:
    """Return the projects of a home with rows in the user's state folder, including projects without a folder."""
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


def elsewhere_of(project: str, session: bytes) -> dict[str, int]:
    """Return how many rows of a session wait in each spill file of `elsewhere`."""
    waiting: dict[str, int] = {}
    for path in elsewhere(os.path.dirname(os.path.abspath(project))):
        if many := sum(id == session for id in sessions_in(path)):
            waiting[path] = many
    return waiting


def sessions_in(path: str) -> Iterator[bytes]:
    """Yield the session of each row of a spill file, without parsing the rows."""
    try:
        with open(path, "rb") as file:
            for line in file:
                _, key, after = line[:_HEAD].partition(_SESSION)
                if key:
                    yield bytes.fromhex(after[:_ID].decode())
    except OSError as error:  # just collected, or a folder of blobs
        interruption.pass_on(error)
    except ValueError:  # not a line of ours
        return


def _in_state() -> list[str]:
    top = os.path.join(config.state_folder(), "spill")
    try:
        return sorted(os.path.join(top, name) for name in os.listdir(top))
    except OSError as error:
        interruption.pass_on(error)
        return []


class Spill:
    """The spill file of this process; created with its first row."""

    def __init__(self, project: str) -> None:
        self._places = places(project)
        self._rename()

    def _rename(self) -> None:
        unique = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._name = f"{host.hostname()[:40]}-{unique}.ndjson".replace(os.sep, "_")

    def write(self, row: Row) -> bool:
        """Append a row and sync it; return False if that fails in every folder."""
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
                # The name of a new file must survive a power cut, too.
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
        """Return the locked file, which is the one at its path; never wait for a lock."""
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
            # It is locked by a process that collects it, or by our own write that a signal handler has interrupted.
            self._rename()
        raise OSError("no spill file could be opened")


def _lock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def waiting(project: str) -> list[str]:
    """Return the spill files of a project, oldest name first."""
    return [path for path in _all_files(project) if is_ours(path)]


def foreign(project: str) -> list[str]:
    """Return files in the spill folders that belong to other users, and are left to them."""
    # Without files that were just collected.
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
    """Yield the waiting rows, without collecting them."""
    for line in _lines(project):
        try:
            yield load_wire().to_row(line)
        except (ValueError, TypeError, IndexError):
            # Invalid lines are set aside when the file is collected.
            continue


def _lines(project: str) -> Iterator[bytes]:
    for path in waiting(project):
        try:
            with open(path, "rb") as file:
                yield from file
        except OSError:  # just collected
            continue


class Claim:
    """A spill file that is claimed for reading: renamed and locked; `done` removes it, `close` keeps it."""

    def __init__(self, path: str) -> None:
        # A unique name, as the writer may continue with a new file under the old name.
        self.path = path if path.endswith(_CLAIMED) else f"{path}.{os.urandom(4).hex()}{_CLAIMED}"
        if not _is_own(os.lstat(path)):
            raise PermissionError(errno.EPERM, "not a spill file of this user", path)
        # A file with that suffix is being read, or was left by a reader that died.
        if path != self.path:
            os.rename(path, self.path)
        # The lock must be released in any case, or no process could collect the file while this one runs.  So use a
        # file object: it is closed in C when it is freed, even if we are interrupted before the caller has stored the
        # claim.  There must be no other descriptor, as the lock would last as long as that one.
        self.file = BufferedReader(FileIO(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)))
        try:
            self._lock()
        except BaseException:
            self.file.close()
            raise

    def _lock(self) -> None:
        """Lock the file, and check that no other process has collected it."""
        try:
            _lock(self.file.fileno())
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, "another process is collecting this spill file", self.path) from error
        if os.stat(self.path).st_ino != os.fstat(self.file.fileno()).st_ino:
            raise FileNotFoundError(errno.ENOENT, "another process has collected this spill file", self.path)

    def rows(self) -> Iterator[Row | bytes]:
        """Yield the rows of the file in order; a line that cannot be read is yielded as bytes."""
        for line in self.file:
            try:
                yield load_wire().to_row(line)
            except (ValueError, TypeError, IndexError):
                yield line

    def done(self, unread: list[bytes]) -> None:
        """Remove the file, as its rows are stored, but save lines that could not be read in another file."""
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
    """Return whether a path is a plain file that belongs to this user."""
    try:
        return _is_own(os.lstat(path))
    except OSError as error:
        interruption.pass_on(error)
        return False


def _is_own(facts: os.stat_result) -> bool:
    import stat

    return stat.S_ISREG(facts.st_mode) and (not hasattr(os, "getuid") or facts.st_uid == os.getuid())
