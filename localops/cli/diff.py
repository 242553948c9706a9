"""`localops diff`: print the differences between runs."""

from __future__ import annotations

from typing import NamedTuple

import click

from localops import output
from localops.cli import common, diff_runs
from localops.reading import facts, markdown, run_diff
from localops.reading.run_diff import ONLY_FOLLOWS, RunDiff
from localops.reading.sentences import Word, marked, plain, separated
from localops.reading.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.reading.diff_texts import Texts
    from localops.reading.run_diff import Line
    from localops.reading.sentences import Sentence
    from localops.reading.snapshot import Snapshot
    from localops.reading.steps import Step

_LIMIT = 100
# The most differences that repeat as a group, and the repetitions from which they are shown once.
_MOST_FOLDED, _FOLDED = 4, 3
# Characters of a result that is shown beside the arguments of a step that only one run has; a longer one has a line.
_SHORT = 60
_SIGNS = {"added": "+", "removed": "-", "moved": "↕", "failed": "!", "fixed": "*", "changed": "~", "result": "~"}
# For a step that differs only in its cost or duration.
_COSTLIER, _SLOWER = "$", ">"
_STYLES = {"+": "green", "-": "red", "!": "red", "*": "green"} | dict.fromkeys(("~", "↕", _COSTLIER, _SLOWER), "yellow")
_LEGEND = {
    "~": "another model, other arguments or another result",
    "↕": "moved",
    "!": "failed now",
    "*": "fixed now",
    _COSTLIER: "costlier",
    _SLOWER: "slower",
}
_FOLLOWS = "prompt repeats the differences above"
_WORDS = {"failed": "failed now", "fixed": "fixed now", "result": "other result", "follows": _FOLLOWS}
_COUNTED = {**_WORDS, "result": "with another result", "same": "the same"}
_REPEATS = {True: "whose prompt repeats these changes", False: "whose prompts repeat these changes"}


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="A [B]...")
@click.option("--format", "form", type=click.Choice(("text", "md")), default="text", help="md is Markdown.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=_LIMIT,
    help="At most this many differences, 0 for all  [default: 100].",
)
@common.place_options
@common.json_option
def diff(runs: tuple[str, ...], form: str, limit: int, home: str | None, project: str | None, as_json: bool) -> None:
    """Compare runs: which steps differ, failed, or got slower or costlier.

    A step can be added, removed, moved or changed, or give another result. Calls of the same kind and name are the same
    step: with other arguments it has changed, and with the same ones in another place it has moved. Ids and times that
    differ in each run do not count, nor does the order of calls that ran in parallel. A and B are ids of sessions, or
    last. Without B, A is compared with the newest run; the newest run itself (`localops diff last`) with the one before
    it that has the same name.

    Three or more runs are aligned in one table; the first sentence says which of them differs from the others.
    """
    common.at_most_one(json=as_json, format=form != "text")
    with common.look(home, project) as opened:
        if len(runs) > 2:
            diff_runs.show(opened, runs, form=form, limit=limit, as_json=as_json)
            return
        a, b = runs[0], runs[1] if len(runs) > 1 else None
        (project_a, id_a), (project_b, id_b) = opened.find(a), opened.find(b or "last")
        if b is None and (project_a, id_a) == (project_b, id_b):
            project_a, id_a = opened.earlier(project_b, id_b)
        run_diff.refuse_twice([(project_a.name, id_a), (project_b.name, id_b)])
        seen_a, seen_b = project_a.snapshot(id_a), project_b.snapshot(id_b)
        compared = RunDiff(*(Steps.read(seen.source, seen.id) for seen in (seen_a, seen_b)))
        if as_json:
            sides = {"a": run_diff.run_facts(project_a.name, seen_a), "b": run_diff.run_facts(project_b.name, seen_b)}
            differences = run_diff.diff_facts(compared, seen_a.source, seen_b.source, limit)
            common.print_json({**sides, **differences})
        elif form == "md":
            print(separated("\n".join)(_markdown(compared, seen_a, seen_b, limit)))
        else:
            _print(compared, seen_a, seen_b, limit)


