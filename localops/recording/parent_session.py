"""The parent of this process: what a child of multiprocessing can know of the sessions it belongs to.

A forked child has its parent's memory.  A spawned child, or one of a fork server, starts without it and looks for the
session by process: the parent recorded its process id in a journal of the home when it took part.
"""

from __future__ import annotations

import os

from localops import config, host
from localops.interruption import pass_on
from localops.journal.reader import Reader
from localops.reading import session_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localops.recording.session import Session

# Parts of the command line of a process that multiprocessing started, with and without Python in one file.
_MADE = ("from multiprocessing.", "--multiprocessing-fork")


def parents() -> Iterator[int]:
    """Return the processes that this one comes from by multiprocessing, nearest first; none in any other process."""
    pid = host.maker()
    while pid is not None:
        yield pid
        pid = host.parent_of(pid) if any(words in host.command_of(pid) for words in _MADE) else None


def sessions(home: str) -> list[tuple[str, bytes]]:
    """Return the open sessions, with their project folders, of the nearest parent process that has any."""
    folders = [config.project_folder(home, name) for name in config.projects(home)]
    for pid in parents():
        if open_sessions := [(folder, session) for folder in folders for session in _of(folder, pid)]:
            return open_sessions
    return []


def _of(folder: str, pid: int) -> list[bytes]:
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            return session_state.sessions_of(reader, folder, pid)
    except Exception:
        # An edge: a journal that cannot be read holds no session that we could join.
        return []


class Heritage:
    """The session that a child of multiprocessing has from its parent: the one that the parent has open, if only one.

    A pool outlives sessions, so they are looked up again whenever a process joined, left or ended one.
    """

    def __init__(self, join: Callable[[str, bytes], Session]) -> None:
        self._join = join
        self._home = ""
        self._seen: object = None
        self.session: Session | None = None
        self.open: list[tuple[str, bytes]] = []  # those of the parent, as they were when last looked up

    def look(self, home: str) -> Session | None:
        """Return the parent's open session; None when there is none, or more than one."""
        if self._is_news(home):
            self.open = sessions(home)
            if len(self.open) == 1 and (self.session is None or self.open[0][1] != self.session.session_id.bytes):
                if self.session is not None:
                    self.session.forget()
                self.session = self._join(*self.open[0])
        return self.session if len(self.open) <= 1 else None

    def _is_news(self, home: str) -> bool:
        """Return whether the parent's sessions may have changed since they were last looked up."""
        if self.session is None or home != self._home:
            self._home, before, self._seen = home, self._seen, _state(home)
            return self._seen != before
        newest, books = self.session.books_since(self._seen if isinstance(self._seen, int) else 0)
        self._seen = newest
        return books


def _state(home: str) -> list[tuple[str, int]]:
    """Return a value that changes whenever a journal of the home is written to."""
    times = []
    for name in config.projects(home):
        path = os.path.join(home, name, config.JOURNAL)
        for file in (path, path + "-wal"):
            try:
                times.append((file, os.stat(file).st_mtime_ns))
            except OSError as error:
                pass_on(error)
    return times
