"""Count every request of google-genai's automatic function calling, of which the instrumentor sees one call.

The client calls the program's functions and asks the model again, inside one `generate_content`.  The instrumentor
reads the tokens of the last answer alone, although each request is billed: here those of all of them are added up.
"""

from __future__ import annotations

import json
import weakref
from contextvars import ContextVar
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

from localops.instrument.imports import on_import
from localops.interruption import hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType
    from typing import Any

_MARK = "__localops_counts__"
# The methods that make one request; the newer ones continue an answer that was cut off, and add up its usage.
_WHOLE = ("_generate_content_with_continuation", "_generate_content")
_STREAMED = ("_generate_content_stream_with_continuation", "_generate_content_stream")
_request: ContextVar[object] = ContextVar("localops_genai_request")  # of the part that a stream has just given
_asked: weakref.WeakKeyDictionary[Any, _Usage] = weakref.WeakKeyDictionary()  # by the span of a call


def complete(module: ModuleType) -> None:
    """Count the requests of the instrumentor's streams, and those of the client's methods."""
    kind: Any = getattr(module, "_Stream", None)
    if isinstance(kind, type) and not hasattr(kind.__init__, _MARK):  # type: ignore[misc]
        _count_parts(kind)
    current = getattr(getattr(module, "trace_api", None), "get_current_span", None)
    if current is not None:
        on_import("google.genai.models", partial(_follow_requests, current))


def _follow_requests(current: Callable[[], Any], module: ModuleType) -> None:
    """Follow each request of the client; a release with other names stays as it is."""
    for kind in (getattr(module, "Models", None), getattr(module, "AsyncModels", None)):
        for names, follow in ((_WHOLE, partial(_followed, current)), (_STREAMED, _marked)):
            name = next((name for name in names if name in getattr(kind, "__dict__", ())), None)
            if name is not None and not hasattr(method := getattr(kind, name), _MARK):
                follower = follow(method)
                setattr(follower, _MARK, True)
                setattr(kind, name, follower)


class _Usage:
    """The tokens of the requests that one call has made."""

    def __init__(self, set_attributes: Callable[[dict[str, Any]], Any]) -> None:
        self._set = set_attributes
        self._before: dict[str, Any] = {}  # of the requests that have ended
        self._last: Any = None
        self._request: object = None

    def begin(self, request: object) -> None:
        """Note that another request of the call begins."""
        if self._last is not None:
            _add(self._before, self._last)
            self._last = None
            self._tell()
        self._request = request

    def take(self, response: Any, request: object) -> None:
        """Take the usage of an answer, or of the part of a streamed one, which replaces that of earlier parts."""
        if request is not self._request:
            self.begin(request)
        usage = getattr(response, "usage_metadata", None)
        if usage is not None:
            self._last = usage
            if self._before:
                self._tell()

    def _tell(self) -> None:
        from localops.otel.processor import ALL_USAGE

        total = dict(self._before)
        if self._last is not None:
            _add(total, self._last)
        self._set({ALL_USAGE: json.dumps(total)})


def _add(total: dict[str, Any], usage: Any) -> None:
    from localops.journal import token_kinds
    from localops.recording import responses
    from localops.recording.operation_rows import add_usage

    reply = responses.read({"candidates": [], "usage_metadata": usage.model_dump(mode="json")})
    add_usage(total, {name: getattr(reply, name, None) for name in token_kinds.ARGUMENTS})


def _attempt(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:  # the edge: another release of the client; the call then has its last answer's tokens
        hold_if_programs(error)
        return None


def _of_call(current: Callable[[], Any]) -> _Usage | None:
    """Return the usage of the instrumentor's call around the calling code."""
    span = current()
    if not str(getattr(span, "name", "")).endswith("GenerateContent"):
        return None
    usage = _asked.get(span)
    if usage is None:
        this = weakref.ref(span)  # the dictionary must not keep the span

        def set_attributes(attributes: dict[str, Any]) -> None:
            if (its := this()) is not None:
                its.set_attributes(attributes)

        usage = _asked[span] = _Usage(set_attributes)
    return usage


def _followed(current: Callable[[], Any], method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that notes, for the current span, the usage of the whole answer that it gets."""

    def begun() -> tuple[_Usage | None, object]:
        request, usage = object(), _attempt(lambda: _of_call(current))
        if usage is not None:
            _attempt(lambda: usage.begin(request))
        return usage, request

    @wraps(method)
    def ask(*args: Any, **options: Any) -> Any:
        usage, request = begun()
        response = method(*args, **options)
        if usage is not None:
            _attempt(lambda: usage.take(response, request))
        return response

    @wraps(method)
    async def ask_async(*args: Any, **options: Any) -> Any:
        usage, request = begun()
        response = await method(*args, **options)
        if usage is not None:
            _attempt(lambda: usage.take(response, request))
        return response

    return ask_async if iscoroutinefunction(method) else ask


def _marked(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that marks, while the consumer of its stream takes a part, the request that the part is of."""

    async def marked(parts: Any) -> AsyncIterator[Any]:
        request = object()
        try:
            async for part in parts:
                _request.set(request)
                yield part
        finally:
            await parts.aclose()

    @wraps(method)
    def loop(*args: Any, **options: Any) -> Iterator[Any]:
        request, parts = object(), method(*args, **options)
        try:
            for part in parts:
                _request.set(request)
                yield part
        finally:
            parts.close()

    @wraps(method)
    def loop_async(*args: Any, **options: Any) -> Any:
        return marked(method(*args, **options))

    @wraps(method)
    async def loop_later(*args: Any, **options: Any) -> Any:
        return marked(await method(*args, **options))

    if isgeneratorfunction(method):
        return loop
    return loop_async if isasyncgenfunction(method) else loop_later


def _count_parts(kind: Any) -> None:
    original = kind.__init__

    @wraps(original)
    def made(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        accumulator: Any = getattr(self, "_response_accumulator", None)
        span: Any = getattr(self, "_with_span", None)
        if hasattr(accumulator, "process_chunk") and hasattr(span, "set_attributes"):
            self._response_accumulator = _Counting(accumulator, _Usage(span.set_attributes))

    setattr(made, _MARK, True)
    kind.__init__ = made


class _Counting:
    """The accumulator of a stream, which adds up the usage of its requests."""

    def __init__(self, accumulator: Any, usage: _Usage) -> None:
        self._accumulator, self._usage = accumulator, usage

    def process_chunk(self, chunk: Any) -> None:
        """Take the next part of a stream."""
        request = _request.get(None)
        if request is not None:
            _attempt(lambda: self._usage.take(chunk, request))
        self._accumulator.process_chunk(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._accumulator, name)
