"""The alarm of a session with `on_loop`: tool calls are compared as they end, by the rules of `reading/loops.py`.

What this process records is compared, and nothing is read from the journal.  An alarm waits here until the next
operation of the session begins, which is before the call is made once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from localops.clock import now_ns
from localops.encoding import encode
from localops.errors import LimitReached
from localops.interruption import attempt, is_programs
from localops.output import say_once
from localops.reading import loops
from localops.recording.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

# Operations that have begun and not ended.
_MOST_OPEN = 10_000


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

    def __str__(self) -> str:
        rounds = len(self.calls) // len(self.tools)
        what = {"retry": "failed with the same arguments", "error": "failed with the same error"}
        return f"{', '.join(self.tools)}: {what.get(self.kind, 'gave the same again')}, {rounds} times"


class LoopWatch:
    """Compares the tool calls of one session in this process, and keeps the alarms that are to be given."""

    def __init__(self, polling: Collection[str]) -> None:
        self.waiting: list[Loop] = []
        self._polling = frozenset(polling)
        self._detector = loops.Detector(keep=False)
        self._began_ns = now_ns()
        # By id: the kind and the body of the row that an operation began with.
        self._open: dict[bytes, tuple[str, str | None]] = {}

    def began(self, id: bytes, kind: str, body: str | None) -> None:
        """Take in that an operation has begun."""
        self._open[id] = (kind, body)
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
    ) -> None:
        """Take in that a call has ended, with the body of its last or only row; other operations are forgotten.

        error: its class and its message. No error of ours is raised: there would be no alarm, and that is all.
        """
        _, opened = self._open.pop(id, (kind, None))
        if kind != "tool":
            return
        period = loops.period_around(self._began_ns, now_ns())
        around = self._open.get(parent) if parent is not None else None

        def look() -> loops.Loop | None:
            return self._detector.add(
                loops.Call(
                    id,
                    tool,
                    _loaded(opened),
                    _loaded(body),
                    agent=agent,
                    inside=parent if around is not None and around[0] == "tool" else None,
                    failed=failed,
                    error=loops.error_digest(*error, period) if error is not None else None,
                    waits=tool in self._polling,
                    period=period,
                )
            )

        seen = attempt(look, None)
        if seen is not None:
            ids = tuple(UUID(bytes=call.id) for call in seen.calls)
            self.waiting.append(Loop(seen.kind, tuple(seen.tools), ids, UUID(bytes=agent) if agent else None))

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
