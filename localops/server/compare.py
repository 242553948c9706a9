"""Compare two sessions: events that `localops diff` pairs are in one line."""

from __future__ import annotations

from itertools import islice

from localops.encoding import encode
from localops.reading import analytics, facts, previews, readable_texts
from localops.reading.alignment import same_start
from localops.reading.run_diff import RunDiff
from localops.reading.steps import Steps, without_call_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts
    from localops.reading.run_diff import Line
    from localops.reading.steps import Step

    Event = dict[str, Any]

# Events of each session that are aligned.
MOST = 5_000
# Characters of a difference.
_CUT = 16_384
# Equal characters that are shown before and after a difference.
_AROUND = 400
# Characters of an error.
_ERROR = 2_000
# Characters of all differences; a client can read the events for more.
_TEXTS = 1 << 20
_INPUT = ("params", "prompt", "details")
_OUTPUT = ("returns", "completion")


class Side:
    """One of the two sessions: its events by id, and as a tree of steps."""

    def __init__(self, reader: Reader, session: bytes) -> None:
        page = list(islice(analytics.events(reader, session), MOST + 1))
        events = [event for event in page[:MOST] if event["kind"] != "agent"]
        self.steps = Steps(events, is_cut=len(page) > MOST)
        self._events: dict[str, Event] = {event["id"]: event for event in events}

    def event(self, step: Step | None) -> Event | None:
        """Return the event of a step."""
        return None if step is None else self._events[step.id]

    def facts(self, step: Step | None) -> Facts | None:
        """Return the facts that the page shows of the event of a step."""
        event = self.event(step)
        if step is None or event is None:
            return None
        return {
            "seq": event["seq"],
            "preview": previews.line(step.kind, event),
            "model": step.model,
            "seconds": max(0, event["end_ns"] - event["start_ns"]) / 1e9 if event["finished"] else None,
            "failed": event["failed"],
            "error": step.error and step.error[:_ERROR],
            "finished": event["finished"],
            "billed": event.get("billed"),
            "tokens_in": event["tokens_in"],
            "tokens_out": event["tokens_out"],
            **facts.money(event["cost"]),
        }


def aligned(a: Side, b: Side) -> Facts:
    """Return the events of both sessions in tree order, those that belong together in one line."""
    diff = RunDiff(a.steps, b.steps)
    room = _TEXTS
    lines = []
    for line in diff.lines:
        one, other = a.event(line.a), b.event(line.b)
        facts_of_line: Facts = {
            "depth": line.depth,
            "kind": line.step.kind,
            "name": _name(line),
            "marks": list(line.marks),
            "moved": line.moved,
            "a": a.facts(line.a),
            "b": b.facts(line.b),
        }
        if one is not None and other is not None:
            facts_of_line["only_ids_differ"] = diff.is_same_but_ids(line)
            for what, keys in (("input", _INPUT), ("output", _OUTPUT)):
                texts = [_texts(each, keys) for each in (one, other)]
                # A result is also the error of a call that failed.
                is_other_error = what == "output" and "result" in line.marks
                is_other = is_other_error or (texts[0] != texts[1] and _is_other(line, what))
                facts_of_line[f"{what}_differs"] = is_other
                if texts[0] != texts[1] and room > 0:
                    difference = _difference(
                        *_to_show((a, one), (b, other), keys, is_other=is_other, kept=diff.kept(line))
                    )
                    facts_of_line[what] = difference
                    room -= sum(len(text) for text in difference["texts"])
        lines.append(facts_of_line)
    counts = {**diff.counts, "same": diff.same, "same_but_ids": diff.same_but_ids}
    return {"lines": lines, "counts": counts, "cut": diff.is_cut}


def _is_other(line: Line, what: str) -> bool:
    """Return whether inputs or results of two steps differ in more than ids and times."""
    a, b = line.a, line.b
    assert a is not None
    assert b is not None
    is_given_other, is_result_other = a.asked != b.asked, a.result != b.result
    if line.step.kind != "llm" and ("changed" in line.marks or line.step.kind == "tool"):
        is_given_other = "changed" in line.marks
    if line.step.kind == "error":
        return is_given_other or is_result_other
    return is_given_other if what == "input" else is_result_other


def _name(line: Line) -> str:
    """Return the name of a line; of a model call the model, or both models."""
    names = [step.model or step.label if step.kind == "llm" else step.label for step in (line.a, line.b) if step]
    return " → ".join(dict.fromkeys(names))


def _to_show(
    a: tuple[Side, Event], b: tuple[Side, Event], keys: Sequence[str], *, is_other: bool, kept: frozenset[str]
) -> list[str]:
    """Return the texts of two events in lines: if they differ in more than ids and times, without all but `kept`."""
    named = readable_texts.naming_data()
    if is_other:
        folded = [
            side.steps.compared(
                named(_in_lines(_texts({key: without_call_ids(event.get(key)) for key in keys}, keys))),
                is_argument="params" in keys and event["kind"] != "llm",
                kept=kept,
            )
            for side, event in (a, b)
        ]
        if folded[0] != folded[1]:
            return folded
    return [named(_in_lines(_texts(event, keys))) for _, event in (a, b)]


def _in_lines(texts: Sequence[str]) -> str:
    return "\n".join(map(readable_texts.in_lines, texts))


def _texts(event: Event, keys: Sequence[str]) -> list[str]:
    values = [event[key] for key in keys if event.get(key) is not None]
    return [value if isinstance(value, str) else encode.dumps(value).decode() for value in values]


def _difference(one: str, other: str) -> dict[str, Any]:
    """Return the part in which two texts differ, with some context, and how much is left out.

    Both are cut at the same places, so that a part of one is never shown beside all of the other.
    """
    before = same_start(one, other)
    first = max(0, before - _AROUND)
    after = same_start(one[before:][::-1], other[before:][::-1])
    ends = [len(text) - max(0, after - _AROUND) for text in (one, other)]
    texts = [text[first : min(end, first + _CUT)] for text, end in zip((one, other), ends, strict=True)]
    return {
        "texts": texts,
        "same_before": first,
        "is_cut": any(end > first + _CUT for end in ends),
        "has_data": any(map(readable_texts.has_named_data, texts)),
    }
