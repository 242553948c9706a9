"""The ends of sessions, each in a real process, and the end that is derived if the program wrote none."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

import localops
from localops import api, clock, host
from localops.encoding import encode
from localops.journal import participants, rows, stored
from localops.journal.journal import Journal
from localops.reading import analytics, session_state
from localops.reading.home import Filters, Home
from localops.reading.story import Story
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_INIT = "import localops, os, sys, signal, threading, time\nsession = localops.init(env_data_opt_out=True)\n"


@pytest.mark.parametrize(
    ("code", "state", "reason", "status"),
    [
        ("localops.end_session('Success')", "Success", None, 0),
        ("localops.end_session('fail', 'no luck')", "Failure", "no luck", 0),
        ("localops.end_session('INDETERMINATE')", "Indeterminate", None, 0),
        ("localops.end_session('Splendid')", "Indeterminate", "process exited without end_session", 0),
        ("pass", "Indeterminate", "process exited without end_session", 0),
        ("raise ValueError('broken')", "Failure", "broken", 1),
        ("sys.exit(7)", "Failure", "exit code 7", 7),
        ("sys.exit(0)", "Indeterminate", "process exited without end_session", 0),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", "Failure", "Signal SIGINT detected", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", "Failure", "Signal SIGTERM detected", -signal.SIGTERM),
        ("os._exit(5)", "Indeterminate", "process died", 5),
        ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(9)", "Indeterminate", "process died", -signal.SIGKILL),
        ("os.abort()", "Indeterminate", "process died", -signal.SIGABRT),
    ],
)
def test_every_end_has_its_state(code: str, state: str, reason: str | None, status: int) -> None:
    """A session ends as in the table, and the program ends as it would without localops."""
    done = programs.run(_INIT + code)
    stands = programs.standing()
    assert (stands.state, done.returncode) == (state, status)
    assert reason in (stands.reason or "") if reason else stands.reason is None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ("ActionEvent('plan'), ErrorEvent(error_type='TimeoutError')", "process died after TimeoutError"),
        ("ErrorEvent(error_type='TimeoutError'), ActionEvent('plan')", "process died"),
        ("ErrorEvent(details='no class')", "process died"),
    ],
)
def test_an_error_that_was_recorded_last_is_why_a_process_died(events: str, reason: str) -> None:
    """As before `os._exit(1)`; an error that other events followed is not the reason."""
    programs.run(f"from localops import *\n{_INIT}for event in {events},:\n localops.record(event)\nos._exit(1)")
    for _ in range(2):  # derived, then read from the row that was written
        assert programs.standing().reason == reason
        Home().close()


def test_an_error_of_the_run_before_is_not_why_a_resumed_one_died() -> None:
    """The first run ended by its error, the second was killed before it recorded anything."""
    assert programs.run("import localops; localops.init(); raise RuntimeError").returncode == 1
    programs.run("import localops, os; localops.resume('last'); os.kill(os.getpid(), 9)")
    assert programs.standing().reason == "process died"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("@session\ndef run(): return 1\nrun()", "Success"),
        ("@session\ndef run(): raise KeyError('gone')\nrun()", "Failure"),
    ],
)
def test_a_session_function_ends_like_its_function(code: str, state: str) -> None:
    """The end of a @session function is the end of its session."""
    given = "import localops\nlocalops.init(auto_start_session=False)\nfrom localops.decorators import session\n"
    programs.run(given + code)
    stands = programs.standing()
    assert stands.state == state
    assert state == "Success" or "gone" in str(stands.reason)


def test_a_killed_program_has_the_place_where_it_died() -> None:
    """The reason names the operation that a killed process was inside of."""
    code = _INIT + (
        "from localops.decorators import tool\n@tool(name='web_search')\ndef search():\n"
        "    print('in', flush=True); time.sleep(60)\nsearch()"
    )
    program = programs.start(code)
    programs.first_line(program)
    stands = programs.standing()
    assert (stands.state, stands.reason, stands.ended_ns, stands.derived) == ("Running", None, None, False)
    programs.kill(program)
    stands = programs.standing()
    assert stands.derived
    assert "process died inside tool 'web_search'" in str(stands.reason)


def test_the_next_session_writes_the_ends_that_are_due() -> None:
    """A derived end becomes a row, once, when another session starts; it ends at the last row of the dead one."""
    programs.run(_INIT + "localops.record(localops.ActionEvent(action_type='a')); os._exit(1)")
    for _ in range(2):
        programs.run(_INIT + "localops.end_session('Success')")
    dead = programs.sessions()[0]
    with programs.reader() as journal:
        ends = journal.ask("select name, at_ns, body from event where kind = 'end' and session = ?", (dead,))
    assert [(name, at) for name, at, _ in ends] == [("Indeterminate", programs.figures(dead).last_ns)]
    assert encode.loads(ends[0][2])["derived"] == 1


def test_ends_that_are_derived_at_once_are_one_row() -> None:
    """Eight processes that find a dead session at the same moment write its end once."""
    programs.run(_INIT + "os._exit(1)")
    dead = programs.sessions()[0]
    many = [programs.start(_INIT + "sys.stdin.read(); localops.end_session('Success')") for _ in range(8)]
    for one in many:
        one.communicate(timeout=60)
    with programs.reader() as journal:
        ends = journal.ask("select count(*) from event where kind = 'end' and session = ?", (dead,))
    assert ends == [(1,)]


def test_an_end_that_a_program_writes_during_the_look_counts() -> None:
    """The owner ends its session after its milestones were read."""
    journal, session = Journal(programs.project()), clock.new_id()
    card: dict[str, object] = {"participant": clock.new_id().hex(), "boot": host.boot_id()}
    _write(journal, "session", session, card)
    last_ns = analytics.totals(journal, session).last_ns
    before = Story.read(journal, session)
    _write(journal, "end", session, card)
    stands = session_state.judge(journal, journal.folder, session, before, last_ns=last_ns)
    journal.close()
    assert (stands.state, stands.derived) == ("Success", False)


class _Overtaken(Journal):
    """A journal into which others write just before rows are added to it."""

    rival: Callable[[], None]

    def add(self, incoming: Iterable[rows.Row], **options: Any) -> int:
        """Add rows as a journal does, but second."""
        self.rival()
        return super().add(incoming, **options)


@pytest.mark.parametrize("kind", ["end", "end before the last row", "action"])
def test_a_session_that_continues_or_ends_meanwhile_gets_no_derived_end(kind: str) -> None:
    """What others write between the look and the transaction of the derived end is seen in that transaction."""
    journal, other, session = _Overtaken(programs.project()), Journal(programs.project()), clock.new_id()
    card: dict[str, object] = {"participant": clock.new_id().hex(), "boot": host.boot_id()}
    _write(journal, "session", session, card)
    at = clock.now_ns()
    call = rows.make("llm", session, id=clock.new_id(), at_ns=at, phase=rows.OPEN, start_ns=at)
    earlier = rows.make("end", session, id=clock.new_id(), at_ns=at, name="Success")
    journal.append(call)
    _write(journal, "action", session, card)

    def overtake() -> None:
        if kind == "end before the last row":
            other.append(earlier)
        else:
            _write(other, kind, session, card)

    journal.rival = overtake
    assert session_state.derive(journal) == 0
    ends = [row for row in journal.all("story", session=session) if row[2] == "end"]
    assert len(ends) == (kind != "action")
    assert [one.kind for one in stored.unfinished(journal, session)] == ["llm"]
    journal.rival = lambda: None
    assert session_state.derive(journal) == (kind == "action")
    journal.close()
    other.close()


def test_a_row_after_a_derived_end_reverts_it(tmp_path: object) -> None:
    """A derived end holds only until another row of the session is recorded."""
    journal, session = Journal(programs.project()), clock.new_id()
    card: dict[str, object] = {"participant": clock.new_id().hex(), "boot": host.boot_id()}
    _write(journal, "session", session, card)
    assert session_state.derive(journal) == 1
    assert session_state.standing(journal, journal.folder, session).state == "Indeterminate"
    participant = journal.participate()
    _write(journal, "join", session, participant.card(), parent=participant.id)
    assert session_state.standing(journal, journal.folder, session).state == "Running"
    journal.close()


@pytest.mark.parametrize("known", ["another machine", "this machine before it was booted again", "no card at all"])
def test_a_process_that_cannot_be_seen_is_unknown(known: str) -> None:
    """A participant on another host is neither running nor dead; one from before a reboot here is dead."""
    journal, session = Journal(programs.project()), clock.new_id()
    card: dict[str, object] = {"participant": clock.new_id().hex(), "boot": "another", "machine": "another"}
    if known.startswith("this"):
        card["machine"] = host.machine_id()
    _write(journal, "session", session, {} if known.startswith("no") else card)
    stands = session_state.standing(journal, journal.folder, session)
    journal.close()
    assert stands.state == ("Indeterminate" if known.startswith("this") else "Unknown")
    assert stands.state == "Indeterminate" or str(stands.reason).startswith("last heard of at")


def _write(journal: Journal, kind: str, session: bytes, card: dict[str, object], parent: bytes | None = None) -> None:
    at = clock.now_ns()
    given = bytes.fromhex(str(card.get("participant", clock.new_id().hex())))
    id = session if kind == "session" else clock.new_id(at)
    body = encode.dumps(card).decode()
    name = "Success" if kind == "end" else None
    journal.append(rows.make(kind, session, id=id, at_ns=at, name=name, parent=parent or given, body=body))


def test_ended_sessions_are_not_checked_again() -> None:
    """Of unfolded sessions those are open that have no end, or that a process joined after the end."""
    journal = Journal(programs.project())
    ended, joined, derived, running = (clock.new_id() for _ in range(4))
    for session in (ended, joined, derived, running):
        _write(journal, "session", session, {})
    for session in (ended, joined):
        _write(journal, "end", session, {})
    _write(journal, "end", derived, {"derived": 1})  # who comes late takes it back
    _write(journal, "join", joined, {})
    _write(journal, "action", ended, {})
    assert {session for (session,) in journal.all("open_sessions", many=9)} == {joined, derived, running}
    journal.fold()
    assert {session for (session,) in journal.all("open_sessions", many=9)} == {joined, running}
    journal.close()


_JOINED = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=session.env(), stdin=subprocess.PIPE)
"""


