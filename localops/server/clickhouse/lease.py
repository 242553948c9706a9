"""Lets one hub at a time write to a database: the one that holds the lease, a row of `lo_lease` that it renews.

A hub that ends gives it back.  One that is killed or cut off stops writing a few seconds before its lease ends, and
then any other may take it.  Times are those of ClickHouse, so that clocks of machines need not agree.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from contextlib import suppress
from typing import NamedTuple

from localops import clock, host
from localops.errors import InUse, LocalopsError
from localops.server import logs
from localops.server.clickhouse.engine import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.server.clickhouse.engine import Engine

SECONDS = 30  # that a lease lasts after it was renewed
_RENEW = 5.0
# So many seconds before its end its holder stops writing, as its clock and the server's may run at different speeds.
_MARGIN = 5
# Seconds that a thread waits while another one takes it.
_PATIENCE = 5.0
_NOW = "toInt64(toUnixTimestamp(now()))"
_LATEST = f"""
select folder, host, pid, started, renewed, {_NOW} as seen
from lo_lease final
where ended = 0 and holder != {{holder}} and place != {{place}} and renewed > {_NOW} - {{seconds}}
order by renewed desc
limit 1"""  # noqa: S608
_WRITE = f"""
insert into lo_lease (holder, place, folder, host, pid, started, renewed, ended, rev)
select {{holder}}, {{place}}, {{folder}}, {{host}}, {{pid}}, {{started}}, {_NOW}, {{ended}}, {{rev}}"""
# Ends leases of killed processes with the same folder: this process has locked the folder, so they have ended.
_END_OLD = """
insert into lo_lease (holder, place, folder, host, pid, started, renewed, ended, rev)
select holder, place, folder, host, pid, started, renewed, 1, rev + 1
from lo_lease final
where place = {place} and holder != {holder} and ended = 0"""
_LAST_BY_PLACE = "select place = {place} as own, max(renewed) as last from lo_lease group by own"


class Holder(NamedTuple):
    """A hub that holds the lease."""

    folder: str
    host: str
    pid: int
    started: int
    renewed: int
    seen: int  # the time of the server

    @property
    def seconds_left(self) -> int:
        """How many seconds its lease lasts if it is not renewed."""
        return max(1, self.renewed + SECONDS - self.seen)

    def __str__(self) -> str:
        since = clock.iso(self.started * 1_000_000_000)[:19].replace("T", " ")
        return (
            f"the hub with the folder {self.folder} on {self.host} (pid {self.pid}), since {since} UTC, "
            f"last seen {self.seen - self.renewed} s ago"
        )


class LeaseLost(EngineError):
    """Another hub holds the lease, or this one could not renew its own."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_passing=True)


