"""Sessions in other people's formats: trajectories, training data, traces, tables, metrics, transcripts."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from hashlib import shake_128
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import localops
from localops import clock, dialects
from localops.dialects import tables
from localops.journal import rows
from localops.reading import analytics, facts
from localops.reading.export import Run
from localops.reading.home import Home
from tests import programs, recorded_runs
from tests.recorded_runs import HOSTILE, TOOLS, asked, llm, opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from localops.recording.session import Session


def exported(runs: Iterable[Run], name: str, **more: str) -> bytes:
    """Return sessions in a format."""
    file = io.BytesIO()
    dialects.write(name, runs, file, **more)
    return file.getvalue()


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    """Return sessions of all kinds."""
    recorded_runs.record_all()
    with opened() as every:
        yield every


def of(record: Callable[[Session], object], name: str) -> bytes:
    """Return one session, with what is recorded in it, in a format."""
    session = localops.start_session(name="one")
    assert session is not None
    record(session)
    session.end_session("Success")
    with opened() as every:
        return exported(every, name)


# Trajectories


def test_trajectories_are_valid(runs: list[Run]) -> None:
    """The models of the format take each of them: numbers of steps, references, which fields a step may have."""
    from atif import Trajectory  # here, as each process that collects the tests would load it

    lines = exported(runs, "atif").splitlines()
    trajectories = [Trajectory.model_validate_json(line) for line in lines]
    assert [one.session_id for one in trajectories] == [facts.full_id(run.id) for run in runs]
    assert all(one.schema_version == "ATIF-v1.8" and one.steps for one in trajectories)
    for one in trajectories:
        embedded = one.subagent_trajectories or []
        wanted = {
            reference.trajectory_id
            for each in [one, *embedded]
            for step in each.steps
            for result in (step.observation.results if step.observation else ())
            for reference in result.subagent_trajectory_ref or ()
        }
        assert wanted == {each.trajectory_id for each in embedded}


def test_trajectories_are_valid_for_harbor(runs: list[Run]) -> None:
    """The same by the models of Harbor itself, where that is installed: it needs a newer Python."""
    harbor = pytest.importorskip("harbor.models.trajectories")
    for line in exported(runs, "atif").splitlines():
        harbor.Trajectory.model_validate_json(line)


def test_figures_of_a_trajectory_are_those_of_its_session(runs: list[Run]) -> None:
    """Tokens and cost, added up over the steps of all agents, are those of the session."""
    for run, line in zip(runs, exported(runs, "atif").splitlines(), strict=True):
        whole = json.loads(line)
        every = [whole, *whole.get("subagent_trajectories", ())]
        metrics = [step["metrics"] for each in every for step in each["steps"] if "metrics" in step]
        for column, name in (("tokens_in", "prompt"), ("tokens_out", "completion"), ("tokens_cached", "cached")):
            assert sum(one.get(f"{name}_tokens", 0) for one in metrics) == getattr(run.totals, column)
            assert sum(each["final_metrics"][f"total_{name}_tokens"] for each in every) == getattr(run.totals, column)
        assert whole["final_metrics"]["total_cost_usd"] == run.totals.cost / 1e9
        tools = sum(len(step.get("tool_calls", ())) for each in every for step in each["steps"])
        assert tools >= run.totals.tools


def test_a_conversation_is_in_a_trajectory_once() -> None:
    """Each call repeats what was before it; the steps do not, and a result is with the call that asked for it."""
    whole = json.loads(of(lambda session: recorded_runs.chat(session, turns=3), "atif"))
    assert [(step["source"], step["message"]) for step in whole["steps"]] == [
        ("system", "You know the sea."),
        ("user", "How high is the tide at Brest?"),
        ("agent", ""),
        ("agent", ""),
        ("agent", "4.5 m"),
    ]
    assert whole["agent"]["tool_definitions"] == TOOLS
    for number, step in enumerate(whole["steps"][2:4]):
        [call], [result] = step["tool_calls"], step["observation"]["results"]
        assert (call["tool_call_id"], call["function_name"]) == (f"c{number}", "tides")
        assert call["arguments"] == {"place": f"Brest {number}"}
        assert result == {"source_call_id": f"c{number}", "content": '{"metres":4.5}'}
        assert call["extra"]["kind"] == "tool"


def test_agents_have_trajectories_of_their_own() -> None:
    """Two agents: each has its steps, and the session's trajectory refers to both."""

    def record(session: Session) -> None:
        for name in ("Pilot", "Diver"):
            with session.operation(name, kind="agent"):
                session.record(llm([{"role": "user", "content": f"go, {name}"}], "gone"))

    whole = json.loads(of(record, "atif"))
    embedded = {one["agent"]["name"]: one for one in whole["subagent_trajectories"]}
    assert embedded.keys() == {"Pilot", "Diver"}
    for name, one in embedded.items():
        assert [step["message"] for step in one["steps"]] == [f"go, {name}", "gone"]
    references = [step["observation"]["results"][0]["subagent_trajectory_ref"] for step in whole["steps"]]
    assert [one for [one] in references] == [{"trajectory_id": one["trajectory_id"]} for one in embedded.values()]


