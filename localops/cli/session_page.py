"""The page of one session, as `localops show` prints it, and of one of its events."""

from __future__ import annotations

from itertools import islice

from localops import clock, output
from localops.cli import printing
from localops.encoding import encode
from localops.journal import rows, stored
from localops.reading import (
    analytics,
    facts,
    finish_reasons,
    given_scores,
    missing_steps,
    open_ends,
    pauses,
    session_state,
    waiting_rows,
)
from localops.recording import events, scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator
    from typing import Any

    from localops.journal.stored import Stored
    from localops.reading.given_scores import Given
    from localops.reading.home import Home, Project
    from localops.reading.snapshot import Snapshot
    from localops.reading.story import Story

    Event = dict[str, Any]

# Lines of the tree in `show` without a view.
_GLANCE = 30
# Events of a chosen view.
_LIMIT = 1_000
# Characters of a call's input.
_INPUT = 60
# Cells of a timeline in a file or a pipe.
_BAR = 32
_TEXTS = ("params", "prompt", "completion", "returns", "details", "logs")


def show(project: Project, id: bytes) -> None:
    """Print a session with the beginning of its events."""
    snapshot = project.snapshot(id)
    printing.print_heading(snapshot)
    _print_details(project.name, snapshot)
    print()
    _print_glance(snapshot)


def show_events(project: Project, id: bytes, view: str | None, limit: int | None) -> None:
    """Print a session with its events in a view; without one, with its details and the events as a tree."""
    snapshot = project.snapshot(id)
    printing.print_heading(snapshot)
    if view is None:
        _print_details(project.name, snapshot)
        print()
    _VIEWS[view or "tree"](snapshot, _LIMIT if limit is None else limit)
    if not snapshot.totals.events and not snapshot.unfinished:
        print(printing.dim("no events in the journal yet" if snapshot.waiting else "no events"))


# The session


def _print_details(project: str, snapshot: Snapshot) -> None:
    story, totals = snapshot.story, snapshot.totals
    report = snapshot.report()
    judged = [one for one in snapshot.scores if one.counts and not one.target]
    until = snapshot.until_ns
    cached = output.from_cache(totals.tokens_in, *snapshot.cached_input)
    figures = " · ".join(f"{name} {value}" for name, value in list(report.contract.items())[:4])
    pairs: list[tuple[str, object]] = [
        *_why(snapshot.standing.reason),
        ("began", f"{output.when(totals.first_ns)} UTC, {output.ago(clock.now_ns() - totals.first_ns)}"),
        ("took", printing.at_least(output.short_duration(until - totals.first_ns), snapshot)),
        ("resumed", _resumed(snapshot)),
        ("project", project),
        ("tags", ", ".join(story.tags)),
        ("scores", ", ".join(f"{one.name} {scores.shown(one.value)}" for one in judged)),
        ("notes", "; ".join(_short(one.body.get("comment")) for one in snapshot.scores if one.is_note)),
        ("figures", figures),
        ("cost", _cost(snapshot)),
        ("budget", facts.budget_text(snapshot.budget) if snapshot.budget else None),
        ("tokens", f"{output.count(totals.tokens_in)} in{cached}, {output.count(totals.tokens_out)} out"),
        ("agents", _with_counts(part.value for part in report.by["agent"])),
        ("models", ", ".join(part.value for part in report.by["model"])),
        ("tools", ", ".join(part.value or printing.NAMELESS for part in report.by["tool"])),
        ("host", _host(story)),
        ("processes", _processes(story)),
        ("video", story.video),
        ("metadata", ", ".join(f"{name}={_short(value)}" for name, value in story.metadata.items())),
        ("content", "left out: it came through a metadata-only remote" if story.metadata_only else None),
    ]
    if snapshot.is_running:
        # Behind its duration: what the session has been doing for that long.
        pairs.insert(4, ("now", "; ".join(_at_work(snapshot, until))))
    printing.print_pairs([(name, value) for name, value in pairs if value])
    waiting = waiting_rows.facts(snapshot.waiting)
    first = [*([] if waiting is None else [waiting_rows.text(waiting)]), *_split(snapshot)]
    for notice in [*first, *_notices(report, snapshot.story), *_missing(snapshot), *_open_ends(snapshot)]:
        print(printing.styled(f"! {output.clean(notice)}", "yellow"))


