"""Spans as the bytes of an OTLP request, in protobuf or JSON, and what the answer to one says.

The only importer of opentelemetry-proto, and only when protobuf is spoken: JSON needs nothing.
"""

from __future__ import annotations

from localops import __version__
from localops.encoding import encode
from localops_sync.sink import Blocked
from localops_sync.sinks.otlp_semconv import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops_sync.sinks.otlp_semconv import Attributes, Value
    from localops_sync.sinks.otlp_spans import Group, Span

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


# JSON: protobuf's own mapping, but for ids, which OTLP writes in hex


def as_json(groups: Iterable[Group]) -> bytes:
    """A request with these spans."""
    scope = {"name": "localops", "version": __version__}
    return encode.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _pairs(resource)},
                    "scopeSpans": [{"scope": scope, "spans": [_plain(span) for span in spans], "schemaUrl": SCHEMA}],
                    "schemaUrl": SCHEMA,
                }
                for resource, spans in groups
            ]
        }
    )


def _plain(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace.hex(),
        "spanId": span.id.hex(),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _pairs(span.attributes),
        "status": {"code": span.status, **({"message": span.message} if span.message else {})},
    }
    if span.parent is not None:
        found["parentSpanId"] = span.parent.hex()
    if span.exception is not None:
        moment = {"timeUnixNano": str(span.end_ns), "name": "exception", "attributes": _pairs(span.exception)}
        found["events"] = [moment]
    return found


def _pairs(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(_fitting(value))}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [{"stringValue": each} for each in value]}}
    return {"stringValue": value}


# Protobuf


def as_protobuf(groups: Iterable[Group]) -> bytes:
    """The same request; Blocked when the extra is not installed."""
    request = _service().ExportTraceServiceRequest()
    for resource, spans in groups:
        ours = request.resource_spans.add(schema_url=SCHEMA)
        _fill(ours.resource.attributes, resource)
        scope = ours.scope_spans.add(schema_url=SCHEMA)
        scope.scope.name, scope.scope.version = "localops", __version__
        for span in spans:
            _add(scope.spans, span)
    return bytes(request.SerializeToString(deterministic=True))


def _service() -> Any:
    try:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError as error:
        raise Blocked(
            "OTLP in protobuf needs a package that is not installed: pip install 'localops[otel]'; "
            "or give the remote the option protocol=json, which needs none"
        ) from error
    return trace_service_pb2


def _add(spans: Any, span: Span) -> None:
    added = spans.add(
        trace_id=span.trace,
        span_id=span.id,
        parent_span_id=span.parent or b"",
        name=span.name,
        kind=span.kind,
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
    )
    added.status.code, added.status.message = span.status, span.message
    _fill(added.attributes, span.attributes)
    if span.exception is not None:
        moment = added.events.add(name="exception", time_unix_nano=span.end_ns)
        _fill(moment.attributes, span.exception)


def _fitting(number: int) -> int:
    """The nearest number that OTLP can carry: a sum of two that fit may not."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))


def _fill(pairs: Any, attributes: Attributes) -> None:
    for key, value in attributes.items():
        said = pairs.add(key=key).value
        if isinstance(value, bool):
            said.bool_value = value
        elif isinstance(value, int):
            said.int_value = _fitting(value)
        elif isinstance(value, float):
            said.double_value = value
        elif isinstance(value, list):
            said.array_value.SetInParent()
            for each in value:
                said.array_value.values.add(string_value=each)
        else:
            said.string_value = value


# Answers


def partial_success(kind: str, body: bytes) -> tuple[int, str]:
    """How many spans an answer of a content type says were rejected, and its remark; ValueError for no such answer.

    An answer without a byte is a protobuf message whose fields are all unset, and what AgentOps' collector sends.
    """
    if not body and kind in ("", JSON, PROTOBUF):
        return 0, ""
    if kind == PROTOBUF:
        return _from_protobuf(body)
    if kind == JSON:
        return _from_json(encode.loads(body))
    raise ValueError(f"{kind or 'no content type'} instead of {PROTOBUF} or {JSON}")


def _from_protobuf(body: bytes) -> tuple[int, str]:
    parse = _service().ExportTraceServiceResponse.FromString
    try:
        told = parse(body).partial_success
    except Exception as error:  # the edge: a stranger's bytes, and an error class that has no typed home
        raise ValueError("broken protobuf") from error
    return told.rejected_spans, told.error_message


def _from_json(found: Any) -> tuple[int, str]:
    """Anything else that JSON can say is not taken for this: `{"error": …}` with a 200 is no ack."""
    if not isinstance(found, dict) or not set(found) <= {"partialSuccess", "partial_success"}:
        raise ValueError("JSON that says something else")
    told = next(iter(found.values()), None) or {}
    if not isinstance(told, dict):
        raise ValueError("JSON that says something else")
    rejected = told.get("rejectedSpans", told.get("rejected_spans"))
    remark = told.get("errorMessage", told.get("error_message"))
    return 0 if rejected is None else int(str(rejected)), str(remark or "")  # a 64-bit number may be a text there
