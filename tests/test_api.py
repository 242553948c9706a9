"""The functions of `import localops`: what they return, and how they handle mistakes."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ActionEvent, Config, Session
from localops.errors import ConfigError, NoSession, UnusableBudget

KEY = "11111111-1111-4111-8111-111111111111"

pytestmark = pytest.mark.usefixtures("bare_threads")


def begun(**options: Any) -> Session:
    """Return the session that init starts."""
    session: Session = localops.init(**options)
    return session


# init


def test_init_takes_its_arguments_in_the_known_order() -> None:
    """The positional arguments of init are AgentOps 0.3's."""
    taken = inspect.signature(localops.init).parameters.values()
    assert [one.name for one in taken if one.kind is one.POSITIONAL_OR_KEYWORD] == (
        "api_key parent_key endpoint max_wait_time max_queue_size tags default_tags instrument_llm_calls "
        "auto_start_session inherited_session_id skip_auto_end_session"
    ).split()


def test_init_needs_nothing() -> None:
    """Without a key, a network or an option a session begins, and is the current one."""
    session = begun()
    assert session.is_running
    assert localops.get_api_key() is None
    localops.record(ActionEvent())
    assert session.get_analytics()["Actions"] == 1


@pytest.mark.parametrize("key", [KEY, "not a uuid", "ключ"])
def test_a_key_is_a_project(key: str) -> None:
    """Any key will do; the same key is the same project, whose name does not give it away."""
    first = begun(api_key=key)
    first.end_session()
    assert begun(api_key=key).project_id == first.project_id != "default"
    assert key not in first.project_id
    assert localops.get_api_key() == key


def test_agentops_options_are_taken() -> None:
    """Options that concern only AgentOps' network and log are accepted and have no effect."""
    options = {"endpoint": "https://example.org", "max_wait_time": 1, "log_level": "DEBUG", "fail_safe": True}
    assert begun(**options).is_running


def test_without_auto_start_there_is_no_session() -> None:
    """`auto_start_session=False` sets up and gives None; a session begins when it is started."""
    assert localops.init(auto_start_session=False, default_tags=["always"]) is None
    session = localops.start_session(tags=["customer-query", "high-priority"])
    assert session is not None
    assert session.tags == ["always", "customer-query", "high-priority"]


def test_init_starts_a_session_whatever_options_an_earlier_one_had() -> None:
    """`auto_start_session=False` holds for its call; other options stay, and the environment's False does too."""
    assert localops.init(auto_start_session=False, default_tags=["kept"]) is None
    assert begun().tags == ["kept"]
    localops.end_session("Success")
    localops.configure(auto_start_session=False)
    assert localops.init() is None
    assert begun(auto_start_session=True).is_running


def test_default_tags_are_added_by_configure() -> None:
    """configure() adds default tags, as AgentOps does; init() replaces them."""
    localops.init(auto_start_session=False, default_tags=["a", "b"])
    localops.configure(default_tags=["b", "c"])
    localops.configure(default_tags="d")
    session = localops.start_session(["mine"])
    assert session is not None
    assert session.tags == ["a", "b", "c", "d", "mine"]
    session.end_session()
    assert begun(default_tags=[]).tags == []


def test_an_init_in_a_thread_gives_back_the_first_session() -> None:
    """Where several are open and none is current, those that other threads have begun since are theirs."""
    first = localops.init(env_data_opt_out=True)
    with ThreadPoolExecutor(1) as others, ThreadPoolExecutor(1) as another:
        others.submit(localops.start_session).result()
        assert another.submit(localops.init).result() is first


