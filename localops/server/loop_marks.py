"""The marks of sessions with loops, for lists: cached for each session until it has new rows."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from localops.reading import facts, waste, waste_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from localops.reading.facts import Facts
    from localops.reading.home import Home, Project

# Sessions whose marks are kept.
_KEPT = 10_000
# Seconds after which one request checks no further session.
_SECONDS = 0.5


class LoopMarks:
    """Computes the marks of sessions, and remembers them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By project and session: the last seq that is in it, the names of polling tools, and the mark.
        self._known: OrderedDict[tuple[str, bytes], tuple[tuple[object, ...], Facts]] = OrderedDict()

    def of(self, home: Home, sessions: Iterable[bytes], polling: Collection[str]) -> Facts:
        """Return the marks of sessions that have loops, and the sessions that the time limit left unchecked."""
        stop = time.monotonic() + _SECONDS
        marks: dict[str, Facts] = {}
        missing: list[str] = []
        for session in sessions:
            for project in home.projects:
                mark = self._mark(project, session, polling, may_look=time.monotonic() < stop)
                if mark is None:
                    missing.append(facts.full_id(session))
                elif mark:
                    marks[facts.full_id(session)] = mark
        return {"marks": marks, "missing": missing}

    def _mark(self, project: Project, session: bytes, polling: Collection[str], *, may_look: bool) -> Facts | None:
        """Return the mark of a session, empty without loops; None if it is not cached and may not be computed."""
        seen = project.snapshot(session)
        if seen.totals.tools < 1:
            return {}
        key, state = (project.name, session), (seen.totals.last_seq, *sorted(polling))
        with self._lock:
            known = self._known.get(key)
        if known is not None and known[0] == state:
            return known[1]
        if not may_look:
            return None
        document = waste.of(project.name, seen, project.reader, polling=polling)
        mark: Facts = {}
        if document["loops_count"]:
            mark = {"loops": document["alarming"], "headline": waste_page.headline(document)}
        with self._lock:
            self._known[key] = (state, mark)
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return mark
