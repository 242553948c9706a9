"""Parts of HTML that a server's pages and reports share; all recorded text in them is escaped."""

from __future__ import annotations

from datetime import datetime
from html import escape

from localops import clock, output
from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from localops.reading.facts import Facts

# Leaves room for a button that leads to the first failure.
_TO_FAILURE = '<span class="link">&nbsp;</span>'
# With these states, the reason is shown in the head of a session.
_QUIET = frozenset(("Success", "Running"))


def embedded(facts: object) -> str:
    """Return JSON for a script element; characters that could end it or begin a comment are escaped."""
    text = encode.dumps(facts).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def session_head(facts: Facts, *, filtered: bool = False) -> str:
    """Return the head of a session, and the empty elements for its views and an event's details.

    `filtered` leaves space for what a filter of the events hides.
    """
    one: Any = facts
    figures = "".join(
        f'<div data-id="{label.partition(",")[0]}"><dt>{label}</dt><dd>{escape(value)}</dd></div>'
        for label, value in _run_figures(one)
    )
    state = escape(one["state"])
    reason = f"""<button type="button" class="reason {state}" id="reason">{_end_reason(one)}</button>"""
    # The reason of a run that did not succeed is on a line of its own.
    quiet, loud = (
        (reason, "")
        if one["state"] in _QUIET
        else ("", f'<div class="bad">{reason}{_TO_FAILURE * bool(one["failed"])}</div>')
    )
    return f"""<article id="session" data-id="{escape(one["session_id"])}">
<div class="run" id="head">
<div class="run-line">
<h1 title="{escape(one["name"] or "unnamed")}">{escape(one["name"] or "unnamed")}</h1>
<span class="state {state}" id="state">{state}</span>
<div class="acts" id="acts"></div>
</div>
<div class="run-more">
<dl class="run-figures" id="totals">{figures}</dl>
{quiet}
</div>
</div>
<div id="extras" hidden>
<p class="meta"><time datetime="{escape(one["began"])}">{escape(one["began"][:19].replace("T", " "))} UTC</time>
<span>project {escape(one["project"])}</span>
<span class="tags" id="tags">{chips(one["tags"])}</span></p>
</div>
<div id="notices">{loud}{'<p class="stuck"></p>' * _is_quiet(one)}{"<p></p>" * _notices(one)}</div>
<div class="views"><div id="views" role="tablist" aria-label="Views"></div><div id="choose"></div></div>
{'<div id="hidden-events" role="status"></div>' * filtered}
<div class="split"><section id="view" aria-live="off"></section>
<aside id="details" aria-label="Selected event" hidden></aside></div>
</article>"""


