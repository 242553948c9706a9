"""Detect loops of tool calls: repeated calls, repeated cycles of several calls, repeated failures.

A `Detector` gets the tool calls of a session one after another and needs no journal, so reports about past runs and
the alarm in a running one use the same rules:

- calls are equal if tool, arguments and results are, without ids, times and durations, which differ in every result;
- two calls with the same arguments that both failed are equal, whatever the errors;
- only calls of the same agent are compared, and calls inside another tool call only with each other;
- a loop ends with the run of the program: when the session is resumed, calls are not compared with earlier ones;
- a call whose result changes makes progress, and so does a call of a tool that is marked as polling;
- a duration in a text that falls each time, such as an ETA, is progress; also one that rises, if it was not measured;
- calls that overlapped in time are not compared, as neither could know the result of the other: identical calls that
  begin before the first of them has ended are one round, and different ones have no order within a round, so they
  match a round in which the same calls were made in any order;
- a call whose arguments or result were not recorded equals no other.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import combinations, islice, pairwise

from localops.encoding import encode
from localops.encoding.lazy import late_pattern
from localops.reading.calls import digest
from localops.reading.made_up import without_durations, without_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any

HABIT = "again"  # the kind that raises no alarm
# How often a call, a cycle or an error must occur to be a loop.
ALARM = 3
# How often the same call with the same result, with others between, must occur to be a habit.
OFTEN = 5
# The most calls of a cycle.
LONGEST = 8
KINDS = {
    "repeat": "the same call with the same result",
    "cycle": "several calls in turn, each with the same result as before",
    "retry": "the same call, failed each time",
    "error": "calls of one tool that failed with the same error",
    HABIT: "the same call with the same result, with others between",
}
"""The kinds of loops.  The last one may be a habit, so it raises no alarm."""

_DAY_NS = 86_400 * 1_000_000_000
# Ids and times are replaced in this many first characters of a result.
_READ = 1 << 16
# The most streams (agents, and tool calls with inner calls) to keep for a running program.
MOST_STREAMS = 1_000
# A duration: a number with a unit.  "30s of 300s" and "5 minutes left" are progress, and "the 1990s" is no duration.
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
# The numbers of a duration with their units, the seconds of each unit, and smaller units.
_NUMBER_AND_UNIT = late_pattern(r"(\d+)\ ?([a-z]+)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SMALL_UNIT = late_pattern(r"[nuµμm]s\Z|milli")
# The text before a duration that was measured.
_MEASURED = late_pattern(r"(?:\b(?:in|took|after|elapsed|duration)|time)[ :=]{1,2}\Z", re.IGNORECASE)
_WORD_LENGTH = 12
# In messages of errors: quoted values, ids and numbers, such as the row, the file or the version of a call.
_QUOTED = late_pattern(r"""(?<!\w)(?:'[^'\n]{0,300}'|"[^"\n]{0,300}"|`[^`\n]{0,300}`)(?!\w)""")
_NUMBER = late_pattern(
    r"(?<![0-9A-Za-z])(?=[a-f]*\d)[0-9a-f]{6,64}(?![0-9A-Za-z])|0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*", re.ASCII
)
# Where an object begins in a message; the quoted texts in it are kept, as they distinguish errors.
_OBJECT = late_pattern(r"""\{\s*\\?['"]""")
_ONLY_VALUES = late_pattern(r"(?:\W|<value>|<number>|<id>|<time>)*")
# Keys in JSON, except those of the id of a request, which every result has.
_KEY = late_pattern(r'"(?!(?:x[_-])?(?:request|trace|span|correlation|idempotency))(?:[^"\\]|\\.)*"\s?:', re.IGNORECASE)
_URL = late_pattern(r"https?://[^\s\"\\]*")
# A result that consists of a time or duration, with or without a key.
_TIME = late_pattern(r'[{]?(?:"[^"]*":)?"?<time>"?[}]?')
# Empty values count as values.
_EMPTY = late_pattern(r'\[\]|\{\}|""')
_VALUE = late_pattern(r'"((?:[^"\\]|\\.)*)"|([^\s{}\[\],:"]+)')
# The values that a result may have beside the id of something that the call created.
_OF_NEW = frozenset(
    "<id> <time> accepted created enqueued false new null ok open pending queued saved scheduled sent started stored "
    "submitted success true".split()
)
_NO_SIGNS = str.maketrans("", "", ' \t\n{}[],:"\\')


