"""A pass: sends what a remote lacks, batch after batch, and keeps what the remote signed for.

Safe to kill between any two steps: a batch is sent only after its rows are safe from a power cut, and counts as
delivered only in the transaction that keeps its receipt.  A lock lets one pass at a time work; a hub does not need it.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from localops import clock, config, output
from localops.errors import ConfigError, LocalopsError
from localops.journal.journal import Journal
from localops.journal.reader import Reader, SQLiteError, user_message
from localops.reading import session_state
from localops.transfer import bundle, clocks, delivery, key_ends, scrubbed
from localops.transfer.bundle import Ack
from localops.upkeep import imported_prices
from localops_sync import retry, sinks, verify
from localops_sync.budget import OutOfBudget, PassBudget
from localops_sync.exit_codes import ACT, BUDGET, BUSY, DONE, INTERRUPTED, OFFLINE, PARKED, UNEXPECTED, Outcome
from localops_sync.sink import Blocked, Busy, Diverged, Offline, OverQuota, Refused, TooLarge, Trouble
from localops_sync.sinks.hub import Hub
from localops_sync.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.transfer.bundle import Batch, Range
    from localops.transfer.delivery import Ledger, Limits
    from localops.transfer.remotes import Remote
    from localops_sync.sink import Sink

LOCK = "sync.lock"
# Seconds until another thread may compute: packing the next batch must not delay sending this one.
_SWITCH = 0.0005
# Seconds: if a batch takes less, the connection is fast enough for larger ones.
_QUICK = 1.0
_PACKED = 5  # bytes of a row that compress to one, about
_PROBES = 64  # requests spent on finding rows that make a server fail
_MOST_TOUCHED = 100_000  # sessions remembered for the totals that are sent with the last batch


@contextmanager
def only_one(folder: str, wait: float) -> Iterator[bool]:
    """Hold the lock of a project's sync; yield False when another pass holds it for longer than `wait` seconds."""
    lock = FileLock(os.path.join(folder, LOCK), mode=0o600)
    try:
        lock.acquire(timeout=wait, poll_interval=0.1)
    except Timeout:
        yield False
        return
    except OSError:
        # No locks on this file system.  Sync is correct without one, too: two passes at once only send some rows twice.
        yield True
        return
    try:
        yield True
    finally:
        lock.release()


