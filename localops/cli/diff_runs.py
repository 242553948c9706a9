"""`localops diff` of three or more runs: which of them differs from the others, and where."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common
from localops.reading import facts, markdown, run_diff, runs_table
from localops.reading.runs_table import MOST_RUNS, Run, RunsTable, letter, letters
from localops.reading.sentences import separated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.reading.home import Home
    from localops.reading.runs_table import Row
    from localops.reading.snapshot import Snapshot

_COUNTS = (
    ("LLM calls", "llms"),
    ("tool calls", "tools"),
    ("tokens in", "tokens_in"),
    ("tokens out", "tokens_out"),
    ("errors", "errors"),
    ("failed", "failed"),
)


def show(opened: Home, runs: Sequence[str], *, form: str, limit: int, as_json: bool) -> None:
    """Print the differences between several runs."""
    if len(runs) > MOST_RUNS:
        raise click.UsageError(f"too many runs: expected at most {MOST_RUNS}, got {len(runs)}")
    places = [opened.find(run) for run in runs]
    run_diff.refuse_twice((project.name, session) for project, session in places)
    seen = [project.snapshot(session) for project, session in places]
    table = RunsTable([Run.read(each.source, each.id, each.standing.state) for each in seen])
    shown = table.differing[: limit or None]
    more = len(table.differing) - len(shown)
    if as_json:
        about = [run_diff.run_facts(project.name, each) for (project, _), each in zip(places, seen, strict=True)]
        common.print_json({"runs": about, **runs_table.table_facts(table, shown), "more": more})
    elif form == "md":
        print(separated("\n".join)(_markdown(table, seen, shown, more)))
    else:
        _print(table, seen, shown, more)


def figures(seen: Sequence[Snapshot]) -> Iterator[tuple[str, list[str], list[int]]]:
    """Yield the totals of runs: the title of each, its texts and its values."""
    took = [max(0, each.until_ns - each.totals.first_ns) for each in seen]
    durations = [
        ("at least " if each.is_cut_off else "") + output.short_duration(ns)
        for each, ns in zip(seen, took, strict=True)
    ]
    yield "took", durations, took
    for title, name in _COUNTS:
        values = [getattr(each.totals, name) for each in seen]
        yield title, [*map(output.count, values)], values
    costs = [
        output.money_of(each.totals.cost, each.totals.unpriced, each.totals.llms, at_least=each.cost_at_least)
        for each in seen
    ]
    yield "cost", costs, [each.totals.cost for each in seen]


@separated
def _print(table: RunsTable, seen: Sequence[Snapshot], shown: Sequence[Row], more: int) -> None:
    for place, each in enumerate(seen):
        name = common.bold(common.title(each.story.name))
        print(f"{letter(place)}  {name}  {common.state(each.standing.state)}  {common.dim(facts.full_id(each.id))}")
    print()
    common.print_table(_totals(seen), ("", *map(letter, range(len(seen)))), align="l" + "r" * len(seen))
    print(f"\n{common.bold(table.head())}")
    for notice in _notices(table, seen):
        print(common.styled(f"! {notice}", "yellow"))
    if shown:
        print()
    for row in shown:
        print("\n".join(_lines(table, row)))
    if more:
        print(common.dim(f"… and {output.counted(more, 'more difference')}: --limit 0 shows all"))


def _totals(seen: Sequence[Snapshot]) -> list[tuple[str, ...]]:
    return [(title, *texts) for title, texts, _ in figures(seen)]


def _notices(table: RunsTable, seen: Sequence[Snapshot]) -> Iterator[str]:
    if table.is_cut:
        yield "a run is long: only its first 50,000 events were compared"
    if running := [place for place, each in enumerate(seen) if each.is_running]:
        yield f"still running: {letters(running)}"
    if without := [place for place, each in enumerate(seen) if each.story.metadata_only]:
        yield f"no content (metadata only) in {letters(without)}: the inputs of their calls cannot be compared"


def _lines(table: RunsTable, row: Row) -> Iterator[str]:
    label = _label(row)
    texts = [(runs, output.clean(text)) for runs, text in table.texts(row)]
    present = [(runs, text) for runs, text in texts if row.steps[runs[0]] is not None]
    if len(present) == 1:
        runs, text = present[0]
        yield common.styled(_fitting(f"+ {label}  only in {letters(runs)}: {text}"), "green")
        return
    yield common.styled(_fitting(f"~ {label}"), "yellow")
    for runs, text in texts:
        yield common.dim(_fitting(f"    {letters(runs)}  {text or 'not there'}"))


def _label(row: Row) -> str:
    return output.clean(f"{row.step.kind} {row.step.label or common.NAMELESS}")


def _fitting(text: str) -> str:
    room = common.width()
    return output.cut(text, room) if room else text


def _markdown(table: RunsTable, seen: Sequence[Snapshot], shown: Sequence[Row], more: int) -> Iterator[str]:
    yield f"### {len(seen)} runs compared"
    yield ""
    for place, each in enumerate(seen):
        name = markdown.cell(each.story.name or "unnamed")
        yield f"- {letter(place)}: {name} {common.short_id(each.id)} ({each.standing.state})"
    yield ""
    titles = ("", *map(letter, range(len(seen))))
    yield markdown.table(_totals(seen), titles, align="l" + "r" * len(seen))
    yield f"\n{table.head()}"
    for notice in _notices(table, seen):
        yield f"\n**Note:** {notice}"
    if not shown:
        return
    yield ""
    yield markdown.table([_cells(table, row, len(seen)) for row in shown], ("step", *titles[1:]))
    if more:
        yield f"\n… and {output.counted(more, 'more difference')}: --limit 0 shows all"


def _cells(table: RunsTable, row: Row, many: int) -> list[str]:
    cells = ["–"] * many
    for runs, text in table.texts(row):
        for run in runs:
            cells[run] = markdown.cell(text) if text else "–"
    return [markdown.cell(f"{row.step.kind} {row.step.label}"), *cells]
