"""Receive spans and log records on a hub: in any order, in many requests, and some of them twice.

A trace waits for its root, at most `patience` seconds: with the root, the session, its name and its agents are known,
and which of two spans is the call of a model.  Later spans are placed by what is known of the session, which is read
from the journal if it is not in memory.  Waiting spans are on disk, too (`waiting.py`).
"""

from __future__ import annotations

import time
from collections import OrderedDict

from localops import clock
from localops.encoding import encode
from localops.encoding.todays_rules import redactor
from localops.journal import blobs, rows, stored
from localops.journal.stored import Stored
from localops.otlp import assembly, records, waiting
from localops.otlp.assembly import Assembly, Outline
from localops.otlp.records import Record
from localops.otlp.spans import Span, named_id
from localops.recording import events
from localops.transfer import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from localops.coding.recording import Project
    from localops.journal.rows import Row
    from localops.recording.writer import Writer

_MOST_TRACES = 20_000  # traces whose sessions are remembered
_MOST_SESSIONS = 1_000  # sessions whose spans are remembered
_MOST_SPANS = 50_000  # spans of all remembered sessions
_MOST_WAITING = 20_000  # waiting spans: with more, the oldest traces are stored
_MOST_HELD = 64 << 20  # about the most bytes of texts that wait
_LOGGED = 600.0  # for so many seconds after a log record with content, calls without content wait for one
_MOST_REASONS = 5
_JOINED = "log_records"  # key in the body of a span: the ids of the log records that were joined to it
OTHER = "another span is stored here under this trace and span id: it stays as it is"
_ID, _PHASE, _KIND = (rows.COLUMNS.index(name) for name in ("id", "phase", "kind"))
# What must be equal if a span is sent again; agent and tags may differ, as they depend on what was known before.
_PLACE = [rows.COLUMNS.index(name) for name in "name parent at_ns start_ns end_ns failed".split()]
_COMPARED = [*_PLACE, *(rows.COLUMNS.index(name) for name in "model tokens_in tokens_out".split())]
_BODY = rows.COLUMNS.index("body")


class Outcome:
    """The result of a request: `refused` spans or records were not stored, for `reasons`."""

    def __init__(self) -> None:
        self.rows = self.waiting = self.again = self.gone = self.refused = 0
        # The number of refused ones that contradict a stored one.
        self.conflicts = 0
        self.reasons: dict[str, None] = {}
        # Files of received spans that were scrubbed here.
        self.erased: list[str] = []

    def refuse(self, reason: str) -> None:
        """Count a span or a record that is not stored."""
        self.refused += 1
        self.conflicts += reason == OTHER
        if len(self.reasons) < _MOST_REASONS:
            self.reasons[reason] = None


class _Trace:
    """A trace that waits."""

    __slots__ = ("due", "outline", "records", "size", "spans")

    def __init__(self, due: float) -> None:
        self.due = due
        self.outline = Outline()
        self.spans: dict[bytes, Span] = {}
        self.records: dict[bytes, Record] = {}
        self.size = 0


class _Session:
    """What is known of a session that receives spans."""

    __slots__ = ("assembly", "begun", "ends_by_itself", "is_named", "resource")

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.begun = False  # whether it has a row for its start
        self.is_named = False  # whether a root has named it
        self.ends_by_itself = False  # whether localops recorded it
        self.resource: dict[str, object] | None = None


