"""The hub's HTTP: accepted requests, replies, and the keys that they need."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from localops import clock
from localops.journal import rows
from localops.reading import analytics
from localops.reading.home import Home
from localops.server.request import Endpoint
from localops.server.routes import ENDPOINTS
from localops.transfer import bundle, zstd
from localops.transfer.bundle import Batch
from tests import warm
from tests.made import stored
from tests.server.hubs import RealHub, batch_of, hub, packed, session_rows, wait_until


def _send(running: RealHub, sent: list[rows.Row], **options: object) -> str:
    """Send rows of a session to the hub; return the session's id."""
    status, _ = running.take(batch_of(sent, journal=clock.new_id().hex()), **options)
    assert status == 200
    return str(uuid.UUID(bytes=sent[0][2]))


def test_a_batch_is_stored_once_and_signed_for(running: RealHub) -> None:
    """The receipt covers the rows, signed with the key; a second time nothing is stored, and it is signed again."""
    batch = batch_of(session_rows(), journal="1" * 32)
    status, reply = running.take(batch)
    assert (status, reply["stored"], reply["known"], reply["gone"]) == (200, 5, 0, 0)
    assert reply["receipt"]["digest"] == bundle.digest(map(bundle.identity, batch.rows))
    assert bundle.is_signed(reply["receipt"], running.key)
    status, again = running.take(batch)
    assert (status, again["stored"], again["known"]) == (200, 0, 5)


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity", ""])
def test_a_body_may_be_packed_in_each_encoding_of_hello(running: RealHub, encoding: str) -> None:
    """Each encoding in the answer of hello is accepted, and so is a plain body."""
    plain = bundle.pack(batch_of(session_rows(), journal=clock.new_id().hex()))
    body = plain
    if encoding == "gzip":
        body = zlib.compress(plain, wbits=31)
    if encoding == "zstd":
        body = zstd.library().compress(plain)
    status, reply = running.ask("POST", "/sync/1/rows", body, headers={"Content-Encoding": encoding})
    assert (status, reply["stored"]) == (200, 5)


def test_hello_has_id_and_project(running: RealHub) -> None:
    """Hello has the id of the hub and the project of the key."""
    status, reply = running.ask("GET", "/sync/1/hello")
    assert status == 200
    assert (reply["localops"], reply["hub"], reply["project"]) == (bundle.WIRE, running.id, "default")
    assert "gzip" in reply["encodings"]
    assert reply["max_bytes"] == 32 << 20


def test_rows_behind_a_gap_are_refused(running: RealHub) -> None:
    """A hub that lacks the row before replies with the rows that it has, so that a sender can continue there."""
    journal = clock.new_id().hex()
    sent = session_rows(8)
    running.take(batch_of(sent[:4], journal=journal))
    missing = bundle.previous(batch_of(sent[4:5], 5))
    status, reply = running.take(batch_of(sent[5:], 6, journal=journal, previous=missing))
    assert status == 409
    assert reply["held"] == [[1, 4]]
    assert reply["marks"] == [[4, sent[3][0].hex(), 0]]
    there = bundle.previous(batch_of(sent[3:4], 4))
    assert running.take(batch_of(sent[4:], 5, journal=journal, previous=there))[0] == 200


def test_a_bad_row_is_refused_and_its_neighbours_are_stored(running: RealHub) -> None:
    """A line that is not a row, or that could do damage, does not affect the others."""
    sent = session_rows(4)
    odd = rows.make("llm", sent[0][2], id=clock.new_id(), at_ns=5, tags="no tags")
    batch = batch_of([*sent[:3], odd, *sent[3:]], journal=clock.new_id().hex())
    plain = bundle.pack(batch).replace(sent[1][0].hex().encode(), b"f" * 32)
    status, reply = running.ask("POST", "/sync/1/rows", plain)
    assert status == 200
    assert [seq for seq, _ in reply["refused"]] == [2, 4]
    assert reply["stored"] == 5
    assert reply["receipt"]["ranges"] == [[1, 1], [3, 3], [5, 7]]


