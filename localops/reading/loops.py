"""Loops of tool calls: the same call again, cycles of several, the same failure again.

A `Detector` is given the tool calls of a session one after another and needs no journal, so that a report of a run
that is over and the alarm in one that goes on have the same rules:

- calls are compared by tool and arguments, and by their results without the ids, times and durations that each answer
  has;
- a call that fails is the same as one that failed before, whatever the error;
- only calls of one agent are compared, and inside of another tool call only those of that call;
- a call whose result changes makes progress, and so does one of a tool that is marked as polling;
- a call whose arguments or result were not recorded is like no other.
"""

from __future__ import annotations

import re
from collections import deque

from localops.encoding import encode
from localops.encoding.lazy import late_pattern
from localops.reading.calls import digest
from localops.reading.made_up import without_durations, without_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

HABIT = "again"  # the kind of those that raise no alarm
# How often a call, a cycle or an error comes before it is a loop.
ALARM = 3
# The same call with the same result, with others between: it is a habit only when it comes often.
OFTEN = 5
# Calls of the longest cycle that is looked for.
LONGEST = 8
KINDS = {
    "repeat": "the same call with the same result",
    "cycle": "several calls in turn, each with the same result as before",
    "retry": "the same call, failed each time",
    "error": "calls of one tool that failed with the same error",
    HABIT: "the same call with the same result, with others between",
}
"""What is looked for.  The last one may be a habit, so that no alarm is raised for it."""

_DAY_NS = 86_400 * 1_000_000_000
# Characters of a result in which ids and times are looked for.
_READ = 1 << 16
# Agents, and tool calls that others are made in, of a program that goes on.
MOST_STREAMS = 1_000
# How long an answer took: a number with a unit, and one under a key that says so.  "30s of 300s" and "5 minutes left"
# tell how far something has come, and "the 1990s" are no duration.
_DURATION = late_pattern(
    r"""
      (?:(?<![0-9A-Za-z.,_-])|(?<=\\[nrt]))
      (?:\d{1,3}h\ ?)?(?:\d{1,4}m(?:in)?\ ?)?(?!\d\d\d0s)\d{1,19}(?:[.,]\d{1,19})?\ ?
      (?:ns|[uµμ]s|ms|s|secs?|seconds?|millis(?:econds?)?|mins?|minutes?|hrs?|hours?)
      (?![0-9A-Za-z_])(?!\ ?(?:/|of\b|left\b|remaining\b|done\b))
    | (?<=\()\d{1,4}:\d\d:\d\d(?:\.\d+)?(?=\))
    """,
    re.VERBOSE,
)
# Of errors: quoted values, ids and numbers, such as the row, the file or the version that a call was about.
_QUOTED = late_pattern(r"""(?<!\w)(?:'[^'\n]{0,300}'|"[^"\n]{0,300}"|`[^`\n]{0,300}`)(?!\w)""")
_NUMBER = late_pattern(
    r"(?<![0-9A-Za-z])(?=[a-f]*\d)[0-9a-f]{6,64}(?![0-9A-Za-z])|0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*", re.ASCII
)
# Where an object begins in a message: its texts tell errors apart.
_OBJECT = late_pattern(r"""\{\s*\\?['"]""")
_ONLY_VALUES = late_pattern(r"(?:\W|<value>|<number>|<id>|<time>)*")
# Names in JSON, but for those of the id of one request, which each answer has.
_KEY = late_pattern(r'"(?!(?:x[_-])?(?:request|trace|span|correlation|idempotency))(?:[^"\\]|\\.)*"\s?:', re.IGNORECASE)
_URL = late_pattern(r"https?://[^\s\"\\]*")
# A result that is a time or a duration, with or without a name.
_TIME = late_pattern(r'[{]?(?:"[^"]*":)?"?<time>"?[}]?')
# An empty value is one like any other.
_EMPTY = late_pattern(r'\[\]|\{\}|""')
_VALUE = late_pattern(r'"((?:[^"\\]|\\.)*)"|([^\s{}\[\],:"]+)')
# What a result may have beside the id of something that the call has made.
_OF_NEW = frozenset(
    "<id> <time> accepted created enqueued false new null ok open pending queued saved scheduled sent started stored "
    "submitted success true".split()
)
_NO_SIGNS = str.maketrans("", "", ' \t\n{}[],:"\\')


