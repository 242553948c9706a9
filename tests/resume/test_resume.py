"""A resumed session returns what its steps returned, and never repeats what may have happened."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

import localops
from localops import cli, clock
from localops.decorators import tool
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.spill import Claim, Spill, waiting
from localops.reading.home import Home
from localops.recording import once_calls
from tests import programs
from tests.resume.steps import Effects, again

PAYING = """
import os, sys, localops
from localops.decorators import tool

@tool(once=True)
def pay(order, amount=5):
    print("paying", order, flush=True)
    if order == "killed":
        os.kill(os.getpid(), 9)
    if order == "refused":
        raise ConnectionError("refused")
    return {"receipt": order}

how = sys.argv[1]
session = localops.init() if how == "first" else localops.resume(how)
for order in sys.argv[2:]:
    try:
        print(order, "is", pay(order))
    except (ConnectionError, localops.Uncertain) as error:
        print(order, "raised", type(error).__name__)
"""


def test_a_killed_run_continues_where_it_stopped() -> None:
    """Results of done steps are returned, failed steps run again, one in progress raises, and the rest runs."""
    first = programs.run(PAYING, "first", "a", "refused", "killed")
    assert first.returncode == -9
    assert first.stdout.splitlines()[-1] == "paying killed"
    second = programs.run(PAYING, "last", "a", "refused", "killed", "killed", "b")
    assert second.stderr == ""
    assert second.stdout.splitlines() == [
        "a is {'receipt': 'a'}",
        "paying refused",
        "refused raised ConnectionError",
        "killed raised Uncertain",
        "killed raised Uncertain",
        "paying b",
        "b is {'receipt': 'b'}",
    ]
    assert len(programs.sessions()) == 1
    third = programs.run(PAYING, programs.sessions()[0].hex()[:9], "b", "a")
    assert third.stdout.splitlines() == ["b is {'receipt': 'b'}", "a is {'receipt': 'a'}"]


def test_an_uncertain_step_says_what_is_known_of_it() -> None:
    """Name, kind, arguments, when, and the process that it ran in."""
    killed = programs.start(PAYING, "first", "killed")
    killed.communicate(timeout=60)
    localops.resume("last")

    @tool(once=True)
    def pay(order: str, amount: int = 5) -> None:
        raise AssertionError("it must not run")

    with pytest.raises(localops.Uncertain, match="may or may not have happened") as caught:
        pay("killed")
    known = caught.value
    assert (known.name, known.kind, known.params) == ("pay", "tool", {"order": "killed", "amount": 5})
    assert (known.number, known.happened, known.ended_by) == (1, None, None)
    assert known.process is not None
    assert known.process["pid"] == killed.pid
    assert known.began is not None
    assert f"process {killed.pid}" in str(known)
    assert known.began in str(known)


def test_a_hook_decides_once_for_all(effects: Effects) -> None:
    """The result that it returns is recorded: a run that is resumed again is not asked again."""
    programs.run(PAYING, "first", "killed")
    asked = []

    def look(uncertain: localops.Uncertain) -> object:
        asked.append(uncertain.params["order"])
        return ("found", b"at the bank")

    @tool(once=True)
    def pay(order: str, amount: int = 5) -> object:
        effects.append(order)
        return None

    resumed = localops.resume("last", on_uncertain=look)
    assert pay("killed") == ("found", b"at the bank")
    again(resumed)
    assert pay("killed") == ("found", b"at the bank")
    assert (asked, effects) == (["killed"], [])


def test_a_hook_may_run_the_step_again(effects: Effects) -> None:
    """An idempotent step runs again without a hook; that attempt then counts."""
    for options in ({"on_uncertain": lambda _: localops.run_again}, {"idempotent": True}):
        programs.run(PAYING, "first", "killed")
        once_calls._named.clear()

        @tool(once=True, name="pay", **options)
        def pay(order: str, amount: int = 5) -> str:
            effects.append(order)
            return "paid"

        resumed = localops.resume("last")
        assert pay("killed") == "paid"
        again(resumed)
        assert pay("killed") == "paid"
        localops.end_session("Success")
    assert effects == ["killed", "killed"]


def test_a_hook_that_raises_leaves_the_step_as_it_was() -> None:
    """The exception goes to the program, and the next call asks again."""
    programs.run(PAYING, "first", "killed")

    def fail(uncertain: localops.Uncertain) -> object:
        raise uncertain

    @tool(once=True, on_uncertain=fail)
    def pay(order: str, amount: int = 5) -> None: ...

    localops.resume("last")
    for _ in range(2):
        with pytest.raises(localops.Uncertain):
            pay("killed")


def test_a_session_that_was_joined_has_no_steps() -> None:
    """Joining a session by its id is not resuming it: its steps would run again."""
    began = localops.init()
    began.end_session("Success")
    localops.start_session(inherited_session_id=began.session_id)
    with pytest.raises(localops.StepError, match=r"localops\.resume\(\)"):
        Effects().step()("x")


HOLDING = """
import localops, sys, time
try:
    session = localops.resume("last") if len(sys.argv) > 1 else localops.init()
    print("has it", flush=True)
except localops.NotResumable as error:
    print("refused:", error, flush=True)
