"""Let OpenInference's spans of litellm start with their request, which it adds to a span that has started.

A process that is killed in mid-call then leaves an LLM call with its prompt, whatever client litellm uses.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction

from localops.interruption import hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any

# The functions of litellm, each with what reads its request in the instrumentor, and its first arguments.
_FUNCTIONS = {
    **dict.fromkeys(
        ("completion", "acompletion", "completion_with_retries"),
        ("_instrument_func_type_completion", ("model", "messages")),
    ),
    **dict.fromkeys(("responses", "aresponses"), ("_instrument_func_type_responses", ("input", "model"))),
    **dict.fromkeys(("embedding", "aembedding"), ("_instrument_func_type_embedding", ("model", "input"))),
}
_read: ContextVar[Callable[[], dict[str, Any]] | None] = ContextVar("localops_litellm_request", default=None)


def complete(module: ModuleType) -> None:
    """Make the instrumentor's spans start with their request; a release with other names stays as it is."""
    litellm = sys.modules.get("litellm")
    kind = getattr(module, "LiteLLMInstrumentor", None)
    for name, (reader, names) in _FUNCTIONS.items():
        wrapper, read = getattr(litellm, name, None), getattr(module, reader, None)
        instrumentor = getattr(wrapper, "__self__", None)
        if isinstance(kind, type) and isinstance(instrumentor, kind) and callable(wrapper) and callable(read):
            if not isinstance(instrumentor._tracer, _Tracer):  # type: ignore[attr-defined]
                instrumentor._tracer = _Tracer(instrumentor._tracer)  # type: ignore[attr-defined]
            setattr(litellm, name, _with_request(wrapper, read, names))


def _with_request(wrapper: Any, read: Callable[..., Any], names: tuple[str, ...]) -> Any:
    """Return a function that lets the span of its call start with the request."""

    def reader(args: tuple[Any, ...], options: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        def attributes() -> dict[str, Any]:
            request = _Attributes()
            read(request, {**dict(zip(names, args, strict=False)), **options})
            return request.all

        return attributes

    @wraps(wrapper)
    def call(*args: Any, **options: Any) -> Any:
        before = _read.set(reader(args, options))
        try:
            return wrapper(*args, **options)
        finally:
            _read.reset(before)

    @wraps(wrapper)
    async def call_async(*args: Any, **options: Any) -> Any:
        before = _read.set(reader(args, options))
        try:
            return await wrapper(*args, **options)
        finally:
            _read.reset(before)

    return call_async if iscoroutinefunction(wrapper) else call


class _Attributes:
    """The attributes that the instrumentor would set on a span."""

    def __init__(self) -> None:
        self.all: dict[str, Any] = {}

    def set_attribute(self, name: str, value: Any) -> None:
        """Keep one."""
        self.all[name] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Keep several."""
        self.all.update(attributes)


class _Tracer:
    """The instrumentor's tracer, whose first span in a call has the call's request."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def start_span(self, *args: Any, **options: Any) -> Any:
        """Start a span."""
        return self._tracer.start_span(*args, **_completed(options))

    def start_as_current_span(self, *args: Any, **options: Any) -> Any:
        """Start a span that is the current one in a block."""
        return self._tracer.start_as_current_span(*args, **_completed(options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer, name)


def _completed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a span with the request among its attributes."""
    read = _read.get()
    if read is None:
        return options
    _read.set(None)  # a span further inside is of another call
    try:
        return {**options, "attributes": {**(options.get("attributes") or {}), **read()}}
    except Exception as error:  # the edge: another release; the span then gets its request when it runs
        hold_if_programs(error)
        return options
