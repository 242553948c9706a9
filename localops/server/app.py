"""The hub's HTTP: who asks, what for, within which bounds, and how it is said.

One table (DOORS) holds every address; routes and the OpenAPI document are made from it.  Without keys the same reads
serve a local home, to whoever may reach the port.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from localops import __version__, analytics, bundle, clock, encode, output, strangers
from localops.errors import Ambiguous, BundleError, ConfigError, LocalopsError, NotFound
from localops.home import STATES, Filters
from localops.intake import Apart
from localops.rows import DONE, OPEN
from localops.server import bodies, guard, openapi
from localops.server.bodies import TooLarge, TooSlow, Unpackable
from localops.server.calls import Call, Door, Garbled, Misplaced, Refusal, TooMany, Unavailable, project_named
from localops.server.catalogue import SORTS
from localops.server.keys import Unreadable
from localops.server.limits import Busy, Limits, Shares
from localops.server.live import Streams
from localops.server.pages import Pages, error_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from localops.server.facts import Facts
    from localops.server.keys import Keys
    from localops.server.store import Readable, Store

    T = TypeVar("T")

_READ_THREADS, _WRITE_THREADS = 8, 4
_MOST_SESSIONS, _MOST_ROWS = 500, 5_000  # asked about at once
_EXPORT = 100_000  # rows of a session that is given out whole
_EXPORT_OWN = 2_000_000  # the same for whoever it belongs to
_IN_MEMORY = 16 << 20  # bytes of an export, before it goes by way of a file
_FORMS = {"json": "application/json", "html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8"}


_BOUNDS = {
    "min_cost": "a cost of at least so many dollars",
    "max_cost": "a cost of at most so many dollars",
    "min_seconds": "a duration of at least so many seconds",
    "max_seconds": "a duration of at most so many seconds",
    "errors": "errors, if it is 1",
}
_LIST = {
    "state": f"how they stand: {', '.join(STATES)}",
    "tag": "with this tag",
    "model": "with a call of this model",
    "agent": "with an agent of this name",
    "since": "begun since then (ISO 8601, UTC unless it names a zone)",
    "until": "begun before then",
    "text": "with an event that has these words",
    **{name: f"with {what}" for name, what in _BOUNDS.items()},
    "tool": "with a call of this tool",
    "project": "of this project, where the key does not say which",
    "sort": f"what it is sorted by: one of {', '.join(SORTS)}",
    "order": "asc or desc",
    "before": "id of a session: those after it in the list, which is the next page",
    "limit": "at most this many, 50 if nothing is said, never more than 500",
}
_CHOSEN = {name: about for name, about in _LIST.items() if name not in ("sort", "order", "before", "limit")}
_FIGURES = {
    "by": f"one of {', '.join(analytics.ACROSS)}; without it the sums",
    "since": _LIST["since"],
    "until": _LIST["until"],
    "tag": "with this tag, or with an event that has it",
    "limit": "at most this many lines, 1000 if nothing is said",
}
_PAGE = {
    "after": "seq: the events that came in after it, which is the next page",
    "limit": "rows that are looked at, 500 if nothing is said, never more than 1000",
    "kind": "only of this kind",
    "text": "only with these words",
}
_DAYS = {name: _FIGURES[name] for name in ("since", "until", "tag")} | {"project": _LIST["project"]}
_ZONE = "whose days they are: a name like Europe/Berlin; UTC if nothing is said"
_FILE = {"format": "json, html or csv"}
_TWO = {"a": "id of a session", "b": "id of the other"}
_LIVE = {"session": "only of that session; without it of all", "project": "only of this project"}
_COLUMNS = {
    "after": "seq: the events whose rows came in after it, which is the next page",
    "limit": "rows that are looked at, 2000 if nothing is said, never more than 50000",
}
_MISSING = "Session does not belong to this project"
_NO_EVENT = "the session has no such event"
_ROWS = "application/x-ndjson"
_JSON = "application/json"
_BYTES = "application/octet-stream"

DOORS = (
    Door("GET", "/health", "health", "Whether the hub is up, and which release it is.", key=False),
    Door("GET", "/openapi.json", "openapi", "This document.", key=False),
    Door("GET", "/sync/1/hello", "hello", "Who the hub is, and what it takes.", hub=True),
    Door(
        "POST",
        "/sync/1/rows",
        "rows",
        "Take in a batch of rows, whole or not at all; the answer comes when they are safe from a power cut.",
        body=_ROWS,
        hub=True,
        answers={
            400: "The batch is broken.",
            409: "The row before the batch is not here.",
            411: "Content-Length is missing.",
            413: "Too many bytes, packed or unpacked, or too many rows.",
            415: "Packed in a way that is not known here.",
            426: "The batch has another format: one side must be upgraded.",
        },
    ),
    Door("HEAD", "/sync/1/blobs/{digest}", "blob", "How much of a blob is here.", hub=True),
    Door(
        "PATCH",
        "/sync/1/blobs/{digest}",
        "add_to_blob",
        "Take in the next piece of a blob.",
        body=_BYTES,
        hub=True,
        answers={409: "The piece does not begin where the last one ended.", 422: "The whole has another digest."},
    ),
    Door("POST", "/sync/1/sessions", "figures", "Rows, digest and totals of sessions.", body=_JSON, hub=True),
    Door("POST", "/sync/1/missing", "missing", "Which rows are not here.", body=_JSON, hub=True),
    Door("GET", "/v2/sessions/{session}/stats", "stats", "A session's figures, as AgentOps gives them.", v2=True),
    Door("GET", "/v2/sessions/{session}/export", "export", "A session, as AgentOps exports it.", v2=True),
    Door("GET", "/api/1/sessions", "sessions", "Sessions in an order, a page of them.", query=_LIST),
    Door("GET", "/api/1/facets", "facets", "How many sessions each filter would leave.", query=_CHOSEN),
    Door("GET", "/api/1/sessions/{session}", "session", "A session and its figures."),
    Door("GET", "/api/1/sessions/{session}/events", "events", "Events, in the order they came in.", query=_PAGE),
    Door("GET", "/api/1/sessions/{session}/events/{seq}", "event", "One event, and all there is of it."),
    Door("GET", "/api/1/sessions/{session}/timeline", "timeline", "Events in columns, to be drawn.", query=_COLUMNS),
    Door("GET", "/api/1/live", "live", "A stream that says when something is new.", query=_LIVE, lasting=True),
    Door("GET", "/blobs/{project}/{digest}", "attachment", "A video, a picture, a long value: the bytes."),
    Door("GET", "/api/1/sessions/{session}/figures", "charts", "A session over time, and by the size of its calls."),
    Door("GET", "/api/1/sessions/{session}/export", "download", "A session as a file.", query=_FILE),
    Door("GET", "/api/1/analytics", "analytics", "Figures across sessions.", query=_FIGURES),
    Door("GET", "/api/1/analytics/daily", "daily", "Sessions by the day they began.", query={**_DAYS, "tz": _ZONE}),
    Door("GET", "/api/1/analytics/distributions", "distributions", "Sessions by duration and by cost.", query=_DAYS),
    Door("GET", "/api/1/compare", "compare", "Two sessions side by side.", query=_TWO),
)


def app(
    store: Readable,
    keys: Keys | None = None,
    *,
    tokens: guard.Tokens | None = None,
    project: str | None = None,
    limits: Limits | None = None,
) -> Starlette:
    """The hub of a Store, or without keys the reading of a home (or one project) for who shows one of the tokens."""
    logins = guard.of_keys(keys) if keys is not None else guard.Logins((tokens or guard.Tokens()).visitor)
    hub = Hub(cast("Store", store), keys, limits or Limits(), logins, project=project)
    pages = Pages(hub, logins)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if keys is None:
            hub.soon(store.warm, project)
        yield
        await asyncio.to_thread(hub.close)

    doors = [door for door in DOORS if keys is not None or not door.hub]
    routes = [Route(door.path, hub.opened(door), methods=[door.method]) for door in doors]
    routes += [
        *(Route(path, hub.shown(pages, name), methods=["GET"]) for path, name in PAGES.items()),
        Route("/login", pages.login, methods=["GET"]),
        Route("/login", hub.entered(pages), methods=["POST"]),
        Route("/web/{name:path}", hub.shown(pages, "web", everybody=True), methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {404: hub.nothing_there, 405: hub.nothing_there}
    around = Middleware(guard.Guard, local=keys is None, logins=logins, stranger=pages.stranger)
    made = Starlette(routes=_merged(routes), exception_handlers=handlers, lifespan=lifespan, middleware=[around])
    made.router.redirect_slashes = False  # to where the request's own Host says
    return made


PAGES = {"/": "sessions", "/s/{session}": "session", "/analytics": "analytics", "/compare": "compare"}


def _merged(routes: list[Route]) -> list[Route]:
    """GET alone, without the HEAD that Starlette adds where we answer HEAD ourselves."""
    for route in routes:
        if route.methods == {"GET", "HEAD"}:
            route.methods = {"GET"}
    return routes


class Hub:
    """Answers requests from a store."""

    def __init__(
        self, store: Store, keys: Keys | None, limits: Limits, logins: guard.Logins, *, project: str | None
    ) -> None:
        self.store, self.keys, self.limits, self.logins = store, keys, limits, logins
        self.project = project  # the only one that is shown; None where keys say which, or all are
        self._shares = Shares(limits)
        self._readers = ThreadPoolExecutor(_READ_THREADS, "read")
        self._writers = ThreadPoolExecutor(_WRITE_THREADS, "write")
        self._turns: dict[str, asyncio.Lock] = {}
        self._streams = Streams(limits.request)
        self._exports = asyncio.Semaphore(2)  # each is in memory whole

    def close(self) -> None:
        """Finish what runs, and let go of the store."""
        self._readers.shutdown()
        self._writers.shutdown()
        self.store.close()

    def opened(self, door: Door) -> Callable[[Request], Awaitable[Response]]:
        """What answers at a door: its handler, with everything around it that holds for all."""
        handler: Callable[[Call], Awaitable[Response]] = getattr(self, door.handler)

        async def answer(request: Request) -> Response:
            try:
                if not door.key or self.keys is None:
                    return await handler(Call(request, self.project))
                call = self._admit(request, door)
                if door.lasting:
                    return await handler(call)
                with self._shares.request(call.key):
                    return await handler(call)
            except ClientDisconnect:
                return Response(status_code=400)  # to nobody
            except Exception as error:
                return self._say(door, request, _refusal(error))

        return answer

    def shown(self, pages: Pages, name: str, *, everybody: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """What answers where people look: a page, and a page as well when something is wrong."""
        handler: Callable[..., Awaitable[Response]] = getattr(pages, name)

        async def answer(request: Request) -> Response:
            try:
                if everybody:
                    return await handler(request)
                if self.keys is None:
                    return await handler(Call(request, self.project))
                visitor = self.logins.visitor(request)
                if visitor is None:
                    return pages.login_page(401)
                with self._shares.request(visitor.name):
                    return await handler(Call(request, visitor.project, visitor.name))
            except Exception as error:
                refusal = _refusal(error)
                return error_page(refusal.status, str(refusal))

        return answer

    def entered(self, pages: Pages) -> Callable[[Request], Awaitable[Response]]:
        """What answers whoever wants to come in: all of them together have the share of one key."""

        async def answer(request: Request) -> Response:
            try:
                with self._shares.request(""):
                    return await pages.enter(request)
            except Exception as error:
                refusal = _refusal(error)
                return self._answer(refusal.facts, refusal.status, refusal.headers)

        return answer

    def _admit(self, request: Request, door: Door) -> Call:
        """Whose request it is."""
        assert self.keys is not None
        secret = _secret(request)
        visitor = None if secret or door.method != "GET" else self.logins.visitor(request)
        if visitor is not None:
            return Call(request, visitor.project, visitor.name)
        if not secret:
            raise Refusal(400 if door.v2 else 401, "API Key is Missing")
        if door.v2 and not _is_uuid(secret):
            raise Refusal(400, "Invalid API key format")
        key = self.keys.find(secret)
        if key is None:
            raise Refusal(400 if door.v2 else 401, "Invalid API Key")
        return Call(request, key.project, secret)

    def _say(self, door: Door, request: Request, refusal: Refusal) -> Response:
        if door.v2:
            status = 400 if refusal.status in (404, 413) else refusal.status
            return _json({"path": request.url.path, "message": refusal.facts["message"]}, status, refusal.headers)
        return self._answer(refusal.facts, refusal.status, refusal.headers)

    def _answer(
        self, told: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        signed = {"localops": bundle.WIRE, **({"hub": self.keys.hub} if self.keys else {})}
        return _json({**signed, **told}, status, headers)

    async def nothing_there(self, request: Request, error: Exception) -> Response:
        """There is nothing at that address, or not for that method."""
        status = getattr(error, "status_code", 404)
        if "text/html" in request.headers.get("accept", ""):
            return error_page(status, "There is nothing at this address.")
        message = "there is nothing at this address: see /openapi.json"
        return self._answer({"message": message}, status, getattr(error, "headers", None))

    async def read(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask the store, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: work(*arguments, **options))

    def soon(self, work: Callable[..., object], *arguments: Any) -> None:
        """Let a thread do something that nobody waits for; what goes wrong is said when somebody asks for it."""
        self._readers.submit(work, *arguments)

    async def _write(self, project: str, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Run `work` in a thread; one at a time for a project, so that nobody waits in a thread for the journal."""
        loop = asyncio.get_running_loop()
        async with self._turns.setdefault(project, asyncio.Lock()):
            return await loop.run_in_executor(self._writers, lambda: work(*arguments, **options))

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it came, for as long as there is room for it."""
        told = request.headers.get("content-length", "")
        if not (told.isascii() and told.isdigit()) or "transfer-encoding" in request.headers:  # which would count
            raise Refusal(411, "say how long the body is: Content-Length", headers=_CLOSE)
        size = int(told[:18])
        if size > self.limits.body:
            await bodies.discard(request.stream(), 8 * self.limits.body)
            raise Refusal(413, f"a body may have {self.limits.body} bytes, this has {size}", headers=_CLOSE)
        with self._shares.body(size):
            yield await bodies.read(request.stream(), self.limits)

    async def _asked(self, request: Request) -> Any:
        """The JSON of a small request."""
        async with self._body(request) as body:
            plain = bodies.whole(body, _encoding(request), self.limits)
        try:
            return encode.loads(plain)
        except ValueError as error:
            raise Refusal(400, f"the body is no JSON: {error}") from error

    # For everybody

    async def health(self, _: Call) -> Response:
        """Up."""
        return self._answer({"status": "ok", "version": __version__})

    async def openapi(self, _: Call) -> Response:
        """The description of all doors."""
        doors = [door for door in DOORS if self.keys is not None or not door.hub]
        return _json(openapi.document(doors, keys=self.keys is not None))

    # Taking in

    async def hello(self, call: Call) -> Response:
        """Who the hub is."""
        told = {"project": call.project, "encodings": bodies.encodings(), "max_bytes": self.limits.inflated}
        return self._answer({**told, "time_ns": clock.now_ns()})

    async def rows(self, call: Call) -> Response:
        """Take in a batch."""
        assert self.keys is not None
        encoding = _encoding(call.request)
        async with self._body(call.request) as body:
            told = await self._write(call.owner, self._take, call, body, encoding, self.keys.hub)
        return self._answer(told)

    def _take(self, call: Call, body: bytes, encoding: str, hub: str) -> Facts:
        """In a thread: a body becomes rows in the journal."""
        lines = bodies.lines(body, encoding, self.limits)
        first = next(lines, b"")
        _check_format(first)
        try:
            batch, refused = bundle.unpack(chain([first], lines))
            if next(lines, None) is not None:
                raise BundleError("something follows the rows")
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the header is not as it should be: {error}") from error
        strangers.check(batch)
        batch = strangers.admit(batch, refused)
        ack, gone = self.store.ingest(call.owner, batch, refused=refused, by=hub, key=call.key)
        return {
            "stored": ack.stored,
            "known": len(batch.rows) - ack.stored - gone,
            "gone": gone,
            "refused": [[seq, why] for seq, why in ack.refused.items()],
            "differs": list(ack.differs),
            "forked": ack.forked,
            "receipt": ack.receipt,
        }

    async def blob(self, call: Call) -> Response:
        """How much of a blob is here."""
        here, whole = await self.read(self.store.blob, call.owner, _digest(call.request))
        return Response(headers={"Upload-Offset": str(here), "Upload-Complete": "?1" if whole else "?0"})

    async def add_to_blob(self, call: Call) -> Response:
        """The next piece of a blob."""
        digest = _digest(call.request)
        at, total = (_length(call.request, name) for name in ("upload-offset", "upload-length"))
        if total > self.limits.blob:
            raise Refusal(413, f"a blob may have {self.limits.blob} bytes")
        async with self._body(call.request) as piece:
            work = self.store.add_to_blob
            offset = await self._write(call.owner, work, call.owner, digest, at, total, piece)
        return self._answer({"offset": offset})

    # Proof

    async def figures(self, call: Call) -> Response:
        """What is here of sessions."""
        asked = await self._asked(call.request)
        try:
            sessions = [_id(each) for each in asked["sessions"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Refusal(400, 'expected {"sessions": ["32 hex digits", …]}') from error
        if len(sessions) > _MOST_SESSIONS:
            raise Refusal(413, f"no more than {_MOST_SESSIONS} sessions at once")
        found = await self.read(self.store.figures, call.owner, sessions)
        return self._answer({"sessions": {session.hex(): told for session, told in found.items()}})

    async def missing(self, call: Call) -> Response:
        """Which rows are not here."""
        asked = await self._asked(call.request)
        try:
            found = [_identity(each) for each in asked["rows"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Refusal(400, 'expected {"rows": [["id in hex", phase, sum], …]}') from error
        if len(found) > _MOST_ROWS:
            raise Refusal(413, f"no more than {_MOST_ROWS} rows at once")
        missing, other = await self.read(self.store.missing, call.owner, found)
        return self._answer({"missing": _named(missing), "other": _named(other)})

    # Reading

    async def stats(self, call: Call) -> Response:
        """A session's figures as AgentOps gives them."""
        return _json(await self._one(self.store.stats, call))

    async def export(self, call: Call) -> Response:
        """A session as AgentOps exports it."""
        async with self._exports:
            return _json(await self._one(self.store.document, call, most=_EXPORT))

    async def sessions(self, call: Call) -> Response:
        """A list of sessions."""
        return self._answer(await self.list_of(call))

    async def list_of(self, call: Call) -> Facts:
        """A page of the list."""
        filters, bounds = _filters(call), _bounds(call)
        sort = call.asked("sort") or "began"
        if sort not in SORTS:
            raise Refusal(400, f"sort is one of {', '.join(SORTS)}")
        order = call.asked("order") or ("asc" if sort == "name" else "desc")
        if order not in ("asc", "desc"):
            raise Refusal(400, "order is asc or desc")
        found, following = await self.read(
            self.store.sessions,
            call.chosen_project(),
            filters,
            before=call.asked("before"),
            limit=call.limit(50, most=500),
            sort=sort,
            ascending=order == "asc",
            **bounds,
        )
        return {"sessions": found, "next_before": following}

    async def facets(self, call: Call) -> Response:
        """How many sessions each filter would leave."""
        only = call.chosen_project()
        return self._answer(await self.read(self.store.facets, call.project, only, _filters(call), **_bounds(call)))

    async def session(self, call: Call) -> Response:
        """One session."""
        return self._answer(await self.details_of(call))

    async def details_of(self, call: Call) -> Facts:
        """A session and all that is known of it."""
        return await self._one(self.store.session, call)

    async def events(self, call: Call) -> Response:
        """A page of a session's events."""
        page: dict[str, Any] = {"after": call.number("after", 0, most=1 << 62)}
        page["limit"] = call.limit(500, most=1_000)
        page |= {"kind": call.asked("kind"), "text": call.asked("text")}
        return self._answer(await self._one(self.store.events, call, **page))

    async def event(self, call: Call) -> Response:
        """One event."""
        seq = str(call.request.path_params["seq"])
        if not (seq.isascii() and seq.isdigit()) or len(seq) > 18:
            raise Refusal(404, "an event is named by its seq, a number")
        return self._answer(await self._one(self.store.event, call, seq=int(seq), missing=_NO_EVENT))

    async def timeline(self, call: Call) -> Response:
        """A page of a session's events in columns."""
        page: dict[str, Any] = {"after": call.number("after", 0, most=1 << 62)}
        page["limit"] = call.limit(2_000, most=50_000)
        return self._answer(await self._one(self.store.timeline, call, **page))

    async def live(self, call: Call) -> Response:
        """What is new, while somebody looks."""
        ident = call.asked("session")
        project = call.chosen_project()
        session = None if ident is None else _session(ident)

        async def look() -> str:
            return encode.dumps(await self.read(self.store.newest, project, session)).decode()

        await look()  # what cannot be looked at is said before the stream begins
        state = call.request.app.state
        return self._streams.stream(call.key, look, lambda: getattr(state, "leaving", False))

    async def attachment(self, call: Call) -> Response:
        """The bytes of a blob: never a page of ours, whatever they are."""
        project, digest = str(call.request.path_params["project"]), _digest(call.request)
        if call.project not in (None, project):
            raise Refusal(404, "there is no such blob in this project")
        found = await self.read(self.store.attachment, project_named(project), digest)
        if found is None:
            raise Refusal(404, "there is no such blob in this project")
        path, kind = found
        headers = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, immutable"}
        inline = kind != _BYTES
        return FileResponse(
            path,
            headers=headers,
            media_type=kind,
            filename=digest,
            content_disposition_type="inline" if inline else "attachment",
        )

    async def _one(
        self, work: Callable[..., Facts | None], call: Call, *, missing: str = _MISSING, **options: Any
    ) -> Facts:
        found = await self.read(work, call.project, call.session(), **options)
        if found is None:
            raise Refusal(404, missing)
        return found

    async def analytics(self, call: Call) -> Response:
        """Figures across sessions."""
        return self._answer(await self.figures_across(call))

    async def figures_across(self, call: Call) -> Facts:
        """The sums, or a table of them."""
        by = call.asked("by")
        if by is not None and by not in analytics.ACROSS:
            raise Refusal(400, f"by is one of {', '.join(analytics.ACROSS)}")
        limit = call.limit(1_000, most=10_000)
        return await self.read(self.store.analytics, call.chosen_project(), by, _chosen(call), limit=limit)

    async def daily(self, call: Call) -> Response:
        """Sessions by day."""
        zone = call.asked("tz")
        if zone in ("UTC", "local"):
            zone = None
        try:
            output.when(0, zone)
        except Exception as error:  # whatever a zone's name can look like to the file system
            raise Refusal(400, f"tz={str(zone)[:40]!r} is no time zone: say one like Europe/Berlin") from error
        return self._answer(await self.read(self.store.daily, call.chosen_project(), _chosen(call), zone))

    async def distributions(self, call: Call) -> Response:
        """Sessions by duration and cost."""
        return self._answer(await self.read(self.store.distributions, call.chosen_project(), _chosen(call)))

    async def charts(self, call: Call) -> Response:
        """A session over time."""
        return self._answer(await self._one(self.store.charts, call))

    async def compare(self, call: Call) -> Response:
        """Two sessions side by side."""
        two = [call.asked("a"), call.asked("b")]
        if two[0] is None or two[1] is None:
            raise Refusal(400, "name two sessions: ?a=ID&b=ID")
        async with self._exports:
            found = await self.read(self.store.compare, call.project, *map(_session, filter(None, two)))
        if found is None:
            raise Refusal(404, "one of these sessions is not here")
        return self._answer(found)

    async def download(self, call: Call) -> Response:
        """A session as a file."""
        form = call.asked("format") or "json"
        if form not in _FORMS:
            raise Refusal(400, f"format is one of {', '.join(_FORMS)}")
        most = _EXPORT if self.keys is not None else _EXPORT_OWN
        file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed when its last piece is sent
        async with self._exports:
            if not await self.read(self.store.write, call.project, call.session(), form, file, most=most):
                raise Refusal(404, _MISSING)
        name = f"localops-{uuid.UUID(bytes=call.session())}.{form}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(file.tell()),
            "Cache-Control": "no-store",
        }
        file.seek(0)
        return StreamingResponse(_pieces(file), headers=headers, media_type=_FORMS[form])


