"""Requests and their parameters, endpoints, and the errors that handlers raise."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from localops import clock
from localops.config import check_project
from localops.errors import ConfigError, LocalopsError
from localops.recording import events
from localops.server.keys import ADMIN, READ, SEND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from localops.server.intake.tokens import Token
    from localops.server.keys import Key


class HttpError(Exception):
    """An error with the HTTP status and the JSON of its response."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None, **facts: object) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.facts = {"message": message, **facts}


class Unavailable(LocalopsError):
    """The store cannot be read or written now.

    `why` is for the log of the hub: it may contain paths, which clients must not see.
    """

    def __init__(self, message: str, why: object = "") -> None:
        super().__init__(message)
        self.why = why


class TooMany(LocalopsError):
    """The result is too large for one response."""


class Misplaced(LocalopsError):
    """A piece of a blob does not begin where the last one ended."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset


class Garbled(LocalopsError):
    """A complete blob does not have the digest in its name; it was deleted."""


@dataclass
class Call:
    """An API call: the request, and the project and key it is made with."""

    request: Request
    project: str | None = None
    # The secret, or of a browser the name of its login.
    key: str = ""
    # The key of the request, or of its login.
    by: Key | None = None
    # Returns whether the key is still valid: it can be revoked while a stream is open.
    is_admitted: Callable[[], bool] = lambda: True
    # The token that an AgentOps client has instead of a key.
    token: Token | None = None

    @property
    def share(self) -> str:
        """Return the name under which limits are counted: the same for a key, its logins and its tokens."""
        return self.key if self.by is None else self.by.sha256

    @property
    def owner(self) -> str:
        """Return the project of the key; for endpoints that need one."""
        assert self.project is not None
        return self.project

    def param(self, name: str) -> str | None:
        """Return a parameter of the query; None if it is missing or empty."""
        return self.request.query_params.get(name) or None

    def session(self) -> bytes:
        """Return the session in the path."""
        return self.session_named(self.request.path_params["session"])

    def session_named(self, ident: str) -> bytes:
        """Return the session of an id."""
        try:
            return uuid.UUID(ident).bytes
        except ValueError as error:
            raise HttpError(404, "invalid session id: expected a UUID") from error

    def number(self, name: str, otherwise: int, *, most: int, least: int = 0) -> int:
        """Return a number from the query."""
        text = self.param(name)
        if text is None:
            return otherwise
        if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < least:
            raise HttpError(400, f"{name} must be an integer ≥ {least}, got {text[:40]!r}")
        return min(int(text), most)

    def limit(self, otherwise: int, *, most: int) -> int:
        """Return the size of a page, at least 1: with 0, the next page would be the same one."""
        return self.number("limit", otherwise, most=most, least=1)

    def amount(self, name: str) -> int | None:
        """Return a number of dollars or seconds from the query, in billionths."""
        text = self.param(name)
        if text is None:
            return None
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or not -(10**9) <= amount <= 10**9:
            raise HttpError(400, f"{name} must be a number, got {text[:40]!r}")
        return int(amount * 10**9)

    def chosen_project(self) -> str | None:
        """Return the project to read: that of the key, else the `project` parameter."""
        return self.within(self.param("project"))

    def within(self, name: str | None) -> str | None:
        """Return the project of a name, if the key is for it; without a name, that of the key."""
        if name is not None and self.project not in (None, name):
            raise HttpError(404, "this key is for another project")
        return self.project if name is None else valid_project(name)

    def moment(self, name: str) -> int | None:
        """Return a time from the query, in nanoseconds since 1970."""
        text = self.param(name)
        if text is None:
            return None
        at = clock.ago(text)
        at = events.to_ns(text) if at is None else at
        if at is None:
            raise HttpError(400, f"invalid {name} {text[:40]!r}: use 7d, 2026-11-21 or 2026-11-21T08:30")
        return at


def digest_in(request: Request) -> str:
    """Return the digest in the path."""
    digest = str(request.path_params["digest"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise HttpError(404, "invalid blob: expected a SHA-256 of 64 lower-case hex digits")
    return digest


def valid_project(text: str) -> str:
    """Return the name of a project, or raise HttpError if it is not valid."""
    try:
        return check_project(text)
    except ConfigError as error:
        raise HttpError(400, str(error)) from error


@dataclass(frozen=True)
class Endpoint:
    """An address of the server, and its handler."""

    method: str
    path: str
    # A method of the class of handlers that `api` names.
    handler: str
    about: str
    query: Mapping[str, str] = field(default_factory=dict)  # query parameters
    body: str | None = None  # its media type
    form: Mapping[str, object] = field(default_factory=dict)  # JSON schema of the body
    gives: Sequence[str] = ("application/json",)  # media types of the response
    key: bool = True  # it needs one
    # A stream: it stays open, and does not count among the running requests.
    lasting: bool = False
    # Whose handlers: see `app.py`.  All but "read" are only on a hub.
    api: str = "read"
    v2: bool = False  # errors in the form of AgentOps
    answers: Mapping[int, str] = field(default_factory=dict)
    # The scope that its key needs, if it is not the default of its handlers.
    scope: str | None = None

    @property
    def takes_tokens(self) -> bool:
        """Return whether the token of an AgentOps client is accepted instead of its key."""
        return self.v2 or self.api in ("agentops", "otlp")

    @property
    def hub(self) -> bool:
        """Return whether it is only on a hub."""
        return self.api != "read"

    @property
    def needs(self) -> str:
        """Return the scope that a key needs for it."""
        return self.scope or {"read": READ, "operator": ADMIN}.get(self.api, SEND)

    @property
    def door(self) -> str:
        """Return the door that its requests are counted under: one of metrics.DOORS."""
        if self.api == "read" and not self.key:
            return "operator"
        return "agentops" if self.v2 else self.api