@pytest.mark.parametrize(
    ("child", "status"), [("pass", 0), ("raise ValueError('in the child')", 1), ("os.kill(os.getpid(), 9)", -9)]
)
def test_a_process_that_joined_never_ends_the_session(child: str, status: int) -> None:
    """A subprocess that returns, raises or is killed leaves; only its starter ends the session."""
    code = _INIT + _JOINED + "child.communicate(); print(localops.get_session(session.session_id) is session)"
    done = programs.run(code + "\nprint(child.returncode)\nlocalops.end_session('Success')", _INIT + child)
    assert done.stdout == f"True\n{status}\n", done.stderr
    assert ("ValueError: in the child" in done.stderr) == ("raise" in child), done.stderr
    assert programs.standing().state == "Success"
    assert programs.figures().errors == ("raise" in child)
    assert len(programs.sessions()) == 1


def test_a_session_runs_while_a_process_is_in_it() -> None:
    """If the starter is killed and a subprocess continues, the session runs until that one has ended, too."""
    code = _INIT + _JOINED + "sys.stdin.readline(); os.kill(os.getpid(), 9)"
    child = "import localops, sys; localops.init(); print(1, flush=True); sys.stdin.read(); print(2, flush=True)"
    program = programs.start(code, child)
    assert program.stdin is not None
    programs.first_line(program)
    program.stdin.write("\n")
    program.stdin.flush()
    program.wait(30)
    with programs.reader() as journal:
        joined = [row for row in journal.all("story", session=programs.sessions()[0]) if row[2] == "join"]
    assert len(joined) == 1
    program.communicate(timeout=30)  # until the child has closed its end of the pipe too
    assert programs.standing().state == "Indeterminate"


