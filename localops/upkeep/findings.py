"""What a check of a home finds, and what its cures have in common."""

from __future__ import annotations

from dataclasses import dataclass

from localops.journal.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = 5  # sessions, rows or files that a finding names


@dataclass(frozen=True)
class Finding:
    """A problem, or (if `fault` is False) a note; `mend` fixes it, or raises an exception with the reason."""

    where: str
    text: str
    cure: str | None = None
    fault: bool = True
    mend: Callable[[], object] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Return the words that identify a finding."""
        return self.where, self.text


def repair_with(name: str) -> str:
    """Return the command that repairs the journal of a project."""
    return f"localops repair --project {name} --replace"


def in_journal(folder: str, work: Callable[[Journal], object]) -> None:
    """Open the journal of a folder, and do the work of a cure in it."""
    journal = Journal(folder, gather=True)
    try:
        work(journal)
    finally:
        journal.close()