sys.stdin.read()
"""


def test_a_session_that_is_recorded_cannot_be_resumed() -> None:
    """A process that lives is at it; when it has died, one of many has it."""
    holder = programs.start(HOLDING)
    assert programs.first_line(holder) == "has it\n"
    with pytest.raises(localops.NotResumable, match=f"is still recorded by process {holder.pid}"):
        localops.resume("last")
    programs.kill(holder)
    many = [programs.start(HOLDING, "resume") for _ in range(5)]
    lines = [programs.first_line(one) for one in many]
    for one in many:
        programs.kill(one)
    assert sum(line == "has it\n" for line in lines) == 1
    assert all("is still recorded by process" in line or "just now" in line for line in lines if line != "has it\n")
    localops.resume("last").end_session("Success")


@pytest.mark.foreign_open  # it writes the file of another project
def test_a_run_is_not_called_unknown_where_rows_cannot_be_read(tmp_path: Path) -> None:
    """With a damaged project, or rows that wait in a spill file, its id may be among what was not read."""
    programs.run(PAYING, "first", "a")
    run = programs.sessions()[0].hex()
    other = tmp_path / "home" / "other"
    other.mkdir()
    (other / "journal.db").write_bytes(b"not a journal")
    with pytest.raises(localops.NotResumable, match=r"no session begins with 'abcdef01'.*'other' cannot be read"):
        localops.resume("abcdef01")
    localops.resume(run).end_session("Success")
    localops.resume("last").end_session("Success")
    (other / "journal.db").unlink()
    row = rows.make("session", clock.new_id(), id=clock.new_id(), at_ns=clock.now_ns())
    assert Spill(str(other)).write(row)
    claim = Claim(waiting(str(other))[0])
    with pytest.raises(localops.NotResumable, match="1 row of project 'other' could not be moved"):
        localops.resume(row[2].hex())
    claim.close()
    localops.resume(row[2].hex()).end_session("Success")


def test_a_session_of_this_process_is_ended_before_it_is_resumed() -> None:
    """An id without a session, and "last" without any, are errors."""
    with pytest.raises(localops.errors.NotFound):
        localops.resume("last")
    began = localops.init()
    with pytest.raises(localops.NotResumable, match="is open in this process"):
        localops.resume(began.session_id)
    with pytest.raises(localops.errors.NotFound):
        localops.resume("0123456789")
    with pytest.raises(localops.errors.NotFound, match="no session to resume"):
        localops.resume("last")


def test_rows_that_wait_in_a_spill_file_are_known(effects: Effects) -> None:
    """A step that SQLite did not take has run all the same."""
    program = """
import localops, os
from localops.decorators import tool

@tool(once=True)
def act(what, more=None):
    return what

session = localops.init()
session.recorder.journal._inside = True  # as in the middle of a write: rows go to the spill file
act("x")
os._exit(0)
"""
    assert programs.run(program).returncode == 0
    localops.resume("last")
    assert (effects.step(name="act")("x"), effects) == ("x", [])


def test_a_session_lists_its_steps(effects: Effects) -> None:
    """Those of this process and those before, with what a resume would do."""
    act = effects.step(name="act")
    began = localops.init()
    act("x")
    resumed = again(began)
    act("y")
    assert [(one["name"], one["input"], one["on_resume"]) for one in resumed.steps] == [
        ("act", '{"what":"x","more":null}', "give back"),
        ("act", '{"what":"y","more":null}', "give back"),
    ]


def test_a_resumed_session_is_the_same_session(effects: Effects) -> None:
    """Its id, name, budget and figures are; its end is the new one, and both processes are in it."""
    code = "import localops; s = localops.start_session(name='long run', tags=['x']); s.end_session('Failure')"
    programs.run(code)
    [id] = programs.sessions()
    resumed = localops.resume("last", tags=["again"])
    assert resumed.session_id == uuid.UUID(bytes=id)
    assert (resumed.name, resumed.tags) == ("long run", ["x", "again"])
    assert programs.standing(id).state == "Running"
    effects.step()("x")
    resumed.end_session("Success")
    assert programs.sessions() == [id]
    assert (programs.standing(id).state, programs.figures(id).tools) == ("Success", 1)
    with Home() as home:
        assert len(list(home.projects[0].snapshot(id).story.participants())) == 2


def test_a_run_continues_on_another_machine(tmp_path: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of a killed run is imported and resumed; it has results in blobs, too."""
    large = "x" * 2_000_000
    program = """
import os, localops
from localops.decorators import tool

@tool(once=True)
def act(what, more=None):
    if what == "killed":
        os.kill(os.getpid(), 9)
    return what * 2_000_000

localops.init()
act("x")
act("killed")
"""
    programs.run(program)
    file = str(tmp_path / "run.lops")
    _command("bundle", "-o", file)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "other"))
    _command("import", file)
    act = effects.step(name="act")
    localops.resume("last")
    assert act("x") == large
    with pytest.raises(localops.Uncertain):
        act("killed")
    assert effects == []


def _command(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0


def test_without_its_opening_row_a_step_does_not_run() -> None:
    """If neither journal nor spill file can store that row, the effect could not be recorded."""
    program = """
import localops, resource
from localops.decorators import tool

@tool(once=True)
def act():
    print("it ran")

session = localops.init()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    act()
except localops.StepError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
act()
"""
    done = programs.run(program)
    assert done.stdout.splitlines() == [
        "act() did not run: that it begins could not be written; see `localops doctor`",
        "it ran",
    ]


def test_a_copy_without_content_is_refused() -> None:
    """Where content stayed elsewhere, every step would seem not to have begun."""
    began = localops.init()
    id = began.session_id.bytes
    began.end_session("Success")
    journal = Journal(programs.project())
    journal.add([rows.make("session", id, id=clock.new_id(), at_ns=clock.now_ns(), body='{"metadata_only":true}')])
    journal.close()
    with pytest.raises(localops.NotResumable, match="came without its content"):
        localops.resume(began.session_id)


def test_a_session_of_a_hub_is_refused() -> None:
    """Its processes are on other machines, which also send its rows."""
    began = localops.init()
    began.end_session("Success")
    Path(programs.project()).parent.joinpath("hub.json").write_text("{}")
    with pytest.raises(localops.NotResumable, match="is on a hub"):
        localops.resume(began.session_id)
