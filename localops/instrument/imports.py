"""Call a function when a module has been imported, without importing it.

One finder comes first in `sys.meta_path`.  It finds nothing itself: it lets the others find a module that is waited
for, and makes its loader call back when the module has run.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Action = Callable[[ModuleType], None]

_waiting: dict[str, list[Action]] = {}
_has_run: set[str] = set()  # modules that were waited for and whose code has run


def forget(names: Iterable[str]) -> None:
    """Stop waiting for these modules."""
    for name in names:
        _waiting.pop(name, None)


def on_import(name: str, action: Action) -> None:
    """Call `action` with the module when it has been imported; at once if it has been already."""
    module = sys.modules.get(name)
    if module is not None and (
        name in _has_run or not getattr(getattr(module, "__spec__", None), "_initializing", False)
    ):
        _call(action, module, name)
        return
    _waiting.setdefault(name, []).append(action)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """A finder that lets the others find a module that is waited for, and makes its loader call back."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                _call_when_run(spec, name)
                return spec
        return None


def _call_when_run(spec: ModuleSpec, name: str) -> None:
    loader: Any = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None:
        return

    def exec_module(module: ModuleType) -> None:
        run(module)
        _has_run.add(name)
        for action in _waiting.pop(name, ()):
            _call(action, module, name)

    try:
        loader.exec_module = exec_module
    except Exception as error:  # a loader that cannot be changed: the module is imported without a callback
        _warn(name, error)


def _call(action: Action, module: ModuleType, name: str) -> None:
    """Call an action; its exceptions do not reach the program's import."""
    try:
        action(module)
    except Exception as error:  # the edge
        _warn(name, error)


def _warn(name: str, error: Exception) -> None:
    """Warn that calls of a library are not recorded; exceptions of the program's own handlers are raised later."""
    from localops.interruption import hold_if_programs
    from localops.output import say_once

    if not hold_if_programs(error):
        say_once(f"instrument {name}", f"calls of {name} are not recorded: {type(error).__name__}: {error}")
