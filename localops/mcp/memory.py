"""The homes that tools read: opened when a tool is called, and their indexes, which a thread keeps up to date."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from localops.errors import LocalopsError, NotFound
from localops.journal.reader import Reader, SQLiteError
from localops.reading.calls import CallIndex
from localops.reading.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.reading.home import Project

_FRESH = 2.0  # seconds after which projects are opened again, which also finds new ones and dead sessions
_PATIENCE = 5.0  # seconds for the thread to end


class Memory:
    """A home, or one project of it, for one tool call at a time."""

    def __init__(self, folder: str, project: str | None) -> None:
        self.folder = folder
        self.project = project
        self._lock = threading.Lock()
        self._home: Home | None = None
        self._since = 0.0
        self._calls: dict[str, CallIndex] = {}
        self._stopping = threading.Event()
        self._indexer = threading.Thread(target=self._index, name="localops-index", daemon=True)

    def start(self) -> None:
        """Bring the indexes up to date, beside the calls of tools."""
        self._indexer.start()

    def close(self) -> None:
        """Close the files."""
        self._stopping.set()
        if self._indexer.ident is not None:
            self._indexer.join(_PATIENCE)
        with self._lock:
            self._close_home()

    @contextmanager
    def home(self, project: str | None = None) -> Iterator[Home]:
        """Yield the home, or one project of it.

        A server for one project has no other; NotFound lists the existing ones.
        """
        if project is not None and self.project is not None and project != self.project:
            raise NotFound(f"no project {project!r} here: this server reads {self.project!r} alone")
        with self._lock:
            if self._home is None or time.monotonic() - self._since > _FRESH:
                self._close_home()
                self._home = Home(self.folder, self.project, strict=False)
                self._since = time.monotonic()
            try:
                yield self._home if project is None else _Only(self._home, project)
            except SQLiteError:  # of a journal that was replaced, perhaps
                self._close_home()
                raise

    def calls(self, project: Project) -> CallIndex:
        """Return the index of a project's tool calls; only while its home is open."""
        index = self._calls.get(project.name)
        if index is None:
            index = self._calls[project.name] = CallIndex(project.folder, project.reader)
        return index

    def _close_home(self) -> None:
        for index in self._calls.values():
            index.close()
        self._calls.clear()
        if self._home is not None:
            self._home.close()
            self._home = None

    def _index(self) -> None:
        """Index existing rows when the server starts, in small steps; at each call, few are new."""
        try:
            with Home(self.folder, self.project, strict=False) as home:
                for project in home.projects:
                    self._extend(project)
        # A full disk, or a deleted folder: every answer says how many rows it did not see.
        except (SQLiteError, LocalopsError, OSError):
            pass

    def _extend(self, project: Project) -> None:
        with Reader(project.path) as reader:
            index = CallIndex(project.folder, reader)
            try:
                while not self._stopping.is_set() and index.extend_once():
                    pass
            finally:
                index.close()
        words = project.index()
        while not self._stopping.is_set() and words.extend_once():
            pass


class _Only(Home):
    """One project of an open home, which stays open."""

    def __init__(self, home: Home, project: str) -> None:
        self.folder, self.unreadable, self.waiting = home.folder, home.unreadable, home.waiting
        self.projects = [one for one in home.projects if one.name == project]
        if project in home.unreadable:
            raise home.unreadable[project]
        if not self.projects:
            names = ", ".join(one.name for one in home.projects) or "none yet"
            raise NotFound(f"no project {project!r} here; there is: {names}")
