"""How much a hub holds, looked at in a thread of its own and only when asked: a scrape must not hold up rows.

A project is read again only if its journal has changed since, so a hub without senders or scrapes does nothing.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field

from localops import config
from localops.errors import LocalopsError
from localops.server.troubles import sight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from localops.encoding.openmetrics import Family
    from localops.server.senders import Sender
    from localops.server.store import Store

# Seconds after which what is known is read again, at the next scrape.
_FRESH = 15.0
# Seconds for which senders are looked at after somebody has asked for them.
_WANTED = 600.0


@dataclass
class Held:
    """What a project holds."""

    sessions: int = 0
    rows: int = 0
    size: int = 0  # bytes of its journal
    senders: list[Sender] = field(default_factory=list)
    # What the journal's files looked like, and whether its senders were read then.
    seen: tuple[object, ...] = ()
    has_senders: bool = False


class Survey:
    """What is known of all projects, and when it was last brought up to date."""

    def __init__(self, store: Store, folder: str, also: Callable[[], object]) -> None:
        """Keep the figures of a store in `folder`; `also` is called in the same thread each time."""
        self._store, self._folder, self._also = store, folder, also
        self._lock = threading.Lock()
        self._running = False
        self._closed = False
        self._looked = 0.0
        self._senders_wanted = 0.0
        self._held: dict[str, Held] = {}
        # Whether every project has been looked at.
        self.is_whole = False
        # The metrics of what keeps the rows.
        self.beneath: list[Family] = []

    def held(self) -> dict[str, Held]:
        """Return what is known, and look again in a thread if that is some time ago."""
        self.refresh()
        return dict(self._held)

    def want_senders(self) -> None:
        """Look at senders as well from now on, for a while."""
        now = time.monotonic()
        if now - self._senders_wanted > _WANTED:
            # At the next refresh, not after what is known has become old.
            self._looked = 0.0
        self._senders_wanted = now

    def refresh(self) -> None:
        """Look again in a thread, unless that happens already or happened just now."""
        with self._lock:
            is_fresh = self._looked and time.monotonic() - self._looked < _FRESH
            if self._running or self._closed or is_fresh:
                return
            self._running = True
        threading.Thread(target=self._look, name="survey", daemon=True).start()

    def close(self) -> None:
        """Start no further look, and end a running one soon."""
        self._closed = True

    def _look(self) -> None:
        wanted = self._wants_senders()
        try:
            self._also()
            self.beneath = self._store.beneath()
            names = self._store.projects()
            for name in names:
                if self._closed:
                    return
                # Unreadable, or removed meanwhile: what was known is not true any more.
                try:
                    self._held[name] = self._look_at(name, wanted=wanted)
                except (LocalopsError, OSError):
                    self._held.pop(name, None)
            for gone in set(self._held).difference(names):
                self._held.pop(gone, None)
            self.is_whole = True
        finally:
            with self._lock:
                self._running = False
                # Again at once if senders were asked for meanwhile.
                self._looked = time.monotonic() if wanted == self._wants_senders() else 0.0

    def _wants_senders(self) -> bool:
        return bool(self._senders_wanted) and time.monotonic() - self._senders_wanted < _WANTED

    def _look_at(self, name: str, *, wanted: bool) -> Held:
        known = self._held.get(name, Held())
        path = os.path.join(config.project_folder(self._folder, name), config.JOURNAL)
        size, seen = sight(path)
        if seen == known.seen and (known.has_senders or not wanted):
            return known
        sessions, rows = self._store.sums(name)
        senders = self._store.senders(name) if wanted else known.senders
        return Held(sessions, rows, size, senders, seen, wanted)
