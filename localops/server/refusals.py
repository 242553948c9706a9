"""Refused rows and requests: counted, and logged with reasons at most once a minute for each project and kind.

The client gets the reasons, but its log is seldom read; the operator finds them here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

from localops import output
from localops.server import logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.server.metrics import Metrics

INVALID, CONFLICT, QUOTA = "invalid", "conflict", "quota"
"""Rows that cannot be read, rows that contradict one that is here, and requests beyond a quota."""

# Seconds between two lines of a project and a kind.
_EVERY = 60.0
# Seconds between two checks for refusals that are not logged yet.
_LOOK = 1.0
# Reasons of one line, and characters of each.
_FEW, _SHORT = 3, 200
_WHAT = {
    INVALID: ("invalid row", "invalid rows"),
    CONFLICT: ("conflicting row", "conflicting rows"),
    QUOTA: ("request beyond a quota", "requests beyond a quota"),
}


@dataclass
class _Unlogged:
    """Refusals since the last line, and the time of that line."""

    at: float | None = None
    many: int = 0
    doors: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)


class Refusals:
    """Counts and logs refusals, from all threads."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._unlogged: dict[tuple[str, str], _Unlogged] = {}

    def note(self, project: str, door: str, kind: str, many: int, reasons: Iterable[str]) -> None:
        """Count refused rows of a request, or for a quota a refused request."""
        if not many:
            return
        self._metrics.refused(project, door, kind, many)
        with self._lock:
            unlogged = self._unlogged.setdefault((project, kind), _Unlogged())
            unlogged.many += many
            unlogged.doors[door] = None
            for reason in reasons:
                if len(unlogged.reasons) >= _FEW:
                    break
                unlogged.reasons[reason[:_SHORT]] = None
        self.write()

    def write(self, *, all_of_them: bool = False) -> None:
        """Write the lines that are due, or all of them, as at the end."""
        now = time.monotonic()
        due = []
        with self._lock:
            for key, unlogged in self._unlogged.items():
                is_due = unlogged.at is None or now - unlogged.at >= _EVERY
                if unlogged.many and (is_due or all_of_them):
                    due.append((key, unlogged))
                    self._unlogged[key] = _Unlogged(now)
        for (project, kind), unlogged in due:
            what = output.counted(unlogged.many, *_WHAT[kind])
            doors, reasons = ", ".join(unlogged.doors), list(unlogged.reasons)
            logs.notice(
                "refused",
                f"project {project}: {what} refused ({doors}): {'; '.join(reasons)}",
                level="warning",
                project=project,
                door=doors,
                kind=kind,
                count=unlogged.many,
            )

    async def work(self) -> None:
        """Write lines when they are due, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            self.write()
