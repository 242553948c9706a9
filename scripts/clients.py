"""Drives the real client libraries against a loopback server, and compares the journal with the server's log.

Each client has an environment of its own below `.clients/`, made once.  What a program has to write to be recorded is
`localops.init()`; nothing else in the programs below is ours, but for the clients that make their own spans.  `--table`
writes the lines of the clients that were tried into the table of the docs.  With `--kills N`, each is killed N times in
mid-call instead (`clients_killed.py`); with `--hub`, the released AgentOps clients are tried against a hub
(`clients_hub.py`); with `--page`, the programs of the docs' page of frameworks are run (`clients_page.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from localops.journal.reader import Reader  # noqa: E402
from localops.reading import analytics  # noqa: E402
from scripts import clients_hub, clients_killed, clients_page  # noqa: E402
from tests.model_server import ModelServer  # noqa: E402

PAGE = TOP / "localops" / "docs" / "llm-calls.md"
BEGIN, END = "<!-- made by scripts/clients -->", "<!-- end -->"


class Client(NamedTuple):
    """A library: what to install, and a program for each thing that is tried."""

    packages: tuple[str, ...]
    setup: str
    tries: dict[str, str]
    calls: str = "llm"  # the kind of what is counted: an MCP client calls tools


TOOL = """
tool = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters":
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
def ask(words): return [{"role": "user", "content": words}]
"""

CLIENTS: dict[str, Client] = {
    "openai": Client(
        ("openai", "localops[openai]"),
        TOOL + "import openai\nclient = openai.OpenAI(max_retries=0)\nlater = openai.AsyncOpenAI(max_retries=0)\n",
        {
            "call": "client.chat.completions.create(model='gpt-4o', messages=ask('hello'))",
            "async": (
                "import asyncio\nasyncio.run(later.chat.completions.create(model='gpt-4o', messages=ask('hello')))"
            ),
            "stream": (
                "for part in client.chat.completions.create(model='gpt-4o', messages=ask('hello'), stream=True,"
                " stream_options={'include_usage': True}): pass"
            ),
            "tools": "client.chat.completions.create(model='gpt-4o', messages=ask('tool please'), tools=[tool])",
            "error": "client.chat.completions.create(model='gpt-4o', messages=ask('fail 429'))",
            "killed": "client.chat.completions.create(model='gpt-4o', messages=ask('wait'))",
        },
    ),
    "openai responses": Client(
        ("openai", "localops[openai]"),
        "import openai\nclient = openai.OpenAI(max_retries=0)\nlater = openai.AsyncOpenAI(max_retries=0)\n"
        "tool = {'type': 'function', 'name': 'weather', 'parameters': {'type': 'object', 'properties': {}}}\n",
        {
            "call": "client.responses.create(model='gpt-4o', input='hello')",
            "async": "import asyncio\nasyncio.run(later.responses.create(model='gpt-4o', input='hello'))",
            "stream": "for part in client.responses.create(model='gpt-4o', input='hello', stream=True): pass",
            "tools": "client.responses.create(model='gpt-4o', input='tool please', tools=[tool])",
            "error": "client.responses.create(model='gpt-4o', input='fail 429')",
            "killed": "client.responses.create(model='gpt-4o', input='wait')",
        },
    ),
    "anthropic": Client(
        ("anthropic", "localops[anthropic]"),
        "import anthropic\nclient = anthropic.Anthropic(max_retries=0)\n"
        "later = anthropic.AsyncAnthropic(max_retries=0)\n"
        "tool = {'name': 'weather', 'input_schema': {'type': 'object', 'properties': {}}}\n"
        "def ask(words): return dict(model='claude-3-5-haiku-latest', max_tokens=99,"
        " messages=[{'role': 'user', 'content': words}])\n",
        {
            "call": "client.messages.create(**ask('hello'))",
            "async": "import asyncio\nasyncio.run(later.messages.create(**ask('hello')))",
            "stream": "for part in client.messages.create(**ask('hello'), stream=True): pass",
            "tools": "client.messages.create(**ask('tool please'), tools=[tool])",
            "error": "client.messages.create(**ask('fail 429'))",
            "killed": "client.messages.create(**ask('wait'))",
        },
    ),
    # Its own spans lie inside those of the instrumentor, and have the time to the first token.
    "anthropic open_telemetry": Client(
        ("anthropic", "localops[anthropic]"),
        "import anthropic\nfrom localops import otel\ntraced = {'tracer_provider': otel.private_provider()}\n"
        "client = anthropic.Anthropic(max_retries=0, open_telemetry=traced)\n"
        "later = anthropic.AsyncAnthropic(max_retries=0, open_telemetry=traced)\n"
        "tool = {'name': 'weather', 'input_schema': {'type': 'object', 'properties': {}}}\n"
        "def ask(words): return dict(model='claude-3-5-haiku-latest', max_tokens=99,"
        " messages=[{'role': 'user', 'content': words}])\n",
        {
            "call": "client.messages.create(**ask('hello'))",
            "async": "import asyncio\nasyncio.run(later.messages.create(**ask('hello')))",
            "stream": "for part in client.messages.create(**ask('hello'), stream=True): pass",
            "tools": "client.messages.create(**ask('tool please'), tools=[tool])",
            "error": "client.messages.create(**ask('fail 429'))",
            "killed": "client.messages.create(**ask('wait'))",
        },
    ),
    "google-genai": Client(
        ("google-genai", "localops[llms]"),
        "from google import genai\nclient = genai.Client(api_key='x', http_options={'base_url': ROOT})\n"
        "tool = {'function_declarations': [{'name': 'weather', 'parameters': {'type': 'OBJECT', 'properties': {}}}]}\n"
        "def ask(words, **more): return dict(model='gemini-2.5-flash', contents=words, **more)\n",
        {
            "call": "client.models.generate_content(**ask('hello'))",
            "async": "import asyncio\nasyncio.run(client.aio.models.generate_content(**ask('hello')))",
            "stream": "for part in client.models.generate_content_stream(**ask('hello')): pass",
            "tools": "client.models.generate_content(**ask('tool please', config={'tools': [tool]}))",
            "error": "client.models.generate_content(**ask('fail 429'))",
            "killed": "client.models.generate_content(**ask('wait'))",
        },
    ),
    "langchain": Client(
        ("langchain-openai", "localops[langchain,openai]"),
        "from langchain_openai import ChatOpenAI\nfrom langchain_core.tools import tool\n"
        "model = ChatOpenAI(model='gpt-4o', max_retries=0, stream_usage=True)\n"
        "@tool\ndef weather(city: str) -> str:\n    'of a city'\n    return 'rain'\n",
        {
            "call": "model.invoke('hello')",
            "async": "import asyncio\nasyncio.run(model.ainvoke('hello'))",
            "stream": "for part in model.stream('hello'): pass",
            "tools": "call = model.bind_tools([weather]).invoke('tool please').tool_calls[0]\nweather.invoke(call)",
            "error": "model.invoke('fail 429')",
            "killed": "model.invoke('wait')",
        },
    ),
    "langgraph": Client(
        ("langgraph", "langchain-openai", "localops[langchain,openai]"),
        "from langchain_openai import ChatOpenAI\nfrom langgraph.prebuilt import create_react_agent\n"
        "def weather(city: str) -> str:\n    'of a city'\n    return 'rain'\n"
        "agent = create_react_agent(ChatOpenAI(model='gpt-4o', max_retries=0, stream_usage=True), [weather])\n"
        "def ask(words): return {'messages': [('user', words)]}\n",
        {
            "call": "agent.invoke(ask('hello'))",
            "async": "import asyncio\nasyncio.run(agent.ainvoke(ask('hello')))",
            # By default it streams the steps of the graph, and asks the model for whole answers.
            "stream": "for part in agent.stream(ask('hello'), stream_mode='messages'): pass",
            "tools": "agent.invoke(ask('tool please'))",
            "error": "agent.invoke(ask('fail 429'))",
            "killed": "agent.invoke(ask('wait'))",
        },
    ),
    "litellm": Client(
        ("litellm", "localops[llms]"),
        TOOL + "import litellm\nlitellm.api_base = OPENAI\nlitellm.num_retries = 0\n"
        "def call(words, **more):\n"
        "    return litellm.completion(model='gpt-4o', messages=ask(words), max_retries=0, **more)\n",
        {
            "call": "call('hello')",
            "async": "import asyncio\nasyncio.run(litellm.acompletion(model='gpt-4o', messages=ask('hello')))",
            "stream": "for part in call('hello', stream=True, stream_options={'include_usage': True}): pass",
            "tools": "call('tool please', tools=[tool])",
            "error": "call('fail 429')",
            "killed": "call('wait')",
        },
    ),
    "pydantic-ai": Client(
        ("pydantic-ai-slim[openai]", "localops[openai]"),
        "from pydantic_ai import Agent\nfrom pydantic_ai.models.openai import OpenAIChatModel\n"
        "agent = Agent(OpenAIChatModel('gpt-4o'))\n"
        "@agent.tool_plain\ndef weather(city: str) -> str:\n    return 'rain'\n",
        {
            "call": "agent.run_sync('hello')",
            "async": "import asyncio\nasyncio.run(agent.run('hello'))",
            "stream": (
                "import asyncio\nasync def main():\n    async with agent.run_stream('hello') as answer:\n"
                "        async for part in answer.stream_text(): pass\nasyncio.run(main())"
            ),
            "tools": "agent.run_sync('tool please')",
            "error": "agent.run_sync('fail 400')",
            "killed": "agent.run_sync('wait')",
        },
    ),
    "openai-agents": Client(
        ("openai-agents", "localops[llms]"),
        "from agents import Agent, Runner, function_tool, set_tracing_disabled\n"
        "@function_tool\ndef weather(city: str) -> str:\n    return 'rain'\n"
        "agent = Agent(name='helper', model='gpt-4o', tools=[weather])\n",
        {
            "call": "Runner.run_sync(agent, 'hello')",
            "async": "import asyncio\nasyncio.run(Runner.run(agent, 'hello'))",
            "stream": (
                "import asyncio\nasync def main():\n    answer = Runner.run_streamed(agent, 'hello')\n"
                "    async for part in answer.stream_events(): pass\nasyncio.run(main())"
            ),
            "tools": "Runner.run_sync(agent, 'tool please')",
            "error": "Runner.run_sync(agent, 'fail 400')",
            "killed": "Runner.run_sync(agent, 'wait')",
        },
    ),
    "crewai": Client(
        ("crewai", "localops[llms]"),
        "from crewai import Agent, Crew, LLM, Task\nfrom crewai.tools import tool\n"
        "@tool('weather')\ndef weather(city: str) -> str:\n    'of a city'\n    return 'rain'\n"
        "def crew(words, tools=(), **more):\n"
        "    agent = Agent(role='helper', goal='help', backstory='-', tools=list(tools), llm=LLM('gpt-4o', **more))\n"
        "    task = Task(description=words, expected_output='an answer', agent=agent)\n"
        "    return Crew(agents=[agent], tasks=[task])\n",
        {
            "call": "crew('hello').kickoff()",
            "async": "import asyncio\nasyncio.run(crew('hello').akickoff())",
            "stream": "crew('hello', stream=True).kickoff()",
            "tools": "crew('tool please', [weather]).kickoff()",
            "error": "crew('fail 400').kickoff()",
            "killed": "crew('wait').kickoff()",
        },
    ),
    "smolagents": Client(
        ("smolagents[openai]", "localops[llms]"),
        "from smolagents import OpenAIServerModel, Tool\n"
        "model = OpenAIServerModel('gpt-4o', api_base=OPENAI, api_key='x')\n"
        "class Weather(Tool):\n    name, description, output_type = 'weather', 'of a city', 'string'\n"
        "    inputs = {'city': {'type': 'string', 'description': 'its name'}}\n"
        "    def forward(self, city: str) -> str: return 'rain'\n"
        "def ask(words): return [{'role': 'user', 'content': words}]\n",
        {
            "call": "model.generate(ask('hello'))",
            "stream": "for part in model.generate_stream(ask('hello')): pass",
            "tools": "model.generate(ask('tool please'), tools_to_call_from=[Weather()])",
            "error": "model.generate(ask('fail 400'))",
            "killed": "model.generate(ask('wait'))",
        },
    ),
    "llama-index": Client(
        ("llama-index-llms-openai", "localops[llms]"),
        "from llama_index.llms.openai import OpenAI\nfrom llama_index.core.tools import FunctionTool\n"
        "model = OpenAI('gpt-4o', max_retries=0, api_base=OPENAI)\n"
        "usage = {'stream_options': {'include_usage': True}}\n"
        "streamed = OpenAI('gpt-4o', max_retries=0, api_base=OPENAI, additional_kwargs=usage)\n"
        "def weather(city: str) -> str:\n    'of a city'\n    return 'rain'\n",
        {
            "call": "model.complete('hello')",
            "async": "import asyncio\nasyncio.run(model.acomplete('hello'))",
            "stream": "for part in streamed.stream_complete('hello'): pass",
            "tools": "model.chat_with_tools([FunctionTool.from_defaults(weather)], user_msg='tool please')",
            "error": "model.complete('fail 400')",
            "killed": "model.complete('wait')",
        },
    ),
    "groq": Client(
        ("groq", "localops[llms]"),
        TOOL + "import groq\nclient = groq.Groq(api_key='x', base_url=ROOT, max_retries=0)\n"
        "later = groq.AsyncGroq(api_key='x', base_url=ROOT, max_retries=0)\n"
        "def asked(words, **more): return dict(model='llama-3.1-8b-instant', messages=ask(words), **more)\n",
        {
            "call": "client.chat.completions.create(**asked('hello'))",
            "async": "import asyncio\nasyncio.run(later.chat.completions.create(**asked('hello')))",
            "stream": "for part in client.chat.completions.create(**asked('hello', stream=True)): pass",
            "tools": "client.chat.completions.create(**asked('tool please', tools=[tool]))",
            "error": "client.chat.completions.create(**asked('fail 429'))",
            "killed": "client.chat.completions.create(**asked('wait'))",
        },
    ),
    "mcp": Client(
        ("mcp", "localops"),
        "import asyncio\nfrom mcp import Client\n"
        "async def call(city):\n    async with Client(ROOT + '/mcp') as client:\n"
        "        return await client.call_tool('weather', {'city': city})\n",
        {
            "async": "asyncio.run(call('Brest'))",
            "error": "asyncio.run(call('fail'))",
            "killed": "asyncio.run(call('wait'))",
        },
        calls="tool",
    ),
}

PROGRAM = """\
import os
ROOT, OPENAI = os.environ["MODEL_SERVER"], os.environ["OPENAI_BASE_URL"]
import localops
session = localops.init(tags=["clients"])
{setup}
try:
    {code}
