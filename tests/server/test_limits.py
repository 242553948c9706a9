"""Limits of a client: its share of requests, room for bodies, and an end to every wait."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from localops.errors import BundleError
from localops.server import request_body
from localops.server.limits import Busy, Limits, Shares
from localops.server.request_body import TooLarge, TooSlow
from localops.transfer import zstd
from tests.server.hubs import PATH


def test_a_key_has_its_share_and_no_more() -> None:
    """A key may make so many requests at once, whatever the others do; the end of one makes room."""
    shares = Shares(Limits(at_once=2))
    with shares.request("mine"):
        with shares.request("mine"), shares.request("other"), pytest.raises(Busy) as refused, shares.request("mine"):
            pass
        assert refused.value.own_fault
        with shares.request("mine"):
            pass


def test_a_client_that_does_not_try_again_waits_for_its_turn() -> None:
    """When a request ends, the next one is let in, in order of arrival; too many, or after too long, are refused."""
    shares = Shares(Limits(at_once=1, queued=2, queue_wait=60.0))
    order: list[int] = []

    async def ask(number: int) -> None:
        async with shares.turn("mine"):
            order.append(number)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        with shares.request("mine"):
            waiting = [asyncio.create_task(ask(number)) for number in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await ask(2)
        await asyncio.gather(*waiting)
        await ask(3)

    asyncio.run(all_of_them())
    assert order == [0, 1, 3]

    async def too_long() -> None:
        impatient = Shares(Limits(at_once=1, queue_wait=0.01))
        with impatient.request("mine"):
            with pytest.raises(Busy):
                async with impatient.turn("mine"):
                    pass
            async with impatient.turn("other"):
                pass
        async with impatient.turn("mine"):
            pass

    asyncio.run(too_long())


def test_a_client_waits_for_the_rate() -> None:
    """Rather than be refused, if that does not take too long."""
    shares = Shares(Limits(rate=50.0, queue_wait=60.0))

    async def often(shares: Shares, many: int) -> None:
        for _ in range(many):
            async with shares.turn("mine"):
                pass

    asyncio.run(often(shares, 110))
    with pytest.raises(Busy):
        asyncio.run(often(Shares(Limits(rate=0.1, queue_wait=0.01)), 2))


def test_a_key_that_asks_too_often_gets_the_time_to_retry() -> None:
    """Two seconds' worth at once, then at the rate."""
    shares = Shares(Limits(rate=5.0))

    def ask(many: int) -> None:
        for _ in range(many):
            with shares.request("mine"):
                pass

    ask(10)
    with pytest.raises(Busy) as refused:
        ask(100)
    assert 0 < refused.value.after <= 0.2
    with shares.request("other"):
        pass


def test_bodies_have_room_for_so_many_bytes() -> None:
    """If other bodies have taken the memory, a body goes through a file."""
    shares = Shares(Limits(waiting=100))
    with ExitStack() as held:
        assert all(held.enter_context(shares.body(10)) for _ in range(10))
        assert not held.enter_context(shares.body(1))
    with shares.body(100) as fits, shares.body(1) as another:
        assert (fits, another) == (True, False)


async def _drip(pieces: int, wait: float) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        await asyncio.sleep(wait)
        yield b"x"


@pytest.mark.parametrize("limits", [Limits(silence=0.01), Limits(whole=0.05)])
def test_a_body_that_comes_too_slowly_is_not_waited_for(limits: Limits) -> None:
    """Neither if the next byte is late nor if, byte after byte, the end is."""
    with pytest.raises(TooSlow):
        asyncio.run(request_body.read(_drip(1_000, 0.02), bytearray().extend, limits))


def test_a_body_that_comes_in_time_is_whole() -> None:
    """In however many pieces."""
    pieces: list[bytes] = []
    asyncio.run(request_body.read(_drip(5, 0), pieces.append, Limits()))
    assert b"".join(pieces) == b"xxxxx"


