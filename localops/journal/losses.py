"""Rows that could not be written to the journal: write them to the process's spill file, and count them and lost ones.

As soon as the journal can be written again, each session gets a row with these counts (`loss`).
"""

from __future__ import annotations

from _thread import get_ident

from localops import interruption
from localops.journal import rows
from localops.journal.journal_file import INSERT, own_row
from localops.journal.spill import Spill
from localops.output import counted, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from localops.journal.journal_file import JournalFile
    from localops.journal.rows import Row

_SPILLED = 0  # in place of a thread: the row with this id waits in a spill file


class Losses:
    """The rows of one process that its journal could not take, and the ids that the program chose for rows."""

    def __init__(self, folder: str, counts: dict[str, int], lock: AbstractContextManager[object]) -> None:
        self.waiting = False  # whether rows wait in a spill file, as far as we know
        self.lock = lock
        self._folder, self._counts = folder, counts
        self.figures: dict[bytes, list[int]] = {}  # session -> [spilled, dropped], not yet recorded in a row
        self.refusal: str | None = None  # why the last row could not be spilled
        self._spill: Spill | None = None
        self._announced = 0  # dropped rows of which a warning was printed
        self._claims: dict[bytes, int] = {}  # id that the program chose -> thread that is writing its row
        self._claimed: dict[int, bytes] = {}  # thread -> id, the reverse

    def add(self, row: Row) -> bool:
        """Write a row that the journal could not take to the spill file, and count it; return False if it is lost."""
        lost = self.figures.setdefault(row[2], [0, 0])
        self.waiting = True
        # After an interruption it may be spilled twice; the journal deduplicates it.
        kept = self.keep(row)
        self._counts["spilled" if kept else "dropped"] += 1
        lost[not kept] += 1
        return kept

    def spilled(self, session: bytes) -> int:
        """Return how many rows of a session this process has spilled, as far as it knows."""
        return self.figures.get(session, [0, 0])[0]

    def drop(self, session: bytes) -> None:
        """Count a call of which no row was stored."""
        with self.lock:
            self._counts["dropped"] += 1
            self.figures.setdefault(session, [0, 0])[1] += 1

    def take_back(self, session: bytes) -> None:
        """Count one dropped row less for a session, as it is being written after all."""
        with self.lock:
            lost = self.figures.get(session)
            if lost is not None and lost[1] > 0:
                self._counts["dropped"] -= 1
                lost[1] -= 1

    def keep(self, row: Row) -> bool:
        """Write a row to the spill file; return False if that fails in every folder."""
        self.refusal = None
        # Any exception counts as a failure, as `append` never raises; with no descriptors left, even an import fails.
        return interruption.attempt(lambda: self._spill_row(row), otherwise=False)

    def _spill_row(self, row: Row) -> bool:
        try:
            if self._spill is None:
                self._spill = Spill(self._folder)
            return self._spill.write(rows.whole(row))
        except BaseException as error:
            self.refusal = f"{type(error).__name__}: {error}"  # as text, since the exception would keep these frames
            raise

    def _put_back(self, session: bytes, figures: list[int]) -> None:
        """Add back counts that could not be recorded; a signal handler may have counted more meanwhile."""
        lost = self.figures.setdefault(session, [0, 0])
        lost[:] = map(sum, zip(lost, figures, strict=True))

    def claim(self, id: bytes) -> bool:
        """Claim an id that the program chose for a row; return False if another thread or a spilled row has it.

        A thread's claim lasts until its next one: by then the row is in the journal, where it can be looked up.
        """
        here = get_ident()
        before = self._claimed.pop(here, None)
        if before is not None and self.figures:
            self._claims[before] = _SPILLED
        elif before is not None:
            self._claims.pop(before, None)
        if self._claims.setdefault(id, here) != here:
            return False
        self._claimed[here] = id
        return True

    def account(self) -> None:
        """Warn of lost rows, and write the counts to a spill file if possible.

        Call it after the journal is closed and the participant's file removed, as that frees space on a full disk.
        """
        with self.lock:
            for session, figures in list(self.figures.items()):
                if any(figures) and self.keep(_loss(session, *figures)):
                    del self.figures[session]
            dropped, self._announced = self._counts["dropped"] - self._announced, self._counts["dropped"]
        if dropped:
            where = "see `localops doctor`" if not self.figures else "this figure could not be written either"
            are = "is" if dropped == 1 else "are"
            say(f"{counted(dropped, 'row')} could not be written anywhere and {are} lost; {where}")

    def write(self, file: JournalFile) -> None:
        """Write a row for each session with the counts of its spilled and lost rows."""
        for session in list(self.figures):
            row = _loss(session, *self.figures[session])
            figures = self.figures.pop(session)
            try:
                if any(figures):
                    file.execute(INSERT, row)
            except BaseException:
                # If the row is there, the interruption came after the write.
                if not file.holds(row):
                    self._put_back(session, figures)
                raise
        self._spill = None

    def release(self) -> None:
        """Drop the claims on ids of spilled rows, if all spill files were collected."""
        if not self.waiting:
            for id in [id for id, thread in list(self._claims.items()) if thread == _SPILLED]:
                self._claims.pop(id, None)

    def become_child(self) -> None:
        """Reset the counts in a forked child, which has lost nothing yet and has no spill file."""
        self._spill = None
        self.figures = {}
        self._announced = 0


def _loss(session: bytes, spilled: int, dropped: int) -> Row:
    """Return the row with the counts of a session's spilled and lost rows."""
    return own_row("loss", session, {"spilled": spilled, "dropped": dropped})