class Call:
    """A finished tool call: its input, and its result or error."""

    __slots__ = (
        "_durations", "_exact", "_outcome", "_params", "_period", "_returns", "agent", "began_ns", "beside", "ended_ns",
        "error", "failed", "given", "id", "input", "inside", "number",
        "round_ended_ns", "run", "tool", "waits",
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
        times: tuple[int, int] = (0, 0),
        run: int = 0,
    ) -> None:
        """Create it from the bodies of its opening and closing rows; for a single row, both are the same.

        inside: the tool call in which it was made. waits: its tool is for polling. period: the time of the run, see
        `period_around`. times: when it began and ended. run: how often the session was resumed before.
        """
        self.began_ns, self.ended_ns = times
        self.alone()
        self.id, self.tool, self.agent, self.inside, self.run = id, tool, agent, inside, run
        self.number = 0
        """Its place among the calls that it is compared with; times of short calls may be equal."""
        self.input = ""
        """Its input as a line, if that will be shown."""
        self.failed, self.error = failed, error
        self.waits = waits or bool(opened.get("polling") or ended.get("polling"))
        params = opened.get("params", ended.get("params"))
        # If arguments or result were not recorded, it equals no other call.
        is_known = params not in (None, {}, []) or "returns" in ended
        is_known = is_known and not _is_incomplete(opened, ended)
        given = encode.sorted_dumps(params or {}).decode("utf-8", "replace") if is_known else ""
        self.given = digest(f"{tool}\0{given}") if is_known else None
        self._params: Any = params
        self._returns: Any = ended.get("returns")
        self._period = period
        self._outcome: int | None = None
        self._exact = 0
        self._durations: list[tuple[int, bool] | None] = []

    def alone(self) -> None:
        """Forget the other calls of its round."""
        self.beside: list[Call] = []
        """Identical calls that overlap it, and so belong to the same round."""
        self.round_ended_ns = self.ended_ns
        """When the first call of its round ended."""

    @property
    def outcome(self) -> int:
        """Return the digest of its result, without ids, times and durations."""
        if self._outcome is None:
            text, plain, self._durations = _comparable_texts(self._returns, self._period)
            is_new = plain != text and (_has_only_ids(plain) or _describes_new_thing(plain, self.tool, self._params))
            self._exact = digest(text)
            self._outcome = self._exact if is_new or plain == text else digest(plain)
            self._params = self._returns = None
        return self._outcome

    @property
    def durations(self) -> list[tuple[int, bool] | None]:
        """Return the durations in the texts of its result, as `_whole_seconds` does."""
        _ = self.outcome
        return self._durations

    def overlaps(self, other: Call) -> bool:
        """Return whether two calls were in progress at the same time."""
        return self.began_ns < other.round_ended_ns and other.began_ns < self.round_ended_ns

    def equals(self, other: Call) -> bool:
        """Return whether two similar calls have exactly the same result, including ids, times and durations."""
        return self.failed or (self.outcome == other.outcome and self._exact == other._exact)

    def is_like(self, other: Call) -> bool:
        """Return whether two calls and their outcomes are the same, and the calls did not overlap."""
        return not self.overlaps(other) and self.is_same(other)

    def is_same(self, other: Call) -> bool:
        """Return whether two calls and their outcomes are the same; they may overlap."""
        if self.given is None or self.given != other.given or self.failed != other.failed:
            return False
        return self.failed or (not self.waits and self.outcome == other.outcome)


def _is_incomplete(opened: dict[str, Any], ended: dict[str, Any]) -> bool:
    """Return whether a part of a call was not recorded, as the items that a generator yields."""
    return bool(opened.get("params_left_out") or ended.get("returns_left_out") or ended.get("yielded"))