@separated
def _print(compared: RunDiff, a: Snapshot, b: Snapshot, limit: int) -> None:
    for side, seen in (("A", a), ("B", b)):
        print(f"{side}  {common.bold(common.title(seen.story.name))}  {common.state(seen.standing.state)}  ", end="")
        print(common.dim(facts.full_id(seen.id)))
    print()
    common.print_table(_totals(a, b), ("", "A", "B", "change"), align="lrrr")
    print()
    print(_summary(compared))
    if cost := _cost(compared, a, b):
        print(plain(cost))
    for notice in _notices(compared, a, b):
        print(common.styled(f"! {notice}", "yellow"))
    many = 0
    shown: list[Shown] = []
    for line in compared.differing:
        if limit and many == limit:
            shown.append(Shown((_more(compared, limit),), (common.dim(_more(compared, limit)),)))
            break
        many += bool(line.marks)
        shown.append(_shown(line, compared.texts(line, a.source, b.source)))
    if following := _following(compared):
        shown.append(Shown((following,), (common.dim(f"  {following}"),)))
    if shown:
        print()
    for each in _folded(shown):
        print("\n".join(each))
    if legend := _legend(shown):
        print(f"\n{common.dim(legend)}")


def _legend(shown: Sequence[Shown]) -> str:
    """Return the meanings of the signs before differences, except plus and minus."""
    used = {click.unstyle(each.lines[0])[:1] for each in shown}
    return ", ".join(f"{sign} {words}" for sign, words in _LEGEND.items() if sign in used)


def _folded(shown: Sequence[Shown]) -> Iterator[tuple[str, ...]]:
    """Yield differences; show a group that repeats several times once, with the number of repetitions."""
    at = 0
    while at < len(shown):
        times, size = max((_times(shown, at, size), -size) for size in range(1, _MOST_FOLDED + 1))
        size = -size
        if times < _FOLDED:
            times = size = 1
        group = shown[at : at + size * times]
        yield from (each.lines for each in group[:size])
        if times > 1:
            what = "this difference" if size == 1 else f"these {size} differences"
            others = any(each.lines != group[place % size].lines for place, each in enumerate(group))
            yield (common.dim(f"  … {what} {output.count(times)} times{', with other arguments' if others else ''}"),)
        at += size * times


def _times(shown: Sequence[Shown], at: int, size: int) -> int:
    """Return how many times in a row the group of `size` differences at a place repeats."""
    keys = [each.key for each in shown[at : at + size]]
    times = 1
    while [each.key for each in shown[at + size * times : at + size * (times + 1)]] == keys:
        times += 1
    return times


class Shown(NamedTuple):
    """A difference as it is printed."""

    key: tuple[str, ...]
    """Its lines without the arguments and the result of a step that only one run has."""
    lines: tuple[str, ...]


def _shown(line: Line, texts: Texts) -> Shown:
    lines = tuple(_lines(line, texts))
    alone = line.a is None or line.b is None
    return Shown(tuple(_lines(line, texts._replace(input=None, output=None))) if alone else lines, lines)


def _lines(line: Line, texts: Texts) -> Iterator[str]:
    indent = "  " * line.depth
    if not line.marks or line.marks == ONLY_FOLLOWS:
        yield common.dim(f"  {indent}{_label(line.step)}")
        return
    other = _COSTLIER if "costlier" in line.marks else _SLOWER
    sign = next((sign for mark, sign in _SIGNS.items() if mark in line.marks), other)
    notes = output.clean("; ".join(_notes(line, texts)))
    text = f"{sign} {indent}{_label(line.step)}{f'  {notes}' if notes else ''}"
    yield common.styled(_fitting(text), _STYLES[sign])
    for text in _changes(line, texts):
        yield common.dim(_fitting(f"    {indent}{output.clean(text)}"))


def _changes(line: Line, texts: Texts, signs: str = "-+") -> Iterator[str]:
    """Yield the inputs of two steps and, after an arrow, their results; of a single step only a long result."""
    if texts.output is not None and not line.step.failed and not _is_short(texts):
        yield _behind_arrow(texts.output)
    for sign, text in zip(signs, texts.given or (), strict=False):
        yield f"{sign} {text}"
    for sign, text in zip(signs, texts.result or (), strict=False):
        yield f"{sign} {_behind_arrow(text)}"


