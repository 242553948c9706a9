"""Handles AgentOps' later protocols, which its clients 0.4 use beside OpenTelemetry: tokens, logs, reading traces."""

from __future__ import annotations

import asyncio
import time
import uuid
from decimal import Decimal

from starlette.responses import Response

from localops.clock import iso
from localops.server import request_body
from localops.server.intake import agentops_sessions, tokens, tolerant
from localops.server.intake.agentops_api import NOT_OF_PROJECT, AgentOpsApi, key_of
from localops.server.keys import canonical
from localops.server.request import HttpError
from localops.server.threads import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts
    from localops.server.keys import Key
    from localops.server.request import Call

# The most bytes of a log, as at AgentOps; JSON may need six for each.
MOST_LOG = 25 << 20
# The most bytes of a body with a key, and the most seconds for it, as anyone may send one.
_MOST_KEY, _KEY_WAIT = 4 << 10, 10.0
# The most spans in one answer.
_MOST_SPANS = 10_000
_PAGE = 1_000
_PROTOBUF = "application/x-protobuf"
# Our kinds of events, and the kinds of spans by which clients recognise them.
_KINDS = {"action": "operation", "llm": "llm", "tool": "tool", "agent": "agent"}


class AgentOpsV4(AgentOpsApi):
    """Handlers of the addresses of AgentOps' v3, v4 and public protocols."""

    async def auth_token(self, call: Call) -> Response:
        """Return a token for the project of the key in the body."""
        key = await self._key_in(call, unknown=403)
        return json(
            {
                "token": _token(key),
                "project_id": key.project,
                # With any other value, clients print that the project is on the free plan.
                "project_prem_status": "pro",
            }
        )

    async def check_token(self, call: Call) -> Response:
        """Return the contents of a token."""
        if call.token is None:
            raise HttpError(401, "missing token: send Authorization: Bearer with the token of POST /v3/auth/token")
        claims = call.token.claims
        expires = iso(int(claims["exp"]) * 1_000_000_000)
        return json({"message": "JWT token is valid", "payload": dict(claims), "expires_at": expires})

    async def access_token(self, call: Call) -> Response:
        """Return a token for reading."""
        return json({"bearer": _token(await self._key_in(call, unknown=404))})

    async def upload_log(self, call: Call) -> Response:
        """Store what a program printed, in the session of its first trace."""
        return await self._upload(call, "logs")

    async def upload_object(self, call: Call) -> Response:
        """Store a text that a program uploads for the session of a trace."""
        return await self._upload(call, "object")

    async def _upload(self, call: Call, what: str) -> Response:
        session = _trace(call.request.headers.get("trace-id", ""))
        sent = await self.object(call, most=6 * MOST_LOG)
        text = sent.get("body")
        if not isinstance(text, str):
            raise HttpError(400, 'invalid body: expected {"body": "…"}')
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MOST_LOG:
            raise HttpError(413, f"the text is too large: {size} bytes, at most {MOST_LOG}")
        if text:
            await self.write(call, lambda desk: agentops_sessions.beside(desk, session, what, {what: text}))
        return json({"url": self.url(call, session), "size": size})

    async def drop_metrics(self, call: Call) -> Response:
        """Drop metrics of a client's process: the figures of a session are computed from its events."""
        await request_body.discard(call.request.stream(), self.limits.body)
        is_json = "json" in call.request.headers.get("content-type", "")
        return Response(b"{}" if is_json else b"", media_type="application/json" if is_json else _PROTOBUF)

    async def trace(self, call: Call) -> Response:
        """Return the spans of a session."""
        session = _in_path(call)
        facts = await self._session(call, session)
        spans: list[Facts] = []
        after: int | None = 0
        while after is not None and len(spans) < _MOST_SPANS:
            page = await self.service.read(self.store.events, call.owner, session, after=after, limit=_PAGE)
            spans += [] if page is None else page["events"]
            after = None if page is None else page["next_after"]
        ids = {each["id"]: _span_id(each) for each in spans}
        return json(
            {
                "trace_id": session.hex(),
                "project_id": call.owner,
                "tags": facts["tags"],
                "spans": [_span(each, ids) for each in spans],
            }
        )

    async def trace_metrics(self, call: Call) -> Response:
        """Return the figures of a session."""
        facts = await self._session(call, _in_path(call))
        cost = format(Decimal(facts["cost_nano"]) / 10**9, ".7f")
        return json(
            {
                "span_count": facts["events"],
                "trace_count": 1,
                "success_count": facts["events"] - facts["failed"] - facts["errors"],
                "fail_count": facts["failed"] + facts["errors"],
                "indeterminate_count": 0,
                "prompt_tokens": facts["tokens_in"],
                "completion_tokens": facts["tokens_out"],
                "cache_read_input_tokens": facts["tokens_cached"],
                "reasoning_tokens": facts["tokens_reasoning"],
                "total_tokens": facts["tokens_in"] + facts["tokens_out"],
                # A call has only one cost here, which the program may have set.
                "prompt_cost": None,
                "completion_cost": None,
                "average_cost_per_trace": cost,
                "total_cost": cost,
            }
        )

    async def project(self, call: Call) -> Response:
        """Return the project of the key."""
        return json({"id": call.owner, "name": call.owner, "environment": "production"})

    async def _session(self, call: Call, session: bytes) -> Facts:
        key_of(call)
        facts = await self.service.read(self.store.session, call.owner, session)
        if facts is None:
            raise HttpError(404, NOT_OF_PROJECT)
        return facts

    async def _key_in(self, call: Call, *, unknown: int) -> Key:
        """Return the key in the body."""
        try:
            async with asyncio.timeout(_KEY_WAIT):
                document, _ = await self.bodies.document(call.request, _MOST_KEY, _MOST_KEY, tolerant.loads)
        except TimeoutError as error:
            raise request_body.TooSlow("the body of the request did not arrive in time") from error
        given = document.get("api_key") if isinstance(document, dict) else None
        if given is None:
            raise HttpError(422, 'invalid body: expected {"api_key": "…"}')
        try:
            secret = canonical(str(uuid.UUID(given))) if isinstance(given, str) else ""
        except ValueError:
            secret = ""
        if not secret:
            raise HttpError(400, "Invalid API key format")
        assert self.service.keys is not None
        key = self.service.keys.find(secret)
        if key is None:
            raise HttpError(unknown, "Invalid API Key")
        return key


