"""What a hub's keys and projects were used for: when each key was last used, and what each project has sent today.

It is kept in memory and written to a file at most once a minute, so that it survives a restart, to the minute; what
counts against a quota of the day is written with each batch, so that a killed hub does not forget it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from localops import clock, host
from localops.encoding import encode
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "usage.json"
# Seconds between two writes of the file.
_EVERY = 60.0


class Usage:
    """The use of a hub; only the process that serves the folder writes it."""

    def __init__(self, folder: str, *, every: float = _EVERY) -> None:
        self._path = os.path.join(folder, NAME)
        self._every = every
        self._lock = threading.Lock()
        # Of the file; requests do not wait for it to count.
        self._saving = threading.Lock()
        self._used = load(folder)
        # Of each project: the day, and the rows and bytes that were stored on it.
        self._days = load_days(folder)
        self._changed = False
        self._written: float | None = None

    def mark(self, sha256: str) -> bool:
        """Note that a key is used now; return whether the file should be written."""
        with self._lock:
            self._used[sha256] = clock.now_ns()
            self._changed = True
            now = time.monotonic()
            if self._written is not None and now - self._written < self._every:
                return False
            self._written = now
            return True

    def count(self, project: str, rows: int, size: int) -> None:
        """Count what a project has stored now."""
        today = _day()
        with self._lock:
            day, stored, before = self._days.get(project, (today, 0, 0))
            if day != today:
                stored = before = 0
            self._days[project] = (today, stored + rows, before + size)
            self._changed = True

    def today(self, project: str) -> tuple[int, int]:
        """Return the rows and bytes that a project has stored today."""
        day, rows, size = self._days.get(project, ("", 0, 0))
        return (rows, size) if day == _day() else (0, 0)

    def save(self) -> None:
        """Write the file, if anything has changed; do without it on a full disk."""
        with self._saving:
            self._save()

    def _save(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            facts: dict[str, Any] = {
                "keys": {name: events.iso(at) for name, at in self._used.items()},
                "days": {
                    project: {"day": day, "rows": rows, "bytes": size}
                    for project, (day, rows, size) in self._days.items()
                },
            }
        temporary = f"{self._path}.{os.getpid()}"
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as file:
                host.keep_owner(handle, os.path.dirname(self._path))
                file.write(encode.dumps(facts))
            os.replace(temporary, self._path)
        except OSError:
            # No request may fail for it: what was counted is still known here.
            self._changed = True
            with suppress(OSError):
                os.unlink(temporary)


def load(folder: str) -> dict[str, int]:
    """Return when each key was last used, by its digest; nothing if that was not kept or cannot be read."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            kept = encode.loads(file.read())["keys"]
        times = {str(name): events.to_ns(at) for name, at in kept.items()}
        return {name: at for name, at in times.items() if at is not None}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def load_days(folder: str) -> dict[str, tuple[str, int, int]]:
    """Return of each project the day on which it last stored anything, and the rows and bytes of that day."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            kept = encode.loads(file.read())["days"]
        return {
            str(project): (str(facts["day"]), int(facts["rows"]), int(facts["bytes"]))
            for project, facts in kept.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _day() -> str:
    """Return the UTC day of now."""
    return events.iso(clock.now_ns())[:10]
