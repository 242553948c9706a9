"""What the program's signal handlers and threads raise while it records arrives; what its values raise does not.

Programs that are interrupted at random moments are in tests/stress/test_interruptions.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from opcode import opname
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import localops
from localops import LLMEvent, api, careful, interruption
from localops.decorators import tool
from localops.encoding.encode import Encoder
from localops.interruption import deliver, hold, is_programs, settle
from localops.journal import forks, locks, participants
from localops.journal.reader import Reader
from tests import programs


class Late(Exception):
    """An exception of a handler."""


class Stop(BaseException):
    """An exception that a value should not raise, and some do."""


def raises(error: type[BaseException]) -> Callable[..., Any]:
    """A method that raises that."""

    def method(*_: object, **__: object) -> Any:
        raise error("of its own")

    return method


METHODS = ("__str__", "__repr__", "__getattribute__", "__iter__", "__len__", "__bool__", "__eq__", "__fspath__")


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, SystemExit, GeneratorExit, TimeoutError, ValueError])
@pytest.mark.parametrize("method", [*METHODS, "model_dump", "to_dict", "tolist"])
def test_what_a_value_raises_never_arrives(error: type[BaseException], method: str) -> None:
    """In every field of an event, by every method: the event is recorded, and the program continues."""
    value = type("Hostile", (), {method: raises(error)})()
    session = localops.init(env_data_opt_out=True)
    assert session is not None
    fields = ("params", "returns", "logs", "name", "tags", "agent_id", "id", "screenshot", "init_timestamp")
    for field in (*fields, "event_type"):
        session.record(localops.ActionEvent(**{field: value}))
    for field in ("prompt", "completion", "model", "cost", "prompt_tokens", "provider", "thread_id"):
        session.record(localops.LLMEvent(**{field: value}))
    for field in ("error_type", "code", "details", "exception", "trigger_event"):
        session.record(localops.ErrorEvent(**{field: value}))
    session.record(localops.ActionEvent(params=[value], tags=[value]))
    assert session._journal.counts["dropped"] == 0
    assert len(list(session.events)) == 10 + 7 + 5 + 1
    assert not interruption.waiting


def test_what_a_value_written_in_c_raises_never_arrives() -> None:
    """It leaves no frame of its own: the step is repeated, and raises the same again."""
    broken = memoryview(b"x")
    broken.release()  # from now on each of its methods raises ValueError
    text = Encoder(redactor=None).encode({"params": broken})
    assert '"$failed":"ValueError"' in text
    assert not interruption.waiting


def test_a_value_that_raises_once_only_is_its_own_affair() -> None:
    """A value that fails at the first look and not at the second was not interrupted."""

    class Flaky:
        looks = 0

        def __repr__(self) -> str:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("not yet")
            return "ready"

    Encoder(redactor=None).encode({"params": Flaky()})
    assert not interruption.waiting


def test_a_signal_handler_is_known_by_its_frame() -> None:
    """However it names its arguments, and if it has let go of them, as long as it is set."""

    def takes_any(*given: object) -> None:
        raise Late("any")

    def forgets(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Late("forgot")

    class Object:
        def __call__(self, number: int, frame: FrameType | None) -> None:
            raise Late("object")

        def method(self, number: int, frame: FrameType | None) -> None:
            raise Late("method")

    before = signal.getsignal(signal.SIGUSR1)
    try:
        for handler in (takes_any, forgets, Object(), Object().method):
            signal.signal(signal.SIGUSR1, handler)
            with pytest.raises(Late) as caught:
                signal.raise_signal(signal.SIGUSR1)
            assert is_programs(caught.value) is True, handler
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(Late) as caught:
        takes_any(1, 2)
    assert is_programs(caught.value) is False


def test_a_step_is_repeated_and_its_interruption_held() -> None:
    """`settle` tells the two apart, and `deliver` raises what was held, the newest with the others behind it."""
    tries = []

    def step() -> int:
        tries.append(1)
        return len(tries)

    first, second = Stop("first"), Stop("second")
    assert settle(first, step) == 1
    hold(second)
    with pytest.raises(Stop, match="second") as caught:
        deliver()
    assert caught.value.__context__ is first
    deliver()  # nothing is left

    def fails() -> int:
        raise Late("of its own")

    with pytest.raises(Late) as own:
        fails()
    with pytest.raises(Late):
        settle(own.value, fails)
    assert not interruption.waiting


def test_what_an_extension_raises_is_the_values() -> None:
    """The functions of a Cython module have frames without code, which are left where a real one begins."""
    new_empty = ctypes.pythonapi.PyCode_NewEmpty
    new_empty.restype, new_empty.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]

    def ambiguous() -> bool:
        with pytest.raises(AssertionError) as caught:
            exec(new_empty(b"missing.pyx", b"__bool__", 1))
        stand_in = types.TracebackType(None, caught.traceback[-1]._rawentry.tb_frame, 0, 1)
        raise TypeError("boolean value is ambiguous").with_traceback(stand_in)

    assert interruption.attempt(ambiguous, True) is True
    assert not interruption.waiting


def interrupted_at(
    place: int, action: Callable[[], Any], kind: type[Exception] = Late, where: tuple[str, ...] = ("localops.",)
) -> bool:
    """Raise at one of the places where CPython may run a signal handler, and tell whether there are so many.

    They are where a function begins, and where a call of C code returns, in modules whose names begin in these ways.
    """
    left = place

    def raise_there(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and str(frame.f_globals.get("__name__")).startswith(where):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGUSR1)

    def handler(number: int, frame: FrameType | None) -> None:
        raise kind

    before = signal.signal(signal.SIGUSR1, handler)
    sys.setprofile(raise_there)
    try:
        action()
    except kind:
        pass
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)
    return left < 0


_KINDS = "'llm', 'llm_copy', 'price', 'tool', 'error'"


@tool
def _tool_that_fails(session: localops.Session) -> None:
    raise ValueError("not found")


def _operation_by_hand(session: localops.Session) -> None:
    with session.operation("by hand", "tool"):
        pass


def _operation_that_fails(session: localops.Session) -> None:
    with session.operation("fails", "tool"):
        raise ValueError("not found")


def test_a_start_that_is_interrupted_at_any_place() -> None:
    """The exception reaches the program, also where a session can do without the step that it interrupts."""
    where = ("localops.recording.client", "localops.recording.process_exit", "localops.host")
    localops.init()
    place, arrived = 0, []

    def action() -> None:
        try:
            localops.start_session()
        except Late:
            arrived.append(place)
            raise

    while interrupted_at(place, action, where=where):
        place += 1
    assert place >= 30
    assert arrived == list(range(place))


@pytest.mark.parametrize("work", [_tool_that_fails, _operation_by_hand, _operation_that_fails])
def test_an_operation_that_is_interrupted_at_any_place_ends_once(work: Callable[[localops.Session], None]) -> None:
    """What was opened has one end, what failed one error, and the exception arrives."""
    session = localops.init(env_data_opt_out=True)
    assert session is not None
    passed: list[str] = []

    def action() -> None:
        try:
            work(session)
        except ValueError:
            pass
        except Late as error:
            passed[:] = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            raise

    action()
    place, seq, seen = 0, _newest(session), set()
    while interrupted_at(place, action):
        assert passed, place
        rows = session._journal._file.connection.execute(  # type: ignore[union-attr]
            f"select kind, phase, failed from event where seq > ? and kind in ({_KINDS}) order by seq", (seq,)
        ).fetchall()
        # Where `__exit__` has not begun, no code can do anything: in the journal the operation stays open.
        if passed[-3:] != ["__exit__", "raise_there", "handler"]:
            seen.add(tuple(rows))
        place, seq = place + 1, _newest(session)
        passed.clear()
    opened = ("tool", 1, None)
    failed = (opened, ("tool", 0, 1), ("error", 0, None))
    assert seen <= {(), failed, (opened, ("tool", 0, None))}
    assert {(), failed} <= seen


def _a_call_that_fails(session: localops.Session) -> None:
    call = LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=3, completion_tokens=2)
    session.record(localops.ErrorEvent(trigger_event=call, error_type="Odd", details="it was odd"))


def _a_call_recorded_twice(session: localops.Session) -> None:
    call = LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=3, completion_tokens=2)
    rows = session.begin("llm", "client", call=call, by_itself="openai")
    assert rows is not None
    rows.finish({})
    session.record(LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=3, completion_tokens=2, cost=0.5))
    session.recorder.recent_calls.clear()


def _a_call_recorded_further_in(session: localops.Session) -> None:
    with session.operation("outer", "llm", model="gpt-4o", prompt="x"):
        session.record(LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=3, completion_tokens=2))


_LATER = ("price", 0, None, None)
_BEGUN, _WHOLE, _COPY = ("llm", 1, None, None), ("llm", 0, None, 3), ("llm_copy", 0, None, None)


@pytest.mark.parametrize(
    ("work", "whole", "allowed"),
    [
        (_a_call_that_fails, (("llm", 0, 1, 3), ("error", 0, None, None)), set()),
        (_a_call_recorded_twice, (_BEGUN, _WHOLE, _COPY, _LATER), {(_BEGUN,), (_BEGUN, _WHOLE)}),
        (
            _a_call_recorded_further_in,
            (_BEGUN, _COPY, _WHOLE),
            {
                (_BEGUN, ("llm", 0, 1, None), ("error", 0, None, None)),
                (_BEGUN, _COPY, ("llm", 0, 1, 3), ("error", 0, None, None)),
                (_BEGUN, _COPY),  # `__exit__` had not begun
            },
        ),
    ],
)
def test_a_call_that_is_interrupted_at_any_place_counts_once(
    work: Callable[[localops.Session], None],
    whole: tuple[object, ...],
    allowed: set[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its tokens, the cost that its second record gives, and that it failed."""
    # The profiler is also called where a generator is closed; no signal handler can run there.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    session = localops.init(env_data_opt_out=True)
    assert session is not None
    work(session)
    place, seq = 0, _newest(session)
    seen: dict[tuple[object, ...], int] = {}
    while interrupted_at(place, lambda: work(session)):
        rows = session._journal._file.connection.execute(  # type: ignore[union-attr]
            f"select kind, phase, failed, tokens_in from event where seq > ? and kind in ({_KINDS}) order by seq",
            (seq,),
        ).fetchall()
        seen.setdefault(tuple(rows), place)
        session.recorder.recent_calls.clear()
        place, seq = place + 1, _newest(session)
    assert whole in seen
    assert seen.keys() <= {(), whole, *allowed}, seen
    assert careful.quiet.depth() == 0, "warnings of the program would stay silent"


