"""Translate rows to spans: ids, times, parents and attributes.  The names of attributes are in `semconv.py`.

A session is a trace with the same id; its root span is sent with the row that ends it.  A row of finished work is a
span.  An error is a span below the one in which it happened, as a span that was sent cannot be changed.  If the error
was written near it, the failed span has its message, too, as readers look for it there.  Every id is derived from the
row's id, so a row that is sent again becomes the same span.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass, field, replace

from localops import __version__, clock
from localops.encoding import encode, facets
from localops.journal import rows, stored
from localops.otel import exact, mapping
from localops.otel.messages import completion_messages, prompt_messages, text
from localops.otlp import evaluation, process_rows, step_rows
from localops.otlp.semconv import (
    BODY,
    CREATED,
    ERROR,
    INTERNAL,
    OK,
    OTHER,
    SHAPES,
    UNSET,
    call_shape,
    completion_of,
    fits,
    maker,
    present,
)
from localops.reading import recorded_steps, session_state
from localops.reading.snapshot import Snapshot
from localops.recording.scores import KIND
from localops.recording.session import STATES
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.journal.rows import Columns
    from localops.journal.stored import Source, Stored
    from localops.otlp.semconv import Attributes, Names, Shape, Value
    from localops.reading.story import Story
    from localops.transfer.bundle import Batch

    Group = tuple[Attributes, list["Span"]]  # spans, and the resource that they come from
else:
    Columns = object

# The keys of a body for which there are special attributes; any other key is sent under its own name.
_PLACED = frozenset("params returns prompt completion provider thread_id user_id spec".split())
_IN_EXCEPTION = frozenset("details logs trigger".split())  # of an error: sent in its exception event, or as its parent
_STATUS = {UNSET: "UNSET", OK: "OK", ERROR: "ERROR"}


@dataclass(frozen=True)
class Span:
    """A span, before it is encoded."""

    trace: bytes
    id: bytes
    parent: bytes | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    status: int = UNSET
    message: str = ""
    exception: Attributes | None = None  # of the span's exception event
    result: Attributes | None = None  # of the event of a score
    judged: bytes | None = None  # the span in the same trace that it judges


@dataclass(frozen=True)
class _Failure:
    """The parts of a span that show why it failed."""

    message: str = ""
    exception: Attributes | None = None
    attributes: Attributes = field(default_factory=dict)


def span_id(row: bytes) -> bytes:
    """Return the 8 bytes of the span id for a row's id; never zero, which is invalid."""
    # A digest, as the ids that a program chooses may all end in the same 8 bytes.
    digest = hashlib.blake2b(row, digest_size=8).digest()
    return digest if any(digest) else b"\1" * 8


def check_span(folder: str) -> Group:
    """Return a span without content, in its own trace: a back end that refuses it refuses every span.

    Its ids are always the same for a project, so that a back end shows it once however often it is sent.
    """
    project = os.path.basename(folder)
    trace = hashlib.blake2b(f"localops check {project}".encode(errors="replace"), digest_size=16).digest()
    now = clock.now_ns()
    return {"service.name": project}, [Span(trace, span_id(trace), None, "localops check", INTERNAL, now, now, {})]


