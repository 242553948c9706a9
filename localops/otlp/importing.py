"""Spans of files of OTLP as the rows of sessions.

The file is read twice, so that it need not be held: first for which session each trace belongs to, and what is around
each span; then for the rows.  A row's id is made from those of its trace and span, or is the one that localops sent, so
an import can be repeated, and one of a file that has grown adds what is new.
"""

from __future__ import annotations

import uuid
from itertools import islice

from localops import facets
from localops.coding.importing import Report, files
from localops.coding.seen import Seen
from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.stored import Stored
from localops.otel import mapping, names
from localops.otlp.documents import attributes_of, field, id_bytes, read, whole
from localops.recording import events
from localops.recording.events import ErrorEvent, LLMEvent
from localops.recording.recorder import COPY
from localops.transfer import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.coding.recording import Project
    from localops.journal.rows import Row
    from localops.otel.mapping import Reading
    from localops.otlp.documents import Found
    from localops.recording.writer import Writer

_SPACE = uuid.UUID("8d7a9f6e-2f54-5d0b-9f0c-6c1f2a1d7e55")
_STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}
_STATES = {"OK": "Success", "ERROR": "Failure"}
_END_STATES = {"success": "Success", "failure": "Failure", "fail": "Failure", "indeterminate": "Indeterminate"}
_AT_ONCE = 1_000  # rows that are written together
_MOST_HELD = 8 << 20  # characters of the bodies of such rows
_MOST_PROBLEMS = 1_000  # that are kept
_DEEPEST = 50  # spans around one among which its agent is searched
_REQUEST = "prompt system_instructions tool_definitions stream thread_id".split()
_ANSWER = "completion tool_calls finish_reason response_id response_model time_to_first_token".split()
# The attributes by which the traces of one session know each other, the strongest first.
_TOGETHER = ("session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id")
_KINDS = tuple(name for name, (known, _) in names.FIELDS.items() if known == "kind")


def take(project: Project, top: str) -> Report:
    """Import a file of OTLP JSON, or every such file below a folder."""
    report, seen = Report(), Seen(project)
    for path in files(top, (".json", ".jsonl")):
        if seen.are_current([path]):
            report.unchanged += 1
            continue
        problems = len(report.problems)
        report.files += 1
        _File(project, path, report).take()
        if len(report.problems) == problems:
            seen.add([path])
    seen.save()
    return report


class _Outline:
    """When a trace or a session began and ended, what it is called, and how it ended."""

    __slots__ = ("ends", "is_gone", "name", "rank", "starts", "state", "together")

    def __init__(self) -> None:
        self.starts, self.ends = 1 << 63, 0
        self.name: str | None = None
        self.rank = 0  # how well its name is known: 2 by a root, of which the first counts
        self.state: str | None = None  # as the root that ended last says
        self.together: tuple[int, object] = (10, None)  # what a trace knows the others of its session by
        self.is_gone = False

    def add(self, rank: int, name: str | None, starts: int, ends: int, state: str | None) -> None:
        """Take in a span, or a trace."""
        if rank > self.rank or (rank == self.rank and starts < self.starts):
            self.name, self.rank = name, rank
        self.starts = min(self.starts, starts)
        if ends >= self.ends and rank == 2:
            self.state = state
        self.ends = max(self.ends, ends)


class _Span:
    """A span of a file, with what every step needs of it."""

    __slots__ = ("around", "attributes", "end", "id", "key", "parent", "source", "start", "trace")

    def __init__(self, source: Found) -> None:
        span = source.span
        trace, id = id_bytes(field(span, "traceId"), 16), id_bytes(field(span, "spanId"), 8)
        if trace is None or id is None:
            raise ValueError("invalid span: expected a traceId of 16 bytes and a spanId of 8, in hex")
        start, end = whole(field(span, "startTimeUnixNano")), whole(field(span, "endTimeUnixNano"))
        if start is None or not 0 < start < 1 << 62:
            raise ValueError("invalid span: expected startTimeUnixNano in nanoseconds since 1970")
        self.source, self.trace, self.id, self.start = source, trace, id, start
        self.end = end if end is not None and start <= end < 1 << 62 else start
        parent = id_bytes(field(span, "parentSpanId"), 8)
        self.around = parent if parent != id else None
        # The ids of spans alone need not differ between traces.
        self.key = hash(trace + id)
        self.parent = hash(trace + self.around) if self.around is not None else None
        self.attributes = attributes_of(span)

    @property
    def row(self) -> bytes:
        """Return the id of its row."""
        return _row_id(self.trace, self.id)

    @property
    def is_root(self) -> bool:
        """Return whether nothing is around it."""
        return self.parent is None


