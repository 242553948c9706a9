"""Recover in a process whose journal file was moved, deleted, replaced or truncated, or lost its locks.

Open the file again, or create a new one in its place, and add the rows that may be in no other file.  If that fails,
these rows go to the spill file.  The journal deduplicates rows, so none is stored twice.
"""

from __future__ import annotations

from time import monotonic

import apsw

from localops import clock
from localops.errors import JournalError
from localops.journal import rows
from localops.journal.locks import CLOSED, TAKEN, bar
from localops.journal.reader import open_unchanging
from localops.output import counted, say, say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localops.journal.journal_file import JournalFile
    from localops.journal.rows import Row

_SELECT = f"select {', '.join(rows.COLUMNS)} from event"  # noqa: S608
# How the events of the old file were lost: a key in rows about losses.
_DELETED, _LEFT, _DAMAGED = "deleted", "left", "damaged"
_IN_A_ROW, _PAUSE = 5, 60.0  # after so many warnings of losses, none for so many seconds


class Recovery:
    """Recovers a journal whose file was taken away, with the rows of this process.

    `sessions` are open in this process: their milestones are copied, too.  `add` writes rows that the journal may
    already have; `keep` spills a row.
    """

    def __init__(
        self,
        file: JournalFile,
        *,
        sessions: set[bytes],
        counts: dict[str, int],
        add: Callable[[Iterable[Row]], int],
        keep: Callable[[Row], bool],
    ) -> None:
        self.sound_seq = 0  # the newest row at the last check
        self._announced, self._quiet_until = 0, 0.0
        self._file = file
        self._sessions, self._counts, self._add, self._keep = sessions, counts, add, keep

    def mend(self) -> None:
        """Determine how our files have changed, and recover accordingly."""
        state = self._file.watch.state()
        if state == TAKEN:
            self._file.drop()
            raise JournalError(self._file.barred)
        if state == CLOSED:
            self.open_again(list(self._file.recent), f"this process closed files that were open on {self._file.path}")
        elif self._file.has_lost_shared():
            self._use_new_shared()
        elif not (self._file.in_place() and self._file.sound()):
            self._reopen_moved()

    def _use_new_shared(self) -> None:
        """Prevent all writes through a removed -shm file, and open the journal with the new one.

        Rows that were committed before the last check are in the WAL, and every process sees them.  Later rows may have
        been overwritten by a process that already used the new -shm file, so they are added again.
        """
        recent, lost = list(self._file.recent), self._file.watch.pin_shared()
        self._file.drop()
        if lost is not None:
            bar(lost, self._file.patience)
        self.open_again(recent, f"{self._file.path}-shm was removed while it was in use")

    def open_again(self, recent: list[Row], what: str) -> None:
        """Open the same file again, and add the newest rows if they are missing."""
        self._file.drop()
        self._counts["reopened"] += 1
        say_once(f"reopened: {what}", f"{what}: the journal was opened again, and no event is lost")
        try:
            self._file.open()
        except BaseException:
            self._keep_all(recent)
            raise
        self._add_or_keep(recent)

    def _reopen_moved(self) -> None:
        """Open the journal again after its file was moved or deleted or lost its locks, and copy our rows into it.

        They are read from the old connection, which still has the old file open, so no acknowledged row is lost.
        """
        old = self._file.connection
        assert old is not None
        kept, same = self._read_own(old) + self._file.recent, self._file.is_same_file()
        count = len({row[:2] for row in kept})
        before = {} if same else self._events(old)
        # A file that was moved still has its rows.
        how = _DELETED if before and self._file.is_deleted() else _LEFT
        journal: str = old.execute("select value from meta where key = 'journal'").get
        left = 0 if same else old.execute("select coalesce(sum(rows), 0) from session_total").get - count
        try:
            if not self._file.network and not same:
                self._file.detach_wal_of_moved(old)
            self._file.drop()
            self._counts["reopened"] += 1
            self._announce(_reopened_sentence(self._file.path, count, left, same=same), is_loss=left > 0)
            self._file.open()
        except BaseException:
            self._keep_all([*kept, *_lost_rows(before, _events_of(kept), journal, how)])
            raise
        self._add_or_keep(kept)
        if before:
            self._add_or_keep(_lost_rows(before, self._events(self._file.connection), journal, how))

    def _announce(self, sentence: str, *, is_loss: bool) -> None:
        """Warn of every loss, but only a few times a minute, as a program may delete its journal again and again."""
        if not is_loss:
            say_once("reopened, no rows left", sentence)
        elif monotonic() >= self._quiet_until:
            self._announced += 1
            self._quiet_until = monotonic() + _PAUSE if self._announced % _IN_A_ROW == 0 else 0.0
            say(sentence)

    def _events(self, connection: apsw.Connection | None) -> dict[bytes, int]:
        """Return how many events of each session that is open here a file has."""
        assert connection is not None
        figure = "select events from session_total where session = ?"
        return {each: connection.execute(figure, (each,)).get or 0 for each in [*self._sessions]}

    def begin_after_damage(self, error: JournalError) -> None:
        """Set a damaged file aside and continue in a new one, with the rows recorded since the last check."""
        connection, recent = self._file.connection, list(self._file.recent)
        assert connection is not None
        try:
            before = self._events(connection)
            recent = self._read_own(connection) + recent
        except apsw.Error:
            # The rows cannot be read, as they were in the lost part of the file.  This is the most that it had.
            before = dict.fromkeys(self._sessions, self.sound_seq)
        damaged = f"file {self._file.inodes[0] if self._file.inodes else 0}"
        if not self._file.set_aside(error):
            self._keep_all(recent)
            raise error
        self._add_or_keep(recent)
        self._add_or_keep(_lost_rows(before, self._events(self._file.connection), damaged, _DAMAGED))

    def _add_or_keep(self, recent: list[Row]) -> None:
        try:
            self._add(recent)
        except BaseException:
            self._keep_all(recent)
            raise

    def _keep_all(self, recent: Iterable[Row]) -> None:
        for row in recent:
            self._keep(row)

    def _read_own(self, connection: apsw.Connection) -> list[Row]:
        """Return the rows that may be in no other file, and the milestones of each session that is open here."""
        since = min(self.sound_seq, self._newest_outside_wal())
        own = connection.execute(f"{_SELECT} where seq > ?", (since,)).fetchall()
        story = f"{_SELECT} where seq in (select seq from story where session = ?)"  # noqa: S608
        # A copy, as other threads may begin or end sessions meanwhile.
        for session in [*self._sessions]:
            own += connection.execute(story, (session,)).fetchall()
        return [tuple(row) for row in own]

    def _newest_outside_wal(self) -> int:
        """Return the newest row in the file without its WAL: if only the WAL was removed, later rows are lost."""
        if not self._file.is_same_file():
            return self.sound_seq
        try:
            connection = open_unchanging(self._file.path)
        except apsw.Error:
            return self.sound_seq
        try:
            return connection.execute("select max(seq) from event").get or 0
        except apsw.Error:
            # All rows were in the WAL.
            return 0
        finally:
            connection.close()


