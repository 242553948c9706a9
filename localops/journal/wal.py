"""Keep the write-ahead log (WAL) of a journal short, and sync it often enough that a power cut costs little.

By itself, SQLite would run a checkpoint after every thousand pages, and sync while it holds the write lock.  Here one
process runs the checkpoint while others write, the WAL is restarted even if many processes write without a pause, and
syncing needs no lock.
"""

from __future__ import annotations

import os
import time
from _random import Random

from localops import interruption
from localops.journal.journal_file import INSERTS, monotonic
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.journal_file import JournalFile
    from localops.journal.rows import Row

# Numbers of pages in the WAL.  After COPY_FRAMES it is copied into the file.  After MOST_FRAMES, one process makes the
# others wait and restarts it: SQLite does so only when no process reads or writes, which with many never happens.
# With more than FULL_FRAMES, no process writes while another restarts the WAL.
COPY_FRAMES, MOST_FRAMES, FULL_FRAMES = 1_000, 2_900, 3_300
# The following are seconds.
SHORTEN_WAIT = 1.0  # to wait for the write lock before a restart
READERS_WAIT = 0.025  # to wait for readers then, while all writers are blocked
FULL_WAIT = 0.5  # to wait for another process that is restarting it
SHORTEN_SOON = 0.002  # until the next attempt
SHORTEN_PAUSE, SHORTEN_PAUSE_MOST = 0.5, 30.0  # until the next attempt, if a reader prevented it
SYNC_EVERY = 1.0  # between two syncs: a power cut loses at most the rows of this time
URGENT_EVERY = 0.1  # between two syncs for errors and openings


class Wal:
    """Maintains the WAL of a journal's file, in a process that writes to it."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._random = Random()
        self.sync_at = self._synced = 0.0
        self._copied = 0  # pages in the WAL when it was last copied into the file
        self._shorten_at, self._shorten_pause, self._readers_since = 0.0, SHORTEN_PAUSE, 0.0

    def insert_synced(self, row: Row, now: float, at_once: bool) -> None:
        """Write a row and sync the WAL, so that all earlier rows survive a power cut too."""
        execute = self._file.execute
        by_handle = (
            self._file.watch.wal >= 0 and self._file.vfs is None and not (self._file.power or self._file.network)
        )
        if by_handle and not at_once and (rest := self._synced_for()):
            self.sync_at = now + rest
            execute(INSERTS[len(row)], row)
            return
        self._synced, self.sync_at = now, now + SYNC_EVERY
        # Sync after the insert: SQLite would sync while it holds the write lock.
        if by_handle:
            execute(INSERTS[len(row)], row)
            self._sync()
            return
        if self._file.power or self._file.network:
            execute(INSERTS[len(row)], row)
            return
        try:
            execute("pragma synchronous = full")
            execute(INSERTS[len(row)], row)
        finally:
            execute("pragma synchronous = normal")

    def _sync(self) -> None:
        """Sync the WAL without a lock, so that only we wait for the disk."""
        try:
            os.fdatasync(self._file.watch.wal)
        except OSError as error:
            interruption.pass_on(error)
            say_once(
                "sync", f"{self._file.path}-wal cannot be synced ({error}): a power cut may cost the newest events"
            )

    def _synced_for(self) -> float:
        """Return the seconds until the next sync is due, as the last checkpoint of any process began with a sync."""
        try:
            rest = os.stat(self._file.path).st_mtime + SYNC_EVERY - time.time()
        except OSError as error:
            interruption.pass_on(error)
            return 0.0
        return rest if 0 < rest <= SYNC_EVERY else 0.0

    def sync_due(self) -> bool:
        """Return whether the last sync is a tenth of a second ago, so that one is due before a long wait."""
        return monotonic() >= self._synced + URGENT_EVERY

    def tend(self, now: float) -> None:
        """Run a checkpoint if the WAL is long enough, and restart the WAL if it is too long."""
        frames, done = self._file.watch.frames()
        self._copied = min(self._copied, frames)
        if frames - max(done, self._copied) >= COPY_FRAMES:
            # Others can write meanwhile.  If another process runs a checkpoint already, this returns immediately.
            self._copied = frames
            self._file.execute("pragma wal_checkpoint(passive)").fetchall()
        elif frames > MOST_FRAMES and frames > done and now >= self._shorten_at:
            self._shorten()

    def _shorten(self) -> None:
        """Restart the WAL; if another process is restarting it, wait only if the WAL is full."""
        busy, until = self._restart(), monotonic() + FULL_WAIT
        while busy and not self._file.gave_up and monotonic() < until:
            if self._file.watch.frames()[0] <= FULL_FRAMES:
                break
            time.sleep(0.001 + 0.002 * self._random.random())
            # Try, unless the other process has restarted it meanwhile.
            busy = self._file.watch.frames()[0] > MOST_FRAMES and self._restart()
        if busy and self._readers_since:
            # Not again soon: each attempt blocks all writers.
            self._shorten_at = monotonic() + self._shorten_pause
            self._shorten_pause = min(2 * self._shorten_pause, SHORTEN_PAUSE_MOST)
        else:
            full = self._file.watch.frames()[0] > FULL_FRAMES
            self._shorten_at = monotonic() + (SHORTEN_SOON if busy and not full else 0.0)
            self._shorten_pause = SHORTEN_PAUSE

    def _restart(self) -> bool:
        """Copy the rest of the WAL into the file while no process writes; return True if the restart failed."""
        connection = self._file.connection
        assert connection is not None
        patience, self._file.patience = self._file.patience, SHORTEN_WAIT
        self._file.gave_up, self._readers_since = False, 0.0
        connection.set_busy_handler(self._busy)
        try:
            return bool(self._file.execute("pragma wal_checkpoint(restart)").fetchall()[0][0])
        finally:
            self._file.patience = patience
            connection.set_busy_handler(self._file.busy)

    def _busy(self, tries: int) -> bool:
        """Wait for the write lock as usual, but for readers only a moment."""
        if not self._file.watch.writes():
            return self._file.busy(tries)
        now = monotonic()
        self._readers_since = self._readers_since or now
        self._file.gave_up = now - self._readers_since > READERS_WAIT
        time.sleep(0.0003)
        return not self._file.gave_up
