"""Let OpenInference follow a stream that a program reads from a raw response of openai, as openai-agents does.

`with_streaming_response` gives an asynchronous response of which `parse()` is a coroutine.  The instrumentor calls it
without awaiting it, sees no stream, and ends the span before the first event: no tokens, no time to the first token.
"""

from __future__ import annotations

import weakref
from functools import wraps

from localops.interruption import hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_MARK = "__localops_follows__"


def complete(module: ModuleType) -> None:
    """Make the instrumentor end such a span with its stream; a release with other names stays as it is."""
    kind, stream = getattr(module, "_WithOpenAI", None), getattr(module, "_Stream", None)
    finish = getattr(module, "_finish_tracing", None)
    original = vars(kind).get("_finalize_response") if isinstance(kind, type) else None
    if not (callable(original) and callable(finish) and isinstance(stream, type)) or hasattr(original, _MARK):
        return

    @wraps(original)
    def finalize(self: Any, response: Any, with_span: Any, cast_to: Any, request_parameters: Any) -> Any:
        try:
            if _is_unread(response):
                _follow(self, response, with_span, cast_to, request_parameters, stream, finish)
                return response
        except Exception as error:  # the edge: another release; the span then ends at once, as without us
            hold_if_programs(error)
        return original(self, response, with_span, cast_to, request_parameters)

    setattr(finalize, _MARK, True)
    kind._finalize_response = finalize  # type: ignore[union-attr]


def _is_unread(response: Any) -> bool:
    """Return whether a response is an asynchronous one whose events are read when the program parses it."""
    from inspect import iscoroutinefunction

    return getattr(response, "_is_sse_stream", False) is True and iscoroutinefunction(getattr(response, "parse", None))


def _follow(
    owner: Any, response: Any, with_span: Any, cast_to: Any, request_parameters: Any, stream: Any, finish: Any
) -> None:
    """Put the instrumentor's own proxy around the stream; the span ends with it, or with the response."""
    make = owner._response_accumulator_factories.get(cast_to)
    parse, close = response.parse, response.close
    proxies: dict[int, Any] = {}  # by the stream, which a response gives again

    async def parsed(*args: Any, **options: Any) -> Any:
        result = await parse(*args, **options)
        if not owner._is_streaming(result):
            return result
        if id(result) not in proxies:
            accumulator = make(request_parameters) if make else None
            proxies[id(result)] = stream(stream=result, with_span=with_span, response_accumulator=accumulator)
        return proxies[id(result)]

    async def closed() -> None:
        try:
            await close()
        finally:
            end()

    def end() -> None:
        for proxy in proxies.values():
            proxy._finish_tracing(status=None)
        finish(status=None, with_span=with_span, has_attributes=_Nothing())

    response.parse, response.close = parsed, closed
    weakref.finalize(response, end).atexit = False


class _Nothing:
    """Placeholder for the content of a response that was never parsed."""

    def get_attributes(self) -> Any:
        """Yield nothing."""
        return iter(())

    get_extra_attributes = get_attributes
