"""Projects are isolated: every endpoint and page is tried with the key of one for the data of another."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

import pytest

from localops import clock
from localops.encoding import encode
from localops.journal import blobs, rows
from localops.server.keys import SCOPES
from localops.server.request import Endpoint
from localops.server.routes import ENDPOINTS
from tests.server.hubs import RealHub, batch_of, hub

_WORD = "hush"  # it is in everything that can be named
_BLOB = b"\x89PNG\r\n\x1a\n hush"
_DIGEST = hashlib.sha256(_BLOB).hexdigest()
_SESSION, _BEFORE = clock.new_id(), clock.new_id()
_AGENT, _CALL = clock.new_id(), clock.new_id()
_PAGES = ("/", f"/s/{uuid.UUID(bytes=_SESSION)}", "/s/last", "/analytics?by=model", "/analytics?by=tag")


def _secret() -> list[rows.Row]:
    def row(kind: str, id: bytes | None = None, session: bytes = _SESSION, **columns: object) -> rows.Row:
        return rows.make(kind, session, id=id or clock.new_id(), at_ns=clock.now_ns(), **columns)  # type: ignore[arg-type]

    body = encode.dumps({"params": "hush", "returns": {"$blob": _DIGEST}}).decode()
    return [
        row("session", name="hush", parent=clock.new_id(), tags='["hush"]', body='{"host":"hush"}'),
        row("agent", _AGENT, name="hush"),
        row("llm", _CALL, model="hush", agent=_AGENT, tokens=(1, 1, None, None), cost=5, body=body),
        *(row("tool", name="hush", agent=_AGENT, body=body) for _ in range(4)),  # a loop
        row("error", name="hush", body='{"details":"hush"}'),
        row("end", name="Failure", body='{"reason":"hush"}'),
        row("scored", name="hush", body='{"value":1,"by":"hush"}'),
        row("session", session=_BEFORE, name="hush", body='{"host":"hush"}'),
        row("end", session=_BEFORE, name="Success"),
    ]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start a hub with a secret session, and a key to another project."""
    with hub(tmp_path_factory.mktemp("apart"), "mine") as running:
        blobs.keep(str(running.folder), _BLOB)  # first: a row whose file is not there is refused
        assert running.take(batch_of(_secret()))[0] == 200
        running.other = running.new_key("other")  # type: ignore[attr-defined]
        running.scoped = {  # type: ignore[attr-defined]
            scopes: running.new_key("mine", scopes=scopes)
            for scopes in (("send",), ("read",), ("admin",), ("read", "admin"))
        }
        yield running


