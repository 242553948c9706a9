"""Answer OTLP requests in the encoding of the request: partial success, and errors as google.rpc.Status.

The messages have few fields, and are encoded here: errors can be answered without opentelemetry-proto, too.
"""

from __future__ import annotations

from starlette.responses import Response

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

JSON, PROTOBUF = "application/json", "application/x-protobuf"
# The codes of google.rpc.Code, by status.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 411: 3, 413: 3, 415: 3, 429: 8, 503: 14, 507: 8}
_INTERNAL = 13
_MOST_MESSAGE = 2_000  # characters


def media_type(header: str) -> str:
    """Return the media type of a request, without its parameters."""
    return header.partition(";")[0].strip().lower()


def taken(kind: str, refused: int, message: str, *, logs: bool) -> Response:
    """Return the answer to a request that was accepted, with the number of spans or log records that were refused."""
    message = message[:_MOST_MESSAGE]
    if kind == PROTOBUF:
        partial = _number(1, refused) + _text(2, message)
        return _response(_nested(1, partial) if partial else b"", PROTOBUF)
    name = "rejectedLogRecords" if logs else "rejectedSpans"
    # Protobuf's JSON writes a 64-bit number as text.
    partial_json = {**({name: str(refused)} if refused else {}), **({"errorMessage": message} if message else {})}
    return _response(encode.dumps({"partialSuccess": partial_json} if partial_json else {}), JSON)


def error(kind: str, status: int, message: str, headers: Mapping[str, str]) -> Response:
    """Return an error; clients retry only 429 and 503, after the time in Retry-After."""
    code = _CODES.get(status, _INTERNAL)
    message = message[:_MOST_MESSAGE]
    if kind == PROTOBUF:
        return _response(_number(1, code) + _text(2, message), PROTOBUF, status, headers)
    return _response(encode.dumps({"code": code, "message": message}), JSON, status, headers)


def _response(body: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, kind)


# Protobuf


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value) if value else b""


def _text(field: int, value: str) -> bytes:
    return _nested(field, value.encode("utf-8", "replace")) if value else b""


def _nested(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
