"""The requests of AgentOps' REST interface (v2), and the meaning of its answers."""

from __future__ import annotations

import uuid

from localops.encoding import encode
from localops_sync.sink import Blocked, Offline, Refused, Unread, WrongKey
from localops_sync.transport import ANSWER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from localops_sync.transport import Reply, Transport

    class Bearer(Protocol):
        """A session that we may write to."""

        id: bytes
        token: str


LONGEST = 64 << 20  # bytes of an export; in memory it takes some five times as much
_TABLES = ("actions", "llms", "tools", "errors")
_NO_SESSION = uuid.UUID(int=0)
_KEY = "api key"  # in every message about it
# The service answers the same for a session that does not exist and for one of another project.
_ABSENT = ("does not belong", "session not found")


class Api:
    """One project of the service, which its key selects."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.where = transport.where

    def check_key(self) -> None:
        """Raise Blocked when there is no key, or one that the service cannot have issued."""
        key = self._transport.key
        if not key:
            raise Blocked("AgentOps needs the key of a project: localops remote add … --key-env NAME")
        try:
            uuid.UUID(key)
        except ValueError:
            raise WrongKey(
                "invalid key of AgentOps: expected a UUID, as in 11111111-1111-4111-8111-111111111111; "
                "copy it from the project's page there, and set it with `localops remote key`"
            ) from None

    def greet(self) -> None:
        """Have the service check the key, by asking for a session that does not exist."""
        self._look(_NO_SESSION, "stats")

    def has(self, session: bytes) -> bool:
        """Return whether the session is there; a small request."""
        return self._look(uuid.UUID(bytes=session), "stats") is not None

    def export(self, session: bytes) -> dict[str, list[dict[str, Any]]] | None:
        """Return all events of a session, None when it does not exist; raise Refused when it is too large to read."""
        try:
            payload = self._look(uuid.UUID(bytes=session), "export", LONGEST)
        except Unread as error:
            raise Refused(f"it may be there already, and that cannot be looked up: {error}") from error
        if payload is None:
            return None
        if not isinstance(payload, dict) or any(not isinstance(payload.get(name), list) for name in _TABLES):
            raise self._unexpected("something other than a session's export")
        return {name: [row for row in payload[name] if isinstance(row, dict)] for name in _TABLES}

    def _look(self, session: uuid.UUID, what: str, most: int = ANSWER) -> Any:
        path = f"/v2/sessions/{session}/{what}"
        reply = self._transport.ask("GET", path, headers=self._headers(), expected=(200, 400, 404), most=most)
        if reply.status == 200:
            return reply.json()
        excerpt = reply.excerpt().lower()
        if any(words in excerpt for words in _ABSENT):
            return None
        if _KEY in excerpt:
            raise self._wrong_key(excerpt)
        if reply.status == 404:
            raise reply.refusal()
        raise Offline(f"{self.where} cannot say what it has: {excerpt}", answered=True)

    def create(self, fields: dict[str, Any]) -> str:
        """Create a session; return the token to write to it."""
        return self._token(self._post("create_session", {"session": fields}))

    def renew(self, session: bytes) -> str:
        """Return a new token for a session that is there."""
        return self._token(self._post("reauthorize_jwt", {"session_id": str(uuid.UUID(bytes=session))}))

    def _post(self, path: str, payload: dict[str, Any]) -> Reply:
        try:
            return self._transport.ask("POST", f"/v2/{path}", body=encode.dumps(payload), headers=self._headers())
        except Refused as error:
            if _KEY in str(error).lower():
                raise self._wrong_key(str(error)) from error
            raise

    def _token(self, reply: Reply) -> str:
        payload = reply.json()
        token = payload.get("jwt") if isinstance(payload, dict) else None
        if not isinstance(token, str) or not token:
            raise self._unexpected("no token")
        return token

    def name_agent(self, there: Bearer, id: str, name: str) -> None:
        """Create an agent, or set its name again."""
        self._write(there, "create_agent", encode.dumps({"id": id, "name": name}))

    def insert(self, there: Bearer, events: Sequence[bytes]) -> None:
        """Add events to a session, which has them twice then if they are there already."""
        self._write(there, "create_events", b'{"events":[' + b",".join(events) + b"]}")

    def update(self, there: Bearer, fields: dict[str, Any]) -> None:
        """Replace all fields of a session."""
        self._write(there, "update_session", encode.dumps({"session": fields}))

    def _write(self, there: Bearer, path: str, body: bytes) -> None:
        """Send a request with the session's token, which is valid for a day; renew an expired one, once."""
        reply = self._ask(there, path, body)
        if reply.status == 401:
            there.token = self.renew(there.id)
            reply = self._ask(there, path, body)
        # The service also answers 401 for a model that it does not allow, which is not about the token.
        if reply.status == 401 and "model" in reply.excerpt().lower():
            raise Refused(f"{self.where} says: {reply.excerpt()}")
        if reply.status == 401:
            raise reply.refusal()
        payload = reply.json()
        status = payload.get("status") if isinstance(payload, dict) else payload
        if not isinstance(status, str) or status.lower() != "success":
            raise self._unexpected("something other than success")

    def _ask(self, there: Bearer, path: str, body: bytes) -> Reply:
        headers = {**self._headers(), "Authorization": f"Bearer {there.token}"}
        return self._transport.ask("POST", f"/v2/{path}", body=body, headers=headers, expected=(200, 401))

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json; charset=UTF-8", "X-Agentops-Api-Key": self._transport.key or ""}

    def _wrong_key(self, excerpt: str) -> WrongKey:
        return WrongKey(f"{self.where} does not accept the key ({excerpt}): set another with `localops remote key`")

    def _unexpected(self, what: str) -> Offline:
        return Offline(f"{self.where} answered with {what}; nothing counts as sent")
