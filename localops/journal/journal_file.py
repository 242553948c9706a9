"""The file of a journal in one process: opens, migrates and watches it, and sets a damaged one aside.

It knows the file's path, whether the file is still there, and its id.  `journal.py` writes to it, and `recovery.py`
saves its rows when the file was taken away.

Others may at any time move, delete, cut, link or replace the file, its -wal or its -shm, or close our descriptors; so
its inodes, locks, links and length are checked again and again (`Watch`).
"""

from __future__ import annotations

import os
import time
from _random import Random

import apsw

from localops import clock, host, interruption
from localops.config import JOURNAL
from localops.errors import ForeignJournal, JournalError, NewerJournal
from localops.journal import participants, parts, rows, sql
from localops.journal.locks import MARK, TAKEN, Watch, bar_lost, high_descriptors, opened, sqlite_name
from localops.journal.reader import APPLICATION_ID, close_readers, connect, has_our_header, is_cut, length_in_header
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from localops.journal.participants import Participant
    from localops.journal.rows import Row

    Execute = Callable[..., Any]

PLACE_EVERY = 8  # naps between two checks of our files, while we wait for a lock

monotonic = clock.monotonic  # bound once, as every event calls it

# By the length of a row: a short one, a complete one, and that of an LLM call with the counts of its body.
INSERTS = {
    len(columns): rows.insertion(columns)
    for columns in (rows.PLAIN, rows.COLUMNS, (*rows.COLUMNS, *rows.COUNTS_IN_BODY))
}
INSERT = INSERTS[len(rows.COLUMNS)]
# A row is among the folded rows, which have an index, or past the mark.  One statement reads both, as another process
# may fold between two.
_WRITTEN = (
    "select 1 from id_of where id = ?1 and phase = ?2 union all "
    "select 1 from event where seq > (select seq from mark) and id = ?1 and phase = ?2 limit 1"
)
_ABOUT = "A localops journal: what AI agents did, a row each. Read it with `localops`, or a copy with any SQLite tool."

# Connections that must not be closed: their locks are the parent's after a fork, or their descriptors the program's.
leaked: list[apsw.Connection] = []


