"""Authentication, rate limits and error responses for every route."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from localops.server import exchange, fair_share
from localops.server.http_errors import http_error
from localops.server.intake import otlp_answers, tokens
from localops.server.keys import ADMIN, READ, SCORE, SEND, canonical
from localops.server.request import Call, HttpError
from localops.server.request_body import TooSlow
from localops.server.threads import json, of_failure
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from localops.server.browser_guard import Logins, Visitor
    from localops.server.keys import Key
    from localops.server.limits import Shares
    from localops.server.pages import Pages
    from localops.server.request import Endpoint
    from localops.server.threads import Service

    Answer = Callable[[Call], Awaitable[Response]]

# Seconds for the body of a login, which is a few bytes.
_LOGIN = 5.0
# The errors for keys that lack a scope.
_LACKS = {
    SEND: "this API key may not send: that needs one with the scope send",
    READ: "this API key may not read: that needs one with the scope read",
    SCORE: "this API key may not judge sessions or save views: that needs one with the scope score",
    ADMIN: "this address is for the operator of the hub: it needs an API key with the scope admin",
}


# Handlers whose responses the audit log notes: exports and scores always, the others on request.
_AUDITED = {
    "export": "session.export",
    "download": "session.export",
    "download_all": "session.export",
    **dict.fromkeys(("session", "events", "event", "previews", "timeline", "stats"), "session.read"),
    **dict.fromkeys(("compare", "compare_runs", "diff", "check", "scores"), "session.read"),
    **dict.fromkeys(("loops", "matches", "why", "steps", "snippets", "trace", "trace_metrics"), "session.read"),
    "calls": "call.read",
    "attachment": "file.read",
    "judge": "session.score",
}
# Those that need not be about one session.
_OF_MANY = ("session.export", "call.read")
# The parameters of a request that a line of the audit log has, and the most characters of one: a hundred ids.
_NAMED = ("session", "sessions", "trace", "digest", "format", "a", "b", "baseline")
_LONGEST = 3_300


class Auth:
    """Turn handlers into ASGI applications that check keys and limit rates."""

    def __init__(self, service: Service, shares: Shares, logins: Logins, pages: Pages, project: str | None) -> None:
        self._service, self._shares, self._logins, self._pages = service, shares, logins, pages
        self._keys = service.keys
        # Without keys: the only project that is served, or None for all.
        self._project = project

    def endpoint(self, endpoint: Endpoint, handler: Answer) -> ASGIApp:
        """Return an application for an endpoint of the API."""

        async def answer(request: Request) -> tuple[Response, str]:
            if not endpoint.key and endpoint.api == "agentops":
                async with self._shares.turn(f"from {peer(request)}"):
                    return await handler(Call(request, self._project)), ""
            if not endpoint.key or self._keys is None:
                return await handler(Call(request, self._project)), ""
            call = self._admit(request, endpoint)
            # A stream does not count among the running requests, but its start counts for the rate.
            if endpoint.lasting:
                self._take_token_of(call)
                self._shares.take_token(call.share)
                return await handler(call), call.share
            # Clients of AgentOps do not send again what was refused.
            async with self._running(call, patient=endpoint.api == "agentops"):
                response = await handler(call)
            self._note(call, endpoint.handler)
            return response, call.share

        def render(error: Exception, request: Request) -> Response:
            problem = http_error(error, local=self._keys is None)
            if endpoint.api == "agentops":
                message = problem.facts["message"]
                facts = {"path": request.url.path, "message": message, "error": message}
                return json(facts, problem.status, problem.headers)
            if endpoint.api == "otlp":
                kind = otlp_answers.media_type(request.headers.get("content-type", ""))
                # A slow body may be faster the next time, and clients retry no other status.
                retry = {"Retry-After": "1"} if problem.status == 408 else {}
                status = 503 if problem.status == 408 else problem.status
                return otlp_answers.error(kind, status, str(problem), {**problem.headers, **retry})
            if not endpoint.v2:
                return self._service.answer(problem.facts, problem.status, problem.headers)
            status = 400 if problem.status in (404, 413) else problem.status
            facts = {"path": request.url.path, "message": problem.facts["message"], **of_failure(status)}
            return json(facts, status, problem.headers)

        return _Answering(answer, render, self._shares, endpoint.door, lasting=endpoint.lasting)

    def page(self, handler: Answer) -> ASGIApp:
        """Return an application for a page, whose errors are pages, too."""

        async def answer(request: Request) -> tuple[Response, str]:
            if self._keys is None:
                return await handler(Call(request, self._project)), ""
            visitor = self._logins.visitor(request)
            if visitor is None:
                return self._pages.login_page(401), ""
            call = Call(request, visitor.project, visitor.name, visitor.key)
            _admitted(visitor.project, visitor.key)
            async with self._running(call):
                response = await handler(call)
            self._note(call, "session")
            return response, visitor.name

        return _Answering(answer, self._as_page, self._shares, "pages")

    def file(self, handler: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
        """Return an application for a public file or page."""

        async def answer(request: Request) -> tuple[Response, str]:
            return await handler(request), ""

        return _Answering(answer, self._as_page, self._shares, "pages")

    def login(self) -> ASGIApp:
        """Return an application for logins, rate-limited by client address and with little time."""

        async def answer(request: Request) -> tuple[Response, str]:
            where = peer(request)
            with self._shares.request(f"from {where}"):
                try:
                    async with asyncio.timeout(_LOGIN):
                        response, visitor = await self._pages.enter(request)
                except TimeoutError as error:
                    raise TooSlow("the body of the request did not arrive in time") from error
            if visitor is not None:
                self._service.note("login", where, visitor.key, project=visitor.project)
            elif self._service.audit is not None and self._service.audit.is_new("login.refused", where):
                # One a minute: a client that guesses must not push older lines out.
                self._service.note("login.refused", where)
            return response, ""

        def render(error: Exception, _: Request) -> Response:
            problem = http_error(error, local=self._keys is None)
            return self._service.answer(problem.facts, problem.status, problem.headers)

        return _Answering(answer, render, self._shares, "pages")

    def _as_page(self, error: Exception, _: Request) -> Response:
        problem = http_error(error, local=self._keys is None)
        return self._pages.error(problem.status, str(problem))

    def _admit(self, request: Request, endpoint: Endpoint) -> Call:
        """Return the call with the project of its key, or of its login cookie; else raise HttpError.

        A cookie allows reads and scores.
        """
        assert self._keys is not None
        keys = self._keys
        bearer = _bearer(request)
        if endpoint.takes_tokens and tokens.looks_like(bearer):
            return self._admit_token(request, endpoint, bearer)
        secret = canonical(_secret(request))
        visitor = None if secret else self._visitor(request, endpoint)
        if visitor is not None:
            if visitor.key is not None:
                self._service.used(visitor.key)
            _admitted(visitor.project, visitor.key)
            is_in = partial(self._is_in, request)
            return Call(request, visitor.project, visitor.name, visitor.key, is_in)
        refusal = 400 if endpoint.v2 else 401
        if not secret:
            raise HttpError(refusal, "API Key is Missing")
        if endpoint.v2 and not _is_uuid(secret):
            raise HttpError(400, "Invalid API key format")
        key = keys.match(secret)
        if key is None or key.state != "good":
            self._note_refused(request, key)
        if key is None or key.state == "revoked":
            # The handle shows the operator which hub created the key.
            is_foreign = not endpoint.v2 and bundle.is_key_of(secret, keys.hub) is False
            why = ": this hub has not created it; is this another hub than before?" if is_foreign else ""
            raise HttpError(refusal, f"Invalid API Key{why}")
        if key.state == "expired":
            raise HttpError(refusal, f"this API key expired at {key.expires}: ask the operator of the hub for another")
        if not key.may(endpoint.needs) and not (endpoint.api == "operator" and key.may(ADMIN)):
            raise HttpError(403, _LACKS[endpoint.needs])
        self._service.used(key)
        _admitted(key.project, key)
        return Call(request, key.project, secret, key, lambda: keys.is_good(key.sha256, endpoint.needs))

    def _visitor(self, request: Request, endpoint: Endpoint) -> Visitor | None:
        """Return the logged-in visitor, for a request that a page may make."""
        judges = endpoint.needs == SCORE
        visitor = self._logins.visitor(request) if judges or endpoint.method == "GET" else None
        if visitor is not None and judges and not (visitor.key is not None and visitor.key.may(SCORE)):
            raise HttpError(403, _LACKS[SCORE])
        return visitor

    def _note_refused(self, request: Request, key: Key | None) -> None:
        """Note the use of an unknown, expired or revoked key, once a minute for each address and key."""
        where = peer(request)
        if key is not None:
            exchange.current().handle = key.handle
        if self._service.audit is None or not self._service.audit.is_new("key.refused", where, key and key.handle):
            return
        if key is None:
            self._service.note("key.refused", where, why="unknown")
        else:
            self._service.note("key.refused", where, key, project=key.project or None, why=key.state)

    @asynccontextmanager
    async def _running(self, call: Call, *, patient: bool = False) -> AsyncIterator[None]:
        """Count a request for its key and its project while it runs; `patient`: wait rather than refuse it."""
        fair_share.work_for(call.project)
        if not patient:
            self._take_token_of(call)
            with self._shares.request(call.share):
                yield
            return
        async with self._shares.turn(call.share):
            project, rate = f"project {call.project}", self._service.rate(call.project)
            if rate is not None:
                await self._shares.wait_for_token(project, rate, of=project)
            yield

    def _take_token_of(self, call: Call) -> None:
        """Count a request for the rate of its project, if that has one; Busy if it is used up."""
        rate = self._service.rate(call.project)
        if rate is not None:
            self._shares.take_token(f"project {call.project}", rate, of=f"project {call.project}")

    def _note(self, call: Call, handler: str) -> None:
        """Note an export in the audit log, and a read if all are noted."""
        action = _AUDITED.get(handler)
        if action is None:
            return
        named = {**call.request.query_params, **call.request.path_params}
        facts = {name: named[name][:_LONGEST] for name in _NAMED if name in named}
        # Not their values: searched text may be private.
        if action in _OF_MANY and (chosen := sorted(set(named).difference(_NAMED))):
            facts["filters"] = ",".join(chosen)[:_LONGEST]
        always = action in ("session.export", "session.score")
        note = self._service.note if always else self._service.note_read
        if facts or action in _OF_MANY:
            note(action, peer(call.request), call.by, project=call.project, **facts)

    def _admit_token(self, request: Request, endpoint: Endpoint, text: str) -> Call:
        """Return the call with the project of a token; else raise HttpError."""
        assert self._keys is not None
        keys = self._keys
        token = tokens.read(keys, text, time.time())
        if token is None:
            raise HttpError(401, "Invalid Token: its signature is wrong, or its key was revoked or has expired")
        if token.is_expired:
            # Clients never request a new token; some send the key with the old one, which would entitle them to one.
            key = keys.find(request.headers.get("x-agentops-api-key", "").strip())
            if key is None or key.project != token.key.project:
                raise HttpError(401, "Expired Token")
        by = token.key
        if not by.may(endpoint.needs):
            raise HttpError(403, _LACKS[endpoint.needs])
        self._service.used(by)
        _admitted(by.project, by)
        return Call(request, by.project, "", by, lambda: keys.is_good(by.sha256, endpoint.needs), token)

    def _is_in(self, request: Request) -> bool:
        return self._logins.visitor(request) is not None


class _Answering:
    """An ASGI application; the size of a response counts for its key until the client has read it."""

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[tuple[Response, str]]],
        render: Callable[[Exception, Request], Response],
        shares: Shares,
        door: str,
        *,
        lasting: bool = False,
    ) -> None:
        self._answer, self._render, self._shares = answer, render, shares
        self._door, self._lasting = door, lasting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        now = exchange.current()
        now.door, now.lasting = self._door, self._lasting
        try:
            response, key = await self._answer(request)
            size = int(response.headers.get("content-length", 0))
            unread = self._shares.answer(key, size)
        except ClientDisconnect:
            return
        except Exception as error:
            await self._render(error, request)(scope, receive, send)
            return
        with unread:
            await response(scope, receive, send)


def _admitted(project: str | None, key: Key | None) -> None:
    """Note key and project of a request, for metrics and log."""
    now = exchange.current()
    now.project, now.handle = project or None, None if key is None else key.handle


def peer(request: Request) -> str:
    """Return the address of the client."""
    return request.client.host if request.client else ""


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _secret(request: Request) -> str:
    return _bearer(request) or request.headers.get("x-agentops-api-key", "").strip()


def _is_uuid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False