class Loop:
    """Repeated tool calls."""

    __slots__ = ("calls", "is_stopped", "kind", "later", "period", "then_changed")

    def __init__(self, kind: str, calls: list[Call], period: int = 1) -> None:
        self.kind, self.calls = kind, calls
        """Its calls; of identical calls that overlap only the first, which has the others in `beside`."""
        self.period = period
        """The number of calls in a round; identical calls that overlap count once."""
        self.later = 0
        """The number of further calls, which are not kept."""
        self.is_stopped = False
        """Whether the program's hook stopped it, so that further calls of it are reported."""
        self.then_changed = False
        """Whether the next call of it succeeded with another result, as when something was waited for."""

    @property
    def wasted(self) -> Sequence[Call]:
        """Return the calls after the first round, which were useless."""
        return _with_others(self.calls[self.period :])

    @property
    def all_calls(self) -> list[Call]:
        """Return all its calls, with those that overlap."""
        return _with_others(self.calls)

    @property
    def is_alarming(self) -> bool:
        """Return whether it is more than a habit."""
        return self.kind != "again"

    @property
    def only_alike(self) -> bool:
        """Return whether results differed between rounds, but only in ids, times or durations."""
        if self.kind in ("retry", "error"):
            return False
        calls = _in_order(self.calls, self.period)
        pairs = zip(calls, calls[self.period :], strict=False)
        return not all(call.equals(before) for before, call in pairs if call.given == before.given)

    @property
    def rounds(self) -> int:
        """Return the number of complete rounds."""
        return (len(self.calls) + self.later) // self.period

    @property
    def tools(self) -> list[str]:
        """Return the tools of one round, in order."""
        return [call.tool for call in self.calls[: self.period]]

    @property
    def agent(self) -> bytes | None:
        """Return the agent that made the calls."""
        return self.calls[0].agent


def _with_others(calls: Iterable[Call]) -> list[Call]:
    return [each for call in calls for each in (call, *call.beside)]