def test_an_agent_in_a_tool_call_is_in_its_result() -> None:
    """If a tool runs an agent, its result refers to the agent's trajectory."""

    def record(session: Session) -> None:
        with session.operation("Pilot", kind="agent"):
            session.record(llm([{"role": "user", "content": "dive"}], asked(1, "Brest")))
            with (
                session.operation("tides", kind="tool", params={"place": "Brest"}),
                session.operation("Diver", kind="agent"),
            ):
                session.record(llm([{"role": "user", "content": "down"}], "deep"))

    whole = json.loads(of(record, "atif"))
    embedded = {one["agent"]["name"]: one for one in whole["subagent_trajectories"]}
    [result] = embedded["Pilot"]["steps"][-1]["observation"]["results"]
    assert result["source_call_id"] == "c1"
    assert result["subagent_trajectory_ref"] == [{"trajectory_id": embedded["Diver"]["trajectory_id"]}]


def test_what_a_killed_run_was_at_is_in_its_trajectory(runs: list[Run]) -> None:
    """The tool in which it was killed has a call and no result."""
    [whole] = [json.loads(line) for line in exported(runs, "atif").splitlines() if b'"name":"killed"' in line]
    steps = whole["steps"]
    calls = [call for step in steps for call in step.get("tool_calls", ()) if call["function_name"] == "whistle"]
    assert [(call["arguments"], call["extra"]["finished"]) for call in calls] == [({"tune": "up"}, False)]
    assert "observation" not in steps[-1]
    assert whole["extra"]["state"] == "Indeterminate"


def _row(session: Session, kind: str, **columns: Any) -> None:
    at = clock.now_ns()
    id = columns.pop("id", None) or clock.new_id(at)
    body = columns.pop("body", None)
    row = rows.make(kind, session.recorder.session, id=id, at_ns=at, body=body and json.dumps(body), **columns)
    assert session.recorder.journal.append(row)


def _unended(session: Session) -> None:
    """Record a call that never ends between two that do, with an agent that worked in it, and a decision about it."""
    cat = clock.new_id()
    _row(session, "agent", id=cat, phase=rows.OPEN, name="cat")
    _row(session, "tool", name="sleep", agent=cat, parent=cat)
    _row(session, "agent", id=cat, name="cat")
    session.record(localops.ToolEvent(name="first"))
    dig, workflow = clock.new_id(), clock.new_id()
    _row(session, "workflow", id=workflow, phase=rows.OPEN, name="around")
    _row(session, "tool", id=dig, phase=rows.OPEN, name="dig", parent=workflow, body={"params": {"deep": 3}})
    mole, began = clock.new_id(), clock.now_ns()
    _row(session, "agent", id=mole, phase=rows.OPEN, name="mole", parent=dig)
    _row(session, "tool", name="scratch", agent=mole, parent=mole)
    _row(session, "agent", id=mole, name="mole", parent=dig, start_ns=began)
    _row(session, "resolution", name="dig", parent=dig, body={"once": {"args": "x", "n": 1}, "returns": {"worms": 2}})
    session.record(localops.ToolEvent(name="last"))


