"""Programs as people write them (web servers, asyncio, pools, processes): each event is found in its place.

Each program records names that contain their place, and prints how many it recorded.
"""

from __future__ import annotations

import os

import pytest

from tests import programs

_TIMES = int(os.environ.get("HOSTS_TIMES", "12"))

_TOP = f"""
import asyncio, contextvars, http.client, multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import localops
from localops.decorators import tool

TIMES = {_TIMES}

def record(name):
    localops.record(localops.ToolEvent(name=name))

@tool
def fetch(name):
    record(name)
"""

_WEB = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

localops.init(auto_start_session=False)

def in_pool(request):
    with localops.start_session(name=f"r{request.query_params['n']}") as session:
        record(session.name); fetch(session.name)
    return PlainTextResponse("3")

async def in_loop(request):
    with localops.start_session(name=f"r{request.query_params['n']}") as session:
        record(session.name)
        await asyncio.sleep(0.001)
        await asyncio.to_thread(fetch, session.name)
    return PlainTextResponse("3")

async def bare_executor(request):
    session = localops.start_session(name=f"r{request.query_params['n']}")
    await asyncio.get_running_loop().run_in_executor(None, record, "?")
    session.end_session("Success")
    return PlainTextResponse("1")

routes = [Route("/0", in_pool), Route("/1", in_loop), Route("/2", bare_executor)]
server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_level="critical"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started: time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]

def ask(n):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/{n % 3}?n={n}")
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    return int(answer.read())

with ThreadPoolExecutor(8) as pool: total = sum(pool.map(ask, range(TIMES * 3)))
server.should_exit = True
thread.join()
print(total)
"""

_ASYNCIO = """
async def part(session, n):
    await asyncio.sleep(0)
    record(session.name)
    await asyncio.to_thread(fetch, session.name)
    return 3

async def run(n):
    with localops.start_session(name=f"r{n}") as session:
        total = sum(await asyncio.gather(*(part(session, m) for m in range(3))))
        with localops.start_session(name=f"n{n}") as inner:
            record(inner.name)
        record(session.name)
    return total + 2

async def main():
    return sum(await asyncio.gather(*(run(n) for n in range(TIMES))))

print(asyncio.run(main()))
"""

_THREADS = """
localops.init(auto_start_session=False)

def run(n):
    with localops.start_session(name=f"r{n}") as session:
        with ThreadPoolExecutor(2) as inner:
            list(inner.map(localops.carry(fetch), [session.name] * 2))
            list(inner.map(record, ["?"] * 2))
        record(session.name)
    return 7

with ThreadPoolExecutor(8) as pool: total = sum(pool.map(run, range(TIMES)))
print(total)
"""

_PROCESSES = """
def run(n):
    with localops.start_session(name=f"r{n}") as session:
        fetch(session.name)
    record("main")
    return 3

if __name__ == "__main__":
    session = localops.init(trace_name="main")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        total = sum(pool.map(run, range(TIMES)))
    with ThreadPoolExecutor(2) as threads, multiprocessing.get_context("fork").Pool(2) as pool:
        total += sum(threads.map(lambda n: pool.apply(run, (n,)), range(TIMES, TIMES + 4)))
    record("main")
    session.end_session("Success")
    print(total + 1)
"""


@pytest.mark.parametrize("code", [_WEB, _ASYNCIO, _THREADS, _PROCESSES], ids=["web", "asyncio", "threads", "processes"])
def test_every_event_of_a_program_is_found_in_its_place(code: str) -> None:
    """All recorded events are there, each in the session it names (or any, if that cannot be known); one end each."""
    done = programs.run(_TOP + code, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    with programs.reader() as journal:
        rows = journal.ask(
            "select e.name, s.name from event e join event s using (session) "
            "where e.kind = 'tool' and e.phase = 0 and s.kind = 'session'"
        )
        ends = journal.ask("select count(*) from event where kind = 'end' group by session")
        starts = journal.ask("select count(*) from event where kind = 'session'")[0][0]
    assert len(rows) == int(done.stdout)
    assert [row for row in rows if row[0] not in (row[1], "?", "fetch")] == []
    assert {where for name, where in rows if name == "fetch"} <= {where for name, where in rows if name == where}
    assert ends == [(1,)] * starts
