"""Check the figures of a run against limits, some of them relative to a baseline: a small file or another run.

If a figure is only a lower bound, the check fails and gives the reason.  `localops check` and the pytest fixture use
the same rules.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, namedtuple
from decimal import Decimal

from localops import host, output
from localops.errors import ConfigError
from localops.reading import common_ids, facts, tool_order, uncounted
from localops.reading.alignment import align
from localops.reading.calls import digest
from localops.reading.common_ids import Call, Id
from localops.reading.made_up import loosely
from localops.reading.sentences import plain
from localops.reading.uncounted import Uncounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NamedTuple

    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot
    from localops.reading.steps import Step, Steps
    from localops.reading.tool_order import Node

    class Tool(NamedTuple):
        """A tool call in a sequence: its name and the digest of its arguments."""

        name: str
        arguments: str
        loose: str = ""
        """A digest of the arguments with texts as long as an id replaced, and the number of ids; empty without any."""
        ids: tuple[Id, ...] = ()
        """The ids and times in its arguments, and which earlier step provided each."""

    class Measured(NamedTuple):
        """The figures of a run that can be limited, its tool calls, and what the figures lack."""

        session_id: str
        name: str | None
        state: str
        duration_ns: int
        calls: int
        llm_calls: int
        tool_calls: int
        tokens: int
        cost_nano: int
        cost_at_least: str | None
        """Why the cost is only a lower bound; None if it is exact."""
        lacks_price: bool
        """Whether the reasons include a model without a price."""
        tokens_at_least: str | None
        duration_at_least: str | None
        """Why the run may have lasted longer; None if the duration is exact."""
        errors: int
        tools: list[Tool]
        incomplete: str | None
        """Why the figures are incomplete; None if they are complete."""
        given: tuple[str, ...] = ()
        """The beginning of each tool call's arguments; empty for a baseline file."""
        tree: list[Node] | None = None
        """When its steps began and ended; None for a baseline file in which no steps overlapped."""
        calls_made: Sequence[tuple[Call, Step]] = ()
        """The tool calls themselves; empty for a baseline file."""

    class Verdict(NamedTuple):
        """A rule and whether a run passes it, with the run's figure, the limit and the baseline's figure as text."""

        rule: str
        passed: bool
        value: str
        limit: str
        baseline: str | None
        reason: str | None
else:
    Tool = namedtuple("Tool", "name arguments loose ids", defaults=["", ()])
    Measured = namedtuple(
        "Measured",
        "session_id name state duration_ns calls llm_calls tool_calls tokens cost_nano cost_at_least lacks_price "
        "tokens_at_least duration_at_least errors tools incomplete given tree calls_made",
        defaults=[(), None, ()],
    )
    Verdict = namedtuple("Verdict", "rule passed value limit baseline reason")

