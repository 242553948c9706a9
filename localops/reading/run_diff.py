"""The differences between two runs: steps that were added, removed or changed, that fail now, got slower or dearer.

The steps inside of two that belong together are aligned in turn.  Of all alignments, that with the fewest differences
is taken (`shortest.py`); of runs that differ in too much for that, one with as much in common as can be seen level by
level (`alignment.py`).
"""

from __future__ import annotations

from collections import Counter, namedtuple

from localops.reading import facts, steps
from localops.reading.alignment import align
from localops.reading.shortest import Shortest
from localops.reading.steps import Step, Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NamedTuple

    from localops.journal.stored import Source
    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot

    class Line(NamedTuple):
        """A step of one run, or two that belong together, and how they differ, in words of MARKS."""

        depth: int
        a: Step | None
        b: Step | None
        step: Step
        """That of the second run, or of the first where there is no other."""
        marks: tuple[str, ...]
else:
    Line = namedtuple("Line", "depth a b step marks")


MARKS = ("added", "removed", "changed", "failed", "fixed", "slower", "dearer")
# A step is slower if it takes half as long again, and a tenth of a second more: less is the weather of a machine.
_SLOWER, _SLOWER_NS = 1.5, 100_000_000
# It is dearer if it costs a tenth more, and a hundredth of a cent.
_DEARER, _DEARER_NANO = 1.1, 100_000
# Characters of a difference, and equal ones before it.
_CUT, _AROUND = 240, 40


class RunDiff:
    """The differences between two runs."""

    def __init__(self, a: Steps, b: Steps) -> None:
        self._period_a, self._period_b = a.period, b.period
        self.is_cut = a.is_cut or b.is_cut
        self.is_exact = True  # no alignment has fewer differences
        self._shortest = Shortest()
        self.lines = list(self._lines(a.roots, b.roots))
        self.counts = dict.fromkeys(MARKS, 0) | Counter(mark for line in self.lines for mark in line.marks)
        pairs = [(line.a, line.b) for line in self.lines if line.a and line.b and "changed" not in line.marks]
        self.same = len(pairs)
        # Of the same, how many differ in ids or times that are made up in each run.
        self.same_but_ids = sum(a.exact != b.exact for a, b in pairs)

    def _lines(self, a: Sequence[Step], b: Sequence[Step]) -> Iterator[Line]:
        stack = [(0, one, other) for one, other in reversed(self._paired(a, b))]
        while stack:
            depth, one, other = stack.pop()
            step = other or one
            assert step is not None
            yield Line(depth, one, other, step, tuple(_marks(one, other)))
            pairs = self._paired(one.inside if one else [], other.inside if other else [])
            stack += [(depth + 1, first, second) for first, second in reversed(pairs)]

    def _paired(self, a: Sequence[Step], b: Sequence[Step]) -> list[tuple[Step | None, Step | None]]:
        """Return the steps of both, in their order, those that belong together as one pair."""
        indexes = self._shortest.pairs(a, b)
        if indexes is None:
            self.is_exact = False
            indexes = align([step.keys for step in a], [step.keys for step in b]).pairs
        pairs: list[tuple[Step | None, Step | None]] = []
        i = j = 0
        for one, other in [*indexes, (len(a), len(b))]:
            pairs += [(step, None) for step in a[i:one]]
            pairs += [(None, step) for step in b[j:other]]
            if one < len(a):
                pairs.append((a[one], b[other]))
            i, j = one + 1, other + 1
        return pairs

    def given(self, line: Line, a: Source, b: Source) -> tuple[str, str] | None:
        """Return what two steps were given, around the first difference; None if that has not changed."""
        if "changed" not in line.marks or line.a is None or line.b is None:
            return None
        given_a, given_b = _given(a, line.a), _given(b, line.b)
        return _excerpts(steps.without_ids(given_a, *self._period_a), steps.without_ids(given_b, *self._period_b))

    @property
    def differing(self) -> Iterator[Line]:
        """The lines with a difference, and before each the steps that it is inside of."""
        above: list[Line] = []
        shown = 0  # of those above
        for line in self.lines:
            del above[line.depth :]
            shown = min(shown, line.depth)
            above.append(line)
            if line.marks:
                yield from above[shown:]
                shown = len(above)


