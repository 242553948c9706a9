"""The service of AgentOps, over the REST interface (v2) of its clients up to 0.3.

It inserts what it is sent as often as it is sent, and counts even what it refuses.  So no event goes there while it
may be there already.  The rule, by which every crash and every lost answer is met:

1. Before a row is sent, it is noted on disk how far into the journal we have come (`agentops_attempts.py`).
2. What we believe a session has there holds as long as every request about it was answered well; after anything else
   it is forgotten.
3. When we come to a session we know nothing of, and one of the events at hand may have been sent before (1), all
   that the session has there is read back (/export), and what is there counts as delivered.  Else it is enough to
   ask whether the session is there (/stats).  Neither is asked as long as a request that broke off may still be at
   work there.

A request holds events of one table: they are one INSERT there, and come in together or not at all.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

from localops.journal import rows, stored
from localops.reading import analytics
from localops.reading.snapshot import Snapshot
from localops.recording.events import iso
from localops.transfer import bundle
from localops.transfer.bundle import Ack
from localops_sync.sink import Busy, Offline, Refused, TooLarge, Trouble
from localops_sync.sinks.agentops_api import Api
from localops_sync.sinks.agentops_attempts import Attempts
from localops_sync.sinks.agentops_events import TABLES, dashed, is_event, outgoing, storable, what_it_says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.transfer.bundle import Batch
    from localops.transfer.remotes import Remote
    from localops_sync.sinks.agentops_events import Outgoing
    from localops_sync.transport import Transport

EVENTS = 25  # in a request: what its own clients send, and what is counted twice at most when it refuses one
BYTES = 512 << 10  # in a request of more than one event: proxies are known to stop at 1 MB
_ENOUGH = 3  # events on which it failed, each alone, while it took others: they stand for the rest of their table
_LASTS = 5.0  # seconds that the service may go on with a request whose connection is gone
_MOST_KNOWN = 1_000  # sessions that are remembered; another one is asked about anew
_MILESTONES = frozenset(("session", "join", "tags", "end", "host", "video"))  # what the session itself says there
_STATES = {"Success": "Success", "Failure": "Fail", "Indeterminate": "Indeterminate"}
_IS_THERE = ("duplicate key", "already exists", "23505")  # refused because it has it


@dataclass
class _There:
    """A session at the service, as far as we know it."""

    id: bytes
    token: str
    sure_after: int  # of our rows behind this seq, exactly those in `held` (and `errors`) are there
    held: set[bytes] = field(default_factory=set)  # by our ids
    errors: Counter[Hashable] = field(default_factory=Counter)  # what errors say that it had when it was read back
    agents: set[bytes] = field(default_factory=set)
    told: dict[str, Any] | None = None  # about the session itself


class AgentOps:
    """A project at AgentOps: sessions, agents and events, each once."""

    def __init__(self, remote: Remote, source: Reader, folder: str, transport: Transport) -> None:
        self._api = Api(transport)
        self._transport = transport
        self._source, self._folder = source, folder
        self._content = not remote.metadata_only
        self._attempts = Attempts(source, folder, remote.name, transport.base)
        self._known: dict[bytes, _There] = {}
        self._broke_at = -math.inf  # the last request of which nobody knows what became of it
        self._fails: Counter[str] = Counter()  # events on which it failed, by table, since it took one

    def send(self, batch: Batch) -> Ack:
        """Bring every event of the batch there that is not, and what its sessions have become."""
        self._api.check_key()
        if not batch.rows:
            return Ack()
        tried = self._attempts.begin(batch.journal, batch.rows[-1].seq)
        sending = _Sending(batch.rows)
        for session, part in _by_session(batch.rows).items():
            with self._doubting(session, sending):
                self._send(session, part, tried, sending)
        with self._doubting(rows.NOBODY, sending):
            self._look_into(sending)
        self._book(batch.rows)
        return Ack(sending.refused, stored=sending.stored)

    def check(self) -> str:
        """Ask the service whether it knows the key."""
        self._api.check_key()
        self._api.greet()
        return f"{self._api.where} takes this key"

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()

    @contextmanager
    def _doubting(self, session: bytes, sending: _Sending) -> Iterator[None]:
        """Rule 2: whatever ends a request, what it did is not known."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, Offline) and not error.answered:
                self._broke_at = time.monotonic()
            for id in (session, *(there.id for there, _, _ in sending.failed)):
                self._known.pop(id, None)
            raise

    def _send(self, session: bytes, part: list[Stored], tried: int, sending: _Sending) -> None:
        """The rows of one session: agents before what they did, and the session's end after everything."""
        events = [self._outgoing(row, sending) for row in part if is_event(row)]
        if not events and not any(row.kind in _MILESTONES or row.kind == "agent" for row in part):
            return
        try:
            there = self._there(session, events, tried)
        except Refused as error:  # it does not take the session, so none of its rows
            sending.refused.update((row.seq, str(error)) for row in part)
            return
        self._name_agents(there, part, sending)
        lacking = self._lacking(there, events)
        for table in TABLES:
            for chunk in _chunks([each for each in lacking if each.table == table]):
                self._insert(there, chunk, sending)
        self._update(there, part, sending)

    def _outgoing(self, row: Stored, sending: _Sending) -> Outgoing:
        return outgoing(row, self._opened(row, sending) if self._content else None)

    def _opened(self, row: Stored, sending: _Sending) -> Stored | None:
        """Return the row that an operation began with: often in the same batch."""
        return sending.opened.get(row.id) or stored.one(self._source, row.id, rows.OPEN)

    # What is there

    def _there(self, session: bytes, events: Sequence[Outgoing], tried: int) -> _There:
        """The session at the service, made if it is not there: rule 3."""
        known = self._known.get(session)
        if known is not None and all(each.seq > known.sure_after for each in events):
            return known
        self._transport.budget.wait(self._broke_at + _LASTS - time.monotonic())
        found = _There(session, "", sure_after=tried)
        is_new = all(each.seq > tried for each in events)
        is_there = self._api.has(session) if is_new else self._read(found)
        if is_there:
            found.token = self._api.renew(session)
        else:
            found.told, found.sure_after = self._told(session, ended=False), 0
            found.token = self._api.create(found.told)
        self._known[session] = found
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return found

    def _read(self, there: _There) -> bool:
        """Learn what a session has; whether there is one."""
        found = self._api.export(there.id)
        if found is None:
            return False
        named = (row.get("id") for table, kept in found.items() if table != "errors" for row in kept)
        there.held = {id for name in named if (id := _id(name))}
        there.errors = Counter(what_it_says(row) for row in found["errors"])
        there.sure_after = 0
        return True

    def _lacking(self, there: _There, events: Sequence[Outgoing]) -> list[Outgoing]:
        """The events that are not there."""
        twins = self._twins(there, events)
        new = [each for each in events if each.id not in there.held]
        return [each for each in new if twins.get(each.seq, 0) >= there.errors[each.says]]

    def _twins(self, there: _There, events: Sequence[Outgoing]) -> dict[int, int]:
        """How many errors of the session before each one say the very same, and went there before it."""
        if not any(there.errors[each.says] for each in events):
            return {}
        seen: Counter[Hashable] = Counter()
        found: dict[int, int] = {}
        for row in stored.of_session(self._source, there.id):
            if row.kind == "error" and row.phase == rows.DONE:
                each = outgoing(row if self._content else bundle.without_content(row), None)
                found[each.seq] = seen[each.says]
                seen[each.says] += 1
        return found

    def _book(self, taken: Sequence[Stored]) -> None:
        """The batch is done with: if a row of it comes again, that is to be looked into."""
        for row in taken:
            if (there := self._known.get(row.session)) is not None:
                there.held.discard(row.id)
                there.sure_after = max(there.sure_after, taken[-1].seq)

    # What goes there

    def _name_agents(self, there: _There, part: list[Stored], sending: _Sending) -> None:
        """Every agent before an event of it: one that the service does not know would have the event refused."""
        for row in part:
            id = row.id if row.kind == "agent" else row.agent
            if id is None or id in there.agents:
                continue
            name = row.name if row.kind == "agent" else analytics.agent_name(self._source, id.hex())
            try:
                self._api.name_agent(there, dashed(id) or "", storable(name or "agent"))
            except (Refused, TooLarge) as error:
                if row.kind == "agent":
                    sending.refused[row.seq] = str(error)
            there.agents.add(id)

    def _insert(self, there: _There, chunk: Sequence[Outgoing], sending: _Sending) -> None:
        """Events of one table, in one request; where that fails, all others go first."""
        try:
            self._api.insert(there, [each.body for each in chunk])
        except (Refused, TooLarge, Offline) as error:
            if _is_transient(error):
                raise
            sending.failed.append((there, chunk, error))
        else:
            self._went_in(there, chunk, sending)

    def _went_in(self, there: _There, chunk: Sequence[Outgoing], sending: _Sending) -> None:
        there.held.update(each.id for each in chunk)
        sending.stored += len(chunk)
        self._fails[chunk[0].table] = 0

    def _look_into(self, sending: _Sending) -> None:
        """What failed: some of it may be there, and some of the rest may be taken.

        A service that fails on everything is down, and no event is to blame for that.
        """
        for there, chunk, error in sending.failed:
            fails = self._fails[chunk[0].table]
            if isinstance(error, Offline) and not (sending.stored or fails):
                raise error
            left = self._left(there, chunk, error)
            if len(left) < len(chunk) or (isinstance(error, Offline) and fails < _ENOUGH):
                self._insert_some(there, left, sending)
            else:
                self._insert_less(there, left, sending, error)

    def _left(self, there: _There, chunk: Sequence[Outgoing], error: Exception) -> list[Outgoing]:
        """What is not there, after somebody has looked."""
        if not self._read(there):
            raise Offline(f"{self._api.where} has lost a session that it had: {error}", answered=True) from error
        return self._lacking(there, chunk)

    def _insert_some(self, there: _There, some: Sequence[Outgoing], sending: _Sending) -> None:
        if not some:
            return
        try:
            self._api.insert(there, [each.body for each in some])
        except (Refused, TooLarge, Offline) as error:
            if _is_transient(error):
                raise
            if isinstance(error, Offline):  # it may have done it all the same
                some = self._left(there, some, error)
            self._insert_less(there, some, sending, error)
        else:
            self._went_in(there, some, sending)

    def _insert_less(self, there: _There, some: Sequence[Outgoing], sending: _Sending, error: Exception) -> None:
        """The one that is not taken is found by halves; where none is taken, a few of them stand for all."""
        if len(some) > 1 and self._fails[some[0].table] < _ENOUGH:
            middle = len(some) // 2
            self._insert_some(there, some[:middle], sending)
            self._insert_some(there, some[middle:], sending)
        elif some and not any(words in str(error) for words in _IS_THERE):
            self._fails[some[0].table] += isinstance(error, Offline)
            sending.refused.update((each.seq, str(error)) for each in some)

    def _update(self, there: _There, part: list[Stored], sending: _Sending) -> None:
        """What the session itself says there, when it changed: its end once all before it has come."""
        marks = [row.seq for row in part if row.kind in _MILESTONES]
        is_newest = analytics.totals(self._source, there.id).last_seq <= part[-1].seq
        if not (marks or is_newest):
            return
        told = self._told(there.id, ended=is_newest or any(row.kind == "end" for row in part))
        if told == there.told or not (marks or told["end_timestamp"]):
            return
        try:
            self._api.update(there, told)
        except (Refused, TooLarge) as error:
            sending.refused.update((seq, str(error)) for seq in marks)
        else:
            there.told = told

    def _told(self, session: bytes, *, ended: bool) -> dict[str, Any]:
        """Everything about a session itself, since what is left out is deleted there."""
        seen = Snapshot(self._source, self._folder, session)
        figures, stands, video = seen.totals, seen.standing, seen.story.video
        over = ended and stands.state in _STATES
        is_address = isinstance(video, str) and video.startswith(("http://", "https://"))  # a file stays here
        told = {
            "session_id": dashed(session),
            "init_timestamp": iso(figures.first_ns),
            "end_timestamp": iso(figures.last_ns) if over else None,
            "end_state": _STATES[stands.state] if over else "Indeterminate",
            "end_state_reason": stands.reason if over and self._content else None,
            "tags": seen.story.tags,
            "video": video if self._content and is_address else None,
            "host_env": seen.story.host_env,
        }
        return {name: storable(value) for name, value in told.items()}


