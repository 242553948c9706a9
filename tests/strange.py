# ruff: noqa: D101, D102, D103  what each is, its name says
"""Classes of every kind that a program may decorate; each has a method that acts.

The file is run for each test: a decorator changes the class it is given.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import threading
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import localops
from localops import ActionEvent

T = TypeVar("T")


def act() -> str:
    localops.record(ActionEvent(action_type="acted"))
    return "done"


class Plain:
    def act(self) -> str:
        return act()


class Slots:
    __slots__ = ("role",)

    def __init__(self) -> None:
        self.role = "slotted"

    def act(self) -> str:
        return act()


class WeakSlots:
    __slots__ = ("__weakref__",)

    def act(self) -> str:
        return act()


@dataclasses.dataclass(slots=True)
class DataSlots:
    style: str = "plain"

    def act(self) -> str:
        return act()


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    style: str = "plain"

    def act(self) -> str:
        return act()


@dataclasses.dataclass(frozen=True, order=True)
class Frozen:
    style: str = "plain"

    def act(self) -> str:
        return act()


class Pair(NamedTuple):
    left: int = 1
    right: int = 2

    def act(self) -> str:
        return act()


class Colour(enum.Enum):
    RED = 1

    def act(self) -> str:
        return act()


class Meta(type):
    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        return super().__call__(*arguments, **options)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_localops"):
            return "anything"
        raise AttributeError(name)


class WithMeta(metaclass=Meta):
    def act(self) -> str:
        return act()


class Sealed(type):
    def __setattr__(cls, name: str, value: object) -> None:
        raise AttributeError(f"{cls.__name__} is sealed")


class OfSealed(metaclass=Sealed):
    def act(self) -> str:
        return act()


class Registered:
    below: ClassVar[list[str]] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Registered.below.append(cls.__name__)

    def act(self) -> str:
        return act()


class Called:
    def __call__(self) -> str:
        return act()

    def act(self) -> str:
        return self()


class Boxed(Generic[T]):
    def __init__(self, item: T | None = None) -> None:
        self.item = item

    def act(self) -> str:
        return act()


class Base(abc.ABC):
    @abc.abstractmethod
    def act(self) -> str: ...

    @property
    @abc.abstractmethod
    def role(self) -> str: ...


class Concrete(Base):
    def act(self) -> str:
        return act()

    @property
    def role(self) -> str:
        raise RuntimeError("no role")


class Rigid:
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("rigid")

    def act(self) -> str:
        return act()


class Guarded:
    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            raise RuntimeError("private")
        return super().__getattribute__(name)

    def act(self) -> str:
        return act()


class OfList(list):  # type: ignore[type-arg]
    def act(self) -> str:
        return act()


class OfInt(int):
    def act(self) -> str:
        return act()


class OfDeque(collections.deque):  # type: ignore[type-arg]
    def act(self) -> str:
        return act()


class OfError(Exception):
    def act(self) -> str:
        return act()


class OfThread(threading.Thread):
    def act(self) -> str:
        return act()


class Speaks(Protocol):
    def act(self) -> str: ...


class Speaker(Speaks):
    def act(self) -> str:
        return act()


class Nothing:
    def __new__(cls) -> Nothing:
        return super().__new__(cls)

    def act(self) -> str:
        return act()


CLASSES = [
    "Plain",
    "Slots",
    "WeakSlots",
    "DataSlots",
    "FrozenSlots",
    "Frozen",
    "Pair",
    "Colour",
    "WithMeta",
    "OfSealed",
    "Registered",
    "Called",
    "Boxed",
    "Concrete",
    "Rigid",
    "Guarded",
    "OfList",
    "OfInt",
    "OfDeque",
    "OfError",
    "OfThread",
    "Speaker",
    "Nothing",
]
