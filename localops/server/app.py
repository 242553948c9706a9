"""The hub, put together: each address, what answers there, and who stands before it.

Without keys the same reads serve a local home, to whoever shows its token.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from localops.server import guard
from localops.server.doors import DOORS
from localops.server.entrance import Entrance
from localops.server.limits import Limits, Shares
from localops.server.live import Streams
from localops.server.mounted import Mounted, check_root
from localops.server.pages import Pages
from localops.server.reads import Reads
from localops.server.service import Service
from localops.server.taking import Taking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from starlette.requests import Request
    from starlette.responses import Response

    from localops.server.keys import Keys
    from localops.server.store import Readable, Store

_PAGES = {"/": "sessions", "/s/{session}": "session", "/analytics": "analytics", "/compare": "compare"}
_OTHERS = ("/login", "/logout", "/web/{name:path}")


def app(
    store: Readable,
    keys: Keys | None = None,
    *,
    tokens: guard.Tokens | None = None,
    project: str | None = None,
    limits: Limits | None = None,
    root_path: str = "",
) -> Starlette:
    """The hub of a Store, or without keys the reading of a home (or one project) for who shows one of the tokens.

    `root_path` is where a proxy shows it to browsers, when that is not the top of a host; ConfigError for what is none.
    """
    bounds = limits or Limits()
    root = check_root(root_path, [*(door.path for door in DOORS), *_PAGES, *_OTHERS])
    shares = Shares(bounds)
    service = Service(cast("Store", store), keys, bounds, root)
    reads, taking = Reads(service, Streams(bounds.request)), Taking(service, shares)
    logins = guard.of_keys(keys) if keys is not None else guard.Logins((tokens or guard.Tokens()).visitor)
    pages = Pages(reads, service, logins)
    entrance = Entrance(service, shares, logins, pages, project)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if keys is None:
            service.soon(store.warm, project)
        yield
        await asyncio.to_thread(service.close)

    async def nothing_there(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        if "text/html" in request.headers.get("accept", ""):
            return pages.error(status, "There is nothing at this address.")
        message = "there is nothing at this address: see /openapi.json"
        return service.answer({"message": message}, status, getattr(error, "headers", None))

    doors = [
        _route(door.method, door.path, entrance.door(door, getattr(taking if door.hub else reads, door.handler)))
        for door in DOORS
        if keys is not None or not door.hub
    ]
    shown = [_route("GET", path, entrance.page(getattr(pages, name))) for path, name in _PAGES.items()]
    others = [
        _route("GET", "/login", entrance.file(pages.login)),
        _route("POST", "/login", entrance.login()),
        _route("POST", "/logout", entrance.file(pages.leave)),
        _route("GET", "/web/{name:path}", entrance.file(pages.web)),
    ]

    async def broken(_: Request, __: Exception) -> Response:
        return service.answer({"message": "that went wrong here: the hub's log says how"}, 500)

    handlers: dict[Any, Any] = {404: nothing_there, 405: nothing_there, 500: broken}
    around = Middleware(guard.Guard, local=keys is None, logins=logins, stranger=pages.stranger)
    below = [Middleware(Mounted, root=root)] if root else []
    made = Starlette(
        routes=[*doors, *shown, *others], exception_handlers=handlers, lifespan=lifespan, middleware=[*below, around]
    )
    made.router.redirect_slashes = False  # to where the request's own Host says
    return made


def _route(method: str, path: str, answering: Any) -> Route:
    """One method alone: Starlette would add HEAD to GET, and we answer that ourselves where there is one."""
    route = Route(path, answering, methods=[method])
    route.methods = {method}
    return route
