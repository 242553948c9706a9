"""Decorated functions and classes behave as before, and their calls are recorded."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest

import localops
from localops import ActionEvent, ErrorEvent, Session, output
from localops.decorators import (
    agent,
    guardrail,
    operation,
    record_action,
    record_function,
    record_tool,
    task,
    tool,
    trace,
    track_agent,
    workflow,
)
from localops.decorators import session as session_decorator


@pytest.fixture
def run() -> Session:
    """Return a session to record into."""
    output._said.clear()
    session = localops.init()
    assert session is not None
    return session


def named(session: Session) -> dict[str, dict[str, Any]]:
    """Return the events of a session by name."""
    return {event["name"]: event for event in session.events}


def here() -> Session:
    """Return the session of the calling code."""
    session = localops.api.client().current()
    assert session is not None
    return session


# What is written


def test_an_operation_has_its_input_and_output(run: Session) -> None:
    """An operation has its arguments by name, with defaults, and its result; a tool has its cost."""

    @tool(cost=0.002, tags=["web"])
    def search(query: str, *rest: int, limit: int = 3, **more: int) -> list[str]:
        return [query]

    assert search("x", 1, 2, deep=4) == ["x"]
    event = named(run)["search"]
    assert event["params"] == {"query": "x", "rest": [1, 2], "deep": 4, "limit": 3}
    assert (event["kind"], event["returns"], event["cost"], event["tags"]) == (
        "tool",
        ["x"],
        2_000_000,
        ["web"],
    )


@pytest.mark.parametrize(
    ("decorator", "kind", "figure"),
    [
        (operation, "operation", "Actions"),
        (task, "task", "Actions"),
        (workflow, "workflow", "Actions"),
        (record_action("f"), "action", "Actions"),
        (record_function("f"), "action", "Actions"),
        (record_action, "action", "Actions"),
        (tool, "tool", "Tool calls"),
        (record_tool("f"), "tool", "Tool calls"),
        (guardrail(spec="input"), "guardrail", None),
        (agent, "agent", None),
        (track_agent(name="f"), "agent", None),
    ],
)
def test_each_decorator_counts_as_its_kind(run: Session, decorator: Any, kind: str, figure: str | None) -> None:
    """Every decorator writes one operation of its kind, which counts once it has ended."""

    def f() -> None:
        figures = run.get_analytics()
        assert figures["Actions"] == figures["Tool calls"] == 0

    decorator(f)()
    assert named(run)["f"]["kind"] == kind
    assert {name: n for name, n in run.get_analytics().items() if n == 1} == ({figure: 1} if figure else {})


def test_options_that_describe_are_kept(run: Session) -> None:
    """`spec` and `version` stand beside the arguments."""

    @guardrail(spec="output", version=2)
    def check(text: str) -> bool:
        return True

    check("x")
    assert (named(run)["check"]["spec"], named(run)["check"]["version"]) == ("output", 2)


@pytest.mark.parametrize("where", ["decorator", "session"])
def test_nothing_is_captured_where_that_is_off(where: str) -> None:
    """Arguments and results stay out of the journal, by decorator or for a whole session."""
    session = localops.init(capture=where != "session")
    options = {"capture_request": False, "capture_response": False} if where == "decorator" else {}

    @operation(**options)  # type: ignore[call-overload, untyped-decorator]
    def plain(secret: str) -> str:
        return secret

    @operation(**options)  # type: ignore[call-overload, untyped-decorator]
    def stream(secret: str) -> Generator[str, None, str]:
        yield secret
        return secret

    plain("hidden")
    list(stream("hidden"))
    assert session is not None
    assert "hidden" not in str(list(session.events))
    assert len(list(session.events)) == 2


def test_what_happens_inside_is_below(run: Session) -> None:
    """Operations and events inside an operation have it as their parent, at any depth."""

    @operation
    def outer() -> None:
        inner()

    @tool
    def inner() -> None:
        localops.record(ActionEvent(action_type="leaf"))

    outer()
    events = named(run)
    assert events["leaf"]["parent"] == events["inner"]["id"]
    assert events["inner"]["parent"] == events["outer"]["id"]
    assert events["outer"]["parent"] is None


def test_a_running_operation_is_there_already(run: Session) -> None:
    """While the function runs its operation is in the journal, unfinished."""

    @tool
    def look() -> dict[str, Any]:
        return named(run)["look"]

    seen = look()
    assert (seen["finished"], seen["end_ns"]) == (False, None)


# What is decorated


def test_a_function_stays_what_it_was() -> None:
    """Name, documentation, signature and kind are those of the function."""

    @operation(name="another")
    def plain(a: int, *, b: str = "x") -> str:
        """Documented."""
        return b

    @operation
    async def later() -> None: ...

    @operation
    def some() -> Iterator[int]:
        yield 1

    @operation
    async def many() -> AsyncIterator[int]:
        yield 1

    assert (plain.__name__, plain.__doc__) == ("plain", "Documented.")
    assert str(inspect.signature(plain)) == "(a: 'int', *, b: 'str' = 'x') -> 'str'"
    assert inspect.iscoroutinefunction(later)
    assert inspect.isgeneratorfunction(some)
    assert inspect.isasyncgenfunction(many)


def test_without_a_session_it_simply_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Before init a decorated function runs, and one warning says that it is not recorded."""
    output._said.clear()

    @operation
    def f(session: int) -> int:
        return session

    assert [f(session=1), f(2)] == [1, 2]
    assert capsys.readouterr().err.count("not recorded") == 1