def test_a_call_that_never_ended_is_where_it_began() -> None:
    """In trajectories and transcripts; the agent that worked in it belongs to it all the same."""
    [whole] = map(json.loads, of(_unended, "atif").splitlines())
    calls = [call for step in whole["steps"] for call in step.get("tool_calls", ())]
    assert [call["function_name"] for call in calls] == ["first", "dig", "last"]
    assert [call["extra"].get("finished", True) for call in calls] == [True, False, True]
    [embedded] = [each for each in whole["subagent_trajectories"] if each["agent"]["name"] == "mole"]
    [step] = [step for step in whole["steps"] if step.get("tool_calls", [{}])[0].get("function_name") == "dig"]
    [result] = step["observation"]["results"]
    assert result["subagent_trajectory_ref"] == [{"trajectory_id": embedded["trajectory_id"]}]
    assert "content" not in result
    text = of(_unended, "md").decode()
    assert [text.index(f"`{name}`") for name in ("first", "dig", "scratch", "last")] == sorted(
        text.index(f"`{name}`") for name in ("first", "dig", "scratch", "last")
    )


def test_a_decision_about_a_step_is_no_call() -> None:
    """A result that a program decided on is a remark, as nothing was called."""
    from atif import Trajectory

    [whole] = map(json.loads, of(_unended, "atif").splitlines())
    remarks = [step for step in whole["steps"] if step.get("extra", {}).get("kind") == "resolution"]
    assert [(step["source"], step["message"]) for step in remarks] == [
        ("system", 'dig: the program decided that it gave {"worms":2}')
    ]
    assert "tool_calls" not in remarks[0]
    Trajectory.model_validate(whole)


# Training data


def test_calls_without_results_are_left_out_of_training_data() -> None:
    """A killed program that was resumed may have sent such: trainers refuse them, but for those of the last answer."""

    def record(session: Session) -> None:
        question = {"role": "user", "content": "Brest?"}
        two = asked(1, "a")
        two["tool_calls"] += asked(2, "b")["tool_calls"]
        result = {"role": "tool", "tool_call_id": two["tool_calls"][1]["id"], "content": "2 m"}
        late = {"role": "tool", "tool_call_id": "of no call", "content": "9 m"}
        alone = {**asked(3, "c"), "content": None}
        prompt = [question, two, result, late, question, alone, question]
        session.record(llm(prompt, asked(4, "d")))

    [line] = map(json.loads, of(record, "sft").splitlines())
    assert [message["role"] for message in line["messages"]] == [
        "user",
        "assistant",
        "tool",
        "user",
        "user",
        "assistant",
    ]
    calls = [call["id"] for message in line["messages"] for call in message.get("tool_calls", ())]
    assert calls == [asked(2, "b")["tool_calls"][0]["id"], asked(4, "d")["tool_calls"][0]["id"]]
    assert line["messages"][2]["tool_call_id"] == calls[0]


def test_a_conversation_is_one_line_of_training_data() -> None:
    """Only the longest form of a conversation is written, with its tools; each tool call has its result."""
    lines = of(lambda session: recorded_runs.chat(session, turns=4), "sft").splitlines()
    [line] = map(json.loads, lines)
    roles = [message["role"] for message in line["messages"]]
    assert roles == ["system", "user", *["assistant", "tool"] * 3, "assistant"]
    assert line["tools"] == TOOLS
    assert line["messages"][2]["tool_calls"] == asked(0, "Brest 0")["tool_calls"]
    assert line["messages"][-1] == {"role": "assistant", "content": "4.5 m"}


def test_a_conversation_that_branched_has_a_line_for_each_end() -> None:
    """Two answers to one question are two conversations; the same one recorded twice is one."""

    def record(session: Session) -> None:
        question = [{"role": "user", "content": "where to?"}]
        for answer in ("north", "south", "north"):
            session.record(llm(question, answer))
        session.record(llm([*question, {"role": "assistant", "content": "south "}, *question], "south, still"))

    lines = [json.loads(line) for line in of(record, "sft").splitlines()]
    assert [[message["content"] for message in line["messages"]] for line in lines] == [
        ["where to?", "north"],
        ["where to?", "south ", "where to?", "south, still"],
    ]


def test_training_data_is_in_openais_form(runs: list[Run]) -> None:
    """Whatever the vendor: roles, text, calls with ids and arguments as text, results that name an earlier call."""
    lines = [json.loads(line) for line in exported(runs, "sft").splitlines()]
    assert len(lines) == 6
    for line in lines:
        calls: set[str] = set()
        assert line.keys() <= {"messages", "tools"}
        assert line["messages"][-1]["role"] == "assistant"
        for message in line["messages"]:
            assert message["role"] in ("system", "user", "assistant", "tool")
            assert message.get("content") is not None or message["tool_calls"]
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
                calls.add(call["id"])
            assert message["role"] != "tool" or message["tool_call_id"] in calls
    [thought] = [
        message["reasoning_content"] for line in lines for message in line["messages"] if "reasoning_content" in message
    ]
    assert thought == "Look it up."