def _session(ident: str) -> bytes:
    try:
        return uuid.UUID(ident).bytes
    except ValueError as error:
        raise Refusal(404, "that is no id of a session") from error


def _chosen(call: Call) -> analytics.Chosen:
    times = {name: at for name in ("since", "until") if (at := call.moment(name)) is not None}
    return analytics.Chosen(tag=call.asked("tag"), **times)


def _pieces(file: SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 18):
            yield piece


def _filters(call: Call) -> Filters:
    state = call.asked("state")
    if state is not None and state not in STATES:
        raise Refusal(400, f"state is one of {', '.join(STATES)}")
    asked = {name: call.asked(name) for name in ("tag", "model", "agent", "text")}
    return Filters(state=state, since=call.moment("since"), until=call.moment("until"), **asked)


def _bounds(call: Call) -> dict[str, Any]:
    """What a list can be narrowed by beside its filters."""
    return {
        "min_cost": call.amount("min_cost"),
        "max_cost": call.amount("max_cost"),
        "min_ns": call.amount("min_seconds"),
        "max_ns": call.amount("max_seconds"),
        "errors": call.asked("errors") == "1",
        "tool": call.asked("tool"),
    }


_CLOSE = {"Connection": "close"}
_RETRY = 5  # seconds after which a full disk is worth another try

