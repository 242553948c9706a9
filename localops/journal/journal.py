"""The journal: one SQLite file per project, to which rows are written at once and never changed.

This module appends rows, runs transactions, folds and reads; rows that cannot be written go to the spill file.
`journal_file.py` opens and watches the file, `reader.py` only reads it.  The journal knows rows, not their meaning:
sessions, analytics and sync are above it.

Each process has one connection, behind one re-entrant lock.  Every append is one autocommit INSERT that touches one
page; all derived tables are folded from the rows in batches (sql/fold.sql).
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

import apsw

from localops import clock, interruption
from localops.careful import roomy
from localops.errors import JournalError, LocalopsError
from localops.journal import blobs, forks, participants, parts, rollups, rows
from localops.journal.end_lock import EndLock
from localops.journal.journal_file import (
    INSERT,
    INSERTS,
    JournalFile,
    Waiting,
    is_interruption,
    is_refusal,
    monotonic,
    own_row,
    refuse,
    remove,
)
from localops.journal.locks import MARK
from localops.journal.losses import Losses
from localops.journal.participants import Participant
from localops.journal.reader import Reader, connect, reason, user_message
from localops.journal.recovery import Recovery
from localops.journal.rollups import Rollups
from localops.journal.spill import Claim, waiting
from localops.journal.sql import statements
from localops.journal.wal import Wal
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    from localops.journal.keeper import Keeper
    from localops.journal.rows import Row
    from localops.journal.stored import Source

    T = TypeVar("T")
    Execute = Callable[..., Any]

LOOK_EVERY = 0.5  # seconds between checks that the file, its WAL and our locks are still there
CHECK_EVERY = 0.001  # seconds between quick checks that the files at their paths are those that we write to

# Of the rows to write, those that are here: one statement for all takes half as long as one each.
_KNOWN_OF = "select id, phase from id_of where id in (select unhex(value) from json_each(?))"
_UNFOLDED = "select id, phase from event where seq > (select seq from mark)"


class Journal:
    """The journal of one project, for a process that writes to it.

    `append` never raises: a row that SQLite does not take goes to the spill file with the same id, and from there into
    the journal later.  `counts` has the number of calls by result.
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
        self.participant: Participant | None = None
        self.counts = {"recorded": 0, "spilled": 0, "dropped": 0, "reopened": 0}
        # Run now and then, outside the lock, by the thread that appends; one that returns True is run again later.
        self.chores: deque[Callable[[], bool]] = deque()
        self.sessions: set[bytes] = set()  # open here; their stories are copied when a new file has to be begun
        self.keeper: Keeper | None = None  # keeps the rows elsewhere as well
        self._lock: AbstractContextManager[object] = threading.RLock()
        self._inside = False
        self._chores_due = False
        self.losses = Losses(folder, self.counts, self._lock)
        self._file = JournalFile(
            folder,
            power=durability == "power",
            wait=wait,
            gather=gather,
            mountinfo=mountinfo,
            vfs=vfs,
            after_open=self._after_open,
            keep=self.losses.keep,
            participate=self.participate,
        )
        self._wal = Wal(self._file)
        self._rollups = Rollups(self._file)
        self._recovery = Recovery(
            self._file, sessions=self.sessions, counts=self.counts, add=self.add, keep=self.losses.keep
        )
        forks.include(self)

    @property
    def path(self) -> str:
        """The path of the file: the project's journal, or on a network file system this process's own part."""
        return self._file.path

    @property
    def is_part(self) -> bool:
        """Return whether it is one process's own part, as on a network file system."""
        return self._file.is_part

    # Writing

    def append(self, row: Row, sync: bool = False) -> bool:
        """Write one row; when this returns True the row is on disk and outlives the process.

        With `sync` it outlives a power cut as well (as every row does under durability "power").
        Return False when neither the journal nor a spill file took it, which is counted and warned of.
        """
        fate: list[bool] = []
        file = self._file
        try:
            with self._lock:
                # A signal handler, __del__ or busy-wait in the middle of our own write.
                if self._inside:
                    self._spill_row(row, None, fate)
                    return fate[0]
                self._inside = True
                try:
                    now = monotonic()
                    if now >= file.check_at or file.position() != MARK:
                        self._check(now)
                    if sync or now >= self._wal.sync_at:
                        self._wal.insert_synced(row, now, sync)
                    else:
                        file.execute(INSERTS[len(row)], row)
                    self.counts["recorded"] += 1
                    fate += (True,)
                    file.remember(row)
                    seq = file.connection.last_insert_rowid()  # type: ignore[union-attr]
                    if seq >= self._rollups.due:
                        self._rollups.some(seq)
                except BaseException as error:
                    # Wide, as no error of SQLite or the disk may reach the program, which may be deep in its calls.
                    return roomy(self._on_write_error, row, error, fate)
                finally:
                    self._inside = False
            if self._chores_due:
                self._chores_due = False
                run_chores(self.chores)
        except BaseException as error:
            # Interrupted while taking or releasing the lock, or in a chore.
            return fate[0] if fate and type(error) is RecursionError else roomy(self._on_outer_error, row, error, fate)
        return True

    def sync_due(self) -> bool:
        """Return whether the last sync is a tenth of a second old, so that one is due before a long wait."""
        return self._wal.sync_due()

    def _on_write_error(self, row: Row, error: BaseException, fate: list[bool]) -> bool:
        """Keep the row of an append that raised, exactly once, however often that is interrupted as well.

        `fate` is empty while the row is nowhere; then it holds whether the row was kept.
        """
        for _ in range(interruption.MOST):
            try:
                self._resolve(row, error, fate)
                break
            except BaseException as again:
                error = again
        if not fate:
            # Counts it for the session as well, whose count doctor reads.
            self.losses.drop(row[2])
            fate += (False,)
        return fate[0]

    def _on_outer_error(self, row: Row, error: BaseException, fate: list[bool]) -> bool:
        """Do the same as `_on_write_error`, for an exception that was raised outside of the lock."""
        if fate:
            if interruption.seems_programs(error):
                interruption.hold(error)
            return fate[0]
        with self._lock:
            inside, self._inside = self._inside, True
            try:
                return self._on_write_error(row, error, fate)
            finally:
                self._inside = inside

    def _resolve(self, row: Row, error: BaseException, fate: list[bool]) -> None:
        """Find out whether a row was written and whether the program raised; write the row again, or spill it."""
        refusal = is_refusal(error)
        programs = False if refusal else interruption.is_programs(error)
        if programs:
            interruption.hold(error)
        # Our calls had no room in those of the program, and have it now.
        had_no_room = type(error) is RecursionError
        if programs is False and not had_no_room:
            # A refused row is not looked up: while the journal is busy, that would cost each row a search.
            if not fate and (refusal or not self._is_written(row, fate)):
                self._refused(row, error, fate)
            return
        # No transaction stays open, and the next row begins with a check of everything.
        self._file.look_at = 0.0
        self._file.roll_back()
        if not fate:
            try:
                self._insert_again(row, fate)
            except BaseException as again:
                # The same error again means that the row cannot be written, not that the program interrupted us.
                if programs is None and type(again) is type(error) and not interruption.is_programs(again):
                    self._refused(row, again, fate)
                    return
                if not is_refusal(again):
                    raise
                self._spill_row(row, None, fate)
        if programs is None:
            interruption.hold(error)

    def _insert_again(self, row: Row, fate: list[bool]) -> None:
        """Write a row without waiting, so that the program's exception reaches it soon."""
        if self._file.connection is not None and not self._file.in_place():
            self._recovery.mend()
        if self._is_written(row, fate):
            return
        patience, self._file.patience = self._file.patience, -1.0
        try:
            if not (self._file.power or self._file.network):
                self._file.execute("pragma synchronous = normal")
            self._file.execute(INSERTS[len(row)], row)
            self.counts["recorded"] += 1
            fate += (True,)
            self._file.remember(row)
        finally:
            self._file.patience = patience

    def _is_written(self, row: Row, fate: list[bool]) -> bool:
        """Return whether a row is in the journal, and count it if so, as an interruption can come after its commit."""
        # By its identity, not by its seq: other processes may have written any number of rows since.
        if not self._file.holds(row):
            return False
        self.counts["recorded"] += 1
        fate += (True,)
        self._file.remember(row)
        return True

    def _refused(self, row: Row, error: BaseException, fate: list[bool]) -> None:
        """Recover the file if possible after SQLite refused a row, and write the row once more, or spill it."""
        if isinstance(error, Waiting):
            self._spill_row(row, None, fate)
            return
        if self._file.connection is not None and not self._file.in_place():
            try:
                self._insert_again(row, fate)
                return
            except Exception as again:
                # The spill file is left.
                if fate or is_interruption(again):
                    raise
                error = again
        if isinstance(error, apsw.CorruptError | apsw.NotADBError) and self._file.set_aside(error):
            try:
                self._file.execute(INSERTS[len(row)], row)
                self.counts["recorded"] += 1
                fate += (True,)
                return
            except Exception as again:
                # The new file failed as well: the spill file is left.
                if fate or is_interruption(again):
                    raise
                error = again
        if isinstance(error, apsw.ConnectionClosedError | apsw.IOError | apsw.CantOpenError):
            self._file.drop()
        # After one long wait, the next tries are short until one succeeds.
        self._file.patience = 0.05
        self._file.execute = refuse
        self._file.look_at = monotonic() + LOOK_EVERY
        self._spill_row(row, error, fate)

    def _spill_row(self, row: Row, error: BaseException | None, fate: list[bool]) -> None:
        """Keep a row that SQLite did not take, with its id, in the spill file."""
        kept = self.losses.add(row)
        fate += (kept,)
        self._file.look_at = min(self._file.look_at, monotonic() + LOOK_EVERY)
        if not kept:
            reasons = [str(reason) for reason in (error, self.losses.refusal) if reason is not None]
            why = "; ".join(reasons) or "no folder takes a spill file"
            say_once("dropped", f"an event could be written nowhere and is lost ({why}); see `localops doctor`")
        elif error is not None:
            say_once(f"spill {type(error).__name__}", _spill_sentence(error))

    def _check(self, now: float) -> None:
        """Check that the files at their paths are those that we write to; at most a thousand times a second."""
        file = self._file
        if now >= file.look_at:
            self._look(now)
        elif file.connection is not None and not file.connection.in_transaction:
            if not file.in_place():
                self._recovery.mend()
            elif file.execute is not refuse:
                self._wal.tend(now)
        file.check_at = min(now + CHECK_EVERY, file.look_at)
        file.recent.clear()

    def _look(self, now: float) -> None:
        """Check, twice a second, that this process was not forked and that the file is still ours."""
        file = self._file
        # A fork that did not run Python's hooks.
        if file.pid != os.getpid():
            self._become_child()
        if file.barred:
            raise JournalError(file.barred)
        file.look_at = now + LOOK_EVERY
        if file.connection is None:
            file.open()
        # Locks are checked twice, as to act on a momentary state would do more harm.
        elif not file.in_place() or not (file.sound() or file.sound()):
            self._recovery.mend()
        elif os.stat(file.path).st_nlink > 1:
            self._recovery.open_again(list(file.recent), f"{file.path} has a second name (a hard link)")
        elif file.is_cut_short():
            self._recovery.begin_after_damage(JournalError("it was cut short while it was in use"))
        else:
            file.execute = file.connection.cursor().execute
        self._after_look()

    def _after_look(self) -> None:
        connection = self._file.connection
        assert connection is not None
        self._recovery.sound_seq = connection.execute("select max(seq) from event").get or 0
        self._file.recent.clear()
        if self.losses.figures or self.losses.waiting:
            self.losses.write(self._file)
            self.collect()
            self.losses.release()
        self._file.patience = self._file.wait
        if step := clock.step_ns():
            for session in [*self.sessions] or [rows.NO_SESSION]:
                self._file.execute(INSERT, own_row("clock", session, {"step_ns": step}))
        if self.participant is not None:
            self.participant.check()
        self._chores_due = True

    # Opening and closing

    def _after_open(self) -> None:
        """Identify the journal after it was opened, and collect what waits."""
        self.id = self._file.identify()
        self._rollups.begin()
        if not self._file.is_part and (waiting(self.folder) or blobs.waiting(self.folder) or parts.ended(self.folder)):
            self.collect()

    def renew(self) -> None:
        """Give a new id to a journal that was set back to an earlier state, whose seqs are other rows elsewhere."""
        self.id = self._alone(lambda: self._file.give_new_id(self.id))

    def close(self) -> None:
        """Close the file; a later append opens it again."""
        with self._lock:
            if self._file.connection is not None or self.losses.figures:
                self._final_check()
            self._file.drop(checkpoint=True)
            if self._file.is_part:
                parts.finish(self._file.path)
            if self.participant is not None:
                self.participant.close()
                self.participant = None
            self.losses.account()

    def outlive_threads(self) -> None:
        """Never wait for a daemon thread that stops for good in the middle of a write, as the process ends."""
        if not isinstance(self._lock, EndLock):
            self._lock = self.losses.lock = EndLock(self._lock)

    def _final_check(self) -> None:
        """Save rows that were written to a file that is gone, and record losses, before the file is closed."""
        try:
            # Also what others have left.
            self.losses.waiting = self.losses.waiting or bool(waiting(self.folder))
            self._alone(lambda: self._look(monotonic()))
        except (apsw.Error, LocalopsError, OSError) as error:
            if is_interruption(error):
                raise
            # `Losses.account` keeps the figures elsewhere.

    # Taking part

    def participate(self) -> Participant:
        """Return this process as a participant; its lock file is made at the first call."""
        with self._lock:
            if self.participant is None:
                self.participant = Participant(self.folder)
            return self.participant

    def _become_child(self) -> None:
        """Reset the state in a forked child, which has written nothing yet."""
        self.participant = None
        self.losses.become_child()
        self.counts.update(dict.fromkeys(self.counts, 0))
        self._file.leave_to_parent(inside=self._inside)

    # Derived tables

    def fold(self) -> None:
        """Fold all rows, so that readers need not read past the mark."""
        self._alone(self._rollups.everything)

    def _alone(self, work: Callable[[], T], *, to_write: bool = True) -> T:
        """Run `work` with the lock held and the file open; rows of signal handlers go to the spill file meanwhile."""
        # Not a context manager: one that is written in Python can be interrupted before it releases the lock.
        with self._lock:
            inside, self._inside = self._inside, True
            try:
                if self._file.connection is None or (to_write and self._file.execute is refuse):
                    self._look(monotonic())
                else:
                    self._check(monotonic())
                return work()
            finally:
                self._inside = inside

    def transact(self, work: Callable[[Execute], None], *, full: bool = False, folded: bool = True) -> None:
        """Run `work` in an immediate transaction, over a journal that is folded to its end (or as it is).

        The rows that `work` writes are folded in the same transaction: a row that cannot be folded would block all
        rows after it, and is not kept.
        """
        self._alone(lambda: self._transact(work, full=full, folded=folded))

    def _transact(self, work: Callable[[Execute], None], *, full: bool, folded: bool) -> None:
        if folded:
            self._rollups.everything()
        execute, keeper = self._file.execute, self.keeper
        # What a keeper has is safe without a sync here.
        full = full and keeper is None
        try:
            if full:
                execute("pragma synchronous = full")
            execute("begin immediate")
            self._run(work, execute, folded=folded)
            execute("commit")
            # Other processes may not see what was written.
            if not self._file.in_place():
                raise JournalError(f"the files of {self._file.path} were removed while it was written: do it again")
        except BaseException:
            self._file.roll_back()
            if keeper is not None:
                keeper.rolled_back()
            raise
        finally:
            if full and not (self._file.power or self._file.network):
                execute("pragma synchronous = normal")

    def _run(self, work: Callable[[Execute], None], execute: Execute, *, folded: bool) -> None:
        if self.keeper is not None:
            self.keeper.begun(execute)
        if folded:
            # Rows of other processes since.
            self._rollups.inside(1, sys.maxsize)
        work(execute)
        if folded:
            self._rollups.inside(1, sys.maxsize)
        if self.keeper is not None:
            self.keeper.before_commit(execute)

    def secure(self) -> None:
        """Sync the file, so that every row that was committed before survives a power cut."""
        touch = "update meta set value = value where key = 'about'"
        self.transact(lambda execute: execute(touch), full=True, folded=False)

    def add(self, incoming: Iterable[Row], *, only: Callable[[Source, Row], bool] | None = None) -> int:
        """Write rows from elsewhere, ignoring known identities; return how many were new. Synced when this returns.

        `only` decides in the same transaction, from what it reads there, whether a row is written.
        """
        added = 0
        inside = _Inside(self._file)
        for batch in _batches(incoming, 1_000):
            new: list[Row] = []

            def work(execute: Execute, batch: Sequence[Row] = batch, new: list[Row] = new) -> None:
                # Empty, as all rows are folded, except in a journal that only a newer release folds.
                seen = set(execute(_UNFOLDED).fetchall())
                ids = '["' + '","'.join([row[0].hex() for row in batch]) + '"]'
                seen.update(execute(_KNOWN_OF, (ids,)).fetchall())
                for row in batch:
                    identity = (row[0], row[1])
                    if identity in seen:
                        continue
                    if only is not None and not only(inside, row):
                        continue
                    seen.add(identity)
                    new.append(row)
                    execute(INSERTS[len(row)], row)

            self.transact(work, full=True)
            added += len(new)
        return added

    def collect(self) -> int:
        """Collect what waits: spill files, blobs in the state folder, and parts of a network file system."""
        blobs.collect(self.folder)
        added = sum(_collect_spill(self, path) for path in waiting(self.folder))
        # Last, so that an interruption changes nothing.  Files that another process is collecting, or that could not be
        # read or removed, still wait: that process may not be able to finish.
        self.losses.waiting = bool(waiting(self.folder))
        ended = [] if self._file.is_part else parts.ended(self.folder)
        return added + sum(_collect_part(self, path) for path in ended)

    def rebuild(self) -> None:
        """Empty all derived tables and fold all rows again; totals stay exact meanwhile."""
        self.transact(rollups.forget)
        self.fold()

    def compact(self) -> bool:
        """Give freed pages back to the file system; other writers wait meanwhile. Return whether the WAL is empty."""
        return self._alone(self._file.compact)

    def empty_wal(self) -> bool:
        """Copy all of the WAL into the file and give its space back; return False if a reader prevented that."""
        return self._alone(self._file.empty_wal)

    # Reading

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a named query, including what this process wrote."""
        if self.keeper is not None:
            self.keeper.before_read(self, name, values)
        try:
            return self._alone(lambda: self._file.ask(statements("queries.sql")[name], values), to_write=False)
        except (apsw.FullError, apsw.ReadOnlyError) as error:
            # Its files have to be made or opened for writing first.
            raise JournalError(f"{self.path}: {user_message(error)}") from error
        except apsw.Error as error:
            raise JournalError(f"{self.path} cannot be read: {reason(error)}") from error

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        """Return the first row of a named query."""
        records = self.all(name, **values)
        return records[0] if records else None


class _Inside:
    """Runs the named queries in the transaction that is open; `Journal.all` could recover the file first."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        return self._file.ask(statements("queries.sql")[name], values)

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        records = self.all(name, **values)
        return records[0] if records else None


