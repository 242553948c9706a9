"""Tool calls of MCP clients: the real SDK, with a server in the same process or at the other end of a connection."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from localops.reading import analytics

from . import programs, warm
from .model_server import ModelServer

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="mcp is not installed")

SETUP = """
import asyncio
import localops
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
server = MCPServer("towns")
@server.tool()
async def weather(city: str) -> str:
    if city == "refused":
        raise MCPError(-32602, "no such city")
    if city == "slow":
        await asyncio.sleep(60)
    if city == "broken":
        raise ToolError("the barometer is broken")
    return "rain in " + city
def run(work):
    async def connected():
        async with Client(server) as client:
            await work(client)
    asyncio.run(connected())
"""
OTEL = "from localops import otel; otel.install()\n"


def _run(code: str) -> tuple[list[dict[str, Any]], str]:
    """Run a program to its end; return the events of its session, without the SDK's own spans, and its stderr."""
    holder = warm.holding("mcp", "mcp.server.mcpserver", "mcp.client.client", "opentelemetry.sdk.trace")
    done = holder.run(SETUP + code, {})
    assert done.returncode == 0, done.stderr
    return [event for event in _events() if event.get("scope") != "mcp-python-sdk"], done.stderr


def _events() -> list[dict[str, Any]]:
    with programs.reader() as reader:
        return list(analytics.events(reader, programs.sessions()[-1]))


@pytest.mark.parametrize("spans", ["", OTEL])
def test_a_call_has_arguments_result_and_error(spans: str) -> None:
    """Each counts once, also when the SDK's own spans are recorded; what the program gets does not change."""
    events, _ = _run(
        spans
        + """
localops.init()
async def work(client):
    answer = await client.call_tool("weather", {"city": "Brest"}, meta={"claudecode/toolUseId": "toolu_1"})
    assert answer.content[0].text == "rain in Brest"
    assert (await client.session.call_tool("weather", arguments={"city": "broken"})).is_error
    for city, seconds in ("refused", None), ("slow", 0.05):
        try:
            await client.call_tool("weather", {"city": city}, seconds)
        except MCPError:
            continue
        raise AssertionError(city)
    try:
        await asyncio.wait_for(client.call_tool("weather", {"city": "slow"}), 0.05)
    except TimeoutError:
        pass
run(work)
"""
    )
    calls = [event for event in events if event["kind"] == "tool"]
    cities = ["Brest", "broken", "refused", "slow", "slow"]
    assert [(call["name"], call["params"]) for call in calls] == [("weather", {"city": city}) for city in cities]
    assert (calls[0]["call_id"], calls[0]["failed"]) == ("toolu_1", False)
    assert calls[0]["returns"]["content"] == [{"type": "text", "text": "rain in Brest"}]
    assert calls[0]["returns"]["structuredContent"] == {"result": "rain in Brest"}
    assert [call["failed"] for call in calls[1:]] == [True] * 4
    assert calls[4]["ended_by"] == "CancelledError"
    errors = [(event["name"], event["details"]) for event in events if event["kind"] == "error"]
    assert [name for name, _ in errors] == ["Error", "MCPError", "MCPError"]
    assert "the barometer is broken" in errors[0][1]
    assert "no such city" in errors[1][1]
    totals = programs.figures()
    assert (totals.tools, totals.errors) == (5, 3)


def test_the_rounds_of_a_call_are_one() -> None:
    """A tool that asks the client for something before it answers is called once."""
    events, _ = _run("""
import mcp_types as types
from mcp.server.lowlevel.server import Server
question = types.ElicitRequest(
    params=types.ElicitRequestFormParams(message="where?", requested_schema={"type": "object", "properties": {}})
)
rounds = []
async def list_tools(_, __):
    return types.ListToolsResult(tools=[types.Tool(name="plan", input_schema={"type": "object"})])
async def call_tool(_, params):
    rounds.append(params)
    if params.input_responses is None:
        return types.InputRequiredResult(input_requests={"town": question}, request_state="asked")
    return types.CallToolResult(content=[types.TextContent(type="text", text="to Brest")])
async def chosen(_, __):
    return types.ElicitResult(action="accept", content={})
server = Server("towns", on_list_tools=list_tools, on_call_tool=call_tool)
localops.init()
async def work():
    async with Client(server, elicitation_callback=chosen) as client:
        await client.call_tool("plan")
asyncio.run(work())
assert len(rounds) == 2
""")
    (call,) = [event for event in events if event["kind"] == "tool"]
    assert (call["name"], call["failed"]) == ("plan", False)
    assert call["returns"]["content"] == [{"type": "text", "text": "to Brest"}]


def test_a_call_inside_a_frameworks_tool_is_counted_there() -> None:
    """A framework's span of the same tool is the one that counts; a tool of another name is another call."""
    events, _ = _run("""
from localops import otel
tracer = otel.private_provider().get_tracer("framework")
localops.init()
async def work(client):
    for name in "towns_weather", "plan a journey":
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        with tracer.start_as_current_span(name, attributes=about):
            await client.call_tool("weather", {"city": "Brest"})
run(work)
""")
    kinds = {(event["kind"], event["name"]) for event in events}
    assert kinds == {
        ("tool", "towns_weather"),
        ("operation", "weather"),
        ("tool", "plan a journey"),
        ("tool", "weather"),
    }


@pytest.mark.parametrize(
    "off", ["localops.init(instrument_llm_calls=False)", "localops.init(); localops.stop_instrumenting()"]
)
def test_nothing_is_recorded_when_it_is_off(off: str) -> None:
    """Libraries are left alone from the start, or from then on."""
    events, _ = _run(f"{off}\nrun(lambda client: client.call_tool('weather', {{'city': 'Brest'}}))")
    assert not events


def test_no_content_is_kept_where_it_is_not_captured() -> None:
    """Name, time and failure stay."""
    events, _ = _run("""
localops.init(capture=False)
run(lambda client: client.call_tool("weather", {"city": "broken"}))
""")
    (call,) = [event for event in events if event["kind"] == "tool"]
    assert call["failed"]
    assert not {"params", "returns"} & call.keys()
    assert "barometer" not in str(events)


def test_a_release_that_is_not_known_is_left_alone() -> None:
    """Its method stays as it is, without a warning: its users may call no tool."""
    events, warnings = _run("""
from mcp.client.session import ClientSession
async def call_tool(self, name, arguments=None):
    return "as before"
ClientSession.call_tool = call_tool
localops.init()
assert ClientSession.call_tool is call_tool
assert localops.instrument.recorded() == []
""")
    assert (events, warnings) == ([], "")


def test_a_kill_in_the_middle_of_a_call_names_it() -> None:
    """With its arguments, while the server has not answered yet."""
    with ModelServer() as server:
        program = programs.start(
            "import asyncio, localops\nlocalops.init()\nfrom mcp import Client\n"
            f"async def work():\n    async with Client('{server.url}/mcp') as client:\n"
            "        await client.call_tool('weather', {'city': 'wait'})\nasyncio.run(work())"
        )
        assert server.waiting.wait(60)
        programs.kill(program)
    (call,) = _events()
    assert (call["kind"], call["name"], call["params"]) == ("tool", "weather", {"city": "wait"})
    assert not call["finished"]
    assert "weather" in str(programs.standing().reason)
