"""Blobs: large values in files beside the journal, each named by its SHA-256: videos, screenshots, long values.

A blob that cannot be written there goes to the user's state folder, as rows do, and is moved to its place later.
A hub may keep its files in a bucket: then a note beside the place of each says so, and the file itself is a copy.
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
        """Where the files of a home are for good; its projects have copies of some."""

        def put(self, project: str, digest: str, path: str) -> None:
            """Store the file at a path there; OSError if that cannot be done now."""

        def fetch(self, project: str, digest: str) -> None:
            """Bring a file back to its place; FileNotFoundError if it is not there."""

        def flaw(self, project: str, digest: str) -> str | None:
            """Read a file there, and return why it cannot be used."""

        def remove(self, project: str, digest: str) -> None:
            """Delete a file there; one that is not there is no error."""


# Suffixes of the note that a file is elsewhere, with its size and first bytes, and of one that is to be deleted there.
NOTE, DOOMED = ".there", ".doomed"
_NOTED = 64  # first bytes, which tell what a file is
# By the folder of a home.
_elsewhere: dict[str, Elsewhere] = {}

UPLOADS = "uploads"  # the folder of what a hub is receiving
HEAD = 64 << 10  # bytes that are compressed to decide whether to compress the rest
_PIECE = 1 << 20
_OLD_ENOUGH = 3600.0  # seconds
_NAMED = r'(?:"\$blob": ?"|"blob:)([0-9a-f]{64})"'


def path_of(project: str, digest: str) -> str:
    """Return the path of the blob with a digest; raise ValueError for anything that is not a digest."""
    if not is_digest(digest):
        raise ValueError(f"not a SHA-256 digest: {digest[:80]!r}")
    return os.path.join(project, "blobs", digest[:2], digest)


def keep_elsewhere(home: str, where: Elsewhere | None) -> None:
    """Keep the files of a home elsewhere from now on, in this process; None: in its folders, as usual."""
    _elsewhere.pop(home, None)
    if where is not None:
        _elsewhere[home] = where


def elsewhere(project: str) -> Elsewhere | None:
    """Return where the files of a project are for good; None: in its folder."""
    return _elsewhere.get(os.path.dirname(project)) if _elsewhere else None


def find(project: str, digest: str) -> str:
    """Return the file of a blob, in its place or waiting to be moved there; raise FileNotFoundError without one.

    One that is elsewhere is brought back.
    """
    path = _here(project, digest)
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
    """Keep a copy of what is elsewhere for a while: those that were used least lately are given up."""
    try:
        os.utime(path)
    except OSError as error:
        interruption.pass_on(error)


def _here(project: str, digest: str) -> str | None:
    place = path_of(project, digest)
    for path in (place, os.path.join(_waiting_place(project), digest)):
        if host.is_file(path):
            return path
    return None


def is_here(project: str, digest: str) -> bool:
    """Return whether there is a file for a blob, complete or not, in its project or elsewhere."""
    return _here(project, digest) is not None or is_elsewhere(project, digest)


def is_elsewhere(project: str, digest: str) -> bool:
    """Return whether a blob is noted to be elsewhere."""
    return host.is_file(path_of(project, digest) + NOTE)


def head(project: str, digest: str) -> tuple[bytes, int]:
    """Return the first bytes of a blob and its size; raise OSError without it.  None is brought back for it."""
    path = _here(project, digest)
    if path is None:
        return _noted(path_of(project, digest) + NOTE)
    with open(path, "rb") as file:
        return file.read(_NOTED), os.fstat(file.fileno()).st_size


def note(project: str, digest: str, first: bytes, size: int) -> None:
    """Note that a blob is elsewhere; safe from a power cut when this returns."""
    path = path_of(project, digest)
    host.make_private(os.path.dirname(path), synced=True)
    host.write_private(path + NOTE, f"{size} {first[:_NOTED].hex()}\n".encode())
    _sync_names(path)


def _noted(path: str) -> tuple[bytes, int]:
    with open(path, "rb") as file:
        many, _, first = file.read().decode("ascii", "replace").partition(" ")
    try:
        return bytes.fromhex(first), int(many)
    except ValueError:
        raise OSError(f"{path} is damaged: delete it, and start the hub again, which writes it again") from None


def is_whole(path: str, digest: str) -> bool:
    """Return whether a file has the digest of its name; raise OSError when it cannot be read."""
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
    """Return the bytes of a blob; 0 when it is not there."""
    try:
        return head(project, digest)[1]
    except OSError:
        return 0


def size(project: str) -> int:
    """Return the bytes of all blobs of a project, including those that are elsewhere or wait to be moved there."""
    whole = 0
    for top in (os.path.join(project, "blobs"), _waiting_place(project)):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if not name.endswith(NOTE):
                        whole += os.path.getsize(path)
                    elif name.removesuffix(NOTE) not in names:
                        whole += _noted(path)[1]
                except OSError as error:  # pruned, or moved meanwhile
                    interruption.pass_on(error)
    return whole


def stored(project: str) -> Iterator[str]:
    """Yield the paths of blobs; one that is being written does not have a digest as its name."""
    for inner, _, names in os.walk(os.path.join(project, "blobs")):
        yield from (os.path.join(inner, name) for name in names if len(name) == 64)


def digests(project: str) -> set[str]:
    """Return the digests of the blobs that are in their places or elsewhere."""
    return set(map(os.path.basename, stored(project))) | marked(project, NOTE)


def marked(project: str, suffix: str) -> set[str]:
    """Return the digests of the blobs with a note, or with one that they are to be deleted."""
    return {
        name.removesuffix(suffix)
        for _, _, names in os.walk(os.path.join(project, "blobs"))
        for name in names
        if name.endswith(suffix) and len(name) == 64 + len(suffix)
    }


def touched(project: str, digest: str) -> float:
    """Return when a blob was written or asked for the last time; raise FileNotFoundError if it is not there."""
    path = path_of(project, digest)
    try:
        # The age of a copy of a file elsewhere is the time since it was last read.
        return os.stat(path + NOTE).st_mtime
    except FileNotFoundError:
        return os.stat(path).st_mtime


def touch(project: str, digest: str) -> bool:
    """Reset the age of a blob; return whether there is one in its place or elsewhere."""
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
    """Delete a blob in its place; where it is elsewhere, note that `finish_drops` is to delete it there."""
    path = path_of(project, digest)
    if is_elsewhere(project, digest):
        os.replace(path + NOTE, path + DOOMED)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def finish_drops(project: str) -> int:
    """Delete dropped files elsewhere; return how many are left because that place cannot be reached."""
    where = elsewhere(project)
    left = marked(project, DOOMED)
    for digest in list(left) if where is not None else ():
        mark = path_of(project, digest) + DOOMED
        try:
            # Unless it has come again since.
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
    """Return whether an unfinished blob still has a writer, in whatever container; None if it is complete now.

    One that was not touched for an hour has none: its lock may be that of a child of the writer.
    """
    import fcntl

    try:
        if is_old(path):
            return False
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        # Another user's.
        interruption.pass_on(error)
        return True
    return host.is_locked(handle, fcntl.flock)


def abandoned(project: str) -> list[str]:
    """Return the paths of unfinished blobs whose writers were killed."""
    return [path for path in unfinished(project) if is_being_written(path) is False]


def drop_abandoned(project: str) -> tuple[int, int]:
    """Delete the blobs whose writers were killed; return how many, and how many are still being written.

    A writer that has just let go of its file finds it gone, and writes it again.
    """
    paths = abandoned(project)
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            # It is complete now.
            continue
    return len(paths), len(unfinished(project))


def uploads(project: str) -> list[str]:
    """Return the paths of the files that a hub has received a part of."""
    folder = os.path.join(project, UPLOADS)
    return [os.path.join(folder, name) for name in _names_in(folder) if is_digest(name)]


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        interruption.pass_on(error)
        return []


def is_old(path: str) -> bool:
    """Return whether a file was not touched for an hour; a younger one may belong to a row that is being written."""
    return time.time() - os.stat(path).st_mtime > _OLD_ENOUGH


def is_spare(project: str, digest: str) -> bool:
    """Return whether a blob was not touched for an hour."""
    return time.time() - touched(project, digest) > _OLD_ENOUGH


def pays(size: int, packed: int) -> bool:
    """Return whether compression is worth it that turns `size` bytes into `packed`."""
    return packed < 0.9 * size


class Keeper:
    """The encoder's function to write large values of a project, with a count of those that could not be written."""

    def __init__(self, project: str) -> None:
        self._project = project
        self.failed: dict[int, int] = {}
        """How many values each thread, by its ident, could not write since the count was last read."""

    def __call__(self, data: bytes) -> str:
        """Write a value and return its digest; raise OSError when no folder takes it.

        While the interpreter shuts down, what writes it may not be loaded any more: ImportError is raised then.
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
    """Write the bytes, once, and return their digest; on disk (synced) when this returns."""
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
    """Write a blob to its place, or to the state folder, where it waits; raise OSError when neither takes it."""
    try:
        if not _is_kept(project, digest):
            _publish_or_clear(project, _written(os.path.join(project, "blobs"), pieces(), expected), digest)
    except OSError as error:
        interruption.pass_on(error)
        place = _waiting_place(project)
        path = os.path.join(place, digest)
        if not host.is_file(path):
            try:
                host.replace(_written(place, pieces(), expected), path)
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
    """Return whether a blob is in its place already; if so, reset its age, and make its name safe from a power cut."""
    path = path_of(project, digest)
    try:
        # Prune does not delete what was kept within the hour.
        if not touch(project, digest):
            return False
    except PermissionError:
        # Another user's file is fine if it can be read.
        if not os.access(path, os.R_OK):
            raise
    # The process that wrote it may not have done that yet.
    _sync_names(path)
    return True


def keep_media(project: str, value: object) -> object:
    """Copy the file that a value names into the project; return the copy's name, or any other value as it is."""
    path = interruption.attempt(lambda: _named_file(value), None)
    if path is None:
        return value
    try:
        return f"blob:{keep_file(project, path)}"
    except OSError as error:
        interruption.pass_on(error)
        say(f"{path} could not be copied into the project ({error}); its name is kept")
        return value


