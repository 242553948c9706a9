"""The journal: one SQLite file per project; each row is written immediately and never changed.

This module appends rows, runs transactions, folds and reads; rows that cannot be written go to the spill file.
`journal_file.py` opens and watches the file, `reader.py` only reads it.  The journal knows rows, not their meaning:
sessions, analytics and sync are in layers above.

Each process has one connection, behind one re-entrant lock.  Every append is one autocommit INSERT that touches one
page; all derived tables are folded from the rows in batches (sql/fold.sql).
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

import apsw

from localops import careful, clock, interruption
from localops.errors import JournalError, LocalopsError
from localops.journal import blobs, forks, participants, parts, rollups, rows
from localops.journal.end_lock import EndLock
from localops.journal.journal_file import (
    INSERT,
    INSERTS,
    JournalFile,
    Waiting,
    insert_rows,
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
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    from localops.journal.keeper import Keeper
    from localops.journal.rows import Row
    from localops.journal.stored import Source

    T = TypeVar("T")
    Execute = Callable[..., Any]

LOOK_EVERY = 0.5  # seconds between full checks that the file, its WAL and our locks are still there
CHECK_EVERY = 0.001  # seconds between quick checks that the files at the paths are those that we have open

# Which of the rows to write are in the journal: one statement for all takes half as long as one for each.
_KNOWN_OF = "select id, phase from id_of where id in (select unhex(value) from json_each(?))"
_UNFOLDED = "select id, phase from event where seq > (select seq from mark)"


class Journal:
    """The journal of one project, in a process that writes to it.

    `append` never raises: a row that SQLite cannot write goes to the spill file with the same id, and into the journal
    later.  `counts` has the number of calls by result.
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
        # Run by an appending thread, outside the lock, after each full check; a chore that returns True is run again.
        self.chores: deque[Callable[[], bool]] = deque()
        self.sessions: set[bytes] = set()  # open in this process; their milestones are copied if a new file is needed
        self.keeper: Keeper | None = None  # also stores the rows elsewhere
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
        """Return the path of the file: the project's journal, or this process's part on a network file system."""
        return self._file.path

    @property
    def is_part(self) -> bool:
        """Return whether it is the part of one process, as on a network file system."""
        return self._file.is_part

    # Writing

    def append(self, row: Row, sync: bool = False) -> bool:
        """Write one row; when this returns True, the row is in a file and survives the end of the process.

        With `sync` it survives a power cut as well (with durability "power", every row does).
        Return False if the row could be written neither to the journal nor to a spill file; count it and warn.
        """
        fate: list[bool] = []
        file = self._file
        try:
            with self._lock:
                # A signal handler or `__del__` records in the middle of our own write.
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
                    # The edge: no error of SQLite or the disk may reach the program (perhaps near its recursion limit).
                    return careful.roomy(self._on_write_error, row, error, fate)
                finally:
                    self._inside = False
            if self._chores_due:
                self._chores_due = False
                run_chores(self.chores)
        except BaseException as error:
            # Interrupted while taking or releasing the lock, or in a chore.
            if fate and type(error) is RecursionError:
                return fate[0]
            return careful.roomy(self._on_outer_error, row, error, fate)
        return True

    def sync_due(self) -> bool:
        """Return whether the last sync is a tenth of a second ago, so that one is due before a long wait."""
        return self._wal.sync_due()

    def _on_write_error(self, row: Row, error: BaseException, fate: list[bool]) -> bool:
        """Store the row of an append that raised, exactly once, even if this is interrupted several times.

        `fate` is empty as long as the row is not stored; then it holds whether the row was kept or lost.
        """
        for _ in range(interruption.MOST):
            try:
                self._resolve(row, error, fate)
                break
            except BaseException as again:
                error = again
        if not fate:
            # This also counts it for its session, for `localops doctor`.
            self.losses.drop(row[2])
            fate += (False,)
        return fate[0]

    def _on_outer_error(self, row: Row, error: BaseException, fate: list[bool]) -> bool:
        """Do the same as `_on_write_error`, for an exception that was raised outside the lock."""
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
        """Determine whether a row was written and whether the program raised; if needed, write or spill the row."""
        refusal = is_refusal(error)
        programs = False if refusal else interruption.is_programs(error)
        if programs:
            interruption.hold(error)
        # The recursion limit was reached in our calls; here it is raised.
        had_no_room = type(error) is RecursionError
        if programs is False and not had_no_room:
            # If SQLite refused the row, it is not there: a lookup for each row would be slow while the journal is busy.
            if not fate and (refusal or not self._is_written(row, fate)):
                self._on_refusal(row, error, fate)
            return
        # Close any open transaction, and make a full check before the next row.
        self._file.look_at = 0.0
        self._file.roll_back()
        if not fate:
            try:
                self._insert_again(row, fate)
            except BaseException as again:
                # The same error twice: the row cannot be written; the program did not interrupt us.
                if programs is None and type(again) is type(error) and not interruption.is_programs(again):
                    self._on_refusal(row, again, fate)
                    return
                if not is_refusal(again):
                    raise
                self._spill_row(row, None, fate)
        if programs is None and interruption.could_be_programs(error):
            interruption.hold(error)

    def _insert_again(self, row: Row, fate: list[bool]) -> None:
        """Write a row without waiting for locks, so that the program gets its exception soon."""
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
        """Return whether a row was committed before an interruption; if so, count it."""
        # Look up its identity: its seq is not known, as other processes may have written rows since.
        if not self._file.holds(row):
            return False
        self.counts["recorded"] += 1
        fate += (True,)
        self._file.remember(row)
        return True

    def _on_refusal(self, row: Row, error: BaseException, fate: list[bool]) -> None:
        """After SQLite refused a row, recover the file if possible and write the row again, else spill it."""
        if isinstance(error, Waiting):
            self._spill_row(row, None, fate)
            return
        if self._file.connection is not None and not self._file.in_place():
            try:
                self._insert_again(row, fate)
                return
            except Exception as again:
                # Continue: the spill file remains.
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
                # The new file failed as well: the spill file remains.
                if fate or is_interruption(again):
                    raise
                error = again
        if isinstance(error, apsw.ConnectionClosedError | apsw.IOError | apsw.CantOpenError):
            self._file.drop()
        # After one long wait, wait only briefly until a write succeeds.
        self._file.patience = 0.05
        self._file.execute = refuse
        self._file.look_at = monotonic() + LOOK_EVERY
        self._spill_row(row, error, fate)

    def _spill_row(self, row: Row, error: BaseException | None, fate: list[bool]) -> None:
        """Write a row that SQLite refused to the spill file, with its id."""
        kept = self.losses.add(row)
        fate += (kept,)
        self._file.look_at = min(self._file.look_at, monotonic() + LOOK_EVERY)
        if not kept:
            reasons = [str(reason) for reason in (error, self.losses.refusal) if reason is not None]
            why = "; ".join(reasons) or "no folder takes a spill file"
            say_once("dropped", f"an event could not be written anywhere and is lost ({why}); see `localops doctor`")
        elif error is not None:
            say_once(f"spill {type(error).__name__}", _spill_sentence(error))

    def _check(self, now: float) -> None:
        """Check that the files at the paths are those that we have open; at most a thousand times a second."""
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
        if careful.raised:
            careful.restore_limit()

    def _look(self, now: float) -> None:
        """Make the full check: that this process was not forked, and that file and locks are still ours."""
        file = self._file
        # It was forked without running Python's hooks.
        if file.pid != os.getpid():
            self._become_child()
        if file.barred:
            raise JournalError(file.barred)
        file.look_at = now + LOOK_EVERY
        if file.connection is None:
            file.open()
        # Locks are checked twice: recovering because of a momentary state would do more harm.
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
        """Read the id of the journal that was just opened, and collect waiting files."""
        self.id = self._file.identify()
        self._rollups.begin()
        if not self._file.is_part and (waiting(self.folder) or blobs.waiting(self.folder) or parts.ended(self.folder)):
            self.collect()

    def renew(self) -> None:
        """Give a new id to a journal that was restored from a backup: elsewhere, its next seqs belong to other rows."""
        self.id = self._run_locked(lambda: self._file.give_new_id(self.id))

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
        """As the process ends, do not wait for locks of daemon threads that were stopped in the middle of a write."""
        if not isinstance(self._lock, EndLock):
            self._lock = self.losses.lock = EndLock(self._lock)

    def _final_check(self) -> None:
        """Before closing, save rows that were written to a file that is gone, and record losses."""
        try:
            # Other processes may have left spill files, too.
            self.losses.waiting = self.losses.waiting or bool(waiting(self.folder))
            self._run_locked(lambda: self._look(monotonic()))
        except (apsw.Error, LocalopsError, OSError) as error:
            if is_interruption(error):
                raise
            # Ignored: `Losses.account` then writes the figures to a spill file.

    # Taking part

    def participate(self) -> Participant:
        """Return this process as a participant; the first call creates its lock file."""
        with self._lock:
            if self.participant is None:
                self.participant = Participant(self.folder)
            return self.participant

    def _become_child(self) -> None:
        """Reset the state in a forked child, as it has written nothing yet."""
        self.participant = None
        self.losses.become_child()
        self.counts.update(dict.fromkeys(self.counts, 0))
        self._file.leave_to_parent(inside=self._inside)

    # Derived tables

    def fold(self) -> None:
        """Fold all rows into the derived tables."""
        self._run_locked(self._rollups.everything)

    def _run_locked(self, work: Callable[[], T], *, to_write: bool = True) -> T:
        """Run `work` with the lock held and the file open; rows of signal handlers are spilled meanwhile."""
        # Not a context manager of ours: Python code could be interrupted before it releases the lock.
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
        """Run `work` in an immediate transaction; with `folded`, fold all rows before and after it.

        The rows that `work` writes are folded in the same transaction: if one cannot be folded, all are rolled back,
        as it would block all later rows.
        """
        self._run_locked(lambda: self._transact(work, full=full, folded=folded))

    def _transact(self, work: Callable[[Execute], None], *, full: bool, folded: bool) -> None:
        if folded:
            self._rollups.everything()
        execute, keeper = self._file.execute, self.keeper
        # Rows that a keeper has stored need no sync here.
        full = full and keeper is None
        try:
            if full:
                execute("pragma synchronous = full")
            execute("begin immediate")
            self._run(work, execute, folded=folded)
            execute("commit")
            # The files were replaced: other processes may not see what was written.
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
            # Fold rows that other processes have written meanwhile.
            self._rollups.inside(1, sys.maxsize)
        work(execute)
        if folded:
            self._rollups.inside(1, sys.maxsize)
        if self.keeper is not None:
            self.keeper.before_commit(execute)

    def secure(self) -> None:
        """Sync the file, so that all committed rows survive a power cut."""
        touch = "update meta set value = value where key = 'about'"
        self.transact(lambda execute: execute(touch), full=True, folded=False)

    def add(self, incoming: Iterable[Row], *, only: Callable[[Source, Row], bool] | None = None) -> int:
        """Write rows from elsewhere, skip known ones, sync, and return how many were new.

        `only` decides for each row whether it is written; it runs, and may query, in the same transaction.
        """
        added = 0
        inside = _Inside(self._file)
        for batch in _batches(incoming, 1_000):
            new: list[Row] = []

            def work(execute: Execute, batch: Sequence[Row] = batch, new: list[Row] = new) -> None:
                # Usually empty, as all rows are folded; not so in a journal that only a newer release may fold.
                seen = set(execute(_UNFOLDED).fetchall())
                ids = '["' + '","'.join([row[0].hex() for row in batch]) + '"]'
                seen.update(execute(_KNOWN_OF, (ids,)).fetchall())
                if only is None:
                    new += _unseen(batch, seen)
                    insert_rows(execute, new)
                    return
                for row in batch:
                    identity = (row[0], row[1])
                    if identity not in seen and only(inside, row):
                        seen.add(identity)
                        new.append(row)
                        insert_rows(execute, (row,))

            self.transact(work, full=True)
            added += len(new)
        return added

    def collect(self) -> int:
        """Collect spill files, blobs in the state folder, and parts of a network file system; return the new rows."""
        blobs.collect(self.folder)
        added = sum(_collect_spill(self, path) for path in waiting(self.folder))
        # Set only now, in case of an interruption.  Files that could not be read or removed still wait, and so do those
        # that another process is collecting, as it may not finish.
        self.losses.waiting = bool(waiting(self.folder))
        ended = [] if self._file.is_part else parts.ended(self.folder)
        return added + sum(_collect_part(self, path) for path in ended)

    def rebuild(self) -> None:
        """Empty all derived tables and fold all rows again; readers still get exact totals meanwhile."""
        self.transact(rollups.forget)
        self.fold()

    def compact(self) -> bool:
        """Return free pages to the file system; other writers wait meanwhile. Return whether the WAL is empty."""
        return self._run_locked(self._file.compact)

    def empty_wal(self) -> bool:
        """Copy the whole WAL into the file and truncate it; return False if a reader prevented that."""
        return self._run_locked(self._file.empty_wal)

    # Reading

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a named query, including what this process wrote."""
        if self.keeper is not None:
            self.keeper.before_read(self, name, values)
        try:
            return self._run_locked(lambda: self._file.ask(statements("queries.sql")[name], values), to_write=False)
        except (apsw.FullError, apsw.ReadOnlyError) as error:
            # Reading, too, may have to create files or open them for writing.
            raise JournalError(f"{self.path}: {user_message(error)}") from error
        except apsw.Error as error:
            raise JournalError(f"{self.path} cannot be read: {reason(error)}") from error

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        """Return the first row of a named query."""
        records = self.all(name, **values)
        return records[0] if records else None


def _unseen(batch: Sequence[Row], seen: Collection[tuple[bytes, int]]) -> Sequence[Row]:
    """Return the rows that are not known yet, each once."""
    identities = [(row[0], row[1]) for row in batch]
    if len({*identities, *seen}) == len(identities) + len(seen):  # nearly always
        return batch
    unseen: dict[tuple[bytes, int], Row] = {}
    for identity, row in zip(identities, batch, strict=True):
        if identity not in seen:
            unseen.setdefault(identity, row)
    return list(unseen.values())


class _Inside:
    """Runs named queries in the open transaction, as `Journal.all` may first check and recover the file."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        return self._file.ask(statements("queries.sql")[name], values)

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        records = self.all(name, **values)
        return records[0] if records else None


def run_chores(chores: deque[Callable[[], bool]]) -> None:
    """Run each chore once; drop one that fails, and raise nothing into the program."""
    due: list[Callable[[], bool]] = []
    while chores:
        try:
            # One at a time, so that several threads take different chores.
            due.append(chores.popleft())
        except IndexError:
            break
    while due:
        try:
            again = due[-1]()
        except BaseException as error:
            # The edge: the row is written, and a failed chore must not raise into its caller.
            if interruption.seems_programs(error):
                chores.extend(due)
                raise
            # The program may be near its recursion limit, which leaves no room for our calls.
            again = type(error) is RecursionError
            if not again:
                say_once("chore", f"a task of the recorder failed: {type(error).__name__}: {error}")
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
        # Not by `Claim.close`: an exception of the program could interrupt that method.
        claim.file.close()


def _collect_spill(journal: Journal, path: str) -> int:
    """Collect a spill file, unless it cannot be read or another process is collecting it."""
    try:
        return take_in(journal, path)
    except (apsw.Error, JournalError, OSError) as error:
        if not is_refusal(error):
            raise
        # The next process that opens the journal will collect it.
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
    """Roll back the incomplete transaction of a killed process, as a read-only connection cannot."""
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
