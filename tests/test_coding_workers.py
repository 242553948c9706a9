"""Imports of many transcripts, which several processes read."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path

from localops.errors import LocalopsError
from localops.journal.reader import Reader
from tests import programs
from tests.examples import sized
from tests.transcripts import Claude, text, tool, write

_IMPORT = """
import sys, threading
from localops.cli import main
from localops.coding import workers
workers._WORTH_IT = 1 << 20
if sys.argv.pop(1) == "alone":  # beside a thread there is no fork
    threading.Thread(target=threading.Event().wait, daemon=True).start()
main(["import", *sys.argv[1:], "--json"])
"""
_WORK = """
import json, os
from localops.coding import workers
from localops.coding.workers import Job, Made
from localops.output import say_once

main = os.getpid()

def make(job):
    (what,) = job.paths
    if os.getpid() != main:
        say_once("careful", "careful")
        if what == "killed":
            os.kill(os.getpid(), 9)
        if what == "raises":
            raise ValueError(what)
    problem = f"{what} {'here' if os.getpid() == main else 'there'}"
    session = b"elsewhere" if what == "another" else job.session
    return Made(session, [(job.session, 0, "é" * 200_000, None, 1 << 40)], 7, True, 1, [problem], True)

names = "one two another continued raises three killed four five".split()
jobs = [Job(name.encode(), [name], name == "continued") for name in names]
for job, made in workers.results(jobs, make, processes=2):
    assert made == (made.session, [(job.session, 0, "é" * 200_000, None, 1 << 40)], 7, True, 1, made.problems, True)
    print(*made.problems)
"""


_STEPS = sized(5, 20)


def _transcripts(folder: Path, count: int) -> None:
    """Write transcripts of 50 kB for each step, with a secret in each."""
    for number in range(count):
        lines = Claude(str(uuid.UUID(int=number + 1, version=4)))
        content = "\n".join(f"{line}: password = hunter{number}{line} and so on" for line in range(600))
        made = [lines.user(f"do {number}")]
        for step in range(_STEPS):
            call = f"call-{number}-{step}"
            made.append(lines.answer(f"msg-{number}-{step}", tool(call, "Read", file_path="a.py")))
            made.append(lines.result(call, content, toolUseResult={"file": {"content": content}}))
        write(folder / f"{lines.common['sessionId']}.jsonl", [*made, lines.answer(f"last-{number}", text("Done."))])


def test_several_processes_make_the_rows_that_one_makes(tmp_path: Path) -> None:
    """They are equal to the last byte, redacted, and in the same order."""
    _transcripts(tmp_path / "in", 12)
    orders = []
    for how in ("alone", "together"):
        done = programs.run(_IMPORT, how, "--claude-code", tmp_path / "in", "--project", how, timeout=300)
        facts = json.loads(done.stdout)
        assert (done.returncode, facts["sessions"], facts["problems"]) == (0, 12, []), done.stderr
        with Reader(os.path.join(programs.project(how), "journal.db")) as journal:
            orders.append(
                journal.ask(
                    "select id, phase, session, kind, at_ns, cost, body from event where kind <> 'journal' order by seq"
                )
            )
    assert orders[0] == orders[1]
    assert not any("hunter" in str(row) for row in orders[0])
    again = programs.run(_IMPORT, "together", "--claude-code", tmp_path / "in", "--project", "together", timeout=300)
    assert (json.loads(again.stdout)["rows"], json.loads(again.stdout)["files"]) == (0, 0)


def test_results_come_in_order_whatever_becomes_of_the_processes() -> None:
    """If a process fails, or a session is continued in another file, the import itself does the work."""
    done = programs.run(_WORK)
    places = ["one there", "two there", "another here", "continued here", "raises here", "three there"]
    assert done.stdout.splitlines() == [*places, "killed here", "four there", "five here"], done.stderr
    assert done.stderr == "localops: careful\n"


def test_a_killed_import_leaves_no_process_and_is_continued(tmp_path: Path) -> None:
    """Its processes end, and the next import adds what is missing."""
    _transcripts(tmp_path / "in", 16)
    program = programs.start(_IMPORT, "together", "--claude-code", tmp_path / "in")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _has_rows():
        time.sleep(0.02)
    programs.kill(program)  # which waits until all have closed its stdout
    assert _has_rows()
    done = programs.run(_IMPORT, "together", "--claude-code", tmp_path / "in", timeout=300)
    assert json.loads(done.stdout)["problems"] == []
    with programs.reader() as journal:
        counted = dict(journal.ask("select kind, count(*) from event where phase = 0 group by kind"))
    assert (counted["session"], counted["tool"], counted["llm"]) == (16, 16 * _STEPS, 16 * _STEPS + 16)


def _has_rows() -> bool:
    try:
        return bool(programs.names("tool"))
    except LocalopsError:  # there is no journal yet
        return False
