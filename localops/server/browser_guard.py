"""Protection against other sites in the same browser: Host, Origin and cookie checks, logins, security headers.

A request with an API key comes from a program, not a browser; `auth.py` checks it.
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
from localops.server.keys import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localops.server.keys import Key, Keys

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' data:; "
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
# Sec-Fetch-Site of our own pages, and of a typed address.
_OURS = ("same-origin", "none")
# Files that a browser can load before the login.
_OPEN = ("/login", "/web/")
_MOST_VISITORS = 1_000
# Bytes of a response that are written at a time.
_PIECE = 64 << 10

CROSS_SITE = "this address was opened from another site"


def objection(method: str, headers: Headers, hosts: frozenset[str] | None) -> tuple[int, str] | None:
    """Return why a browser's request is refused, as a status and a sentence; None if it is allowed.

    `hosts` are the allowed values of Host, None for any.  Another port of this machine is another site.

    >>> objection("GET", Headers({"host": "evil.example:80"}), frozenset(["127.0.0.1:80"]))[0]
    421
    """
    named = headers.getlist("host")
    if len(named) != 1 or (hosts is not None and named[0].lower() not in hosts):
        return 421, "this server does not have that host name"
    origins = headers.getlist("origin")
    own = (f"http://{named[0]}", f"https://{named[0]}")
    if any(origin not in own for origin in origins) or len(origins) > 1:
        return 403, "requests from other sites are refused"
    if any(site not in _OURS for site in headers.getlist("sec-fetch-site")):
        return 403, CROSS_SITE
    if method in ("GET", "HEAD"):
        return None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "invalid Content-Type: expected application/json"
    if not origins and "x-localops" not in headers:
        return 403, "missing header: send Origin or X-Localops"
    return None


@dataclass(frozen=True)
class Visitor:
    """A browser that has logged in."""

    name: str  # what its requests are counted under
    project: str | None = None  # the one it can read; None: all
    key: Key | None = None  # that it has logged in with, on a hub


class Logins:
    """The logged-in browsers, by digests of their cookies; in the memory of this process only."""

    def __init__(
        self,
        admit: Callable[[str], Visitor | None],
        is_valid: Callable[[Visitor], bool] = lambda _: True,
        most: int = _MOST_VISITORS,
    ) -> None:
        """Admit the visitors that `admit` returns while they are valid; at most `most` with one name at a time."""
        self._most = most
        self._admit = admit
        self._is_valid = is_valid
        self._in: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def enter(self, secret: str) -> tuple[str | None, Visitor | None]:
        """Return a new cookie for a valid token or key, and the visitor; None for any other."""
        visitor = self._admit(secret)
        if visitor is None:
            return None, None
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            own = [known for known, other in self._in.items() if other.name == visitor.name]
            # The oldest login of the same key ends, so that logins with one key end none of another.
            for known in own[: len(own) + 1 - self._most] if len(own) >= self._most else ():
                del self._in[known]
            self._in[digest(cookie)] = visitor
            while len(self._in) > _MOST_VISITORS:
                self._in.popitem(last=False)
        return cookie, visitor

    def leave(self, request: HTTPConnection) -> None:
        """Forget the cookie of a request."""
        with self._lock:
            self._in.pop(digest(request.cookies.get(cookie_name(request.scope), "")), None)

    def visitor(self, request: HTTPConnection) -> Visitor | None:
        """Return the visitor of a request's cookie, if the login is still valid."""
        cookie = request.cookies.get(cookie_name(request.scope))
        visitor = self._in.get(digest(cookie)) if cookie else None
        return visitor if visitor is not None and self._is_valid(visitor) else None


