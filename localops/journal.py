"""Where events are written, at once, and never changed: one SQLite file per project.

This module owns transactions, locks, forks and what to do when SQLite cannot take a row; `reader.py` reads what it
writes.  It knows rows, not what they mean: sessions, analytics and sync stand above it.

One connection per process behind one re-entrant lock.  Every append is one autocommit INSERT that touches one page;
everything derived is folded from the stream in batches (sql/fold.sql).
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from _random import Random
from _thread import get_ident
from collections import deque

import apsw

from localops import alive, blobs, clock, encode, folding, host, interruption, parts, rows, sql
from localops.alive import Participant
from localops.config import JOURNAL
from localops.errors import ForeignJournal, JournalError, LocalopsError, NewerJournal
from localops.locks import CLOSED, MARK, TAKEN, Watch, bar, bar_lost, high_descriptors, sqlite_name
from localops.output import say, say_once
from localops.reader import (
    APPLICATION_ID,
    Reader,
    because,
    close_readers,
    connect,
    has_our_header,
    is_cut,
    open_unchanging,
)
from localops.spill import Claim, Spill, lines, waiting
from localops.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from localops.rows import Row

    T = TypeVar("T")
    Execute = Callable[..., Any]

lines()  # now: while the interpreter goes down, a row can still be spilled, but nothing can be imported

BATCH = 1_024  # rows folded at a time: about 2 ms for whoever crosses the line, 2 µs a row
LOOK_EVERY = 0.5  # seconds between looks at whether the file, its WAL and our locks are still there
CHECK_EVERY = 0.001  # seconds between quick looks at whether others still find the files that we write to
# Pages of the WAL after which it is copied into the file, and after which one process makes the others wait and has it
# begun again: SQLite does that only in a moment at which nobody reads or writes, and under many writers there is none.
# With more than FULL_FRAMES nobody writes on while another process is at it.
COPY_FRAMES, MOST_FRAMES, FULL_FRAMES = 1_000, 2_900, 3_300
SHORTEN_WAIT = 1.0  # seconds to wait for the write lock, when the WAL is to be begun again
READERS_WAIT = 0.025  # and then for those who read: all who write wait meanwhile
FULL_WAIT = 0.5  # seconds to wait for another process that is at it
SHORTEN_SOON = 0.002  # and until that is tried again
SHORTEN_PAUSE, SHORTEN_PAUSE_MOST = 0.5, 30.0  # and when somebody reads for longer
PLACE_EVERY = 8  # naps between two looks at our files, while we wait for a lock
SYNC_EVERY = 1.0  # a power cut costs at most this much of what was recorded
URGENT_EVERY = 0.1  # errors and openings sync at most ten times a second

monotonic = clock.monotonic  # bound once: it is on every event's way

_SPILLED = 0  # instead of a thread: the row of an id waits in a spill file
_INSERTS = {
    len(columns): f"insert into event({','.join(columns)}) values({','.join('?' * len(columns))})"
    for columns in (rows.COLUMNS, rows.PLAIN)
}
INSERT = _INSERTS[len(rows.COLUMNS)]  # for a whole row
_SELECT = f"select {', '.join(rows.COLUMNS)} from event"  # noqa: S608
# Where an identity can stand: among the folded rows, which have an index, or past the mark.  Asked in one statement, as
# another process may fold meanwhile.
_WRITTEN = (
    "select 1 from id_of where id = ?1 and phase = ?2 union all "
    "select 1 from event where seq > (select seq from mark) and id = ?1 and phase = ?2 limit 1"
)
_UNFOLDED = "select id, phase from event where seq > (select seq from mark)"
_ABOUT = "A localops journal: what AI agents did, a row each. Read it with `localops`, or a copy with any SQLite tool."

_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal:
    """The journal of one project, for a process that writes to it.

    `append` never raises: what SQLite cannot take goes to the spill file with the same id, and from there into the
    journal later.  `counts` says how many calls went which way.
    """

    def __init__(
        self,
        folder: str,
        *,
        durability: str = "process",
        wait: float = 5.0,
        gather: bool = False,
        mountinfo: str | None = None,
        vfs: str | None = None,
    ) -> None:
        self.folder = folder
        self.power = durability == "power"
        self.wait = wait
        self.participant: Participant | None = None
        self.counts = {"recorded": 0, "spilled": 0, "dropped": 0, "reopened": 0}
        # Run now and then, outside the lock, by the thread that appends; one that returns True is run again later.
        self.chores: deque[Callable[[], bool]] = deque()
        self.sessions: set[bytes] = set()  # open here; their story goes along when the file has to be begun again
        self._lock = threading.RLock()
        self._random = Random()
        self._inside = False
        self._connection: apsw.Connection | None = None
        self._execute: Execute = _refuse
        self._pid = os.getpid()
        self._barred: str | None = None  # why this process may not open the journal at all
        self._spill: Spill | None = None
        self._announced = 0  # of the dropped rows
        self._claims: dict[bytes, int] = {}  # ids that programs chose, by the thread that writes such a row
        self._claimed: dict[int, bytes] = {}  # and the other way round
        self._lost: dict[bytes, list[int]] = {}  # session -> [spilled, dropped], not yet told in a row
        self._spilled = False  # rows wait in a spill file, as far as we know
        self._patience = wait
        self._busy_since = self._napped = 0.0
        self._gave_up = False  # the last wait for a lock came to nothing
        self._check_at = 0.0
        self._look_at = self._sync_at = self._synced = 0.0
        self._fold_at = 0
        self._known_ours = False
        self._may_fold = True
        self._sound_seq = 0
        self._inodes: list[int] = []
        self._size = 0
        self._copied = 0  # pages in the WAL when it was last copied into the file
        self._shorten_at, self._shorten_pause, self._readers_since = 0.0, SHORTEN_PAUSE, 0.0
        self._recent: list[Row] = []  # written since the last check, which showed that others see what we write
        self._watch = Watch("")
        self._remember = self._recent.append
        self._position: Callable[[], int] = _anywhere
        self._chores_due = False
        self._gather = gather  # take in what others wrote: the project's own file, on a network file system as well
        self._mountinfo = mountinfo
        self._vfs = vfs
        if self.power:
            self._make_folder()
        self._place()
        _journals.add(self)

    def _make_folder(self) -> None:
        """Have the project's folder on disk before anything is written into it."""
        try:
            host.make_private(self.folder, synced=True)
        except OSError:  # what can be done about it is done when the journal is opened
            pass

    def _place(self) -> None:
        """Choose the file: the project's, or one of our own on a network file system, which has no shared memory."""
        try:
            self.network = host.is_network(host.filesystem(self.folder, self._mountinfo))
        except OSError:  # out of descriptors, say
            self.network = False
        self._part = self.network and not self._gather
        name = parts.path_of(self.folder, self.participate()) if self._part else JOURNAL
        self.path = os.path.realpath(os.path.join(self.folder, name))

    @property
    def _look_at(self) -> float:
        """When the next look is due."""
        return self._next_look

    @_look_at.setter
    def _look_at(self, at: float) -> None:
        self._next_look = at
        self._check_at = min(self._check_at, at)

    # Writing

    def append(self, row: Row, sync: bool = False) -> bool:
        """Write one row; when this returns True the row is on disk and outlives the process.

        With `sync` it outlives the machine as well (as every row does under durability "power").
        False: neither the journal nor a spill file took it, which was counted and said.
        """
        fate: list[bool] = []
        try:
            with self._lock:
                if self._inside:  # a signal handler, __del__ or busy-wait in the middle of our own write
                    return self._keep_somewhere(row, fate)
                self._inside = True
                try:
                    now = monotonic()
                    if now >= self._check_at or self._position() != MARK:
                        self._check(now)
                    if sync or now >= self._sync_at:
                        self._insert_synced(row, now, sync)
                    else:
                        self._execute(_INSERTS[len(row)], row)
                    self.counts["recorded"] += 1
                    fate += (True,)
                    self._remember(row)
                    seq = self._connection.last_insert_rowid()  # type: ignore[union-attr]
                    if seq >= self._fold_at:
                        self._fold_some(seq)
                except BaseException as error:  # the edge: whatever SQLite or the disk says must not reach the agent
                    return self._trouble(row, error, fate)
                finally:
                    self._inside = False
            if self._chores_due:
                self._do_chores()
        except BaseException as error:  # interrupted while taking or giving back the lock, or in a chore
            return self._left(row, error, fate)
        return True

    def _insert_synced(self, row: Row, now: float, at_once: bool) -> None:
        """Write a row and sync the whole WAL, so that everything before it is safe from a power cut too."""
        execute = self._execute
        by_handle = self._watch.wal >= 0 and self._vfs is None and not (self.power or self.network)
        if by_handle and not at_once and (rest := self._synced_for()):
            self._sync_at = now + rest
            execute(_INSERTS[len(row)], row)
            return
        self._synced, self._sync_at = now, now + SYNC_EVERY
        if by_handle:  # SQLite would sync while it holds the write lock
            execute(_INSERTS[len(row)], row)
            self._sync_wal()
            return
        if self.power or self.network:
            execute(_INSERTS[len(row)], row)
            return
        try:
            execute("pragma synchronous = full")
            execute(_INSERTS[len(row)], row)
        finally:
            execute("pragma synchronous = normal")

    def _sync_wal(self) -> None:
        """Sync the WAL without a lock, so that nobody waits for the disk but us."""
        try:
            os.fdatasync(self._watch.wal)
        except OSError as error:
            interruption.pass_on(error)
            say_once("sync", f"{self.path}-wal cannot be synced ({error}): a power cut may cost the newest events")

    def _synced_for(self) -> float:
        """Seconds for which the last copying of the WAL, by whichever process, will do: it begins with a sync."""
        try:
            rest = os.stat(self.path).st_mtime + SYNC_EVERY - time.time()
        except OSError as error:
            interruption.pass_on(error)
            return 0.0
        return rest if 0 < rest <= SYNC_EVERY else 0.0

    def sync_due(self) -> bool:
        """Whether a tenth of a second has passed since the last sync: a wait that begins now should be safe first."""
        return monotonic() >= self._synced + URGENT_EVERY

    def _trouble(self, row: Row, error: BaseException, fate: list[bool]) -> bool:
        """An append ended in an exception: keep the row, once, however often that is interrupted as well.

        `fate` is empty as long as the row is nowhere; then it says whether the row was kept.
        """
        for _ in range(interruption.MOST):
            try:
                self._resolve(row, error, fate)
                break
            except BaseException as again:
                error = again
        if not fate:
            self.counts["dropped"] += 1
            fate += (False,)
        return fate[0]

    def _left(self, row: Row, error: BaseException, fate: list[bool]) -> bool:
        """As `_trouble`, for an exception that came outside of the lock."""
        if fate:
            if interruption.seems_programs(error):
                interruption.hold(error)
            return fate[0]
        with self._lock:
            inside, self._inside = self._inside, True
            try:
                return self._trouble(row, error, fate)
            finally:
                self._inside = inside

    def _keep_somewhere(self, row: Row, fate: list[bool]) -> bool:
        """Spill a row that comes in the middle of our own write."""
        self._rescue(row, None, fate)
        return fate[0]

    def _resolve(self, row: Row, error: BaseException, fate: list[bool]) -> None:
        """Find out what became of a row and whose the exception is; write the row again, or spill it."""
        refusal = _is_refusal(error)
        programs = False if refusal else interruption.is_programs(error)
        if programs:
            interruption.hold(error)
        if programs is False:
            # A row that was refused is not looked for: while the journal is busy, that would cost each row a search.
            if not fate and (refusal or not self._is_written(row, fate)):
                self._refused(row, error, fate)
            return
        self._calm()
        if not fate:
            try:
                self._insert_again(row, fate)
            except BaseException as again:
                # The row cannot be written: that was no interruption.
                if programs is None and type(again) is type(error) and not interruption.is_programs(again):
                    self._refused(row, again, fate)
                    return
                if not _is_refusal(again):
                    raise
                self._rescue(row, None, fate)
        if programs is None:
            interruption.hold(error)

    def _calm(self) -> None:
        """After an interruption: no transaction stays open, and the next row begins with a look at everything."""
        self._look_at = 0.0
        self._roll_back()

    def _insert_again(self, row: Row, fate: list[bool]) -> None:
        """Write a row without waiting: what interrupted us is to reach the program soon."""
        if self._connection is not None and not self._in_place():
            self._mend()
        if self._is_written(row, fate):
            return
        patience, self._patience = self._patience, -1.0
        try:
            if not (self.power or self.network):
                self._execute("pragma synchronous = normal")
            self._execute(_INSERTS[len(row)], row)
            self.counts["recorded"] += 1
            fate += (True,)
            self._remember(row)
        finally:
            self._patience = patience

    def _is_written(self, row: Row, fate: list[bool]) -> bool:
        """Return whether a row is in the journal, and count it if so: an interruption can come after its commit.

        Other processes may have written any number of rows since.
        """
        if not self._holds(row):
            return False
        self.counts["recorded"] += 1
        fate += (True,)
        self._remember(row)
        return True

    def _holds(self, row: Row) -> bool:
        """Return whether a row is in the journal; where that cannot be read, nothing is written until the next look.

        The row goes to a spill file then, and is taken in from there if it is not in the journal.
        """
        if self._connection is None:
            return False
        try:
            if self._in_place():
                return bool(self._connection.execute(_WRITTEN, row[:2]).get)
        except apsw.Error:
            pass
        self._execute = _refuse
        return False

    def _refused(self, row: Row, error: BaseException, fate: list[bool]) -> None:
        """SQLite refused: mend what can be mended and try once more, else spill."""
        if isinstance(error, _Waiting):
            self._rescue(row, None, fate)
            return
        if self._connection is not None and not self._in_place():
            try:
                self._insert_again(row, fate)
                return
            except Exception as again:  # what is left is the spill
                if fate or _is_interruption(again):
                    raise
                error = again
        if isinstance(error, apsw.CorruptError | apsw.NotADBError) and self._set_aside(error):
            try:
                self._execute(_INSERTS[len(row)], row)
                self.counts["recorded"] += 1
                fate += (True,)
                return
            except Exception as again:  # the fresh file failed too: the spill is left
                if fate or _is_interruption(again):
                    raise
                error = again
        if isinstance(error, apsw.ConnectionClosedError | apsw.IOError | apsw.CantOpenError):
            self._drop()
        self._patience = 0.05  # one long wait is enough; the next tries are short until one succeeds
        self._execute = _refuse
        self._look_at = monotonic() + LOOK_EVERY
        self._rescue(row, error, fate)

    def _rescue(self, row: Row, error: BaseException | None, fate: list[bool]) -> None:
        """Keep a row that SQLite did not take, with its id, in the spill file."""
        lost = self._lost.setdefault(row[2], [0, 0])
        self._spilled = True
        kept = self._keep(row)  # twice, if it is interrupted: the journal takes a row in once
        self.counts["spilled" if kept else "dropped"] += 1
        lost[not kept] += 1
        fate += (kept,)
        self._look_at = min(self._look_at, monotonic() + LOOK_EVERY)
        if not kept:
            say_once("dropped", f"an event could be written nowhere and is lost ({error}); see `localops doctor`")
        elif error is not None:
            say_once(f"spill {type(error).__name__}", _spill_sentence(error))

    def spilled(self, session: bytes) -> int:
        """How many rows of a session this process has in a spill file, as far as it knows."""
        return self._lost.get(session, [0, 0])[0]

    def drop(self, session: bytes) -> None:
        """Count a call that came to no row at all."""
        with self._lock:
            self.counts["dropped"] += 1
            self._lost.setdefault(session, [0, 0])[1] += 1

    def take_back(self, session: bytes) -> None:
        """Count a dropped row of a session less: it is written after all."""
        with self._lock:
            lost = self._lost.get(session)
            if lost is not None and lost[1] > 0:
                self.counts["dropped"] -= 1
                lost[1] -= 1

    def _keep(self, row: Row) -> bool:
        # The edge: without descriptors not even a module can be loaded; `append` never raises.
        return interruption.attempt(lambda: self._spill_row(row), otherwise=False)

    def _spill_row(self, row: Row) -> bool:
        if self._spill is None:
            self._spill = Spill(self.folder)
        return self._spill.write(rows.whole(row))

    def _check(self, now: float) -> None:
        """Look whether others still find the files that we write to; before a write, and a thousand times a second."""
        if now >= self._next_look:
            self._look(now)
        elif self._connection is not None and not self._connection.in_transaction:
            if not self._in_place():
                self._mend()
            elif self._execute is not _refuse:
                self._tend_wal(now)
        self._check_at = min(now + CHECK_EVERY, self._next_look)
        self._recent.clear()

    def _in_place(self) -> bool:
        """The quick part of a look: our descriptors, and the files that are shared with others."""
        if not self._watch.ours():
            return False
        try:
            if not self.network:
                return [os.stat(self.path + side).st_ino for side in ("-wal", "-shm")] == self._inodes[1:]
        except OSError as error:
            interruption.pass_on(error)
            return False
        return True

    def _tend_wal(self, now: float) -> None:
        """Do what SQLite would do at every commit, where it can be done less often, and keep the WAL short."""
        frames, done = self._watch.frames()
        self._copied = min(self._copied, frames)
        if frames - max(done, self._copied) >= COPY_FRAMES:
            # Others write meanwhile.  When another process is copying already, this returns at once.
            self._copied = frames
            self._execute("pragma wal_checkpoint(passive)").fetchall()
        elif frames > MOST_FRAMES and frames > done and now >= self._shorten_at:
            self._shorten()

    def _shorten(self) -> None:
        """Have the WAL begun again; with others at it, go on writing while there is room."""
        busy, until = self._restart_wal(), monotonic() + FULL_WAIT
        while busy and not self._gave_up and monotonic() < until:
            if self._watch.frames()[0] <= FULL_FRAMES:
                break
            time.sleep(0.001 + 0.002 * self._random.random())
            # Not again when the other process has done it meanwhile.
            busy = self._watch.frames()[0] > MOST_FRAMES and self._restart_wal()
        if busy and self._readers_since:
            # To try again and again would stop all who write.
            self._shorten_at = monotonic() + self._shorten_pause
            self._shorten_pause = min(2 * self._shorten_pause, SHORTEN_PAUSE_MOST)
        else:
            full = self._watch.frames()[0] > FULL_FRAMES
            self._shorten_at = monotonic() + (SHORTEN_SOON if busy and not full else 0.0)
            self._shorten_pause = SHORTEN_PAUSE

    def _restart_wal(self) -> bool:
        """Copy the rest of the WAL into the file while nobody writes; True when it could not be begun again."""
        connection = self._connection
        assert connection is not None
        patience, self._patience = self._patience, SHORTEN_WAIT
        self._gave_up, self._readers_since = False, 0.0
        connection.set_busy_handler(self._busy_shortening)
        try:
            return bool(self._execute("pragma wal_checkpoint(restart)").fetchall()[0][0])
        finally:
            self._patience = patience
            connection.set_busy_handler(self._busy)

    def _busy_shortening(self, tries: int) -> bool:
        """Wait as `_busy`, but once the write lock is ours only a moment for those who read."""
        if not self._watch.writes():
            return self._busy(tries)
        now = monotonic()
        self._readers_since = self._readers_since or now
        self._gave_up = now - self._readers_since > READERS_WAIT
        time.sleep(0.0003)
        return not self._gave_up

    def _look(self, now: float) -> None:
        """Twice a second: are we still who we were, and is the file still where we write?"""
        if self._pid != os.getpid():  # a fork that ran none of Python's hooks
            self._become_child()
        if self._barred:
            raise JournalError(self._barred)
        self._look_at = now + LOOK_EVERY
        if self._connection is None:
            self._open()
        elif not self._in_place() or not (self._sound() or self._sound()):  # twice: acting on a glimpse would be worse
            self._mend()
        elif os.stat(self.path).st_nlink > 1:
            self._open_again(list(self._recent), f"{self.path} has a second name (a hard link)")
        elif self._is_cut_short():
            self._begin_after_damage(JournalError("it was cut short while it was in use"))
        else:
            self._execute = self._connection.cursor().execute
        self._after_look()

    def _after_look(self) -> None:
        connection = self._connection
        assert connection is not None
        self._sound_seq = connection.execute("select max(seq) from event").get or 0
        self._recent.clear()
        if self._lost or self._spilled:
            self._tell_losses()
        self._patience = self.wait
        if step := clock.step_ns():
            for session in [*self.sessions] or [rows.NOBODY]:
                self._execute(INSERT, _row("clock", session, {"step_ns": step}))
        if self.participant is not None:
            self.participant.check()
        self._chores_due = True

    def _tell_losses(self) -> None:
        """Say in a row of each session what could not be written at once, and take the spilled rows back in."""
        for session in list(self._lost):
            row = _loss(session, *self._lost[session])
            figures = self._lost.pop(session)
            try:
                if any(figures):
                    self._execute(INSERT, row)
            except BaseException:
                if not self._holds(row):  # else it was interrupted after it was written
                    self._put_back(session, figures)
                raise
        self._spill = None
        self.collect()
        if not self._spilled:
            for id in [id for id, thread in list(self._claims.items()) if thread == _SPILLED]:
                self._claims.pop(id, None)

    def _put_back(self, session: bytes, figures: list[int]) -> None:
        """Add figures that could not be told; a signal handler may have counted on meanwhile."""
        lost = self._lost.setdefault(session, [0, 0])
        lost[:] = map(sum, zip(lost, figures, strict=True))

    def claim(self, id: bytes) -> bool:
        """Return whether no other thread writes a row of an id that a program chose, and none waits in a spill file.

        The claim of a thread holds until its next one; by then its row is in the journal, where it is found.
        """
        here = get_ident()
        before = self._claimed.pop(here, None)
        if before is not None and self._lost:
            self._claims[before] = _SPILLED
        elif before is not None:
            self._claims.pop(before, None)
        if self._claims.setdefault(id, here) != here:
            return False
        self._claimed[here] = id
        return True

    def _do_chores(self) -> None:
        """Run each chore once; one that fails is left out, and never reaches the thread that appends."""
        self._chores_due = False
        due: list[Callable[[], bool]] = []
        while self.chores:
            try:
                due.append(self.chores.popleft())  # of several threads that come here, each takes other chores
            except IndexError:
                break
        while due:
            try:
                again = due[-1]()
            except BaseException as error:  # the edge: the row is written; its caller has no part in what comes after
                if interruption.seems_programs(error):
                    self.chores.extend(due)
                    raise
                say_once("chore", f"a task of the recorder failed: {type(error).__name__}: {error}")
                again = False
            chore = due.pop()
            if again:
                self.chores.append(chore)

    # Opening and closing

    def _open(self) -> None:
        """Open the file, making it (0600) and its tables when they are missing."""
        if self._part:  # what a process has closed, it does not write again
            self._place()
        host.make_private(os.path.dirname(self.path))
        self._make_file()
        if os.stat(self.path).st_nlink > 1:
            self._leave_linked()
        for last in (False, True):
            self._connection, self._pid = self._opened(), os.getpid()
            self._execute = self._connection.cursor().execute
            try:
                if self._remember_files():
                    return self._settle()
            except BaseException:  # half open is not open
                self._drop()
                raise
            self._drop()
            if not last:  # a reader of this process may hold on to a -shm file that was removed
                close_readers()
        raise JournalError(f"{self.path} was replaced while it was opened")

    def _leave_linked(self) -> None:
        """The file has a second name, as a backup of hard links makes it: go on in a copy, alone under this name.

        Under two names one file would have two WALs, and break.  The copy is made while nobody has the file open,
        under any name; the other name keeps the file as it is now, with the WAL that it may have.
        """
        close_readers()
        with alive.alone(self.folder):
            if os.stat(self.path).st_nlink > 1:
                try:
                    self._copy_linked(self.path + ".own")
                except apsw.BusyError as error:
                    raise JournalError(
                        f"{self.path} has a second name (a hard link), and a copy cannot be made while others use it"
                    ) from error
                except (apsw.NotADBError, ForeignJournal) as error:
                    raise ForeignJournal(f"{self.path} is not a localops journal; it was left alone") from error
        say_once(
            "linked",
            f"{self.path} had a second name (a hard link): recording goes on in a copy, under a journal id of its own",
        )

    def _copy_linked(self, own: str) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
        is_whole = os.path.exists(own) and not os.path.exists(self.path + "-wal")  # a process died at the last step
        connection = connect(self.path, flags, self._vfs)
        try:
            connection.set_busy_handler(self._busy)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.pragma("locking_mode", "exclusive")
            if not is_whole:
                self._check_ours(connection)
                part = own + ".part"
                for left in (part, own):
                    _remove(left)
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
                connection.execute("vacuum into ?", (sqlite_name(part)[0],)).fetchall()
                os.rename(part, own)
            host.sync_folder(os.path.dirname(self.path))
            for side in ("-wal", "-shm"):
                _remove(self.path + side)
            os.rename(own, self.path)
            host.sync_folder(os.path.dirname(self.path))
        finally:
            connection.close()

    def _opened(self) -> apsw.Connection:
        """A connection that is ready to be used."""
        deadline = monotonic() + max(self._patience, 0.05)
        while True:
            connection = self._connect()
            try:
                with high_descriptors():
                    self._prepare(connection)
                return connection
            except apsw.BusyError:  # the switch to WAL can be busy in spite of any handler
                connection.close()
                if monotonic() > deadline:
                    raise
                time.sleep(0.005 + 0.02 * self._random.random())
            except (apsw.NotADBError, ForeignJournal) as error:
                connection.close()
                raise ForeignJournal(f"{self.path} is not a localops journal; it was left alone") from error
            except BaseException:
                connection.close()
                raise

    def _connect(self) -> apsw.Connection:
        if not self.network:
            bar_lost(self.path, self._patience)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
        with high_descriptors():
            return connect(self.path, flags, self._vfs)

    def _make_file(self) -> None:
        if is_cut(self.path):  # SQLite would throw away the WAL, and the rows in it
            with alive.alone(self.folder):
                if is_cut(self.path):
                    self._move_aside(os.stat(self.path).st_ino, JournalError("it is empty, its WAL is not"))
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(self.path, flags, 0o600))  # -wal and -shm take their mode from it
        except FileExistsError:
            pass

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.set_busy_handler(self._busy)
        self._check_ours(connection)
        mode = "delete" if self.network else "wal"
        if connection.pragma("journal_mode", mode) != mode:
            raise apsw.CantOpenError(f"SQLite cannot use its {mode} mode here")
        connection.pragma("synchronous", "full" if self.power or self.network else "normal")
        connection.pragma("journal_size_limit", 16 << 20)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        if connection.pragma("user_version") < sql.SCHEMA:
            _migrate(connection)
        self._known_ours = True
        self._may_fold = connection.pragma("user_version") == sql.SCHEMA  # a newer release folds its own way

    def _check_ours(self, connection: apsw.Connection) -> None:
        tables = connection.execute("select count(*) from sqlite_schema").get  # asked first: another may be making them
        if connection.pragma("application_id") == APPLICATION_ID:
            if connection.pragma("user_version") > sql.SCHEMA:
                oldest = int(connection.execute("select value from meta where key = 'writer'").get or 0)
                if oldest > sql.SCHEMA:
                    raise NewerJournal
        elif tables:
            raise ForeignJournal

    def _busy(self, tries: int) -> bool:
        """Wait for the write lock in short random naps: SQLite's own waits grow to 100 ms and starve writers."""
        now = monotonic()
        if tries == 0:
            self._busy_since, self._napped = now, 0.0
        # The naps are counted as well: a clock may stand still.
        if max(now - self._busy_since, self._napped) > self._patience or self._barred:
            self._gave_up = True
            return False
        # Whoever holds the lock may be keeping us from a lost -shm file.
        if self._inodes and tries % PLACE_EVERY == 0 and not self._in_place():
            return False
        nap = 0.0003 + 0.0017 * self._random.random()
        self._napped += nap
        time.sleep(nap)
        return True

    def _settle(self) -> None:
        """After opening: is this the journal it was, and does anything wait to come in?"""
        assert self._connection is not None
        place = host.place_of(self.path)
        known = {str(key): value for key, value in self._connection.execute("select key, value from meta")}
        if known.get("place") != place:
            self._rename(known.get("journal"), place)
        self.id = self._connection.execute("select value from meta where key = 'journal'").get
        seq = self._connection.execute("select max(seq) from event").get or 0
        self._fold_at = max(seq, self._next_fold(self._connection.execute("select seq from mark").get))
        if not self._part and (waiting(self.folder) or blobs.waiting(self.folder) or parts.ended(self.folder)):
            self.collect()

    def renew(self) -> None:
        """A new id for a journal that was set back to an earlier state: elsewhere other rows stand under its seqs."""
        self._alone(self._renew)

    def _renew(self) -> None:
        place = self._execute("select value from meta where key = 'place'").get
        self._execute("update meta set value = '' where key = 'place'")
        self._rename(self.id, place)
        self.id = self._execute("select value from meta where key = 'journal'").get

    def _rename(self, was: str | None, place: str) -> None:
        """A new journal, or one that was copied, moved or restored: give it an id of its own, and say so in a row."""
        new = clock.new_id().hex()
        told = {"journal": new, "was": was, "about": _ABOUT} if was else {"journal": new, "about": _ABOUT}
        row = _row("journal", rows.NOBODY, told, name="moved" if was else "begun")
        try:
            self._execute("begin immediate")
            if self._execute("select value from meta where key = 'place'").get != place:
                self._execute(INSERT, row)
                upsert = "insert into meta values(?, ?) on conflict do update set value = excluded.value"
                self._execute(upsert, ("journal", new))
                self._execute(upsert, ("place", place))
                if was:
                    earlier = self._execute("select value from meta where key = 'lineage'").get
                    self._execute(upsert, ("lineage", f"{was} {earlier or ''}".strip()))
            self._execute("commit")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            # Through `_execute` where it does not refuse: that ends a statement which an interruption left half read.
            (self._connection.execute if self._execute is _refuse else self._execute)("rollback")

    def _remember_files(self) -> bool:
        """Remember which files SQLite has open; False when those at their places are others already."""
        try:
            self._inodes = self._inodes_now()
            self._size = os.stat(self.path).st_size
        except FileNotFoundError:
            return False
        self._watch = Watch(self.path)
        self._position = self._watch.position or _anywhere
        if self._watch.position and not self.network:
            self._execute("pragma wal_autocheckpoint = 0")  # `_tend_wal` does it
        return self._watch.attached

    def _inodes_now(self) -> list[int]:
        suffixes = ("",) if self.network else ("", "-wal", "-shm")
        return [os.stat(self.path + suffix).st_ino for suffix in suffixes]

    def _sound(self) -> bool:
        """The files and our locks on them are still ours."""
        try:
            if self._inodes_now() != self._inodes:
                return False
        except OSError as error:
            interruption.pass_on(error)
            return False
        return self._watch.sound()

    def _is_cut_short(self) -> bool:
        """Whether the file has become shorter than what SQLite has written to it."""
        size, before = os.stat(self.path).st_size, self._size
        self._size = size
        if size >= before:
            return False
        connection = self._connection
        assert connection is not None
        pages: int = connection.pragma("page_count")  # packing makes a file shorter, too, and says so in this
        return bool(size < pages * connection.pragma("page_size"))

    def _begin_after_damage(self, error: JournalError) -> None:
        """Set a damaged file aside and go on in a new one, with what was recorded since the last look."""
        connection, recent = self._connection, list(self._recent)
        assert connection is not None
        try:
            recent = self._read_own(connection) + recent
        except apsw.Error:  # it was in the part that is gone
            pass
        if not self._set_aside(error):
            self._keep_all(recent)
            raise error
        self._add_or_keep(recent)

    def _mend(self) -> None:
        """Our files are not as they were: find out what has happened, and go on in the best way there is."""
        state = self._watch.state()
        if state == TAKEN:
            self._drop()
            raise JournalError(self._barred)
        if state == CLOSED:
            self._open_again(list(self._recent), f"this process closed files that were open on {self.path}")
        elif self._has_lost_shared():
            self._change_over()
        elif not (self._in_place() and self._sound()):
            self._begin_again()

    def _abandon(self) -> None:
        """The program closed our descriptors, and has files of its own under their numbers: never touch them again."""
        connection, self._connection, self._execute = self._connection, None, _refuse
        assert connection is not None
        import ctypes  # only here: SQLite would close those numbers when the connection goes, even at exit

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        _leaked.append(_silenced(connection))
        self._keep_all(self._recent)
        self._barred = (
            "this process closed descriptors that localops had open, and opened other files under their numbers: it "
            "records into its spill file"
        )

    def _has_lost_shared(self) -> bool:
        """Whether the -shm file alone is gone or replaced; looked at twice, for more may be about to go."""
        for pause in (0.01, 0.0):
            try:
                journal, wal = (os.stat(self.path + side).st_ino for side in ("", "-wal"))
            except OSError:
                return False
            if self.network or [journal, wal] != self._inodes[:2] or not self._watch.sound():
                return False
            try:
                if os.stat(self.path + "-shm").st_ino == self._inodes[2]:
                    return False
            except OSError:
                pass
            time.sleep(pause)
        return True

    def _change_over(self) -> None:
        """The -shm file was removed: keep everybody from writing through it, and go on with the one in its place.

        What was committed before the last check is in the WAL for everybody who opens it; what came after may have
        been written over by somebody who had changed over already, and is added again.
        """
        recent, lost = list(self._recent), self._watch.pin_shared()
        self._drop()
        if lost is not None:
            bar(lost, self._patience)
        self._open_again(recent, f"{self.path}-shm was removed while it was in use")

    def _open_again(self, recent: list[Row], what: str) -> None:
        """Open the same file anew and see that the newest rows are in it."""
        self._drop()
        self.counts["reopened"] += 1
        say_once(f"reopened: {what}", f"{what}: the journal was opened again, and no event is lost")
        try:
            self._open()
        except BaseException:
            self._keep_all(recent)
            raise
        self._add_or_keep(recent)

    def _add_or_keep(self, recent: list[Row]) -> None:
        try:
            self.add(recent)
        except BaseException:
            self._keep_all(recent)
            raise

    def _keep_all(self, recent: Iterable[Row]) -> None:
        for row in recent:
            self._keep(row)

    def _begin_again(self) -> None:
        """The file was moved, deleted or had its locks dropped by other code: open anew, and bring along what is ours.

        The old connection still sees its old file, so nothing that was acknowledged since the last look is lost.
        """
        old = self._connection
        assert old is not None
        kept, same = self._read_own(old) + self._recent, self._is_same_file()
        mine = len({row[:2] for row in kept})
        left = 0 if same else old.execute("select coalesce(sum(rows), 0) from session_total").get - mine
        try:
            if not self.network and not same:
                self._part_from(old)
            self._drop()
            self.counts["reopened"] += 1
            say_once(f"reopened, rows left: {left > 0}", _reopened_sentence(self.path, mine, left, same=same))
            self._open()
        except BaseException:
            self._keep_all(kept)
            raise
        self._add_or_keep(kept)

    def _is_same_file(self) -> bool:
        try:
            return os.stat(self.path).st_ino == self._inodes[0]
        except OSError as error:
            interruption.pass_on(error)
            return False

    def _part_from(self, old: apsw.Connection) -> None:
        """Give the file that was moved away what is only in its WAL, and keep that WAL from the file in its place."""
        patience, self._patience = self._patience, 0.05
        try:
            old.execute("pragma wal_checkpoint(truncate)").fetchall()
            if os.stat(self.path + "-wal").st_ino == self._inodes[1]:
                os.unlink(self.path + "-shm")
                os.unlink(self.path + "-wal")
        except apsw.Error:
            pass
        except OSError as error:  # both are gone, or another process is about to do the same
            interruption.pass_on(error)
        finally:
            self._patience = patience

    def _read_own(self, connection: apsw.Connection) -> list[Row]:
        """The rows that may be nowhere else, and the story of each session that is open here."""
        since = min(self._sound_seq, self._newest_outside_wal())
        found = connection.execute(f"{_SELECT} where seq > ?", (since,)).fetchall()
        story = f"{_SELECT} where seq in (select seq from story where session = ?)"  # noqa: S608
        for session in [*self.sessions]:  # another thread may begin or end one meanwhile
            found += connection.execute(story, (session,)).fetchall()
        return [tuple(row) for row in found]

    def _newest_outside_wal(self) -> int:
        """The newest row in our file itself: all that is left of it when only its WAL was taken away."""
        if not self._is_same_file():
            return self._sound_seq
        try:
            connection = open_unchanging(self.path)
        except apsw.Error:
            return self._sound_seq
        try:
            return connection.execute("select max(seq) from event").get or 0
        except apsw.Error:  # none of it is in the file yet
            return 0
        finally:
            connection.close()

    def _drop(self, *, checkpoint: bool = False) -> None:
        if self._connection is not None and self._watch.state() == TAKEN:
            self._abandon()
        connection, self._connection = self._connection, None
        self._execute = _refuse
        self._look_at = 0.0
        self._inodes, self._watch, self._position = [], Watch(""), _anywhere
        self._recent.clear()
        if connection is not None:
            try:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(not checkpoint))
                connection.close()
            except apsw.Error:
                pass

    def _set_aside(self, error: Exception) -> bool:
        """A damaged journal is kept under another name, whole, and a new one begun."""
        if not self._known_ours and not has_our_header(self.path):
            return False
        try:
            damaged = self._inodes[0] if self._inodes else os.stat(self.path).st_ino
            self._drop()
            with alive.alone(self.folder):
                if os.stat(self.path).st_ino == damaged:  # else another process has done it already
                    self._move_aside(damaged, error)
            self._open()
        except Exception as problem:  # an edge: whatever is wrong with the disk, the spill file is left
            if _is_interruption(problem):
                raise
            return False
        return True

    def _move_aside(self, damaged: int, error: Exception) -> None:
        aside = f"{self.path}.corrupt-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{damaged}"
        for suffix in ("-wal", "-shm", ""):
            if os.path.exists(self.path + suffix):
                os.rename(self.path + suffix, aside + suffix)
        host.sync_folder(os.path.dirname(self.path))
        say_once(
            "damaged", f"the journal is damaged ({error}); it is kept as {aside}: `localops repair` saves its rows"
        )

    def close(self) -> None:
        """Let go of the file; a later append opens it again."""
        with self._lock:
            if self._connection is not None or self._lost:
                self._look_last()
            self._drop(checkpoint=True)
            if self._part:
                parts.finish(self.path)
            if self.participant is not None:
                self.participant.close()
                self.participant = None
            self.account()

    def account(self) -> None:
        """Say how many rows were lost for good, and keep the figures where any place takes them.

        To close the journal, and to remove the participant's file, has made room on a disk that was full.
        """
        with self._lock:
            for session, figures in list(self._lost.items()):
                if any(figures) and self._keep(_loss(session, *figures)):
                    del self._lost[session]
            dropped, self._announced = self.counts["dropped"] - self._announced, self.counts["dropped"]
        if dropped:
            where = "see `localops doctor`" if not self._lost else "this figure could be kept nowhere either"
            say(f"{_rows(dropped)} could be written nowhere and {'is' if dropped == 1 else 'are'} lost; {where}")

    def _look_last(self) -> None:
        """Before letting go: save what was written to a file that is gone, and tell what was lost."""
        try:
            self._spilled = self._spilled or bool(waiting(self.folder))  # what somebody else has left
            self._alone(lambda: self._look(monotonic()))
        except (apsw.Error, LocalopsError, OSError) as error:
            if _is_interruption(error):
                raise
            # `account` keeps the figures elsewhere.

    # Taking part

    def participate(self) -> Participant:
        """This process as a participant; its lock file is made at the first call."""
        with self._lock:
            if self.participant is None:
                self.participant = Participant(self.folder)
            return self.participant

    def _become_child(self) -> None:
        """In a forked child: a process of its own, which has written nothing yet."""
        self.participant = None
        self._pid = os.getpid()
        self._spill = None
        self._lost = {}
        self._announced = 0
        self.counts = dict.fromkeys(self.counts, 0)
        if self._connection is not None and not self._inside and not self._connection.in_transaction:
            self._drop()  # a host program's own fork, which ran only the hook after it: the locks are the parent's
        inherited = [found for found in apsw.connections() if found is self._connection or _leads_to(found, self.path)]
        if inherited:  # in them SQLite believes in locks that this process has not, and so would in any beside them
            _leaked.extend(map(_silenced, inherited))  # closing one could undo the parent's transaction
            self._connection, self._execute = None, _refuse
            self._barred = "forked while the journal was at work: this process records into its spill file"

    # Deriving

    def _fold_some(self, seq: int) -> None:
        """Fold what is due, unless another process has; it may wait, so a busy journal is simply left for later."""
        patience, self._patience = self._patience, 0.02
        try:
            mark = self._execute("select seq from mark").get
            if seq < mark + BATCH:  # another process has folded: this is seen without the write lock
                self._fold_at = self._next_fold(mark)
            else:
                self._fold()
        except apsw.Error:
            self._roll_back()
            self._fold_at += BATCH // 8
        finally:
            self._patience = patience

    def _next_fold(self, mark: int) -> int:
        """The seq at which this process looks next: not the same for all, or they would wait for each other."""
        return mark + BATCH + self._random.getrandbits(8)

    def _fold(self, *, all_of_it: bool = False) -> None:
        while self._fold_batch(1 if all_of_it else BATCH):
            pass

    def _fold_batch(self, least: int) -> bool:
        """Fold up to eight batches in a transaction of their own; True when there may be more."""
        try:
            self._execute("begin immediate")
            more = self._fold_inside(least, 8 * BATCH)
            self._execute("commit")
        except BaseException:
            self._roll_back()
            raise
        return more

    def _fold_inside(self, least: int, most: int) -> bool:
        after, last = self._execute("select mark.seq, (select max(seq) from event) from mark").fetchone()
        upto = min(last or 0, after + most)
        self._fold_at = self._next_fold(upto)
        if upto - after < least or not self._may_fold:
            return False
        folding.fold(self._execute, after, upto)
        return upto < last  # type: ignore[no-any-return]

    def fold(self) -> None:
        """Fold all there is, so that readers need not look past the mark."""
        self._alone(lambda: self._fold(all_of_it=True))

    def _alone(self, work: Callable[[], T], *, to_write: bool = True) -> T:
        """Run `work` with the lock held and the file open: a row that a signal handler records goes to the spill file.

        Not a context manager: one that is written in Python can be interrupted before it lets go of the lock.
        """
        with self._lock:
            inside, self._inside = self._inside, True
            try:
                if self._connection is None or (to_write and self._execute is _refuse):
                    self._look(monotonic())
                else:
                    self._check(monotonic())
                return work()
            finally:
                self._inside = inside

    def transact(self, work: Callable[[Execute], None], *, full: bool = False, folded: bool = True) -> None:
        """Run `work` alone in an immediate transaction, over a journal that is folded to its end (or as it is).

        What `work` writes is folded with it: a row that cannot be folded is not kept to stop all that follow.
        """
        self._alone(lambda: self._transact(work, full=full, folded=folded))

    def _transact(self, work: Callable[[Execute], None], *, full: bool, folded: bool) -> None:
        if folded:
            self._fold(all_of_it=True)
        execute = self._execute
        try:
            if full:
                execute("pragma synchronous = full")
            execute("begin immediate")
            if folded:
                self._fold_inside(1, sys.maxsize)  # what slipped in just now
            work(execute)
            if folded:
                self._fold_inside(1, sys.maxsize)
            execute("commit")
            if not self._in_place():  # others may not see what was written
                raise JournalError(f"the files of {self.path} were removed while it was written: do it again")
        except BaseException:
            self._roll_back()
            raise
        finally:
            if full and not (self.power or self.network):
                execute("pragma synchronous = normal")

    def secure(self) -> None:
        """When this returns, every row that was committed before it survives a power cut."""
        touch = "update meta set value = value where key = 'about'"
        self.transact(lambda execute: execute(touch), full=True, folded=False)

    def add(self, found: Iterable[Row]) -> int:
        """Write rows that came from elsewhere, each once: a known identity is ignored; synced when this returns."""
        added = 0
        for batch in _batches(found, 1_000):
            new: list[Row] = []

            def work(execute: Execute, batch: Sequence[Row] = batch, new: list[Row] = new) -> None:
                # All is folded, and this empty, but in a journal that only a newer release folds.
                seen = set(execute(_UNFOLDED).fetchall())
                for row in batch:
                    identity = (row[0], row[1])
                    if identity in seen or execute("select 1 from id_of where id = ? and phase = ?", identity).get:
                        continue
                    seen.add(identity)
                    new.append(row)
                    execute(INSERT, row)

            self.transact(work, full=True)
            added += len(new)
        return added

    def collect(self) -> int:
        """Take in what waits: spill files, large values that had no place, and parts from a network file system."""
        blobs.collect(self.folder)
        added = sum(self._collect_spill(path) for path in waiting(self.folder))
        # Last, so that an interruption changes nothing.  What another process is taking in, or could not be read or
        # removed, still waits: whoever was at it may have to leave it.
        self._spilled = bool(waiting(self.folder))
        return added + sum(self._collect_part(path) for path in ([] if self._part else parts.ended(self.folder)))

    def _collect_spill(self, path: str) -> int:
        try:
            return self.take_in(path)
        except (apsw.Error, JournalError, OSError) as error:
            if not _is_refusal(error):
                raise
            return 0  # it stays where it is, for whoever comes next

    def take_in(self, path: str) -> int:
        """Take in the rows of a spill file and remove it; where that fails it stays where it is."""
        claim = Claim(path)
        try:
            unread: list[bytes] = []
            added = self.add(_rows_only(claim.rows(), unread))
            claim.done(unread)
            return added
        finally:
            claim.file.close()  # not through a method of ours: the program could interrupt that

    def _collect_part(self, path: str) -> int:
        """Take in the journal that a process kept on a network file system."""
        try:
            with alive.alone(os.path.dirname(path)):
                _heal(path)
                with Reader(path) as part:
                    added = self.add(part.stream())
                for side in ("", "-journal"):
                    _remove(path + side)
            return added
        except (apsw.Error, JournalError, OSError) as error:
            if not _is_refusal(error):
                raise
            return 0

    def rebuild(self) -> None:
        """Drop everything derived and fold it again from the stream; figures stay exact meanwhile."""
        self.transact(folding.forget)
        self.fold()

    def compact(self) -> None:
        """Give freed pages back to the file system; who writes meanwhile waits."""
        self._alone(self._compact)

    def _compact(self) -> None:
        self._execute("vacuum")
        self._execute("pragma wal_checkpoint(truncate)").fetchall()

    def empty_wal(self) -> None:
        """Copy all of the WAL into the file and give its space back."""
        self._alone(lambda: self._execute("pragma wal_checkpoint(truncate)").fetchall())

    # Reading

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a named query; what this process wrote is in them."""
        try:
            return self._alone(lambda: self._query(name, values), to_write=False)
        except apsw.Error as error:
            raise JournalError(f"{self.path} cannot be read: {because(error)}") from error

    def _query(self, name: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        return list(self._connection.execute(statements("queries.sql")[name], values))

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        """The first row of a named query."""
        found = self.all(name, **values)
        return found[0] if found else None


def _anywhere() -> int:
    """Stands for the position of a descriptor where descriptors cannot be looked at."""
    return MARK


class _Waiting(Exception):
    """The journal refused a row a moment ago; until the next look, rows go to the spill file."""


def _refuse(*_: object) -> Any:
    raise _Waiting


def _leads_to(connection: apsw.Connection, path: str) -> bool:
    try:
        return connection.filename == path
    except UnicodeDecodeError:  # a name that is no UTF-8, as ours may be
        return sqlite_name(path)[1]
    except apsw.ThreadingViolationError:  # a thread that the fork left behind was at work in it
        return True
    except apsw.ConnectionClosedError:
        return False


def _silenced(connection: apsw.Connection) -> apsw.Connection:
    """A connection that writes no more: what a fork interrupted must not go on in both processes."""
    try:
        connection.authorizer = lambda *_: apsw.SQLITE_DENY
    except apsw.ThreadingViolationError:  # inside the busy handler, which waits no longer, or in a thread that is gone
        pass
    return connection


def _row(kind: str, session: bytes, body: Mapping[str, object], name: str | None = None) -> Row:
    """A row of the journal's own."""
    at = clock.now_ns()
    text = encode.dumps(body).decode()
    return rows.make(kind, session, id=clock.new_id(at), at_ns=at, name=name, body=text)


