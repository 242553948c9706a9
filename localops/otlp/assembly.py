"""Make rows of spans: find the session of a trace, the parent of a span, the calls that count, and the new errors.

An `Assembly` sees spans (`look`) before it makes their rows (`rows_of`): the more it has seen of a trace, the more it
knows.  An import of files sees all spans first; a hub, those that have arrived so far.
"""

from __future__ import annotations

import uuid

from localops.encoding import encode, facets
from localops.journal import rows
from localops.otel import names
from localops.otel.span_values import tag_list
from localops.otlp import call_rows, step_rows
from localops.otlp.process_rows import Processes
from localops.otlp.spans import SPACE, TOGETHER
from localops.reading.missing_steps import ONCE_ROWS
from localops.recording import events
from localops.recording.events import ErrorEvent
from localops.recording.recorder import COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from localops.journal.rows import Row
    from localops.otel.mapping import Reading
    from localops.otlp.spans import Span
    from localops.recording.writer import Writer

_STATES = {"OK": "Success", "ERROR": "Failure"}
_END_STATES = {"success": "Success", "failure": "Failure", "fail": "Failure", "indeterminate": "Indeterminate"}
_DEEPEST = 50  # the most spans around one that are searched for its agent
SPANS_END = "imported; its spans end here"  # the reason of an end that no span states
_KINDS = tuple(name for name, (known, _) in names.FIELDS.items() if known == "kind")
_SYSTEM = {"Hostname": "host.name", "OS": "os.type", "OS Version": "os.version"}
_TOGETHER = frozenset(TOGETHER)
_AT = "localops.event.at"
_OWN, _UNNAMED = 0, 9  # the strongest statement, that the trace itself is a session; no statement

_NOTHING: tuple[int, object] = (_UNNAMED, None)


class Outline:
    """When a trace or a session began and ended, what it is called, and how it ended."""

    __slots__ = ("ends", "is_gone", "name", "rank", "resource", "starts", "state", "tags", "together")

    def __init__(self) -> None:
        self.starts, self.ends = 1 << 63, 0
        self.name: str | None = None
        self.rank = 0  # of the name's source: 2 is a root, and of several roots the first counts
        self.state: str | None = None  # according to the root that ended last
        self.together: tuple[int, object] = (10, None)  # what it has in common with other traces of its session
        self.is_gone = False
        self.resource: dict[str, Any] = {}  # of the span that gave the name
        self.tags: tuple[Any, ...] = ()  # of the session, from roots of AgentOps

    def look(self, span: Span) -> None:
        """Add a span of the trace; of statements about the session the strongest counts, of equal ones the first."""
        together, ends = _NOTHING, span.end
        if span.is_marked:
            together, ends = together_of(span), _recorded_at(span)
        if together[0] < self.together[0]:
            self.together = together
        name = span.name if isinstance(span.name, str) else None
        if span.around is None:
            if span.is_marked:
                self.tags += tuple(tag_list(span.attributes.get("agentops.tags")) or ())
            self.add(2, name, span.start, ends, state_of(span), span.resource)
        elif self.rank == 2:
            # Only the times are of interest once the root is known.
            self.starts, self.ends = min(self.starts, span.start), max(self.ends, ends)
        else:
            service = span.resource.get("service.name")
            name = service if isinstance(service, str) and service else name
            self.add(1, name, span.start, ends, None, span.resource)

    def add(
        self, rank: int, name: str | None, starts: int, ends: int, state: str | None, resource: dict[str, Any]
    ) -> None:
        """Add a span or a trace."""
        if rank > self.rank or (rank == self.rank and starts < self.starts):
            self.name, self.rank, self.resource = name, rank, resource
        self.starts = min(self.starts, starts)
        if ends >= self.ends and rank == 2:
            self.state = state
        self.ends = max(self.ends, ends)


def together_of(span: Span) -> tuple[int, object]:
    """Return what a span states about the session of its trace, as rank and value; a lower rank counts more."""
    is_agentops = span.is_root and span.attributes.get("agentops.span.kind") == "session"
    if is_agentops or is_own(span):
        return (_OWN, None)
    return named_together(span.attributes)


def named_together(attributes: dict[str, Any]) -> tuple[int, object]:
    """Return the session that attributes name, as rank and value; a lower rank counts more."""
    if _TOGETHER.isdisjoint(attributes):
        return _NOTHING
    for rank, name in enumerate(TOGETHER, 1):
        if value := attributes.get(name):
            return (rank, value)
    return _NOTHING