class JournalFile:
    """The file of a journal, for a process that writes to it.

    `execute` writes while the file is open, and refuses while it is not.  `after_open` is called when the file has been
    opened, `keep` with rows that the file may have lost, `participate` for the participant that a part is named after.
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
        self.patience = wait  # seconds to wait for a lock, at the moment
        self.gave_up = False  # the last wait for a lock failed
        self.vfs = vfs
        self.pid = os.getpid()
        self.connection: apsw.Connection | None = None
        self.execute: Execute = refuse
        self.barred: str | None = None  # why this process may not open the journal at all
        self.may_fold = True
        self.check_at = 0.0
        self.look_at = 0.0
        self.inodes: list[int] = []
        self.watch = Watch("")
        self.position: Callable[[], int] = _anywhere
        self.recent: list[Row] = []  # rows written since the last check, up to which others certainly see them
        self.remember = self.recent.append
        self._known_ours = False
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
            # Out of descriptors, for example.
            interruption.pass_on(error)
            self.network = False
        self.is_part = self.network and not self._gather
        name = parts.path_of(self.folder, self._participate()) if self.is_part else JOURNAL
        self.path = host.real_path(os.path.join(self.folder, name))

    @property
    def look_at(self) -> float:
        """When the next full check is due."""
        return self.next_look

    @look_at.setter
    def look_at(self, at: float) -> None:
        self.next_look = at
        self.check_at = min(self.check_at, at)

    def in_place(self) -> bool:
        """Return whether our descriptors and the shared files are unchanged: the quick part of a check."""
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
        # A part that was closed is complete: continue in another.
        if self.is_part:
            self._place()
        host.make_private(os.path.dirname(self.path))
        self._make_file()
        if os.stat(self.path).st_nlink > 1:
            self._leave_linked()
        for last in (False, True):
            before = opened()
            self.connection, self.pid = self._opened(), os.getpid()
            self.execute = self.connection.cursor().execute
            try:
                if self._remember_files(before):
                    return self._after_open()
            except BaseException:  # half open is not open
                self.drop()
                raise
            self.drop()
            # A reader of this process may hold a -shm file that was removed.
            if not last:
                close_readers()
        raise JournalError(f"{self.path} was replaced while it was opened")

    def _leave_linked(self) -> None:
        """Continue in a copy of a file that has a second name, as in a backup of hard links.

        Under two names one file would have two WALs, and become corrupt.  The copy is made while no process has the
        file open, under any name; the other name keeps the file as it is now, with the WAL that it may have.
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
        # A process died at the last step.
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
            for side in ("-wal", "-shm"):
                remove(self.path + side)
            os.rename(own, self.path)
            host.sync_folder(os.path.dirname(self.path))
        finally:
            connection.close()

    def _opened(self) -> apsw.Connection:
        """Return a connection that is ready for use."""
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
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
        with high_descriptors():
            return connect(self.path, flags, self.vfs)

    def _make_file(self) -> None:
        # SQLite would delete the WAL, and the rows in it.
        if is_cut(self.path):
            with participants.alone(self.folder):
                if is_cut(self.path):
                    self._move_aside(os.stat(self.path).st_ino, JournalError("it is empty, its WAL is not"))
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            # -wal and -shm take their mode from it.
            os.close(os.open(self.path, flags, 0o600))
        except FileExistsError:
            pass

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.set_busy_handler(self.busy)
        _check_ours(connection)
        mode = "delete" if self.network else "wal"
        # First: a new file is switched to WAL by a transaction, which would otherwise sync its rollback journal twice.
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
        """Wait for the write lock in short random naps, as SQLite's own waits grow to 100 ms and starve writers."""
        now = monotonic()
        if tries == 0:
            self._busy_since, self._napped = now, 0.0
        # The naps are added up as well, since a clock may stand still.
        if max(now - self._busy_since, self._napped) > self.patience or self.barred:
            self.gave_up = True
            return False
        # The process that holds the lock may have barred a lost -shm file.
        if self.inodes and tries % PLACE_EVERY == 0 and not self.in_place():
            return False
        nap = 0.0003 + 0.0017 * self._random.random()
        self._napped += nap
        time.sleep(nap)
        return True

    def identify(self) -> str:
        """Return the id of the journal; a new one if it was created, copied, moved or restored here."""
        assert self.connection is not None
        place = host.place_of(self.path)
        known = {str(key): value for key, value in self.connection.execute("select key, value from meta")}
        if known.get("place") != place:
            self._give_id(known.get("journal"), place)
        return self._id()

    def give_new_id(self, was: str) -> str:
        """Give the journal a new id instead of the one it had, and return it."""
        place = self.execute("select value from meta where key = 'place'").get
        self.execute("update meta set value = '' where key = 'place'")
        self._give_id(was, place)
        return self._id()

    def _id(self) -> str:
        assert self.connection is not None
        id: str = self.connection.execute("select value from meta where key = 'journal'").get
        return id

    def _give_id(self, was: str | None, place: str) -> None:
        """Give a new journal, or one that was copied, moved or restored, an id of its own, and write a row about it."""
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
            # By `execute`, unless it refuses: it also ends a statement that an interruption left half read.
            (self.connection.execute if self.execute is refuse else self.execute)("rollback")

    def _remember_files(self, before: frozenset[int]) -> bool:
        """Remember which files SQLite has open, with what was open before; False when others are at their paths."""
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
        # Smaller after a vacuum, which makes the file shorter as well.  By the connection's number of pages it would be
        # too short: those that were written since are in the WAL alone.
        return size < length_in_header(self.path)

    def _abandon(self) -> None:
        """Never use our descriptors again: the program closed them, and has its own files under their numbers."""
        connection, self.connection, self.execute = self.connection, None, refuse
        assert connection is not None
        # Leak the connection: SQLite would close the program's files when it is freed, even at exit.
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        leaked.append(_silenced(connection))
        for row in self.recent:
            self._keep(row)
        self.barred = (
            "this process closed descriptors that localops had open, and opened other files under their numbers: it "
            "records into its spill file"
        )

    def has_lost_shared(self) -> bool:
        """Return whether only the -shm file is gone or replaced; checked twice, as the others may follow."""
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

    def detach_wal_of_moved(self, old: apsw.Connection) -> None:
        """Copy the WAL into the file that was moved away, and delete it, as the file in its place has another."""
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
        """Close the file; with `checkpoint` the last process that closes it copies the WAL into it."""
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
                # Otherwise another process has done it already.
                if os.stat(self.path).st_ino == damaged:
                    self._move_aside(damaged, error)
            self.open()
        except Exception as problem:
            # Wide, as the spill file is left, whatever is wrong with the disk.
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
        """Return whether a row is in the journal; if that cannot be read, refuse all writes until the next check.

        The row goes to a spill file then, and from there into the journal if it is not in it.
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
        """Give freed pages back to the file system; return whether the WAL is empty, too."""
        self.execute("vacuum")
        return self.empty_wal()

    def empty_wal(self) -> bool:
        """Copy all of the WAL into the file and give its space back; return False if a reader prevented that."""
        is_busy, *_ = self.execute("pragma wal_checkpoint(truncate)").fetchone()
        return not is_busy

    def leave_to_parent(self, *, inside: bool) -> None:
        """Abandon the parent's connections in a forked child; `inside`: it was forked in the middle of a write."""
        self.pid = os.getpid()
        if self.connection is not None and not inside and not self.connection.in_transaction:
            # Forked in C, which ran only the hook after it: the locks are the parent's.
            self.drop()
        connections = apsw.connections()
        inherited = [one for one in connections if one is self.connection or _leads_to(one, self.path)]
        # In these SQLite assumes locks that this process does not have, and would in a new connection to the same file.
        if inherited:
            # To close one could undo the parent's transaction.
            leaked.extend(map(_silenced, inherited))
            self.connection, self.execute = None, refuse
            self.barred = "forked during a write to the journal: this process records into its spill file"


