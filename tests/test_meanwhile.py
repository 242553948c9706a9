"""What other threads do in the middle of a call of ours causes no error in it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import localops
from localops import LLMEvent, Session, ToolEvent
from localops.journal import weak_values
from localops.recording import loop_watch, session_facts
from tests import programs


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
    meanwhile(open_another, weak_values.__file__, "values <listcomp>", lambda: session.end_session("Success"))
    assert session.end_state == "Success"


def test_reasons_that_others_find() -> None:
    """Figures are there whatever is recorded meanwhile, also calls that have no price for another reason."""
    session = _begun()
    session.record(LLMEvent(prompt="p", model="unknown-1", prompt_tokens=1, completion_tokens=1))
    unpriced = session.recorder.writer.unpriced
    find_another = lambda: unpriced.setdefault(f"reason {len(unpriced)}", {})  # noqa: E731
    meanwhile(find_another, session_facts.__file__, "_warn_unpriced <listcomp>", session.get_analytics)


def test_alarms_that_others_give() -> None:
    """If two threads raise the alarms of loops at once, each loop has one alarm."""
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


_DEEP = """
import sys, threading
import localops
from localops import careful

session = localops.init(env_data_opt_out=True, instrument_llm_calls=False)
limit = sys.getrecursionlimit()
is_raised, is_deep, is_restored = (threading.Event() for _ in range(3))

def at(depth, function):
    return at(depth - 1, function) if depth else function()

def overflow():
    is_deep.set()
    is_restored.wait()
    try: raise ValueError
    except ValueError: at(10, list)

def raise_it():
    is_raised.set()
    is_deep.wait()

threads = [threading.Thread(target=at, args=a) for a in
    [(limit - 100, lambda: careful.deeper(raise_it)), (limit + 200, overflow)]]
threads[0].start()
is_raised.wait()
threads[1].start()
threads[0].join()
print(sys.getrecursionlimit() - limit)
is_restored.set()
threads[1].join()
session.recorder.journal._file.check_at = 0.0
session.record(localops.ActionEvent(action_type="after"))
print(sys.getrecursionlimit() - limit)
"""


def test_a_thread_that_is_past_the_recursion_limit() -> None:
    """A raised limit is lowered once no thread is past it: on Python 3.11 that would end the process."""
    done = programs.run(_DEEP)
    assert (done.returncode, done.stdout, done.stderr) == (0, "500\n0\n", "")
