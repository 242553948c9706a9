"""Measures programs of AgentOps beside the released clients, which send to a healthy hub on loopback, for bench.py.

The clients are in the environments of `scripts/clients --hub`, which are made once; where that cannot be done, as
without a network, nothing is measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench import Bench

EVENTS = 100
_END = """
before = time.perf_counter()
for number in range({many}): step(number)
{end}
print(time.perf_counter() - before)
"""
_EVENTS = """
import time, {package} as agentops
agentops.init(auto_start_session=False)
session = agentops.start_session(tags=["bench"])
def step(number):
    params = {{"query": f"harbour {{number}}", "limit": 10}}
    if number % 3 == 0:
        session.record(agentops.LLMEvent(prompt=[{{"role": "user", "content": f"where is {{number}}?"}}],
            completion={{"role": "assistant", "content": "north of the old town"}}, model="gpt-4o",
            prompt_tokens=120, completion_tokens=40))
    elif number % 3 == 1:
        session.record(agentops.ToolEvent(name="search", params=params, returns=["one", "two"]))
    else:
        session.record(agentops.ActionEvent("step", params=params, returns="done"))
"""
_SPANS = """
import time, {package} as agentops
from {package}.sdk.decorators import operation
agentops.init(auto_start_session=False)
trace = agentops.start_trace("bench", tags=["bench"])
@operation
def step(number): return {{"query": f"harbour {{number}}", "limit": 10}}
"""
# Of 0.4, `record(ActionEvent(...))` does nothing: what it records is spans.
PROGRAMS = {
    "0.3.26": _EVENTS + _END.replace("{end}", 'session.end_session("Success")'),
    "0.4.21": _SPANS + _END.replace("{end}", 'agentops.end_trace(trace, "Success")'),
}


def rivals(bench: Bench) -> None:
    """Measure a program with so many events, by the released client and by this package."""
    from scripts import clients
    from tests.server.hubs import RealHub

    for release, program in PROGRAMS.items():
        try:
            theirs = clients.of_agentops(release)
        except subprocess.CalledProcessError as error:
            print(f"agentops {release} cannot be installed: {error}", file=sys.stderr)
            continue
        took: list[tuple[tuple[float, ...], tuple[float, ...]]] = []  # theirs and ours, of each round
        with bench.home("rivals") as home, RealHub(home / "hub", limits={"trace_wait": 2.0}) as hub:
            surroundings = {
                "LOCALOPS_HOME": str(home / "ours"),
                "AGENTOPS_API_KEY": hub.key,
                "AGENTOPS_API_ENDPOINT": hub.url,
                "AGENTOPS_EXPORTER_ENDPOINT": f"{hub.url}/v1/traces",
                # Clients ask the package index for a newer release, which need not be within reach.
                "HTTPS_PROXY": "http://127.0.0.1:9",
                "NO_PROXY": "127.0.0.1",
            }
            for _ in range(max(5, bench.rounds // 4)):
                they = _took(theirs, program.format(package="agentops", many=EVENTS), surroundings)
                we = _took(Path(sys.executable), program.format(package="localops", many=EVENTS), surroundings)
                took.append((they, we))
        for part, what in enumerate(("the whole process", "from the first of them to the end of the session")):
            ratio = statistics.median(they[part] / we[part] for they, we in took)
            theirs_ms, ours_ms = (statistics.median(each[side][part] for each in took) * 1000 for side in (0, 1))
            bench.say(
                f"{EVENTS} events of a program of AgentOps, by agentops {release} with a healthy server on loopback"
                f" / by localops: {what}",
                ">= 10 x",
                f"{ratio:.1f} x ({theirs_ms:.0f} against {ours_ms:.0f} ms)",
            )


def _took(python: Path, program: str, surroundings: dict[str, str]) -> tuple[float, float]:
    """Return how long a process took, and its events in it."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, "-c", program],
        env={**os.environ, **surroundings},
        cwd=surroundings["LOCALOPS_HOME"].rpartition("/")[0],
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    return took, float(done.stdout.split()[-1])


PARTS: dict[str, Callable[[Bench], None]] = {"rivals": rivals}
