"""`localops demo`: record a small, believable agent run; for many people the first thing they see.

It uses the public API only, as a user's program does.  The models and their prices are real; no model is called, and
no network is needed.
"""

from __future__ import annotations

import time

import click

import localops
from localops import api, output
from localops.cli.common import bold, dim, json_option, print_json, styled, width
from localops.decorators import agent, guardrail, operation, tool, workflow
from localops.reading import analytics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops import Session

_QUESTION = "Where can we spend a long weekend in May by train, with a child who loves lighthouses?"
_NOTES = {
    "lighthouse towns by train": ["Stralsund", "Den Helder", "Penmarc'h", "Świnoujście"],
    "Świnoujście lighthouse opening hours": ["daily from 10:00, 308 steps, 68 m"],
}


class SearchTimeout(Exception):
    """The search engine of this story sometimes does not answer."""


@tool(name="web_search", cost=0.005)
def search(query: str, patience: float) -> list[str]:
    """Look something up; fail if there is too little patience."""
    # The waits give the timeline of the demo some lengths to show.
    time.sleep(min(patience, 0.03))
    if patience < 0.03:
        raise SearchTimeout(f"no answer within {patience * 1000:.0f} ms")
    return _NOTES[query]


@tool
def timetable(start: str, to: str) -> dict[str, object]:
    """Ask when the trains go."""
    time.sleep(0.02)
    return {"from": start, "to": to, "leaves": "08:38", "arrives": "12:24", "changes": 0}


@guardrail(spec="output")
def no_invented_trains(answer: str) -> bool:
    """Check that every train in the answer is in the timetable."""
    return "08:38" in answer


def _think(model: str, prompt: str, completion: str, tokens: tuple[int, int], cached: int = 0) -> str:
    """Record a call of a language model."""
    event = localops.LLMEvent(
        model=model,
        prompt=[{"role": "user", "content": prompt}],
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        cached_tokens=cached,
    )
    time.sleep(tokens[1] / 6000)
    event.completion = {"role": "assistant", "content": completion}
    localops.record(event)
    return completion


@agent(name="planner")
class Planner:
    """Decides what to find out."""

    @operation
    def plan(self, question: str) -> list[str]:
        """Turn a question into steps."""
        steps = "1. towns with a lighthouse  2. trains  3. opening hours"
        _think("gpt-4o", question, steps, (412, 96))
        return steps.split("  ")


@agent(name="researcher")
class Researcher:
    """Finds it out, and tries again after an error."""

    @workflow
    def research(self) -> dict[str, object]:
        """Search, ask, compare."""
        try:
            search("lighthouse towns by train", patience=0.01)
        except SearchTimeout:
            localops.record(localops.ActionEvent(action_type="try again, with more patience"))
        towns = search("lighthouse towns by train", patience=0.05)
        trains = [timetable("Berlin", town) for town in (towns[0], towns[3])]
        hours = search("Świnoujście lighthouse opening hours", patience=0.05)
        _think(
            "claude-sonnet-4-5",
            f"Compare: {towns} {trains} {hours}",
            "Świnoujście: direct train, and the tallest lighthouse on the Baltic Sea.",
            (2_860, 310),
            cached=2_048,
        )
        return {"town": towns[3], "train": trains[1], "hours": hours[0]}


@agent(name="writer")
class Writer:
    """Writes it so that you want to go."""

    @operation
    def write(self, results: dict[str, object]) -> str:
        """Write the answer, and have it checked."""
        answer = (
            "Take the 08:38 to Świnoujście: no changes, there by lunch. The lighthouse is 68 m high, "
            "opens at 10:00, and its 308 steps are best counted aloud."
        )
        _think("gpt-4o-mini", f"Write it up: {results}", answer, (734, 142))
        no_invented_trains(answer)
        return answer


@click.command()
@click.option("--home", metavar="FOLDER", help="Record into this home.")
@json_option
def demo(home: str | None, as_json: bool) -> None:
    """Record a small agent run on this machine, and show what it recorded.

    Three agents plan a weekend by train, with tools, real prices and one error on the way.
    Nothing leaves the machine.
    """
    session = api.client().start(
        ["demo", "weekend"], name="plan a weekend", config=localops.Config(home=home, project="demo")
    )
    answer = _run_agents()
    session.end_session("Success", "the answer was written and checked")
    if as_json:
        facts = {"session_id": str(session.session_id), "project": "demo", "analytics": session.get_analytics()}
        print_json(facts)
    else:
        _show(session, answer)
    api.client().close()


def _run_agents() -> str:
    Planner().plan(_QUESTION)
    results = Researcher().research()
    return Writer().write(results)


def _show(session: Session, answer: str) -> None:
    """Print what happened, its cost, where it is stored, and which commands to try next."""
    journal, id = session.recorder.journal, session.session_id.bytes
    lines = [
        bold("Three agents planned a weekend, and every step is on this disk."),
        "",
        *_labelled("question", _QUESTION),
        *_labelled("answer", f"{answer.split('. ')[0]}."),
        "",
        *(f"  {dim(label.ljust(12))}{value}" for label, value in _figures(session, analytics.totals(journal, id))),
        "",
        *_costs([*analytics.parts(journal, id, "model"), *analytics.parts(journal, id, "tool")]),
        "",
        bold("Have a look:"),
        *(f"  {styled(command.ljust(31), 'cyan')}{dim(about)}" for command, about in _NEXT),
        "",
        bold("Record your own:"),
        *(f"  {styled(line, 'green')}" for line in _OWN),
        "",
        dim(f"Stored in {journal.path}"),
        dim("No network was used."),
    ]
    print("\n".join(lines))


def _labelled(label: str, text: str) -> list[str]:
    """Return a label and a text; a long text continues below itself."""
    first, *more = output.wrap(text, max((width() or 100) - 14, 20))
    return [f"  {dim(label.ljust(12))}{first}", *(" " * 14 + line for line in more)]


def _figures(session: Session, figures: analytics.Totals) -> list[tuple[str, str]]:
    known = session.get_analytics()
    tokens = f"{output.count(figures.tokens_in)} in, {output.count(figures.tokens_out)} out"
    return [
        *((label, str(known[label])) for label in ("LLM calls", "Tool calls", "Actions", "Errors", "Duration")),
        ("Tokens", f"{tokens} ({output.count(figures.tokens_cached)} from cache)"),
        ("Cost", output.money(figures.cost)),
    ]


def _costs(parts: list[analytics.Part]) -> list[str]:
    """Return the cost of each model and tool as a bar, the highest first."""
    paid = sorted((part for part in parts if part.cost), key=lambda part: -part.cost)
    return [
        f"  {dim(part.value.ljust(22))}{output.money(part.cost).rjust(10)}  "
        + styled(output.bar(part.cost / paid[0].cost, 24).rstrip(), "blue")
        for part in paid
    ]


_NEXT = (
    ("localops show last", "the run as a tree: who did what, inside what"),
    ("localops analytics last", "figures by model, agent and tool"),
    ("localops ui", "the same in a browser: timeline, tree, chat and charts"),
    ("localops sessions", "every run"),
    ("localops search lighthouse", "find words in anything recorded"),
    ("localops export -o run.html", "one page to look at or to send"),
    ("localops run app.py", "run a program written for AgentOps, unchanged"),
)
_OWN = ("import localops", "session = localops.init()", 'session.end_session("Success")')