def _loss(session: bytes, spilled: int, dropped: int) -> Row:
    """What a session should know of rows that could not be written at once, or at all."""
    return _row("loss", session, {"spilled": spilled, "dropped": dropped})


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _heal(path: str) -> None:
    """Undo what a process that was killed had half written: a reader cannot."""
    connection = connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    try:
        connection.execute("select count(*) from sqlite_schema").fetchall()
    finally:
        connection.close()


def _reopened_sentence(path: str, kept: int, left: int, *, same: bool) -> str:
    """What became of the rows of a journal that was opened again."""
    if same:
        return f"other code in this process opened or changed {path}: it was opened again, and no event is lost"
    what = "how the sessions open here began, and what was recorded in the last moment"
    stayed = f"{_rows(left)} recorded before stayed in the file that is gone" if left > 0 else "nothing else was in it"
    return (
        f"{path} was moved, deleted or replaced while it was in use: {_rows(kept)} went along to the one that is "
        f"there now ({what}); {stayed}"
    )


def _rows(many: int) -> str:
    return "1 row" if many == 1 else f"{many} rows"


def _is_refusal(error: BaseException) -> bool:
    """Whether SQLite or the system says no; a TimeoutError that the program raises is an OSError, too."""
    known = isinstance(error, apsw.Error | JournalError | _Waiting)
    return known or (isinstance(error, OSError) and error.errno is not None)


