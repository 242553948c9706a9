"""Align several runs in one table: each row has matching steps, and groups the runs with equal steps.

The run with most steps in common with the others comes first; the others are aligned with it one by one, in the way of
`run_diff.py`.  A run stands out if only it ended in its state, or if its differences to each other run are at least
twice as many as the differences between the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, replace
from itertools import combinations, islice

from localops import output
from localops.reading import analytics, facts, previews
from localops.reading.alignment import align
from localops.reading.common_ids import changed
from localops.reading.diff_texts import pair_texts
from localops.reading.parallel import in_order_of
from localops.reading.shortest import Shortest, unlikeness
from localops.reading.steps import MOST, Step, Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from typing import NamedTuple

    from localops.journal.stored import Source
    from localops.reading.alignment import Pair
    from localops.reading.common_ids import Call
    from localops.reading.facts import Facts

    class Lines(NamedTuple):
        """What the table shows for a step: its row, and its input and result on one line each."""

        seq: int
        input: str
        output: str
        billed: bool | None

    Level = list[tuple[list[Step | None], frozenset[int]]]
else:
    Lines = namedtuple("Lines", "seq input output billed")

# Runs that can have a letter.
MOST_RUNS = 26
# Rows that explain how the runs differ.
KEY_ROWS = 6
_PAIR = 2
# A row changes the cost notably if it does so by more than this share of the cost of the more expensive run.
_NOTABLE = 0.1
# Runs that a sentence names; if there are more, it has their number.
_NAMED = 4
# Runs of which one can stand out.
_FEWEST = 3
# The index of a step's key for kind, name and input.
_GIVEN = 1
# Characters of an error to show.
_ERROR = 2_000


@dataclass(frozen=True, eq=False)
class Row:
    """The matching steps of all runs; None for a run without one."""

    depth: int
    steps: tuple[Step | None, ...]
    # The group number of each run; the runs in a group did the same.
    groups: tuple[int, ...]
    # The runs in which the step is in another place.
    moved: frozenset[int]

    @property
    def step(self) -> Step:
        """The first step."""
        return next(step for step in self.steps if step is not None)


@dataclass
class Run:
    """A run to compare: its steps, and what the table shows for each."""

    source: Source
    steps: Steps
    lines: dict[str, Lines]
    state: str

    @classmethod
    def read(cls, source: Source, session: bytes, state: str, most: int = MOST) -> Run:
        """Read a run, at most `most` events."""
        events = list(islice(analytics.events(source, session), most + 1))
        work = [event for event in events[:most] if event["kind"] != "agent"]
        lines = {
            event["id"]: Lines(
                event["seq"],
                previews.line(event["kind"], event),
                previews.result(event["kind"], event),
                event.get("billed"),
            )
            for event in work
        }
        return cls(source, Steps(work, is_cut=len(events) > most), lines, state)


class RunsTable:
    """Several runs, aligned."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.is_cut = any(run.steps.is_cut for run in runs)
        self._order = self._nearest_first()
        self._searches = [Shortest() for _ in runs]
        # Parts of prompts that a run already sent; a conversation repeats them in each later call.
        self._sent: list[set[int]] = [set() for _ in runs]
        # The ids and times, received by both runs, in which the steps of a row differ.
        self._kept: dict[Row, frozenset[str]] = {}
        self.rows = self._with_common_ids(list(self._rows()))
        self.differing = [row for row in self.rows if len(set(row.groups)) > 1]
        self.odd, self._is_odd_state = self._odd_one()

    def _nearest_first(self) -> list[int]:
        """Return the indexes of the runs, sorted by the number of steps in common with the others, most first."""
        given = [Counter(step.keys[_GIVEN] for step in run.steps.all) for run in self.runs]
        shared = [0] * len(given)
        for i, j in combinations(range(len(given)), 2):
            common = (given[i] & given[j]).total()
            shared[i] += common
            shared[j] += common
        return sorted(range(len(given)), key=lambda run: -shared[run])

    def _rows(self) -> Iterator[Row]:
        stack = [(0, *row) for row in reversed(self._level([run.steps.roots for run in self.runs]))]
        while stack:
            depth, steps, moved = stack.pop()
            keys: list[Hashable] = [
                None if step is None else (run in moved, *self._done(run, step)) for run, step in enumerate(steps)
            ]
            numbers: dict[Hashable, int] = {}
            yield Row(depth, tuple(steps), tuple(numbers.setdefault(key, len(numbers)) for key in keys), moved)
            inside = self._level([step.inside if step else [] for step in steps])
            stack += [(depth + 1, *row) for row in reversed(inside)]

    def _with_common_ids(self, rows: list[Row]) -> list[Row]:
        """Split groups whose steps differ in ids and times that both runs received."""
        pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            steps = [(run, step) for run, step in enumerate(row.steps) if step is not None]
            first, values = steps[0][0], steps[0][1].values
            for run, step in steps[1:]:
                is_known = self.runs[first].steps.had_one_of(step.values) or self.runs[run].steps.had_one_of(values)
                if step.values != values and is_known:
                    pairs[first, run].append(place)
        # By row and run, the values that differ from the first run.
        differing: dict[int, dict[int, tuple[str, ...]]] = defaultdict(dict)
        kept: dict[int, set[str]] = defaultdict(set)
        for (a, b), places in pairs.items():
            calls = [(self._call(rows[place], a), self._call(rows[place], b)) for place in places]
            for number, ids in changed(calls).items():
                row = rows[places[number]]
                one, other = self._step(row, a).values, self._step(row, b).values
                new = tuple(other[place] for _, place in ids if place is not None)
                differing[places[number]][b] = new
                kept[places[number]].update(new, (one[place] for place, _ in ids if place is not None))
        for place, of_runs in differing.items():
            row = rows[place]
            numbers: dict[Hashable, int] = {}
            keys = [(group, of_runs.get(run)) for run, group in enumerate(row.groups)]
            rows[place] = replace(row, groups=tuple(numbers.setdefault(key, len(numbers)) for key in keys))
            self._kept[rows[place]] = frozenset(kept[place])
        return rows

    def _call(self, row: Row, run: int) -> Call:
        return self.runs[run].steps.call(self._step(row, run))

    def _done(self, run: int, step: Step) -> Iterator[Hashable]:
        """Yield what a run did in a step, to compare it with other runs."""
        yield step.failed
        yield step.result
        if step.kind != "llm":
            yield step.given
            return
        # Of a prompt, only new parts that are not from an earlier answer or a tool.
        yield step.model
        yield tuple(part for part in step.own if part not in self._sent[run])
        self._sent[run].update(step.own)

    def _level(self, lists: Sequence[Sequence[Step]]) -> Level:
        """Return the steps of one level in rows: those of the first run, then those of each other run."""
        rows: list[list[Step | None]] = []
        known: list[Step] = []  # for each row, the step of the first run with one
        for run in self._order:
            # Parallel steps have no fixed order: use that of the first run.
            steps = in_order_of(lists[self._order[0]], lists[run])
            if not steps:
                continue
            pairs = self._searches[run].pairs(known, steps) if known else []
            if pairs is None:
                pairs = align([step.keys for step in known], [step.keys for step in steps]).pairs
            pairs = _best_rows(pairs, known, steps, [len(row) - row.count(None) for row in rows])
            new_rows: list[list[Step | None]] = []
            new_known: list[Step] = []
            i = j = 0
            for one, other in [*pairs, (len(known), len(steps))]:
                new_rows += rows[i:one]
                new_known += known[i:one]
                for step in steps[j:other]:
                    new_rows.append([step if place == run else None for place in range(len(lists))])
                    new_known.append(step)
                if one < len(known):
                    rows[one][run] = steps[other]
                    new_rows.append(rows[one])
                    new_known.append(known[one])
                i, j = one + 1, other + 1
            rows, known = new_rows, new_known
        return _with_moved(rows, known)

    # Which run stands out

    def _odd_one(self) -> tuple[int | None, bool]:
        """Return the run that stands out, or None, and whether it stands out by its state."""
        many = len(self.runs)
        if many < _FEWEST:
            return None, False
        states = Counter(run.state for run in self.runs)
        if sorted(states.values()) == [1, many - 1]:
            return next(place for place, run in enumerate(self.runs) if states[run.state] == 1), True
        differences = [[0] * many for _ in range(many)]
        for groups, times in Counter(row.groups for row in self.differing).items():
            for i, j in combinations(range(many), 2):
                differences[i][j] += times * (groups[i] != groups[j])
                differences[j][i] = differences[i][j]
        for one in range(many):
            others = [place for place in range(many) if place != one]
            between = max(differences[i][j] for i, j in combinations(others, 2))
            if min(differences[one][place] for place in others) >= max(1, 2 * between):
                return one, False
        return None, False

    def is_alone(self, row: Row, run: int) -> bool:
        """Return whether a run differs in a row from all others, which all did the same."""
        others = {group for place, group in enumerate(row.groups) if place != run}
        return len(others) == 1 and row.groups[run] not in others

    def head(self) -> str:
        """Return a sentence about which run differs from the others."""
        rows, differing = len(self.rows), len(self.differing)
        if self.odd is None:
            states = {run.state for run in self.runs}
            ends = f"; they ended differently ({self._ends()})" if len(states) > 1 else ""
            of = output.counted(rows, "event")
            if not differing:
                return f"The {len(self.runs)} runs did the same: {of}{ends}"
            if len(self.runs) == _PAIR:
                return f"B differs from A in {differing} of {of}{ends}"
            return f"No run stands out: {differing} of {of} {_differ(differing)}{ends}"
        odd = letter(self.odd)
        alone = sum(self.is_alone(row, self.odd) for row in self.differing)
        if self._is_odd_state:
            some = [place for place in range(len(self.runs)) if place != self.odd]
            others = letters(some) if len(some) <= _NAMED else "the others"
            other = next(run.state for place, run in enumerate(self.runs) if place != self.odd)
            how = f"it {_ended(self.runs[self.odd].state)}, while {others} {_ended(other, many=True)}"
        elif alone == differing:
            how = "the others did the same"
        else:
            how = "at least twice as much as they do from one another"
        kinds = Counter(self._kind(row, self.odd) for row in self.differing)
        parts = [f"in {kinds[kind]} {kind[1]}" for kind in sorted(kinds)]
        of = f"{differing} of {output.counted(rows, 'event')} {_differ(differing)}"
        return f"{odd} differs from the others: {how}" + (f"; {of}: {', '.join(parts)}" if parts else "")

    def _kind(self, row: Row, odd: int) -> tuple[int, str]:
        """Return in what way the runs differ in a row, and its place among those of a sentence about the odd run."""
        if self.is_alone(row, odd):
            return 0, f"only {letter(odd)} is different"
        if row.groups.count(row.groups[odd]) == 1:
            return 1, "the others differ from one another too"
        # Of three runs, the odd one and another are alike, so the third is alone.
        alone = [run for run in range(len(self.runs)) if len(self.runs) == _FEWEST and self.is_alone(row, run)]
        return 2, f"only {letter(alone[0])} is different" if alone else f"{letter(odd)} did the same as another run"

    def _ends(self) -> str:
        places: dict[str, list[int]] = {}
        for place, run in enumerate(self.runs):
            places.setdefault(run.state, []).append(place)
        return ", ".join(
            f"{letters(some) if len(some) <= _NAMED else f'{len(some)} runs'}: {state}"
            for state, some in places.items()
        )

    def key_rows(self) -> list[Row]:
        """Return the few rows that best show how the runs differ, in order."""
        # Leave out rows that others repeat: a tool that a model asks for has its own row, so have steps inside another.
        telling = [row for row in self.differing if not self._is_repeated(row)] or self.differing
        if self.odd is not None:
            # Leave out rows in which the odd run did the same as another one: they do not show how it differs.
            telling = [row for row in telling if row.groups.count(row.groups[self.odd]) == 1] or telling

        def rank(row: Row) -> int:
            # A model's answer explains less than what was done afterwards.
            spoken = 2 if row.step.kind == "llm" else 0
            if self.odd is None or self.is_alone(row, self.odd):
                return spoken
            return spoken + (1 if row.groups.count(row.groups[self.odd]) == 1 else 2)

        first = [row for row in [self._costliest()] if row]
        ranked = [*first, *(row for row in sorted(telling, key=rank) if row not in first)][:KEY_ROWS]
        return [row for row in self.differing if row in ranked]

    def _costliest(self) -> Row | None:
        """Return the row of two runs that changed the cost most; None if no row changed it notably."""
        if len(self.runs) != _PAIR or not self.differing:
            return None
        row = max(self.differing, key=lambda row: abs(_cost_change(row)))
        spent = max(sum(_cost(row.steps[run]) for row in self.rows) for run in range(_PAIR))
        return row if abs(_cost_change(row)) > spent * _NOTABLE else None

    def _is_repeated(self, row: Row) -> bool:
        steps = [(run, step) for run, step in zip(self.runs, row.steps, strict=True) if step is not None]
        if steps[0][1].kind == "llm":
            return any(run.lines[step.id].output.startswith("→") for run, step in steps)
        return any(step.inside for _, step in steps)

    # What is shown of a row

    def texts(self, row: Row) -> list[tuple[list[int], str]]:
        """Return the runs of each group, and a text of what differs from the other groups; empty without a step."""
        places: dict[int, list[int]] = {}
        for place, group in enumerate(row.groups):
            places.setdefault(group, []).append(place)
        present = {group: some for group, some in places.items() if row.steps[some[0]] is not None}
        shown = dict.fromkeys(places, "") | self._shown(row, present)
        return [(some, shown[group]) for group, some in places.items()]

    def _shown(self, row: Row, groups: dict[int, list[int]]) -> dict[int, str]:
        steps = {group: self._step(row, some[0]) for group, some in groups.items()}
        runs = {group: self.runs[some[0]] for group, some in groups.items()}
        lines = {group: runs[group].lines[step.id] for group, step in steps.items()}
        kept = self._kept.get(row, frozenset())
        what = "input" if kept else _what_differs(list(steps.values()))
        shown = {group: _SHOWN[what](lines[group], step) for group, step in steps.items()}
        # The last message of a prompt may be the same while another one differs.
        is_unclear = what == "input" and row.step.kind == "llm"
        if what in ("input", "output") and (is_unclear or len(set(shown.values())) < len(shown)):
            shown |= self._excerpts(runs, steps, "changed" if what == "input" else "result", kept)
        moved = {group for group, some in groups.items() if some[0] in row.moved}
        return {group: f"moved: {text}" if group in moved else text for group, text in shown.items()}

    def _excerpts(
        self, runs: dict[int, Run], steps: dict[int, Step], mark: str, kept: frozenset[str]
    ) -> dict[int, str]:
        """Return the parts of the groups' texts that differ from the first group's."""
        first, *others = steps
        shown: dict[int, str] = {}
        for other in others:
            sides = [(runs[group].source, runs[group].steps, steps[group]) for group in (first, other)]
            texts = pair_texts(sides[0], sides[1], (mark,), kept)
            both = texts.given or texts.result
            if both is not None:
                shown.setdefault(first, both[0])
                shown[other] = both[1]
        return {group: text if mark == "changed" or text[:1] == "→" else f"→ {text}" for group, text in shown.items()}

    @staticmethod
    def _step(row: Row, place: int) -> Step:
        step = row.steps[place]
        assert step is not None
        return step