_GZIP = {"Content-Encoding": "gzip"}
# Made when they are sent: some have megabytes, and all that have rows have other ids each time.
_BROKEN: dict[str, tuple[Callable[[], bytes], dict[str, str], int]] = {
    "empty": (lambda: b"", {}, 400),
    "a page": (lambda: b"<html>", {}, 400),
    "no fields": (lambda: b'{"localops":1}\n', {}, 400),
    "a later format": (lambda: b'{"localops":99}\n', {}, 426),
    "no gzip": (lambda: b"\x1f\x8b broken", _GZIP, 400),
    "another encoding": (lambda: b"x", {"Content-Encoding": "br"}, 415),
    "gzip cut short": (lambda: packed(batch_of(session_rows()))[:-9], _GZIP, 400),
    "more behind gzip": (lambda: packed(batch_of(session_rows())) + b"more", _GZIP, 400),
    "cut short": (lambda: _plain()[:-40], {}, 400),
    "more lines": (lambda: _plain() + b"{}\n", {}, 400),
    "half a row before": (lambda: _plain().replace(b'"previous":null', b'"previous":{"seq":1}'), {}, 400),
    "a negative range": (lambda: _plain().replace(b'"ranges":[[', b'"ranges":[[-'), {}, 400),
    "much from little": (lambda: zlib.compress(b"\0" * (40 << 20), 9, wbits=31), _GZIP, 413),
    "much": (lambda: b"x" * (9 << 20), {}, 413),
    "a long beginning": (lambda: b" " * (4 << 20) + _plain(), {}, 413),
    "a long line": (lambda: _plain().replace(b'{"seq"', b" " * (4 << 20) + b'{"seq"'), {}, 413),
    "many rows": (lambda: _plain(1).replace(b'"rows":1', b'"rows":60000') + b"\n" * 60_000, {}, 413),
}


def _plain(many: int | None = None) -> bytes:
    """Return the rows of a session as they are sent without compression."""
    return bundle.pack(batch_of(session_rows()[:many]))


@pytest.mark.parametrize("what", _BROKEN)
def test_a_broken_body_stores_nothing(running: RealHub, what: str) -> None:
    """Each broken body has its own status and a message, and the hub continues."""
    before = running.ask("GET", "/api/1/analytics")
    body, headers, status = _BROKEN[what]
    answered, reply = running.ask("POST", "/sync/1/rows", body(), headers=headers)
    assert answered == status, reply
    assert reply["message"]
    assert running.ask("GET", "/api/1/analytics") == before


def test_a_key_opens_its_own_project_only(running: RealHub) -> None:
    """The rows of one project do not exist for the key of another."""
    other = running.new_key("other")
    session = _send(running, session_rows())
    assert running.ask("GET", f"/api/1/sessions/{session}")[0] == 200
    assert running.ask("GET", f"/api/1/sessions/{session}", key=other)[0] == 404
    assert running.ask("GET", f"/v2/sessions/{session}/stats", key=other)[0] == 400
    assert running.ask("GET", "/api/1/sessions", key=other)[1]["sessions"] == []
    assert running.ask("GET", "/sync/1/hello", key=other)[1]["project"] == "other"


@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if endpoint.key],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_a_request_without_its_key_is_refused(running: RealHub, endpoint: object) -> None:
    """A missing key, an unknown key, and a key in the wrong place are all refused."""
    names = {"session": uuid.uuid4(), "digest": "0" * 64, "seq": 1, "project": "p", "trace": "0" * 32}
    path = endpoint.path.format(**names)  # type: ignore[attr-defined]
    expected = 400 if endpoint.v2 else 401  # type: ignore[attr-defined]
    for key in ("", "no uuid", str(uuid.uuid4())):
        status, _ = running.ask(endpoint.method, path, key=key)  # type: ignore[attr-defined]
        assert status == expected
    assert running.ask(endpoint.method, f"{path}?key={running.key}", key="")[0] == expected  # type: ignore[attr-defined]


def test_a_key_may_come_as_agentops_sends_it(running: RealHub) -> None:
    """X-Agentops-Api-Key is as good as a bearer token."""
    status, reply = running.ask("GET", "/sync/1/hello", key="", headers={"X-Agentops-Api-Key": running.key})
    assert (status, reply["project"]) == (200, "default")


def test_a_revoked_key_is_refused_at_once(running: RealHub) -> None:
    """Without a restart of the hub."""
    from localops.server.keys import Keys

    key = running.new_key("default")
    assert running.ask("GET", "/sync/1/hello", key=key)[0] == 200
    keys = Keys(str(running.data))
    keys.revoke(next(each.handle for each in keys.all() if each == keys.find(key)))
    assert running.ask("GET", "/sync/1/hello", key=key)[0] == 401