def _recorded_at(span: Span) -> int:
    """Return the time up to which a span extends its session; a span of ours may end later, as that of a score does."""
    if _AT not in span.attributes:
        return span.end
    return min(span.end, _own_times(span, {"at": span.attributes[_AT]})[0])


def is_own(span: Span) -> bool:
    """Return whether localops has sent this span."""
    return span.is_marked and ("localops.event.id" in span.attributes or "localops.session.id" in span.attributes)


def state_of(span: Span) -> str | None:
    """Return the end state of a session from its root span, if that has one."""
    if not span.is_marked:
        return _STATES.get(span.status)
    declared = str(span.attributes.get("agentops.session.end_state", "")).lower()
    return _END_STATES.get(declared) or _STATES.get(span.status)


def session_of(trace: bytes, together: tuple[int, object]) -> bytes:
    """Return the id of the session of a trace: the trace's own id, or the one that its spans name."""
    rank, value = together
    if not _OWN < rank < _UNNAMED:
        return trace
    text = value if isinstance(value, str) else events.describe(value)
    try:
        given = uuid.UUID(text).bytes
    except ValueError:
        given = rows.NO_SESSION
    if given != rows.NO_SESSION:
        return given
    return uuid.uuid5(SPACE, f"session {text}".encode("utf-8", "backslashreplace").decode()).bytes


