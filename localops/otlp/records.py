"""Log records of OTLP: those with the content of a model call, and all others of a trace."""

from __future__ import annotations

from localops.encoding import encode
from localops.otel import mapping, names
from localops.otlp import protobuf
from localops.otlp.documents import attributes_of, field, id_bytes, objects_in, plain_value, scope_of, whole
from localops.otlp.spans import named_id, row_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.journal.rows import Row
    from localops.otlp.documents import Scope
    from localops.otlp.spans import Moment
    from localops.recording.writer import Writer

KIND = "log"
# Records with the content of a span; the same may be events of the span itself.
CONTENT = frozenset(names.CONTENT) | frozenset(names.MESSAGES) | {"exception"}
_AS_A_CALL = {"gen_ai.operation.name": "chat"}  # so that its messages are read like those of a call
_NO_TRACE = "invalid log record: expected a traceId of 16 bytes, got none; only records of a trace become events"
_NO_TIME = "invalid log record: expected timeUnixNano or observedTimeUnixNano in nanoseconds since 1970"


class Record:
    """A log record of a trace."""

    __slots__ = ("about", "at", "attributes", "name", "resource", "row", "scope", "severity", "span", "trace")

    def __init__(
        self,
        trace: bytes | None,
        span: bytes | None,
        times: tuple[int | None, int | None],
        name: object,
        severity: tuple[object, object],
        about: Any,
        attributes: dict[str, Any],
        resource: dict[str, Any],
        scope: Scope,
    ) -> None:
        """Raise ValueError for a record without a trace or a time; `times` are its own and that of its observation."""
        if trace is None:
            raise ValueError(_NO_TRACE)
        at = next((time for time in times if time), None)
        if at is None or not 0 < at < 1 << 62:
            raise ValueError(_NO_TIME)
        named = attributes.get("event.name")
        self.trace, self.at, self.attributes, self.about = trace, at, attributes, about
        self.name = name if isinstance(name, str) and name else named if isinstance(named, str) else ""
        number, text = severity
        self.severity = text if isinstance(text, str) and text else _severity(number)
        self.resource, self.scope = resource, scope
        self.span = row_id(trace, span) if span is not None else None
        self.row = self._id()

    def _id(self) -> bytes:
        """Return the id of its row, made from its contents, as records have no id."""
        what = encode.sorted_dumps([self.name, self.severity, self.about, self.attributes])
        return named_id(f"log {self.trace.hex()} {(self.span or b'').hex()} {self.at} {what.decode()}")

    @property
    def moment(self) -> Moment:
        """Return it as an event of its span."""
        about = self.about if isinstance(self.about, dict) else {} if self.about is None else {"body": self.about}
        attributes = {name: value for name, value in self.attributes.items() if name != "event.name"}
        return (self.name, self.at, {**attributes, **about})

    def as_row(self, writer: Writer) -> Row:
        """Return it as a row inside its span."""
        fields: dict[str, object] = {}
        if self.name in CONTENT:
            reading = mapping.read(self.name, _AS_A_CALL, scope=self.scope.name, events=[self.moment])
            fields = {name: value for name, value in reading.fields.items() if name != "operation"}
        else:
            attributes = {name: value for name, value in self.attributes.items() if name != "event.name"}
            fields = {"message": self.about, "severity": self.severity, "attributes": attributes}
        fields |= {"scope": self.scope.name, **self.scope.beside}
        if self.span is None:
            fields["trace_id"] = self.trace.hex()
        kept = {name: value for name, value in fields.items() if value not in (None, "", {}, [])}
        name = writer.text(self.name or self.severity or KIND, 256)
        head = (self.row, KIND, name, self.span, None, self.at)
        return writer.closing(head, self.at, kept)


def _severity(number: object) -> str:
    """Return the name of a severity by its number; four numbers share a name."""
    words = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    return words[(number - 1) // 4] if isinstance(number, int) and 1 <= number <= 24 else ""


def of_json(request: dict[str, Any], problem: Callable[[str], None]) -> Iterator[Record]:
    """Yield the valid records of a request in JSON; report the problems of the others."""
    for group in objects_in(field(request, "resourceLogs", [])):
        resource = attributes_of(field(group, "resource", {}))
        for scoped in objects_in(field(group, "scopeLogs", [])):
            scope = scope_of(field(scoped, "scope", {}))
            for record in field(scoped, "logRecords", []) or []:
                try:
                    yield _of_json(record, resource, scope)
                except ValueError as error:
                    problem(str(error))


def _of_json(record: Any, resource: dict[str, Any], scope: Scope) -> Record:
    if not isinstance(record, dict):
        raise ValueError(f"invalid log record: expected an object, got {type(record).__name__}")
    return Record(
        id_bytes(field(record, "traceId"), 16),
        id_bytes(field(record, "spanId"), 8),
        (whole(field(record, "timeUnixNano")), whole(field(record, "observedTimeUnixNano"))),
        field(record, "eventName"),
        (field(record, "severityNumber"), field(record, "severityText")),
        plain_value(field(record, "body")),
        attributes_of(record),
        resource,
        scope,
    )


def of_protobuf(request: Any, problem: Callable[[str], None]) -> Iterator[Record]:
    """Yield the valid records of a request in protobuf; report the problems of the others."""
    for group in request.resource_logs:
        resource = protobuf.attributes(group.resource.attributes)
        for scoped in group.scope_logs:
            scope = protobuf.scope_of(scoped.scope)
            for record in scoped.log_records:
                try:
                    yield _of_protobuf(record, resource, scope)
                except ValueError as error:
                    problem(str(error))


def _of_protobuf(record: Any, resource: dict[str, Any], scope: Scope) -> Record:
    return Record(
        protobuf.id_of(record.trace_id, 16),
        protobuf.id_of(record.span_id, 8),
        (record.time_unix_nano, record.observed_time_unix_nano),
        # Messages before 1.31 have no such field.
        getattr(record, "event_name", ""),
        (record.severity_number, record.severity_text),
        protobuf.value_of(record.body, record.body.WhichOneof("value")),
        protobuf.attributes(record.attributes),
        resource,
        scope,
    )
