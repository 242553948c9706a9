"""The complete body of a request for a handler: within its limits, in memory or in a file."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import cast

from localops.encoding import encode
from localops.server import request_body
from localops.server.http_errors import CLOSE
from localops.server.request import HttpError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import IO, Any

    from starlette.requests import Request

    from localops.server.limits import Shares
    from localops.server.threads import Service

# Bytes of a body that stay in memory when other bodies use it up; the rest goes to a file.
_IN_MEMORY = 64 << 10
# Bytes of JSON that are parsed in about a millisecond.
_QUICK = 256 << 10


class Bodies:
    """Reads bodies; all of them together use a limited part of the memory."""

    def __init__(self, service: Service, shares: Shares) -> None:
        self._shares, self._limits, self._note_refusal = shares, service.limits, service.note_refusal
        self._run = service.read

    @asynccontextmanager
    async def read(self, request: Request, most: int) -> AsyncIterator[IO[bytes]]:
        """Read the whole body, and yield it: in memory, or in a file if other bodies fill the memory."""
        length = request.headers.get("content-length", "")
        # Transfer-Encoding would override Content-Length, and the size would be unknown.
        if not (length.isascii() and length.isdigit()) or "transfer-encoding" in request.headers:
            raise HttpError(411, "missing Content-Length: send the length of the body", headers=CLOSE)
        size = int(length[:18])
        if size > most:
            await request_body.discard(request.stream(), 8 * self._limits.body)
            raise HttpError(413, f"the body is too large: {size} bytes, at most {most}", headers=CLOSE)
        with self._shares.body(size) as fits, SpooledTemporaryFile(size if fits else _IN_MEMORY) as file:
            try:
                await request_body.read(request.stream(), file.write, self._limits)
            except OSError as error:
                self._note_refusal()
                raise Unavailable("no room for the body of the request", error) from error
            file.seek(0)
            yield cast("IO[bytes]", file)

    async def document(
        self, request: Request, most: int, inflated: int, loads: Callable[[bytes], Any] = encode.loads
    ) -> Any:
        """Return the JSON of a body of limited size, compressed or not."""
        limits, packed_as = replace(self._limits, inflated=inflated), encoding(request)

        def parsed(data: bytes) -> Any:
            try:
                return loads(request_body.whole(data, packed_as, limits))
            except ValueError as error:
                raise HttpError(400, f"invalid body: expected JSON, got {error}") from error

        async with self.read(request, most) as body:
            data = body.read()
            # In a thread: parsing a large body takes as long as many other requests.
            is_large = len(data) > _QUICK or (packed_as not in ("", "identity") and inflated > _QUICK)
            return await self._run(parsed, data) if is_large else parsed(data)


def encoding(request: Request) -> str:
    """Return the Content-Encoding of a request."""
    return request.headers.get("content-encoding", "").strip().lower()
