"""`localops calls`: LLM and tool calls across sessions, in any order or in groups."""

from __future__ import annotations

from contextlib import ExitStack

import click

from localops import clock, output
from localops.cli import call_sources, common, filters
from localops.errors import ConfigError
from localops.reading import call_facts, call_query, call_search
from localops.reading.call_query import CallFilters, Place, Source
from localops.reading.home import Filters
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.reading.facts import Facts
    from localops.reading.home import Home, Project

# The names of orders on the command line, where they differ.
_SORTS = {"took": "seconds"}
# Characters to keep of a beginning that prompts have in common.
_BEGIN = 24
_COLUMNS = ("event", "began", "session", "call", "took", "first token", "tokens", "cost", "result")
_GROUPED = ("calls", "failed", "total", "median", "p95", "tokens", "cost", "first seen", "last seen")


class _Key(common.WholeNumber):
    """The key of a group."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the key as a number, or fail."""
        if isinstance(value, int):
            return value
        try:
            return call_facts.key_of(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=filters.WithView)
@click.option(
    "--view", metavar="NAME", expose_value=False, help="With the filters of a saved view; others replace them."
)
@click.option("--kind", type=click.Choice(call_query.KINDS), help="Only calls of this kind.")
@click.option(
    "--in",
    "part",
    type=click.Choice(call_search.PARTS),
    help="With --text: only calls that have the words in this part.",
)
@click.option("--argument", metavar="TEXT", help="Only calls of tools with this text in their arguments.")
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@click.option("--same", type=_Key(), metavar="KEY", help="Only calls of a tool with the arguments of this group.")
@click.option("--prompt", type=_Key(), metavar="KEY", help="Only calls with the prompt of this group.")
@click.option(
    "--message", type=_Key(), metavar="KEY", help="Only calls that failed with a message such as that of this group."
)
@click.option("--session", metavar="ID", help="Only in this session.")
@click.option(
    "--by",
    type=click.Choice([*call_query.GROUPS]),
    help="Groups of calls; `repeat`: one tool, the same arguments, again in the same session; "
    "`message`: errors that differ only in numbers and quoted values.",
)
@click.option(
    "--sort",
    metavar="WORD",
    help=f"The greatest first. Of calls: {', '.join(call_query.SORTS)} [default: began]; "
    f"of groups: {', '.join(call_query.GROUP_SORTS)}.",
)
@click.option("--reverse", is_flag=True, help="With --sort of calls: the least first.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--after", metavar="PLACE", help="The next page of calls: `next` of the page before.")
@filters.options
@common.place_options
@common.json_option
def calls(
    kind: str | None,
    part: str | None,
    argument: str | None,
    failed: bool,
    same: int | None,
    prompt: int | None,
    message: int | None,
    session: str | None,
    by: str | None,
    sort: str | None,
    reverse: bool,
    limit: int,
    after: str | None,
    home: str | None,
    project: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """List LLM and tool calls of all sessions, newest first, or group them.

    --model, --tool, --error and --text choose calls here: by the error they failed with, and by words in what they were
    given, in what came back, or in that error. Every other option of `localops sessions` chooses the sessions whose
    calls are listed. A group has its calls and failures, its cost,
    its tokens, its durations, and what failed calls were given.
    """
    sort = _sort(sort, by)
    if by is not None and (reverse or after is not None):
        raise click.UsageError("--reverse and --after are for the list of calls: leave them out with --by")
    of_calls, session_filters = call_query.split(filters.chosen(given))
    if part is not None and of_calls["text"] is None:
        raise click.UsageError("--in says where words are: add --text")
    with common.look(home, project) as opened, ExitStack() as tables:
        id = None if session is None else opened.find(session)[1]
        own: dict[str, Any] = {"part": part, "argument": argument, "same": same, "prompt": prompt, "message": message}
        call_filters = CallFilters(kind, **of_calls, **own, failed=failed, session=id)
        filters.prepare(opened, session_filters._replace(text=call_filters.text))
        sources = [_source(each, call_filters, session_filters, tables) for each in opened.projects]
        if by is not None:
            _print_groups(sources, call_filters, by, sort, limit, as_json=as_json)
            filters.say_hint(opened, session_filters)
            return
        order: dict[str, Any] = {"sort": sort, "ascending": reverse, "after": _place(after), "many": limit}
        listed, following = call_query.page(sources, call_filters, **order)
        facts = call_facts.page(
            listed, following, Names(), call_query.running(sources), call_query.wanted(call_filters)
        )
        if as_json:
            common.print_json(facts)
            filters.say_hint(opened, session_filters)
        elif listed:
            _print_calls(facts)
        else:
            output.say(_nothing(opened, call_filters, session_filters))


class Names:
    """Names of sessions, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[bytes, str | None] = {}

    def __call__(self, project: Project, session: bytes) -> str | None:
        """Return the name of a session."""
        if session not in self._known:
            self._known[session] = project.name_of(session)
        return self._known[session]


def _sort(given: str | None, by: str | None) -> str:
    if given is None:
        return "began" if by is None else call_query.GROUPS[by]
    allowed = call_query.SORTS if by is None else call_query.GROUP_SORTS
    sort = _SORTS.get(given, given)
    if sort not in allowed:
        what = "calls" if by is None else "groups"
        raise click.BadParameter(
            f"{given!r} is not one of {', '.join(allowed)}, the orders of {what}", param_hint="--sort"
        )
    return sort


def _place(after: str | None) -> Place | None:
    try:
        return None if after is None else Place.parse(after)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--after") from error


def _source(project: Project, call_filters: CallFilters, session_filters: Filters, tables: ExitStack) -> Source:
    table = call_sources.table_of(project, tables)
    sessions = (
        None if session_filters == Filters() else [listed.session for listed in project.sessions(session_filters)]
    )
    matching = None
    if (words := call_query.wanted(call_filters)) is not None:
        search = call_search.CallSearch(words)
        search.go_on(project, table)
        matching = search.mask()
    return Source(project, table, sessions, _is_running_in(project), matching)


def _is_running_in(project: Project) -> Callable[[bytes], bool]:
    return lambda session: project.standing(session).state == "Running"


def _nothing(opened: Home, call_filters: CallFilters, session_filters: Filters) -> str:
    if not opened.projects:
        return opened.nothing_yet()
    if (call_filters, session_filters) == (CallFilters(), Filters()):
        return "no calls yet"
    return f"no call matches these filters{filters.unknown_score(opened, session_filters)}"


# Tables


def _print_calls(facts: Facts) -> None:
    now = clock.now_ns()
    on_terminal = common.width() is not None
    rows = [_cells(one, now, on_terminal=on_terminal) for one in facts["calls"]]
    common.print_table(
        rows,
        _COLUMNS,
        align="llllrrrr",
        soft=("session", "call", "result"),
        spare=("tokens", "first token", "began", "session"),
    )
    if facts["next"] is not None:
        print(common.dim(f"more: add --after {facts['next']}"))


def _cells(one: Facts, now: int, *, on_terminal: bool) -> list[object]:
    began = one["began"]
    return [
        one["id"][:23],
        output.ago(now - (events.to_ns(began) or now)) if on_terminal else began,
        one["session_name"] or one["session_id"][:13],
        f"{one['kind']} {_called(one)}",
        _duration(one["seconds"]) if one["finished"] else "running" if one["running"] else "not ended",
        _duration(one["time_to_first_token"]),
        output.count(_tokens(one)) if one["kind"] == "llm" else "",
        _cost(one),
        _came_of(one),
    ]


def _called(one: Facts) -> str:
    if one["kind"] == "tool":
        return one["tool"] or common.NAMELESS
    return one["model"] or "unknown model"


def _cost(one: Facts) -> str:
    if not one["billed"]:
        return "not billed"
    if one["kind"] == "tool" or not one["finished"]:
        return output.money(one["cost_nano"]) if one["cost_nano"] else ""
    return output.money(one["cost_nano"])


def _came_of(one: Facts) -> str:
    if match := one.get("match"):
        return f"{match['in']}: {match['text']}"
    if not one["failed"]:
        return " ← ".join(filter(None, (one["stopped"] and f"stopped: {one['stopped']}", call_facts.text(one))))
    error = ": ".join(filter(None, (one["error"] or "failed", one["message"])))
    return f"{error} ← {one['input']}" if one["input"] else error


def _tokens(one: Facts) -> int:
    return (one["tokens_in"] or 0) + (one["tokens_out"] or 0)


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else output.short_duration(round(seconds * 1e9))


def _print_groups(
    sources: list[Source], call_filters: CallFilters, by: str, sort: str, limit: int, *, as_json: bool
) -> None:
    listed = call_query.grouped(sources, call_filters, by, sort=sort, many=limit)
    facts = call_facts.groups(by, listed, Names())
    if as_json:
        common.print_json(facts)
        return
    if not facts["lines"]:
        output.say("no call matches these filters" if by != "repeat" else "no tool was called twice with the same")
        return
    now = clock.now_ns() if common.width() is not None else None
    rows = [
        [_group_label(by, line), *_figures(line), *_first_and_last(line, now), _inputs(line)] for line in facts["lines"]
    ]
    common.print_table(
        rows,
        (by, *_GROUPED, "for example"),
        align="lrrrrrrrrr",
        soft=(by, "for example"),
        spare=("tokens", "median", "first seen", "total", "last seen"),
    )
    if facts["more"]:
        print(common.dim("more: add --limit"))


def _group_label(by: str, line: Facts) -> str:
    if by in ("error", "message"):
        error = line["error"] or "no error recorded"
        messages = line.get("messages") or [line]
        more = line.get("messages_count", 1) - len(messages)
        # For a single input, the count is that of the failed calls, which has a column.
        is_one = len(messages) == 1
        texts = [
            _times(call_facts.message(one, one["calls"]), 1 if is_one else one["calls"])
            for one in messages
            if one["message"]
        ]
        texts += [f"{more} more {'message' if more == 1 else 'messages'}"] if more else []
        return f"{error}: {'; '.join(texts)}{_among(line)}" if texts else f"{error}{_among(line)}"
    if by in ("arguments", "repeat"):
        session = f" in {line['session_name'] or line['session_id'][:13]}" if by == "repeat" else ""
        return f"{line['tool'] or common.NAMELESS} {line['arguments']}{session}"
    if by == "prompt" and line["differs"]:
        # Cut the common beginning of prompts, so that the words that differ are visible.
        where = line["differs"]
        words = " ".join(filter(None, (where["lead"], where["text"] or "(ends here)", where["tail"])))
        return f"{line[by][:_BEGIN]}… {words}"
    name = line[by] or (common.NAMELESS if by == "tool" else "no text")
    return f"{name}, first failed {line['first_failed'][:10]}" if by == "tool" and line["first_failed"] else name


def _among(line: Facts) -> str:
    """Return the tools and models that failed, if they are several."""
    more = line["called_count"] - len(line["called"])
    names = [_times(one["name"] or common.NAMELESS, one["calls"]) for one in line["called"]]
    names += [f"{more} more"] if more else []
    return f" ({', '.join(names)})" if len(names) > 1 else ""


def _times(text: str, calls: int) -> str:
    return f"{text} ×{calls}" if calls > 1 else text


def _figures(line: Facts) -> list[str]:
    failed = output.count(line["failed"])
    share = line["failed_share"]
    return [
        output.count(line["calls"]),
        f"{failed} ({output.percent(share)})" if line["failed"] and share is not None else failed,
        _duration(line["seconds"]),
        _duration(line["median"]),
        _duration(line["p95"]),
        output.count(_tokens(line)),
        output.money_of(line["cost_nano"], line["unpriced"], line["llm_calls"], at_least=line["cost_at_least"]),
    ]


def _first_and_last(line: Facts, now: int | None) -> list[str]:
    """Return when the first and the last call of a group began: on a terminal as ages, as in the list."""
    times = [line["first"] or "", line["last"] or ""]
    return times if now is None else [output.ago(now - (events.to_ns(each) or now)) for each in times]


def _inputs(line: Facts) -> str:
    """Return the inputs of failed calls with how often each came, or that of the newest call."""
    return "; ".join(map(_example, line["examples"]))


def _example(one: Facts) -> str:
    return _times(call_facts.text(one) or "no input", one["calls"])
