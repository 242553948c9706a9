"""Bodies of requests: read within a time limit, decompressed piece by piece within a size limit, split into lines."""

from __future__ import annotations

import asyncio
import zlib

from localops.errors import BundleError
from localops.transfer import zstd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from localops.server.limits import Limits

# Bytes decompressed at a time.
_PIECE = 256 << 10


class TooLarge(Exception):
    """The body has more bytes or rows than the limits allow."""


class TooSlow(Exception):
    """The body did not arrive in time."""


class UnknownEncoding(Exception):
    """The Content-Encoding of the body is not supported."""


async def read(stream: AsyncIterator[bytes], keep: Callable[[bytes], object], limits: Limits) -> None:
    """Read the whole body, passing each piece to `keep`; TooSlow if it does not arrive in time."""
    now = asyncio.get_running_loop().time
    ends = now() + limits.whole
    try:
        # One for both limits: each is an entry in the timers of the loop.
        async with asyncio.timeout_at(min(ends, now() + limits.silence)) as timer:
            async for piece in stream:
                keep(piece)
                timer.reschedule(min(ends, now() + limits.silence))
    except TimeoutError as error:
        raise TooSlow("the body of the request did not arrive in time") from error


async def discard(stream: AsyncIterator[bytes], most: int) -> None:
    """Read and drop up to `most` bytes: a client that is still sending would not read why it was refused."""
    try:
        async with asyncio.timeout(10):
            async for piece in stream:
                most -= len(piece)
                if most < 0:
                    return
    except TimeoutError:
        return


def encodings() -> list[str]:
    """Return the supported values of Content-Encoding."""
    return ["gzip", "zstd"] if zstd.library() is not None else ["gzip"]


def lines(body: bytes, encoding: str, limits: Limits) -> Iterator[bytes]:
    """Return the lines of a body, decompressed one after another."""
    # The first two lines are the header and the columns.
    most = limits.rows + 2
    # Pieces of the line that has not ended yet.
    begun: list[bytes] = []
    size = 0
    for piece in _inflated(body, encoding, limits.inflated):
        head, *ended = piece.split(b"\n")
        begun.append(head)
        size += len(head)
        if max(size, *map(len, ended), 0) > limits.line:
            raise TooLarge(f"a line has more than {limits.line} bytes")
        most -= len(ended)
        if most < 0:
            raise TooLarge(f"a batch has more than {limits.rows} rows")
        if ended:
            yield b"".join(begun)
            yield from ended[:-1]
            begun, size = [ended[-1]], len(ended[-1])
    if size:
        raise BundleError("the last line is incomplete")


def whole(body: bytes, encoding: str, limits: Limits) -> bytes:
    """Return a body, decompressed."""
    return b"".join(_inflated(body, encoding, limits.inflated))


def _inflated(body: bytes, encoding: str, most: int) -> Iterator[bytes]:
    """Return the decompressed body in pieces; TooLarge as soon as it has too many bytes, however few were sent."""
    openers = {"": _plain, "identity": _plain, "gzip": _gunzip, "zstd": _unzstd}
    opener = openers.get(encoding)
    if opener is None or (encoding == "zstd" and zstd.library() is None):
        raise UnknownEncoding(
            f"invalid Content-Encoding: expected {', '.join(encodings())} or none, got {encoding[:40]!r}"
        )
    size = 0
    for piece in opener(body):
        size += len(piece)
        if size > most:
            raise TooLarge(f"the body has more than {most} bytes when decompressed")
        yield piece


def _plain(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


def _gunzip(body: bytes) -> Iterator[bytes]:
    engine = zlib.decompressobj(31)
    try:
        piece = engine.decompress(body, _PIECE)
        while piece or engine.unconsumed_tail:
            yield piece
            piece = engine.decompress(engine.unconsumed_tail, _PIECE)
    except zlib.error as error:
        raise BundleError(f"the body cannot be decompressed: {error}") from error
    if not engine.eof or engine.unused_data:
        raise BundleError("the body is incomplete, or followed by other data")


def _unzstd(body: bytes) -> Iterator[bytes]:
    library = zstd.library()
    engine = library.ZstdDecompressor(options={library.DecompressionParameter.window_log_max: _WINDOW_LOG})
    try:
        while not engine.eof:
            piece = engine.decompress(body, _PIECE)
            body = b""
            if not piece and engine.needs_input:
                raise BundleError("the body is incomplete")
            yield piece
    except library.ZstdError as error:
        raise BundleError(f"the body cannot be decompressed: {error}") from error
    if engine.unused_data:
        raise BundleError("the body is followed by other data")


# Limits the memory of zstd to 8 MiB: the header of a frame can ask for two gigabytes.
_WINDOW_LOG = 23