class Lease:
    """The right of a data folder to write to a database; `make_tables` makes the table of leases if it is missing."""

    def __init__(self, engine: Engine, folder: str, make_tables: Callable[[], None]) -> None:
        self._engine, self._make_tables = engine, make_tables
        self._own: dict[str, Any] = {
            "holder": secrets.token_hex(16),
            "place": _place(folder),
            "folder": folder,
            "host": host.hostname(),
            "pid": os.getpid(),
        }
        # When it ends, by our own clock.
        self._until = 0.0
        # How often another folder had the lease after this one: its rows have to be taken over each time.
        self.turns_of_others = 0
        self._started = self._rev = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._renewing: threading.Thread | None = None

    def other(self) -> Holder | None:
        """Return who else holds the lease now."""
        for line in self._engine.ask(_LATEST, seconds=SECONDS, **self._own):
            return Holder(*line)
        return None

    def count_turns_of_others(self) -> None:
        """Notice if another folder had the lease after this one."""
        last = {bool(own): at for own, at in self._engine.ask(_LAST_BY_PLACE, place=self._own["place"])}
        self.turns_of_others += last.get(False, 0) >= last.get(True, 1)

    def take(self) -> Holder | None:
        """Take the lease, and renew it from now on; return who holds it instead, if another hub does."""
        with self._lock:
            holder = self._take()
            if self._renewing is None and holder is None:
                self.keep()
        return holder

    def keep(self) -> None:
        """Renew the lease from now on, or take it as soon as that is possible."""
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewing.start()

    def _take(self) -> Holder | None:
        began = _clock()
        if not self.is_held:
            self._make_tables()
            holder = self.other()
            if holder is not None:
                return holder
            self.count_turns_of_others()
            began = _clock()
            self._write()
            # Two that take it at the same time see each other here, and both give up.
            holder = self.other()
            if holder is not None:
                self._write(ended=1)
                return holder
            self._engine.do(_END_OLD, place=self._own["place"], holder=self._own["holder"])
        else:
            self._write()
        self._until = began + SECONDS - _MARGIN
        return None

    def _write(self, *, ended: int = 0) -> None:
        if not self._started:
            [(self._started,)] = self._engine.ask(f"select {_NOW} as seconds")
        self._rev = max(clock.now_ns(), self._rev + 1)
        self._engine.do(_WRITE, started=self._started, ended=ended, rev=self._rev, **self._own)

    @property
    def database(self) -> str:
        """The database, for messages."""
        return str(self._engine.address)

    @property
    def is_held(self) -> bool:
        """Whether this process may write."""
        return _clock() < self._until

    def check(self) -> None:
        """Raise LeaseLost unless this process may write; one that has had the lease before tries to take it again."""
        if self.is_held:
            return
        if not self._lock.acquire(timeout=_PATIENCE):
            raise LeaseLost(f"rows are not stored here now: {self.database} does not answer")
        try:
            # Returns None, too, if another thread took it while this one waited.
            holder = self._take()
        finally:
            self._lock.release()
        if holder is not None:
            raise LeaseLost(f"rows are not stored here now: {self.database} belongs to {holder}")

    def _renew(self) -> None:
        is_refused = False
        while not self._stop.wait(_RENEW):
            holder = None
            # Without an answer the lease ends soon, and writing fails anyway.
            with suppress(LocalopsError), self._lock:
                holder = None if self._stop.is_set() else self._take()
            if holder is not None and not is_refused:
                why = f"{self.database} belongs to {holder}: stop one of the two hubs"
                logs.trouble("lease", why, status=503, repeated=0, request_id=None)
            is_refused = holder is not None

    def give_back(self) -> None:
        """Let another hub take the lease at once."""
        self._stop.set()
        if self._renewing is not None:
            self._renewing.join()
        if self.is_held:
            self._until = 0.0
            with suppress(EngineError):
                self._write(ended=1)


def take_soon(lease: Lease, say: Callable[[str], object]) -> None:
    """Take the lease, or wait for the end of one that is not renewed any more; InUse if it is."""
    holder = lease.take()
    first = holder
    while holder is not None:
        assert first is not None
        if (holder.host, holder.pid, holder.started) != (first.host, first.pid, first.started):
            first = holder
        if holder.renewed > first.renewed:
            refuse(lease, holder)
        if holder is first:
            say(f"the database belongs to {holder}: waiting up to {holder.seconds_left} s for the end of its lease")
        time.sleep(1)
        holder = lease.take()


def require_no_other(lease: Lease) -> None:
    """Prepare a command that does not take the lease; raise InUse if another folder has it."""
    holder = lease.other()
    if holder is not None:
        refuse(lease, holder)
    lease.count_turns_of_others()


def refuse(lease: Lease, holder: Holder) -> None:
    """Raise InUse because of a hub that holds the lease."""
    raise InUse(
        f"{lease.database} belongs to {holder}: stop that hub, or use another database; {SECONDS} s after it was "
        "killed or cut off, another can take its place"
    )


def _place(folder: str) -> str:
    """Return an identifier of a data folder that is unique until its machine restarts."""
    facts = os.stat(folder)
    return f"{host.boot_id()} {facts.st_dev} {facts.st_ino} {os.path.realpath(folder)}"


def _clock() -> float:
    """Return seconds of a clock that also counts while the machine sleeps, if the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
