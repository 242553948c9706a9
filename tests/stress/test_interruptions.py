"""Exceptions of a program's signal handlers and threads while it records, for longer: each arrives, no row is lost."""

from __future__ import annotations

import os

import pytest

from tests.interrupting import assert_all_arrived, outcome

COUNT = int(os.environ.get("STRESS_INTERRUPTIONS", "15"))  # of each setting
SEED = int(os.environ.get("STRESS_SEED", "1"))
_PER_PROCESS = 500
# These wait for a disk or a lock, and are interrupted a tenth as often.
_SLOW = ("large", "power", "locked", "spill")
_QUICK = ("tight", "ordinary", "api", "work", "llm", "walk", "hook", "beside")


def _interrupt(how: str, what: str, kind: str, count: int) -> None:
    left, seed = count, SEED
    while left > 0:
        many = min(left, _PER_PROCESS)
        limit = 60 + many / 2
        assert_all_arrived(outcome(how, what, many, seed, kind, limit), many)
        left -= many
        seed += 1


@pytest.mark.parametrize("what", [*_QUICK, *_SLOW])
@pytest.mark.parametrize("how", ["alarm", "thread"])
def test_every_interruption_arrives(how: str, what: str) -> None:
    """By a signal handler and by another thread, wherever the program is and whatever it records."""
    _interrupt(how, what, "Exception", max(15, COUNT // 10) if what in _SLOW else COUNT)


@pytest.mark.parametrize("kind", ["BaseException", "TimeoutError", "SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("what", ["tight", "work", "llm", "walk"])
def test_every_class_of_interruption_arrives(what: str, kind: str) -> None:
    """Each class of exception arrives."""
    _interrupt("alarm", what, kind, max(30, COUNT // 4))
