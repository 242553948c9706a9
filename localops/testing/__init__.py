"""Tests of agents: the pytest fixture `localops_run`, and what it gives to a test.

Each test that asks for the fixture records into a journal of its own, and asserts on what was recorded there.  The
plugin is found by pytest where localops is installed; nothing but `plugin.py` is loaded until a test uses it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.testing.run import Call, Error, RecordedSession, Run

__all__ = ["Call", "Error", "RecordedSession", "Run"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from localops.testing import run

        return getattr(run, name)
