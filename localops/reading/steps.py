"""The events of a session as a tree of steps that can be compared with those of another run of the same program.

A step has a digest of what it was given: of the arguments of a tool, of the prompt, the parameters and the model of an
LLM call.  It does not depend on the order of keys, nor on what differs each time a program runs: see `without_ids`.
"""

from __future__ import annotations

import re
from datetime import UTC
from itertools import islice

from localops.encoding import encode
from localops.reading import analytics
from localops.reading.calls import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.journal.stored import Source

    Event = dict[str, Any]
    Keys = tuple[int, ...]

# Events of a session that are compared, the first ones; to read so many takes seconds.
MOST = 50_000
# Steps inside of one that count where it is aligned.
_MOST_WEIGHT = 30
_DAY_NS = 86_400 * 1_000_000_000
_GIVEN = ("params", "prompt", "details")
_ESCAPES = (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"))

# What programs and services make up in each run: UUIDs, ids of services such as `call_…` and `toolu_…`, ids of
# spans and objects, addresses in memory, names of temporary files and folders.
_ID = r"""
      [0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])
    | [a-z]{2,12}[_-](?=[A-Za-z]*\d)[A-Za-z0-9]{16,}(?![0-9A-Za-z])
    | (?=\d*[a-f])(?=[a-f]*\d)(?:[0-9a-f]{24}|[0-9a-f]{16})(?![0-9A-Za-z])
    | 0x[0-9a-f]{6,16}(?![0-9A-Za-z])
    | pytest-of-[^/"]+/pytest-\d+
    | tmp(?<=/tmp)[a-z0-9_]{8}(?![0-9A-Za-z_])
"""
_TIME = r"""
      \d{4}-\d\d-\d\d(?:[T\ ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![0-9A-Za-z])
    | (?:\d{19}|\d{16}|\d{13}|\d{10}(?:\.\d+)?)(?![0-9A-Za-z.])
"""
# Nearly all words are passed over at once, as they have no digit.
_MADE_UP = re.compile(rf"(?<![0-9A-Za-z])(?=[A-Za-z_/-]*\d|tmp)(?:(?P<id>{_ID})|(?P<time>{_TIME}))", re.VERBOSE)


class Step:
    """One event of a run, with those that happened inside of it."""

    __slots__ = (
        "cost",
        "end_ns",
        "error",
        "exact",
        "failed",
        "given",
        "id",
        "inside",
        "keys",
        "kind",
        "model",
        "name",
        "size",
        "start_ns",
        "tokens_in",
        "tokens_out",
    )

    def __init__(self, event: Event) -> None:
        self.id: str = event["id"]
        self.kind: str = event["kind"]
        self.name: str = event["name"] or ""
        self.model: str | None = event["model"]
        self.failed: bool = event["failed"]
        self.start_ns: int = event["start_ns"]
        self.end_ns: int | None = event["end_ns"]
        self.cost: int | None = event["cost"]
        self.tokens_in: int | None = event["tokens_in"]
        self.tokens_out: int | None = event["tokens_out"]
        self.error: str | None = None  # the name and message of the error that it failed with
        self.inside: list[Step] = []
        self.size = 1  # with all steps inside
        self.exact = self.given = 0  # digests of what it was given, with and without ids and times
        self.keys: Keys = ()

    @property
    def label(self) -> str:
        """Its name for people: of an LLM call without one, the model."""
        return self.name or self.model or ""

    @property
    def took_ns(self) -> int | None:
        """How long it took; None if it has not ended."""
        return None if self.end_ns is None else max(0, self.end_ns - self.start_ns)

    @property
    def own_ns(self) -> int | None:
        """How long it took without the steps inside."""
        took = self.took_ns
        return None if took is None else max(0, took - sum(step.took_ns or 0 for step in self.inside))


class Steps:
    """The steps of a run: all of them in the order they began, and those inside of no other."""

    def __init__(self, events: list[Event], *, is_cut: bool = False) -> None:
        self.is_cut = is_cut  # the session has more events
        events = sorted(events, key=lambda event: (event["start_ns"], event["seq"]))
        self.all: list[Step] = []
        self.roots: list[Step] = []
        self._without_ids: dict[int, int] = {}
        known: dict[str, Step] = {}
        first_ns = events[0]["start_ns"] if events else 0
        last_ns = max((event["end_ns"] or event["start_ns"] for event in events), default=0)
        self.period = (first_ns - _DAY_NS, last_ns + _DAY_NS)  # times in it are those of the run
        failed = {event["id"] for event in events if event["failed"]}
        causes: dict[str, str] = {}
        for event in events:
            cause_of = _failed_call(event, failed)
            if cause_of is not None:
                causes.setdefault(cause_of, _message(event))
                continue
            step = Step(event)
            step.exact, step.given = self._digests(event)
            # A parent is known if it began earlier, so that no step can be inside of itself.
            parent = known.get(event["parent"])
            (self.roots if parent is None else parent.inside).append(step)
            known[step.id] = step
            self.all.append(step)
        for step in reversed(self.all):
            step.error = causes.get(step.id)
            step.size += sum(child.size for child in step.inside)
            step.keys = _keys(step)

    @classmethod
    def read(cls, source: Source, session: bytes) -> Steps:
        """Return the steps of a session, without the rows that only name an agent."""
        events = list(islice(analytics.events(source, session), MOST + 1))
        return cls([event for event in events[:MOST] if event["kind"] != "agent"], is_cut=len(events) > MOST)

    def _digests(self, event: Event) -> tuple[int, int]:
        """Return the digests of what an event was given, with and without ids and times of the run."""
        exact, given = [], []
        for text in _parts(event):
            # A chat sends its messages again with each call, so that most of them are known.
            whole = digest(text)
            if whole not in self._without_ids:
                self._without_ids[whole] = digest(without_ids(text, *self.period))
            exact.append(whole)
            given.append(self._without_ids[whole])
        return digest(str(exact)), digest(str(given))

    @property
    def tools(self) -> Iterator[Step]:
        """The tool calls in the order they began."""
        return (step for step in self.all if step.kind == "tool")


def _failed_call(event: Event, failed: set[str]) -> str | None:
    """Return the id of the call that failed with an error; an error of no call is a step of its own."""
    if event["kind"] != "error":
        return None
    calls = (event["parent"], analytics.trigger_id(event))
    return next((call for call in calls if call in failed), None)


def _message(event: Event) -> str:
    return ": ".join(filter(None, (event["name"], str(event.get("details") or ""))))


def _keys(step: Step) -> Keys:
    """Return what an alignment compares: kind and name, what it was given, how it ended and what is inside.

    An LLM call on another model is the same call, given something else.  The last counts as often as there are steps
    inside: of two neighbours that changed places, the smaller one was moved.
    """
    name = digest(f"{step.kind}\0{step.name}")
    given = digest(f"{name} {step.given}")
    ended = digest(f"{given} {step.failed}")
    whole = digest(f"{ended} {[child.keys[-1] for child in step.inside]}")
    return (name, given, ended, *[whole] * min(step.size - 1, _MOST_WEIGHT))


def _given(event: Event) -> dict[str, Any]:
    given = {key: event[key] for key in _GIVEN if event.get(key)}
    if event["kind"] == "llm" and event["model"]:
        given["model"] = event["model"]
    return given


def _parts(event: Event) -> Iterator[str]:
    """Yield what an event was given as JSON with its keys in order, each item of a list by itself."""
    for key, value in _given(event).items():
        yield f"{key} {len(value) if isinstance(value, list) else ''}"
        for item in value if isinstance(value, list) else [value]:
            yield encode.sorted_dumps(item).decode("utf-8", "replace")


def given_text(event: Event) -> str:
    """Return what an event was given as one text: JSON with its keys in order."""
    given = _given(event)
    return encode.sorted_dumps(given).decode("utf-8", "replace") if given else ""


def without_ids(text: str, from_ns: int, until_ns: int) -> str:
    """Return JSON with `<id>` for ids that are made up in each run, and `<time>` for times in a period.

    >>> without_ids('{"day":"1970-01-01","id":"01a2276f-5838-79e8-bfff-ce32c169d5b9","n":5}', 0, 10)
    '{"day":"<time>","id":"<id>","n":5}'
    """
    # An escaped line feed would look like a letter before an id.
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)

    def replaced(match: re.Match[str]) -> str:
        if match["id"] is not None:
            return "<id>"
        at_ns = _to_ns(match["time"])
        return "<time>" if at_ns is not None and from_ns <= at_ns <= until_ns else match[0]

    text = _MADE_UP.sub(replaced, text)
    for escape, character in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _to_ns(text: str) -> int | None:
    """Return a date, a time or seconds (also thousandths and so on) since 1970 in nanoseconds."""
    if "-" not in text:
        whole, _, rest = text.partition(".")
        return int(whole.ljust(19, "0")) + (int(rest[:9].ljust(9, "0")) if rest else 0)
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000