def _events_of(kept: Iterable[Row]) -> dict[bytes, int]:
    """Return the number of events among these rows, by session."""
    events: dict[bytes, set[bytes]] = {}
    for id, _, session, kind, *_ in kept:
        if kind not in rows.BOOKS:
            events.setdefault(session, set()).add(id)
    return {session: len(ids) for session, ids in events.items()}


def _lost_rows(before: dict[bytes, int], after: dict[bytes, int], journal: str, how: str) -> list[Row]:
    """Return a row for each session that lost events with a journal that was deleted, moved away or damaged.

    Its id is the same in every process.
    """
    # Both are imported here, as losses are rare.
    import uuid

    from localops.encoding import encode

    lost = {session: many - after.get(session, 0) for session, many in before.items()}
    return [
        rows.make(
            "loss",
            session,
            id=uuid.uuid5(uuid.UUID(bytes=session), f"{how} {journal}").bytes,
            at_ns=clock.now_ns(),
            body=encode.dumps({"spilled": 0, "dropped": many if how == _DELETED else 0, how: many}).decode(),
        )
        for session, many in lost.items()
        if many > 0
    ]


def _reopened_sentence(path: str, kept: int, left: int, *, same: bool) -> str:
    """Return the warning about the rows of a journal that was opened again."""
    if same:
        return (
            f"{path} or a file beside it was opened, changed or removed by other code, of this process or another: "
            f"it was opened again, and no event is lost"
        )
    what = "the beginnings of the sessions open here, and what was recorded in the last moment"
    before = counted(left, "row recorded before", "rows recorded before")
    stayed = f"{before} stayed in the file that is gone" if left > 0 else "nothing else was in it"
    return (
        f"{path} was moved, deleted or replaced while it was in use: {counted(kept, 'row')} were copied to the one "
        f"that is there now ({what}); {stayed}"
    )
