"""Which process recorded an event: opening rows of operations name those that joined a session."""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import stored
from localops.reading import analytics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.journal.stored import Stored
    from localops.reading.snapshot import Snapshot

PARTICIPANT = "participant"
"""The field with the id of a process, in its card and in the opening rows of its operations."""
_ONCE = "once"  # the field of `recorded_steps`, which is loaded late


def named_by(row: Stored) -> str | None:
    """Return the id of the process that an opening row names: the row of a step that runs once always has it."""
    if not row.body or (PARTICIPANT not in row.body and f'"{_ONCE}"' not in row.body):
        return None
    body = encode.loads(row.body)
    if not isinstance(body, dict):
        return None
    step = body.get(_ONCE)
    id = body.get(PARTICIPANT) or (step.get("by") if isinstance(step, dict) else None)
    return id if isinstance(id, str) else None


def places(session: Snapshot, ids: Sequence[bytes]) -> list[int]:
    """Return the place of each event's process among the participants; -1 if no row names it.

    The list is empty for a session with one process.
    """
    place_of = {card.get(PARTICIPANT): place for place, (card, _, _) in enumerate(session.story.participants())}
    if len(place_of) < 2:
        return []
    opened = stored.named(session.source.all("opening_rows", ids=analytics.array(list(ids))))
    known = {row.id: place_of.get(named_by(row), -1) for row in opened}
    return [known.get(id, -1) for id in ids]
