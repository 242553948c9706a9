"""Values that are nested, in a process that has no memory left for the frames of the calls that visit them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import programs

_FULL = """
import math, os, resource
from localops.encoding.encode import Encoder

encode = Encoder(redactor=None).encode
value = math.nan
for _ in range(120):
    value = {"a": value}
for _ in range(20):
    encode({"params": value})
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now, now))
taken, size = [], 1 << 22
while size >= 512:
    try:
        while True:
            taken.append(bytearray(size))
    except MemoryError:
        size >>= 1
cut = 0
for _ in range(200):
    cut += "$failed" in encode({"params": value})
taken.clear()
print(cut, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on the address space")
def test_nested_values_without_memory_for_frames() -> None:
    """The process survives many events that could not be encoded, and no MemoryError leaves the encoder.

    Python 3.11 does not survive failed calls, and to look at an exception takes memory in every version.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FULL], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert int(done.stdout) > 0, "memory was not short"


_FIGURES = """
import localops, localops.reading.analytics, os, resource
session = localops.init(env_data_opt_out=True)
if not os.fork():
    session.record(localops.LLMEvent(model="gpt-4o"))
    os._exit(0)
os.wait()
failed = 0
for more in range(0, 4 << 20, 1 << 18):
    if not os.fork():
        with open("/proc/self/statm") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            session.get_analytics()
        except BaseException:
            os._exit(1)
        os._exit(0)
    failed += os.wait()[1] != 0
print(failed)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on the address space")
def test_figures_without_memory_for_the_prices() -> None:
    """Figures are returned although the table that shows why a call has no price cannot be loaded."""
    done = programs.run(_FIGURES, fresh=True)
    assert done.stdout == "0\n", done.stderr
    assert "(the reason cannot be looked up)" in done.stderr, "memory was not short"
