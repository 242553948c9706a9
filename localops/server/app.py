"""The ASGI application: every address with its handler, and the checks around all of them.

With keys it is a hub; without, it serves the same reads of a local home to browsers that have its token.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import cast

from starlette.middleware import Middleware
from starlette.routing import Route

from localops import output
from localops.server import browser_guard, web_files
from localops.server.auth import Auth
from localops.server.event_stream import EventStreams
from localops.server.limits import Limits, Shares
from localops.server.mounted import Mounted, check_root
from localops.server.observed import Observed
from localops.server.pages import Pages
from localops.server.read_api import ReadApi
from localops.server.routes import ENDPOINTS
from localops.server.threads import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from starlette.requests import Request
    from starlette.responses import Response

    from localops.server.keys import Keys
    from localops.server.operator_api import OperatorApi
    from localops.server.store import Readable, Store

# Pages of a hub only.
_OF_HUB = {"/senders": "senders"}
_PAGES = {
    "/": "sessions",
    "/s/{session}": "session",
    "/calls": "calls",
    "/analytics": "analytics",
    "/compare": "compare",
    "/conversation": "conversation",
}
_OTHERS = ("/login", "/logout", "/web/{name:path}")


def app(
    store: Readable,
    keys: Keys | None = None,
    *,
    tokens: browser_guard.Tokens | None = None,
    project: str | None = None,
    limits: Limits | None = None,
    root_path: str = "",
    access_log: bool = False,
    audit_reads: bool = False,
    offers_prices: bool = False,
) -> Observed:
    """Return the application of a hub, or without `keys` that of a local home or one project of it.

    `root_path` is the path below which a proxy serves it, if any; ConfigError if it is not valid.
    """
    bounds = limits or Limits()
    root = check_root(root_path, [*(endpoint.path for endpoint in ENDPOINTS), *_PAGES, *_OF_HUB, *_OTHERS])
    shares = Shares(bounds)
    service = Service(cast("Store", store), keys, bounds, root, audit_reads=audit_reads, offers_prices=offers_prices)
    streams = EventStreams(bounds)
    read_api = ReadApi(service, streams)
    handlers_of: dict[str, Any] = {"read": read_api}
    operator: OperatorApi | None = None
    if keys is not None:
        from localops.server import hub_parts

        operator = hub_parts.operator_api(service, shares, streams)
        handlers_of |= {**hub_parts.handlers(service, shares), "operator": operator}
    logins = (
        browser_guard.of_keys(keys, bounds.logins)
        if keys is not None
        else browser_guard.Logins((tokens or browser_guard.Tokens()).visitor)
    )
    pages = Pages(read_api, service, logins, operator)
    auth = Auth(service, shares, logins, pages, project)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        # Commands whose output is for programs turn separators off; pages are for people.
        before = output.separate_digits(",")
        if service.health is None:
            service.soon(store.warm, project)
        else:
            # Ready only after keys, journals and the disk were checked once.
            service.soon(service.health.open)
        beside = [asyncio.create_task(each) for each in (hub_parts.beside(service) if keys is not None else ())]
        yield
        for task in beside:
            task.cancel()
        if operator is not None:
            operator.close()
        await asyncio.to_thread(service.close)
        output.separate_digits(before)

    async def not_found(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        if "text/html" in request.headers.get("accept", ""):
            return pages.error(status, "There is nothing at this address.")
        message = "unknown address: see /openapi.json"
        return service.answer({"message": message}, status, getattr(error, "headers", None))

    endpoints = [
        _route(
            endpoint.method,
            endpoint.path,
            auth.endpoint(endpoint, getattr(handlers_of[endpoint.api], endpoint.handler)),
        )
        for endpoint in ENDPOINTS
        if keys is not None or not endpoint.hub
    ]
    own = _PAGES if keys is None else {**_PAGES, **_OF_HUB}
    shown = [_route("GET", path, auth.page(getattr(pages, name))) for path, name in own.items()]
    others = [
        _route("GET", "/login", auth.file(pages.login)),
        _route("POST", "/login", auth.login()),
        _route("POST", "/logout", auth.file(pages.leave)),
        _route("GET", "/web/{name:path}", auth.file(web_files.answer)),
    ]

    async def server_error(_: Request, __: Exception) -> Response:
        return service.answer({"message": "internal error: see the log of the hub"}, 500)

    handlers: dict[Any, Any] = {404: not_found, 405: not_found, 500: server_error}
    around = Middleware(browser_guard.BrowserGuard, local=keys is None, logins=logins, login_page=pages.login_required)
    below = [Middleware(Mounted, root=root)] if root else []
    application = Observed(
        service.metrics,
        hub=keys is not None,
        access=access_log,
        routes=[*endpoints, *shown, *others],
        exception_handlers=handlers,
        lifespan=lifespan,
        middleware=[*below, around],
    )
    # For the server that runs it.
    application.operator = operator
    if operator is not None:
        operator.is_leaving = lambda: getattr(application.state, "leaving", False)
    # Starlette would redirect to the host that the request names, which a client chooses.
    application.router.redirect_slashes = False
    return application


def _route(method: str, path: str, answering: Any) -> Route:
    """Return a route for one method."""
    route = Route(path, answering, methods=[method])
    # Starlette adds HEAD to GET; where there is a HEAD, it has a handler of its own.
    route.methods = {method}
    return route
