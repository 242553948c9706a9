"""A program that is interrupted while it records, again and again, and prints what happened to its calls."""

from __future__ import annotations

import json
from typing import Any

from tests import programs

PROGRAM = """
import ctypes, json, os, random, signal, subprocess, sys, threading, time
import localops
from localops import interruption
from localops.journal import journal, journal_file, spill
from localops.recording.context import scope
from localops.decorators import tool

how, what, wanted, seed, kind, limit = sys.argv[1:]
wanted, seed, limit = int(wanted), int(seed), float(limit)
mine = random.Random(seed)

class Late(Exception):
    pass

class LateBase(BaseException):
    pass

kinds = {"Exception": Late, "BaseException": LateBase, "TimeoutError": TimeoutError, "SystemExit": SystemExit,
         "KeyboardInterrupt": KeyboardInterrupt}
Kind = kinds[kind]
options = {"durability": "power"} if what == "power" else {}
if what == "hook":
    options["redact"] = lambda text: text.replace("odd", "even")
session = localops.init(env_data_opt_out=True, **options)
own, this = session._journal, session.session_id.bytes  # the journal may have rows of an earlier run
raised = 0

def handler(number, frame):
    global raised
    raised += 1
    raise Kind("too late")

if how == "alarm":
    # Ctrl-C's own handler is written in C and leaves no frame.
    signal.signal(signal.SIGALRM, signal.default_int_handler if kind == "KeyboardInterrupt" else handler)

def arm():
    signal.setitimer(signal.ITIMER_REAL, mine.uniform(50e-6, 2000e-6))

if how == "thread":
    main, go, over = threading.get_ident(), threading.Event(), False
    sys.setswitchinterval(0.0002)

    def interrupt():
        global raised
        other = random.Random(seed + 1)
        while True:
            go.wait()
            go.clear()
            if over:
                return
            time.sleep(other.uniform(50e-6, 1500e-6))
            raised += 1
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(Kind))

    interrupter = threading.Thread(target=interrupt, daemon=True)
    interrupter.start()
    arm = go.set

swallowed, swallowed_in_ours, report = 0, [], sys.unraisablehook

def look_at_unraisable(what):
    # Python drops what is raised in a __del__ or in the callback of a weak reference, and goes on.
    global swallowed
    if what.exc_type is not Kind:
        report(what)
        return
    swallowed += 1
    trace = what.exc_traceback
    while trace is not None:
        code = trace.tb_frame.f_code
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "localops":
            swallowed_in_ours.append(code.co_qualname)
        trace = trace.tb_next
    arm()  # nothing arrives that the program waits for

sys.unraisablehook = look_at_unraisable

class Odd:
    def __repr__(self):
        return "odd " * 50

values = {"password": ["hunter22"], "list": [{str(n): Odd(), "t": (1, float("nan"))} for n in range(20)]}
large = "x" * 1_100_000

@tool
def work(name):
    return name

def call(name):
    if what == "work":
        work(name)
    elif what == "api":
        localops.record(localops.ActionEvent(name=name))
    elif what == "llm":
        session.record(localops.LLMEvent(name=name, model="gpt-4o", prompt_tokens=3, prompt="hello", completion=Odd()))
    elif what in ("walk", "hook", "large"):
        session.record(localops.ActionEvent(name=name, params=large if what == "large" else values))
    elif what == "ordinary":
        sum(range(30_000))
        session.record(localops.ActionEvent(name=name))
    else:
        session.record(localops.ActionEvent(name=name))

locker = beside = None
if what == "locked":
    code = (
        "import apsw, sys, time\\nfile = apsw.Connection(sys.argv[1])\\nfile.set_busy_timeout(5000)\\n"
        "while True:\\n for word in ('begin immediate', 'commit'):\\n  file.execute(word); time.sleep(.004)"
    )
    locker = subprocess.Popen([sys.executable, "-c", code, own.path])
if what == "spill":
    def refuse(self, now):
        self._file.look_at, self._file.execute = now + 1000, journal_file.refuse
    journal.Journal._look, own._file.look_at = refuse, 0
if what == "beside":
    sys.setswitchinterval(0.0005)
    def record_beside():
        while arrived < wanted and time.monotonic() < end:
            session.record(localops.ActionEvent(name="beside"))
            time.sleep(0.0005)
    beside = threading.Thread(target=record_beside, daemon=True)

def was_recording(error):
    # Whether it came into a call of ours after its first instruction; before that, nothing of it has happened.
    trace, names = error.__traceback__, []
    while trace is not None:
        frame = trace.tb_frame
        begun = trace.tb_lasti > 2 or frame.f_code.co_name in ("handler",)
        names.append((frame.f_globals.get("__name__", "").partition(".")[0], frame.f_code.co_name, begun))
        trace = trace.tb_next
    where[-1:] = [names]
    ours = [(name, begun) for module, name, begun in names if module == "localops"]
    while len(ours) > 1 and ours[0][0] == ours[1][0] == "record":
        ours.pop(0)  # localops.record, and that of the session
    return bool(ours) and ours[0][0] != "__init__" and (len(ours) > 1 or ours[0][1])

arrived, n, whole, cut, where, at = 0, 0, [], [], [None], {}
end = time.monotonic() + limit
if kind == "TimeoutError":  # Python's import system takes an OSError for a file that is not there
    n += 1
    call("first")
if beside:
    beside.start()
while arrived < wanted and time.monotonic() < end:
    try:
        arm()
        while time.monotonic() < end:
            n += 1
            name = f"e{n}"
            call(name)
            whole.append(name)
    except Kind as error:
        arrived += 1
        if was_recording(error):
            cut.append(name)
            at[name] = where[-1]
        error = None
signal.setitimer(signal.ITIMER_REAL, 0)
if how == "thread":
    over = True
    go.set()
    interrupter.join(30)
if locker is not None:
    locker.kill()
    locker.wait()
if beside is not None:
    beside.join(30)

free = []
def try_lock():
    if own._lock.acquire(timeout=30):
        own._lock.release()
        free.append(True)
prober = threading.Thread(target=try_lock)
prober.start()
prober.join()
counts = dict(own.counts)
connection = own._file.connection
clean = not own._inside and scope.get()[1] is None and not interruption.waiting and bool(free)
if connection is not None:
    synchronous = connection.pragma("synchronous")
    clean = clean and not connection.in_transaction and synchronous == (2 if what == "power" else 1)
if what == "spill":
    kept = [row[4] for row in {row[:2]: row for row in spill.rows(own.folder) if row[2] == this}.values()]
    integrity = "ok"
else:
    time.sleep(0.55 if counts["spilled"] else 0)
    session.record(localops.ActionEvent(name="after"))  # takes in what waits in a spill file
    after = dict(own.counts)
    if after["spilled"] > counts["spilled"]:
        clean = False
    statement = "select name, phase, hex(id) from event where session = ? and kind in ('action', 'tool', 'llm')"
    rows = own._file.connection.execute(statement, (this,)).fetchall()
    kept = [name for name, phase, _ in rows if phase == 0]
    if what == "work":  # every call that was opened was ended, once
        opened = sorted(id for _, phase, id in rows if phase == 1)
        clean = clean and opened == sorted(id for name, phase, id in rows if phase == 0 and name == "work")
    integrity = own._file.connection.pragma("integrity_check")
names = {}
for name in kept:
    names[name] = names.get(name, 0) + 1
wrong = [name for name in whole + cut if names.get(name) != 1] if what != "work" else []
if what == "work":
    wrong = [] if len(whole) <= names.get("work", 0) <= n else [names, len(whole)]
if what != "work":
    wrong = [(each, names.get(each), at.get(each)) for each in wrong[:5]]
print(json.dumps({
    "raised": raised or arrived + swallowed, "arrived": arrived, "swallowed": swallowed,
    "swallowed_in_ours": swallowed_in_ours, "calls": n, "cut": len(cut), "wrong": wrong, "clean": clean,
    "counts": counts, "integrity": integrity,
}))
sys.stdout.flush()
os._exit(0)
"""


def outcome(
    how: str, what: str, many: int, seed: int = 1, kind: str = "Exception", limit: float = 40
) -> dict[str, Any]:
    """Interrupt the program as often as that, `how` and at `what`, and return what it printed."""
    done = programs.run(PROGRAM, how, what, many, seed, kind, limit, timeout=limit + 60)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def assert_all_arrived(result: dict[str, Any], many: int) -> None:
    """Check that each exception arrived in the program, that each call has one row, and that nothing is left over.

    Python itself swallows what is raised in a finaliser; it may be one of Python's, and none of ours.
    """
    assert (result["arrived"], result["raised"]) == (many, many + result["swallowed"]), result
    assert result["swallowed_in_ours"] == [], result
    assert result["wrong"] == [], result
    assert result["clean"], result
    assert result["integrity"] == "ok", result
    assert result["counts"]["dropped"] == 0, result