def _newest(session: localops.Session) -> int:
    seq: int = session._journal._file.connection.execute("select max(seq) from event").get  # type: ignore[union-attr]
    return seq


def test_an_agent_whose_creation_is_interrupted_is_there_once() -> None:
    """The exception arrives when its row is written, and not with whatever is recorded next."""
    session = localops.init(env_data_opt_out=True)
    assert session is not None
    place, arrived = 0, []

    def action() -> None:
        try:
            session.create_agent("one")
        except Late:
            arrived.append(place)
            raise

    while interrupted_at(place, action):
        place += 1
    assert place >= 20
    assert arrived == list(range(place))


def is_free(lock: Any) -> bool:
    """Return whether another thread gets a lock at once."""
    got: list[bool] = []

    def take() -> None:
        got.append(lock.acquire(blocking=False))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got[0]


def test_a_turn_that_is_interrupted_is_over() -> None:
    """No lock of `init` stays held, wherever the exception is raised, as other threads would wait for it."""
    place = 0
    while interrupted_at(place, lambda: api.in_turn(lambda: None)):
        assert is_free(api._lock), place
        place += 1
    assert place >= 3


def test_a_limit_that_another_thread_has_raised() -> None:
    """Since the error: there is room now."""
    limit = sys.getrecursionlimit()
    careful.raised.add(limit)
    try:
        assert careful.deeper(lambda: "written") == "written"
    finally:
        careful.raised.discard(limit)