def test_stats_are_those_of_agentops_and_more(running: RealHub) -> None:
    """Stats have AgentOps' six keys with its types; an unpriced session has no cost, an unknown one is refused."""
    session = _send(running, session_rows(3))
    status, reply = running.ask("GET", f"/v2/sessions/{session}/stats")
    assert status == 200
    six = ("session_id", "cost", "events", "prompt_tokens", "completion_tokens", "errors")
    assert [reply[name] for name in six] == [session, 21e-9, 3, 30, 6, 0]
    assert (reply["llms"], reply["end_state"]) == (3, "Success")
    status, reply = running.ask("GET", f"/v2/sessions/{uuid.uuid4()}/stats")
    assert (status, reply["message"]) == (400, "Session does not belong to this project")


def test_an_export_is_that_of_agentops(running: RealHub) -> None:
    """An export has AgentOps' keys, with the events under their kinds."""
    session = _send(running, session_rows(2))
    status, reply = running.ask("GET", f"/v2/sessions/{session}/export")
    assert status == 200
    assert {"session", "actions", "llms", "tools", "errors"} <= set(reply)
    assert (reply["session"]["id"], len(reply["llms"])) == (session, 2)


def test_sessions_are_listed_page_by_page(tmp_path: Path) -> None:
    """Newest first, filtered, each once."""
    with hub(tmp_path) as found:
        sent = [_send(found, session_rows(1, end=end)) for end in ("Success", "Failure", "Success", "Success")]
        first = found.ask("GET", "/api/1/sessions?limit=3")[1]
        assert [one["session_id"] for one in first["sessions"]] == sent[:0:-1]
        rest = found.ask("GET", f"/api/1/sessions?limit=3&before={first['next_before']}")[1]
        assert ([one["session_id"] for one in rest["sessions"]], rest["next_before"]) == (sent[:1], None)
        failed = found.ask("GET", "/api/1/sessions?state=Failure&tag=nightly&model=gpt-4o-mini")[1]
        assert found.ask("GET", "/api/1/sessions?state=fail&tag=nightly&model=gpt-4o-mini&sort=took")[1] == failed
        assert [one["session_id"] for one in failed["sessions"]] == [sent[1]]
        assert found.ask("GET", "/api/1/sessions?text=why")[1]["sessions"]
        assert not found.ask("GET", "/api/1/sessions?since=2090-01-01")[1]["sessions"]
        several = found.ask("GET", "/api/1/sessions?state=Failure&state=success&not_tag=x&model=gpt*")[1]
        assert len(several["sessions"]) == 4
        assert not found.ask("GET", "/api/1/sessions?not_model=gpt-4o*")[1]["sessions"]
        assert not found.ask("GET", "/api/1/sessions?all_tag=x&all_tag=no-such")[1]["sessions"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/1/sessions?state=Sleeping",
        "/api/1/sessions?since=soon",
        "/api/1/sessions?limit=many",
        "/api/1/sessions?limit=0",
        "/api/1/sessions?min_cost=1e9999999",
        "/api/1/sessions?not_state=Sleeping",
        "/api/1/facets?of=colour",
        "/api/1/snippets",
        "/api/1/export?format=sqlite",
        "/api/1/summary?since=soon",
        "/api/1/analytics?by=colour",
    ],
)
def test_an_invalid_query_is_refused(running: RealHub, path: str) -> None:
    """The reply to an invalid query has a message."""
    status, reply = running.ask("GET", path)
    assert (status, bool(reply["message"])) == (400, True)


@pytest.mark.parametrize("what", ["events", "timeline"])
def test_a_page_has_room_for_something(running: RealHub, what: str) -> None:
    """A page has at least one event, as otherwise the next one could not begin after it."""
    session = _send(running, session_rows())
    assert running.ask("GET", f"/api/1/sessions/{session}/{what}?limit=0")[0] == 400
    assert running.ask("GET", f"/api/1/sessions/{session}/{what}?limit=1")[0] == 200


def test_no_address_redirects(running: RealHub) -> None:
    """No client is redirected, least of all to a host that it named itself."""
    status, reply = running.ask("GET", "/api/1/sessions/", headers={"Host": "evil.example"})
    assert (status, "unknown address" in reply["message"]) == (404, True)


def test_events_are_returned_in_pages(running: RealHub) -> None:
    """Events are in the order of their rows; an operation that has not ended is at its start, with its input."""
    sent = session_rows(3)
    opened = rows.make(
        "tool", sent[0][2], id=clock.new_id(), phase=rows.OPEN, at_ns=clock.now_ns(), name="t", body='{"params":1}'
    )
    session = _send(running, [*sent[:-1], opened])
    path = f"/api/1/sessions/{session}/events"
    reply = running.ask("GET", f"{path}?limit=3")[1]
    rest = running.ask("GET", f"{path}?limit=3&after={reply['next_after']}")[1]
    seen = reply["events"] + rest["events"]
    assert [event["kind"] for event in seen] == ["llm"] * 3 + ["tool"]
    assert [event["finished"] for event in seen] == [True] * 3 + [False]
    assert (seen[0]["params"], seen[-1]["params"], seen[0]["cost_nano"]) == ({"q": "why"}, 1, 7)
    assert rest["next_after"] is None


