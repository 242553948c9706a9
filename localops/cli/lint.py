"""`localops lint`: find loops of tool calls and failing tools, for people and for CI."""

from __future__ import annotations

import click

from localops import config, output
from localops.cli import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.reading.facts import Facts
    from localops.reading.home import Home, Project

# The exit code where a loop was found.
_FOUND = 3


@click.command()
@click.argument("sessions", nargs=-1, metavar="[ID|last]...")
@click.option("--since", type=common.Moment(), help="All sessions started since: 2h, 3d, 2026-11-21, or an ISO time.")
@click.option("--until", type=common.Moment(end=True), help="All sessions started before.")
@click.option("--tag", help="All sessions with this tag.")
@click.option("--polling", multiple=True, metavar="TOOL", help="Calls of this tool repeat by intent; may be repeated.")
@click.option("--strict", is_flag=True, help="Habits, and calls that could not be compared, count as loops.")
@click.option("--all", "every", is_flag=True, help="A line for each finding, also for those that are alike.")
@click.option("--format", "form", type=common.Choice(["text", "md"]), help="text, or md: Markdown for a ticket.")
@common.place_options
@common.json_option
def lint(
    sessions: tuple[str, ...],
    since: int | None,
    until: int | None,
    tag: str | None,
    polling: tuple[str, ...],
    strict: bool,
    every: bool,
    form: str | None,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Find loops of tool calls and failing tools, and what they wasted.

    Exit code 3 if there is a loop, or if a tool failed in each of five calls or more. A loop is the same call with the
    same result three times in a row, several calls in turn three times, a call that fails again and again, or the same
    error again. A call that is repeated often with others between is a habit. A result that changes is progress;
    `@tool(polling=True)`, the setting `polling` and --polling say that repeats are intended. Without an ID: the newest
    session. Findings that are alike share one line; --all shows each of them. --json has both.
    """
    common.at_most_one(json=as_json, format=form)
    common.check_period(since, until)
    is_period = since is not None or until is not None or tag is not None
    if sessions and is_period:
        raise click.UsageError("give either sessions or --since, --until and --tag")
    with common.look(home, project) as opened:
        waits = {*polling, *config.polling(opened.folder)}
        chosen, left_out = _named_sessions(opened, sessions or ("last",)), 0
        if is_period:
            chosen, left_out = _sessions_to_check(opened, since, until, tag)
        others = (
            0
            if sessions or is_period
            else sum(one.ask("how_many_sessions")[0][0] for one in opened.projects) - len(chosen)
        )
        results = [_lint(where, id, waits, is_whole=as_json or every) for where, id in chosen]
    without_tools = left_out + sum(not one["tool_calls"] for one in results)
    looked_at = left_out + len(results)
    if as_json:
        _print_json(results, looked_at, without_tools)
    else:
        shown = results if looked_at == 1 else list(filter(_says_something, results))
        sums = _sums(results, looked_at, without_tools)
        (_print_markdown if form == "md" else _print)(shown, sums, every)
        _print_passed_over([one for one in results if one not in shown], form)
        if others > 0:
            line = f"1 of {output.counted(others + 1, 'session')} checked: --since 7d for more"
            print(f"\n{line}" if form == "md" else common.dim(line))
    if any(map(_is_red, results)) or (strict and any(one["loops_count"] or not one["complete"] for one in results)):
        click.get_current_context().exit(_FOUND)


def _named_sessions(opened: Home, sessions: Iterable[str]) -> list[tuple[Project, bytes]]:
    return list(dict.fromkeys(map(opened.find, sessions)))


def _sessions_to_check(
    opened: Home, since: int | None, until: int | None, tag: str | None
) -> tuple[list[tuple[Project, bytes]], int]:
    """Return the sessions that may have loops or growing prompts, and the number of the others."""
    from localops.reading import growing_prompts
    from localops.reading.home import Filters

    listed = list(opened.sessions(Filters(since=since, until=until, tag=tag)))
    chosen = [(one.project, one.session) for one in listed if one.tools or growing_prompts.may_have(one)]
    return chosen, len(listed) - len(chosen)


def _lint(where: Project, id: bytes, waits: set[str], *, is_whole: bool) -> Facts:
    # Late, so that an id that does not exist is refused without loading it.
    from localops.reading import waste

    return waste.of(
        where.name, where.snapshot(id), where.reader, polling=waits, shown=None if is_whole else waste.SHOWN
    )


def _sums(results: list[Facts], looked_at: int, without_tools: int) -> str:
    from localops.reading import waste_page

    if results and looked_at == 1:
        return waste_page.headline(results[0])
    return waste_page.total(results, looked_at, without_tools)


def _print_json(results: list[Facts], looked_at: int, without_tools: int) -> None:
    from localops.reading import waste_page

    common.print_json(
        {
            "loops": sum(one["loops_count"] for one in results),
            "alarming": sum(one["alarming"] for one in results),
            "looked_at": looked_at,
            "without_tools": without_tools,
            "sessions": [waste_page.document(one) for one in results],
        }
    )


def _print_markdown(shown: list[Facts], sums: str, every: bool) -> None:
    from localops.reading import waste_page

    # The title of a single session is the same text.
    if [sums] != list(map(waste_page.headline, shown)):
        print(f"## {sums}")
        print()
    for number, one in enumerate(shown):
        if number:
            print()
        for line in waste_page.markdown(one, every=every):
            print(line)


def _print_passed_over(hidden: list[Facts], form: str | None) -> None:
    """Print the calls that were skipped in sessions of which nothing else is shown."""
    from localops.reading import sentences, waste_page

    sentence = waste_page.passed_over(hidden)
    if sentence is not None:
        print(f"\n{sentences.marked(sentence)}" if form == "md" else sentences.plain(sentence))


def _says_something(one: Facts) -> bool:
    return bool(one["loops_count"] or one["failures_count"] or one["growing"] or not one["complete"])


def _is_red(one: Facts) -> bool:
    return bool(one["alarming"] or one["never_worked"])


def _print(shown: list[Facts], sums: str, every: bool) -> None:
    from localops.reading import waste_page
    from localops.reading.sentences import plain

    room = common.width()
    for one in shown:
        name, state = common.bold(common.title(one["name"])), common.state(one["state"])
        print(f"{name}  {state}  {common.dim(one['session_id'])}")
        for title, sentences in waste_page.sections(one, every=every):
            print()
            print(common.bold(title))
            for sentence in sentences:
                text = plain(sentence)
                for line in output.wrap(text, max(room - 2, 20)) if room else [text]:
                    print(f"  {line}")
        print()
    is_red = any(map(_is_red, shown))
    print(common.styled(sums, "red" if is_red else "green"))
