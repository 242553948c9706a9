"""`localops steps`: list the steps of one session that run once, and what a resume would do with each."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts

_ON_RESUME = {
    "give back": "returns its recorded result",
    "run": "runs again",
    "ask": "raises Uncertain",
    "not called": "is not called",
    "wait": "is in progress",
    "refuse": "raises StepError",
    "no resume": "cannot be resumed",
}

_BEHIND = ", if it is reached"
_SCRUBBED = (
    "where the rules of the resumed program find it (`redact` in config.toml), the call raises StepError and does not "
    "run; resume without that rule, or give once=True a key= without the secret from the first run on"
)
_REFUSED = (
    "which was recorded without the rules of today, as with redact=False: the call raises StepError and does not run; "
    "resume without these rules, as it was recorded, or give once=True a key= without the secret from the first run on"
)


@click.command()
@common.session_argument
@click.option("--limit", type=click.IntRange(min=1), default=1_000, show_default=True, help="At most this many.")
@common.place_options
@common.json_option
def steps(session: str, limit: int, home: str | None, project: str | None, as_json: bool) -> None:
    """List the steps of one session that run once, and what a resume does with each.

    They are the calls of functions with once=True; localops.resume() resumes a session. A step that is not listed has
    not begun: it runs when the program reaches it.
    """
    with common.look(home, project) as opened:
        where, id = opened.find(session)
        snapshot = where.snapshot(id)
        # Late, so that an id that does not exist is refused without loading it.
        from localops.reading import recorded_steps

        facts = recorded_steps.run_facts(where.name, snapshot, limit=limit)
        if as_json:
            common.print_json(facts)
            return
        common.print_heading(snapshot)
        _print_steps(facts)


def _print_steps(facts: Facts) -> None:
    if facts["not_resumable"]:
        print(f"the session cannot be resumed: {facts['not_resumable']}")
        if not facts["steps"]:
            return
    if not facts["steps"]:
        print("no steps with once=True: a resumed run would call everything again; see `localops help resume`")
        return
    hosts = {one["process"]["host"] for one in facts["steps"] if one["process"]}
    headers = ("step", "arguments", "state", "on resume", "began", "process")
    table = [
        (
            _title(one),
            _arguments(one),
            _state(one),
            _ON_RESUME[one["on_resume"]] + (", or StepError" if one["scrubbed"] else "") + _BEHIND * one["behind"],
            one["began"][:19].replace("T", " "),
            _process(one["process"], with_host=len(hosts) > 1),
        )
        for one in facts["steps"]
    ]
    common.print_table(table, headers, align="llllll", soft=("arguments", "step"), spare=("began", "process"))
    _print_given([one for one in facts["steps"] if one["given"]])
    print()
    numbers = facts["counts"]
    words = {"done": "done", "uncertain": "uncertain", "failed": "failed", "running": "in progress"}
    print(", ".join(f"{numbers[key]} {word}" for key, word in words.items() if numbers[key]) + _rest(facts))
    if many := numbers["refused"]:
        arguments = "The arguments of 1 step hold" if many == 1 else f"The arguments of {many} steps hold"
        print(f"{arguments} a secret, {_REFUSED}")
    if any(one["on_resume"] == "not called" for one in facts["steps"]):
        print("A step that is not called is inside one that returns its recorded result.")
    if any(one["behind"] for one in facts["steps"]):
        print("A step is not reached if it is inside a step that raises, unless the program runs that step again.")
    if many := sum(one["scrubbed"] for one in facts["steps"]):
        print(f"A scrub removed a secret from the arguments of {many}: {_SCRUBBED}")


def _state(one: Facts) -> str:
    tries = f", {one['tries']} tries" if one["tries"] > 1 else ""
    return f"{one['state']}{tries}{', result given' if one['given'] else ''}"


def _arguments(one: Facts) -> str:
    """Return by what a step is recognised: its key, or else its arguments."""
    return output.clean(one["input"] if one["key"] is None else f"key={one['key']}")


def _process(process: Facts | None, *, with_host: bool) -> str:
    if not process or not process["pid"]:
        return ""
    return f"{process['pid']}@{output.clean(process['host'] or '?')}" if with_host else str(process["pid"])


def _print_given(steps: list[Facts]) -> None:
    """Print, for steps whose result a program provided, where they began and which process provided it."""
    if not steps:
        return
    from localops.reading import given_results, sentences  # late, as few sessions have such a step

    print()
    for one in steps:
        what = " ".join(sentences.plain(each) for each in given_results.sentences(one))
        print(f"{_title(one)} {_arguments(one)}: {what}")


def _title(one: Facts) -> str:
    name = output.clean(one["name"])
    return f"{name} (no. {one['number']})" if one["number"] > 1 else name


def _rest(facts: Facts) -> str:
    more = f"; {facts['more']} more are not listed (--limit)" if facts["more"] else ""
    lost = facts["counts"]["not_kept"]
    if not lost:
        return more
    reasons = sorted({output.clean(one["why"]) for one in facts["steps"] if one["why"]})
    return f"{more}; the results of {lost} that are done cannot be restored: {'; '.join(reasons)}"
