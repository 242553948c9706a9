"""The meaning of HTTP statuses and the time of the next try: pure functions, tested from a table."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from localops_sync.sink import Blocked, Busy, Offline, OverQuota, Refused, TooLarge, WrongKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from localops_sync.sink import Trouble

# Tries of one request in one pass, when the remote is there but fails; then the next pass tries again.
TRIES = 5
LONGEST = 60.0  # seconds between two tries
# Seconds.  A server has been seen to ask for thirty years.
RETRY_AFTER_MOST = 120.0

# Statuses that only a person can resolve, and how.
_ACT = {
    401: "it does not accept the key: set another with `localops remote key`",
    402: "it asks for payment, or its quota is used up",
    403: "the key may not write there: set another with `localops remote key`",
    404: "nothing at this address takes rows: check the URL",
    405: "nothing at this address takes rows: check the URL",
    407: "the proxy asks for a password",
    410: "it is closed for good",
    415: "it does not read what is sent: upgrade the older side",
    426: "it speaks another version: upgrade the older side",
    451: "it refuses for legal reasons",
    501: "nothing at this address takes rows: check the URL",
}
# From a remote these are about the key; as a web page they come from a proxy.
_OF_KEYS = (401, 402, 403, 451)
_REFUSES_KEY = (401, 403)
_LATER = (408, 425, 429, 503)
# Only these are about the rows that were sent: the remote would answer any other status to any rows.
_OF_ROWS = (400, 409, 422)
_FOR_NOW = (302, 303, 307)  # temporary redirects
_QUOTA = "Localops-Quota"  # a header of a hub: the name of the quota that is used up
_PORTAL = 511  # a network that wants a login first
LOGIN = ": if this network wants a login first, log in with a browser"


def trouble(status: int, excerpt: str, headers: Mapping[str, str], where: str) -> Trouble:
    """Return the error that a status other than 200 means for the rows that were sent."""
    text = f"{where} answered {status}{f': {excerpt}' if excerpt else ''}"
    if 300 <= status < 400:
        place = headers.get("Location", "")
        # A network's login page, as one with status 200 is.
        away = _host(place) not in (None, _host(f"//{where}"))
        return (Offline if away and status in _FOR_NOW else Blocked)(f"{text}; {_elsewhere(place, where)}")
    if status in _OF_KEYS and _is_page(headers):
        return Blocked(
            f"{text}, which is not an answer of a remote: a proxy or firewall before {where} refused the request; "
            "ask its operator to let it through"
        )
    if status in _ACT:
        return (WrongKey if status in _REFUSES_KEY else Blocked)(f"{text}; {_ACT[status]}")
    # A proxy may refuse sizes that the remote would take, which a web page as the answer shows.
    if status == 413:
        return TooLarge(text, foreign=_is_page(headers))
    if headers.get(_QUOTA) and status in (429, 507):
        full = f"{text}; ask its operator to raise the quota, or to delete sessions"
        return OverQuota(text, answered=True) if status == 429 else Blocked(full)
    if status in _LATER or (500 <= status < 600 and status != _PORTAL):
        wait = seconds(headers.get("Retry-After"), now=headers.get("Date"))
        return (Busy if status in _LATER else Offline)(text, retry_after=wait, answered=True)
    if 400 <= status < 500:
        return _no(status, text, headers)
    login = LOGIN if status == _PORTAL else ""
    return Offline(f"{text}, which is not an answer of a remote: something between us and it may have answered{login}")


def _elsewhere(place: str, where: str) -> str:
    """Return what to do about a redirect: a network's login page is elsewhere, a moved remote has the same host."""
    never = f"it points to {place or 'another address'}, and redirects are never followed"
    if _host(place) in (None, _host(f"//{where}")):
        return f"{never}: check the URL, and whether it is https or http (`localops remote move` changes it)"
    return (
        f"{never}: if that is the login page of this network, log in there with a browser; "
        "if the remote has moved, set its address with `localops remote move`"
    )


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # half a bracket
        return None


def _is_page(headers: Mapping[str, str]) -> bool:
    """Return whether the answer is a web page: of a proxy or a web server, not of a remote."""
    return headers.get("Content-Type", "").strip().lower().startswith("text/html")


def _no(status: int, text: str, headers: Mapping[str, str]) -> Refused | Blocked:
    """Return the error for a refusal: rows are parked only for what a remote itself answers about them."""
    if _is_page(headers):
        return Blocked(f"{text}, which is not an answer of a remote: check the URL, and whether it is https or http")
    return Refused(text) if status in _OF_ROWS else Blocked(f"{text}; it would refuse any rows like this")


def seconds(value: str | None, *, now: str | None = None) -> float | None:
    """Return the seconds of a Retry-After, at most RETRY_AFTER_MOST; None for an invalid one.

    A date counts from the server's own date, so that our clock does not matter.
    """
    if not value:
        return None
    digits = value.strip()
    if digits.isascii() and digits.isdigit():
        return min(float(digits[:12]), RETRY_AFTER_MOST)
    try:
        then = parsedate_to_datetime(digits)
        base = parsedate_to_datetime(now) if now else None
        if base is None:
            return None
        return min(max((then - base).total_seconds(), 0.0), RETRY_AFTER_MOST)
    except (ValueError, TypeError, OverflowError):
        return None


def backoff(tries: int, jitter: float) -> float:
    """Return the seconds to wait after `tries` failures: a random part (`jitter` in [0, 1)) of 1, 2, 4 … 60 seconds."""
    return jitter * min(LONGEST, 2.0 ** min(tries - 1, 30))
