"""Wrappers around the methods of model libraries, for `session=` and the budget.

A `session=` in a call, as AgentOps 0.3 has it, is removed before the library sees it; the call runs in that session.
A spent budget stops the program here, before the request is sent: instrumentors swallow exceptions in a span.
"""

from __future__ import annotations

from functools import partial, wraps
from inspect import isawaitable

from localops.instrument.imports import on_import
from localops.recording.context import Stay, scope
from localops.recording.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import ModuleType
    from typing import Any

_CHAT = ("Completions.create", "AsyncCompletions.create")
_RESPONSES = ("Responses.create", "AsyncResponses.create")
_MESSAGES = ("Messages.create", "AsyncMessages.create", "Messages.stream", "AsyncMessages.stream")
# The modules of the classes, in older and in newer releases of their libraries.
_METHODS = {
    "openai.resources.chat.completions": _CHAT,
    "openai.resources.chat.completions.completions": _CHAT,
    "openai.resources.responses.responses": _RESPONSES,
    "anthropic.resources.messages": _MESSAGES,
    "anthropic.resources.messages.messages": _MESSAGES,
    "groq.resources.chat.completions": _CHAT,
}


def wrap(library: str) -> None:
    """Wrap a library's methods, and an instrumentor's wrappers around them."""
    for name, methods in _METHODS.items():
        if name.partition(".")[0] == library:
            on_import(name, partial(_wrap_in, methods))


def _wrap_in(methods: Sequence[str], module: ModuleType) -> None:
    """Wrap methods of a module; those that a release of the library does not have are left out."""
    for method in methods:
        title, _, name = method.partition(".")
        cls = getattr(module, title, None)
        function = getattr(cls, name, None)
        if function is not None and not _is_wrapped(function):
            try:
                setattr(cls, name, _wrapped(function))
            except Exception:  # the edge: a class that cannot be changed
                continue


def _is_wrapped(function: object) -> bool:
    """Return whether a function is one of our wrappers; an instrumentor's wrapper around one also has our mark."""
    return getattr(function, "_localops_wrapped", None) is True and "Wrapper" not in type(function).__name__


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("session")
        if not isinstance(given, Session):
            if given is None:
                kwargs.pop("session", None)
            current = scope.get()[0]
            if isinstance(current, Session):
                current.check_budget()
            return function(*args, **kwargs)
        del kwargs["session"]
        given.check_budget()
        stay = Stay(given.here())
        with stay:
            result = function(*args, **kwargs)
        return _awaited(result, stay) if isawaitable(result) else result

    call._localops_wrapped = True  # type: ignore[attr-defined]
    return call


async def _awaited(result: Awaitable[Any], stay: Stay) -> Any:
    with stay:
        return await result
