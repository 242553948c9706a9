"""The differences between two runs: steps that were added, removed, moved or changed, that have another result, fail
now, or got slower or costlier.  `diff_texts.py` makes the texts of the differences.

If two steps are paired, the steps inside them are aligned in the same way.  `shortest.py` finds the alignment with the
fewest differences; if the runs differ too much for that, `alignment.py` finds an approximate one, level by level.
"""

from __future__ import annotations

from collections import Counter, namedtuple

from localops.errors import ConfigError
from localops.reading import facts
from localops.reading.alignment import align
from localops.reading.common_ids import changed
from localops.reading.diff_texts import Texts, one_texts, pair_texts
from localops.reading.made_up import loosely
from localops.reading.parallel import in_order_of
from localops.reading.shortest import Shortest
from localops.reading.steps import Step, Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import NamedTuple

    from localops.journal.stored import Source
    from localops.reading.common_ids import Call
    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot

    class Line(NamedTuple):
        """A step of one run, or a pair of steps, and how they differ, in words of MARKS."""

        depth: int
        a: Step | None
        b: Step | None
        step: Step
        """The step of the second run, or if there is none, of the first."""
        marks: tuple[str, ...]
        moved: str | None = None
        """For a moved step, whether it is earlier or later in the second run."""

    Pair = tuple[Step | None, Step | None, str | None]
else:
    Line = namedtuple("Line", "depth a b step marks moved", defaults=[None])


MARKS = ("added", "removed", "moved", "changed", "follows", "failed", "fixed", "result", "slower", "costlier")
# An LLM call whose prompt differs only in results of earlier steps, or in parts that differed in an earlier prompt.
ONLY_FOLLOWS = ("follows",)
# Differences that can cause differences of later steps: at the beginning of a step, and at its end.
_BEGINNINGS, _ENDS = frozenset(("added", "removed", "moved", "changed")), frozenset(("failed", "fixed", "result"))
# Marks of steps that are not the same.
_UNLIKE = frozenset(("moved", "changed", "follows", "failed", "fixed", "result"))
# A step is counted under the first of these marks that it has.
_SORTS = ("added", "removed", "moved", "changed", "failed", "fixed", "result", "follows")
SAME = "same"
# Indexes of a step's keys: one for kind, name and input, one that includes the result.
_GIVEN, _ENDED = 1, 2
# A step is slower if it takes 1.5 times as long and 0.1 seconds more; smaller changes are noise.
_SLOWER, _SLOWER_NS = 1.5, 100_000_000
# A step is costlier if it costs a tenth more, and at least a hundredth of a cent more.
_DEARER, _DEARER_NANO = 1.1, 100_000