class Call:
    """A tool call that has ended: its input, and its result or error."""

    __slots__ = (
        "_exact", "_outcome", "_params", "_period", "_returns", "agent", "error", "failed", "given", "id", "input",
        "inside", "tool", "waits",
    )  # fmt: skip

    def __init__(
        self,
        id: bytes,
        tool: str,
        opened: dict[str, Any],
        ended: dict[str, Any],
        *,
        agent: bytes | None = None,
        inside: bytes | None = None,
        failed: bool = False,
        error: int | None = None,
        waits: bool = False,
        period: tuple[int, int] = (0, 0),
    ) -> None:
        """Take in a call with the bodies of the rows it began and ended with; of a single row, it is both.

        inside: the tool call it was made in. waits: its tool is for polling. period: of times that its result may
        have, see `period_around`.
        """
        self.id, self.tool, self.agent, self.inside = id, tool, agent, inside
        self.input = ""
        """What it was given, on a line, if that will be shown."""
        self.failed, self.error = failed, error
        self.waits = waits or bool(opened.get("polling") or ended.get("polling"))
        params = opened.get("params", ended.get("params"))
        # Where arguments or result were not recorded, it may have been like any other: it is like none.
        is_known = params not in (None, {}, []) or "returns" in ended
        is_known = is_known and not _is_incomplete(opened, ended)
        given = encode.sorted_dumps(params or {}).decode("utf-8", "replace") if is_known else ""
        self.given = digest(f"{tool}\0{given}") if is_known else None
        self._params: Any = params
        self._returns: Any = ended.get("returns")
        self._period = period
        self._outcome: int | None = None
        self._exact = 0

    @property
    def outcome(self) -> int:
        """Return the digest of its result, without ids, times and durations."""
        if self._outcome is None:
            text, plain = _compared(self._returns, self._period)
            is_new = plain != text and (_is_only_made_up(plain) or _is_new(plain, self.tool, self._params))
            self._exact = digest(text)
            self._outcome = self._exact if is_new or plain == text else digest(plain)
            self._params = self._returns = None
        return self._outcome

    def equals(self, other: Call) -> bool:
        """Return whether two calls that are alike gave the same, with all ids, times and durations."""
        return self.failed or (self.outcome == other.outcome and self._exact == other._exact)

    def is_like(self, other: Call) -> bool:
        """Return whether it is the same call as another, and came to the same."""
        if self.given is None or self.given != other.given or self.failed != other.failed:
            return False
        return self.failed or (not self.waits and self.outcome == other.outcome)


def _is_incomplete(opened: dict[str, Any], ended: dict[str, Any]) -> bool:
    """Return whether something of a call was not recorded: of what a generator yields, only the number is."""
    return bool(opened.get("params_left_out") or ended.get("returns_left_out") or ended.get("yielded"))


class Loop:
    """Calls that are the same again and again."""

    __slots__ = ("calls", "is_stopped", "kind", "later", "period")

    def __init__(self, kind: str, calls: list[Call], period: int = 1) -> None:
        self.kind, self.calls = kind, calls
        self.period = period
        """How many calls make one round."""
        self.later = 0
        """Calls that came after those that are kept."""
        self.is_stopped = False
        """Whether a program wanted to end it, so that it matters when it goes on."""

    @property
    def wasted(self) -> Sequence[Call]:
        """The calls after the first round, which brought nothing new."""
        return self.calls[self.period :]

    @property
    def is_alarming(self) -> bool:
        """Whether it is more than a habit."""
        return self.kind != "again"

    @property
    def only_alike(self) -> bool:
        """Whether a result differed from that of the round before in ids, times or durations."""
        return self.kind not in ("retry", "error") and not all(
            call.equals(before) for before, call in zip(self.calls, self.calls[self.period :], strict=False)
        )

    @property
    def rounds(self) -> int:
        """How many rounds are complete."""
        return (len(self.calls) + self.later) // self.period

    @property
    def tools(self) -> list[str]:
        """The tools of one round, in order."""
        return [call.tool for call in self.calls[: self.period]]

    @property
    def agent(self) -> bytes | None:
        """The agent whose calls these are."""
        return self.calls[0].agent


