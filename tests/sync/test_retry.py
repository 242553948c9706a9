"""The meaning of an answer and the time of the next try, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops_sync import retry
from localops_sync.sink import Blocked, Busy, Offline, OverQuota, Refused, TooLarge, Trouble, WrongKey

_NOW = "Sat, 21 Nov 2026 03:00:00 GMT"

_MEANING: list[tuple[type[Trouble], list[int]]] = [
    (Blocked, [300, 301, 302, 303, 304, 307, 308]),
    (WrongKey, [401, 403]),
    (Blocked, [402, 404, 405, 407, 410, 415, 426, 451, 501]),
    (Blocked, [406, 411, 412, 414, 416, 417, 418, 421, 423, 424, 428, 431, 499]),
    (Refused, [400, 409, 422]),
    (TooLarge, [413]),
    (Busy, [408, 425, 429, 503]),
    (Offline, [500, 502, 504, 505, 507, 508, 511, 520, 524, 599]),
    (Offline, [100, 103, 201, 202, 204, 206, 207, 600, 999]),
]


@pytest.mark.parametrize(("kind", "codes"), _MEANING, ids=lambda value: getattr(value, "__name__", None))
def test_what_each_status_means(kind: type[Trouble], codes: list[int]) -> None:
    """A status needs a person, concerns the rows or their size, or is temporary; the message explains it."""
    for code in codes:
        failure = retry.trouble(code, "so it is", {}, "hub.example")
        assert type(failure) is kind, code
        assert str(failure).startswith(f"hub.example answered {code}: so it is")


def test_a_quota_is_named_by_the_hub() -> None:
    """That of a day ends the pass, that of all needs a person; without the header they are as on any server."""
    named = {"Localops-Quota": "rows", "Retry-After": "3600"}
    assert type(retry.trouble(429, "full", named, "hub.example")) is OverQuota
    blocked = retry.trouble(507, "full", named, "hub.example")
    assert type(blocked) is Blocked
    assert "raise the quota" in str(blocked)
    assert type(retry.trouble(503, "full", named, "hub.example")) is Busy


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_remote_is_asked_again(code: int) -> None:
    """A remote that is busy is asked again in the same pass, at the time that it wants."""
    failure = retry.trouble(code, "", {"Retry-After": "7"}, "hub.example")
    assert isinstance(failure, Offline)
    assert (failure.answered, failure.retry_after) == (True, 7.0)


@pytest.mark.parametrize("code", [511, 202, 600])
def test_another_server_is_not_asked_again(code: int) -> None:
    """An answer that no remote gives is from something in between, which a later pass may not meet."""
    failure = retry.trouble(code, "", {}, "hub.example")
    assert isinstance(failure, Offline)
    assert not failure.answered


@pytest.mark.parametrize("code", [400, 409, 422])
@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8"])
def test_a_web_page_refuses_no_row(code: int, kind: str) -> None:
    """A proxy's error page is not about rows: none is set aside for it."""
    assert isinstance(retry.trouble(code, "a web page", {"Content-Type": kind}, "hub.example"), Blocked)


def test_a_web_page_does_not_blame_the_key() -> None:
    """A proxy's 403 is reported as a proxy's: the key is not to blame."""
    failure = retry.trouble(403, "a web page", {"Content-Type": "text/html"}, "hub.example")
    assert isinstance(failure, Blocked)
    assert ("proxy" in str(failure), "the key" in str(failure)) == (True, False)
    assert "the key may not write" in str(retry.trouble(403, "no", {"Content-Type": "application/json"}, "h"))


@pytest.mark.parametrize(("code", "kind"), [(302, Offline), (303, Offline), (307, Offline), (301, Blocked)])
def test_a_login_page_of_the_network_is_temporary(code: int, kind: type[Trouble]) -> None:
    """A temporary redirect to another host means the same as a login page with 200; a permanent one needs a person."""
    failure = retry.trouble(code, "", {"Location": "https://login.example/"}, "hub.example")
    assert (type(failure), getattr(failure, "answered", False)) == (kind, False)


def test_the_message_of_a_redirect_has_its_target() -> None:
    """The target of a redirect is in the message: it may be the right address."""
    failure = retry.trouble(301, "", {"Location": "https://hub.example/below"}, "hub.example")
    assert "https://hub.example/below" in str(failure)


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("http://10.0.0.1/login?from=hub.example", "log in there with a browser"),
        ("https://hub.example:8642/", "whether it is https or http"),
        ("/login", "check the URL"),
        ("http://[", "check the URL"),
    ],
)
def test_a_redirect_has_advice(place: str, advice: str) -> None:
    """A network's login page needs a browser; a remote that points to itself needs another URL."""
    message = str(retry.trouble(302, "", {"Location": place}, "hub.example:8642"))
    assert (advice in message, "browser" in message) == (True, "browser" in advice)


def test_a_refused_key_has_advice() -> None:
    """The advice is a command that helps, also after `remote test`."""
    assert "localops remote key" in str(retry.trouble(401, "", {}, "hub.example"))


_AFTER = [
    ("0", 0.0),
    ("7", 7.0),
    (" 7 ", 7.0),
    ("999999999", retry.RETRY_AFTER_MOST),
    ("9" * 400, retry.RETRY_AFTER_MOST),
    ("Sat, 21 Nov 2026 03:00:09 GMT", 9.0),
    ("Sat, 21 Nov 2026 04:00:09 +0100", 9.0),
    ("Sat, 21 Nov 2026 02:00:00 GMT", 0.0),
    ("Sat, 21 Nov 2099 03:00:00 GMT", retry.RETRY_AFTER_MOST),
    (None, None),
    ("", None),
    ("soon", None),
    ("-5", None),
    ("1.5", None),
    ("٧", None),
    ("Sat, 99 Nov 2026 03:00:00 GMT", None),
    ("Sat, 21 Nov 99999 03:00:00 GMT", None),
]


@pytest.mark.parametrize(("header", "expected"), _AFTER)
def test_retry_after(header: str | None, expected: float | None) -> None:
    """Seconds and dates are understood, capped, and never negative; nonsense is ignored."""
    assert retry.seconds(header, now=_NOW) == expected


@pytest.mark.parametrize("now", [None, "", "yesterday", "Sat, 21 Nov 2026 03:00:00 -0000"])
def test_retry_after_a_date_without_a_clock(now: str | None) -> None:
    """A date is useless without the clock it is from: the one here may be wrong."""
    assert retry.seconds("Sat, 21 Nov 2026 03:00:09 GMT", now=now) is None


@given(st.text(), st.none() | st.text())
def test_no_header_makes_it_fail(header: str, now: str | None) -> None:
    """For any header, the result is None or a time that can be waited."""
    seconds = retry.seconds(header, now=now)
    assert seconds is None or 0 <= seconds <= retry.RETRY_AFTER_MOST


@given(st.integers(100, 999), st.text(), st.dictionaries(st.sampled_from(["Retry-After", "Location"]), st.text()))
def test_every_status_means_something(code: int, message: str, headers: dict[str, str]) -> None:
    """There is no status without a meaning."""
    assert isinstance(retry.trouble(code, message, headers, "hub.example"), Trouble)


def test_backoff_doubles_up_to_a_minute() -> None:
    """The longest wait doubles with each failure, up to a limit; the wait is a random part of it."""
    assert [retry.backoff(tries, 1.0) for tries in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert retry.backoff(5, 0.0) == 0.0
    assert retry.backoff(5, 0.25) == 4.0


def test_backoff_ends() -> None:
    """However often it failed, there is a wait."""
    assert retry.backoff(5_000, 0.5) == retry.LONGEST / 2
