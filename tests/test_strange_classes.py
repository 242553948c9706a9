"""Classes of every kind under the decorators: they behave as before, and are recorded."""

from __future__ import annotations

import asyncio
import collections
import copy
import dataclasses
import enum
import functools
import gc
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import Session, agentops
from localops.decorators import agent, operation, session, track_agent
from tests import strange
from tests.strange import act as _act

_CODE = compile(Path(strange.__file__).read_bytes(), strange.__file__, "exec")


def _fresh(name: str) -> type:
    """Return one of the strange classes, made again for the test."""
    names: dict[str, Any] = {"__name__": strange.__name__, "__file__": strange.__file__}
    exec(_CODE, names)
    kind: type = names[name]
    return kind


_fields: Callable[[Any], Any] = dataclasses.asdict


def _made(cls: type) -> Any:
    return cls(1) if issubclass(cls, enum.Enum) else cls()


DECORATORS: list[Callable[[type], type]] = [agent, track_agent(), session, operation]


@pytest.mark.parametrize("initialised", [False, True], ids=["before init", "in a session"])
@pytest.mark.parametrize("name", strange.CLASSES)
def test_a_decorated_class_works_as_before(name: str, initialised: bool) -> None:
    """It is made, acts, compares, prints, copies and is freed as before; no exception of ours is raised."""
    if initialised:
        localops.init()
    for decorate in DECORATORS:
        cls, decorated = _fresh(name), decorate(_fresh(name))
        before: Any = _made(cls)
        made: Any = _made(decorated)
        assert issubclass(type(made), decorated)
        assert made.act() == "done"
        assert (made == _made(decorated)) == (before == _made(cls))
        if not isinstance(made, threading.Thread):  # whose name has a number
            assert str(made).split(" at ")[0] == str(before).split(" at ")[0]
        if isinstance(before, tuple | list | int | collections.deque):
            assert copy.copy(made) == made
        if hasattr(cls, "__dict__") and name != "Guarded":
            assert getattr(made, "__dict__", {}).keys() == getattr(before, "__dict__", {}).keys()
        if dataclasses.is_dataclass(before):
            assert _fields(made) == _fields(before)
        del made


AGENTS = [name for name in strange.CLASSES if name != "OfSealed"]  # which stays as it is


@pytest.mark.parametrize("name", AGENTS)
def test_each_instance_is_an_agent(name: str) -> None:
    """Each instance is one agent, with the name of its role or its class, and its events belong to it."""
    run = localops.init()
    assert run is not None
    decorated = agent(_fresh(name))
    one = _made(decorated)
    one.act()
    one.act()
    agents = {event["id"]: event["name"] for event in run.events if event["kind"] == "agent"}
    assert list(agents.values()) == ["slotted" if name == "Slots" else name]
    assert {event["agent"] for event in run.events if event["name"] == "acted"} == set(agents)
    assert one.agentops_agent_name == next(iter(agents.values()))
    assert one.agentops_agent_id.replace("-", "") in {id.replace("-", "") for id in agents}


@pytest.mark.parametrize("name", ["Plain", "Slots", "DataSlots", "Frozen", "OfList"])
def test_an_instance_that_goes_is_forgotten(name: str) -> None:
    """Nothing keeps an agent alive, and another object at its address is another agent."""
    run = localops.init()
    assert run is not None
    decorated = agent(_fresh(name))
    ids = set()
    for _ in range(20):
        made = _made(decorated)
        made.act()
        ids.add(made.agentops_agent_id)
        del made
    assert len(ids) == 20


@pytest.mark.parametrize("name", ["Plain", "Slots", "WeakSlots", "FrozenSlots", "Rigid"])
def test_a_session_lasts_as_long_as_its_instance(name: str) -> None:
    """A class of sessions adds no attribute to its instances."""
    localops.init(auto_start_session=False)
    decorated = session(_fresh(name))
    made = _made(decorated)
    (opened,) = localops.api.client().open_sessions()
    made.act()
    assert opened.is_running
    del made
    assert opened.end_state == "Success"
    assert [event["name"] for event in opened.events] == ["acted"]


def test_a_role_names_an_agent() -> None:
    """An agent's name is that of the call, else of the decorator, else of the program, else of its class."""
    run = localops.init()
    assert run is not None

    @track_agent()
    class Agent:
        def __init__(self, role: str | None = None, name: str | None = None) -> None:
            self.role = role
            if name is not None:
                self.agentops_agent_name = name

        def act(self) -> str:
            return _act()

    named = track_agent("decorated")(type("Named", (Agent,), {}))
    made = [
        Agent("researcher"),
        Agent("writer"),
        Agent("r", name="own"),
        Agent("r", agentops_name="given"),  # type: ignore[call-arg]
        Agent(),
        named("role"),
    ]
    names = ["researcher", "writer", "own", "given", "Agent", "decorated"]
    assert [one.agentops_agent_name for one in made] == names
    assert [event["name"] for event in run.events if event["kind"] == "agent"] == names
    assert made[2].role == "r"


