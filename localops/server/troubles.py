"""What is wrong with a hub, for whoever looks after it: a line on stderr, and what `/health` answers."""

from __future__ import annotations

import os
import threading
import time

from localops import clock, output
from localops.recording import events
from localops.server.keys import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.keys import Keys

_AGAIN = 60.0  # seconds between two lines about trouble of one kind
_FRESH = 5.0  # seconds that what was looked at stays known: nobody needs a key to ask
_PROBE = 64 << 10  # bytes that are written to see whether there is room
_lock = threading.Lock()
_last: dict[str, tuple[float, int]] = {}  # when there was a line about that, and how often it has happened since


def report(kind: str, why: object) -> None:
    """Print a line about trouble, once a minute for each kind; kinds are few, and made by us."""
    with _lock:
        printed, since = _last.get(kind, (0.0, 0))
        now = time.monotonic()
        if printed and now - printed < _AGAIN:
            _last[kind] = (printed, since + 1)
            return
        _last[kind] = (now, 0)
    more = f" ({since} times more since the last line about it)" if since else ""
    output.say(f"{events.iso(clock.now_ns())} 503: {kind}: {why}{more}")


class Health:
    """Whether a hub can do its work: there is room on the disk, and its keys can be read."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._looked = 0.0
        self._problems: list[str] = []

    def problems(self) -> list[str]:
        """What is wrong, in words that name no path."""
        with self._lock:
            if not self._looked or time.monotonic() - self._looked > _FRESH:
                self._problems = [*self._of_keys(), *self._of_disk()]
                self._looked = time.monotonic()
            return self._problems

    def _of_keys(self) -> list[str]:
        try:
            self._keys.all()
        except Unreadable as error:
            report("the keys of the hub cannot be read just now", error)
            return ["the keys cannot be read"]
        return []

    def _of_disk(self) -> list[str]:
        path = os.path.join(self._keys.folder, f".health-{os.getpid()}")
        try:
            handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if os.write(handle, bytes(_PROBE)) != _PROBE:
                    raise OSError("the disk is full")
                os.fsync(handle)
            finally:
                os.close(handle)
                os.unlink(path)
        except OSError as error:
            report("nothing can be stored here just now", error)
            return ["nothing can be stored: the disk is full, or the data folder cannot be written"]
        return []