def test_a_raised_recursion_limit_is_set_back() -> None:
    """The limit is restored, and its lock released, if the exception is raised between any two steps."""

    def action() -> None:
        # Python switches a profiler off that reaches the limit.
        profiler, unwound = sys.getprofile(), 0

        def recurse() -> None:
            nonlocal unwound
            try:
                recurse()
            except RecursionError:
                unwound += 1
                if unwound < 20:
                    raise
                sys.setprofile(profiler)
                careful.deeper(lambda: sys.setprofile(profiler))

        recurse()

    limit = sys.getrecursionlimit()
    place = 0
    while interrupted_at(place, action):
        assert sys.getrecursionlimit() == limit, place
        assert is_free(careful._one_at_a_time), place
        place += 1
    assert place >= 5


def test_what_interrupts_a_fork_arrives() -> None:
    """Soon after the fork, wherever in our hooks it is raised, in the parent; Python would only print it.

    Not in the hooks of others that run after ours, as those of `logging`: Python would print it there, too.
    """
    # A small process without journals of other tests forks in a fraction of the time.
    done = programs.run("from tests.test_interruption import interrupt_forks\ninterrupt_forks()")
    assert done.returncode == 0, done.stderr


def interrupt_forks() -> None:
    """Fork again and again, interrupted at one place after the other."""
    localops.init(env_data_opt_out=True)
    os.register_at_fork(after_in_parent=lambda: None)
    arrived = []
    parent = os.getpid()

    def action() -> None:
        try:
            os.fork()
            if os.getpid() != parent:
                os._exit(0)
        except Late:
            arrived.append(place)
        finally:
            os.wait()

    place = 0
    # Not in the generator of `process_exit`: this way of raising passes by its `try`.
    while interrupted_at(place, action, where=("localops.journal.fork", "localops.interruption")):
        assert arrived == list(range(place + 1))
        assert is_free(forks._creation_lock)
        place += 1
    assert place >= 20


