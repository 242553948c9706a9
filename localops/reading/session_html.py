"""Show a session as an HTML fragment for notebooks: its figures, and a short time line of its newest events.

All recorded text is escaped; the fragment loads nothing and needs no script or style sheet.
"""

from __future__ import annotations

import os
from html import escape

from localops import output
from localops.errors import LocalopsError
from localops.journal import rows, stored
from localops.journal.reader import Reader, SQLiteError
from localops.reading import analytics
from localops.reading.snapshot import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MANY = 25  # events in the time line
_ROWS = 4 * _MANY  # rows to read for it: an operation has two, and there are bookkeeping rows
_WIDE = 80  # characters to show of a text

_COLOURS = {"Success": "#2a9d4a", "Failure": "#d1372f", "Running": "#2f6fd1"}
_KINDS = {"llm": "#8a5cd6", "tool": "#2f8f9d", "error": "#d1372f"}
_OTHER = "#888888"
_TABLE = "border-collapse:collapse;font-size:12px;margin:0"
_CELL = "text-align:left;padding:1px 10px 1px 0;white-space:nowrap"


def shown(path: str, session: bytes) -> str | None:
    """Return a session of a journal as HTML; None if the journal cannot be read, to show a plainer form."""
    try:
        with Reader(path) as reader:
            return html(reader, session)
    # Otherwise, the notebook would show a traceback instead of the session.
    except (LocalopsError, SQLiteError, OSError):
        return None


def html(reader: Reader, session: bytes) -> str:
    """Return the current state of a session as HTML."""
    seen = Snapshot(reader, os.path.dirname(reader.path), session)
    total, state = seen.totals, seen.standing.state
    unpriced = f" + {total.unpriced} unpriced" if total.unpriced else " + ?" if seen.cost_at_least else ""
    facts = {
        "LLM calls": output.count(total.llms),
        "Tool calls": output.count(total.tools),
        "Actions": output.count(total.actions),
        "Errors": output.count(total.errors),
        "Tokens": f"{output.count(total.tokens_in)} in, {output.count(total.tokens_out)} out",
        "Cost": output.money(total.cost) + unpriced,
        "Duration": output.short_duration(max(0, seen.until_ns - total.first_ns)),
    }
    heads = "".join(f'<th style="{_CELL}">{name}</th>' for name in facts)
    cells = "".join(f'<td style="{_CELL}">{escape(value)}</td>' for value in facts.values())
    reason = f" – {_text(seen.standing.reason)}" if seen.standing.reason else ""
    tags = "".join(f" <code>{_text(tag)}</code>" for tag in seen.story.tags[:10])
    return (
        f"<div><div><b>{_text(seen.story.name or 'unnamed')}</b> "
        f'<span style="color:{_COLOURS.get(state, _OTHER)}">{escape(state)}</span>{reason}{tags} '
        f"<code>{rows.id_text(session)[:13]}</code></div>"
        f'<table style="{_TABLE}"><tr>{heads}</tr><tr>{cells}</tr></table>'
        f"{_time_line(reader, session, total)}</div>"
    )


def _time_line(reader: Reader, session: bytes, total: analytics.Totals) -> str:
    read = reader.all("newest_rows_of", session=session, upto=total.last_seq, many=_ROWS)
    events = list(_events(reader, stored.named(reversed(read))))
    shown = events[-_MANY:]
    if not shown:
        return ""
    first = min(event["start_ns"] for event in shown)
    span = max(1, max(event["end_ns"] or event["start_ns"] for event in shown) - first)
    lines = "".join(_line(event, first, span, total.first_ns) for event in shown)
    earlier = total.events - len(shown)
    more = f"<div>… {output.counted(earlier, 'earlier event')}</div>" if earlier > 0 else ""
    return f'{more}<table style="{_TABLE}">{lines}</table>'


def _events(reader: Reader, read: list[stored.Stored]) -> Iterator[dict[str, Any]]:
    """Yield the events of rows in the order of their beginnings, each once."""
    work = [row for row in read if row.kind not in rows.BOOKS]
    opened = {row.id: row for row in work if row.phase == rows.OPEN}
    ended = {row.id for row in work if row.phase == rows.DONE}
    # An import may have stored the closing row before the opening row.
    work += [row for id in opened.keys() - ended if (row := stored.one(reader, id, rows.DONE)) is not None]
    ended = {row.id for row in work if row.phase == rows.DONE}
    work = [row for row in work if row.phase == rows.DONE or row.id not in ended]
    events = [analytics.plain(row, opened.get(row.id) if row.phase == rows.DONE else None) for row in work]
    yield from sorted(events, key=lambda event: (event["start_ns"], event["seq"]))


def _line(event: dict[str, Any], first: int, span: int, began: int) -> str:
    took = None if event["end_ns"] is None else max(0, event["end_ns"] - event["start_ns"])
    left, width = 100 * (event["start_ns"] - first) // span, max(1, 100 * (took or 0) // span)
    colour = _KINDS["error"] if event["failed"] else _KINDS.get(event["kind"], _OTHER)
    bar = (
        f'<div style="width:120px"><div style="margin-left:{min(left, 99)}%;width:{min(width, 100 - min(left, 99))}%;'
        f'height:8px;background:{colour}"></div></div>'
    )
    ended = "unfinished" if took is None else output.short_duration(took)
    marks = ended + (", failed" if event["failed"] else "")
    details = event.get("details") or event.get("params") or event.get("prompt")
    cells = (
        f"+{output.short_duration(max(0, event['start_ns'] - began))}",
        event["kind"],
        event["name"] or event["model"] or "",
        marks,
    )
    columns = "".join(f'<td style="{_CELL}">{_text(cell)}</td>' for cell in cells)
    return f'<tr>{columns}<td>{bar}</td><td style="{_CELL}">{_text(details) if details else ""}</td></tr>'


def _text(value: object) -> str:
    """Return a value as short text on one line that is safe in HTML."""
    text = value if isinstance(value, str) else repr(value)
    return escape(output.cut(output.clean(" ".join(text[: 4 * _WIDE].split())), _WIDE))
