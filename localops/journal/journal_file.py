"""The file of a journal as one process has it open: opens, migrates and watches it, and sets a damaged one aside.

It knows where the file is, whether it is still there, and who it is; what is written into it is up to `journal.py`,
and what becomes of rows when the file went away under us to `recovery.py`.

Others may at any time move, delete, cut, link or replace the file, its -wal or its -shm, or close our descriptors; so
its inodes, locks, links and length are looked at again and again (`Watch`).
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
from localops.journal.locks import MARK, TAKEN, Watch, bar_lost, high_descriptors, sqlite_name
from localops.journal.reader import APPLICATION_ID, close_readers, connect, has_our_header, is_cut
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from localops.journal.participants import Participant
    from localops.journal.rows import Row

    Execute = Callable[..., Any]

PLACE_EVERY = 8  # naps between two looks at our files, while we wait for a lock

monotonic = clock.monotonic  # bound once: it is on every event's way

INSERTS = {
    len(columns): f"insert into event({','.join(columns)}) values({','.join('?' * len(columns))})"
    for columns in (rows.COLUMNS, rows.PLAIN)
}
INSERT = INSERTS[len(rows.COLUMNS)]  # for a whole row
# Where an identity can stand: among the folded rows, which have an index, or past the mark.  Asked in one statement, as
# another process may fold meanwhile.
_WRITTEN = (
    "select 1 from id_of where id = ?1 and phase = ?2 union all "
    "select 1 from event where seq > (select seq from mark) and id = ?1 and phase = ?2 limit 1"
)
_ABOUT = "A localops journal: what AI agents did, a row each. Read it with `localops`, or a copy with any SQLite tool."

# Connections that must not be closed: after a fork their locks are the parent's, or their descriptors the program's.
leaked: list[apsw.Connection] = []


class JournalFile:
    """The file of a journal, for a process that writes to it.

    `execute` writes while the file is open, and refuses while it is not.  `settle` is called when the file was opened,
    `keep` with rows that the file may have lost, `participate` for the participant that a part is named after.
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
        settle: Callable[[], None],
        keep: Callable[[Row], bool],
        participate: Callable[[], Participant],
    ) -> None:
        self.folder = folder
        self.power = power
        self.wait = wait
        self.patience = wait  # how long a lock is waited for now
        self.gave_up = False  # the last wait for a lock came to nothing
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
        self.recent: list[Row] = []  # written since the last check, which showed that others see what we write
        self.remember = self.recent.append
        self._known_ours = False
        self._size = 0
        self._busy_since = self._napped = 0.0
        self._random = Random()
        self._gather = gather  # take in what others wrote: the project's own file, on a network file system as well
        self._mountinfo = mountinfo
        self._settle, self._keep, self._participate = settle, keep, participate
        if power:
            self._make_folder()
        self._place()

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
        self.is_part = self.network and not self._gather
        name = parts.path_of(self.folder, self._participate()) if self.is_part else JOURNAL
        self.path = os.path.realpath(os.path.join(self.folder, name))

    @property
    def look_at(self) -> float:
        """When the next look is due."""
        return self.next_look

    @look_at.setter
    def look_at(self, at: float) -> None:
        self.next_look = at
        self.check_at = min(self.check_at, at)

    def in_place(self) -> bool:
        """Return whether our descriptors, and the files shared with others, are in place: the quick part of a look."""
        if not self.watch.ours():
            return False
        try:
            if not self.network:
                return [os.stat(self.path + side).st_ino for side in ("-wal", "-shm")] == self.inodes[1:]
        except OSError as error:
            interruption.pass_on(error)
            return False
        return True

    def open(self) -> None:
        """Open the file, making it (0600) and its tables when they are missing."""
        if self.is_part:  # what a process has closed, it does not write again
            self._place()
        host.make_private(os.path.dirname(self.path))
        self._make_file()
        if os.stat(self.path).st_nlink > 1:
            self._leave_linked()
        for last in (False, True):
            self.connection, self.pid = self._opened(), os.getpid()
            self.execute = self.connection.cursor().execute
            try:
                if self._remember_files():
                    return self._settle()
            except BaseException:  # half open is not open
                self.drop()
                raise
            self.drop()
            if not last:  # a reader of this process may hold on to a -shm file that was removed
                close_readers()
        raise JournalError(f"{self.path} was replaced while it was opened")

    def _leave_linked(self) -> None:
        """Go on in a copy of a file that has a second name, as a backup of hard links makes it.

        Under two names one file would have two WALs, and break.  The copy is made while no process has the file
        open, under any name; the other name keeps the file as it is now, with the WAL that it may have.
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
        is_whole = os.path.exists(own) and not os.path.exists(self.path + "-wal")  # a process died at the last step
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
        """Return a connection that is ready to be used."""
        deadline = monotonic() + max(self.patience, 0.05)
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
            bar_lost(self.path, self.patience)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
        with high_descriptors():
            return connect(self.path, flags, self.vfs)

    def _make_file(self) -> None:
        if is_cut(self.path):  # SQLite would throw away the WAL, and the rows in it
            with participants.alone(self.folder):
                if is_cut(self.path):
                    self._move_aside(os.stat(self.path).st_ino, JournalError("it is empty, its WAL is not"))
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(self.path, flags, 0o600))  # -wal and -shm take their mode from it
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
        """Wait for the write lock in short random naps: SQLite's own waits grow to 100 ms and starve writers."""
        now = monotonic()
        if tries == 0:
            self._busy_since, self._napped = now, 0.0
        # The naps are counted as well: a clock may stand still.
        if max(now - self._busy_since, self._napped) > self.patience or self.barred:
            self.gave_up = True
            return False
        # The process that holds the lock may be keeping us from a lost -shm file.
        if self.inodes and tries % PLACE_EVERY == 0 and not self.in_place():
            return False
        nap = 0.0003 + 0.0017 * self._random.random()
        self._napped += nap
        time.sleep(nap)
        return True

    def identify(self) -> str:
        """Return the id of the journal; a new one where it was made, copied, moved or restored to this place."""
        assert self.connection is not None
        place = host.place_of(self.path)
        known = {str(key): value for key, value in self.connection.execute("select key, value from meta")}
        if known.get("place") != place:
            self._rename(known.get("journal"), place)
        return self._id()

    def renew(self, was: str) -> str:
        """Give the journal a new id instead of the one it had, and return it."""
        place = self.execute("select value from meta where key = 'place'").get
        self.execute("update meta set value = '' where key = 'place'")
        self._rename(was, place)
        return self._id()

    def _id(self) -> str:
        assert self.connection is not None
        id: str = self.connection.execute("select value from meta where key = 'journal'").get
        return id

    def _rename(self, was: str | None, place: str) -> None:
        """Give a new journal, or one that was copied, moved or restored, an id of its own, and tell so in a row."""
        new = clock.new_id().hex()
        facts = {"journal": new, "was": was, "about": _ABOUT} if was else {"journal": new, "about": _ABOUT}
        row = own_row("journal", rows.NOBODY, facts, name="moved" if was else "begun")
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
        """End a transaction that is open without its changes."""
        if self.connection is not None and self.connection.in_transaction:
            # Through `execute` where it does not refuse: that ends a statement which an interruption left half read.
            (self.connection.execute if self.execute is refuse else self.execute)("rollback")

    def _remember_files(self) -> bool:
        """Remember which files SQLite has open; False when those at their places are others already."""
        try:
            self.inodes = self._inodes_now()
            self._size = os.stat(self.path).st_size
        except FileNotFoundError:
            return False
        self.watch = Watch(self.path)
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
        """Return whether the file has become shorter than what SQLite has written to it."""
        size, before = os.stat(self.path).st_size, self._size
        self._size = size
        if size >= before:
            return False
        connection = self.connection
        assert connection is not None
        pages: int = connection.pragma("page_count")  # packing makes a file shorter, too, and says so in this
        return bool(size < pages * connection.pragma("page_size"))

    def _abandon(self) -> None:
        """Never touch our descriptors again: the program closed them, and has files of its own under their numbers."""
        connection, self.connection, self.execute = self.connection, None, refuse
        assert connection is not None
        import ctypes  # only here: SQLite would close those numbers when the connection goes, even at exit

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        leaked.append(_silenced(connection))
        for row in self.recent:
            self._keep(row)
        self.barred = (
            "this process closed descriptors that localops had open, and opened other files under their numbers: it "
            "records into its spill file"
        )

    def has_lost_shared(self) -> bool:
        """Return whether the -shm file alone is gone or replaced; looked at twice, for more may be about to go."""
        for pause in (0.01, 0.0):
            try:
                journal, wal = (os.stat(self.path + side).st_ino for side in ("", "-wal"))
            except OSError:
                return False
            if self.network or [journal, wal] != self.inodes[:2] or not self.watch.sound():
                return False
            try:
                if os.stat(self.path + "-shm").st_ino == self.inodes[2]:
                    return False
            except OSError:
                pass
            time.sleep(pause)
        return True

    def is_same_file(self) -> bool:
        """Return whether the file at our path is the one we opened."""
        try:
            return os.stat(self.path).st_ino == self.inodes[0]
        except OSError as error:
            interruption.pass_on(error)
            return False

    def part_from(self, old: apsw.Connection) -> None:
        """Give the file that was moved away what is only in its WAL, and keep that WAL from the file in its place."""
        patience, self.patience = self.patience, 0.05
        try:
            old.execute("pragma wal_checkpoint(truncate)").fetchall()
            if os.stat(self.path + "-wal").st_ino == self.inodes[1]:
                os.unlink(self.path + "-shm")
                os.unlink(self.path + "-wal")
        except apsw.Error:
            pass
        except OSError as error:  # both are gone, or another process is about to do the same
            interruption.pass_on(error)
        finally:
            self.patience = patience

    def drop(self, *, checkpoint: bool = False) -> None:
        """Close the file; with `checkpoint` the last process to close it copies the WAL into it."""
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
        """Keep a damaged journal under another name, whole, and begin a new one; False where that cannot be done."""
        if not self._known_ours and not has_our_header(self.path):
            return False
        try:
            damaged = self.inodes[0] if self.inodes else os.stat(self.path).st_ino
            self.drop()
            with participants.alone(self.folder):
                if os.stat(self.path).st_ino == damaged:  # else another process has done it already
                    self._move_aside(damaged, error)
            self.open()
        except Exception as problem:  # an edge: whatever is wrong with the disk, the spill file is left
            if is_interruption(problem):
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

    def holds(self, row: Row) -> bool:
        """Return whether a row is in the journal; where that cannot be read, nothing is written until the next look.

        The row goes to a spill file then, and is taken in from there if it is not in the journal.
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

    def compact(self) -> None:
        """Give freed pages back to the file system."""
        self.execute("vacuum")
        self.empty_wal()

    def empty_wal(self) -> None:
        """Copy all of the WAL into the file and give its space back."""
        self.execute("pragma wal_checkpoint(truncate)").fetchall()

    def leave_to_parent(self, *, inside: bool) -> None:
        """Leave alone what the parent had open, in a forked child; `inside`: it was forked in the middle of a write."""
        self.pid = os.getpid()
        if self.connection is not None and not inside and not self.connection.in_transaction:
            self.drop()  # a host program's own fork, which ran only the hook after it: the locks are the parent's
        connections = apsw.connections()
        inherited = [one for one in connections if one is self.connection or _leads_to(one, self.path)]
        if inherited:  # in them SQLite believes in locks that this process has not, and so would in any beside them
            leaked.extend(map(_silenced, inherited))  # closing one could undo the parent's transaction
            self.connection, self.execute = None, refuse
            self.barred = "forked while the journal was at work: this process records into its spill file"


def _anywhere() -> int:
    """Return the mark, instead of the position of a descriptor where descriptors cannot be looked at."""
    return MARK


class Waiting(Exception):
    """The journal refused a row a moment ago; until the next look, rows go to the spill file."""


def refuse(*_: object) -> Any:
    """Stand for `execute` while nothing can be written."""
    raise Waiting


def is_refusal(error: BaseException) -> bool:
    """Return whether SQLite or the system says no; a TimeoutError that the program raises is an OSError, too."""
    known = isinstance(error, apsw.Error | JournalError | Waiting)
    return known or (isinstance(error, OSError) and error.errno is not None)


def is_interruption(error: BaseException) -> bool:
    """Return whether an exception is, or may be, the program's own."""
    return not is_refusal(error) and interruption.is_programs(error) is not False


def own_row(kind: str, session: bytes, body: Mapping[str, object], name: str | None = None) -> Row:
    """Return a row of the journal's own."""
    from localops.encoding import encode  # loaded late, as a command that only folds needs no orjson

    at = clock.now_ns()
    text = encode.dumps(body).decode()
    return rows.make(kind, session, id=clock.new_id(at), at_ns=at, name=name, body=text)


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
    """Have a connection write no more: what a fork interrupted must not go on in both processes."""
    try:
        connection.authorizer = lambda *_: apsw.SQLITE_DENY
    except apsw.ThreadingViolationError:  # inside the busy handler, which waits no longer, or in a thread that is gone
        pass
    return connection


def _check_ours(connection: apsw.Connection) -> None:
    """Raise ForeignJournal for another program's database, NewerJournal where only a newer release may write."""
    tables = connection.execute("select count(*) from sqlite_schema").get  # asked first: another may be making them
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
    """Bring the tables to our schema and make our views, in one transaction: of several processes, one does it.

    One that is killed meanwhile leaves the journal as it was, to the next that opens it.
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
    """Remove a file that may have gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
