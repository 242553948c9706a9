"""The alarm of a session with `on_loop`: tool calls are compared as they end, by the rules of `reading/loops.py`.

What this process records is compared, and nothing is read from the journal.  An alarm waits here until the next
operation of the session begins, which is before the call is made once more.

Nearly all calls are like none of the last ones, which shows by the tool, and by the length and a sum of the arguments'
text: these do not depend on the order of keys.  Such calls are put aside as they are, and read and compared only when
one comes that may be like them, or one that failed.
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

# Terminal cells of what a call was given, in the text of a loop.
_CELLS = 40
# Operations that have begun and not ended.
_MOST_OPEN = 10_000
# Characters of arguments from which on their number says enough.
_LONG = 4096
# For each byte another one, such that texts with the same sum are rare.
_WEIGHTS = bytes(pow(3, byte, 257) % 256 for byte in range(256))
# In the body of a row: its beginning where it has arguments, and what follows them.
_PARAMS, _RETURNS = '{"params":', ',"returns":'


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

    def __str__(self) -> str:
        rounds = len(self.calls) // len(self.tools)
        what = {"retry": "failed with the same arguments", "error": "failed with the same error"}
        return f"{', '.join(self._steps())}: {what.get(self.kind, 'gave the same again')}, {rounds} times"

    def _steps(self) -> Iterable[str]:
        """Return the tools of one round, with what they were given if their names do not tell them apart."""
        if len(set(self.tools)) == len(self.tools) or len(self.inputs) != len(self.tools):
            return self.tools
        given = previews.apart(self.inputs, _CELLS)
        return (f"{tool} ({line})" if line else tool for tool, line in zip(self.tools, given, strict=True))


class LoopWatch:
    """Compares the tool calls of one session in this process, and keeps the alarms that are to be given."""

    def __init__(self, polling: Collection[str]) -> None:
        self.waiting: list[Loop] = []
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

    def ended(
        self,
        id: bytes,
        kind: str,
        tool: str,
        body: str | None,
        *,
        parent: bytes | None,
        agent: bytes | None,
        failed: bool,
        error: tuple[str | None, object] | None,
        has_returned: bool = False,
    ) -> None:
        """Take in that a call has ended, with the body of its last or only row; other operations are forgotten.

        error: its class and its message. has_returned: of a call with one row, its body has a result.  No error of ours
        is raised: there would be no alarm, and that is all.
        """
        began = self._open.pop(id, None)
        if kind != "tool":
            return
        inside = None
        if parent is not None and (around := self._open.get(parent)) is not None and around[0] == "tool":
            inside = parent
        stream = self._streams.get((agent, inside))
        if stream is None:
            stream = self._begin_stream((agent, inside))
        opened, args = None, None
        if began is not None:
            _, opened, is_bare = began
            if is_bare and opened is not None and opened.startswith(_PARAMS):
                args = opened[len(_PARAMS) : -1]
        elif has_returned and body is not None and body.startswith(_PARAMS) and body.count(_RETURNS) == 1:
            args = body[len(_PARAMS) : body.index(_RETURNS)]
        call = (id, tool, opened, body, failed, error)
        if args is not None and stream.is_news(tool, args) and not failed and not stream.is_failing:
            stream.pending.append(call)
        else:
            self._look(stream, call, agent, inside, is_read=args is not None)

    def _begin_stream(self, key: tuple[bytes | None, bytes | None]) -> _Stream:
        stream = self._streams[key] = _Stream()
        if len(self._streams) > loops.MOST_STREAMS:
            attempt(lambda: self._streams.pop(next(iter(self._streams))), None)
        return stream

    def _look(self, stream: _Stream, call: _Ended, agent: bytes | None, inside: bytes | None, *, is_read: bool) -> None:
        """Compare a call that may be like others; `is_read`: its arguments were taken in."""
        if not is_read:
            _, tool, opened, body, *_ = call
            attempt(lambda: stream.is_news(tool, _arguments(opened, body)), None)
        seen = attempt(lambda: self._compare(stream, call, agent, inside), None)
        if seen is not None:
            ids = tuple(UUID(bytes=one.id) for one in seen.calls)
            inputs = tuple(one.input for one in seen.calls[: seen.period])
            agent_id = UUID(bytes=agent) if agent else None
            self.waiting.append(Loop(seen.kind, tuple(seen.tools), ids, agent_id, inputs))

    def _compare(self, stream: _Stream, call: _Ended, agent: bytes | None, inside: bytes | None) -> loops.Loop | None:
        """Compare a call with those before it, in full; return the loop that has become one with it."""
        period = loops.period_around(self._began_ns, now_ns())
        loop = None
        while stream.pending:
            self._detector.add(self._read(stream.pending.popleft(), agent, inside, period))
        loop = self._detector.add(self._read(call, agent, inside, period))
        stream.is_failing = self._detector.is_failing(agent, inside)
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

    def alarm(self, session: object, on_loop: Callable[[Any, Loop], object]) -> None:
        """Give the alarms that wait; a LimitReached of the hook reaches the program, other errors of it do not."""
        while self.waiting:
            loop = self.waiting.pop(0)
            try:
                on_loop(session, loop)
            except LimitReached:
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


def _arguments(opened: str | None, body: str | None) -> str:
    """Return the text of a call's arguments, where it has to be read; the same length as in the body."""
    params = _loaded(opened).get("params") if opened is not None else None
    if params is None:
        params = _loaded(body).get("params")
    return encode.sorted_dumps(params or {}).decode("utf-8", "replace")


class _Stream:
    """The calls of one agent, or those inside of one tool call: what is known of the last ones."""

    __slots__ = ("_keys", "is_failing", "pending")

    def __init__(self) -> None:
        self._keys: deque[int] = deque(maxlen=loops.LONGEST)
        self.pending: deque[_Ended] = deque(maxlen=loops.ALARM * loops.LONGEST)
        """Calls that are like none before them, and that the detector has not seen."""
        self.is_failing = False
        """Whether a tool has failed, and not succeeded since."""

    def is_news(self, tool: str, args: str) -> bool:
        """Take in the next call, by the text of its arguments; return whether it is certainly none of the last ones."""
        size = len(args)
        # A sum that does not depend on the order of the bytes.
        total = 0
        if size < _LONG:
            total = int.from_bytes(args.encode("utf-8", "replace").translate(_WEIGHTS), "big") % 255
        key = hash((tool, size, total))
        keys = self._keys
        is_known = key in keys
        keys.append(key)
        return not is_known