def _anywhere() -> int:
    """Return the mark, where the position of a descriptor cannot be read."""
    return MARK


class Waiting(Exception):
    """The journal refused a row a moment ago; until the next check, rows go to the spill file."""


def refuse(*_: object) -> Any:
    """Replace `execute` while nothing can be written."""
    raise Waiting


def is_refusal(error: BaseException) -> bool:
    """Return whether SQLite or the system refused; a TimeoutError of the program is an OSError without errno."""
    known = isinstance(error, apsw.Error | JournalError | Waiting)
    return known or (isinstance(error, OSError) and error.errno is not None)


def is_interruption(error: BaseException) -> bool:
    """Return whether an exception is, or may be, the program's own."""
    return not is_refusal(error) and interruption.is_programs(error) is not False


def own_row(kind: str, session: bytes, body: Mapping[str, object], name: str | None = None) -> Row:
    """Return a row that the journal itself writes."""
    # Late, as a command that only folds does not need orjson.
    from localops.encoding import encode

    at = clock.now_ns()
    text = encode.dumps(body).decode()
    return rows.make(kind, session, id=clock.new_id(at), at_ns=at, name=name, body=text)


def _leads_to(connection: apsw.Connection, path: str) -> bool:
    try:
        return connection.filename == path
    except UnicodeDecodeError:
        # A name that is not UTF-8, as ours may be.
        return sqlite_name(path)[1]
    except apsw.ThreadingViolationError:
        # A thread of the parent was using it.
        return True
    except apsw.ConnectionClosedError:
        return False


def _silenced(connection: apsw.Connection) -> apsw.Connection:
    """Prevent all writes of a connection: a write that a fork interrupted must not continue in both processes."""
    try:
        connection.authorizer = lambda *_: apsw.SQLITE_DENY
    except apsw.ThreadingViolationError:
        # In the busy handler, which gives up now, or in a thread that is gone.
        pass
    return connection


def _check_ours(connection: apsw.Connection) -> None:
    """Raise ForeignJournal for another program's database, NewerJournal where only a newer release may write."""
    # Before the application id is read: another process may just be creating tables, and then sets the id with them.
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
    """Bring the tables to our schema and create our views, in one transaction, so that only one process does it.

    If it is killed meanwhile, the journal is unchanged for the next process that opens it.
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
    """Remove a file that may not exist any more."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
