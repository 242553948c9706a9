"""Record OpenTelemetry spans of instrumentors and programs as they happen, by a span processor of OpenTelemetry's SDK.

A program only has to call `install()`.  `mapping.py` translates a span into the terms of localops, and does not need
OpenTelemetry; `processor.py` writes its rows; `providers.py` has the tracer providers.  Nothing is sent.
"""

from __future__ import annotations

from localops import api  # noqa: F401  (finds the session of a span)
from localops.otel import providers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from opentelemetry.sdk.trace import TracerProvider

    from localops.otel.processor import LocalopsSpanProcessor

__all__ = ["LocalopsSpanProcessor", "install", "private_provider"]


def install(provider: TracerProvider | None = None) -> TracerProvider:
    """Record the spans of a tracer provider, and return it; further calls for the same provider change nothing.

    The default is the global provider of this process.  If there is none, one that exports nothing is created and set.

    >>> import localops.otel
    >>> provider = localops.otel.install()
    """
    return providers.install(provider)


def private_provider() -> TracerProvider:
    """Return a tracer provider whose spans are recorded and go nowhere else; it is never the global one."""
    return providers.private_provider()


def __getattr__(name: str) -> Any:
    if name == "LocalopsSpanProcessor":
        return providers.sdk()[1]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
