"""LangChain and the client that its models use, both recording themselves: one call, in its chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from . import programs, warm
from .model_server import ModelServer
from .warm import Warm

START = """
import asyncio, json, localops, openai
session = localops.init()
from langchain_core.caches import InMemoryCache
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="gpt-4o", max_retries=0)
chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | model
client = openai.OpenAI(max_retries=0)
def ask(words):
    message = {"role": "user", "content": words}
    return client.chat.completions.create(model="gpt-4o", messages=[message]).choices[0].message.content
def tell(*sessions):
    for one in sessions or [session]:
        keys = ("id", "kind", "name", "parent", "cost", "from_cache", "failed")
        events = [{key: event.get(key) for key in keys} for event in one.events]
        print(json.dumps([one.get_analytics()["LLM calls"], events]))
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server that answers as model providers do."""
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def loaded() -> Warm:
    """A program that has loaded LangChain before localops is; the first test loads it after."""
    parts = "caches", "prompts", "runnables"
    return warm.holding(*(f"langchain_core.{part}" for part in parts), "langchain_openai")


def _told(
    server: ModelServer, code: str, loaded: Warm | None = None, **more: str
) -> list[tuple[int, list[dict[str, Any]]]]:
    """Return the LLM calls and the events of each session that a program tells of."""
    env = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "x", **more}
    done = loaded.run(START + code, env) if loaded else programs.run(START + code, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return [(calls, events) for calls, events in map(json.loads, done.stdout.splitlines())]


def _path(event: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    """Return the names of an event and of what it is in, from the inside."""
    by_id = {each["id"]: each for each in events}
    names = []
    inner: dict[str, Any] | None = event
    while inner is not None:
        names.append(inner["name"])
        inner = by_id.get(inner["parent"])
    return names


IN_CHAIN = ["ChatCompletion", "ChatOpenAI", "RunnableSequence"]


def test_the_call_of_the_client_is_in_its_chain(server: ModelServer) -> None:
    """Below LangChain's own record of it, which is the copy.

    Called, awaited and streamed; then four sessions with five chains each at a time, all with the same words.
    """
    first, *sessions = _told(
        server,
        """
chain.invoke({"q": "hello"})
list(chain.stream({"q": "hello"}))
async def stream():
    async for part in chain.astream({"q": "hello"}): pass
async def one():
    with localops.start_session() as mine:
        runs = [chain.ainvoke({"q": "hello"}) for _ in range(2)] + [stream() for _ in range(3)]
        await asyncio.gather(*runs)
        return mine
async def main():
    await chain.ainvoke({"q": "hello"})
    tell()
    session.end_session("Success")
    return await asyncio.gather(*(one() for _ in range(4)))
tell(*asyncio.run(main()))
""",
    )
    assert len(server.log) == 3 + 20
    assert [first[0], *(calls for calls, _ in sessions)] == [3, 5, 5, 5, 5]
    for calls, events in (first, *sessions):
        assert [_path(event, events) for event in events if event["kind"] == "llm"] == [IN_CHAIN] * calls
        assert [event["name"] for event in events if event["kind"] == "llm_copy"] == ["ChatOpenAI"] * calls


def test_an_answer_from_the_cache_and_a_call_beside_a_stream(server: ModelServer, loaded: Warm) -> None:
    """It is marked, and costs nothing: no request has left the machine.

    The loop over a model's answer belongs to the program, so a call in it is beside the model's; a function of a chain
    belongs to the chain.
    """
    cache, beside = _told(
        server,
        """
cached = ChatOpenAI(model="gpt-4o", max_retries=0, cache=InMemoryCache())
for _ in range(2): cached.invoke("hello")
asyncio.run(cached.ainvoke("hello"))
tell()
session.end_session("Success")
session = localops.start_session()
for part in model.stream("hello"):
    ask("beside")
    break
del part
def step(words):
    localops.record(localops.ActionEvent(action_type="noted"))
    with session.operation("inner"):
        ask(words)
    return ask(words)
