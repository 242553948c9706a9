"""Progress messages of long searches: the pattern that takes long, or how far the search is."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager

from localops import output
from localops.upkeep import slow_patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY = 3.0  # seconds
_FAR = 10  # times that: the interval of messages of a search without a bar


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Print on stderr, during a search, which pattern takes long."""
    # Python runs signal handlers only in the main thread, also while a pattern is matched.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    report = _Report(what)
    before = signal.signal(signal.SIGALRM, lambda *_: report.tick())
    signal.setitimer(signal.ITIMER_REAL, _EVERY, _EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


class _Report:
    def __init__(self, what: str) -> None:
        self._what = what
        self._ticks = 0
        self._seen = (slow_patterns.now.texts, "")
        self._said = -1  # the text for which the pattern was named

    def tick(self) -> None:
        self._ticks += 1
        at_work = slow_patterns.now
        if at_work.pattern is not None and self._seen[0] == at_work.texts != self._said:
            self._said = at_work.texts
            output.say(
                f"the pattern {at_work.pattern!r} does not come to an end with {at_work.place}: Ctrl-C stops; then "
                "correct it in config.toml (`redact`), see `localops help privacy`"
            )
        elif self._ticks % _FAR == 0 and not sys.stderr.isatty():
            output.say(f"{self._what} is still running: at {at_work.place}")
        self._seen = (at_work.texts, at_work.place)
