"""Large things kept beside the journal, each under the SHA-256 of its bytes: videos, screenshots, long values."""

from __future__ import annotations

import os

from localops import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PIECE = 1 << 20


def path_of(project: str, digest: str) -> str:
    """Where the blob of that digest is, or would be; refuses anything that is not a digest."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"not a SHA-256 digest: {digest[:80]!r}")
    return os.path.join(project, "blobs", digest[:2], digest)


def keep(project: str, data: bytes) -> str:
    """Write the bytes, once, and give back their digest; on disk (synced) when this returns."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    try:
        os.utime(path_of(project, digest))  # prune leaves alone what was kept within the hour
    except FileNotFoundError:
        _publish(project, _write(project, (data,)), digest)
    return digest


def keep_file(project: str, source: str) -> str:
    """Copy a file in, piece by piece, and give back its digest."""
    import hashlib

    seen = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        with open(source, "rb") as file:
            while piece := file.read(_PIECE):
                seen.update(piece)
                yield piece

    temporary = _write(project, pieces())
    _publish(project, temporary, seen.hexdigest())
    return seen.hexdigest()


def _write(project: str, pieces: Iterable[bytes]) -> str:
    folder = os.path.join(project, "blobs")
    host.make_private(folder)
    path = os.path.join(folder, f".{os.getpid()}-{os.urandom(6).hex()}")
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)
        raise
    return path


def _publish(project: str, temporary: str, digest: str) -> None:
    path = path_of(project, digest)
    host.make_private(os.path.dirname(path))
    os.replace(temporary, path)
