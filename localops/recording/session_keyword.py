"""`session=` in calls of model libraries, as AgentOps 0.3 taught it: the call runs in that session.

AgentOps puts its own functions in the place of these, and takes the keyword away before the library sees it.  Only
that is done here, and only for programs that import agentops: nothing of the call is recorded.  To be removed when
the calls themselves are recorded.
"""

from __future__ import annotations

import sys
from functools import wraps
from inspect import isawaitable

from localops.recording.context import Stay
from localops.recording.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_METHODS = {
    "openai.resources.chat.completions": ("Completions.create", "AsyncCompletions.create"),
    "anthropic.resources.messages": ("Messages.create", "AsyncMessages.create"),
    "groq.resources.chat.completions": ("Completions.create", "AsyncCompletions.create"),
}
# The module of a class, in older and in newer releases of its library.
_MODULES = {name: name for name in _METHODS} | {
    "openai.resources.chat.completions.completions": "openai.resources.chat.completions",
    "anthropic.resources.messages.messages": "anthropic.resources.messages",
}


def install() -> None:
    """Have the libraries take the keyword, those that are imported already and those that will be."""
    for name in _MODULES:
        if name in sys.modules:
            _teach(sys.modules[name], _METHODS[_MODULES[name]])
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds nothing itself: what the others find of these modules is taught when it is run."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _MODULES:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                _teach_when_run(spec, name)
                return spec
        return None


def _teach_when_run(spec: ModuleSpec, name: str) -> None:
    loader: Any = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None:
        return

    def exec_module(module: ModuleType) -> None:
        run(module)
        _teach(module, _METHODS[_MODULES[name]])

    try:
        loader.exec_module = exec_module
    except Exception:  # a loader that cannot be changed: the keyword is the library's to refuse
        pass


def _teach(module: ModuleType, methods: Sequence[str]) -> None:
    """Have methods of a module take `session=`; what a release of the library does not have is left out."""
    for method in methods:
        title, _, name = method.partition(".")
        cls = getattr(module, title, None)
        function = getattr(cls, name, None)
        if function is not None and not hasattr(function, "_localops_session"):
            try:
                setattr(cls, name, _taking(function))
            except Exception:  # the edge: a class that cannot be changed
                continue


def _taking(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("session")
        if not isinstance(given, Session):
            if given is None:
                kwargs.pop("session", None)
            return function(*args, **kwargs)
        del kwargs["session"]
        stay = Stay(given.here())
        with stay:
            result = function(*args, **kwargs)
        return _awaited(result, stay) if isawaitable(result) else result

    call._localops_session = True  # type: ignore[attr-defined]
    return call


async def _awaited(result: Awaitable[Any], stay: Stay) -> Any:
    with stay:
        return await result
