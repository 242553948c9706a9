"""The examples of property tests: few and the same ones in an ordinary run, more and random ones in scripts/stress.

STRESS_EXAMPLES says how many times as many.
"""

from __future__ import annotations

import os

_TIMES = float(os.environ.get("STRESS_EXAMPLES", "1"))
MORE = "STRESS_EXAMPLES" in os.environ


def sized(ordinary: int, whole: int) -> int:
    """Return the size of a test that takes long: the whole one in scripts/stress, which has its file in its list."""
    return whole if MORE else ordinary


def examples(many: int) -> int:
    """Return the number of examples for a test that looks at `many` in an ordinary run."""
    return max(1, round(many * _TIMES))
