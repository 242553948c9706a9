"""The tables of calls that a server looks in: one for each project, used by one thread at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager

from localops.errors import LocalopsError
from localops.journal.reader import SQLiteError
from localops.reading.call_table import CallTable
from localops.reading.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.reading.home import Project

# Tables that are kept open.
_KEPT = 64


class CallTables:
    """The tables of the projects of a home."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        # Projects with a thread that adds rows to their table.
        self._extending: set[str] = set()

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

    def _extend(self, name: str) -> None:
        with self._lock:
            is_new = name not in self._extending
            self._extending.add(name)
        if is_new:
            threading.Thread(target=self._work, args=(name,), daemon=True).start()

    def _work(self, name: str) -> None:
        try:
            with Home(self._folder, name) as home:
                project = home.projects[0]
                table = CallTable(project.folder)
                try:
                    table.extend(project.reader)
                finally:
                    table.close()
        # A full disk, or a deleted folder: every answer reports how many rows are missing.
        except (SQLiteError, LocalopsError, OSError):
            pass
        finally:
            with self._lock:
                self._extending.discard(name)

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

    def table_of(self, project: Project) -> CallTable:
        if self._table is not None and not self._table.is_current:
            self._table.close()
            self._table = None
        if self._table is None:
            self._table = CallTable(project.folder)
        return self._table

    def close(self) -> None:
        with self.lock:
            if self._table is not None:
                self._table.close()
                self._table = None
