"""localops: record everything that an AI agent does, on disk before the call returns.

>>> import localops
>>> session = localops.init(tags=["example"])
>>> localops.record(localops.ActionEvent(action_type="plan"))
>>> session.get_analytics()["Actions"]
1
>>> session.end_session("Success")
'0.00'

PYTEST_DONT_REWRITE: it may be imported before pytest, which would warn of that.
"""

from __future__ import annotations

import os as _os
import sys as _sys

__version__ = "0.1.0"

# The journal needs POSIX file locks and forks; a failure in the middle of a run would be worse than this one.
if _sys.platform == "win32":
    raise ImportError("localops runs on Linux and macOS; on Windows, install and run it inside WSL")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as _Any

    from localops.api import (
        add_tags,
        configure,
        create_agent,
        end_all_sessions,
        end_session,
        end_trace,
        get_api_key,
        get_session,
        init,
        note,
        record,
        resume,
        score,
        set_api_key,
        set_parent_key,
        set_tags,
        start_session,
        start_trace,
        stop_instrumenting,
        update_trace_metadata,
    )
    from localops.config import Config
    from localops.decorators import (
        agent,
        guardrail,
        llm,
        operation,
        record_action,
        record_function,
        record_tool,
        session,
        task,
        tool,
        trace,
        track_agent,
        workflow,
    )
    from localops.errors import BudgetExceeded, LocalopsError, LoopDetected, NotResumable, StepError, Uncertain
    from localops.recording.context import carry
    from localops.recording.events import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
    from localops.recording.loop_watch import Loop
    from localops.recording.once import run_again
    from localops.recording.operation import Operation
    from localops.recording.scores import Score
    from localops.recording.session import Session

__all__ = [
    "ActionEvent",
    "BudgetExceeded",
    "Config",
    "ErrorEvent",
    "Event",
    "LLMEvent",
    "LocalopsError",
    "Loop",
    "LoopDetected",
    "NotResumable",
    "Operation",
    "Score",
    "Session",
    "StepError",
    "ToolEvent",
    "Uncertain",
    "add_tags",
    "agent",
    "carry",
    "configure",
    "create_agent",
    "end_all_sessions",
    "end_session",
    "end_trace",
    "get_api_key",
    "get_session",
    "guardrail",
    "init",
    "llm",
    "note",
    "operation",
    "record",
    "record_action",
    "record_function",
    "record_tool",
    "resume",
    "run_again",
    "score",
    "session",
    "set_api_key",
    "set_parent_key",
    "set_tags",
    "start_session",
    "start_trace",
    "stop_instrumenting",
    "task",
    "tool",
    "trace",
    "track_agent",
    "update_trace_metadata",
    "workflow",
]

_ELSEWHERE = {
    "Config": "config",
    "BudgetExceeded": "errors",
    **dict.fromkeys("LocalopsError LoopDetected NotResumable StepError Uncertain".split(), "errors"),
    "Loop": "recording.loop_watch",
    "run_again": "recording.once",
    "Operation": "recording.operation",
    "Score": "recording.scores",
    "Session": "recording.session",
    "carry": "recording.context",
    **dict.fromkeys(("ActionEvent", "ErrorEvent", "Event", "LLMEvent", "ToolEvent"), "recording.events"),
    **dict.fromkeys(
        "agent guardrail llm operation record_action record_function record_tool session task tool trace track_agent"
        " workflow".split(),
        "decorators",
    ),
}  # names that are not in `api`

# AgentOps' names that another module has: an error for one of them here names that module.
_NAMES_OF_MODULES = {
    "agentops": "Client ERROR SUCCESS TraceContext TraceState UNSET ValidationError get_client "
    "print_validation_summary track_endpoint track_tool validate_trace_spans",
}
_KEPT_IN = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names.split()}

# A descriptor until `api` is loaded: a program that has used up its own can still call it.
_reserve: list[tuple[int, _os.stat_result]] = []
_NO_DESCRIPTORS = (23, 24)  # ENFILE and EMFILE


