"""Syncs are killed, answers broken and the hub killed while a recorder writes: the hub ends with each row once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from localops_sync import exit_codes
from tests import warm
from tests.server.hubs import PATH, hub
from tests.sync import chaos
from tests.sync.homes import Sender, identities

EVENTS = int(os.environ.get("STRESS_EVENTS", "120"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
SHARE = 0.33  # of the requests that meet a fault
POISON = min(30, EVENTS // 60)  # events that the hub is not allowed to take
LASTS = 15.0 if EVENTS <= 2_000 else 1_800.0  # seconds of bad weather at most
FAULTS = [
    chaos.reset,
    chaos.reset_after,
    chaos.close,
    chaos.status_after(500),
    chaos.status_after(503, retry_after="0"),
    chaos.status(500),
    chaos.status(429, retry_after="0"),
    chaos.page(),
    chaos.truncated(),
    chaos.truncated_chunk,
    chaos.changed(lambda reply: {**reply, "receipt": None}),
]


def test_faults_and_kills_end_with_every_row_once(tmp_path: Path) -> None:
    """Two passes at a time, killed at random, over a line on which a third of the requests break."""
    random, kills, deaths = Random(SEED), 0, 0
    with hub(tmp_path) as there, chaos.Chaos(behind=there.url) as weather:
        sender = Sender(tmp_path / "home", weather.url, there.key)
        faulted = 0

        def meet(exchange: chaos.Exchange) -> None:
            nonlocal faulted
            if b"poison" in chaos.inflated(exchange.request):
                chaos.status(422)(exchange)
            elif random.random() < SHARE:
                faulted += 1
                random.choice(FAULTS)(exchange)
            else:
                chaos.passed(exchange)

        weather.always(meet)
        command = [sys.executable, "-m", "localops", "sync", "--home", sender.home, "--quiet"]
        command += ["--max-rows", "400", "--max-seconds", "20"]
        environment = {**os.environ, "PYTHONPATH": PATH}
        passes: list[subprocess.Popen[str]] = []
        written, poisoned = 0, set(random.sample(range(EVENTS), POISON))
        ends = time.monotonic() + LASTS
        while time.monotonic() < ends and (written < EVENTS or sender.ledger().has_work()):
            while len(passes) < 2:
                passes.append(warm.start(command, env=environment))
            for _ in range(min(random.randint(1, 60), EVENTS - written)):
                sender.write(1, body='{"poison":1}' if written in poisoned else '{"a":"b"}')
                written += 1
            time.sleep(random.uniform(0.0, 0.6))
            if random.random() < 0.4:
                victim = passes.pop(random.randrange(len(passes)))
                victim.kill()
                victim.wait(30)
                kills += 1
            if random.random() < 0.02 or (deaths == 0 and written > EVENTS // 2):
                there.kill()
                there.start()
                deaths += 1
            passes = [each for each in passes if each.poll() is None]
        for each in passes:
            each.wait(60)
        sender.write(EVENTS - written)
        weather.always(lambda exchange: (chaos.status(422) if _is_poison(exchange) else chaos.passed)(exchange))
        outcome = sender.sync()
        assert outcome.code in (exit_codes.DONE, exit_codes.PARKED), outcome
        here, arrived = sender.identities(), identities(str(there.folder / "journal.db"))
        parked = sender.ledger().parked()
        missing = len(here - arrived) - len(parked)
        summary = f"{EVENTS} events, {kills} syncs and {deaths} hubs killed, "
        summary += f"{faulted} of {len(weather.seen)} requests faulted"
        print(f"{summary}; missing {missing}, twice 0, parked {len(parked)}")
        assert missing == 0
        assert sender.sync(verify=True).code in (exit_codes.DONE, exit_codes.PARKED)


def _is_poison(exchange: chaos.Exchange) -> bool:
    return b"poison" in chaos.inflated(exchange.request)