def test_methods_of_every_kind(run: Session) -> None:
    """Methods, class methods and static methods are operations, above and below the other decorator."""

    class Box:
        @operation
        def method(self, a: int) -> int:
            return a

        @classmethod
        @operation
        def of_class(cls, a: int) -> int:
            return a

        @operation
        @staticmethod
        def static(a: int) -> int:
            return a

    assert [Box().method(1), Box.of_class(2), Box.static(3), Box().static(4)] == [1, 2, 3, 4]
    assert [event["params"] for event in run.events] == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]


def test_partials_and_callables(run: Session) -> None:
    """Any callable can be decorated: a partial, an object with __call__, a coroutine function of either kind."""

    async def later(a: int, b: int) -> int:
        return a + b

    class Adder:
        async def __call__(self, a: int) -> int:
            return a + 1

    assert operation(name="half")(functools.partial(pow, 2))(3) == 8
    assert asyncio.run(operation(functools.partial(later, 1))(2)) == 3
    assert asyncio.run(operation(Adder())(1)) == 2
    assert [event["returns"] for event in run.events] == [8, 3, 2]


@operation
class Point:
    """A class whose construction is an operation."""

    def __init__(self, x: int) -> None:
        self.x = x


@operation
class Number(int):
    """A class that is made by __new__ alone."""


def test_a_class_stays_a_class(run: Session) -> None:
    """isinstance, inheritance and pickling work as before, and making an instance is an operation."""

    class Near(Point):
        pass

    assert isinstance(Point, type)
    assert isinstance(pickle.loads(pickle.dumps(Point(1))), Point)
    assert isinstance(Near(2), Point)
    assert Number(5) + 1 == 6
    assert [event["params"] for event in run.events] == [{"x": 1}, {"x": 2}, {"args": [5]}]


def test_something_that_cannot_be_called_is_refused() -> None:
    """Decorating anything but a function, method or class is a TypeError with that reason."""
    with pytest.raises(TypeError, match="expects a function, method or class, got int"):
        operation(5)  # type: ignore[call-overload]


