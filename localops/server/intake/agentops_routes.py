"""The addresses that clients of AgentOps use."""

from __future__ import annotations

from functools import partial

from localops.server.keys import READ
from localops.server.request import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_JSON = "application/json"
_NO_TOKEN = {401: "The token is missing, has expired, or its key was revoked."}
_SESSION = {"session": {"type": "object"}}
_MANY = {"events": {"type": "array", "items": {"type": "object"}}}
_KEY = {"api_key": {"type": "string", "format": "uuid"}}
_NO_KEY = {400: "The key has another form.", 422: "The body has no key."}


def _form(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_NAMED = _form({"id": {"type": "string"}})
# With the key of a project, and with the token of a session.
_with_key = partial(Endpoint, api="agentops", v2=True, body=_JSON)
_with_token = partial(Endpoint, api="agentops", body=_JSON, answers=_NO_TOKEN)
_public = partial(Endpoint, api="agentops", v2=True, scope=READ)
_open = partial(Endpoint, api="agentops", key=False)

AGENTOPS = (
    _with_key(
        "POST",
        "/v2/create_session",
        "create_session",
        "AgentOps 0.3: begin a session, and get the token for it.",
        form=_form(_SESSION),
    ),
    _with_key("POST", "/v2/sessions", "create_session", "The same.", form=_form(_SESSION)),
    _with_token(
        "POST", "/v2/update_session", "update_session", "AgentOps 0.3: change or end a session.", form=_form(_SESSION)
    ),
    _with_token(
        "POST", "/v2/create_events", "create_events", "AgentOps 0.3: add events to a session.", form=_form(_MANY)
    ),
    _with_token("POST", "/v2/update_events", "create_events", "The same: events are not changed.", form=_form(_MANY)),
    _with_token("POST", "/v2/create_agent", "create_agent", "AgentOps 0.3: add an agent to a session.", form=_NAMED),
    _with_token("POST", "/v2/create_thread", "create_thread", "AgentOps 0.3: add a thread to a session.", form=_NAMED),
    _with_token(
        "PUT",
        "/v2/update_logs",
        "update_logs",
        "AgentOps 0.3: add printed text to a session.",
        form=_form({"logs": {"type": "string"}}),
    ),
    _with_key(
        "POST",
        "/v2/reauthorize_jwt",
        "reauthorize_jwt",
        "AgentOps 0.3: get another token for a session.",
        form=_form({"session_id": {"type": "string", "format": "uuid"}}),
    ),
    _with_key("POST", "/v2/developer_errors", "developer_errors", "AgentOps 0.3: errors of the client; dropped."),
    _open("GET", "/v2/ttd/{trace}", "time_travel", "AgentOps 0.3: answers of models to replay; there are none."),
    _open(
        "POST",
        "/v3/auth/token",
        "auth_token",
        "AgentOps 0.4: get the token for a key.",
        body=_JSON,
        form=_form(_KEY),
        answers={**_NO_KEY, 403: "The key is unknown or revoked."},
    ),
    _with_token("GET", "/v3/auth/token", "check_token", "AgentOps 0.4: what a token says.", body=None),
    _with_token(
        "POST",
        "/v4/logs/upload/",
        "upload_log",
        "AgentOps 0.4: what a program printed, for the session of the trace in the header `Trace-Id`.",
        form=_form({"body": {"type": "string"}}),
    ),
    _with_token(
        "POST",
        "/v4/objects/upload/",
        "upload_object",
        "AgentOps 0.4: keep a text with the session of the trace in the header `Trace-Id`.",
        form=_form({"body": {"type": "string"}}),
    ),
    _open(
        "POST",
        "/v1/metrics",
        "drop_metrics",
        "OpenTelemetry metrics, which AgentOps 0.4 also sends: accepted with 200, and dropped.",
        gives=("application/x-protobuf", _JSON),
    ),
    _open(
        "POST",
        "/public/v1/auth/access_token",
        "access_token",
        "AgentOps: get a token for reading.",
        body=_JSON,
        form=_form(_KEY),
        answers={**_NO_KEY, 404: "The key is unknown or revoked."},
    ),
    _public("GET", "/public/v1/project", "project", "AgentOps: the project of the key."),
    _public("GET", "/public/v1/traces/{trace}", "trace", "AgentOps: the events of a session, as spans."),
    _public("GET", "/public/v1/traces/{trace}/metrics", "trace_metrics", "AgentOps: the figures of a session."),
)
