"""Quotas: how much each project has stored, checked before more is stored.

The total is measured at most once a minute, and counted in between, so a project can exceed a quota by
what arrives at that moment.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from localops import clock, output
from localops.server.policy import UnreadableRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from localops.server.policy import Policy, Rules
    from localops.server.usage import Usage

# Seconds between two measurements of a project; fewer for one that is full, as sessions may have been deleted.
_FRESH, _FRESH_WHEN_FULL = 60.0, 5.0
_DAY_NS = 86_400_000_000_000


class OverQuota(Exception):
    """A project has used up a quota: that of the day, until `after` seconds from now, or that of the total."""

    def __init__(self, message: str, which: str, after: float | None = None) -> None:
        super().__init__(message)
        self.which = which
        self.after = after


@dataclass
class _Stored:
    """Rows and bytes of a project, and when they were measured."""

    rows: int
    bytes: int
    at: float


class Quotas:
    """The quotas of all projects, and how much of them is used."""

    def __init__(self, policy: Policy, usage: Usage, measure: Callable[[str], tuple[int, int]]) -> None:
        self._policy, self._usage, self._measure = policy, usage, measure
        self._stored: dict[str, _Stored] = {}
        self._lock = threading.Lock()

    def rules(self, project: str) -> Rules:
        """Return the rules of a project."""
        return self._policy.of(project)

    def is_stale(self, project: str, rules: Rules) -> bool:
        """Return whether `measure` must be called before `check`."""
        if not rules.limits_total:
            return False
        with self._lock:
            stored = self._stored.get(project)
            fresh = _FRESH_WHEN_FULL if stored is not None and _full(stored, rules) is not None else _FRESH
            if stored is None:
                return True
            if time.monotonic() - stored.at < fresh:
                return False
            # One request measures; concurrent ones use the old figures.
            stored.at = time.monotonic()
            return True

    def measure(self, project: str) -> None:
        """Measure what a project has stored; slow."""
        rows, size = self._measure(project)
        with self._lock:
            self._stored[project] = _Stored(rows, size, time.monotonic())

    def count(self, project: str, rows: int, size: int) -> None:
        """Count what was stored now."""
        self._usage.count(project, rows, size)
        if self._limits_days(project):
            self._usage.save()
        with self._lock:
            if (stored := self._stored.get(project)) is not None:
                stored.rows += rows
                stored.bytes += size

    def _limits_days(self, project: str) -> bool:
        """Return whether a project has a quota of the day; False if the rules cannot be read now."""
        try:
            rules = self.rules(project)
        except UnreadableRules:
            # The batch is stored already; the next request is refused.
            return False
        return rules.rows_per_day is not None or rules.bytes_per_day is not None

    def check(self, project: str, rules: Rules) -> None:
        """Raise OverQuota if a project may not store anything now."""
        if rules.limits_total and (stored := self._stored.get(project)) is not None:
            which = _full(stored, rules)
            if which is not None:
                raise OverQuota(f"project {project} has all that it may store: {_amount(which, rules)}", which)
        used = {"rows_per_day": rules.rows_per_day, "bytes_per_day": rules.bytes_per_day}
        if not any(used.values()):
            return
        rows, size = self._usage.today(project)
        for which, most, now in (
            ("rows_per_day", rules.rows_per_day, rows),
            ("bytes_per_day", rules.bytes_per_day, size),
        ):
            if most is not None and now >= most:
                left = (_DAY_NS - clock.now_ns() % _DAY_NS) / 1e9
                what = _amount(which, rules)
                raise OverQuota(f"project {project} has stored its {what} of today; go on at 00:00 UTC", which, left)


def _full(stored: _Stored, rules: Rules) -> str | None:
    if rules.rows is not None and stored.rows >= rules.rows:
        return "rows"
    return "bytes" if rules.bytes is not None and stored.bytes >= rules.bytes else None


def _amount(which: str, rules: Rules) -> str:
    return output.counted(getattr(rules, which), which.partition("_")[0].removesuffix("s"))