def _behind_arrow(result: str) -> str:
    """Return a result with an arrow before it; the result of a model that calls a tool has one already."""
    return result if result.startswith("→") else f"→ {result or '(nothing)'}"


def _fitting(text: str) -> str:
    room = common.width()
    return output.cut(text, room) if room else text


def _label(step: Step) -> str:
    return output.clean(f"{step.kind} {step.label or common.NAMELESS}")


def _notes(line: Line, texts: Texts) -> Iterator[str]:
    """Return in words how a step differs."""
    a, b = line.a, line.b
    if a is None or b is None:
        yield from _of_one(line.step, texts)
        return
    if line.moved:
        yield f"{texts.input or ''}  moved {line.moved}".strip()
    yield from _of_texts(a, b, line.marks)
    if "failed" in line.marks:
        yield f"failed now: {b.error}" if b.error else "failed now"
    if "fixed" in line.marks:
        yield f"fixed now, failed before: {a.error}" if a.error else "fixed now"
    if "slower" in line.marks:
        yield f"slower: {output.short_duration(a.took_ns or 0)} → {output.short_duration(b.took_ns or 0)}"
    if "costlier" in line.marks:
        yield f"costlier: {output.money(a.cost)} → {output.money(b.cost)}"
    if _tokens(a) != _tokens(b):
        yield f"tokens: {_tokens(a) or 'unknown'} → {_tokens(b) or 'unknown'}"


def _of_texts(a: Step, b: Step, marks: Sequence[str]) -> Iterator[str]:
    """Yield the words for how inputs and results of two steps differ."""
    if a.model != b.model:
        yield f"{a.model or 'no model'} → {b.model or 'no model'}"
    elif "changed" in marks:
        yield "other arguments"
    if "follows" in marks:
        yield _FOLLOWS
    if "result" in marks and a.has_no_end != b.has_no_end:
        yield f"no end is recorded in {'A' if a.has_no_end else 'B'}"
    elif "result" in marks:
        yield "other error" if b.failed and b.error else "other result"


def _of_one(step: Step, texts: Texts) -> Iterator[str]:
    """Yield the words for a step that only one run has: input, result, tokens, cost."""
    result = _behind_arrow(texts.output or "") if _is_short(texts) and not step.failed else None
    if call := " ".join(filter(None, (texts.input, result))):
        yield call
    if step.failed:
        yield f"failed: {step.error}" if step.error else "failed"
    if step.size > 1:
        yield f"{output.counted(step.size - 1, 'step')} inside"
    if (tokens := _tokens(step)) is not None:
        yield f"{tokens} tokens"
    if step.cost:
        yield output.money(step.cost)


def _is_short(texts: Texts) -> bool:
    return texts.output is not None and len(texts.output) <= _SHORT


def _tokens(step: Step) -> str | None:
    """Return the tokens of a step, in and out; None where it has none."""
    if step.tokens_in is None and step.tokens_out is None:
        return None
    return f"{output.count(step.tokens_in or 0)} + {output.count(step.tokens_out or 0)}"


def _totals(a: Snapshot, b: Snapshot) -> list[tuple[str, str, str, str]]:
    """Return the totals of both runs and by how much they changed."""
    return [
        (title, texts[0], texts[1], "" if any(map(_is_bound, texts)) else _change(*values))
        for title, texts, values in diff_runs.figures((a, b))
    ]


def _is_bound(text: str) -> bool:
    """Return whether a figure is a lower bound, or not known: by how much it changed is not known either."""
    return text.startswith("at least ") or text.endswith(" + ?") or text == "unpriced"


def _change(a: int, b: int) -> str:
    if a == b:
        return ""
    return f"{(b - a) / a:+.0%}" if a else "new"


def _summary(compared: RunDiff) -> str:
    """Return the number of steps of each sort as a sentence, each step counted once."""
    but_ids = compared.same_but_ids
    if not any(compared.counts.values()):
        rest = f", {output.count(but_ids)} of them except for ids or times" if but_ids else ""
        return f"no difference: {output.counted(compared.same, 'step')} the same{rest}"
    parts = []
    for sort, many, others in compared.sorts():
        notes = [_note(mark, number, sort) for mark, number in others.items()]
        notes += [f"{output.count(but_ids)} except for ids or times"] if sort == run_diff.SAME and but_ids else []
        what = _REPEATS[many == 1] if sort == "follows" else _COUNTED.get(sort, sort)
        among = f" ({', '.join(notes)})" if notes else ""
        parts.append(f"{output.count(many)} {what}{among}")
    return f"{output.counted(len(compared.lines), 'step')}: {', '.join(parts)}"


