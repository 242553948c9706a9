"""Detect loops while a session with `on_loop` runs: compare tool calls as they end, by the rules of `reading/loops.py`.

Only calls that this process records are compared; nothing is read from the journal.  An alarm waits until the next
operation of the session begins: the hook then runs before the call is repeated.  If the hook stops a loop by raising an
exception, the loop stays stopped: even if the program catches the exception, the hook is called again for each further
call of this loop.

Most calls repeat nothing, so comparing each in full would waste time.  Only every second call of an agent is checked:
it is compared with the call before it, and its hash (of tool and arguments, whatever the order of their keys) is
looked up among the hashes of the last checked calls.  The other calls are skipped: they are kept, unread.

This finds every loop by the end of its third round.  If the same call is made three times in a row, one of them is
compared with the call before it.  In a longer cycle, one of the first two calls is checked again one round later (two
rounds later if the cycle has an odd length).  After such a match, or when a call fails, the skipped calls are read
and compared in full, and so is each following call until one matches nothing.
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

    # A call's first and last row (the same row, if it has one), and the text of its arguments as `look` takes it.
    # The text is None if the first row begins with it, and empty if the arguments are equal to no other arguments.
    _EndedCall = tuple[Row, Row, str | None]
    # Class and message.
    _Error = tuple[str | None, object] | None
    # An agent, or an agent and the tool call that its calls are made in.
    _Place = bytes | tuple[bytes | None, bytes] | None
    _Hook = Callable[[Any, "Loop"], object]

# Terminal cells for the arguments of a call, in the text of a loop.
_CELLS = 40
# Up to this many characters, computing a checksum of arguments is faster than comparing them with others in full.
_SHORT = 256
# Calls that are kept: a cycle is noticed by the end of its second round, or two calls later if its rounds are in
# different orders.
_KEPT = 2 * loops.LONGEST + 2
# Checksums of long arguments that are cached.
_CACHED_CHECKSUMS = 256
# How a first row's body begins; a whole body without arguments; what follows the arguments in the body of a single row.
_PARAMS, _NO_ARGS, _RETURNS = '{"params":', '{"params":{}}', ',"returns":'
# Maps each byte to another one, so that different texts rarely have the same checksum.
_WEIGHTS = bytes(pow(3, byte, 257) % 256 for byte in range(256))
_ID, _NAME, _PARENT, _AGENT, _AT, _START, _END = map(
    rows.COLUMNS.index, ("id", "name", "parent", "agent", "at_ns", "start_ns", "end_ns")
)
_BODY = -1  # in both forms of a row


@dataclass(frozen=True)
class Loop:
    """A loop of tool calls, as `on_loop` gets it after its third round."""

    kind: str
    """`repeat`: the same call with the same result. `cycle`: several calls in turn. `retry`: the same call failed
    each time. `error`: the same error, whatever the tool was given."""
    tools: tuple[str, ...]
    """The tools of one round, in order."""
    calls: tuple[UUID, ...]
    """The ids of the calls, in order; identical calls that overlap count once."""
    agent_id: UUID | None
    inputs: tuple[str, ...] = ()
    """The arguments of each call of one round, as a line; empty if it has none."""
    rounds: int = loops.ALARM
    """The number of rounds; more than `calls` has if the loop continued after it was stopped."""
    only_alike: bool = False
    """Whether the results differed, but only in ids, times and durations."""

    def __str__(self) -> str:
        what = {"retry": "failed with the same arguments", "error": "failed with the same error"}
        gave = (
            "returned the same result except for ids and times" if self.only_alike else "returned the same result again"
        )
        return f"{', '.join(self._steps())}: {what.get(self.kind, gave)}, {self.rounds} times"

    def _steps(self) -> Iterable[str]:
        """Return the tools of one round, with their arguments if a tool is called more than once."""
        if len(set(self.tools)) == len(self.tools) or len(self.inputs) != len(self.tools):
            return self.tools
        lines = previews.cut_distinct(self.inputs, _CELLS)
        return (f"{tool} ({line})" if line else tool for tool, line in zip(self.tools, lines, strict=True))


class LoopWatch:
    """Compares the tool calls of one session in this process, and keeps alarms until the hook is called."""

    def __init__(self, polling: Collection[str], note: Callable[[Loop, str], None]) -> None:
        self._note = note
        """Records that the hook stopped a loop, and the class of its exception."""
        self.waiting: list[tuple[Loop, loops.Loop]] = []
        # By agent: the loop that the hook has stopped; forgotten when the agent calls another tool.
        self.stopped: dict[bytes | None, tuple[Loop, loops.Loop]] = {}
        self._polling = frozenset(polling)
        self._detector = loops.Detector(keep=False)
        self._began_ns = now_ns()
        self.open: dict[bytes, None] = {}
        """The ids of open tool calls."""
        self._streams: dict[_Place, _Stream] = {}
        # Streams in which calls may be skipped: the last call matched no other, no tool is failing, no loop is stopped.
        self._skipping: dict[_Place, _Stream] = {}
        self._checksums: dict[tuple[bytes, int], int] = {}

    def forget_open(self) -> None:
        """Forget the older half of the open tool calls: when there are too many, most of them will never end."""
        self.open = attempt(lambda: dict.fromkeys(tuple(self.open)[len(self.open) // 2 :]), {})

    # The next two methods run for each tool call and delay the program: repeating the code saves a function call.

    def recorded(self, row: Row) -> None:
        """Process a tool call with a single row, whose body begins with its arguments and result."""
        parent = row[_PARENT]
        try:
            stream = self._skipping[row[_AGENT] if parent is None or parent not in self.open else (row[_AGENT], parent)]
        except KeyError:
            self.look(row, row, _args_before_result(row))
            return
        if (before := stream.before) is None:
            stream.before = row
            stream.recent.append(row)
            return
        args = row[_BODY].partition(_RETURNS)[0]
        # An argument may itself be named "returns": the text is then cut too early.
        call_hash = _hash_if_new(stream, before, row[_NAME], args) if args[-1] == "}" else None
        if call_hash is None:
            self.look(row, row, _args_before_result(row))
            return
        stream.before = None
        stream.hashes.append(call_hash)
        stream.recent.append(row)

    def ended(self, opened: Row, row: Row) -> None:
        """Process a tool call that succeeded, given both rows; the body of the first holds nothing but arguments."""
        try:
            del self.open[row[_ID]]
        except KeyError:  # forgotten, or this step was interrupted and is repeated
            pass
        parent = row[_PARENT]
        try:
            stream = self._skipping[row[_AGENT] if parent is None or parent not in self.open else (row[_AGENT], parent)]
        except KeyError:
            self.look(opened, row, (opened[_BODY] or _NO_ARGS)[:-1])
            return
        if (before := stream.before) is None:
            stream.before = opened
            stream.recent.append((opened, row, None))
            return
        args = (opened[_BODY] or _NO_ARGS)[:-1]
        call_hash = _hash_if_new(stream, before, row[_NAME], args)
        if call_hash is None:
            self.look(opened, row, args)
            return
        stream.before = None
        stream.hashes.append(call_hash)
        stream.recent.append((opened, row, None))

    def look(
        self, first: Row, row: Row, args: str | None = None, error: _Error = None, *, failed: bool = False
    ) -> None:
        """Process any tool call that has ended, and compare it with others; `first` is its opening row.

        `args` is the beginning of the first row's body: the arguments without their last brace.  If it is None, the
        arguments are read from the row.  An error of ours is not raised: it only prevents the alarm.
        """
        tool, agent, parent = row[_NAME], row[_AGENT], row[_PARENT]
        self.open.pop(row[_ID], None)
        if self.stopped:
            self.stopped.pop(agent, None)
        place = agent if parent is None or parent not in self.open else (agent, parent)
        stream = self._streams.get(place) or self._begin_stream(place)
        is_second, args_text = stream.before is not None, None
        if failed:
            args = ""  # a failed call is always compared in full
        elif args is None and (is_second or stream.is_alert or not (first[_BODY] or "").startswith(_PARAMS)):
            args = args_text = attempt(lambda: self._read_args(first), "")
        call_hash = _call_hash(tool, args) if args and is_second else None
        is_news = not failed and tool not in stream.failing
        if is_news and args and (is_second or stream.is_alert):
            is_news = not attempt(lambda: self._is_known(stream, row, args, call_hash), True)
        stream.before = None if is_second else first
        if is_second:
            stream.hashes.append(call_hash)
        skipped: list[_EndedCall] = [] if is_news else attempt(stream.skipped_calls, [])
        call = first, row, args_text
        stream.recent.append(call)
        stream.is_alert = not is_news
        if stream.is_alert:
            stream.compared = call
            self._compare(stream, place, skipped, call, error, failed=failed)
        if stream.is_alert or stream.failing or self.stopped or (args_text is not None and not is_second):
            self._skipping.pop(place, None)
        else:
            self._skipping[place] = stream

    def _begin_stream(self, place: _Place) -> _Stream:
        stream = self._streams[place] = _Stream()
        if len(self._streams) > loops.MOST_STREAMS:
            attempt(self._forget_stream, None)
        return stream

    def _forget_stream(self) -> None:
        """Forget one stream: of the calls inside an ended tool call, else the oldest."""
        # A copy, as other threads may add and remove streams meanwhile.
        places = tuple(self._streams)
        ended = (place for place in places if type(place) is tuple and place[1] not in self.open)
        place = next(ended, places[0])
        self._streams.pop(place, None)
        self._skipping.pop(place, None)
        self._detector.forget(*_parts(place))

    def _read_args(self, first: Row) -> str:
        """Read the arguments of a call and return their text; empty if they must match no other call."""
        begun = _parse_body(first[_BODY])
        if begun.get("polling") or begun.get("params_left_out"):
            return ""
        return _PARAMS + encode.sorted_dumps(begun.get("params") or {}).decode()

    def _is_known(self, stream: _Stream, row: Row, args: str, call_hash: int | None) -> bool:
        """Return whether one of the last calls had the same tool and arguments, in any order of keys."""
        tool, size = row[_NAME], len(args)
        if tool in self._polling:
            return False
        for first, last, args_text in stream.candidates(call_hash):
            if last[_NAME] != tool:
                continue
            others = args_text if args_text is not None else first[_BODY] or _NO_ARGS
            if args_text is None and _is_as_long(others, size):
                others = others[:size]
            if len(others) != size:
                continue
            is_same = others == args
            if not is_same and "," in args and self._cached_checksum(row, args) == self._cached_checksum(last, others):
                is_same = _parse_args(args) == _parse_args(others)
            if is_same:
                return not _parse_body(row[_BODY]).get("polling")
        return False

    def _cached_checksum(self, row: Row, args: str) -> int:
        """Return the checksum of a call's arguments, from a cache: long arguments are compared many times."""
        key = row[_ID], len(args)
        if key not in self._checksums:
            if len(self._checksums) >= _CACHED_CHECKSUMS:
                self._checksums.clear()
            self._checksums[key] = _checksum(args)
        return self._checksums[key]

    def _compare(
        self,
        stream: _Stream,
        place: _Place,
        skipped: list[_EndedCall],
        call: _EndedCall,
        error: _Error,
        *,
        failed: bool,
    ) -> None:
        """Compare a call in full with those before it; if it completes a loop, keep an alarm for the hook."""
        loop = attempt(lambda: self._find_loop(stream, place, skipped, call, error, failed=failed), None)
        if loop is not None:
            ids = tuple(UUID(bytes=each.id) for each in loop.calls)
            inputs = tuple(previews.line("tool", _parse_body(each.input)) for each in loop.calls[: loop.period])
            agent = UUID(bytes=loop.agent) if loop.agent else None
            self.waiting.append(
                (Loop(loop.kind, tuple(loop.tools), ids, agent, inputs, loop.rounds, loop.only_alike), loop)
            )

    def _find_loop(
        self,
        stream: _Stream,
        place: _Place,
        skipped: list[_EndedCall],
        call: _EndedCall,
        error: _Error,
        *,
        failed: bool,
    ) -> loops.Loop | None:
        """Return the loop that a call completes, or the stopped loop that it continues."""
        agent, inside = _parts(place)
        period = loops.period_around(self._began_ns, now_ns())
        add = self._detector.add
        if len(skipped) == _KEPT:  # older ones may have been dropped: an empty call ends any loop before this gap
            add(loops.Call(b"", "", {}, {}, agent=agent, inside=inside))
        for each in skipped:
            add(self._read(each, agent, inside, period))
        loop = add(self._read(call, agent, inside, period, error, failed=failed))
        stream.failing = self._detector.failing(agent, inside)
        if loop is None and (known := self._detector.continued) is not None and known.is_stopped:
            return known
        return loop

    def _read(
        self,
        ended: _EndedCall,
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
            begun := _parse_body(first[_BODY]),
            begun if first is row else _parse_body(row[_BODY]),
            agent=agent,
            inside=inside,
            failed=failed,
            error=loops.error_digest(*error, period) if error is not None else None,
            waits=row[_NAME] in self._polling,
            period=period,
            times=_times(first, row),
        )
        # The raw text: it is formatted only if there is an alarm.
        call.input = first[_BODY] or ""
        return call

    def alarm(self, session: object, on_loop: _Hook) -> None:
        """Call the hook for each waiting alarm; of its exceptions, only a LimitReached reaches the program."""
        while self.waiting:
            try:
                known = self.waiting.pop(0)
            except IndexError:  # another thread handles it
                return
            self._call_hook(session, on_loop, *known)

    def refuse(self, session: object, on_loop: _Hook, tool: str, body: str | None, agent: bytes | None) -> None:
        """Call the hook again if a call that is about to begin, with this body, continues a stopped loop.

        Any other tool call of the agent makes us forget that the loop was stopped.
        """
        if (known := self.stopped.pop(agent, None)) is None:
            return
        loop, stopped = known
        call = attempt(lambda: loops.Call(b"", tool, _parse_body(body), {"returns": None}), None)
        if call is not None and any(call.given == each.given for each in stopped.calls):
            self._call_hook(session, on_loop, loop, stopped)

    def _call_hook(self, session: object, on_loop: _Hook, loop: Loop, stopped: loops.Loop) -> None:
        was_stopped, stopped.is_stopped = stopped.is_stopped, False
        try:
            on_loop(session, loop)
        except LimitReached as error:
            stopped.is_stopped = True
            if not was_stopped:
                # The program may catch the exception: only this row then shows why its calls were not made.
                self._note(loop, type(error).__name__)
            self.stopped[stopped.agent] = loop, stopped
            self._skipping.clear()
            raise
        except Exception as error:  # the edge: a faulty hook must not break the program
            if is_programs(error):
                raise
            say_once(
                "on_loop",
                f"on_loop failed: {type(error).__name__}: {describe(error)}; raise localops.LoopDetected to stop",
            )