class Evil:
    """An object whose attributes all raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize("make", [MagicMock, Evil])
def test_strange_arguments_do_no_harm(run: Session, make: Callable[[], object]) -> None:
    """Objects that answer everything, or nothing, go in and out unharmed."""
    strange = make()

    @record_action("pass")
    def same(thing: object) -> object:
        return thing

    assert same(strange) is strange
    assert "pass" in named(run)


# session=


def test_a_call_may_name_its_session(run: Session) -> None:
    """`session=` says where a call is recorded; it reaches the function only if that asks for it."""
    other = localops.start_session()

    @tool
    def plain(x: int) -> int:
        return x

    def deep(x: int, session: Session | None = None) -> Session | None:
        return session

    wrapped = functools.wraps(deep)(lambda *args, **kwargs: deep(*args, **kwargs))
    assert plain(1, session=run) == 1  # type: ignore[call-arg]
    assert operation(deep)(1, session=run) is run
    assert operation(name="wrapped")(wrapped)(1, session=run) is run
    assert sorted(named(run)) == ["deep", "plain", "wrapped"]
    assert other is not None
    assert list(other.events) == []
    assert named(run)["deep"]["params"] == {"x": 1}


# Failing


def test_an_exception_is_recorded_once_where_it_was_raised(run: Session) -> None:
    """The innermost operation has the error; the operations around it have failed, too."""

    @tool
    def inner() -> None:
        raise KeyError("lost")

    @operation
    def outer() -> None:
        inner()

    with pytest.raises(KeyError):
        outer()
    events = named(run)
    assert [event["kind"] for event in run.events] == ["tool", "error", "operation"]
    assert events["inner"]["failed"]
    assert events["outer"]["failed"]
    assert events["KeyError"]["parent"] == events["inner"]["id"]
    assert events["KeyError"]["trigger"]["name"] == "inner"


def test_the_same_exception_object_is_recorded_for_each_call(run: Session) -> None:
    """A program that raises one exception object again and again has one error each time."""
    kept = TimeoutError("no answer")

    @tool
    def flaky() -> None:
        raise kept

    @operation
    def twice() -> None:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                flaky()

    twice()
    assert run.get_analytics()["Errors"] == 2


def test_an_error_the_program_recorded_is_not_repeated(run: Session) -> None:
    """An exception that was recorded by hand, and then raised again, is one error."""

    @operation
    def careful() -> None:
        try:
            raise ValueError("bad")
        except ValueError as error:
            localops.record(ErrorEvent(exception=error))
            raise

    with pytest.raises(ValueError, match="bad"):
        careful()
    assert run.get_analytics()["Errors"] == 1


def test_being_interrupted_is_no_error(run: Session) -> None:
    """KeyboardInterrupt and cancellation propagate; the operation has not succeeded, and names what ended it."""

    @operation
    def interrupted() -> None:
        raise KeyboardInterrupt

    @operation
    async def cancelled() -> None:
        await asyncio.sleep(60)

    async def cancel() -> None:
        waiting = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    asyncio.run(cancel())
    assert [event["ended_by"] for event in run.events] == ["KeyboardInterrupt", "CancelledError"]
    assert [event["failed"] for event in run.events] == [True, True]
    assert run.get_analytics()["Errors"] == 0


# Generators


def test_a_generator_ends_when_it_is_exhausted(run: Session) -> None:
    """A generator runs until it is exhausted, and what its caller does between two items is not inside it."""

    @operation
    def count() -> Iterator[int]:
        localops.record(ActionEvent(action_type="inside"))
        yield 1
        yield 2

    for item in count():
        localops.record(ActionEvent(action_type=f"outside {item}"))
        assert not named(run)["count"]["finished"]
    events = named(run)
    assert events["inside"]["parent"] == events["count"]["id"]
    assert events["outside 1"]["parent"] is None
    assert (events["count"]["finished"], events["count"]["yielded"]) == (True, 2)


@pytest.mark.parametrize("how", ["close", "break", "throw", "raise"])
def test_a_generator_ends_however_it_ends(run: Session, how: str) -> None:
    """A closed or abandoned generator has ended; one that raises, or is thrown into, has failed with its error."""

    @operation
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("bad")

    stream: Any = items()
    next(stream)
    if how == "close":
        stream.close()
    elif how == "break":
        del stream
    else:
        with pytest.raises(ValueError, match="bad"):
            stream.throw(ValueError("bad")) if how == "throw" else next(stream)
    event = named(run)["items"]
    assert (event["finished"], event["yielded"]) == (True, 1)
    assert event["failed"] == (how in ("throw", "raise"))
    assert run.get_analytics()["Errors"] == int(event["failed"])


@pytest.mark.parametrize("how", ["exhaust", "close", "raise"])
def test_an_async_generator_ends_however_it_ends(run: Session, how: str) -> None:
    """An async generator ends likewise with `async for`, aclose and an exception."""

    @operation
    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0)
        if how == "raise":
            raise ValueError("bad")

    async def use() -> None:
        stream: Any = items()
        assert await anext(stream) == 1
        if how == "close":
            await stream.aclose()
        else:
            async for _ in stream:
                pass

    if how == "raise":
        with pytest.raises(ValueError, match="bad"):
            asyncio.run(use())
    else:
        asyncio.run(use())
    event = named(run)["items"]
    assert (event["finished"], event["yielded"], event["failed"]) == (True, 1, how == "raise")


# Agents


@agent(name="researcher")
class Researcher:
    """An agent that uses another one."""

    def __init__(self, helper: Writer | None = None) -> None:
        self.helper = helper
        localops.record(ActionEvent(action_type="made"))

    @tool
    def read(self, url: str) -> str:
        """Use a tool."""
        return url

    def delegate(self) -> None:
        """Let the helper act, then act again."""
        assert self.helper is not None
        self.helper.write()
        localops.record(ActionEvent(action_type="back"))

    async def later(self) -> None:
        """Act after a turn of the loop."""
        await asyncio.sleep(0)
        localops.record(ActionEvent(action_type="later"))

    def stream(self) -> Iterator[int]:
        """Act after an item was given out."""
        yield 1
        localops.record(ActionEvent(action_type="streamed"))


@track_agent()
@dataclasses.dataclass(frozen=True)
class Writer:
    """An agent that cannot be changed."""

    style: str = "plain"

    def write(self) -> None:
        """Act."""
        localops.record(ActionEvent(action_type="written"))


def test_what_an_agent_does_is_its_own(run: Session) -> None:
    """Methods of every kind act for their instance, and an agent that another calls acts for itself."""
    researcher = Researcher(Writer())
    researcher.read("u")
    operation(name="outer")(researcher.delegate)()
    asyncio.run(researcher.later())
    for _ in researcher.stream():
        localops.record(ActionEvent(action_type="outside"))
    names = {event["id"]: event["name"] for event in run.events if event["kind"] == "agent"}
    acted = {name: names.get(event["agent"]) for name, event in named(run).items() if event["kind"] != "agent"}
    assert named(run)["written"]["parent"] == named(run)["outer"]["id"]
    assert acted == {
        "outer": None,
        "made": "researcher",
        "read": "researcher",
        "written": "Writer",
        "back": "researcher",
        "later": "researcher",
        "streamed": "researcher",
        "outside": None,
    }


def test_each_instance_is_an_agent(run: Session) -> None:
    """Two instances are two agents; AgentOps' keyword names one, and its attributes are there."""
    first, second = Researcher(), Researcher(agentops_name="second")  # type: ignore[call-arg]
    ids = {event["id"]: event["name"] for event in run.events if event["kind"] == "agent"}
    for one, name in ((first, "researcher"), (second, "second")):
        known: Any = one
        assert (known.agentops_agent_name, ids[known.agentops_agent_id]) == (name, name)


