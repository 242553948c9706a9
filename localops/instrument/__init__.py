"""Record the calls of model libraries without changes to the program.

`start` waits for the libraries; a program that uses none of them loads only this file.  When a library is imported,
`switch.py` switches on its instrumentor (`libraries.py` has the table), and its spans go to the journal.
"""

from __future__ import annotations

import sys

from localops.instrument.imports import forget, on_import
from localops.instrument.libraries import LIBRARIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_provider: Callable[[], Any] | None = None  # None while this is off
_with_threads = False


def start(provider: Callable[[], Any], *, with_threads: bool) -> None:
    """Record the calls of every library that is imported, or will be.

    `provider` returns the tracer provider for the spans; it is called when the first library is there.
    `with_threads` lets threads begin in the place where they were started, once there is anything to record.
    """
    global _provider, _with_threads
    if _provider is None:
        _provider, _with_threads = provider, with_threads
        _pause(False)
        for name in LIBRARIES:
            on_import(name, _switch_on)
        on_import("multiprocessing.process", _carry_to_children)


def stop() -> None:
    """Stop recording the calls of libraries."""
    global _provider
    _provider = None
    forget(LIBRARIES)
    _pause(True)
    children = sys.modules.get("localops.instrument.children")
    if children is not None:
        children.stop()


def is_on() -> bool:
    """Return whether libraries are recorded, or will be when they are imported."""
    return _provider is not None


def _pause(paused: bool) -> None:
    for name in ("localops.otel.providers", "localops.instrument.mcp_calls"):
        module = sys.modules.get(name)
        if module is not None:
            module.pause(paused)


def wait(action: Callable[[], None]) -> None:
    """Call `action` when a library is imported that could be recorded."""
    for name in LIBRARIES:
        on_import(name, lambda _: action())


def is_recorded(name: str) -> bool:
    """Return whether the calls of a library are recorded now."""
    return name in recorded()


def _carry_to_children(module: ModuleType) -> None:
    from localops.instrument import children

    if _provider is not None:
        children.carry_on(module)


def recorded() -> list[str]:
    """Return the libraries whose calls are recorded by themselves now."""
    switch = sys.modules.get("localops.instrument.switch")
    return switch.recorded() if switch is not None and _provider is not None else []


def _switch_on(module: ModuleType) -> None:
    from localops.instrument import switch

    if _provider is not None and switch.on(module.__name__, _provider) and _with_threads:
        from localops.instrument import threads

        threads.carry_on()
