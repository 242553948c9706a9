"""The pytest fixture `localops_run`, as tests of other projects use it: each is a pytest of its own."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

from localops import runs
from tests import warm

pytest_plugins = ["pytester"]

AGENT = """
import localops
from localops.decorators import operation, tool

@tool
def search(query, limit=3):
    return {"hits": [query] * limit}

@tool
def fetch(url):
    raise TimeoutError(f"no answer from {url}")

@operation
def look_up(city):
    return search(city, limit=1)

def run(city):
    session = localops.init(tags=["test"])
    look_up(city)
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt_tokens=1200, completion_tokens=40, prompt="hi"))
    try:
        fetch("http://a")
    except TimeoutError:
        pass
    localops.end_session("Success")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with an agent, and without this repository's settings of pytest."""
    pytester.makepyfile(agent=AGENT)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


# Plugins that happen to be installed here: to import them takes three times as long as such a test.
_OTHERS = ("langsmith_plugin", "hypothesispytest")


_PYTEST = "import pytest, sys\nsys.exit(pytest.console_main())"


def _left_out(without: str = "asyncio") -> list[str]:
    return [argument for name in ("cacheprovider", *_OTHERS, without) for argument in ("-p", f"no:{name}")]


def _run(project: pytest.Pytester, *options: str, without: str = "asyncio") -> pytest.RunResult:
    """Run a pytest in a copy of a program that has loaded it."""
    arguments = [f"--basetemp={project.path / 'temporary'}", *_left_out(without), *options]
    began = time.monotonic()
    done = warm.testing().run(_PYTEST, {"HOME": str(project.path)}, arguments, timeout=300)
    return pytest.RunResult(
        done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), time.monotonic() - began
    )


def test_what_was_recorded_is_there_as_plain_values(project: pytest.Pytester) -> None:
    """Calls in their order with arguments and results, tokens, cost, errors and the session."""
    project.makepyfile("""
        import agent

        def test_run(localops_run):
            agent.run("Lyon")
            assert [(call.kind, call.name) for call in localops_run.calls] == [
                ("operation", "look_up"), ("tool", "search"), ("llm", "gpt-4o-mini"), ("tool", "fetch")]
            search, fetch = localops_run.tools
            look_up = localops_run.calls[0]
            assert (search.args, search.result) == ({"query": "Lyon", "limit": 1}, {"hits": ["Lyon"]})
            assert search.parent == look_up.id and look_up.parent is None
            assert fetch.failed and not search.failed and fetch.finished and fetch.seconds >= 0
            assert [(e.name, e.message, e.call_id) for e in localops_run.errors] == [
                ("TimeoutError", "no answer from http://a", fetch.id)]
            (call,) = localops_run.llm_calls
            assert (call.args, call.tokens_in, call.tokens_out, call.cost) == ("hi", 1200, 40, 0.000204)
            assert (localops_run.cost, localops_run.tokens, localops_run.unpriced) == (0.000204, 1240, 0)
            session = localops_run.session
            assert (session.state, session.tags) == ("Success", ["test"])
            assert localops_run.session.id == session.id
            assert "fetch {'url': 'http://a'} failed" in str(localops_run)
    """)
    _run(project).assert_outcomes(passed=1)


def test_assertions_pass_where_they_hold(project: pytest.Pytester) -> None:
    """Each assertion about the same run, as it happened."""
    project.makepyfile("""
        import agent, datetime, localops, pytest

        def test_run(localops_run):
            agent.run("Lyon")
            localops_run.assert_tools("search", "fetch")
            localops_run.assert_tools_include("fetch")
            localops_run.assert_tools_include("search", "fetch")
            call = localops_run.assert_called("search", {"query": "Lyon"}, kind="tool", times=1)
            assert call.result == {"hits": ["Lyon"]}
            localops_run.assert_not_called("delete")
            localops_run.assert_not_called("search", {"query": "Paris"})
            assert localops_run.assert_error("TimeoutError", "no answer").call_id
            localops_run.assert_cost(at_most=0.001)
            localops_run.assert_tokens(at_most=1240)
            localops_run.assert_llm_calls(1)
            localops_run.assert_llm_calls(at_most=1)
            localops_run.assert_state("Success")

        def test_values_are_compared_as_they_are_stored(localops_run):
            with localops.start_session() as session:
                session.record(localops.ToolEvent(name="book", params={"on": datetime.date(2026, 1, 2), "who": (1, 2)}))
            localops_run.assert_called("book", {"on": datetime.date(2026, 1, 2), "who": (1, 2)})
            localops_run.assert_no_errors()
    """)
    _run(project).assert_outcomes(passed=2)