def _split(snapshot: Snapshot) -> Iterator[str]:
    """Yield a notice if two copies of a session were continued."""
    if snapshot.story.resumes:
        # Imported here, as few sessions are resumed.
        from localops.reading import recorded_steps

        split = recorded_steps.split_at(snapshot.source, snapshot.story, snapshot.id)
        if split is not None:
            yield recorded_steps.two_histories(split)


def _cost(snapshot: Snapshot) -> str:
    totals = snapshot.totals
    return output.money_of(totals.cost, totals.unpriced, totals.llms, at_least=snapshot.cost_at_least)


def _why(reason: str | None) -> list[tuple[str, object]]:
    """Return why it ended: the first cause, and its consequences."""
    line, cause = _first_line(reason), facts.cause_of(reason)
    return [("why", line)] if cause is None else [("why", cause), ("led to", line)]


def _first_line(text: str | None) -> str | None:
    return text.strip().splitlines()[0] if text and text.strip() else None


def _notices(report: analytics.Report, story: Story) -> Iterator[str]:
    if report.late:
        yield f"{_count(report.late, 'event was', 'events were')} recorded after its end"
    if report.spilled:
        yield f"{_count(report.spilled, 'row', 'rows')} came through a spill file"
    deleted, at_ns = story.deleted
    if report.dropped > deleted:
        yield f"{_count(report.dropped - deleted, 'event', 'events')} lost: could not be written anywhere"
    if deleted:
        were = _count(deleted, "event was", "events were")
        yield f"at least {were} lost when the journal was deleted, the last time at {output.when(at_ns)} UTC"
    if report.cut:
        yield f"{_count(report.cut, 'value', 'values')} cut: only the beginning was stored"


def _missing(snapshot: Snapshot) -> Iterator[str]:
    """State why rows of the session may be missing."""
    whole = snapshot.totals.events <= analytics.EXACT_UP_TO
    where = snapshot.source, snapshot.folder, snapshot.story, snapshot.id
    if (reason := missing_steps.uncounted(*where, whole=whole)) is not None:
        yield reason


def _count(many: int, one: str, more: str) -> str:
    return output.counted(many, one, more)