_STATUS: dict[type[Exception], int] = {
    BundleError: 400,
    TooLarge: 413,
    Unpackable: 415,
    NotFound: 404,
    Ambiguous: 404,
    ConfigError: 400,
    Garbled: 422,
    TooMany: 413,
}


def _refusal(error: Exception) -> Refusal:
    """What an error means to whoever asked."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Busy):
        wait = {"Retry-After": str(math.ceil(error.after))}
        return Refusal(429 if error.own_fault else 503, str(error), headers={**wait, **_CLOSE})
    if isinstance(error, Unavailable | Unreadable):
        return Refusal(503, str(error), headers={"Retry-After": str(_RETRY)})
    if isinstance(error, TooSlow):
        return Refusal(408, str(error), headers=_CLOSE)
    if isinstance(error, Apart):
        marks = [[seq, id.hex(), phase] for seq, id, phase in error.marks]
        return Refusal(409, str(error), held=[list(each) for each in error.held], marks=marks)
    if isinstance(error, Misplaced):
        return Refusal(409, str(error), offset=error.offset)
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return Refusal(status, str(error))
    if isinstance(error, LocalopsError):
        return Refusal(500, str(error))
    raise error


def _check_format(header: bytes) -> None:
    """Whoever speaks another format is told so; what is no header at all is found out later."""
    try:
        told = encode.loads(header)["localops"]
    except (ValueError, TypeError, KeyError):
        return
    if isinstance(told, int) and told != bundle.WIRE:
        raise Refusal(426, f"this is format {told}; format {bundle.WIRE} is known here: one side must be upgraded")


def _json(told: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode.dumps(told), status, {"Cache-Control": "no-store", **(headers or {})}, _JSON)


def _secret(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-agentops-api-key", "").strip()


def _is_uuid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def _encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "").strip().lower()


def _digest(request: Request) -> str:
    digest = str(request.path_params["digest"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise Refusal(404, "a blob is named by its SHA-256: 64 hex digits, in small letters")
    return digest


def _length(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Refusal(400, f"the header {name} is a number of bytes")
    return int(text)


def _id(text: str) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != 16:
        raise ValueError(text)
    return found


def _identity(told: Any) -> tuple[bytes, int, int]:
    id, phase, total = told
    if type(phase) is not int or phase not in (DONE, OPEN) or type(total) is not int:
        raise ValueError(told)
    return _id(id), phase, total


def _named(found: Sequence[tuple[bytes, int]]) -> list[list[object]]:
    return [[id.hex(), phase] for id, phase in found]
