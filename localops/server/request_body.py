"""Bodies of requests: read within a time, inflated piece by piece within a size, and taken apart into lines."""

from __future__ import annotations

import asyncio
import zlib

from localops.errors import BundleError
from localops.transfer import zstd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from localops.server.limits import Limits

_PIECE = 256 << 10  # bytes inflated at a time


class TooLarge(Exception):
    """The body has more bytes, or more rows, than are taken at once."""


class TooSlow(Exception):
    """The body did not come in time."""


class Unpackable(Exception):
    """The body is packed in a way that is not known here."""


async def read(stream: AsyncIterator[bytes], keep: Callable[[bytes], object], limits: Limits) -> None:
    """Have the whole body kept; TooSlow when it does not come in time."""
    try:
        async with asyncio.timeout(limits.whole):
            while True:
                async with asyncio.timeout(limits.silence):
                    piece = await anext(stream, None)
                if piece is None:
                    return
                keep(piece)
    except TimeoutError as error:
        raise TooSlow("the body of the request did not come in time") from error


async def discard(stream: AsyncIterator[bytes], most: int) -> None:
    """Read what is not wanted, so that the client gets to read why; no more than a certain size of it."""
    try:
        async with asyncio.timeout(10):
            async for piece in stream:
                most -= len(piece)
                if most < 0:
                    return
    except TimeoutError:
        return


def encodings() -> list[str]:
    """In which ways a body may be packed, beside not at all."""
    return ["gzip", "zstd"] if zstd.library() is not None else ["gzip"]


def lines(body: bytes, encoding: str, limits: Limits) -> Iterator[bytes]:
    """The lines of a body, unpacked as they are asked for."""
    most = limits.rows + 2  # the first are the header and the columns
    begun: list[bytes] = []  # the pieces of a line that has not ended
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
        raise BundleError("the last line breaks off")


def whole(body: bytes, encoding: str, limits: Limits) -> bytes:
    """A body unpacked."""
    return b"".join(_inflated(body, encoding, limits.inflated))


def _inflated(body: bytes, encoding: str, most: int) -> Iterator[bytes]:
    """The body in pieces; TooLarge as soon as there are too many bytes, however few came."""
    openers = {"": _plain, "identity": _plain, "gzip": _gunzip, "zstd": _unzstd}
    opener = openers.get(encoding)
    if opener is None or (encoding == "zstd" and zstd.library() is None):
        raise Unpackable(f"bodies packed as {encoding[:40]!r} are not taken: {', '.join(encodings())} or plain")
    size = 0
    for piece in opener(body):
        size += len(piece)
        if size > most:
            raise TooLarge(f"the body has more than {most} bytes when it is unpacked")
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
        raise BundleError(f"the body cannot be unpacked: {error}") from error
    if not engine.eof or engine.unused_data:
        raise BundleError("the body breaks off in the middle, or something follows it")


def _unzstd(body: bytes) -> Iterator[bytes]:
    library = zstd.library()
    engine = library.ZstdDecompressor(options={library.DecompressionParameter.window_log_max: _WINDOW_LOG})
    try:
        while not engine.eof:
            piece = engine.decompress(body, _PIECE)
            body = b""
            if not piece and engine.needs_input:
                raise BundleError("the body breaks off in the middle")
            yield piece
    except library.ZstdError as error:
        raise BundleError(f"the body cannot be unpacked: {error}") from error
    if engine.unused_data:
        raise BundleError("something follows the body")


_WINDOW_LOG = 23  # 8 MiB are all that zstd may have to remember; a sender can ask for two gigabytes
