"""Receive bodies of requests of foreign clients, which do not always give their length."""

from __future__ import annotations

from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import cast

from localops.server import request_body
from localops.server.http_errors import CLOSE
from localops.server.request import HttpError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import IO

    from starlette.requests import Request

    from localops.server.limits import Shares
    from localops.server.threads import Service

# Bytes of a body that are kept in memory when other bodies fill it; the rest goes to a file.
_IN_MEMORY = 64 << 10


@asynccontextmanager
async def received(request: Request, service: Service, shares: Shares) -> AsyncIterator[IO[bytes]]:
    """Read the whole body, and yield it; until it is read, one without a length counts as the largest allowed."""
    most = service.limits.body
    length = request.headers.get("content-length", "")
    is_known = length.isascii() and length.isdigit() and "transfer-encoding" not in request.headers
    size = int(length[:18]) if is_known else most
    if size > most:
        await request_body.discard(request.stream(), 8 * most)
        raise _too_large(most)
    with shares.body(size) as fits, SpooledTemporaryFile(size if fits else _IN_MEMORY) as file:
        room = most

        def keep(piece: bytes) -> None:
            nonlocal room
            room -= len(piece)
            if room < 0:
                raise _too_large(most)
            file.write(piece)

        try:
            await request_body.read(request.stream(), keep, service.limits)
        except OSError as error:
            service.note_refusal()
            raise Unavailable("no room for the body of the request", error) from error
        except HttpError:
            await request_body.discard(request.stream(), 8 * most)
            raise
        file.seek(0)
        yield cast("IO[bytes]", file)


def encoding_of(request: Request) -> str:
    """Return how the body is compressed."""
    return request.headers.get("content-encoding", "").strip().lower()


def _too_large(most: int) -> HttpError:
    return HttpError(413, f"the body is too large: at most {most} bytes", headers=CLOSE)