class Translation:
    """The spans of one batch."""

    def __init__(self, batch: Batch, source: Source, folder: str, names: Names, *, metadata_only: bool) -> None:
        self._batch, self._source, self._folder, self._names = batch, source, folder, names
        self._metadata_only = metadata_only
        self._opened = {row.id: row for row in batch.rows if row.phase == rows.OPEN}
        self._resources: dict[bytes, Attributes] = {}
        self._agents: dict[bytes, _Row | None] = {}
        self._users: dict[bytes, Attributes] = {}  # and conversations, by session

    def groups(self) -> list[Group]:
        """Return the spans by their resource, in the order of their rows."""
        by_resource: dict[str, Group] = {}
        for span in self._spans():
            resource = self._resource(span.trace)
            by_resource.setdefault(text(resource), (resource, []))[1].append(span)
        return list(by_resource.values())

    def without_end(self, seen: Snapshot) -> list[Group]:
        """Return the root of a session without an end, and the session's open operations."""
        last_ns = seen.totals.last_ns
        row = _Row(stored.Stored(0, *rows.make("end", seen.id, id=seen.id, at_ns=last_ns, name="Indeterminate")))
        standing = session_state.Standing(seen.standing.state, seen.standing.reason, last_ns, False)
        return [(self._resource(seen.id), [self._root(row, seen, standing, last_ns)]), *self.under_way(seen)]

    def under_way(self, seen: Snapshot) -> list[Group]:
        """Return the open operations of a session."""
        spans = list(self._under_way(seen, seen.totals.last_ns, _NO_END))
        return [(self._resource(seen.id), spans)] if spans else []

    def _spans(self) -> Iterator[Span]:
        ended = set()
        for each in self._batch.rows:
            row = _Row(each)
            if row.session == rows.NO_SESSION:
                continue
            if row.kind == "end" and row.session not in ended:
                ended.add(row.session)
                yield from self._end(row)
            elif row.kind == KIND and self._names.is_exact:
                yield from self._score(row)
            elif row.kind not in rows.BOOKS and row.phase == rows.DONE:
                yield self._work(row, None if _is_whole(row) else self._find(row.id, rows.OPEN))

    def _find(self, id: bytes, phase: int) -> _Row | None:
        """Return a row by its identity, from this batch or the journal, with only the content that may be sent."""
        row = self._opened.get(id) if phase == rows.OPEN else None
        row = row or stored.one(self._source, id, phase)
        return None if row is None else self._shown(row)

    def _shown(self, row: Stored) -> _Row:
        return _Row(bundle.without_content(row) if self._metadata_only else row)

    # Work

    def _work(self, row: _Row, opened: _Row | None, *, cut_ns: int | None = None, why: str = "") -> Span:
        """Return the span of a row of work; its input is in the operation's opening row.

        cut_ns: for an operation without an end, when its processes died or the records of it stop; `why` is the reason.
        """
        names = self._names
        body = {**(opened.body if opened else {}), **row.body}
        shape = call_shape(body.get("operation")) if row.kind == "llm" else _shape(row)
        title = (row.model or row.name) if shape.agentops == "llm" else row.name
        start = row.at_ns if row.start_ns is None else row.start_ns
        end = row.at_ns if row.end_ns is None else row.end_ns
        failed = row.kind == "error" or bool(row.failed) or cut_ns is not None
        failure = self._failure(row, body) if failed and cut_ns is None else _Failure()
        span = Span(
            row.session,
            span_id(row.id),
            span_id(self._parent(row)),
            names.name(shape, row.kind, title),
            shape.kind,
            *_times(start, end if cut_ns is None else max(row.at_ns, cut_ns)),
            {
                "agentops.span.kind": shape.agentops,
                **names.about(shape, row.name),
                **self._session(row.session),
                **self._agent(row),
                **(names.failed if failed else {}),
                **failure.attributes,
                **self._body_attributes(row, shape, body),
                "localops.event.id": _dashed(row.id),
                "localops.event.kind": row.kind,
            },
            ERROR if failed else names.finished,
            failure.message if cut_ns is None else why,
            failure.exception,
        )
        return self._exactly(span, row, body, opened) if names.is_exact else span

    def _exactly(self, span: Span, row: _Row, body: dict[str, Any], opened: _Row | None = None) -> Span:
        """Return a span with the place of its row, and with what its other attributes cannot express of the row."""
        at, start, end = row.at_ns, row.start_ns, row.end_ns
        where: dict[str, Any] = {
            "localops.event.parent": _dashed(row.parent) if row.parent not in (None, row.session) else None,
            "localops.event.agent": _dashed(row.agent) if row.agent is not None else None,
            "localops.event.phase": row.phase or None,
            "localops.event.step": None if self._metadata_only else step_rows.sent(opened, row),
        }
        is_plain = end is None and span.end_ns == at and span.start_ns == (at if start is None else start)
        if not is_plain or start == at or row.phase == rows.OPEN:
            where["localops.event.at"] = text([at, start, end])
        columns = {column: getattr(row, column) for column in exact.COLUMNS if column != "tags"}
        stored_tags = _json(row.tags_text)
        original = exact.row_of({**columns, "tags": stored_tags or None}, body)
        attributes = {**span.attributes, **present(where)}
        change = exact.difference(_read(replace(span, attributes=attributes)), original)
        return replace(span, attributes={**attributes, **({_EXACT: change} if change else {})})

    def _parent(self, row: _Row) -> bytes:
        """Return the id of a row's parent span: its operation, or an announced agent in the same operation.

        An announced agent has no operation of its own that could contain its work.
        """
        within = _place(row)
        agent = self._agent_row(row.agent) if row.agent is not None and row.kind != "agent" else None
        if agent is None or _shape(agent) is not CREATED or agent.session != row.session:
            return within
        return agent.id if _place(agent) == within else within

    def _session(self, id: bytes) -> Attributes:
        """Return the attributes of a session, with its user and conversation at its start."""
        if self._names.session is None:
            return {}
        if id not in self._users:
            begun = self._find(id, rows.DONE)
            self._users[id] = self._about(begun.tags) if begun is not None and begun.kind == "session" else {}
        return {self._names.session: _dashed(id), **self._users[id]}

    def _about(self, tags: list[str]) -> Attributes:
        """Return the user and the conversation in tags."""
        named = {self._names.user: facets.value(facets.USER, tags)} if self._names.user else {}
        if self._names.is_exact:
            named[self._names.conversation] = facets.value(facets.CONVERSATION, tags)
        return present(named)

    def _agent_row(self, id: bytes) -> _Row | None:
        if id not in self._agents:
            self._agents[id] = self._find(id, rows.DONE) or self._find(id, rows.OPEN)
        return self._agents[id]

    def _agent(self, row: _Row) -> Attributes:
        """Return the id and name of the agent of a row; for an agent, its own."""
        id = row.id if row.kind == "agent" else row.agent
        if id is None:
            return {}
        agent = row if row.kind == "agent" else self._agent_row(id)
        by_id, by_name = self._names.agent
        return {by_id: _dashed(id), **({by_name: agent.name} if agent and agent.name else {})}

    # Failures

    def _failure(self, row: _Row, body: dict[str, Any]) -> _Failure:
        """Return why a row failed."""
        if row.kind == "error":
            return _Failure(text(body.get("details", "")), _exception(row, body))
        if not self._names.explains:
            return _Failure()
        # Interrupted or cancelled, which is not an error.
        if "ended_by" in body:
            by = text(body["ended_by"])
            return _Failure(by, None, {"error.type": by})
        error = self._error_of(row)
        if error is None:
            return _Failure()
        kind = error.name or "_OTHER"
        exception = _exception(error, error.body)
        # Only the span in which it was raised has the traceback.
        if error.parent != row.id:
            exception.pop("exception.stacktrace", None)
        return _Failure(text(error.body.get("details") or kind), exception, {"error.type": kind})

    def _error_of(self, row: _Row) -> _Row | None:
        """Return the error with which a row failed.

        Its own error is written after it; one that was raised further inside, or recorded by hand, before it.
        """
        near = self._source.all("errors_near", session=row.session, after=row.seq - _NEAR, upto=row.seq + _NEAR)
        errors = list(map(self._shown, stored.named(near)))
        own = next((error for error in reversed(errors) if error.seq > row.seq and error.parent == row.id), None)
        before = (error for error in errors if error.seq < row.seq)
        return own or next((each for each in before if each.parent == row.id or self._came_through(each, row)), None)

    def _came_through(self, error: _Row, row: _Row) -> bool:
        within = error.parent
        for _ in range(_DEEPEST):
            inner = self._find(within, rows.DONE) if within is not None else None
            if inner is None or not inner.failed:
                return False
            within = inner.parent
            if within == row.id:
                return True
        return False

    def _figures(self, row: _Row, body: dict[str, Any]) -> tuple[Attributes, set[str]]:
        """Return tokens and cost, and their keys in the body; nothing for an error.

        The span of the failed call has the figures of an error.
        """
        if row.kind == "error":
            return {}, set()
        counts = [name for name in self._names.usage if name.endswith("_tokens")]
        beside = {name: body[name] for name in counts if _is_count(body.get(name))}
        figures: dict[str, int | float | None] = {
            **{name: getattr(row, name) for name in rows.SENT_TOKENS},
            "tokens": None if row.tokens_in is None or row.tokens_out is None else row.tokens_in + row.tokens_out,
            "cost_usd": None if row.cost is None else row.cost / 1e9,
            **beside,
        }
        attributes: Attributes = {}
        for key, attribute_names in self._names.usage.items():
            if (figure := figures.get(key)) is not None:
                attributes.update(dict.fromkeys(attribute_names, figure))
        return attributes, set(beside)

    def _body_attributes(self, row: _Row, shape: Shape, body: dict[str, Any]) -> Attributes:
        """Return model, figures, input, output, tags, and everything else in the row."""
        names = self._names
        attributes, placed = self._figures(row, body)
        placed |= _PLACED
        if row.kind != "error":
            attributes |= names.model(row.model, text(body["provider"]) if body.get("provider") else maker(row.model))
        messages = prompt_messages(body["prompt"]) if "prompt" in body else []
        system = body.get("system_instructions") if row.kind == "llm" and not names.has_system else None
        if system is not None:
            messages = [{"role": "system", "content": system}, *messages]
            placed.add("system_instructions")
        attributes.update(names.prompt(messages))
        if row.kind == "llm":
            completion = completion_of(body, completion_messages(body.get("completion")))
            attributes.update(names.completion(completion))
            placed |= {"tool_calls"} if names.is_exact else set()
        elif "completion" in body:
            attributes.update(names.completion(completion_messages(body["completion"])))
        rest: tuple[Attributes, frozenset[str]] = ({}, frozenset())
        if row.kind in ("llm", "tool"):
            rest = names.call(body) if row.kind == "llm" else names.tool(body)
        attributes |= rest[0]
        placed |= rest[1]
        if "params" in body:
            attributes.update(names.input(shape, body["params"], has_messages="prompt" in body))
        if "returns" in body:
            attributes.update(names.output(shape, body["returns"], has_messages="completion" in body))
        places = {"thread_id": names.conversation, "spec": _SPEC, "user_id": names.user or f"{BODY}user_id"}
        attributes.update(self._about(row.tags))
        attributes.update({place: text(body[key]) for key, place in places.items() if key in body})
        if row.tags:
            attributes |= names.tags(row.tags)
        if row.kind == "error":
            attributes["error.type"] = row.name or "_OTHER"
            placed |= _IN_EXCEPTION
        attributes.update({BODY + key: self._own(value) for key, value in body.items() if key not in placed})
        return attributes

    def _own(self, value: object) -> Value:
        """Return a value that no convention names: unchanged if an attribute can hold it, otherwise as text."""
        return _typed(value) if self._names.is_exact else text(value)

    def _score(self, row: _Row) -> Iterator[Span]:
        """Yield the span of a score or a note."""
        names, made = self._names, evaluation.result(row.name, row.body)
        if made is None:
            return
        judged = span_id(_place(row))
        at = row.at_ns if row.end_ns is None else row.end_ns
        attributes, event = names.evaluation(made)
        span = Span(
            row.session,
            span_id(row.id),
            judged,
            evaluation.EVENT,
            INTERNAL,
            *_times(at, at),
            {
                **names.readers_kind(SHAPES["evaluator"]),
                **self._session(row.session),
                **attributes,
                "localops.event.id": _dashed(row.id),
                "localops.event.kind": row.kind,
            },
            result=event,
            judged=judged,
        )
        yield self._exactly(span, row, row.body)

    # Sessions

    def _end(self, row: _Row) -> Iterator[Span]:
        """Yield the root span of a session's trace, and the operations that were open when its processes died."""
        seen = Snapshot(self._source, self._folder, row.session)
        standing = seen.standing
        # It was resumed; until its next end, the state of this end is sent.
        if standing.state not in STATES:
            is_derived = bool(row.body.get("derived"))
            standing = session_state.Standing(
                row.name or "Indeterminate", row.body.get("reason"), row.at_ns, is_derived
            )
        ended = standing.ended_ns or row.at_ns
        yield self._root(row, seen, standing, ended)
        if seen.standing.derived:
            yield from self._under_way(seen, ended, _DIED)

    def _under_way(self, seen: Snapshot, until_ns: int, why: str) -> Iterator[Span]:
        for operation in seen.unfinished:
            opened = self._find(operation.id, rows.OPEN)
            if opened is not None:
                cut_ns = min(until_ns, seen.ran_until(operation.at_ns))
                yield self._work(opened, None, cut_ns=cut_ns, why=why)

    def _root(self, row: _Row, seen: Snapshot, standing: session_state.Standing, ended: int) -> Span:
        names, figures, story = self._names, seen.totals, seen.story
        reason = None if self._metadata_only else standing.reason
        state = {"Success": OK, "Failure": ERROR}.get(standing.state, UNSET)
        content, original = ({}, {}) if self._metadata_only else _content(story, row, names)
        span = Span(
            row.session,
            span_id(row.session),
            None,
            names.name(SHAPES["session"], "session", story.name),
            INTERNAL,
            *_times(figures.first_ns if figures.rows else ended, ended),
            {
                "agentops.span.kind": "session",
                **names.readers_kind(SHAPES["session"]),
                **self._session(row.session),
                "agentops.session.end_state": names.state(standing.state),
                **({"agentops.session.end_state_reason": reason} if reason else {}),
                **self._about(story.tags),
                **(names.tags(story.tags) if story.tags else {}),
                **content,
                "localops.session.id": _dashed(row.session),
                **{f"localops.session.{key}": getattr(figures, key) for key in _SUMS},
                "localops.session.cost_usd": figures.cost / 1e9,
            },
            state,
            reason or "" if state == ERROR else "",
        )
        if not names.is_exact:
            return span
        columns = {"kind": "session", "name": story.name, "tags": story.tags or None}
        body = present({"state": standing.state, "reason": reason, **original})
        change = exact.difference(_read(span), exact.row_of(columns, body))
        more = present({_EXACT: change})
        if not self._metadata_only:
            steps = recorded_steps.known_rows(seen.source, story, seen.id)
            about = {"localops.session.once_rows": steps, "localops.session.processes": process_rows.sent(story)}
            more |= present(about)
        if standing.derived or standing.state not in STATES:
            more["localops.session.derived"] = True
        return replace(span, attributes={**span.attributes, **more})

    def _resource(self, session: bytes) -> Attributes:
        """Return the resource of a session: the project as service, and the machine unless the program opted out."""
        if session not in self._resources:
            begun = self._find(session, rows.DONE)
            card = begun.body if begun and begun.kind == "session" else {}
            environment = card.get("host_env")
            system = environment.get("OS") if isinstance(environment, dict) else None
            system = system if isinstance(system, dict) else {}
            facts = {
                "host.name": card.get("host"),
                "os.type": text(system["OS"]).lower() if "OS" in system else None,
                "os.version": system.get("OS Release"),
            }
            self._resources[session] = {
                "service.name": os.path.basename(self._folder),
                **{name: text(value) for name, value in facts.items() if value is not None},
                "telemetry.sdk.name": "localops",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.version": __version__,
            }
        return self._resources[session]


