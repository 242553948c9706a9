"""The rows about the processes of a session, in one attribute of its root span: who took part, and how each run ended.

Without them, an imported session says neither whether a process may still record it, nor when it was resumed, nor in
which process an operation was in progress.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import rows
from localops.journal.participants import CARD
from localops.recording.session import STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from localops.journal.rows import Row
    from localops.reading.story import Milestone, Story
    from localops.recording.writer import Writer

_MOST = 500  # rows to send; if there are more, those of processes that have left are dropped
_KINDS = frozenset((*rows.STARTS, *rows.LEAVES))
_LENGTH = 32  # of an id as text
_FIELDS = frozenset((*CARD, "forked", "resumed", "reason", "derived"))


def sent(story: Story) -> str | None:
    """Return the attribute with the processes of a session, as JSON; None if they are not known."""
    known = [one for one in story.milestones if one.kind in _KINDS]
    if not any(one.participant for one in known):
        return None
    if len(known) > _MOST:
        present: set[bytes | None] = {*story.present()}
        known = [one for one in known if _is_needed(one, present)][-_MOST:]
    return encode.dumps([_sent(one) for one in known]).decode()


def _is_needed(one: Milestone, present: Collection[bytes | None]) -> bool:
    return one.kind in ("session", "end") or one.participant in present or bool(one.body.get("resumed"))


def _sent(one: Milestone) -> dict[str, Any]:
    about = {"kind": one.kind, "id": one.id.hex(), "at": one.at_ns, "name": one.name if one.kind == "end" else None}
    by = None if one.participant is None else one.participant.hex()
    body = {key: value for key, value in one.body.items() if key in _FIELDS}
    return {key: value for key, value in {**about, "by": by, "body": body}.items() if value}


class Processes:
    """The rows in an attribute of a root span; empty if the attribute is missing or invalid."""

    def __init__(self, text: object) -> None:
        try:
            known = encode.loads(text) if isinstance(text, str) else []
            self._known = [_checked(one) for one in known[:_MOST]]
        except (AttributeError, KeyError, TypeError, ValueError):
            self._known = []

    def __bool__(self) -> bool:
        return bool(self._known)

    def start(self) -> tuple[bytes | None, dict[str, Any]]:
        """Return the process that began the session, and its card."""
        return next(((one["by"], one["body"]) for one in self._known if one["kind"] == "session"), (None, {}))

    def left_at(self, end_ns: int) -> bytes | None:
        """Return the process that ended the session at a time."""
        return next((one["by"] for one in self._known if one["kind"] == "end" and one["at"] == end_ns), None)

    def rows(self, writer: Writer, end_ns: int) -> Iterator[Row]:
        """Yield the rows of those that joined and left, and of the ends of runs other than the one at `end_ns`."""
        for one in self._known:
            kind, at = one["kind"], one["at"]
            if kind == "session" or (kind == "end" and at == end_ns):
                continue
            yield writer.note(kind, one["id"], at, fields=one["body"] or None, name=one["name"], parent=one["by"])


def _checked(one: dict[str, Any]) -> dict[str, Any]:
    """Return a row that was sent with ids in bytes; raise one of several errors if it was not sent by us."""
    kind, at, by, body = one["kind"], one["at"], one.get("by"), one.get("body", {})
    is_ours = kind in _KINDS and type(at) is int and 0 <= at < 1 << 62 and (kind != "end" or one["name"] in STATES)
    if not is_ours or {len(one["id"]), len(by or one["id"])} != {_LENGTH}:
        raise ValueError
    return {
        "kind": kind,
        "id": bytes.fromhex(one["id"]),
        "at": at,
        "name": one["name"] if kind == "end" else None,
        "by": None if by is None else bytes.fromhex(by),
        "body": {key: value for key, value in body.items() if key in _FIELDS},
    }
