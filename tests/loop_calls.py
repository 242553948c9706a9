"""Tool calls for tests of loops, and the loops of a session."""

from __future__ import annotations

from itertools import count
from typing import Any

from localops import Session
from localops.reading import loops, waste
from localops.reading.home import Home
from localops.reading.loops import Call

_ids = count(1)


def call(tool: str = "search", args: object = None, returns: object = "the same", **options: Any) -> Call:
    """Return a call that has ended."""
    opened = {"params": {"q": "tides"} if args is None else args, **options.pop("marked", {})}
    ended = {} if options.get("failed") else {"returns": returns}
    return Call(next(_ids).to_bytes(16, "big"), tool, opened, ended, period=(0, 1 << 62), **options)


def kinds(*calls: Call) -> list[tuple[str, int]]:
    """Return the kind of each loop and how many calls it has."""
    return [(loop.kind, len(loop.calls)) for loop in loops.find(calls)]


def read(session: Session | None = None) -> dict[str, Any]:
    """Return the loops of a session as JSON, of the newest without one."""
    with Home() as home:
        project, id = home.find(str(session.session_id) if session is not None else "last")
        return waste.of(project.name, project.snapshot(id), project.reader)