# The error of a failed row is searched among so many rows before and after it.
_NEAR = 100
_DEEPEST = 50  # the most operations through which an error is followed
_DIED = "its process died before it ended"
_NO_END = "no end of it was recorded"
_EXACT = "localops.exact"
_SPEC = "agentops.guardrail.spec"
_PREFIX = "trace.metadata"
_MS = 1_000_000
_SUMS = "llms tools actions errors failed tokens_in tokens_out unpriced".split()


class _Row(Columns):
    """A stored row with its columns by name, body and tags unpacked."""

    def __init__(self, row: Stored) -> None:
        vars(self).update(zip(row._fields, row, strict=True))
        self.body = unpacked(row.body)
        self.tags_text = row.tags
        tags = _json(row.tags)
        self.tags = [text(tag) for tag in tags] if isinstance(tags, list) else []


def unpacked(body: str | None) -> dict[str, Any]:
    """Return a body as an object; if it is of another type, an object with its text."""
    value = {} if body is None else _json(body)
    return value if isinstance(value, dict) else {"text": body}


def _json(stored: str | None) -> Any:
    try:
        return encode.loads(stored) if stored else None
    except ValueError:
        return None


def _is_whole(row: _Row) -> bool:
    """Return whether this row has no opening row, like most events: searching a missing row takes longest.

    The id of an operation has the time of its start; the id of an event without one, the time of its recording.
    """
    if row.start_ns is None:
        return True
    made_ms = int.from_bytes(row.id[:6], "big")
    is_ours = row.id[6] >> 4 == 7
    return is_ours and made_ms == row.at_ns // _MS and made_ms != row.start_ns // _MS