FORMAT = 4  # the version of a baseline file
_LONGEST_VALUE = 60  # terminal cells of a differing argument
_SAVE = "write it with `localops check --save`"
_FIGURES = ("duration_ns", "calls", "llm_calls", "tool_calls", "tokens", "cost_nano", "errors")
_SECONDS = {"ms": Decimal("0.001"), "": Decimal(1), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_MOST_IDS = 50  # per call, in a baseline file
# Differing tool calls to name.
_MOST_NAMES = 5


# Measuring


def measure(seen: Snapshot, steps: Steps, *, waiting: int = 0) -> Measured:
    """Return the figures of a run; `waiting` rows of its project are not in them yet."""
    totals, standing = seen.totals, seen.standing
    open_calls = output.counted(seen.open_calls, "call never ended", "calls never ended") if seen.open_calls else None
    calls = _uncounted(steps) if totals.unpriced else []
    not_counted = plain(uncounted.cost_of(uncounted.of(calls))) if calls else None
    # For a long session, only the first steps are known.
    without_price = max(0, totals.unpriced - len(calls))
    calls_made = [(steps.call(step), step) for step in steps.tools]
    unpriced = f"no price for {output.counted(without_price, 'call')}" if without_price else None
    return Measured(
        session_id=facts.full_id(seen.id),
        name=seen.story.name,
        state=standing.state,
        duration_ns=max(0, seen.until_ns - totals.first_ns),
        calls=totals.llms + totals.tools,
        llm_calls=totals.llms,
        tool_calls=totals.tools,
        tokens=totals.tokens_in + totals.tokens_out,
        cost_nano=totals.cost,
        cost_at_least=", ".join(filter(None, (unpriced, not_counted, open_calls))) or None,
        lacks_price=without_price > 0,
        tokens_at_least=open_calls,
        duration_at_least=_why_longer(seen),
        # A call that failed without an error, or a program that exited with a code, also counts as an error.
        errors=totals.errors or totals.failed or int(standing.state == "Failure"),
        tools=[
            Tool(step.name, tool_order.hex64(step.given), _loose(steps, step), tuple(call.ids[:_MOST_IDS]))
            for call, step in calls_made
        ],
        incomplete=_incomplete(seen, steps, waiting),
        given=tuple(steps.compared(step.arguments, is_argument=True) for step in steps.tools),
        tree=tool_order.tree(steps),
        calls_made=calls_made,
    )


def _why_longer(seen: Snapshot) -> str | None:
    """Return why a run may have taken longer than its rows show; None if it did not."""
    if seen.story.lacks_beginning:
        return "its first row is not here"
    return "it has no end" if seen.is_cut_off else "it is still running" if seen.is_running else None


def _loose(steps: Steps, step: Step) -> str:
    """Return `Tool.loose` for the arguments of a step."""
    if not step.has_all_arguments:
        return ""
    text = steps.compared(step.arguments, is_argument=True)
    loose, ids = loosely(text)
    return f"{tool_order.hex64(digest(loose))} {ids}" if ids or loose != text else ""


def _uncounted(steps: Steps) -> list[Uncounted]:
    """Return the LLM calls without a cost and without token counts."""
    calls = (step for step in steps.all if step.kind == "llm" and step.end_ns is not None and step.cost is None)
    without = (step for step in calls if step.tokens_in is None and step.tokens_out is None)
    return [Uncounted(step.name, step.model, step.failed) for step in without]


def _incomplete(seen: Snapshot, steps: Steps, waiting: int) -> str | None:
    state, lost = seen.standing.state, seen.story.losses[1]
    if state in ("Running", "Unknown"):
        return "it is still running" if state == "Running" else f"its state is unknown: {seen.standing.reason}"
    if seen.story.lacks_beginning:
        return "its first row is not here"
    if seen.is_cut_off:
        return f"it has no end: {seen.standing.reason}"
    if seen.died and (left_open := seen.open_now):
        inside = left_open[-1]
        return f"a process died inside {inside.kind} {inside.name!r}"
    if lost:
        return f"{output.counted(lost, 'event was', 'events were')} lost"
    if seen.missing_rows is not None:
        return seen.missing_rows
    if waiting:
        return f"{output.counted(waiting, 'row waits', 'rows wait')} in the spill file: run `localops doctor`"
    return "it has too many events to compare its tool calls" if steps.is_cut else None


# Baselines


def write_baseline(path: str, measured: Measured) -> None:
    """Write or replace a baseline file; raise ConfigError if that is impossible."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f"cannot write {name}: the folder {folder} does not exist; create it first")
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory: give a file in it")
    # Replace it atomically, so that a concurrent check never reads an incomplete file.
    with host.Replaced(path) as unfinished, open(unfinished, "x", encoding="utf-8") as file:
        file.write(_baseline_text(measured))


def _baseline_text(measured: Measured) -> str:
    document = {
        "localops_baseline": FORMAT,
        "session_id": measured.session_id,
        "name": measured.name,
        "state": measured.state,
        "totals": {
            **{name: getattr(measured, name) for name in _FIGURES},
            "cost_at_least": measured.cost_at_least,
            "tokens_at_least": measured.tokens_at_least,
        },
        "tools": [_tool_facts(tool) for tool in measured.tools],
        # Without steps, all tool calls came one after another.
        **({"steps": tool_order.lines(tree)} if (tree := measured.tree) and tool_order.has_overlap(tree) else {}),
    }
    return json.dumps(document, indent=1) + "\n"


def _tool_facts(tool: Tool) -> Facts:
    """Return a tool call for a baseline file, with the ids in its arguments if an earlier step provided one."""
    return {
        "name": tool.name,
        "arguments": tool.arguments,
        **({"loose": tool.loose} if tool.loose else {}),
        **({"ids": [" ".join(filter(None, id)) for id in tool.ids]} if any(id.giver for id in tool.ids) else {}),
    }


def _tool(tool: Mapping[str, Any]) -> Tool:
    ids = tuple(Id(*text.split(" ")) for text in tool.get("ids", ()))
    return Tool(tool["name"], tool["arguments"], tool.get("loose", ""), ids)


def read_baseline(path: str) -> Measured:
    """Return the content of a baseline file; raise ConfigError if it cannot be used."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read the baseline {path}: {error.strerror}; {_SAVE}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"invalid baseline {path}: expected JSON ({error}); {_SAVE}") from error
    version = document.get("localops_baseline") if isinstance(document, dict) else None
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        advice = "upgrade localops" if newer else _SAVE
        raise ConfigError(f"invalid baseline {path}: expected localops_baseline {FORMAT}, got {version!r}; {advice}")
    try:
        return _parse_baseline(document)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"invalid baseline {path}: {error!r}; {_SAVE}") from error


