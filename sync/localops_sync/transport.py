"""HTTP, the only place: who is called, how long, how much of an answer is read, and what its failures mean.

A request ends at its deadline whatever the other side does, follows no redirect, reads at most ANSWER bytes, takes no
compressed answer, and turns every failure into Trouble (`sink.py`) with a sentence that a person can act upon.
"""

from __future__ import annotations

import socket
import ssl
import threading
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from localops import __version__, clock, encode, output
from localops_sync import retry
from localops_sync.pace import Pace
from localops_sync.sink import Blocked, Offline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from localops_sync.remotes import Remote

CONNECT = 5.0  # seconds for a connection
SILENCE = 30.0  # seconds without a byte
WHOLE = 120.0  # seconds for a request and its answer
ANSWER = 8 << 20  # bytes of an answer
_SKEW = 300.0  # seconds that clocks may differ without a word
_SAID = 200  # characters of a remote's own words in a sentence of ours


class Reply:
    """An answer, read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, where: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._where = where

    def json(self) -> Any:
        """The JSON it holds; Offline when it is something else: whoever wrote that is not the remote."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise _not_ours(self._where, f"{kind or 'nothing'} instead of JSON")
        try:
            return encode.loads(self.body)
        except ValueError as error:
            raise _not_ours(self._where, "broken JSON") from error

    def said(self) -> str:
        """The beginning of its text, for a sentence: the message in it if it is JSON."""
        try:
            found = encode.loads(self.body)
            if isinstance(found, dict):
                found = found.get("message") or found.get("error") or found.get("detail") or found
            text = found if isinstance(found, str) else encode.dumps(found).decode()
        except ValueError:
            text = self.body[: 4 * _SAID].decode("utf-8", "replace")
        return output.cut(output.clean(" ".join(text.split())), _SAID)


def _not_ours(where: str, what: str) -> Offline:
    return Offline(f"something between us and {where} answered ({what}); nothing counts as sent", answered=False)


