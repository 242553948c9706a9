"""`csv`: sessions, or their events, as lines for a spreadsheet."""

from __future__ import annotations

from localops.dialects import tables
from localops.reading import export
from localops.recording.events import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from localops.reading.export import Run

# Times in ISO 8601 are enough here, and so are costs in dollars.
_LEFT_OUT = ("began_ns", "last_ns", "cost_nano")
_SESSIONS = [name for name in tables.COLUMNS["sessions"] if name not in _LEFT_OUT]


def write(runs: Iterable[Run], file: BinaryIO, *, table: str = "events") -> None:
    """Write a line for each session, or for each event."""
    if table == "events":
        export.write_csv(runs, file)
    else:
        export.write_lines(_SESSIONS, map(_line, runs), file)


def _line(run: Run) -> list[object]:
    session = tables.session(run)
    times = {name: iso(session[f"{name}_ns"]) for name in ("began", "last")}
    flags = {name: int(session[name]) for name in ("at_least", "cost_at_least")}
    session |= times | flags | {"tags": ", ".join(session["tags"])}
    return [session[name] for name in _SESSIONS]
