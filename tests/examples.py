"""The number of examples of property tests: few in an ordinary run, STRESS_EXAMPLES times as many on request."""

from __future__ import annotations

import os

_TIMES = float(os.environ.get("STRESS_EXAMPLES", "1"))


def examples(many: int) -> int:
    """Return the number of examples for a test that looks at `many` in an ordinary run."""
    return max(1, round(many * _TIMES))