def _named_file(value: object) -> str | None:
    """Return the path of the file that a value names, or None."""
    if not issubclass(type(value), str | os.PathLike) or len(str(value)) > 4096 or "://" in str(value):
        return None
    path = os.path.expanduser(os.fspath(value))  # type: ignore[call-overload]
    return path if host.is_file(path) else None


def keep_pieces(project: str, pieces: Iterable[bytes], digest: str) -> None:
    """Write a blob from pieces to its place; raise ValueError, and write nothing, if it has another digest."""
    _publish_or_clear(project, _written(os.path.join(project, "blobs"), pieces, digest), digest)


def _publish_or_clear(project: str, temporary: str, digest: str) -> None:
    try:
        # It may first go elsewhere, which takes a while.
        with open(temporary, "rb") as file:
            mark_written(file.fileno())
            publish(project, temporary, digest)
    except BaseException:
        if host.is_file(temporary):
            os.unlink(temporary)
        raise


def publish(project: str, temporary: str, digest: str) -> None:
    """Move a synced file to the place of its digest; it is safe from a power cut when this returns, also elsewhere."""
    path = path_of(project, digest)
    host.make_private(os.path.dirname(path), synced=True)
    where = elsewhere(project)
    if where is not None:
        where.put(project, digest, temporary)
    os.replace(temporary, path)
    _sync_names(path)