def sync(
    home: str,
    project: str,
    remote: Remote,
    *,
    budget: PassBudget | None = None,
    limits: Limits | None = None,
    wait: float = 0.0,
    check_all: bool = False,
    ask: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Make one pass; return failures of networks, remotes and files in the outcome instead of raising them.

    ask: ask the remote whether it still has what it signed for, even if it was asked within the last hour.
    """
    outcome = Outcome(project, remote.name, metadata_only=remote.metadata_only)
    folder = config.project_folder(home, project)
    try:
        with only_one(folder, wait) as ours:
            if ours:
                limits = limits or delivery.Limits(grows=True)
                sync_pass = Pass(folder, remote, outcome, budget or PassBudget(), limits, on_progress)
                sync_pass.run(check_all=check_all, ask=ask)
            else:
                outcome.worse(BUSY, "another sync of this project is running")
    except KeyboardInterrupt:
        outcome.worse(INTERRUPTED, "interrupted; what was sent is kept, the next sync sends the rest")
    except ConfigError as error:
        outcome.worse(ACT, str(error))
    # UnicodeDecodeError: a flipped bit in the file.
    except (LocalopsError, SQLiteError, OSError, UnicodeDecodeError) as error:
        outcome.worse(UNEXPECTED, user_message(error))
    return outcome


def recognise(remote: Remote, ledger: Ledger, sink: Sink) -> str | None:
    """Return the id of the peer, if it has one; raise Blocked when earlier rows went to another hub or project."""
    peer: str | None = getattr(sink, "id", None)
    known = ledger.contact().peer
    if not peer or not known or peer == known or not ledger.delivered():
        return peer
    hub, _, project = peer.partition("/")
    was, _, before = known.partition("/")
    # Known from a receipt, which has no project.
    if hub == was and not before:
        return peer
    what = (
        f"{remote.url} is another hub now ({hub[:8]}, it was {was[:8]})"
        if hub != was
        else f"the key of remote {remote.name!r} is to project {project} of the hub, the rows so far are in {before}"
    )
    raise Blocked(
        f"{what}: nothing was sent; if that is intended, `localops remote remove {remote.name}` and add it again: "
        "everything is sent there then"
    )


class Pass:
    """One pass for one remote."""

    def __init__(
        self,
        folder: str,
        remote: Remote,
        outcome: Outcome,
        budget: PassBudget,
        limits: Limits,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.folder, self.remote, self.outcome, self.budget, self.limits = folder, remote, outcome, budget, limits
        self.limits.metadata_only = remote.metadata_only
        self.limits.size = _PACKED * budget.portion(self.limits.size // _PACKED)
        # The budget is checked between batches: small ones keep what exceeds it small.
        if budget.bytes_left < math.inf:
            self.limits.size = max(1, min(self.limits.size, int(_PACKED * budget.bytes_left)))
            self.limits.grows = False
        self._on_progress = on_progress
        self._total = 0
        self._durable = 0  # the newest row that is safe from a power cut
        self._coming: Iterator[Batch] = iter(())
        self._upcoming: Batch | None = None  # the batch that is packed while the remote works
        self._behind: list[Batch | None] = []  # the one after that, once it is read
        self._clean = True  # whether the remote has accepted all of the last batch
        self._probes = _PROBES
        self._settled = 0  # rows from which a scrub has removed more on the remote than here
        self._withheld = 0  # parked rows whose files are missing or damaged here
        self._gone_back = self._renewed = False
        # Scrubbed rows that the hub already had.
        self._held_before: frozenset[int] = frozenset()
        self._left_out: Offline | None = None  # why rows were left out; the pass ends with this error
        self._incomplete: set[bytes] = set()  # the sessions of those rows: their totals differ on the remote

    def run(self, *, check_all: bool = False, ask: bool = False) -> None:
        """Send what there is; set the outcome."""
        self.journal = Journal(self.folder, gather=True)
        try:
            session_state.derive(self.journal)
            with Reader(self.journal.path) as reader:
                self.reader = reader
                self.ledger: Ledger = delivery.Ledger(reader, self.folder, self.remote.name)
                try:
                    self._run(check_all, ask)
                finally:
                    # Also when the pass is interrupted, or the key cannot be read.
                    waiting = self.ledger.waiting()
                    self.outcome.left, self.outcome.oldest_ns = waiting.rows, waiting.oldest_ns
                if self._settled:
                    self.outcome.notes.append(_settled(self._settled))
                if self.outcome.code == DONE and self.outcome.parked:
                    self.outcome.worse(PARKED, _parked(self.outcome.parked, self._withheld))
        finally:
            self.journal.close()

    def _run(self, check_all: bool, ask: bool) -> None:
        if not (check_all or self.ledger.has_work() or self.ledger.is_due(at_once=ask)):
            # Without a single packet: cron may run this every minute.
            return
        try:
            transport = Transport(self.remote, budget=self.budget)
            self.sink: Sink = sinks.open_sink(self.remote, self.reader, self.folder, transport)
        except ConfigError as error:
            # The key or certificate cannot be read.
            self.ledger.meet(self.journal, error=str(error))
            raise
        self._beside = ThreadPoolExecutor(1)
        sys.setswitchinterval(_SWITCH)
        try:
            self._greet()
            self.limits.scrubs = isinstance(self.sink, Hub) and "scrubs" in self.sink.proves
            parked = self.ledger.parked()
            aside = {each.seq for each in parked if not each.final and each.reason != scrubbed.WAITS}
            self._held_before = frozenset(each.seq for each in parked if each.reason == scrubbed.WAITS)
            self._send_all()
            self._try_set_aside(aside)
            self._report_scrubbed()
            if check_all:
                self._verify()
            self._take_prices()
            self.ledger.meet(self.journal, ok=True)
            self.ledger.settle_doubt(self.journal)
        except OutOfBudget:
            self.outcome.worse(BUDGET, "the budget of this pass is used up; the next sync sends the rest")
        except Blocked as error:
            self._failed(ACT, error)
        except OverQuota as error:
            self._failed(BUDGET, error)
        except (Offline, Diverged) as error:
            # With no new rows, this was raised while trying parked rows again: the next pass does that once more.
            if check_all or self.ledger.has_work():
                self._failed(OFFLINE, error)
        finally:
            self.outcome.bytes += transport.sent
            self._compare_clocks(transport)
            self.outcome.notes += getattr(self.sink, "notes", ())
            self.sink.close()
            self._beside.shutdown()

    def _compare_clocks(self, transport: Transport) -> None:
        if transport.skew is not None:
            self.outcome.notes.append(_skewed(transport.skew))
        if transport.met:
            clocks.keep(self.folder, self.remote.name, transport.skew)

    def _failed(self, code: int, error: Exception) -> None:
        self.outcome.worse(code, str(error))
        self.ledger.meet(self.journal, error=str(error))

    def _greet(self) -> None:
        """Identify the remote before anything is sent: the address may lead to another one than before."""
        self.outcome.requests += 1
        if isinstance(self.sink, Hub):
            self.sink.position = self.ledger.position()
        self._patiently(self.sink.check)
        # Before the first batch: what was sent to another hub must not be mixed up with this one's rows.
        self._durable = self.ledger.meet(self.journal, peer=recognise(self.remote, self.ledger, self.sink))
        if isinstance(self.sink, Hub):
            key_ends.keep(self.folder, self.remote.name, self.sink.key_ends)
            if (ends := key_ends.warning(self.remote.name, self.sink.key_ends)) is not None:
                self.outcome.notes.append(ends)
            carried = self.ledger.to_compare()
            if "held" in self.sink.proves and (not self.sink.kept or self._lacks(self.sink, carried)):
                self._keep_common(self._held_by(self.sink, self.ledger.names()), certain=self.sink.kept is not None)

    def _held_by(self, hub: Hub, journals: list[str]) -> Diverged:
        """Return what the hub has of a journal, under all its names."""
        self.outcome.requests += 1
        held: Diverged = self._patiently(lambda: hub.held(journals))
        return held

    def _lacks(self, hub: Hub, carried: dict[str, list[Range]]) -> bool:
        """Return whether the hub lacks rows of receipts that were carried here, as it was set back since."""
        names = self.ledger.names()
        own = [each for journal, ranges in carried.items() if journal in names for each in ranges]
        # Seqs without a row here may never have been sent.
        if own and self.ledger.has_rows(bundle.difference(own, self._held_by(hub, names).held)):
            return True
        others = ((journal, ranges) for journal, ranges in carried.items() if journal not in names)
        return any(bundle.difference(ranges, self._held_by(hub, [journal]).held) for journal, ranges in others)

    def _take_prices(self) -> None:
        """Use the price table of a hub that offers a newer one, if this home accepts it; rows are sent in any case."""
        home = os.path.dirname(self.folder)
        hub = self.sink
        try:
            if not isinstance(hub, Hub) or not hub.prices_of or not config.takes_prices(home):
                return
            if hub.prices_of <= imported_prices.in_use(home):
                return
            self.outcome.requests += 1
            data = self._patiently(hub.prices)
            taken = imported_prices.take(home, data, origin=f"hub {self.remote.url}", now_ns=clock.now_ns())
            if taken.is_new:
                came = f"prices of {taken.date} came from the hub"
                self.outcome.notes.append(f"{came}; `localops prices apply` prices earlier calls with them")
        except (ConfigError, Trouble) as error:
            self.outcome.notes.append(f"the prices of the hub were not taken: {error}")

    # Batch after batch

    def _send_all(self) -> None:
        self._total = self.ledger.waiting().rows if self._on_progress else 0
        while True:
            try:
                for batch in self._one_ahead():
                    self._deliver(batch)
                break
            except Diverged as error:
                self._behind.clear()
                self._go_back(error)
        if self._left_out is not None:
            raise self._left_out

    def _one_ahead(self) -> Iterator[Batch]:
        """Yield the batches; while the remote works on one, pack the next and read the one after it, where possible."""
        self._coming = self._in_turn()
        batch, upcoming = next(self._coming, None), next(self._coming, None)
        sessions: set[bytes] = set()
        while batch is not None:
            if len(sessions) < _MOST_TOUCHED:
                sessions.update(row.session for row in batch.rows)
            # The last batch has the totals.
            if upcoming is None:
                whole = sorted(sessions - self._incomplete, reverse=True)
                batch = replace(batch, totals=self.ledger.totals(whole, batch.rows[-1].seq))
            self._make_durable(batch)
            self._upcoming, self._clean = upcoming, True
            yield batch
            behind = self._behind.pop() if self._behind else next(self._coming, None)
            if upcoming is not None and not self._clean:
                upcoming = replace(upcoming, previous=self.ledger.before(upcoming.rows[0].seq, self.limits))
            batch, upcoming = upcoming, behind

    def _in_turn(self) -> Iterator[Batch]:
        """Yield the batches with rows; each refers to the one before, which the remote has by then."""
        before: Batch | None = None
        for batch in self.ledger.batches(self.limits):
            if batch.rows or self._skip_gap(batch):
                yield batch if before is None else replace(batch, previous=bundle.previous(before))
                before = batch

    def _skip_gap(self, gap: Batch) -> bool:
        """Settle rows that were pruned, so that there is nothing to send."""
        self.ledger.settle(self.journal, gap, Ack())
        return False

    def _make_durable(self, batch: Batch) -> None:
        """Make the rows of a batch safe from a power cut, after which their seqs would be given to other rows."""
        # One synced commit covers everything before it.
        if batch.rows[-1].seq > self._durable:
            self._durable = self.ledger.meet(self.journal)

    def _deliver(self, batch: Batch) -> None:
        """Send a batch; find the rows that the remote refuses by bisection, and park them: the others are delivered."""
        if len(batch.rows) > self.budget.rows_left > 0:
            self._deliver(bundle.first(batch, int(self.budget.rows_left)))
            # This may be the last batch, after which nothing checks the budget.
            raise OutOfBudget
        self.budget.check()
        began = time.monotonic()
        try:
            self._settle(batch, self._patiently(lambda: self._send(batch)))
            if self.limits.grows and time.monotonic() - began < _QUICK:
                self.limits.grow()
        except (Refused, TooLarge) as error:
            self._clean = self.limits.grows = False
            if len(batch.rows) == 1:
                self._refuse(batch, error)
                return
            if isinstance(error, TooLarge):
                self.limits.rows = max(1, len(batch.rows) // 2)
            # Bisection: a refused row is found in about 2 log2(n) requests.
            for half in bundle.halves(batch):
                self._deliver(half)
        except Offline as error:
            if self._can_leave_files(error):
                self._deliver(batch)
                return
            if isinstance(error, Busy) or not (error.answered or error.broke):
                raise
            self._clean = self.limits.grows = False
            self._isolate(batch, error)

    def _can_leave_files(self, error: Offline) -> bool:
        """Return whether to send only rows whose files are there from now on: the hub has no room for a file."""
        hub = self.sink
        if not isinstance(hub, Hub) or hub.without_room or isinstance(error, OverQuota):
            return False
        if hub.file_trouble is not error:
            return False
        hub.without_room, self._left_out = True, error
        return True

    def _send(self, batch: Batch) -> Ack:
        self.outcome.requests += 1
        prepare: Callable[[Batch], None] | None = getattr(self.sink, "prepare", None)
        upcoming, self._upcoming = self._upcoming, None
        if upcoming is None or prepare is None:
            return self.sink.send(batch)
        # Compression and the network work at the same time.
        sending = self._beside.submit(self.sink.send, batch)
        prepare(upcoming)
        self._behind.append(next(self._coming, None))
        return sending.result()

    def _settle(self, batch: Batch, ack: Ack) -> None:
        if ack.later:
            self._clean = self.limits.grows = False
            self._incomplete.update(row.session for row in batch.rows if row.seq in ack.later)
            batch = bundle.leave_out(batch, ack.later)
            if not batch.rows:
                return
        self._durable = max(self._durable, self.ledger.settle(self.journal, batch, ack))
        taken = len(batch.rows) - len(ack.refused) - len(ack.withheld)
        self.outcome.sent += taken
        kept_out = {**ack.refused, **ack.withheld}
        self.outcome.replaced += sum(
            row.seq in self._held_before and row.seq not in kept_out and not scrubbed.is_about(row)
            for row in (batch.rows if self._held_before else ())
        )
        settled = sum(map(scrubbed.is_settled, ack.refused.values()))
        self._settled += settled
        self.outcome.parked += len(kept_out) - settled
        self._withheld += len(ack.withheld)
        self.budget.spend(taken, 0)
        self._clean &= len(kept_out) == settled
        if ack.differs:
            self.outcome.worse(PARKED, _differing(ack.differs))
        # Once a pass is enough: the new id covers all further rows.
        if ack.forked and not self._renewed:
            self._renewed = True
            self.journal.renew()
            self.outcome.notes.append(_FORKED)
        if self._on_progress:
            self._on_progress(self.outcome.sent, self._total)

    def _refuse(self, batch: Batch, error: Refused | TooLarge) -> None:
        """Park a row that the remote refuses; raise Blocked for the limit of a proxy, which a person has to raise."""
        if isinstance(error, TooLarge) and error.foreign:
            raise Blocked(f"{error}; {_PROXY}") from error
        self._park(batch, str(error), final=True)

    def _park(self, batch: Batch, reason: str, *, final: bool) -> None:
        self.ledger.park(self.journal, {row.seq: reason for row in batch.rows}, final=final)
        self.outcome.parked += len(batch.rows)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """Call `ask`, and again after a pause as long as the remote can be reached but fails."""
        for tries in range(1, retry.TRIES + 1):
            try:
                return ask()
            except Offline as error:
                if tries == retry.TRIES or isinstance(error, OverQuota) or not (error.answered or error.broke):
                    raise
                pause = retry.backoff(tries, self.budget.jitter()) if error.retry_after is None else error.retry_after
                try:
                    self.budget.wait(pause)
                except OutOfBudget:
                    raise error from None
        raise AssertionError

    # Rows on which a server fails

    def _isolate(self, batch: Batch, error: Offline) -> None:
        """Find the rows of a batch on which the server fails every time, and park them until the next pass.

        A row on which the connection breaks is only left out, as the network may be the cause.  So is a single row,
        as no other row shows that the server works; when that happens twice in a pass, the server counts as down.
        """
        pending, alive = deque(_parts(batch)), False
        failed: list[Batch] = []
        while pending and self._probes > 0:
            part = pending.popleft()
            self._probes -= 1
            try:
                self._settle(part, self._send(part))
                alive = True
            except Offline as again:
                if isinstance(again, Busy) or not (again.answered or again.broke):
                    raise
                if len(part.rows) == 1:
                    failed.append(part)
                else:
                    pending.extend(_parts(part))
            except (Refused, TooLarge) as refusal:
                if len(part.rows) == 1:
                    self._refuse(part, refusal)
                else:
                    pending.extendleft(reversed(_parts(part)))
                alive = True
        if pending or not (alive or (len(batch.rows) == 1 and self._left_out is None)):
            raise error
        if error.broke or not alive:
            self._left_out = error
            self._incomplete.update(row.session for part in failed for row in part.rows)
            return
        for part in failed:
            self._park(part, str(error), final=False)

    def _try_set_aside(self, aside: set[int]) -> None:
        """Try each row that an earlier pass parked once more, alone, unless its file is still missing."""
        before = aside - self._still_withheld(aside)
        if not before:
            return
        self.ledger.unpark(self.journal, before)
        for batch in self.ledger.batches(replace(self.limits, rows=1)):
            if batch.rows and batch.rows[0].seq in before:
                try:
                    self._settle(batch, self._send(batch))
                except (Refused, TooLarge) as error:
                    self._refuse(batch, error)
                except Offline as error:
                    # The network failed, not the row: it is unsent again, and a later pass sends it.
                    if not error.answered:
                        raise
                    self._park(batch, str(error), final=False)

    def _report_scrubbed(self) -> None:
        """Report the scrubbed rows of which the hub still has the old form."""
        waiting = sum(each.reason == scrubbed.WAITS for each in self.ledger.parked())
        if waiting:
            self.outcome.parked += waiting
            self.outcome.worse(PARKED, _SCRUBBED)

    def _still_withheld(self, aside: set[int]) -> set[int]:
        """Return the parked rows whose files are missing or damaged; they count as parked in this pass, too."""
        if not isinstance(self.sink, Hub) or self.remote.metadata_only:
            return set()
        known = {each.seq: each.reason for each in self.ledger.parked()}
        flaws = self.ledger.flaws(aside & known.keys())
        if changed := {seq: reason for seq, reason in flaws.items() if known[seq] != reason}:
            self.ledger.park(self.journal, changed, final=False)
        self.outcome.parked += len(flaws)
        self._withheld += len(flaws)
        return set(flaws)

    # A remote that lacks rows, and verification

    def _go_back(self, error: Diverged) -> None:
        """Continue after the last row that both sides have: the remote or this journal is in an older state again."""
        # A second time in one pass means that the remote loses rows as fast as it confirms them.
        if self._gone_back:
            raise Blocked(f"{self.remote.url} loses the rows that it confirms") from error
        self._gone_back = True
        self._keep_common(error, certain=True)

    def _keep_common(self, held: Diverged, *, certain: bool) -> None:
        """Mark rows that the remote lacks as unsent.  Unless `certain`, the remote may still have some of them."""
        anchor = next((seq for seq, id, phase in held.marks if self._is_here(seq, id, phase)), 0)
        common = bundle.common(held.held, [(1, anchor)]) if anchor else []
        if not certain:
            self.ledger.keep_only(self.journal, common)
            return
        known, missing = self.ledger.loss(), self._lost_sessions()
        again, lost = self.ledger.set_back(self.journal, common, missing)
        if again and held.held:
            self.outcome.notes.append(
                f"{self.remote.name} lacks {_rows(again)} that it had: what is here is sent again"
            )
        elif again:
            self.outcome.notes.append(
                f"{self.remote.name} was restored or repaired, and does not know what it has: what is here is sent "
                "again, and it keeps each row once"
            )
        self._report_lost(lost, is_back=known is not None and not missing)

    def _lost_sessions(self) -> dict[bytes, int]:
        """Return what the hub lacks of the sessions that were pruned here."""
        assert isinstance(self.sink, Hub)
        return verify.lost(self.ledger, self.sink, metadata_only=self.remote.metadata_only)

    def _is_here(self, seq: int, id: bytes, phase: int) -> bool:
        """Return whether the row at a seq is that one; True for a pruned row, which cannot be compared."""
        if not 0 < seq <= self.ledger.newest():
            return False
        identities = self.ledger.ask("identity_at", seq=seq)
        return not identities or identities[0] == (id, phase)

    def _verify(self) -> None:
        report = verify.compare(self)
        self._look_for_lost()
        self.outcome.notes += report.notes
        self.outcome.compared = report.sessions
        self.outcome.deleted, self.outcome.pruned = report.deleted, report.pruned
        self.outcome.scrubbed_there = report.scrubbed
        # Some of those that were parked a moment ago may be settled now.
        self.outcome.parked = min(self.outcome.parked, len(self.ledger.parked()))
        self.outcome.given_up = self.ledger.dropped()
        if report.differences:
            self.outcome.worse(PARKED, "the hub does not have everything that it signed for")
        if report.parked:
            self.outcome.worse(PARKED, f"{report.parked}: {_LIST}")

    def _look_for_lost(self) -> None:
        """Check whether the hub has what was pruned here: rows may be lost, or back from a newer backup."""
        known, missing = self.ledger.loss(), self._lost_sessions()
        news = self.ledger.keep_loss(self.journal, missing)
        self._report_lost(news, is_back=known is not None and not missing)

    def _report_lost(self, news: int, *, is_back: bool) -> None:
        if news:
            self.outcome.worse(PARKED, _loss_text(news, self.remote.name))
        elif is_back:
            self.outcome.notes.append(f"{self.remote.name} has the rows again that it had lost")


_PROXY = "a proxy before the remote takes no larger requests: let it take 8 MB (nginx: client_max_body_size 8m)"
_LIST = "`localops parked list` shows why"
_SCRUBBED = (
    "the hub still has what was scrubbed here, as its release cannot replace rows: upgrade it, and sync again; until "
    "then `localops parked list` shows these rows"
)
_FORKED = (
    "the remote already had other rows under these numbers: this journal was set back to an earlier state, "
    "or rows were lost there; it continues under a new id"
)


def _parts(batch: Batch) -> list[Batch]:
    return list(bundle.halves(batch)) if len(batch.rows) > 1 else [batch]


def _parked(count: int, withheld: int) -> str:
    refused = count - withheld
    reasons = [f"{_rows(refused)} the remote does not take"] if refused else []
    if withheld:
        reasons.append(f"{_rows(withheld)} cannot be sent without files that are missing or damaged here")
    return f"{', '.join(reasons)}: {_LIST}; all other rows are sent"


def _rows(count: int) -> str:
    return output.counted(count, "row")


def _settled(count: int) -> str:
    are = output.counted(count, "row is", "rows are")
    return f"{are} on the hub with more removed than here: nothing has to be done"


def _loss_text(count: int, remote: str) -> str:
    those = output.counted(count, "row that it had was", "rows that it had were")
    return (
        f"{remote} lacks sessions that it had, and {those} pruned here: they are lost, unless a newer backup of "
        f"the hub has them; `localops doctor` reports it until `localops remote acknowledge {remote}`"
    )


def _skewed(ahead: float) -> str:
    return f"this machine's clock is {clocks.text(ahead)} the remote's"


def _differing(sessions: Any) -> str:
    some = ", ".join(str(session)[:13] for session in list(sessions)[:3])
    many = output.counted(len(sessions), "session")
    return f"the hub has other totals for {many} ({some}): `localops sync --verify` finds the rows"