class Detector:
    """Finds loops in tool calls that are added in the order they began.

    `keep=False`, for a running program, limits the memory: a loop then has only the calls up to its alarm.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.loops: list[Loop] | None = [] if keep else None
        self.continued: Loop | None = None
        """The known loop that the last call continued, if any."""
        self._streams: dict[tuple[bytes | None, bytes | None], _Stream] = {}
        self._run = 0

    def add(self, call: Call) -> Loop | None:
        """Add the next call; return the loop that it completes, if any."""
        key = (call.agent, call.inside)
        if call.run != self._run:
            self._run, self._streams = call.run, {}
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(self.loops)
        loop = stream.add(call)
        self.continued = stream.continued
        return loop

    def failing(self, agent: bytes | None, inside: bytes | None) -> Collection[str]:
        """Return the tools of an agent that have failed and have not succeeded since."""
        stream = self._streams.get((agent, inside))
        return tuple(stream.failing) if stream is not None else ()

    def forget(self, agent: bytes | None, inside: bytes | None) -> None:
        """Forget the calls of an agent, or those inside one of its calls."""
        self._streams.pop((agent, inside), None)


class _Stream:
    """The calls of one agent, or those inside one of its tool calls."""

    def __init__(self, loops: list[Loop] | None) -> None:
        self._loops = loops
        self._recent: deque[Call] = deque(maxlen=ALARM * LONGEST)
        # The same call in the round before is at most this far away, in whatever order the calls of a round are.
        self._near: deque[int | None] = deque(maxlen=2 * LONGEST - 1)
        self._open: Loop | None = None
        self._added = 0
        self._failing: dict[str, list[Call]] = {}
        self._open_errors: dict[str, Loop] = {}
        self.continued: Loop | None = None

    @property
    def failing(self) -> Collection[str]:
        return self._failing.keys()

    def add(self, call: Call) -> Loop | None:
        recent, given = self._recent, call.given
        self.continued = None
        self._added += 1
        call.number = self._added
        # A fast check: most calls differ from all recent ones.
        if given is None or given not in self._near:
            self._open = None
            recent.append(call)
            self._near.append(given)
            return self._same_error(call) if call.failed or self._failing else None
        if (known := self._round_of(call)) is not None:
            self._join(known, call)
            return None
        is_next = self._open is not None and self._is_next(self._open, call)
        recent.append(call)
        self._near.append(given)
        if self._open is not None and is_next:
            self._continue(self._open, call)
            self._forget_failures(call.tool)
            return None
        self._open = None
        calls = list(recent)
        # The call must be in each round.
        same = [back for back, each in enumerate(reversed(calls)) if each.given == given]
        if len(same) >= ALARM:
            for period in range(same[ALARM - 1] // ALARM + 1, min(LONGEST, len(calls) // ALARM) + 1):
                if _is_loop(calls[-ALARM * period :], period):
                    return self._begin(period, call)
        return self._same_error(call)

    def _is_next(self, loop: Loop, call: Call) -> bool:
        """Return whether a call continues a loop; if it only has another result, note that in the loop."""
        recent, period = list(self._recent), loop.period
        begun = (len(loop.calls) + loop.later) % period
        ended = recent[: len(recent) - begun]
        this_round = [*recent[len(ended) :], call]
        before = _counterparts(ended[-period:], this_round)
        if before is None:
            return False
        if not call.is_like(before[-1]):
            loop.then_changed = not (call.failed or call.overlaps(before[-1]))
            return False
        earlier = _counterparts(ended[-2 * period : -period], this_round)
        return _keep_order(before, this_round) and (earlier is None or _keep_order(earlier, this_round))

    def _round_of(self, call: Call) -> Call | None:
        """Return a recent identical call that overlaps it, if any: both belong to one round."""
        near = islice(reversed(self._recent), LONGEST)
        return next((each for each in near if call.overlaps(each) and call.is_same(each)), None)

    def _join(self, known: Call, call: Call) -> None:
        known.round_ended_ns = min(known.round_ended_ns, call.ended_ns)
        if self._loops is not None:
            known.beside.append(call)
        # A call that joins a round of the open loop continues that loop, so that a stopped loop stays stopped.
        if self._open is not None and any(known is each for each in list(self._recent)[-self._open.period :]):
            self.continued = self._open

    def _begin(self, period: int, call: Call) -> Loop:
        calls = list(self._recent)[-ALARM * period :]
        kind = "cycle" if period > 1 else "retry" if call.failed else "repeat"
        self._open = Loop(kind, calls, period)
        of_it = {each.id for each in calls}
        # The failures in this cycle may have counted as a loop before: remove that one.
        for tool, loop in list(self._open_errors.items()):
            if self._loops is not None and of_it.issuperset(each.id for each in loop.calls):
                self._loops.remove(loop)
            self._forget_failures(tool)
        self._forget_failures(call.tool)
        if self._loops is not None:
            self._loops.append(self._open)
        return self._open

    def _same_error(self, call: Call) -> Loop | None:
        """Look for a repeated error of one tool, with any arguments, and with any calls between."""
        failing = self._failing.get(call.tool)
        if failing and (not call.failed or call.error != failing[-1].error):
            self._forget_failures(call.tool)
            failing = None
        if not call.failed or call.error is None:
            return None
        if failing is None:
            failing = self._failing[call.tool] = []
        elif failing[-1].overlaps(call):
            return None
        if (known := self._open_errors.get(call.tool)) is not None:
            self._continue(known, call)
            return None
        failing.append(call)
        if len(failing) < ALARM:
            return None
        loop = self._open_errors[call.tool] = Loop("error", failing)
        if self._loops is not None:
            self._loops.append(loop)
        return loop

    def _continue(self, loop: Loop, call: Call) -> None:
        self.continued = loop
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
    alike: dict[tuple[bytes | None, bytes | None, int, int], list[Call]] = {}
    order: dict[bytes, int] = {}
    for call in calls:
        call.alone()
        detector.add(call)
        order[call.id] = len(order)
        if call.given is not None and not call.failed and not call.waits:
            alike.setdefault((call.agent, call.inside, call.run, call.given), []).append(call)
    looping = {call.id for loop in detector.loops for call in loop.all_calls}
    for same in alike.values():
        if len(same) >= OFTEN:
            detector.loops += _habits(call for call in same if call.id not in looping)
    return sorted(detector.loops, key=lambda loop: order[loop.calls[0].id])


def passed_over(calls: Iterable[Call]) -> list[Loop]:
    """Return the loops and habits that are ignored because their tools are marked as polling."""
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
    """Return a loop for each result that the same call returned often."""
    by_outcome: dict[int, list[Call]] = {}
    for call in same:
        calls = by_outcome.setdefault(call.outcome, [])
        if not calls or not call.overlaps(calls[-1]):
            calls.append(call)
        else:
            calls[-1].round_ended_ns = min(calls[-1].round_ended_ns, call.ended_ns)
    often = (calls for calls in by_outcome.values() if len(calls) >= OFTEN)
    return (Loop(HABIT, calls) for calls in often if not _counts_down(calls, 1))


def _is_loop(calls: Sequence[Call], period: int) -> bool:
    """Return whether rounds have the same calls, and no duration in their results counts down.

    Calls that overlap have no order.  Two calls of which one ended before the other began have an order, which no
    other round may reverse.
    """
    first = calls[:period]
    rounds = [first]
    for begin in range(period, len(calls), period):
        ordered = _counterparts(calls[begin : begin + period], first)
        if ordered is None or not all(call.is_like(before) for before, call in zip(rounds[-1], ordered, strict=True)):
            return False
        rounds.append(ordered)
    in_order = all(_keep_order(*both) for both in combinations(rounds, 2))
    return in_order and not _counts_down([call for each in rounds for call in each], period)


def _counterparts(among: Sequence[Call], calls: Sequence[Call]) -> list[Call] | None:
    """Return for each of some calls the same call of another round; None if one of them is not in it."""
    rest, matches = list(among), []
    for call in calls:
        place = next((at for at, each in enumerate(rest) if each.given == call.given), None)
        if place is None or call.given is None:
            return None
        matches.append(rest.pop(place))
    return matches


def _keep_order(calls: Sequence[Call], others: Sequence[Call]) -> bool:
    """Return whether no two calls are in one order in a round, and in the opposite order in another one.

    Both rounds must have the same call at each place.
    """
    pairs = combinations(zip(calls, others, strict=True), 2)
    return not any(_order(one, two) * _order(same_one, same_two) < 0 for (one, same_one), (two, same_two) in pairs)


def _order(one: Call, two: Call) -> int:
    """Return 1 if a call was made before another one, -1 if after it, and 0 if they overlapped."""
    return 0 if one.overlaps(two) else 1 if one.number < two.number else -1


def _in_order(calls: Sequence[Call], period: int) -> list[Call]:
    """Return the calls with each round in the order of the first round, as parallel calls begin in any order."""
    first, ordered = calls[:period], list(calls[:period])
    for begin in range(period, len(calls), period):
        rest = list(calls[begin : begin + period])
        for known in first[: len(rest)]:
            place = next((at for at, call in enumerate(rest) if call.given == known.given), 0)
            ordered.append(rest.pop(place))
    return ordered


def _counts_down(calls: Sequence[Call], period: int) -> bool:
    """Return whether a duration in the results of a call falls, or rises, from each round to the next."""
    if any(call.failed for call in calls):
        return False
    for place in range(period):
        for values in zip(*(call.durations for call in calls[place::period]), strict=False):
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                steps = [after - before for (before, _), (after, _) in pairwise(known)]
                if max(steps) < 0 or (min(steps) > 0 and not any(is_measured for _, is_measured in known)):
                    return True
    return False


def error_digest(kind: str | None, message: object, period: tuple[int, int]) -> int | None:
    """Return the digest of an error without its varying parts (see `folded`); None for an unknown error."""
    if kind is None and message in (None, ""):
        return None
    text = message if isinstance(message, str) else encode.sorted_dumps(message).decode("utf-8", "replace")
    return digest(f"{kind}\0{folded(text, period)}")


def folded(message: str, period: tuple[int, int] = (0, 0)) -> str:
    """Replace quoted values, numbers, ids, times and durations in a message, unless there is nothing else in it.

    >>> folded("no file 'a.txt' in row 12"), folded("'a.txt'")
    ('no file <value> in row <number>', "'a.txt'")
    """
    text = _without_times(message, period)
    start = _OBJECT.search(text)
    until = len(text) if start is None else start.start()
    plain = _NUMBER.sub("<number>", _QUOTED.sub("<value>", text[:until]) + text[until:])
    return text if _ONLY_VALUES.fullmatch(plain) else plain


def period_around(first_ns: int, last_ns: int) -> tuple[int, int]:
    """Return the period of a run: a time in it counts as the run's own time, not as a value."""
    return first_ns - _DAY_NS, last_ns + _DAY_NS


