"""What a hub does by itself from time to time: removing sessions that were kept long enough, and abandoned uploads."""

from __future__ import annotations

import asyncio
import random
import time

from localops import clock, output
from localops.errors import NotFound
from localops.server import retention, troubles
from localops.server.audit import named
from localops.server.threads import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.policy import Policy
    from localops.server.retention import Place
    from localops.server.threads import Service

# Seconds of removing in one run; what is left waits for the next one, which comes sooner then.
_RUN, _SOONER = 30.0, 60.0
# Seconds between the looks at two projects, at most: each opens a journal, and many at once would be felt.
_PAUSE = 10.0


class Upkeep:
    """The work that a hub does beside its requests, a part of a project at a time."""

    def __init__(self, service: Service, policy: Policy, every: float) -> None:
        self._service, self._policy, self._every = service, policy, every
        # Where the search in a project goes on.
        self._places: dict[str, Place] = {}

    async def work(self) -> None:
        """Run from time to time, until cancelled; the times are random, so that several hubs do not run at once."""
        pause = min(self._every, _SOONER) * random.uniform(0.5, 1.0)  # noqa: S311  no secret
        while True:
            await asyncio.sleep(pause)
            is_done = True
            try:
                is_done = await self._run()
            # Rules that cannot be read must not end it for ever.
            except Exception as error:
                troubles.report("upkeep failed", error, status=500)
            pause = (self._every if is_done else min(self._every, _SOONER)) * random.uniform(0.9, 1.1)  # noqa: S311  no secret

    async def _run(self) -> bool:
        """Work for a while; return whether nothing is left to do."""
        # Without rules that can be read, nothing is removed.
        self._policy.all()
        projects = self._service.store.projects()
        pause = min(_PAUSE, self._every / 2 / max(1, len(projects)))
        left = _RUN
        for project in projects:
            began = time.monotonic()
            try:
                if not await self._tend(project, began + left):
                    return False
            except NotFound:  # removed meanwhile
                pass
            # A damaged journal must not keep the work from the projects after it.
            except Exception as error:
                troubles.report(f"upkeep of project {project} failed", error, status=500)
            left -= time.monotonic() - began
            await asyncio.sleep(pause)
        return True

    async def _tend(self, project: str, until: float) -> bool:
        """Do the work of one project; return whether nothing is left to do."""
        # Not in its turn, as rows would wait meanwhile.
        unused, is_untidy = await self._service.read(self._look, project)
        if is_untidy:
            await self._service.in_turn(project, self._service.store.sweep, project, unused, what=FILES)
        if retention.keeps_for_ever(self._policy.of(project)):
            return True
        while not await self._retire(project):
            if time.monotonic() > until:
                return False
        return True

    def _look(self, project: str) -> tuple[set[str], bool]:
        """Return the files of a project that no row names, and whether anything is to be swept."""
        unused = self._service.store.unused_files(project)
        return unused, bool(unused) or self._service.store.is_untidy(project)

    async def _retire(self, project: str) -> bool:
        """Remove the next part of a project's old sessions; return whether it was the last."""
        service, rules = self._service, self._policy.of(project)
        after = self._places.pop(project, retention.BEGIN)
        part = await service.read(service.store.expired, project, rules, clock.now_ns(), after)
        if part.going:
            taken = await service.in_turn(project, service.store.retire, project, part.going)
            if taken.sessions:
                facts = {"sessions": taken.sessions, "rows": taken.rows, "files": taken.blobs}
                many = ", ".join(output.counted(count, name[:-1]) for name, count in facts.items())
                output.say(f"project {project}: {many} removed, kept for as long as its rules keep them")
                if service.audit is not None:
                    await service.read(
                        service.audit.note, "session.retire", project=project, **facts, ids=named(taken.removed)
                    )
            if taken.failed is not None:
                troubles.report(f"sessions of project {project} cannot be removed", taken.failed, status=500)
                return True
        if part.following is not None:
            self._places[project] = part.following
        return part.following is None
