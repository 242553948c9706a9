"""HTTP, the only place: who is called, how long, how much of an answer is read, and what its failures mean.

A request ends at its deadline whatever the other side does, follows no redirect, reads no more of an answer than it
is told, takes no compressed one, and turns every failure into Trouble (`sink.py`) with a sentence to act upon.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
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
SILENCE = 30.0  # seconds in which not a byte comes or goes
WHOLE = 120.0  # seconds for a request and its answer, and more for a body:
SLOWEST = 1_000  # bytes of it that go in a second over a line which still is one
_PIECE = 65_536  # bytes of it that go to the socket at once
ANSWER = 8 << 20  # bytes of an answer
_SKEW = 300.0  # seconds that clocks may differ without a word
_SAID = 200  # characters of a remote's own words in a sentence of ours
_SECRET = ("auth", "cookie", "key", "password", "secret", "token")  # in the names of headers made for keys
_SHORTEST = 8  # characters of what is a key


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
        """The JSON it holds; Offline when it is something else: whoever wrote that is not the remote."""
        kind = self.kind()
        if kind != "application/json" and not kind.endswith("+json"):
            raise self._not_ours(f"{kind or 'nothing'} instead of JSON")
        try:
            return encode.loads(self.body)
        except ValueError as error:
            raise self._not_ours("broken JSON") from error

    def kind(self) -> str:
        """Its content type, without parameters; empty when it does not say."""
        return _plain(self.headers.get("Content-Type", "").partition(";")[0].strip().lower(), self._secrets)

    def said(self) -> str:
        """The beginning of its text, for a sentence: the message in it if it is JSON."""
        if self.kind() == "text/html":
            return "a web page"
        try:
            found = encode.loads(self.body)
            if isinstance(found, dict):
                found = found.get("message") or found.get("error") or found.get("detail") or found
            text = found if isinstance(found, str) else encode.dumps(found).decode()
        except ValueError:
            text = self.body[: 64 * _SAID].decode("utf-8", "replace")
        return _plain(text, self._secrets)

    def refusal(self) -> Trouble:
        """What it means for the rows that were sent, when it is not the answer that was hoped for."""
        headers = CaseInsensitiveDict({name: _plain(value, self._secrets) for name, value in self.headers.items()})
        return retry.trouble(self.status, self.said(), headers, self._where)

    def _not_ours(self, what: str) -> Offline:
        return Offline(f"something between us and {self._where} answered ({what}); nothing counts as sent")


def _plain(text: str, secrets: Collection[str]) -> str:
    """What a stranger said, fit for a sentence of ours: one short line, safe for a terminal, and no key in it."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return output.cut(output.clean(" ".join(text.split())), _SAID)