def _comparable_texts(returns: Any, period: tuple[int, int]) -> tuple[str, str, list[tuple[int, bool] | None]]:
    """Return a result as text, the same text without ids, times and durations, and its durations."""
    text = encode.sorted_dumps(returns).decode("utf-8", "replace")
    durations: list[tuple[int, bool] | None] = []

    def note(match: re.Match[str]) -> str:
        durations.append(_whole_seconds(match))
        return "<time>"

    return text, _without_times(text, period, note), durations


def _whole_seconds(duration: re.Match[str]) -> tuple[int, bool] | None:
    """Return the seconds of a duration, and whether it was probably measured, as in "done in 3s".

    None if it has a fraction or a smaller unit: such a one was measured, and falls or rises by chance.
    """
    text = duration[0]
    if ":" in text:
        hours, minutes, rest = text.split(":")
        return (int(hours) * 3600 + int(minutes) * 60 + int(rest), True) if rest.isdigit() else None
    if "." in text or "," in text or _SMALL_UNIT.search(text):
        return None
    seconds = sum(int(number) * _SECONDS[unit[0]] for number, unit in _NUMBER_AND_UNIT.findall(text))
    start = duration.start()
    return seconds, _MEASURED.search(duration.string, max(0, start - _WORD_LENGTH), start) is not None


