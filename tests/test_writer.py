"""An event, an operation or a note becomes a row in one place, which uses neither the clock nor the journal."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from localops import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from localops.encoding import encode
from localops.encoding.pricing import Prices
from localops.journal import rows
from localops.recording import writer
from localops.recording.writer import NO_FIELDS, Writer

SESSION, ID, PARENT, AGENT = (bytes([number]) * 16 for number in (1, 2, 3, 4))
AT = 1_700_000_000_000_000_000


@pytest.fixture
def made(tmp_path: Path) -> Writer:
    """Return a writer for a session."""
    return Writer(SESSION, str(tmp_path), encode.Encoder(redactor=None), Prices)


def columns(row: rows.Row) -> dict[str, Any]:
    """Return a row by the names of its columns, its checksum looked at."""
    whole = rows.whole(row)
    assert rows.intact(whole)
    return dict(zip(rows.COLUMNS, whole, strict=True))


def test_a_plain_event_becomes_a_short_row(made: Writer) -> None:
    """It has the given time and place, and is the same each time."""
    event = ActionEvent(action_type="step", params={"n": 1})
    row = made.event(event, ID, AT, PARENT, AGENT)
    assert row == made.event(event, ID, AT, PARENT, AGENT)
    assert len(row) == len(rows.PLAIN)
    values = columns(row)
    assert (values["id"], values["session"], values["at_ns"]) == (ID, SESSION, AT)
    assert (values["kind"], values["name"], values["parent"], values["agent"]) == ("action", "step", PARENT, AGENT)
    assert encode.loads(values["body"]) == {"params": {"n": 1}}


@pytest.mark.parametrize(
    ("event", "column", "value"),
    [
        (ActionEvent(tags=["b", "b", "a"]), "tags", '["b","a"]'),
        (ActionEvent(end_timestamp=2), "end_ns", 2_000_000_000),
        (
            ActionEvent(agent_id="01980000-0000-7000-8000-000000000000"),
            "agent",
            b"\x01\x98\0\0\0\0\x70\0\x80" + bytes(7),
        ),
        (Event("llms"), "cost", 0),
        (Event("tags"), "kind", "user:tags"),
    ],
)
def test_fields_of_an_event_are_in_its_columns(made: Writer, event: Event, column: str, value: object) -> None:
    """A parent or agent of the event itself counts more than the place in which it was recorded."""
    assert columns(made.event(event, ID, AT, PARENT, AGENT))[column] == value


def test_a_call_has_its_tokens_and_cost(made: Writer) -> None:
    """A given cost is kept, and an invalid figure is kept in the body."""
    call = LLMEvent(model="m", prompt_tokens=3, completion_tokens="many", cost=0.5)  # type: ignore[arg-type]
    row = made.measured_event(call, ID, AT, None, None, None, {"given_id": "x"})
    values = columns(row)
    assert (values["model"], values["tokens_in"], values["tokens_out"], values["cost"]) == ("m", 3, None, 500_000_000)
    assert encode.loads(values["body"]) == {"given_completion_tokens": "many", "given_id": "x"}
    assert not writer.is_unpriced(row)


@pytest.mark.parametrize(("unbilled", "cost"), [(True, 0), (False, None)])
def test_a_call_that_was_not_billed_costs_nothing(made: Writer, unbilled: bool, cost: int | None) -> None:
    """Its cost is known; that of another call without a price is not."""
    row = made.measured_event(LLMEvent(model="unknown"), ID, AT, None, None, 1, NO_FIELDS, unbilled=unbilled)
    assert (columns(row)["cost"], columns(row)["failed"], writer.is_unpriced(row)) == (cost, 1, not unbilled)
    assert (columns(row)["body"] == '{"billed":false}') == unbilled


def test_an_error_is_linked_to_its_trigger(made: Writer) -> None:
    """The row of an error names the event that it happened in; without one it is in the place where it was recorded."""
    tool = ToolEvent(name="search")
    values = columns(made.error(ErrorEvent(trigger_event=tool, error_type="E"), ID, AT, PARENT, None, 1, NO_FIELDS))
    assert (values["kind"], values["name"], values["parent"], values["failed"]) == ("error", "E", tool.id.bytes, 1)
    assert encode.loads(values["body"])["trigger"] == {"id": str(tool.id), "kind": "tool", "name": "search"}
    for unnamed, name in ((ToolEvent(), ""), (ToolEvent("search"), "search"), (ActionEvent(), None)):
        row = columns(made.error(ErrorEvent(trigger_event=unnamed, error_type="E"), ID, AT, PARENT, None, 1, NO_FIELDS))
        assert encode.loads(row["body"])["trigger"]["name"] == name
    alone = ErrorEvent(trigger_event="none", error_type="E")  # type: ignore[arg-type]
    assert columns(made.error(alone, ID, AT, PARENT, None, None, NO_FIELDS))["parent"] == PARENT


def test_an_operation_is_two_rows(made: Writer) -> None:
    """The second has the id of the first, begins when that was written, and repeats nothing of its body."""
    head = (ID, "tool", "search", PARENT, AGENT, AT)
    opening = columns(made.opening(head, {"params": {"q": 1}}))
    closing = columns(made.closing(head, AT + 5, {"returns": 2}, 0.25, '["slow"]', failed=True))
    same = ("id", "session", "kind", "name", "parent", "agent")
    assert [opening[name] for name in same] == [closing[name] for name in same]
    assert (opening["phase"], opening["at_ns"], opening["start_ns"]) == (rows.OPEN, AT, None)
    assert (closing["phase"], closing["at_ns"], closing["start_ns"]) == (rows.DONE, AT + 5, AT)
    assert (closing["cost"], closing["failed"], closing["tags"]) == (250_000_000, 1, '["slow"]')
    assert (opening["body"], closing["body"]) == ('{"params":{"q":1}}', '{"returns":2}')
    error = columns(made.operation_error(head, ErrorEvent(exception=KeyError("k")), SESSION, AT + 6))
    assert (error["parent"], error["name"], encode.loads(error["body"])["trigger"]["name"]) == (
        ID,
        "KeyError",
        "search",
    )


def test_a_program_may_call_its_agents_alike_in_every_session(made: Writer, tmp_path: Path) -> None:
    """A name becomes a different id in each session, and always the same one in a session."""
    other = Writer(PARENT, str(tmp_path), encode.Encoder(redactor=None), Prices)
    assert made.agent_id("planner") == made.agent_id("planner") != other.agent_id("planner")
    row = columns(made.agent("Planner", ID, AT, "planner"))
    assert (row["kind"], row["name"], row["body"]) == ("agent", "Planner", '{"agent_id":"planner"}')


def test_the_writer_uses_neither_clock_nor_journal() -> None:
    """The row of an event depends only on the writer's arguments."""
    tree = ast.parse(inspect.getsource(writer))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {f"{node.module}.{alias.name}".removeprefix("localops.") for node in imports for alias in node.names}
    assert "journal.rows" in modules
    assert not [
        name for name in modules if name.startswith(("clock", "journal.journal", "recording.context", "time", "os."))
    ]