class Transport:
    """Requests to one remote, over a connection that is kept."""

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
        self.skew: float | None = None  # by how many seconds the remote's clock is ahead, when that is worth a word
        self.met = False  # whether an answer told the remote's time
        self.budget = budget or PassBudget()
        self._remote = remote
        self._connect, self._silence, self._whole = connect, silence, whole
        self._line = _Line(remote, silence)
        self._over = threading.Event()  # of the request that is on its way

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
        """Send a request and read its answer, of `most` bytes; Trouble for a status that is not expected.

        OutOfBudget when the pass is over before it could be sent.
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
        """Let go of the connection; a request that another thread is at ends without an answer."""
        self.budget.stop()
        self._over.set()
        self._line.close()

    def _within(self, seconds: float, call: Callable[[], Reply]) -> Reply:
        """What the call gives, or Offline once the time is over; OutOfBudget when the pass is.

        A thread of its own makes it, since no timeout bounds the look-up of a name or a header that comes in drops.
        """
        found: list[Reply | BaseException] = []
        self._over = over = threading.Event()
        # Read only now: a `close` before this line has stopped the budget.
        seconds = min(seconds, self.budget.seconds_left())
        threading.Thread(target=_keep, args=(call, found, over), daemon=True).start()
        try:
            over.wait(seconds)
        finally:
            late = not found  # or somebody pressed Ctrl-C
            if late:
                self._line.cut()
                self._line = _Line(self._remote, self._silence)  # the thread may still be at the old one
        if late and self.budget.seconds_left() <= 0:
            raise OutOfBudget
        if late:  # whatever has come meanwhile: cut off, it may look like an answer
            raise Offline(f"{self.where} did not finish its answer within {seconds:.0f} s")
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

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
                verify=self._remote.ca,  # given here, since a session's own counts for less than $REQUESTS_CA_BUNDLE
            ) as found:
                reply = Reply(found.status_code, found.headers, self._read(found, most), self.where, secrets)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            line.hang_up()
            raise _meaning(error, self.base, self.where, secrets) from error
        except OutOfBudget:
            line.hang_up()
            raise
        if reply.status < 200:  # an early word, which http.client takes for the answer that is still to come
            line.hang_up()
        return reply

    def _read(self, found: requests.Response, most: int) -> bytes:
        """The whole body as it came; ValueError when it is too long, or cannot be told to be whole."""
        pieces, size = [], 0
        while piece := found.raw.read(65_536, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _TooLong(f"{most >> 20} MB")
        if found.status_code == 200 and not size and not _says_its_end(found):
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
    """What is sent, in pieces: each may take its time, and at a given rate has to."""

    def __init__(self, body: bytes, transport: Transport) -> None:
        super().__init__(body)
        self._transport = transport

    def read(self, size: int | None = -1, /) -> bytes:
        """The next piece, when the line is free for it."""
        budget = self._transport.budget
        budget.wait_for_line()
        piece = super().read(budget.portion(_PIECE if size is None or size < 0 else size))
        self._transport.sent += len(piece)
        budget.spend(0, len(piece))
        return piece


def _says_its_end(found: requests.Response) -> bool:
    """Whether an answer tells where it ends; http.client takes one that broke off in its header for a whole one."""
    return found.request.method == "HEAD" or "Content-Length" in found.headers or "Transfer-Encoding" in found.headers


def _keep(call: Callable[[], Reply], found: list[Reply | BaseException], over: threading.Event) -> None:
    try:
        found.append(call())
    except BaseException as error:  # whatever it is, it is raised where somebody waits for it
        found.append(error)
    finally:
        over.set()


def _secrets(key: str | None, headers: Mapping[str, str]) -> set[str]:
    """What must not be repeated, though a remote may repeat it: the key, and what headers made for keys hold."""
    told = [value for name, value in headers.items() if any(word in name.lower() for word in _SECRET)]
    words = {word for value in told for word in (value, value.rpartition(" ")[2]) if len(word) >= _SHORTEST}
    return {key, *words} if key else words


# One connection


class _Line(requests.Session):
    """A session that keeps a hand on its socket, so that what is going on can be ended from outside."""

    def __init__(self, remote: Remote, silence: float) -> None:
        super().__init__()
        self.silence = silence
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._is_cut = False
        self.auth = _NoAuth()  # else a .netrc would put its own key in place of ours
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # a remote knows us by the key alone
        self.headers.update({"User-Agent": f"localops/{__version__}", "Accept-Encoding": "identity"})
        self.headers.update(remote.headers)
        adapter = _Adapter(self)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def hold(self, sock: socket.socket) -> socket.socket:
        """Take hold of a new connection; it is the only one then."""
        with self._lock:
            self._give_back()
            if self._is_cut:
                sock.close()
                raise ConnectionAbortedError("the time was over before there was a connection")
            self._held = sock.dup()  # TLS puts an object of its own in the place of this one, while it greets
        return sock

    def hang_up(self) -> None:
        """End the connection: whoever waits for a byte of it gets an end of file."""
        with self._lock:
            self._give_back()

    def cut(self) -> None:
        """End the connection, and have no other."""
        with self._lock:
            self._is_cut = True
            self._give_back()

    def close(self) -> None:
        """Let go of everything."""
        self.hang_up()
        super().close()

    def _give_back(self) -> None:
        if self._held is None:
            return
        try:
            self._held.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other side was faster
            pass
        self._held.close()
        self._held = None


class _NoAuth(AuthBase):
    """Leaves a request as it is."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Adapter(HTTPAdapter):
    """Makes connections that its line has a hand on."""

    def __init__(self, line: _Line) -> None:
        self._pools = _pools(line)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools for remotes that are called directly."""
        super().init_poolmanager(*arguments, blocksize=_PIECE, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        """Make the pools for those behind a proxy; SOCKS has connections of its own kind."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, blocksize=_PIECE, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(line: _Line) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """What urllib3 makes connections with, by scheme: classes, so they have to be made for each line."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return line.hold(super()._new_conn())

        def request(self, *arguments: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            self.timeout = line.silence  # else each piece of a body had to go within the time for a connection
            super().request(*arguments, **options)

    class SecureConnection(Connection, HTTPSConnection):
        pass

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}