def _token(key: Key) -> str:
    claims = {"aud": "authenticated", "project_id": key.project, "project_prem_status": "pro"}
    return tokens.issue(key, time.time(), tokens.PROJECT_LIFE, **claims)


def _trace(text: str) -> bytes:
    """Return a trace id in the header of a log: a decimal number, or 32 hex digits."""
    try:
        if len(text) == 32 and not text.isdigit():
            return bytes.fromhex(text)
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 40 else 0
        return number.to_bytes(16, "big") if number else _no_trace()
    except (ValueError, OverflowError):
        return _no_trace()


def _no_trace() -> bytes:
    raise HttpError(400, "invalid Trace-Id: expected the id of a trace as a decimal number")


def _in_path(call: Call) -> bytes:
    try:
        return uuid.UUID(call.request.path_params["trace"]).bytes
    except ValueError as error:
        raise HttpError(404, "invalid trace id: expected 32 hex digits") from error


def _span_id(event: Facts) -> str:
    given = event.get("span_id")
    return given if isinstance(given, str) else str(event["id"]).replace("-", "")[16:]


def _span(event: Facts, ids: dict[str, str]) -> Facts:
    start, end = event["start_ns"], event["end_ns"]
    kind = event["kind"]
    is_bad = event["failed"] or kind == "error"
    return {
        "span_id": ids[event["id"]],
        "parent_span_id": ids.get(event["parent"]),
        "span_name": event["name"] or event["model"] or kind,
        "span_kind": "CLIENT" if kind == "llm" else "INTERNAL",
        "start_time": iso(start),
        "end_time": None if end is None else iso(end),
        "duration": None if end is None else max(0, end - start),
        "status_code": "ERROR" if is_bad else "OK" if event["finished"] else "UNSET",
        "status_message": "",
        "span_attributes": {"agentops": {"span": {"kind": _KINDS.get(kind, kind)}}},
    }
