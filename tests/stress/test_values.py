"""Values of every shape, each in its own process: none of them crashes or blocks the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("STRESS_VALUES", "150"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
LONGEST = 10.0  # seconds of CPU for one value: ten times what it takes on a machine that is not busy
_TOP = Path(__file__).parent.parent.parent
# Each seed has another limit of memory, and whether a call is the one that fails is chance: a few values of many seeds.
_MANY = {"memory": 200}


@pytest.mark.parametrize("mode", ["plain", "stack", "memory", "record"])
def test_no_value_is_too_much(mode: str, tmp_path: Path) -> None:
    """Deep, endless, huge and hostile values are encoded, with a small stack and with little memory too."""
    if mode == "memory" and not sys.platform.startswith("linux"):
        pytest.skip("needs a limit on the address space, which only Linux holds to")
    share = COUNT // 25 if mode == "memory" else COUNT
    left, seed = share, SEED
    while left > 0:
        many = min(left, _MANY.get(mode, 5_000))
        done = subprocess.run(
            [sys.executable, "-m", "tests.stress.hostile", str(seed), str(many), mode],
            cwd=_TOP,
            env={**os.environ, "LOCALOPS_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=1_800,
        )
        assert done.returncode == 0, f"seed {seed}: {done.returncode}\n{done.stderr[-2_000:]}"
        count, longest = done.stdout.split()
        assert int(count) == many
        assert float(longest) < LONGEST, done.stderr[-500:]
        left -= many
        seed += 1