def _note(mark: str, many: int, sort: str) -> str:
    """Return a further fact about some steps of a sort."""
    word = "failed" if sort == "added" and mark == "failed" else _COUNTED.get(mark, mark)
    return f"{output.count(many)}{' of them' if sort == run_diff.SAME else ''} {word}"


def _cost(compared: RunDiff, a: Snapshot, b: Snapshot) -> Sentence:
    """Return the parts of the difference in cost; empty without one."""
    change = b.totals.cost - a.totals.cost
    parts = compared.cost_parts()
    if not change or not parts:
        return []
    words: Sentence = [f"cost {_signed(change)}: "]
    for number, (cause, model, nano) in enumerate(parts):
        words += [", " if number else "", cause if model is None else Word(model), f" {_signed(nano)}"]
    rest = change - sum(nano for *_, nano in parts)
    return [*words, f", others {_signed(rest)}"] if rest else words


def _signed(nano: int) -> str:
    return f"{'+' if nano > 0 else ''}{output.money(nano)}"


def _notices(compared: RunDiff, a: Snapshot, b: Snapshot) -> Iterator[str]:
    if compared.is_cut:
        yield "a run is long: only its first 50,000 events were compared"
    if not compared.is_exact:
        yield "too many differences: a shorter list of them may exist"
    for side, seen in (("A", a), ("B", b)):
        if seen.is_running:
            yield f"{side} is still running"
        if seen.story.metadata_only:
            yield f"{side} has no content (metadata only): the inputs of its calls cannot be compared"


def _following(compared: RunDiff) -> str:
    """Return a sentence with the number of LLM calls that differ only in earlier results; empty for 0."""
    many = sum(line.marks == ONLY_FOLLOWS for line in compared.lines)
    if not many:
        return ""
    whose = "prompt of 1 later LLM call repeats" if many == 1 else f"prompts of {many} later LLM calls repeat"
    return f"the {whose} the differences above"


def _more(compared: RunDiff, limit: int) -> str:
    many = sum(bool(line.marks) and line.marks != ONLY_FOLLOWS for line in compared.lines) - limit
    return f"… and {output.counted(many, 'more difference')}: --limit 0 shows all"


# Markdown


def _markdown(compared: RunDiff, a: Snapshot, b: Snapshot, limit: int) -> Iterator[str]:
    names = [f"{markdown.cell(seen.story.name or 'unnamed')} {common.short_id(seen.id)}" for seen in (a, b)]
    states = [seen.standing.state for seen in (a, b)]
    yield f"### Runs compared: {names[0]} ({states[0]}) → {names[1]} ({states[1]})"
    yield ""
    yield markdown.table(_totals(a, b), ("", "A", "B", "change"), align="lrrr")
    yield ""
    yield _summary(compared)
    if cost := _cost(compared, a, b):
        yield f"\n{marked(cost)}"
    for notice in _notices(compared, a, b):
        yield f"\n**Note:** {notice}"
    lines = [line for line in compared.lines if line.marks and line.marks != ONLY_FOLLOWS]
    if not lines:
        return
    yield ""
    yield markdown.table(
        [_cells(line, compared.texts(line, a.source, b.source)) for line in lines[: limit or None]],
        ("difference", "step", "details"),
    )
    if limit and len(lines) > limit:
        yield f"\n{_more(compared, limit)}"
    if following := _following(compared):
        yield f"\n{following}"


def _cells(line: Line, texts: Texts) -> tuple[str, str, str]:
    details = [markdown.cell(note) for note in _notes(line, texts)]
    details += [f"{text[0]} {markdown.cell(text[2:])}" for text in _changes(line, texts, "−+")]
    words = ", ".join(_WORDS.get(mark, mark) for mark in line.marks)
    return words, markdown.cell(f"{line.step.kind} {line.step.label}"), "<br>".join(details)
