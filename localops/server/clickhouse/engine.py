"""ClickHouse over HTTP: queries, inserts, and statements that change tables.

It uses only what old and new servers have in common (18.16 and 26 were tried).  Values are written into a statement as
literals, as old servers have no parameters.
"""

from __future__ import annotations

import os
import random
import re
import socket
import threading
import time
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import urllib3

from localops.encoding import encode
from localops.errors import ConfigError, LocalopsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

SCHEMES = {"clickhouse": "http", "clickhouses": "https"}
_PORTS = {"http": 8123, "https": 8443}
PASSWORD_ENV = "LOCALOPS_CLICKHOUSE_PASSWORD"  # noqa: S105 - the name of a variable
# 64-bit integers as numbers, which old servers quote and new ones do not.
_SETTINGS = {"output_format_json_quote_64bit_integers": "0", "input_format_skip_unknown_fields": "1"}
# With shards: inserts return when rows are stored, and joins are local, as a session and its rows are on one shard.
_OVER_SHARDS = {"insert_distributed_sync": "1", "distributed_product_mode": "local"}
# Bytes of memory for a statement, unless the URL says otherwise: several run at once on a server of 2 cores and 4 GB.
_MEMORY = 1_500_000_000
# Milliseconds that an insert waits for other replicas, unless the URL says otherwise; ClickHouse's default is minutes.
_QUORUM_MS = 10_000
# Sorting and grouping uses the disk from this part of the memory on.
_IN_MEMORY = 0.5
# Connections that each host keeps open.
_CONNECTIONS = 16
_CONNECT_SECONDS = 5.0
# For this long, a host that could not be reached is tried last.
_AVOIDED_SECONDS = 10.0
# Bytes of lines that are compressed at a time.
_PIECE = 1 << 20
# Errors that may not happen at the next attempt or on another host: too many parts or queries at a time, no memory,
# a read-only table, missing replicas, a server that is starting or stopping, and failures of other servers behind it.
_PASSING = frozenset(
    {32, 159, 164, 202, 203, 209, 210, 236, 241, 242, 243, 252, 279, 285, 286, 319, 394, 425, 439, 999}
)
# A user name or password that is wrong, or a user that may not connect from this address.
_UNKNOWN_USER = frozenset({192, 193, 194, 195, 516})
_LONGEST_MESSAGE = 400
_MOST_DAYS = 36_500
# Suffix of the table on one shard; the table without it covers all shards.
PART = "_part"
_FIRST_DAY = "1970-01-01"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]+")
_LOOPBACK = re.compile(r"://(localhost|127[.\d]+|\[::1\])(:\d+)?$")
# The place of a value in a statement.
_PLACE = re.compile(r"\{(\w+)\}")


