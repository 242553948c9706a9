"""Decide whether a failed LLM call was billed; a call counts as free only if that is certain.

A provider bills a call once it has accepted it.  A call that got no connection, or was refused as unauthorized,
malformed or too frequent, cost nothing.  One that timed out, was cut off or got a server error may have been billed.
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
# Exceptions that HTTP clients and SDKs raise before they get an answer.  By name, because none of those packages is a
# dependency; a subclass counts as its base class.
_NO_CONNECTION = frozenset(
    "ConnectionRefusedError gaierror SSLCertVerificationError "  # the standard library
    "ConnectError ConnectTimeout "  # httpx, httpcore, requests
    "NewConnectionError NameResolutionError ConnectTimeoutError "  # urllib3
    "ClientConnectorError ConnectionTimeoutError EndpointConnectionError".split()  # aiohttp, botocore
)
_REFUSED = frozenset(
    "AuthenticationError PermissionDeniedError BadRequestError UnprocessableEntityError RateLimitError".split()
)
# Statuses from 400 to 499 of calls that may have reached a model.
_MAYBE_BILLED = frozenset((408, 499))
_MOST_CAUSES = 8


def is_unbilled(call: Event, error: ErrorEvent) -> bool:
    """Return whether a call failed before it could be billed: it has no answer, and its error shows why."""
    if not isinstance(call, events.LLMEvent) or any(getattr(call, name) is not None for name in _USAGE):
        return False
    if events.is_given(call.completion) or events.is_given(call.returns):
        return False
    return bool(attempt(lambda: _failed_before_billing(error), False))


def _failed_before_billing(error: ErrorEvent) -> bool:
    if error.exception is None:
        verdict = _by_status(error.code)
        return error.error_type in _NO_CONNECTION | _REFUSED if verdict is None else verdict
    causes = list(_causes(error.exception))
    for verdict in (*map(_by_status, _statuses(causes)), _by_status(error.code)):
        if verdict is not None:
            return verdict
    if any(_names(cause) & (_NO_CONNECTION | _REFUSED) for cause in causes):
        return True
    # An SSLError is from the handshake: a connection that breaks later raises another class.
    return type(causes[-1]).__name__ == "SSLError"


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its explicit causes; not its context, which may be the failure of an earlier attempt."""
    cause: object = exception
    for _ in range(_MOST_CAUSES):
        if not isinstance(cause, BaseException):
            return
        yield cause
        # Requests and urllib pass the exception they caught as an argument or as `reason`.
        first = cause.args[0] if cause.args else None
        wrapped = (cause.__cause__, getattr(cause, "reason", None), first)
        cause = next((each for each in wrapped if isinstance(each, BaseException)), None)


def _statuses(causes: list[BaseException]) -> Iterator[object]:
    """Yield the values that may be an HTTP status, from where SDKs and HTTP clients attach it to an exception."""
    for cause in causes:
        response: Any = getattr(cause, "response", None)
        if isinstance(response, dict):  # botocore
            about = response.get("ResponseMetadata")
            yield about.get("HTTPStatusCode") if isinstance(about, dict) else None
        for owner in (cause, response):
            yield from (getattr(owner, name, None) for name in ("status_code", "status", "code"))


def _by_status(status: object) -> bool | None:
    """Return whether an HTTP status means that the call was not billed; None for a value that is no error status."""
    if isinstance(status, str) and status.isdecimal() and len(status) == 3:
        status = int(status)
    if not isinstance(status, int) or not 400 <= status <= 599:
        return None
    return status < 500 and status not in _MAYBE_BILLED


def _names(exception: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(exception).__mro__}