def _with_counts(names: Iterable[str]) -> str:
    """Return names as one line, each once; a repeated one with its count."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(name if many == 1 else f"{name} ×{many}" for name, many in counts.items())


def _at_work(snapshot: Snapshot, until: int) -> Iterator[str]:
    """Return what a running session is doing, the innermost operation last."""
    for one in open_ends.at_work(snapshot):
        yield f"inside {one.kind} {one.name!r} for {output.short_duration(until - one.at_ns)}"


def _running(snapshot: Snapshot) -> set[str]:
    return {rows.id_text(one.id) for one in open_ends.at_work(snapshot)}


def _open_ends(snapshot: Snapshot) -> Iterator[str]:
    """Describe operations without an end, except those of the last run, which the reason of a derived end names."""
    for one in open_ends.notices(snapshot):
        if not (one["is_of_last_run"] and session_state.died(snapshot.standing, snapshot.story)):
            yield f"{one['before']}{one['kind']} {one['name']!r}{one['when']}{one['since']}"


def _resumed(snapshot: Snapshot) -> str | None:
    """Return how often a session was resumed, when last, and how the run before that had ended."""
    if not (resumes := snapshot.story.resumes):
        return None
    many = "once" if len(resumes) == 1 else f"{len(resumes)} times, the last"
    end = pauses.end_before(snapshot.story.of_kind("end"), snapshot.pauses[-1])
    before = "" if end is None else f"; before that {end.name or 'Indeterminate'}"
    if end is not None and (reason := _first_line(str(end.body.get("reason") or ""))):
        before += f": {facts.cause_of(reason) or reason}"
    return f"{many} at {output.when(resumes[-1].at_ns)} UTC{before}"


def _host(story: Story) -> str | None:
    """Return the host, operating system and Python version."""
    known = (story.host_env.get(name) for name in ("OS", "SDK"))
    system, python = (part if isinstance(part, dict) else {} for part in known)
    version = python.get("Python Version")
    words = [
        system.get("Hostname"),
        system.get("OS"),
        system.get("OS Release"),
        version and f"Python {version}",
    ]
    return ", ".join(str(word) for word in words if word) or None


def _processes(story: Story) -> str:
    """Return the processes that recorded into the session."""
    cards = [card for card in story.cards() if "pid" in card]
    names = (f"{card['pid']} on {card['host']}" if card.get("host") else str(card["pid"]) for card in cards)
    # A process that left and came back counts once.
    processes = list(dict.fromkeys(names))
    return ", ".join(processes[:6]) + (" …" if processes[6:] else "")


# Its events


def _events(snapshot: Snapshot, limit: int) -> tuple[list[Event], int]:
    """Return up to `limit` events, and how many there are beyond them."""
    session_rows = stored.openings_first(snapshot.source, snapshot.id, many=min(limit or 500, 500))
    later = analytics.afterwards(snapshot.source, snapshot.id)
    opened: dict[bytes, Stored] = {}
    page: list[Event] = []
    agents: set[bytes] = set()
    for row in session_rows:
        if row.kind in rows.BOOKS:
            continue
        if row.phase == rows.OPEN:
            opened[row.id] = row
        else:
            page.append(analytics.plain(row, opened.pop(row.id, None), later.get(row.id)))
        # Agents have no line of their own in any view.
        if row.kind == "agent":
            agents.add(row.id)
        if limit and len(page) + len(opened) - len(agents) >= limit:
            break
    # Operations that end after the limit: look up their last rows.
    for row in opened.values():
        done = stored.one(snapshot.source, row.id, rows.DONE)
        page.append(analytics.plain(done, row, later.get(row.id)) if done else analytics.plain(row, None))
    total = snapshot.totals.events
    shown = sum(event["finished"] and event["kind"] != "agent" for event in page)
    return sorted(page, key=lambda event: (event["start_ns"], event["seq"])), max(0, total - shown)


def _print_tree(snapshot: Snapshot, limit: int) -> None:
    page, more = _events(snapshot, limit)
    _print_lines(_tree_lines(page, running=_running(snapshot)), more)


def _print_glance(snapshot: Snapshot) -> None:
    """Print the beginning of the tree, enough to recognise the run."""
    page, more = _events(snapshot, _GLANCE * 4)
    lines = list(_tree_lines(page, running=_running(snapshot)))
    _print_lines(lines[:_GLANCE], more + max(0, len(lines) - _GLANCE))
    print()
    print(
        printing.dim(f"more: localops show {printing.short_id(snapshot.id)} --timeline, --tree, --events or --event ID")
    )


def _print_lines(lines: Any, more: int) -> None:
    for line in lines:
        print(line)
    if more:
        print(printing.dim(f"… {_count(more, 'more event', 'more events')}"))


def _tree_lines(page: list[Event], *, running: Container[str]) -> Iterator[str]:
    """Return a line for each event below its parent, with its agent where that changes."""
    names = {event["id"]: event["name"] for event in page if event["kind"] == "agent"}
    above = {event["id"]: event["parent"] for event in page if event["kind"] == "agent"}
    shown = [event for event in page if event["kind"] != "agent"]
    ids = {event["id"] for event in shown}
    children: dict[str | None, list[Event]] = {}
    for event in shown:
        parent, steps = event["parent"], 0
        while parent in above and steps <= len(above):  # the parents of imported rows may form a cycle
            parent, steps = above[parent], steps + 1
        children.setdefault(parent if parent in ids else None, []).append(event)
    stack = [(event, "", index == 0, None) for index, event in enumerate(reversed(children.get(None, [])))]
    while stack:
        event, indent, last, agent = stack.pop()
        mine = names.get(event["agent"])
        branch = indent + ("└─ " if last else "├─ ")
        yield _tree_line(event, branch, mine if mine != agent else None, running=running)
        deeper = indent + ("   " if last else "│  ")
        below = children.get(event["id"], [])
        stack += [(child, deeper, index == 0, mine) for index, child in enumerate(reversed(below))]


def _tree_line(event: Event, branch: str, agent: str | None, *, running: Container[str]) -> str:
    label = _label(event) + (f"  @{output.clean(agent)}" if agent else "")
    right = "  ".join(filter(None, (_figures(event), _took(event, running=running))))
    call_input = _input(event)
    room = printing.width()
    if room is None:
        return "  ".join(filter(None, (f"{branch}{_marked(event, label, running=running)}", call_input, right)))
    room -= len(branch) + output.cells_wide(right) + 2
    label = output.cut(label, max(room, 8))
    room -= output.cells_wide(label) + 2
    call_input = output.cut(call_input, room) if call_input and room >= 8 else ""
    faint = printing.dim(f"  {call_input}" if call_input else "")
    line = f"{printing.dim(branch)}{_marked(event, label, running=running)}{faint}"
    gap = room - output.cells_wide(call_input) + (2 if call_input else 4)
    return f"{line}{' ' * max(gap, 2)}{printing.dim(right)}" if right else line


def _input(event: Event) -> str:
    """Return the beginning of a call's input, which distinguishes ten calls of one tool."""
    params = event.get("params")
    if event["kind"] == "llm" and not _has_ended(event):
        return output.cut(output.clean(_short(_last_words(event.get("prompt")))), _INPUT)
    if event["kind"] == "llm":
        return _stop_reason(event)
    if event["kind"] == "error" or params is None:
        return ""
    if isinstance(params, dict):
        text = ", ".join(f"{name}={_short(value)}" for name, value in params.items())
    else:
        text = _short(params)
    return output.cut(output.clean(text), _INPUT)


