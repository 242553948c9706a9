"""Large things kept beside the journal, each under the SHA-256 of its bytes: videos, screenshots, long values."""

from __future__ import annotations

import os

from localops import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PIECE = 1 << 20
_NAMED = r'(?:"\$blob": ?"|"blob:)([0-9a-f]{64})"'


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
    with open(source, "rb") as file:
        return keep_pieces(project, iter(lambda: file.read(_PIECE), b""))


def keep_pieces(project: str, pieces: Iterable[bytes], digest: str | None = None) -> str:
    """Write what comes in pieces, and give back its digest; ValueError, and nothing kept, if it should be another."""
    import hashlib

    seen = hashlib.sha256()

    def watched() -> Iterator[bytes]:
        for piece in pieces:
            seen.update(piece)
            yield piece

    temporary = _write(project, watched())
    found = seen.hexdigest()
    if digest not in (None, found):
        os.unlink(temporary)
        raise ValueError(f"what should be {digest} is {found}")
    _publish(project, temporary, found)
    return found


def named(bodies: Iterable[str | None]) -> list[str]:
    """The digests of the blobs that bodies speak of, each once."""
    import re

    found: dict[str, None] = {}
    for body in bodies:
        if body is not None and "blob" in body:
            found.update(dict.fromkeys(re.findall(_NAMED, body)))
    return list(found)


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
