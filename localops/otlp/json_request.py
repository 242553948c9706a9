"""Encode spans as an OTLP request in JSON, which needs no other package.

It follows protobuf's mapping to JSON, except for ids, which OTLP writes in hex.
"""

from __future__ import annotations

from localops import __version__
from localops.encoding import encode
from localops.otlp.evaluation import EVENT
from localops.otlp.semconv import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops.otlp.semconv import Attributes, Value
    from localops.otlp.translation import Group, Span


def as_json(groups: Iterable[Group]) -> bytes:
    """Return a request with these spans as JSON."""
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
    fields: dict[str, Any] = {
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
        fields["parentSpanId"] = span.parent.hex()
    named = (("exception", span.exception), (EVENT, span.result))
    moments = [
        {"timeUnixNano": str(span.end_ns), "name": name, "attributes": _pairs(about)}
        for name, about in named
        if about is not None
    ]
    if moments:
        fields["events"] = moments
    if span.judged is not None:
        fields["links"] = [{"traceId": span.trace.hex(), "spanId": span.judged.hex()}]
    return fields


def _pairs(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(fitting(value))}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [{"stringValue": each} for each in value]}}
    return {"stringValue": value}


def fitting(number: int) -> int:
    """Return the nearest number that fits into 64 bits: the sum of two such numbers may not."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))
