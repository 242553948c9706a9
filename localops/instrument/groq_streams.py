"""Let OpenInference follow the streams of groq to their end: it ends the span when a stream begins, without an answer.

The stream that the program gets is the client's own.  Only the iterator inside it is followed.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from functools import wraps
from types import SimpleNamespace

from localops.instrument.first_tokens import noted
from localops.interruption import hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType
    from typing import Any

_MARK = "__localops_follows__"
_TEXTS = ("content", "reasoning")


def complete(module: ModuleType) -> None:
    """Make the instrumentor end such a span with its stream; a release with other names stays as it is."""
    _end_interrupted(module)
    finish, extractor = getattr(module, "_finish_tracing", None), getattr(module, "_ResponseAttributesExtractor", None)
    extras = getattr(extractor, "get_extra_attributes", None)
    if not (callable(finish) and callable(extras) and hasattr(extractor, "get_attributes")) or hasattr(finish, _MARK):
        return

    @wraps(extras)
    def extracted(self: Any, response: Any, request_parameters: Any) -> Any:
        return _Extras(self, response, lambda answer: extras(self, answer, request_parameters))

    @wraps(finish)
    def finish_or_follow(*args: Any, **options: Any) -> Any:
        given = options.get("extra_attributes")
        try:
            if isinstance(given, _Extras) and _is_stream(given.response):
                _follow(given, options["with_span"], finish, module.trace_api)
                return None
        except Exception as error:  # the edge: another release; the span then ends at once, as without us
            hold_if_programs(error)
        return finish(*args, **options)

    setattr(finish_or_follow, _MARK, True)
    module._finish_tracing = finish_or_follow  # type: ignore[attr-defined]
    extractor.get_extra_attributes = extracted  # type: ignore[union-attr]


def _end_interrupted(module: ModuleType) -> None:
    """End the span of a call that is cancelled or interrupted, too: the instrumentor looks for exceptions only."""
    kind = getattr(module, "_WithTracer", None)
    original = vars(kind).get("_start_as_current_span") if isinstance(kind, type) else None
    if not callable(original) or hasattr(original, _MARK):
        return

    @wraps(original)
    @contextmanager
    def start(self: Any, *args: Any, **options: Any) -> Iterator[Any]:
        with original(self, *args, **options) as span:
            try:
                yield span
            except Exception:
                raise
            except BaseException as error:
                span.record_exception(error)
                trace = module.trace_api
                described = f"{type(error).__name__}: {error}"
                span.finish_tracing(status=trace.Status(trace.StatusCode.ERROR, described))
                raise

    setattr(start, _MARK, True)
    kind._start_as_current_span = start  # type: ignore[union-attr]


class _Extras:
    """The attributes of a response, read when they are asked for; of a stream when it has ended."""

    def __init__(self, extractor: Any, response: Any, read: Callable[[Any], Any]) -> None:
        self.extractor, self.response, self.read = extractor, response, read

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read(self.response))


def _is_stream(response: Any) -> bool:
    return type(response).__name__ in ("Stream", "AsyncStream") and hasattr(response, "_iterator")


def _follow(extras: _Extras, span: Any, finish: Callable[..., Any], trace: Any) -> None:
    """Let the span end when the stream is read to its end, fails, is closed or is freed."""
    stream, extractor, read, answer = extras.response, extras.extractor, extras.read, _Answer()

    def end(status: Any = None) -> None:
        plain = answer.plain()
        finish(
            with_span=span,
            status=status,
            attributes=extractor.get_attributes(response=plain),
            extra_attributes=read(answer.objects(plain)),
        )

    def failed(error: BaseException) -> None:
        span.record_exception(error)
        end(trace.Status(trace.StatusCode.ERROR, f"{type(error).__name__}: {error}"))

    stream._iterator = (_awaited if hasattr(stream, "__aiter__") else _looped)(
        stream._iterator, answer, span, lambda: end(trace.Status(trace.StatusCode.OK)), failed
    )
    _end_when_closed(stream, end)
    weakref.finalize(stream, end).atexit = False


def _end_when_closed(stream: Any, end: Callable[[], None]) -> None:
    close, this = type(stream).close, weakref.ref(stream)
    if hasattr(stream, "__aiter__"):

        async def closed_later() -> None:
            try:
                await close(this())
            finally:
                end()

        stream.close = closed_later
        return

    def closed() -> None:
        try:
            close(this())
        finally:
            end()

    stream.close = closed


def _looped(
    parts: Iterator[Any], answer: _Answer, span: Any, end: Callable[[], None], failed: Callable[[BaseException], None]
) -> Iterator[Any]:
    waits = span
    try:
        for part in parts:
            waits = noted(waits, part)
            answer.take(part)
            yield part
    except GeneratorExit:
        raise
    except BaseException as error:
        failed(error)
        raise
    end()


async def _awaited(
    parts: AsyncIterator[Any],
    answer: _Answer,
    span: Any,
    end: Callable[[], None],
    failed: Callable[[BaseException], None],
) -> AsyncIterator[Any]:
    waits = span
    try:
        async for part in parts:
            waits = noted(waits, part)
            answer.take(part)
            yield part
    except GeneratorExit:
        raise
    except BaseException as error:
        failed(error)
        raise
    end()


class _Answer:
    """The answer that the parts of a stream make together."""

    def __init__(self) -> None:
        self.usage: Any = None
        self._about: dict[str, Any] = {"id": None, "model": None}
        self._choices: dict[int, dict[str, Any]] = {}

    def take(self, part: Any) -> None:
        """Add the next part; what cannot be read is left out."""
        try:
            self._about.update({name: getattr(part, name) for name in self._about if getattr(part, name, None)})
            last = getattr(part, "x_groq", None)
            self.usage = getattr(part, "usage", None) or getattr(last, "usage", None) or self.usage
            for choice in part.choices or ():
                self._add(choice)
        except Exception as error:  # the edge: another release of the client
            hold_if_programs(error)

    def _add(self, choice: Any) -> None:
        empty = {"index": choice.index, "message": {"role": "assistant"}, "finish_reason": None}
        whole = self._choices.setdefault(choice.index, empty)
        whole["finish_reason"] = choice.finish_reason or whole["finish_reason"]
        message, delta = whole["message"], choice.delta
        for name in _TEXTS:
            if text := getattr(delta, name, None):
                message[name] = message.get(name, "") + text
        for call in getattr(delta, "tool_calls", None) or ():
            calls = message.setdefault("tool_calls", {})
            known = calls.setdefault(
                call.index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            )
            known["id"] = call.id or known["id"]
            for name in known["function"]:
                known["function"][name] += getattr(call.function, name, None) or ""

    def objects(self, plain: dict[str, Any]) -> Any:
        """Return it with the attributes that the client's own answer has."""
        choices = [SimpleNamespace(**choice) for choice in plain["choices"]]
        return SimpleNamespace(**{**plain, "choices": choices, "usage": self.usage})

    def plain(self) -> dict[str, Any]:
        """Return the answer in the form of one that is not streamed, without its tokens."""
        choices = []
        for index in sorted(self._choices):
            choice = self._choices[index]
            calls = choice["message"].get("tool_calls")
            message = {**choice["message"], **({"tool_calls": list(calls.values())} if calls else {})}
            choices.append({**choice, "message": message})
        return {**self._about, "choices": choices}
