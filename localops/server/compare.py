"""Compare two sessions: align their events by kind, name and place in the tree.

Children of aligned events are aligned in turn: the first `tool search` in one with the first in the other.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import islice

from localops.encoding import encode
from localops.reading import analytics, facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts

    Event = dict[str, Any]

# Events of each session that are aligned.
MOST = 5_000
_DEEPEST = 200
# Characters of a difference.
_CUT = 16_384
# Equal characters that are shown before and after a difference.
_AROUND = 400
# Characters of all differences; a client can read the events for more.
_TEXTS = 1 << 20
_INPUT = ("params", "prompt", "details")
_OUTPUT = ("returns", "completion")


class Side:
    """One of the two sessions, with its events as a tree."""

    def __init__(self, reader: Reader, session: bytes) -> None:
        page = list(islice(analytics.events(reader, session), MOST + 1))
        self.is_cut = len(page) > MOST
        events = sorted(
            (event for event in page[:MOST] if event["kind"] != "agent"), key=lambda event: event["start_ns"]
        )
        known = {event["id"] for event in events}
        self.below: dict[str | None, list[Event]] = defaultdict(list)
        for event in events:
            inside = event["parent"] if event["parent"] in known and event["parent"] != event["id"] else None
            self.below[inside].append(event)

    def facts(self, event: Event | None) -> Facts | None:
        """Return what is shown of an event."""
        if event is None:
            return None
        return {
            "seq": event["seq"],
            "seconds": max(0, event["end_ns"] - event["start_ns"]) / 1e9 if event["finished"] else None,
            "failed": event["failed"],
            "finished": event["finished"],
            "billed": event.get("billed"),
            "tokens_in": event["tokens_in"],
            "tokens_out": event["tokens_out"],
            **facts.money(event["cost"]),
        }


def aligned(a: Side, b: Side) -> Facts:
    """Return the events of both sessions in tree order, aligned ones in one line."""
    room = _TEXTS
    lines = []
    for depth, one, other in _pairs(a, b):
        event = one or other
        assert event is not None
        line: Facts = {
            "depth": depth,
            "kind": event["kind"],
            "name": _name(event),
            "a": a.facts(one),
            "b": b.facts(other),
        }
        if one is not None and other is not None:
            for what, keys in (("input", _INPUT), ("output", _OUTPUT)):
                texts = [_text(each, keys) for each in (one, other)]
                line[f"{what}_differs"] = texts[0] != texts[1]
                if texts[0] != texts[1] and room > 0:
                    difference = _difference(*map(_readable, texts))
                    line[what] = difference
                    room -= sum(len(text) for text in difference["texts"])
        lines.append(line)
    return {"lines": lines, "cut": a.is_cut or b.is_cut}


def _pairs(a: Side, b: Side) -> Iterator[tuple[int, Event | None, Event | None]]:
    stack = [(0, one, other) for one, other in reversed(_matched(a.below[None], b.below[None]))]
    while stack:
        depth, one, other = stack.pop()
        yield depth, one, other
        if depth < _DEEPEST:
            inside = _matched(a.below[one["id"]] if one else [], b.below[other["id"]] if other else [])
            stack += [(depth + 1, first, second) for first, second in reversed(inside)]


def _matched(a: Sequence[Event], b: Sequence[Event]) -> list[tuple[Event | None, Event | None]]:
    """Pair each event of `a` with the next of `b` of the same kind and name; the others stay alone."""
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, event in enumerate(b):
        waiting[event["kind"], _name(event)].append(place)
    halves = [places.pop(0) if (places := waiting[event["kind"], _name(event)]) else None for event in a]
    taken = {place for place in halves if place is not None}
    alone = [place for place in range(len(b)) if place not in taken]
    pairs: list[tuple[Event | None, Event | None]] = []
    for event, half in zip(a, halves, strict=True):
        while half is not None and alone and alone[0] < half:
            pairs.append((None, b[alone.pop(0)]))
        pairs.append((event, None if half is None else b[half]))
    return pairs + [(None, b[place]) for place in alone]


def _name(event: Event) -> str:
    return str((event["model"] if event["kind"] == "llm" else event["name"]) or event["name"] or "")


def _text(event: Event, keys: Sequence[str]) -> str:
    values = [event[key] for key in keys if event.get(key) is not None]
    return "\n".join(value if isinstance(value, str) else encode.dumps(value).decode() for value in values)


def _readable(text: str) -> str:
    """Return JSON with line breaks, so that differences are easy to see; any other text as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(encode.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _difference(one: str, other: str) -> dict[str, Any]:
    """Return the part in which two texts differ, with some context, and how much is left out.

    Both are cut at the same places, so that a part of one is never shown beside all of the other.
    """
    before = _same(one, other)
    first = max(0, before - _AROUND)
    after = _same(one[before:][::-1], other[before:][::-1])
    ends = [len(text) - max(0, after - _AROUND) for text in (one, other)]
    texts = [text[first : min(end, first + _CUT)] for text, end in zip((one, other), ends, strict=True)]
    return {"texts": texts, "same_before": first, "is_cut": any(end > first + _CUT for end in ends)}


def _same(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts."""
    # By bisection, because slices are compared in C.
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
