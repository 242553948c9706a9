"""Recording processes are killed at random moments: every acknowledged row is there."""

from __future__ import annotations

import os
import time
from random import Random
from subprocess import Popen

from localops.journal.journal import Journal
from tests import programs
from tests.journal.looks import derived

KILLS = int(os.environ.get("STRESS_KILLS", "15"))
SEED = int(os.environ.get("STRESS_SEED", "1"))

# Each writes (session, count) to its stdout after record() has returned; sizes make checkpoints and folds frequent.
WRITER = """
import os, random, sys, localops
from localops.decorators import tool
mine = random.Random(sys.argv[1])
session = localops.init(env_data_opt_out=True, durability=mine.choice(("process", "process", "power")))
session._journal._look(0.0)
session._journal._file.connection.wal_autocheckpoint(30)
@tool
def work(data): return data
os.write(1, f"{session._id.hex()} 0\\n".encode())
n = 0
while True:
    if mine.random() < 0.2:
        work("x" * mine.choice((10, 5_000)))
    else:
        localops.record(localops.LLMEvent(prompt="x" * mine.choice((10, 300, 9_000)), model="gpt-4o", prompt_tokens=3))
    n += 1
    os.write(1, f"{session._id.hex()} {n}\\n".encode())
"""


def test_a_killed_process_loses_no_acknowledged_row() -> None:
    """Three writers on one journal, killed at random instants, some at once: every acknowledged row is there."""
    random, acknowledged, kills, names = Random(SEED), dict[str, int](), 0, 0
    writers: list[Popen[str]] = []
    try:
        while kills < KILLS:
            while len(writers) < 3:
                names += 1
                writers.append(programs.start(WRITER, f"{SEED}-{names}"))
            time.sleep(random.uniform(0.02, 0.4))
            for victim in random.sample(writers, random.choice((1, 1, 1, 3))):
                writers.remove(victim)
                _note(acknowledged, programs.kill(victim)[0])
                kills += 1
    finally:
        for writer in writers:
            _note(acknowledged, programs.kill(writer)[0])
    print(f"{kills + len(writers)} kills, {sum(acknowledged.values())} acknowledged")
    _all_there(acknowledged)


def _note(acknowledged: dict[str, int], out: str) -> None:
    whole = [line.split() for line in out.splitlines(keepends=True) if line.endswith("\n")]
    if whole:
        acknowledged[whole[-1][0]] = int(whole[-1][1])


def _all_there(acknowledged: dict[str, int]) -> None:
    with programs.reader() as reader:
        assert reader.ask("pragma integrity_check") == [("ok",)]
        rows = reader.ask(
            "select lower(hex(session)), count(*) from event where phase = 0 and kind in ('llm', 'tool') group by 1"
        )
    counts = {str(session): int(count) for session, count in rows}
    lost = {session: (n, counts.get(session, 0)) for session, n in acknowledged.items() if counts.get(session, 0) < n}
    assert not lost
    _folded_right()


def _folded_right() -> None:
    """Check that the derived tables equal a rebuild from the stream."""
    journal = Journal(programs.project())
    journal.fold()
    before = derived(journal)
    journal.rebuild()
    assert derived(journal) == before
    journal.close()


def test_sixteen_processes_make_a_journal_at_once() -> None:
    """Sixteen processes that meet a home that is not there yet all record into it; none is refused."""
    code = "import localops, sys\nsys.stdin.readline()\nsession = localops.init(env_data_opt_out=True)\n"
    code += "for n in range(50): localops.record(localops.ActionEvent(action_type=str(n)))\n"
    code += (
        "counts = session._journal.counts\nlocalops.end_session('Success')\nprint(counts['spilled'], counts['dropped'])"
    )
    many = [programs.start(code) for _ in range(16)]
    for one in many:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert {one.communicate(timeout=100)[0] for one in many} == {"0 0\n"}
    assert len(programs.names()) == 16 * 50
    assert {programs.standing(session).state for session in programs.sessions()} == {"Success"}
    with programs.reader() as reader:
        assert reader.ask("select count(*) from event where kind = 'journal'") == [(1,)]
