"""Blobs: large values (videos, screenshots, long texts) in files beside the journal, each named by its SHA-256.

If a blob cannot be written there, it goes to the user's state folder, as rows do, and is moved to its place later.
A hub may store its blobs in a bucket: then a note file at the blob's place says so, and a local file is only a copy.
"""

from __future__ import annotations

import os
import time
from _thread import get_ident

from localops import host, interruption
from localops.journal import spill
from localops.output import say, say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    class Elsewhere(Protocol):
        """The remote storage of a home's blobs, such as a bucket; the projects have copies of some."""

        def put(self, project: str, digest: str, path: str) -> None:
            """Upload the file at a path; raise OSError if that fails."""

        def fetch(self, project: str, digest: str) -> None:
            """Download a file to its place; raise FileNotFoundError if the storage does not have it."""

        def flaw(self, project: str, digest: str) -> str | None:
            """Read the stored file, and return why it cannot be used, or None."""

        def remove(self, project: str, digest: str) -> None:
            """Delete the stored file, if it exists."""


# Suffixes of note files: of a blob that is elsewhere (with its size and first bytes), and of one to be deleted there.
NOTE, DOOMED = ".there", ".doomed"
_FIRST_BYTES = 64  # how many first bytes a note has: enough to recognise the type of a file
# By the folder of a home.
_elsewhere: dict[str, Elsewhere] = {}

UPLOADS = "uploads"  # the folder for files that a hub is receiving
HEAD = 64 << 10  # bytes to compress first, to decide whether to compress the rest
_PIECE = 1 << 20
_OLD_ENOUGH = 3600.0  # seconds
_REFERENCE = r'(?:"\$blob": ?"|"blob:)([0-9a-f]{64})"'


def path_of(project: str, digest: str) -> str:
    """Return the path of the blob with a digest; raise ValueError for an invalid digest."""
    if not is_digest(digest):
        raise ValueError(f"not a SHA-256 digest: {digest[:80]!r}")
    return os.path.join(project, "blobs", digest[:2], digest)


def keep_elsewhere(home: str, where: Elsewhere | None) -> None:
    """Store the blobs of a home elsewhere from now on, in this process; None: in its folders, as usual."""
    _elsewhere.pop(home, None)
    if where is not None:
        _elsewhere[home] = where


def elsewhere(project: str) -> Elsewhere | None:
    """Return the remote storage of a project's blobs; None if they are in its folder."""
    return _elsewhere.get(os.path.dirname(project)) if _elsewhere else None


def find(project: str, digest: str) -> str:
    """Return the path of a blob's file, in its place or waiting to be moved there; raise FileNotFoundError without one.

    A blob that is elsewhere is downloaded.
    """
    path = _find_here(project, digest)
    where = elsewhere(project)
    if path is not None:
        if where is not None:
            _note_use(path)
        return path
    place = path_of(project, digest)
    if where is None or not host.is_file(place + NOTE):
        raise FileNotFoundError(f"no such blob: {place}")
    where.fetch(project, digest)
    return place


def _note_use(path: str) -> None:
    """Update the time of a local copy, as the least recently used copies are deleted first."""
    try:
        os.utime(path)
    except OSError as error:
        interruption.pass_on(error)


def _find_here(project: str, digest: str) -> str | None:
    place = path_of(project, digest)
    for path in (place, os.path.join(_waiting_place(project), digest)):
        if host.is_file(path):
            return path
    return None


def is_here(project: str, digest: str) -> bool:
    """Return whether there is a file for a blob, complete or not, in its project or elsewhere."""
    return _find_here(project, digest) is not None or is_elsewhere(project, digest)


def is_elsewhere(project: str, digest: str) -> bool:
    """Return whether a note says that a blob is elsewhere."""
    return host.is_file(path_of(project, digest) + NOTE)


def head(project: str, digest: str) -> tuple[bytes, int]:
    """Return the first bytes of a blob and its size, without downloading it; raise OSError if it does not exist."""
    path = _find_here(project, digest)
    if path is None:
        return _read_note(path_of(project, digest) + NOTE)
    with open(path, "rb") as file:
        return file.read(_FIRST_BYTES), os.fstat(file.fileno()).st_size


def note(project: str, digest: str, first: bytes, size: int) -> None:
    """Write the note that a blob is elsewhere; it is synced when this returns."""
    path = path_of(project, digest)
    host.make_private(os.path.dirname(path), synced=True)
    host.write_private(path + NOTE, f"{size} {first[:_FIRST_BYTES].hex()}\n".encode())
    _sync_names(path)


