"""A program with steps that run once is killed at random instants and resumed: no effect is repeated, none is missing.

Each effect is a line that is appended to a ledger and synced, as a payment is at a bank.  After every kill the recorded
state of each step is compared with the ledger; a step that is uncertain is decided by looking into it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import localops
from localops.decorators import task, tool
from localops.reading import recorded_steps
from localops.recording.context import here
from tests import programs

KILLS = int(os.environ.get("STRESS_KILLS", "8"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
_LONGEST = 0.25  # seconds until a kill; a run that is not killed takes somewhat longer
_STEPS = 12
_KINDS = ("pay", "unsure", "write", "threads", "both")


class Ledger:
    """The effects that have happened, by what they were called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def add(self, effect: str) -> int:
        """Let an effect happen, noted with the operation that it happens in, and return a number for it."""
        inside = here()[1]
        os.write(self._file, f"{effect} {inside.hex() if inside else '-'}\n".encode())
        os.fsync(self._file)
        return len(effect)

    def counts(self) -> Counter[str]:
        """Return how often each effect has happened."""
        return Counter(line.split()[0] for line in self.path.read_text().splitlines())

    def has(self, operation: str) -> bool:
        """Return whether the effect of an operation has happened, as a bank knows it by the key of a request."""
        return operation.replace("-", "") in self.path.read_text()


class Agent:
    """A program of steps of all kinds; whatever happens before a kill, the same seed gives the same program."""

    def __init__(self, ledger: Ledger) -> None:
        nap, failed = Random(os.getpid()), set[str]()

        @tool(once=True, name="pay")
        def pay(order: int) -> tuple[int, str]:
            time.sleep(nap.random() / 500)
            number = ledger.add(f"pay-{order}")
            time.sleep(nap.random() / 500)
            return number, f"receipt {order}"

        @tool(once=True, name="unsure")
        def unsure(order: int) -> dict[str, int]:
            if order % 3 == 0 and f"unsure-{order}" not in failed:
                failed.add(f"unsure-{order}")
                raise ConnectionError("refused")
            return {"number": ledger.add(f"unsure-{order}")}

        @task(once=True, name="write")
        async def write(order: int) -> bytes:
            await asyncio.sleep(nap.random() / 1000)
            return str(ledger.add(f"write-{order}")).encode()

        @task(once=True, idempotent=True, name="both")
        def both(order: int) -> list[tuple[int, str]]:
            return [pay(order), pay(order)]

        self.pay, self.unsure, self.write, self.both = pay, unsure, write, both

    def run(self, random: Random) -> list[object]:
        """Run the program of a seed."""
        ways = {name: getattr(self, f"_{name}") for name in _KINDS}
        return [ways[random.choice(_KINDS)](place * 10) for place in range(_STEPS)]

    def _pay(self, order: int) -> object:
        return self.pay(order), self.pay(order)

    def _unsure(self, order: int) -> object:
        try:
            return self.unsure(order)
        except ConnectionError:
            return self.unsure(order)

    def _write(self, order: int) -> object:
        async def together() -> list[bytes]:
            return [*await asyncio.gather(self.write(order), self.write(order), self.write(order + 1))]

        return asyncio.run(together())

    def _threads(self, order: int) -> object:
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(localops.carry(self.pay), [order, order, order + 1]))

    def _both(self, order: int) -> object:
        return self.both(order)


def _wanted(random: Random) -> Counter[str]:
    """Return the effects of the program of a seed."""
    wanted: Counter[str] = Counter()
    for place in range(_STEPS):
        kind, order = random.choice(_KINDS), place * 10
        if kind in ("pay", "both"):
            wanted[f"pay-{order}"] += 2
        elif kind == "unsure":
            wanted[f"unsure-{order}"] += 1
        else:
            name = "write" if kind == "write" else "pay"
            wanted.update({f"{name}-{order}": 2, f"{name}-{order + 1}": 1})
    return wanted


def _run(ledger: Ledger, program: int, session: str | None) -> None:
    """Do what a process does: begin the program or resume it, and run it to its end."""

    def look(uncertain: localops.Uncertain) -> object:
        order = next(iter(uncertain.params.values()))
        if not ledger.has(uncertain.event_id):
            return localops.run_again
        number = len(f"{uncertain.name}-{order}")
        answers = {"pay": (number, f"receipt {order}"), "unsure": {"number": number}, "write": str(number).encode()}
        return answers[uncertain.name]

    if session is None:
        localops.init(env_data_opt_out=True, signals=False)
    else:
        localops.resume(session, on_uncertain=look)
    answers = Agent(ledger).run(Random(program))
    (ledger.path.parent / f"answers-{program}").write_text(repr(answers))
    localops.end_session("Success")


def _in_a_child(ledger: Ledger, program: int, session: str | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _run(ledger, program, session)
        status = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def _session_of(program: int) -> str | None:
    """Return the session of a program: the sessions began in the order of the programs."""
    try:
        known = programs.sessions()
    except localops.LocalopsError:
        return None
    return known[program].hex() if len(known) > program else None


def _compare(session: str | None, ledger: Ledger) -> tuple[Counter[str], list[str]]:
    """Return how many steps are in each state, and which are not in the ledger as they should be."""
    effects, wrong, states = ledger.counts(), list[str](), Counter[str]()
    steps = []
    if session is not None:
        with programs.reader() as reader:
            steps = recorded_steps.of(reader, bytes.fromhex(session))
            params = {step.key: recorded_steps.params(reader, step) for step in steps}
    known: dict[str, Counter[str]] = {}
    for step in steps:
        if step.name != "both":
            effect = f"{step.name}-{params[step.key]['order']}"
            known.setdefault(effect, Counter())[step.state] += 1
            states["decided" if step.kept.get("kind") else step.state] += 1
    for effect in effects.keys() | known.keys():
        of = known.get(effect, Counter())
        least, most = of["done"], of["done"] + of["uncertain"]
        if not least <= effects[effect] <= most:
            wrong.append(f"{effect}: {effects[effect]} in the ledger, recorded {dict(of)}")
    return states, wrong


def test_no_effect_is_repeated_after_kills_at_random_instants(tmp_path: Path) -> None:
    """A step that is done has happened, one without a record has not, and each effect of a program happens once."""
    random, kills, program, resumed = Random(SEED), 0, 0, 0
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    began = time.monotonic()
    while kills < KILLS:
        ledger, session, status = Ledger(tmp_path / f"ledger-{program}"), None, -1
        while status:
            # Later, a kill may be later: else a program with a long way to its end would never come there.
            pid = _in_a_child(ledger, program, session)
            time.sleep(random.uniform(0, _LONGEST * (1 + resumed / 4)))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the program failed"
            session = _session_of(program)
            states, problems = _compare(session, ledger)
            seen += states
            wrong += [f"program {program}, kill {kills}: {problem}" for problem in problems]
            if status:
                kills += 1
                resumed += session is not None
        resumed = 0
        assert ledger.counts() == _wanted(Random(program)), f"program {program}"
        # Without a session steps simply run.
        undisturbed = Agent(Ledger(tmp_path / f"scratch-{program}")).run(Random(program))
        assert (tmp_path / f"answers-{program}").read_text() == repr(undisturbed)
        program += 1
    print(
        f"{kills} kills of {program} programs in {time.monotonic() - began:.0f} s; steps after them: "
        f"{dict(seen)}; recorded wrongly: {len(wrong)}; effects repeated or missing: 0"
    )
    assert not wrong
