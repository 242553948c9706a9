"""Decide whether a failed LLM call was billed: it is free of charge only if that is certain.

A provider bills a call once it has accepted it.  A call that got no connection, or was refused as unauthorized,
malformed or too frequent, cost nothing; one that timed out, broke off or met a server's error may have been billed.
"""

from __future__ import annotations

from localops.interruption import attempt
from localops.journal import token_kinds
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.recording.events import ErrorEvent, Event

_USAGE = ("cost", *(kind.field for kind in token_kinds.WITH_COLUMN))
# The names of exceptions of HTTP clients and SDKs before an answer.  Names, because none of those
# packages is a dependency; a program's subclass counts as its base class.
_NO_CONNECTION = frozenset(
    "ConnectionRefusedError gaierror SSLCertVerificationError "  # the standard library
    "ConnectError ConnectTimeout "  # httpx, httpcore, requests
    "NewConnectionError NameResolutionError ConnectTimeoutError "  # urllib3
    "ClientConnectorError ConnectionTimeoutError EndpointConnectionError".split()  # aiohttp, botocore
)
_TURNED_DOWN = frozenset(
    "AuthenticationError PermissionDeniedError BadRequestError UnprocessableEntityError RateLimitError".split()
)
# Statuses from 400 to 499 after which the call may have reached a model.
_MAYBE_BILLED = frozenset((408, 499))
_MOST_CAUSES = 8


def is_unbilled(call: Event, error: ErrorEvent) -> bool:
    """Return whether a call failed before it could be billed: it has no answer, and its error shows why."""
    if not isinstance(call, events.LLMEvent) or any(getattr(call, name) is not None for name in _USAGE):
        return False
    if events.is_given(call.completion) or events.is_given(call.returns):
        return False
    return bool(attempt(lambda: _came_before_billing(error), False))


def _came_before_billing(error: ErrorEvent) -> bool:
    if error.exception is None:
        verdict = _by_status(error.code)
        return error.error_type in _NO_CONNECTION | _TURNED_DOWN if verdict is None else verdict
    causes = list(_causes(error.exception))
    for verdict in (*map(_by_status, _statuses(causes)), _by_status(error.code)):
        if verdict is not None:
            return verdict
    if any(_names(cause) & (_NO_CONNECTION | _TURNED_DOWN) for cause in causes):
        return True
    # Of a handshake: an error that breaks off later has a class of its own.
    return type(causes[-1]).__name__ == "SSLError"


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Return an exception and its causes; not those that were only being handled, such as an earlier attempt."""
    cause: object = exception
    for _ in range(_MOST_CAUSES):
        if not isinstance(cause, BaseException):
            return
        yield cause
        # Requests and urllib wrap the exception they caught.
        first = cause.args[0] if cause.args else None
        wrapped = (cause.__cause__, getattr(cause, "reason", None), first)
        cause = next((each for each in wrapped if isinstance(each, BaseException)), None)


def _statuses(causes: list[BaseException]) -> Iterator[object]:
    """Return possible HTTP statuses, as SDKs and HTTP clients attach them to exceptions."""
    for cause in causes:
        response: Any = getattr(cause, "response", None)
        if isinstance(response, dict):  # botocore
            about = response.get("ResponseMetadata")
            yield about.get("HTTPStatusCode") if isinstance(about, dict) else None
        for owner in (cause, response):
            yield from (getattr(owner, name, None) for name in ("status_code", "status", "code"))


def _by_status(status: object) -> bool | None:
    """Return whether an HTTP status is sent before billing; None for a value that is not an error status."""
    if isinstance(status, str) and status.isdecimal() and len(status) == 3:
        status = int(status)
    if not isinstance(status, int) or not 400 <= status <= 599:
        return None
    return status < 500 and status not in _MAYBE_BILLED


def _names(exception: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(exception).__mro__}