def test_a_session_can_be_taken_up_again_by_a_later_job() -> None:
    """A join after the end reopens the session, and the later job ends it."""
    programs.run(_INIT + "localops.end_session('Failure')")
    session = programs.sessions()[0]
    code = "import localops, sys\ns = localops.start_session(inherited_session_id=sys.argv[1])\n"
    look = "from tests import programs; print(programs.standing().state)\nlocalops.end_session('Success')"
    done = programs.run(code + look, session.hex())
    assert done.stdout == "Running\n"
    assert programs.standing(session).state == "Success"


def test_sessions_end_one_by_one() -> None:
    """Several sessions of a process end in their own states, and the rest like the process."""
    code = (
        "import localops\na = localops.start_session()\nb = localops.start_session()\nc = localops.start_session()\n"
        "b.end_session('Success')\na.end_session('Failure')\nraise SystemExit(3)"
    )
    assert programs.run(code).returncode == 3
    assert [programs.standing(each).state for each in programs.sessions()] == ["Failure", "Success", "Indeterminate"]


def test_the_probe_does_not_disturb_the_living() -> None:
    """However often a participant is looked at, its lock stays, and the looker never drops its own."""
    mine = participants.Participant(programs.project())
    look = (
        "import sys; from localops import host; from localops.journal import participants as alive\n"
        "print(alive.is_alive(sys.argv[1], {'participant': sys.argv[2], 'boot': host.boot_id()}))"
    )
    for _ in range(3):
        assert participants.is_alive(programs.project(), mine.card())
        assert programs.run(look, programs.project(), mine.id.hex()).stdout == "True\n"
    os.unlink(mine.path)
    mine.check()
    assert programs.run(look, programs.project(), mine.id.hex()).stdout == "True\n"
    mine.close()
    assert programs.run(look, programs.project(), mine.id.hex()).stdout == "False\n"


