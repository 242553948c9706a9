"""Who may look: which requests a browser may make of us, who has shown a token or a key, and what each answer forbids.

Requests that carry a key of the API are a program's, not a browser's: they are looked at where keys are (entrance.py).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localops.server.keys import Keys

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_KEY_HEADERS = ("authorization", "x-agentops-api-key")
_OURS = ("same-origin", "none")  # what Sec-Fetch-Site says of our own pages, and of an address that was typed
_OPEN = ("/login", "/web/")  # what whoever is not in yet may have
_MOST_VISITORS = 1_000
_PIECE = 64 << 10  # bytes of an answer that are written at a time

CROSS_SITE = "this address was opened from another site"


def objection(method: str, headers: Headers, hosts: frozenset[str] | None) -> tuple[int, str] | None:
    """Why a browser's request is not answered, as a status and a sentence; None when there is nothing against it.

    `hosts` are the names we are known by, None when any will do.  Another port of this machine is another site.

    >>> objection("GET", Headers({"host": "evil.example:80"}), frozenset(["127.0.0.1:80"]))[0]
    421
    """
    named = headers.getlist("host")
    if len(named) != 1 or (hosts is not None and named[0].lower() not in hosts):
        return 421, "this server is not known by that name"
    origins = headers.getlist("origin")
    own = (f"http://{named[0]}", f"https://{named[0]}")
    if any(origin not in own for origin in origins) or len(origins) > 1:
        return 403, "requests of other sites are not answered"
    if any(site not in _OURS for site in headers.getlist("sec-fetch-site")):
        return 403, CROSS_SITE
    if method in ("GET", "HEAD"):
        return None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "only JSON is taken here"
    if not origins and "x-localops" not in headers:
        return 403, "say where you come from: the header Origin, or X-Localops"
    return None


@dataclass(frozen=True)
class Visitor:
    """Someone at a browser who has been let in."""

    name: str  # what their requests are counted under
    project: str | None = None  # the one they may look at; None is all


class Logins:
    """Who has been let in: digests of cookies, in this process alone."""

    def __init__(
        self, admit: Callable[[str], Visitor | None], still: Callable[[Visitor], bool] = lambda _: True
    ) -> None:
        self._admit = admit
        self._still = still
        self._in: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def enter(self, secret: str) -> str | None:
        """The value of a cookie for whoever shows the right thing."""
        visitor = self._admit(secret)
        if visitor is None:
            return None
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._in[digest(cookie)] = visitor
            while len(self._in) > _MOST_VISITORS:
                self._in.popitem(last=False)
        return cookie

    def leave(self, request: HTTPConnection) -> None:
        """A cookie is good no more."""
        with self._lock:
            self._in.pop(digest(request.cookies.get(cookie_name(request.scope), "")), None)

    def visitor(self, request: HTTPConnection) -> Visitor | None:
        """Who is asking, if they have been let in and still may be."""
        cookie = request.cookies.get(cookie_name(request.scope))
        found = self._in.get(digest(cookie)) if cookie else None
        return found if found is not None and self._still(found) else None


class Tokens:
    """The tokens of a local page, as digests: one that is printed, and one for the browser that we open ourselves."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._single: set[str] = set()

    def make(self, *, once: bool = False) -> str:
        """A new token of 256 bits; `once`: good for one use, since others may see how a browser is started."""
        token = secrets.token_urlsafe(32)
        (self._single if once else self._lasting).add(digest(token))
        return token

    def visitor(self, token: str) -> Visitor | None:
        """The one visitor there is, for a token that is good."""
        shown = digest(token)
        try:
            self._single.remove(shown)  # in one step: of two who show it at once, one gets in
        except KeyError:
            good = [known for known in self._lasting if hmac.compare_digest(known, shown)]
            return Visitor("") if good else None
        return Visitor("")


def of_keys(keys: Keys) -> Logins:
    """The logins of a hub: whoever shows a key sees its project, until it is revoked."""

    def admit(secret: str) -> Visitor | None:
        key = keys.find(secret.strip())
        return Visitor(key.sha256, key.project) if key is not None else None

    return Logins(admit, lambda visitor: keys.is_good(visitor.name))


class BrowserGuard:
    """Around all that is served: objects, asks who it is where a person looks, and puts the headers on."""

    def __init__(self, app: ASGIApp, *, local: bool, logins: Logins, stranger: ASGIApp) -> None:
        self.app = app
        self.local = local  # one person's own pages: nothing is shown to whoever is not in
        self.logins = logins
        self.stranger = stranger  # the page that says how to get in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self._chosen(scope)(scope, receive, _with_headers(_in_pieces(send)))

    def _chosen(self, scope: Scope) -> ASGIApp:
        """Who answers."""
        from starlette.requests import HTTPConnection

        headers = Headers(scope=scope)
        if not self.local and any(name in headers for name in _KEY_HEADERS):
            return self.app
        found = objection(scope["method"], headers, _names(scope) if self.local else None)
        if found is not None and (self.local or _is_of_a_browser(headers)):
            if found[1] == CROSS_SITE and _is_page(scope, headers):
                return self.stranger
            return _refusal(*found)
        if self.local and not scope["path"].startswith(_OPEN) and self.logins.visitor(HTTPConnection(scope)) is None:
            return self.stranger if _is_page(scope, headers) else _refusal(401, "log in first: see /login")
        return self.app


def digest(secret: str) -> str:
    """What of a secret is kept."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def cookie_name(scope: Scope) -> str:
    """Cookies do not know ports, so that two servers of one machine need two names."""
    return f"localops-{(scope.get('server') or ('', 0))[1]}"


def _names(scope: Scope) -> frozenset[str]:
    port = (scope.get("server") or ("", 0))[1]
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))


def _is_of_a_browser(headers: Headers) -> bool:
    return "origin" in headers or "sec-fetch-site" in headers or "cookie" in headers


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Whether a person opens an address, rather than a script asking for facts."""
    machine = scope["path"].startswith(("/api/", "/v2/", "/sync/", "/blobs/", "/web/", "/openapi", "/health"))
    return scope["method"] == "GET" and not machine and headers.get("sec-fetch-dest", "document") == "document"


def _refusal(status: int, message: str) -> Response:
    return Response(encode.dumps({"message": message}), status, {"Cache-Control": "no-store"}, "application/json")


def _with_headers(send: Send) -> Send:
    """Each answer says what a browser may do with it; one that says more of itself has the word."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message["headers"], *(each for each in more if each[0] not in given)]
        await send(message)

    return sending


def _in_pieces(send: Send) -> Send:
    """An answer goes out as fast as it is read: what was given to the connection would all be waiting there."""

    async def sending(message: Message) -> None:
        body = message.get("body", b"")
        last = max(0, len(body) - 1) // _PIECE * _PIECE
        for at in range(0, last, _PIECE):
            await send({**message, "body": body[at : at + _PIECE], "more_body": True})
        await send({**message, "body": body[last:]} if last else message)

    return sending