class Assembly:
    """Makes the rows of spans, using what it knows from the spans that it has seen."""

    def __init__(self, writer: Callable[[bytes], Writer]) -> None:
        self._writer = writer
        self.around: dict[bytes, bytes] = {}  # the span around each span, by the ids of their rows
        self.agents: set[bytes] = set()  # the rows that are agents
        self.calls: set[bytes] = set()  # the rows that are calls of a model
        self.around_counted: set[bytes] = set()  # the spans around a call that counts
        # By session and response: the number of counted calls of each instrumentor that have no copy yet.
        self.answers: dict[tuple[bytes, object], dict[str, int]] = {}
        self.errors: set[tuple[bytes, object]] = set()  # by trace, as an exception passes through many spans
        self.failed_inside: set[tuple[bytes, object]] = set()  # by span: the errors that happened inside it

    def recall(self, session: bytes, placed: Iterable[tuple[Any, ...]]) -> None:
        """Add what is stored of a session: the rows of the query `placed`."""
        failed: list[tuple[bytes, object]] = []
        for id, parent, kind, name, word, scope in placed:
            if kind == "error":
                failed.append((parent, word or name))
                continue
            if parent is not None:
                self.around[id] = parent
            if kind == "agent":
                self.agents.add(id)
            elif kind in ("llm", COPY):
                is_around_or_in_one = parent in self.calls or id in self.around_counted
                self.calls.add(id)
                if kind == "llm" and parent is not None:
                    self.around_counted.add(parent)
                if word is not None and (kind == "llm" or not is_around_or_in_one):
                    self._is_first(session, word, scope or name)
        for id, word in failed:
            around: bytes | None = id
            while around is not None and (around, word) not in self.failed_inside:
                self.failed_inside.add((around, word))
                around = self.around.get(around)

    def look(self, span: Span) -> None:
        """Remember the parent of a span, and whether it is an agent or a call."""
        if span.around is not None:
            self.around[span.row] = span.around
        attributes = span.attributes
        if names.NAMES.isdisjoint(attributes):
            return
        kinds = [names.KINDS.get(str(attributes[each]).lower()) for each in _KINDS if each in attributes]
        if "agent" in kinds:
            self.agents.add(span.row)
        elif "llm" in kinds:
            self.calls.add(span.row)

    def rows_of(self, span: Span, reading: Reading, session: bytes) -> Iterable[Row]:
        """Return the row of a span, with one for its error; for a session of ours, the rows of its start and end.

        The fields of the reading are used up.
        """
        if reading.row is not None and is_ours(reading):
            return self._own_rows(span, reading, session)
        return self._foreign_rows(span, reading, session)

    def _own_rows(self, span: Span, reading: Reading, session: bytes) -> Iterator[Row]:
        """Yield the row that localops has sent as this span; for a session, the rows of its start and end."""
        writer, row, ours = self._writer(session), dict(reading.row or {}), reading.ours
        body = {key.removeprefix("body."): value for key, value in row.items() if key.startswith("body.")}
        tags = writer.tags_text(row.get("tags"))
        if not ours.get("id"):
            yield from _own_session(writer, span, row.get("name"), tags, body, ours)
            return
        body, opening = step_rows.split(body, ours.get("step"))
        if opening is not None and (at := _whole(opening["at"][0])) is not None:
            times = (at, _whole(opening["at"][1]), _whole(opening["at"][2]))
            model = opening.get("model") if isinstance(opening.get("model"), str) else None
            yield _own_row(writer, row, ours, rows.OPEN, times, model, opening["body"])
        failed = row.get("failed")
        yield _own_row(
            writer,
            row,
            ours,
            rows.OPEN if ours.get("phase") else rows.DONE,
            _own_times(span, ours),
            row.get("model"),
            body,
            tokens=[_whole(row.get(name)) for name in rows.SENT_TOKENS],
            cost=_whole(row.get("cost")),
            failed=failed if not ours.get("phase") and failed in (0, 1) else None,
            tags=tags,
        )

    def _foreign_rows(self, span: Span, reading: Reading, session: bytes) -> list[Row]:
        """Return the row of a span, with the row of its error."""
        writer = self._writer(session)
        agent = self._agent(span) if self.agents else None
        fields = reading.fields
        fields["span_id"] = span.id.hex()
        if span.around is None:
            fields["trace_id"] = span.trace.hex()
        if span.scope:
            fields["scope"] = span.scope
        if span.beside:
            fields |= span.beside
        kind = events.operation_kind(reading.kind)
        if kind == "llm" and not self._counts(span, reading, session):
            kind = COPY
        head = (span.row, kind, writer.text(reading.name), span.around, agent, span.start)
        user, conversation = fields.get("user_id"), fields.get("thread_id", fields.get("session_id"))
        tags = None
        if reading.tags or user is not None or conversation is not None:
            tags = writer.tags_text(facets.inherited(reading.tags, facets.tags(user, conversation)))
        if kind == "llm":
            made = [call_rows.row(writer, span, reading, head, fields, tags)]
        elif not reading.figures:
            made = [writer.closing(head, span.end, fields, None, tags, failed=reading.failed)]
        else:
            figures = {name: value for name, value in reading.figures.items() if value is not None}
            cost = figures.pop("cost", None) if kind == "tool" else None
            fields |= figures
            made = [writer.closing(head, span.end, fields, cost, tags, failed=reading.failed)]
        if reading.failed:
            made += self._error_rows(span, reading, writer, head)
        return made

    def _counts(self, span: Span, reading: Reading, session: bytes) -> bool:
        """Return whether an LLM call counts: one inside another is the same call, as is one with the same response.

        Two calls of one instrumentor are two calls even with the same response id, which mocks and proxies may give.
        """
        self.calls.add(span.row)
        # The second case: the inner one ended, and arrived, before the outer one, and has been counted.
        if span.around in self.calls or span.row in self.around_counted:
            return False
        answer = reading.fields.get("response_id")
        if isinstance(answer, list | tuple | dict):
            # As `recall` gets it from the journal.
            answer = encode.dumps(answer).decode()
        if answer is not None and not self._is_first(session, answer, span.scope or str(span.name)):
            return False
        if span.around is not None:
            self.around_counted.add(span.around)
        return True

    def _is_first(self, session: bytes, answer: object, instrumentor: str) -> bool:
        """Count a call with this response; return False if it is the copy that another instrumentor made."""
        counted = self.answers.setdefault((session, answer), {})
        other = next((name for name, many in counted.items() if many and name != instrumentor), None)
        if other is not None:
            counted[other] -= 1
            return False
        counted[instrumentor] = counted.get(instrumentor, 0) + 1
        return True

    def _agent(self, span: Span) -> bytes | None:
        """Return the agent around a span."""
        if span.row in self.agents:
            return None
        around = span.around
        for _ in range(_DEEPEST):
            if around is None:
                return None
            if around in self.agents:
                return around
            around = self.around.get(around)
        return None

    def _error_rows(self, span: Span, reading: Reading, writer: Writer, head: Any) -> Iterator[Row]:
        """Yield the row of an error, if this is the first span of its trace that failed with it."""
        error = reading.errors[-1] if reading.failed and reading.errors else None
        if error is None:
            return
        what = error.message or error.type
        if (span.trace, what) in self.errors or (span.row, what) in self.failed_inside:
            return
        self.errors.add((span.trace, what))
        word = (error.type or "Error").rpartition(".")[2]
        event = ErrorEvent(error_type="Error" if word == "_OTHER" else word or "Error", details=error.message, logs="")
        event.logs = error.stack
        yield writer.operation_error(head, event, uuid.uuid5(uuid.UUID(bytes=head[0]), "error").bytes, span.end)


