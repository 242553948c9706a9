"""Measures `localops mcp`, for bench.py: how long an agent waits for an answer about a million events."""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from scripts.bench_ui import made_sessions

if TYPE_CHECKING:
    from scripts.bench import Bench

_CITIES = ("Lyon", "Nantes", "Lille", "Nice", "Brest", "Metz", "Tours", "Dijon")


def made_history(many: int) -> Iterator[rows.Row]:
    """Rows of so many short sessions whose tools have arguments, and sometimes fail with them."""
    chance = random.Random(2)
    for row in made_sessions(many):
        columns = dict(zip(rows.COLUMNS, row, strict=True))
        if columns["kind"] != "tool":
            yield row
            continue
        id, session, at, name = columns["id"], columns["session"], columns["at_ns"], columns["name"]
        params = {"query": f"the harbour of {chance.choice(_CITIES)}", "page": chance.randrange(500)}
        failed = 1 if chance.random() < 0.1 else None
        body = encode.dumps({"params": params}).decode()
        yield rows.make("tool", session, id=id, at_ns=at, phase=rows.OPEN, name=name, body=body)
        yield rows.make("tool", session, id=id, at_ns=at + 3_000_000, name=name, failed=failed)
        if failed:
            body = encode.dumps({"details": "no answer in 30 s", "logs": "Traceback …\nTimeoutError"}).decode()
            of_error = {"id": clock.new_id(at), "at_ns": at + 3_100_000, "parent": id, "body": body}
            yield rows.make("error", session, name="TimeoutError", **of_error)


def asked(sessions: list[str], events: list[str], chance: random.Random) -> dict[str, dict[str, Any]]:
    """One call of each kind, about sessions and events of the list."""
    session, event = chance.choice(sessions), chance.choice(events)
    args = {"query": f"the harbour of {chance.choice(_CITIES)}", "page": chance.randrange(500)}
    return {
        "have_i_failed_at": {"tool": "search", "args": args},
        "have_i_failed_at, any": {"tool": chance.choice(("search", "fetch"))},
        "have_i_failed_at, unknown": {"tool": "deploy", "args": args},
        "last_time": {"task": f"find the harbour of {chance.choice(_CITIES)} in the old town"},
        "last_time, by name": {"task": f"run-{chance.randrange(50)}"},
        "list_sessions": {},
        "list_sessions, state": {"state": "Failure"},
        "list_sessions, facets": {"tag": "weekly", "model": "gpt-4o", "agent": "planner", "since": "9d"},
        "list_sessions, errors": {"errors": True},
        "list_sessions, text": {"text": chance.choice(_CITIES), "state": "Success"},
        "list_sessions, cursor": {"cursor": session},
        "get_session": {"session": session},
        "why": {"session": session},
        "find_loops": {"session": session},
        "events": {"session": session},
        "events, failed": {"session": session, "failed": True},
        "get_event": {"event": event},
        "search": {"text": f"harbour {chance.choice(_CITIES)}"},
        "search, rare": {"text": f"{chance.choice(_CITIES)} {chance.randrange(500)}"},
        "analytics": {},
        "analytics, tool": {"by": "tool", "since": "6h"},
        "analytics, tag": {"by": "tag"},
        "analytics, session": {"session": session},
        "query": {"sql": "select kind, name, at_ns, failed, body from event order by seq desc limit 20"},
        "query, sessions": {"sql": "select name, state, cost / 1e9 as usd from total order by first_ns desc limit 20"},
    }


async def measured(home: str, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Return the milliseconds of each kind of call over stdio, and the tokens of the longest answer."""
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    from localops.mcp.answers import tokens
    from localops.reading.home import Home

    with Home(home) as opened:
        reader = opened.projects[0].reader
        picked = reader.ask("select lower(hex(session)) from total order by random() limit 500")
        some = reader.ask("select lower(hex(id)) from event where kind = 'tool' and seq % 97 = 0 limit 500")
    sessions, events = [id for (id,) in picked], [id for (id,) in some]
    chance, took, longest = random.Random(3), dict[str, list[float]](), 0
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "localops", "mcp", "--home", home], env=dict(os.environ)
    )
    async with Client(stdio_client(server)) as client:
        for number in range(rounds + 1):
            for name, arguments in asked(sessions, events, chance).items():
                began = time.perf_counter()
                result = await client.call_tool(name.partition(",")[0], arguments)
                if number:  # the first round loads modules
                    took.setdefault(name, []).append((time.perf_counter() - began) * 1000)
                text = result.content[0].text  # type: ignore[union-attr]
                assert not result.is_error, (name, arguments, text)
                longest = max(longest, tokens(text))
    return took, longest


def mcp(bench: Bench) -> None:
    """An agent that asks about a million events, over stdio."""
    with bench.home("mcp") as home:
        prepare(home, bench.many // 11)
        report(bench, str(home), bench.rounds)


def prepare(home: Path, sessions: int) -> None:
    """Write the history, and the indexes that a server would make in its first minute."""
    from localops.mcp.memory import Memory

    journal = Journal(str(home / "default"))
    journal.add(made_history(sessions))
    journal.fold()
    journal.close()
    Memory(str(home), None)._index()


def report(bench: Bench, home: str, rounds: int) -> None:
    """Measure, and print two lines of the table."""
    import anyio

    took, longest = anyio.run(measured, home, rounds)
    everything = sorted(value for values in took.values() for value in values)
    medians = {name: statistics.median(values) for name, values in took.items()}
    slowest = sorted(medians, key=lambda name: -medians[name])[:3]
    shown = ", ".join(f"{name} {medians[name]:.0f} ms" for name in slowest)
    p50, p95 = statistics.median(everything), everything[len(everything) * 95 // 100]
    bench.say(
        f"`localops mcp`, a tool call over stdio at {bench.many:,} events: p95",
        "<= 50 ms",
        f"{p95:.0f} ms (p50 {p50:.0f} ms; slowest {shown})",
    )
    bench.say("the longest of its answers, in tokens", "<= 800", str(longest))


PARTS = {"mcp": mcp}
