"""Record spans as operations: a row when a span starts, and one when it ends, each before the SDK continues.

A span's parent is the span or operation of localops in which it started, and an event's parent may be a span: the
current one, which `context.spans` looks up.  Nothing is set that a forgotten `detach` could leave behind.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from _thread import get_ident
from functools import partial

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import get_current_span

from localops.encoding import facets
from localops.encoding.encode import loads
from localops.errors import JournalError, LimitReached
from localops.interruption import attempt, deliver, hold_if_programs, settle, waiting
from localops.otel import unparsed
from localops.otel.mapping import Error, Reading, read
from localops.output import say_once
from localops.recording import context, events
from localops.recording.events import ErrorEvent, LLMEvent
from localops.recording.forked import is_running, is_success
from localops.recording.operation_rows import add_usage, calls_of_clients, usage_inside
from localops.recording.recorder import COPY
from localops.recording.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from localops.recording.context import Scope
    from localops.recording.operation_rows import OperationRows

    Key = tuple[int, int]

_CHECK_BUDGET = Session.check_budget.__code__
_NOW_NS = 1_000_000  # a time so close to the clock's was not set explicitly
_REQUEST = "prompt system_instructions tool_definitions stream thread_id".split()
_ANSWER = ("completion tool_calls finish_reason response_id response_model time_to_first_token").split()
_CONTENT = (
    "params returns prompt completion system_instructions tool_definitions tool_calls embeddings response attributes"
    " events"
).split()
_FACETS = frozenset({"user_id", "thread_id", "session_id"})
_MCP = "mcp-python-sdk"  # the scope of the spans of MCP's SDK
_NO_ATTRIBUTES: dict[str, Any] = {}


_WITHOUT_CONTENT = Reading("")


class _Recorded:
    """A recorded span: the rows of its operation, and the place for what happens inside it."""

    __slots__ = (
        "attributes",
        "calls_inside",
        "closed",
        "ended",
        "errors",
        "failure",
        "handling",
        "is_added",
        "is_from_cache",
        "is_news",
        "is_part",
        "is_same_tool",
        "key",
        "mark",
        "outer",
        "outside",
        "pid",
        "place",
        "reading",
        "rows",
        "session",
    )

    def __init__(
        self,
        key: Key,
        session: Session,
        rows: OperationRows,
        reading: Reading,
        attributes: dict[str, Any],
        outer: _Recorded | None,
        outside: Scope,
    ) -> None:
        self.key = key
        self.session = session
        self.rows = rows
        self.reading = reading
        self.attributes = attributes  # at its start
        self.outer = outer
        self.outside = outside  # the operation of localops that it started in
        self.place: Scope = (session, rows.id, rows.id if rows.kind == "agent" else rows.agent)
        self.pid = os.getpid()
        self.ended = False
        self.closed = False  # whether its closing row is written
        self.failure: BaseException | ErrorEvent | None = None  # its error, until the row for it is written
        self.is_news = False
        self.is_added = False  # whether its usage was added to the call that it is a part of
        self.is_from_cache = False
        self.is_part = False  # whether it is a part of an LLM call that is counted further out
        self.is_same_tool = False  # whether it is the tool call of a client that is counted further out
        self.calls_inside: list[OperationRows] = []  # spans inside it that count as LLM calls instead of it
        self.handling = 0  # id of an exception that was being handled when it started, so it is not of this span
        self.errors: dict[str, int] = {}  # the errors of the spans inside, with their times
        self.mark: weakref.ref[Span] | None = None


runs: list[Callable[[], Iterable[ReadableSpan]]] = []
"""At most one function, which returns the spans of the LangChain runs around the calling code, innermost first."""

FROM_CACHE = "localops.from_cache"  # attribute of a call that a cache answered, without a request
ALL_USAGE = "localops.all_usage"  # attribute of a call of several requests: the tokens of all, as JSON

# The spans of this process, including ended ones that are still referenced, as they may still get children.
_spans: dict[Key, _Recorded] = {}


class LocalopsSpanProcessor(SpanProcessor):
    """Record each span as an operation of the session that it happens in.

    Raise only LimitReached, when a span starts, and the JournalError of a strict session.
    """

    def __init__(self) -> None:
        context.spans[:] = [_inner_place]

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Write the row of its start, with its attributes so far."""
        begun: list[tuple[OperationRows | None, Callable[[OperationRows], None]]] = []

        def step() -> None:
            if not begun:
                self._start(span, begun)
            for operation, register in begun:
                if operation is not None:
                    register(operation)

        _guarded("start", step)
        if waiting:  # `deliver` raises, so the span will never be ended
            for operation, _ in begun:
                if operation is not None:
                    _spans[_key(span.get_span_context())].ended = True
                    operation.finish({"ended_by": _name_of_waiting()}, failed=True)
            deliver()

    def _start(self, span: Span, begun: list[tuple[OperationRows | None, Callable[[OperationRows], None]]]) -> None:
        """Begin the operation of a span; register it only once, even if this is interrupted and repeated."""
        key = _key(span.get_span_context())
        if key in _spans:  # two processors at one provider
            return
        scope, parent = _scope(span), span.parent
        attributes = _attributes(span)
        reading = read(span.name, attributes, scope=scope)
        outer = _spans.get((parent.trace_id, parent.span_id)) if parent is not None else None
        if runs and not scope.endswith(".langchain"):  # spans of LangChain's instrumentor have the right parent
            outer = _inner_run(outer)
        outside = context.outside_spans()
        place = _place(outer, outside)
        session: Session | None = place[0]
        if session is None or not session.is_running:
            session = context.find_session[0](f"the span {span.name!r} has no session")
            if session is None:
                return
        if place[0] is not session:
            place = (session, None, None)
        if not session.config.capture:
            _leave_out(reading)
        is_part = reading.kind == "llm" and _is_in_call(outer, place, session)
        if is_same_tool := reading.kind == "tool" and _is_in_tool(scope, outer, place):
            reading.kind = "operation"
        is_call = reading.kind == "llm" and not is_part
        fields = _opening_fields(span, reading, scope, outer, is_call=is_call)
        handling = id(sys.exc_info()[1])

        def register(operation: OperationRows) -> None:
            recorded = _Recorded(key, session, operation, reading, attributes, outer, outside)
            recorded.is_part, recorded.is_same_tool, recorded.handling = is_part, is_same_tool, handling
            if is_call and outer is not None and not outer.ended and place == outer.place:
                outer.calls_inside.append(operation)
            recorded.mark = weakref.ref(span, partial(_spans.pop, key))
            _spans[key] = recorded

        started = time.time_ns() - (span.start_time or 0)
        operation = session.begin(
            COPY if is_part else events.operation_kind(reading.kind),
            reading.name,
            reading.fields.get("params"),
            parent=_At(place),
            tags=reading.tags,
            more=fields,
            call=_call_of(reading) if is_call else None,
            start=None if 0 <= started < _NOW_NS else span.start_time,
            by_itself=scope or span.name,
            about=_facets(reading),
        )
        begun += ((operation, register),)

    def on_end(self, span: ReadableSpan) -> None:
        """Write the row of its end, with the attributes that were added since its start."""
        recorded = _spans.get(_key(span.get_span_context()))
        if recorded is None or recorded.ended or _is_of_living_parent(recorded):
            return
        recorded.ended = True
        raised = sys.exc_info()[1]
        if raised is not None and id(raised) == recorded.handling:  # it was being handled when the span started
            raised = None
        _guarded("end", lambda: self._end(span, recorded, raised))
        if waiting:
            deliver()

    def _end(self, span: ReadableSpan, recorded: _Recorded, raised: BaseException | None) -> None:
        """Write the closing row, and the row of its error if it has one; do not repeat completed steps."""
        if not recorded.closed:
            recorded.failure = None
            reading = self._read_end(span, recorded)
            if raised is not None and reading.kind == "llm" and "completion_tokens" not in reading.figures:
                attempt(lambda: unparsed.fill(reading, raised, capture=recorded.session.config.capture), None)
            error = _error_of(recorded, reading, raised)
            fields = self._closing_fields(recorded, reading)
            if _is_interruption(raised) and reading.status != "OK":  # cancelled or interrupted: no error
                fields["ended_by"], error, reading.failed = type(raised).__name__, None, not is_success(raised)
            elif error is not None and isinstance(raised, GeneratorExit | None) and (broken := _broken_off(reading)):
                fields["ended_by"], error, reading.failed = broken, None, False
            past = time.time_ns() - (span.end_time or 0)
            recorded.failure = error if error is not None else raised  # it may pass through a span without an error
            recorded.rows.finish(
                fields,
                failed=reading.failed,
                error=error,
                end=None if 0 <= past < _NOW_NS else span.end_time,
            )
            recorded.closed = True
            recorded.attributes = _NO_ATTRIBUTES
            recorded.is_news = error is not None
            recorded.reading = _WITHOUT_CONTENT  # it may still get children, but its content is no longer needed
            if reading.kind == COPY and len(recorded.calls_inside) == 1 and "ended_by" not in fields:
                _complete(recorded.calls_inside[0], reading)
        failure, recorded.failure = recorded.failure, None
        if failure is not None and recorded.is_news:
            recorded.rows.error(failure)
        elif isinstance(failure, BaseException):
            recorded.rows.passed(failure)

    def _read_end(self, span: ReadableSpan, recorded: _Recorded) -> Reading:
        status, attributes = span.status, _attributes(span)
        recorded.is_from_cache = bool(attributes.pop(FROM_CACHE, False))
        all_usage = attributes.pop(ALL_USAGE, None)
        attributes, before = _since(recorded, attributes)
        reading = read(
            span.name,
            attributes,
            scope=_scope(span),
            events=[(each.name, each.timestamp, each.attributes) for each in span.events] if span.events else (),
            status=status.status_code.name,
            message=status.description,
            start_ns=span.start_time,
            links=_links(span) if span.links else (),
            before=before,
        )
        if all_usage is not None and reading.kind == "llm":
            reading.figures.update(loads(all_usage))
        if not recorded.session.config.capture:
            _leave_out(reading)
        _settle_kind(recorded, reading)
        return reading

    def _closing_fields(self, recorded: _Recorded, reading: Reading) -> dict[str, Any]:
        """Return the fields of the closing row that are not part of a call's answer."""
        first = recorded.reading
        fields = _new_fields(first, reading)
        call = _call_of(reading, recorded.rows.call) if reading.kind == "llm" else None
        cost = reading.figures.get("cost", first.figures.get("cost"))
        if call is not None:
            for name in _ANSWER:
                setattr(call, name, fields.pop(name, None))
            # Its id identifies the same call, however early the id was known.
            call.response_id = call.response_id or first.fields.get("response_id")
        elif reading.figures:
            known = first.figures
            fields.update({name: each for name, each in reading.figures.items() if each not in (None, known.get(name))})
        late = [tag for tag in _facets(reading) if tag not in _facets(first)]
        is_other = (reading.name, reading.tags) != (first.name, first.tags) or reading.kind != recorded.rows.kind
        tags = reading.tags if reading.tags != first.tags else None
        if late:
            tags = [*(reading.tags or first.tags or []), *late]
        if is_other or call is not None or cost is not None or late:
            recorded.rows.become(
                events.operation_kind(reading.kind),
                reading.name,
                call=call,
                cost=0 if recorded.is_from_cache else cost if reading.kind == "tool" else None,
                tags=tags,
            )
        return fields

    def shutdown(self) -> None:
        """Do nothing: every row is written already."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Return True: every row is written already."""
        return True


