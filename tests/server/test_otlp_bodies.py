"""What any client may send to a hub as OTLP: each is answered in its own encoding, and harms nothing."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from localops.transfer import zstd
from tests.server.hubs import RealHub, hub
from tests.server.spans import (
    BOTH,
    CALL,
    JSON,
    PROTOBUF,
    encoded,
    listed,
    new_trace,
    request,
    run_of,
    send,
    span,
    stored,
    taken,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """A hub with small limits."""
    with hub(tmp_path_factory.mktemp("small"), "default", "--max-body", "1", rows=100, silence=0.5) as running:
        yield running


@pytest.mark.parametrize("kind", BOTH)
def test_each_encoding_is_read(running: RealHub, kind: str) -> None:
    """Plain, gzip and zstd; an empty request is taken as well."""
    library = zstd.library()
    assert library is not None
    for name, pack in (("", bytes), ("identity", bytes), ("gzip", gzip.compress), ("zstd", library.compress)):
        trace = new_trace()
        packed = pack(encoded(request(span(trace, 1)), kind))
        headers = {"Content-Encoding": name} if name else {}
        assert send(running, packed, kind, headers=headers)[:3] == (200, 0, "")
        assert len(stored(running, trace)) == 1
    assert send(running, b"" if kind == PROTOBUF else b"{}", kind)[:3] == (200, 0, "")
    assert send(running, b"x", kind, headers={"Content-Encoding": "br"})[:2] == (415, 3)


@pytest.mark.parametrize("kind", BOTH)
def test_a_body_without_a_length_is_read(running: RealHub, kind: str) -> None:
    """SDKs of other languages send in chunks what they compress."""
    trace = new_trace()
    parts = urlsplit(running.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    data = encoded(request(span(trace, 1)), kind)
    headers = {"Authorization": f"Bearer {running.key}", "Content-Type": f"{kind}; charset=utf-8"}
    pieces = iter([data[:10], data[10:]])
    connection.request("POST", "/v1/traces", pieces, headers, encode_chunked=True)
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"" if kind == PROTOBUF else b"{}")
    connection.close()
    assert len(stored(running, trace)) == 1


@pytest.mark.parametrize("kind", BOTH)
def test_the_id_of_a_response_may_be_any_value(running: RealHub, kind: str) -> None:
    """A map as well as a text: the calls of a session are compared by it."""
    trace = new_trace()
    calls = [span(trace, id, about={**CALL, "gen_ai.response.id": {"a": [1]}}) for id in (1, 2)]
    taken(running, *calls, kind=kind)
    assert [row["kind"] for row in stored(running, trace)] == ["llm", "llm"]


def _broken() -> Iterator[tuple[str, str, bytes]]:
    whole = encoded(request(*run_of(new_trace())), PROTOBUF)
    for cut in (1, len(whole) // 3, len(whole) - 1):
        yield f"cut at {cut}", PROTOBUF, whole[:cut]
    yield "wrong wire type", PROTOBUF, b"\x08\x01" + b"\x0d\x01\x02"
    yield "a group that does not end", PROTOBUF, b"\x0b" * 200
    yield "a length past the end", PROTOBUF, b"\x0a\xff\xff\xff\xff\x07"
    yield "no UTF-8", PROTOBUF, whole.replace(b"a day at sea", b"a \xff\xfe at sea")
    nested = b""
    for _ in range(300):
        value = b"\x2a" + _length(len(nested) + 1 + len(_length(len(nested)))) + b"\x0a" + _length(len(nested)) + nested
        nested = value
    pair = b"\x0a\x01k\x12" + _length(len(nested)) + nested
    resource = b"\x0a" + _length(len(pair)) + pair
    group = b"\x0a" + _length(len(resource)) + resource
    yield "nested deep", PROTOBUF, b"\x0a" + _length(len(group)) + group
    text = json.dumps(request(*run_of(new_trace()))).encode()
    yield "cut JSON", JSON, text[:-5]
    yield "a list", JSON, b"[]"
    yield "a number", JSON, b"7"
    yield "NaN", JSON, b'{"resourceSpans": NaN}'
    yield "spans of another type", JSON, b'{"resourceSpans": 7}'
    yield "nested JSON", JSON, b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    yield "lone surrogate", JSON, b'{"a":"\\ud800"}'


def _length(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


@pytest.mark.parametrize(("kind", "body"), [pytest.param(*each[1:], id=each[0]) for each in _broken()])
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_a_broken_body_is_refused_for_good(running: RealHub, kind: str, body: bytes, path: str) -> None:
    """With 400, which no sender repeats, and a status that says why, in the encoding of the request."""
    reply = send(running, body, kind, path=path)
    if path == "/v1/logs" and reply.status == 200:
        # Spans are unknown fields for it, and no strings are looked at in those.
        assert kind == JSON or body.startswith(b"\x0a")
        return
    assert (reply.status, reply.refused, reply.headers["content-type"]) == (400, 3, kind)
    assert reply.message.startswith("invalid body: ")


def test_any_bytes_are_answered(tmp_path: Path) -> None:
    """Whatever is changed in a request: it is taken, in part or not, or refused; the hub has no error of its own."""
    chance = random.Random(7)
    with hub(tmp_path, "default", "--rate", "100000") as there:
        for kind in BOTH:
            whole = encoded(request(*run_of(new_trace())), kind)
            for _ in range(150):
                data = bytearray(whole)
                for _ in range(chance.randrange(1, 6)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                assert send(there, bytes(data), kind).status in (200, 400)
        assert there.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("kind", BOTH)
def test_too_much_is_refused(small: RealHub, kind: str) -> None:
    """By its bytes as sent, by those when decompressed, by the number of spans; nothing of it is stored."""
    trace = new_trace()
    many = [span(trace, number, parent=1) for number in range(2, 103)]
    noise = random.Random(1).randbytes(2 << 20).hex()
    bomb = gzip.compress(bytes(100 << 20))
    for body, headers in (
        (encoded(request(*many, span(trace, 1)), kind), {}),
        (encoded(request(span(trace, 1, about={"x": noise})), kind), {}),
        (bomb, {"Content-Encoding": "gzip"}),
        (zlib.compress(bomb, wbits=31), {"Content-Encoding": "gzip"}),
    ):
        reply = send(small, body, kind, headers=headers)
        assert (reply.status, reply.headers["content-type"]) in ((413, kind), (400, kind)), reply
        assert reply.refused == 3
    assert stored(small, trace) == []
    assert small.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("kind", BOTH)
def test_what_cannot_be_stored_is_counted(running: RealHub, kind: str) -> None:
    """The others of the request are stored, and the answer says how many are not, and why."""
    trace = new_trace()
    zero = "0" * 32
    wrong = [
        span(zero, 1),
        span(trace, 0),
        span(trace, 2, parent=1) | {"startTimeUnixNano": "0"},
        span(trace, 3, parent=1) | {"startTimeUnixNano": str((1 << 64) - 1)},
        span(trace, 4, parent=1) | {"endTimeUnixNano": "10413792000000000000"[:19]},
        span(trace, 5, parent=1) | {f"{end}TimeUnixNano": "4600000000000000000" for end in ("start", "end")},
        *([span(trace, 6) | {"startTimeUnixNano": "-5"}, span(trace, 7) | {"traceId": "xyz"}] if kind == JSON else []),
    ]
    fine = [
        span(trace, 11, "1970", parent=1) | {"startTimeUnixNano": "1", "endTimeUnixNano": "0"},
        span(trace, 12, "ends before", parent=1, took=-500),
        span(trace, 13, "odd", parent=1, about={"n": float("1e308"), "": "empty"}),
        span(trace, 1, "run"),
    ]
    reply = send(running, request(*wrong, *fine), kind)
    assert reply.status == 200
    # A time that is too late to be one counts as missing, so the fifth ends when it begins.
    names = {row["name"] for row in stored(running, trace)}
    assert {"1970", "ends before", "odd", "run"} <= names
    assert reply.refused == len(wrong) + len(fine) - len(stored(running, trace))
    assert "expected" in reply.message
    assert listed(running, trace) is not None


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_kept(running: RealHub, text: str) -> None:
    """As our own recorder keeps them; in protobuf they are numbers, in JSON texts."""
    for kind in BOTH:
        trace = new_trace()
        odd = span(trace, 1, "run")
        odd["attributes"] = [
            {"key": "x", "value": {"doubleValue": text}},
            {"key": "gen_ai.usage.input_tokens", "value": {"doubleValue": text}},
        ]
        taken(running, odd, kind=kind)
        [row] = stored(running, trace)
        assert "$float" in row["body"]


def test_hostile_spans_of_ours_are_refused(running: RealHub) -> None:
    """Attributes that only localops sends, with values that it never would: no column takes them."""
    trace = new_trace()
    exact = {"set": {"tokens_in": "many", "cost": [1], "failed": 7, "name": {"a": 1}, "tags": 5, "kind": ""}}
    about: dict[str, Any] = {
        "localops.event.id": "x" * 40,
        "localops.event.at": '["a", null, {}]',
        "localops.exact": json.dumps(exact),
    }
    reply = send(running, request(span(trace, 1, "run", about=about)))
    assert reply.status == 200
    for row in stored(running, trace):
        assert row["tokens_in"] is None
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    about["localops.exact"] = json.dumps({"set": {"body.x": deep}})
    assert send(running, request(span(new_trace(), 1, "run", about=about))).status == 200
    assert running.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("kind", BOTH)
def test_errors_have_their_status(small: RealHub, kind: str) -> None:
    """A missing or foreign key; another media type; a body that does not arrive is worth another try."""
    body = encoded(request(span(new_trace(), 1)), kind)
    assert send(small, body, kind, headers={"Authorization": ""})[:2] == (401, 16)
    assert send(small, body, kind, key="none")[:2] == (401, 16)
    other = send(small, body, kind, headers={"Content-Type": "text/plain"})
    assert (other.status, other.refused, other.headers["content-type"]) == (415, 3, JSON)
    parts = urlsplit(small.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.putrequest("POST", "/v1/traces")
    sent = {"Authorization": f"Bearer {small.key}", "Content-Type": kind, "Content-Length": str(len(body))}
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body[:20])
    reply = connection.getresponse()
    assert (reply.status, reply.headers["Retry-After"], reply.headers["Content-Type"]) == (503, "1", kind)
    connection.close()


@pytest.mark.parametrize("kind", BOTH)
def test_too_many_requests_get_a_time_to_retry(tmp_path: Path, kind: str) -> None:
    """429 with Retry-After, which exporters wait for."""
    with hub(tmp_path, "default", "--rate", "1") as there:
        replies = [send(there, request(span(new_trace(), 1)), kind) for _ in range(4)]
        late = next(reply for reply in replies if reply.status != 200)
        assert (late.status, late.refused, late.headers["retry-after"]) == (429, 8, "1")
        assert late.headers["content-type"] == kind


@pytest.mark.parametrize("kind", BOTH)
def test_a_hub_that_cannot_write_says_try_again(tmp_path: Path, kind: str) -> None:
    """503 with Retry-After, and nothing is lost: neither of the request nor of what waits."""
    with hub(tmp_path) as there:
        trace = new_trace()
        spans = run_of(trace)
        taken(there, *spans[:2], kind=kind)
        waiting = there.folder / "waiting"
        aside = there.folder / "aside"
        waiting.rename(aside)
        waiting.write_text("no folder")
        reply = send(there, request(spans[2]), kind)
        assert (reply.status, reply.refused, reply.headers["retry-after"]) == (503, 14, "5")
        waiting.unlink()
        aside.rename(waiting)
        taken(there, *spans[2:], kind=kind)
        assert sorted(row["kind"] for row in stored(there, trace)) == ["agent", "error", "llm", "operation", "tool"]
