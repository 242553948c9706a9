"""Exceptions as HTTP errors: a status, a sentence, and when to try again."""

from __future__ import annotations

import math

from localops.errors import Ambiguous, BundleError, ConfigError, JournalError, LocalopsError, NotFound
from localops.server import troubles
from localops.server.keys import Unreadable
from localops.server.limits import Busy
from localops.server.policy import UnreadableRules
from localops.server.quotas import OverQuota
from localops.server.request import Garbled, HttpError, Misplaced, TooMany, Unavailable
from localops.server.request_body import TooLarge, TooSlow, UnknownEncoding
from localops.transfer.missing import MissingRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops.transfer.bundle import Range

CLOSE = {"Connection": "close"}
# Seconds after which a client may try again on a full disk.
_RETRY = 5
_NO_RULES = "the rules of projects cannot be read now"

_STATUS: dict[type[Exception], int] = {
    BundleError: 400,
    TooLarge: 413,
    UnknownEncoding: 415,
    NotFound: 404,
    Ambiguous: 404,
    ConfigError: 400,
    Garbled: 422,
    TooMany: 413,
}


def held_rows(held: Iterable[Range], marks: Iterable[tuple[int, bytes, int]]) -> dict[str, Any]:
    """Return which rows of a sender's journal a hub has, as the sync API sends it."""
    return {"held": [list(each) for each in held], "marks": [[seq, id.hex(), phase] for seq, id, phase in marks]}


def _later(error: Busy | Unavailable | Unreadable) -> HttpError:
    """Return a temporary error; its cause goes into the hub's log, never to the client."""
    if isinstance(error, Busy):
        if not error.own_fault:
            troubles.report("the hub is full", error)
        wait = {"Retry-After": str(math.ceil(error.after))}
        return HttpError(429 if error.own_fault else 503, str(error), headers={**wait, **CLOSE})
    message = "the keys of the hub cannot be read now" if isinstance(error, Unreadable) else str(error)
    troubles.report(message, error if isinstance(error, Unreadable) else error.why)
    return HttpError(503, message, headers={"Retry-After": str(_RETRY)})


def _of_rules(error: OverQuota | UnreadableRules) -> HttpError:
    """Return an error of a project's rules."""
    if isinstance(error, UnreadableRules):
        return _later(Unavailable(_NO_RULES, error))
    # Named in a header: a sender should end its pass at once, and not park the refused rows.
    named = {"Localops-Quota": error.which}
    # Without Retry-After, as the time is not known: earlier senders would wait for it in vain.
    if error.after is None:
        return HttpError(507, str(error), headers=named)
    return HttpError(429, str(error), headers={**named, "Retry-After": str(math.ceil(error.after))})


def _own_error(error: LocalopsError, *, local: bool) -> HttpError:
    """Return an error whose message may have a path, such as that of the journal: it goes into the hub's log."""
    if isinstance(error, JournalError):
        return HttpError(503, str(error)) if local else _later(Unavailable(troubles.UNREADABLE, error))
    if local:
        return HttpError(500, str(error))
    troubles.report("a request failed", error, status=500)
    return HttpError(500, "internal error: see the log of the hub")


def http_error(error: Exception, *, local: bool = False) -> HttpError:
    """Return an exception as an HTTP error; raise it again if it is unknown.

    `local`: for a user's own home, whose paths are no secret.
    """
    if isinstance(error, HttpError):
        return error
    if isinstance(error, Busy | Unavailable | Unreadable):
        return _later(error)
    if isinstance(error, OverQuota | UnreadableRules):
        return _of_rules(error)
    if isinstance(error, TooSlow):
        return HttpError(408, str(error), headers=CLOSE)
    if isinstance(error, MissingRows):
        return HttpError(409, str(error), **held_rows(error.held, error.marks))
    if isinstance(error, Misplaced):
        return HttpError(409, str(error), offset=error.offset)
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return HttpError(status, str(error))
    if isinstance(error, LocalopsError):
        return _own_error(error, local=local)
    raise error
