"""Find the run of LangChain that the calling code is in: the calls of a model's client there belong to that run.

LangChain calls handlers outside of a run, some in another thread, so what they set is not visible inside of it.  It
keeps the chain or tool around its code in a context variable.  The runs of models are not in it: for them the methods
of its callback managers are followed, which are called in the context of the run.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import ContextVar
from functools import wraps

from localops.instrument.imports import on_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any
    from uuid import UUID

    Runs = tuple[UUID, Any]  # a run, and those around it

from_cache: list[Callable[[UUID], None]] = []
"""Functions to call with a run whose answer came from LangChain's cache, before it ends."""

_models: ContextVar[Runs | None] = ContextVar("localops.langchain_runs", default=None)
_not_followed: list[None] = [None]  # popped by the first of several simultaneous calls


def follow() -> None:
    """Follow the runs of models, once LangChain is there; this changes nothing that it does."""
    if _not_followed:
        _not_followed.clear()
        on_import("langchain_core.callbacks.manager", _follow_managers)
        on_import("langchain_core.language_models.chat_models", _follow_cache)


def around() -> Iterator[UUID]:
    """Yield the runs around the calling code, the innermost first; some may have ended."""
    runs = _models.get()
    while runs is not None:
        yield runs[0]
        runs = runs[1]
    module = sys.modules.get("langchain_core.runnables.config")
    config = module.var_child_runnable_config.get() if module is not None else None
    manager = config.get("callbacks") if isinstance(config, dict) else None
    run: UUID | None = getattr(manager, "parent_run_id", None)
    if run is not None:
        yield run


def _follow_managers(module: ModuleType) -> None:
    for title in ("CallbackManager", "AsyncCallbackManager"):
        for name in ("on_llm_start", "on_chat_model_start"):
            _follow(module, title, name, _entered)
    for title in ("CallbackManagerForLLMRun", "AsyncCallbackManagerForLLMRun"):
        # With its first token a model has made its request: the code that takes the tokens runs outside of it.
        for name in ("on_llm_new_token", "on_llm_end", "on_llm_error"):
            _follow(module, title, name, _left)


def _follow_cache(module: ModuleType) -> None:
    _follow(module, "BaseChatModel", "_convert_cached_generations", _answered)


def _entered(_: Any, runs: Any) -> None:
    """Be in the run that has started; of several at a time it is not known in which."""
    if isinstance(runs, list) and len(runs) == 1:
        _models.set((runs[0].run_id, _models.get()))


def _left(run: Any, _: Any) -> None:
    runs = _models.get()
    if runs is not None and runs[0] == run.run_id:
        _models.set(runs[1])


def _answered(_: Any, __: Any) -> None:
    runs = _models.get()
    if runs is not None:
        for tell in from_cache:
            tell(runs[0])


def _follow(module: ModuleType, title: str, name: str, follower: Callable[[Any, Any], None]) -> None:
    """Call a function with a method's object and result when it has returned; skip methods that a release lacks."""
    cls = getattr(module, title, None)
    function = vars(cls).get(name) if isinstance(cls, type) else None
    if inspect.iscoroutinefunction(function):
        setattr(cls, name, _later(function, follower))
    elif inspect.isfunction(function):
        setattr(cls, name, _now(function, follower))


def _now(function: Callable[..., Any], follower: Callable[[Any, Any], None]) -> Callable[..., Any]:
    @wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(self, *args, **kwargs)
        follower(self, result)
        return result

    return call


def _later(function: Callable[..., Any], follower: Callable[[Any, Any], None]) -> Callable[..., Any]:
    @wraps(function)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = await function(self, *args, **kwargs)
        follower(self, result)
        return result

    return call