def test_the_state_of_an_open_session_is_unknown_on_a_hub(running: RealHub) -> None:
    """A hub cannot see whether the process still runs, even on the same machine."""
    session = _send(running, session_rows(1, end=None))
    reply = running.ask("GET", f"/api/1/sessions/{session}")[1]
    assert reply["state"] == "Unknown"
    with Home(str(running.data), "default") as home:  # a command that reads the data folder changes nothing
        assert home.projects[0].standing(uuid.UUID(session).bytes).state == "Unknown"


def test_analytics_add_up(tmp_path: Path) -> None:
    """The sums equal the totals, for each way to group them."""
    with hub(tmp_path) as found:
        _send(found, session_rows(2))
        _send(found, session_rows(3))
        whole = found.ask("GET", "/api/1/analytics")[1]
        assert (whole["sessions"], whole["llm_calls"], whole["cost_nano"]) == (2, 5, 35)
        for by in ("model", "tag", "day", "kind", "session"):
            lines = found.ask("GET", f"/api/1/analytics?by={by}")[1]["lines"]
            assert sum(line["cost_nano"] for line in lines) == 35
        assert found.ask("GET", "/api/1/analytics?tag=weekly")[1]["sessions"] == 0


def test_the_hub_can_be_asked_what_it_has(running: RealHub) -> None:
    """The hub replies with rows and digest of sessions, and with the rows that it lacks or has differently."""
    sent = session_rows(2)
    _send(running, sent)
    id, unknown = sent[0][2].hex(), "0" * 31 + "1"
    reply = running.ask("POST", "/sync/1/sessions", json.dumps({"sessions": [id, unknown]}).encode())[1]["sessions"]
    assert (reply[id]["rows"], reply[id]["cost"]) == (4, 14)
    assert reply[id]["digest"] == bundle.digest(map(bundle.identity, stored(sent)))
    assert (reply[unknown]["rows"], reply[unknown]["gone"]) == (0, False)
    asked = [[row[0].hex(), row[1], row[-2]] for row in sent]
    asked[1][2] += 1
    asked.append([unknown, 0, 5])
    reply = running.ask("POST", "/sync/1/missing", json.dumps({"rows": asked}).encode())[1]
    assert reply["missing"] == [[unknown, 0]]
    assert reply["other"] == [[sent[1][0].hex(), 0]]


_NO_ROWS = [b'{"rows":[["%032x",%s,2]]}' % (5, phase) for phase in (b"1e300", b"2", b"99999999999999999999", b'"0"')]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"sessions":5,"rows":5}', b'{"sessions":["x"],"rows":[["x",1,2]]}', *_NO_ROWS]
)
def test_proof_is_asked_for_in_a_form(running: RealHub, body: bytes) -> None:
    """Anything else is refused."""
    assert running.ask("POST", "/sync/1/sessions", body)[0] == 400
    assert running.ask("POST", "/sync/1/missing", body)[0] == 400


def test_the_figures_of_a_sender_are_compared(running: RealHub) -> None:
    """A session that the sender reports as complete and that differs is named."""
    sent = session_rows(2)
    right = {"session": sent[0][2].hex(), **dict.fromkeys(analytics.Totals._fields, 0)}
    right |= {"rows": 4, "events": 2, "llms": 2, "cost": 14, "tokens_in": 20, "tokens_out": 4}
    for totals, differs in ((right, []), ({**right, "cost": 15}, [sent[0][2].hex()])):
        batch = batch_of(sent, journal=clock.new_id().hex())
        reply = running.take(Batch(batch.journal, [], batch.rows, batch.ranges, None, [totals]))[1]
        assert reply["differs"] == differs


def test_what_does_not_exist_is_reported(running: RealHub) -> None:
    """Another address, and another method, are answered in JSON."""
    assert running.ask("GET", "/nothing")[0] == 404
    assert running.ask("DELETE", f"/api/1/sessions/{uuid.uuid4()}")[0] == 405
    assert running.ask("GET", "/api/1/sessions/last")[0] == 404


