"""Events that had stayed in a journal file that was moved away, and that an import brings: they are not missing now."""

from __future__ import annotations

from localops.journal.journal_file import own_row
from localops.reading.story import Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.journal import Journal


class Returned:
    """The sessions that lack such events before an import, and the newest row then."""

    def __init__(self, journal: Journal) -> None:
        journal.collect()  # rows that wait in spill files are not from the file to import
        self._journal = journal
        self._left = {session: (left, at_ns) for session, left, at_ns in journal.all("left_elsewhere")}
        newest = journal.one("newest")
        self._newest = (newest[0] if newest else None) or 0

    def note(self) -> None:
        """Add a row for each session of which the import has brought events that stayed elsewhere."""
        notes = []
        for session, (left, at_ns) in self._left.items():
            # Another journal had counted them, and its note came with the rows.
            if Story.read(self._journal, session).left != left:
                continue
            [(many,)] = self._journal.all("returned_events", session=session, seq=self._newest, at_ns=at_ns)
            if many:
                notes.append(own_row("loss", session, {"left": -min(many, left)}))
        if notes:
            self._journal.add(notes)
            self._journal.fold()
