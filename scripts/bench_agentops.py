"""Measures what a hub takes from AgentOps clients, for bench.py: beside its own rows, of the same content."""

from __future__ import annotations

import http.client
import json
import statistics
import time
import uuid
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from localops import clock
from localops.journal import rows
from localops.transfer import bundle
from scripts.bench_sync import BATCH, Hub, body, hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench import Bench

EVENTS = 100  # of a request
_SESSION = str(uuid.uuid4())


def agentops(bench: Bench) -> None:
    """Measure events of AgentOps' v2 protocol beside rows of our senders."""
    many = max(2 * BATCH, bench.many // 25)
    ratios = []
    with bench.home("agentops") as home:
        for number in range(3):
            with hub(home.parent / f"hub {number}") as there:
                own = _rate(there, "/sync/1/rows", _batches(many), {"Content-Encoding": "gzip"})
                ratios.append(_rate(there, "/v2/create_events", _requests(many), _session(there)) / own)
    figure = f"{statistics.median(ratios):.2f}"
    bench.say(f"events of AgentOps 0.3, {EVENTS} a request, taken by a hub / rows of our senders", ">= 0.3", figure)


def _rate(there: Hub, path: str, sent: list[tuple[int, bytes]], headers: dict[str, str]) -> float:
    """Return how many rows or events a second a hub takes over one connection."""
    connection = http.client.HTTPConnection(there.url.partition("//")[2])
    headers = {"X-Agentops-Api-Key": there.key, **headers}
    began = time.perf_counter()
    for _, data in sent:
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
    took = time.perf_counter() - began
    connection.close()
    return sum(many for many, _ in sent) / took


def _batches(many: int) -> list[tuple[int, bytes]]:
    """Return bodies of requests of our senders, with one call of a model in three rows."""
    from tests.made import stored

    session, sent = clock.new_id(), []
    previous = None
    for first in range(1, many + 1, BATCH):
        made = [row(session, number) for number in range(first, first + BATCH)]
        batch = bundle.Batch("a" * 32, [], stored(made, first), [(first, first + BATCH - 1)], previous)
        previous = bundle.previous(batch)
        sent.append((BATCH, zlib.compress(bundle.pack(batch), 1, wbits=31)))
    return sent


def row(session: bytes, number: int) -> rows.Row:
    """Return a row of a session: every third one is a call of a model."""
    at, text = clock.now_ns(), body()
    columns: dict[str, Any] = {"id": clock.new_id(at), "at_ns": at, "start_ns": at - 1_000_000, "body": text}
    if number % 3:
        return rows.make(("action", "tool")[number % 2], session, name="step", **columns)
    return rows.make("llm", session, model="gpt-4o", tokens=(120, 40, None, None), cost=700_000, **columns)


def _session(there: Hub) -> dict[str, str]:
    """Begin a session, and return the headers of its requests."""
    connection = http.client.HTTPConnection(there.url.partition("//")[2])
    session = {"session_id": _SESSION, "init_timestamp": _now(), "tags": [], "host_env": {}}
    headers = {"X-Agentops-Api-Key": there.key}
    connection.request("POST", "/v2/create_session", json.dumps({"session": session}), headers)
    token = json.loads(connection.getresponse().read())["jwt"]
    connection.close()
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=UTF-8"}


def _requests(many: int) -> list[tuple[int, bytes]]:
    """Return bodies of requests in the form of the released client, with the same contents."""
    return [
        (EVENTS, json.dumps({"events": [_event(number) for number in range(EVENTS)]}).encode())
        for _ in range(many // EVENTS)
    ]


def _event(number: int) -> dict[str, Any]:
    content = json.loads(body())
    event = {
        "id": str(uuid.uuid4()),
        "event_type": ("llms", "tools", "actions")[number % 3],
        "init_timestamp": _now(),
        "end_timestamp": _now(),
        "params": content["params"],
        "returns": content["returns"],
        "agent_id": None,
        "session_id": _SESSION,
    }
    if number % 3 == 0:
        return _call(event)
    return {**event, **(_tool() if number % 3 == 1 else _action())}


def _call(event: dict[str, Any]) -> dict[str, Any]:
    """Return a call of a model: what it returned is in `completion`, and `returns` is always empty."""
    prompt = [{"role": "user", "content": event["returns"]["text"]}]
    completion = {"role": "assistant", "content": " ".join(event["returns"]["results"])}
    usage = {"prompt_tokens": 120, "completion_tokens": 40, "cost": None, "model": "gpt-4o"}
    return {**event, "returns": "", "thread_id": None, "prompt": prompt, "completion": completion, **usage}


def _tool() -> dict[str, Any]:
    return {"name": "search", "logs": None, "tool_name": "search"}


def _action() -> dict[str, Any]:
    return {"action_type": "step", "logs": None, "screenshot": None, "name": "step"}


def _now() -> str:
    return datetime.now(UTC).isoformat()


PARTS: dict[str, Callable[[Bench], None]] = {"agentops": agentops}