class Tokens:
    """The tokens of local pages, as digests: one in the printed link, one for the browser that we open."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._single: set[str] = set()

    def make(self, *, once: bool = False) -> str:
        """Return a new token of 256 bits; `once`: for one login, because others can see a command line."""
        token = secrets.token_urlsafe(32)
        (self._single if once else self._lasting).add(digest(token))
        return token

    def visitor(self, token: str) -> Visitor | None:
        """Return the visitor of a valid token."""
        shown = digest(token)
        try:
            # Atomic: of two simultaneous logins with this token, one succeeds.
            self._single.remove(shown)
        except KeyError:
            good = [known for known in self._lasting if hmac.compare_digest(known, shown)]
            return Visitor("") if good else None
        return Visitor("")


def of_keys(keys: Keys, most: int) -> Logins:
    """Return the logins of a hub: a key that may read opens its project, until it ends or is revoked."""

    def admit(secret: str) -> Visitor | None:
        key = keys.find(secret.strip())
        return Visitor(key.sha256, key.project, key) if key is not None and key.may(READ) else None

    return Logins(admit, lambda visitor: keys.is_good(visitor.name), most)


class BrowserGuard:
    """Middleware that refuses requests from other sites, asks for a login and adds security headers."""

    def __init__(self, app: ASGIApp, *, local: bool, logins: Logins, login_page: ASGIApp) -> None:
        self.app = app
        # The pages of one user on this machine: nothing is served without a login.
        self.local = local
        self.logins = logins
        self.login_page = login_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self._application(scope)(scope, receive, _with_headers(_in_pieces(send)))

    def _application(self, scope: Scope) -> ASGIApp:
        """Return the application that answers: ours, the login page or a refusal."""
        from starlette.requests import HTTPConnection

        headers = Headers(scope=scope)
        if not self.local and any(name in headers for name in _KEY_HEADERS):
            return self.app
        problem = objection(scope["method"], headers, _names(scope) if self.local else None)
        if problem is not None and (self.local or _is_of_a_browser(headers)):
            if problem[1] == CROSS_SITE and _is_page(scope, headers):
                return self.login_page
            return _refusal(*problem)
        if self.local and not scope["path"].startswith(_OPEN) and self.logins.visitor(HTTPConnection(scope)) is None:
            return self.login_page if _is_page(scope, headers) else _refusal(401, "log in first: see /login")
        return self.app


def digest(secret: str) -> str:
    """Return the digest that is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def cookie_name(scope: Scope) -> str:
    """Return the name of our cookie, with the port: browsers share cookies between ports of a host."""
    return f"localops-{(scope.get('server') or ('', 0))[1] or 0}"


def _names(scope: Scope) -> frozenset[str]:
    port = (scope.get("server") or ("", 0))[1]
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))


def _is_of_a_browser(headers: Headers) -> bool:
    return "origin" in headers or "sec-fetch-site" in headers or "cookie" in headers


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Return whether a person opens a page, rather than a script requesting data."""
    is_data = scope["path"].startswith(
        ("/api/", "/v2/", "/sync/", "/blobs/", "/web/", "/openapi", "/health", "/ready", "/metrics")
    )
    return scope["method"] == "GET" and not is_data and headers.get("sec-fetch-dest", "document") == "document"


def _refusal(status: int, message: str) -> Response:
    return Response(encode.dumps({"message": message}), status, {"Cache-Control": "no-store"}, "application/json")


# Once, and not for each response.
_ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def _with_headers(send: Send) -> Send:
    """Add security headers to responses, except those that a response sets itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in _ENCODED if each[0] not in present)]
        await send(message)

    return sending


def _in_pieces(send: Send) -> Send:
    """Send large bodies in pieces."""

    # Sent at once, a body would stay in the buffer of the connection while a slow client reads.

    async def sending(message: Message) -> None:
        body = message.get("body", b"")
        last = max(0, len(body) - 1) // _PIECE * _PIECE
        for at in range(0, last, _PIECE):
            await send({**message, "body": body[at : at + _PIECE], "more_body": True})
        await send({**message, "body": body[last:]} if last else message)

    return sending
