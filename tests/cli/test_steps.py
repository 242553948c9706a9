"""`localops steps`: the list, its JSON, the same over HTTP, and the section of `localops why`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.decorators import tool
from localops.upkeep.scrub import scrub
from tests.cli.conftest import Command
from tests.server.uis import RealPages


@pytest.fixture
def recorded() -> str:
    """Record a session with a step in each state, and return its id."""

    @tool(once=True)
    def act(what: str) -> Any:
        if what == "refused":
            raise ConnectionError
        if what == "stopped":
            raise KeyboardInterrupt
        return {"password": "hunter2!x"} if what == "secret" else what

    session = localops.start_session(name="steps")
    act("a")
    act("a")
    act("secret")
    for what, kind in (("refused", ConnectionError), ("stopped", KeyboardInterrupt)):
        with pytest.raises(kind):
            act(what)
    session.end_session("Failure")
    return str(session.session_id)


def test_each_step_is_listed_with_what_a_resume_would_do(recorded: str, command: Command) -> None:
    """A line each, in the order they began, and how many are in which state."""
    code, out, err = command("steps")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("act")]
    assert [line.split()[0] for line in lines] == ["act"] * 5
    for line, words in zip(
        lines,
        ["returns its recorded result", "(no. 2)", "raises Uncertain", "runs again", "raises Uncertain"],
        strict=True,
    ):
        assert words in line
    last = out.splitlines()[-1]
    assert last.startswith("3 done, 1 uncertain, 1 failed; the results of 1 that are done cannot be restored: ")
    assert command("steps", recorded[:13])[1] == out
    assert "3 more are not listed" in command("steps", "--limit", "2")[1]


def test_the_document_has_the_facts_of_each(recorded: str, as_json: Callable[..., dict[str, Any]]) -> None:
    """Its state, what would become of it, and when and where it was tried."""
    document = as_json("steps", recorded)
    states = {"done": 3, "uncertain": 1, "failed": 1, "running": 0, "not_kept": 1, "refused": 0}
    zero = "uncertain_run uncertain_not_called done_not_called done_behind uncertain_behind failed_behind not_kept_run"
    reached = {"done_given": 2, "not_kept_asked": 1, **dict.fromkeys(zero.split(), 0)}
    assert document["counts"] == {"resumable": True, **states, **reached}
    steps = document["steps"]
    assert [one["on_resume"] for one in steps] == ["give back", "give back", "ask", "run", "ask"]
    assert [one["number"] for one in steps] == [1, 2, 1, 1, 1]
    assert steps[0]["input"] == '{"what":"a"}'
    assert steps[0]["process"]["pid"]
    assert steps[2]["why"] == "it holds a secret, which is not kept"
    assert steps[4]["ended_by"] == "KeyboardInterrupt"


def test_what_a_resume_would_do_is_what_it_does(command: Command, as_json: Callable[..., dict[str, Any]]) -> None:
    """An idempotent step runs again, a step inside one whose result is returned is not called, and a key is shown."""
    ran: list[str] = []

    @tool(once=True, idempotent=True)
    def put(what: str) -> None:
        ran.append(what)
        if len(ran) == 1:
            raise KeyboardInterrupt

    @tool(once=True)
    def inner(what: str) -> None:
        raise KeyboardInterrupt

    @tool(once=True, key=lambda client, order: [order, "mail"])
    def outer(client: object, order: str) -> str:
        with pytest.raises(KeyboardInterrupt):
            inner(order)
        return "sent"

    session = localops.start_session(name="forecast")
    with pytest.raises(KeyboardInterrupt):
        put("x")
    outer(object(), "m1")
    session.end_session("Failure")
    id = str(session.session_id)
    steps = {one["name"]: one for one in as_json("steps", id)["steps"]}
    assert {name: one["on_resume"] for name, one in steps.items()} == {
        "put": "run", "outer": "give back", "inner": "not called"
    }  # fmt: skip
    assert (steps["outer"]["key"], steps["put"]["key"]) == ('["m1","mail"]', None)
    out = command("steps", id)[1]
    assert 'key=["m1","mail"]' in out
    assert "object at" not in out
    why = command("why", id)[1]
    assert "1 step is uncertain, and would run again: idempotent=True allows that." in why
    assert "1 step is uncertain, and would not be called: the step around it returns its recorded result." in why
    assert "raises Uncertain" not in why
    localops.resume(id)
    put("x")
    assert outer(object(), "m1") == "sent"
    assert ran == ["x", "x"]


def test_the_pages_read_the_same(recorded: str, as_json: Callable[..., dict[str, Any]]) -> None:
    """`GET /api/1/sessions/<id>/steps` has the keys and values of `--json`."""
    document = as_json("steps", recorded)
    with RealPages(Path(os.environ["LOCALOPS_HOME"])) as pages:
        read = pages.get(f"/api/1/sessions/{recorded}/steps").json
        assert pages.get(f"/api/1/sessions/{recorded}/steps?limit=2").json["more"] == 3
        assert pages.get(f"/api/1/sessions/{uuid.uuid4()}/steps").status == 404
    for key in ("session_id", "name", "state", "counts", "steps", "more"):
        assert read[key] == document[key]


def test_a_result_whose_file_is_gone_is_not_promised(command: Command, tmp_path: Path) -> None:
    """In a copy without blobs, such as one from an export as JSON lines."""

    @tool(once=True)
    def load() -> str:
        return "y" * (1 << 21)

    @tool(once=True, idempotent=True)
    def load_again() -> str:
        return "y" * (1 << 21)

    session = localops.start_session()
    load()
    load_again()
    session.end_session("Success")
    assert "returns its recorded result" in command("steps")[1]
    [blob] = [path for path in tmp_path.rglob("blobs/*/*") if path.is_file()]
    blob.unlink()
    out = command("steps")[1]
    assert [word in out for word in ("raises Uncertain", "runs again")] == [True, True]
    assert "cannot be restored: the file with a large part of its result is not here" in out
    promised = "1 step is done, but what it returned cannot be restored: it"
    page = command("why")[1]
    assert f"{promised} runs again, as idempotent=True allows." in page
    assert f"{promised} raises Uncertain, unless the program decides." in page
    localops.resume(session.session_id)
    with pytest.raises(localops.Uncertain, match="the file with a large part of its result is not here"):
        load()


def test_why_sums_them_up(recorded: str, command: Command) -> None:
    """Its last section but one says what a resume would do."""
    out = command("why")[1]
    section = out[out.index("If it is resumed") :].splitlines()
    assert section[1:5] == [
        "  2 steps are done: the recorded results are returned.",
        "  1 step is done, but what it returned cannot be restored: it raises Uncertain, unless the program decides.",
        "  1 step is uncertain: it raises Uncertain, unless the program decides.",
        "  1 step failed, and would run again.",
    ]
    assert recorded


def test_a_session_without_steps_has_none(command: Command, as_json: Callable[..., dict[str, Any]]) -> None:
    """The command says so, and `why` has no section about steps."""
    localops.start_session().end_session("Success")
    assert "no steps with once=True" in command("steps")[1]
    assert as_json("steps")["steps"] == []
    assert "If it is resumed" not in command("why")[1]


def test_steps_whose_arguments_were_scrubbed_may_be_refused(command: Command, tmp_path: Path) -> None:
    """If the rule is in the settings, the call raises StepError and does not run: the list says so in advance."""
    made: list[str] = []

    @tool(once=True)
    def pay(card: str) -> int:
        made.append(card)
        return len(made)

    began = localops.init()
    assert [pay("PINE-1234"), pay("[redacted:x]")] == [1, 2]
    began.end_session("Failure")
    localops.api.client().close()
    (tmp_path / "home" / "config.toml").write_text("redact = ['PINE-\\d+']\n")
    assert scrub(str(tmp_path / "home"), "default").rows == 1
    code, out, err = command("steps")
    assert (code, err) == (0, "")
    scrubbed, other = [line for line in out.splitlines() if line.startswith("pay")]
    assert "returns its recorded result, or StepError" in scrubbed
    assert "StepError" not in other
    assert "arguments of 1: where the rules of the resumed program find it" in out
    localops.init(auto_start_session=False)  # reads the settings again
    resumed = localops.resume(began.session_id)
    assert [step["scrubbed"] for step in resumed.steps] == [True, False]
    with pytest.raises(localops.StepError):
        pay("PINE-1234")
    resumed.end_session("Failure")
    localops.api.client().close()
    (tmp_path / "home" / "config.toml").unlink()
    localops.init(auto_start_session=False)
    localops.resume(began.session_id)
    assert [pay("PINE-1234"), len(made)] == [1, 2]


def test_steps_recorded_without_rules_are_foreseen(command: Command, as_json: Callable[..., dict[str, Any]]) -> None:
    """With `redact=False`, arguments contain what the rules of a resumed run detect; a key avoids that."""
    made: list[str] = []

    def pay(card: str) -> int:
        made.append(card)
        return len(made)

    plain = tool(once=True)(pay)
    keyed = tool(once=True, key=lambda card: card[:4], name="keyed")(pay)
    session = localops.init(redact=False)
    assert [plain("password=hunter2!x"), plain("gold"), keyed("VISA password=hunter2!x")] == [1, 2, 3]
    session.end_session("Failure")
    localops.api.client().close()
    document = as_json("steps")
    assert [one["on_resume"] for one in document["steps"]] == ["refuse", "give back", "give back"]
    assert document["counts"]["refused"] == as_json("why")["steps"]["refused"] == 1
    out = command("steps")[1]
    assert ("raises StepError" in out, "The arguments of 1 step hold a secret" in out) == (True, True)
    assert "1 of them has a secret in the arguments" in command("why")[1]
    localops.init(auto_start_session=False, redact=True)
    resumed = localops.resume(session.session_id)
    assert [one["on_resume"] for one in resumed.steps] == ["refuse", "give back", "give back"]
    with pytest.raises(localops.StepError):
        plain("password=hunter2!x")
    assert [plain("gold"), keyed("VISA password=hunter2!x"), len(made)] == [2, 3, 3]
    resumed.end_session("Failure")
    localops.api.client().close()
    localops.init(auto_start_session=False, redact=False)
    resumed = localops.resume(session.session_id)
    assert [one["on_resume"] for one in resumed.steps] == ["give back"] * 3
    assert plain("password=hunter2!x") == 1


def test_steps_inside_of_one_that_raises_are_not_reached(
    command: Command, as_json: Callable[..., dict[str, Any]]
) -> None:
    """They return their recorded results, or raise, only if the program runs the step around them again."""
    ran: list[str] = []

    @tool(once=True)
    def inner(what: str) -> str:
        ran.append(what)
        if ran == ["a", "b"]:
            raise KeyboardInterrupt
        return what

    @tool(once=True)
    def outer() -> list[str]:
        return [inner("a"), inner("b")]

    session = localops.start_session(name="nested")
    with pytest.raises(KeyboardInterrupt):
        outer()
    session.end_session("Failure")
    id = str(session.session_id)
    steps = as_json("steps", id)["steps"]
    assert [(one["name"], one["on_resume"], one["behind"]) for one in steps] == [
        ("outer", "ask", False), ("inner", "give back", True), ("inner", "ask", True)
    ]  # fmt: skip
    out = command("steps", id)[1]
    assert "returns its recorded result, if it is reached" in out
    assert "\nA step is not reached if it is inside a step that raises, unless " in out
    why = command("why", id)[1]
    assert "1 step is uncertain: it raises Uncertain, unless the program decides." in why
    assert "Inside a step that raises: 1 done, 1 uncertain. They are reached only if " in why
    localops.resume(id)
    with pytest.raises(localops.Uncertain, match="outer"):
        outer()
    assert ran == ["a", "b"]
