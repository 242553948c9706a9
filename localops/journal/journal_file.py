"""The file of a journal in one process: open, migrate and watch it, and set a damaged one aside.

This module knows the file's path and id, and whether the file is still in its place.  `journal.py` writes to it, and
`recovery.py` saves its rows if the file was taken away.

At any time, other programs may move, delete, truncate, link or replace the file, its -wal or its -shm, or close our
descriptors; so its inodes, locks, links and length are checked regularly (`Watch`).
"""

from __future__ import annotations

import os
import time
from _random import Random
from itertools import chain

import apsw

from localops import clock, host, interruption
from localops.config import JOURNAL
from localops.errors import ForeignJournal, JournalError, NewerJournal
from localops.journal import lost_wal, participants, parts, rows, sql
from localops.journal.locks import MARK, TAKEN, Watch, bar_lost, high_descriptors, opened, sqlite_name
from localops.journal.reader import (
    APPLICATION_ID,
    close_readers,
    connect,
    has_our_header,
    is_cut,
    is_open_on,
    left_by_crash,
    length_in_header,
)
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from localops.journal.participants import Participant
    from localops.journal.rows import Row

    Execute = Callable[..., Any]

PLACE_EVERY = 8  # while waiting for a lock, check our files after so many naps

monotonic = clock.monotonic  # a global name, as every event calls it

_COUNTED = (*rows.COLUMNS, *rows.COUNTS_IN_BODY)
# The statements by the length of a row: a short row, a whole row, and that of an LLM call with counts of its body.
INSERTS = {len(columns): rows.insertion(columns) for columns in (rows.PLAIN, rows.COLUMNS, _COUNTED)}
INSERT = INSERTS[len(rows.COLUMNS)]
# So many rows are inserted with one statement, where there are enough.
_TOGETHER = 25
_together: dict[int, str] = {}
# A row is among the folded rows, which have an index, or after the mark.  One statement reads both, as another process
# could fold between two statements.
_WRITTEN = (
    "select 1 from id_of where id = ?1 and phase = ?2 union all "
    "select 1 from event where seq > (select seq from mark) and id = ?1 and phase = ?2 limit 1"
)
_ABOUT = "A localops journal: what AI agents did, a row each. Read it with `localops`, or a copy with any SQLite tool."

# Connections that must never be closed: after a fork, their locks are the parent's; or the program reused descriptors.
leaked: list[apsw.Connection] = []


def insert_rows(execute: Execute, new: Sequence[Row]) -> None:
    """Write rows in an open transaction.

    Many with one statement: apsw keeps what it has executed the last hundred times prepared, so that a hundred
    single rows would push out all the statements that fold them.
    """
    even = new
    if {*map(len, new)} != {len(rows.COLUMNS)}:
        even = list(map(rows.with_counts_if_known, new))
        # SQL finds those of a body that was not looked into, in rows of one form.
        if len({*map(len, even)}) > 1:
            even = list(map(rows.whole, new))
    last = len(even) - len(even) % _TOGETHER
    for first in range(0, last, _TOGETHER):
        some = even[first : first + _TOGETHER]
        execute(_insert_together(len(some[0])), list(chain.from_iterable(some)))
    for row in even[last:]:
        execute(INSERTS[len(row)], row)


def _insert_together(form: int) -> str:
    """Return the statement for _TOGETHER rows of a length: complete ones, or with the counts of their bodies."""
    statement = _together.get(form)
    if statement is None:
        columns = rows.COLUMNS if form == len(rows.COLUMNS) else _COUNTED
        statement = _together[form] = rows.insertion(columns, many=_TOGETHER)
    return statement


