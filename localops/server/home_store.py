"""A localops home as a hub's store: a project is a folder, ingest is import."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import replace

from localops import clock, config, host, output
from localops.coding.recording import Project as Recording
from localops.config import Config
from localops.encoding import encode
from localops.encoding.pricing import Prices
from localops.errors import JournalError, NotFound
from localops.journal import blobs, participants
from localops.journal.journal import Journal
from localops.journal.reader import Reader, SQLiteError, reason
from localops.journal.sql import statements
from localops.otlp import waiting
from localops.otlp.receiving import Outcome, Receiver
from localops.reading import analytics
from localops.server import damage, proof, retention, senders, troubles
from localops.server.home_reader import HomeReader, inode
from localops.server.intake.desk import Desk, Materials
from localops.server.limits import Busy, Limits
from localops.server.request import Garbled, Misplaced, Unavailable
from localops.transfer import bundle, ingest, scrubbed
from localops.upkeep import erasing, prune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any

    from localops.encoding.openmetrics import Family
    from localops.otlp.records import Record
    from localops.otlp.spans import Span
    from localops.reading.facts import Facts
    from localops.reading.home import Home, Project
    from localops.server.files_elsewhere import FilesElsewhere
    from localops.server.policy import Rules
    from localops.server.proof import Compared
    from localops.server.retention import Part, Place
    from localops.server.senders import Sender
    from localops.transfer.bundle import Ack, Batch, Range
    from localops.transfer.ingest import Arrived
    from localops.upkeep.prune import Choice, Pruned

# Journals that are kept open for writing.
_OPEN = 64
_NOT_NOW = "cannot store anything now"
# Bytes of a row without its body, about.
_ROW = 100
# Batches that may fail in a row before the rest of their group is not tried any more.
_MOST_FAILED = 2
# Seconds after which spans are tried again that could not be stored.
_AGAIN = 5.0
# Seconds that an incomplete upload is kept.
_UPLOAD_KEPT = 7 * 86_400.0
# Seconds between two looks at files that no row names.
_FILES_EVERY = 86_400.0


class HomeStore(HomeReader):
    """A localops home as the store of a hub."""

    def __init__(self, folder: str, *, fresh: float = 60.0, limits: Limits | None = None) -> None:
        super().__init__(folder, fresh=fresh)
        self._limits = limits or Limits()
        self._journals: OrderedDict[str, _Writer] = OrderedDict()
        self._prices: Prices | None = None
        self._count: Callable[[str, int, int], object] | None = None
        # By project: what assembles its spans into traces, for one journal.
        self._receivers: dict[str, Receiver] = {}
        # When the first of their spans has waited long enough, by the monotonic clock.
        self._due: dict[str, float] = {}
        self._is_waiting_known = False
        # By project: files that came before this time are named by rows.
        self._files_known: dict[str, float] = {}
        # By project: the state of its journal when no traces of scrubbed rows were left.
        self._tidy: dict[str, tuple[object, ...]] = {}
        # The files of rows, if they are in a bucket.
        self.files: FilesElsewhere | None = None

    def _open(self, project: str | None) -> Home:
        try:
            return super()._open(project)
        except NotFound:
            assert project is not None
            self.migrate(project)
            return super()._open(project)

    def migrate(self, project: str) -> None:
        """Create or migrate a project, so that it can store rows."""
        with self._journal(project) as journal:
            journal.fold()
        # Abandoned files there are deleted later.
        with suppress(OSError):
            _sweep_uploads(config.project_folder(self.folder, project))

    def ingest(self, project: str, batch: Batch, *, refused: dict[int, str], by: str, key: str) -> tuple[Ack, int]:
        """Store the new rows of a batch, safe from a power cut."""
        with self._journal(project) as journal:
            ack, gone = ingest.take(journal, batch, by=by, key=key, refused=refused)
            _erase_of(journal, [ack])
        self._count_batch(project, batch, ack)
        return ack, gone

    def ingest_together(
        self, project: str, arrived: Sequence[Arrived], *, by: str
    ) -> list[tuple[Ack, int] | Exception]:
        """Store the new rows of several batches, in one transaction if possible.

        Return for each what `ingest` would, or would raise.
        """
        return [outcome for group in ingest.groups(arrived) for outcome in self._ingest_group(project, group, by=by)]

    def _ingest_group(self, project: str, group: Sequence[Arrived], *, by: str) -> list[tuple[Ack, int] | Exception]:
        if len(group) > 1:
            # Wide: one of them cannot be stored, and must not keep the others from it; or none can, which shows below.
            with suppress(Exception):
                with self._journal(project) as journal:
                    outcomes = ingest.take_together(journal, group, by=by)
                    _erase_of(journal, [each[0] for each in outcomes if not isinstance(each, Exception)])
                for each, outcome in zip(group, outcomes, strict=True):
                    if not isinstance(outcome, Exception):
                        self._count_batch(project, each.batch, outcome[0])
                return outcomes
        return self._ingest_each(project, group, by=by)

    def _ingest_each(self, project: str, arrived: Sequence[Arrived], *, by: str) -> list[tuple[Ack, int] | Exception]:
        outcomes: list[tuple[Ack, int] | Exception] = []
        failed: list[Unavailable] = []
        for each in arrived:
            # After two failures in a row, the disk is probably full or the journal in use, and each try may take long.
            if len(failed) == _MOST_FAILED:
                outcomes.append(failed[-1])
                continue
            try:
                outcomes.append(self.ingest(project, each.batch, refused=each.refused, by=by, key=each.key))
                failed = []
            # Wide, as this one's request gets it.
            except Exception as error:
                outcomes.append(error)
                failed += [error] if isinstance(error, Unavailable) else []
        return outcomes

    def _count_batch(self, project: str, batch: Batch, ack: Ack) -> None:
        if self._count is not None and ack.stored:
            # For a batch that was stored in part, estimate its bytes by the share of rows.
            size = sum(len(row.body or "") + _ROW for row in batch.rows) * ack.stored // len(batch.rows)
            self._count(project, ack.stored, size)

    def _count_written(self, project: str, rows: int, size: int) -> None:
        if self._count is not None and rows:
            self._count(project, rows, size + _ROW * rows)

    def stored(self, project: str) -> tuple[int, int]:
        """Return how many rows a project has, and how many bytes it takes on disk."""
        folder = config.project_folder(self.folder, project)
        with self._project(project) as where:
            [(rows,)] = where.reader.ask(statements("hub.sql")["stored"])
        names = [os.path.join(folder, config.JOURNAL + side) for side in ("", "-wal")]
        # A folder that cannot be listed takes no files either, which is reported when one comes.
        names += blobs.uploads(folder)
        return rows, sum(map(size_of, names)) + blobs.size(folder)

    def count_with(self, count: Callable[[str, int, int], object]) -> None:
        """Call `count` with the project, rows and bytes of everything that is stored from now on."""
        self._count = count

    @contextmanager
    def desk(self, project: str) -> Iterator[Desk]:
        """Lock a project, and yield the object that makes and stores rows."""
        with self._writer(project) as (writer, journal):
            if writer.materials is None:
                writer.materials = Materials(writer.folder, self._price_table)
            desk = Desk(journal, writer.materials)
            with self._counting(project, journal):
                yield desk
            if desk.erased:
                _erase(journal, desk.erased)

    @contextmanager
    def _counting(self, project: str, journal: Journal) -> Iterator[None]:
        """Count the rows that are stored inside the block."""
        newest = journal.one("newest")
        yield
        if self._count is not None:
            rows, size = journal.all("size_after", seq=(newest and newest[0]) or 0)[0]
            self._count(project, rows, size + _ROW * rows)

    def _price_table(self) -> Prices:
        if self._prices is None:
            self._prices = config.prices(self.folder)
        return self._prices

    # Spans

    def take_spans(self, project: str, spans: Sequence[Span], log: Sequence[Record], taken: Outcome) -> None:
        """Store spans and log records of OpenTelemetry, or keep them until their trace is complete."""
        with self._receiver(project) as receiver:
            receiver.take(spans, log, taken)
            if taken.erased:
                _erase(receiver.journal, taken.erased)

    def with_due_spans(self) -> list[str]:
        """Return the projects in which spans have waited long enough for the rest of their trace."""
        now = time.monotonic()
        if not self._is_waiting_known:
            self._due.update(dict.fromkeys(waiting.projects(self.folder, self.projects()), now))
            self._is_waiting_known = True
        return [project for project, due in list(self._due.items()) if due <= now]

    def release_spans(self, project: str) -> int:
        """Store the spans that have waited long enough, and return how many rows that were."""
        with self._receiver(project) as receiver:
            return receiver.release()

    @contextmanager
    def _receiver(self, project: str) -> Iterator[Receiver]:
        with self._journal(project) as journal:
            receiver = self._receivers.pop(project, None)
            # Not kept after an error: it may remember rows that were not stored.
            self._due[project] = time.monotonic() + _AGAIN
            if receiver is None or receiver.journal is not journal:
                config = Config.usable(home=self.folder, project=project)
                receiver = Receiver(Recording(config, journal=journal), patience=self._limits.trace_wait)
            rows, size = receiver.written
            yield receiver
            self._count_written(project, receiver.written[0] - rows, receiver.written[1] - size)
            self._receivers[project] = receiver
            if receiver.due is None:
                del self._due[project]
            else:
                self._due[project] = receiver.due

    def delete(self, project: str, session: bytes) -> bool:
        """Delete a session, whether it has ended or not."""
        # Repeat if a batch brought new rows of it between the look-up and the deletion.
        while True:
            with self._project(project) as where:
                if not analytics.totals(where.reader, session).rows:
                    return False
                choice = replace(prune.look(where.reader, where.folder, session), stays=None)
            with self._journal(project) as journal:
                taken = prune.take(journal, [choice], for_good=True)
            if taken.sessions:
                return True
            if taken.failed is not None:
                raise Unavailable("cannot delete anything now", JournalError(taken.failed))

    def expired(self, project: str, rules: Rules, now_ns: int, after: Place) -> Part:
        """Return the next part of the sessions that are older than the rules keep them."""
        with self._project(project) as where:
            return retention.expired(where.reader, where.folder, rules, now_ns, after)

    def every(self, project: str, after: Place) -> Part:
        """Return the next part of all sessions."""
        with self._project(project) as where:
            return retention.every(where.reader, where.folder, after)

    def retire(self, project: str, choices: Sequence[Choice], *, for_good: bool = False) -> Pruned:
        """Remove sessions that were kept long enough, or that a person wants to be gone; they are not stored again."""
        with self._journal(project) as journal:
            return prune.take(journal, choices, for_good=for_good)

    def sweep(self, project: str, unused: Collection[str] = ()) -> None:
        """Delete uploads that were not completed within a week, and traces of scrubbed rows in files.

        `unused` are whole files that no row named some time ago.
        """
        folder = config.project_folder(self.folder, project)
        with _storing_files(folder):
            _sweep_uploads(folder)
        if unused:
            with self._journal(project) as journal, _storing_files(folder):
                many, _ = prune.sweep_blobs(journal, among=unused)
            if many:
                these = output.counted(many, "file")
                output.say(f"project {project}: {these} removed that no row has named for a week")
        with self._project(project) as where:
            is_left = scrubbed.is_unfinished(where.reader)
        if is_left:
            with self._journal(project) as journal:
                _erase(journal)

    def is_untidy(self, project: str) -> bool:
        """Return whether `sweep` has anything to delete beside unused files; opens no journal that has not changed."""
        folder = config.project_folder(self.folder, project)
        if any(_old_uploads(folder)):
            return True
        path = os.path.join(folder, config.JOURNAL)
        _, seen = troubles.sight(path)
        if self._tidy.get(project) != seen:
            with Reader(path) as reader:
                if scrubbed.is_unfinished(reader):
                    return True
            self._tidy[project] = seen
        return False

    def unused_files(self, project: str) -> set[str]:
        """Return the files that arrived a week ago and that no row names: their sender never sent these rows.

        The search for their names takes long: it runs at most once a day, for the files of that day.
        """
        folder = config.project_folder(self.folder, project)
        since, upto = self._files_known.get(project, 0.0), time.time() - _UPLOAD_KEPT
        if upto - since < _FILES_EVERY:
            return set()
        unused = set()
        for digest in blobs.digests(folder):
            # It may have been pruned in the meantime.
            with suppress(FileNotFoundError):
                if since <= blobs.touched(folder, digest) < upto:
                    unused.add(digest)
        if unused:
            with self._project(project) as where:
                unused -= proof.still_named(where.reader, unused)
        self._files_known[project] = upto
        return unused

    def beneath(self) -> list[Family]:
        """Return the metrics of the database and the bucket, if rows or files are kept there."""
        return [] if self.files is None else self.files.families()

    def warnings(self) -> list[str]:
        """Return problems that do not keep rows from being stored; a folder has none."""
        return []

    def try_writing(self, project: str) -> None:
        """Raise Unavailable if rows or files cannot be stored in a project now; one that was removed is no problem."""
        folder = config.project_folder(self.folder, project)
        if not os.path.lexists(folder):
            return
        with self._journal(project) as journal:
            journal.transact(lambda execute: execute("select 1"))
        with _storing_files(folder):
            if self.files is not None:
                self.files.bucket.check()
            for name in ("blobs", blobs.UPLOADS):
                host.make_private(os.path.join(folder, name))
                path = os.path.join(folder, name, f".writable-{os.getpid()}")
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
                os.unlink(path)

    def delete_for_good(self, project: str, sessions: Sequence[bytes]) -> int:
        """Delete sessions, and refuse them from now on even if they are not here; return how many were here."""
        at_ns = clock.now_ns()
        with self._journal(project) as journal:
            # First, so that no batch brings one of them back before the deletion.
            journal.transact(lambda execute: _refuse(execute, sessions, at_ns), full=True)
        return sum(self.delete(project, session) for session in sessions)

    def close(self) -> None:
        """Close all files."""
        if self.files is not None:
            self.files.close()
        super().close()
        for writer in list(self._journals.values()):
            writer.close()

    @contextmanager
    def _journal(self, project: str) -> Iterator[Journal]:
        """Lock and yield the journal of a project; errors of SQLite and the system become Unavailable."""
        with self._writer(project) as (_, journal):
            yield journal

    @contextmanager
    def _writer(self, project: str) -> Iterator[tuple[_Writer, Journal]]:
        with self._lock:
            writer = self._journals.setdefault(project, _Writer(config.project_folder(self.folder, project)))
            self._journals.move_to_end(project)
            idle = [name for name, each in self._journals.items() if each is not writer and not each.lock.locked()]
            spare = [self._journals.pop(name) for name in idle[: max(0, len(self._journals) - _OPEN)]]
        for each in spare:
            each.close()
        with writer.lock:
            try:
                yield writer, writer.journal()
            except (SQLiteError, JournalError, OSError) as error:
                # Open it again next time: a journal that was opened on a read-only file system stays read-only.
                with suppress(SQLiteError, JournalError, OSError):
                    writer.close()
                path = os.path.join(writer.folder, config.JOURNAL)
                raise Unavailable(_NOT_NOW, _naming(path, error)) from error

    # About itself

    def sums(self, project: str) -> tuple[int, int]:
        """Return how many sessions and rows of sessions are stored."""
        with self._project(project) as where:
            [(sessions, rows)] = where.reader.ask(statements("hub.sql")["sums"])
        return int(sessions), int(rows or 0)

    def senders(self, project: str) -> list[Sender]:
        """Return the machines that sent rows, the one with the longest silence first."""
        with self._project(project) as where:
            return senders.of(where.reader)

    # Proof

    def figures(self, project: str, sessions: Sequence[bytes]) -> dict[bytes, Facts]:
        """Return rows, digest and totals of sessions."""
        with self._project(project) as where:
            return {session: self._figures(where, session) for session in sessions}

    def _figures(self, where: Project, session: bytes) -> Facts:
        totals = analytics.totals(where.reader, session)
        gone = where.reader.one("gone", session=session)
        had = None if gone is None else proof.retired(where.reader, session, gone[0])
        facts = {**totals._asdict(), "digest": None, "gone": gone is not None, "retired": had is not None, "had": had}
        if totals.rows <= proof.MOST_DIGESTED:
            identities = list(proof.summed(where.reader, session))
            events = {each.event for each in scrubbed.all_of(where.reader)}
            is_scrubbed = bool(events) and any(id in events for id, _, _ in identities)
            facts.update(rows=len(identities), digest=bundle.digest(identities), scrubbed=is_scrubbed)
        return facts

    def prove(self, project: str, identities: Sequence[tuple[bytes, int, int]]) -> Compared:
        """Return which rows are missing or damaged, have other contents, or were scrubbed since."""
        with self._project(project) as where:
            compared = proof.compare(where.reader, identities)
            missing = compared.missing
            ids = encode.dumps([id.hex() for id, _ in missing]).decode()
            known = {id for (id,) in where.reader.all("known_of", ids=ids)} if missing else set()
        # Those of which nothing is known were never here, or not since a backup was restored.  A full disk does not
        # make the answer wrong.
        with suppress(OSError):
            damage.add_rows(where.folder, [identity for identity in missing if identity[0] in known])
        return compared

    def missing_blobs(self, project: str, digests: Sequence[str]) -> tuple[list[str], int]:
        """Return the blobs that are missing or damaged, and how many of `digests` were checked."""
        folder = config.project_folder(self.folder, project)
        try:
            missing, looked_at = proof.missing_blobs(folder, digests)
        except OSError as error:
            raise Unavailable("a blob cannot be read now", error) from error
        with suppress(OSError):
            damage.add_blobs(folder, [digest for digest in missing if proof.was_damaged(folder, digest)])
        return missing, looked_at

    def keeps(self, project: str, seq: int, id: bytes) -> bool | None:
        """Return whether a row that was the newest earlier is still here; None if that is unknown."""
        with self._project(project) as where:
            return proof.keeps(where.reader, seq, id)

    def held(self, project: str, journals: Sequence[str]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
        """Return what arrived from a journal under all its names."""
        with self._project(project) as where:
            return proof.held(where.reader, journals)

    # Blobs

    def blob(self, project: str, digest: str) -> tuple[int, bool]:
        """Return how many bytes of a blob are here, and whether it is complete."""
        folder = config.project_folder(self.folder, project)
        with _storing_files(folder):
            # Prune keeps blobs younger than an hour: rows that refer to this one may be on their way.
            if blobs.touch(folder, digest):
                return blobs.size_of(folder, digest), True
            try:
                return os.path.getsize(_upload(folder, digest)), False
            except FileNotFoundError:
                return 0, False

    def add_to_blob(self, project: str, digest: str, at: int, total: int, piece: bytes) -> int:
        """Append a piece to a blob; the last one publishes it, if its digest is right."""
        folder = config.project_folder(self.folder, project)
        path = _upload(folder, digest)
        with _storing_files(folder):
            host.make_private(os.path.dirname(path), synced=True)
            # A lock, because another hub may serve the same folder.
            with participants.alone(os.path.dirname(path)):
                here, whole = self.blob(project, digest)
                if whole:
                    return here
                # A sender gave another length before.
                if here > total:
                    os.unlink(path)
                    raise Misplaced(0)
                if at != here or at + len(piece) > total:
                    raise Misplaced(here)
                if not here:
                    self._check_uploads(folder)
                _append(path, piece)
                if self._count is not None:
                    self._count(project, 0, len(piece))
                if at + len(piece) == total:
                    _publish(folder, path, digest)
        return at + len(piece)

    def _check_uploads(self, folder: str) -> None:
        """Raise Busy if too many files of a project are unfinished; uploads that have begun may continue."""
        for sweeps in (True, False):
            sizes = [size_of(path) for path in blobs.uploads(folder)]
            if len(sizes) < self._limits.uploads and sum(sizes) < self._limits.upload_bytes:
                return
            if sweeps:
                _sweep_uploads(folder)
        raise Busy(f"{len(sizes)} files of this project are unfinished: finish them first", 60, own_fault=True)


class _Writer:
    """The open journal of one project, as long as it is the file at its path."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.materials: Materials | None = None
        self._journal: Journal | None = None
        self._inode = 0

    def journal(self) -> Journal:
        """Return the journal; open it again if another file, such as a restored backup, has replaced it."""
        path = os.path.join(self.folder, config.JOURNAL)
        if self._journal is not None and inode(path) != self._inode:
            self.close()
        if self._journal is None:
            host.make_private(self.folder, synced=True)
            opened = Journal(self.folder, gather=True)
            opened.fold()
            self._journal, self._inode = opened, inode(path)
        return self._journal

    def close(self) -> None:
        """Close the journal."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()


def _erase_of(journal: Journal, acks: Iterable[Ack]) -> None:
    """Remove the traces of rows that batches have scrubbed, if there are any."""
    erased = [ack.erased for ack in acks if ack.erased is not None]
    if erased:
        files = [digest for each in erased for digest in each]
        for digest in files:
            with suppress(OSError):
                os.unlink(_upload(journal.folder, digest))
        _erase(journal, files)


def _erase(journal: Journal, files: Sequence[str] = ()) -> None:
    """Remove the traces of scrubbed rows; `sweep` retries what cannot be removed now."""
    # The rows themselves are stored: their sender need not send them again.
    with suppress(SQLiteError, JournalError, OSError):
        why = erasing.erase(journal, files)
        if why is not None:
            troubles.report("traces of scrubbed rows are left in files", why)


def _refuse(execute: Callable[..., Any], sessions: Iterable[bytes], at_ns: int) -> None:
    for session in sessions:
        execute("insert or ignore into gone values(?, ?)", (session, at_ns))


# Uploads


@contextmanager
def _storing_files(folder: str) -> Iterator[None]:
    """Raise errors of the system as Unavailable: senders keep their rows, and the operator reads which file it is."""
    try:
        yield
    except OSError as error:
        raise Unavailable(_NOT_NOW, _naming(folder, error)) from error


def _naming(path: str, error: Exception) -> object:
    """Return an error as it is if it names the path, else with the path."""
    return error if path in str(error) else f"{path}: {reason(error)}"


def _upload(folder: str, digest: str) -> str:
    return os.path.join(folder, blobs.UPLOADS, os.path.basename(blobs.path_of(folder, digest)))


def _append(path: str, piece: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        before = os.fstat(handle).st_size
        try:
            if os.write(handle, piece) != len(piece):
                raise OSError("the disk is full")
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def _publish(folder: str, path: str, digest: str) -> None:
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            os.unlink(path)
            raise Garbled
    # Prune keeps blobs younger than an hour; the upload may have begun long ago.
    os.utime(path)
    blobs.publish(folder, path, digest)
    with suppress(FileNotFoundError):
        os.unlink(blobs.path_of(folder, digest) + proof.DAMAGED)


def size_of(path: str) -> int:
    """Return the bytes of a file; 0 if it is not there."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _sweep_uploads(folder: str) -> None:
    """Delete uploads that were not completed within a week."""
    for path in _old_uploads(folder):
        os.unlink(path)


def _old_uploads(folder: str) -> Iterator[str]:
    return (path for path in blobs.uploads(folder) if time.time() - os.stat(path).st_mtime > _UPLOAD_KEPT)