@pytest.mark.parametrize("size", [1, 7, 1 << 18, (1 << 18) + 1])
def test_lines_are_whole_wherever_a_piece_ends(size: int) -> None:
    """A body is unpacked piece by piece; lines are not affected."""
    wanted = [b"a" * size, b"", b"b" * 300_000, b"c"]
    packed = zlib.compress(b"\n".join(wanted) + b"\n", wbits=31)
    assert list(request_body.lines(packed, "gzip", Limits())) == wanted


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (b"x" * 100 + b"\n", Limits(line=99)),
        (b"x" * 600_000, Limits(line=500_000)),
        (b"\n" * 13, Limits(rows=10)),
        (b"x\n" * 100, Limits(inflated=199)),
    ],
)
def test_what_is_too_large_is_noticed_on_the_way(body: bytes, limits: Limits) -> None:
    """A line, a batch or the whole body may be too large."""
    with pytest.raises(TooLarge):
        list(request_body.lines(body, "", limits))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_never_whole_in_memory(encoding: str) -> None:
    """Its unpacked size does not matter."""
    plain = b"\0" * (64 << 20)
    bomb = zlib.compress(plain, wbits=31) if encoding == "gzip" else zstd.library().compress(plain)
    del plain
    tracemalloc.start()
    with pytest.raises(TooLarge):
        list(request_body.lines(bomb, encoding, Limits(inflated=4 << 20)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_breaks_off_is_broken(encoding: str) -> None:
    """At any byte; and nothing may follow it on the connection."""
    plain = b"line\n" * 50
    packed: bytes = zlib.compress(plain, wbits=31) if encoding == "gzip" else zstd.library().compress(plain)
    for end in range(1, len(packed)):
        with pytest.raises(BundleError):
            list(request_body.lines(packed[:end], encoding, Limits()))
    with pytest.raises(BundleError):
        list(request_body.lines(packed + b"x", encoding, Limits()))


def test_zstd_may_not_remember_gigabytes() -> None:
    """A frame that requests more than 8 MiB of memory is refused."""
    library = zstd.library()
    options = {library.CompressionParameter.window_log: 27, library.CompressionParameter.content_size_flag: 0}
    engine = library.ZstdCompressor(options=options)
    frame = engine.compress(os.urandom(1_000)) + engine.flush()
    with pytest.raises(BundleError):
        list(request_body.lines(frame, "zstd", Limits()))


_IMPATIENT = """
import sys
if sys.argv[2] == "without":
    sys.modules["httptools"] = None
from localops.server import listen
from localops.server.app import app
from localops.server.keys import Keys
from localops.server.limits import Limits
from localops.server.home_store import HomeStore

limits = Limits(head=0.3, idle=1, request=1.0)
made = app(HomeStore(sys.argv[1]), Keys(sys.argv[1]), limits=limits)
listen.serve(made, host="127.0.0.1", port=0, limits=limits, ready=lambda address: print(address, flush=True))
"""


@pytest.fixture(scope="module", params=["with", "without"])
def impatient(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Start a hub with very short waits; with and without the parser in C."""
    command = [sys.executable, "-c", _IMPATIENT, str(tmp_path_factory.mktemp("impatient")), request.param]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": PATH}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().removeprefix("http://").partition(":")
        yield host, int(port)
        process.terminate()


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /health HTTP/1.1\r\nHost", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"],
    ids=["nothing", "half a head", "half a head behind a request"],
)
def test_a_head_that_does_not_end_is_cut_off(impatient: tuple[str, int], begun: bytes) -> None:
    """uvicorn alone would wait without limit."""
    with socket.create_connection(impatient, timeout=30) as sock:
        sock.sendall(begun)
        assert _read(sock).count(b"200 OK") == begun.count(b"\r\n\r\n")


def test_a_client_that_does_not_read_its_answer_is_cut_off(impatient: tuple[str, int]) -> None:
    """The rest of the answer does not stay in memory."""
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.settimeout(30)
        sock.connect(impatient)
        with pytest.raises(OSError, match=r"reset|Broken pipe|aborted"):
            sock.sendall(ask * 1_000_000)  # more than all buffers on the way hold


def _read(sock: socket.socket) -> bytes:
    received = b""
    try:
        while piece := sock.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received
