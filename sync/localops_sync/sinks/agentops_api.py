"""The requests of AgentOps' REST interface (v2), and what its answers mean."""

from __future__ import annotations

import uuid

from localops.encoding import encode
from localops_sync.sink import Blocked, Offline, Refused, Unread
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


LONGEST = 64 << 20  # bytes of all that a session has there; in memory it is some five times as much
_TABLES = ("actions", "llms", "tools", "errors")
_NOBODY = uuid.UUID(int=0)
_KEY = "api key"  # in every complaint about it
_ABSENT = ("does not belong", "session not found")  # it says the same of what is not there and of what is another's


class Api:
    """One project of the service, by its key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.where = transport.where

    def check_key(self) -> None:
        """Blocked when there is no key, or none that the service could have given out."""
        key = self._transport.key
        if not key:
            raise Blocked("AgentOps takes nothing without the key of a project: localops remote add … --key-env NAME")
        try:
            uuid.UUID(key)
        except ValueError:
            raise Blocked(
                "this is no key of AgentOps: those are UUIDs, as in 11111111-1111-4111-8111-111111111111; "
                "the project's page there shows it"
            ) from None

    def greet(self) -> None:
        """Have the key looked at, by asking for a session that nobody has."""
        self._look(_NOBODY, "stats")

    def has(self, session: bytes) -> bool:
        """Whether the session is there: a small question."""
        return self._look(uuid.UUID(bytes=session), "stats") is not None

    def export(self, session: bytes) -> dict[str, list[dict[str, Any]]] | None:
        """All the events that are there; None when not even the session is; Refused when it is too much to read."""
        try:
            found = self._look(uuid.UUID(bytes=session), "export", LONGEST)
        except Unread as error:
            raise Refused(f"it may be there already, and that cannot be looked up: {error}") from error
        if found is None:
            return None
        if not isinstance(found, dict) or any(not isinstance(found.get(name), list) for name in _TABLES):
            raise self._strange("no export of a session")
        return {name: [row for row in found[name] if isinstance(row, dict)] for name in _TABLES}

    def _look(self, session: uuid.UUID, what: str, most: int = ANSWER) -> Any:
        path = f"/v2/sessions/{session}/{what}"
        reply = self._transport.ask("GET", path, headers=self._headers(), expected=(200, 400, 404), most=most)
        if reply.status == 200:
            return reply.json()
        said = reply.said().lower()
        if any(words in said for words in _ABSENT):
            return None
        if _KEY in said:
            raise self._wrong_key(said)
        if reply.status == 404:
            raise reply.refusal()
        raise Offline(f"{self.where} cannot say what it has: {said}", answered=True)

    def create(self, told: dict[str, Any]) -> str:
        """Make a session; the token that lets us write to it."""
        return self._token(self._post("create_session", {"session": told}))

    def renew(self, session: bytes) -> str:
        """A new token for a session that is there."""
        return self._token(self._post("reauthorize_jwt", {"session_id": str(uuid.UUID(bytes=session))}))

    def _post(self, path: str, told: dict[str, Any]) -> Reply:
        try:
            return self._transport.ask("POST", f"/v2/{path}", body=encode.dumps(told), headers=self._headers())
        except Refused as error:
            if _KEY in str(error).lower():
                raise self._wrong_key(str(error)) from error
            raise

    def _token(self, reply: Reply) -> str:
        found = reply.json()
        token = found.get("jwt") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise self._strange("no token")
        return token

    def name_agent(self, there: Bearer, id: str, name: str) -> None:
        """Make an agent known, or say again what it is called."""
        self._write(there, "create_agent", encode.dumps({"id": id, "name": name}))

    def insert(self, there: Bearer, events: Sequence[bytes]) -> None:
        """Add events to a session: a second time, if they are there already."""
        self._write(there, "create_events", b'{"events":[' + b",".join(events) + b"]}")

    def update(self, there: Bearer, told: dict[str, Any]) -> None:
        """Write everything about a session anew."""
        self._write(there, "update_session", encode.dumps({"session": told}))

    def _write(self, there: Bearer, path: str, body: bytes) -> None:
        """A request with the session's token, which lives a day: one that has expired is renewed, once."""
        reply = self._ask(there, path, body)
        if reply.status == 401:
            there.token = self.renew(there.id)
            reply = self._ask(there, path, body)
        if reply.status == 401 and "model" in reply.said().lower():
            raise Refused(f"{self.where} says: {reply.said()}")
        if reply.status == 401:
            raise reply.refusal()
        found = reply.json()
        status = found.get("status") if isinstance(found, dict) else found
        if not isinstance(status, str) or status.lower() != "success":
            raise self._strange("something else than success")

    def _ask(self, there: Bearer, path: str, body: bytes) -> Reply:
        headers = {**self._headers(), "Authorization": f"Bearer {there.token}"}
        return self._transport.ask("POST", f"/v2/{path}", body=body, headers=headers, expected=(200, 401))

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json; charset=UTF-8", "X-Agentops-Api-Key": self._transport.key or ""}

    def _wrong_key(self, said: str) -> Blocked:
        return Blocked(f"{self.where} does not accept the key ({said}): `localops remote key` gives another")

    def _strange(self, what: str) -> Offline:
        return Offline(f"{self.where} answered with {what}; nothing counts as sent")
