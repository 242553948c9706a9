"""Find the password in a URL of a service."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Later:
    """A pattern that is compiled when it is first used, so that programs start faster; most never need it.

    A pattern that takes time to build can be given as a function that returns it.
    """

    def __init__(self, pattern: str | bytes | Callable[[], str], flags: int = 0) -> None:
        self._source: Any = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        source = self._source() if callable(self._source) else self._source
        method = getattr(re.compile(source, self._flags), name)
        setattr(self, name, method)
        return method


# Databases, brokers and servers: their URLs often contain generated passwords that are not percent-encoded, so
# everything up to the last `@` is the password. The URL of a page rarely has one, and may have an `@` in its path.
_SERVICES = frozenset(
    "postgres postgresql pgsql cockroachdb redshift mysql mysqlx mariadb mongodb redis rediss valkey valkeys amqp amqps"
    " mssql sqlserver oracle clickhouse cassandra snowflake neo4j bolt nats kafka mqtt mqtts stomp ftp ftps sftp smtp"
    " smtps imap imaps pop3 pop3s ldap ldaps".split()
)
_PAGES = ("http", "ttps")  # the last four characters of http and https, as most URLs are of pages
_SCHEME_BACKWARDS = Later(r"(?:[a-z0-9_]{1,32}\+)?([a-z0-9]{1,21})(?![a-z0-9])([\\%])?")
_LONGEST_SCHEME = 52
_USER = r"[^\s:/@\"'\\?#]{0,128}+:(?!\[redacted:)"
_PASSWORD = Later(_USER + r"([^\s/\"'\\<>]{1,256})@")
# Not a port followed by a path and a query, which may have an `@`.
_PASSWORD_OF_SERVICE = Later(_USER + r"(?![0-9]{2,5}(?:/[\w.-]{0,64})?\?)([^\s\"'\\<>`]{1,256})@")
_ORACLE = Later(r"[^\s:/@\"'\\]{1,128}+/(?!\[redacted:)([^\s\"'\\<>`]{1,256})@")


def url_password(text: str, low: str, at: int) -> tuple[int, int] | None:
    """Return the span of the password in the URL whose `://` is at `at`, or None.

    `low` is the text in lower case.

    >>> url = "postgres://app:aa/b@c@db/x"
    >>> url_password(url, url, 8)
    (15, 21)
    """
    start = at + 3
    password = None
    if low[at - 4 : at] not in _PAGES and _is_of_service(low[max(0, at - _LONGEST_SCHEME) : at]):
        password = _PASSWORD_OF_SERVICE.match(text, start)
        if password is not None and "://" in password[1]:  # the match extends into another URL
            password = _PASSWORD_OF_SERVICE.match(text, start, text.index("://", start))
    password = password or _PASSWORD.match(text, start)
    return password.span(1) if password is not None else None


def _is_of_service(before: str) -> bool:
    """Return whether a text ends with the scheme of a service, with or without a driver, as in `mysql+pymysql`."""
    scheme = _SCHEME_BACKWARDS.match(before[::-1])
    if scheme is None:
        return False
    name = scheme[1][::-1]
    # The scheme may follow an escape, whose characters look like a part of it: \n, \x1b, \u003d, %20.
    escapes = {None: (), "\\": (1, 3, 5), "%": (2,)}[scheme[2]]
    return name in _SERVICES or any(name[length:] in _SERVICES for length in escapes)


def oracle_password(text: str, start: int) -> tuple[int, int] | None:
    """Return the span of the password in `USER/PASSWORD@HOST` at `start`, or None."""
    password = _ORACLE.match(text, start)
    return password.span(1) if password is not None else None


def password_in(value: str) -> str | None:
    """Return the password of the first URL in a text that has one.

    >>> password_in("see redis://:a/b@h")
    'a/b'
    """
    low = value.lower()
    if len(low) != len(value):
        return None
    at = low.find("://")
    while at >= 0:
        place = url_password(value, low, at)
        if place is not None:
            return value[slice(*place)]
        at = low.find("://", at + 3)
    return None
