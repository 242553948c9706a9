"""The application as the server runs it: each request gets an id, is counted, and is logged."""

from __future__ import annotations

import re
import time

from starlette.applications import Starlette

from localops import clock
from localops.server import exchange as exchanges
from localops.server import logs
from localops.server.exchange import Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from starlette.types import Message, Receive, Scope, Send

    from localops.server.metrics import Metrics
    from localops.server.operator_api import OperatorApi

# An id that a proxy or a client gave, if it can be logged as it is.
_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.:@/+=-]{0,63}")
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
_HEADER = b"x-request-id"


class Observed(Starlette):
    """An application whose requests get an id, are counted, and are logged."""

    def __init__(self, metrics: Metrics, *, hub: bool, access: bool, **options: Any) -> None:
        super().__init__(**options)
        self.metrics, self.is_hub, self.access = metrics, hub, access
        # Of a hub.
        self.operator: OperatorApi | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, then count and log it."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        exchange = Exchange(_id_of(scope))

        async def receiving() -> Message:
            message = await receive()
            exchange.received += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                if self.is_hub:
                    message["headers"] = [*message["headers"], (_HEADER, exchange.id.encode())]
            elif message["type"] == "http.response.body":
                exchange.sent += len(message.get("body", b""))
                exchange.is_complete = not message.get("more_body", False)
            await send(message)

        token = exchanges.begin(exchange)
        try:
            await super().__call__(scope, receiving, sending)
        except Exception as error:
            logs.failed(error, **_facts(scope, exchange))
            # Starlette answered 500 and raised the error for the server, which would log it a second time.
            if not exchange.is_complete:
                raise
        finally:
            exchanges.end(token)
            seconds = time.perf_counter() - exchange.began
            self.metrics.over(exchange, seconds)
            if self.access:
                logs.access(ms=round(seconds * 1_000, 1), bytes=exchange.sent, **_facts(scope, exchange))


def _id_of(scope: Scope) -> str:
    """Return the id that the request brings, if it can be logged, else a new one."""
    given = [value for name, value in scope["headers"] if name == _HEADER]
    if len(given) == 1 and _SANE.fullmatch(given[0]):
        text: str = given[0].decode()
        if logs.scrub(text) == text:
            return text
    return clock.new_id().hex()


def _facts(scope: Scope, exchange: Exchange) -> dict[str, Any]:
    """Return what the log says about a request."""
    client = scope.get("client")
    return {
        "request_id": exchange.id,
        # A client may name any word as its method, and put a secret there.
        "method": scope["method"] if scope["method"] in _METHODS else "other",
        "path": logs.address(scope["path"], scope.get("query_string", b"")),
        "status": exchange.status or None,
        "door": exchange.door,
        "project": exchange.project,
        "key": exchange.handle,
        "peer": f"{client[0]}:{client[1]}" if client else None,
    }
