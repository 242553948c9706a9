"""Answers for AgentOps' modules when they are imported; what they need is loaded when a name of theirs is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

from localops.dropin.names import MODULES, NOTHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOP = "agentops"


def install() -> None:
    """Answer for the modules below `agentops` in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def sources(key: str) -> dict[str, str]:
    """Return the names of a module below `agentops`, and which module of ours each is in."""
    return {name: source for source, names in MODULES[key].items() for name in names.split()}


def find(key: str, name: str) -> Any:
    """Return what a name of a module below `agentops` stands for; AttributeError where it has none."""
    module = f"{TOP}.{key}" if key else TOP
    below = f"{key}.{name}" if key else name
    source = sources(key).get(name)
    if source is None:
        if below in MODULES and TOP in sys.modules:
            return import_module(f"{TOP}.{below}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    if source != NOTHING:
        return getattr(import_module(source), name)
    inert = import_module(NOTHING)
    if name.endswith("Provider"):
        return type(name, (inert.Provider,), {"__module__": module})
    return inert.make(module, name)


class Module(ModuleType):
    """A module of AgentOps.  A decorator keeps its name, also where AgentOps 0.3 has a module of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        before = self.__dict__.get(name)
        if isinstance(value, ModuleType) and before is not None and not isinstance(before, ModuleType):
            return
        super().__setattr__(name, value)


class _Below(Module):
    """A module below `agentops`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = find(self.__name__.partition(".")[2], name)
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        return sorted({*sources(self.__name__.partition(".")[2]), *self.__dict__})


class _Finder:
    """Finds AgentOps' modules, as far as they are in the table."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        top, _dot, key = name.partition(".")
        if top != TOP or key not in MODULES or not key:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Below(spec.name, "A module of AgentOps, answered by localops.")
        module.__dict__["__all__"] = sorted(sources(spec.name.partition(".")[2]))
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: names are found when they are asked for."""