class Receiver:
    """Receives the spans of one project; only one thread at a time may use it.

    After an error a new one has to be created, as what this one remembers may not be stored.
    """

    def __init__(self, project: Project, *, patience: float) -> None:
        self.project, self.patience = project, patience
        self.journal = project.journal
        plain = encode.Encoder(redactor=redactor(project.config), max_value=1 << 30, max_event=1 << 31)
        self._spool = waiting.Spool(project.folder, plain.encode)
        self._together = project.together()
        self._session_of: OrderedDict[bytes, bytes] = OrderedDict()
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        self._traces: OrderedDict[bytes, _Trace] = OrderedDict()
        self._writers: dict[bytes, Writer] = {}
        self._logged = -_LOGGED
        self._held = self._many = 0  # what waits, in bytes and in spans
        self.written = (0, 0)  # rows so far, and bytes of their bodies
        kept = list(self._spool.read())
        for thing in kept:
            self._wait(thing, time.monotonic())
        self._weigh(kept)
        # After a crash, rows may be stored although their files were not deleted yet.
        self._find(list(self._traces))

    @property
    def due(self) -> float | None:
        """Return when the first trace will have waited long enough, by the monotonic clock; None if no trace waits."""
        return min((trace.due for trace in self._traces.values()), default=None)

    def take(self, spans: Sequence[Span], log: Sequence[Record], outcome: Outcome) -> None:
        """Store spans and records, or let them wait; either way they are on disk when this returns."""
        now = time.monotonic()
        if any(record.name in records.CONTENT for record in log):
            self._logged = now
        things: list[Span | Record] = [*log, *spans]
        new_traces = [trace for trace in dict.fromkeys(thing.trace for thing in things) if trace not in self._traces]
        self._find(new_traces)
        new_traces = [trace for trace in new_traces if trace not in self._session_of]
        ready: dict[bytes, _Trace] = {}
        fresh: list[Span | Record] = []
        for thing in things:
            trace = thing.trace
            if trace in self._session_of:
                _put(ready.setdefault(trace, _Trace(now)), thing, outcome)
            elif self._wait(thing, now, outcome):
                fresh.append(thing)
        ready |= self._ended(now, dict.fromkeys(thing.trace for thing in fresh))
        fresh = [thing for thing in fresh if thing.trace not in ready]
        self._weigh(fresh)
        outcome.waiting = len(fresh)
        self._spool.keep(fresh)
        self._store(ready, outcome, new_traces)

    def release(self) -> int:
        """Store the traces that have waited long enough; return the number of rows."""
        now = time.monotonic()
        ready = {trace: each for trace, each in self._traces.items() if each.due <= now}
        for trace in ready:
            self._take_out(trace)
        released = Outcome()
        self._store(ready, released)
        return released.rows

    # Which session

    def _find(self, traces: Collection[bytes]) -> None:
        """Look up the sessions of traces that are partly stored."""
        unknown = [trace for trace in traces if trace not in self._session_of]
        if not unknown:
            return
        marks = {_mark(trace): trace for trace in unknown}
        for id, session in self.journal.all("traces_of", ids=_hex(marks)):
            self._remember(marks[id], session)
        for (session,) in self.journal.all("known_sessions", ids=_hex(unknown)):
            if session not in self._session_of:
                self._remember(session, session)

    def _remember(self, trace: bytes, session: bytes) -> None:
        self._session_of[trace] = session
        if len(self._session_of) > _MOST_TRACES:
            self._session_of.popitem(last=False)

    def _wait(self, thing: Span | Record, now: float, outcome: Outcome | None = None) -> bool:
        """Add a span or a record to its waiting trace; return whether it is new."""
        trace = self._traces.get(thing.trace)
        if trace is None:
            trace = self._traces[thing.trace] = _Trace(now + self.patience)
        is_new = _put(trace, thing, outcome)
        self._many += is_new
        return is_new

    def _weigh(self, things: Iterable[Span | Record]) -> None:
        """Add the approximate bytes of new spans and records to those that wait."""
        for thing in things:
            size = 1_000 + sum(len(value) for value in thing.attributes.values() if type(value) is str)
            self._traces[thing.trace].size += size
            self._held += size

    def _take_out(self, trace: bytes) -> _Trace:
        each = self._traces.pop(trace)
        self._many -= len(each.spans) + len(each.records)
        self._held -= each.size
        return each

    def _ended(self, now: float, traces: Iterable[bytes]) -> dict[bytes, _Trace]:
        """Remove and return the traces that need not wait: complete ones of `traces`, and the oldest of too many."""
        ready: dict[bytes, _Trace] = {}
        for trace in traces:
            each = self._traces[trace]
            if each.outline.rank == 2 or any(map(assembly.is_own, each.spans.values())):
                if self._lacks_content(each, now):
                    each.due = min(each.due, now + self.patience / 4)
                else:
                    ready[trace] = self._take_out(trace)
        while self._traces and (self._many > _MOST_WAITING or self._held > _MOST_HELD):
            oldest = next(iter(self._traces))
            ready[oldest] = self._take_out(oldest)
        return ready

    def _lacks_content(self, trace: _Trace, now: float) -> bool:
        """Return whether a call has no content, and may still get it, as this sender sends content in log records."""
        if now - self._logged > _LOGGED:
            return False
        logged = {record.span for record in trace.records.values() if record.name in records.CONTENT}
        return any(
            "gen_ai.operation.name" in span.attributes
            and "gen_ai.request.model" in span.attributes
            and "gen_ai.input.messages" not in span.attributes
            and not span.moments
            and row not in logged
            for row, span in trace.spans.items()
        )

    # Storing

    def _store(self, ready: dict[bytes, _Trace], outcome: Outcome, new_traces: Iterable[bytes] = ()) -> None:
        """Write the rows of traces, and delete their waiting files; nothing is stored of the `new_traces` yet."""
        if not ready:
            return
        made: list[tuple[Row, Span | Record | None]] = []
        sessions: dict[bytes, list[_Trace]] = {}
        for trace, each in ready.items():
            session = self._session_of.get(trace)
            if session is None:
                session = assembly.session_of(trace, each.outline.together)
                if session != trace:
                    made.append((_link(trace, session), None))
                self._remember(trace, session)
            sessions.setdefault(session, []).append(each)
        gone = {session for (session,) in self.journal.all("gone_of", ids=_hex(sessions))}
        outcome.gone += sum(len(each.spans) + len(each.records) for session in gone for each in sessions.pop(session))
        self._recall(sessions)
        known = self._known(ready, new_traces)
        self._together.forget()
        for session, traces in sessions.items():
            made += self._rows_of(session, traces, known, outcome)
        self._write(self._searched(made), outcome)
        self._spool.release(ready)
        self._forget_some()

    def _known(self, ready: dict[bytes, _Trace], new_traces: Iterable[bytes]) -> set[bytes]:
        """Return the rows that are already stored."""
        # The id of a row follows from its trace, except in spans that localops has sent, which are marked.
        new = {trace for trace in new_traces if self._session_of.get(trace) == trace}
        ids: list[bytes] = []
        for trace, each in ready.items():
            if trace in new:
                ids += [_main_id(span) for span in each.spans.values() if span.is_marked]
            else:
                ids += map(_main_id, each.spans.values())
                ids += each.records
        return {id for (id,) in self.journal.all("known_of", ids=_hex(ids))} if ids else set()

    def _recall(self, sessions: Iterable[bytes]) -> None:
        """Read what is stored of sessions that are not in memory."""
        new = [session for session in sessions if session not in self._sessions]
        here = {session for (session,) in self.journal.all("known_sessions", ids=_hex(new))} if new else set()
        for session in new:
            self._sessions[session] = self._read(session) if session in here else _Session(Assembly(self._writer))
        for session in sessions:
            self._sessions.move_to_end(session)

    def _read(self, session: bytes) -> _Session:
        known = _Session(Assembly(self._writer))
        known.assembly.recall(session, self.journal.all("placed", session=session))
        begun = stored.one(self.journal, session, rows.DONE)
        if begun is not None:
            facts = encode.loads(begun.body or "{}")
            known.begun = True
            known.is_named = not facts.get("provisional")
            known.ends_by_itself = not facts.get("imported")
            known.resource = facts.get("resource")
        return known

    def _rows_of(
        self, session: bytes, traces: Sequence[_Trace], known: set[bytes], outcome: Outcome
    ) -> list[tuple[Row, Span | Record | None]]:
        """Return the rows of a session's new spans and records, with its start and the ends of its traces."""
        about = self._sessions[session]
        outline = Outline()
        new: list[Span] = []
        for each in traces:
            of = each.outline
            outline.add(of.rank, of.name, of.starts, of.ends, of.state, of.resource)
            outline.tags += of.tags
            for span in each.spans.values():
                if known and _main_id(span) in known:
                    self._compare(span, session, outcome)
                else:
                    new.append(span)
                    about.assembly.look(span)
            if each.records:
                self._join(each, known)
        made, ends = self._span_rows(about, session, outline, new)
        for each in traces:
            if each.records:
                made += self._record_rows(session, each, known, outcome)
        return made + ends

    def _span_rows(
        self, about: _Session, session: bytes, outline: Outline, new: Sequence[Span]
    ) -> tuple[list[tuple[Row, Span | Record | None]], list[tuple[Row, Span | Record | None]]]:
        """Return the rows of new spans of a session, with its start; and separately, the rows of its ends."""
        made: list[tuple[Row, Span | Record | None]] = []
        ends: list[tuple[Row, Span | Record | None]] = []
        readings = [span.read() for span in new]
        ours = [bool(reading.ours) and assembly.is_ours(reading) for reading in readings]
        if new and not any(ours):
            made += ((row, None) for row in self._begin(about, session, outline))
        rows_of, resource = about.assembly.rows_of, about.resource
        for span, reading, is_ours in zip(new, readings, ours, strict=True):
            if not is_ours and resource is not None and span.resource is not resource and span.resource != resource:
                reading.fields["resource"] = span.resource
            made += [(row, span) for row in rows_of(span, reading, session)]
            if span.around is None and not is_ours and not about.ends_by_itself:
                ends.append((self._end(span, session), span))
        return made, ends

    def _join(self, trace: _Trace, known: set[bytes]) -> None:
        """Add the content in log records to their spans, if these are about to be stored."""
        for row, record in list(trace.records.items()):
            span = trace.spans.get(record.span) if record.span is not None else None
            if span is not None and record.name in records.CONTENT and _main_id(span) not in known:
                span.moments = [*span.moments, record.moment]
                # Noted there, as the record gets no row by which it could be recognised when it is sent again.
                joined = (span.beside or {}).get(_JOINED, [])
                span.beside = {**(span.beside or {}), _JOINED: [*joined, record.row.hex()]}
                del trace.records[row]

    def _record_rows(
        self, session: bytes, trace: _Trace, known: set[bytes], outcome: Outcome
    ) -> Iterator[tuple[Row, Record]]:
        """Yield the rows of new records that were not joined to a span."""
        writer = self._writer(session)
        for record in trace.records.values():
            if record.row in known or self._is_joined(record):
                outcome.again += 1
            else:
                yield record.as_row(writer), record

    def _is_joined(self, record: Record) -> bool:
        """Return whether a record was joined to the stored row of its span."""
        if record.span is None or record.name not in records.CONTENT:
            return False
        here = stored.one(self.journal, record.span, rows.DONE)
        return here is not None and record.row.hex() in encode.loads(here.body or "{}").get(_JOINED, ())

    def _begin(self, about: _Session, session: bytes, outline: Outline) -> Iterable[Row]:
        """Return the start row of a session, or, if that exists, a row for the name that a root gives it."""
        is_named = outline.rank == 2
        if about.begun and (about.is_named or not is_named):
            return ()
        row = assembly.start_row(self._writer(session), outline, more=None if is_named else {"provisional": 1})
        if about.begun:
            _, *columns, _, body = rows.whole(row)
            row = rows.seal((named_id("root", session), *columns), body)
        else:
            about.resource = outline.resource
        about.begun, about.is_named = True, is_named
        return (row,)

    def _end(self, root: Span, session: bytes) -> Row:
        """Return the row of the session's end from its root."""
        fields: dict[str, object] = {"reason": root.message or "the root span of its trace ended", "imported": 1}
        name = assembly.state_of(root) or "Indeterminate"
        id = named_id(f"end of {root.row.hex()}", session)
        return self._writer(session).note("end", id, root.end, fields=fields, name=name)

    def _compare(self, span: Span, session: bytes, outcome: Outcome) -> None:
        """Count a span that is already stored; refuse it if the stored one differs."""
        here = stored.one(self.journal, _main_id(span), rows.DONE)
        made = map(rows.whole, Assembly(self.project.writer).rows_of(span, span.read(), session))
        sent = next(made)
        if sent[_PHASE] != rows.DONE:
            sent = next(made, sent)
        if here is None or sent[_PHASE] != rows.DONE or not _differs(here.bare, sent):
            outcome.again += 1
        elif self.journal.all("scrubbed_from", low=here.id[:6], high=here.id[:6] + b"\xff" * 10, event=here.id):
            # The span has the row from before a scrub: what was removed, and its files, are not stored again.
            outcome.again += 1
            outcome.erased += blobs.named([sent[_BODY]])
        else:
            outcome.refuse(OTHER)

    def _searched(self, made: list[tuple[Row, Span | Record | None]]) -> list[tuple[Row, Span | Record | None]]:
        """Return rows without their secrets."""
        clean = self._together.searched()
        if not clean:
            return made
        return [(rows.cleaned(row, clean), thing) for row, thing in made]

    def _write(self, made: Sequence[tuple[Row, Span | Record | None]], outcome: Outcome) -> None:
        """Write the rows that can be stored, and refuse the others."""
        valid = [rows.with_counts_if_known(row) for row, _ in made]
        try:
            validation.check_bare(valid)
        except ValueError:
            valid = [rows.with_counts_if_known(row) for row in _valid(made, outcome)]
        added = self.journal.add(valid)
        outcome.rows += added
        if added:
            size = sum(map(_size, valid))
            self.written = (self.written[0] + added, self.written[1] + size * added // len(valid))

    def _writer(self, session: bytes) -> Writer:
        writer = self._writers.get(session)
        if writer is None:
            if len(self._writers) > _MOST_SESSIONS:
                self._writers.clear()
            writer = self._writers[session] = self.project.writer(session, self._together)
        return writer

    def _forget_some(self) -> None:
        spans = sum(len(each.assembly.around) for each in self._sessions.values())
        while len(self._sessions) > 1 and (len(self._sessions) > _MOST_SESSIONS or spans > _MOST_SPANS):
            spans -= len(self._sessions.popitem(last=False)[1].assembly.around)


def _put(trace: _Trace, thing: Span | Record, outcome: Outcome | None) -> bool:
    """Add a span or a record to its trace; return whether it is new."""
    if isinstance(thing, Record):
        if thing.row in trace.records:
            if outcome is not None:
                outcome.again += 1
            return False
        trace.records[thing.row] = thing
        trace.outline.together = min(trace.outline.together, assembly.named_together(thing.attributes), key=_rank)
        return True
    before = trace.spans.get(thing.row)
    if before is not None:
        if outcome is not None and _is_other(before, thing):
            outcome.refuse(OTHER)
        elif outcome is not None:
            outcome.again += 1
        return False
    trace.spans[thing.row] = thing
    trace.outline.look(thing)
    return True


def _size(row: Row) -> int:
    """Return the bytes of the body of a whole row."""
    body = row[_BODY] or ""
    return len(body) if body.isascii() else len(body.encode())


def _rank(together: tuple[int, object]) -> int:
    return together[0]


def _is_other(before: Span, span: Span) -> bool:
    names = ("name", "around", "start", "end", "attributes", "code", "message")
    return any(getattr(before, name) != getattr(span, name) for name in names)


def _differs(here: Row, sent: Row) -> bool:
    # Whether a call counts as a copy depends on what was received before.
    is_same_kind = here[_KIND] == sent[_KIND]
    if any(here[column] != sent[column] for column in (_COMPARED if is_same_kind else _PLACE)):
        return True
    # Log records may have added content to a call.
    return is_same_kind and here[_KIND] != "llm" and _content(here) != _content(sent)


def _content(row: Row) -> dict[str, object]:
    body: dict[str, object] = encode.loads(row[_BODY] or "{}")
    return {name: value for name, value in body.items() if name not in ("resource", "events", _JOINED)}


def _valid(made: Iterable[tuple[Row, Span | Record | None]], outcome: Outcome) -> Iterable[Row]:
    """Yield the rows that can be stored; refuse each span with a row that cannot."""
    refused: set[int] = set()
    for row, thing in made:
        if id(thing) in refused:
            continue
        try:
            validation.check_rows([Stored(0, *rows.whole(row))])
        except ValueError as error:
            if thing is not None:
                refused.add(id(thing))
                outcome.refuse(str(error))
        else:
            yield row


def _main_id(span: Span) -> bytes:
    """Return the id of the row of a span; for a span of ours, the id of its original row."""
    own = span.attributes.get("localops.event.id")
    return events.to_id(own) if isinstance(own, str) and own else span.row


def _mark(trace: bytes) -> bytes:
    return named_id(f"trace {trace.hex()}")


def _link(trace: bytes, session: bytes) -> Row:
    """Return the row that assigns a trace to its session; it is about the journal itself."""
    body = encode.dumps({"trace_id": trace.hex()}).decode()
    return rows.make(
        "journal", rows.NO_SESSION, id=_mark(trace), at_ns=clock.now_ns(), name="trace", parent=session, body=body
    )


def _hex(ids: Iterable[bytes]) -> str:
    return encode.dumps([id.hex() for id in ids]).decode()
