"""A store, asked from threads so that nobody waits for anybody else, and what it says as JSON."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from starlette.responses import Response

from localops.encoding import encode
from localops.server.request import Unavailable
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from localops.server.keys import Keys
    from localops.server.limits import Limits
    from localops.server.store import Store

    T = TypeVar("T")

_READ_THREADS, _WRITE_THREADS = 8, 4
_REFUSED = 900.0  # seconds that a refusal for want of room is reported, unless something is stored
_LARGE_AT_ONCE = 2  # answers that are in memory whole while they are made


class Service:
    """The one behind all endpoints."""

    def __init__(self, store: Store, keys: Keys | None, limits: Limits, root: str = "") -> None:
        self.store, self.keys, self.limits = store, keys, limits
        self.root = root  # the path of a proxy below which the server is, which every address that is given out needs
        self.large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._readers = ThreadPoolExecutor(_READ_THREADS, "read")
        self._writers = ThreadPoolExecutor(_WRITE_THREADS, "write")
        self._turns: dict[str, asyncio.Lock] = {}
        self._refused: dict[str, float] = {}  # when nothing could be stored last, for each project; "": bodies

    async def read(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask the store, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: work(*arguments, **options))

    async def write(self, project: str, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Run `work` in a thread; one at a time for a project, so that nobody waits in a thread for the journal."""
        loop = asyncio.get_running_loop()
        async with self._turns.setdefault(project, asyncio.Lock()):
            try:
                result = await loop.run_in_executor(self._writers, lambda: work(*arguments, **options))
            except Unavailable:
                self.note_refusal(project)
                raise
        for healed in (project, ""):
            self._refused.pop(healed, None)
        return result

    def note_refusal(self, project: str = "") -> None:
        """Remember that something could not be stored: a small file may fit where a batch does not."""
        self._refused[project] = time.monotonic()

    def refused_lately(self) -> bool:
        """Return whether something could not be stored within the last minutes, and nothing was stored since."""
        return any(time.monotonic() - when < _REFUSED for when in list(self._refused.values()))

    def soon(self, work: Callable[..., object], *arguments: Any) -> None:
        """Let a thread do something that nobody waits for; what goes wrong is said when somebody asks for it."""
        self._readers.submit(work, *arguments)

    def answer(
        self, told: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """An answer of ours: it says which hub it is from."""
        signed = {"localops": bundle.WIRE, **({"hub": self.keys.hub} if self.keys else {})}
        return json({**signed, **told}, status, headers)

    def close(self) -> None:
        """Finish what runs, begin nothing more, and let go of the store."""
        self._readers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)
        self.store.close()


def json(told: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Facts as JSON that nobody keeps a copy of."""
    return Response(encode.dumps(told), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")