def _is_interruption(error: BaseException) -> bool:
    return not _is_refusal(error) and interruption.is_programs(error) is not False


def _spill_sentence(error: BaseException) -> str:
    why = str(error) if isinstance(error, JournalError) else f"the journal cannot be written: {because(error)}"
    return f"{why}; events are kept in a spill file and go into the journal later (see `localops doctor`)"


def _migrate(connection: apsw.Connection) -> None:
    """Bring the tables to our schema, once, whoever comes first; the views are made anew."""
    connection.execute("begin immediate")
    try:
        version = connection.pragma("user_version")
        if version < sql.SCHEMA:
            for (view,) in connection.execute("select name from sqlite_schema where type = 'view'").fetchall():
                connection.execute(f'drop view "{view}"')
            for script in sql.migrations(version):
                connection.execute(script).fetchall()
            if version == 0:
                connection.execute("insert into mark values(1, 0)")
                connection.execute("insert into meta values('writer', '1'), ('about', ?)", (_ABOUT,))
                connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", sql.SCHEMA)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _batches(found: Iterable[Row], size: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in found:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows_only(found: Iterable[Row | bytes], unread: list[bytes]) -> Iterator[Row]:
    for row in found:
        if isinstance(row, bytes):
            unread.append(row)
        else:
            yield row


# No connection, and no thread inside SQLite, may exist across a fork: the child would believe in locks it has not.

_leaked: list[apsw.Connection] = []


def _before_fork() -> None:
    for journal in list(_journals):
        journal._lock.acquire()
        if not journal._inside:
            journal._drop()
    close_readers()


def _after_fork_in_parent() -> None:
    for journal in list(_journals):
        journal._lock.release()


def _after_fork_in_child() -> None:
    for journal in list(_journals):
        try:
            journal._become_child()
        finally:
            try:
                journal._lock.release()
            except RuntimeError:  # a host program's own fork, which ran only this hook
                pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