class _Sending:
    """What becomes of a batch."""

    def __init__(self, taken: Sequence[Stored]) -> None:
        self.opened = {row.id: row for row in taken if row.phase == rows.OPEN}
        self.refused: dict[int, str] = {}
        self.stored = 0
        self.failed: list[tuple[_There, Sequence[Outgoing], Trouble]] = []  # what it did not take at once


def _is_transient(error: Trouble) -> bool:
    """Whether a failure has nothing to do with what was sent."""
    return isinstance(error, Offline) and (isinstance(error, Busy) or not error.answered)


def _by_session(taken: Sequence[Stored]) -> dict[bytes, list[Stored]]:
    """Return the rows of each session; those of the journal itself mean nothing there."""
    parts: dict[bytes, list[Stored]] = {}
    for row in taken:
        if row.session != rows.NOBODY:
            parts.setdefault(row.session, []).append(row)
    return parts


def _chunks(events: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """As many events as go into one request."""
    chunk: list[Outgoing] = []
    size = 0
    for each in events:
        if chunk and (len(chunk) == EVENTS or size + len(each.body) > BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += len(each.body)
    if chunk:
        yield chunk


def _id(name: object) -> bytes | None:
    try:
        return uuid.UUID(str(name)).bytes
    except ValueError:
        return None