def start_row(writer: Writer, outline: Outline, *, more: dict[str, object] | None = None) -> Row:
    """Return the start row of a session that was recorded elsewhere: its name, and the resource of its spans."""
    name = writer.text(outline.name, 256) if outline.name else None
    fields: dict[str, object] = {"imported": 1, **(more or {})}
    if outline.resource:
        fields |= _host(outline.resource)
        fields["resource"] = outline.resource
    service = outline.resource.get("service.name")
    tags = [*outline.tags, *([facets.tag("service", service)] if service else ())]
    return writer.note("session", writer.session, outline.starts, fields=fields, name=name, tags=writer.tags_text(tags))


def _host(resource: dict[str, Any]) -> dict[str, object]:
    """Return the machine of a resource, as sessions that localops records have it."""
    system = {to: resource[of] for to, of in _SYSTEM.items() if isinstance(resource.get(of), str)}
    host: dict[str, object] = {"host": system["Hostname"]} if "Hostname" in system else {}
    return {**host, "host_env": {"OS": system}} if system else host


def is_ours(reading: Reading) -> bool:
    """Return whether a reading is of a span that localops has sent."""
    return reading.row is not None and bool(reading.ours.get("id") or reading.ours.get("session"))


def _own_times(span: Span, ours: dict[str, Any]) -> tuple[int, int | None, int | None]:
    """Return when a row was recorded, and when it began and ended, if that is given."""
    given = ours.get("at")
    try:
        at, start, end = encode.loads(given) if isinstance(given, str) else (span.end, span.start, None)
    except (ValueError, TypeError):
        at, start, end = span.end, span.start, None
    if given is None and start == at:
        start = None
    return _whole(at) or span.end, _whole(start), _whole(end)


def _whole(value: object) -> int | None:
    """Return a whole number that a column can hold; None for anything else, which localops does not send."""
    return value if type(value) is int and abs(value) < 1 << 62 else None


def _own_row(
    writer: Writer,
    row: dict[str, Any],
    ours: dict[str, Any],
    phase: int,
    times: tuple[int, int | None, int | None],
    model: object,
    body: dict[str, Any],
    **columns: Any,
) -> Row:
    """Return a row that localops sent as a span; `times` are when it was recorded, began and ended."""
    at, start, end = times
    return rows.make(
        writer.text(row.get("kind") or "operation", 64),
        writer.session,
        id=events.to_id(ours["id"]),
        phase=phase,
        at_ns=at,
        name=writer.text(row["name"]) if row.get("name") is not None else None,
        parent=events.to_id(ours["parent"]) if ours.get("parent") else None,
        agent=events.to_id(ours["agent"]) if ours.get("agent") else None,
        start_ns=start,
        end_ns=end,
        model=writer.text(model, 256) if model is not None else None,
        body=writer.encode(body) if body else None,
        **columns,
    )


def _own_session(
    writer: Writer, span: Span, name: object, tags: str | None, body: dict[str, Any], ours: dict[str, Any]
) -> Iterator[Row]:
    """Yield the rows of a session that localops has sent: its start, metadata, video and end."""
    session, processes = writer.session, Processes(ours.get("processes"))
    began_in, card = processes.start()
    start: dict[str, object] = {**card, "imported": 1, **({"params": body["params"]} if "params" in body else {})}
    title = writer.text(name, 256) if name is not None else None
    yield writer.note("session", session, span.start, fields=start, name=title, parent=began_in, tags=tags)
    yield from processes.rows(writer, span.end)
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
    counted: dict[str, object] = {ONCE_ROWS: ours["once_rows"]} if type(ours.get("once_rows")) is int else {}
    if processes and state not in _END_STATES.values():
        # It had no end: its state is read from its processes, as that of a session in a bundle.
        if counted:
            id = uuid.uuid5(named, f"steps {counted[ONCE_ROWS]} at {span.end}").bytes
            yield writer.note("metadata", id, span.end, fields=counted)
        return
    fields: dict[str, object] = {key: body[key] for key in ("reason", "returns") if body.get(key) is not None} | counted
    if ours.get("derived") is True:  # no program wrote this end: its processes had died, or were still running
        fields["derived"] = 1
        if state not in _END_STATES.values():
            fields["reason"] = SPANS_END
    name = state if state in _END_STATES.values() else "Indeterminate"
    id = uuid.uuid5(named, f"end {span.end}").bytes
    yield writer.note("end", id, span.end, fields=fields, name=str(name), parent=processes.left_at(span.end))