def _sync_names(path: str) -> None:
    """Make the name of a blob and of its folder safe from a power cut."""
    folder = os.path.dirname(path)
    host.sync_folder(folder)
    host.sync_folder(os.path.dirname(folder))


def waiting(project: str) -> list[str]:
    """Return the digests of the blobs that wait in the user's state folder to be moved to their place."""
    place = _waiting_place(project)
    return [name for name in _names_in(place) if is_digest(name) and spill.is_ours(os.path.join(place, name))]


def collect(project: str) -> int:
    """Move the blobs that wait to their place, where possible; return how many were moved."""
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
    """Return the digests of the blobs that bodies name, each once."""
    import re

    digests: dict[str, None] = {}
    for body in bodies:
        if body is not None and "blob" in body:
            digests.update(dict.fromkeys(re.findall(_NAMED, body)))
    return list(digests)


def is_digest(text: str) -> bool:
    """Return whether a text is the digest of a blob."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _waiting_place(project: str) -> str:
    return os.path.join(spill.places(project)[1], "blobs")


def mark_written(handle: int) -> None:
    """Hold a lock on a file that is written until it is closed: one without it was left by a killed process."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without such locks.
        interruption.pass_on(error)


def _written(folder: str, pieces: Iterable[bytes], expected: str | None) -> str:
    """Write pieces to a new file in a folder and sync it; raise ValueError if it does not have the expected digest."""
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