def test_calls_that_failed_or_never_ended_teach_nothing(runs: list[Run]) -> None:
    """A killed run gives what was answered before, a call without an answer gives nothing."""
    by_name = {run.story.name: run for run in runs}
    [line, agent] = map(json.loads, exported([by_name["killed"]], "sft").splitlines())
    assert line["messages"][-1]["content"] == "4.5 m"
    assert agent["messages"][-1]["content"] == "any"
    assert exported([by_name["failures"], by_name["empty"]], "sft") == b""


def test_tool_calls_without_ids_get_some() -> None:
    """Gemini's calls have no ids: a result belongs to the oldest call that has none yet."""

    def record(session: Session) -> None:
        prompt = [
            {"role": "user", "parts": [{"text": "Brest?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "tides", "args": {"place": name}}} for name in "ab"]},
            {"role": "user", "parts": [{"functionResponse": {"name": "tides", "response": {"m": n}}} for n in (1, 2)]},
        ]
        session.record(llm(prompt, {"role": "model", "parts": [{"text": "2 m"}]}, model="gemini-2.5-pro"))

    [line] = map(json.loads, of(record, "sft").splitlines())
    results = [message for message in line["messages"] if message["role"] == "tool"]
    ids = [call["id"] for message in line["messages"] for call in message.get("tool_calls", ())]
    assert [message["tool_call_id"] for message in results] == ids == ["call_1", "call_2"]


# Traces


def _checked(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a trace; fail where one is against the rules of the Trace Event Format."""
    lanes = defaultdict(list)
    flows: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["name"], str)
        assert event["ph"] in "MXBisfC"
        if event["ph"] == "M":
            continue
        assert event["ts"] >= 0
        if event["ph"] in "XB":
            lanes[event["pid"], event["tid"]].append(event)
        elif event["ph"] in "sf":
            flows[event["pid"], event["id"]].append(event)
        elif event["ph"] == "i":
            assert event["s"] == "t"
    for events in lanes.values():
        _check_nesting(events)
    for begin, end in flows.values():
        assert (begin["ph"], end["ph"], end["bp"], begin["ts"]) == ("s", "f", "e", end["ts"])
        around = lanes[begin["pid"], begin["tid"]]
        assert any(one["ts"] <= begin["ts"] <= one["ts"] + one.get("dur", 1e18) for one in around)
    every: list[dict[str, Any]] = trace["traceEvents"]
    return every


def _check_nesting(events: list[dict[str, Any]]) -> None:
    """Fail where an event of a lane ends after the one that it began in."""
    ends: list[float] = []
    for event in sorted(events, key=lambda event: (event["ts"], -event.get("dur", 1e18))):
        end = event["ts"] + event.get("dur", 1e18)
        while ends and ends[-1] <= event["ts"] + 0.001:
            ends.pop()
        assert not ends or end <= ends[-1] + 0.001
        ends.append(end)


def test_a_trace_follows_the_rules_of_its_format(runs: list[Run]) -> None:
    """Events of a lane lie in one another, arrows begin in an event, and each session is a process with a name."""
    events = _checked(json.loads(exported(runs, "perfetto")))
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert [name.rsplit(" ", 1)[0] for name in names] == [run.story.name for run in runs]
    shown = [event for event in events if event["ph"] in "XBi"]
    recorded = [event for run in runs for event in analytics.events(run.reader, run.id)]
    assert sorted(event["args"]["id"] for event in shown) == sorted(event["id"] for event in recorded)


def test_what_ran_together_has_lanes_of_its_own() -> None:
    """Three threads in one operation: two of them in lanes beside it, with arrows from it."""
    events = _checked(json.loads(of(recorded_runs._threads, "perfetto")))
    lanes = {event["name"]: event["tid"] for event in events if event["ph"] == "X" and "part" in event["name"]}
    assert len(set(lanes.values())) == 3
    assert len([event for event in events if event["ph"] == "s"]) == 2
    sonar = [event for event in events if event["ph"] in "Xi" and event["name"] == "sonar"]
    assert {event["tid"] for event in sonar} <= set(lanes.values())


def test_an_operation_without_an_end_has_none_in_the_trace(runs: list[Run]) -> None:
    """What a run was killed in begins and does not end; agents are lanes under their names."""
    events = _checked(json.loads(exported([run for run in runs if run.story.name == "killed"], "perfetto")))
    [begun] = [event for event in events if event["ph"] == "B"]
    assert begun["name"] == "whistle"
    assert not [event for event in events if event["ph"] == "E"]
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert lanes[begun["tid"]] == "Boatswain"


# Tables


def _rows(data: bytes) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


def test_parquet_has_typed_columns_and_every_figure(runs: list[Run]) -> None:
    """Both tables agree with the totals of the sessions."""
    events, sessions = _rows(exported(runs, "parquet")), _rows(exported(runs, "parquet", table="sessions"))
    assert [one["session"] for one in sessions] == [facts.full_id(run.id) for run in runs]
    for run, one in zip(runs, sessions, strict=True):
        own = [event for event in events if event["session"] == one["session"]]
        assert one["cost_nano"] == run.totals.cost == sum(event["cost_nano"] or 0 for event in own)
        assert one["tokens_in"] == run.totals.tokens_in == sum(event["tokens_in"] or 0 for event in own)
        assert one["llms"] == len([event for event in own if event["kind"] == "llm" and event["finished"]])
        assert (one["state"], one["tags"]) == (run.standing.state, run.story.tags)
    [odd] = [event for event in events if event["kind"] == "guess"]
    assert json.loads(odd["returns"]) == [HOSTILE]
    assert odd["began"].timestamp() == pytest.approx(odd["began_ns"] / 1e9)


def test_a_home_without_pyarrow_is_pointed_to_the_extra(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(localops.errors.ConfigError, match=re.escape("pip install 'localops[parquet]'")):
        exported(runs, "parquet")


def test_each_table_has_the_columns_that_it_names(runs: list[Run]) -> None:
    """A column is never silently empty: each of them has a value in some session."""
    for table, columns in tables.COLUMNS.items():
        rows = _rows(exported(runs, "parquet", table=table))
        assert list(rows[0]) == list(columns)
        empty = {name for name in columns if all(row[name] is None for row in rows)}
        # No session of these has a score: `test_a_transcript_and_a_table_have_scores_and_notes` has some.
        assert empty <= {"scores", "notes"}


# Metrics


def test_metrics_are_those_of_the_chosen_sessions(runs: list[Run]) -> None:
    """A strict parser takes them, and their sums are those of the sessions that were chosen."""
    chosen = runs[:3]
    exposition = exported(chosen, "openmetrics").decode()
    families = {one.name: one for one in text_string_to_metric_families(exposition)}  # type: ignore[no-untyped-call]
    assert sum(sample.value for sample in families["localops_sessions"].samples) == 3
    [cost] = families["localops_cost_dollars"].samples
    assert cost.value == pytest.approx(sum(run.totals.cost for run in chosen) / 1e9)
    by_model = {sample.labels["model"]: sample.value for sample in families["localops_model_calls"].samples}
    assert sum(by_model.values()) == sum(run.totals.llms for run in chosen)


# Transcripts


def test_a_transcript_has_everything_once_and_no_markup_of_others(runs: list[Run]) -> None:
    """Recorded text is in code blocks whose fences it cannot end; the conversation is not repeated."""
    text = exported(runs, "md").decode()
    outside, fence = [], ""
    for line in text.splitlines():
        if fence:
            fence = "" if line == fence else fence
        elif re.match("`{3,}", line):
            fence = line.rstrip("abcdefghijklmnopqrstuvwxyz")
        else:
            outside.append(re.sub("(`+).*?\\1", "", line))
    assert not fence
    assert not [line for line in outside if re.search("<[a-zA-Z/!]", line) or "onerror" in line or "\x1b" in line]
    assert len([line for line in outside if line.startswith("# ")]) == len(runs)
    chat = exported(runs[:1], "md").decode()
    assert chat.count("How high is the tide at Brest?") == 1
    assert "**never ended**" in exported(runs[-1:], "md").decode()


def test_a_transcript_and_a_table_have_scores_and_notes() -> None:
    """Scores that count, with their authors, and the events that they are about; notes."""
    session = localops.start_session()
    assert session is not None
    with session.operation("look up", kind="tool") as lookup:
        lookup.score("useful", True, version="2")
    session.score("correct", 0.2)
    session.score("correct", 0.8, by="ann", comment="one `date` is wrong")
    session.score("correct", 0.4)
    session.note("the customer called")
    session.end_session("Success")
    with opened() as runs:
        lines = exported(runs, "md").decode().splitlines()
        [table] = _rows(exported(runs, "parquet", table="sessions"))
    assert [line for line in lines if line.startswith(("- Score", "- Note"))] == [
        f"- Score `useful` of event `{lookup.id}`: `true` by `code` version `2`",
        "- Score `correct`: `0.8` by `ann`: ``one `date` is wrong``",
        "- Score `correct`: `0.4` by `code`",
        "- Note by `code`: `the customer called`",
    ]
    assert [one["value"] for one in json.loads(table["scores"])] == [True, 0.2, 0.8, 0.4]
    assert [one["text"] for one in json.loads(table["notes"])] == ["the customer called"]


# All of them


_PEAK = """
import io, sys, tracemalloc
from localops import dialects
from localops.dialects import spans, tables, trace_events
from localops.journal import stored
from tests.recorded_runs import opened
for read in (stored.of_session, stored.openings_first):
    read.__kwdefaults__["many"] = 125  # few enough for a test
trace_events._AT_ONCE = 125
spans._AT_ONCE = tables._AT_ONCE = 12
class Nowhere(io.RawIOBase):
    size = 0
    def writable(self): return True
    def write(self, data): self.size += len(data); return len(data)
with opened() as runs:
    small, large = runs
    for name in sys.argv[1:]:
        dialects.write(name, [small], Nowhere())  # loads what it needs
        peaks, sizes = [], []
        for run in (small, large):
            file = Nowhere()
            tracemalloc.start()
            dialects.write(name, [run], file)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            sizes.append(file.size)
        print(*peaks, *sizes)
"""


def test_a_long_session_is_never_held() -> None:
    """Four times as many events, each with a text of its own, need nearly the same memory in each format."""
    for many in (150, 600):
        session = localops.start_session(name=str(many))
        assert session is not None
        for number in range(many // 2):
            session.record(llm([{"role": "user", "content": shake_128(b"%d" % number).hexdigest(2_000)}], f"{number}"))
            session.record(localops.ToolEvent(name="tides", returns=shake_128(b"a %d" % number).hexdigest(2_000)))
        session.end_session("Success")
    names = ["jsonl", "csv", "md", "atif", "sft", "otlp", "perfetto", "parquet"]
    done = programs.run(_PEAK, *names, timeout=300)
    assert done.stderr == ""
    for name, line in zip(names, done.stdout.splitlines(), strict=True):
        small, large, small_size, large_size = map(int, line.split())
        assert large_size > 3.5 * small_size, name
        # Two pages of rows are held at a time, of which the small one fills little more than one; all rows take 3.4 MB.
        assert large < 1.3 * small + 1_000_000, name


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("Invoice photo: Ströb 731", "invoice-photo-strob-731-20"),
        ('../"a"\r\nb', "a-b-20"),
        ("潮", "localops-"),
    ],
)
def test_a_file_has_the_name_of_its_session(name: str, begin: str) -> None:
    """With its date, in characters that are safe everywhere; the id where no such name is left."""
    session = localops.start_session(name=name)
    assert session is not None
    session.end_session("Success")
    with Home() as home:
        project, id = home.find("last")
        run = Run(project.name, project.folder, project.reader, id)
        stem = dialects.stem_of(run)
    rest = stem.removeprefix(begin)
    assert rest == str(session.session_id) if begin == "localops-" else re.fullmatch(r"\d\d-\d\d-\d\d", rest)


def test_names_and_endings_lead_to_one_format() -> None:
    """An ending means the first format that has it, and each format can be named by a file."""
    for name, one in dialects.FORMATS.items():
        assert dialects.named_by(one.endings[-1]) == name or one.endings[-1] in (".json", ".jsonl", ".txt")
        assert Path(dialects.file_name("run", name)).suffix in one.endings
    assert dialects.named_by(".json") == "json"
    assert dialects.file_name("run", "atif") == "run.atif.json"
    assert dialects.named_by(".exe") is None