def test_an_unnamed_agent_is_called_after_its_class(run: Session) -> None:
    """A subclass of an agent class gives its instances its own name."""

    class Poet(Writer):
        pass

    Poet().write()
    assert "Poet" in named(run)


def test_an_agent_made_before_its_session_acts_in_it() -> None:
    """An instance may be older than its session, and may act in two of them."""
    writer = Writer()
    for _ in range(2):
        with localops.start_session() as session:
            writer.write()
        assert named(session)["written"]["agent"] == named(session)["Writer"]["id"]


# Sessions


def test_a_session_of_its_own_for_each_call() -> None:
    """Named after the function, with its arguments and result, Success or Failure by how it went."""
    localops.init(auto_start_session=False)
    sessions: list[Session] = []

    @session_decorator
    def process(customer: int) -> str:
        sessions.append(here())
        localops.record(ActionEvent(action_type="inside"))
        if customer < 0:
            raise ValueError("no such customer")
        return "done"

    assert process(7) == "done"
    with pytest.raises(ValueError, match="no such"):
        process(-1)
    fine, failed = sessions
    assert (fine.name, fine.end_state, fine.returns) == ("process", "Success", "done")
    assert (failed.end_state, str(failed.end_state_reason)[:28]) == ("Failure", "ValueError: no such customer")
    assert [list(named(one)) for one in sessions] == [["inside"], ["inside", "ValueError"]]


