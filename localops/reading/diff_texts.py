"""The texts of a difference between two runs: inputs and results of steps, around what differs.

They are read from the journal only when they are shown, as a run has many steps and few are shown.
"""

from __future__ import annotations

from collections import namedtuple

from localops.journal import rows, stored
from localops.reading import analytics, previews, readable_texts, steps
from localops.reading.alignment import same_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NamedTuple

    from localops.journal.stored import Source
    from localops.reading.steps import Step, Steps

    Event = dict[str, Any]
    Side = tuple[Source, Steps, Step]

    class Texts(NamedTuple):
        """The texts of a difference; None if there is nothing to show."""

        given: tuple[str, str] | None = None
        """The inputs of both steps, around the differences."""
        result: tuple[str, str] | None = None
        """Their results, or their errors."""
        input: str | None = None
        """The input of a step that only one run has, as a line."""
        output: str | None = None
else:
    Texts = namedtuple("Texts", "given result input output", defaults=(None, None, None, None))

# Characters to show of a difference, and equal characters before and after it.
_CUT, _AROUND = 240, 40


def one_texts(source: Source, step: Step) -> Texts:
    """Return the input and the result of a step that only one run has, each as a line."""
    event = _event(source, step)
    return Texts(input=previews.line(step.kind, event) or None, output=_result(step, event) or None)


def _result(step: Step, event: Event) -> str:
    """Return a result as a line; of a tool's long result, more than lists show."""
    line = previews.result(step.kind, event)
    if step.kind == "llm" or "…" not in line:
        return line
    text = " ".join(steps.result_text(event)[: 2 * _CUT].split())
    return text if len(text) <= _CUT else f"{text[: _CUT - 1]}…"


def pair_texts(a: Side, b: Side, marks: Sequence[str], kept: frozenset[str] = frozenset()) -> Texts:
    """Return what differs in the inputs and results of two steps; ids and times in `kept` are compared, too."""
    step_a, step_b = a[2], b[2]
    has_given = "changed" in marks and "follows" not in marks and (bool(kept) or step_a.asked != step_b.asked)
    if not has_given and not {"result", "moved"}.intersection(marks):
        return Texts()
    event_a, event_b = (_event(source, step) for source, _, step in (a, b))
    return Texts(
        input=previews.line(step_b.kind, event_b) or None if "moved" in marks else None,
        given=_differing_inputs(a, b, event_a, event_b, kept) if has_given else None,
        result=_differing_results(a, b, event_a, event_b) if "result" in marks else None,
    )


def _differing_inputs(a: Side, b: Side, event_a: Event, event_b: Event, kept: frozenset[str]) -> tuple[str, str]:
    # Prefer what the program itself wrote to what it repeats of earlier calls.
    is_own = a[2].own != b[2].own
    is_argument = a[2].kind != "llm"
    named = readable_texts.naming_data()
    return _excerpts(
        a[1].compared(named(steps.given_text(event_a, is_own=is_own)), is_argument=is_argument, kept=kept),
        b[1].compared(named(steps.given_text(event_b, is_own=is_own)), is_argument=is_argument, kept=kept),
    )


def _differing_results(a: Side, b: Side, event_a: Event, event_b: Event) -> tuple[str, str]:
    """Return the results of two steps; of models, the lines of their answers or tool calls, if these differ."""
    if a[2].kind == "llm":
        one, other = (previews.result("llm", event) for event in (event_a, event_b))
        if one != other:
            return one, other
    named = readable_texts.naming_data()
    return _excerpts(_result_compared(a, event_a, named), _result_compared(b, event_b, named))


def _result_compared(side: Side, event: Event, named: Callable[[str], str]) -> str:
    _, of_run, step = side
    if step.has_no_end:
        return "(no end is recorded)"
    return of_run.compared(named(steps.result_text(event, is_compared=True)) or step.error or "")


def _event(source: Source, step: Step) -> Event:
    id = bytes.fromhex(step.id.replace("-", ""))
    began, ended = (stored.one(source, id, phase) for phase in (rows.OPEN, rows.DONE))
    row = ended or began
    return analytics.plain(row, began if ended else None) if row else {}


def _excerpts(a: str, b: str) -> tuple[str, str]:
    """Return two texts on a line from their first difference to their last one, with a few equal characters around."""
    a, b = map(readable_texts.on_a_line, (a, b))
    start = same_start(a, b)
    end = same_start(a[start:][::-1], b[start:][::-1])
    first = max(0, start - _AROUND)
    return _excerpt(a, first, end), _excerpt(b, first, end)


def _excerpt(text: str, start: int, same: int) -> str:
    """Return a part of a text, with … where something is left out; the last `same` characters are equal."""
    end = min(start + _CUT, len(text) - max(0, same - _AROUND))
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
