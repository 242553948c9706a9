"""Move the rows of a hub between its data folder and ClickHouse, while the hub serves and senders send.

In both directions the folder's journals keep every row, with its seq, until the last step, for which the hub has to be
stopped: it marks the folder as a cache, or as a home again.  A move that was killed continues when it is run again.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

from localops import config
from localops.errors import ConfigError, JournalError, LocalopsError
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.sql import statements
from localops.reading import indexes, mirrored
from localops.server import presence
from localops.server.clickhouse import archive, comparing, lease, mirror, outbox
from localops.server.clickhouse.engine import address
from localops.server.clickhouse.outbox import Outbox
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.request import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.server.clickhouse.archive import Archive
    from localops.server.clickhouse.comparing import Compared
    from localops.server.clickhouse.engine import Engine
    from localops.server.clickhouse.mirror import Mirror

    Execute = Callable[..., Any]
    # Called with a project, how much of it is done, and its total.
    Progress = Callable[[str, int, int], object]

# Sessions with this many rows together are brought back at a time; a larger one alone.
_ROWS = 20_000
_COUNT_COLD = "select count(*) from cold"
_HAS_COLD = "select exists (select 1 from sqlite_schema where name = 'cold')"
_MARK = "select value from meta where key = 'mirror'"


@dataclass
class Moved:
    """The result of a move."""

    # Whether the move is complete; if not, a hub serves the folder, and has to be stopped for the last step.
    is_done: bool = False
    projects: list[Compared] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether both sides are equal."""
        return not any(each.differing or each.notes for each in self.projects)


class _Mover(ClickHouseStore):
    """The store of a hub whose rows are being moved."""

    def __init__(self, folder: str, engine: Engine, progress: Progress, *, sends: bool) -> None:
        # Without a bound, so that nothing is evicted.
        super().__init__(folder, engine, bound=sys.maxsize)
        self._progress = progress
        self._sends = sends
        self._is_closed = False
        # No background thread: both sides are compared, and what it was writing would be missing on one of them.
        self._stop.set()

    def close(self) -> None:
        """Write the last states and close all files; once, as a second time would make the folder a cache again."""
        if not self._is_closed:
            self._is_closed = True
            super().close()

    def _new_outbox(self, mirror: Mirror, rows: Archive) -> Outbox:
        if not self._sends:
            return super()._new_outbox(mirror, rows)
        project = rows.project
        return Outbox(mirror, rows, moving=lambda newest, sent: self._progress(project, sent, newest))

    def begin(self) -> None:
        """Create the tables; raise InUse if a hub with another folder writes to the database."""
        self.make_tables()
        own = lease.Lease(self.engine, self.folder, self.make_tables)
        if not self._sends:
            # A hub that serves this folder may have the lease.
            lease.require_no_other(own)
            self.turns_of_others = own.turns_of_others
            return
        self.lease = own
        holder = own.take()
        if holder is not None:
            lease.refuse(own, holder)
        others = set(archive.projects(self.engine)).difference(config.projects(self.folder))
        if others:
            names = ", ".join(sorted(others)[:5])
            raise ConfigError(
                f"{self.engine.address} has rows of projects that {self.folder} has not ({names}): it is the database "
                "of another hub; give another one"
            )

    def send(self, project: str) -> None:
        """Send what ClickHouse lacks of a project: rows, states of sessions and notes."""
        with self._journal(project) as journal:
            # A commit sends what was added, replaced or deleted since the journal was opened.
            journal.transact(lambda execute: execute("select 1"))
        self.write_behind(project)

    def fill(self, project: str) -> None:
        """Bring back every row of a project."""
        self.send(project)
        kept = self._outbox(project).mirror
        while True:
            with self._journal(project) as journal:
                some = kept.cold(journal, _ROWS)
            if not some:
                return
            fetched = kept.fetched(some)
            with self._journal(project) as journal:
                kept.put_back(journal, fetched)
            with Reader(journal.path) as reader:
                [(left,)] = reader.ask(_COUNT_COLD)
                [(sessions,)] = reader.ask("select count(*) from total")
            self._progress(project, sessions - left, sessions)

    def secure(self, project: str) -> None:
        """Sync the journal of a project to disk, of which every row must be here."""
        with self._journal(project) as journal:
            with Reader(journal.path) as reader:
                lost = reader.ask(statements("hub.sql")["lost"])
                [(cold,)] = reader.ask(_COUNT_COLD)
            if lost or cold:
                raise JournalError(
                    f"{len(lost)} rows of project {project} are neither here nor in ClickHouse: `localops hub check` "
                    "names them, and `localops sync --verify` on the machines sends them again"
                )
            keeper, journal.keeper = journal.keeper, None
            try:
                journal.secure()
            finally:
                journal.keeper = keeper

    def compare_sides(self, project: str, *, whole: bool, is_served: bool) -> Compared:
        """Compare both sides of a project."""

        def refresh() -> None:
            if self._sends:
                self.send(project)
            else:
                self.fill(project)

        with self._journal(project) as journal:
            pass
        return comparing.compare(
            project,
            journal.path,
            self._outbox(project).archive,
            lambda work: self._read_states(project, work),
            refresh,
            whole=whole,
            is_served=is_served,
        )

    def _read_states(self, project: str, work: Callable[[Execute], None]) -> None:
        with self._journal(project) as journal:
            journal.transact(work)


