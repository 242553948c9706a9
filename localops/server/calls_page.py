"""The page of calls, as HTML that can be read before any script has run; groups are drawn by the script."""

from __future__ import annotations

from html import escape

from localops import output
from localops.server import early_html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.reading.facts import Facts


def inside(facts: Facts, root: str, chosen: Sequence[tuple[str, str]]) -> str:
    """Return the table of the calls in a page."""
    heads = "".join(f'<th scope="col" class="{kind}">{label}</th>' for label, kind in _COLUMNS)
    groupings = "".join(f"<a>{label}</a>" for label in _GROUPINGS)
    sums = '<span class="soon">1,000 calls · 10 failed (1.0%) · $10.00 · 1.0M tokens · 1h 00m</span>'
    rows = "".join(_row(one, root) for one in facts.get("calls", ()))
    return f"""<div id="calls-head"><h1>Calls</h1><nav id="groupings" aria-label="Group by">{groupings}</nav>
<p id="sums" class="faint" role="status">{sums}</p></div>
{early_html.filters("Filter calls", "Text of calls  ( / )", _MENUS, chosen=chosen)}
<div id="notes"{' class="searched"' if "text" in dict(chosen) else ""}></div>
<div class="table-wrap"><table id="calls" class="list{_empty(facts)}">
<thead><tr>{heads}</tr></thead>
<tbody id="rows">{rows}</tbody>
</table></div>
<div id="more"></div>"""


_GROUPINGS = ("All calls", "Tools", "Arguments", "Repeats", "Errors", "Models", "Prompts")
_MENUS = ("Kind", "Model", "Tool", "Error class", "Failed only", "When", "Sessions", "Sort", "Views")
_COLUMNS = (
    ("Call", "what"),
    ("Session", "session"),
    ("Started (UTC)", "began"),
    ("Duration", "num took"),
    ("First token", "num first"),
    ("Tokens", "num tokens"),
    ("Cost", "num cost"),
)


def _empty(facts: Facts) -> str:
    """Return the classes that hide columns without a value, as the script does."""
    calls: Any = facts.get("calls") or ()
    values = {
        "first": any(one["time_to_first_token"] is not None for one in calls),
        "tokens": any(one["tokens_in"] is not None for one in calls),
        "cost": any(_cost(one) for one in calls),
    }
    return "".join(f" no-{name}" for name, has_value in values.items() if not has_value)


def _row(one: Facts, root: str) -> str:
    session = f"{root}/s/{escape(one['session_id'])}"
    name = (one["tool"] if one["kind"] == "tool" else one["model"]) or "unnamed"
    tokens = (one["tokens_in"] or 0) + (one["tokens_out"] or 0)
    cells = (
        (f'<a class="name" href="{session}?event={one["seq"]}">{escape(name)}</a>', "what"),
        (f'<a href="{session}">{escape(one["session_name"] or "unnamed")}</a>', "session"),
        (escape(one["began"][:19].replace("T", " ")), "began"),
        (_duration(one["seconds"]) if one["finished"] else "not ended", "num took"),
        (_duration(one["time_to_first_token"]), "num first"),
        (output.count(tokens) if one["tokens_in"] is not None else "", "num tokens"),
        (_cost(one), "num cost"),
    )
    labels = {kind: label for label, kind in _COLUMNS}
    inner = "".join(f'<td class="{kind}" data-label="{labels[kind]}">{cell}</td>' for cell, kind in cells)
    return f'<tr data-id="{escape(one["id"])}">{inner}</tr>'


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else output.short_duration(round(seconds * 1e9))


def _cost(one: Facts) -> str:
    if not one["billed"]:
        return "not billed"
    if one["kind"] != "llm" or not one["finished"]:
        return output.money(one["cost_nano"]) if one["cost_nano"] else ""
    return output.money(one["cost_nano"])
