"""Calls of model libraries that are recorded: the real libraries, against a server of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from localops.journal.reader import Reader
from localops.reading import analytics

from . import programs
from .model_server import ModelServer
from .warm import Warm

TOP = Path(__file__).parent.parent

OPENAI = """
import openai
client = openai.OpenAI(max_retries=0)
def ask(words, **more):
    message = {"role": "user", "content": words}
    return client.chat.completions.create(model="gpt-4o", messages=[message], **more)
"""
ANTHROPIC = """
import anthropic
claude = anthropic.Anthropic(max_retries=0)
def ask_claude(words, **more):
    message = {"role": "user", "content": words}
    return claude.messages.create(model="claude-3-5-haiku-latest", max_tokens=99, messages=[message], **more)
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """Start a server that answers like model providers."""
    with ModelServer() as running:
        yield running


def _environment(server: ModelServer, **more: str) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": "x",
        "ANTHROPIC_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": "x",
        **more,
    }


def _run(server: ModelServer, code: str, **more: str) -> str:
    """Run a program to its end, and return what it wrote to stderr."""
    done = programs.run(code, env=_environment(server, **more), timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _run_warm(warm: Warm, server: ModelServer, code: str, **more: str) -> str:
    """Run a program that has OpenAI's library to its end, and return what it wrote to stderr."""
    done = warm.run(code, _environment(server, **more))
    assert done.returncode == 0, done.stderr
    return done.stderr


def _sessions(project: str = "default") -> list[list[dict[str, Any]]]:
    """Return the events of each session of the journal."""
    with Reader(os.path.join(programs.project(project), "journal.db")) as reader:
        sessions = [id for (id,) in reader.ask("select session from session_total order by first_ns")]
        return [list(analytics.events(reader, id)) for id in sessions]


def _calls(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == "llm"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_one_line_records_every_call(server: ModelServer, warm: Warm, order: str) -> None:
    """Whole, streamed, with tools, failing, by OpenAI's two APIs and Anthropic's: all as the server has them.

    With `session=`, as AgentOps 0.3 has it, a call is recorded in that session, and the library does not see it.
    """
    lines = ["import localops; session = localops.init()", OPENAI + ANTHROPIC]
    if order == "after":
        lines.reverse()
    run = _run if order == "before" else partial(_run_warm, warm)
    warnings = run(
        server,
        "\n".join(lines)
        + """
tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
ask("hello")
for part in ask("hello", stream=True, stream_options={"include_usage": True}): pass
ask("tool please", tools=[tool])
client.responses.create(model="gpt-4o", input="hello")
ask_claude("hello")
for part in ask_claude("hello", stream=True): pass
try:
    ask("fail 429")
except openai.RateLimitError:
    pass
session.end_session("Success")

import asyncio
first, second = localops.start_session(), localops.start_session()
ask("a", session=first)
ask("b", session=second)
ask_claude("c", session=first)
message = {"role": "user", "content": "d"}
asyncio.run(openai.AsyncOpenAI(max_retries=0).chat.completions.create(
    model="gpt-4o", messages=[message], session=first))
try:
    ask("e", session="no session")
except TypeError as error:
    assert "session" in str(error)
""",
    )
    assert warnings == ""
    events, *given = _sessions()
    calls = _calls(events)
    log = server.log[:7]
    assert len(calls) == len(log)
    beside = {"/v1/messages": 7}  # Anthropic counts the tokens of its cache beside the prompt's
    for call, asked in zip(calls[:6], log[:6], strict=True):
        assert (call["tokens_in"], call["tokens_out"]) == (asked.tokens_in + beside.get(asked.path, 0), 5)
        assert call["cost"] > 0
        assert call["response_id"]
    assert [call["model"] for call in calls] == ["gpt-4o"] * 4 + ["claude-3-5-haiku-latest"] * 2 + ["gpt-4o"]
    assert calls[2]["tool_calls"] == [{"id": "call-3", "name": "weather", "arguments": {"city": "Brest"}}]
    assert 0 < calls[1]["time_to_first_token"] < 60
    assert (calls[6]["failed"], calls[6]["cost"]) == (True, 0)
    assert [event["name"] for event in events if event["kind"] == "error"] == ["RateLimitError"]
    words = [[call["prompt"][-1]["content"] for call in _calls(events)] for events in given]
    assert words == [["a", "c", "d"], ["b"]]
    assert len(server.log) == 11


def test_async_calls_belong_to_their_tasks(server: ModelServer, warm: Warm) -> None:
    """Twenty at once, each in a session of its own."""
    _run_warm(
        warm,
        server,
        """
import asyncio, openai, localops
localops.init(auto_start_session=False)
client = openai.AsyncOpenAI(max_retries=0)
async def one(number):
    with localops.start_session(name=f"session {number}") as session:
        message = {"role": "user", "content": f"number {number}"}
        await client.chat.completions.create(model="gpt-4o", messages=[message])
async def main():
    await asyncio.gather(*(one(number) for number in range(20)))
asyncio.run(main())
""",
    )
    sessions = _sessions()
    assert len(sessions) == 20
    prompts = [_calls(events)[0]["prompt"][0]["content"] for events in sessions]
    assert sorted(prompts) == sorted(f"number {number}" for number in range(20))
    assert all(len(_calls(events)) == 1 for events in sessions)


def test_a_kill_in_the_middle_of_a_call_names_it(server: ModelServer) -> None:
    """The prompt is in the journal while the server has not answered yet."""
    program = programs.start(
        "import localops; localops.init()\n" + OPENAI + "ask('wait for it')", env=_environment(server)
    )
    assert server.waiting.wait(60)
    programs.kill(program)
    (events,) = _sessions()
    (call,) = _calls(events)
    assert (call["finished"], call["model"]) == (False, "gpt-4o")
    assert call["prompt"] == [{"role": "user", "content": "wait for it"}]
    assert "ChatCompletion" in str(programs.standing().reason)


def test_a_call_belongs_to_the_operation_that_it_is_made_in(server: ModelServer, warm: Warm) -> None:
    """Below a decorated function; below the agent; in a pool's thread as well, since instrumented programs carry on."""
    _run_warm(
        warm,
        server,
        "import localops\nfrom localops.decorators import operation\n"
        + OPENAI
        + """
from concurrent.futures import ThreadPoolExecutor
localops.init()
@operation
def answer(words):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask, words).result()
    return ask(words).choices[0].message.content
answer("hello")
""",
    )
    (events,) = _sessions()
    (outer,) = [event for event in events if event["name"] == "answer"]
    assert [call["parent"] for call in _calls(events)] == [outer["id"]] * 2


def test_what_a_program_records_by_hand_counts_once(server: ModelServer, warm: Warm) -> None:
    """A program with a line for each call has the same figures as without."""
    warnings = _run_warm(
        warm,
        server,
        "import localops; session = localops.init()\n"
        + OPENAI
        + """
for words in ("one", "two"):
    event = localops.LLMEvent(prompt=words, model="gpt-4o")
    answer = ask(words)
    event.completion = answer.choices[0].message.content
    event.prompt_tokens, event.completion_tokens = answer.usage.prompt_tokens, answer.usage.completion_tokens
    session.record(event)
session.record(localops.LLMEvent(returns=ask("three")))
assert session.get_analytics()["LLM calls"] == 3, session.get_analytics()
""",
    )
    assert warnings.count("was also recorded by hand") == 1
    assert len(server.log) == 3


def test_it_can_be_switched_off_and_on_again(server: ModelServer, warm: Warm) -> None:
    """By option, though an earlier call has switched it on, by variable, and while the program runs."""
    _run_warm(
        warm,
        server,
        "import localops; localops.configure(default_tags=['a']); localops.init(instrument_llm_calls=False)\n"
        + OPENAI
        + "ask('a')",
    )
    _run_warm(
        warm, server, "import localops; localops.init()\n" + OPENAI + "ask('b')", LOCALOPS_INSTRUMENT_LLM_CALLS="false"
    )
    _run_warm(
        warm,
        server,
        "import localops; localops.init()\n"
        + OPENAI
        + "localops.stop_instrumenting(); ask('c')\nlocalops.end_session('Success')\nlocalops.init(); ask('d')",
    )
    asked = [call["prompt"][0]["content"] for events in _sessions() for call in _calls(events)]
    assert asked == ["d"]


def test_a_library_without_an_instrumentor_is_named(server: ModelServer, tmp_path: Path) -> None:
    """Once, with what to install, as its calls are not recorded."""
    (tmp_path / "openinference.py").write_text("raise ModuleNotFoundError(name='openinference')")
    paths = os.pathsep.join([str(tmp_path), str(TOP)])
    warnings = _run(
        server, "import localops; localops.init()\n" + OPENAI + "ask('a'); ask('b')", PYTHONPATH=paths
    ).splitlines()
    assert len(warnings) == 1
    assert "calls of openai are not recorded: `pip install 'localops[openai]'`" in warnings[0]


def test_an_instrumentor_that_breaks_is_one_line(server: ModelServer, tmp_path: Path) -> None:
    """The program continues without it."""
    folder = tmp_path / "openinference" / "instrumentation"
    folder.mkdir(parents=True)
    (tmp_path / "openinference" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "openai.py").write_text(
        "class OpenAIInstrumentor:\n    def instrument(self, **options):\n        raise RuntimeError('broken')\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(TOP)])
    code = "import localops; localops.init()\n" + OPENAI + "print(ask('a').choices[0].message.content)"
    done = programs.run(code, env=_environment(server, PYTHONPATH=paths), timeout=120)
    assert done.stdout == "You wrote: a\n"
    assert done.stderr == "localops: calls of openai are not recorded: RuntimeError: broken\n"


def test_a_version_that_no_instrumentor_knows_is_one_line(server: ModelServer, warm: Warm, tmp_path: Path) -> None:
    """It is not instrumented, and the program continues."""
    (tmp_path / "openai-0.1.dist-info").mkdir()
    (tmp_path / "openai-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: openai\nVersion: 0.1\n")
    warnings = _run_warm(
        warm,
        server,
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport localops; session = localops.init()\n"
        + OPENAI
        + "ask('a'); ask('b')\nsession.record(localops.ActionEvent())",
    ).splitlines()
    assert len(warnings) == 1
    assert "calls of openai are not recorded: its instrumentor reports" in warnings[0]
    assert "openai 0.1" in warnings[0]
    assert len(server.log) == 2
    assert [event["kind"] for event in _sessions()[0]] == ["action"]


def test_large_and_binary_messages_are_kept(server: ModelServer, warm: Warm) -> None:
    """Whole: a long text in a file beside the journal, a picture where it was in the message."""
    _run_warm(
        warm,
        server,
        "import localops; localops.init()\n"
        + OPENAI
        + """
import base64
picture = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 400).decode()
ask("0123456789" * 1_000_000)
ask([{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": picture}}])
ask("after")
""",
    )
    (events,) = _sessions()
    large, picture, after = (call["prompt"][0]["content"] for call in _calls(events))
    sent = [asked.body["messages"][0]["content"] for asked in server.log]
    blob = Path(programs.project(), "blobs", large["$blob"][:2], large["$blob"])
    assert len(sent[0]) == large["$len"] == 10_000_000
    assert blob.read_bytes().decode() == sent[0]
    assert [picture, after] == sent[1:]
    assert [call["tokens_out"] for call in _calls(events)] == [5, 5, 5]


def test_a_program_that_traces_for_itself_still_does(server: ModelServer, warm: Warm) -> None:
    """Its own provider and its own instrumentor get every span, and ours records every call once."""
    _run_warm(
        warm,
        server,
        """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import localops
localops.init()
"""
        + OPENAI
        + """
from openinference.instrumentation.openai import OpenAIInstrumentor
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
OpenAIInstrumentor().instrument(tracer_provider=provider)
with trace.get_tracer("own").start_as_current_span("own"):
    ask("hello")
localops.stop_instrumenting()
ask("again")
names = [span.name for span in exporter.get_finished_spans()]
assert names == ["ChatCompletion", "own", "ChatCompletion"], names
""",
    )
    (events,) = _sessions()
    assert [event["name"] for event in events] == ["ChatCompletion"]


def test_nothing_is_imported_for_a_program_without_a_library() -> None:
    """Neither OpenTelemetry nor an instrumentor; with the extras installed, as here."""
    done = programs.run(
        "import sys, localops; localops.init(); localops.end_session('Success')\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'openinference'))],"
        " [name for name in sys.modules if name.startswith('localops.instrument.')])"
    )
    assert done.stdout == "[] ['localops.instrument.imports', 'localops.instrument.libraries']\n"


def test_run_records_a_program_without_localops(server: ModelServer, tmp_path: Path) -> None:
    """`localops run` starts a session with the first call, ends it with the process, and changes nothing else."""
    (tmp_path / "app.py").write_text(
        OPENAI + "import sys, sitecustomize\nprint(ask('hello').choices[0].message.content, sitecustomize.OWN)\n"
        "raise SystemExit(3)\n"
    )
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("OWN = 'own sitecustomize'\n")
    paths = os.pathsep.join([str(own), str(TOP)])
    done = subprocess.run(
        [sys.executable, "-m", "localops", "run", tmp_path / "app.py"],
        env={**os.environ, **_environment(server), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "You wrote: hello own sitecustomize\n", "")
    (events,) = _sessions()
    assert len(_calls(events)) == 1
    assert programs.standing().state == "Indeterminate"


def test_a_budget_stops_before_the_call(server: ModelServer, warm: Warm) -> None:
    """The call that spends it is recorded, and the next one is not made."""
    code = "import localops; localops.init(budget_usd=0.00001)\n" + OPENAI + "ask('a'); ask('b'); ask('c')"
    done = warm.run(code, _environment(server))
    assert "BudgetExceeded" in done.stderr
    assert len(server.log) == 1


def test_a_stream_that_is_abandoned_is_recorded(server: ModelServer, warm: Warm) -> None:
    """With what it had received until then."""
    _run_warm(
        warm,
        server,
        "import localops; localops.init()\n"
        + OPENAI
        + "stream = ask('hello', stream=True)\nnext(iter(stream))\nstream.close()\ndel stream\nask('after')",
    )
    (events,) = _sessions()
    assert len(_calls(events)) == 2


def test_a_forked_child_records_its_calls(server: ModelServer, warm: Warm) -> None:
    """A client may be made before the fork, and used after it."""
    _run_warm(
        warm,
        server,
        "import localops, os; localops.init()\n"
        + OPENAI
        + "ask('parent')\npid = os.fork()\nask('child') if pid == 0 else os.waitpid(pid, 0)",
    )
    (events,) = _sessions()
    asked = sorted(call["prompt"][0]["content"] for call in _calls(events))
    assert asked == ["child", "parent"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_spawned_child_records_its_calls(server: ModelServer, warm: Warm, tmp_path: Path, method: str) -> None:
    """Into the session of its parent, without a line of its own; without a session there, nothing is recorded.

    Its main module need not know of localops.
    """
    # The server of forked processes is started with the first of them, and goes on.
    before = "" if method == "forkserver" else "    ask_in_a_child(['c', 'd'])\n"
    (tmp_path / "app.py").write_text(
        "import multiprocessing\n" + OPENAI + "def ask_in_a_child(words):\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        pool.map(ask, words)\n"
        "if __name__ == '__main__':\n" + before + "    import localops\n"
        "    localops.init()\n"
        "    ask_in_a_child(['a', 'b'])\n"
    )
    done = programs.run_file(tmp_path / "app.py", env=_environment(server), holder=warm, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(server.log) == (4 if before else 2)
    (events,) = _sessions()
    assert [call["prompt"][0]["content"] for call in _calls(events)] == ["a", "b"]


@pytest.mark.parametrize("capture", [True, False])
def test_an_answer_that_does_not_fit_is_paid_for(server: ModelServer, warm: Warm, *, capture: bool) -> None:
    """The client raises instead of returning it, by either API: its tokens count, and it is one failed call."""
    _run_warm(
        warm,
        server,
        f"import localops; session = localops.init(capture={capture})\n"
        + OPENAI
        + """
import pydantic
class Tide(pydantic.BaseModel): metres: int
message = {"role": "user", "content": "how high?"}
for ask in (lambda: client.chat.completions.parse(model="gpt-4o", messages=[message], response_format=Tide),
            lambda: client.responses.parse(model="gpt-4o", input="how high?", text_format=Tide)):
    try: ask()
    except pydantic.ValidationError: pass
""",
    )
    (events,) = _sessions()
    calls = _calls(events)
    used = [(asked.tokens_in, asked.tokens_out) for asked in server.log]
    assert [(call["tokens_in"], call["tokens_out"]) for call in calls] == used
    assert len(used) == 2
    assert all(call["failed"] and call["cost"] for call in calls)
    assert ["You wrote: how high?" in str(call) for call in calls] == [capture] * 2
    assert [event["name"] for event in events if event["kind"] == "error"] == ["ValidationError"] * 2
