"""`localops check`: hold the figures of a run against limits and a baseline, for CI."""

from __future__ import annotations

import os

import click

from localops import output
from localops.cli import common
from localops.errors import ConfigError
from localops.reading import markdown, run_gate
from localops.reading.sentences import separated
from localops.reading.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.reading.home import Home, Project
    from localops.reading.run_gate import Measured, Verdict

    Checked = tuple[Measured, Sequence[Verdict]]

# The exit code of a run that breaks a rule.
_BROKEN = 3
_COLUMNS = ("", "id", "name", "state", "broken rules")  # of several runs
_SUCCESS, _UNSURE = "Success", "Indeterminate"
_NOT_KNOWN = "Indeterminate: whether the run succeeded is not recorded; end it with end_session(), `with` or sys.exit()"


@click.command()
@click.argument("sessions", nargs=-1, metavar="[ID|last]...")
@click.option("--baseline", metavar="FILE|ID", help="The run to compare with: a file of --save, or a session.")
@click.option("--save", metavar="FILE", help="Write the run as a baseline, and check nothing.")
@click.option("--max-cost", metavar="LIMIT", help="US dollars: 0.05, +0.01, +10%.")
@click.option("--max-duration", metavar="LIMIT", help="A time: 90s, +5s, +20%.")
@click.option("--max-tokens", metavar="LIMIT", help="Of prompts and completions: 5000, +500, +10%.")
@click.option("--max-calls", metavar="LIMIT", help="LLM and tool calls: 12, +2, +10%.")
@click.option("--max-errors", metavar="LIMIT", help="Errors, or failed calls: 0, +0.")
@click.option("--same-tools", is_flag=True, help="The same tools in the same order; parallel calls have none.")
@click.option("--same-arguments", is_flag=True, help="The same, each with the same arguments.")
@click.option("--allow-unpriced", is_flag=True, help="Let calls without a price, or without an end, pass.")
@click.option("--format", "form", type=click.Choice(("text", "md")), default="text", help="md is Markdown.")
@common.place_options
@common.json_option
def check(
    sessions: tuple[str, ...],
    baseline: str | None,
    save: str | None,
    max_cost: str | None,
    max_duration: str | None,
    max_tokens: str | None,
    max_calls: str | None,
    max_errors: str | None,
    same_tools: bool,
    same_arguments: bool,
    allow_unpriced: bool,
    form: str,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Check runs against limits and a baseline.

    Exit code 3 if a run breaks a rule. Limits with a + are relative to the baseline. A run that is still running, whose
    process died, or that lost events breaks a rule, and so does a cost that is only a lower bound. A run that exited
    with an open session, such as by `raise SystemExit(1)`, does not: it is unknown whether it succeeded. Ids and times
    that differ in each run do not count as arguments, and calls that ran in parallel have no order. Each of several
    runs has a line with the rules that it breaks.
    """
    common.at_most_one(json=as_json, format=form != "text")
    limits = run_gate.limits(
        max_cost=max_cost,
        max_duration=max_duration,
        max_tokens=max_tokens,
        max_calls=max_calls,
        max_errors=max_errors,
    )
    if save is not None and len(sessions) > 1:
        raise click.UsageError("--save writes one run: give one ID")
    if save is not None:
        flags = {"same_tools": same_tools, "same_arguments": same_arguments, "allow_unpriced": allow_unpriced}
        for name, value in {"baseline": baseline, **limits, **flags, "format": form != "text"}.items():
            common.at_most_one(save=save, **{name: value})
    with common.look(home, project) as opened:
        # A run that is named twice is checked once.
        places = dict.fromkeys(map(opened.find, sessions or ("last",)))
        runs = [_measure(*place) for place in places]
        if save is not None:
            _save(runs[0], save, next(iter(places))[0].name, as_json=as_json)
            return
        base = None if baseline is None else _baseline(opened, baseline, runs)
        judge = run_gate.check if as_json else separated(run_gate.check)
        results = [
            (
                run,
                judge(
                    run,
                    base,
                    limits,
                    same_tools=same_tools,
                    same_arguments=same_arguments,
                    allow_unpriced=allow_unpriced,
                ),
            )
            for run in runs
        ]
    if as_json:
        documents = [
            run_gate.run_facts(place[0].name, run, verdicts)
            for place, (run, verdicts) in zip(places, results, strict=True)
        ]
        passed = all(document["passed"] for document in documents)
        common.print_json(documents[0] if len(documents) == 1 else {"passed": passed, "runs": documents})
    elif form == "md":
        print(_markdown(*results[0]) if len(results) == 1 else _markdown_of_all(results))
    elif len(results) == 1:
        _print(*results[0])
    else:
        _print_lines(results)
    if not all(verdict.passed for _, verdicts in results for verdict in verdicts):
        click.get_current_context().exit(_BROKEN)


def _print_lines(results: Sequence[Checked]) -> None:
    """Print a line for each run, with the rules that it breaks."""
    rows = [
        ("BROKEN" if broken else "kept", run.session_id[:13], common.title(run.name), run.state, "; ".join(broken))
        for run, broken in ((run, _broken(verdicts)) for run, verdicts in results)
    ]
    common.print_table(rows, _COLUMNS, soft=("name", "broken rules"))
    many, title = _summed_up(results)
    print(common.styled(title, "red" if many else "green"))


def _broken(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the rules that a run breaks, each with the reason."""
    return [f"{_rule(verdict)}: {verdict.reason}" for verdict in verdicts if not verdict.passed]


def _summed_up(results: Sequence[Checked]) -> tuple[int, str]:
    """Return how many runs break a rule, and the sentence about it."""
    many = sum(bool(_broken(verdicts)) for _, verdicts in results)
    return many, f"{many} of {output.counted(len(results), 'run')} broken"


def _measure(project: Project, id: bytes) -> Measured:
    return run_gate.measure(project.snapshot(id), Steps.read(project.reader, id), waiting=project.waiting)


def _baseline(opened: Home, name: str, runs: Sequence[Measured]) -> Measured:
    """Return the run of a file, or of a session whose id does not look like one; refuse a session that is checked."""
    if os.path.exists(name) or os.sep in name or os.path.splitext(name)[1]:
        base = run_gate.read_baseline(name)
        # No error: a script may save its first run and then check it.
        if any(run.session_id == base.session_id for run in runs):
            output.say(f"session {base.session_id} is checked against itself: {name} was saved from it")
        return base
    base = _measure(*opened.find(name))
    for run in runs:
        run_gate.refuse_itself(run, base)
    return base


def _save(run: Measured, path: str, project: str, *, as_json: bool) -> None:
    """Write a baseline, replacing an earlier one; refuse a run with incomplete figures."""
    if run.incomplete is not None:
        raise ConfigError(f"session {run.session_id} cannot be a baseline: {run.incomplete}")
    run_gate.write_baseline(path, run)
    if run.state != _SUCCESS:
        output.say(f"session {run.session_id} is {run.state}, not Success: check that it is the run to compare with")
    if as_json:
        common.print_json({"file": os.path.abspath(path), "session_id": run.session_id, "project": project})
    else:
        output.say(f"wrote the baseline {os.path.abspath(path)}: commit it, and pass it to --baseline")


def _title(verdicts: Sequence[Verdict]) -> str:
    broken = sum(not verdict.passed for verdict in verdicts)
    return f"{output.counted(broken, 'rule')} of {len(verdicts)} broken" if broken else "all rules kept"


def _print(run: Measured, verdicts: Sequence[Verdict]) -> None:
    print(f"{common.bold(common.title(run.name))}  {common.state(run.state)}  {common.dim(run.session_id)}")
    print()
    rows = [("kept" if v.passed else "BROKEN", _rule(v), v.value, v.limit, v.baseline or "") for v in verdicts]
    common.print_table(rows, ("", "rule", "run", "limit", "baseline"), align="llrrr")
    print()
    for verdict in verdicts:
        if verdict.reason:
            print(common.styled(output.clean(f"! {_rule(verdict)}: {verdict.reason}"), "red"))
    if _left_open(run):
        print(common.styled(f"! {_NOT_KNOWN}", "yellow"))
    print(common.styled(_title(verdicts), "green" if all(v.passed for v in verdicts) else "red"))


def _left_open(run: Measured) -> bool:
    """Return whether the program exited and left its session open; one that was killed had no chance to end it."""
    return run.state == _UNSURE and run.duration_at_least is None


def _rule(verdict: Verdict) -> str:
    return verdict.rule.replace("_", "-")


def _markdown_of_all(results: Sequence[Checked]) -> str:
    """Return a line for each run, and then the rules of those that break one."""
    many, title = _summed_up(results)
    rows = [
        (
            "❌" if _broken(verdicts) else "✅",
            run.session_id[:13],
            markdown.cell(run.name or "unnamed"),
            run.state,
            markdown.cell("; ".join(_broken(verdicts))),
        )
        for run, verdicts in results
    ]
    head = f"## {'❌' if many else '✅'} {title}\n\n{markdown.table(rows, _COLUMNS, align='lllll')}"
    return "\n\n".join([head, *(_markdown(run, verdicts) for run, verdicts in results if _broken(verdicts))])


def _markdown(run: Measured, verdicts: Sequence[Verdict]) -> str:
    mark = "✅" if all(verdict.passed for verdict in verdicts) else "❌"
    rows = [
        ("✅" if v.passed else "❌", _rule(v), v.value, v.limit, v.baseline or "", markdown.cell(v.reason or ""))
        for v in verdicts
    ]
    table = markdown.table(rows, ("", "rule", "run", "limit", "baseline", "why"), align="llrrrl")
    name = markdown.cell(run.name or "unnamed")
    state = f"\n\n⚠️ {_NOT_KNOWN}" if _left_open(run) else ""
    return f"### {mark} {_title(verdicts)}: {name} {run.session_id[:13]}\n\n{table}{state}"