def to_clickhouse(folder: str, url: str, engine: Engine, progress: Progress, *, whole: bool) -> Moved:
    """Move the rows of a hub's folder to ClickHouse; with `whole`, compare the contents of all rows afterwards.

    While a hub serves the folder, do everything except the last step.
    """
    known = mirrored.store_of(folder)
    if known is not None:
        raise ConfigError(
            f"{folder} is the cache of {known} already: serve it with --store; `localops hub check --data {folder}` "
            "compares it with the rows there"
        )
    with presence.moving(folder):
        return _in_steps(
            folder,
            _Mover(folder, engine, progress, sends=True),
            lambda _: config.projects(folder),
            lambda: mirrored.note(folder, url),
            whole=whole,
        )


def to_home(folder: str, url: str, engine: Engine, progress: Progress, *, whole: bool) -> Moved:
    """Move the rows of a hub from ClickHouse to its folder, or to one without journals."""
    with presence.moving(folder):
        if not _is_cache(folder, url, engine):
            with presence.absent(folder, "run this again"):
                _leave(folder)
            return Moved(is_done=True)

        def finish() -> None:
            for project in config.projects(folder):
                mover.secure(project)
            mover.close()
            # First, as all rows are here: remains of the cache are harmless, and the next run removes them.
            mirrored.forget(folder)
            _leave(folder)

        mover = _Mover(folder, engine, progress, sends=False)
        return _in_steps(folder, mover, ClickHouseStore.projects, finish, whole=whole)


def _in_steps(
    folder: str,
    mover: _Mover,
    projects: Callable[[_Mover], list[str]],
    finish: Callable[[], None],
    *,
    whole: bool,
) -> Moved:
    """Move every project, then again while no hub serves; compare, and finish if both sides are equal."""
    try:
        mover.begin()
        work = mover.send if mover._sends else mover.fill
        for project in projects(mover):
            work(project)
        moved = Moved()
        try:
            with presence.absent(folder, "run this again"):
                for project in projects(mover):
                    work(project)
                    moved.projects.append(mover.compare_sides(project, whole=whole, is_served=False))
                if moved.is_good:
                    finish()
                    moved.is_done = True
        except presence.Served:
            if whole:
                names = projects(mover)
                moved.projects = [mover.compare_sides(project, whole=True, is_served=True) for project in names]
        return moved
    except Unavailable as error:
        # Clients do not get to see the reason, but a command prints it.
        raise LocalopsError(f"{error.why or error}; run it again to continue") from error
    finally:
        mover.close()


def _is_cache(folder: str, url: str, engine: Engine) -> bool:
    """Return whether a folder is the cache of a store, so that its rows have to be brought back.

    A folder without journals becomes one.  False for a folder whose move to the store never finished: it has every row.
    """
    known = mirrored.store_of(folder)
    if known is not None:
        if _place(known) != _place(url):
            raise ConfigError(f"{folder} is the cache of {known}, not of {url}: give --from {known}")
        return True
    journals = [name for name in config.projects(folder) if os.path.exists(_journal_of(folder, name))]
    marks = [_mark_of(_journal_of(folder, name)) for name in journals]
    if journals and not any(mark is not None for mark in marks):
        raise ConfigError(
            f"{folder} has rows of its own, which were not moved to {url}: give the folder of its hub, or a new one"
        )
    if journals and not any(marks):
        return False
    if not archive.projects(engine):
        raise ConfigError(f"nothing is stored in {url}")
    mirrored.note(folder, url)
    return True


def _mark_of(path: str) -> bool | None:
    """Return whether a journal that is marked as a mirror lacks rows; None for another journal."""
    with Reader(path) as reader:
        marks = reader.ask(_MARK)
        if not marks:
            return None
        if any(outbox.parsed(mark).building for (mark,) in marks):
            return True
        [(has_cold,)] = reader.ask(_HAS_COLD)
        return bool(has_cold and reader.ask(_COUNT_COLD) != [(0,)])


def _leave(folder: str) -> None:
    """Remove the remains of a cache from journals that have every row."""

    def work(execute: Execute) -> None:
        mirror.leave(execute)
        execute("delete from meta where key = 'mirror'")

    for name in config.projects(folder):
        path = _journal_of(folder, name)
        if os.path.exists(path) and _mark_of(path) is not None:
            journal = Journal(os.path.dirname(path))
            try:
                journal.transact(work)
            finally:
                journal.close()
            # The indexes do not notice replaced rows.
            indexes.forget(os.path.dirname(path))


def _journal_of(folder: str, project: str) -> str:
    return os.path.join(config.project_folder(folder, project), config.JOURNAL)


def _place(url: str) -> tuple[tuple[str, ...], str]:
    """Return the hosts and the database of a URL."""
    where = address(url, {})
    return tuple(sorted(where.hosts)), where.database