# What failures below HTTP mean


class _TooLong(ValueError):
    """An answer has more bytes than are read."""


def _meaning(error: Exception, base: str, where: str, secrets: Collection[str]) -> Trouble:
    """The sentence for a failure."""
    chain = list(_chain(error))
    why = _plain(str(chain[-1]), secrets)
    if isinstance(error, requests.exceptions.ProxyError):
        return _of_proxy(base, where, why)
    if type(error) is OSError:  # requests itself, about the file of an environment variable
        return Blocked(f"{why}; see $REQUESTS_CA_BUNDLE")
    if (tls := next((each for each in reversed(chain) if isinstance(each, ssl.SSLError)), None)) is not None:
        return of_tls(tls, where)
    for kinds, kind, sentence in _SENTENCES:
        if any(isinstance(found, kinds) for found in chain):
            return kind(sentence.format(where=where, why=why))
    return Offline(f"the connection to {where} broke: {why}", broke=True)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was made from, down to the first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = [each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException)]
        error = inner[0] if inner else error.__cause__


# The first that fits. What is not among them broke in the middle: somebody was there.
_SENTENCES: list[tuple[tuple[type[BaseException], ...], type[Blocked | Offline], str]] = [
    ((_TooLong,), Unread, "{where} sent more than {why} for an answer; it was not read"),
    ((socket.gaierror,), Offline, "the name of {where} cannot be looked up: no network, or a wrong name"),
    ((ConnectionRefusedError,), Offline, "nothing listens at {where}"),
    ((requests.exceptions.ConnectTimeout,), Offline, "{where} does not answer"),
    ((urllib3.exceptions.NewConnectionError,), Offline, "{where} cannot be reached: {why}"),
    (
        (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError),
        Offline,
        "{where} took the request and said nothing more",
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
    told = urlsplit(select_proxy(base, get_environ_proxies(base)) or "")
    proxy = f"the proxy {told.hostname}:{told.port}, through which {where} is called,"
    if any(f" {status} " in f"{why} " for status in (401, 403, 405, 407)):
        return Blocked(f"{proxy} says no: {why}; see HTTPS_PROXY and NO_PROXY")
    return Offline(f"{proxy} does not do it: {why}; see HTTPS_PROXY and NO_PROXY")


def of_tls(error: ssl.SSLError, where: str) -> Trouble:
    """A certificate is for a person to look at; a greeting that breaks off is the weather."""
    why = _plain(str(error), ())
    broke = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    if isinstance(error, broke) or "BAD_RECORD_MAC" in (error.reason or ""):
        return Offline(f"the connection to {where} broke: {why}", broke=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Blocked(
            f"{where} cannot be trusted: {error.verify_message}; check the address and this machine's clock, "
            "or name the authority that signed it: localops remote move NAME URL --ca FILE"
        )
    if error.reason in _NOT_TLS:
        return Blocked(f"{where} does not speak https (TLS): check the port, and whether the address is one of http://")
    return Blocked(f"no TLS with {where}: {why}; check the address, and whether it is https or http")


_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")  # OpenSSL's names for an answer in plain words