def run_chores(chores: deque[Callable[[], bool]]) -> None:
    """Run each chore once; drop one that fails, and never raise into the thread that appends."""
    due: list[Callable[[], bool]] = []
    while chores:
        try:
            # One by one, so that several threads take different chores.
            due.append(chores.popleft())
        except IndexError:
            break
    while due:
        try:
            again = due[-1]()
        except BaseException as error:
            # Wide, as the row is written, and its caller must not fail for a chore.
            if interruption.seems_programs(error):
                chores.extend(due)
                raise
            say_once("chore", f"a task of the recorder failed: {type(error).__name__}: {error}")
            again = False
        chore = due.pop()
        if again:
            chores.append(chore)


def take_in(journal: Journal, path: str) -> int:
    """Move the rows of a spill file into a journal; if that fails, the file stays."""
    claim = Claim(path)
    try:
        unread: list[bytes] = []
        added = journal.add(_rows_only(claim.rows(), unread))
        claim.done(unread)
        return added
    finally:
        # Directly, as the program could interrupt a method of ours.
        claim.file.close()


def _collect_spill(journal: Journal, path: str) -> int:
    """Collect a spill file, unless it cannot be read or another process is collecting it."""
    try:
        return take_in(journal, path)
    except (apsw.Error, JournalError, OSError) as error:
        if not is_refusal(error):
            raise
        # It stays for the next process that opens the journal.
        return 0


def _collect_part(journal: Journal, path: str) -> int:
    """Collect the part that a process wrote on a network file system."""
    try:
        with participants.alone(os.path.dirname(path)):
            _heal(path)
            with Reader(path) as part:
                added = journal.add(row.bare for row in part.stream())
            for side in ("", "-journal"):
                remove(path + side)
        return added
    except (apsw.Error, JournalError, OSError) as error:
        if not is_refusal(error):
            raise
        return 0


def _heal(path: str) -> None:
    """Undo the incomplete transaction of a killed process, which a reader cannot do."""
    connection = connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    try:
        connection.execute("select count(*) from sqlite_schema").fetchall()
    finally:
        connection.close()


def _spill_sentence(error: BaseException) -> str:
    why = str(error) if isinstance(error, JournalError) else f"the journal cannot be written: {reason(error)}"
    return f"{why}; events are kept in a spill file and go into the journal later (see `localops doctor`)"


def _batches(incoming: Iterable[Row], size: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in incoming:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows_only(lines: Iterable[Row | bytes], unread: list[bytes]) -> Iterator[Row]:
    for row in lines:
        if isinstance(row, bytes):
            unread.append(row)
        else:
            yield row
