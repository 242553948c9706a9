"""localops: everything an AI agent did, written to disk before the call returns.

>>> import localops
>>> session = localops.init(tags=["example"])
>>> localops.record(localops.ActionEvent(action_type="plan"))
>>> session.get_analytics()["Actions"]
1
>>> session.end_session("Success")
'0.00'
"""

from __future__ import annotations

import sys as _sys

__version__ = "0.1.0"

# The journal needs POSIX file locks and forks; a part that fails later, in the middle of a run, would be worse.
if _sys.platform == "win32":
    raise ImportError("localops runs on Linux and macOS; on Windows, install and run it inside WSL")

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        record,
        set_api_key,
        set_parent_key,
        set_tags,
        start_session,
        start_trace,
        stop_instrumenting,
        update_trace_metadata,
    )
    from localops.config import Config
    from localops.decorators import record_action, record_function, record_tool, track_agent
    from localops.errors import BudgetExceeded, LocalopsError
    from localops.recording.context import carry
    from localops.recording.events import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
    from localops.recording.operation import Operation
    from localops.recording.session import Session

__all__ = [
    "ActionEvent",
    "BudgetExceeded",
    "Config",
    "ErrorEvent",
    "Event",
    "LLMEvent",
    "LocalopsError",
    "Operation",
    "Session",
    "ToolEvent",
    "add_tags",
    "carry",
    "configure",
    "create_agent",
    "end_all_sessions",
    "end_session",
    "end_trace",
    "get_api_key",
    "get_session",
    "init",
    "record",
    "record_action",
    "record_function",
    "record_tool",
    "set_api_key",
    "set_parent_key",
    "set_tags",
    "start_session",
    "start_trace",
    "stop_instrumenting",
    "track_agent",
    "update_trace_metadata",
]

_ELSEWHERE = {
    "Config": "config",
    "BudgetExceeded": "errors",
    "LocalopsError": "errors",
    "Operation": "recording.operation",
    "Session": "recording.session",
    "carry": "recording.context",
    **dict.fromkeys(("ActionEvent", "ErrorEvent", "Event", "LLMEvent", "ToolEvent"), "recording.events"),
    **dict.fromkeys(("record_action", "record_function", "record_tool", "track_agent"), "decorators"),
}  # what is not in `api`

# Names of AgentOps that are in a module of ours: the error for them here names it.
_NAMES_OF_MODULES = {
    "decorators": "agent guardrail llm operation task tool trace workflow",
    "agentops": "Client ERROR SUCCESS TraceContext TraceState UNSET ValidationError get_client "
    "print_validation_summary track_endpoint track_tool validate_trace_spans",
}
_KEPT_IN = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names.split()}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load what is asked for, when it is: a command, or a program that records nothing, needs little of it."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if name in __all__:
            import_module(f"localops.{_ELSEWHERE.get(name, 'api')}")
            _take_what_is_loaded()
            return globals()[name]
        if name in _KEPT_IN:
            where = f"localops.{_KEPT_IN[name]}"
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}: use {where}.{name} (from {where} import {name}), "
                f"or run a program written for AgentOps with `localops run`"
            )
        try:
            return import_module(f"localops.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"localops.{name}":
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def _take_what_is_loaded() -> None:
        """Have all names that are loaded by now: while the interpreter goes down, nothing can be imported any more."""
        from sys import modules

        for name in __all__:
            module = modules.get(f"localops.{_ELSEWHERE.get(name, 'api')}")
            if module is not None and hasattr(module, name):
                globals()[name] = getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def _record_in_spawned_child() -> None:
    """In a child that multiprocessing has spawned, record model libraries as the parent does, without an `init`."""
    process = _sys.modules.get("multiprocessing.process")
    # While it imports its main module, as here, it does not know its parent yet.
    if process is None or not getattr(process.current_process(), "_inheriting", False):
        return
    from localops import instrument

    def start() -> None:
        from localops import api

        api.record_as_parent()

    instrument.wait(start)


_record_in_spawned_child()
