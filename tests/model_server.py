"""A server on the loopback address with the APIs of model providers, and a log of its requests.

It answers OpenAI's chat completions and Responses, Anthropic's messages and Gemini's contents: whole or streamed, with
tool calls, and with errors; also OpenAI's moderations and Anthropic's count of tokens, which are free and not in the
log.  The words of the last message choose the answer:

    `fail 429`   an error with that status
    `tool`       a call of the tool `weather`
    `constant`   "You wrote: …", with the same id each time
    `wait`       no answer until the connection is closed
    else         "You wrote: …"

At `/mcp` it is an MCP server with one tool, `weather`; the city chooses the answer, by the same words.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

ARGUMENTS = {"city": "Brest"}


class Asked(NamedTuple):
    """A request that was answered, and the figures of the answer."""

    path: str
    body: dict[str, Any]
    status: int
    tokens_in: int
    tokens_out: int


class ModelServer:
    """Serves on a free port until it is closed.

    >>> with ModelServer() as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self) -> None:
        self.log: list[Asked] = []
        self.waiting = threading.Event()
        self.numbers = itertools.count(1)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Return the address that it listens at."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _last_words(body: dict[str, Any]) -> str:
    """Return the text of the last message of a request, of any of the APIs."""
    messages = body.get("messages") or body.get("input") or body.get("contents") or ""
    last = messages[-1] if isinstance(messages, list) and messages else messages
    content = last.get("content", last.get("output", last.get("parts", ""))) if isinstance(last, dict) else last
    if isinstance(content, list):
        content = " ".join(str(part.get("text", part.get("content", ""))) for part in content if isinstance(part, dict))
    # CrewAI and smolagents write something before a task.
    return str(content).strip().removeprefix("Current Task: ").removeprefix("New task:\n")


def _is_answer_of_a_tool(body: dict[str, Any]) -> bool:
    messages = body.get("messages") or body.get("input") or body.get("contents")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    if not isinstance(last, dict):
        return False
    content = last.get("content", last.get("parts"))
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return (
        last.get("role") == "tool"
        or last.get("type") == "function_call_output"
        or any(part.get("type") == "tool_result" or "functionResponse" in part for part in parts)
    )


class _Reply(NamedTuple):
    whole: dict[str, Any]
    stream: list[tuple[str | None, dict[str, Any]]]
    tokens_in: int
    tokens_out: int


def _chat(body: dict[str, Any], words: str, tool: bool, number: int) -> _Reply:
    model = body["model"]
    tokens_in, tokens_out = 10 + len(words), 5
    usage = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    own = 0 if words.startswith("constant") else number
    about = {"id": f"chatcmpl-{own}", "created": 1_700_000_000, "model": model}
    call = {
        "id": f"call-{number}",
        "type": "function",
        "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)},
    }
    message: dict[str, Any] = {"role": "assistant", "content": None if tool else f"You wrote: {words}"}
    if tool:
        message["tool_calls"] = [call]
    reason = "tool_calls" if tool else "stop"
    whole = {
        **about,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage,
    }
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"tool_calls": [{"index": 0, **call}]}] if tool else [{"content": "You wrote: "}, {"content": words}]
    chunks: list[dict[str, Any]] = [
        {**about, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks.append(
        {**about, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    )
    if body.get("is_groqs"):
        chunks[-1]["x_groq"] = {"id": f"req-{number}", "usage": usage}
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**about, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return _Reply(whole, [(None, chunk) for chunk in chunks], tokens_in, tokens_out)


def _responses(body: dict[str, Any], words: str, tool: bool, number: int) -> _Reply:
    tokens_in, tokens_out = 10 + len(words), 5
    text = f"You wrote: {words}"
    item: dict[str, Any] = (
        {
            "type": "function_call",
            "id": f"fc-{number}",
            "call_id": f"call-{number}",
            "name": "weather",
            "arguments": json.dumps(ARGUMENTS),
            "status": "completed",
        }
        if tool
        else {
            "type": "message",
            "id": f"msg-{number}",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
    )
    whole = {
        "id": f"resp-{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": body["model"],
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": tokens_in,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": tokens_out,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": tokens_in + tokens_out,
        },
    }
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
    ]
    if not tool:
        place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        events.append({"type": "response.output_text.delta", **place, "delta": text, "logprobs": []})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "response.completed", "response": whole})
    stream: list[tuple[str | None, dict[str, Any]]] = [
        (str(event["type"]), {**event, "sequence_number": at}) for at, event in enumerate(events)
    ]
    return _Reply(whole, stream, tokens_in, tokens_out)


def _messages(body: dict[str, Any], words: str, tool: bool, number: int) -> _Reply:
    tokens_in, tokens_out = 10 + len(words), 5
    usage = {
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 3,
    }
    block: dict[str, Any] = (
        {"type": "tool_use", "id": f"toolu-{number}", "name": "weather", "input": ARGUMENTS}
        if tool
        else {"type": "text", "text": f"You wrote: {words}"}
    )
    reason = "tool_use" if tool else "end_turn"
    whole = {
        "id": f"msg-{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    empty = {**block, "input": {}} if tool else {"type": "text", "text": ""}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(ARGUMENTS)}
        if tool
        else {"type": "text_delta", "text": f"You wrote: {words}"}
    )
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": usage,  # of the whole message, as the API of today has it here
        },
        {"type": "message_stop"},
    ]
    return _Reply(whole, [(str(event["type"]), event) for event in events], tokens_in, tokens_out)