WRONG = {
    "assert_tools('search')": "expected the tools search, got search, fetch",
    "assert_tools_include('fetch', 'search')": "search is missing",
    "assert_called('search', {'query': 'Paris'})": "search was not called with {'query': 'Paris'}, but with *Lyon*",
    "assert_called('delete')": "delete was not called",
    "assert_called('search', times=2)": "expected 2 calls of search, got 1",
    "assert_called('search', kind='llm')": "search was not called",
    "assert_not_called('search')": "expected 0 calls of search, got 1",
    "assert_no_errors()": "expected no errors, got 1: TimeoutError: no answer from http://a",
    "assert_error('ValueError')": "expected the error ValueError, got TimeoutError*",
    "assert_error('TimeoutError', 'refused')": "expected the error TimeoutError with 'refused', got TimeoutError*",
    "assert_cost(at_most=0.0001)": "expected a cost of at most $0.0001, got $0.000204",
    "assert_tokens(at_most=1239)": "expected at most 1239 tokens, got 1240",
    "assert_llm_calls(2)": "expected 2 LLM calls, got 1",
    "assert_llm_calls(at_most=0)": "expected at most 0 LLM calls, got 1",
    "assert_state('Failure')": "expected the state Failure, got Success",
}


def test_assertions_fail_with_what_was_recorded(project: pytest.Pytester) -> None:
    """The message has what was expected and what was recorded, and shows the run; no frame of ours is in it."""
    cases = "".join(
        f"\ndef test_{n}(localops_run):\n    agent.run('Lyon')\n    localops_run.{call}\n"
        for n, call in enumerate(WRONG)
    )
    project.makepyfile("import agent\n" + cases)
    result = _run(project)
    result.assert_outcomes(failed=len(WRONG))
    for message in WRONG.values():
        result.stdout.fnmatch_lines([f"E *AssertionError: *{message.replace('[', '[[]')}*"])
    result.stdout.fnmatch_lines(["E * tool search {'query': 'Lyon', 'limit': 1}"])
    assert "testing/run.py" not in result.stdout.str()


def test_loops_fail_the_assertion_on_them(project: pytest.Pytester) -> None:
    """The message has the sentence of `localops lint`; tools that poll may be named, and habits are for who asks."""
    project.makepyfile("""
        import localops, pytest

        def run(between):
            with localops.start_session() as session:
                for n in range(5):
                    session.record(localops.ToolEvent(name="look", params={"at": 1}, returns="the same"))
                    if between:
                        session.record(localops.ToolEvent(name="note", params={"n": n}, returns=True))

        def test_loop(localops_run):
            run(between=False)
            localops_run.assert_no_loops(polling=["look"])
            with pytest.raises(AssertionError, match="got 1:\\n.repeat. Tool 'look' was called 5 times in a row"):
                localops_run.assert_no_loops()

        def test_habit(localops_run):
            run(between=True)
            localops_run.assert_no_loops()
            with pytest.raises(AssertionError, match="Tool 'look' was called 5 times, with other calls between"):
                localops_run.assert_no_loops(habits=True)
    """)
    _run(project).assert_outcomes(passed=2)


def test_what_never_ended_fails_the_assertions_on_it(project: pytest.Pytester) -> None:
    """A child was killed inside of a call: no error, no failed call, but it did not end, nor is its cost known."""
    project.makepyfile("""
        import os, localops

        def run(kind):
            with localops.start_session() as session:
                if not os.fork():
                    with session.operation("look", kind=kind, model="gpt-4o" if kind == "llm" else None):
                        os._exit(9)
                os.wait()

        def test_all_ended(localops_run):
            with localops.start_session() as session, session.operation("step"):
                session.record(localops.ToolEvent(name="t"))
            localops_run.assert_all_ended()

        def test_tool(localops_run):
            run("tool")
            localops_run.assert_no_errors()
            localops_run.assert_all_ended()

        def test_cost(localops_run):
            run("llm")
            localops_run.assert_cost(at_most=1)

        def test_no_tokens(localops_run):
            with localops.start_session() as session:
                session.record(localops.LLMEvent(model="gpt-4o-mini"))
            localops_run.assert_cost(at_most=1)
    """)
    result = _run(project)
    result.assert_outcomes(passed=1, failed=3)
    for message in (
        "expected every operation to end, got 1 that did not: tool look",
        "the cost is not known: 1 call of gpt-4o did not end",
        "the cost is not known: no token counts for 1 call of gpt-4o-mini",
    ):
        result.stdout.fnmatch_lines([f"E *AssertionError: {message}*"])


def test_a_call_without_a_price_fails_the_assertion_on_cost(project: pytest.Pytester) -> None:
    """A cost that is not known is no cost that is small enough."""
    project.makepyfile("""
        import localops

        def test_run(localops_run):
            with localops.start_session() as session:
                session.record(localops.LLMEvent(model="made-up-9", prompt_tokens=1, completion_tokens=1))
            localops_run.assert_cost(at_most=1)
    """)
    result = _run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the cost is not known: no price for 1 call of made-up-9*"])


