"""Switch the instrumentors of model libraries on.

A library without an installed instrumentor prints one warning that its calls are not recorded.
"""

from __future__ import annotations

import os
from importlib import import_module

from localops.instrument import (
    anthropic_streams,
    client_calls,
    first_tokens,
    genai_requests,
    groq_streams,
    litellm_requests,
    openai_streams,
)
from localops.instrument.imports import on_import
from localops.instrument.libraries import LIBRARIES, QUIET
from localops.interruption import hold_if_programs
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

# Additions to the instrumentors of OpenInference, by library: a module of theirs, and our function that extends it.
_COMPLETED: dict[str, tuple[tuple[str, Callable[[ModuleType], None]], ...]] = {
    "anthropic": (
        ("anthropic._stream", anthropic_streams.complete),
        ("anthropic._stream", first_tokens.complete),
    ),
    "google.genai": (
        ("google_genai._stream", first_tokens.complete),
        ("google_genai._stream", genai_requests.complete),
    ),
    "groq": (("groq._wrappers", groq_streams.complete),),
    "litellm": (("litellm", litellm_requests.complete),),
    "openai": (("openai._request", openai_streams.complete),),
}
_MOST_IMAGE = 1 << 30  # characters
_IMAGE_SETTINGS = frozenset(("OPENINFERENCE_BASE64_IMAGE_MAX_LENGTH", "OPENINFERENCE_BLOB_UPLOADER"))
_running: dict[str, Any] = {}  # the instrumentor of each library that is recorded, switched on once


def on(name: str, provider: Callable[[], Any]) -> bool:
    """Record the calls of a library that has just been imported, and return whether they are.

    No exception is raised into the import.
    """
    if name in _running:
        return True
    try:
        _switch_on(name, provider)
    except Exception as error:  # the edge: another project's code, in the middle of the program's import
        if not hold_if_programs(error):
            say_once(f"instrument {name}", f"calls of {name} are not recorded: {_described(error)}")
    client_calls.wrap(name.partition(".")[0])
    return name in _running


def recorded() -> list[str]:
    """Return the libraries whose calls are recorded now."""
    return sorted(_running)


def _switch_on(name: str, provider: Callable[[], Any]) -> None:
    package, candidates = LIBRARIES[name]
    instrumentor, conflict = _usable(candidates)
    if instrumentor is None:
        if name not in QUIET and conflict is not None:
            say_once(f"instrument {name}", f"calls of {name} are not recorded: its instrumentor reports {conflict}")
        elif name not in QUIET:
            say_once(
                f"instrument {name}",
                f"calls of {name} are not recorded: `pip install '{package}'` records them by themselves, "
                "init(instrument_llm_calls=False) turns this warning off",
            )
        return
    if getattr(instrumentor, "makes_spans", True):
        instrumentor.instrument(tracer_provider=provider(), skip_dep_check=True, **_with_images(type(instrumentor)))
    else:
        instrumentor.instrument()
    _running[name] = instrumentor
    if name == "langchain_core" and hasattr(instrumentor, "get_span"):
        _follow_langchain(instrumentor.get_span)
    for module, complete in _COMPLETED.get(name, ()):
        on_import(f"openinference.instrumentation.{module}", complete)


def _usable(candidates: tuple[str, ...]) -> tuple[Any, object]:
    """Return the first instrumentor that knows the library's version, or None and what the first one reports."""
    reported: object = None
    for kind in filter(None, map(_instrumentor, candidates)):
        instrumentor = kind()
        conflict = getattr(instrumentor, "_check_dependency_conflicts", lambda: None)()
        if conflict is None:
            return instrumentor, None
        reported = reported or conflict
    return None, reported


def _with_images(kind: type[Any]) -> dict[str, Any]:
    """Return the option with which an instrumentor of OpenInference keeps images: it would leave out those over 32 kB.

    A program that has a limit or an upload of its own keeps it.
    """
    if not kind.__bases__[0].__module__.startswith("openinference.") or not _IMAGE_SETTINGS.isdisjoint(os.environ):
        return {}
    try:
        settings = import_module("openinference.instrumentation").TraceConfig
        return {"config": settings(base64_image_max_length=_MOST_IMAGE)}
    except (ImportError, AttributeError, TypeError):  # another release: its instrumentors go by what they know
        return {}


def _follow_langchain(span_of: Callable[[Any], Any]) -> None:
    """Let what happens in a run of LangChain belong to its span, which is nowhere the current one."""
    from localops.instrument import langchain_runs
    from localops.otel import processor

    def mark(run: Any) -> None:
        span = span_of(run)
        if span is not None:
            span.set_attribute(processor.FROM_CACHE, True)

    langchain_runs.follow()
    langchain_runs.from_cache.append(mark)
    processor.runs[:] = [lambda: filter(None, map(span_of, langchain_runs.around()))]


def _instrumentor(candidate: str) -> type[Any] | None:
    """Return the class of an instrumentor, if it is installed, separate from the program's own use of it.

    An instrumentor is a singleton by class, switched on once: a program that traces with its own provider must find it
    switched off.
    """
    module, _, name = candidate.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        return None
    return type(name, (kind,), {"_instance": None, "_is_instrumented_by_opentelemetry": False})


def _described(error: BaseException) -> str:
    from localops.recording.events import class_name, describe

    return f"{class_name(error)}: {describe(error)[:200]}"
