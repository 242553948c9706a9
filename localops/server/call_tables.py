"""The tables of calls that a server queries: one for each project, used by one thread at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic

from localops.errors import LocalopsError
from localops.journal.reader import SQLiteError
from localops.reading.call_search import CallSearch
from localops.reading.call_table import CallTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localops.reading.call_search import Wanted
    from localops.reading.home import Home, Project

# Tables that are kept open, and searches of each whose calls are known.
_KEPT, _SEARCHES = 64, 8
# Seconds that one request spends on a search.
_SECONDS = 0.4


class CallTables:
    """The tables of the projects of a home."""

    def __init__(self, open_project: Callable[[str], Home]) -> None:
        self._open = open_project
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        # Projects whose tables lack many rows: one thread adds them, one project after another.
        self._waiting: dict[str, None] = {}
        self._is_working = False

    @contextmanager
    def of(self, project: Project) -> Iterator[tuple[CallTable, int]]:
        """Lock and yield the table of a project, and how many rows are not in it yet; a thread adds many of them."""
        with self._lock:
            kept = self._kept.setdefault(project.name, _Kept())
            self._kept.move_to_end(project.name)
            spare = self._kept.popitem(last=False)[1] if len(self._kept) > _KEPT else None
        if spare is not None:
            spare.close()
        with kept.lock:
            table = kept.table_of(project)
            missing = table.catch_up(project.reader)
            if missing > 0:
                self._extend(project.name)
            yield table, max(0, missing)

    def matching(self, project: Project, wanted: Wanted) -> tuple[bytes, bool]:
        """Return the numbers of the calls with all words, and whether all rows were searched; lock the table."""
        with self._lock:
            kept = self._kept[project.name]
        search = kept.search(wanted)
        is_whole = search.go_on(project, kept.table_of(project), monotonic() + _SECONDS)
        return search.mask(), is_whole

    def complete(self, name: str, until: float = inf) -> bool:
        """Add all rows of a project to its table; on a full disk, or without the folder, as many as can be.

        It stops when time.monotonic() is `until`, and returns whether no more can be added.
        """
        is_whole = True

        def has_time(_: int) -> bool:
            nonlocal is_whole
            is_whole = monotonic() < until
            return is_whole

        with suppress(SQLiteError, LocalopsError, OSError):
            self._add_rows(name, has_time)
        return is_whole

    def _extend(self, name: str) -> None:
        with self._lock:
            self._waiting[name] = None
            is_idle = not self._is_working
            self._is_working = True
        if is_idle:
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        name = None
        try:
            while (name := self._next_after(name)) is not None:
                # Where some cannot be added, every answer reports how many rows are missing.
                self.complete(name)
        finally:
            # After an unexpected error, the next request starts another thread.
            if name is not None:
                with self._lock:
                    self._waiting.pop(name, None)
                    self._is_working = False

    def _next_after(self, name: str | None) -> str | None:
        """Return the next project that waits, once another is done; None when none is left."""
        with self._lock:
            if name is not None:
                self._waiting.pop(name, None)
            following = next(iter(self._waiting), None)
            self._is_working = following is not None
            return following

    def _add_rows(self, name: str, progress: Callable[[int], object]) -> None:
        with self._open(name) as home:
            project = home.projects[0]
            table = CallTable(project.folder)
            try:
                table.extend(project.reader, progress)
            finally:
                table.close()

    def close(self) -> None:
        """Close all tables."""
        with self._lock:
            kept = list(self._kept.values())
            self._kept.clear()
        for each in kept:
            each.close()


class _Kept:
    """A table that stays open as long as its file is the one at its path."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._table: CallTable | None = None
        self._searches: OrderedDict[Wanted, CallSearch] = OrderedDict()

    def table_of(self, project: Project) -> CallTable:
        if self._table is not None and not self._table.is_current:
            self._table.close()
            self._table = None
        if self._table is None:
            self._table = CallTable(project.folder)
        return self._table

    def search(self, wanted: Wanted) -> CallSearch:
        search = self._searches.get(wanted) or CallSearch(wanted)
        self._searches[wanted] = search
        self._searches.move_to_end(wanted)
        if len(self._searches) > _SEARCHES:
            self._searches.popitem(last=False)
        return search

    def close(self) -> None:
        with self.lock:
            if self._table is not None:
                self._table.close()
                self._table = None