_ENDING_CHILD = (
    "import localops; localops.init(inherited_session_id=sys.argv[1]); localops.end_session('Failure', 'by child')"
)
_JOINED_END = (
    _INIT + f"import subprocess\nchild = 'import sys; ' + {_ENDING_CHILD!r}\n"
    "subprocess.run([sys.executable, '-c', child, str(session.session_id)], check=True)\n"
)
_FORKED_END = _INIT + "if not os.fork(): localops.end_session('Failure', 'by child'); os._exit(0)\nos.wait()\n"


@pytest.mark.parametrize(
    ("begin", "code"),
    [
        (_JOINED_END, "pass"),
        (_FORKED_END, "pass"),
        (_JOINED_END, "raise ValueError('of the parent')"),
        (_FORKED_END, "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)"),
        (_FORKED_END, "with session: localops.record(localops.ActionEvent(action_type='after'))"),
        (_FORKED_END, "session.finish(ValueError('of the parent'))"),
        (_FORKED_END, "os._exit(3)"),
    ],
)
def test_an_explicit_end_by_another_process_stays(begin: str, code: str) -> None:
    """Anyone may end a session: the end of the owner's process does not replace that."""
    programs.run(begin + code)
    assert programs.standing()[:2] == ("Failure", "by child")
    with programs.reader() as journal:
        assert journal.ask("select count(*) from event where kind = 'end'") == [(1,)]


def test_the_owner_knows_the_end_that_another_process_wrote() -> None:
    """Its object tells the state and the reason of that end, and what its function returned is kept."""
    code = (
        _FORKED_END + "session.returns = 'text'\nsession.finish()\nprint(session.end_state, session.end_state_reason)"
    )
    assert programs.run(code).stdout == "Failure by child\n"
    with programs.reader() as journal:
        (body,) = journal.ask("select body from event where kind = 'metadata'")[0]
    assert encode.loads(body) == {"prefix": "localops", "metadata": {"returns": "text"}}


def test_an_end_of_another_process_in_a_spill_file_stays_too() -> None:
    """The child could not write to the journal: its end waits, and counts."""
    code = _INIT + (
        "import apsw\nif not os.fork():\n    other = apsw.Connection(session._journal.path)\n"
        "    other.execute('begin immediate')\n    localops.end_session('Failure', 'by child')\n"
        "    os._exit(0)\nos.wait()"
    )
    programs.run(code, env={"LOCALOPS_WAIT": "0.2"})
    programs.run("import localops; localops.init(); localops.end_session()")
    assert programs.standing(programs.sessions()[0])[:2] == ("Failure", "by child")


def test_the_newest_explicit_end_is_the_state() -> None:
    """If both end it explicitly, the later end counts; a process that joins after an end opens the session again."""
    programs.run(_JOINED_END + "localops.end_session('Success', 'by parent')")
    assert programs.standing()[:2] == ("Success", "by parent")
    ended = programs.run(_FORKED_END + "print(session.session_id, flush=True); os._exit(0)").stdout.strip()
    programs.run("import localops, sys\nlocalops.init(inherited_session_id=sys.argv[1])", ended)
    assert programs.standing()[:2] == ("Indeterminate", "process exited without end_session")


