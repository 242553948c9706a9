"""HTTP requests of the worker; only this module opens connections.

A request ends at its deadline whatever the other side does, follows no redirect, reads at most `most` bytes of an
answer, accepts no compressed one, and turns every failure into Trouble (`sink.py`) with a message that says what to do.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
import traceback
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection

from localops import __version__, clock, output
from localops.encoding import encode
from localops.transfer.remotes import check_authority
from localops_sync import retry
from localops_sync.budget import OutOfBudget, PassBudget
from localops_sync.sink import Blocked, Offline, Unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Any

    from localops.transfer.remotes import Remote
    from localops_sync.sink import Trouble

CONNECT = 5.0  # seconds for a connection to one address
SILENCE = 30.0  # seconds without a byte in either direction
WHOLE = 120.0  # seconds for a request and its answer; a body has more time, by SLOWEST
SLOWEST = 1_000  # bytes per second of the slowest connection that is still worth using
_PIECE = 65_536  # bytes of a body that go to the socket at once
ANSWER = 8 << 20  # bytes of an answer
_SKEW = 300.0  # seconds that clocks may differ without a warning
_EXCERPT = 200  # characters of an answer's text that are quoted in a message
_SECRET = ("auth", "cookie", "key", "password", "secret", "token")  # in the names of headers that hold keys
# Characters.  Shorter values are not keys, and to mask them would garble messages.
_SHORTEST = 8


class Reply:
    """An answer, read to its end."""

    def __init__(
        self, status: int, headers: Mapping[str, str], body: bytes, where: str, secrets: Collection[str] = ()
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._where = where
        self._secrets = secrets

    def json(self) -> Any:
        """Return the JSON of the answer; raise Offline when it is something else, which no remote sends."""
        kind = self.kind()
        if kind != "application/json" and not kind.endswith("+json"):
            raise self._not_ours(f"{kind or 'nothing'} instead of JSON{retry.LOGIN if kind == 'text/html' else ''}")
        try:
            return encode.loads(self.body)
        except ValueError as error:
            raise self._not_ours("broken JSON") from error

    def kind(self) -> str:
        """Return the content type, without parameters; empty when there is none."""
        return _plain(self.headers.get("Content-Type", "").partition(";")[0].strip().lower(), self._secrets)

    def excerpt(self) -> str:
        """Return the beginning of the text, to quote it: of JSON, the message in it."""
        if self.kind() == "text/html":
            return "a web page"
        if self.kind() == "application/x-protobuf":
            return _plain(_status_text(self.body), self._secrets)
        try:
            payload = encode.loads(self.body)
            if isinstance(payload, dict):
                payload = payload.get("message") or payload.get("error") or payload.get("detail") or payload
            text = payload if isinstance(payload, str) else encode.dumps(payload).decode()
        except ValueError:
            text = self.body[: 64 * _EXCERPT].decode("utf-8", "replace")
        return _plain(text, self._secrets)

    def refusal(self) -> Trouble:
        """Return the error that an unexpected status means for the rows that were sent."""
        headers = CaseInsensitiveDict({name: _plain(value, self._secrets) for name, value in self.headers.items()})
        return retry.trouble(self.status, self.excerpt(), headers, self._where)

    def _not_ours(self, what: str) -> Offline:
        return Offline(f"something between us and {self._where} answered ({what}); nothing counts as sent")


def _plain(text: str, secrets: Collection[str]) -> str:
    """Return foreign text as one short line, safe for a terminal and without keys."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return output.cut(output.clean(" ".join(text.split())), _EXCERPT)


def _status_text(body: bytes) -> str:
    """Return the message in a `google.rpc.Status`, which OTLP sends in protobuf for a refusal.

    >>> _status_text(bytes([8, 16, 18, 5]) + b"wrong")
    'wrong'
    """
    at = 0
    while at + 1 < len(body):
        field, at = body[at], at + 1
        end = at
        while end < len(body) and body[end] & 0x80:
            end += 1
        number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(body[at : end + 1]))
        at = end + 1
        if field & 7 == 2:
            if field >> 3 == 2:
                return body[at : at + number].decode("utf-8", "replace")
            at += number
        elif field & 7:
            break
    return ""