(RunnableLambda(step) | model).invoke("hello")
tell()
""",
        loaded,
    )
    assert len(server.log) == 1 + 5
    calls, events = cache
    assert calls == 1
    runs = [event for event in events if event["name"] == "ChatOpenAI"]
    assert [(run["kind"], run["from_cache"], run["cost"]) for run in runs] == [
        ("llm_copy", None, None),
        ("llm_copy", True, 0),
        ("llm_copy", True, 0),
    ]

    calls, events = beside
    assert calls == 5
    assert not [event for event in events if event["kind"] == "error" or event["failed"]]
    paths = sorted(_path(event, events) for event in events if event["kind"] == "llm")
    assert paths == [
        ["ChatCompletion"],
        ["ChatCompletion", "ChatOpenAI"],
        IN_CHAIN,
        ["ChatCompletion", "inner", "step", "RunnableSequence"],
        ["ChatCompletion", "step", "RunnableSequence"],
    ]
    (noted,) = [event for event in events if event["name"] == "noted"]
    assert _path(noted, events) == ["noted", "step", "RunnableSequence"]


def test_an_error_that_langchain_raises_as_its_own_is_one(server: ModelServer, loaded: Warm) -> None:
    """Its class is derived from that of the client, and says the same; each attempt is one error."""
    ((calls, events),) = _told(
        server,
        """
for retried in (model, model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)):
    try: retried.invoke("fail 429")
    except openai.RateLimitError: pass
tell()
""",
        loaded,
    )
    assert len(server.log) == calls == 3
    assert [event["name"] for event in events if event["kind"] == "error"] == ["RateLimitError"] * 3
    assert all(event["failed"] for event in events if event["kind"] in ("llm", "llm_copy"))


def test_the_tokens_that_only_langchain_reads_count_once(server: ModelServer, loaded: Warm) -> None:
    """langchain-anthropic requests the raw response, whose stream the client's instrumentor ignores.

    They are those of the call, which has its price; a stream that is left half way has none.
    """
    ((calls, events),) = _told(
        server,
        """
import anthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
claude = anthropic.Anthropic(max_retries=0)
class Claude(BaseChatModel):
    @property
    def _llm_type(self): return "anthropic-chat"
    def _get_ls_params(self, stop=None, **more): return {"ls_provider": "anthropic", "ls_model_type": "chat"}
    def _generate(self, *args, **kwargs): raise NotImplementedError
    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        asked = [{"role": "user", "content": messages[-1].content}]
        raw = claude.messages.with_raw_response.create(
            model="claude-3-5-haiku-latest", max_tokens=99, messages=asked, stream=True)
        for part in raw.parse():
            usage = None
            if part.type == "message_delta":
                given = part.usage
                read, written = given.cache_read_input_tokens, given.cache_creation_input_tokens
                tokens_in = given.input_tokens + read + written
                usage = {"input_tokens": tokens_in, "output_tokens": given.output_tokens,
                         "total_tokens": tokens_in + given.output_tokens,
                         "input_token_details": {"cache_read": read, "cache_creation": written}}
            text = part.delta.text if part.type == "content_block_delta" else ""
            yield ChatGenerationChunk(message=AIMessageChunk(content=text, usage_metadata=usage))
for part in Claude().stream("hello"): pass
for part in Claude().stream("hello"): break
del part
tell()
""",
        loaded,
        ANTHROPIC_BASE_URL=server.url,
        ANTHROPIC_API_KEY="x",
    )
    assert calls == len(server.log) == 2
    assert [event["cost"] for event in events if event["kind"] == "llm"] == [35_320, None]
    assert [event["kind"] for event in events if event["name"] == "Claude"] == ["llm_copy"] * 2


def test_a_handler_without_init_records_the_whole_first_chain(loaded: Warm) -> None:
    """A handler switches instrumentation on before the chain begins, so no run is recorded in part."""
    code = """
from langchain_core.runnables import RunnableLambda
from localops.langchain import LangchainCallbackHandler
handler = LangchainCallbackHandler(tags=["nightly"])
chain = RunnableLambda(lambda question: question) | RunnableLambda(str)
chain.invoke("how high?", config={"callbacks": [handler]})
print(handler.session.tags, [event["name"] for event in handler.session.events][-1])
"""
    done = loaded.run(code)
    assert (done.returncode, done.stdout) == (0, "['nightly'] RunnableSequence\n"), done.stderr
