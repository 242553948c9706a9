"""Values of a program whose own code raises when they are looked at: the program never sees it."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

import localops
from localops import decorators
from localops.decorators import agent, llm, operation, tool

KINDS = (KeyError, RuntimeError, KeyboardInterrupt, SystemExit)
DECORATORS = ("operation", "tool", "llm", "workflow", "task", "guardrail", "agent", "session")


def _raising(kind: type[BaseException]) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise kind("of the value")

    return fail


def _metaclasses(fail: Any) -> Iterator[type]:
    yield type("Asked", (type,), {"__getattr__": fail})
    yield type(
        "Guarded", (type,), {"__getattribute__": fail, "__instancecheck__": fail, "__eq__": fail, "__hash__": None}
    )


def _values(kind: type[BaseException]) -> Iterator[Any]:
    """Yield values that raise from their metaclass, their `__class__`, their attributes or their text."""
    fail = _raising(kind)
    for meta in _metaclasses(fail):
        yield meta("Value", (), {})()
    yield type("Value", (), {"__class__": property(fail)})()
    yield type("Value", (), {"__getattr__": fail})()
    yield type("Value", (), {"__getattribute__": fail})()
    yield type("Value", (), dict.fromkeys(("__repr__", "__str__", "__bool__", "__eq__", "__hash__"), fail))()
    yield type("Value", (dict,), dict.fromkeys(("__repr__", "__bool__", "keys", "items", "__iter__"), fail))(a=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DECORATORS)
def test_a_decorated_function_takes_any_value(name: str, kind: type[BaseException]) -> None:
    """A function returns as without a decorator, with the value as any of its arguments and as its result."""
    localops.init()
    decorate = getattr(decorators, name)

    @decorate  # type: ignore[untyped-decorator]
    def first(value: object) -> object:
        return value

    @decorate  # type: ignore[untyped-decorator]
    def named(**values: object) -> int:
        return len(values)

    @decorate  # type: ignore[untyped-decorator]
    def of_session(session: object) -> object:
        return session

    for value in _values(kind):
        assert first(value) is value
        assert named(prompt=value, model=value, provider=value, messages=value, other=value) == 5
        assert of_session(session=value) is value


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_whose_metaclass_raises_is_recorded(kind: type[BaseException]) -> None:
    """Its decorated methods run and are recorded, also when the class is an agent."""
    run = localops.init()
    assert run is not None

    def go(_: object) -> str:
        return "gone"

    body = {"go": tool(go), "__slots__": ()}
    for meta in _metaclasses(_raising(kind)):
        plain = type.__call__(meta, "Worker", (), dict(body))
        assert plain().go() == "gone"
        decorated = agent(type.__call__(meta, "Agent", (), dict(body)))
        assert decorated().go() == "gone"
    assert [event["name"] for event in run.events if event["kind"] == "tool"] == ["go"] * 4
    # A class whose attributes cannot be read cannot be changed.
    assert [event["name"] for event in run.events if event["kind"] == "agent"] == ["Agent"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_whose_class_raises_ends_a_session(kind: type[BaseException]) -> None:
    """The program gets its own exception, and the session is a Failure."""
    fail = _raising(kind)
    names = ("__str__", "__repr__", "__bool__")
    for base in (Exception, SystemExit):
        error: BaseException = type("Odd", (base,), {**dict.fromkeys(names, fail), "__class__": property(fail)})("odd")
        with pytest.raises(BaseException) as caught, localops.start_session() as run:  # noqa: PT011, PT012
            operation(lambda error=error: (_ for _ in ()).throw(error))()
            raise error
        assert caught.value is error
        assert run.end_state == "Failure"


@pytest.mark.parametrize("kind", KINDS)
def test_facets_take_any_value(kind: type[BaseException]) -> None:
    """`user`, `conversation` and `metadata` of events, sessions and operations, names and states as well."""
    localops.init()
    for value in _values(kind):
        for event in (localops.ActionEvent, localops.ToolEvent, localops.LLMEvent, localops.ErrorEvent):
            made = event(user=value, conversation=value, metadata=value)
            localops.record(made)
            assert any(str(tag).startswith("user=") for tag in made.tags or ())
        with localops.start_session(name=value, user=value, conversation=value, metadata={"a": value}) as run:
            assert any(tag.startswith("user=") for tag in run.tags)
            run.update_metadata(value)
            with run.operation("step", user=value, conversation=value, metadata=value) as step:
                step.fail(value)
        assert [event["name"] for event in run.events if event["kind"] == "operation"] == ["step"]
        run = localops.start_session(metadata=value)
        assert run.end_session(value) is None
        assert localops.end_session(run) is not None


class _Endless:
    """An object that has every attribute, and whose iteration and keys end after too many reads."""

    reads = 0

    def __getattr__(self, _: str) -> Any:
        return self

    def __call__(self, *_: object) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        self.reads += 1
        if self.reads == 1_000_000:
            raise StopIteration
        return self

    def __getitem__(self, _: object) -> Any:
        return "text"


def test_an_endless_value_as_metadata_or_option_is_read_in_part() -> None:
    """Without a bound, the call would use all memory."""
    metadata: Any = _Endless()
    tags, patterns = _Endless(), _Endless()
    with localops.start_session() as run:
        run.update_metadata(metadata)
        localops.configure(default_tags=tags)
        localops.configure(redact=itertools.chain((), patterns))
    for value in (metadata, tags, patterns):
        assert 0 < value.reads < 200_000


def test_a_signal_while_a_value_is_looked_at_still_arrives() -> None:
    """An exception of the program's handler is raised once the event is recorded; only those of the value are not."""
    run = localops.init()
    assert run is not None

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    class Slow:
        rung = False

        def __str__(self) -> str:
            if not Slow.rung:
                Slow.rung = True
                signal.raise_signal(signal.SIGUSR1)
            return "slow"

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        with pytest.raises(Alarm):
            localops.record(localops.ActionEvent("step", user=Slow()))  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_claims_another_class_is_an_llm_call(kind: type[BaseException]) -> None:
    """The arguments of an LLM call are recorded, whatever one of them is."""
    run = localops.init()
    assert run is not None

    @llm
    def ask(prompt: str, model: object) -> str:
        return "answer"

    for value in _values(kind):
        assert ask(prompt="hello", model=value) == "answer"
    assert [event["kind"] for event in run.events] == ["llm"] * len(list(_values(kind)))
