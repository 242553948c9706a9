"""`localops import --otlp`: spans in files become sessions."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops.coding.importing import Report
from localops.coding.recording import Project
from localops.config import Config
from localops.journal import rows
from localops.otlp import documents
from localops.otlp.importing import take
from localops.reading.home import Home
from tests import programs, warm
from tests.examples import sized

_T0 = 1_700_000_000_000_000_000


def attribute(value: Any) -> dict[str, Any]:
    """Return a value as OTLP's JSON has it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [attribute(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": attribute(each)} for key, each in value.items()]}}
    return {"stringValue": value}


def span(
    trace: int, id: int, name: str, parent: int = 0, start: int = 0, took: int = 1_000, **more: Any
) -> dict[str, Any]:
    """Return a span of OTLP's JSON; `about` are its attributes."""
    about = more.pop("about", {})
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{id:016x}",
        **({"parentSpanId": f"{parent:016x}"} if parent else {}),
        "name": name,
        "startTimeUnixNano": str(_T0 + start),
        "endTimeUnixNano": str(_T0 + start + took),
        "attributes": [{"key": key, "value": attribute(value)} for key, value in about.items()],
        **more,
    }


def request(*spans: dict[str, Any], scope: str = "openinference.instrumentation.openai") -> dict[str, Any]:
    """Return a request with these spans."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "harbour"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": list(spans)}]}]}


CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"how high is the tide?"}]}]',
    "gen_ai.response.id": "r-1",
}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "tides"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Pilot"}
RUN = [
    span(7, 3, "chat gpt-4o", parent=2, start=200, about=CALL),
    span(7, 4, "execute_tool tides", 2, start=1_500, took=10, about=TOOL, status={"code": 2, "message": "no tide"}),
    span(7, 2, "invoke_agent Pilot", parent=1, start=100, took=2_000, about=AGENT),
    span(7, 1, "a day at sea", took=5_000, status={"code": 1}),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for a file of OTLP JSON."""
    return tmp_path / "traces.jsonl"


def lines(*requests: Any) -> str:
    """Return requests, one a line."""
    return "".join(f"{json.dumps(each)}\n" for each in requests)


def import_file(path: Path) -> Report:
    """Import a file into the default project."""
    project = Project(Config())
    try:
        return take(project, str(path))
    finally:
        project.journal.close()


def sessions() -> list[Any]:
    """Return the sessions of the home, the oldest first."""
    with Home() as home:
        return [
            (listed.name, listed.state, listed.llms, listed.tools, listed.errors, listed.cost)
            for listed in home.sessions()
        ][::-1]


def stored() -> list[dict[str, Any]]:
    """Return the rows of work of the default project."""
    with programs.reader() as reader:
        every = reader.ask(f"select seq, {', '.join(rows.COLUMNS)} from event order by at_ns, seq")
    named = [dict(zip(("seq", *rows.COLUMNS), row, strict=True)) for row in every]
    return [row for row in named if row["kind"] not in rows.BOOKS]


def test_a_trace_becomes_a_session(file: Path) -> None:
    """Children stand before their parents in a file: each finds its place, its agent, its price and its error."""
    file.write_text(lines(request(*RUN)))
    report = import_file(file)
    assert report.problems == []
    assert sessions() == [("a day at sea", "Success", 1, 1, 1, 3_000_000)]
    work = {row["kind"]: row for row in stored()}
    agent, call, tool = work["agent"], work["llm"], work["tool"]
    assert call["parent"] == tool["parent"] == call["agent"] == tool["agent"] == agent["id"]
    assert agent["parent"] == work["operation"]["id"]
    assert (call["model"], call["tokens_in"], call["tokens_out"]) == ("gpt-4o", 1000, 50)
    assert json.loads(call["body"])["prompt"][0]["parts"][0]["content"] == "how high is the tide?"
    assert (tool["name"], tool["failed"], work["error"]["parent"]) == ("tides", 1, tool["id"])
    assert json.loads(work["error"]["body"])["details"] == "no tide"
    assert call["start_ns"] == _T0 + 200
    assert call["session"] == bytes.fromhex(f"{7:032x}")


