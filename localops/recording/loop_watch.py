"""The alarm of a session with `on_loop`: tool calls are compared as they end, by the rules of `reading/loops.py`.

What this process records is compared, and nothing is read from the journal.  An alarm waits here until the next
operation of the session begins, which is before the call is made once more.  A loop that the hook stopped by an
exception stays stopped: whatever caught that exception, the hook is called again for each call of this loop that is
about to begin, or that was recorded.

Nearly all calls are like none of the last ones, which shows by the tool and the length of the arguments' text, or else
by a sum of it: these do not depend on the order of keys.  Such calls are put aside as they are, and read and compared
only when one comes that may be like them, or one that failed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from uuid import UUID

from localops.clock import now_ns
from localops.encoding import encode
from localops.errors import LimitReached
from localops.interruption import attempt, is_programs
from localops.output import say_once
from localops.reading import loops, previews
from localops.recording.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    # Of a call that has ended: id, tool, the bodies of its rows, whether it failed, and its error.
    _Ended = tuple[bytes, str, str | None, str | None, bool, tuple[str | None, object] | None]
    _Hook = Callable[[Any, "Loop"], object]

# Terminal cells of what a call was given, in the text of a loop.
_CELLS = 40
# Operations that have begun and not ended.
_MOST_OPEN = 10_000
# For each byte another one, such that texts with the same sum are rare.
_WEIGHTS = bytes(pow(3, byte, 257) % 256 for byte in range(256))
# In the body of a row: its beginning where it has arguments, and what follows them.
_PARAMS, _RETURNS = '{"params":', ',"returns":'
_ARGS = len(_PARAMS)


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
        # By id: the kind and the body of the row that an operation began with, and whether it has only arguments.
        self._open: dict[bytes, tuple[str, str | None, bool]] = {}
        self._streams: dict[tuple[bytes | None, bytes | None], _Stream] = {}

    def began(self, id: bytes, kind: str, body: str | None, is_bare: bool) -> None:
        """Take in that an operation has begun; `is_bare`: the body of its row has the arguments, and nothing else."""
        self._open[id] = (kind, body, is_bare)
        if len(self._open) > _MOST_OPEN:  # most of these will never end
            attempt(lambda: self._open.pop(next(iter(self._open))), None)

    def recorded(
        self,
        id: bytes,
        tool: str,
        body: str | None,
        parent: bytes | None,
        agent: bytes | None,
        error: tuple[str | None, object] | None,
        *,
        has_returned: bool,
    ) -> None:
        """Take in a tool call that has a single row; `has_returned`: its body has a result. See `ended`."""
        call = (id, tool, None, body, error is not None, error)
        size = -1
        if has_returned and body is not None and body.startswith(_PARAMS):
            size = body.find(_RETURNS) - _ARGS
            # Arguments may have a name like that, too.
            if size > 0 and body.find(_RETURNS, size + _ARGS + 1) > 0:
                size = -1
        self._take(call, size, parent, agent)

    def ended(
        self,
        id: bytes,
        kind: str,
        tool: str,
        body: str | None,
        parent: bytes | None,
        agent: bytes | None,
        error: tuple[str | None, object] | None,
        *,
        failed: bool,
    ) -> None:
        """Take in that a call has ended, with the body of its last row; other operations are forgotten.

        error: its class and its message.  No error of ours is raised: there would be no alarm, and that is all.
        """
        began = self._open.pop(id, None)
        if kind != "tool":
            return
        opened, size = None, -1
        if began is not None:
            _, opened, is_bare = began
            if is_bare and opened is not None and opened.startswith(_PARAMS):
                size = len(opened) - _ARGS - 1
        self._take((id, tool, opened, body, failed, error), size, parent, agent)

    def _take(self, call: _Ended, size: int, parent: bytes | None, agent: bytes | None) -> None:
        """Put a call aside that is like none of the last ones, and compare any other.

        size: of the text of its arguments, where `_args_in` finds it; negative otherwise.
        """
        if self.stopped:
            self.stopped.pop(agent, None)
        inside = None
        if parent is not None and (around := self._open.get(parent)) is not None and around[0] == "tool":
            inside = parent
        stream = self._streams.get((agent, inside)) or self._begin_stream((agent, inside))
        _, tool, _, _, failed, _ = call
        key = hash(tool) ^ size
        if size < 0 or failed or stream.is_failing or key in stream.keys:
            self._look(stream, call, agent, inside, size=size)
            return
        stream.keys.append(key)
        stream.recent.append([key, call, None])
        stream.pending.append(call)

    def _begin_stream(self, key: tuple[bytes | None, bytes | None]) -> _Stream:
        stream = self._streams[key] = _Stream()
        if len(self._streams) > loops.MOST_STREAMS:
            attempt(lambda: self._streams.pop(next(iter(self._streams))), None)
        return stream

    def _look(self, stream: _Stream, call: _Ended, agent: bytes | None, inside: bytes | None, *, size: int) -> None:
        """Compare a call that may be like others."""
        _, tool, _, _, failed, _ = call
        is_news = attempt(lambda: stream.is_news(tool, _args_in(call) if size >= 0 else _arguments(call)), False)
        if size >= 0 and is_news and not failed and not stream.is_failing:
            stream.pending.append(call)
            return
        seen = attempt(lambda: self._compare(stream, call, agent, inside), None)
        if seen is not None:
            ids = tuple(UUID(bytes=one.id) for one in seen.calls)
            inputs = tuple(one.input for one in seen.calls[: seen.period])
            agent_id = UUID(bytes=agent) if agent else None
            self.waiting.append((Loop(seen.kind, tuple(seen.tools), ids, agent_id, inputs, seen.rounds), seen))

    def _compare(self, stream: _Stream, call: _Ended, agent: bytes | None, inside: bytes | None) -> loops.Loop | None:
        """Compare a call with those before it, in full; return the loop that has become one with it."""
        period = loops.period_around(self._began_ns, now_ns())
        loop = None
        while stream.pending:
            self._detector.add(self._read(stream.pending.popleft(), agent, inside, period))
        loop = self._detector.add(self._read(call, agent, inside, period))
        stream.is_failing = self._detector.is_failing(agent, inside)
        if loop is None and (known := self._detector.went_on) is not None and known.is_stopped:
            return known
        return loop

    def _read(self, ended: _Ended, agent: bytes | None, inside: bytes | None, period: tuple[int, int]) -> loops.Call:
        id, tool, opened, body, failed, error = ended
        begun = _loaded(opened if opened is not None else body)
        call = loops.Call(
            id,
            tool,
            begun,
            _loaded(body),
            agent=agent,
            inside=inside,
            failed=failed,
            error=loops.error_digest(*error, period) if error is not None else None,
            waits=tool in self._polling,
            period=period,
        )
        call.input = previews.line("tool", begun)
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


def _arguments(call: _Ended) -> str:
    """Return the text of a call's arguments, where it has to be read; the same length as in the body."""
    _, _, opened, body, _, _ = call
    params = _loaded(opened).get("params") if opened is not None else None
    if params is None:
        params = _loaded(body).get("params")
    return encode.sorted_dumps(params or {}).decode("utf-8", "replace")


