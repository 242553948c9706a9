"""The error for a batch if the row before it is missing here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.transfer.bundle import Range


class MissingRows(Exception):
    """The row before a batch is not here: this journal was set back, or is another one."""

    def __init__(self, held: list[Range], marks: list[tuple[int, bytes, int]]) -> None:
        super().__init__("the row before these is not here")
        self.held = held  # the seqs of the sender's journal that are here
        self.marks = marks  # seq, id and phase of the last rows of batches, the newest first