def _run_figures(one: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures for a session's head, with labels; figures that are 0 are left out."""
    running = one["running_calls"]
    counts = {
        "LLM": one["llm_calls"],
        "tools": one["tool_calls"],
        "actions": one["actions"],
        "errors": one["errors"],
        "tokens": one["tokens_in"] + one["tokens_out"],
    }
    return [
        ("Duration", f"{'at least ' if one['at_least'] else ''}{seconds(one)}"),
        *([("Cost", money(one))] if one["llm_calls"] or one["cost_nano"] or one["cost_at_least"] else []),
        *(
            (_with_running(label, number, under_way), output.count(number))
            for label, number in counts.items()
            if number + (under_way := running.get(_KINDS.get(label), 0))
        ),
    ]


# The kinds of calls in figures that also name running calls.
_KINDS = {"LLM": "llm", "tools": "tool"}


def _with_running(label: str, number: int, running: int) -> str:
    name = label.removesuffix("s") if number == 1 else label
    return f"{name} + {output.count(running)} running" if running else name


def _notices(one: dict[str, Any]) -> int:
    """Return how many warnings a page will show besides, to reserve space for them."""
    budget = one.get("budget")
    unfinished = one["unfinished"] and one["state"] != "Running"
    spent = budget and budget.get("reached_at")
    warnings = (one["dropped"], one.get("missing_rows"), unfinished, spent, one.get("late"), one.get("spilled"))
    return sum(map(bool, warnings))


def _is_quiet(one: dict[str, Any]) -> bool:
    """Return whether a running session has had no event for a while: its page then shows what it is doing."""
    last = datetime.fromisoformat(one["last"]).timestamp()
    return bool(one["state"] == "Running" and clock.now_ns() / 1e9 - last > _QUIET_SECONDS and one["unfinished"])


def _end_reason(one: dict[str, Any]) -> str:
    """Return the text of the button that opens how the session ended."""
    line, led_to = ("", "") if one["state"] == "Running" else _reason(one)
    if not line:
        return "How it ended"
    rest = f'<span class="label">{escape(led_to)}</span>' if led_to else ""
    label = "First error" if led_to else "End reason"
    return f'<span class="label">{label}: </span>{escape(line)}{rest}'


def _reason(one: dict[str, Any]) -> tuple[str, str]:
    """Return why a session ended: the first cause, and what it led to; of a traceback, the most informative line."""
    lines = [line.strip() for line in (one.get("reason") or "").splitlines() if line.strip()]
    if not lines:
        return "", ""
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    cause = one.get("cause")
    return (cause, f" — led to {line}") if cause else (line, "")


def chips(tags: Iterable[str]) -> str:
    """Return the HTML of tags."""
    return "".join(f'<span class="tag">{escape(tag)}</span>' for tag in tags)


def seconds(one: dict[str, Any]) -> str:
    """Return the duration of a session as text."""
    return output.short_duration(round(one["seconds"] * 1e9))


def money(one: dict[str, Any]) -> str:
    """Return the cost of sessions as text."""
    return output.money_of(one["cost_nano"], one["unpriced"], one["llm_calls"], at_least=one["cost_at_least"])


# The list of sessions

# Seconds without an event after which a running session is shown as quiet.
_QUIET_SECONDS = 60
_PICK = '<td class="pick"></td>'
_PICK_HEAD = '<th class="pick" scope="col"><span class="visually-hidden">Compare</span></th>'
_COLUMNS = (
    ("name", "Name", ""),
    ("state", "State", ""),
    ("began", "Started (UTC)", ""),
    ("seconds", "Duration", "num"),
    ("llm_calls", "LLM", "num"),
    ("tool_calls", "Tools", "num"),
    ("errors", "Errors", "num"),
    ("tokens", "Tokens", "num"),
    ("cost", "Cost", "num"),
    ("agents", "Agents", ""),
    ("models", "Models", ""),
)


# Labels of cells on narrow screens, where the table has no head.
_LABELS = {name: label for name, label, _ in _COLUMNS}


def session_table(
    listed: Sequence[Facts], address: Callable[[str], str], *, picks: bool, searched: bool = False
) -> str:
    """Return the table of sessions, with links from `address`; `picks` leaves space for check boxes.

    Rows that are `searched` cannot be seen until the script knows where the words were found.
    """
    heads = "".join(
        f'<th scope="col" data-col="{name}" data-sort="{name}"{f" class={kind}" if kind else ""}>{label}</th>'
        for name, label, kind in _COLUMNS
    )
    rows = "".join(_session_row(one, address(str(one["session_id"])), picks=picks) for one in listed)
    return f"""<div class="table-wrap"><table id="sessions" class="list{" searched" * searched}">
<thead><tr>{_PICK_HEAD * picks}{heads}</tr></thead>
<tbody id="rows">{rows}</tbody>
</table></div>"""


def _session_row(one: dict[str, Any], address: str, *, picks: bool) -> str:
    began = f'<time datetime="{escape(one["began"])}">{escape(one["began"][:19].replace("T", " "))}</time>'
    reason = "".join(_reason(one)) if one["state"] != "Success" else ""
    because = f'<div class="because">{escape(reason)}</div>' if reason else ""
    figures = {
        "seconds": f"{'≥' if one['at_least'] else ''}{seconds(one)}",
        "llm_calls": output.count(one["llm_calls"]),
        "tool_calls": output.count(one["tool_calls"]),
        "errors": output.count(one["errors"]),
        "tokens": output.count(one["tokens_in"] + one["tokens_out"]),
        "cost": money(one),
    }
    # There may be no room for all of them.
    tags = sorted(one["tags"], key=lambda tag: not tag.startswith("conversation="))
    more = {"errors": " errors-some" if one["errors"] else " errors-none"}
    cells = (
        '<td class="name"><div class="lines"><div class="titled">',
        f'<a class="title" href="{escape(address)}">{escape(one["name"] or "unnamed")}</a>',
        f'<div class="tags">{chips(tags)}</div></div>{because}</div></td>',
        f'<td class="state-cell"><span class="state {escape(one["state"])}">{escape(one["state"])}</span></td>',
        f'<td class="began">{began}</td>',
        *(
            f'<td class="num{more.get(name, "")}" data-col="{name}" data-label="{_LABELS[name]}">{escape(text)}</td>'
            for name, text in figures.items()
        ),
        *(
            f'<td class="list" data-col="{name}"><div class="values">'
            f"{escape(', '.join(one.get(name) or ()))}</div></td>"
            for name in ("agents", "models")
        ),
    )
    kind = ' class="failure"' if one["state"] == "Failure" else ""
    return f'<tr data-id="{escape(one["session_id"])}"{kind}>{_PICK * picks}{"".join(cells)}</tr>'