def _parse_baseline(document: dict[str, Any]) -> Measured:
    totals = document["totals"]
    figures = {name: totals[name] for name in _FIGURES}
    if any(type(value) is not int for value in figures.values()):
        raise TypeError("expected whole numbers in totals")
    tools = [_tool(tool) for tool in document["tools"]]
    if any(not isinstance(part, str) for tool in tools for part in tool[:3]):
        raise TypeError("expected texts in tools")
    cost_at_least, tokens_at_least = totals.get("cost_at_least"), totals.get("tokens_at_least")
    name = document.get("name")
    return Measured(
        session_id=str(document.get("session_id")),
        name=None if name is None else str(name),
        state=str(document.get("state")),
        **figures,
        cost_at_least=str(cost_at_least) if cost_at_least else None,
        lacks_price=False,  # a missing price in the baseline is no advice for the run
        tokens_at_least=str(tokens_at_least) if tokens_at_least else None,
        duration_at_least=None,  # only runs with an end become a baseline
        tools=tools,
        incomplete=None,
        tree=tool_order.of_lines(document["steps"], tools) if "steps" in document else None,
    )


# Limits


class Limit:
    """A limit: an absolute one such as `12`, or one relative to a baseline such as `+10%` or `+3`."""

    def __init__(self, text: str, units: Mapping[str, int | Decimal], expected: str) -> None:
        match = re.fullmatch(r"(\+?) *\$?(\d+(?:\.\d+)?|\.\d+) *(%|[a-z]*)", text.strip())
        if not match or (match[3] == "%" and not match[1]) or match[3] not in ("%", *units):
            raise ConfigError(f"invalid limit {text!r}: expected {expected}")
        self.text = text.strip()
        self.is_relative = bool(match[1])
        self._amount = Decimal(match[2])
        self._unit = None if match[3] == "%" else units[match[3]]
        if self._unit == 1 and self._amount % 1:
            raise ConfigError(f"invalid limit {text!r}: expected {expected}")

    def of(self, base: int) -> int:
        """Return the greatest figure within the limit; `base` is the baseline's figure."""
        if self._unit is None:
            return int(base * (100 + self._amount) / 100)
        return (base if self.is_relative else 0) + int(self._amount * self._unit)


class _Figure:
    """A figure that can be limited: its field in `Measured`, its text, and the units of its limits."""

    def __init__(
        self, field: str, text: Callable[[int], str], units: Mapping[str, int | Decimal], example: str
    ) -> None:
        self.field, self.text = field, text
        self.units, self.expected = units, example


_COUNT = {"": 1}
LIMITS = {
    "max_cost": _Figure("cost_nano", output.money, {"": 10**9}, "US dollars such as 0.05, +0.01 or +10%"),
    "max_duration": _Figure(
        "duration_ns",
        output.short_duration,
        {unit: scale * 10**9 for unit, scale in _SECONDS.items()},
        "a duration such as 90s, +5s or +20%",
    ),
    "max_tokens": _Figure("tokens", output.count, _COUNT, "a whole number such as 5000, +500 or +10%"),
    "max_calls": _Figure("calls", output.count, _COUNT, "a whole number such as 12, +2 or +10%"),
    "max_errors": _Figure("errors", output.count, _COUNT, "a whole number such as 0 or +0"),
}


def limits(**texts: object) -> dict[str, Limit]:
    """Return the passed limits, by the names of LIMITS; raise ConfigError for an invalid one."""
    return {
        name: Limit(_plain(value), LIMITS[name].units, LIMITS[name].expected)
        for name, value in texts.items()
        if value is not None
    }


def _plain(value: object) -> str:
    """Return a limit as text, without the exponent that Python writes for a small float."""
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


# Verdicts