def test_sigterm_in_the_middle_of_an_end_ends_the_session() -> None:
    """A thread has begun to write the end and cannot continue; the process still dies with an end."""
    code = _INIT + "session._take_turn_to_end()\nos.kill(os.getpid(), signal.SIGTERM); time.sleep(9)"
    assert programs.run(code).returncode == -signal.SIGTERM
    assert programs.standing()[:2] == ("Failure", "Signal SIGTERM detected")


def test_an_interrupted_end_is_written_before_the_interruption_arrives() -> None:
    """Ctrl-C in the middle of end_session() is raised once the given end is written."""
    code = _INIT + (
        "tries = []\ndef details():\n    tries.append(1)\n"
        "    if len(tries) == 1: os.kill(os.getpid(), signal.SIGINT)\n    return '{}'\n"
        "session.details = details\n"
        "try: session.end_session('Success')\nexcept KeyboardInterrupt: print(session.is_running)"
    )
    assert programs.run(code).stdout == "False\n"
    assert programs.standing()[:2] == ("Success", None)


def test_a_session_that_others_leave_open_is_found_at_the_next_start() -> None:
    """A program that begins one session after the other checks only new rows, and none is overlooked."""
    client = api.client()
    for _ in range(3):
        client.start().end_session("Success")
    programs.run("import localops, os\nlocalops.start_session(name='left'); os._exit(0)")
    client.start().end_session("Success")
    client.close()
    with programs.reader() as journal:
        ended = journal.ask("select name, json_extract(body, '$.derived') from event where kind = 'end' order by seq")
    assert ended == [*[("Success", None)] * 3, ("Indeterminate", 1), ("Success", None)]


def test_what_came_since_the_last_look_says_whether_another_is_needed() -> None:
    """Its own sessions and those that were ended need no check; one that is open does, and so does too much news."""
    session = api.client().start()
    journal = session.recorder.journal
    others, seen = session_state.others_open_since(journal, 0)
    assert (others, seen > 0) == (False, True)
    programs.run("import localops; localops.start_session().end_session('Success')")
    others, newest = session_state.others_open_since(journal, seen)
    assert (others, newest > seen) == (False, True)
    programs.run("import localops, os; localops.start_session(); os._exit(0)")
    assert session_state.others_open_since(journal, newest)[0]
    for _ in range(1_100):
        session.record(localops.ActionEvent())
    assert session_state.others_open_since(journal, newest)[0]
    session.end_session("Success")


def test_a_call_that_its_process_died_in_is_unfinished_everywhere() -> None:
    """Before and after its session has its end: it counts when it has ended, and is shown with its prompt."""
    died = programs.run(
        _INIT + "session.record(localops.LLMEvent(model='gpt-4o', prompt_tokens=1000, completion_tokens=0))\n"
        "session.operation('tool', kind='tool').open()\n"
        "session.operation('ask', kind='llm', model='gpt-4o', prompt='how high is the tide?').open()\n"
        "os.kill(os.getpid(), signal.SIGKILL); time.sleep(9)"
    )
    assert died.returncode == -signal.SIGKILL

    def figures() -> tuple[object, ...]:
        with Home() as home:
            (listed,) = home.sessions(Filters(state="Indeterminate"))
            totals = listed.project.snapshot(listed.session).totals
        assert (listed.llms, listed.unpriced, listed.cost) == (totals.llms, totals.unpriced, totals.cost)
        return (totals.llms, totals.unpriced, totals.cost, totals.tools)

    assert figures() == (1, 0, 2_500_000, 0)
    localops.init()  # which writes the end of the other
    localops.end_session("Success")
    assert figures() == (1, 0, 2_500_000, 0)
    code = "from localops.__main__ import main; import sys; sys.argv[1:] = ['show', sys.argv[1]]; main()"
    shown = programs.run(code, programs.sessions()[0].hex()).stdout
    assert "… llm ask gpt-4o  how high is the tide?  unfinished" in shown