def test_what_made_the_spans_is_kept(file: Path) -> None:
    """The resource at the start of the session, with the machine; library, kind and losses at each span."""
    whole = request(span(1, 1, "run", kind=2, traceState="a=b", droppedAttributesCount=3))
    group = whole["resourceSpans"][0]
    group["resource"]["attributes"] += [
        {"key": name, "value": {"stringValue": text}} for name, text in (("host.name", "pilot"), ("os.type", "linux"))
    ]
    group["scopeSpans"][0]["scope"] |= {"version": "1.2", "attributes": [{"key": "x", "value": {"intValue": "1"}}]}
    file.write_text(lines(whole))
    assert import_file(file).problems == []
    with programs.reader() as reader:
        [(tags, start)] = reader.ask("select tags, body from event where kind = 'session'")
    body = json.loads(start)
    assert (json.loads(tags), body["host"]) == (["service=harbour"], "pilot")
    assert body["resource"] == {"service.name": "harbour", "host.name": "pilot", "os.type": "linux"}
    assert body["host_env"] == {"OS": {"Hostname": "pilot", "OS": "linux"}}
    [row] = stored()
    kept = json.loads(row["body"])
    assert (kept["scope_version"], kept["scope_attributes"], kept["span_kind"]) == ("1.2", {"x": 1}, "server")
    assert (kept["trace_state"], kept["dropped_attributes"]) == ("a=b", 3)


def test_an_import_can_be_repeated_and_continued(file: Path) -> None:
    """A file that has not changed is not read; of one that has grown, only what is new is added."""
    file.write_text(lines(request(*RUN[:2])))
    assert import_file(file).rows > 0
    again = import_file(file)
    assert (again.rows, again.unchanged) == (0, 1)
    os.remove(os.path.join(programs.project(), "transcripts.json"))
    assert import_file(file).rows == 0
    file.write_text(lines(request(*RUN[:2]), request(*RUN[2:])))
    import_file(file)
    assert [row["kind"] for row in stored()].count("llm") == 1
    # Its root came later: the session has the name of the service.
    assert sessions() == [("harbour", "Success", 1, 1, 1, 3_000_000)]


def test_traces_with_one_session_id_are_one_session(file: Path) -> None:
    """By session.id, else by gen_ai.conversation.id, on whichever span of the trace it is."""
    file.write_text(
        lines(
            request(span(1, 2, "step", parent=1, about={"session.id": "s-1"}), span(1, 1, "first")),
            request(span(2, 1, "second", start=50, about={"session.id": "s-1"})),
            request(span(3, 1, "third", start=90, about={"gen_ai.conversation.id": "c-1"})),
            request(span(4, 1, "fourth", start=95, about={"gen_ai.conversation.id": "c-1"})),
            request(span(5, 1, "alone", start=99)),
        )
    )
    assert import_file(file).problems == []
    assert [name for name, *_ in sessions()] == ["first", "third", "alone"]


def test_a_trace_of_agentops_is_a_session(file: Path) -> None:
    """Its root says so, and how it ended."""
    about = {"agentops.span.kind": "session", "agentops.session.end_state": "Fail", "session.id": "another"}
    file.write_text(lines(request(span(9, 1, "run.session", about=about), scope="agentops")))
    import_file(file)
    [(name, state, *_)] = sessions()
    assert (name, state, stored()[0]["session"]) == ("run.session", "Failure", bytes.fromhex(f"{9:032x}"))


def test_a_call_that_was_traced_twice_counts_once(file: Path) -> None:
    """A framework's span around that of the client, and those of two instrumentors with one response."""
    inner = span(1, 2, "chat gpt-4o", parent=1, start=10, about=CALL)
    outer = span(1, 1, "ChatOpenAI", about={**CALL, "gen_ai.response.id": "r-2"}, took=5_000)
    beside = span(1, 3, "chat gpt-4o", start=6_000, about={**CALL, "gen_ai.response.id": "r-2"})
    file.write_text(lines(request(inner, outer), request(beside, scope="opentelemetry.instrumentation.openai_v2")))
    import_file(file)
    [(_, _, calls, *_, cost)] = sessions()
    assert (calls, cost) == (1, 3_000_000)


