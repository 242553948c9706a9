"""The sink for AgentOps' service, over the REST interface (v2) of its clients up to 0.3.

The service inserts an event as often as it is sent, and counts even what it refuses.  So an event is never sent while
it may be stored there already.  These rules cover every crash and every lost answer:

1. Before a row is sent, its seq is written to disk as the highest one tried (`agentops_attempts.py`).
2. What we know of a session there holds as long as every request about it succeeds; after any failure it is dropped.
3. For an unknown session with an event that may have been sent before (1), everything that the session has there is
   read back (/export), and counts as delivered.  Otherwise it is enough to ask whether the session exists (/stats).
   Both wait until a request whose connection broke can no longer be running there.

A request holds events of one table: they are one INSERT there, stored together or not at all.
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
from localops_sync.sinks.agentops_events import TABLES, dashed, error_signature, is_event, outgoing, storable

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

# Events of a request: as many as the service's own clients send, which bounds what it counts twice when it refuses one.
EVENTS = 25
# Bytes of a request of more than one event: some proxies refuse 1 MB.
BYTES = 512 << 10
# After failures on this many single events of a table, the service is assumed to fail on all that it has not accepted.
_ENOUGH = 3
# Seconds for which the service may still process a request after its connection was lost.
_LASTS = 5.0
# Sessions that are remembered; about others the service is asked again.
_MOST_KNOWN = 1_000
_MILESTONES = frozenset(("session", "join", "tags", "end", "host", "video"))  # kinds of row that change a session there
_STATES = {"Success": "Success", "Failure": "Fail", "Indeterminate": "Indeterminate"}
# Parts of a refusal of what the service has already.
_DUPLICATE = ("duplicate key", "already exists", "23505")


@dataclass
class _There:
    """A session as far as it is known at the service."""

    id: bytes
    token: str
    sure_after: int  # of our rows after this seq, exactly those in `held` (and `errors`) are there
    held: set[bytes] = field(default_factory=set)  # by our ids
    errors: Counter[Hashable] = field(default_factory=Counter)  # signatures of the errors that were read back
    agents: set[bytes] = field(default_factory=set)
    sent: dict[str, Any] | None = None  # the session's own fields, as last sent


class AgentOps:
    """A project at AgentOps: sessions, agents and events, each once."""

    def __init__(self, remote: Remote, source: Reader, folder: str, transport: Transport) -> None:
        self._api = Api(transport)
        self._transport = transport
        self._source, self._folder = source, folder
        self._content = not remote.metadata_only
        self._attempts = Attempts(source, folder, remote.name, transport.base)
        self._known: dict[bytes, _There] = {}
        self._broke_at = -math.inf  # the time of the last request whose result is unknown
        self._fails: Counter[str] = Counter()  # events on which the service failed, by table, since it took one

    def send(self, batch: Batch) -> Ack:
        """Send every event of the batch that is not there yet, and the changed fields of its sessions."""
        self._api.check_key()
        if not batch.rows:
            return Ack()
        tried = self._attempts.begin(batch.journal, batch.rows[-1].seq)
        sending = _Sending(batch.rows)
        for session, part in _by_session(batch.rows).items():
            with self._distrusting(session, sending):
                self._send(session, part, tried, sending)
        with self._distrusting(rows.NO_SESSION, sending):
            self._retry_failed(sending)
        self._book(batch.rows)
        return Ack(sending.refused, stored=sending.stored)

    def check(self) -> str:
        """Return what answers; raise Trouble unless the service knows the key."""
        self._api.check_key()
        self._api.greet()
        return f"{self._api.where} takes this key"

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    @contextmanager
    def _distrusting(self, session: bytes, sending: _Sending) -> Iterator[None]:
        """Drop what we know of a session when a request fails (rule 2): what it did is unknown."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, Offline) and not error.answered:
                self._broke_at = time.monotonic()
            for id in (session, *(there.id for there, _, _ in sending.failed)):
                self._known.pop(id, None)
            raise

    def _send(self, session: bytes, part: list[Stored], tried: int, sending: _Sending) -> None:
        """Send the rows of one session: agents before their events, and the session's end after everything."""
        events = [self._outgoing(row, sending) for row in part if is_event(row)]
        if not events and not any(row.kind in _MILESTONES or row.kind == "agent" for row in part):
            return
        try:
            there = self._there(session, events, tried)
        except Refused as error:
            # The session is refused, and so are all of its rows.
            sending.refused.update((row.seq, str(error)) for row in part)
            return
        self._name_agents(there, part, sending)
        lacking = self._lacking(there, events)
        # One table at a time: with two INSERTs, a request could be stored in part.
        for table in TABLES:
            for chunk in _chunks([each for each in lacking if each.table == table]):
                self._insert(there, chunk, sending)
        self._update(there, part, sending)

    def _outgoing(self, row: Stored, sending: _Sending) -> Outgoing:
        return outgoing(row, self._opening_row(row, sending) if self._content else None)

    def _opening_row(self, row: Stored, sending: _Sending) -> Stored | None:
        """Return the row that an operation began with: often in the same batch."""
        return sending.opened.get(row.id) or stored.one(self._source, row.id, rows.OPEN)

    # Reading the service

    def _there(self, session: bytes, events: Sequence[Outgoing], tried: int) -> _There:
        """Return what we know of a session at the service; create it if it is not there (rule 3)."""
        known = self._known.get(session)
        if known is not None and all(each.seq > known.sure_after for each in events):
            return known
        # A request whose connection broke may still insert its events after this read (rule 3).
        self._transport.budget.wait(self._broke_at + _LASTS - time.monotonic())
        there = _There(session, "", sure_after=tried)
        is_new = all(each.seq > tried for each in events)
        exists = self._api.has(session) if is_new else self._read(there)
        if exists:
            there.token = self._api.renew(session)
        else:
            there.sent, there.sure_after = self._fields(session, ended=False), 0
            there.token = self._api.create(there.sent)
        self._known[session] = there
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return there

    def _read(self, there: _There) -> bool:
        """Read back what a session has; return False when it does not exist."""
        export = self._api.export(there.id)
        if export is None:
            return False
        ids = (event.get("id") for table, events in export.items() if table != "errors" for event in events)
        there.held = {id for text in ids if (id := _id(text))}
        there.errors = Counter(error_signature(error) for error in export["errors"])
        there.sure_after = 0
        return True

    def _lacking(self, there: _There, events: Sequence[Outgoing]) -> list[Outgoing]:
        """Return the events that are not there."""
        twins = self._twins(there, events)
        new = [event for event in events if event.id not in there.held]
        # An error has no id of ours there.  Of equal ones, as many as were read back count as sent, the oldest first.
        return [event for event in new if twins.get(event.seq, 0) >= there.errors[event.signature]]

    def _twins(self, there: _There, events: Sequence[Outgoing]) -> dict[int, int]:
        """Return, for each error of the session by its seq, how many equal ones were sent before it."""
        if not any(there.errors[event.signature] for event in events):
            return {}
        seen: Counter[Hashable] = Counter()
        twins: dict[int, int] = {}
        for row in stored.of_session(self._source, there.id):
            if row.kind == "error" and row.phase == rows.DONE:
                error = outgoing(row if self._content else bundle.without_content(row), None)
                twins[error.seq] = seen[error.signature]
                seen[error.signature] += 1
        return twins

    def _book(self, taken: Sequence[Stored]) -> None:
        """Forget the rows of a finished batch: if one is sent again, the service has to be queried for it."""
        for row in taken:
            if (there := self._known.get(row.session)) is not None:
                there.held.discard(row.id)
                there.sure_after = max(there.sure_after, taken[-1].seq)

    # Writing to the service

    def _name_agents(self, there: _There, part: list[Stored], sending: _Sending) -> None:
        """Create the agents of these rows: the service refuses an event of an agent that it does not know."""
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
        """Send events of one table in one request; keep them for the end of the batch when that fails."""
        try:
            self._api.insert(there, [each.body for each in chunk])
        except (Refused, TooLarge, Offline) as error:
            if _is_transient(error):
                raise
            sending.failed.append((there, chunk, error))
        else:
            self._stored(there, chunk, sending)

    def _stored(self, there: _There, chunk: Sequence[Outgoing], sending: _Sending) -> None:
        there.held.update(each.id for each in chunk)
        sending.stored += len(chunk)
        self._fails[chunk[0].table] = 0

    def _retry_failed(self, sending: _Sending) -> None:
        """Retry failed events: some may have been stored, and some of the others may be accepted now.

        A service that fails on all events is down: no single event is the cause.
        """
        for there, chunk, error in sending.failed:
            fails = self._fails[chunk[0].table]
            if isinstance(error, Offline) and not (sending.stored or fails):
                raise error
            left = self._missing_events(there, chunk, error)
            if len(left) < len(chunk) or (isinstance(error, Offline) and fails < _ENOUGH):
                self._insert_some(there, left, sending)
            else:
                self._insert_less(there, left, sending, error)

    def _missing_events(self, there: _There, chunk: Sequence[Outgoing], error: Exception) -> list[Outgoing]:
        """Return the events that are not there, according to what the service has."""
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
            # It may have stored them nevertheless.
            if isinstance(error, Offline):
                some = self._missing_events(there, some, error)
            self._insert_less(there, some, sending, error)
        else:
            self._stored(there, some, sending)

    def _insert_less(self, there: _There, some: Sequence[Outgoing], sending: _Sending, error: Exception) -> None:
        """Find the refused events by bisection; after _ENOUGH failures, refuse the rest as well."""
        if len(some) > 1 and self._fails[some[0].table] < _ENOUGH:
            middle = len(some) // 2
            self._insert_some(there, some[:middle], sending)
            self._insert_some(there, some[middle:], sending)
        elif some and not any(words in str(error) for words in _DUPLICATE):
            self._fails[some[0].table] += isinstance(error, Offline)
            sending.refused.update((event.seq, str(error)) for event in some)

    def _update(self, there: _There, part: list[Stored], sending: _Sending) -> None:
        """Send the session's own fields when they changed; its end only after everything before it."""
        marks = [row.seq for row in part if row.kind in _MILESTONES]
        is_newest = analytics.totals(self._source, there.id).last_seq <= part[-1].seq
        if not (marks or is_newest):
            return
        fields = self._fields(there.id, ended=is_newest or any(row.kind == "end" for row in part))
        if fields == there.sent or not (marks or fields["end_timestamp"]):
            return
        try:
            self._api.update(there, fields)
        except (Refused, TooLarge) as error:
            sending.refused.update((seq, str(error)) for seq in marks)
        else:
            there.sent = fields

    def _fields(self, session: bytes, *, ended: bool) -> dict[str, Any]:
        """Return all fields of a session itself, as the service deletes those that are left out."""
        seen = Snapshot(self._source, self._folder, session)
        figures, standing, video = seen.totals, seen.standing, seen.story.video
        over = ended and standing.state in _STATES
        is_address = isinstance(video, str) and video.startswith(("http://", "https://"))  # a file is not sent
        fields = {
            "session_id": dashed(session),
            "init_timestamp": iso(figures.first_ns),
            "end_timestamp": iso(figures.last_ns) if over else None,
            "end_state": _STATES[standing.state] if over else "Indeterminate",
            "end_state_reason": standing.reason if over and self._content else None,
            "tags": seen.story.tags,
            "video": video if self._content and is_address else None,
            "host_env": seen.story.host_env,
        }
        return {name: storable(value) for name, value in fields.items()}


