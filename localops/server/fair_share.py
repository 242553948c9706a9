"""Fair shares of read threads and large responses, so that one project cannot block the others.

Requests of a project beyond its share wait in a queue of that project, so that the common queue has few of each.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The project that a request is for; None for a user's own home, where all requests are of one person.
_project: ContextVar[str | None] = ContextVar("project", default=None)


def work_for(project: str | None) -> None:
    """Count what the current request uses from now on as the project's."""
    _project.set(project)


class FairShare:
    """A limited number of uses at a time, of which each project has at most a part."""

    def __init__(self, of_project: int, whole: int | None = None) -> None:
        """Share among projects; `whole`: None if something else limits all of them together."""
        self._of_project = of_project
        self._whole = None if whole is None else asyncio.Semaphore(whole)
        self._shares: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def use(self) -> AsyncIterator[None]:
        """Wait for the project's turn, then for one among all."""
        async with self._own(), self._among_all():
            yield

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[None]:
        project = _project.get()
        if project is None:
            yield
            return
        share, users = self._shares.get(project, (None, 0))
        share = share or asyncio.Semaphore(self._of_project)
        self._shares[project] = (share, users + 1)
        try:
            async with share:
                yield
        finally:
            share, users = self._shares[project]
            # Forgotten when it is not used, as there may be very many projects.
            if users == 1:
                del self._shares[project]
            else:
                self._shares[project] = (share, users - 1)

    @asynccontextmanager
    async def _among_all(self) -> AsyncIterator[None]:
        if self._whole is None:
            yield
            return
        async with self._whole:
            yield
