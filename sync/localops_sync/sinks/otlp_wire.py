"""Encoding of spans as an OTLP request in protobuf, and decoding of the answer; JSON is in `localops/otlp`.

Only this module imports opentelemetry-proto, and only for protobuf: JSON needs no package.
"""

from __future__ import annotations

from localops import __version__
from localops.encoding import encode
from localops.otlp.evaluation import EVENT
from localops.otlp.json_request import fitting
from localops.otlp.semconv import SCHEMA
from localops_sync.sink import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops.otlp.semconv import Attributes
    from localops.otlp.translation import Group, Span

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


# Protobuf


def as_protobuf(groups: Iterable[Group]) -> bytes:
    """Return a request with these spans as protobuf; raise Blocked when the extra is not installed."""
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
    for name, about in (("exception", span.exception), (EVENT, span.result)):
        if about is not None:
            moment = added.events.add(name=name, time_unix_nano=span.end_ns)
            _fill(moment.attributes, about)
    if span.judged is not None:
        added.links.add(trace_id=span.trace, span_id=span.judged)


def _fill(pairs: Any, attributes: Attributes) -> None:
    for key, value in attributes.items():
        target = pairs.add(key=key).value
        if isinstance(value, bool):
            target.bool_value = value
        elif isinstance(value, int):
            target.int_value = fitting(value)
        elif isinstance(value, float):
            target.double_value = value
        elif isinstance(value, list):
            target.array_value.SetInParent()
            for item in value:
                target.array_value.values.add(string_value=item)
        else:
            target.string_value = value


# Answers


def partial_success(kind: str, body: bytes) -> tuple[int, str]:
    """Return how many spans were rejected according to an answer, and its remark; raise ValueError for other answers.

    An empty answer is a protobuf message whose fields are all unset; AgentOps' collector sends that, too.
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
        partial = parse(body).partial_success
    except Exception as error:
        # Wide, as protobuf's DecodeError is in no typed module.
        raise ValueError("broken protobuf") from error
    return partial.rejected_spans, partial.error_message


def _from_json(payload: Any) -> tuple[int, str]:
    """Accept nothing but a partial success: `{"error": …}` with status 200 is not an Ack."""
    if not isinstance(payload, dict) or not set(payload) <= {"partialSuccess", "partial_success"}:
        raise ValueError("unexpected JSON")
    partial = next(iter(payload.values()), None) or {}
    if not isinstance(partial, dict):
        raise ValueError("unexpected JSON")
    rejected = partial.get("rejectedSpans", partial.get("rejected_spans"))
    remark = partial.get("errorMessage", partial.get("error_message"))
    # JSON of protobuf may write a 64-bit number as text.
    return 0 if rejected is None else int(str(rejected)), str(remark or "")