class EngineError(LocalopsError):
    """ClickHouse refused a statement, or cannot be reached.

    `is_passing`: the same statement may work later.  `code` is ClickHouse's number of the error; 0 without an answer.
    """

    def __init__(self, message: str, *, code: int = 0, is_passing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_passing = is_passing


@dataclass(frozen=True)
class Address:
    """The address of a store: hosts that are replicas of each other, a database, a user and options."""

    hosts: tuple[str, ...]  # http://host:port
    database: str = "default"
    user: str = "default"
    password: str = field(default="", repr=False)
    ca: str | None = None  # a file of certificates to trust instead of the system's
    settings: tuple[tuple[str, str], ...] = ()  # sent with every statement
    cluster: str | None = None  # a name of the servers' configuration: tables are made on all of its hosts
    shards: tuple[tuple[str, int], ...] = ()  # days, each with the number of shards for sessions from that day on
    log_days: int | None = None  # how long ClickHouse keeps its own logs; None: as it is configured

    def altered(self, table: str) -> str:
        """Return how a statement that changes rows has to name a table."""
        return f"{table}{PART} on cluster `{self.cluster}`" if self.shards else table

    @property
    def is_secure(self) -> bool:
        """Whether the hosts are asked over TLS."""
        return self.hosts[0].startswith("https:")

    def __str__(self) -> str:
        scheme = "clickhouses" if self.is_secure else "clickhouse"
        hosts = ",".join(host.partition("://")[2] for host in self.hosts)
        return f"{scheme}://{self.user}@{hosts}/{self.database}"


def address(url: str, environ: Mapping[str, str] = os.environ) -> Address:
    """Return the address in a URL like clickhouse://user@host:8123,host2:8123/database, or raise ConfigError.

    `?password_file=PATH` and `?ca=PATH` name files, `?cluster=NAME` replicas on which tables are made, and
    `?log_days=N` how long ClickHouse keeps its own logs; other options are settings of ClickHouse.  Without a password
    file the password is in $LOCALOPS_CLICKHOUSE_PASSWORD.
    A password in the URL is refused: others see command lines.
    """
    example = "expected clickhouse://USER@HOST:8123/DATABASE, or clickhouses:// for TLS"
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in SCHEMES:
        raise ConfigError(f"invalid store {_without_password(url)!r}: {example}")
    parts = urlsplit(f"//{rest}")
    account, _, places = parts.netloc.rpartition("@")
    user, colon, _ = account.partition(":")
    if colon:
        raise ConfigError(
            f"invalid store {_without_password(url)!r}: a password in a command line can be read by others; "
            f"set ${PASSWORD_ENV}, or add ?password_file=PATH"
        )
    http = SCHEMES[scheme]
    hosts = tuple(_host(http, place, f"invalid store {url!r}: {example}") for place in places.split(","))
    database = unquote(parts.path.strip("/")) or "default"
    if not database.isidentifier() or not database.isascii():
        raise ConfigError(f"invalid store {url!r}: expected a database of letters, digits and _, got {database!r}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "password" in options:
        raise ConfigError(
            f"invalid store: a password in a command line can be read by others; set ${PASSWORD_ENV}, or add "
            "?password_file=PATH instead of ?password="
        )
    file = options.pop("password_file", None)
    password = environ.get(PASSWORD_ENV, "") if file is None else _read_password(file)
    ca = options.pop("ca", None)
    if ca is not None and not os.path.isfile(ca):
        raise ConfigError(f"invalid store {url!r}: the certificates {ca} are not there")
    cluster = options.pop("cluster", None)
    if cluster is not None and not _CLUSTER.fullmatch(cluster):
        raise ConfigError(f"invalid store {url!r}: expected a cluster of letters, digits, _ and -, got {cluster!r}")
    shards = options.pop("shards", None)
    log_days = options.pop("log_days", None)
    if log_days is not None and not (log_days.isascii() and log_days.isdigit() and 0 < int(log_days) < _MOST_DAYS):
        raise ConfigError(f"invalid store {url!r}: expected log_days to be a number of days, got {log_days!r}")
    if not options.get("max_memory_usage", "1").isdecimal():
        raise ConfigError(f"invalid store {url!r}: expected max_memory_usage to be a number of bytes")
    settings = tuple(sorted(options.items()))
    days = None if log_days is None else int(log_days)
    parts_of = () if shards is None else _shards(shards, cluster, url)
    return Address(hosts, database, unquote(user) or "default", password, ca, settings, cluster, parts_of, days)


def _shards(text: str, cluster: str | None, url: str) -> tuple[tuple[str, int], ...]:
    """Return numbers of shards, each after the day from which it holds; they are written as `2,3@2027-01-01`."""
    first, *later = text.split(",")
    steps = [(_FIRST_DAY, first), *((day, many) for many, _, day in (each.partition("@") for each in later))]
    numbers = [int(many) if many.isdecimal() else 0 for _, many in steps]
    is_ordered = all(_DAY.fullmatch(day) for day, _ in steps) and [day for day, _ in steps] == sorted(dict(steps))
    is_growing = numbers[0] > 0 and all(before < after for before, after in pairwise(numbers))
    if cluster is None or not (is_ordered and is_growing):
        raise ConfigError(
            f"invalid store {url!r}: expected shards such as 2, or 2,3@2027-01-01 for 3 from that day on, with "
            f"?cluster=NAME, got {text!r}"
        )
    return tuple((day, many) for (day, _), many in zip(steps, numbers, strict=True))


def _in_memory(options: dict[str, str]) -> dict[str, str]:
    """Return settings with the memory that a statement may use, and when it starts to use the disk."""
    most = int(options.get("max_memory_usage", _MEMORY))
    on_disk = str(int(most * _IN_MEMORY))
    spilled = {"max_bytes_before_external_group_by": on_disk, "max_bytes_before_external_sort": on_disk}
    return {"max_memory_usage": str(most), **spilled, **options}


def _in_time(options: dict[str, str]) -> dict[str, str]:
    """Return settings with the longest wait of an insert for other replicas, if it waits for any."""
    return {"insert_quorum_timeout": str(_QUORUM_MS)} if options.get("insert_quorum", "0") != "0" else {}


def _host(scheme: str, place: str, problem: str) -> str:
    try:
        parts = urlsplit(f"//{place}")
        name, port = parts.hostname, parts.port or _PORTS[scheme]
    except ValueError as error:
        raise ConfigError(f"{problem} ({error})") from error
    if not name:
        raise ConfigError(problem)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def _read_password(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"the password of the store cannot be read: {path}: {why}") from error


def _without_password(url: str) -> str:
    begin, at, rest = url.rpartition("@")
    scheme, mark, account = begin.partition("://")
    return f"{scheme}{mark}{account.partition(':')[0]}{at}{rest}" if at else url


class Engine:
    """The hosts of one address; safe to use from several threads at a time."""

    def __init__(self, where: Address, *, seconds: float = 60.0) -> None:
        self.address = where
        # Blocks cost more to pack and unpack than to send to this machine.
        self.packs_blocks = not all(_LOOPBACK.search(host) for host in where.hosts)
        self._seconds = seconds
        self._settings = {**_SETTINGS, "database": where.database}
        if where.shards:
            self._settings |= _OVER_SHARDS
        self._settings |= {**_in_time(dict(where.settings)), **_in_memory(dict(where.settings))}
        tls: dict[str, Any] = {"ca_certs": where.ca} if where.ca else {}
        self._pools = urllib3.PoolManager(
            num_pools=len(where.hosts), maxsize=_CONNECTIONS, retries=False, **(tls if where.is_secure else {})
        )
        self._lock = threading.Lock()
        # When each host was last out of reach, by the monotonic clock.
        self._failed: dict[str, float] = {}
        self._preferred = random.choice(where.hosts)  # noqa: S311 - to spread hubs over hosts
        self._version: tuple[int, ...] = ()

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()

    @property
    def version(self) -> tuple[int, ...]:
        """The version of the server."""
        if not self._version:
            [(text,)] = self.ask("select version()")
            self._version = tuple(int(part) for part in text.split(".") if part.isdigit())
        return self._version

    def ask(self, statement: str, *, within: int | None = None, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; `{name}` in it stands for a value.

        `within`: the seconds after which ClickHouse gives up, with an error.
        """
        return list(self.rows(statement, within=within, **values))

    def rows(self, statement: str, *, within: int | None = None, **values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as they arrive."""
        text = f"{written(statement, values)} format JSONEachRow"
        settings = {} if within is None else {"max_execution_time": str(within)}
        with _Answer(self._send(text, again=True, settings=settings)) as lines:
            for line in lines:
                yield tuple(_object(line).values())

    def do(self, statement: str, *, without_database: bool = False, is_later: bool = False, **values: object) -> None:
        """Run a statement that returns no rows.

        `without_database`: the database may not exist yet; `is_later`: a host that is down runs it when it is back.
        """
        settings = {"database": "default"} if without_database else {}
        if is_later and self.address.shards:
            settings["distributed_ddl_task_timeout"] = "0"
        self._send(written(statement, values), again=False, preload=True, settings=settings)

    def put(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], **settings: str) -> int:
        """Store rows in a table, and return how many; they are stored when this returns.

        After an error any of them may be stored, so storing the same rows again must be harmless.
        """
        packed = _Packed()
        for row in rows:
            packed.add(encode.dumps(dict(zip(columns, row, strict=True))))
        return self.put_lines(table, packed.finish(), settings) and packed.lines

    def put_lines(self, table: str, packed: bytes, settings: Mapping[str, str] | None = None) -> bool:
        """Store rows given as JSON lines compressed by gzip; return whether there was anything to store."""
        if not packed:
            return False
        statement = f"insert into {table} format JSONEachRow"
        self._send(statement, again=True, preload=True, rows=packed, is_packed=True, settings=settings or {})
        return True

    def put_blocks(self, table: str, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
        """Store rows that are blocks of columns, as `native.py` makes them; they are stored when this returns.

        After an error any of them may be stored.
        """
        if self.packs_blocks:
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            pieces = [packer.compress(block) for block in blocks]
            pieces.append(packer.flush())
        else:
            pieces = list(blocks)
        statement = f"insert into {table} ({', '.join(columns)}) format Native"
        self._send(statement, again=True, preload=True, rows=b"".join(pieces), is_packed=self.packs_blocks)

    def _send(
        self,
        statement: str,
        *,
        again: bool,
        preload: bool = False,
        rows: bytes | None = None,
        is_packed: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a statement to the first host that accepts it; `again`: it may be sent twice."""
        last: EngineError | None = None
        for host in self._in_turn():
            try:
                answer = self._send_to(host, statement, rows, settings or {}, is_packed=is_packed, preload=preload)
            except EngineError as error:
                if not error.is_passing or (not again and error.code == 0 and not _never_sent(error)):
                    raise
                # The error that a host answered with says more than that another one cannot be reached.
                last = error if error.code or last is None else last
                if error.code == 0:
                    with self._lock:
                        self._failed[host] = time.monotonic()
                continue
            with self._lock:
                self._preferred = host
                self._failed.pop(host, None)
            return answer
        assert last is not None
        raise last

    def _in_turn(self) -> list[str]:
        """Return the hosts in the order in which they are tried: first the one that answered last."""
        now = time.monotonic()
        with self._lock:
            failed = {host for host, at in self._failed.items() if now - at < _AVOIDED_SECONDS}
            preferred = self._preferred
        return sorted(self.address.hosts, key=lambda host: (host in failed, host != preferred))

    def _send_to(
        self,
        host: str,
        statement: str,
        rows: bytes | None,
        settings: Mapping[str, str],
        *,
        is_packed: bool,
        preload: bool,
    ) -> urllib3.BaseHTTPResponse:
        where = self.address
        fields = {**self._settings, **settings}
        headers = {"X-ClickHouse-User": where.user}
        if where.password:
            headers["X-ClickHouse-Key"] = where.password
        body: bytes = statement.encode()
        if rows is not None:
            fields["query"] = statement
            body = rows
            if is_packed:
                headers["Content-Encoding"] = "gzip"
        url = f"{host}/?{urlencode(fields)}"
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=self._seconds)
        try:
            answer = self._pools.request(
                "POST", url, body=body, headers=headers, timeout=timeout, preload_content=preload, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise EngineError(_unreachable(host, error, self._seconds), is_passing=True) from error
        if answer.status == 200:
            return answer
        try:
            text = answer.data.decode(errors="replace").strip()
        except urllib3.exceptions.HTTPError as error:
            text = str(error)
        finally:
            answer.release_conn()
        raise _refusal(host, answer.status, text, where.user)


class _Answer:
    """The lines of an answer; the connection can be used again only if all of them were read."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer

    def __enter__(self) -> Iterator[bytes]:
        return self._lines()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        try:
            for piece in self._answer.stream(_PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                yield from filter(None, lines)
        except urllib3.exceptions.HTTPError as error:
            raise EngineError(f"the answer of ClickHouse broke off: {error}", is_passing=True) from error
        if rest:
            yield rest

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._answer.release_conn()
        else:
            self._answer.close()


class _Packed:
    """Lines, compressed by gzip as they are added."""

    def __init__(self) -> None:
        self.lines = 0
        self._packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        self._waiting: list[bytes] = []
        self._size = 0
        self._pieces: list[bytes] = []

    def add(self, line: bytes) -> None:
        self.lines += 1
        self._waiting += (line, b"\n")
        self._size += len(line)
        if self._size >= _PIECE:
            self._pack()

    def _pack(self) -> None:
        self._pieces.append(self._packer.compress(b"".join(self._waiting)))
        self._waiting.clear()
        self._size = 0

    def finish(self) -> bytes:
        if not self.lines:
            return b""
        self._pack()
        return b"".join([*self._pieces, self._packer.flush()])


def written(statement: str, values: Mapping[str, object]) -> str:
    """Return a statement with its values written as literals of ClickHouse."""
    return _PLACE.sub(lambda place: literal(values[place[1]]), statement) if values else statement


def literal(value: object) -> str:
    """Return a value as a literal of ClickHouse."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return f"'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"({', '.join(map(literal, value))})"
    raise TypeError(f"expected a number, a text, bytes or a list of them, got {type(value).__name__}")


def _object(line: bytes) -> dict[str, Any]:
    """Return the columns of a line, or raise EngineError: ClickHouse writes an error into an answer it has begun."""
    try:
        columns = encode.loads(line)
    except ValueError as error:
        raise EngineError(f"the answer of ClickHouse broke off: {_short(line.decode(errors='replace'))}") from error
    assert isinstance(columns, dict)
    return columns


def _never_sent(error: EngineError) -> bool:
    cause = error.__cause__
    return isinstance(cause, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError))


def _unreachable(host: str, error: Exception, seconds: float) -> str:
    """Return why a host does not answer, and what to check, instead of the message of a library."""
    at = f"ClickHouse at {_named(host)}"
    cause = _cause(error)
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"{at} cannot be reached over TLS: {cause or error}; is this its HTTPS port, and does ?ca=PATH trust it?"
    if type(error) is urllib3.exceptions.ConnectTimeoutError:
        return f"{at} does not accept a connection within {_CONNECT_SECONDS:g} s: is the host up, and its port open?"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return f"{at} has not answered within {seconds:g} s: its table system.processes shows what it does"
    if isinstance(cause, socket.gaierror):
        return f"{at} cannot be reached: no address is known for that name; check the host in the URL of the store"
    if isinstance(cause, ConnectionRefusedError):
        return f"{at} refuses the connection: start the server, or give its HTTP port in the URL of the store"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return f"{at} broke off the connection: is it being stopped, and is this its port for HTTP, not for TLS or TCP?"
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause or error)
    return f"{at} cannot be reached: {why}; check host and port in the URL of the store"


def _cause(error: BaseException) -> BaseException | None:
    """Return the error of the system, or of TLS, behind one of the library."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _named(host: str) -> str:
    """Return host and port of an address."""
    return host.partition("://")[2]


def _refusal(host: str, status: int, text: str, user: str) -> EngineError:
    """Return the error of an answer: `Code: 60, e.displayText() = DB::Exception: …` or `Code: 60. DB::Exception: …`."""
    code = 0
    if text.startswith("Code: "):
        digits = text[6:14]
        code = int("".join(digit for digit in digits.partition(",")[0].partition(".")[0] if digit.isdigit()) or 0)
    message = _short(text) or f"the answer was {status} without a text"
    if code in _UNKNOWN_USER:
        message = (
            f"user {user} is not let in: check the user in the URL of the store, and ${PASSWORD_ENV} or the file of "
            f"?password_file=PATH ({message})"
        )
    is_passing = code in _PASSING or (not code and status >= 500)
    return EngineError(f"ClickHouse at {_named(host)}: {message}", code=code, is_passing=is_passing)


def _short(text: str) -> str:
    return text.partition("\n")[0][:_LONGEST_MESSAGE]
