"""The tracer providers whose spans are recorded: the program's own, and private ones.

A provider that is created here exports nothing.
"""

from __future__ import annotations

import os
import threading
import weakref

from localops.errors import LocalopsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

_lock = threading.Lock()
_own: dict[str, TracerProvider] = {}  # the private ones: they are never made the global one
_is_paused = False
_installed: weakref.WeakSet[TracerProvider] = weakref.WeakSet()


def _after_fork() -> None:
    global _lock
    # A thread that the child does not have may hold the old one.
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def install(provider: TracerProvider | None = None) -> TracerProvider:
    """Record the spans of a tracer provider, and return it; further calls for the same provider change nothing.

    The default is the global provider of this process.  If there is none, one that exports nothing is created and set.
    """
    processor = sdk()[1]
    with _lock:
        provider = provider if provider is not None else _global_provider()
        if not _records(provider, processor):
            provider.add_span_processor(processor())
            _installed.add(provider)
    return provider


def private_provider() -> TracerProvider:
    """Return a tracer provider whose spans are recorded and go nowhere else; it is never the global one.

    For instrumentors that take a `tracer_provider`: their spans are recorded, and the program's own tracing stays as it
    is.  Each call returns the same provider.
    """
    return _kept("private", _always)


def library_provider() -> TracerProvider:
    """Return the provider of the instrumentors that record model libraries; `pause` affects only this one."""
    return _kept("libraries", _sampler)


def _kept(name: str, sampler: Callable[[], Any]) -> TracerProvider:
    processor = sdk()[1]
    with _lock:
        if name not in _own:
            # Its own sampler: the program's may drop spans that its export does not need.
            # No shutdown at exit: there is nothing to flush, and what runs at exit is recorded, too.
            _own[name] = _made(sampler=sampler(), shutdown_on_exit=False)
            _own[name].add_span_processor(processor())
        return _own[name]


def _always() -> Any:
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    return ALWAYS_ON


def pause(paused: bool) -> None:
    """Stop recording the spans of model libraries, or start again.

    Instrumentors stay installed, as their wrappers cannot be removed from beneath those that others added later.
    """
    global _is_paused
    _is_paused = paused


def _sampler() -> Any:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

    class WhileOn(Sampler):
        """A sampler that keeps every span while recording is on, and drops all others."""

        def should_sample(self, *args: Any, **options: Any) -> Any:
            return (ALWAYS_OFF if _is_paused else ALWAYS_ON).should_sample(*args, **options)

        def get_description(self) -> str:
            return "localops"

    return WhileOn()


def sdk() -> tuple[ModuleType, type[SpanProcessor]]:
    """Return OpenTelemetry's SDK and our processor for it; raise LocalopsError if the SDK is not installed."""
    try:
        from opentelemetry.sdk import trace

        from localops.otel.processor import LocalopsSpanProcessor
    except ImportError as error:
        raise LocalopsError(
            "recording OpenTelemetry spans needs its SDK, which is not installed; run: pip install 'localops[otel]'"
        ) from error
    return trace, LocalopsSpanProcessor


def _global_provider() -> TracerProvider:
    """Return the global provider; create one that exports nothing if there is none that takes processors."""
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        trace.set_tracer_provider(_made())
        provider = trace.get_tracer_provider()  # another thread may have set one first
    if not hasattr(provider, "add_span_processor"):
        raise LocalopsError(
            f"the tracer provider of this process, {type(provider).__name__}, takes no span processors: nothing is "
            "recorded; pass a provider of opentelemetry.sdk.trace to install()"
        )
    known: TracerProvider = provider
    return known


def _made(**options: Any) -> TracerProvider:
    """Return a provider without an exporter, and without limits on the size of spans."""
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    return TracerProvider(span_limits=SpanLimits(max_attributes=SpanLimits.UNSET), **options)


def _records(provider: Any, processor: type[SpanProcessor]) -> bool:
    """Return whether a provider has our processor."""
    if provider in _installed:
        return True
    active = getattr(provider, "_active_span_processor", None)
    return any(isinstance(each, processor) for each in getattr(active, "_span_processors", ()))