def test_what_a_call_of_ours_raises_once_is_not_the_programs() -> None:
    """A C function that we call may fail where another thread changes what it reads, and succeed at the next try."""
    step = partial(careful._call, map(int, iter(["x", "1"])).__next__)
    with pytest.raises(ValueError, match="invalid literal") as own:
        step()
    assert is_programs(own.value) is None
    assert settle(own.value, step) == 1
    assert not interruption.waiting


def test_no_function_runs_when_an_object_is_freed() -> None:
    """Python only prints what a signal handler raises in one: the program's timeout would not arrive."""
    session = localops.init(env_data_opt_out=True)
    recorder = session.recorder

    @localops.agent
    class Mine:
        pass

    call = session.begin("llm", "ask", call=LLMEvent())
    assert recorder.open_calls.values() == [call]
    objects = [call, Mine(), Reader(recorder.journal.path)]
    del call
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        objects.clear()
    finally:
        sys.setprofile(None)
    assert (called, recorder.open_calls.values()) == ([], [])


def test_a_guard_that_is_interrupted_leaves_no_descriptor(tmp_path: Path) -> None:
    """An opened file is closed, and a folder is not locked any more."""

    def alone() -> None:
        with participants.alone(str(tmp_path)):
            pass

    def high() -> None:
        with locks.high_descriptors():
            pass

    before = sorted(os.listdir("/dev/fd"))
    for action in (alone, high):
        place = 0
        while interrupted_at(place, action):
            assert sorted(os.listdir("/dev/fd")) == before, (action, place)
            place += 1
        assert place >= 4
    alone()


def test_an_exception_that_comes_while_a_guard_is_freed_arrives_later() -> None:
    """Python would only print it; the descriptors are closed all the same."""
    before = sorted(os.listdir("/dev/fd"))
    place = 1  # before that, `__del__` has not begun
    while True:
        guards = [locks.Descriptors()]
        guards[0].open(os.devnull)
        if not interrupted_at(place, guards.clear):
            break
        with pytest.raises(Late):
            deliver()
        assert sorted(os.listdir("/dev/fd")) == before, place
        place += 1
    assert place >= 3


@pytest.mark.parametrize("step", ["deliver", "settle", "pass_on"])
def test_a_raised_exception_frees_what_it_holds_at_once(step: str) -> None:
    """Descriptors and locks in the frames of its traceback do not wait for the garbage collector."""

    class Resource:
        pass

    def handler(*_: object) -> None:
        mine = Resource()
        alive_ones.append(weakref.ref(mine))
        raise TimeoutError

    def run() -> None:
        try:
            signal.raise_signal(signal.SIGUSR1)
        except TimeoutError as error:
            if step == "deliver":
                hold(error)
            elif step == "settle":
                settle(error, lambda: [][0])
            else:
                interruption.pass_on(error)
        deliver()

    alive_ones: list[weakref.ref[Resource]] = []
    before = signal.signal(signal.SIGUSR1, handler)
    gc.disable()
    try:
        with contextlib.suppress(TimeoutError, IndexError):
            run()
        with contextlib.suppress(TimeoutError):
            deliver()
        assert alive_ones
        assert [each() for each in alive_ones] == [None] * len(alive_ones)
    finally:
        gc.enable()
        signal.signal(signal.SIGUSR1, before)


def test_a_timeout_error_of_a_handler_is_no_failure_of_the_lock(tmp_path: Path) -> None:
    """A participant that is interrupted by one while it announces itself has its lock, and the program its error."""
    place = 0
    begun: list[participants.Participant] = []
    while interrupted_at(place, lambda: begun.append(participants.Participant(str(tmp_path))), TimeoutError):
        place += 1
        try:
            deliver()
        except TimeoutError:
            pass
    assert place >= 5
    assert begun
    for participant in begun:
        assert participant.card()["place"] != 0
        participant.close()


class _Interruptions:
    """Raises an exception at the n-th place where CPython runs signal handlers, in one module's functions."""

    def __init__(self, at: int, module: str) -> None:
        self.left, self._module, self._after_call = at, module, False
        self.raised: KeyboardInterrupt | None = None

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_globals.get("__name__") != self._module:
            return None
        frame.f_trace_opcodes = True
        operation = opname[frame.f_code.co_code[frame.f_lasti]] if frame.f_lasti >= 0 else ""
        is_place = event == "call" or (event == "opcode" and (self._after_call or "JUMP_BACKWARD" in operation))
        if event == "opcode":
            self._after_call = operation.startswith("CALL")
        if is_place:
            self.left -= 1
            if self.left == 0:
                self.raised = KeyboardInterrupt("in between")
                raise self.raised
        return self.trace