def _ask(held: RealHub, method: str, path: str, body: bytes | None = None, **headers: str) -> str:
    """Return an answer, or its first lines if it is a stream."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        request = urllib.request.Request(held.url + path, body, sent, method=method)
        with urllib.request.urlopen(request, timeout=30) as got:
            received = b"".join(got.readline() for _ in range(4)) if "live" in path else got.read()
            return f"{got.headers}{received.decode(errors='replace')}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode()}"


def _try(held: RealHub, endpoint: Endpoint, key: str) -> str:
    """Return the answer of an endpoint about the secret, for a key."""
    names = {"session": uuid.UUID(bytes=_SESSION), "trace": _SESSION.hex(), "digest": _DIGEST, "seq": 3}
    path = endpoint.path.format(**names, project="mine")
    asked = {
        "a": _BEFORE.hex(),
        "b": _SESSION.hex(),
        "baseline": _BEFORE.hex(),
        "max_errors": "9",
        "session": _SESSION.hex(),
        "by": "model",
        "format": "json",
        "seqs": "3,4,5",
        "sessions": _SESSION.hex(),
        **({"sessions": f"{_SESSION.hex()},{_BEFORE.hex()}"} if endpoint.handler == "compare_runs" else {}),
        **({"text": _WORD} if endpoint.handler in ("matches", "snippets") else {}),
    }
    query = "&".join(f"{name}={asked[name]}" for name in endpoint.query if name in asked)
    request = {"sessions": [_SESSION.hex()], "rows": [[_CALL.hex(), 0, 5]], "blobs": [_DIGEST], "journals": ["a" * 32]}
    body = {None: None, "application/json": json.dumps(request).encode()}.get(endpoint.body, b"x")
    at = {"Upload_Offset": "0", "Upload_Length": str(len(_BLOB))}
    return _ask(held, endpoint.method, f"{path}?{query}", body, Authorization=f"Bearer {key}", **at)


# What shows that something is there, where nothing of it can be read.
_TRACES = {
    "missing": '"other":[["',
    "missing_blobs": '"missing":[]',
    "held": '"held":[[1,12]]',
    "figures": '"rows":10',
    "blob": f"upload-offset: {len(_BLOB)}",
    "add_to_blob": f'"offset":{len(_BLOB)}',
    "live": '"state":"Failure"',
    "stats": '"end_state":"Failure"',
    "loop_marks": '"loops":1',
    "timeline": _WORD,
    "matches": '"entries":[3',
    "daily": '"sessions":2',
    "summary": '"sessions":2',
    "distributions": '"sessions":2',
    "attachment": _WORD,
    "charts": _WORD,
    "speeds": '"p50":0.0',
    "project": '"name":"mine"',
    "trace_metrics": '"span_count":',
    "metrics": '{project="mine"',
}
# What AgentOps clients write has tests of its own: it goes into the session of their token. For spans, test_otlp_in.py
# tries two keys. Saved views: test_views.py does.
_WITHOUT_CONTENT = (
    "hello",
    "rows",
    "prices",
    "check_token",
    "traces",
    "logs",
    "judge",
    "views",
    "save_view",
    "delete_view",
)
_ENDPOINTS = [
    endpoint
    for endpoint in ENDPOINTS
    if endpoint.key
    and endpoint.handler not in _WITHOUT_CONTENT
    and (endpoint.api != "agentops" or endpoint.method == "GET")
]


@pytest.mark.parametrize("endpoint", _ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_no_endpoint_leads_into_another_project(held: RealHub, endpoint: Endpoint) -> None:
    """Its own key finds the session behind each; that of another project finds not a trace."""
    trace = _TRACES.get(endpoint.handler, _WORD)
    assert trace in _try(held, endpoint, held.key)
    assert trace not in _try(held, endpoint, held.other)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.replace(str(uuid.UUID(bytes=_SESSION)), "…"))
def test_no_page_shows_another_project(held: RealHub, path: str) -> None:
    """A page does not show it after a login with another key; with its own key it does."""
    trace = '"sessions":2' if "analytics" in path else _WORD
    shown = []
    for key in (held.key, held.other):  # type: ignore[attr-defined]
        body = json.dumps({"token": key}).encode()
        answer = _ask(held, "POST", "/login", body, Content_Type="application/json", Origin=held.url)
        cookie = answer.partition("set-cookie: ")[2].partition(";")[0]
        shown.append(trace in _ask(held, "GET", path, Cookie=cookie))
    assert shown == [True, False]


@pytest.mark.parametrize("scopes", [("send",), ("read",), ("admin",), ("read", "admin")], ids="+".join)
@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if endpoint.key],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_no_key_does_what_its_scopes_do_not_allow(held: RealHub, endpoint: Endpoint, scopes: tuple[str, ...]) -> None:
    """Of each endpoint, a key that lacks its scope gets an error that says so, and no trace of what is there."""
    assert endpoint.needs in SCOPES
    answer = _try(held, endpoint, held.scoped[scopes])  # type: ignore[attr-defined]
    # What is for monitoring is for a key that looks after the hub, too.
    is_allowed = endpoint.needs in scopes or (endpoint.api == "operator" and "admin" in scopes)
    assert answer.startswith("403 ") != is_allowed, answer
    if not is_allowed:
        # The answer to a HEAD has no body.
        assert f"scope {endpoint.needs}" in answer or endpoint.method == "HEAD"
        assert _TRACES.get(endpoint.handler, _WORD) not in answer


@pytest.mark.parametrize("scopes", [("send",), ("read",), ("admin",)], ids="+".join)
def test_only_a_key_that_reads_opens_pages(held: RealHub, scopes: tuple[str, ...]) -> None:
    """A login with another one fails, as if the key were unknown."""
    body = json.dumps({"token": held.scoped[scopes]}).encode()  # type: ignore[attr-defined]
    answer = _ask(held, "POST", "/login", body, Content_Type="application/json", Origin=held.url)
    assert ("set-cookie" in answer) == ("read" in scopes)
    assert answer.startswith("401 ") == ("read" not in scopes)
