"""What a sink is, and what can become of a batch that is sent.

To add one: a class with `send` in `sinks/`, a line in `sinks/__init__.py`, a line in the contract tests
(tests/sync/test_sinks.py), which then run over it.  `send` gives back an Ack: whatever that does not refuse is with
the receiver *for good*, so it is only given for an answer that says so beyond doubt.  Everything else is raised:

Trouble
├── Offline     nobody answered, or not who we meant, or it failed: the rows stay, a later pass sends them again
│   ├── Busy        it is there and says "later", whatever the rows are
│   └── Unread      its answer is too long to be read
├── Blocked     a person must act before anything can go there
├── Refused     the receiver says no to this batch as such: the worker finds the row by asking about ever less
├── TooLarge    the batch has too many bytes for it: the worker sends less at a time
└── Diverged    the receiver does not have what it is supposed to have: the worker goes back
"""

from __future__ import annotations

from localops.errors import LocalopsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from localops.transfer.bundle import Ack, Batch, Range

    class Sink(Protocol):
        """Where batches go."""

        def send(self, batch: Batch) -> Ack:
            """Hand a batch over; returns when it is stored there, raises Trouble when it cannot be."""

        def check(self) -> str:
            """Ask the receiver whether it would take rows with this key, and say who it is; raises Trouble."""

        def close(self) -> None:
            """Let go of connections."""


class Trouble(LocalopsError):
    """The rows could not be sent; they are kept."""


class Offline(Trouble):
    """The remote did not answer; the rows are kept for the next pass."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, answered: bool = False, broke: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # what it asked for
        self.answered = answered  # it did say something, if only that it failed
        self.broke = broke  # somebody was there, and the connection ended in the middle


class Busy(Offline):
    """The remote asks for time; the rows are kept for later."""


class Unread(Offline):
    """The remote's answer is longer than what is read of one."""


class Blocked(Trouble):
    """The remote takes nothing until somebody does something about it; the rows are kept."""


class Refused(Trouble):
    """The remote refuses these rows."""


class TooLarge(Trouble):
    """The batch is too large for the remote."""

    def __init__(self, message: str, *, foreign: bool = False) -> None:
        super().__init__(message)
        self.foreign = foreign  # a web page says so: not the remote, but a proxy before it


class Diverged(Trouble):
    """The remote lacks rows that it had."""

    def __init__(self, message: str, held: Sequence[Range], marks: Sequence[tuple[int, bytes, int]]) -> None:
        super().__init__(message)
        self.held = held  # the seqs of this journal that it does have
        self.marks = marks  # the rows its batches ended with: seq, id, phase; the newest first
