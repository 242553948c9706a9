"""Let threads and pools begin where they were started: in that session and operation, as that agent.

A new thread has an empty context in Python.  Here it gets the place of localops, and no other variable of the context:
the program's own context variables are not affected.
"""

from __future__ import annotations

import threading
from functools import wraps

from localops.instrument.imports import on_import
from localops.interruption import hold_if_programs
from localops.recording.context import NOWHERE, scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_is_on = False
_is_installed = False


def carry_on() -> None:
    """Let threads, and functions that are submitted to thread pools, begin in the place where they were started."""
    global _is_on, _is_installed
    _is_on = True
    if _is_installed:
        return
    _is_installed = True
    threading.Thread.start = _start(threading.Thread.start)  # type: ignore[method-assign]
    on_import("concurrent.futures.thread", _change_pool)


def stop() -> None:
    """Let threads begin without a place again; those that run keep theirs."""
    global _is_on
    _is_on = False


def is_on() -> bool:
    """Return whether threads begin where they were started."""
    return _is_on


def _change_pool(module: ModuleType) -> None:
    pool = module.ThreadPoolExecutor
    pool.submit = _submit(pool.submit)


def _there(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, bound to the place of this call."""
    place = scope.get()

    def run(*args: Any, **kwargs: Any) -> Any:
        before = scope.get()
        scope.set(place)
        try:
            return function(*args, **kwargs)
        finally:
            scope.set(before)

    return run


def _start(start: Callable[..., None]) -> Callable[..., None]:
    @wraps(start)
    def started(thread: threading.Thread) -> None:
        if _is_on and scope.get() is not NOWHERE:
            _bind(thread)
        start(thread)

    return started


def _bind(thread: threading.Thread) -> None:
    """Let a thread that is about to start run in the place of this call."""
    run = _there(thread.run)

    def run_once() -> None:
        vars(thread).pop("run", None)  # our wrapper, which holds the thread that holds it
        run()

    try:
        thread.run = run_once  # type: ignore[method-assign]
    except Exception as error:  # the edge: a class of the program that takes no attribute begins without a place
        hold_if_programs(error)


def _submit(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    def submitted(pool: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        place = scope.get()
        if not _is_on or place is NOWHERE:
            return submit(pool, function, *args, **kwargs)
        bound = _there(function)
        # A thread that the pool starts now serves other callers later: it inherits the context of none.
        scope.set(NOWHERE)
        try:
            return submit(pool, bound, *args, **kwargs)
        finally:
            scope.set(place)

    return submitted