def _marks(a: Step | None, b: Step | None) -> Iterator[str]:
    if a is None or b is None:
        yield "added" if a is None else "removed"
        return
    if a.keys[1] != b.keys[1]:
        yield "changed"
    if a.failed != b.failed:
        yield "failed" if b.failed else "fixed"
    if _is_slower(a, b):
        yield "slower"
    if a.cost is not None and b.cost is not None and b.cost >= max(a.cost * _DEARER, a.cost + _DEARER_NANO):
        yield "dearer"


def _is_slower(a: Step, b: Step) -> bool:
    """Return whether a step got slower by itself: a slow tool does not make all that call it slow."""
    own_a, own_b = a.own_ns, b.own_ns
    if own_a is None or own_b is None or (b.took_ns or 0) < (a.took_ns or 0) + _SLOWER_NS:
        return False
    return own_b >= max(own_a * _SLOWER, own_a + _SLOWER_NS)


# What was given


def _given(source: Source, step: Step) -> str:
    """Return what a step was given, as one line of JSON."""
    from localops.journal import rows, stored
    from localops.reading import analytics

    id = bytes.fromhex(step.id.replace("-", ""))
    began, ended = (stored.one(source, id, phase) for phase in (rows.OPEN, rows.DONE))
    row = ended or began
    return steps.given_text(analytics.plain(row, began if ended else None)) if row else ""


def _excerpts(a: str, b: str) -> tuple[str, str]:
    """Return two texts around their first difference."""
    # By bisection, because slices are compared in C, and prompts are long.
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    start = max(0, low - _AROUND)
    return _excerpt(a, start), _excerpt(b, start)


def _excerpt(text: str, start: int) -> str:
    """Return a part of a text, marked where something is left out."""
    end = start + _CUT
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


# As JSON


def run_facts(project: str, seen: Snapshot) -> Facts:
    """Return a run and its totals."""
    return {
        "session_id": facts.full_id(seen.id),
        "project": project,
        "name": seen.story.name,
        "state": seen.standing.state,
        "reason": seen.standing.reason,
        **facts.span(seen.totals.first_ns, seen.totals.last_ns, seen.until_ns),
        "at_least": seen.is_cut_off,
        "metadata_only": seen.story.metadata_only,
        **facts.totals(seen.totals, open_calls=seen.open_calls > 0),
    }


def diff_facts(diff: RunDiff, a: Source, b: Source, limit: int) -> Facts:
    """Return the differences, up to `limit` lines of them; 0 for all."""
    lines = [line for line in diff.lines if line.marks]
    shown = lines[: limit or None]
    return {
        "counts": {**diff.counts, "same": diff.same, "same_but_ids": diff.same_but_ids},
        "shortest": diff.is_exact,
        "cut": diff.is_cut,
        "differences": [_line_facts(line, diff.given(line, a, b)) for line in shown],
        "more": len(lines) - len(shown),
    }


def _line_facts(line: Line, given: tuple[str, str] | None) -> Facts:
    given_a, given_b = given or (None, None)
    return {
        "marks": list(line.marks),
        "depth": line.depth,
        "kind": line.step.kind,
        "name": line.step.label,
        "a": _step_facts(line.a, given_a),
        "b": _step_facts(line.b, given_b),
    }


def _step_facts(step: Step | None, given: str | None) -> Facts | None:
    if step is None:
        return None
    took = step.took_ns
    return {
        "id": step.id,
        "model": step.model,
        "seconds": None if took is None else took / 1e9,
        "failed": step.failed,
        "error": step.error,
        "tokens_in": step.tokens_in,
        "tokens_out": step.tokens_out,
        **facts.money(step.cost),
        "steps": step.size,
        **({} if given is None else {"given": given}),
    }