def _read_note(path: str) -> tuple[bytes, int]:
    with open(path, "rb") as file:
        many, _, first = file.read().decode("ascii", "replace").partition(" ")
    try:
        return bytes.fromhex(first), int(many)
    except ValueError:
        raise OSError(f"{path} is damaged: delete it, and start the hub again, which writes it again") from None


def is_whole(path: str, digest: str) -> bool:
    """Return whether a file's content has the digest; raise OSError if it cannot be read."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def flaw(project: str, digest: str) -> str | None:
    """Return why the file of a blob cannot be used: it is missing, unreadable or damaged; None if it can."""
    where = elsewhere(project)
    if where is not None and is_elsewhere(project, digest):
        return where.flaw(project, digest)
    try:
        path = find(project, digest)
        if is_whole(path, digest):
            return None
    except FileNotFoundError:
        return f"the file of this row is not here: {path_of(project, digest)}"
    except OSError as error:
        return f"the file of this row cannot be read ({error.strerror or error}): {path_of(project, digest)}"
    return f"the file here is damaged (digest differs): {path}"


def size_of(project: str, digest: str) -> int:
    """Return the size of a blob in bytes; 0 if it does not exist."""
    try:
        return head(project, digest)[1]
    except OSError:
        return 0


def size(project: str) -> int:
    """Return the size of all blobs of a project, including those that are elsewhere or wait to be moved."""
    whole = 0
    for top in (os.path.join(project, "blobs"), _waiting_place(project)):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if not name.endswith(NOTE):
                        whole += os.path.getsize(path)
                    elif name.removesuffix(NOTE) not in names:
                        whole += _read_note(path)[1]
                except OSError as error:  # it was pruned or moved meanwhile
                    interruption.pass_on(error)
    return whole


def stored(project: str) -> Iterator[str]:
    """Yield the paths of complete blobs; a blob that is being written has a temporary name."""
    for inner, _, names in os.walk(os.path.join(project, "blobs")):
        yield from (os.path.join(inner, name) for name in names if len(name) == 64)


def digests(project: str) -> set[str]:
    """Return the digests of the blobs that are in their places or elsewhere."""
    return set(map(os.path.basename, stored(project))) | marked(project, NOTE)


def marked(project: str, suffix: str) -> set[str]:
    """Return the digests of the blobs that have a note file with this suffix: NOTE or DOOMED."""
    return {
        name.removesuffix(suffix)
        for _, _, names in os.walk(os.path.join(project, "blobs"))
        for name in names
        if name.endswith(suffix) and len(name) == 64 + len(suffix)
    }


def touched(project: str, digest: str) -> float:
    """Return when a blob was last written or touched; raise FileNotFoundError if it does not exist."""
    path = path_of(project, digest)
    try:
        # By the note: the time of a local copy is when it was last read.
        return os.stat(path + NOTE).st_mtime
    except FileNotFoundError:
        return os.stat(path).st_mtime


def touch(project: str, digest: str) -> bool:
    """Reset the age of a blob; return whether it exists, in its place or elsewhere."""
    path = path_of(project, digest)
    known = False
    for each in (path, path + NOTE):
        try:
            os.utime(each)
            known = True
        except FileNotFoundError:
            continue
    return known


def drop(project: str, digest: str) -> None:
    """Delete a blob; if it is elsewhere, mark it, so that `finish_drops` deletes it there."""
    path = path_of(project, digest)
    if is_elsewhere(project, digest):
        os.replace(path + NOTE, path + DOOMED)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def finish_drops(project: str) -> int:
    """Delete dropped blobs elsewhere; return how many are left because the storage cannot be reached."""
    where = elsewhere(project)
    left = marked(project, DOOMED)
    for digest in list(left) if where is not None else ():
        mark = path_of(project, digest) + DOOMED
        try:
            # Unless the blob was stored again since.
            if not is_elsewhere(project, digest):
                where.remove(project, digest)  # type: ignore[union-attr]
            os.unlink(mark)
        except FileNotFoundError:
            pass
        except OSError as error:
            interruption.pass_on(error)
            break
        left.discard(digest)
    return len(left)


def unfinished(project: str) -> list[str]:
    """Return the paths of blobs that are being written, or whose writer was killed."""
    return [
        os.path.join(folder, name)
        for folder in (os.path.join(project, "blobs"), _waiting_place(project))
        for name in _names_in(folder)
        if name[:1] == "." and name[1:].partition("-")[0].isdigit()
    ]


def is_being_written(path: str) -> bool | None:
    """Return whether an unfinished blob still has a writer, in any container; None if it is complete now.

    After an hour without a write, it counts as abandoned: a child of the writer may still hold the lock.
    """
    import fcntl

    try:
        if is_old(path):
            return False
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        # A file of another user.
        interruption.pass_on(error)
        return True
    return host.is_locked(handle, fcntl.flock)


def abandoned(project: str) -> list[str]:
    """Return the paths of unfinished blobs whose writers were killed."""
    return [path for path in unfinished(project) if is_being_written(path) is False]


def drop_abandoned(project: str) -> tuple[int, int]:
    """Delete the blobs whose writers were killed; return how many, and how many are still being written.

    If a live writer has just released its lock, it notices that its file is gone, and writes it again.
    """
    paths = abandoned(project)
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            # Its writer has finished it.
            continue
    return len(paths), len(unfinished(project))


def uploads(project: str) -> list[str]:
    """Return the paths of the files of which a hub has received a part."""
    folder = os.path.join(project, UPLOADS)
    return [os.path.join(folder, name) for name in _names_in(folder) if is_digest(name)]


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        interruption.pass_on(error)
        return []


def is_old(path: str) -> bool:
    """Return whether a file is over an hour old; a younger one may belong to a row that is being written."""
    return time.time() - os.stat(path).st_mtime > _OLD_ENOUGH


def is_spare(project: str, digest: str) -> bool:
    """Return whether a blob was last written or touched more than an hour ago."""
    return time.time() - touched(project, digest) > _OLD_ENOUGH


def pays(size: int, packed: int) -> bool:
    """Return whether compressing `size` bytes to `packed` is worth it."""
    return packed < 0.9 * size


class Keeper:
    """Writes large values for the encoder, and counts those that could not be written."""

    def __init__(self, project: str) -> None:
        self._project = project
        self.failed: dict[int, int] = {}
        """By thread: the number of values that could not be written since the number was last read."""

    def __call__(self, data: bytes) -> str:
        """Write a value and return its digest; raise OSError if it cannot be written to any folder.

        Raise ImportError if the interpreter shuts down and the needed modules cannot be loaded any more.
        """
        try:
            return keep(self._project, data)
        except (OSError, ImportError) as error:
            if isinstance(error, OSError):
                interruption.pass_on(error)
            here, why = get_ident(), getattr(error, "strerror", None) or error
            self.failed[here] = self.failed.get(here, 0) + 1
            say_once(
                "cut",
                f"a large value could not be written to {os.path.join(self._project, 'blobs')} nor to the state "
                f"folder ({why}): only its beginning is kept; see `localops doctor`",
            )
            raise


def keep(project: str, data: bytes) -> str:
    """Write the bytes, once, and return their digest; they are synced to disk when this returns."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    return _keep(project, digest, lambda: (data,), None)


