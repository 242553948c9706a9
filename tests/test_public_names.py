"""The names that `import localops` promises."""

from __future__ import annotations

import types

import localops


def test_all_is_what_can_be_imported_sorted() -> None:
    """`__all__` lists every public name of the package that is no module, in order."""
    found = {name for name, value in vars(localops).items() if not isinstance(value, types.ModuleType)}
    public = sorted(name for name in found if not name.startswith("_") and name not in ("annotations",))
    assert localops.__all__ == public


def test_every_decorator_is_listed() -> None:
    """`localops.decorators.__all__` is sorted, and each of its names is there and documented."""
    from localops import decorators

    assert decorators.__all__ == sorted(decorators.__all__)
    assert all(getattr(decorators, name).__doc__ for name in decorators.__all__)
