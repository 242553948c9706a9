"""Handles AgentOps' v2 protocol of its clients 0.3: sessions, events and agents, and the cost in answers."""

from __future__ import annotations

import time
import uuid
from decimal import Decimal

from starlette.responses import Response

from localops.server.intake import agentops_events, agentops_sessions, tokens
from localops.server.intake.agentops_api import NOT_OF_PROJECT, AgentOpsApi, key_of, plain
from localops.server.intake.agentops_sessions import Participant
from localops.server.request import HttpError
from localops.server.threads import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from localops.server.intake.desk import Desk
    from localops.server.keys import Key
    from localops.server.request import Call

# The most events of one request; clients send at most 25, and before 0.3.19 at most 512.
MOST_EVENTS = 5_000


class AgentOpsV2(AgentOpsApi):
    """Handlers of the addresses of AgentOps' v2 protocol."""

    async def create_session(self, call: Call) -> Response:
        """Store that a session began, and return the token for it."""
        sent = await self.object(call, "session")
        who = _participant(sent)
        await self.write(call, lambda desk: agentops_sessions.begin(desk, who, sent))
        return json({"status": "Success", "jwt": _jwt(key_of(call), who), "session_url": self.url(call, who.session)})

    async def update_session(self, call: Call) -> Response:
        """Store what is new in a session, and return its cost."""
        session, of_token = _session_of(call)
        sent = await self.object(call, "session")
        # Session and process are those of the token, whatever the body names.
        id = (
            of_token if of_token is not None else _participant({**sent, "session_id": str(uuid.UUID(bytes=session))}).id
        )
        who = Participant(session, id)

        def update(desk: Desk) -> int:
            agentops_sessions.update(desk, who, sent)
            return desk.cost(session)

        cost = await self.write(call, update)
        return json({"status": "success", "token_cost": _dollars(cost), "session_url": self.url(call, who.session)})

    async def create_events(self, call: Call) -> Response:
        """Store events."""
        session, _ = _session_of(call)
        document, is_strict = await self.document(call)
        sent = document.get("events") if isinstance(document, dict) else None
        if not isinstance(sent, list):
            raise HttpError(400, 'invalid body: expected {"events": [{…}, …]}')
        if len(sent) > MOST_EVENTS:
            raise HttpError(413, f"too many events: at most {MOST_EVENTS} in one request, got {len(sent)}")
        added, wrong = await self.write(
            call, lambda desk: agentops_events.add(desk, session, sent, is_strict=is_strict)
        )
        if not wrong and not added.gone:
            return plain("Success")
        facts = {"status": "Success", "stored": added.stored, "gone": added.gone}
        return json({**facts, "problems": [[place, why] for place, why in sorted(wrong.items())]})

    async def create_agent(self, call: Call) -> Response:
        """Store an agent."""
        return await self._beside(call, agentops_sessions.agent)

    async def create_thread(self, call: Call) -> Response:
        """Store a thread."""
        return await self._beside(call, agentops_sessions.thread)

    async def update_logs(self, call: Call) -> Response:
        """Store a text that the program printed."""

        def store(desk: Desk, session: bytes, sent: Mapping[str, Any]) -> None:
            agentops_sessions.beside(desk, session, "logs", {"logs": sent.get("logs")})

        await self._beside(call, store)
        session, _ = _session_of(call)
        return json({"status": "success", "logs_url": self.url(call, session)})

    async def reauthorize_jwt(self, call: Call) -> Response:
        """Return a new token for a session of the project."""
        sent = await self.object(call)
        who = _participant(sent)
        start = await self.service.read(self.store.session, call.owner, who.session)
        if start is None:
            raise HttpError(400, NOT_OF_PROJECT)
        # Which process asks is unknown: the next update shows that.
        return json({"status": "Success", "jwt": _jwt(key_of(call), Participant(who.session, b""))})

    async def time_travel(self, call: Call) -> Response:
        """Return the answers of models to replay: an empty list, as clients have never sent any."""
        del call
        return Response(b"[]", media_type="application/json")

    async def developer_errors(self, call: Call) -> Response:
        """Drop what a client reports about its own errors."""
        await self.document(call)
        return Response(status_code=204)

    async def _beside(self, call: Call, store: Callable[[Desk, bytes, Mapping[str, Any]], None]) -> Response:
        session, _ = _session_of(call)
        sent = await self.object(call)

        def work(desk: Desk) -> None:
            try:
                store(desk, session, sent)
            except ValueError as error:
                raise HttpError(400, str(error)) from error

        await self.write(call, work)
        return plain("Success")


def _participant(sent: Mapping[str, Any]) -> Participant:
    try:
        return agentops_sessions.participant(sent)
    except ValueError as error:
        raise HttpError(400, str(error)) from error


def _session_of(call: Call) -> tuple[bytes, bytes | None]:
    """Return the session that the call's token is for, and the process that got it."""
    token = call.token
    if token is None or token.session is None:
        raise HttpError(401, "missing token: send Authorization: Bearer with the jwt of create_session")
    return token.session, token.participant


def _jwt(key: Key, who: Participant) -> str:
    claims = {"session_id": str(uuid.UUID(bytes=who.session)), **({"participant": who.id.hex()} if who.id else {})}
    return tokens.issue(key, time.time(), tokens.SESSION_LIFE, **claims)


def _dollars(nano: int) -> str:
    """Return a cost as clients read it, into a Decimal."""
    return format((Decimal(nano) / 10**9).normalize(), "f") if nano else "0.00"
