"""All doors of a hub take what machines send over a bad line while it is killed and started: it ends with all, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from localops.journal import rows
from localops.journal.reader import Reader
from localops_sync import exit_codes
from tests.server.hubs import PATH, RealHub, hub
from tests.stress.doors import AgentOpsClient, Exporter, Line, Machine, Recorder, Truth
from tests.stress.weather import Weather
from tests.sync import chaos
from tests.sync.homes import Sender

SECONDS = float(os.environ.get("STRESS_SOAK", "2"))
SENDERS = int(os.environ.get("STRESS_SENDERS", "2"))  # of each door
SEED = int(os.environ.get("STRESS_SEED", "1"))
PROJECTS = ("default", "other")
SHARE = 0.15
_FIGURES = ("llm_calls", "tool_calls", "actions", "errors", "tokens_in", "tokens_out", "cost_nano")
# Seconds that a trace waits for its root: longer than most retries and starts of the hub take, also on a busy machine.
# What names its session must not come later, as a trace is not moved.
_WAIT = 4.0
_ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}


class _Operator:
    """What happens to the hub."""

    def __init__(self, there: RealHub, random: Random) -> None:
        self.there, self.random = there, random
        self.done: Counter[str] = Counter()
        self.exits: Counter[int] = Counter()

    def act(self) -> None:
        """Do one of the things that happen, chosen at random."""
        action = self.random.choice([self.kill, self.kill, self.stop, self.stop_twice])
        action()
        self.there.start()
        self.done[action.__name__] += 1

    def kill(self) -> None:
        """Kill the hub."""
        self.there.kill()

    def stop(self) -> None:
        """Stop the hub as a service manager does."""
        self.exits[self.there.stop()] += 1

    def stop_twice(self) -> None:
        """End the hub in the middle of its stop."""
        assert self.there.process is not None
        self.there.process.terminate()
        self.there.stop()


def test_every_door_has_every_row_once(tmp_path: Path) -> None:
    """Our sync, OTLP and AgentOps at once, kills, restarts and faults: sent is stored, once, and the figures agree."""
    random = Random(SEED)
    weather = Weather(SEED, SHARE)
    limits = {"trace_wait": _WAIT, "farewell": 2}
    with (
        hub(tmp_path, PROJECTS[0], "--rate", "100000", **limits) as there,
        chaos.Chaos(behind=there.url) as line,
    ):
        keys = {PROJECTS[0]: there.key, PROJECTS[1]: there.new_key(PROJECTS[1])}
        line.always(weather.meet)
        machines = _machines(tmp_path, line.url, keys)
        operator = _Operator(there, random)
        for machine in machines:
            machine.start()
        ends = time.monotonic() + SECONDS
        while not operator.done["kill"] or time.monotonic() < ends:
            time.sleep(random.uniform(0.5, 6.0))
            operator.act()
            if any(machine.failed for machine in machines):
                break
        for machine in machines:
            machine.stopped.set()
        for machine in machines:
            machine.join()
        weather.settle()
        for machine in machines:
            assert machine.failed is None, (machine.door, machine.failed)
            if isinstance(machine, Recorder):
                _finish(machine.sender)
        _wait_for_traces(there)
        wrong = [problem for machine in machines for problem in _problems(there, machine, keys[machine.project])]
        print(_report(machines, weather, operator), *wrong[:20], sep="\n")
        assert not wrong, len(wrong)
        assert set(operator.exits) <= {0}
        there.stop()
        command = [sys.executable, "-m", "localops", "hub", "check", "--data", str(there.data)]
        checked = subprocess.run(command, capture_output=True, check=False, env=_ENVIRONMENT)
        assert checked.returncode == 0, checked.stderr


def _machines(folder: Path, url: str, keys: dict[str, str]) -> list[Machine]:
    made: list[Machine] = []
    for number in range(SENDERS):
        project = PROJECTS[number % len(PROJECTS)]
        there, seed = Line(url, keys[project]), SEED + 100 * number
        made.append(Recorder(there, project, seed, Sender(folder / f"home{number}", url, there.key)))
        made += [Exporter(there, project, seed + 1), AgentOpsClient(there, project, seed + 2)]
    return made


def _finish(sender: Sender) -> None:
    for _ in range(3):
        if sender.sync(verify=True).code == exit_codes.DONE:
            return
    assert sender.sync(verify=True).code == exit_codes.DONE


def _wait_for_traces(there: RealHub) -> None:
    """Wait until no span waits for its root."""
    deadline = time.monotonic() + 60
    while any(path for project in PROJECTS for path in (there.data / project / "waiting").glob("*.jsonl")):
        assert time.monotonic() < deadline, "spans wait forever"
        time.sleep(0.1)


def _problems(there: RealHub, machine: Machine, key: str) -> list[str]:
    """Return how what the hub has differs from what a machine sent."""
    listed = _listed(there, key)
    stored: dict[bytes, dict[bytes, dict[str, Any]]] = {}
    with Reader(str(there.data / machine.project / "journal.db")) as reader:
        for row in reader.ask("select session, id, phase, kind, parent, body from event where phase = 0"):
            session, id, _, kind, parent, body = row
            stored.setdefault(session, {})[id] = {"kind": kind, "parent": parent, "body": body}
    wrong = []
    for session, truth in machine.truth.items():
        name = rows.id_text(session)
        problems = _of_session(truth, listed.get(name), stored.get(session, {}))
        wrong += [f"{machine.door} {machine.project} {name}: {problem}" for problem in problems]
    return wrong


def _listed(there: RealHub, key: str) -> dict[str, dict[str, Any]]:
    """Return all sessions of a key's project."""
    sessions: dict[str, dict[str, Any]] = {}
    before = ""
    while True:
        status, page = there.ask("GET", f"/api/1/sessions?limit=500{before}", key=key)
        assert status == 200, page
        sessions |= {each["session_id"]: each for each in page["sessions"]}
        if not page["next_before"] or not page["sessions"]:
            return sessions
        before = f"&before={page['next_before']}"


