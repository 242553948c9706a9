"""The alarm of a session with `on_loop`: tool calls are compared as they end, by the rules of `reading/loops.py`.

What this process records is compared, and nothing is read from the journal.  An alarm waits here until the next
operation of the session begins, which is before the call is made once more.  A loop that the hook stopped by an
exception stays stopped: whatever caught that exception, the hook is called again for each call of this loop that is
about to begin, or that was recorded.

Nearly all calls are like none of the last ones, and are put aside as they are.  Only every second call of an agent is
looked at: a number, made of its tool and its arguments in any order of their keys, is looked for among those of the
last ones, and it is compared with the call before it.  No loop gets past that before its third round ends.  Of the same
call three times in a row, one is compared with the one before; of a longer cycle, one of the first two calls comes
again one round later, or two rounds if it has an odd length.  Then, and when a call fails, the calls that were put
aside are read and compared in full, and so are those that follow as long as they are like others.
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

    # The rows that a call began and ended with, which may be the same one; and the text of its arguments, see `look`,
    # where the first row does not begin with it: empty if they are like no other.
    _Ended = tuple[Row, Row, str | None]
    # Class and message.
    _Error = tuple[str | None, object] | None
    # An agent, or an agent and the tool call that its calls are made in.
    _Place = bytes | tuple[bytes | None, bytes] | None
    _Hook = Callable[[Any, "Loop"], object]

# Terminal cells of what a call was given, in the text of a loop.
_CELLS = 40
# Characters of arguments up to which their sum takes less time than to compare some in vain that are as long.
_SHORT = 256
# Calls that are kept: a cycle of an odd length is noticed two rounds after one of its first two calls.
_KEPT = 2 * loops.LONGEST
# Sums over long arguments that are kept.
_SUMS = 256
# The beginning of a first row's body; a complete body without arguments; what follows them in the body of a single row.
_PARAMS, _NO_ARGS, _RETURNS = '{"params":', '{"params":{}}', ',"returns":'
# For each byte another one, such that texts with the same sum are rare.
_WEIGHTS = bytes(pow(3, byte, 257) % 256 for byte in range(256))
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
    only_alike: bool = False
    """Whether the results differed, in ids, times and durations."""

    def __str__(self) -> str:
        what = {"retry": "failed with the same arguments", "error": "failed with the same error"}
        gave = "gave the same but for ids and times" if self.only_alike else "gave the same again"
        return f"{', '.join(self._steps())}: {what.get(self.kind, gave)}, {self.rounds} times"

    def _steps(self) -> Iterable[str]:
        """Return the tools of one round, with what they were given if their names do not tell them apart."""
        if len(set(self.tools)) == len(self.tools) or len(self.inputs) != len(self.tools):
            return self.tools
        given = previews.apart(self.inputs, _CELLS)
        return (f"{tool} ({line})" if line else tool for tool, line in zip(self.tools, given, strict=True))


class LoopWatch:
    """Compares the tool calls of one session in this process, and keeps the alarms that are to be given."""

    def __init__(self, polling: Collection[str], note: Callable[[Loop, str], None]) -> None:
        self._note = note
        """Writes that the hook stopped a loop, and by which exception."""
        self.waiting: list[tuple[Loop, loops.Loop]] = []
        # By agent: the loop that the hook has stopped, until the agent has called another tool.
        self.stopped: dict[bytes | None, tuple[Loop, loops.Loop]] = {}
        self._polling = frozenset(polling)
        self._detector = loops.Detector(keep=False)
        self._began_ns = now_ns()
        self.open: dict[bytes, None] = {}
        """The ids of tool calls that have begun and not ended."""
        self._streams: dict[_Place, _Stream] = {}
        # Those in which calls are put aside: none was like another just now, no tool fails, and no loop is stopped.
        self._calm: dict[_Place, _Stream] = {}
        self._sums: dict[tuple[bytes, int], int] = {}

    def forget_open(self) -> None:
        """Forget the older half of the tool calls that are open: of so many, most will never end."""
        self.open = attempt(lambda: dict.fromkeys(tuple(self.open)[len(self.open) // 2 :]), {})

    # The next two run for each tool call, in the program's time: repeating the code avoids a call.

    def recorded(self, row: Row) -> None:
        """Take in a tool call that has a single row, whose body begins with arguments and a result."""
        parent = row[_PARENT]
        try:
            stream = self._calm[row[_AGENT] if parent is None or parent not in self.open else (row[_AGENT], parent)]
        except KeyError:
            self.look(row, row, _args_before_result(row))
            return
        if (before := stream.before) is None:
            stream.before = row
            stream.recent.append(row)
            return
        args = row[_BODY].partition(_RETURNS)[0]
        # Arguments may have such a name, too.
        number = _number_if_new(stream, before, row[_NAME], args) if args[-1] == "}" else None
        if number is None:
            self.look(row, row, _args_before_result(row))
            return
        stream.before = None
        stream.numbers.append(number)
        stream.recent.append(row)

    def ended(self, opened: Row, row: Row) -> None:
        """Take in a tool call that has ended well, with both rows: the first has nothing but arguments, if any."""
        try:
            del self.open[row[_ID]]
        except KeyError:  # forgotten, or this is done again
            pass
        parent = row[_PARENT]
        try:
            stream = self._calm[row[_AGENT] if parent is None or parent not in self.open else (row[_AGENT], parent)]
        except KeyError:
            self.look(opened, row, (opened[_BODY] or _NO_ARGS)[:-1])
            return
        if (before := stream.before) is None:
            stream.before = opened
            stream.recent.append((opened, row, None))
            return
        args = (opened[_BODY] or _NO_ARGS)[:-1]
        number = _number_if_new(stream, before, row[_NAME], args)
        if number is None:
            self.look(opened, row, args)
            return
        stream.before = None
        stream.numbers.append(number)
        stream.recent.append((opened, row, None))

    def look(
        self, first: Row, row: Row, args: str | None = None, error: _Error = None, *, failed: bool = False
    ) -> None:
        """Take in any tool call that has ended, with the row it began with, and compare it with others.

        `args` is what the first row begins with, up to the end of the arguments without the last brace; None if it has
        to be read.  No error of ours is raised: there would be no alarm, and that is all.
        """
        tool, agent, parent = row[_NAME], row[_AGENT], row[_PARENT]
        self.open.pop(row[_ID], None)
        if self.stopped:
            self.stopped.pop(agent, None)
        place = agent if parent is None or parent not in self.open else (agent, parent)
        stream = self._streams.get(place) or self._begin_stream(place)
        is_second, made = stream.before is not None, None
        if failed:
            args = ""  # it is compared in any case
        elif args is None and (is_second or stream.is_alert or not (first[_BODY] or "").startswith(_PARAMS)):
            args = made = attempt(lambda: self._read_args(first), "")
        number = _number(tool, args) if args and is_second else None
        is_news = not failed and tool not in stream.failing
        if is_news and args and (is_second or stream.is_alert):
            is_news = not attempt(lambda: self._is_known(stream, row, args, number), True)
        stream.before = None if is_second else first
        if is_second:
            stream.numbers.append(number)
        aside: list[_Ended] = [] if is_news else attempt(stream.put_aside, [])
        call = first, row, made
        stream.recent.append(call)
        stream.is_alert = not is_news
        if stream.is_alert:
            stream.compared = call
            self._compare(stream, place, aside, call, error, failed=failed)
        if stream.is_alert or stream.failing or self.stopped or (made is not None and not is_second):
            self._calm.pop(place, None)
        else:
            self._calm[place] = stream

    def _begin_stream(self, place: _Place) -> _Stream:
        stream = self._streams[place] = _Stream()
        if len(self._streams) > loops.MOST_STREAMS:
            attempt(self._forget_stream, None)
        return stream

    def _forget_stream(self) -> None:
        """Forget the calls inside of one that has ended, or else those of the agent that began first."""
        # A copy, as other threads begin and forget some meanwhile.
        places = tuple(self._streams)
        ended = (place for place in places if type(place) is tuple and place[1] not in self.open)
        place = next(ended, places[0])
        self._streams.pop(place, None)
        self._calm.pop(place, None)
        self._detector.forget(*_parts(place))

    def _read_args(self, first: Row) -> str:
        """Return the text of arguments that have to be read; an empty one if they are like no other."""
        begun = _loaded(first[_BODY])
        if begun.get("polling") or begun.get("params_left_out"):
            return ""
        return _PARAMS + encode.sorted_dumps(begun.get("params") or {}).decode()

    def _is_known(self, stream: _Stream, row: Row, args: str, number: int | None) -> bool:
        """Return whether one of the last calls had the same tool and arguments, in whatever order."""
        tool, size = row[_NAME], len(args)
        if tool in self._polling:
            return False
        for first, last, made in stream.candidates(number):
            if last[_NAME] != tool:
                continue
            others = made if made is not None else first[_BODY] or _NO_ARGS
            if made is None and _is_as_long(others, size):
                others = others[:size]
            if len(others) != size:
                continue
            is_same = others == args
            if not is_same and "," in args and self._sum_of(row, args) == self._sum_of(last, others):
                is_same = _given(args) == _given(others)
            if is_same:
                return not _loaded(row[_BODY]).get("polling")
        return False

    def _sum_of(self, row: Row, args: str) -> int:
        """Return the sum over the arguments of a call: of long ones it is needed again and again."""
        key = row[_ID], len(args)
        if key not in self._sums:
            if len(self._sums) >= _SUMS:
                self._sums.clear()
            self._sums[key] = _sum(args)
        return self._sums[key]

    def _compare(
        self, stream: _Stream, place: _Place, aside: list[_Ended], call: _Ended, error: _Error, *, failed: bool
    ) -> None:
        """Compare a call in full with those before it, and keep the alarm of the loop that has become one with it."""
        loop = attempt(lambda: self._compared(stream, place, aside, call, error, failed=failed), None)
        if loop is not None:
            ids = tuple(UUID(bytes=each.id) for each in loop.calls)
            inputs = tuple(previews.line("tool", _loaded(each.input)) for each in loop.calls[: loop.period])
            agent = UUID(bytes=loop.agent) if loop.agent else None
            self.waiting.append(
                (Loop(loop.kind, tuple(loop.tools), ids, agent, inputs, loop.rounds, loop.only_alike), loop)
            )

    def _compared(
        self, stream: _Stream, place: _Place, aside: list[_Ended], call: _Ended, error: _Error, *, failed: bool
    ) -> loops.Loop | None:
        """Return the loop that has become one with a call, or that was stopped and goes on with it."""
        agent, inside = _parts(place)
        period = loops.period_around(self._began_ns, now_ns())
        add = self._detector.add
        if len(aside) == _KEPT:  # there may have been more, so what was before them does not go on
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
        first, row, _ = ended
        call = loops.Call(
            row[_ID],
            row[_NAME],
            begun := _loaded(first[_BODY]),
            begun if first is row else _loaded(row[_BODY]),
            agent=agent,
            inside=inside,
            failed=failed,
            error=loops.error_digest(*error, period) if error is not None else None,
            waits=row[_NAME] in self._polling,
            period=period,
        )
        # Kept unchanged: it is formatted only for an alarm.
        call.input = first[_BODY] or ""
        return call

    def alarm(self, session: object, on_loop: _Hook) -> None:
        """Call the hook for waiting alarms; only a LimitReached that it raises reaches the program."""
        while self.waiting:
            try:
                known = self.waiting.pop(0)
            except IndexError:  # another thread gives it
                return
            self._give(session, on_loop, *known)

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
        was_stopped, stopped.is_stopped = stopped.is_stopped, False
        try:
            on_loop(session, loop)
        except LimitReached as error:
            stopped.is_stopped = True
            if not was_stopped:
                # The program may catch it, and no row would tell why its calls were not made.
                self._note(loop, type(error).__name__)
            self.stopped[stopped.agent] = loop, stopped
            self._calm.clear()
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


def _number_if_new(stream: _Stream, before: Row, tool: str, args: str) -> int | None:
    """Return the number of a call; None if it may be the same as the one before, or as another of the last ones."""
    others = before[_BODY] or _NO_ARGS
    if "," not in args:  # its keys have one order only
        number = hash((tool, args))
        is_like = before[_NAME] == tool and others.startswith(args)
    else:
        size = len(args)
        key = adler32(args.encode().translate(_WEIGHTS)) & 0xFFFF if size <= _SHORT else size
        number = hash((tool, key))
        is_like = before[_NAME] == tool and _is_as_long(others, size) and (key == size or _sum(others[:size]) == key)
    return None if is_like or number in stream.numbers else number


def _args_before_result(row: Row) -> str | None:
    """Return the arguments of a single row as `LoopWatch.look` takes them, or None."""
    args: str = row[_BODY].partition(_RETURNS)[0]
    # Arguments may have such a name, too.
    return args if args[-1] == "}" else None


def _given(args: str) -> object:
    """Return arguments whose text lacks the last brace."""
    return _loaded(args + "}").get("params")


def _is_as_long(body: str, size: int) -> bool:
    """Return whether the arguments that a body begins with may be so long; False if they are not."""
    return len(body) > size and body[size] in ",}"


def _number(tool: str, args: str) -> int:
    """Return the number of a call, the same in whatever order the keys of its arguments are."""
    if "," not in args:  # they have one order only
        return hash((tool, args))
    return hash((tool, _sum(args) if len(args) <= _SHORT else len(args)))


def _sum(args: str) -> int:
    """Return a number for the text of arguments that does not depend on the order of its characters."""
    return adler32(args.encode().translate(_WEIGHTS)) & 0xFFFF


def _parts(place: _Place) -> tuple[bytes | None, bytes | None]:
    """Return the agent of a place, and the tool call."""
    return place if isinstance(place, tuple) else (place, None)


def _ended(call: Row | _Ended) -> _Ended:
    """Return a call in the form of those with two rows."""
    return call if len(call) == 3 else (call, call, None)


class _Stream:
    """The last calls of one agent, or those inside of one tool call."""

    __slots__ = ("before", "compared", "failing", "is_alert", "numbers", "recent")

    def __init__(self) -> None:
        self.recent: deque[Row | _Ended] = deque(maxlen=_KEPT)
        """The last calls; of one with a single row, only this."""
        self.before: Row | None = None
        """The first row of the call before, if that was not looked at: the next one will be."""
        self.numbers: deque[int | None] = deque(maxlen=loops.LONGEST)
        """Those of the others; None for one that is like no other."""
        self.compared: _Ended | None = None
        """The newest one that was compared in full; those after it are put aside."""
        self.is_alert = False
        """Whether this was the last one, so that the next is looked at as well."""
        self.failing: Collection[str] = ()
        """The tools that have failed, and not succeeded since."""

    def put_aside(self) -> list[_Ended]:
        """Return the calls that were not compared, in order."""
        aside: list[_Ended] = []
        for call in reversed(tuple(self.recent)):
            if call is self.compared:
                break
            aside.append(_ended(call))
        return aside[::-1]

    def candidates(self, number: int | None) -> Iterable[_Ended]:
        """Return the calls that one with a number is to be compared with: if it is not looked at in turn, all."""
        recent = tuple(self.recent)
        if self.is_alert or self.before is None:
            return map(_ended, recent)
        # The newest was not looked at, and from there on every second.
        looked_at = zip(recent[-2::-2], reversed(tuple(self.numbers)), strict=False)
        return map(_ended, (*recent[-1:], *(call for call, other in looked_at if other == number)))
