"""What the server is asked: a request and in whose name it comes, the addresses there are, and how it says no."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from localops.config import check_project
from localops.errors import ConfigError, LocalopsError
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request


class HttpError(Exception):
    """An answer that is not the one that was asked for."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None, **facts: object) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.facts = {"message": message, **facts}


class Unavailable(LocalopsError):
    """Nothing can be stored just now.

    `why` is for whoever looks after the hub: it may name paths, and no client is told.
    """

    def __init__(self, message: str, why: object = "") -> None:
        super().__init__(message)
        self.why = why


class TooMany(LocalopsError):
    """There is more of it than fits one answer."""


class Misplaced(LocalopsError):
    """The piece does not begin where the last one ended."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset


class Garbled(LocalopsError):
    """The whole has another digest than it was announced with: it was thrown away."""


@dataclass
class Call:
    """A request, and in whose name it is made."""

    request: Request
    project: str | None = None
    key: str = ""  # or what a visitor is counted under
    still: Callable[[], bool] = lambda: True  # whether they may go on asking: a key can be revoked meanwhile

    @property
    def owner(self) -> str:
        """The project of the key; only endpoints that need a key ask."""
        assert self.project is not None
        return self.project

    def asked(self, name: str) -> str | None:
        """A parameter of the query; None when it is missing or empty."""
        return self.request.query_params.get(name) or None

    def session(self) -> bytes:
        """The session in the path."""
        try:
            return uuid.UUID(self.request.path_params["session"]).bytes
        except ValueError as error:
            raise HttpError(404, "that is no id of a session") from error

    def number(self, name: str, otherwise: int, *, most: int, least: int = 0) -> int:
        """A number from the query."""
        text = self.asked(name)
        if text is None:
            return otherwise
        if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < least:
            raise HttpError(400, f"{name}={text[:40]!r} is no number from {least} on")
        return min(int(text), most)

    def limit(self, otherwise: int, *, most: int) -> int:
        """How long a page may be; the next one begins behind what is on it, so it has room for something."""
        return self.number("limit", otherwise, most=most, least=1)

    def amount(self, name: str) -> int | None:
        """A number of dollars or seconds from the query, in billionths."""
        text = self.asked(name)
        if text is None:
            return None
        try:
            found = Decimal(text)
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite() or not -(10**9) <= found <= 10**9:
            raise HttpError(400, f"{name}={text[:40]!r} is no number")
        return int(found * 10**9)

    def chosen_project(self) -> str | None:
        """The project that is looked at: that of the key, else the one that is asked for."""
        asked = self.asked("project")
        if asked is not None and self.project not in (None, asked):
            raise HttpError(404, "this key is for another project")
        return self.project if asked is None else project_named(asked)

    def moment(self, name: str) -> int | None:
        """A time from the query, in nanoseconds since 1970."""
        text = self.asked(name)
        if text is None:
            return None
        at = events.to_ns(text)
        if at is None:
            raise HttpError(400, f"{name}={text[:40]!r} is no time: say 2026-11-21 or 2026-11-21T08:30")
        return at


def digest_in(request: Request) -> str:
    """The blob in the path."""
    digest = str(request.path_params["digest"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise HttpError(404, "a blob is named by its SHA-256: 64 hex digits, in small letters")
    return digest


def project_named(text: str) -> str:
    """The name of a project that a client said."""
    try:
        return check_project(text)
    except ConfigError as error:
        raise HttpError(400, str(error)) from error


@dataclass(frozen=True)
class Endpoint:
    """An address of the hub."""

    method: str
    path: str
    handler: str  # the method that answers: of ReadApi, or of SyncApi where rows are taken in
    about: str
    query: Mapping[str, str] = field(default_factory=dict)  # what may stand behind the `?`
    body: str | None = None  # the type of what is sent along
    form: Mapping[str, object] = field(default_factory=dict)  # its JSON schema, where it has one
    gives: Sequence[str] = ("application/json",)  # the types of what comes back
    key: bool = True  # whether it needs one
    lasting: bool = False  # an answer that goes on: it does not count among the requests that run
    hub: bool = False  # only where rows are taken in
    v2: bool = False  # errors as AgentOps has them
    answers: Mapping[int, str] = field(default_factory=dict)
