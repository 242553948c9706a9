"""What other threads do in the middle of a call of ours is no error of it."""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import localops
from localops import LLMEvent, Session, ToolEvent
from localops.recording import loop_watch, session_facts


def meanwhile(step: Callable[[], object], file: str | None, names: str, call: Callable[[], object]) -> None:
    """Make a call, and take a step before each line of some functions of a file, where another thread may take it."""
    steps: list[object] = []

    def look(frame: FrameType, _event: str, _: object) -> Any:
        if frame.f_code.co_filename != file or frame.f_code.co_name not in names.split():
            return None
        sys.settrace(None)
        steps.append(step())
        sys.settrace(look)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        call()
    finally:
        sys.settrace(before)
    assert steps


def _begun(**options: Any) -> Session:
    return localops.start_session(config=localops.Config(env_data_opt_out=True, **options))


def test_calls_that_others_open_at_the_end() -> None:
    """A session ends whatever is opened in it meanwhile."""
    session = _begun()
    calls = [session.operation("call", "llm").open() for _ in range(3)]
    open_another = lambda: calls.append(session.operation("another", "llm").open())  # noqa: E731
    meanwhile(open_another, weakref.__file__, "values valuerefs", lambda: session.end_session("Success"))
    assert session.end_state == "Success"


def test_reasons_that_others_find() -> None:
    """Figures are there whatever is recorded meanwhile, also calls that have no price for another reason."""
    session = _begun()
    session.record(LLMEvent(prompt="p", model="unknown-1", prompt_tokens=1, completion_tokens=1))
    unpriced = session.recorder.writer.unpriced
    find_another = lambda: unpriced.setdefault(f"reason {len(unpriced)}", {})  # noqa: E731
    meanwhile(find_another, session_facts.__file__, "_warn_unpriced <listcomp>", session.get_analytics)


def test_alarms_that_others_give() -> None:
    """Of two threads that give the alarms of loops at once, each gives what the other does not."""
    loops: list[object] = []
    session = _begun(on_loop=lambda _, loop: loops.append(loop))
    watch = session.recorder.loops
    assert watch is not None

    def record() -> None:
        for _ in range(3):
            session.record(ToolEvent(name="search", params={"q": 1}, returns="none"))

    lines = itertools.count()
    # Once it was seen that there are some.
    take_them = lambda: watch.waiting.clear() if next(lines) == 2 else None  # noqa: E731
    meanwhile(take_them, loop_watch.__file__, "alarm", record)
    assert next(lines) > 2
    assert loops == []