def _describes_new_thing(plain: str, tool: str, params: object) -> bool:
    """Return whether a result is the id of something new, with only input values, words of the tool, and its state.

    >>> _describes_new_thing('{"job":"<id>","state":"queued","type":"resize"}', "enqueue", {"type": "resize"})
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
    """Return the values in JSON."""
    return {quoted or plain for quoted, plain in _VALUE.findall(text)}


def _has_only_ids(plain: str) -> bool:
    """Return whether a result consists of ids and times only: a new job of a queue, for example, is progress.

    >>> [_has_only_ids(text) for text in ('{"job":"<id>"}', '{"job":"<id>","of":3}', '{"request_id":"<id>"}')]
    [True, False, False]
    """
    values = _URL.sub("<id>", _KEY.sub("", plain))
    if "<id>" not in values:
        return _TIME.fullmatch(plain) is not None
    return not _EMPTY.search(values) and not values.replace("<id>", "").replace("<time>", "").translate(_NO_SIGNS)


def _without_times(text: str, period: tuple[int, int], by: str | Callable[[re.Match[str]], str] = "<time>") -> str:
    """Replace ids, times and durations in a text.

    >>> _without_times('{"hits":2,"took_ms":41.2}', (0, 0)), _without_times("1 failed in 0.12s", (0, 0))
    ('{"hits":2,"took_ms":<time>}', '1 failed in <time>')
    """
    start = without_ids(text[:_READ], *period)
    return _DURATION.sub(by, without_durations(start)) + text[_READ:]


def shape(params: object) -> str:
    """Return the names of arguments with the kinds of their values, sorted.

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
