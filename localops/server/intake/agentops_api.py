"""What the handlers of AgentOps' protocols share: bodies, writes, and the address of a session's page."""

from __future__ import annotations

import uuid

from starlette.responses import Response

from localops.encoding import encode
from localops.server.bodies import Bodies
from localops.server.intake import tolerant
from localops.server.refusals import CONFLICT
from localops.server.request import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from localops.server.intake.desk import Desk
    from localops.server.keys import Key
    from localops.server.limits import Shares
    from localops.server.request import Call
    from localops.server.threads import Service

    T = TypeVar("T")

# An answer of AgentOps' server, which its clients compare.
NOT_OF_PROJECT = "Session does not belong to this project"


class AgentOpsApi:
    """The base of the handlers."""

    def __init__(self, service: Service, shares: Shares) -> None:
        self.service, self.store, self.limits = service, service.store, service.limits
        self.bodies = Bodies(service, shares)

    async def write(self, call: Call, work: Callable[[Desk], T]) -> T:
        """Run `work` with the project of the call, while nothing else writes to it."""

        def at_desk() -> T:
            with self.store.desk(call.owner) as desk:
                result = work(desk)
            self.service.metrics.took(call.owner, "agentops", **desk.counts)
            self.service.refusals.note(call.owner, "agentops", CONFLICT, len(desk.reasons), desk.reasons)
            return result

        return await self.service.write(call.owner, at_desk)

    async def document(self, call: Call, most: int | None = None) -> tuple[Any, bool]:
        """Return the JSON of a body, and whether it is strict JSON."""
        inflated = max(self.limits.inflated, most or 0)
        document: tuple[Any, bool] = await self.bodies.document(
            call.request, most or self.limits.body, inflated, tolerant.loads
        )
        return document

    async def object(self, call: Call, name: str | None = None, most: int | None = None) -> Mapping[str, Any]:
        """Return the object in the body, or the one under a name in it."""
        document, _ = await self.document(call, most)
        inner = document.get(name) if isinstance(document, dict) and name else document
        if not isinstance(inner, dict):
            expected = f'{{"{name}": {{…}}}}' if name else "an object"
            raise HttpError(400, f"invalid body: expected {expected}")
        return inner

    def url(self, call: Call, session: bytes) -> str:
        """Return the address of a session's page."""
        base = str(call.request.base_url).rstrip("/")
        root = self.service.root
        return f"{base}{'' if not root or base.endswith(root) else root}/s/{uuid.UUID(bytes=session)}"


def key_of(call: Call) -> Key:
    """Return the key of a call to an address that needs one."""
    if call.by is None:
        raise HttpError(401, "API Key is Missing")
    return call.by


def plain(value: object) -> Response:
    """Return a JSON response that is no object."""
    return Response(encode.dumps(value), 200, {"Cache-Control": "no-store"}, "application/json")