def _stop_reason(event: Event) -> str:
    """Return why a model stopped before the end of its answer; empty if it did not."""
    reason = finish_reasons.unusual(event)
    return "" if reason is None else output.cut(output.clean(f"stopped: {reason}"), _INPUT)


def _has_ended(event: Event) -> bool:
    """Return whether a call ended by itself, and not with its session or process."""
    return event["finished"] and not str(event.get("ended_by", "")).startswith("end of")


def _last_words(prompt: object) -> object:
    """Return the text of the last message of a prompt, whatever its format."""
    while isinstance(prompt, list | dict) and prompt:
        prompt = prompt[-1] if isinstance(prompt, list) else prompt.get("content", prompt.get("text", ""))
    return prompt if isinstance(prompt, str) else ""


def _short(value: object) -> str:
    if isinstance(value, str):
        return " ".join(value[:_INPUT].split())
    return encode.dumps(value).decode(errors="replace")[:_INPUT]


def _label(event: Event) -> str:
    """Return an event's kind and name, marked if it failed or is unfinished."""
    if event["kind"] == "error":
        words = f"{event['name'] or 'error'}: {_first_line(str(event.get('details') or '')) or ''}".rstrip(": ")
        return output.clean(words)
    mark = "… " if not _has_ended(event) else "✗ " if event["failed"] else ""
    return output.clean(f"{mark}{event['kind']} {_name(event)}".rstrip())


def _name(event: Event) -> str:
    """Return the name of an event as on the pages; for an LLM call, with its model."""
    parts = [event["name"], event["model"] if event["kind"] == "llm" and event["model"] != event["name"] else None]
    return " ".join(part for part in parts if part)


def _marked(event: Event, label: str, *, running: Container[str] = ()) -> str:
    if _has_ended(event):
        return printing.styled(label, "red") if event["failed"] or event["kind"] == "error" else label
    return printing.styled(label, "cyan" if event["id"] in running else "yellow")


def _figures(event: Event) -> str:
    tokens = ""
    if event["kind"] == "llm" and _has_tokens(event):
        tokens = f"{output.count(event['tokens_in'] or 0)} → {output.count(event['tokens_out'] or 0)}"
    return "  ".join(filter(None, (tokens, facts.cost_text(event))))


def _has_tokens(event: Event) -> bool:
    return event["tokens_in"] is not None or event["tokens_out"] is not None


def _took(event: Event, *, running: Container[str] = ()) -> str:
    if not _has_ended(event):
        return "running" if event["id"] in running else "unfinished"
    return "" if event["kind"] == "error" else output.short_duration(max(0, event["end_ns"] - event["start_ns"]))


def _print_timeline(snapshot: Snapshot, limit: int) -> None:
    page, more = _events(snapshot, limit)
    shown = [event for event in page if event["kind"] != "agent"]
    if not shown:
        print("no events")
        return
    zero = snapshot.totals.first_ns
    first = min(zero, *(event["start_ns"] for event in shown))
    last = max(snapshot.totals.last_ns, *(event["end_ns"] or 0 for event in shown))
    depths = _depths(shown)
    running = _running(snapshot)
    room = printing.width()
    cells = max(16, room - 54) if room else _BAR
    for event in shown:
        label = output.cut("  " * min(depths[event["id"]], 6) + _label(event), 30)
        label += " " * (30 - output.cells_wide(label))
        bar = _bar(event["start_ns"] - first, _drawn_to(snapshot, event, last) - first, last - first, cells)
        offset = printing.dim(_offset(event["start_ns"] - zero).rjust(9))
        label, bar = _marked(event, label, running=running), _marked(event, bar, running=running)
        print(f"{offset}  {label} {bar} {printing.dim(_took(event, running=running))}".rstrip())
    if more:
        print(printing.dim(f"… {_count(more, 'more event', 'more events')}"))