ISOLATED = """
    import os, threading
    import localops, pytest
    from localops.decorators import tool

    localops.init(home=HOME, tags=["outer"], threads=True, instrument_llm_calls=False)
    OUTER = localops.get_session(localops.api.client().latest.session_id)

    @tool
    def search(query):
        return query

    def test_first(localops_run, capsys):
        assert not [name for name in os.environ if name.startswith("AGENTOPS_")]
        assert localops_run.calls == localops_run.sessions == [] and str(localops_run) == ""
        localops.init(tags=["first"])
        search("a")
        localops_run.assert_tools("search")
        localops_run.assert_state("Running")
        localops.configure(default_tags=["left over"], max_queue_size=1)
        localops.stop_instrumenting()

    def test_second(localops_run):
        assert localops_run.sessions == []
        with localops.start_session() as session:
            search("b")
        assert session.tags == []
        localops_run.assert_called("search", {"query": "b"}, times=1)
        assert localops.instrument.is_on()
        localops.init(threads=True)

    def test_without_a_session(localops_run):
        localops.record(localops.ToolEvent(name="search"))
        assert localops_run.session.name == "unattributed"
        localops_run.assert_tools("search")

    def test_outer_goes_on():
        assert os.environ["AGENTOPS_API_KEY"] == "of-the-machine"
        assert OUTER.is_running and localops.get_session(OUTER.session_id) is OUTER
        assert not localops.instrument.is_on() and localops.instrument.threads.is_on()
        search("d")
        assert [event["params"] for event in OUTER.events if event["kind"] == "tool"] == [{"query": "d"}]
"""


