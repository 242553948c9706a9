"""Who made this process: what a child of multiprocessing can know of the sessions it belongs to.

A forked child has its parent's memory.  One that is spawned, or comes from a fork server, begins anew, so the
session is found by the process: by what its parent said in a journal of the home when it took part.
"""

from __future__ import annotations

import os

from localops import config, host
from localops.journal.reader import Reader
from localops.reading import session_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localops.recording.session import Session

# How the command line of a process that multiprocessing started reads, with and without Python in one file.
_MADE = ("from multiprocessing.", "--multiprocessing-fork")


def parents() -> Iterator[int]:
    """The processes that this one comes from by multiprocessing, nearest first; none in any other process."""
    pid = host.maker()
    while pid is not None:
        yield pid
        pid = host.parent_of(pid) if any(words in host.command_of(pid) for words in _MADE) else None


def sessions(home: str) -> list[tuple[str, bytes]]:
    """The open sessions, with their project folders, of the nearest of these processes that has any."""
    folders = [config.project_folder(home, name) for name in config.projects(home)]
    for pid in parents():
        if found := [(folder, session) for folder in folders for session in _of(folder, pid)]:
            return found
    return []


def _of(folder: str, pid: int) -> list[bytes]:
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            return session_state.sessions_of(reader, folder, pid)
    except Exception:  # an edge: a journal that cannot be read holds no session that we could join
        return []


class Heritage:
    """The session that a child of multiprocessing has from its parent: the one the parent has open, if it is one.

    A pool outlives sessions, so it is looked at again whenever somebody came, left or ended.
    """

    def __init__(self, join: Callable[[str, bytes], Session]) -> None:
        self._join = join
        self._home = ""
        self._seen: object = None
        self.session: Session | None = None
        self.open: list[tuple[str, bytes]] = []  # those of the parent, as they were at the last look

    def look(self, home: str) -> Session | None:
        """The session that is meant now; None when there is none, or more than one."""
        if self._is_news(home):
            self.open = sessions(home)
            if len(self.open) == 1 and (self.session is None or self.open[0][1] != self.session.session_id.bytes):
                if self.session is not None:
                    self.session.forget()
                self.session = self._join(*self.open[0])
        return self.session if len(self.open) <= 1 else None

    def _is_news(self, home: str) -> bool:
        """Whether the parent's sessions may be others than at the last look."""
        if self.session is None or home != self._home:
            self._home, before, self._seen = home, self._seen, _state(home)
            return self._seen != before
        newest, books = self.session.books_since(self._seen if isinstance(self._seen, int) else 0)
        self._seen = newest
        return books


def _state(home: str) -> list[tuple[str, int]]:
    """What is another whenever a journal of the home has been written to."""
    found = []
    for name in config.projects(home):
        path = os.path.join(home, name, config.JOURNAL)
        for file in (path, path + "-wal"):
            try:
                found.append((file, os.stat(file).st_mtime_ns))
            except OSError:
                continue
    return found