class RunDiff:
    """The differences between two runs."""

    def __init__(self, a: Steps, b: Steps) -> None:
        self._a, self._b = a, b
        self.is_cut = a.is_cut or b.is_cut
        self.is_exact = True  # no alignment has fewer differences
        self._shortest = Shortest()
        # Parts of prompts that already differed; a conversation repeats them in each later call.
        self._known: set[tuple[int, int]] = set()
        # The ids and times, received by both runs, in which steps differ, by the steps' ids.
        self._kept: dict[str, frozenset[str]] = {}
        self.lines = self._with_common_ids(list(self._lines(a.roots, b.roots)))
        self.counts = dict.fromkeys(MARKS, 0) | Counter(mark for line in self.lines for mark in line.marks)
        self.same = sum(bool(line.a and line.b and _UNLIKE.isdisjoint(line.marks)) for line in self.lines)
        self.same_but_ids = sum(map(self.is_same_but_ids, self.lines))

    @staticmethod
    def is_same_but_ids(line: Line) -> bool:
        """Return whether two steps differ only in ids or times that each run creates itself."""
        a, b = line.a, line.b
        return a is not None and b is not None and _UNLIKE.isdisjoint(line.marks) and a.exact != b.exact

    def kept(self, line: Line) -> frozenset[str]:
        """Return the ids and times in which two steps differ and which both runs received."""
        return self._kept.get(line.step.id, frozenset())

    def _with_common_ids(self, lines: list[Line]) -> list[Line]:
        """Mark steps as changed if they differ only in ids and times, of which both runs received some."""
        places = [
            place
            for place, (_, a, b, _, marks, _) in enumerate(lines)
            if a is not None and b is not None and a.values != b.values and "changed" not in marks
            # Most ids occur in only one run.
            if self._a.had_one_of(b.values) or self._b.had_one_of(a.values)
        ]
        for number, ids in changed([self._calls(lines[place]) for place in places]).items():
            line = lines[places[number]]
            assert line.a is not None
            assert line.b is not None
            values = [line.a.values[one] for one, _ in ids if one is not None]
            values += [line.b.values[other] for _, other in ids if other is not None]
            self._kept[line.step.id] = frozenset(values)
            marks = {*line.marks, "changed"}
            lines[places[number]] = line._replace(marks=tuple(mark for mark in MARKS if mark in marks))
        return lines

    def _calls(self, line: Line) -> tuple[Call, Call]:
        assert line.a is not None
        assert line.b is not None
        return self._a.call(line.a), self._b.call(line.b)

    def _lines(self, a: Sequence[Step], b: Sequence[Step]) -> Iterator[Line]:
        differs = False  # whether an earlier step differs
        stack = [(0, *pair) for pair in reversed(self._pair(a, b))]
        while stack:
            depth, one, other, moved = stack.pop()
            step = other or one
            assert step is not None
            own = self._marks(one, other, after_difference=differs)
            marks = (*(("moved",) if moved else ()), *own)
            # The result of a step that contains others comes after their results.
            differs = differs or not _BEGINNINGS.isdisjoint(marks) or bool(not step.inside and _ENDS & {*marks})
            yield Line(depth, one, other, step, marks, moved)
            pairs = self._pair(one.inside if one else [], other.inside if other else [])
            stack += [(depth + 1, *pair) for pair in reversed(pairs)]

    def _pair(self, a: Sequence[Step], b: Sequence[Step]) -> list[Pair]:
        """Return the steps of both runs in order, paired where they match, and how they moved."""
        b = in_order_of(a, b)
        indexes = self._shortest.pairs(a, b)
        if indexes is None:
            self.is_exact = False
            indexes = align([step.keys for step in a], [step.keys for step in b]).pairs
        pairs: list[Pair] = []
        i = j = 0
        for one, other in [*indexes, (len(a), len(b))]:
            pairs += [(step, None, None) for step in a[i:one]]
            pairs += [(None, step, None) for step in b[j:other]]
            if one < len(a):
                pairs.append((a[one], b[other], None))
            i, j = one + 1, other + 1
        return _with_moved(pairs)

    def _marks(self, a: Step | None, b: Step | None, *, after_difference: bool) -> Iterator[str]:
        if a is None or b is None:
            yield "added" if a is None else "removed"
            return
        if a.given != b.given and not self._differ_in_one_id(a, b):
            follows = a.kind == "llm" and a.asked != b.asked and self._is_known(a, b) and after_difference
            if not follows or a.model != b.model:
                yield "changed"
            if follows:
                yield "follows"
        if a.failed != b.failed:
            yield "failed" if b.failed else "fixed"
        elif a.result != b.result:
            yield "result"
        if _is_slower(a, b):
            yield "slower"
        if a.cost is not None and b.cost is not None and b.cost >= max(a.cost * _DEARER, a.cost + _DEARER_NANO):
            yield "costlier"

    def _differ_in_one_id(self, a: Step, b: Step) -> bool:
        """Return whether two tool calls' arguments differ only in an id, which looks like a name in one of them."""
        if a.kind != "tool" or not a.has_all_arguments or not b.has_all_arguments:
            return False
        (one, ids), (other, other_ids) = (
            loosely(steps.compared(step.arguments, is_argument=True)) for steps, step in ((self._a, a), (self._b, b))
        )
        return one == other and ids != other_ids

    def _is_known(self, a: Step, b: Step) -> bool:
        """Return whether the prompts of two LLM calls differ only in earlier inputs or results."""
        if len(a.own) != len(b.own):
            return False
        differing = {(one, other) for one, other in zip(a.own, b.own, strict=True) if one != other}
        is_known = differing <= self._known
        self._known |= differing
        return is_known

    def sorts(self) -> Iterator[tuple[str, int, dict[str, int]]]:
        """Yield each sort with the number of its steps, each counted once, and how many of them have further marks."""
        lines: dict[str, list[Line]] = {sort: [] for sort in (*_SORTS, SAME)}
        for line in self.lines:
            lines[next((sort for sort in _SORTS if sort in line.marks), SAME)].append(line)
        for sort, these in lines.items():
            others = Counter(mark for line in these for mark in line.marks if mark not in (sort, "follows"))
            if sort == "added":
                others["failed"] = sum(line.step.failed for line in these)
            if these:
                yield sort, len(these), {mark: others[mark] for mark in MARKS if others[mark]}

    def cost_parts(self) -> list[tuple[str, str | None, int]]:
        """Return the cost differences of the steps, largest first: causes, their models, and nano-dollars.

        Differences that the steps do not explain are left out.
        """
        parts: Counter[tuple[str, str | None]] = Counter()
        for line in self.lines:
            before, now = ((step.cost or 0 if step else 0) for step in (line.a, line.b))
            if before != now:
                parts[_cause(line, now - before)] += now - before
        known = [(cause, model, nano) for (cause, model), nano in parts.items() if nano]
        return sorted(known, key=lambda part: -abs(part[2]))

    def texts(self, line: Line, a: Source, b: Source) -> Texts:
        """Return the texts of a difference: inputs and results of two steps, or of one."""
        if line.a is None or line.b is None:
            return one_texts(a if line.b is None else b, line.step)
        return pair_texts((a, self._a, line.a), (b, self._b, line.b), line.marks, self.kept(line))

    @property
    def differing(self) -> Iterator[Line]:
        """The lines with a difference of their own, each preceded by the steps that contain it."""
        above: list[Line] = []
        shown = 0  # how many of `above` were yielded
        for line in self.lines:
            del above[line.depth :]
            shown = min(shown, line.depth)
            above.append(line)
            if line.marks and line.marks != ONLY_FOLLOWS:
                yield from above[shown:]
                shown = len(above)