def test_a_session_function_needs_no_init() -> None:
    """@session works with what the environment says, even when that is nothing."""

    @trace(name="run", tags=["nightly"])
    def main() -> tuple[str | None, list[str]]:
        return here().name, here().tags

    assert main() == ("run", ["nightly"])


def test_session_functions_of_every_kind() -> None:
    """Coroutines and generators are sessions while they last, and their callers stay where they are."""
    outer = localops.init(trace_name="outer")
    sessions: list[Session] = []

    @session_decorator
    async def later() -> None:
        sessions.append(here())
        localops.record(ActionEvent())

    @session_decorator
    def some() -> Iterator[int]:
        sessions.append(here())
        localops.record(ActionEvent())
        yield 1
        localops.record(ActionEvent())

    @session_decorator
    async def many() -> AsyncIterator[int]:
        sessions.append(here())
        localops.record(ActionEvent())
        yield 1

    async def use() -> None:
        await asyncio.gather(later(), later())
        async for _ in many():
            localops.record(ActionEvent())

    for _ in some():
        localops.record(ActionEvent())
    asyncio.run(use())
    assert outer is not None
    assert outer.get_analytics()["Actions"] == 2
    assert {(one.name, one.get_analytics()["Actions"], one.end_state) for one in sessions} == {
        ("some", 2, "Success"),
        ("later", 1, "Success"),
        ("many", 1, "Success"),
    }


@pytest.mark.parametrize("how", ["decorator", "with"])
def test_a_session_in_a_generator_that_is_closed(how: str) -> None:
    """Its caller may have left, as the client of a stream does: it is unknown whether it succeeded."""
    localops.init(auto_start_session=False)
    sessions: list[Session] = []

    def stream() -> Iterator[int]:
        sessions.append(here())
        yield 1
        yield 2

    def stream_in_block() -> Iterator[int]:
        with localops.start_session():
            yield from stream()

    made: Any = session_decorator(stream)() if how == "decorator" else stream_in_block()
    next(made)
    made.close()
    assert (sessions[0].end_state, sessions[0].end_state_reason) == (
        "Indeterminate",
        "its generator was closed before its end",
    )


def test_a_class_of_sessions() -> None:
    """Each instance is a session from its construction until it is freed."""
    localops.init(auto_start_session=False)
    sessions: list[Session] = []

    @session_decorator
    class Job:
        def step(self) -> None:
            self.deeper()

        @operation
        def deeper(self) -> None:
            self.leaf()

        def leaf(self) -> None:
            sessions.append(here())
            localops.record(ActionEvent(action_type="leaf"))

    first, second = Job(), Job()
    first.step()
    second.step()
    del first, second
    assert [(one.name, one.end_state) for one in sessions] == [("Job", "Success")] * 2
    assert len({one.session_id for one in sessions}) == 2
    for one in sessions:
        assert named(one)["leaf"]["parent"] == named(one)["deeper"]["id"]


def test_a_missing_journal_stops_no_function(tmp_path: Any) -> None:
    """If nothing can be written, decorated functions and agents work as usual."""
    home = tmp_path / "file"
    home.write_text("")
    localops.init(home=home)

    @session_decorator
    def main() -> str:
        return Researcher(Writer()).read("fine")

    assert main() == "fine"


WRAPPERS: list[Callable[..., Any]] = [operation, tool, session_decorator, agent]


@pytest.mark.parametrize("decorator", WRAPPERS, ids=lambda one: str(one.__name__))
def test_a_function_may_end_its_session(run: Session, decorator: Any) -> None:
    """A function may end the session it runs in."""
    assert decorator(lambda: localops.end_all_sessions())() is None
    assert not run.is_running


def test_a_misspelt_option_prints_a_warning(run: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt option would silently do nothing; the function is decorated all the same."""

    @tool(nmae="look up")  # type: ignore[call-overload, untyped-decorator]
    def look_up() -> str:
        return "found"

    assert look_up() == "found"
    assert "@tool has no option 'nmae': did you mean 'name'?" in capsys.readouterr().err

    @agent(nmae="reader")  # type: ignore[call-overload, untyped-decorator]
    def reader() -> None: ...

    assert "@agent has no option 'nmae': did you mean 'name'?" in capsys.readouterr().err