class Transport:
    """A connection to one remote, kept open between requests."""

    def __init__(
        self,
        remote: Remote,
        *,
        budget: PassBudget | None = None,
        connect: float = CONNECT,
        silence: float = SILENCE,
        whole: float = WHOLE,
    ) -> None:
        self.base = remote.url.rstrip("/")
        self.where = urlsplit(self.base).netloc.rpartition("@")[2]
        self.key = remote.secret()
        check_authority(remote)
        self.sent = 0  # bytes of all bodies
        self.skew: float | None = None  # seconds by which the remote's clock is ahead, if more than _SKEW
        self.met = False  # whether an answer had the remote's time
        self.budget = budget or PassBudget()
        self._remote = remote
        self._connect, self._silence, self._whole = connect, silence, whole
        self._line = _Line(remote, silence)
        self._over = threading.Event()  # set at the end of the current request

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (200,),
        most: int = ANSWER,
    ) -> Reply:
        """Send a request and return the reply of at most `most` bytes; raise Trouble for an unexpected status.

        Raise OutOfBudget when the pass ends before the request could be sent.
        """
        self.budget.wait_for_line()
        seconds = self._whole + len(body or b"") / SLOWEST + self.budget.seconds_for(len(body or b""))
        line = self._line
        reply = self._within(seconds, lambda: self._call(line, method, path, body, headers or {}, most))
        self._compare_clocks(reply.headers.get("Date"))
        if reply.status not in expected:
            raise reply.refusal()
        return reply

    def close(self) -> None:
        """Close the connection; a request of another thread ends without an answer."""
        self.budget.stop()
        self._over.set()
        self._line.close()

    def _within(self, seconds: float, call: Callable[[], Reply]) -> Reply:
        """Return the result of the call; raise Offline after its time limit, OutOfBudget after that of the pass.

        The call runs in a thread of its own, as no timeout covers a DNS lookup, or a header that arrives byte by byte.
        """
        outcome: list[Reply | BaseException] = []
        self._over = over = threading.Event()
        # Read only now: a `close` before this line has stopped the budget.
        seconds = min(seconds, self.budget.seconds_left())
        threading.Thread(target=_keep, args=(call, outcome, over), daemon=True).start()
        try:
            over.wait(seconds)
        finally:
            late = not outcome  # or Ctrl-C was pressed
            if late:
                self._line.cut()
                # The thread may still use the old one.
                self._line = _Line(self._remote, self._silence)
        if late and self.budget.seconds_left() <= 0:
            raise OutOfBudget
        # Ignore what has arrived so far: cut off, half an answer may look complete.
        if late:
            raise Offline(f"{self.where} did not finish its answer within {seconds:.0f} s")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _call(
        self, line: _Line, method: str, path: str, body: bytes | None, headers: Mapping[str, str], most: int
    ) -> Reply:
        secrets = _secrets(self.key, {**self._remote.headers, **headers})
        try:
            with line.request(
                method,
                self.base + path,
                data=_Body(body, self) if body else body,
                headers=dict(headers),
                timeout=(self._connect, self._silence),
                allow_redirects=False,
                stream=True,
                # Not set on the session, where $REQUESTS_CA_BUNDLE would take precedence.
                verify=self._remote.ca,
            ) as response:
                reply = Reply(response.status_code, response.headers, self._read(response, most), self.where, secrets)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            line.hang_up()
            _close_abandoned(error)
            raise _meaning(error, self.base, self.where, secrets) from error
        except OutOfBudget:
            line.hang_up()
            raise
        # http.client returns an interim status (1xx) as the answer; the real one would be read as the next answer.
        if reply.status < 200:
            line.hang_up()
        return reply

    def _read(self, response: requests.Response, most: int) -> bytes:
        """Return the body as it was sent; raise ValueError when it is too long, or may be incomplete."""
        pieces, size = [], 0
        while piece := response.raw.read(65_536, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _TooLong(f"{most >> 20} MB")
        if response.status_code == 200 and not size and not _says_its_end(response):
            raise ValueError("the answer ended in its header")
        return b"".join(pieces)

    def _compare_clocks(self, date: str | None) -> None:
        try:
            ahead = parsedate_to_datetime(date or "").timestamp() - clock.now_ns() / 1e9
        except (ValueError, TypeError, OverflowError):
            return
        self.skew = ahead if abs(ahead) > _SKEW else None
        self.met = True


class _Body(io.BytesIO):
    """A request body, read in pieces: each has a timeout of its own, and waits for the rate limit."""

    def __init__(self, body: bytes, transport: Transport) -> None:
        super().__init__(body)
        self._transport = transport

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next piece, when the rate limit allows it."""
        budget = self._transport.budget
        budget.wait_for_line()
        piece = super().read(budget.portion(_PIECE if size is None or size < 0 else size))
        self._transport.sent += len(piece)
        budget.spend(0, len(piece))
        return piece


def _says_its_end(response: requests.Response) -> bool:
    """Return whether an answer states its length; http.client accepts one that broke off in its header."""
    return (
        response.request.method == "HEAD"
        or "Content-Length" in response.headers
        or "Transfer-Encoding" in response.headers
    )


def _keep(call: Callable[[], Reply], outcome: list[Reply | BaseException], over: threading.Event) -> None:
    try:
        outcome.append(call())
    except BaseException as error:
        # Raised again in the thread that waits.
        outcome.append(error)
    finally:
        over.set()


def _secrets(key: str | None, headers: Mapping[str, str]) -> set[str]:
    """Return what messages must not contain, though an answer may: the key, and the values of headers for keys."""
    values = [value for name, value in headers.items() if any(word in name.lower() for word in _SECRET)]
    words = {word for value in values for word in (value, value.rpartition(" ")[2]) if len(word) >= _SHORTEST}
    return {key, *words} if key else words


# One connection


class _Line(requests.Session):
    """A session that keeps its socket, so that another thread can end a request."""

    def __init__(self, remote: Remote, silence: float) -> None:
        super().__init__()
        self.silence = silence
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._is_cut = False
        # Otherwise requests would replace our key by one from .netrc.
        self.auth = _NoAuth()
        # Only the key identifies us to a remote.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": f"localops/{__version__}", "Accept-Encoding": "identity"})
        self.headers.update(remote.headers)
        adapter = _Adapter(self)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def hold(self, sock: socket.socket) -> socket.socket:
        """Keep the socket of a new connection, and close the one before."""
        with self._lock:
            self._shut_down()
            if self._is_cut:
                sock.close()
                raise ConnectionAbortedError("the time was over before there was a connection")
            # A duplicate, as TLS detaches the socket object during its handshake.
            self._held = sock.dup()
        return sock

    def hang_up(self) -> None:
        """End the connection: a thread that waits for a byte of it reads the end of the file."""
        with self._lock:
            self._shut_down()

    def cut(self) -> None:
        """End the connection, and allow no other."""
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def close(self) -> None:
        """Close everything."""
        self.hang_up()
        super().close()

    def _shut_down(self) -> None:
        if self._held is None:
            return
        try:
            self._held.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The other side was faster.
            pass
        self._held.close()
        self._held = None


class _NoAuth(AuthBase):
    """An authentication that adds nothing."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Adapter(HTTPAdapter):
    """An adapter whose connections hand their sockets to a line."""

    def __init__(self, line: _Line) -> None:
        self._pools = _pools(line)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools for remotes that are reached directly."""
        super().init_poolmanager(*arguments, blocksize=_PIECE, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        """Make the pools for remotes behind a proxy; SOCKS has its own kind of connection."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, blocksize=_PIECE, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(line: _Line) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return urllib3's pool classes by scheme; it takes classes only, so each line needs its own."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return line.hold(super()._new_conn())

        def request(self, *arguments: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            # Otherwise the connect timeout would apply to each piece of a body.
            self.timeout = line.silence
            super().request(*arguments, **options)

    class SecureConnection(Connection, HTTPSConnection):
        pass

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


def _close_abandoned(error: Exception) -> None:
    """Close the socket of a connection that was reset before its TLS handshake began.

    Before Python 3.13, `ssl` leaves it to the garbage collector: nothing but the frame in the traceback holds it.
    """
    for link in _chain(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_name == "_create" and isinstance(sock := frame.f_locals.get("self"), ssl.SSLSocket):
                sock.close()


# Failures below HTTP


class _TooLong(ValueError):
    """An answer has more bytes than are read."""


def _meaning(error: Exception, base: str, where: str, secrets: Collection[str]) -> Trouble:
    """Return the error for a failure below HTTP."""
    chain = list(_chain(error))
    cause = chain[-1]
    why = _plain((cause.strerror if isinstance(cause, OSError) else None) or str(cause), secrets)
    if isinstance(error, requests.exceptions.ProxyError):
        return _of_proxy(base, where, why)
    # Raised by requests itself, for the file named in an environment variable.
    if type(error) is OSError:
        return Blocked(f"{why}; see $REQUESTS_CA_BUNDLE")
    if (tls := next((each for each in reversed(chain) if isinstance(each, ssl.SSLError)), None)) is not None:
        return of_tls(tls, where)
    for kinds, kind, sentence in _SENTENCES:
        if any(isinstance(link, kinds) for link in chain):
            return kind(sentence.format(where=where, why=why))
    return Offline(f"the connection to {where} broke: {why}", broke=True)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, down to the first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = [each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException)]
        error = inner[0] if inner else error.__cause__


# The first that matches applies.  For any other error the remote was reached, and the connection broke.
_SENTENCES: list[tuple[tuple[type[BaseException], ...], type[Blocked | Offline], str]] = [
    ((_TooLong,), Unread, "{where} sent more than {why} for an answer; it was not read"),
    ((socket.gaierror,), Offline, "the name of {where} cannot be looked up: no network, or a wrong name"),
    ((ConnectionRefusedError,), Offline, "nothing listens at {where}"),
    ((requests.exceptions.ConnectTimeout,), Offline, "{where} does not answer"),
    ((urllib3.exceptions.NewConnectionError,), Offline, "{where} cannot be reached: {why}"),
    (
        (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError),
        Offline,
        "{where} took the request and sent no answer",
    ),
    ((TimeoutError,), Offline, "{where} stopped taking the request in the middle"),
    ((urllib3.exceptions.InvalidHeader,), Offline, "{where} answered with headers that contradict each other: {why}"),
    (
        (requests.exceptions.InvalidHeader, UnicodeEncodeError),
        Blocked,
        "the key or a header for {where} has characters that HTTP cannot carry",
    ),
    (
        (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError),
        Blocked,
        "{where} cannot be called: {why}",
    ),
]


def _of_proxy(base: str, where: str, why: str) -> Trouble:
    parts = urlsplit(select_proxy(base, get_environ_proxies(base)) or "")
    proxy = f"the proxy {parts.hostname}:{parts.port}, through which {where} is called,"
    if any(f" {status} " in f"{why} " for status in (401, 403, 405, 407)):
        return Blocked(f"{proxy} refuses: {why}; see HTTPS_PROXY and NO_PROXY")
    return Offline(f"{proxy} fails: {why}; see HTTPS_PROXY and NO_PROXY")


def of_tls(error: ssl.SSLError, where: str) -> Trouble:
    """Return Blocked for a certificate, which a person has to check, and Offline for a handshake that broke off."""
    why = _plain(str(error), ())
    broke = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    if isinstance(error, broke) or "BAD_RECORD_MAC" in (error.reason or ""):
        return Offline(f"the connection to {where} broke: {why}", broke=True)
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OTHER_NAME:
        why = error.verify_message.rstrip(".")
        return Blocked(f"the certificate of {where} is for another name ({why}): call it by a name in its certificate")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Blocked(
            f"{where} cannot be trusted: {error.verify_message}; check the address and this machine's clock (a network "
            "that wants a login may have answered), or name the authority that signed it: localops remote move NAME "
            "URL --ca FILE"
        )
    if error.reason in _NOT_TLS:
        return Blocked(f"{where} does not speak https (TLS): check the port, and whether the address is one of http://")
    return Blocked(f"no TLS with {where}: {why}; check the address, and whether it is https or http")


_OTHER_NAME = (62, 64)  # OpenSSL's codes for a host name and for an IP address that are not in a certificate
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")  # OpenSSL's names for an answer without TLS