def _cost(step: Step | None) -> int:
    return (step.cost or 0) if step is not None else 0


def _cost_change(row: Row) -> int:
    one, other = row.steps
    return _cost(other) - _cost(one)


def _what_differs(steps: Sequence[Step]) -> str:
    """Return what differs first between steps: model, input or output; empty if none of them does."""
    if len({step.model for step in steps}) > 1:
        return "model"
    given = {step.own if step.kind == "llm" else step.given for step in steps}
    if len({(step.failed, step.result) for step in steps}) > 1 and (len(given) == 1 or steps[0].kind == "llm"):
        return "output"
    return "input" if len(given) > 1 else ""


def _call(lines: Lines, step: Step) -> str:
    if step.kind == "llm":
        return _result(lines, step)
    result = _result(lines, step) if lines.output or step.failed else ""
    return " ".join(filter(None, (lines.input, result))) or "without arguments"


def _result(lines: Lines, step: Step) -> str:
    if step.failed:
        return f"failed: {step.error}" if step.error else "failed"
    if step.has_no_end:
        return "(no end is recorded)"
    return lines.output if lines.output[:1] == "→" else f"→ {lines.output or '(nothing)'}"


# What to show of a step, by what differs; if only some runs have the step, the whole call.
_SHOWN: dict[str, Callable[[Lines, Step], str]] = {
    "model": lambda _, step: step.model or "no model",
    "input": lambda lines, _: lines.input or "without arguments",
    "output": _result,
    "": _call,
}


