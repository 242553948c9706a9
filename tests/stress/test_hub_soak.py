"""A hub is killed, stopped, backed up and set back while machines send over a bad line: it ends with each row once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from localops.journal import blobs
from localops.server import backups
from localops_sync import exit_codes
from tests.server.hubs import PATH, RealHub, hub
from tests.sync import chaos
from tests.sync.homes import Sender, identities

SECONDS = float(os.environ.get("STRESS_SOAK", "2"))
SENDERS = int(os.environ.get("STRESS_SENDERS", "4"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
SHARE = 0.1  # of the requests that meet a fault
BLOBS = 0.1  # of the rounds of a sender that bring a blob
FAULTS = [
    chaos.reset,
    chaos.reset_after,
    chaos.close,
    chaos.status_after(503, retry_after="0"),
    chaos.status(500),
    chaos.status(429, retry_after="0"),
    chaos.truncated(),
]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}


class _Machine(threading.Thread):
    """A machine that records and sends, until it is stopped."""

    def __init__(self, sender: Sender, seed: int) -> None:
        super().__init__(daemon=True)
        self.sender, self.random = sender, Random(seed)
        self.stopped = threading.Event()
        self.passes: Counter[int] = Counter()
        self.digests: set[str] = set()
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Record and send in turn."""
        try:
            while not self.stopped.is_set():
                self._round()
        except BaseException as error:
            self.failed = error

    def _round(self) -> None:
        body = json.dumps({"params": self.random.randbytes(100).hex()})
        if self.random.random() < BLOBS:
            data = self.random.randbytes(30_000)
            digest = blobs.keep(self.sender.folder, data)
            self.digests.add(digest)
            body = json.dumps({"params": {"$blob": digest}})
        self.sender.write(self.random.randint(1, 40), body=body)
        self.passes[self.sender.sync().code] += 1
        self.stopped.wait(self.random.uniform(0, 0.1))


class _Operator:
    """What happens to the hub."""

    def __init__(self, there: RealHub, into: Path, random: Random) -> None:
        self.there, self.into, self.random = there, into, random
        self.done: Counter[str] = Counter()
        self.exits: Counter[int] = Counter()

    def act(self) -> None:
        """Do one of the things that happen, chosen at random."""
        actions = [self.kill, self.stop, self.stop_twice, self.back_up, self.back_up, self.kill_a_backup, self.set_back]
        action = self.random.choice(actions if self.done["back_up"] else [self.back_up])
        action()
        self.done[action.__name__] += 1

    def kill(self) -> None:
        """Kill the hub, and start it again."""
        self.there.kill()
        self.there.start()

    def stop(self) -> None:
        """Restart the hub as a service manager does."""
        self.exits[self.there.stop()] += 1
        self.there.start()

    def stop_twice(self) -> None:
        """End the hub in the middle of its stop."""
        assert self.there.process is not None
        self.there.process.terminate()
        self.there.stop()
        self.there.start()

    def back_up(self) -> None:
        """Back up the hub while it serves."""
        self._hub("backup", "--data", self.there.data, "--to", self.into, "--keep", 3, "--verify")

    def kill_a_backup(self) -> None:
        """Kill a backup at any moment."""
        process = subprocess.Popen(
            self._command("backup", "--data", self.there.data, "--to", self.into), env=_ENVIRONMENT
        )
        time.sleep(self.random.uniform(0.2, 1.5))
        process.kill()
        process.wait()
        assert backups.names(str(self.into))

    def set_back(self) -> None:
        """Restore the newest backup, which lacks later rows."""
        self.there.stop()
        self._hub("restore", "--from", self.into, "--data", self.there.data, "--replace")
        self.there.start()

    def _command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "localops", "hub", *map(str, arguments)]

    def _hub(self, *arguments: object) -> None:
        command = self._command(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_ENVIRONMENT, timeout=300)
        assert done.returncode == 0, done.stderr


@pytest.mark.foreign_open
def test_a_hub_that_is_operated_has_every_row_once(tmp_path: Path) -> None:
    """Kills, restarts, backups, restores and faults on the line: what was recorded is stored, each row once."""
    random = Random(SEED)
    with hub(tmp_path, "default", "--rate", "100000", farewell=2) as there, chaos.Chaos(behind=there.url) as weather:
        machines = [
            _Machine(Sender(tmp_path / f"home{number}", weather.url, there.key), SEED + number)
            for number in range(SENDERS)
        ]
        faulted = 0

        def meet(exchange: chaos.Exchange) -> None:
            nonlocal faulted
            if random.random() < SHARE:
                faulted += 1
                random.choice(FAULTS)(exchange)
            else:
                chaos.passed(exchange)

        weather.always(meet)
        operator = _Operator(there, tmp_path / "backups", random)
        for machine in machines:
            machine.start()
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends or not operator.done["set_back"]:
            time.sleep(random.uniform(0.2, 1.5))
            (operator.act if time.monotonic() < ends else operator.set_back)()
            operator.done["set_back"] += time.monotonic() >= ends
        for machine in machines:
            machine.stopped.set()
        for machine in machines:
            machine.join()
        requests = len(weather.seen)
        weather.always(chaos.passed)
        recorded = set()
        for machine in machines:
            assert machine.failed is None, machine.failed
            machine.sender.write(1)
            for _ in range(3):
                if machine.sender.sync(verify=True).code == exit_codes.DONE:
                    break
            assert machine.sender.sync(verify=True).code == exit_codes.DONE
            recorded |= machine.sender.identities()
        stored = identities(str(there.folder / "journal.db"))
        passes = sum((machine.passes for machine in machines), Counter[int]())
        print(
            f"{SENDERS} machines in {SECONDS:g} s: {len(recorded)} rows recorded, missing {len(recorded - stored)}, "
            f"twice 0; {sum(passes.values())} passes {dict(passes)}, {faulted} of {requests} requests faulted; "
            f"hub: {dict(operator.done)}, exit codes of stops {dict(operator.exits)}"
        )
        assert recorded <= stored
        assert set(operator.exits) <= {0}
        there.stop()
        checked = subprocess.run(
            operator._command("check", "--data", there.data), capture_output=True, check=False, env=_ENVIRONMENT
        )
        assert checked.returncode == 0, checked.stderr
        kept = {path.name for path in (there.folder / "blobs").rglob("*") if len(path.name) == 64}
        assert set().union(*(machine.digests for machine in machines)) <= kept