def _place(row: _Row) -> bytes:
    """Return the id of the operation or session in which a row happened."""
    return row.session if row.parent in (None, row.id) else row.parent


def _shape(row: _Row) -> Shape:
    if row.kind == "agent" and row.start_ns is None and row.phase == rows.DONE:
        return CREATED
    return SHAPES.get(row.kind, OTHER)


def _times(start: int, end: int) -> tuple[int, int]:
    """Return valid times of a span: not before 1970, and the end not before the start."""
    return max(0, start), max(0, start, end)


def _exception(row: _Row, body: dict[str, Any]) -> Attributes:
    fields = {
        "exception.type": row.name,
        "exception.message": body.get("details"),
        "exception.stacktrace": body.get("logs"),
    }
    return {name: text(value) for name, value in fields.items() if value is not None}


def _read(span: Span) -> dict[str, Any]:
    """Return the row that results from reading a span."""
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in span.attributes.items()}
    named = (("exception", span.exception), (evaluation.EVENT, span.result))
    events = [(name, span.end_ns, about) for name, about in named if about is not None]
    links = [{"trace_id": span.trace.hex(), "span_id": span.judged.hex()}] if span.judged is not None else []
    status, message = _STATUS[span.status], span.message
    reading = mapping.read(
        span.name, given, scope="localops", events=events, status=status, message=message, links=links
    )
    return reading.row or {}