def test_each_test_has_a_journal_of_its_own(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of one test is seen in another, nor of the settings, the session and the home outside."""
    monkeypatch.setenv("AGENTOPS_API_KEY", "of-the-machine")
    home = tmp_path / "outer"
    project.makepyfile(ISOLATED.replace("HOME", repr(str(home))))
    _run(project).assert_outcomes(passed=4)
    from localops.reading.home import Home

    with Home(str(home)) as opened:
        (listed,) = opened.sessions()
        assert (listed.tools, opened.projects[0].tags(listed.session)) == (1, ["outer"])
        assert listed.state == "Indeterminate"
        assert not opened.projects[0].standing(listed.session).derived


def test_sessions_left_open_are_ended_with_the_test(project: pytest.Pytester) -> None:
    """A session that outlives its test takes nothing of the next one."""
    project.makepyfile("""
        import localops
        kept = []

        def test_first(localops_run):
            kept.append(localops.init())
            assert kept[0].is_running

        def test_second(localops_run):
            assert not kept[0].is_running and kept[0].end_state == "Indeterminate"
            localops.init().record(localops.ActionEvent("step"))
            assert [call.name for call in localops_run.calls] == ["step"]
    """)
    _run(project).assert_outcomes(passed=2)


def test_it_works_in_the_processes_of_xdist(project: pytest.Pytester) -> None:
    """Tests of several processes, each with its own journal."""
    project.makepyfile("""
        import agent, pytest

        @pytest.mark.parametrize("city", ["Lyon", "Nantes", "Lille", "Nice"])
        def test_run(localops_run, city):
            agent.run(city)
            localops_run.assert_called("search", {"query": city}, times=1)
            assert len(localops_run.sessions) == 1
    """)
    _run(project, "-n", "2").assert_outcomes(passed=4)


def test_it_works_with_coroutines_of_pytest_asyncio(project: pytest.Pytester) -> None:
    """Tests that are coroutines, also on a loop that they share, which keeps its context."""
    pytest.importorskip("pytest_asyncio")
    scopes = "asyncio_default_test_loop_scope = module\nasyncio_default_fixture_loop_scope = module\n"
    project.makeini(f"[pytest]\nasyncio_mode = auto\n{scopes}filterwarnings = error\n")
    project.makepyfile("""
        import asyncio, localops
        from localops.decorators import tool

        @tool
        async def search(query):
            await asyncio.sleep(0)
            return query

        async def test_first(localops_run):
            localops.init()
            await asyncio.gather(search("a"), search("b"))
            assert sorted(call.args["query"] for call in localops_run.tools) == ["a", "b"]

        async def test_second(localops_run):
            localops.init()
            await asyncio.create_task(search("c"))
            localops_run.assert_tools("search")
            localops_run.assert_called("search", {"query": "c"})
            assert len(localops_run.sessions) == 1
    """)
    _run(project, without="xdist").assert_outcomes(passed=2)


def test_a_run_is_compared_with_one_of_before(project: pytest.Pytester) -> None:
    """A run that matches a baseline passes; where it does not, each broken rule is a line above the run."""
    project.makepyfile("""
        import agent, localops, pytest
        from localops.errors import ConfigError

        def test_save(localops_run, request):
            agent.run("Lyon")
            localops_run.save_baseline(request.path.with_name("lyon.json"))

        def test_the_same(localops_run, request):
            agent.run("Lyon")
            localops_run.assert_matches(
                request.path.with_name("lyon.json"), max_cost="+10%", max_duration=60.5, max_tokens="+0",
                max_calls=3, max_errors=1, same_arguments=True)

        def test_other(localops_run, request):
            agent.run("Nice")
            lyon = request.path.with_name("lyon.json")
            localops_run.assert_matches(lyon, max_cost=0.000204, same_tools=True)
            with pytest.raises(AssertionError) as failed:
                localops_run.assert_matches(lyon, max_cost=0.0002, max_errors=0, same_arguments=True)
            lines = str(failed.value).splitlines()
            assert lines[0] == (
                "max_cost: $0.000004 over the limit (got $0.000204, limit $0.000200, baseline $0.000204)")
            assert lines[1] == "max_errors: 1 over the limit (got 1, limit 0, baseline 1)"
            assert lines[2].startswith("same_arguments: search with other arguments (got 2 tool calls")
            assert lines[3:5] == ["", "recorded:"]

        def test_what_is_not_over_matches_nothing(localops_run, request):
            lyon = request.path.with_name("lyon.json")
            with localops.start_session():
                for match in (lambda: localops_run.assert_matches(lyon, max_cost="+10%"),
                              lambda: localops_run.save_baseline("unused.json")):
                    with pytest.raises(AssertionError, match="it is still running"):
                        match()
            with pytest.raises(ConfigError, match="localops check --save"):
                localops_run.assert_matches("nothing.json", max_cost="+10%")
            with pytest.raises(ConfigError, match="no rule is given"):
                localops_run.assert_matches(lyon)
    """)
    _run(project).assert_outcomes(passed=4)


def test_a_project_that_does_not_use_it_loads_nothing(project: pytest.Pytester) -> None:
    """Without use of the fixture, pytest loads the package and its plugin, and no other module."""
    project.makepyfile("""
        import sys

        def test_nothing():
            ours = {name for name in sys.modules if name.partition(".")[0] in ("localops", "apsw")}
            assert ours == {"localops", "localops.testing", "localops.testing.plugin"}
    """)
    project.runpytest_subprocess(*_left_out(), timeout=300).assert_outcomes(passed=1)


def test_it_may_be_imported_before_pytest(project: pytest.Pytester) -> None:
    """`localops run pytest` imports localops first, of which pytest must not warn."""
    project.makeconftest("""
        def pytest_configure(config):
            # What pytest does with the packages of an installed plugin.
            config.pluginmanager.rewrite_hook.mark_rewrite("localops")
    """)
    project.makepyfile("def test_nothing(): pass")
    code = f"import localops, pytest, sys; sys.exit(pytest.main([*{_left_out()}, '-Werror']))"
    result = project.run(sys.executable, "-c", code)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert "already imported" not in result.stdout.str() + result.stderr.str()


def test_the_examples_of_the_page_pass(project: pytest.Pytester) -> None:
    """The examples of `localops help testing` are a project whose tests pass."""
    page = (Path(__file__).parent.parent / "localops" / "docs" / "testing.md").read_text()
    agent, *tests = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    project.makepyfile(trip=agent, test_trip="\n\n".join(tests))
    result = _run(project, "-v")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 4


def test_the_session_of_a_failed_test_is_a_failure(project: pytest.Pytester) -> None:
    """With the `conftest.py` of the page about servers; a skipped test and an expected failure are a Success."""
    page = (Path(__file__).parent.parent / "localops" / "docs" / "servers.md").read_text()
    [conftest] = re.findall(r"```py\n([^`]*pytest_runtest_makereport[^`]*)```", page)
    project.makeconftest(conftest)
    project.makepyfile("""
        import pytest

        def test_passes(): ...
        def test_fails(): raise ValueError("no tide")
        def test_skips(): pytest.skip("no port")
        @pytest.mark.xfail
        def test_is_expected_to_fail(): raise ValueError
    """)
    _run(project)
    with runs.opened() as past:
        ends = {run.name: (run.state, run.reason) for run in past.sessions()}
    assert ends == {
        "test_passes": ("Success", None),
        "test_fails": ("Failure", "ValueError: no tide"),
        "test_skips": ("Success", None),
        "test_is_expected_to_fail": ("Success", None),
    }


def test_the_fixture_describes_itself(project: pytest.Pytester) -> None:
    """`pytest --fixtures` shows what it is for."""
    result = _run(project, "--fixtures")
    result.stdout.fnmatch_lines(["localops_run*", "*Record what the test does into a journal of its own*"])