class JournalFile:
    """The file of a journal, for a process that writes to it.

    `execute` runs statements while the file is open; otherwise it raises Waiting.  `after_open` is called when the file
    has been opened, `keep` with rows that the file may have lost, `participate` to name a part after its participant.
    """

    def __init__(
        self,
        folder: str,
        *,
        power: bool,
        wait: float,
        gather: bool,
        mountinfo: str | None,
        vfs: str | None,
        after_open: Callable[[], None],
        keep: Callable[[Row], bool],
        participate: Callable[[], Participant],
    ) -> None:
        self.folder = folder
        self.power = power
        self.wait = wait
        self.patience = wait  # seconds to wait for a lock, for now
        self.gave_up = False  # the last wait for a lock failed
        self.vfs = vfs
        self.pid = os.getpid()
        self.connection: apsw.Connection | None = None
        self.execute: Execute = refuse
        self.barred: str | None = None  # why this process must not open the journal any more
        self.may_fold = True
        self.check_at = 0.0
        self.look_at = 0.0
        self.inodes: list[int] = []
        self.watch = Watch("")
        self.position: Callable[[], int] = _anywhere
        self.recent: list[Row] = []  # rows written since the last check; other processes see all rows before it
        self.remember = self.recent.append
        self._known_ours = False
        # What a crash has left, and what was lost of it; see `lost_wal.py`.
        self._left_by_crash: lost_wal.Index | None = None
        self._lost: tuple[lost_wal.Index, int] | None = None
        self._size = 0
        self._busy_since = self._napped = 0.0
        self._random = Random()
        self._gather = gather  # open the project's own file even on a network file system, to collect parts into it
        self._mountinfo = mountinfo
        self._after_open, self._keep, self._participate = after_open, keep, participate
        if power:
            self._make_folder()
        self._place()

    def _make_folder(self) -> None:
        """Create the project's folder, synced, before anything is written into it."""
        try:
            host.make_private(self.folder, synced=True)
        except OSError as error:
            # Reported when the journal is opened.
            interruption.pass_on(error)

    def _place(self) -> None:
        """Choose the file: the project's, or one of our own on a network file system, where a -shm file cannot work."""
        try:
            self.network = host.is_network(host.filesystem(self.folder, self._mountinfo))
        except OSError as error:
            # No file descriptors left, for example.
            interruption.pass_on(error)
            self.network = False
        self.is_part = self.network and not self._gather
        name = parts.path_of(self.folder, self._participate()) if self.is_part else JOURNAL
        self.path = host.real_path(os.path.join(self.folder, name))

    @property
    def look_at(self) -> float:
        """Return when the next full check is due."""
        return self.next_look

    @look_at.setter
    def look_at(self, at: float) -> None:
        self.next_look = at
        self.check_at = min(self.check_at, at)

    def in_place(self) -> bool:
        """Return whether our descriptors and the -wal and -shm files are unchanged: the quick check."""
        if not self.watch.ours():
            return False
        self.position = self.watch.position or _anywhere
        try:
            if not self.network:
                return [os.stat(self.path + side).st_ino for side in ("-wal", "-shm")] == self.inodes[1:]
        except OSError as error:
            interruption.pass_on(error)
            return False
        return True

    def open(self) -> None:
        """Open the file; create it (0600) and its tables if they are missing."""
        self._lost = None
        # A part is complete once it was closed: continue in a new one.
        if self.is_part:
            self._place()
        host.make_private(os.path.dirname(self.path))
        self._make_file()
        if os.stat(self.path).st_nlink > 1:
            self._continue_in_copy()
        for last in (False, True):
            before = opened()
            self.connection, self.pid = self._open_connection(), os.getpid()
            self.execute = self.connection.cursor().execute
            try:
                if self._remember_files(before):
                    self._mark_lost()
                    return self._after_open()
            except BaseException:  # do not leave it half open
                self.drop()
                raise
            self.drop()
            # A reader of this process may still have a removed -shm file open.
            if not last:
                close_readers()
        raise JournalError(f"{self.path} was replaced while it was opened")

    def _continue_in_copy(self) -> None:
        """Continue in a copy of a file that has a second name, as in a backup of hard links.

        A file that is opened under two names would have two WALs, and become corrupt.  The copy is made while no
        process has the file open; under its other name, the file stays as it is, with its WAL.
        """
        close_readers()
        with participants.alone(self.folder):
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
        # A process died at the last step: the copy is complete.
        is_whole = host.exists(own) and not host.exists(self.path + "-wal")
        connection = connect(self.path, flags, self.vfs)
        try:
            connection.set_busy_handler(self.busy)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.pragma("locking_mode", "exclusive")
            if not is_whole:
                _check_ours(connection)
                part = own + ".part"
                for left in (part, own):
                    remove(left)
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
                connection.execute("vacuum into ?", (sqlite_name(part)[0],)).fetchall()
                os.rename(part, own)
            host.sync_folder(os.path.dirname(self.path))
            # The -shm file first: alone, it would show that a WAL is missing.
            for side in ("-shm", "-wal"):
                remove(self.path + side)
            os.rename(own, self.path)
            host.sync_folder(os.path.dirname(self.path))
        finally:
            connection.close()

    def _open_connection(self) -> apsw.Connection:
        """Open a connection and prepare it."""
        deadline = monotonic() + max(self.patience, 0.05)
        while True:
            connection = self._connect()
            try:
                with high_descriptors():
                    self._prepare(connection)
                return connection
            except apsw.BusyError:
                # The switch to WAL can be busy in spite of the busy handler.
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
            bar_lost(self.path, self.patience)
            self._left_by_crash = left_by_crash(self.path)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
        with high_descriptors():
            return connect(self.path, flags, self.vfs)

    def _mark_lost(self) -> None:
        """Write that sessions may have lost rows, if pages of the WAL were missing."""
        if self._lost is None or self.connection is None:
            return
        for row in lost_wal.marks(self.connection.execute, self.path, *self._lost):
            try:
                if not self.holds(row):
                    self.execute(INSERT, row)
            except apsw.Error:
                self._keep(row)
        self._lost = None

    def _make_file(self) -> None:
        # SQLite would delete the WAL of an empty file, and the rows in it.
        if is_cut(self.path):
            with participants.alone(self.folder):
                if is_cut(self.path):
                    self._move_aside(os.stat(self.path).st_ino, JournalError("it is empty, its WAL is not"))
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            # SQLite gives -wal and -shm the mode of this file.
            os.close(os.open(self.path, flags, 0o600))
        except FileExistsError:
            pass

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.set_busy_handler(self.busy)
        _check_ours(connection)
        # Before the first write, which adds pages.
        if self._left_by_crash is not None and (pages := lost_wal.pages_lost(self.path, self._left_by_crash)):
            self._lost = self._left_by_crash, pages
        mode = "delete" if self.network else "wal"
        # Set first: switching a new file to WAL is a transaction, which would sync its rollback journal twice.
        connection.pragma("synchronous", "full" if self.power or self.network else "normal")
        if connection.pragma("journal_mode", mode) != mode:
            raise apsw.CantOpenError(f"SQLite cannot use its {mode} mode here")
        connection.pragma("journal_size_limit", 16 << 20)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        if connection.pragma("user_version") < sql.SCHEMA:
            migrate(connection)
        self._known_ours = True
        self.may_fold = connection.pragma("user_version") == sql.SCHEMA  # a newer release folds its own way

    def busy(self, tries: int) -> bool:
        """Wait for the write lock in short random naps: SQLite's own waits grow to 100 ms and starve writers."""
        now = monotonic()
        if tries == 0:
            self._busy_since, self._napped = now, 0.0
        # The naps are added up as well, as the clock may not advance (in a test, for example).
        if max(now - self._busy_since, self._napped) > self.patience or self.barred:
            self.gave_up = True
            return False
        # Another process may hold the lock to bar writes through a lost -shm file: then stop waiting.
        if self.inodes and tries % PLACE_EVERY == 0 and not self.in_place():
            return False
        nap = 0.0003 + 0.0017 * self._random.random()
        self._napped += nap
        time.sleep(nap)
        return True

    def identify(self) -> str:
        """Return the id of the journal; give it a new one if it was created, copied, moved or restored here."""
        assert self.connection is not None
        place = host.place_of(self.path)
        known = {str(key): value for key, value in self.connection.execute("select key, value from meta")}
        if known.get("place") != place:
            self._give_id(known.get("journal"), place)
        return self._id()

    def give_new_id(self, was: str) -> str:
        """Replace the id of the journal by a new one, and return it."""
        place = self.execute("select value from meta where key = 'place'").get
        self.execute("update meta set value = '' where key = 'place'")
        self._give_id(was, place)
        return self._id()

    def _id(self) -> str:
        assert self.connection is not None
        id: str = self.connection.execute("select value from meta where key = 'journal'").get
        return id

    def _give_id(self, was: str | None, place: str) -> None:
        """Give a new, copied, moved or restored journal an id of its own, and write a row about it."""
        new = clock.new_id().hex()
        facts = {"journal": new, "was": was, "about": _ABOUT} if was else {"journal": new, "about": _ABOUT}
        row = own_row("journal", rows.NO_SESSION, facts, name="moved" if was else "begun")
        try:
            self.execute("begin immediate")
            if self.execute("select value from meta where key = 'place'").get != place:
                self.execute(INSERT, row)
                upsert = "insert into meta values(?, ?) on conflict do update set value = excluded.value"
                self.execute(upsert, ("journal", new))
                self.execute(upsert, ("place", place))
                if was:
                    earlier = self.execute("select value from meta where key = 'lineage'").get
                    self.execute(upsert, ("lineage", f"{was} {earlier or ''}".strip()))
            self.execute("commit")
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """Roll back an open transaction."""
        if self.connection is not None and self.connection.in_transaction:
            # By the cursor of `execute`, if possible: this also ends a statement that an interruption left half read.
            (self.connection.execute if self.execute is refuse else self.execute)("rollback")

    def _remember_files(self, before: frozenset[int]) -> bool:
        """Remember which files SQLite has open; return False if others are at their paths. `before`: see `Watch`."""
        try:
            self.inodes = self._inodes_now()
            self._size = os.stat(self.path).st_size
        except FileNotFoundError:
            return False
        self.watch = Watch(self.path, before)
        self.position = self.watch.position or _anywhere
        if self.watch.position and not self.network:
            self.execute("pragma wal_autocheckpoint = 0")  # `Wal.tend` does it
        return self.watch.attached

    def _inodes_now(self) -> list[int]:
        suffixes = ("",) if self.network else ("", "-wal", "-shm")
        return [os.stat(self.path + suffix).st_ino for suffix in suffixes]

    def sound(self) -> bool:
        """Return whether the files and our locks on them are still ours."""
        try:
            if self._inodes_now() != self.inodes:
                return False
        except OSError as error:
            interruption.pass_on(error)
            return False
        return self.watch.sound()

    def is_cut_short(self) -> bool:
        """Return whether the file is shorter than what SQLite has written to it."""
        size, before = os.stat(self.path).st_size, self._size
        self._size = size
        if size >= before:
            return False
        # A vacuum shrinks the file, too, so compare with the length in its header.  The connection's page count would
        # be too large, as it includes pages that are only in the WAL.
        return size < length_in_header(self.path)

    def _abandon(self) -> None:
        """Never use our descriptors again: the program closed them and reused their numbers for its own files."""
        connection, self.connection, self.execute = self.connection, None, refuse
        assert connection is not None
        # Leak the connection: freeing it, even at exit, would close the program's files.
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        leaked.append(_deny_all(connection))
        for row in self.recent:
            self._keep(row)
        self.barred = (
            "this process closed descriptors that localops had open, and opened other files under their numbers: it "
            "records into its spill file"
        )

    def has_lost_shared(self) -> bool:
        """Return whether only the -shm file is gone or replaced; check twice, as the others may be removed next."""
        for pause in (0.01, 0.0):
            try:
                journal, wal = (os.stat(self.path + side).st_ino for side in ("", "-wal"))
            except OSError as error:
                interruption.pass_on(error)
                return False
            if self.network or [journal, wal] != self.inodes[:2] or not self.watch.sound():
                return False
            try:
                if os.stat(self.path + "-shm").st_ino == self.inodes[2]:
                    return False
            except OSError as error:
                interruption.pass_on(error)
            time.sleep(pause)
        return True

    def is_same_file(self) -> bool:
        """Return whether the file at our path is the one that we opened."""
        try:
            return os.stat(self.path).st_ino == self.inodes[0]
        except OSError as error:
            interruption.pass_on(error)
            return False

    def is_deleted(self) -> bool:
        """Return whether the file that we opened has no name any more: it was deleted or replaced, not moved."""
        try:
            descriptors = os.listdir("/dev/fd")
        except OSError as error:
            # Not every system has it.
            interruption.pass_on(error)
            return False
        for descriptor in map(int, descriptors):
            try:
                status = os.fstat(descriptor)
            except OSError as error:
                # Closed meanwhile, as that of the listing is.
                interruption.pass_on(error)
                continue
            if status.st_ino == self.inodes[0] and status.st_nlink == 0:
                return True
        return False

    def detach_wal_of_moved(self, old: apsw.Connection) -> None:
        """Copy the WAL into the file that was moved away, and delete the WAL, as a new file gets its own."""
        patience, self.patience = self.patience, 0.05
        try:
            old.execute("pragma wal_checkpoint(truncate)").fetchall()
            if os.stat(self.path + "-wal").st_ino == self.inodes[1]:
                os.unlink(self.path + "-shm")
                os.unlink(self.path + "-wal")
        except apsw.Error:
            pass
        except OSError as error:
            # Both are gone, or another process is doing the same.
            interruption.pass_on(error)
        finally:
            self.patience = patience

    def drop(self, *, checkpoint: bool = False) -> None:
        """Close the file; with `checkpoint`, the last process to close it copies the WAL into it."""
        if self.connection is not None and self.watch.state() == TAKEN:
            self._abandon()
        connection, self.connection = self.connection, None
        self.execute = refuse
        self.look_at = 0.0
        self.inodes, self.watch, self.position = [], Watch(""), _anywhere
        self.recent.clear()
        if connection is not None:
            try:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(not checkpoint))
                connection.close()
            except apsw.Error:
                pass

    def set_aside(self, error: Exception) -> bool:
        """Rename a damaged journal and its WAL, and begin a new one; return False if that fails."""
        if not self._known_ours and not has_our_header(self.path):
            return False
        try:
            damaged = self.inodes[0] if self.inodes else os.stat(self.path).st_ino
            self.drop()
            with participants.alone(self.folder):
                # If not, another process has set it aside already.
                if os.stat(self.path).st_ino == damaged:
                    self._move_aside(damaged, error)
            self.open()
        except Exception as problem:
            # The edge: whatever is wrong with the disk, the spill file remains.
            if is_interruption(problem):
                raise
            return False
        return True

    def _move_aside(self, damaged: int, error: Exception) -> None:
        aside = f"{self.path}.corrupt-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{damaged}"
        for suffix in ("-wal", "-shm", ""):
            if host.exists(self.path + suffix):
                os.rename(self.path + suffix, aside + suffix)
        host.sync_folder(os.path.dirname(self.path))
        say_once(
            "damaged", f"the journal is damaged ({error}); it is kept as {aside}: `localops repair` saves its rows"
        )

    def holds(self, row: Row) -> bool:
        """Return whether a row is in the journal; if it cannot be read, refuse all writes until the next check.

        The row then goes to a spill file, and from there into the journal, unless it is there already.
        """
        if self.connection is None:
            return False
        try:
            if self.in_place():
                return bool(self.connection.execute(_WRITTEN, row[:2]).get)
        except apsw.Error:
            pass
        self.execute = refuse
        return False

    def ask(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        assert self.connection is not None
        return list(self.connection.execute(statement, values))

    def compact(self) -> bool:
        """Return free pages to the file system; return whether the WAL is empty, too."""
        self.execute("vacuum")
        return self.empty_wal()

    def empty_wal(self) -> bool:
        """Copy the whole WAL into the file and truncate it; return False if a reader prevented that."""
        is_busy, *_ = self.execute("pragma wal_checkpoint(truncate)").fetchone()
        return not is_busy

    def leave_to_parent(self, *, inside: bool) -> None:
        """In a forked child, abandon the parent's connections; `inside`: the fork was in the middle of a write."""
        self.pid = os.getpid()
        if self.connection is not None and not inside and not self.connection.in_transaction:
            # C code forked and ran only the hook after the fork: the locks are the parent's.
            self.drop()
        connections = apsw.connections()
        inherited = [one for one in connections if one is self.connection or is_open_on(one, self.path)]
        # For these SQLite assumes locks that this process does not have, also in a new connection to the same file.
        if inherited:
            # Closing one could roll back the parent's transaction.
            leaked.extend(map(_deny_all, inherited))
            self.connection, self.execute = None, refuse
            self.barred = "forked during a write to the journal: this process records into its spill file"


def _anywhere() -> int:
    """Return the mark, if the position of a descriptor cannot be read."""
    return MARK


class Waiting(Exception):
    """The journal refused a row recently; until the next full check, rows go to the spill file."""


def refuse(*_: object) -> Any:
    """Raise Waiting; this replaces `execute` while nothing can be written."""
    raise Waiting


def is_refusal(error: BaseException) -> bool:
    """Return whether SQLite or the system raised; an OSError without errno may be a TimeoutError of the program."""
    known = isinstance(error, apsw.Error | JournalError | Waiting)
    return known or (isinstance(error, OSError) and error.errno is not None)


def is_interruption(error: BaseException) -> bool:
    """Return whether an exception is, or may be, the program's own."""
    return not is_refusal(error) and interruption.is_programs(error) is not False


def own_row(kind: str, session: bytes, body: Mapping[str, object], name: str | None = None) -> Row:
    """Return a row that the journal itself writes."""
    # Imported here, as a command that only folds does not need orjson.
    from localops.encoding import encode

    at = clock.now_ns()
    text = encode.dumps(body).decode()
    return rows.make(kind, session, id=clock.new_id(at), at_ns=at, name=name, body=text)


def _deny_all(connection: apsw.Connection) -> apsw.Connection:
    """Prevent all writes of a connection: a write that a fork interrupted must not continue in both processes."""
    try:
        connection.authorizer = lambda *_: apsw.SQLITE_DENY
    except apsw.ThreadingViolationError:
        # In use by the busy handler, which gives up now, or by a thread that is gone.
        pass
    return connection


def _check_ours(connection: apsw.Connection) -> None:
    """Raise ForeignJournal for another program's database, NewerJournal if only a newer release may write to it."""
    # Read before the application id, which another process sets in the transaction that creates the tables.
    tables = connection.execute("select count(*) from sqlite_schema").get
    if connection.pragma("application_id") == APPLICATION_ID:
        if connection.pragma("user_version") > sql.SCHEMA:
            oldest = int(connection.execute("select value from meta where key = 'writer'").get or 0)
            if oldest > sql.SCHEMA:
                version = connection.pragma("user_version")
                raise NewerJournal(
                    f"a newer localops wrote this journal (schema {version}, this one knows {sql.SCHEMA}) and asks "
                    "older ones not to write to it: upgrade localops"
                )
    elif tables:
        raise ForeignJournal


def migrate(connection: apsw.Connection) -> None:
    """Migrate the tables to our schema and create our views, in one transaction, so that only one process does it.

    If the process is killed meanwhile, the journal is unchanged, and the next one migrates it.
    """
    connection.execute("begin immediate")
    try:
        version = connection.pragma("user_version")
        if version < sql.SCHEMA:
            for (view,) in connection.execute("select name from sqlite_schema where type = 'view'").fetchall():
                connection.execute(f'drop view "{view}"')
            for script in sql.migrations(version):
                connection.execute(script, can_cache=False).fetchall()
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


def remove(path: str) -> None:
    """Remove a file, if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