def _typed(value: object) -> Value:
    """Return a value unchanged if an attribute can hold it, otherwise as text."""
    if isinstance(value, bool | float) or (isinstance(value, int) and fits(value)):
        return value
    return text(value)


def _is_count(value: object) -> bool:
    return type(value) is int and fits(value)


def _content(story: Story, end: _Row, names: Names) -> tuple[Attributes, dict[str, Any]]:
    """Return the content of a whole session: input, output, video, metadata, as attributes and as it was recorded."""
    shape = SHAPES["session"]
    attributes: Attributes = {}
    original: dict[str, Any] = {}
    for one in story.of_kind("session", "video", "metadata"):
        kind, body = one.kind, unpacked(one.text)
        if kind == "session" and "params" in body:
            original["params"] = body["params"]
            attributes.update(names.input(shape, body["params"]))
        elif kind == "video" and body.get("video") is not None:
            original["video"] = body["video"]
            attributes["localops.session.video"] = text(body["video"])
        elif kind == "metadata":
            facts = body.get("metadata")
            prefix = text(body.get("prefix") or _PREFIX)
            for name, value in (facts if isinstance(facts, dict) else {}).items():
                if value is not None:
                    key = "metadata" if prefix == _PREFIX else f"metadata of {prefix}"
                    original.setdefault(key, {})[name] = value
                    attributes[f"{prefix}.{name}"] = (
                        value
                        if isinstance(value, bool | float) or (isinstance(value, int) and fits(value))
                        else text(value)
                    )
    attributes |= names.metadata(original.get("metadata", {}))
    if "returns" in end.body:
        original["returns"] = end.body["returns"]
        attributes.update(names.output(shape, end.body["returns"]))
    return attributes, original


def _dashed(id: bytes) -> str:
    return str(uuid.UUID(bytes=id))
