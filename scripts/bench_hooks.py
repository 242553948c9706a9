"""Measures `localops hook`, which a coding agent waits for at each event, as a whole process, for bench.py."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.bench import Bench

_COMMON = {"session_id": "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1", "cwd": "/srv/app"}
_TOOL: dict[str, Any] = {
    "tool_name": "Bash",
    "tool_use_id": "toolu_01",
    "tool_input": {"command": "git status --short", "description": "See what has changed"},
}
# The first event of a session makes a journal where there is none; all others find one.
_EVENTS: dict[str, dict[str, Any]] = {
    "SessionStart": {"source": "startup"},
    "PreToolUse": _TOOL,
    "PostToolUse": {**_TOOL, "tool_response": {"stdout": " M localops/api.py\n" * 20, "interrupted": False}},
}


def hooks(bench: Bench) -> None:
    """Measure each hook of a tool call of Claude Code beside a process that does nothing."""
    names = {name: json.dumps({**_COMMON, "hook_event_name": name, **more}) for name, more in _EVENTS.items()}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    with bench.home("hooks") as home:
        for number in range(bench.rounds):
            for name, event in names.items():
                nothing = _seconds(["-c", "pass"], home, event)
                recorded = _seconds(["-m", "localops", "hook", "claude-code"], home / str(number), event)
                ratios[name].append(recorded / nothing)
    bench.say(
        f"`localops hook claude-code`, whole process: {', '.join(names)}",
        "<= 6 x python -c pass",
        ", ".join(f"{statistics.median(rounds):.1f} x" for rounds in ratios.values()),
    )


def _seconds(arguments: list[str], home: Path, event: str) -> float:
    environment = {**os.environ, "LOCALOPS_HOME": str(home)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, input=event, text=True, capture_output=True, check=True
    )
    took = time.perf_counter() - began
    assert not done.stderr, done.stderr
    return took


PARTS: dict[str, Callable[[Bench], None]] = {"hooks": hooks}
