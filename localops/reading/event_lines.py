"""The text of each event as one line, for lists, and the first picture of actions."""

from __future__ import annotations

from localops import output
from localops.encoding import encode
from localops.journal import blobs, rows, stored
from localops.reading import finish_reasons, media_types, session_details
from localops.reading.previews import given_line, line, result
from localops.reading.timeline import row_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from localops.journal.stored import Stored
    from localops.reading.facts import Facts
    from localops.reading.home import Project

# Characters of bodies to read for one response; the last event may exceed the limit.
_MOST = 8 << 20
# Characters to show of a model's finish reason.
_REASON = 40
# Kinds of which both rows are read: a model's answer and an action's picture are in the closing row.
_WHOLE = frozenset(("llm", "action"))


def of(project: Project, session: bytes, seqs: Iterable[int]) -> Facts:
    """Return the lines of a session's events, by the given seqs; if bodies are very large, the last are missing.

    The line of an LLM call is its answer, or `given: ` and its input; that of other events is their input.  `pictures`
    has the first picture of each action, if there is one.
    """
    lines: dict[str, str] = {}
    pictures: dict[str, Facts] = {}
    read = 0
    for seq in seqs:
        if read >= _MOST:
            break
        row = row_at(project.reader, seq)
        if row is None or row.session != session or row.kind in rows.BOOKS:
            continue
        halves = _halves(project, row) if row.kind in _WHOLE else [row]
        text = line_of(halves)
        if not text and row.kind not in _WHOLE:
            halves = _halves(project, row)
            text = line_of(halves)
        lines[str(seq)] = text
        read += sum(len(half.body or "") for half in halves)
        if row.kind == "action" and (picture := _picture(project, halves)) is not None:
            pictures[str(seq)] = picture
    return {"previews": lines, "pictures": pictures}


def _halves(project: Project, row: Stored) -> list[Stored]:
    """Return both rows of an operation, or the single row of another event."""
    other = stored.one(project.reader, row.id, 1 - row.phase)
    return [row] if other is None else [row, other]


def line_of(halves: Sequence[Stored]) -> str:
    """Return the line of an event, from its rows."""
    bodies = [(half.kind, _body(half)) for half in halves]
    answer = next(filter(None, (result(kind, body) for kind, body in bodies if kind == "llm")), "")
    given = next(filter(None, (line(kind, body) for kind, body in bodies)), "")
    text = answer or (given_line(given) if bodies[0][0] == "llm" else given)
    stopped = next(filter(None, (finish_reasons.unusual(body) for kind, body in bodies if kind == "llm")), None)
    return text if stopped is None else f"[stopped: {output.cut(stopped, _REASON)}] {text}".rstrip()


def _picture(project: Project, halves: Sequence[Stored]) -> Facts | None:
    """Return the first picture of an event: an attachment, or a screenshot that is in its row."""
    for digest in blobs.named([half.body for half in halves]):
        file = session_details.attachment(project, digest)
        if str(file["kind"]).startswith("image/"):
            return file
    for half in halves:
        address = media_types.picture_address(_body(half).get("screenshot"))
        if address is not None:
            return {"url": address}
    return None


def _body(row: Stored) -> dict[str, Any]:
    try:
        value = encode.loads(row.body or "{}")
    # A damaged body.
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {"params": value}
