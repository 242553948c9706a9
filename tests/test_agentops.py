"""`import agentops` under `localops run`: programs written for AgentOps, unchanged, with no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import localops
from localops import agentops

_TOP = Path(__file__).parent.parent
SHIM = _TOP / "localops" / "shim"

# The programs of AgentOps' two pages on sessions; what a page leaves out stands before it.
DOCUMENTS = {
    "automatic": """
        import agentops

        # Initialize with automatic session creation (default)
        agentops.init(api_key="YOUR_API_KEY", tags=["production"])
    """,
    "manual": """
        import agentops

        # Initialize without auto-starting a session
        agentops.init(api_key="YOUR_API_KEY", auto_start_session=False)

        # Later, manually start a session when needed
        agentops.start_session(tags=["customer-query", "high-priority"])
    """,
    "decorator": """
        analyze_data = str
        from agentops.sdk.decorators import session

        @session
        def process_customer_data(customer_id):
            # This entire function execution will be tracked as a session
            return analyze_data(customer_id)

        process_customer_data(7)
    """,
    "inherited": """
        import agentops
        session = agentops.init()
        # pass session.session_id to the other process
        retrieve_session_id = lambda: str(session.session_id)
        # -- other process --
        session_id = retrieve_session_id() # <-- your function
        agentops.init(inherited_session_id=session_id)
    """,
    "analytics": """
        from agentops import ActionEvent
        import agentops
        session = agentops.init()
        session.record(ActionEvent("llms"))
        session.record(ActionEvent("tools"))
        analytics = session.get_analytics()
        print(analytics)
        session.end_session("Success")
    """,
}


def _python(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{SHIM}:{_TOP}"}
    script = tmp_path / "program.py"
    script.write_text(dedent(code), encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_programs_of_the_documents_run_unchanged(name: str, tmp_path: Path) -> None:
    """Each program of AgentOps' pages on sessions runs unchanged, without a warning."""
    done = _python(DOCUMENTS[name], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "home").glob("*/journal.db"))


def test_the_documents_analytics_have_the_promised_keys(tmp_path: Path) -> None:
    """The page's own example counts its events, in the page's order and formats."""
    out = _python(DOCUMENTS["analytics"], tmp_path).stdout
    assert out.startswith("{'LLM calls': 1, 'Tool calls': 1, 'Actions': 0, 'Errors': 0, 'Duration': '0.")
    assert out.endswith("s', 'Cost': '0.00'}\n")


