"""Exit codes of a pass: what each means, and which of several is returned."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DONE, UNEXPECTED, USAGE, PARKED, ACT, OFFLINE, BUDGET, BUSY, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 11, 130

# With several remotes, the exit code is the first of these that occurred: most urgent for a person first.
WORST_FIRST = (USAGE, INTERRUPTED, UNEXPECTED, ACT, PARKED, BUDGET, OFFLINE, BUSY, DONE)
# These need no person, so --quiet prints nothing about them.
QUIET = (DONE, OFFLINE, BUDGET, BUSY)

NAMES = {
    DONE: "done",
    UNEXPECTED: "unexpected",
    USAGE: "nothing to sync",
    PARKED: "parked",
    ACT: "act",
    OFFLINE: "offline",
    BUDGET: "budget",
    BUSY: "busy",
    INTERRUPTED: "interrupted",
}

EXPLAINED = """\b
Exit codes: 0 all delivered · 1 unexpected · 2 usage, or no remote found
3 rows are parked or wait for files that are not here, the hub lost rows that
were pruned here, or --verify found a difference
4 a person must act (key, certificate, address, another hub, version)
5 offline, or the remote is down: rows are kept · 6 the budget of this pass or
the hub's quota of the day is used up, rows remain
11 another sync is running · 130 interrupted. Of several remotes: the first of
130 1 4 3 6 5 11 0."""


@dataclass
class Outcome:
    """The result of a pass for one remote of one project."""

    project: str
    remote: str
    code: int = DONE
    message: str = ""
    sent: int = 0  # rows that were delivered
    replaced: int = 0  # of these, the ones that were scrubbed, in place of those that the hub had
    bytes: int = 0  # of all requests
    requests: int = 0
    parked: int = 0  # rows parked in this pass, and those that still wait for a file
    left: int = 0  # rows that remain
    oldest_ns: int | None = None  # when the first of these was recorded
    compared: int | None = None  # sessions, with --verify
    metadata_only: bool = False  # content is not sent there
    deleted: list[str] = field(default_factory=list)  # of these, the ones that were deleted on the hub
    pruned: list[str] = field(default_factory=list)  # and the ones that a prune of the hub removed
    scrubbed_there: int = 0  # rows of which a scrub has replaced more on the hub than here, with --verify
    given_up: int = 0  # rows that `parked drop` has dropped, with --verify: the remote never gets them
    late_ns: int | None = None  # since when nothing has arrived, if that is too long for a passing network problem
    elsewhere: list[str] = field(default_factory=list)  # projects with rows and no remote, if this one never had a row
    notes: list[str] = field(default_factory=list)

    def worse(self, code: int, message: str) -> None:
        """Set the code and its message, unless a worse one is set already."""
        if WORST_FIRST.index(code) < WORST_FIRST.index(self.code):
            self.code, self.message = code, message


def worst(codes: Iterable[int]) -> int:
    """Return the exit code for all of them."""
    present = set(codes)
    return next((code for code in WORST_FIRST if code in present), DONE)