def _parse_body(body: str | None) -> dict[str, Any]:
    value = encode.loads(body) if body else {}
    return value if isinstance(value, dict) else {"params": value}


def _hash_if_new(stream: _Stream, before: Row, tool: str, args: str) -> int | None:
    """Return the hash of a call; None if the call may equal the one before it, or another of the last calls."""
    others = before[_BODY] or _NO_ARGS
    if "," not in args:  # one argument at most: the order of keys does not matter
        call_hash = hash((tool, args))
        is_like = before[_NAME] == tool and others.startswith(args)
    else:
        size = len(args)
        key = adler32(args.encode().translate(_WEIGHTS)) & 0xFFFF if size <= _SHORT else size
        call_hash = hash((tool, key))
        is_like = (
            before[_NAME] == tool and _is_as_long(others, size) and (key == size or _checksum(others[:size]) == key)
        )
    return None if is_like or call_hash in stream.hashes else call_hash


def _args_before_result(row: Row) -> str | None:
    """Return the arguments of a single row as `LoopWatch.look` takes them, or None."""
    args: str = row[_BODY].partition(_RETURNS)[0]
    # An argument may itself be named "returns": the text is then cut too early.
    return args if args[-1] == "}" else None


def _parse_args(args: str) -> object:
    """Parse arguments whose text lacks the last brace."""
    return _parse_body(args + "}").get("params")