class Transport:
    """Requests to one remote, over a connection that is kept."""

    def __init__(
        self, remote: Remote, *, pace: Pace | None = None, whole: float = WHOLE, silence: float = SILENCE
    ) -> None:
        self.pace = pace or Pace()
        self.base = remote.url.rstrip("/")
        self.where = urlsplit(self.base).netloc
        self.key = remote.secret()
        self.sent = 0  # bytes of all bodies
        self.skew: float | None = None  # by how many seconds the remote's clock is ahead, when that is worth a word
        self._whole, self._silence = whole, silence
        self._session = requests.Session()
        self._session.auth = _NoAuth()  # else a .netrc would put its own key in place of ours
        self._session.headers.update({"User-Agent": f"localops/{__version__}", "Accept-Encoding": "identity"})
        self._session.headers.update(remote.headers)
        if remote.ca is not None:
            self._session.verify = remote.ca
        self._adapter = _Adapter()
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (200,),
    ) -> Reply:
        """Send a request and read its answer; Trouble for a status that is not expected."""
        self.pace.check()
        reply = self._ask(method, path, body, headers or {}, min(self._whole, max(self.pace.seconds_left(), 1.0)))
        self.sent += len(body or b"")
        self.pace.spend(0, len(body or b""))
        self._compare_clocks(reply.headers.get("Date"))
        if reply.status not in expected:
            raise retry.trouble(reply.status, self._without_key(reply.said()), reply.headers, self.where)
        return reply

    def _without_key(self, text: str) -> str:
        """A remote may repeat the key in its complaint; we do not."""
        return text.replace(self.key, "***") if self.key else text

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], whole: float) -> Reply:
        alarm = threading.Timer(whole, self._adapter.cut)
        alarm.daemon = True
        alarm.start()
        try:
            with self._session.request(
                method,
                self.base + path,
                data=body,
                headers=dict(headers),
                timeout=(min(CONNECT, whole), min(self._silence, whole)),
                allow_redirects=False,
                stream=True,
            ) as found:
                return Reply(found.status_code, found.headers, self._read(found), self.where)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if self._adapter.was_cut:
                self._adapter.was_cut = False
                raise Offline(f"{self.where} did not finish its answer within {whole:.0f} s") from error
            raise _meaning(error, self.where, self.base) from error
        finally:
            alarm.cancel()

    def _read(self, found: requests.Response) -> bytes:
        """The whole body as it came, unless it is too long."""
        pieces, size = [], 0
        while piece := found.raw.read(65_536, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER:
                raise Offline(f"{self.where} sent more than {ANSWER >> 20} MB for an answer; it was not read")
        expected = found.headers.get("Content-Length", "")
        if expected.isdigit() and size < int(expected) and found.request.method != "HEAD":
            raise Offline(f"{self.where} broke off in the middle of its answer")
        return b"".join(pieces)

    def _compare_clocks(self, date: str | None) -> None:
        try:
            ahead = parsedate_to_datetime(date or "").timestamp() - clock.now_ns() / 1e9
        except (ValueError, TypeError, OverflowError):
            return
        self.skew = ahead if abs(ahead) > _SKEW else None

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()


class _NoAuth(AuthBase):
    """Leaves a request as it is."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Adapter(HTTPAdapter):
    """Keeps hold of the sockets, so that a request can be ended from outside: no timeout bounds a slow header."""

    def __init__(self) -> None:
        self.was_cut = False
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def cut(self) -> None:
        """End what is going on: whoever waits for a byte gets an end of file."""
        self.was_cut = True
        for pool in _pools(self):
            for connection in pool.in_use:
                _shut(getattr(connection, "sock", None))

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make pools that remember their connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """The same for those behind a proxy."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


def _pools(adapter: _Adapter) -> list[Any]:
    managers = [adapter.poolmanager, *adapter.proxy_manager.values()]
    return [manager.pools.get(key) for manager in managers for key in list(manager.pools.keys())]


class _Pool(urllib3.HTTPConnectionPool):
    """A pool that knows which connections it has made."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.in_use: list[Any] = []
        super().__init__(*arguments, **options)

    def _new_conn(self) -> Any:
        made = super()._new_conn()
        self.in_use[:] = [made]
        return made


class _SecurePool(urllib3.HTTPSConnectionPool):
    """The same with TLS."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.in_use: list[Any] = []
        super().__init__(*arguments, **options)

    def _new_conn(self) -> Any:
        made = super()._new_conn()
        self.in_use[:] = [made]
        return made


def _shut(sock: socket.socket | None) -> None:
    try:
        if sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # closed meanwhile
        pass


def _meaning(error: Exception, where: str, base: str) -> Offline | Blocked:
    """What a failure below HTTP means, in words."""
    if isinstance(error, Offline):
        return error
    if isinstance(error, requests.exceptions.ProxyError):
        return Offline(f"the proxy for {where} does not answer: {_root(error)}; see HTTPS_PROXY and NO_PROXY")
    if isinstance(error, requests.exceptions.SSLError):
        return Blocked(
            f"{where} cannot be trusted: {_root(error)}; check the address and this machine's clock, "
            "or name its certificate: localops remote add … --ca FILE"
        )
    if isinstance(error, requests.exceptions.InvalidSchema | requests.exceptions.InvalidURL):
        return Blocked(f"{base} is not an address that can be called: {error}")
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException) and "certificate" in str(error):
        return Blocked(f"the certificates for {where} cannot be read: {error}")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Offline(f"{where} does not answer within {CONNECT:.0f} s")
    if isinstance(error, requests.exceptions.ReadTimeout):
        return Offline(f"{where} took the request and said nothing more")
    cause = _root(error)
    if isinstance(cause, socket.gaierror):
        return Offline(f"the name of {where} cannot be looked up: no network, or a wrong name")
    if isinstance(cause, ConnectionRefusedError):
        return Offline(f"nothing listens at {where}")
    if isinstance(cause, ssl.SSLError):
        return Blocked(f"{where} cannot be trusted: {cause}")
    return Offline(f"the connection to {where} broke: {cause}")


def _root(error: BaseException) -> BaseException:
    """What is at the bottom of wrapped errors."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        inner = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return error
