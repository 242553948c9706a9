"""Rows that the journal did not take: a process's spill file, how many rows are in it, and how many were lost.

Each session gets a row about them (`loss`) as soon as the journal can be written again.
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

_SPILLED = 0  # instead of a thread: the row of an id waits in a spill file


class Losses:
    """The rows of one process that its journal did not take, and the ids that programs chose for such rows."""

    def __init__(self, folder: str, counts: dict[str, int], lock: AbstractContextManager[object]) -> None:
        self.waiting = False  # whether rows wait in a spill file, as far as we know
        self.lock = lock
        self._folder, self._counts = folder, counts
        self.figures: dict[bytes, list[int]] = {}  # session -> [spilled, dropped], not yet recorded in a row
        self.refusal: str | None = None  # the exception that kept the last row from a spill file, as text
        self._spill: Spill | None = None
        self._announced = 0  # of the dropped rows
        self._claims: dict[bytes, int] = {}  # ids that programs chose, by the thread that writes such a row
        self._claimed: dict[int, bytes] = {}  # and the other way round

    def add(self, row: Row) -> bool:
        """Keep a row that the journal did not take in the spill file, and count it; False when it is lost."""
        lost = self.figures.setdefault(row[2], [0, 0])
        self.waiting = True
        # An interruption may spill it twice, but the journal takes a row once.
        kept = self.keep(row)
        self._counts["spilled" if kept else "dropped"] += 1
        lost[not kept] += 1
        return kept

    def spilled(self, session: bytes) -> int:
        """Return how many rows of a session this process has in a spill file, as far as it knows."""
        return self.figures.get(session, [0, 0])[0]

    def drop(self, session: bytes) -> None:
        """Count a call that made no row at all."""
        with self.lock:
            self._counts["dropped"] += 1
            self.figures.setdefault(session, [0, 0])[1] += 1

    def take_back(self, session: bytes) -> None:
        """Undo the count of a dropped row of a session, which was written after all."""
        with self.lock:
            lost = self.figures.get(session)
            if lost is not None and lost[1] > 0:
                self._counts["dropped"] -= 1
                lost[1] -= 1

    def keep(self, row: Row) -> bool:
        """Write a row to the spill file; return False if no folder takes it."""
        self.refusal = None
        # Any exception means False, as `append` never raises; without descriptors, even an import fails.
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
        """Add back figures that could not be recorded; a signal handler may have added to them meanwhile."""
        lost = self.figures.setdefault(session, [0, 0])
        lost[:] = map(sum, zip(lost, figures, strict=True))

    def claim(self, id: bytes) -> bool:
        """Return whether no other thread writes a row of an id that a program chose, and none waits in a spill file.

        The claim of a thread lasts until its next one; by then its row is in the journal, where it can be looked up.
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
        """Warn of rows that were lost for good, and write the figures to a spill file if possible.

        Call it after the journal was closed and the participant's file removed, which makes room on a full disk.
        """
        with self.lock:
            for session, figures in list(self.figures.items()):
                if any(figures) and self.keep(_loss(session, *figures)):
                    del self.figures[session]
            dropped, self._announced = self._counts["dropped"] - self._announced, self._counts["dropped"]
        if dropped:
            where = "see `localops doctor`" if not self.figures else "this figure could not be written either"
            are = "is" if dropped == 1 else "are"
            say(f"{counted(dropped, 'row')} could be written nowhere and {are} lost; {where}")

    def write(self, file: JournalFile) -> None:
        """Write a row for each session about what could not be written at once."""
        for session in list(self.figures):
            row = _loss(session, *self.figures[session])
            figures = self.figures.pop(session)
            try:
                if any(figures):
                    file.execute(INSERT, row)
            except BaseException:
                # Otherwise the interruption came after the write.
                if not file.holds(row):
                    self._put_back(session, figures)
                raise
        self._spill = None

    def release(self) -> None:
        """Drop the claims on ids whose rows were collected from the spill file, if no row waits there."""
        if not self.waiting:
            for id in [id for id, thread in list(self._claims.items()) if thread == _SPILLED]:
                self._claims.pop(id, None)

    def become_child(self) -> None:
        """Forget what the parent has lost: a forked child has lost nothing yet, and has no spill file."""
        self._spill = None
        self.figures = {}
        self._announced = 0


def _loss(session: bytes, spilled: int, dropped: int) -> Row:
    """Return the row about a session's rows that were spilled, or lost."""
    return own_row("loss", session, {"spilled": spilled, "dropped": dropped})
