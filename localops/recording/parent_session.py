"""Find the session of the parent process, in a child that multiprocessing started.

A forked child has its parent's memory.  A spawned child, or one of a fork server, has not: it looks in the journals of
the home for an open session in which the parent's process id is recorded.
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

# Found in the command line of a process that multiprocessing started, by Python or by a frozen program.
_COMMAND_PARTS = ("from multiprocessing.", "--multiprocessing-fork")


def parents() -> Iterator[int]:
    """Yield the processes above this one, nearest first, as far as multiprocessing started each of them."""
    pid = host.maker()
    while pid is not None:
        yield pid
        pid = host.parent_of(pid) if any(words in host.command_of(pid) for words in _COMMAND_PARTS) else None


def sessions(home: str) -> list[tuple[str, bytes]]:
    """Return the open sessions, with their project folders, of the nearest parent process that has any."""
    folders = [config.project_folder(home, name) for name in config.projects(home)]
    for pid in parents():
        if open_sessions := [(folder, session) for folder in folders for session in _open_sessions_of(folder, pid)]:
            return open_sessions
    return []


def _open_sessions_of(folder: str, pid: int) -> list[bytes]:
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            return session_state.sessions_of(reader, folder, pid)
    except Exception:
        # The edge: we cannot join a session of a journal that cannot be read.
        return []


class ParentSession:
    """The session that a child of multiprocessing shares with its parent, if the parent has exactly one open.

    The children of a pool live longer than a session, so it is looked up again whenever a process has joined, left or
    ended one.
    """

    def __init__(self, join: Callable[[str, bytes], Session]) -> None:
        self._join = join
        self._home = ""
        self._seen: object = None
        self.session: Session | None = None
        self.open: list[tuple[str, bytes]] = []  # the parent's open sessions, when last looked up

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