class Detector:
    """Finds the loops in tool calls that are added in the order they began.

    For a program that goes on, `keep=False` bounds its memory: a loop has only the calls up to its alarm.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.loops: list[Loop] | None = [] if keep else None
        self.went_on: Loop | None = None
        """The loop that the last call belongs to, if it had become one before."""
        self._streams: dict[tuple[bytes | None, bytes | None], _Stream] = {}

    def add(self, call: Call) -> Loop | None:
        """Take in the next call; return the loop that has become one with it."""
        key = (call.agent, call.inside)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(self.loops)
        loop = stream.add(call)
        self.went_on = stream.went_on
        return loop

    def failing(self, agent: bytes | None, inside: bytes | None) -> Collection[str]:
        """Return the tools of an agent that have failed, and not succeeded since."""
        stream = self._streams.get((agent, inside))
        return tuple(stream.failing) if stream is not None else ()

    def forget(self, agent: bytes | None, inside: bytes | None) -> None:
        """Forget the calls of an agent, or those inside of one."""
        self._streams.pop((agent, inside), None)


class _Stream:
    """The calls of one agent, or those inside of one tool call."""

    def __init__(self, loops: list[Loop] | None) -> None:
        self._loops = loops
        self._recent: deque[Call] = deque(maxlen=ALARM * LONGEST)
        # By the length of a cycle: how many of the last calls are like the one that many calls before.
        self._alike = [0] * (LONGEST + 1)
        self._is_any = False
        self._near: deque[int | None] = deque(maxlen=LONGEST)
        self._open: Loop | None = None
        self._failing: dict[str, list[Call]] = {}
        self._open_errors: dict[str, Loop] = {}
        self.went_on: Loop | None = None

    @property
    def failing(self) -> Collection[str]:
        return self._failing.keys()

    def add(self, call: Call) -> Loop | None:
        recent, alike, given = self._recent, self._alike, call.given
        self.went_on = None
        # Most calls differ from all recent ones, which this check shows quickly.
        if given is None or given not in self._near:
            if self._is_any:
                self._alike = alike = [0] * (LONGEST + 1)
                self._is_any = False
        else:
            for period in range(1, LONGEST + 1):
                is_alike = len(recent) >= period and call.is_like(recent[-period])
                alike[period] = alike[period] + 1 if is_alike else 0
            self._is_any = True
        recent.append(call)
        self._near.append(given)
        if not self._is_any:
            self._open = None
            return self._same_error(call) if call.failed or self._failing else None
        if self._open is not None and alike[self._open.period]:
            self._go_on(self._open, call)
            self._forget_failures(call.tool)
            return None
        self._open = None
        for period in range(1, LONGEST + 1):
            if alike[period] >= (ALARM - 1) * period:
                return self._begin(period, call)
        return self._same_error(call)

    def _begin(self, period: int, call: Call) -> Loop:
        calls = list(self._recent)[-ALARM * period :]
        kind = "cycle" if period > 1 else "retry" if call.failed else "repeat"
        self._open = Loop(kind, calls, period)
        of_it = {each.id for each in calls}
        # The failures of a cycle were a loop of their own before its last call came.
        for tool, loop in list(self._open_errors.items()):
            if self._loops is not None and of_it.issuperset(each.id for each in loop.calls):
                self._loops.remove(loop)
            self._forget_failures(tool)
        self._forget_failures(call.tool)
        if self._loops is not None:
            self._loops.append(self._open)
        return self._open

    def _same_error(self, call: Call) -> Loop | None:
        """Look for the same error again, of one tool, whatever it was given and whatever was called between."""
        failing = self._failing.get(call.tool)
        if failing and (not call.failed or call.error != failing[-1].error):
            self._forget_failures(call.tool)
            failing = None
        if not call.failed or call.error is None:
            return None
        if failing is None:
            failing = self._failing[call.tool] = []
        if (known := self._open_errors.get(call.tool)) is not None:
            self._go_on(known, call)
            return None
        failing.append(call)
        if len(failing) < ALARM:
            return None
        loop = self._open_errors[call.tool] = Loop("error", failing)
        if self._loops is not None:
            self._loops.append(loop)
        return loop

    def _go_on(self, loop: Loop, call: Call) -> None:
        self.went_on = loop
        if self._loops is not None:
            loop.calls.append(call)
        else:
            loop.later += 1

    def _forget_failures(self, tool: str) -> None:
        self._failing.pop(tool, None)
        self._open_errors.pop(tool, None)


def find(calls: Iterable[Call]) -> list[Loop]:
    """Return the loops in the tool calls of a session, in the order they began."""
    detector = Detector()
    assert detector.loops is not None
    alike: dict[tuple[bytes | None, bytes | None, int], list[Call]] = {}
    order: dict[bytes, int] = {}
    for call in calls:
        detector.add(call)
        order[call.id] = len(order)
        if call.given is not None and not call.failed and not call.waits:
            alike.setdefault((call.agent, call.inside, call.given), []).append(call)
    looping = {call.id for loop in detector.loops for call in loop.calls}
    for same in alike.values():
        if len(same) >= OFTEN:
            detector.loops += _habits(call for call in same if call.id not in looping)
    return sorted(detector.loops, key=lambda loop: order[loop.calls[0].id])


def passed_over(calls: Iterable[Call]) -> list[Loop]:
    """Return what would be loops or habits, were no tool marked as polling."""
    calls = list(calls)
    waiting = {call.id for call in calls if call.waits}
    if not waiting:
        return []
    try:
        for call in calls:
            call.waits = False
        return [loop for loop in find(calls) if any(call.id in waiting and not call.failed for call in loop.calls)]
    finally:
        for call in calls:
            call.waits = call.id in waiting


def _habits(same: Iterable[Call]) -> Iterator[Loop]:
    """Return a loop for each result that the same call had often."""
    by_outcome: dict[int, list[Call]] = {}
    for call in same:
        by_outcome.setdefault(call.outcome, []).append(call)
    return (Loop(HABIT, calls) for calls in by_outcome.values() if len(calls) >= OFTEN)


def error_digest(kind: str | None, message: object, period: tuple[int, int]) -> int | None:
    """Return the digest of an error without its varying parts (see `folded`); None for an unknown error."""
    if kind is None and message in (None, ""):
        return None
    text = message if isinstance(message, str) else encode.sorted_dumps(message).decode("utf-8", "replace")
    return digest(f"{kind}\0{folded(text, period)}")


def folded(message: str, period: tuple[int, int] = (0, 0)) -> str:
    """Return the message of an error without quoted values, numbers, ids, times and durations, unless it is only that.

    >>> folded("no file 'a.txt' in row 12"), folded("'a.txt'")
    ('no file <value> in row <number>', "'a.txt'")
    """
    text = _without_times(message, period)
    start = _OBJECT.search(text)
    until = len(text) if start is None else start.start()
    plain = _NUMBER.sub("<number>", _QUOTED.sub("<value>", text[:until]) + text[until:])
    return text if _ONLY_VALUES.fullmatch(plain) else plain


def period_around(first_ns: int, last_ns: int) -> tuple[int, int]:
    """Return the period in which a time is one of the run's own, and no value."""
    return first_ns - _DAY_NS, last_ns + _DAY_NS