class _At:
    """The place in which an operation begins."""

    __slots__ = ("place",)

    def __init__(self, place: Scope) -> None:
        self.place = place


# Places


def _key(span_context: Any) -> Key:
    return (span_context.trace_id, span_context.span_id)


def _current() -> _Recorded | None:
    if not _spans:
        return None
    current = _spans.get(_key(get_current_span().get_span_context()))
    return _inner_run(current) if runs else current


def _inner_run(recorded: _Recorded | None) -> _Recorded | None:
    """Return the inner one of a span and the LangChain run around the calling code."""
    for span in runs[0]():
        run = _spans.get(_key(span.get_span_context()))
        if run is not None and not run.ended:
            return run if recorded is None or _is_inside(run, recorded) else recorded
    return recorded


def _is_inside(run: _Recorded, outer: _Recorded) -> bool:
    around: _Recorded | None = run
    while around is not None:
        if around is outer:
            return True
        around = around.outer
    return False


def _inner_place(place: Scope) -> Scope:
    """Return the inner one of a place of localops and the current span."""
    try:
        recorded = _current()
        return place if recorded is None else _inner(recorded, place)
    except Exception as error:  # any exception, of an unknown span class; then localops' own place counts
        if not hold_if_programs(error):
            _warn("place", error)
        return place