def test_a_second_init_gives_back_the_session(capsys: pytest.CaptureFixture[str]) -> None:
    """A second init returns the same session; options and tags that differ print a warning."""
    session = begun(tags=["a"], durability="power")
    assert begun() is session
    assert begun(durability="power", tags=["a"]) is session
    assert capsys.readouterr().err == ""
    assert begun(durability="process", tags=["b"]) is session
    assert "(durability, tags)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tag": ["x"]}, "did you mean 'tags'?"),
        ({"durabilty": "power"}, "did you mean 'durability'?"),
        ({"durability": "eternal"}, "invalid durability: expected 'process' (survives"),
        ({"wait": -1}, "invalid wait: expected a number above 0, got -1"),
        ({"project": "../elsewhere"}, "invalid project: expected 1 to 64 letters"),
        ({"redact": ["("]}, "redact"),
    ],
)
def test_an_invalid_option_prints_a_warning_and_is_left_out(
    options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The session begins without the option; with strict=True it is a ConfigError."""
    session = begun(**options)
    assert session.project_id == "default"
    assert message in capsys.readouterr().err
    localops.api._reset()
    with pytest.raises(ConfigError):
        localops.init(**options, strict=True)


def test_a_wrong_setting_of_the_environment_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in a variable does not stop recording."""
    monkeypatch.setenv("LOCALOPS_DURABILITY", "eternal")
    assert begun().config.durability == "process"
    assert "invalid LOCALOPS_DURABILITY: expected" in capsys.readouterr().err


@pytest.mark.parametrize("call", [localops.init, localops.start_session, lambda: localops.record(ActionEvent())])
def test_a_budget_that_cannot_be_read_stops_the_program(
    call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever function is called first raises, without strict too; a good one takes its place."""
    monkeypatch.setenv("LOCALOPS_BUDGET_USD", "abc")
    with pytest.raises(UnusableBudget):
        call()
    assert begun(budget_usd=2.5).config.budget_usd == 2.5


def test_a_key_that_cannot_be_used_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning about a key of the wrong type does not show the key."""
    begun(api_key=b"very-secret-key")
    warning = capsys.readouterr().err
    assert "api_key" in warning
    assert "very-secret-key" not in warning


# A home that cannot hold a journal


def test_a_home_that_is_a_file_costs_no_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a journal, events go to the spill file with a warning, and the program continues."""
    home = tmp_path / "file"
    home.write_text("not a folder")
    session = begun(home=home)
    for _ in range(3):
        localops.record(ActionEvent())
    localops.add_tags("x")
    assert session.tags == []
    assert session.get_analytics()["Actions"] == 0
    assert localops.end_session("Success") is None
    assert home.read_text() == "not a folder"
    assert session._journal.counts["dropped"] == 0
    assert session._journal.counts["spilled"] >= 3
    warnings = [line for line in capsys.readouterr().err.splitlines() if "spill file" in line]
    assert len(warnings) == len(set(warnings)) == 2  # rows go to the spill file, and figures do not count them


# Without a session, or with two

CALLS: dict[str, Callable[[], object]] = {
    "record": lambda: localops.record(ActionEvent()),
    "end_session": lambda: localops.end_session("Success"),
    "add_tags": lambda: localops.add_tags(["a"]),
    "set_tags": lambda: localops.set_tags(["a"]),
    "update_trace_metadata": lambda: localops.update_trace_metadata({"a": 1}),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("when", ["before init", "after init", "after the end", "two"])
def test_a_call_without_a_session_warns_once(name: str, when: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a session, or with two and none current, a call warns once and returns None."""
    if when != "before init":
        localops.init(auto_start_session=False)
    if when == "after the end":
        localops.start_session()
        localops.end_session()
    if when == "two":
        import threading

        for _ in range(2):
            thread = threading.Thread(target=localops.start_session)
            thread.start()
            thread.join()
    assert [CALLS[name]() for _ in range(3)] == [None] * 3
    warnings = capsys.readouterr().err
    assert warnings.count("\n") == 1
    assert ("2 sessions are open" if when == "two" else "no session is open") in warnings


def test_no_session_and_no_current_session_warn_separately(capsys: pytest.CaptureFixture[str]) -> None:
    """The warning that no session is open does not suppress the warning that none of several is current."""
    import threading

    localops.record(localops.ActionEvent())
    for _ in range(2):
        localops.start_session()
    thread = threading.Thread(target=lambda: localops.record(localops.ActionEvent()))
    thread.start()
    thread.join()
    warnings = capsys.readouterr().err
    assert "no session is open" in warnings
    assert "2 sessions are open" in warnings


def test_an_empty_inherited_id_begins_a_session_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs that pass on an unset variable must not all share one session."""
    ids = {localops.start_session(inherited_session_id="").session_id for _ in range(2)}
    assert len(ids) == 2
    assert "inherited_session_id is empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", CALLS)
def test_strict_raises_without_a_session(name: str) -> None:
    """With strict=True the same calls raise NoSession."""
    localops.init(auto_start_session=False, strict=True)
    with pytest.raises(NoSession):
        CALLS[name]()


def test_an_agent_may_come_before_its_session() -> None:
    """`create_agent` before any session is kept for the first one."""
    known = localops.create_agent("early")
    session = begun()
    (agent,) = session.events
    assert (agent["name"], uuid.UUID(agent["id"])) == ("early", uuid.UUID(known))


@pytest.mark.parametrize("call", [lambda: localops.record(), lambda: localops.add_tags("a", 2)])  # type: ignore[call-arg]
def test_a_wrong_call_is_a_type_error(call: Callable[[], object]) -> None:
    """Arguments that a function does not have are the caller's to see, as everywhere in Python."""
    with pytest.raises(TypeError):
        call()


# Sessions


def test_sessions_are_found_by_their_ids() -> None:
    """`get_session` takes a UUID or its text in any form, and finds what is open here."""
    session = begun()
    for form in (session.session_id, str(session.session_id), session.session_id.hex):
        assert localops.get_session(form) is session
    assert localops.get_session("nonsense") is None
    assert localops.get_session(uuid.uuid4()) is None
    session.end_session()
    assert localops.get_session(session.session_id) is None


def test_end_session_gives_the_cost() -> None:
    """The module's end_session ends the current session and returns its cost, like the method."""
    session = begun()
    localops.record(localops.LLMEvent(cost=1.5))
    assert localops.end_session("Success", "done", "https://example.org/v.mp4") == "1.500000"
    assert (session.end_state, session.end_state_reason, session.video) == (
        "Success",
        "done",
        "https://example.org/v.mp4",
    )


def test_all_sessions_end() -> None:
    """`end_all_sessions` leaves none out."""
    sessions = [localops.start_session() for _ in range(5)]
    assert localops.end_all_sessions() is None
    assert [session.end_state for session in sessions if not session.is_running] == ["Indeterminate"] * 5


def test_a_framework_may_be_kept_from_ending() -> None:
    """With skip_auto_end_session an end that a framework asks for is passed over."""
    session = begun(skip_auto_end_session=True)
    assert localops.end_session("Success", is_auto_end=True) is None
    assert session.is_running


def test_a_config_holds_for_one_session() -> None:
    """A session started with a Config has its own project and rules; the next has the client's options again."""
    begun(project="usual")
    other = localops.start_session(config=Config(project="special", capture=False))
    third = localops.start_session()
    assert other is not None
    assert third is not None
    assert (other.project_id, other.config.capture) == ("special", False)
    assert (third.project_id, third.config.capture) == ("usual", True)


def test_a_config_must_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    """An object that is not a Config prints a warning and is left out."""
    assert localops.start_session(config={"project": "x"}).project_id == "default"  # type: ignore[arg-type]
    assert "invalid config: expected a localops.Config, got dict" in capsys.readouterr().err


def test_configure_is_for_the_sessions_to_come() -> None:
    """An open session keeps its options; the next one gets the new ones."""
    session = begun()
    localops.configure(project="next", max_wait_time=5)
    assert session.config.project is None
    assert localops.start_session().project_id == "next"


def test_set_api_key_chooses_the_project_of_the_next_session() -> None:
    """A key that is set later applies from the next session on."""
    first = begun(api_key=KEY)
    first.end_session()
    localops.set_api_key("another")
    assert localops.start_session().project_id != first.project_id


# Traces, AgentOps' newer name for sessions


def test_a_trace_is_a_session() -> None:
    """start_trace begins one under a name, end_trace ends it, and a mapping of tags is metadata too."""
    trace = localops.start_trace("run", tags={"env": "test"})
    assert trace is not None
    assert (trace.name, trace.tags) == ("run", ["env:test"])
    assert localops.update_trace_metadata({"seed": 7}) is True
    localops.end_trace(trace)
    assert trace.end_state == "Success"


@pytest.mark.parametrize(("given", "state"), [("Error", "Failure"), ("Unset", "Indeterminate"), ("Success", "Success")])
def test_traces_end_as_agentops_says(given: str, state: str) -> None:
    """AgentOps' words for the end of a trace are understood; without a trace all of them end."""
    traces = [localops.start_trace(), localops.start_trace()]
    localops.end_trace(end_state=given)
    assert [trace.end_state for trace in traces] == [state, state]


# Other processes


def run(code: str, env: dict[str, str]) -> str:
    """Return the output of another Python process."""
    top = str(Path(localops.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code], env={**env, "PYTHONPATH": top}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_subprocess_joins_by_its_environment() -> None:
    """Given `session.env()`, init joins the session, inside the operation that started the process."""
    from localops.decorators import operation

    session = begun(project="p")

    @operation
    def delegate() -> str:
        return run(
            "import localops; s = localops.init(); s.record(localops.ToolEvent(name='far')); print(s.session_id)",
            session.env(),
        )

    assert delegate().split()[0] == str(session.session_id)
    events = {event["name"]: event for event in session.events}
    assert events["far"]["parent"] == events["delegate"]["id"]
    assert session.get_analytics()["Tool calls"] == 1


def test_a_session_is_found_in_another_project() -> None:
    """A process that joins by id alone finds the session in any project of the home, and its name."""
    import os

    session = begun(project="elsewhere", trace_name="the run")
    out = run(
        f"import localops; s = localops.init(inherited_session_id='{session.session_id}'); print(s.project_id, s.name)",
        dict(os.environ),
    )
    assert out.split("\n")[0] == "elsewhere the run"
    assert session.is_running


@pytest.mark.parametrize("given", ["job-7", "3b0f5c1e-9c57-4d0e-8f43-6f2f4f3d1a90"])
def test_an_unknown_session_is_begun_under_its_id(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An id of another machine, or any text, is joined; the same id twice is one session."""
    first = begun(inherited_session_id=given)
    first.record(ActionEvent())
    first.end_session("Success")
    again = begun(inherited_session_id=given)
    assert again.session_id == first.session_id
    assert again.get_analytics()["Actions"] == 1
    assert ("is not a UUID" in capsys.readouterr().err) == (given == "job-7")


def test_a_process_that_rejoins_an_ended_session_owns_it() -> None:
    """A session that is joined after its end belongs to the process that joined it."""
    first = begun()
    id = str(first.session_id)
    first.end_session("Success")
    assert begun(inherited_session_id=id).owned()


# Settings of the environment


def test_each_test_of_a_program_has_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session follows the environment at its start, as in the recipe, also the second time."""
    for name in ("first", "second"):
        monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / name))
        with localops.start_session(name=name) as session:
            localops.record(ActionEvent(action_type=name))
        assert session.get_analytics()["Actions"] == 1
        assert (tmp_path / name / "default" / "journal.db").exists()


@pytest.mark.parametrize("first", ["init", "configure", "nested"])
def test_the_environment_is_followed_whatever_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """After init(), after configure(), and after it changed while a session was open."""
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "before"))
    if first == "init":
        localops.init().end_session("Success")
    elif first == "configure":
        localops.configure(default_tags=["night"])
    with localops.start_session():
        monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "after"))
        with localops.start_session():
            pass
    with localops.start_session(name="later") as session:
        pass
    assert (tmp_path / "after" / "default" / "journal.db").exists()
    assert first != "configure" or session.tags == ["night"]


def test_the_environment_does_not_change_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a session is open, another one goes to the same home."""
    with localops.start_session() as first:
        monkeypatch.setenv("LOCALOPS_PROJECT", "elsewhere")
        with localops.start_session() as second:
            assert second.project_id == first.project_id


def test_help_explains_every_option() -> None:
    """The docstring of init explains each of its options."""
    text = str(localops.init.__doc__)
    options = [name for name in inspect.signature(localops.init).parameters if name != "others"]
    assert [name for name in options if not re.search(rf"\b{name}\b", text)] == []
