"""Homes that send to a hub, for tests: their rows, the hub's rows, and a pass between the two."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import localops
from localops import clock, config
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer import bundle, delivery, remotes
from localops.transfer.delivery import Ledger, Limits
from localops.transfer.remotes import Remote
from localops_sync import worker
from localops_sync.budget import PassBudget
from localops_sync.exit_codes import Outcome

Identity = tuple[bytes, int, int]


def without_waiting(_: float) -> None:
    """Return at once, in place of a sleep."""


class Sender:
    """A home with one project that has one remote."""

    def __init__(self, home: Path, url: str, key: str, **remote: Any) -> None:
        self.home = str(home)
        self.folder = config.project_folder(self.home, "default")
        self.remote = Remote("hub", url, key=key, **remote)
        remotes.save(self.folder, {"hub": self.remote})

    @property
    def journal(self) -> str:
        """Return the path of its journal."""
        return os.path.join(self.folder, "journal.db")

    def write(
        self, many: int = 1, *, session: bytes | None = None, name: str = "step", body: str | None = None
    ) -> list[rows.Row]:
        """Append events, as a recorder does."""
        journal = Journal(self.folder)
        session = session or clock.new_id()
        written = []
        for _ in range(many):
            at = clock.now_ns()
            row = rows.make("action", session, id=clock.new_id(at), at_ns=at, name=name, body=body)
            assert journal.append(row)
            written.append(row)
        journal.close()
        return written

    def sync(
        self,
        *,
        limits: Limits | None = None,
        budget: PassBudget | None = None,
        verify: bool = False,
        ask: bool = False,
    ) -> Outcome:
        """Run one pass; with `ask`, as a person does."""
        budget = budget or PassBudget(sleep=without_waiting)
        return worker.sync(self.home, "default", self.remote, budget=budget, limits=limits, check_all=verify, ask=ask)

    def identities(self, *, stripped: bool = False) -> set[Identity]:
        """Return the identities of the rows here."""
        return identities(self.journal, stripped=stripped)

    def ledger(self) -> Ledger:
        """Return what is known here of the rows on the hub."""
        return delivery.Ledger(Reader(self.journal), self.folder, "hub")


def identities(path: str, *, stripped: bool = False) -> set[Identity]:
    """Return the identities of a journal's rows, each of which must be there once."""
    with Reader(path) as reader:
        rows = [bundle.identity(bundle.without_content(row) if stripped else row) for row in reader.stream()]
    assert len(rows) == len({each[:2] for each in rows})
    return set(rows)


def filmed(sender: Sender, data: bytes) -> str:
    """Record a session with a video of these bytes; return its digest."""
    session = localops.start_session(name="filmed")
    assert session is not None
    film = os.path.join(sender.home, "film.mp4")
    with open(film, "wb") as file:
        file.write(data)
    session.set_video(film)
    session.end_session("Success")
    return hashlib.sha256(data).hexdigest()
