"""Import rows that were exported as lines of JSON into a journal."""

from __future__ import annotations

from dataclasses import dataclass, field

from localops.journal import rows, wire
from localops.journal.stored import Stored
from localops.transfer import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.journal.journal import Journal
    from localops.journal.rows import Row

_AT_ONCE = 1_000  # rows that are written together
_MOST_SIZE = 8 << 20  # bytes of their lines
_LONGEST = 256 << 20  # bytes of a line; a longer one is no row
_SESSION = rows.COLUMNS.index("session")


@dataclass
class Taken:
    """The result of an import: numbers of lines by outcome."""

    rows: int = 0
    new: int = 0
    gone: int = 0  # rows of sessions that were pruned or deleted here
    problems: list[str] = field(default_factory=list)


def are_in(path: str) -> bool:
    """Return whether the first line of a file is a row."""
    with open(path, "rb") as file:
        try:
            wire.to_row(file.readline(_LONGEST))
        except ValueError:
            return False
    return True


def take(journal: Journal, path: str) -> Taken:
    """Write the rows of a file that are not here yet; report each line that is not an intact row as a problem."""
    taken = Taken()
    gone: dict[bytes, bool] = {}
    for some in _batches(path, taken):
        living = []
        for row in some:
            session = row[_SESSION]
            if session not in gone:
                gone[session] = journal.one("gone", session=session) is not None
            if gone[session]:
                taken.gone += 1
            else:
                living.append(row)
        taken.rows += len(some)
        taken.new += journal.add(living)
    journal.fold()
    return taken


def _batches(path: str, taken: Taken) -> Iterator[list[Row]]:
    some: list[Row] = []
    size = 0
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
            if not line.strip():
                continue
            try:
                row = wire.to_row(line)
                validation.check_rows([Stored(number, *row)])
            except ValueError as error:
                taken.problems.append(f"{path}:{number}: {error}")
                continue
            some.append(row)
            size += len(line)
            if len(some) >= _AT_ONCE or size >= _MOST_SIZE:
                yield some
                some, size = [], 0
    if some:
        yield some