def _compared(returns: Any, period: tuple[int, int]) -> tuple[str, str]:
    """Return a result as text, and without ids, times and durations."""
    text = encode.sorted_dumps(returns).decode("utf-8", "replace")
    return text, _without_times(text, period)


def _is_new(plain: str, tool: str, params: object) -> bool:
    """Return whether a result is an id with what the call was given, the tool is called and the state of something new.

    >>> _is_new('{"job":"<id>","state":"queued","type":"resize"}', "enqueue", {"type": "resize"})
    True
    """
    without_keys = _URL.sub("<id>", _KEY.sub("", plain))
    if "<id>" not in without_keys or _EMPTY.search(without_keys):
        return False
    values = _values(without_keys)
    words = set(re.split(r"[\W\d_]+", tool.lower()))
    given = _values(encode.sorted_dumps(params or {}).decode("utf-8", "replace"))
    return all(value in given or value.lower() in _OF_NEW or value.lower() in words for value in values)


def _values(text: str) -> set[str]:
    """Return the texts and the other values in JSON."""
    return {quoted or plain for quoted, plain in _VALUE.findall(text)}


def _is_only_made_up(plain: str) -> bool:
    """Return whether there is nothing but ids and times in a result: a new job of a queue is progress.

    >>> [_is_only_made_up(text) for text in ('{"job":"<id>"}', '{"job":"<id>","of":3}', '{"request_id":"<id>"}')]
    [True, False, False]
    """
    values = _URL.sub("<id>", _KEY.sub("", plain))
    if "<id>" not in values:
        return _TIME.fullmatch(plain) is not None
    return not _EMPTY.search(values) and not values.replace("<id>", "").replace("<time>", "").translate(_NO_SIGNS)


def _without_times(text: str, period: tuple[int, int]) -> str:
    """Return a text without ids, times and durations.

    >>> _without_times('{"hits":2,"took_ms":41.2}', (0, 0)), _without_times("1 failed in 0.12s", (0, 0))
    ('{"hits":2,"took_ms":<time>}', '1 failed in <time>')
    """
    start = without_ids(text[:_READ], *period)
    return _DURATION.sub("<time>", without_durations(start)) + text[_READ:]


def shape(params: object) -> str:
    """Return the names of arguments and the kinds of their values, in order.

    >>> shape({"query": "tides", "limit": 5, "exact": None})
    'exact: null, limit: number, query: text'
    """
    if isinstance(params, dict):
        return ", ".join(f"{name}: {_kind(value)}" for name, value in sorted(params.items()))
    return "" if params is None else _kind(params)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "truth"
    names = {str: "text", int: "number", float: "number", list: "list", dict: "object"}
    return names.get(type(value), "value")