def _inner(recorded: _Recorded, place: Scope) -> Scope:
    """Return the place inside a span, unless the code has entered another one since the span began."""
    if place[0] is None or place is recorded.outside or place == recorded.outside:
        return recorded.place
    return place


def _place(outer: _Recorded | None, place: Scope) -> Scope:
    """Return the place of a span that has begun inside another span and a place of localops."""
    if outer is None:
        return place
    if _current() is outer:
        return _inner(outer, place)
    # The program chose its parent: only another session overrides that.
    return outer.place if place[0] in (None, outer.session) else place


def _is_in_call(outer: _Recorded | None, place: Scope, session: Session) -> bool:
    """Return whether a span is inside an LLM call that already counts: clients and frameworks both trace each call."""
    if outer is not None and place == outer.place and outer.is_part:
        return True
    return place[1] is not None and place[1] in session.recorder.open_calls


def _is_in_tool(scope: str, outer: _Recorded | None, place: Scope) -> bool:
    """Return whether a span of MCP's SDK is of its server, or of a tool call that is already recorded around it."""
    if scope != _MCP or not calls_of_clients:
        return False
    return place[1] in calls_of_clients or (outer is not None and outer.is_same_tool)


def tool_around() -> str | None:
    """Return the name of the tool in whose span the calling code runs, or None."""
    recorded = _current()
    return recorded.reading.name if recorded is not None and recorded.rows.kind == "tool" else None


