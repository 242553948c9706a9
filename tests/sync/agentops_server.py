"""AgentOps' v2 service on the loopback address, as far as its documents, clients and source show it, with its faults.

It INSERTs the rows of a request, all rows of a table or none; it adds to a session's figures whether or not the rows
were inserted; errors have no id there; a token names the session, and lasts a day; an update writes every column; a
value of another type than the column's makes it fail.  `weather` decides what happens to each answer.
"""

from __future__ import annotations

import json
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "11111111-1111-4111-8111-111111111111"
STATES = ("Success", "Fail", "Indeterminate")
TABLES = ("actions", "llms", "tools", "errors")
_COLUMNS = {
    "actions": "id agent_id action_type logs screenshot params returns init_timestamp end_timestamp",
    "llms": "id agent_id thread_id prompt completion model prompt_tokens completion_tokens cost params returns "
    "init_timestamp end_timestamp",
    "tools": "id agent_id name logs params returns init_timestamp end_timestamp",
    "errors": "trigger_event_id trigger_event_type error_type code details logs timestamp",
}
_TEXTS = ("params", "returns", "logs", "action_type", "name", "model", "error_type", "code", "details", "screenshot")


class Failure(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Service:
    """The data of the service, and its handling of a request."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.stats: dict[str, dict[str, Any]] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        self.projects = {KEY: "one"}
        self.tokens: dict[str, str | None] = {}  # what it gave out; None: it has expired
        self.asked: list[tuple[str, str, Any]] = []
        self.actions_fail = False  # as the newest source does, read as it is written
        self.refuses: Callable[[dict[str, Any]], bool] = lambda event: False
        self.weather: Callable[[int, str], str | None] = lambda nth, path: None
        self.lock = threading.Lock()
        self.late: list[tuple[Any, ...]] = []  # requests that broke off and are still being worked on

    def expire(self) -> None:
        """Let a day pass."""
        self.tokens = dict.fromkeys(self.tokens)

    def catch_up(self) -> None:
        """Be done with what broke off."""
        late, self.late = self.late, []
        for each in late:
            with suppress(Failure):
                self.answer(*each)

    def answer(self, method: str, path: str, headers: Any, body: Any) -> Any:
        """Return the answer to a request; raise Failure for another status than 200."""
        name = path.removeprefix("/v2/")
        if method == "GET" and name.startswith("sessions/"):
            return self._read(name, headers)
        if name in ("create_session", "reauthorize_jwt"):
            project = self._project(headers)
            return self._create(project, body["session"]) if name == "create_session" else self._token(body)
        if name in ("create_agent", "create_events", "update_session"):
            session = self._bearer(headers)
            return {
                "create_agent": self._agent,
                "create_events": self._events,
                "update_session": self._update,
            }[name](session, body)
        raise Failure(404, "Not Found")

    def _project(self, headers: Any) -> str:
        key = headers.get("X-Agentops-Api-Key")
        if key is None:
            raise Failure(400, "API Key is Missing")
        try:
            uuid.UUID(key, version=4)
        except ValueError:
            raise Failure(400, "Invalid API key format") from None
        if key not in self.projects:
            raise Failure(400, "Invalid API Key")
        return self.projects[key]

    def _bearer(self, headers: Any) -> str:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token) is None:
            raise Failure(401, "Expired Token")
        return str(self.tokens[token])

    def _read(self, name: str, headers: Any) -> Any:
        _, session, what = name.split("/")
        project = self._project(headers)
        if self.sessions.get(session, {}).get("project_id") != project:
            raise Failure(400, "Session does not belong to this project")
        if what == "stats":
            empty = {"events": 0, "cost": "0.00", "prompt_tokens": 0, "completion_tokens": 0, "errors": 0}
            return self.stats.get(session, empty)
        mine = {table: [row for row in self.rows[table] if row["session_id"] == session] for table in TABLES}
        return {"session": self.sessions[session], **mine}

    def _create(self, project: str, body: dict[str, Any]) -> Any:
        session = body["session_id"]
        if session in self.sessions:
            raise Failure(500, "Internal Server Error")
        self.sessions[session] = {"id": session, "project_id": project, **_session(body)}
        self.stats[session] = {
            "session_id": session,
            "cost": None,
            "events": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "errors": 0,
        }
        return {**self._token(body), "session_url": "https://app.example/drilldown"}

    def _token(self, body: dict[str, Any]) -> Any:
        token = secrets.token_urlsafe(24)
        self.tokens[token] = body["session_id"]
        return {"status": "Success", "jwt": token}

    def _agent(self, session: str, body: dict[str, Any]) -> str:
        self.agents[body["id"]] = {"id": body["id"], "session_id": session, "name": body["name"]}
        return "Success"

    def _update(self, session: str, body: dict[str, Any]) -> Any:
        self.sessions[session].update(_session(body["session"]))
        return {"status": "success", "token_cost": str(self.stats[session]["cost"] or "0.00"), "session_url": ""}

    def _events(self, session: str, body: dict[str, Any]) -> str:
        taken: dict[str, list[dict[str, Any]]] = {}
        for event in body["events"]:
            table = event["event_type"] if event["event_type"] in ("llms", "tools", "errors") else "actions"
            if table == "actions" and self.actions_fail:
                raise Failure(500, "Internal Server Error")
            taken.setdefault(table, []).append(self._row(session, table, event))
        self._count(session, body["events"])  # in the same gather as the INSERTs, whatever becomes of them
        problems = [str(error) for table, some in taken.items() if (error := self._insert(table, some))]
        if problems:
            raise Failure(400, problems[0])
        return "Success"

    def _row(self, session: str, table: str, event: dict[str, Any]) -> dict[str, Any]:
        for name in _TEXTS:
            if not isinstance(event.get(name), str | None):
                raise Failure(500, "Internal Server Error")
        if any(event.get(name) is None for name in ("init_timestamp", "end_timestamp") if table != "errors"):
            raise Failure(500, "Internal Server Error")
        row = {"session_id": session, **{name: event.get(name) for name in _COLUMNS[table].split()}}
        for name in ("init_timestamp", "end_timestamp", "timestamp"):
            if name in row:
                row[name] = _timestamp(row[name])
        if table == "llms":
            row["prompt"], row["completion"] = _chat(row["prompt"]), _chat(row["completion"])
        if table == "errors":
            row["id"] = len(self.rows["errors"]) + 1
        elif row["agent_id"] is None:
            row["agent_id"] = self._default_agent(session)
        return {**row, "refuse": self.refuses(event)}

    def _default_agent(self, session: str) -> str:
        id = str(uuid.uuid5(uuid.UUID(session), "Default Agent"))
        self.agents.setdefault(id, {"id": id, "session_id": session, "name": "Default Agent"})
        return id

    def _insert(self, table: str, new: list[dict[str, Any]]) -> str | None:
        """All or none; what PostgreSQL says."""
        seen = {row["id"] for row in self.rows[table]} if table != "errors" else set()
        for row in new:
            if row["id"] in seen:
                return f"{{'code': '23505', 'message': 'duplicate key value violates constraint \"{table}_pkey\"'}}"
            if table != "errors":
                seen.add(row["id"])
                if row["agent_id"] not in self.agents:
                    return "{'code': '23503', 'message': 'violates foreign key constraint'}"
            elif row["trigger_event_type"] not in ("actions", "llms", "tools", None) or row["timestamp"] is None:
                return "{'code': '22P02', 'message': 'invalid input'}"
            if _has_nul(row):
                return "{'code': '22P05', 'message': 'unsupported Unicode escape sequence'}"
            if row["refuse"]:
                return "{'code': '22023', 'message': 'this row cannot be stored'}"
        self.rows[table] += [{name: value for name, value in row.items() if name != "refuse"} for row in new]
        return None

    def _count(self, session: str, events: list[dict[str, Any]]) -> None:
        stats = self.stats[session]
        for event in events:
            stats["events"] += 1
            stats["errors"] += event["event_type"] == "errors"
            stats["prompt_tokens"] += event.get("prompt_tokens") or 0
            stats["completion_tokens"] += event.get("completion_tokens") or 0
            if event.get("cost") is not None:
                stats["cost"] = round((stats["cost"] or 0) + event["cost"], 9)


def _session(body: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a session: missing ones become NULL."""
    if "init_timestamp" not in body or body.get("end_state") not in (*STATES, None):
        raise Failure(500, "Internal Server Error")
    names = "init_timestamp end_timestamp tags end_state end_state_reason video host_env".split()
    row = {name: body.get(name) for name in names}
    return {**row, "tags": json.dumps(row["tags"]) if row["tags"] else None}


def _timestamp(text: str | None) -> str | None:
    """Write a timestamptz as PostgREST does: without zeros at the end."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text).astimezone(UTC)
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}+00:00"


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_nul, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and "\0" in value


def _chat(value: Any) -> Any:
    if value is None:
        return None
    return {"type": "string", "string": value} if isinstance(value, str) else {"type": "chatml", "messages": value}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two of them wait 40 ms for each other
    service: Service

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def _handle(self, method: str) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = self.service
        with service.lock:
            body = json.loads(data) if data else None
            nth = len(service.asked)
            service.asked.append((method, self.path, body))
            weather = service.weather(nth, self.path)
            if weather == "before":
                return self._hang_up()
            if weather == "late":
                service.late.append((method, self.path, self.headers, body))
                return self._hang_up()
            if method == "POST" and self.path.endswith("create_events"):
                service.catch_up()
            if weather is not None and weather.isdigit():
                return self._say(int(weather), {"error": "the weather"})
            try:
                status, reply = 200, service.answer(method, self.path, self.headers, body)
            except Failure as failure:
                status, reply = failure.status, {"path": self.path, "message": str(failure)}
            except (KeyError, TypeError, ValueError, AttributeError):
                status, reply = 500, {"error": "Internal Server Error"}
        if weather == "after":
            return self._hang_up()
        if weather == "failed":  # though it has done the work
            return self._say(500, {"error": "Internal Server Error"})
        if weather == "garbled":
            return self._say(200, {"welcome": "to the free WiFi"})
        return self._say(status, reply)

    def _hang_up(self) -> None:
        self.close_connection = True

    def _say(self, status: int, reply: Any) -> None:
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Print nothing on stderr."""


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve it at an address of its own."""
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
