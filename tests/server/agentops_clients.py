"""Requests as AgentOps' clients send them, byte for byte but for ids and times: see docs/hub-agentops.md."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.server.hubs import RealHub

_BEGAN = datetime.now(UTC)
HOST_ENV = {
    "SDK": {"AgentOps SDK Version": "0.3.26", "Python Version": "3.11.7", "System Packages": {}},
    "OS": {"Hostname": "box", "OS": "Linux", "OS Version": "#1", "OS Release": "6.1"},
    "CPU": {"Physical cores": 2, "Total cores": 2, "CPU Usage": "4.0%"},
    "Project Working Directory": {"Project Working Directory": "/work"},
}


def moment(seconds: float) -> str:
    """Return a time of the clients' clock, in the form in which they send it."""
    return (_BEGAN + timedelta(seconds=seconds)).isoformat()


class Client:
    """A client of 0.3.26: one process that sends a session."""

    def __init__(
        self, hub: RealHub, session: str | None = None, *, key: str | None = None, tags: object = (), at: float = 0.0
    ) -> None:
        self.hub, self.key = hub, hub.key if key is None else key
        self.session = session or str(uuid.uuid4())
        self.sent: dict[str, Any] = {
            "end_timestamp": None,
            "end_state": "Indeterminate",
            "session_id": self.session,
            "init_timestamp": moment(at),
            "tags": list(tags) if isinstance(tags, tuple) else tags,
            "video": None,
            "end_state_reason": None,
            "host_env": HOST_ENV,
            "config": "",
            "jwt": None,
            "_lock": "",
            "_end_session_lock": "",
            "token_cost": "",
            "_session_url": "",
            "event_counts": {"llms": 0, "tools": 0, "actions": 0, "errors": 0, "apis": 0},
        }
        self.jwt = ""

    def begin(self) -> Client:
        """Create the session, and keep its token."""
        status, reply = self.post("/v2/create_session", {"session": self.sent}, jwt=False)
        assert status == 200, reply
        self.jwt = reply["jwt"]
        return self

    def update(self, *, with_key: bool = False, **changed: Any) -> tuple[int, Any]:
        """Send the session again."""
        self.sent = {**self.sent, "is_running": True, "_otel_tracer": "", "jwt": self.jwt, **changed}
        return self.post("/v2/update_session", {"session": self.sent}, key=with_key)

    def end(self, state: str = "Success", reason: str | None = None, at: float = 60.0, **more: Any) -> tuple[int, Any]:
        """End the session."""
        ended = {"end_timestamp": moment(at), "end_state": state, "end_state_reason": reason}
        return self.update(with_key=True, is_running=False, **ended, **more)

    def events(self, *events: Any) -> tuple[int, Any]:
        """Send events."""
        return self.post("/v2/create_events", {"events": list(events)})

    def event(self, type: str, at: float = 1.0, **fields: Any) -> dict[str, Any]:
        """Return an event in the order of its keys."""
        return {
            "id": str(uuid.uuid4()),
            "event_type": type,
            "init_timestamp": moment(at),
            "end_timestamp": moment(at + 0.5),
            "params": None,
            "returns": None,
            "agent_id": None,
            "session_id": self.session,
            **fields,
        }

    def action(self, name: str = "step", **fields: Any) -> dict[str, Any]:
        """Return an action."""
        named = {"action_type": name, "logs": None, "screenshot": None, "name": name}
        return self.event("actions", **{**named, **fields})

    def call(self, **fields: Any) -> dict[str, Any]:
        """Return a call of a model, which costs $0.0125."""
        return self.event(
            "llms",
            **{
                "thread_id": None,
                "prompt": "why",
                "prompt_tokens": 1000,
                "completion": {"role": "assistant", "content": "so"},
                "completion_tokens": 1000,
                "cost": None,
                "model": "gpt-4o",
                **fields,
            },
        )

    def tool(self, name: str = "search", **fields: Any) -> dict[str, Any]:
        """Return a call of a tool."""
        return self.event("tools", **{"name": name, "logs": None, "tool_name": name, **fields})

    def error(self, **fields: Any) -> dict[str, Any]:
        """Return an error."""
        return self.event(
            "errors",
            **{
                "trigger_event": "",
                "exception": None,
                "error_type": "ValueError",
                "code": None,
                "details": "no",
                "logs": "NoneType: None\n",
                **fields,
            },
        )

    def post(
        self, path: str, body: object, *, key: bool = True, jwt: bool = True, method: str = "POST"
    ) -> tuple[int, Any]:
        """Return the status and the JSON of a reply."""
        headers = {"X-Agentops-Api-Key": self.key} if key or not jwt else {}
        headers["Content-Type"] = "application/json; charset=UTF-8"
        headers["Authorization"] = f"Bearer {self.jwt}" if jwt else ""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.hub.ask(method, path, data, headers=headers)

    # What the hub has of it

    def read(self, path: str) -> Any:
        """Return a read of the session with its key, which waits for its turn after many requests of that key."""
        until = time.monotonic() + 10
        status, reply = 429, None
        while status == 429 and time.monotonic() < until:
            status, reply = self.hub.ask("GET", path, key="", headers={"X-Agentops-Api-Key": self.key})
            if status == 429:
                time.sleep(0.1)
        assert status == 200, reply
        return reply

    @property
    def stored(self) -> Any:
        """Return the session."""
        return self.read(f"/api/1/sessions/{self.session}")

    @property
    def stats(self) -> Any:
        """Return its stats."""
        return self.read(f"/v2/sessions/{self.session}/stats")

    @property
    def export(self) -> Any:
        """Return its export."""
        return self.read(f"/v2/sessions/{self.session}/export")

    @property
    def kept(self) -> list[dict[str, Any]]:
        """Return its events."""
        events: list[dict[str, Any]] = self.read(f"/api/1/sessions/{self.session}/events?limit=1000")["events"]
        return events
