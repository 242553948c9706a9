"""Read OTLP requests in protobuf, with the messages of opentelemetry-proto; no other module does.

The fields of a message are read one by one, as converting it to JSON first would take five times as long.
"""

from __future__ import annotations

import base64

from localops.otlp.documents import named_scope
from localops.otlp.spans import Span, beside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from localops.otlp.documents import Scope

_DROPPED = ("dropped_attributes", "dropped_events", "dropped_links")
_NOTHING_DROPPED = (0, 0, 0)
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


def library() -> Any:
    """Return the messages of requests with spans and with log records, or None without opentelemetry-proto."""
    try:
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError:
        return None
    return trace_service_pb2.ExportTraceServiceRequest, logs_service_pb2.ExportLogsServiceRequest


def parsed(body: bytes, *, logs: bool = False) -> Any:
    """Return a request with spans, or with log records; ValueError if it is broken."""
    try:
        return library()[logs].FromString(body)
    except Exception as error:
        # Wide, as protobuf's DecodeError is in no typed module.
        raise ValueError("the body is no message of OTLP in protobuf") from error


def count(request: Any) -> int:
    """Return how many spans a request has."""
    return sum(len(scoped.spans) for group in request.resource_spans for scoped in group.scope_spans)


def spans(request: Any, problem: Callable[[str], None]) -> Iterator[Span]:
    """Yield the valid spans of a request; report the problems of the others."""
    for group in request.resource_spans:
        resource = attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            scope = scope_of(scoped.scope)
            for span in scoped.spans:
                try:
                    yield _span(span, resource, scope)
                except ValueError as error:
                    problem(str(error))


def scope_of(scope: Any) -> Scope:
    """Return the library that made a group."""
    return named_scope(scope.name, scope.version, attributes(scope.attributes))


def _span(span: Any, resource: dict[str, Any], scope: Scope) -> Span:
    status = span.status
    kind, state = span.kind, span.trace_state
    dropped = (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count)
    events, links = span.events, span.links
    trace, id, parent = span.trace_id, span.span_id, span.parent_span_id
    is_usual = kind <= 1 and not state and dropped == _NOTHING_DROPPED
    return Span(
        trace if len(trace) == 16 and trace != _NO_TRACE else None,
        id if len(id) == 8 and id != _NO_SPAN else None,
        parent if len(parent) == 8 and parent != _NO_SPAN else None,
        span.name,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes(span.attributes),
        status.code,
        status.message or None,
        [(each.name, each.time_unix_nano, attributes(each.attributes)) for each in events] if events else (),
        [_link(link) for link in links] if links else (),
        resource,
        scope,
        None if is_usual else beside(scope, kind, state, dict(zip(_DROPPED, dropped, strict=True))),
    )


def id_of(raw: bytes, length: int) -> bytes | None:
    """Return an id; None if it is missing, zero or of another length."""
    return raw if len(raw) == length and any(raw) else None


def _link(link: Any) -> dict[str, Any]:
    about = attributes(link.attributes)
    ids = {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
    return {**ids, **({"attributes": about} if about else {})}


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return attributes as plain values."""
    plain: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        # Most values are texts or numbers, and asking for the kind takes longer than trying.
        plain[pair.key] = value.string_value or value.int_value or value_of(value, value.WhichOneof("value"))
    return plain


def value_of(value: Any, kind: str | None) -> Any:
    """Return the value of an attribute; bytes in base64, as OTLP's JSON has them."""
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(each, each.WhichOneof("value")) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    inner = getattr(value, kind)
    return base64.b64encode(inner).decode() if kind == "bytes_value" else inner