def test_health_reports_a_full_disk(tmp_path: Path) -> None:
    """If a small file fits and a large value does not, health reports it until something is stored again."""
    data = os.urandom(3_000_000)
    path = f"/sync/1/blobs/{hashlib.sha256(data).hexdigest()}"
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
    with hub(tmp_path) as running:
        assert running.process is not None
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        assert running.ask("GET", "/health", key="")[0] == 200
        assert running.ask("PATCH", path, data, headers=headers)[0] == 503
        status, reply = running.ask("GET", "/health", key="")
        assert (status, reply["status"], "disk is full" in reply["problems"][0]) == (503, "trouble", True)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert running.ask("PATCH", path, data, headers=headers)[0] == 200
        assert running.ask("GET", "/health", key="")[0] == 200


def test_health_needs_no_key(running: RealHub) -> None:
    """Monitoring reads the health without a key."""
    status, reply = running.ask("GET", "/health", key="")
    assert (status, reply["status"], bool(reply["version"])) == (200, "ok", True)


def test_a_hub_without_its_keys_takes_nothing(tmp_path: Path) -> None:
    """The hub answers 503, also for its health, until the file is back; no other hub begins in its folder."""
    with hub(tmp_path) as found:
        os.rename(found.data / "hub.json", found.data / "away")
        assert found.take(batch_of(session_rows()))[0] == 503
        assert (found.ask("GET", "/health")[0], found.ask("GET", "/health")[1]["status"]) == (503, "trouble")
        for command in ("serve", "check"):
            done = warm.run(
                [sys.executable, "-m", "localops", "hub", command, "--data", str(found.data)],
                capture_output=True,
                timeout=60,
            )
            assert (done.returncode, "restore hub.json" in done.stderr) == (2, True), done
        os.rename(found.data / "away", found.data / "hub.json")
        assert found.take(batch_of(session_rows()))[0] == 200


def test_the_openapi_document_is_that_of_the_doors(running: RealHub) -> None:
    """Every address and method is in the document, and each of those in the document exists."""
    reply = running.ask("GET", "/openapi.json", key="")[1]
    named = {(method.upper(), path) for path, methods in reply["paths"].items() for method in methods}
    assert named == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    for method, path in named - {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS if endpoint.lasting}:
        filled = path.format(session=uuid.uuid4(), digest="0" * 64, seq=1, project="p", trace="0" * 32)
        assert running.ask(method, filled, b"" if method in ("POST", "PATCH") else None)[0] not in (405, 500)


@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if endpoint.key],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_the_openapi_document_knows_what_is_answered(running: RealHub, endpoint: Endpoint) -> None:
    """The document lists every status, also those of invalid requests."""
    reply = running.ask("GET", "/openapi.json")[1]["paths"][endpoint.path][endpoint.method.lower()]["responses"]
    names = {"session": uuid.uuid4(), "digest": "0" * 64, "seq": 1, "project": "default", "trace": "0" * 32}
    for wrong in (names, {**names, "session": "x", "digest": "x", "seq": "x", "project": "x", "trace": "x"}):
        for query in ("limit=0&format=x&sort=x&by=x&since=x&session=x&a=x&b=x", "project=elsewhere&session=0&a=0&b=0"):
            body = b"]" if endpoint.body else None
            status, _ = running.ask(endpoint.method, f"{endpoint.path.format(**wrong)}?{query}", body)
            assert str(status) in reply


def test_every_answer_says_which_hub_it_is(running: RealHub) -> None:
    """Each reply has the hub's id: a sender notices when another hub's data is behind the same address."""
    for path in ("/health", "/sync/1/hello", "/api/1/sessions", "/nothing", "/api/1/sessions/last"):
        reply = running.ask("GET", path)[1]
        assert (reply["localops"], reply["hub"]) == (bundle.WIRE, running.id)


def test_a_search_says_how_much_it_has_not_seen(tmp_path: Path) -> None:
    """While the index follows after many rows, the list is short and tells how many rows are not looked through."""
    with hub(tmp_path) as found:
        for n in range(3):
            batch = batch_of(session_rows(3_000, body='{"params":{"q":"paris"}}'), journal=f"{n}" * 32)
            assert found.take(batch)[0] == 200
        status, first = found.ask("GET", "/api/1/sessions?text=paris")
        assert (status, first["unsearched"] > 0 or len(first["sessions"]) == 3) == (200, True)
        wait_until(lambda: found.ask("GET", "/api/1/sessions?text=paris")[1]["unsearched"] == 0, 60)
        assert len(found.ask("GET", "/api/1/sessions?text=paris")[1]["sessions"]) == 3
        assert "unsearched" not in found.ask("GET", "/api/1/sessions")[1]