def _with_moved(pairs: list[Pair]) -> list[Pair]:
    """Join each removed step with an added one that has the same input.

    Of several, one with the same result is preferred. A moved step takes its place in the second run.
    """
    removed: dict[int, list[int]] = {}
    for place, (one, other, _) in enumerate(pairs):
        if one is not None and other is None:
            removed.setdefault(one.keys[_GIVEN], []).append(place)
    gone: set[int] = set()
    moved: dict[int, Pair] = {}
    for place, (one, other, _) in enumerate(pairs):
        if one is None and other is not None and (places := removed.get(other.keys[_GIVEN])):
            before = min(places, key=lambda each: _ends_unlike(pairs[each][0], other))
            places.remove(before)
            gone.add(before)
            moved[place] = (pairs[before][0], other, "earlier" if place < before else "later")
    if not moved:
        return pairs
    return [moved.get(place, pair) for place, pair in enumerate(pairs) if place not in gone]


def _ends_unlike(a: Step | None, b: Step) -> bool:
    return a is None or a.keys[_ENDED] != b.keys[_ENDED]


def _cause(line: Line, nano: int) -> tuple[str, str | None]:
    """Return why a step costs more or less; if the model changed, also its name."""
    a, b = line.a, line.b
    if a is None or b is None:
        return ("added steps" if a is None else "removed steps"), None
    if a.model != b.model:
        return "model", b.model or "no model"
    more = 1 if nano > 0 else -1
    for what, before, now in (("prompts", a.tokens_in, b.tokens_in), ("answers", a.tokens_out, b.tokens_out)):
        if ((now or 0) - (before or 0)) * more > 0:
            return f"{'longer' if nano > 0 else 'shorter'} {what}", None
    return "other prices", None


def _is_slower(a: Step, b: Step) -> bool:
    """Return whether a step itself got slower: a slow tool call does not mark the steps that contain it."""
    own_a, own_b = a.own_ns, b.own_ns
    if own_a is None or own_b is None or (b.took_ns or 0) < (a.took_ns or 0) + _SLOWER_NS:
        return False
    return own_b >= max(own_a * _SLOWER, own_a + _SLOWER_NS)


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
        **facts.totals(seen.totals, at_least=seen.cost_at_least),
    }


def refuse_twice(runs: Iterable[tuple[str, bytes]]) -> None:
    """Raise ConfigError if a run, given by project and session, occurs twice, as it does not differ from itself."""
    seen: set[tuple[str, bytes]] = set()
    for run in runs:
        if run in seen:
            raise ConfigError(
                f"invalid runs: expected different ones, got {facts.full_id(run[1])} twice; "
                "give the ids of others, as `localops sessions` lists them"
            )
        seen.add(run)


def diff_facts(diff: RunDiff, a: Source, b: Source, limit: int) -> Facts:
    """Return the differences, at most `limit` lines; 0 means all."""
    lines = [line for line in diff.lines if line.marks]
    shown = lines[: limit or None]
    return {
        "counts": {**diff.counts, "same": diff.same, "same_but_ids": diff.same_but_ids},
        "shortest": diff.is_exact,
        "cut": diff.is_cut,
        "cost_parts": [
            {"cause": cause, "model": model, **facts.money(nano)} for cause, model, nano in diff.cost_parts()
        ],
        "differences": [_line_facts(line, diff.texts(line, a, b)) for line in shown],
        "more": len(lines) - len(shown),
    }


def _line_facts(line: Line, texts: Texts) -> Facts:
    return {
        "marks": list(line.marks),
        "depth": line.depth,
        "kind": line.step.kind,
        "name": line.step.label,
        **({"moved": line.moved} if line.moved else {}),
        "a": _step_facts(line.a, texts, 0),
        "b": _step_facts(line.b, texts, 1),
    }


def _step_facts(step: Step | None, texts: Texts, side: int) -> Facts | None:
    if step is None:
        return None
    took = step.took_ns
    pairs = {"given": texts.given, "result": texts.result}
    lines = {"input": texts.input, "output": texts.output}
    return {
        "id": step.id,
        "model": step.model,
        "seconds": None if took is None else took / 1e9,
        "finished": step.finished,
        "failed": step.failed,
        "error": step.error,
        "tokens_in": step.tokens_in,
        "tokens_out": step.tokens_out,
        **facts.money(step.cost),
        "steps": step.size,
        **{name: both[side] for name, both in pairs.items() if both is not None},
        **{name: text for name, text in lines.items() if text is not None},
    }
