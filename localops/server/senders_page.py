"""The page of a hub that lists the machines that send to it."""

from __future__ import annotations

from html import escape

from localops import output
from localops.server.senders import short_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.reading.facts import Facts

_COLUMNS = (
    ("Machine", ""),
    ("Journal", ""),
    ("Last rows", ""),
    ("Newest event (UTC)", ""),
    ("Lag", "num"),
    ("Rows", "num"),
    ("Release", ""),
)
_ABOUT = "One line for each journal. A machine that has nothing to send counts as silent, too."
_NOTHING = """<p class="empty" id="empty">No machine has sent rows yet: run <code>localops sync</code> on one.</p>"""
_SECOND = 1_000_000_000


def inside(facts: Facts) -> str:
    """Return the page without its frame, as HTML."""
    senders: Any = facts["senders"]
    if not senders:
        return f'<h1 class="page-title">Senders</h1>\n{_NOTHING}'
    heads = "".join(f'<th scope="col"{f" class={kind}" if kind else ""}>{label}</th>' for label, kind in _COLUMNS)
    short = short_names(one["journal"] for one in senders)
    rows = "".join(_row(one, short[one["journal"]]) for one in senders)
    return f"""<h1 class="page-title">Senders</h1>
<p class="meta">{_ABOUT}</p>
<div class="table-wrap"><table id="senders" class="list">
<thead><tr>{heads}</tr></thead>
<tbody>{rows}</tbody>
</table></div>"""


def _row(one: dict[str, Any], journal: str) -> str:
    ago = output.ago(round(one["silent_seconds"] * _SECOND))
    heard = f'<time datetime="{escape(one["last_heard"])}">{ago}</time>'
    silent = ' <span class="state Failure">silent</span>' if one["silent"] else ""
    newest = one["newest_row"]
    lag = "unknown" if one["lag_seconds"] is None else output.short_duration(round(one["lag_seconds"] * _SECOND))
    cells = (
        f'<th scope="row">{escape(one["host"] or "unknown")}</th>',
        f'<td><code title="{escape(one["journal"])}">{escape(journal)}</code></td>',
        f"<td>{heard}{silent}</td>",
        f"<td>{_time(newest) if newest else 'unknown'}</td>",
        f'<td class="num">{lag}</td>',
        f'<td class="num">{output.count(one["rows"])}</td>',
        f"<td>{escape(one['release'] or 'unknown')}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _time(at: str) -> str:
    return f'<time datetime="{escape(at)}">{escape(at[:19].replace("T", " "))}</time>'
