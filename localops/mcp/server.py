"""The Model Context Protocol on stdin and stdout, as the SDK speaks it: with a handshake, or a request at a time.

Tools are called one after another.  An error is the answer of the tool, for the agent to read.
"""

from __future__ import annotations

import sys
import traceback

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from localops import __version__
from localops.errors import ConfigError, LocalopsError
from localops.journal.reader import SQLiteError, user_message
from localops.mcp.tools import INSTRUCTIONS, TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.mcp.memory import Memory

_HOUR_MS = 3_600_000


def serve(memory: Memory) -> None:
    """Answer on stdin and stdout until the client closes them."""
    memory.start()
    try:
        anyio.run(_serve, memory)
    finally:
        memory.close()


async def _serve(memory: Memory) -> None:
    server = _server(memory)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _server(memory: Memory) -> Server[Any]:
    async def list_tools(_: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=_TOOLS)

    async def call_tool(_: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await anyio.to_thread.run_sync(_call, memory, params.name, params.arguments or {})

    return Server(
        "localops",
        title="localops",
        version=__version__,
        instructions=INSTRUCTIONS,
        # The tools of a release are the same for everyone.
        cache_hints={"tools/list": CacheHint(ttl_ms=_HOUR_MS, scope="public")},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


_TOOLS = [
    types.Tool(
        name=name,
        title=tool.title,
        description=tool.about,
        input_schema=tool.schema,
        annotations=types.ToolAnnotations(
            title=tool.title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )
    for name, tool in TOOLS.items()
]


def _call(memory: Memory, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    tool = TOOLS.get(name)
    if tool is None:
        raise MCPError(types.INVALID_PARAMS, f"unknown tool {name[:80]!r}: there is {', '.join(TOOLS)}")
    try:
        return _result(tool.call(memory, arguments))
    except ConfigError as error:
        return _result(f"Wrong arguments of {name}: {error}", is_error=True)
    except LocalopsError as error:
        return _result(str(error), is_error=True)
    except (SQLiteError, OSError) as error:
        return _result(user_message(error), is_error=True)
    except Exception as error:  # the edge: a bug of ours ends a call, and not the server
        traceback.print_exc(file=sys.stderr)
        return _result(
            f"localops could not answer ({type(error).__name__}): see stderr of `localops mcp`", is_error=True
        )


def _result(text: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)
