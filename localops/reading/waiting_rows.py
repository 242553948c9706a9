"""The rows of a session that wait in spill files, because its journal could not be written.

Figures do not count them, so pages must say how much is missing.
"""

from __future__ import annotations

from localops.journal import rows, spill
from localops.output import counted
from localops.reading import session_state
from localops.reading.session_state import Standing
from localops.reading.story import Story, milestone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.journal.stored import Source

    Facts = dict[str, Any]

_ID, _PHASE, _SESSION, _KIND, _COST = map(rows.COLUMNS.index, ("id", "phase", "session", "kind", "cost"))
# Without losses: they count waiting rows as if these were in the journal.
_MILESTONES = frozenset(rows.MILESTONES) - {"loss"}
_COUNTED = ("llm", "tool", "error")


def by_session(folder: str) -> dict[bytes, list[Row]]:
    """Return the waiting rows of a project, by session."""
    waiting: dict[bytes, list[Row]] = {}
    for row in spill.rows(folder):
        waiting.setdefault(row[_SESSION], []).append(row)
    return waiting


def corrected(source: Source, session: bytes, standing: Standing, waiting: Sequence[Row]) -> Standing:
    """Return the state of a session including its waiting rows, as its end may be among them."""
    if not (standing.derived and waiting):
        return standing
    if (end := session_state.declared(source, session, waiting)) is not None:
        return end
    many = "1 of its rows waits" if len(waiting) == 1 else f"{len(waiting)} of its rows wait"
    return Standing(standing.state, f"{session_state.DIED}; {many} in a spill file", standing.ended_ns, True)


def story(known: Story, waiting: Sequence[Row]) -> Story:
    """Return the story of a session including its waiting rows, such as those of processes that left."""
    milestones = [milestone(row) for row in waiting if row[_KIND] in _MILESTONES]
    return Story(sorted([*known.milestones, *milestones], key=lambda one: one.at_ns)) if milestones else known


def ended(waiting: Sequence[Row]) -> set[bytes]:
    """Return the ids of the operations whose ends wait."""
    return {row[_ID] for row in waiting if row[_PHASE] == rows.DONE}


def may_cost(waiting: Sequence[Row]) -> bool:
    """Return whether a waiting row may change the cost of its session."""
    return any(row[_KIND] in ("llm", "price") or row[_COST] for row in waiting)


def facts(waiting: Sequence[Row]) -> Facts | None:
    """Return how many rows of a session wait, of which kinds, and whether its end is among them; None without any."""
    if not waiting:
        return None
    over = ended(waiting)
    kinds = [row[_KIND] for row in waiting if row[_PHASE] == rows.DONE and row[_KIND] not in rows.BOOKS]
    return {
        "rows": len(waiting),
        "llm_calls": kinds.count("llm"),
        "tool_calls": kinds.count("tool"),
        "errors": kinds.count("error"),
        "others": sum(kind not in _COUNTED for kind in kinds),
        "begun": sum(row[_PHASE] == rows.OPEN and row[_ID] not in over for row in waiting),
        "has_end": any(row[_KIND] == "end" for row in waiting),
    }


def text(waiting: Facts) -> str:
    """Return these facts as a sentence without a full stop."""
    names = [("llm_calls", "LLM call"), ("tool_calls", "tool call"), ("errors", "error"), ("others", "other event")]
    parts = [counted(waiting[key], name) for key, name in names if waiting[key]]
    if begun := waiting["begun"]:
        parts.append(f"{counted(begun, 'beginning')} of calls or operations")
    parts += ["its end"] if waiting["has_end"] else []
    of_it = counted(waiting["rows"], "of its rows waits", "of its rows wait")
    what = f": {', '.join(parts)}" if parts else ""
    return f"{of_it} in a spill file and {'is' if waiting['rows'] == 1 else 'are'} not counted or shown here{what}"
