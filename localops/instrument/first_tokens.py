"""Let the instrumentors of anthropic and google-genai note when the first token of a stream came, as openai's does.

Each passes the parts of a stream to an accumulator, or in anthropic's `messages.stream()` on to the client.
"""

from __future__ import annotations

from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import ModuleType
    from typing import Any

_EVENT = "First Token Stream Event"
_MARK = "__localops_notes__"
_BEFORE = frozenset({"message_start", "ping"})  # events of anthropic that come before its answer


def complete(module: ModuleType) -> None:
    """Add the note to the streams of an instrumentor's module; a release with other names stays as it is."""
    for name in ("_MessagesStream", "_Stream"):
        if _has(kind := getattr(module, name, None), "__init__"):
            _note_chunks(kind)
    if _has(kind := getattr(module, "_RawStreamInterceptor", None), "__iter__", "__aiter__"):
        _note_events(kind)


def _has(kind: Any, *names: str) -> bool:
    """Return whether a class has these methods of its own, and not ours."""
    methods = [vars(kind).get(name) for name in names] if isinstance(kind, type) else [None]
    return all(callable(method) and not hasattr(method, _MARK) for method in methods)


def _note_chunks(kind: Any) -> None:
    original = kind.__init__

    @wraps(original)
    def made(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        accumulator, span = getattr(self, "_response_accumulator", None), getattr(self, "_with_span", None)
        if hasattr(accumulator, "process_chunk") and hasattr(span, "add_event"):
            self._response_accumulator = _Noting(accumulator, span)

    setattr(made, _MARK, True)
    kind.__init__ = made


class _Noting:
    """The accumulator of a stream, which notes the first token."""

    def __init__(self, accumulator: Any, span: Any) -> None:
        self._accumulator, self._span = accumulator, span

    def process_chunk(self, chunk: Any) -> None:
        """Take the next part of a stream."""
        self._span = noted(self._span, chunk)
        self._accumulator.process_chunk(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._accumulator, name)


def _note_events(kind: Any) -> None:
    looped, awaited = kind.__iter__, kind.__aiter__

    @wraps(looped)
    def loop(self: Any) -> Iterator[Any]:
        span = getattr(self, "_self_with_span", None)
        for event in looped(self):
            span = noted(span, event)
            yield event

    @wraps(awaited)
    async def loop_async(self: Any) -> AsyncIterator[Any]:
        span, events = getattr(self, "_self_with_span", None), awaited(self)
        try:
            async for event in events:
                span = noted(span, event)
                yield event
        finally:
            await events.aclose()

    setattr(loop, _MARK, True)
    setattr(loop_async, _MARK, True)
    kind.__iter__, kind.__aiter__ = loop, loop_async


def noted(span: Any, part: Any) -> Any:
    """Note the first token in the span; return the span until one has arrived."""
    if span is None or getattr(part, "type", None) in _BEFORE:
        return span
    span.add_event(_EVENT)
    return None