def test_calls_of_one_instrumentor_are_apart_though_their_ids_are_equal(file: Path) -> None:
    """A mock or a proxy gives each answer the same id; another instrumentor's record of each is its copy."""
    mine, others = (
        [span(1, 10 * by + n, "chat gpt-4o", start=2_000 * n, about=CALL) for n in (1, 2, 3)] for by in (1, 2)
    )
    file.write_text(lines(request(*mine), request(*others, scope="opentelemetry.instrumentation.openai_v2")))
    import_file(file)
    [(_, _, calls, *_, cost)] = sessions()
    assert (calls, cost) == (3, 9_000_000)
    assert sorted(row["kind"] for row in stored()) == ["llm"] * 3 + ["llm_copy"] * 3


def test_what_is_broken_is_named_and_the_rest_goes_in(file: Path) -> None:
    """Each line by its file and number; requests with other signals are no errors."""
    broken = span(1, 1, "no id") | {"spanId": "xyz"}
    early = span(1, 2, "no time") | {"startTimeUnixNano": "0"}
    text = lines(request(RUN[0])) + "{nonsense\n\n" + lines([7], "text", {"resourceLogs": []}, request(broken, early))
    file.write_text(text + lines(request(RUN[3]), [], {}) + '{"resourceSpans": [')
    report = import_file(file)
    expected = {2: "invalid line", 4: "invalid line", 5: "invalid line", 7: "invalid span"}
    expected |= {9: "invalid line", 10: "invalid line", 11: "not complete"}
    assert sorted({int(problem.split(":")[1]) for problem in report.problems}) == sorted(expected)
    assert all(problem.startswith(f"{file}:") for problem in report.problems)
    assert all(any(words in problem for problem in report.problems) for words in expected.values())
    assert sum("invalid span" in problem for problem in report.problems) == 2
    assert [row["kind"] for row in stored()] == ["llm", "operation"]


def test_a_long_line_is_a_line(file: Path) -> None:
    """One of more than a piece is read as others are: what is broken after it is named, and so is its own end."""
    long = lines(request(span(1, 1, "long", about={"big": "x" * (documents._PIECE + 1)})))
    file.write_text(long + "nonsense\n" + long[:-9])
    report = import_file(file)
    assert [row["name"] for row in stored()] == ["long"]
    assert report.problems == [
        f"{file}:2: invalid line: expected a JSON object with resourceSpans",
        f"{file}:3: the line is not complete, and is left out until it is",
    ]


@pytest.mark.parametrize("indent", [None, 1])
def test_one_document_is_read_as_well(file: Path, indent: int | None) -> None:
    """On one line or on many."""
    file.write_text(json.dumps(request(*RUN), indent=indent))
    assert import_file(file).problems == []
    assert sessions() == [("a day at sea", "Success", 1, 1, 1, 3_000_000)]


def test_a_document_that_ends_in_the_middle_gives_what_is_there(file: Path) -> None:
    """The import names the place where it is broken."""
    text = json.dumps(request(*RUN), indent=1)
    file.write_text(text[: text.index("a day at sea")])
    report = import_file(file)
    assert [row["kind"] for row in stored()] == ["llm", "tool", "error", "agent"]
    assert any("ends in the middle" in problem for problem in report.problems)


def test_the_command_says_what_it_did(file: Path) -> None:
    """Rows, sessions and problems, with exit code 3 where something is broken."""
    file.write_text(lines(request(*RUN)) + "nonsense\n")
    done = warm.localops("import", "--otlp", file)
    assert (done.returncode, done.stdout) == (3, "default  7 rows are new, of 1 session, from 1 file\n")
    assert f"{file}:2: invalid line" in done.stderr
    facts = json.loads(warm.localops("import", "--otlp", file, "--json").stdout)
    assert (facts["rows"], facts["sessions"], len(facts["problems"])) == (0, 0, 1)
    assert warm.localops("import", "--otlp").returncode == 2
    assert warm.localops("import", "--otlp", "--codex", file).returncode == 2
    assert warm.localops("import", "--otlp", file.parent / "none").returncode == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('{}[]"\\é', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('s{"\\', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    groups=st.lists(st.lists(st.lists(st.fixed_dictionaries({"name": _JSON}), max_size=3), max_size=2), max_size=3),
    other=_JSON,
    piece=st.integers(1, 40),
)
def test_the_parts_of_a_document_are_those_of_the_whole(groups: list[Any], other: Any, piece: int) -> None:
    """Wherever the pieces end in which it is read, and whatever is beside the spans."""
    scoped = [[{"scope": {"name": "s"}, "x": other, "spans": spans} for spans in scopes] for scopes in groups]
    whole = {"y": other, "resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": each} for each in scoped]}
    before, documents._PIECE = documents._PIECE, piece
    try:
        parts = list(documents._Parts(io.BytesIO(json.dumps(whole, indent=piece % 2 or None).encode())))
    finally:
        documents._PIECE = before
    spans = [json.loads(data) for what, data in parts if what == "span"]
    assert spans == [each for scopes in groups for spans in scopes for each in spans]
    assert [what for what, _ in parts].count("resource") == len(groups)