def _best_rows(pairs: Sequence[Pair], known: Sequence[Step], steps: Sequence[Step], many: Sequence[int]) -> list[Pair]:
    """Move pairs to neighbouring rows that have steps of more runs, if their input is as similar."""
    better: list[Pair] = []
    for number, (one, other) in enumerate(pairs):
        step = steps[other]
        first = better[-1][0] + 1 if better else 0
        last = pairs[number + 1][0] if number + 1 < len(pairs) else len(known)
        rows = [one] if known[one].given == step.given or step.inside else range(first, last)
        alike = [row for row in rows if known[row].keys[0] == step.keys[0]]
        better.append((max(alike, key=lambda row: (-unlikeness(known[row], step), many[row], row == one)), other))
    return better


def _with_moved(rows: Sequence[list[Step | None]], known: Sequence[Step]) -> Level:
    """Join steps that runs have in different places, in the row that has steps of more runs."""
    places: dict[int, list[int]] = {}
    for place, step in enumerate(known):
        if None in rows[place]:
            places.setdefault(step.keys[_GIVEN], []).append(place)
    moved: dict[int, frozenset[int]] = {}
    gone: set[int] = set()
    for some in places.values():
        for one, other in combinations(sorted(some, key=lambda place: rows[place].count(None)), 2):
            is_apart = all(a is None or b is None for a, b in zip(rows[one], rows[other], strict=True))
            if one in gone or other in gone or not is_apart:
                continue
            gone.add(other)
            here = frozenset(run for run, step in enumerate(rows[other]) if step is not None)
            moved[one] = moved.get(one, frozenset()) | here
            rows[one][:] = [a or b for a, b in zip(rows[one], rows[other], strict=True)]
    return [(row, moved.get(place, frozenset())) for place, row in enumerate(rows) if place not in gone]