def _args_in(call: _Ended) -> str:
    """Return the text of a call's arguments, where it can be cut out of the body of a row."""
    _, _, opened, body, _, _ = call
    if opened is not None:
        return opened[_ARGS:-1]
    return "" if body is None else body[_ARGS : body.find(_RETURNS)]


class _Stream:
    """The calls of one agent, or those inside of one tool call: what is known of the last ones."""

    __slots__ = ("is_failing", "keys", "pending", "recent")

    def __init__(self) -> None:
        self.keys: deque[int] = deque(maxlen=loops.LONGEST)
        """Of the last calls, a number for the tool and the length of the arguments' text."""
        self.recent: deque[list[Any]] = deque(maxlen=loops.LONGEST)
        """That number again, the text or the call that it is in, and a sum of the text once that was needed."""
        self.pending: deque[_Ended] = deque(maxlen=loops.ALARM * loops.LONGEST)
        """Calls that are like none before them, and that the detector has not seen."""
        self.is_failing = False
        """Whether a tool has failed, and not succeeded since."""

    def is_news(self, tool: str, args: str) -> bool:
        """Take in the next call, by the text of its arguments; return whether it is certainly none of the last ones."""
        key, total = hash(tool) ^ len(args), None
        is_known = False
        if key in self.keys:
            total = _sum(args)
            is_known = self._has(key, args, total)
        self.keys.append(key)
        self.recent.append([key, args, total])
        return not is_known

    def _has(self, key: int, args: str, total: int) -> bool:
        """Return whether one of the last calls may have had these arguments, in whatever order."""
        for one in tuple(self.recent):
            if one[0] != key or (one[2] is not None and one[2] != total):
                continue
            other = one[1] if isinstance(one[1], str) else _args_in(one[1])
            if one[2] is None:
                one[2] = _sum(other)
            if one[2] == total and (other == args or _is_same(other, args)):
                return True
        return False


def _sum(args: str) -> int:
    """Return a number for the text of arguments that does not depend on the order of its characters."""
    return int.from_bytes(args.encode("utf-8", "replace").translate(_WEIGHTS), "big") % 255


def _is_same(one: str, other: str) -> bool:
    """Return whether two texts of arguments are the same but for the order of keys."""
    same = attempt(lambda: encode.sorted_dumps(encode.loads(one)) == encode.sorted_dumps(encode.loads(other)), None)
    return same is not False