# Not ru_maxrss: a new program begins with the peak of the process that started it.
_MEASURE = """
import re, sys
from localops.coding.recording import Project
from localops.config import Config
from localops.otlp.importing import take
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
project = Project(Config())
before = peak()
report = take(project, sys.argv[1])
project.journal.close()
assert not report.problems, report.problems
print(report.rows, peak() - before)
"""


@pytest.mark.parametrize("as_lines", [True, False])
def test_a_large_file_is_not_held(file: Path, as_lines: bool) -> None:
    """A file needs less memory than it has bytes, also when it is one document on one line."""
    many, text = sized(110, 300), "x" * 400_000
    requests = [request(span(1, number, "step", parent=1, about={"big": text})) for number in range(2, many)]
    with open(file, "w") as out:
        if as_lines:
            out.writelines(f"{json.dumps(each)}\n" for each in requests)
        else:
            inner = ",".join(json.dumps(each["resourceSpans"][0]) for each in requests)
            out.write(f'{{"resourceSpans":[{inner}]}}')
    assert file.stat().st_size > 350_000 * many
    done = programs.run(_MEASURE, file, fresh=True)
    assert done.stderr == ""
    written, grown = map(int, done.stdout.split())
    assert written >= many - 2
    assert grown * 1024 < file.stat().st_size / 2


def test_what_localops_sent_comes_back_as_it_was(file: Path, tmp_path: Path) -> None:
    """Rows, ids, times and figures of a session that was sent as OTLP equal those that were recorded."""
    from localops.otlp import json_request
    from localops.otlp.semconv import GenAI
    from localops.otlp.translation import Translation
    from localops.transfer.bundle import Batch

    session = localops.init(tags=["tide"], trace_name="day")
    session.update_metadata({"team": "sea"})
    session.create_agent("Pilot")
    with session.operation("plan", kind="agent", params={"port": "Brest"}):
        localops.record(
            localops.LLMEvent(
                prompt="how high is the tide at Brest?",
                completion="4 m",
                model="gpt-4o",
                prompt_tokens=9,
                completion_tokens=3,
            )
        )
        localops.record(
            localops.ToolEvent(name="tides", params={"place": "Brest"}, returns=4.5, call_id="c1", tags=["x"])
        )
        localops.record(localops.ErrorEvent(exception=ValueError("no tide")))
    localops.end_session("Success", "all done")
    before = stored()
    with programs.reader() as reader:
        every = reader.ask(f"select seq, {', '.join(rows.COLUMNS)} from event order by seq")
        from localops.journal.stored import Stored

        batch = Batch("00", (), [Stored._make(row) for row in every], [(1, len(every))])
        groups = Translation(batch, reader, programs.project(), GenAI(), metadata_only=False).groups()
    file.write_bytes(json_request.as_json(groups) + b"\n")
    os.environ["LOCALOPS_HOME"] = str(tmp_path / "elsewhere")
    report = import_file(file)
    assert report.problems == []
    ended = {row["id"]: row for row in before if row["phase"] == rows.DONE}
    after = {row["id"]: row for row in stored()}
    assert after.keys() == ended.keys()
    for id, row in after.items():
        opened = next((one for one in before if one["id"] == id and one["phase"] == rows.OPEN), None)
        body = {**(json.loads(opened["body"] or "{}") if opened else {}), **json.loads(ended[id]["body"] or "{}")}
        assert json.loads(row["body"] or "{}") == body
        same = [name for name in rows.COLUMNS if name not in ("body", "sum")]
        assert {name: row[name] for name in same} == {name: ended[id][name] for name in same}
    with Home() as home:
        [listed] = home.sessions()
        assert (listed.name, listed.state) == ("day", "Success")
        story = listed.project.snapshot(listed.session).story
        assert (story.tags, story.metadata) == (["tide"], {"team": "sea"})