def _is_of_living_parent(recorded: _Recorded) -> bool:
    """Return whether the parent of this forked process began the span, and will end it as it is alive."""
    return recorded.pid != os.getpid() and is_running(recorded.pid)


# Content


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a copy of the attributes; the SDK's view of them takes a lock for each."""
    inner = getattr(getattr(span, "_attributes", None), "_dict", None)
    return dict(inner if isinstance(inner, dict) else span.attributes or _NO_ATTRIBUTES)


def _since(recorded: _Recorded, attributes: dict[str, Any]) -> tuple[dict[str, Any], Reading | None]:
    """Return the attributes added since the start; all of them if one of those has changed."""
    later = dict(attributes)
    for name, value in recorded.attributes.items():
        now = later.pop(name, value)  # it may be missing: an SDK that keeps 128 attributes drops the first ones
        if now is not value and now != value:
            return attributes, None
    return later, recorded.reading


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""


def _links(span: ReadableSpan) -> list[dict[str, Any]]:
    return [
        {
            "trace_id": f"{link.context.trace_id:032x}",
            "span_id": f"{link.context.span_id:016x}",
            **({"attributes": dict(link.attributes)} if link.attributes else {}),
        }
        for link in span.links
    ]


def _opening_fields(
    span: Span, reading: Reading, scope: str, outer: _Recorded | None, *, is_call: bool
) -> dict[str, Any]:
    """Return the fields of the first row, without a call's request: everything known so far, and the span's ids."""
    fields = dict(reading.fields)
    fields.pop("params", None)
    if is_call:
        for name in _REQUEST:
            fields.pop(name, None)
    elif reading.figures:
        fields.update((name, value) for name, value in reading.figures.items() if value is not None)
    own = span.get_span_context()
    if outer is None:
        fields["trace_id"] = f"{own.trace_id:032x}"
        if span.parent is not None:
            fields["parent_span_id"] = f"{span.parent.span_id:016x}"
    fields["span_id"] = f"{own.span_id:016x}"
    if scope:
        fields["scope"] = scope
    return fields


def _facets(reading: Reading) -> list[str]:
    """Return the facets of a span: its user, and its conversation, which OpenInference calls session."""
    fields = reading.fields
    if _FACETS.isdisjoint(fields):
        return []
    return facets.tags(fields.get("user_id"), fields.get("thread_id", fields.get("session_id")))


def _call_of(reading: Reading, begun: LLMEvent | None = None) -> LLMEvent:
    """Return the LLM call of a span; with the `begun` one, add the figures of its end to that."""
    if begun is not None:
        vars(begun).update(reading.figures)
        return begun
    request: dict[str, Any] = {name: reading.fields.get(name) for name in _REQUEST}
    return LLMEvent(**request, **reading.figures)


def _leave_out(reading: Reading) -> None:
    """Remove input and output if the session does not capture them."""
    for name in _CONTENT:
        reading.fields.pop(name, None)


def _settle_kind(recorded: _Recorded, reading: Reading) -> None:
    """Decide at its end how a span counts, so that one model call counts once."""
    before = recorded.reading
    if not reading.has_kind:  # an SDK that keeps 128 attributes drops the first ones
        reading.kind = before.kind
    if recorded.is_same_tool:
        reading.kind = "operation"
    if reading.kind == "llm":
        if recorded.is_part:
            reading.kind = COPY
            if not recorded.is_added and (id := _call_around(recorded)) is not None:
                recorded.is_added = True
                usage = usage_inside.setdefault(id, {})
                add_usage(usage, reading.figures)
                first, outer = reading.fields.get("time_to_first_token"), recorded.session.recorder.open_calls.get(id)
                if isinstance(first, int | float) and outer is not None:
                    # Of several attempts, the first answer counts; its time is measured from the start of the call.
                    later = (recorded.rows.began - outer.began) / 1e9
                    usage.setdefault("time_to_first_token", first + later)
        elif recorded.calls_inside:
            reading.kind = COPY
        elif recorded.is_from_cache:
            reading.kind = COPY
            reading.fields["from_cache"] = True


