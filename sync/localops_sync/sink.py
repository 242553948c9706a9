"""The interface of a sink, and the errors that it raises for a batch.

To add one: a class with `send` in `sinks/`, a line in `sinks/__init__.py`, a line in the contract tests
(tests/sync/test_sinks.py), which then run over it.  `send` returns an Ack: every row that the Ack does not refuse is
stored by the receiver *for good*, so return one only for a reply that confirms it beyond doubt.  Raise everything else:

Trouble
├── Offline     no answer, an answer of something else, or a failure: the rows stay, a later pass sends them again
│   ├── Busy        the receiver is there and asks for a later try, whatever the rows are
│   │   └── OverQuota   and that is not in this pass
│   └── Unread      its answer is too long to be read
├── Blocked     a person must act before anything can be sent
├── Refused     the receiver rejects this batch as such: the worker finds the row by bisection
├── TooLarge    the batch has too many bytes: the worker sends less at a time
└── Diverged    the receiver lacks rows that it confirmed: the worker goes back
"""

from __future__ import annotations

from localops.errors import LocalopsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from localops.transfer.bundle import Ack, Batch, Range

    class Sink(Protocol):
        """A destination of batches."""

        def send(self, batch: Batch) -> Ack:
            """Send a batch; return when the receiver has stored it, raise Trouble when it cannot."""

        def check(self) -> str:
            """Check that the receiver accepts rows with this key, and return its kind; raise Trouble."""

        def close(self) -> None:
            """Close the connections."""


class Trouble(LocalopsError):
    """The rows could not be sent; they are kept."""


class Offline(Trouble):
    """The remote did not answer; the rows are kept for the next pass."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, answered: bool = False, broke: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds that the remote asked for
        self.answered = answered  # the remote did answer, if only that it failed
        self.broke = broke  # the remote was reached, and the connection ended in the middle


class Busy(Offline):
    """The remote asks for time; the rows are kept for later."""


class OverQuota(Busy):
    """The remote takes no more rows today; the rows are kept for a later pass."""


class Unread(Offline):
    """The remote's answer is longer than we read."""


class Blocked(Trouble):
    """The remote takes nothing until a person acts; the rows are kept."""


class WrongKey(Blocked):
    """The remote does not accept the key, or the key may not send."""


class Refused(Trouble):
    """The remote refuses these rows."""


class TooLarge(Trouble):
    """The batch is too large for the remote."""

    def __init__(self, message: str, *, foreign: bool = False) -> None:
        super().__init__(message)
        self.foreign = foreign  # the answer is a web page: of a proxy before the remote, not of the remote


class Diverged(Trouble):
    """The remote lacks rows that it had."""

    def __init__(self, message: str, held: Sequence[Range], marks: Sequence[tuple[int, bytes, int]]) -> None:
        super().__init__(message)
        self.held = held  # the seqs of this journal that the remote does have
        self.marks = marks  # the last row of each of its batches: seq, id, phase; the newest first
