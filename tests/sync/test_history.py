"""Any history of recording, crashes, faults, copies and restored backups ends with every row on the hub, once.

More of them from scripts/stress: LOCALOPS_HISTORIES is the number.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from localops import clock
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer.delivery import Limits
from localops.upkeep import prune
from localops_sync import exit_codes
from localops_sync.budget import PassBudget
from tests import warm
from tests.server.hubs import PASSING, PATH, RealHub, hub
from tests.sync import chaos
from tests.sync.homes import Identity, Sender, identities, without_waiting

HISTORIES = int(os.environ.get("LOCALOPS_HISTORIES", "2"))
FAULTS = {
    "reset": chaos.reset,
    "reset after": chaos.reset_after,
    "failed after": chaos.status_after(500),
    "down": chaos.status(503),
    "busy": chaos.status(429, None, retry_after="1"),
    "portal": chaos.page(),
    "cut off": chaos.truncated(),
    "refused": chaos.status(422),
    "too large": chaos.status(413),
    "unknown key": chaos.status(401),
    "a lie": chaos.changed(lambda reply: {**reply, "receipt": None}),
}


class Histories(RuleBasedStateMachine):
    """A hub, up to three homes that send to it, and everything that can happen to them."""

    @initialize()
    def begin(self) -> None:
        """Start a hub, behind a proxy that breaks on request, and create one home."""
        self.top = Path(tempfile.mkdtemp())
        self.hub: RealHub = hub(self.top)
        self.weather = chaos.Chaos(behind=self.hub.url)
        self.homes = [Sender(self.top / "home 0", self.weather.url, self.hub.key)]
        self.written: set[Identity] = set()  # acknowledged by a recorder
        self.may_be_lost: set[Identity] = set()  # a backup was put in place of a journal that had them
        self.record(0, 1)

    def teardown(self) -> None:
        """Check that everything arrives once the network works again.

        A home with nothing to send makes no connection, so it notices that a hub was set back with its next row.
        """
        if not hasattr(self, "homes"):
            return
        try:
            self.weather.calm()
            for which, each in enumerate(self.homes):
                self._unpark(each)
                self.record(which, 1)
                outcomes = [each.sync() for _ in range(3)]
                assert outcomes[-1].code == exit_codes.DONE, outcomes
            there = identities(str(self.hub.folder / "journal.db"))
            for each in self.homes:
                assert each.identities() <= there
            kept = self.written - self.may_be_lost
            assert kept <= there, f"{len(kept - there)} of {len(kept)} acknowledged rows are missing"
            for each in self.homes:
                outcome = each.sync(verify=True)
                assert outcome.code == exit_codes.DONE, outcome
        finally:
            self.weather.stop()
            self.hub.kill()
            shutil.rmtree(self.top)

    def _unpark(self, each: Sender) -> None:
        journal = Journal(each.folder)
        each.ledger().unpark(journal)
        journal.close()

    def _home(self, which: int) -> Sender:
        return self.homes[which % len(self.homes)]

    @rule(which=st.integers(0, 2), many=st.integers(1, 40))
    def record(self, which: int, many: int) -> None:
        """Record rows."""
        rows = self._home(which).write(many)
        self.written |= {(row[0], row[1], row[-2]) for row in rows}

    @rule(which=st.integers(0, 2), rows=st.integers(1, 30))
    def sync(self, which: int, rows: int) -> None:
        """Run a pass over a working network."""
        self.weather.calm()
        self._home(which).sync(limits=Limits(rows=rows))

    @rule(which=st.integers(0, 2), many=st.integers(1, 10))
    def sync_one_session(self, which: int, many: int) -> None:
        """Two sessions are written at a time, row by row, and a pass takes one of them."""
        self.weather.calm()
        home, sessions = self._home(which), [clock.new_id(), clock.new_id()]
        for _ in range(many):
            for session in sessions:
                self.written |= {(row[0], row[1], row[-2]) for row in home.write(1, session=session)}
        home.sync(limits=Limits(rows=7, session=sessions[0]))

    @rule(which=st.integers(0, 2), faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=9))
    def sync_in_bad_weather(self, which: int, faults: list[str]) -> None:
        """Run a pass that meets faults, some of which last."""
        self.weather.calm()
        self.weather.then(chaos.passed, *(FAULTS[name] for name in faults))
        self._home(which).sync(limits=Limits(rows=7), budget=PassBudget(max_rows=60, sleep=without_waiting))

    @rule(which=st.integers(0, 2), after=st.floats(0.15, 0.8), twice=st.booleans())
    def kill_a_sync(self, which: int, after: float, twice: bool) -> None:
        """Run one pass or two at once, and kill them."""
        self.weather.calm()
        command = [sys.executable, "-m", "localops", "sync", "--home", self._home(which).home, "--quiet"]
        passes = [warm.start(command, env={**os.environ, "PYTHONPATH": PATH}) for _ in range(1 + twice)]
        time.sleep(after)
        for each in passes:
            each.send_signal(signal.SIGKILL)
            each.wait(30)

    @rule()
    def kill_the_hub(self) -> None:
        """Kill the hub, and start it again."""
        self.hub.kill()
        self.hub.start()

    @rule(which=st.integers(0, 2), many=st.integers(1, 20))
    def set_the_hub_back(self, which: int, many: int) -> None:
        """Replace the hub's folder by an older copy after it has taken more rows."""
        place = self.top / "backup"
        self.hub.stop()
        shutil.copytree(self.hub.data, place, ignore=PASSING)
        self.hub.start()
        self.record(which, many)
        self.sync(which, 9)
        self.hub.stop()
        shutil.rmtree(self.hub.data)
        place.rename(self.hub.data)
        self.hub.start()
        # What no home has any more is on no disk then.
        self.may_be_lost |= self.written - set().union(*(each.identities() for each in self.homes))

    @precondition(lambda self: len(self.homes) < 3)
    @rule(which=st.integers(0, 2))
    def copy_a_home(self, which: int) -> None:
        """Copy a home; both continue."""
        place = self.top / f"home {len(self.homes)}"
        shutil.copytree(self._home(which).home, place)
        self.homes.append(Sender(place, self.weather.url, self.hub.key))

    @rule(which=st.integers(0, 2), many=st.integers(1, 20))
    def set_a_journal_back(self, which: int, many: int) -> None:
        """Overwrite a journal's file with an older copy: the same file, with older bytes."""
        each = self._home(which)
        with open(each.journal, "rb") as file:
            old = file.read()
        self.record(which, many)
        self.sync(which, 9)
        lost = each.identities()
        with open(each.journal, "r+b") as file:
            file.write(old)
            file.truncate()
        for side in ("-wal", "-shm"):
            if os.path.exists(each.journal + side):
                os.unlink(each.journal + side)
        there = identities(str(self.hub.folder / "journal.db"))
        self.may_be_lost |= lost - there

    @rule(which=st.integers(0, 2))
    def prune(self, which: int) -> None:
        """Sessions that the hub has are taken out of a home."""
        each = self._home(which)
        journal = Journal(each.folder)
        with Reader(each.journal) as reader:
            journal.fold()
            sessions = [session for session, _ in each.ledger().ask("sessions", after=b"", many=3)]
            choices = [prune.look(reader, each.folder, session) for session in sessions]
            prune.take(journal, choices)
        journal.close()


@pytest.mark.foreign_open
def test_any_history_ends_with_every_row_once() -> None:
    """In any history, the rows on the hub are the acknowledged rows, each once."""
    checks = settings(
        max_examples=HISTORIES,
        stateful_step_count=12,
        derandomize="LOCALOPS_HISTORIES" not in os.environ,  # the same ones each time in a run without a reader
        phases=[Phase.generate],  # a history takes seconds: shrinking one would try a thousand others
        suppress_health_check=list(HealthCheck),
    )
    Histories.TestCase.settings = checks
    Histories.TestCase("runTest").runTest()