def check(
    run: Measured,
    baseline: Measured | None,
    limits: Mapping[str, Limit],
    *,
    same_tools: bool = False,
    same_arguments: bool = False,
    allow_unpriced: bool = False,
) -> list[Verdict]:
    """Return a verdict for each rule; the first is whether the run has ended and is complete.

    Raise ConfigError without any rule, or if a rule needs a baseline and there is none.
    """
    if not limits and not same_tools and not same_arguments:
        raise ConfigError("no rule is given: give a limit such as --max-cost +10%, or --same-tools")
    relative = [_option(name) for name, limit in limits.items() if limit.is_relative]
    relative += ["--same-tools"] * same_tools + ["--same-arguments"] * same_arguments
    if relative and baseline is None:
        raise ConfigError(f"{relative[0]} needs a baseline: give --baseline, a file or the id of a session")
    verdicts = [Verdict("complete", run.incomplete is None, run.state, "ended", None, run.incomplete)]
    for name, limit in limits.items():
        calls_at_least = {"max_cost": run.cost_at_least, "max_tokens": run.tokens_at_least}.get(name)
        at_least = run.duration_at_least if name == "max_duration" else None if allow_unpriced else calls_at_least
        verdicts.append(_within(name, limit, run, baseline, at_least))
    if baseline is not None:
        rules = [False] * same_tools + [True] * same_arguments
        verdicts += (_compare_tools(run, baseline, with_arguments=with_arguments) for with_arguments in rules)
    return verdicts