def _differ(many: int) -> str:
    return "differs" if many == 1 else "differ"


def _ended(state: str, *, many: bool = False) -> str:
    if state == "Running":
        return "are still running" if many else "is still running"
    return f"ended in {state}"


def letter(place: int) -> str:
    """Return the letter of a run."""
    return chr(ord("A") + place)


def letters(places: Sequence[int]) -> str:
    """Return the letters of runs as in `A, B and C`."""
    *most, last = map(letter, places)
    return f"{', '.join(most)} and {last}" if most else last


# As JSON


def row_facts(table: RunsTable, row: Row) -> Facts:
    """Return a row of the table, with a text of what differs for each group of runs."""
    first = row.step
    is_same = len(set(row.groups)) == 1
    models = dict.fromkeys(step.model or step.label for step in row.steps if step is not None)
    return {
        "depth": row.depth,
        "kind": first.kind,
        "name": " → ".join(models) if first.kind == "llm" else first.label,
        "groups": list(row.groups),
        "moved": sorted(row.moved),
        "texts": [] if is_same else [{"runs": runs, "text": text} for runs, text in table.texts(row)],
        "cells": [_cell(run, step) for run, step in zip(table.runs, row.steps, strict=True)],
    }


def _cell(run: Run, step: Step | None) -> Facts | None:
    if step is None:
        return None
    lines = run.lines[step.id]
    return {
        "seq": lines.seq,
        "input": lines.input,
        "output": lines.output,
        "seconds": None if step.took_ns is None else step.took_ns / 1e9,
        "failed": step.failed,
        "error": step.error and step.error[:_ERROR],
        "finished": step.finished,
        "billed": lines.billed,
        **facts.money(step.cost),
    }


def table_facts(table: RunsTable, rows: Sequence[Row] | None = None) -> Facts:
    """Return the table, with all rows or some; `key` marks the rows that best show how the runs differ."""
    key_rows = table.key_rows()
    return {
        "odd": table.odd,
        "head": table.head(),
        "counts": {"same": len(table.rows) - len(table.differing), "differing": len(table.differing)},
        "rows": [{**row_facts(table, row), "key": row in key_rows} for row in (table.rows if rows is None else rows)],
        "cut": table.is_cut,
    }
