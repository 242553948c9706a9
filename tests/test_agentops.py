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
    """Each program of AgentOps' pages on sessions runs as it stands, without a word of complaint."""
    done = _python(DOCUMENTS[name], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "home").glob("*/journal.db"))


def test_the_documents_analytics_have_the_promised_keys(tmp_path: Path) -> None:
    """The page's own example counts what was recorded, in the page's order and formats."""
    out = _python(DOCUMENTS["analytics"], tmp_path).stdout
    assert out.startswith("{'LLM calls': 1, 'Tool calls': 1, 'Actions': 0, 'Errors': 0, 'Duration': '0.")
    assert out.endswith("s', 'Cost': '0.00'}\n")


def test_every_module_of_agentops_answers(tmp_path: Path) -> None:
    """Each module a program may import leads to localops, whichever is asked for first."""
    for module, names in agentops.MODULES.items():
        code = f"from {module} import {', '.join(names)}\nimport {module}\nprint({names[0]}.__module__)"
        done = _python(code, tmp_path)
        assert done.stdout.startswith("localops"), done.stderr


def test_a_module_agentops_never_had_is_missed_as_usual(tmp_path: Path) -> None:
    """An unknown module is the ImportError that a program may be waiting for."""
    done = _python("import agentops.nothing_of_the_kind", tmp_path)
    assert "ModuleNotFoundError: No module named 'agentops.nothing_of_the_kind'" in done.stderr


def test_every_public_name_is_there() -> None:
    """`__all__` says what can be imported, sorted as everywhere."""
    assert all(hasattr(agentops, name) for name in agentops.__all__)
    ours_alone = {"BudgetExceeded", "Config", "LocalopsError", "carry"}
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
def test_a_trace_ends_as_it_was_told(state: agentops.TraceState, end: str) -> None:
    """AgentOps' three trace states are the three ways a session ends."""
    trace = agentops.start_trace("run", tags={"customer": 7})
    assert trace is not None
    agentops.end_trace(trace, state)
    assert trace.end_state == end


def test_validation_is_answered_from_the_journal() -> None:
    """What AgentOps asks its server for is counted here, and what is missing is an error."""
    session = agentops.init()
    with pytest.raises(agentops.ValidationError, match="0 events"):
        agentops.validate_trace_spans()
    agentops.record(agentops.ActionEvent(action_type="plan"))
    with pytest.raises(agentops.ValidationError, match="no LLM call"):
        agentops.validate_trace_spans(trace_context=session)
    agentops.record(agentops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=5))
    result = agentops.validate_trace_spans()
    assert (result["span_count"], result["llm_span_names"]) == (2, ["gpt-4o"])