def _is_as_long(body: str, size: int) -> bool:
    """Return whether the arguments at the beginning of a body may end after `size` characters."""
    return len(body) > size and body[size] in ",}"


def _call_hash(tool: str, args: str) -> int:
    """Return the hash of a call, which does not depend on the order of its arguments' keys."""
    if "," not in args:  # one argument at most
        return hash((tool, args))
    return hash((tool, _checksum(args) if len(args) <= _SHORT else len(args)))


def _checksum(args: str) -> int:
    """Return a checksum of the text of arguments that does not depend on the order of its characters."""
    return adler32(args.encode().translate(_WEIGHTS)) & 0xFFFF


def _times(first: Row, row: Row) -> tuple[int, int]:
    """Return when a call began and ended."""
    began, ended = first[_START], row[_END] if len(row) == len(rows.COLUMNS) else None
    return first[_AT] if began is None else began, row[_AT] if ended is None else ended


def _parts(place: _Place) -> tuple[bytes | None, bytes | None]:
    """Return the agent and the tool call of a place."""
    return place if isinstance(place, tuple) else (place, None)


def _as_ended_call(call: Row | _EndedCall) -> _EndedCall:
    """Return a call with its two rows, also if it was kept as a single row."""
    return call if len(call) == 3 else (call, call, None)


