"""Names of AgentOps that have nothing to do here: using one warns once, and does nothing.

They belong to AgentOps' way to its server and into libraries.  Importing such a name says nothing; a class of a
program's own may stand on one.
"""

from __future__ import annotations

from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_WHY = {
    "agentops.instrumentation": "calls of model libraries record themselves",
    "agentops.llms": "calls of model libraries record themselves",
    "agentops.integration.callbacks.dspy": "`pip install openinference-instrumentation-dspy` records DSPy by itself",
    "agentops.partners": "`localops help llm-calls` lists what records itself",
    "agentops.logging": "what a program prints is not recorded",
    "agentops.time_travel": "a session cannot be replayed",
}


def make(module: str, name: str) -> Any:
    """Return what a name of AgentOps stands for: a class, a function or a constant, by the way that it is written."""
    if name.isupper():
        return f"{module}.{name}"
    if name.lstrip("_")[:1].isupper():
        return type(name, (Inert,), {"__module__": module, "__doc__": f"AgentOps' {name}: it does nothing here."})

    def function(*_: Any, **__: Any) -> None:
        _warn(module, name)

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = f"AgentOps' {name}: it does nothing here."
    return function


def _warn(module: str, name: str) -> None:
    why = next((why for start, why in _WHY.items() if module.startswith(start)), "nothing is sent from here")
    say_once(f"inert {module}.{name}", f"{module}.{name} does nothing under localops: {why}")


class Inert:
    """An object that takes every call and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        kind = next((kind for kind in type(self).__mro__ if kind.__module__.startswith("agentops.")), type(self))
        _warn(kind.__module__, kind.__name__)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing

    def __call__(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, which does nothing here>"


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


class Provider(Inert):
    """A provider of AgentOps 0.3 for a library of models, whose calls record themselves here."""

    def __init__(self, client: Any = None, *_: Any, **__: Any) -> None:
        super().__init__()
        self.client = client

    def handle_response(self, response: Any, *_: Any, **__: Any) -> Any:
        """Return the response as it is: its call has recorded itself."""
        return response