class _File:
    def __init__(self, project: Project, path: str, report: Report) -> None:
        self._project, self._path, self._report = project, path, report
        self._session_of: dict[bytes, bytes] = {}  # by trace
        self._sessions: dict[bytes, _Outline] = {}
        self._around: dict[int, int] = {}  # the span around each
        self._agents: dict[int, bytes] = {}  # the rows of those that are agents
        self._calls: set[int] = set()
        self._answers: set[tuple[bytes, object]] = set()  # the responses that were counted
        self._errors: set[tuple[bytes, object]] = set()  # what went wrong, by trace: an exception passes many spans
        self._writers: dict[bytes, Writer] = {}
        self._rows: list[tuple[Row, str]] = []
        self._size = 0  # characters of their bodies
        self._with_rows: set[bytes] = set()
        self._is_second = False

    def take(self) -> None:
        """Write what is not here yet."""
        traces: dict[bytes, _Outline] = {}
        for span in self._spans():
            self._look(span, traces.setdefault(span.trace, _Outline()))
        self._gather(traces)
        self._is_second = True
        for span in self._spans():
            for row in self._rows_of(span):
                self._add(row, span.source.place)
        self._write()
        self._report.sessions += len(self._with_rows)
        ended = (row for session in sorted(self._with_rows) for row in self._begin_and_end(session))
        while made := list(islice(ended, _AT_ONCE)):
            self._report.rows += self._project.journal.add(made)

    def _spans(self) -> Iterator[_Span]:
        for source in read(self._path, self._problem):
            try:
                yield _Span(source)
            except ValueError as error:
                self._problem(f"{source.place}: {error}")

    def _problem(self, text: str) -> None:
        # Each time the file is read it has the same problems.
        if self._is_second and len(self._report.problems) < _MOST_PROBLEMS:
            self._report.problems.append(text)

    # First: which session each trace belongs to, and what is around each span

    def _look(self, span: _Span, trace: _Outline) -> None:
        """Remember which session a trace says it belongs to; the strongest word counts, and of equal ones the first."""
        attributes = span.attributes
        is_agentops = span.is_root and attributes.get("agentops.span.kind") == "session"
        if is_agentops or "localops.event.id" in attributes or "localops.session.id" in attributes:
            word: tuple[int, object] = (0, None)  # the id of the trace is that of the session
        else:
            words = ((rank, attributes.get(name)) for rank, name in enumerate(_TOGETHER, 1))
            word = next((each for each in words if each[1]), (9, None))
        if word[0] < trace.together[0]:
            trace.together = word
        name = field(span.source.span, "name")
        declared = str(attributes.get("agentops.session.end_state", "")).lower()
        state = _END_STATES.get(declared) or _STATES.get(_STATUS.get(_code(span), ""))
        trace.add(2 if span.is_root else 1, name if isinstance(name, str) else None, span.start, span.end, state)
        if span.parent is not None:
            self._around[span.key] = span.parent
        kinds = {names.KINDS.get(str(attributes[each]).lower()) for each in _KINDS if each in attributes}
        if "agent" in kinds:
            self._agents[span.key] = span.row
        elif "llm" in kinds:
            self._calls.add(span.key)

    def _gather(self, traces: dict[bytes, _Outline]) -> None:
        """Put the traces of each session together."""
        for id, trace in traces.items():
            rank, value = trace.together
            session = self._session_of[id] = id if rank in (0, 9) else _session_id(value)
            if session not in self._sessions:
                known = self._sessions[session] = _Outline()
                known.is_gone = self._project.journal.one("gone", session=session) is not None
                self._report.gone += known.is_gone
            self._sessions[session].add(trace.rank, trace.name, trace.starts, trace.ends, trace.state)

    # Then: the rows

    def _rows_of(self, span: _Span) -> Iterator[Row]:
        session = self._session_of[span.trace]
        if self._sessions[session].is_gone:
            return
        reading = _reading(span)
        if reading.row is not None and (reading.ours.get("id") or reading.ours.get("session")):
            yield from self._own_rows(span, reading, session)
        else:
            yield from self._foreign_rows(span, reading, session)

    def _writer(self, session: bytes) -> Writer:
        if session not in self._writers:
            if len(self._writers) > 1_000:
                self._writers.clear()
            self._writers[session] = self._project.writer(session)
        return self._writers[session]

    def _own_rows(self, span: _Span, reading: Reading, session: bytes) -> Iterator[Row]:
        """Yield the row that localops has sent as this span; of a session, those of its start and its end."""
        writer, row, ours = self._writer(session), dict(reading.row or {}), reading.ours
        body = {key.removeprefix("body."): value for key, value in row.items() if key.startswith("body.")}
        tags = writer.tags_text(row.get("tags"))
        if not ours.get("id"):
            yield from _own_session(writer, span, row.get("name"), tags, body)
            return
        at, start, end = _own_times(span, ours)
        cost = row.get("cost")
        yield rows.make(
            writer.text(row.get("kind") or "operation", 64),
            session,
            id=events.to_id(ours["id"]),
            phase=rows.OPEN if ours.get("phase") else rows.DONE,
            at_ns=at,
            name=writer.text(row["name"]) if row.get("name") is not None else None,
            parent=events.to_id(ours["parent"]) if ours.get("parent") else None,
            agent=events.to_id(ours["agent"]) if ours.get("agent") else None,
            start_ns=start,
            end_ns=end,
            model=writer.text(row["model"], 256) if row.get("model") is not None else None,
            tokens=[row.get(name) for name in ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning")],
            cost=cost if isinstance(cost, int) else None,
            failed=row.get("failed") if not ours.get("phase") else None,
            tags=tags,
            body=writer.encode(body) if body else None,
        )

    def _foreign_rows(self, span: _Span, reading: Reading, session: bytes) -> Iterator[Row]:
        """Yield the row of a span, and that of the error that it failed with."""
        id = span.row
        if self._project.has(id):
            return
        writer = self._writer(session)
        parent = _row_id(span.trace, span.around) if span.around is not None else None
        agent = self._agent(span)
        fields = {**reading.fields, "span_id": span.id.hex()}
        if span.is_root:
            fields["trace_id"] = span.trace.hex()
        if span.source.scope:
            fields["scope"] = span.source.scope
        kind = events.operation_kind(reading.kind)
        if kind == "llm" and not self._counts(span, reading, session):
            kind = COPY
        head = (id, kind, writer.text(reading.name), parent, agent, span.start)
        conversation = reading.fields.get("thread_id", reading.fields.get("session_id"))
        named = facets.tags(reading.fields.get("user_id"), conversation)
        tags = writer.tags_text(facets.inherited(reading.tags, named)) if reading.tags or named else None
        if kind == "llm":
            call = LLMEvent(**{name: fields.pop(name, None) for name in _REQUEST}, **reading.figures)
            for name in _ANSWER:
                setattr(call, name, fields.pop(name, None))
            measures, about = writer.call_measures(call, span.end, unbilled=reading.failed and not _has_usage(reading))
            fields = {**call.request(), **call.reply(), **fields, **about}
            yield writer.closing(head, span.end, fields, tags=tags, failed=reading.failed, measures=measures)
        else:
            figures = {name: value for name, value in reading.figures.items() if value is not None}
            cost = figures.pop("cost", None) if kind == "tool" else None
            fields |= figures
            yield writer.closing(head, span.end, fields, cost, tags, failed=reading.failed)
        yield from self._error_rows(span, reading, writer, head)

    def _counts(self, span: _Span, reading: Reading, session: bytes) -> bool:
        """Return whether an LLM call counts: one in another is the same, and so is one with the same response."""
        if span.parent is not None and span.parent in self._calls:
            return False
        answer = reading.fields.get("response_id")
        if answer is None:
            return True
        is_first = (session, answer) not in self._answers
        self._answers.add((session, answer))
        return is_first

    def _agent(self, span: _Span) -> bytes | None:
        """Return the agent that a span happened in."""
        if span.key in self._agents:
            return None
        around = span.parent
        for _ in range(_DEEPEST):
            if around is None:
                return None
            if around in self._agents:
                return self._agents[around]
            around = self._around.get(around)
        return None

    def _error_rows(self, span: _Span, reading: Reading, writer: Writer, head: Any) -> Iterator[Row]:
        """Yield the row of an error, where it is the first span of its trace that failed with it."""
        error = reading.errors[-1] if reading.failed and reading.errors else None
        if error is None:
            return
        news = (span.trace, error.message or error.type)
        if news in self._errors:
            return
        self._errors.add(news)
        word = (error.type or "Error").rpartition(".")[2]
        event = ErrorEvent(error_type="Error" if word == "_OTHER" else word or "Error", details=error.message, logs="")
        event.logs = error.stack
        yield writer.operation_error(head, event, uuid.uuid5(uuid.UUID(bytes=head[0]), "error").bytes, span.end)

    def _add(self, row: Row, place: str) -> None:
        whole_row = rows.whole(row)
        self._rows.append((whole_row, place))
        self._size += len(whole_row[-1] or "")
        if len(self._rows) >= _AT_ONCE or self._size >= _MOST_HELD:
            self._write()

    def _write(self) -> None:
        """Write the rows that can be stored, and tell of the others."""
        gathered, self._rows, self._size = self._rows, [], 0
        valid = []
        for row, place in gathered:
            try:
                validation.check_rows([Stored(0, *row)])
            except ValueError as error:
                self._problem(f"{place}: {error}")
            else:
                valid.append(row)
        index = rows.COLUMNS.index("session")
        added = self._project.journal.add(valid)
        self._report.rows += added
        if added:
            self._with_rows.update(row[index] for row in valid)

    def _begin_and_end(self, session: bytes) -> Iterator[Row]:
        """Yield the start of a session that is new, and where its spans end now; a later import goes on from there."""
        known = self._sessions[session]
        journal, writer = self._project.journal, self._writer(session)
        begun = stored.one(journal, session, rows.DONE)
        if begun is None:
            name = writer.text(known.name, 256) if known.name else None
            yield rows.whole(writer.note("session", session, known.starts, fields={"imported": 1}, name=name))
        elif begun.parent is not None or not encode.loads(begun.body or "{}").get("imported"):
            return  # it was recorded here, and ends by itself
        last = journal.one("last_ns", session=session)
        at = max(known.ends, (last and last[0]) or 0)
        body = encode.dumps({"reason": "imported; its spans end here", "derived": 1}).decode()
        id = uuid.uuid5(uuid.UUID(bytes=session), f"end at {at}").bytes
        yield rows.make("end", session, id=id, at_ns=at, name=known.state or "Indeterminate", body=body)


def _reading(span: _Span) -> Reading:
    """Return what a span says."""
    source = span.source.span
    status = field(source, "status")
    message = status.get("message") if isinstance(status, dict) else None
    moments = field(source, "events")
    links = field(source, "links")
    return mapping.read(
        field(source, "name", "unnamed"),
        {name: tuple(value) if isinstance(value, list) else value for name, value in span.attributes.items()},
        scope=span.source.scope,
        events=[
            (str(each.get("name", "")), whole(field(each, "timeUnixNano")), attributes_of(each))
            for each in (moments if isinstance(moments, list) else [])
            if isinstance(each, dict)
        ],
        status=_STATUS.get(_code(span), "UNSET"),
        message=message if isinstance(message, str) and message else None,
        start_ns=span.start,
        links=[_link(each) for each in (links if isinstance(links, list) else []) if isinstance(each, dict)],
    )


def _link(link: dict[str, Any]) -> dict[str, Any]:
    about = attributes_of(link)
    ids = {"trace_id": field(link, "traceId"), "span_id": field(link, "spanId")}
    return {**ids, **({"attributes": about} if about else {})}


def _code(span: _Span) -> int:
    status = field(span.source.span, "status")
    code = status.get("code") if isinstance(status, dict) else None
    if isinstance(code, str):
        return {"STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}.get(code, 0)
    return code if isinstance(code, int) else 0


def _has_usage(reading: Reading) -> bool:
    return any(reading.figures.get(name) for name in ("prompt_tokens", "completion_tokens", "cost"))


def _own_times(span: _Span, ours: dict[str, Any]) -> tuple[int, int | None, int | None]:
    """Return when a row was recorded, and when it began and ended where that was given."""
    given = ours.get("at")
    try:
        at, start, end = encode.loads(given) if isinstance(given, str) else (span.end, span.start, None)
    except (ValueError, TypeError):
        at, start, end = span.end, span.start, None
    if given is None and start == at:
        start = None
    return at, start, end


def _own_session(writer: Writer, span: _Span, name: object, tags: str | None, body: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a session that localops has sent: its start, metadata, video and end."""
    session = writer.session
    start: dict[str, object] = {"imported": 1, **({"params": body["params"]} if "params" in body else {})}
    title = writer.text(name, 256) if name is not None else None
    yield writer.note("session", session, span.start, fields=start, name=title, tags=tags)
    named = uuid.UUID(bytes=session)
    for key, value in body.items():
        prefix = "trace.metadata" if key == "metadata" else key.removeprefix("metadata of ")
        if isinstance(value, dict) and (key == "metadata" or prefix != key):
            id = uuid.uuid5(named, f"metadata {prefix} at {span.end}").bytes
            yield writer.note("metadata", id, span.end, fields={"prefix": prefix, "metadata": value})
    if "video" in body:
        yield writer.note(
            "video", uuid.uuid5(named, f"video {span.end}").bytes, span.end, fields={"video": body["video"]}
        )
    state = body.get("state")
    fields: dict[str, object] = {key: body[key] for key in ("reason", "returns") if body.get(key) is not None}
    name = state if state in _END_STATES.values() else "Indeterminate"
    yield writer.note("end", uuid.uuid5(named, f"end {span.end}").bytes, span.end, fields=fields, name=str(name))


def _session_id(value: object) -> bytes:
    """Return the id of the session that traces name: the one they give, where that is a UUID."""
    text = value if isinstance(value, str) else events.describe(value)
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return uuid.uuid5(_SPACE, f"session {text}".encode("utf-8", "backslashreplace").decode()).bytes


def _row_id(trace: bytes, id: bytes) -> bytes:
    """Return the id of the row of a span."""
    return uuid.uuid5(_SPACE, f"span {trace.hex()} {id.hex()}").bytes