def _contents(body: dict[str, Any], words: str, tool: bool, number: int) -> _Reply:
    tokens_in, candidates, thoughts = 10 + len(words), 3, 2
    about = {"modelVersion": body["model"], "responseId": f"gemini-{number}"}
    usage = {
        "promptTokenCount": tokens_in,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": tokens_in + candidates + thoughts,
    }
    texts = ["You wrote: ", words]
    parts: list[dict[str, Any]] = (
        [{"functionCall": {"id": f"call-{number}", "name": "weather", "args": ARGUMENTS}}]
        if tool
        else [{"text": "".join(texts)}]
    )

    def candidate(parts: list[dict[str, Any]], **more: str) -> dict[str, Any]:
        return {**about, "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, **more}]}

    whole = {**candidate(parts, finishReason="STOP"), "usageMetadata": usage}
    chunks = [candidate(parts)] if tool else [candidate([{"text": text}]) for text in texts]
    chunks.append({**candidate([{"text": ""}], finishReason="STOP"), "usageMetadata": usage})
    return _Reply(whole, [(None, chunk) for chunk in chunks], tokens_in, candidates + thoughts)


_FREE: dict[str, dict[str, Any]] = {
    "/moderations": {"id": "modr-1", "model": "omni-moderation-latest", "results": []},
    "/messages/count_tokens": {"input_tokens": 15},
}


_APIS = {"/chat/completions": _chat, "/responses": _responses, "/messages": _messages}
_GEMINI = {":generateContent": False, ":streamGenerateContent": True}

_TOOL = {
    "name": "weather",
    "description": "of a city",
    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_MCP_ERROR = -32602


def _mcp(method: str, params: dict[str, Any], words: str) -> dict[str, Any]:
    """Return the answer to a request of an MCP client: a result, or an error."""
    if method == "initialize":
        about = {"name": "model server", "version": "1"}
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    elif method == "tools/list":
        result = {"tools": [_TOOL]}
    elif method == "tools/call" and not words.startswith("fail"):
        result = {"content": [{"type": "text", "text": f"rain in {words}"}], "isError": False}
    elif method == "tools/call":
        return {"error": {"code": _MCP_ERROR, "message": f"no such city: {words}"}}
    else:
        return {"error": {"code": -32601, "message": f"no such method: {method}"}}
    return {"result": result}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        """Answer a request of any of the APIs."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        if path == "/mcp":
            self._answer_mcp(body)
            return
        free = next((answer for end, answer in _FREE.items() if path.endswith(end)), None)
        if free is not None:
            self._send(200, free)
            return
        api = next((api for end, api in _APIS.items() if path.endswith(end)), None)
        for end, stream in _GEMINI.items():
            if path.endswith(end):  # the path says what others say in the body
                api, body = _contents, {**body, "model": path.removesuffix(end).rpartition("/")[2], "stream": stream}
        if path.startswith("/openai/"):  # the address of groq, whose streams always end with their tokens
            body = {**body, "is_groqs": True}
        if api is None:
            self._send(404, {"error": {"message": f"no such path: {self.path}"}})
            return
        words = _last_words(body)
        if words.startswith("wait"):
            self._wait()
        elif words.startswith("fail"):
            status = int(words.split()[1])
            self.server.owner.log.append(Asked(self.path, body, status, 0, 0))
            error: dict[str, Any] = {"type": "made_error", "message": f"failed with {status}", "code": "made"}
            if api is _contents:
                error = {"code": status, "message": error["message"], "status": "MADE"}
            self._send(status, {"type": "error", "error": error})
        else:
            self._answer(api, body, words)

    def do_GET(self) -> None:
        """Refuse the stream of an MCP server's own messages: there are none."""
        self._send(405, {})

    def do_DELETE(self) -> None:
        """Refuse to end an MCP session: there are none."""
        self._send(405, {})

    def _wait(self) -> None:
        self.server.owner.waiting.set()
        time.sleep(60)

    def _answer_mcp(self, body: dict[str, Any]) -> None:
        if "id" not in body:
            self._send(202, {})
            return
        method, params = body["method"], body.get("params") or {}
        words = str((params.get("arguments") or {}).get("city", ""))
        if words.startswith("wait"):
            self._wait()
            return
        reply = _mcp(method, params, words)
        if method == "tools/call":
            self.server.owner.log.append(Asked(self.path, body, 200, 0, 0))
        self._send(200, {"jsonrpc": "2.0", "id": body["id"], **reply})

    def _answer(self, api: Callable[..., _Reply], body: dict[str, Any], words: str) -> None:
        owner = self.server.owner
        tool = words.startswith("tool") and bool(body.get("tools")) and not _is_answer_of_a_tool(body)
        reply = api(body, words, tool, next(owner.numbers))
        owner.log.append(Asked(self.path, body, 200, reply.tokens_in, reply.tokens_out))
        if body.get("stream"):
            self._stream(reply.stream, done=api is _chat)
        else:
            self._send(200, reply.whole)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: list[tuple[str | None, dict[str, Any]]], *, done: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in _lines(events, done=done):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):  # the client has seen enough
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: ModelServer


def _lines(events: list[tuple[str | None, dict[str, Any]]], *, done: bool) -> Iterator[bytes]:
    """Return the events of a stream as they are sent; OpenAI's chat ends with a word of its own."""
    for name, event in events:
        head = f"event: {name}\n" if name else ""
        yield f"{head}data: {json.dumps(event)}\n\n".encode()
    if done:
        yield b"data: [DONE]\n\n"


if __name__ == "__main__":
    with ModelServer() as running:
        print(running.url, flush=True)
        threading.Event().wait()