def _complete(inside: OperationRows, reading: Reading) -> None:
    """Add the tokens that a framework read from an answer to the call of its client, if that lacks them."""
    # Without tokens of the prompt, the framework did not see them either.
    if not reading.failed and reading.figures.get("prompt_tokens"):
        inside.add_figures(_call_of(reading))


def _call_around(recorded: _Recorded) -> bytes | None:
    """Return the open LLM call that counts for a span which is part of it."""
    outer = recorded.outer
    while outer is not None and outer.is_part:
        recorded, outer = outer, outer.outer
    id = recorded.rows.parent
    return id if id is not None and id in recorded.session.recorder.open_calls else None


def _new_fields(before: Reading, now: Reading) -> dict[str, Any]:
    """Return the fields that are new since the first row, or have changed."""
    known = before.fields
    missing = object()
    return {name: value for name, value in now.fields.items() if known.get(name, missing) != value}


def _error_of(recorded: _Recorded, reading: Reading, raised: BaseException | None) -> BaseException | ErrorEvent | None:
    """Return the error to record; None if it was raised further inside, and is recorded there."""
    if not reading.failed:
        return None
    reported = reading.errors[-1] if reading.errors else Error(None, None, None)
    # Compared by message, as a framework may raise the exception again as one of its own class.
    news = reported.message or _last_word(reported.type) or ""
    outer = recorded.outer if recorded.outer is not None and not recorded.outer.ended else None
    beside = outer.errors.get(news, 0) if outer is not None else 0
    if outer is not None:
        outer.errors[news] = time.time_ns()
    # Frameworks do not always nest their spans: a span beside this one that failed while it ran has the same error.
    if beside > recorded.rows.began:
        return None
    if recorded.is_same_tool:  # the call around it has the error as its client reports it
        reading.fields["error"] = {"type": reported.type, "message": reported.message}
        return None
    if raised is not None and _is_same(raised, reported):
        return raised
    if news in recorded.errors:
        return None
    if recorded.is_part:  # the call around it has an error of its own, as its client reports it
        reading.fields["error"] = {"type": reported.type, "message": reported.message}
        return None
    event = ErrorEvent(error_type=_last_word(reported.type) or "Error", details=reported.message, logs="")
    event.logs = reported.stack
    return event


def _is_interruption(raised: BaseException | None) -> bool:
    """Return whether an exception interrupted or cancelled the span, which is no error to OpenTelemetry."""
    return raised is not None and not isinstance(raised, Exception | GeneratorExit)


def _broken_off(reading: Reading) -> str | None:
    """Return why a span ended early without an error: a loop over a stream was left, or a task was cancelled."""
    word = _last_word(reading.errors[-1].type) if reading.errors else None
    return word if word in ("GeneratorExit", "CancelledError") else None


def _is_same(raised: BaseException, reported: Error) -> bool:
    """Return whether an exception that is being handled is the one that a span reports."""
    if _last_word(reported.type) not in (None, "_OTHER", type(raised).__name__):
        return False
    text = attempt(lambda: str(raised), "")
    return reported.message is None or text in reported.message or reported.message in text


def _last_word(name: str | None) -> str | None:
    if name is None or name == "_OTHER":
        return None
    return name.rpartition(".")[2]


def _guarded(what: str, step: Callable[[], None]) -> None:
    """Run a step; do not pass its exceptions to the program, and hold interruptions until it is done."""
    try:
        step()
    except (LimitReached, JournalError):
        raise
    except BaseException as error:  # any exception, as recording must not break the recorded program
        if _is_of_budget(error):
            raise
        try:
            settle(error, step)
        except JournalError:
            raise
        except BaseException as own:
            _warn(what, own)


def _is_of_budget(error: BaseException) -> bool:
    """Return whether the program's own budget hook raised an exception, which is meant for the program."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is _CHECK_BUDGET:
            return True
        trace = trace.tb_next
    return False


def _name_of_waiting() -> str:
    return type(waiting[get_ident()][-1]).__name__ if get_ident() in waiting else "interrupted"


def _warn(what: str, error: BaseException) -> None:
    say_once(
        f"span {what}", f"the {what} of a span could not be recorded: {type(error).__name__}: {events.describe(error)}"
    )