def _drawn_to(snapshot: Snapshot, event: Event, last_ns: int) -> int:
    """Return where the bar of an event ends; without an end, at the last row of its run."""
    if event["end_ns"] is not None:
        return int(event["end_ns"])
    began_ns = event["start_ns"]
    return last_ns if pauses.after(snapshot.pauses, began_ns) is None else snapshot.ran_until(began_ns)


def _offset(ns: int) -> str:
    """Return when an event began, counted from the beginning of its session as on the pages."""
    return f"{'' if ns < 0 else '+'}{output.short_duration(ns)}"


def _depths(page: list[Event]) -> dict[str, int]:
    """Return the depth of each event in the tree."""
    # Events are sorted by their start, so a parent comes before its children.
    depths: dict[str, int] = {}
    for event in page:
        depths[event["id"]] = depths.get(event["parent"] or "", -1) + (event["kind"] != "agent")
    return depths


def _bar(start: int, end: int, whole: int, cells: int) -> str:
    """Draw a period as blocks on a line of `cells`."""
    scale = cells / max(whole, 1)
    left = min(int(start * scale), cells - 1)
    long = max(1, min(round((end - start) * scale), cells - left))
    return "·" * left + ("█" * long if end > start else "▏") + "·" * (cells - left - long)


def _print_events(snapshot: Snapshot, limit: int) -> None:
    page, more = _events(snapshot, limit)
    running = _running(snapshot)
    names = {event["id"]: event["name"] for event in page if event["kind"] == "agent"}
    zero = snapshot.totals.first_ns
    shown = [event for event in page if event["kind"] != "agent"]
    table = [_event_cells(event, names.get(event["agent"]), zero, running=running) for event in shown]
    printing.print_table(
        table,
        ("event", "at", "kind", "name", "agent", "took", "tokens", "cost", ""),
        align="lrlllrrrl",
        soft=("name", "agent"),
        spare=("tokens", "agent", "at"),
    )
    if more:
        print(printing.dim(f"… {_count(more, 'more event', 'more events')}: -n 0 for all"))


def _event_cells(event: Event, agent: str | None, zero: int, *, running: Container[str]) -> list[object]:
    tokens = (event["tokens_in"] or 0) + (event["tokens_out"] or 0)
    return [
        event["id"][:23],
        _offset(event["start_ns"] - zero),
        event["kind"],
        _name(event),
        agent or "",
        _took(event, running=running),
        output.count(tokens) if tokens else "",
        facts.cost_text(event),
        "failed" if event["failed"] else _stop_reason(event) if event["kind"] == "llm" else "",
    ]


_VIEWS: dict[str, Callable[[Snapshot, int], None]] = {
    "tree": _print_tree,
    "timeline": _print_timeline,
    "events": _print_events,
}


# One event


def show_event(opened: Home, ident: str, of_session: str | None, *, as_json: bool) -> None:
    """Print one event in full; warn if it is not of the named session."""
    project, session, id = opened.find_event(ident)
    if of_session is not None and opened.find(of_session)[1] != session:
        output.say(f"event {ident} is not of session {of_session}, but of {facts.full_id(session)}")
    began, ended = (stored.one(project.reader, id, phase) for phase in (rows.OPEN, rows.DONE))
    if ended is not None:
        event = analytics.plain(ended, began, analytics.afterwards(project.reader, session).get(id))
    else:
        assert began is not None
        event = analytics.plain(began, None)
    errors = _errors_of(project, session, event)
    given = [one for one in project.snapshot(session).scores if one.target == id]
    if as_json:
        document = {"project": project.name, "event": facts.dated(event), **given_scores.together(given)}
        printing.print_json({**document, "errors": [facts.dated(error) for error in errors]})
        return
    print(f"{_marked(event, _label(event))}  {printing.dim(event['id'])}")
    print()
    failures = [("failed", f"{_label(error)}  {error['id'][:13]}") for error in errors]
    judged = [("score" if one.name else "note", _judgement(one)) for one in given if one.counts or one.is_note]
    printing.print_pairs([*_event_pairs(project, session, event), *failures, *judged])
    for name in [*_TEXTS, *_others(event)]:
        if event.get(name) is not None:
            print()
            print(printing.bold(name))
            print(output.clean(_pretty(event[name]).rstrip("\n"), newlines=True))
    for error in errors:
        if error.get("logs"):
            print()
            print(printing.bold(f"logs of {error['id'][:13]}"))
            print(output.clean(_pretty(error["logs"]).rstrip("\n"), newlines=True))