except Exception as error:
    print("raised", type(error).__name__)
localops.end_session("Success")
"""


class Seen(NamedTuple):
    """The journal's rows of one try."""

    calls: list[dict[str, Any]]
    errors: int
    unfinished: list[dict[str, Any]]


def environment(name: str, client: Client) -> Path:
    """Make the environment of a client, once, with this tree in it; return its Python."""
    folder = TOP / ".clients" / name.replace(" ", "-")
    python = folder / "bin" / "python"
    mark = folder / "installed"
    wanted = json.dumps(client.packages)
    if not mark.exists() or mark.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        packages = [f"-e{TOP}{each[8:]}" if each[:8] == "localops" else each for each in client.packages]
        command: list[str | Path] = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*command, *packages], check=True)
        mark.write_text(wanted)
    return python


def run(python: Path, client: Client, what: str, server: ModelServer, home: Path) -> str:
    """Run the program of one try; the one that waits is killed when the server has its request."""
    code = client.tries[what].replace("\n", "\n    ")
    program = PROGRAM.format(setup=client.setup, code=code)
    env = surroundings(server, home)
    if what != "killed":
        done = subprocess.run(
            [python, "-c", program], env=env, capture_output=True, text=True, timeout=600, check=False
        )
        return (done.stdout + done.stderr).strip()
    server.waiting.clear()
    process = subprocess.Popen([python, "-c", program], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    server.waiting.wait(120)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    return (process.communicate()[0] or b"").decode().strip()


def surroundings(server: ModelServer, home: Path) -> dict[str, str]:
    """Return the environment of a program that has a server and a home of its own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LOCALOPS_HOME": str(home),
        "MODEL_SERVER": server.url,
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": "x",
        "ANTHROPIC_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": "x",
        "CREWAI_DISABLE_TELEMETRY": "true",  # it would be sent to where this machine may not reach
    }


def seen(home: Path, calls: str) -> Seen:
    """Read what one try has left in the journal; `calls` is the kind of the calls that count."""
    with Reader(str(home / "default" / "journal.db")) as reader:
        sessions = [id for (id,) in reader.ask("select session from session_total")]
        events = [event for id in sessions for event in analytics.events(reader, id)]
    kinds = [event["kind"] for event in events if event["finished"]]
    return Seen(
        [event for event in events if event["kind"] == calls and event["finished"]],
        kinds.count("error"),
        [event for event in events if not event["finished"]],
    )


def check(what: str, server: ModelServer, got: Seen, calls: str) -> list[str]:
    """Return what differs between the server's log and the journal; `calls` is the kind of the calls that count."""
    log = server.log
    if what == "killed":
        return _check_killed(got, calls)
    problems = []
    if len(got.calls) != len(log):
        problems.append(f"{len(log)} calls made, {len(got.calls)} recorded")
    if what == "error":
        if got.errors != len(log):
            problems.append(f"{len(log)} calls failed, {got.errors} errors recorded")
        return problems
    return [*problems, *(_check_llm(what, server, got) if calls == "llm" else _check_tools(got))]


def _check_killed(got: Seen, calls: str) -> list[str]:
    kinds = [event["kind"] for event in got.unfinished]
    if not kinds:
        return ["the call is not named"]
    if not any("wait" in json.dumps(event) for event in got.unfinished):
        return ["named, without its prompt" if calls == "llm" else "named, without its arguments"]
    return [] if calls in kinds else [f"named, as {kinds[-1]}"]


def _check_tools(got: Seen) -> list[str]:
    words = {"params": "arguments", "returns": "result"}
    return [f"no {word}" for name, word in words.items() if not any(event.get(name) for event in got.calls)]


def _check_llm(what: str, server: ModelServer, got: Seen) -> list[str]:
    log, problems = server.log, []
    made = [sum(asked.tokens_in + _cache(asked.path) for asked in log), sum(asked.tokens_out for asked in log)]
    kept = [sum(event.get(name) or 0 for event in got.calls) for name in ("tokens_in", "tokens_out")]
    if made != kept:
        problems.append(f"tokens {made[0]}/{made[1]} used, {kept[0]}/{kept[1]} recorded")
    elif not all(event.get("cost") for event in got.calls):
        problems.append("no cost")
    if what == "tools" and not any(event.get("tool_calls") for event in got.calls):
        problems.append("the call of the tool is not there")
    if what == "stream" and not all(asked.body.get("stream") for asked in log):
        problems.append("the answer was not streamed")
    elif what == "stream" and not any(event.get("time_to_first_token") for event in got.calls):
        problems.append("no time to first token")
    return problems


def _cache(path: str) -> int:
    """Return how many tokens of a prompt the server's answer counts beside it, as Anthropic does."""
    return 7 if path.endswith("/messages") else 0


def version(python: Path, package: str) -> str:
    """Return the version of what a client is, as it was installed."""
    name = package.partition("[")[0]
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def try_client(name: str, client: Client) -> list[str]:
    """Run every try of a client, and return its line of the table."""
    python = environment(name, client)
    cells = [f"{name} {version(python, client.packages[0])}"]
    for what in ("call", "async", "stream", "tools", "error", "killed"):
        if what not in client.tries:
            cells.append("–")
            continue
        with tempfile.TemporaryDirectory() as folder, ModelServer() as server:
            home = Path(folder)
            output = ""
            try:
                output = run(python, client, what, server, home)
                problems = check(what, server, seen(home, client.calls), client.calls)
            except subprocess.TimeoutExpired as error:  # a busy machine; the other tries go on
                problems = [f"no end in {error.timeout:.0f} s"]
            except Exception as error:
                problems = [f"{type(error).__name__}: {error}"]
            cells.append("; ".join(problems) or "yes")
            print(f"{name:26}{what:8}{cells[-1]}", flush=True)
            if problems and output:
                print("    " + output.replace("\n", "\n    ")[-1500:])
    return cells


def killed(name: str, many: int) -> bool:
    """Kill a client so often in mid-call, and return whether each call is named."""
    client = CLIENTS[name]
    named = clients_killed.kill(environment(name, client), client, many, surroundings)
    print(f"{name:26}killed {many} times in mid-call, named {named} times", flush=True)
    return named == many


def of_agentops(release: str) -> Path:
    """Return the Python of an environment with a release of AgentOps."""
    return environment(f"agentops {release}", Client(clients_hub.PACKAGES[release], "", {}))


def write_line(cells: list[str]) -> None:
    """Write the line of a client into the table of the docs, in place of its old one."""
    head = ["client", "call", "async", "stream", "tools", "error", "killed in mid-call"]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    known = [[cell.strip() for cell in line.strip("| ").split("|")] for line in old.split("\n") if line]
    by_name = {line[0].rpartition(" ")[0]: line for line in [*known, cells]}
    rows = [head, ["---"] * len(head), *(by_name[name] for name in CLIENTS if name in by_name)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Try the clients that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"one of: {', '.join(CLIENTS)}")
    parser.add_argument("--table", action="store_true", help="write the table into the docs")
    parser.add_argument("--hub", action="store_true", help="AgentOps clients, by release, against a hub")
    parser.add_argument("--page", action="store_true", help="run the programs of the page of frameworks, and write it")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill each client so often in mid-call")
    options = parser.parse_args()
    names = list(clients_hub.PACKAGES if options.hub else CLIENTS)
    unknown = set(options.clients).difference(names)
    if unknown:
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    if options.hub:
        return clients_hub.main(options.clients, of_agentops, table=options.table)
    if options.page:
        return clients_page.main(options.clients, lambda name: environment(name, CLIENTS[name]), surroundings)
    if options.kills:
        named = [killed(name, options.kills) for name in options.clients or CLIENTS]
        return int(not all(named))
    lines = []
    for name in options.clients or CLIENTS:
        lines.append(try_client(name, CLIENTS[name]))
        if options.table:  # at once: all of them take an hour
            write_line(lines[-1])
    return int(any(cell not in ("yes", "–") for line in lines for cell in line[1:]))


if __name__ == "__main__":
    sys.exit(main())