class _Stream:
    """The last calls of one agent, or those inside one of its tool calls."""

    __slots__ = ("before", "compared", "failing", "hashes", "is_alert", "recent")

    def __init__(self) -> None:
        self.recent: deque[Row | _EndedCall] = deque(maxlen=_KEPT)
        """The last calls; a call with a single row is kept as that row."""
        self.before: Row | None = None
        """The first row of the previous call if that was skipped, so that the next call is checked."""
        self.hashes: deque[int | None] = deque(maxlen=loops.LONGEST)
        """The hashes of the checked calls; None for a call that equals no other."""
        self.compared: _EndedCall | None = None
        """The newest call that was compared in full; the calls after it were skipped."""
        self.is_alert = False
        """Whether the last call was compared in full, so that the next one is checked as well."""
        self.failing: Collection[str] = ()
        """The tools that have failed and have not succeeded since."""

    def skipped_calls(self) -> list[_EndedCall]:
        """Return the calls since the last full comparison, in order."""
        skipped: list[_EndedCall] = []
        for call in reversed(tuple(self.recent)):
            if call is self.compared:
                break
            skipped.append(_as_ended_call(call))
        return skipped[::-1]

    def candidates(self, call_hash: int | None) -> Iterable[_EndedCall]:
        """Return the calls to compare a call with: those with its hash, or all if the call is checked out of turn."""
        recent = tuple(self.recent)
        if self.is_alert or self.before is None:
            return map(_as_ended_call, recent)
        # The newest call was skipped; before it, every second one was.
        checked = zip(recent[-2::-2], reversed(tuple(self.hashes)), strict=False)
        return map(_as_ended_call, (*recent[-1:], *(call for call, other in checked if other == call_hash)))
