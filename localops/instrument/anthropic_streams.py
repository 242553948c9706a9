"""Let a program ask a stream of anthropic for its next event.

OpenInference puts a proxy around such a stream that can only be looped over: `next(stream)` raises TypeError, and
`anext(stream)` passes the proxy by, so that what it read is not in the span.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def complete(module: ModuleType) -> None:
    """Add the two methods to the proxy, if it lacks them; a release with other names stays as it is."""
    proxy = getattr(module, "_MessagesStream", None)
    needed = ("_finish_tracing", "_finish_tracing_on_exit")
    if not isinstance(proxy, type) or not all(callable(getattr(proxy, name, None)) for name in needed):
        return
    for name, method in (("__next__", _next), ("__anext__", _anext)):
        if name not in vars(proxy):
            setattr(proxy, name, method)


# Not by way of the proxy's generators: one would be in a cycle with the proxy, whose span ends when it is freed.


def _next(proxy: Any) -> Any:
    """Return the next event, and end the span at the end of the stream or with its error."""
    try:
        event = next(proxy.__wrapped__)
    except StopIteration:
        proxy._finish_tracing()
        raise
    except BaseException as error:
        proxy._finish_tracing_on_exit(error)
        raise
    return _accumulated(proxy, event)


async def _anext(proxy: Any) -> Any:
    """Do the same for an asynchronous stream."""
    try:
        event = await proxy.__wrapped__.__anext__()
    except StopAsyncIteration:
        proxy._finish_tracing()
        raise
    except BaseException as error:
        proxy._finish_tracing_on_exit(error)
        raise
    return _accumulated(proxy, event)


def _accumulated(proxy: Any, event: Any) -> Any:
    """Return an event, added to the response that the span will show."""
    proxy._response_accumulator.process_chunk(event)
    return event