def refuse_itself(run: Measured, baseline: Measured) -> None:
    """Raise ConfigError if a session is its own baseline, with which it would pass every rule."""
    if run.session_id == baseline.session_id:
        raise ConfigError(
            f"invalid baseline: expected another run, got {run.session_id} itself; "
            "record a new run, or give an earlier one as the baseline"
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _within(name: str, limit: Limit, run: Measured, baseline: Measured | None, at_least: str | None) -> Verdict:
    figure = LIMITS[name]
    value: int = getattr(run, figure.field)
    base: int | None = None if baseline is None else getattr(baseline, figure.field)
    most = limit.of(base or 0)
    reason = None
    if value > most:
        reason = f"{figure.text(value - most)} over the limit"
    elif at_least:
        priced = "run `localops prices set`, or " if run.lacks_price else ""
        advice = f"; {priced if name == 'max_cost' else ''}give --allow-unpriced" if name != "max_duration" else ""
        reason = f"only a lower bound: {at_least}{advice}"
    return Verdict(
        name,
        reason is None,
        ("at least " if at_least else "") + figure.text(value),
        figure.text(most) + (f" ({limit.text})" if limit.is_relative else ""),
        None if base is None else figure.text(base),
        reason,
    )


def _compare_tools(run_of: Measured, baseline_of: Measured, *, with_arguments: bool) -> Verdict:
    """Check whether the same tools were called in the same order, and optionally with the same arguments."""
    orders = [list(range(len(measured.tools))) for measured in (baseline_of, run_of)]
    if baseline_of.tree and run_of.tree:
        orders = tool_order.orders(baseline_of.tree, run_of.tree)
    baseline, run = (
        [side.tools[place] for place in order] for side, order in zip((baseline_of, run_of), orders, strict=True)
    )
    alignment = align(*([(tool.name, tool) for tool in tools] for tools in (baseline, run)))
    paired_a, paired_b = ({pair[side] for pair in alignment.pairs} for side in (0, 1))
    missing = [tool for place, tool in enumerate(baseline) if place not in paired_a]
    added = [tool for place, tool in enumerate(run) if place not in paired_b]
    moved = _remove_moved(missing, added, with_arguments=with_arguments)
    # The indexes of the pairs among all tool calls.
    pairs = [(orders[0][one], orders[1][other]) for one, other in alignment.pairs] if with_arguments else []
    by_ids = _changed_by_ids(run_of, baseline_of, pairs)
    changed = [
        number
        for number, (one, other) in enumerate(pairs)
        if number in by_ids or not _are_same(baseline_of.tools[one], run_of.tools[other])
    ]
    tools_changed = [baseline_of.tools[pairs[number][0]] for number in changed]
    kinds = (("missing", missing), ("added", added), ("moved", moved), ("with other arguments", tools_changed))
    differences = [f"{_list_names([tool.name for tool in tools])} {what}" for what, tools in kinds if tools]
    if changed:
        one, other = pairs[changed[0]]
        if places := by_ids.get(changed[0]):
            differences[-1] += _first_id(run_of, baseline_of, one, other, places[0])
        elif baseline_of.given and run_of.given:
            differences[-1] += _first_difference(baseline_of.given[one], run_of.given[other])
    return Verdict(
        "same_arguments" if with_arguments else "same_tools",
        not differences,
        output.counted(len(run), "tool call"),
        "the same",
        output.counted(len(baseline), "tool call"),
        "; ".join(differences) or None,
    )


def _remove_moved(missing: list[Tool], added: list[Tool], *, with_arguments: bool) -> list[Tool]:
    """Remove the calls that are in both lists, which only moved, from both; return them."""

    def key(tool: Tool) -> tuple[str, str]:
        return tool.name, tool.arguments if with_arguments else ""

    both = Counter(map(key, missing)) & Counter(map(key, added))
    _remove(added, Counter(both), key)
    return _remove(missing, both, key)


def _remove(tools: list[Tool], counts: Counter[tuple[str, str]], key: Callable[[Tool], tuple[str, str]]) -> list[Tool]:
    """Remove the counted number of calls of each key from a list; return them."""
    taken: list[Tool] = []
    left: list[Tool] = []
    for tool in tools:
        is_taken = counts[key(tool)] > 0
        (taken if is_taken else left).append(tool)
        counts[key(tool)] -= is_taken
    tools[:] = left
    return taken


def _are_same(one: Tool, other: Tool) -> bool:
    """Return whether two calls are equal, or differ only in an id, which looks like a name in one of them."""
    if one[:2] == other[:2]:
        return True
    (text, _, ids), (other_text, _, other_ids) = (tool.loose.partition(" ") for tool in (one, other))
    return one.name == other.name and bool(text) and text == other_text and ids != other_ids


def _changed_by_ids(
    run: Measured, baseline: Measured, pairs: Sequence[tuple[int, int]]
) -> dict[int, common_ids.Places]:
    """Return which pairs of tool calls differ in ids that both runs received, and the places of these ids."""
    unlike = [number for number, (one, other) in enumerate(pairs) if baseline.tools[one].ids != run.tools[other].ids]
    calls = [tuple(map(_call, (baseline, run), pairs[number])) for number in unlike]
    return {unlike[place]: ids for place, ids in common_ids.changed([(a, b) for a, b in calls]).items()}


def _call(measured: Measured, place: int) -> Call:
    tool = measured.tools[place]
    if measured.calls_made:
        return measured.calls_made[place][0]._replace(ids=tool.ids)
    # A file has only the providers of the ids in its own calls.
    return Call(f"tool {tool.name}", tool.ids, lambda _: "")


def _first_id(run: Measured, baseline: Measured, one: int, other: int, places: tuple[int | None, int | None]) -> str:
    """Return the argument with the differing id, and both ids; with a baseline file, only the run's id is known."""
    before, now = _value(baseline, one, places[0]), _value(run, other, places[1])
    try:
        arguments = json.loads(run.calls_made[other][1].arguments)
    except ValueError:
        arguments = None
    named = arguments.items() if isinstance(arguments, dict) and now else ()
    name = next((name for name, value in named if now in json.dumps(value, ensure_ascii=False)), None)
    texts = [f'"{output.cut(value, _LONGEST_VALUE)}"' if value else "another id" for value in (before, now)]
    return f" ({f'{output.cut(name, _LONGEST_VALUE)}: ' if name else ''}{' -> '.join(texts)})"


def _value(measured: Measured, call: int, place: int | None) -> str:
    """Return an id in the arguments of a tool call; empty if it is unknown."""
    return measured.calls_made[call][1].values[place] if measured.calls_made and place is not None else ""


def _first_difference(before: str, now: str) -> str:
    """Return the first argument that differs between two calls; empty if the arguments are too long to parse."""
    try:
        one, other = json.loads(before), json.loads(now)
    except ValueError:
        return ""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return ""
    name = next((name for name in {**one, **other} if one.get(name) != other.get(name)), None)
    if name is None:
        return ""
    texts = [json.dumps(side[name], ensure_ascii=False) if name in side else "none" for side in (one, other)]
    return f" ({output.cut(name, _LONGEST_VALUE)}: {' -> '.join(output.cut(text, _LONGEST_VALUE) for text in texts)})"


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(name or "(nameless)" for name in names[:_MOST_NAMES]) + more


def run_facts(project: str, run: Measured, verdicts: Sequence[Verdict]) -> Facts:
    """Return a run and the verdicts on it as JSON."""
    return {
        "session_id": run.session_id,
        "project": project,
        "name": run.name,
        "state": run.state,
        "passed": all(verdict.passed for verdict in verdicts),
        "rules": [verdict._asdict() for verdict in verdicts],
    }