def keep_file(project: str, source: str) -> str:
    """Copy a file into the project, piece by piece, and return its digest."""
    with open(source, "rb") as file:
        import hashlib

        digest = hashlib.file_digest(file, "sha256").hexdigest()

        def pieces() -> Iterator[bytes]:
            file.seek(0)
            return iter(lambda: file.read(_PIECE), b"")

        try:
            return _keep(project, digest, pieces, digest)
        except ValueError:
            raise OSError(f"{source} was changed while it was copied") from None


def _keep(project: str, digest: str, pieces: Callable[[], Iterable[bytes]], expected: str | None) -> str:
    """Write a blob to its place, or else to the state folder, where it waits; raise OSError if both fail."""
    try:
        if not _is_kept(project, digest):
            _publish_or_clear(project, _write_temporary(os.path.join(project, "blobs"), pieces(), expected), digest)
    except OSError as error:
        interruption.pass_on(error)
        place = _waiting_place(project)
        path = os.path.join(place, digest)
        if not host.is_file(path):
            try:
                host.replace(_write_temporary(place, pieces(), expected), path)
            except OSError as problem:
                interruption.pass_on(problem)
                raise error from None
        say_once(
            "blob",
            f"a large value cannot be written to {os.path.join(project, 'blobs')} ({error.strerror or error}): it is "
            f"kept in {place} and moved there later (see `localops doctor`)",
        )
    return digest


