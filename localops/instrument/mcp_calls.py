"""Record the tool calls of a client of MCP's SDK: with arguments, result and error, from before the request leaves.

The SDK's own span of a call has neither, and ends before the result is read.  It lies inside of the operation that is
written here, and is no second tool call.
"""

from __future__ import annotations

import re
import sys
from contextvars import ContextVar
from functools import partial, wraps
from inspect import iscoroutinefunction

from localops.errors import JournalError, LimitReached
from localops.instrument.imports import on_import
from localops.interruption import attempt, hold_if_programs
from localops.output import say_once
from localops.recording import context
from localops.recording.context import parameters
from localops.recording.operation_rows import calls_of_clients

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import ModuleType
    from typing import Any

    from localops.recording.operation import Operation
    from localops.recording.session import Session

_MARK = "__localops_records__"
# `Client` asks its session once for each round of a call, so it comes first: the rounds are one call.
_CLASSES = {"mcp.client.session": "ClientSession", "mcp.client.client": "Client"}
_SINCE_2 = frozenset(("name", "arguments", "input_responses", "meta"))
# The last parts of keys of `_meta` in which clients put the id of the model's tool request.
_IDS = ("tooluseid", "toolcallid")

_is_on = False
_call: ContextVar[tuple[object, str] | None] = ContextVar("localops.mcp_call", default=None)


class MCPInstrumentor:
    """Records the tool calls of all clients; it has the methods of an OpenTelemetry instrumentor."""

    makes_spans = False

    def _check_dependency_conflicts(self) -> str | None:
        module = sys.modules.get("mcp.client.session")
        kind = getattr(module, "ClientSession", None)
        return None if _is_known(getattr(kind, "call_tool", None)) else "a release of mcp that is not 2.x"

    def instrument(self, **_: Any) -> None:
        """Put a wrapper around the method of each class that calls a tool."""
        pause(False)
        for module, title in _CLASSES.items():
            on_import(module, partial(_wrap, title))


def pause(paused: bool) -> None:
    """Stop recording, or start again; the wrappers stay."""
    global _is_on
    _is_on = not paused


def _is_known(function: object) -> bool:
    """Return whether it is the method of a release that was tried."""
    return iscoroutinefunction(function) and parameters(function).keys() >= _SINCE_2


class _Call:
    """The time of a call, in which the SDK's spans and the rounds of a client are parts of it."""

    __slots__ = ("_before", "_call", "_id")

    def __init__(self, operation: Operation, call: tuple[object, str]) -> None:
        self._call, self._before = call, _call.get()
        self._id = operation.id.bytes if operation.id is not None else b""

    def __enter__(self) -> None:
        calls_of_clients.add(self._id)
        _call.set(self._call)

    def __exit__(self, *_: object) -> None:
        calls_of_clients.discard(self._id)
        _call.set(self._before)


def _wrap(title: str, module: ModuleType) -> None:
    cls = getattr(module, title, None)
    function = getattr(cls, "call_tool", None)
    if cls is not None and function is not None and _is_known(function) and not hasattr(function, _MARK):
        cls.call_tool = _recorded(function)


def _recorded(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @wraps(function)
    async def call_tool(self: Any, name: str, arguments: Any = None, *args: Any, **kwargs: Any) -> Any:
        call = (attempt(lambda: getattr(self, "session", self), self), name)  # a client has one when it is connected
        if not _is_on or _call.get() == call:
            return await function(self, name, arguments, *args, **kwargs)
        operation = _operation(name, arguments, kwargs.get("meta"))
        if operation is None:
            return await function(self, name, arguments, *args, **kwargs)
        with operation, _Call(operation, call):
            result = await function(self, name, arguments, *args, **kwargs)
            _keep(operation, result)
        return result

    setattr(call_tool, _MARK, True)
    return call_tool


def _operation(name: str, arguments: object, meta: object) -> Operation | None:
    """Return the operation of a call that is about to be made; None if it cannot be recorded."""
    try:
        session: Session | None = context.here()[0]
        if session is None or not session.is_running:
            session = context.find_session[0](f"the call of the MCP tool {name!r} has no session")
        if session is None:
            return None
        more: dict[str, Any] = {"mcp_method": "tools/call"}
        if (id := attempt(lambda: _call_id(meta), None)) is not None:
            more["call_id"] = id
        return session.operation(name, _kind(name), params=arguments if session.config.capture else None, **more)
    except (LimitReached, JournalError):
        raise
    except Exception as error:  # the edge: the program's call is made anyway
        if not hold_if_programs(error):
            say_once("mcp call", f"a call of an MCP tool is not recorded: {type(error).__name__}: {error}")
        return None


def _kind(name: str) -> str:
    """Return "tool", or "operation" in the span of a framework's tool that makes this call: one of the two counts."""
    processor = sys.modules.get("localops.otel.processor")
    around = processor.tool_around() if processor is not None else None
    return "operation" if around is not None and re.search(rf"(^|[^a-zA-Z0-9]){re.escape(name)}$", around) else "tool"


def _call_id(meta: object) -> str | None:
    """Return the id of the model's request for the tool, where a client passes it on."""
    if not isinstance(meta, dict):
        return None
    for key, value in meta.items():
        if isinstance(value, str) and re.sub("[^a-z]", "", str(key).lower()).endswith(_IDS):
            return value
    return None


def _keep(operation: Operation, result: Any) -> None:
    """Keep what a tool has answered; an answer that is marked as an error is one, and raises nothing."""
    answer = attempt(lambda: result.model_dump(mode="json", by_alias=True, exclude_none=True), None)
    if not isinstance(answer, dict):
        return
    failed, capture = answer.pop("isError", False), operation.place[0].config.capture
    if answer.get("resultType") == "complete":
        del answer["resultType"]
    if capture:
        operation.returns(answer)
    if failed:
        operation.fail(_text(answer) if capture else "the tool has failed")


def _text(answer: dict[str, Any]) -> str:
    parts = answer.get("content") or ()
    return "\n".join(part["text"] for part in parts if part.get("type") == "text") or "the tool has failed"
