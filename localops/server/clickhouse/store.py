"""A hub's store on ClickHouse, which keeps every row; the hub's folder is a cache that can be deleted.

Reads and writes work as in a home, on a mirror in which sessions in use are complete; a cold session is brought back
when it is needed.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from typing import cast

from localops import config
from localops.config import Config
from localops.encoding.openmetrics import gauge
from localops.errors import JournalError, LocalopsError, NotFound
from localops.journal.reader import Reader, SQLiteError
from localops.journal.sql import statements
from localops.reading.home import Home
from localops.server import logs
from localops.server.clickhouse import archive, checking, mirror, outbox
from localops.server.clickhouse.archive import Archive
from localops.server.clickhouse.condition import Hosts
from localops.server.clickhouse.engine import EngineError
from localops.server.clickhouse.lease import LeaseLost
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.mirror import Mirror
from localops.server.clickhouse.outbox import Outbox
from localops.server.clickhouse.reader import MirrorReader
from localops.server.clickhouse.search import ClickHouseIndex
from localops.server.home_reader import inode
from localops.server.home_store import HomeStore, size_of
from localops.server.request import Unavailable
from localops.upkeep.scoring import Scorer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.encoding.openmetrics import Family
    from localops.journal.journal import Journal
    from localops.reading.facts import Facts
    from localops.reading.home import Project
    from localops.reading.search import Index
    from localops.reading.snapshot import Snapshot
    from localops.recording.scores import Score
    from localops.server.clickhouse.archive import Version
    from localops.server.clickhouse.engine import Engine
    from localops.server.clickhouse.lease import Lease
    from localops.server.home_store import _Writer
    from localops.server.limits import Limits
    from localops.server.proof import Checked, Compared
    from localops.server.senders import Sender
    from localops.upkeep.prune import Choice, Pruned

# Seconds between two waves of states, and for which the names of projects are remembered.
_WAVE = 0.5
_NAMES = 30.0
# Seconds that a wave waits after ClickHouse has failed.
_AFTER_FAILURE = 5.0
_NOT_NOW = "ClickHouse cannot be asked now"


class ClickHouseStore(HomeStore):
    """A hub's store on ClickHouse; `folder` is the cache, which also holds the files that rows refer to.

    `bound` is how many bytes of rows each project may have in the cache.
    """

    def __init__(
        self,
        folder: str,
        engine: Engine,
        *,
        bound: int = mirror.BOUND,
        fresh: float = 60.0,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(folder, fresh=fresh, limits=limits)
        self.engine = engine
        # Only for a hub: commands that write to the same folder do so under its lease.
        self.lease: Lease | None = None
        # Without a lease: how often another folder was the cache of the database since this one was.
        self.turns_of_others = 0
        self._bound = bound
        self._hosts = Hosts(engine.address)
        self._outboxes: dict[str, Outbox] = {}
        self._names: tuple[float, list[str]] = (0.0, [])
        self._has_tables = False
        self._stop = threading.Event()
        # Projects whose figures of sessions cannot be written: since when (monotonic clock), and why.
        self._failing: dict[str, tuple[float, str]] = {}
        self._behind: threading.Thread | None = None

    # Opening

    def projects(self) -> list[str]:
        """Return the projects with stored rows, here or in ClickHouse."""
        at, names = self._names
        if not at or time.monotonic() - at > _NAMES:
            # Without an answer, only the projects that are here.
            with suppress(EngineError):
                names = archive.projects(self.engine)
                self._names = (time.monotonic(), names)
        return sorted({*super().projects(), *names})

    def _outbox(self, project: str) -> Outbox:
        with self._lock:
            kept = self._outboxes.get(project)
            if kept is None:
                rows = Archive(self.engine, project, partial(self._check_lease, project))
                kept = self._outboxes[project] = self._new_outbox(Mirror(rows, bound=self._bound), rows)
            if self._behind is None and not self._stop.is_set():
                self._behind = threading.Thread(target=self._write_behind, name="states", daemon=True)
                self._behind.start()
        return kept

    def _new_outbox(self, mirror: Mirror, rows: Archive) -> Outbox:
        return Outbox(mirror, rows)

    def _check_lease(self, project: str) -> None:
        """Raise LeaseLost unless rows of a project may be stored in ClickHouse now."""
        if self.lease is not None:
            self.lease.check()
            if self._outboxes[project].turns_of_others != self.lease.turns_of_others:
                raise LeaseLost("another hub has stored rows, which have to be taken over first")

    def make_tables(self) -> None:
        """Create the tables, or bring them to their newest form; EngineError if that is impossible now."""
        if not self._has_tables:
            migrate(self.engine)
            self._has_tables = True

    @contextmanager
    def _writer(self, project: str) -> Iterator[tuple[_Writer, Journal]]:
        kept = self._outbox(project)
        try:
            self.make_tables()
        except EngineError as error:
            raise Unavailable(_NOT_NOW, error) from error
        with super()._writer(project) as (writer, journal):
            self._take_over_from_others(kept, journal)
            kept.attach(journal)
            yield writer, journal

    def _take_over_from_others(self, kept: Outbox, journal: Journal) -> None:
        """Raise unless this hub may write; take over what another hub has stored meanwhile."""
        times = self.turns_of_others
        if self.lease is not None:
            try:
                self.lease.check()
            except EngineError as error:
                raise Unavailable(_NOT_NOW, error) from error
            times = self.lease.turns_of_others
        if kept.turns_of_others != times:
            kept.turns_of_others = times
            kept.begin_again(journal)

    def _ensure(self, project: str) -> None:
        """Create the mirror of a project if it is missing."""
        path = os.path.join(config.project_folder(self.folder, config.check_project(project)), config.JOURNAL)
        known = self._outbox(project).inode
        if not known or inode(path) != known:
            try:
                with self._journal(project):
                    pass
            except Unavailable:
                # While ClickHouse does not answer, a complete mirror can still be read.
                if not _is_whole(path):
                    raise

    @contextmanager
    def _home(self, project: str | None) -> Iterator[Home]:
        for name in self.projects() if project is None else [project]:
            self._ensure(name)
        with super()._home(project) as home:
            try:
                yield home
            except EngineError as error:
                raise Unavailable(_NOT_NOW, error) from error
            finally:
                for each in home.projects:
                    _mirrored(each.reader).release()

    @contextmanager
    def _project_and_snapshot(self, project: str | None, session: bytes) -> Iterator[tuple[Project, Snapshot] | None]:
        with super()._project_and_snapshot(project, session) as holder:
            if holder is not None:
                # Bring it back now: some later statements have only the seqs of its rows, not the session.
                _mirrored(holder[0].reader).need([session])
            yield holder

    def _open(self, project: str | None) -> Home:
        try:
            return Home(self.folder, project, read=self._read, index=self._index_of)
        except NotFound:
            assert project is not None
            self.migrate(project)
            return Home(self.folder, project, read=self._read, index=self._index_of)

    def _index_of(self, project: Project) -> Index:
        # It has the methods of an index that a server calls.
        return cast("Index", ClickHouseIndex(self.engine, project.name))

    def _read(self, path: str) -> Reader:
        project = os.path.basename(os.path.dirname(path))
        kept = self._outbox(project)

        def bring(sessions: Sequence[bytes]) -> None:
            # Fetched before the journal is locked, so that no other thread waits for the answer.
            fetched = kept.mirror.fetched(sessions)
            with self._journal(project) as journal:
                kept.mirror.put_back(journal, fetched)

        return MirrorReader(path, kept.mirror, bring)

    def _need(self, project: str, sessions: Sequence[bytes]) -> None:
        """Bring back sessions that the caller has pinned."""
        with self._project(project) as where:
            _mirrored(where.reader).need(sessions)

    def close(self) -> None:
        """Write the last states, and close all files."""
        self._stop.set()
        if self._behind is not None:
            self._behind.join()
        for project in list(self._outboxes):
            # If it fails, they are written when the hub runs again.
            with suppress(Unavailable, EngineError):
                self.write_behind(project)
        super().close()
        if self.lease is not None:
            self.lease.give_back()
        self.engine.close()
        self._hosts.close()

    # Beside requests

    def _write_behind(self) -> None:
        """Write states, delete rows of deleted sessions, and evict, a wave at a time."""
        failing = self._failing
        while not self._stop.wait(_AFTER_FAILURE if failing else _WAVE):
            for project in list(self._outboxes):
                try:
                    self.write_behind(project)
                    self.make_room(project, _WAVE)
                    failing.pop(project, None)
                # JournalError: a journal that was just deleted; the next request creates it again.
                except (Unavailable, JournalError, EngineError, SQLiteError, OSError) as error:
                    if project not in failing:
                        why = f"project {project}: figures of sessions wait for ClickHouse: {error.__cause__ or error}"
                        logs.trouble("clickhouse", why, status=503, repeated=0, request_id=None)
                        failing[project] = time.monotonic(), why

    def write_behind(self, project: str) -> None:
        """Write the states of sessions, and delete rows of deleted sessions and replaced rows."""
        kept = self._outboxes[project]
        # Otherwise a state that another thread is storing would not be seen, and would stay beside the newer one.
        with kept.behind:
            self._write_all_behind(project, kept)

    def _write_all_behind(self, project: str, kept: Outbox) -> None:
        while True:
            replaced: list[Version] = []
            if kept.has_versions:
                with self._journal(project) as journal:
                    replaced = kept.versions(journal)
            # After the replaced rows were listed, so that the new states of their sessions are stored.
            self._write_states(project)
            kept.clean()
            if not replaced:
                return
            kept.archive.delete_before(replaced)
            with self._journal(project) as journal:
                kept.forget(journal, replaced)

    def _write_states(self, project: str) -> None:
        kept = self._outboxes[project]
        while kept.is_behind:
            with self._journal(project) as journal:
                wave = kept.wave(journal)
            # Without the project's lock; the state of a session that changes meanwhile is written again.
            try:
                kept.send(wave)
            except JournalError as error:
                raise Unavailable(_NOT_NOW, error) from error
            with self._journal(project) as journal:
                kept.sent(journal, wave)

    def make_room(self, project: str, seconds: float = inf) -> None:
        """Evict rows of the mirror if there are too many; with so many seconds only if their calls are in the table."""
        kept = self._outboxes[project].mirror
        if not kept.is_full:
            return
        # Reports by model, tool or kind use this table; once rows are evicted, it would have to bring them back.
        # States and the end of the hub do not wait for a large table: the next wave continues with it.
        if not self._call_tables.complete(project, time.monotonic() + seconds):
            return
        place: mirror.Place | None = mirror.BEGIN
        while place is not None and not self._stop.is_set():
            with self._journal(project) as journal:
                _, place = kept.evict_some(journal, place)

    # Writes that need or delete rows of several sessions

    @contextmanager
    def _scorer(self, folder: str) -> Iterator[Scorer]:
        with self._journal(os.path.basename(folder)) as journal:
            yield Scorer(Config.usable(home=self.folder), folder, journal)

    def judge(self, project: str | None, session: bytes, score: Score) -> Facts | None:
        """Store a score or a note that was checked."""
        if project is None:
            return super().judge(project, session, score)
        with self._outbox(project).mirror.pinned([session]):
            # The prefix of an event's id is looked up in the rows that are here.
            self._need(project, [session])
            return super().judge(project, session, score)

    def senders(self, project: str) -> list[Sender]:
        """Return the machines that sent rows, the one that has been silent for longest first."""
        with self._project(project) as where:
            reader = _mirrored(where.reader)
            newest = [
                id
                for (journal,) in reader.ask(statements("hub.sql")["senders"])
                for id, _ in reader.ask(statements("hub.sql")["newest_of"], {"journal": journal, "many": 1})
            ]
            reader.need_rows(newest)
        return super().senders(project)

    def prove(self, project: str, identities: Sequence[tuple[bytes, int, int]]) -> Compared:
        """Return the rows that are missing or damaged, have other contents, or were scrubbed since."""
        with self._project(project) as where:
            _mirrored(where.reader).need_rows([id for id, *_ in identities])
        return super().prove(project, identities)

    def delete(self, project: str, session: bytes) -> bool:
        """Delete a session, whether it has ended or not."""
        with self._outbox(project).mirror.pinned([session]):
            self._need(project, [session])
            return super().delete(project, session)

    def retire(self, project: str, choices: Sequence[Choice], *, for_good: bool = False) -> Pruned:
        """Remove sessions whose retention time is over; they are not stored again if they are sent again."""
        sessions = [choice.session for choice in choices]
        with self._outbox(project).mirror.pinned(sessions):
            self._need(project, sessions)
            return super().retire(project, choices, for_good=for_good)

    def check(self, project: str) -> Checked:
        """Read everything that is stored of a project."""
        with self._project(project) as where, Reader(where.path) as reader:
            return checking.check(project, where.folder, reader, self._outbox(project).archive)

    def stored(self, project: str) -> tuple[int, int]:
        """Return how many rows a project has, and their bytes in ClickHouse and in files on disk."""
        rows, size = super().stored(project)
        path = os.path.join(config.project_folder(self.folder, project), config.JOURNAL)
        try:
            in_clickhouse = self._outbox(project).archive.stored()
        except EngineError as error:
            raise Unavailable(_NOT_NOW, error) from error
        return rows, size - sum(map(size_of, (path, f"{path}-wal"))) + in_clickhouse

    def beneath(self) -> list[Family]:
        """Return the metrics of every host of ClickHouse, and of what is waiting to be written to it."""
        waiting = sum(len(kept.dirty) for kept in list(self._outboxes.values()))
        about = "Sessions whose figures are not in ClickHouse yet; their rows are."
        since = min((at for at, _ in list(self._failing.values())), default=None)
        late = "Seconds for which figures of sessions could not be written to ClickHouse; 0: they can."
        return [
            gauge("localops_hub_waiting_sessions", about, waiting),
            gauge("localops_hub_waiting_seconds", late, 0.0 if since is None else time.monotonic() - since),
            *self._hosts.families(),
            *super().beneath(),
        ]

    def warnings(self) -> list[str]:
        """Return warnings about delays that do not keep rows from being stored."""
        now = time.monotonic()
        return [f"{why} (for {now - at:.0f} s)" for at, why in list(self._failing.values())]

    def try_writing(self, project: str) -> None:
        """Raise Unavailable if rows or files cannot be stored in a project now."""
        try:
            self.engine.ask("select 1 as one")
        except EngineError as error:
            raise Unavailable(_NOT_NOW, error) from error
        super().try_writing(project)


def _is_whole(path: str) -> bool:
    """Return whether a mirror was built completely."""
    try:
        with Reader(path) as reader:
            noted = reader.ask("select value from meta where key = 'mirror'")
    except (LocalopsError, SQLiteError):
        return False
    return any(outbox.parsed(text).rev for (text,) in noted)


def _mirrored(reader: Reader) -> MirrorReader:
    assert isinstance(reader, MirrorReader)
    return reader