def _judgement(one: Given) -> str:
    """Return a score or a note of an event as a line: who gave it, and why."""
    comment = one.body.get("comment")
    words = "" if comment is None else output.cut(str(comment).strip().partition("\n")[0], 200)
    if one.is_note:
        return f"by {one.author}: {words}"
    version = f" ({one.version})" if one.version else ""
    return f"{one.name} {scores.shown(one.value)} by {one.author}{version}{f': {words}' if words else ''}"


def _errors_of(project: Project, session: bytes, event: Event) -> list[Event]:
    """Return the errors that a failed event is linked to, at most a few."""
    if not event["failed"]:
        return []
    id = bytes.fromhex(event["id"].replace("-", ""))
    linked = stored.named(project.reader.all("errors_of", session=session, id=id))
    errors = [analytics.plain(row, None) for row in linked]
    return [error for error in errors if analytics.trigger_id(error) == event["id"]]


def _event_pairs(project: Project, session: bytes, event: Event) -> list[tuple[str, object]]:
    agent = event["agent"]
    pairs: list[tuple[str, object]] = [
        ("session", f"{facts.full_id(session)}  {project.name_of(session) or ''}"),
        ("began", f"{events.iso(event['start_ns'])}"),
        ("took", _took(event)),
        ("agent", analytics.agent_name(project.reader, agent) if agent else None),
        ("inside", event["parent"]),
        ("model", event["model"]),
        ("figures", _figures(event)),
        *((output.TOKENS[name][0], event[name]) for name in output.PARTS_OF_TOKENS),
        ("tags", ", ".join(event["tags"])),
    ]
    return [(name, value) for name, value in pairs if value]


def _others(event: Event) -> list[str]:
    """Return the other keys of the body."""
    return [name for name in event if name not in _TEXTS and name not in _COLUMNS]


_COLUMNS = {
    *"id session kind name parent agent start_ns end_ns finished failed model cost tags seq billed".split(),
    *rows.TOKENS,
    *rows.COUNTS_IN_BODY.values(),
}


def _pretty(value: object) -> str:
    """Return recorded data for people: text as it is, a chat by its roles, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "$blob" in value:
        return f"{value.get('head', '')}…\n[{value.get('$len')} bytes, whole in blobs/{value['$blob']}]"
    messages = value if isinstance(value, list) else [value]
    if messages and all(isinstance(each, dict) and "role" in each for each in messages):
        return "\n".join(map(_message, messages))
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def _message(message: dict[str, Any]) -> str:
    """Return a chat message: its role and content, and its other keys as JSON below."""
    content = message.get("content")
    lines = [f"{message['role']}: {'' if content is None else _pretty(content)}".rstrip()]
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    return "\n".join([*lines, _pretty(rest)] if rest else lines)


# For programs


def print_facts(project: Project, id: bytes, limit: int | None) -> None:
    """Print a session and its first events as JSON."""
    snapshot = project.snapshot(id)
    printing.print_json(_session_facts(project.name, snapshot, _LIMIT if limit is None else limit))


def _session_facts(project: str, snapshot: Snapshot, limit: int) -> dict[str, Any]:
    standing, report = snapshot.standing, snapshot.report()
    page = list(islice(analytics.events(snapshot.source, snapshot.id), limit + 1 if limit else None))
    shown = page[: limit or None]
    return {
        "session_id": facts.full_id(snapshot.id),
        "project": project,
        "name": snapshot.story.name,
        "state": standing.state,
        "reason": standing.reason,
        "cause": facts.cause_of(standing.reason),
        "derived": standing.derived,
        **facts.span(snapshot.totals.first_ns, snapshot.totals.last_ns, snapshot.until_ns),
        "at_least": snapshot.is_cut_off,
        "tags": snapshot.story.tags,
        **given_scores.together(snapshot.scores),
        "metadata": snapshot.story.metadata,
        "budget": facts.budget(snapshot),
        "metadata_only": snapshot.story.metadata_only,
        "figures": {
            **facts.totals(report.totals, at_least=snapshot.cost_at_least),
            **facts.beyond_totals(report),
        },
        "unfinished": [
            {"id": facts.full_id(one.id), "kind": one.kind, "name": one.name, "began": events.iso(one.at_ns)}
            for one in snapshot.unfinished
        ],
        "events": [facts.dated(event) for event in shown],
        "more": len(page) > len(shown),
    }
