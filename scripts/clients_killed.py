"""Kills a client's program in mid-call, again and again, and counts the calls that the journals name.

The program is loaded once, and forks for each call, which costs a fiftieth of a program of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localops.journal.reader import Reader
from localops.reading import analytics
from tests.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.clients import Client

_PATIENCE = 120

PROGRAM = """\
import os, sys
ROOT, OPENAI = os.environ["MODEL_SERVER"], os.environ["OPENAI_BASE_URL"]
import localops
localops.init()
exec({first!r})  # loads what is loaded late
localops.end_session("Success")
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        session = localops.init(tags=["killed"])
        exec({waiting!r})  # with a client of its own: the other's connection is its parent's
        os._exit(1)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


def kill(python: Path, client: Client, many: int, surroundings: Callable[[ModelServer, Path], dict[str, str]]) -> int:
    """Kill so many calls, each at another moment after its request has come; return how many are named."""
    first, waiting = (f"{client.setup}\n{client.tries[what]}" for what in ("call", "killed"))
    program = PROGRAM.format(first=first, waiting=waiting)
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, ModelServer() as server:
        home = Path(folder)
        process = subprocess.Popen(
            [python, "-c", program],
            env=surroundings(server, home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(many):
            server.waiting.clear()
            process.stdin.write("next\n")
            child = int(process.stdout.readline())
            if not server.waiting.wait(_PATIENCE):
                raise SystemExit("no request came")
            time.sleep(chance.random() / 50)
            os.kill(child, signal.SIGKILL)
        process.stdin.close()
        process.wait(_PATIENCE)
        return _named(home, client.calls)


def _named(home: Path, calls: str) -> int:
    """Return how many sessions have one call that has not ended, with its prompt."""
    with Reader(str(home / "default" / "journal.db")) as reader:
        sessions = [id for (id,) in reader.ask("select session from session_total")]
        begun = [
            [one for one in analytics.events(reader, id) if one["kind"] == calls and not one["finished"]]
            for id in sessions
        ]
    return sum(len(one) == 1 and "wait" in json.dumps(one[0]) for one in begun)