def test_an_agent_that_fails_while_it_is_made_has_its_name() -> None:
    """Events of a constructor that raised belong to a known agent."""
    run = localops.init()
    assert run is not None

    @agent
    class Failing:
        def __init__(self) -> None:
            self.role = "doomed"
            _act()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Failing()
    events = list(run.events)
    (known,) = [event for event in events if event["kind"] == "agent"]
    assert known["name"] == "doomed"
    assert [event["agent"] for event in events if event["name"] == "acted"] == [known["id"]]


@agent
class Portable:
    """An agent that can be pickled."""

    def __init__(self) -> None:
        self.role = "porter"

    def act(self) -> str:
        """Act."""
        return _act()


def test_a_copy_is_an_agent_of_its_own() -> None:
    """Copied, deep-copied and pickled instances carry nothing of ours along, and act for themselves."""
    run = localops.init()
    assert run is not None
    first = Portable()
    copies = [copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    for one in (first, *copies):
        assert vars(one) == {"role": "porter"}
        one.act()
    agents = [event["id"] for event in run.events if event["kind"] == "agent"]
    assert [event["agent"] for event in run.events if event["name"] == "acted"] == agents
    assert len(set(agents)) == 4


@agent
class Every:
    """Methods of every kind."""

    @classmethod
    def of_class(cls) -> str:
        """Act without an instance."""
        return _act()

    @staticmethod
    def static() -> str:
        """Act without an instance."""
        return _act()

    @property
    def value(self) -> str:
        """Act when looked at."""
        return _act()

    @functools.cached_property
    def cached(self) -> str:
        """Act once."""
        return _act()

    @operation  # type: ignore[prop-decorator]
    @property
    def watched(self) -> str:
        """Be an operation when it is read."""
        return _act()

    async def later(self) -> str:
        """Act later."""
        return _act()

    def stream(self) -> Iterator[str]:
        """Act item by item."""
        yield _act()

    def __call__(self) -> str:
        """Act when called."""
        return _act()

    def __enter__(self) -> Every:
        _act()
        return self

    def __exit__(self, *failure: object) -> None: ...


def test_methods_of_every_kind_run() -> None:
    """Each method of a class is still there, and a call on an instance acts for it."""
    run = localops.init()
    assert run is not None
    one = Every()
    with one:
        done = [Every.of_class(), Every.static(), one.value, one.cached, one.watched, asyncio.run(one.later()), one()]
        done += one.stream()
    assert done == ["done"] * 8
    acted = [event["agent"] for event in run.events if event["name"] == "acted"]
    assert [bool(agent) for agent in acted] == [True, False, False, False, False, True, True, True, True]
    assert [event["kind"] for event in run.events if event["name"] == "watched"] == ["operation"]


@pytest.mark.parametrize("target", [len, print, int, dict, functools.partial(int, "7"), "".join, type, object])
def test_what_is_built_in_can_be_decorated(target: Any) -> None:
    """A function of C runs as before; a class of C cannot be changed, and stays unchanged."""
    localops.init()
    for decorator in (operation, agent, session):
        decorated = decorator(target)
        assert decorated is target or callable(decorated)
    assert operation(len)([1, 2]) == 2


def test_classes_of_pydantic(capsys: pytest.CaptureFixture[str]) -> None:
    """A model keeps its fields, its equality and its JSON, and its role names it."""
    pydantic = pytest.importorskip("pydantic")
    run = localops.init()
    assert run is not None

    @track_agent()
    class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        role: str = "thinker"

        def act(self) -> str:
            return _act()

    one, two = Model(), Model()
    assert (one == two, one.model_dump(), one.act()) == (True, {"role": "thinker"}, "done")
    assert one.agentops_agent_name == "thinker"
    assert one.agentops_agent_id != two.agentops_agent_id
    assert [event["name"] for event in run.events if event["kind"] == "agent"] == ["thinker"] * 2


def test_the_recorder_keeps_nothing_of_what_has_gone() -> None:
    """Values kept for instances are freed with them."""
    localops.init()
    decorators: Any = sys.modules["localops.decorators"]
    gc.collect()  # an instance of an earlier test may still wait for the collector
    before = len(decorators._agents._known)
    for name in ("Plain", "Slots", "Pair"):
        decorated = agent(_fresh(name))
        for _ in range(50):
            _made(decorated).act()
    gc.collect()
    assert len(decorators._agents._known) == before
    assert Session.__name__ == agentops.Session.__name__