def _interrupted(at: int, step: Callable[[], object]) -> tuple[BaseException | None, BaseException | None]:
    """Run a step that is interrupted at a place; return the interruption, None past the last one, and what arrived."""
    tracer = _Interruptions(at, "localops.interruption")
    before = sys.gettrace()
    sys.settrace(tracer.trace)
    try:
        step()
    except BaseException as error:
        return tracer.raised, error
    finally:
        sys.settrace(before)
    return tracer.raised, None


def _chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_chain(error.__context__)]


def test_an_exception_is_kept_wherever_holding_it_is_interrupted() -> None:
    """The held exception and the one that interrupted both arrive, and nothing is left behind."""
    places = 1  # the first is where hold() begins: there the caller's `except` still has the exception
    while True:
        held = ValueError("held")
        came, error = _interrupted(places + 1, partial(hold, held))
        assert error is None
        with pytest.raises((ValueError, KeyboardInterrupt)) as raised:
            deliver()
        assert not interruption.waiting
        expected = {held} if came is None else {held, came}
        assert expected <= set(_chain(raised.value))
        if came is None:
            break
        places += 1
    assert places >= 3


def test_exceptions_are_kept_wherever_delivering_them_is_interrupted() -> None:
    """Exceptions that an interrupted delivery did not raise are raised by the next one."""
    places = 0
    while True:
        held = [ValueError("first"), ValueError("second")]
        for each in held:
            hold(each)
        came, error = _interrupted(places + 1, deliver)
        arrived = set(_chain(error))
        if came is None:
            break
        assert came in arrived
        if interruption.waiting:
            with pytest.raises(ValueError, match="second") as raised:
                deliver()
            arrived |= set(_chain(raised.value))
        assert set(held) <= arrived
        assert not interruption.waiting
        places += 1
    assert places >= 4


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Press Ctrl-C: its handler is written in C, and leaves no frame in the traceback."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("attribute", ["provider", "cached_tokens"])
def test_ctrl_c_arrives_wherever_the_price_of_a_call_is_looked_up(ctrl_c: Callable[[], None], attribute: str) -> None:
    """It is raised when the row is written, also where no price can be found."""
    session = localops.init()
    assert session is not None
    at, reads = 0, 0

    class Call(LLMEvent):
        def __getattribute__(self, name: str) -> Any:
            nonlocal reads
            if name == attribute:
                reads += 1
                if reads == at:
                    ctrl_c()
            return super().__getattribute__(name)

    while True:
        at, reads = at + 1, 0
        try:
            session.record(Call(model="no-such-model", prompt_tokens=3, completion_tokens=4))
        except KeyboardInterrupt:
            continue
        assert reads < at
        break
    assert at > 2
    assert session.event_counts["llms"] == at


def test_ctrl_c_arrives_while_a_result_is_asked_for_its_screenshot(ctrl_c: Callable[[], None]) -> None:
    """The second try of the same step shows that it was the program's."""
    localops.init()
    presses = [ctrl_c]

    class Result:
        @property
        def screenshot(self) -> None:
            if presses:
                presses.pop()()

    @localops.record_action("look")
    def look() -> Result:
        return Result()

    with pytest.raises(KeyboardInterrupt):
        look()
    assert not presses


def test_an_operation_that_is_interrupted_ends_once() -> None:
    """Wherever an exception is raised at the end of a call: also after its row was written, when more is to be done."""
    session = localops.init(env_data_opt_out=True)
    assert session is not None
    place, ids = 0, set()
    while True:
        operation = session.begin("tool", f"call {place}", tags=["user:ada"], about=("user:ada",))
        assert operation is not None
        ids.add((operation.id,))
        there_is_more = interrupted_at(place, lambda: operation.finish({"returns": 1}))  # noqa: B023 (called at once)
        with contextlib.suppress(Late):
            deliver()
        if not there_is_more:
            break
        place += 1
    assert place >= 20
    connection = session._journal._file.connection
    assert connection is not None
    ended = connection.execute("select id from event where kind = 'tool' and phase = 0").fetchall()
    # Before `finish` and `guarded` have begun, nothing has happened: their caller does it again.
    assert len(ids) - 2 <= len(ended) == len(set(ended))