def _of_session(truth: Truth, session: dict[str, Any] | None, stored: dict[bytes, dict[str, Any]]) -> list[str]:
    if session is None:
        return ["is not there"]
    wrong = [
        f"{name}: {session[name]} instead of {truth.figures[name]}"
        for name in _FIGURES
        if (session[name] or 0) != truth.figures[name]
    ]
    for name in ("state", "name"):
        stated = getattr(truth, name)
        if stated is not None and session[name] != stated:
            wrong.append(f"{name}: {session[name]} instead of {stated}")
    if truth.tags is not None and set(session["tags"]) != set(truth.tags):
        wrong.append(f"tags: {session['tags']} instead of {truth.tags}")
    return wrong + _of_rows(truth, stored)


def _of_rows(truth: Truth, stored: dict[bytes, dict[str, Any]]) -> list[str]:
    wrong = []
    if missing := truth.rows - stored.keys():
        wrong.append(f"{len(missing)} of {len(truth.rows)} rows are missing")
    for row, parent in truth.parents.items():
        if row in stored and stored[row]["parent"] != parent:
            wrong.append(f"a {stored[row]['kind']} is in another row than its span")
    joined = Counter(
        id for row in stored.values() if row["kind"] == "llm" for id in json.loads(row["body"]).get("log_records", ())
    )
    for record in truth.records:
        times = joined[record.hex()] + (record in stored)
        if times != 1:
            wrong.append(f"a log record is there {times} times")
    if problems := [row for row in stored.values() if row["kind"] == "agentops"]:
        wrong.append(f"{len(problems)} events were not understood: {problems[0]['body'][:200]}")
    return wrong


def _report(machines: list[Machine], weather: Weather, operator: _Operator) -> str:
    lines = [
        f"{len(machines)} machines in {SECONDS:g} s; hub: {dict(operator.done)}, exit codes {dict(operator.exits)}"
    ]
    for door in ("sync", "otlp", "agentops"):
        of_door = [machine for machine in machines if machine.door == door]
        truths = [truth for machine in of_door for truth in machine.truth.values()]
        figures = sum((truth.figures for truth in truths), Counter[str]())
        count = sum(len(truth.rows) + len(truth.records) for truth in truths)
        lines.append(
            f"{door}: {len(truths)} sessions, {count} rows and records in {sum(m.sent for m in of_door)} requests, "
            f"tried {sum(m.tries for m in of_door)} times; the line saw {weather.requests[door]}, "
            f"{weather.faulted[door]} with a fault; {dict(figures)}"
        )
    return "\n".join([*lines, f"faults: {dict(weather.met)}"])
