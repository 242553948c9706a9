"""The alarm of a session with `on_loop`: tool calls are compared as they end, by the rules of `reading/loops.py`.

What this process records is compared, and nothing is read from the journal.  An alarm waits here until the next
operation of the session begins, which is before the call is made once more.  A loop that the hook stopped by an
exception stays stopped: whatever caught that exception, the hook is called again for each call of this loop that is
about to begin, or that was recorded.

Nearly all calls are like none of the last ones.  That shows by a number, made of the tool and of a sum over the
characters of the arguments, in which the order of keys does not count.  The rows of such calls are put aside as they
are, and read only when a call comes that may be like one of them, or that has to do with a failure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from uuid import UUID
from zlib import adler32

from localops.clock import now_ns
from localops.encoding import encode
from localops.errors import LimitReached
from localops.interruption import attempt, is_programs
from localops.journal import rows
from localops.output import say_once
from localops.reading import loops, previews
from localops.recording.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from localops.journal.rows import Row

    # The rows that a call began and ended with, which may be the same one.
    _Ended = tuple[Row, Row]
    # Class and message.
    _Error = tuple[str | None, object] | None
    # An agent, or an agent and the tool call that its calls are made in.
    _Place = bytes | tuple[bytes | None, bytes] | None
    _Hook = Callable[[Any, "Loop"], object]

# Terminal cells of what a call was given, in the text of a loop.
_CELLS = 40
# Characters of arguments up to which their sum takes less time than to compare some in vain that are as long.
_SHORT = 256
_NO_ARGS, _RETURNS = '{"params":{}}', ',"returns":'
# For each byte another one, such that texts with the same sum are rare.
_WEIGHTS = bytes(pow(3, byte, 257) % 256 for byte in range(256))
# Where the sum begins over a body that is cut off before its result, and lacks a brace; of others, it begins at 1.
_LACKING = 1 + _WEIGHTS[ord("}")]
_ID, _NAME, _PARENT, _AGENT = (rows.COLUMNS.index(name) for name in ("id", "name", "parent", "agent"))
_BODY = -1  # of both forms of a row


@dataclass(frozen=True)
class Loop:
    """A loop of tool calls, as `on_loop` gets it when it has come around for the third time."""

    kind: str
    """`repeat`: the same call with the same result. `cycle`: several calls in turn. `retry`: the same call failed
    each time. `error`: the same error, whatever the tool was given."""
    tools: tuple[str, ...]
    """The tools of one round, in order."""
    calls: tuple[UUID, ...]
    """The ids of the calls, in order."""
    agent_id: UUID | None
    inputs: tuple[str, ...] = ()
    """What each call of one round was given, as a line; empty if it was given nothing."""
    rounds: int = loops.ALARM
    """How often it has come around; more than its calls say if it went on after it was stopped."""

    def __str__(self) -> str:
        what = {"retry": "failed with the same arguments", "error": "failed with the same error"}
        return f"{', '.join(self._steps())}: {what.get(self.kind, 'gave the same again')}, {self.rounds} times"

    def _steps(self) -> Iterable[str]:
        """Return the tools of one round, with what they were given if their names do not tell them apart."""
        if len(set(self.tools)) == len(self.tools) or len(self.inputs) != len(self.tools):
            return self.tools
        given = previews.apart(self.inputs, _CELLS)
        return (f"{tool} ({line})" if line else tool for tool, line in zip(self.tools, given, strict=True))


class LoopWatch:
    """Compares the tool calls of one session in this process, and keeps the alarms that are to be given."""

    def __init__(self, polling: Collection[str]) -> None:
        self.waiting: list[tuple[Loop, loops.Loop]] = []
        # By agent: the loop that the hook has stopped, until the agent has called another tool.
        self.stopped: dict[bytes | None, tuple[Loop, loops.Loop]] = {}
        self._polling = frozenset(polling)
        self._detector = loops.Detector(keep=False)
        self._began_ns = now_ns()
        self.open: dict[bytes, None] = {}
        """The ids of tool calls that have begun and not ended."""
        self._streams: dict[_Place, _Stream] = {}

    def forget_open(self) -> None:
        """Forget the older half of the tool calls that are open: of so many, most will never end."""
        self.open = attempt(lambda: dict.fromkeys(tuple(self.open)[len(self.open) // 2 :]), {})

    # The next two run for each tool call, on the time of the program: hence the repetition, and one test for all cases
    # that are rare.

    def recorded(self, row: Row, error: _Error, *, has_both: bool) -> None:
        """Take in a tool call that has a single row; `has_both`: its body begins with arguments and a result."""
        number = None
        agent, parent = row[_AGENT], row[_PARENT]
        place = agent if parent not in self.open else (agent, parent)
        stream = self._streams.get(place) or self._begin_stream(place)
        if has_both:
            body = row[_BODY]
            end = body.find(_RETURNS)
            # Arguments may have such a name, too.
            if body[end - 1] == "}":
                total = adler32(body[:end].encode().translate(_WEIGHTS), _LACKING) if end < stream.short else end + 1
                number = (hash(row[_NAME]) + total) & 0xFFFF
                if error is None and number not in stream.numbers and not (stream.failing or self.stopped):
                    stream.numbers.append(number)
                    stream.recent.append((row, row))
                    return
        self._look(stream, place, (row, row), number, error, failed=error is not None)

    def ended(self, opened: Row, row: Row, error: _Error, *, is_bare: bool, failed: bool) -> None:
        """Take in that a tool call has ended, with both rows; `is_bare`: the first has nothing but arguments, if any.

        No error of ours is raised: there would be no alarm, and that is all.
        """
        self.open.pop(row[_ID], None)
        number = None
        agent, parent = row[_AGENT], row[_PARENT]
        place = agent if parent not in self.open else (agent, parent)
        stream = self._streams.get(place) or self._begin_stream(place)
        if is_bare:
            body = opened[_BODY] or _NO_ARGS
            total = adler32(body.encode().translate(_WEIGHTS)) if len(body) <= stream.short else len(body)
            number = (hash(row[_NAME]) + total) & 0xFFFF
            if not failed and number not in stream.numbers and not (stream.failing or self.stopped):
                stream.numbers.append(number)
                stream.recent.append((opened, row))
                return
        self._look(stream, place, (opened, row), number, error, failed=failed)

    def _begin_stream(self, place: _Place) -> _Stream:
        stream = self._streams[place] = _Stream()
        if len(self._streams) > loops.MOST_STREAMS:
            attempt(self._forget_stream, None)
        return stream

    def _forget_stream(self) -> None:
        """Forget the calls inside of one that has ended, or else those of the agent that began first."""
        ended = (place for place in self._streams if type(place) is tuple and place[1] not in self.open)
        place = next(ended, next(iter(self._streams)))
        self._streams.pop(place)
        self._detector.forget(*_parts(place))

    def _look(
        self, stream: _Stream, place: _Place, call: _Ended, number: int | None, error: _Error, *, failed: bool
    ) -> None:
        """Compare a call that may be like others, or of which too little is known to say that it is not."""
        if self.stopped:
            self.stopped.pop(_parts(place)[0], None)
        if number is None:
            number = attempt(lambda: self._number(call, stream.short), None)
        _, last = call
        is_news = not failed and last[_NAME] not in stream.failing
        is_news = is_news and not attempt(lambda: self._is_known(stream, number, call), True)
        aside = [] if is_news else stream.put_aside()
        stream.numbers.append(number)
        stream.recent.append(call)
        if is_news:
            return
        stream.compared = call
        loop = attempt(lambda: self._compare(stream, place, aside, call, error, failed=failed), None)
        if loop is not None:
            ids = tuple(UUID(bytes=each.id) for each in loop.calls)
            inputs = tuple(previews.line("tool", _loaded(each.input)) for each in loop.calls[: loop.period])
            agent = UUID(bytes=loop.agent) if loop.agent else None
            self.waiting.append((Loop(loop.kind, tuple(loop.tools), ids, agent, inputs, loop.rounds), loop))

    def _number(self, call: _Ended, short: int) -> int | None:
        """Return the number of a call whose arguments have to be read; None for one that is like no other."""
        begun = _begun(call)
        _, last = call
        tool = last[_NAME]
        if begun.get("polling") or begun.get("params_left_out") or tool in self._polling:
            return None
        args = '{"params":' + encode.sorted_dumps(begun.get("params") or {}).decode() + "}"
        return (hash(tool) + (_sum(args) if len(args) <= short else len(args))) & 0xFFFF

    def _is_known(self, stream: _Stream, number: int | None, call: _Ended) -> bool:
        """Return whether one of the last calls had the same arguments, in whatever order."""
        if number is None:
            return False
        recent = tuple(stream.recent)
        alike = [each for each, other in zip(recent, tuple(stream.numbers), strict=False) if other == number]
        if any(_is_same(each, call) for each in alike):
            return True
        if alike and len(_args(call)) > stream.short:
            # Where this comes twice in a row, arguments are often equally long.
            if stream.in_vain is recent[-1]:
                stream.short = 1 << 62
            stream.in_vain = call
        return False

    def _compare(
        self, stream: _Stream, place: _Place, aside: list[_Ended], call: _Ended, error: _Error, *, failed: bool
    ) -> loops.Loop | None:
        """Compare a call with those before it, in full; return the loop that has become one with it."""
        agent, inside = _parts(place)
        period = loops.period_around(self._began_ns, now_ns())
        add = self._detector.add
        if len(aside) == loops.LONGEST:  # there may have been more, so what was before them does not go on
            add(loops.Call(b"", "", {}, {}, agent=agent, inside=inside))
        for each in aside:
            add(self._read(each, agent, inside, period))
        loop = add(self._read(call, agent, inside, period, error, failed=failed))
        stream.failing = self._detector.failing(agent, inside)
        if loop is None and (known := self._detector.went_on) is not None and known.is_stopped:
            return known
        return loop

    def _read(
        self,
        ended: _Ended,
        agent: bytes | None,
        inside: bytes | None,
        period: tuple[int, int],
        error: _Error = None,
        *,
        failed: bool = False,
    ) -> loops.Call:
        opened, row = ended
        call = loops.Call(
            row[_ID],
            row[_NAME],
            begun := _begun(ended),
            begun if opened is row else _loaded(row[_BODY]),
            agent=agent,
            inside=inside,
            failed=failed,
            error=loops.error_digest(*error, period) if error is not None else None,
            waits=row[_NAME] in self._polling,
            period=period,
        )
        # As it is: a line is made of it for an alarm only.
        call.input = opened[_BODY] or ""
        return call

    def alarm(self, session: object, on_loop: _Hook) -> None:
        """Give the alarms that wait; a LimitReached of the hook reaches the program, other errors of it do not."""
        while self.waiting:
            self._give(session, on_loop, *self.waiting.pop(0))

    def refuse(self, session: object, on_loop: _Hook, tool: str, body: str | None, agent: bytes | None) -> None:
        """Give the alarm again if a call that is about to begin, with this body, goes on with a loop that was stopped.

        Any other tool call of the agent ends that.
        """
        if (known := self.stopped.pop(agent, None)) is None:
            return
        loop, stopped = known
        call = attempt(lambda: loops.Call(b"", tool, _loaded(body), {"returns": None}), None)
        if call is not None and any(call.given == each.given for each in stopped.calls):
            self._give(session, on_loop, loop, stopped)

    def _give(self, session: object, on_loop: _Hook, loop: Loop, stopped: loops.Loop) -> None:
        stopped.is_stopped = False
        try:
            on_loop(session, loop)
        except LimitReached:
            stopped.is_stopped = True
            self.stopped[stopped.agent] = loop, stopped
            raise
        except Exception as error:  # the edge: a hook that is wrong must not break the program
            if is_programs(error):
                raise
            say_once(
                "on_loop",
                f"on_loop failed: {type(error).__name__}: {describe(error)}; raise localops.LoopDetected to stop",
            )


def _loaded(body: str | None) -> dict[str, Any]:
    value = encode.loads(body) if body else {}
    return value if isinstance(value, dict) else {"params": value}


def _begun(call: _Ended) -> dict[str, Any]:
    """Return the body of the row that a call began with."""
    first, _ = call
    return _loaded(first[_BODY])


def _args(call: _Ended) -> str:
    """Return the text of the body that a call began with, without a result."""
    opened, row = call
    body: str = opened[_BODY] or _NO_ARGS
    return body if opened is not row else body[: body.find(_RETURNS)]


def _is_same(call: _Ended, other: _Ended) -> bool:
    """Return whether two calls have the same tool and arguments; True for some that do not."""
    (_, last), (_, others_last) = call, other
    if last[_NAME] != others_last[_NAME]:
        return False
    args, others = _args(call), _args(other)
    if args == others:
        return True
    if len(args) == len(others) and _sum(args) != _sum(others):
        return False
    return bool((_begun(call).get("params") or {}) == (_begun(other).get("params") or {}))


def _sum(args: str) -> int:
    """Return a number for the text of arguments that does not depend on the order of its characters."""
    return adler32(args.encode().translate(_WEIGHTS)) & 0xFFFF


def _parts(place: _Place) -> tuple[bytes | None, bytes | None]:
    """Return the agent of a place, and the tool call."""
    return place if isinstance(place, tuple) else (place, None)


class _Stream:
    """The last calls of one agent, or those inside of one tool call."""

    __slots__ = ("compared", "failing", "in_vain", "numbers", "recent", "short")

    def __init__(self) -> None:
        self.numbers: deque[int | None] = deque(maxlen=loops.LONGEST)
        """A number of each: see the module."""
        self.recent: deque[_Ended] = deque(maxlen=loops.LONGEST)
        self.compared: _Ended | None = None
        """The newest one that was compared in full; those after it are put aside."""
        self.failing: Collection[str] = ()
        """The tools that have failed, and not succeeded since."""
        self.short = _SHORT
        """Of longer arguments, the length stands for the sum."""
        self.in_vain: _Ended | None = None
        """The last one that was compared because it was as long as another."""

    def put_aside(self) -> list[_Ended]:
        """Return the calls that were not compared, in order."""
        aside: list[_Ended] = []
        for call in reversed(tuple(self.recent)):
            if call is self.compared:
                break
            aside.append(call)
        return aside[::-1]