def _is_kept(project: str, digest: str) -> bool:
    """Return whether a blob is in its place already; if so, reset its age and sync its name."""
    path = path_of(project, digest)
    try:
        # Pruning does not delete blobs younger than an hour.
        if not touch(project, digest):
            return False
    except PermissionError:
        # It belongs to another user: fine if it can be read.
        if not os.access(path, os.R_OK):
            raise
    # The process that wrote the blob may not have synced its name yet.
    _sync_names(path)
    return True


def keep_media(project: str, value: object) -> object:
    """If a value is the path of a file, copy it into the project and return the copy's name; else return the value."""
    path = interruption.attempt(lambda: _file_of(value), None)
    if path is None:
        return value
    try:
        return f"blob:{keep_file(project, path)}"
    except OSError as error:
        interruption.pass_on(error)
        say(f"{path} could not be copied into the project ({error}); its name is kept")
        return value


def _file_of(value: object) -> str | None:
    """Return the path of the file that a value names, or None."""
    if not issubclass(type(value), str | os.PathLike) or len(str(value)) > 4096 or "://" in str(value):
        return None
    path = os.path.expanduser(os.fspath(value))  # type: ignore[call-overload]
    return path if host.is_file(path) else None


def keep_pieces(project: str, pieces: Iterable[bytes], digest: str) -> None:
    """Write a blob from pieces to its place; raise ValueError, and write nothing, if it has another digest."""
    _publish_or_clear(project, _write_temporary(os.path.join(project, "blobs"), pieces, digest), digest)


def _publish_or_clear(project: str, temporary: str, digest: str) -> None:
    try:
        # Locked, as the upload to elsewhere may take a while.
        with open(temporary, "rb") as file:
            mark_written(file.fileno())
            publish(project, temporary, digest)
    except BaseException:
        if host.is_file(temporary):
            os.unlink(temporary)
        raise


def publish(project: str, temporary: str, digest: str) -> None:
    """Move a synced file to its place, and upload it if blobs are elsewhere; all is synced when this returns."""
    path = path_of(project, digest)
    host.make_private(os.path.dirname(path), synced=True)
    where = elsewhere(project)
    if where is not None:
        where.put(project, digest, temporary)
    os.replace(temporary, path)
    _sync_names(path)


def _sync_names(path: str) -> None:
    """Sync the folder of a blob and the folder above, so that its name survives a power cut."""
    folder = os.path.dirname(path)
    host.sync_folder(folder)
    host.sync_folder(os.path.dirname(folder))


def waiting(project: str) -> list[str]:
    """Return the digests of the blobs that wait in the user's state folder."""
    place = _waiting_place(project)
    return [name for name in _names_in(place) if is_digest(name) and spill.is_ours(os.path.join(place, name))]


def collect(project: str) -> int:
    """Move waiting blobs to their places; return how many were moved."""
    moved = 0
    for digest in waiting(project):
        path = os.path.join(_waiting_place(project), digest)
        try:
            if not _is_kept(project, digest):
                with open(path, "rb") as file:
                    keep_pieces(project, iter(lambda: file.read(_PIECE), b""), digest)
            os.unlink(path)
            moved += 1
        except OSError as error:
            interruption.pass_on(error)
        except ValueError:
            continue
    return moved


def named(bodies: Iterable[str | None]) -> list[str]:
    """Return the digests of the blobs that bodies refer to, each once."""
    import re

    digests: dict[str, None] = {}
    for body in bodies:
        if body is not None and "blob" in body:
            digests.update(dict.fromkeys(re.findall(_REFERENCE, body)))
    return list(digests)


def is_digest(text: str) -> bool:
    """Return whether a text is the digest of a blob."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _waiting_place(project: str) -> str:
    return os.path.join(spill.places(project)[1], "blobs")


def mark_written(handle: int) -> None:
    """Lock a file until it is closed, to show that it is being written: an unlocked one is of a killed process."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system that does not support flock.
        interruption.pass_on(error)


def _write_temporary(folder: str, pieces: Iterable[bytes], expected: str | None) -> str:
    """Write pieces to a new file in a folder, sync it and return its path; raise ValueError for a wrong digest."""
    import hashlib

    host.make_private(folder, synced=True)
    path = os.path.join(folder, f".{os.getpid()}-{os.urandom(6).hex()}")
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    seen = hashlib.sha256()
    try:
        with open(handle, "wb") as file:
            mark_written(handle)
            for piece in pieces:
                if expected is not None:
                    seen.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if expected not in (None, seen.hexdigest()):
            raise ValueError(f"wrong digest: expected {expected}, got {seen.hexdigest()}")
    except BaseException:
        os.unlink(path)
        raise
    return path