def _keep_reserve() -> None:
    if hasattr(_os, "memfd_create"):  # its file is no other, whatever the program opens under its number
        try:
            handle = _os.memfd_create("localops")
            _reserve.append((handle, _os.fstat(handle)))
        except OSError as error:
            if error.errno is None:  # a TimeoutError of the program's signal handler
                raise


def _free_reserve() -> bool:
    """Close the descriptor, and return whether there is one more now."""
    if not _reserve:
        return False
    handle, before = _reserve.pop()
    try:
        if not _os.path.samestat(_os.fstat(handle), before):
            return False
        _os.close(handle)
    except OSError as error:  # the program has closed it
        if error.errno is None:
            raise
        return False
    return True


_keep_reserve()

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a name's module when it is first used: a command, or a program that does not record, needs few."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in __all__:
            _load(f"localops.{_ELSEWHERE.get(name, 'api')}")
            _take_what_is_loaded()
            return globals()[name]
        if name in _KEPT_IN:
            where = f"localops.{_KEPT_IN[name]}"
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}: use {where}.{name} (from {where} import {name}), "
                f"or run a program written for AgentOps with `localops run`"
            )
        try:
            return _load(f"localops.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"localops.{name}":
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def _load(module: str) -> object:
        try:
            return _imported(module)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS or not _free_reserve():
                raise
        return _imported(module)

    def _imported(module: str) -> object:
        from importlib import import_module

        return import_module(module)

    def _take_what_is_loaded() -> None:
        """Take over all names that are loaded by now: while the interpreter shuts down, nothing can be imported."""
        from sys import modules

        for name in __all__:
            module = modules.get(f"localops.{_ELSEWHERE.get(name, 'api')}")
            if module is not None and hasattr(module, name):
                globals()[name] = getattr(module, name)
        if "init" in globals():
            _free_reserve()

    def __dir__() -> list[str]:
        return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def _record_in_spawned_child() -> None:
    """Record model libraries in a spawned child of multiprocessing like its parent, without an `init`."""
    process = _sys.modules.get("multiprocessing.process")
    # While it imports its main module, as here, multiprocessing does not know its parent yet.
    if process is None or not getattr(process.current_process(), "_inheriting", False):
        return
    from localops import instrument

    def start() -> None:
        from localops import api

        api.record_as_parent()

    instrument.wait(start)


# The hooks that run before a fork.  Python prints and drops what a fork hook raises, and a signal handler may run at
# the beginning of a Python function, before its `try`.  So each hook is a generator that has already entered its `try`,
# and the fork only resumes it.
_ready_hooks: list[_Any] = []
_READY = 8  # several threads may fork at once, and each fork uses up one


def _fork_hook() -> _Any:
    undo: list[_Any] = []
    try:
        # `_make_hooks_ready` runs the code up to here; the rest runs right before a fork.
        yield
        _make_hooks_ready()
        from localops.journal import fork_imports

        fork_imports.before_fork(undo)
    except GeneratorExit:  # the interpreter ends, and no fork has used this one
        return
    except BaseException as error:
        try:
            from localops.journal import fork_imports
        except (ImportError, OSError):
            # Out of descriptors, for example.
            pass
        else:
            fork_imports.before_fork_again(error, undo)
    yield


def _make_hooks_ready() -> None:
    while len(_ready_hooks) < _READY:
        hook = _fork_hook()
        next(hook)
        _ready_hooks.append(hook)


def _register_fork_hook() -> None:
    # Python keeps a hook until the very end, and with it the globals of its functions.  Those of this module may
    # include objects that the program has put into this package, so the functions get globals of their own.
    own: dict[str, _Any] = {"__name__": __name__, "__builtins__": __builtins__}
    own |= {"_ready_hooks": _ready_hooks, "_READY": _READY}
    new_function: _Any = type(_fork_hook)
    for function in (_fork_hook, _make_hooks_ready):
        own[function.__name__] = new_function(function.__code__, own)
    own["_make_hooks_ready"]()
    # This takes a generator from the list and resumes it.  It consists of C functions, so no signal handler runs in it.
    _os.register_at_fork(before=map(next, iter(_ready_hooks.pop, None)).__next__)


if hasattr(_os, "register_at_fork"):
    _register_fork_hook()

_record_in_spawned_child()