def test_every_name_of_agentops_answers(tmp_path: Path) -> None:
    """What its own examples, documents and tests import is there, without a word and without what is slow to load."""
    wanted = (_TOP / "tests" / "fixtures" / "agentops_names.txt").read_text(encoding="utf-8").split()
    done = _python(
        f"""
        import sys
        from importlib import import_module
        for line in {wanted!r}:
            module, _, name = line.partition(":")
            loaded = import_module(module)
            if name and not name.endswith("CallbackHandler"):
                assert hasattr(loaded, name), line
                exec(f"from {{module}} import {{name}}")
        print(sorted({{"langchain_core", "opentelemetry", "openai", "requests"}} & set(sys.modules)))
        import agentops
        print([name for name in {agentops.__all__!r} if not hasattr(agentops, name)])
        """,
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_no_module_of_agentops_takes_the_name_of_a_decorator(tmp_path: Path) -> None:
    """`agentops.session` is a module of 0.3 and a decorator of 0.4; as an attribute it is the decorator."""
    done = _python(
        """
        import agentops.session, agentops.semconv
        from agentops.session import Session
        import agentops
        @agentops.session
        def run(): return agentops.semconv.SpanAttributes.LLM_REQUEST_MODEL
        print(run(), Session.__name__, agentops.helpers.get_agentops_version() is not None)
        """,
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("gen_ai.request.model Session True\n", "")


def test_what_makes_no_sense_here_warns_once_and_does_nothing(tmp_path: Path) -> None:
    """A class to be used, to be a base and a decorator's function; importing it says nothing."""
    done = _python(
        """
        from agentops.partners.taskweaver_event_handler import TaskWeaverEventHandler
        from agentops.sdk.exporters import AuthenticatedOTLPExporter
        from agentops.llms.providers.openai import OpenAiProvider
        from agentops.logging import setup_print_logger
        class Own(AuthenticatedOTLPExporter):
            def export(self, spans): return len(spans)
        print(TaskWeaverEventHandler().handle_session("x", key=1), TaskWeaverEventHandler().flush())
        print(Own("http://nowhere").export([1]), Own("http://nowhere").shutdown())
        provider = OpenAiProvider("client")
        print(provider.override(), provider.handle_response("answer", {}), provider.client)
        print(setup_print_logger())
        """,
        tmp_path,
    )
    assert done.stdout == "None None\n1 None\nNone answer client\nNone\n"
    warned = [line.partition(" does nothing")[0] for line in done.stderr.splitlines()]
    assert warned == [
        "localops: agentops.partners.taskweaver_event_handler.TaskWeaverEventHandler",
        "localops: agentops.sdk.exporters.AuthenticatedOTLPExporter",
        "localops: agentops.llms.providers.openai.OpenAiProvider",
        "localops: agentops.logging.setup_print_logger",
    ]


def test_the_tracer_and_the_helpers_work(tmp_path: Path) -> None:
    """Traces are sessions, spans are operations; helpers answer as AgentOps' do."""
    done = _python(
        """
        import uuid
        from agentops import TraceState, tracer
        from agentops.helpers.serialization import filter_unjsonable, model_to_dict, safe_serialize
        from agentops.helpers import get_env_bool, get_host_env, get_ISO_time
        from agentops.sdk.core import TraceContext
        from agentops.sdk.decorators.factory import create_entity_decorator
        from agentops.semconv import SpanKind, ToolStatus
        from agentops.singleton import conditional_singleton
        from agentops.validation import check_llm_spans, get_trace_details
        trace = tracer.start_trace("by hand", tags=["a"])
        assert isinstance(trace, TraceContext) and tracer.get_active_trace_count() == 1
        span, _, token = tracer.make_span("outer", SpanKind.TASK, attributes={"a": 1})
        @create_entity_decorator(SpanKind.TOOL)
        def look_up(city): return city.upper()
        look_up("Brest")
        tracer.finalize_span(span, token)
        tool, task = trace.events
        assert (tool["kind"], task["kind"], tool["parent"]) == ("tool", "task", task["id"])
        assert task["attributes"] == {"a": 1}
        assert get_trace_details(trace.session_id.hex)["spans"][0]["span_name"] == "look_up"
        assert check_llm_spans([{"kind": "llm", "model": "gpt-4o"}]) == (True, ["gpt-4o"])
        tracer.end_trace(trace, TraceState.SUCCESS)
        assert trace.end_state == "Success"
        one = uuid.uuid4()
        assert filter_unjsonable({"a": [one, object(), {"b": (1,)}]}) == {"a": [str(one), "", {"b": (1,)}]}
        assert safe_serialize("{") == "{" and safe_serialize({"a": one, "b": {2}}) == f'{{"a": "{one}", "b": [2]}}'
        assert model_to_dict(None) == {} and ToolStatus.FAILED.value == "failed"
        assert get_env_bool("NOT_SET", True) and get_ISO_time().endswith("+00:00") and "SDK" in get_host_env(True)
        Once = conditional_singleton(list)
        assert Once() is Once() and Once(use_singleton=False) is not Once()
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_agentops_never_had_is_missed_as_usual(tmp_path: Path) -> None:
    """An unknown module raises the ImportError that a program may expect."""
    done = _python("import agentops.nothing_of_the_kind", tmp_path)
    assert "ModuleNotFoundError: No module named 'agentops.nothing_of_the_kind'" in done.stderr


def test_every_public_name_is_there() -> None:
    """`__all__` says what can be imported, sorted as everywhere."""
    assert all(hasattr(agentops, name) for name in agentops.__all__)
    ours_alone = {"BudgetExceeded", "Config", "LocalopsError", "Operation", "carry", "llm"}
    ours_alone |= {"Loop", "LoopDetected", "Score", "note", "score"}
    ours_alone |= {"NotResumable", "StepError", "Uncertain", "resume", "run_again"}
    assert set(localops.__all__) - ours_alone <= set(agentops.__all__)


def test_the_client_object_leads_to_the_one_client() -> None:
    """AgentOps' Client singleton answers from the sessions that are open."""
    client = agentops.get_client()
    client.add_default_tags(["nightly"])
    session = client.init()
    assert session is not None
    assert client.current_session_ids == [str(session.session_id)]
    assert (client.has_sessions, client.is_multi_session) == (True, False)
    assert session.tags == ["nightly"]
    client.end_session("Success")
    assert client.session_count == 0


@pytest.mark.parametrize(
    ("state", "end"),
    [(agentops.SUCCESS, "Success"), (agentops.ERROR, "Failure"), (agentops.UNSET, "Indeterminate")],
)
def test_a_trace_ends_in_the_given_state(state: agentops.TraceState, end: str) -> None:
    """AgentOps' three trace states are the three ways a session ends."""
    trace = agentops.start_trace("run", tags={"customer": 7})
    assert trace is not None
    agentops.end_trace(trace, state)
    assert trace.end_state == end


def test_validation_is_answered_from_the_journal() -> None:
    """A validation counts the journal's events; a program that records no call is not stopped by it."""
    session = agentops.init()
    assert session is not None
    empty = agentops.validate_trace_spans()
    assert (empty["validation_skipped"], empty["span_count"]) == (True, 0)
    assert empty["reason"] == "the session has 0 events, expected 1"
    agentops.record(agentops.ActionEvent(action_type="plan"))
    result = agentops.validate_trace_spans(trace_context=session)
    assert (result["validation_skipped"], result["has_llm_spans"], result["span_count"]) == (True, False, 1)
    assert "validation_skipped" not in agentops.validate_trace_spans(check_llm=False)
    agentops.record(agentops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=5))
    result = agentops.validate_trace_spans()
    assert (result["span_count"], result["llm_span_names"]) == (2, ["gpt-4o"])
    assert [span["span_name"] for span in result["spans"]] == ["plan", "llm"]
    assert (result["metrics"]["total_tokens"], result["metrics"]["LLM calls"]) == (15, 1)
    assert "validation_skipped" not in result


def test_a_session_that_has_ended_can_be_validated() -> None:
    """After its end a session is found: the newest of the process, by its context, and by its id in any process."""
    assert agentops.get_client().session_count == 0
    with pytest.raises(ValueError, match="No trace ID found"):
        agentops.validate_trace_spans()
    session = agentops.start_trace("run")
    assert session is not None
    agentops.record(agentops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=5))
    agentops.end_trace(session, "Success")
    results = [
        agentops.validate_trace_spans(),
        agentops.validate_trace_spans(trace_context=session),
        agentops.validate_trace_spans(session.session_id),
        agentops.validate_trace_spans(session.session_id.hex),
    ]
    localops.api._reset()
    results.append(agentops.validate_trace_spans(trace_id=str(session.session_id)))
    assert {result["trace_id"] for result in results} == {session.session_id.hex}
    assert {result["span_count"] for result in results} == {1}
    assert {result["metrics"]["total_cost"] for result in results} == {results[0]["metrics"]["Cost"]}


def test_a_strict_validation_is_an_error() -> None:
    """With strict=True what is missing is raised, as AgentOps does when it reaches its server."""
    agentops.init(strict=True)
    with pytest.raises(agentops.ValidationError, match="0 events"):
        agentops.validate_trace_spans()


@pytest.mark.parametrize("result", [{}, {"validation_skipped": True, "reason": "why"}, {"llm_span_names": None}])
def test_a_summary_is_written_of_anything(result: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    """AgentOps answers with fewer keys when it skips: the summary shows what is there."""
    agentops.print_validation_summary(result)
    out = capsys.readouterr().out
    assert "LLM calls  none" in out
    assert ("why" in out) == ("reason" in result)


def test_keywords_have_agentops_names() -> None:
    """Keywords that AgentOps documents are accepted."""
    client = agentops.get_client()
    agentops.set_parent_key(parent_key="p")
    agentops.set_api_key(api_key="k")
    assert client.api_key == "k"
    agentops.configure("other")
    assert client.api_key == "other"
    first, second = agentops.start_session(), agentops.start_session()
    assert first is not None
    assert second is not None
    assert client.current_session_ids == [str(first.session_id), str(second.session_id)]
    assert client.create_agent("helper", session=first)
    assert [event["name"] for event in first.events] == ["helper"]

    def of_call(session: object = None) -> object:
        return session

    assert first.patch(func=of_call)() is first
    assert agentops.end_session(session_or_status=first, end_state="Fail") is not None
    agentops.end_session(session_or_status="Success")
    assert (first.end_state, second.end_state) == ("Failure", "Success")


def test_a_misspelt_end_state_is_not_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown option of end_session() prints a warning, and is kept as AgentOps 0.4 keeps it."""
    session = agentops.init()
    assert session is not None
    agentops.end_session(end_stat="Success", rating=5)
    assert "end_session() has no option 'end_stat', 'rating'" in capsys.readouterr().err
    assert session.end_state == "Indeterminate"
    agentops.configure(strict=True)
    agentops.start_session()
    with pytest.raises(localops.LocalopsError, match="no option 'end_stat'"):
        agentops.end_session(end_stat="Success")


def test_a_config_of_a_session_stands_on_that_of_the_client() -> None:
    """Options that a session's own Config leaves out are those of init(); a key in it chooses the project."""
    agentops.init(api_key="K", default_tags=["all"], auto_start_session=False)
    key = localops.start_session()
    same = localops.start_session(config=localops.Config(default_tags=["mine"]))
    other = localops.start_session(config=localops.Config(api_key="L"))
    localops.configure(project="named")
    by_key = localops.start_session(config=localops.Config(api_key="L"))
    named = localops.start_session(config=localops.Config(budget_usd=1.0))
    projects = [each.project_id for each in (key, same, other, by_key, named)]
    assert projects[0] == projects[1] != projects[2] == projects[3]
    assert projects[4] == "named"
    assert [each.tags for each in (key, same, other)] == [["all"], ["mine"], ["all"]]