class _Sending:
    """The state of a batch while it is sent."""

    def __init__(self, taken: Sequence[Stored]) -> None:
        self.opened = {row.id: row for row in taken if row.phase == rows.OPEN}
        self.refused: dict[int, str] = {}
        self.stored = 0
        self.failed: list[tuple[_There, Sequence[Outgoing], Trouble]] = []  # requests that failed the first time


def _is_transient(error: Trouble) -> bool:
    """Return whether a failure has nothing to do with what was sent."""
    return isinstance(error, Offline) and (isinstance(error, Busy) or not error.answered)


def _by_session(taken: Sequence[Stored]) -> dict[bytes, list[Stored]]:
    """Return the rows of each session, without those of the journal itself, which AgentOps has no place for."""
    parts: dict[bytes, list[Stored]] = {}
    for row in taken:
        if row.session != rows.NO_SESSION:
            parts.setdefault(row.session, []).append(row)
    return parts


def _chunks(events: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Yield as many events at a time as go into one request."""
    chunk: list[Outgoing] = []
    size = 0
    for event in events:
        if chunk and (len(chunk) == EVENTS or size + len(event.body) > BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += len(event.body)
    if chunk:
        yield chunk


def _id(text: object) -> bytes | None:
    try:
        return uuid.UUID(str(text)).bytes
    except ValueError:
        return None
