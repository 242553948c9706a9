"""The content of model libraries' responses, and LLM calls that returned one."""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pytest

from localops import LLMEvent, Session, start_session
from localops.recording import responses
from localops.recording.responses import Reply, read

CHAT = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "tide", "arguments": '{"port":"Brest"}'}}
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 80,
        "total_tokens": 1280,
        "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3},
    },
    "system_fingerprint": "fp_1",
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1741476542,
    "status": "completed",
    "model": "gpt-5-2025-08-07",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "4 m", "annotations": []}],
        },
        {
            "id": "fc_1",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "tide",
            "arguments": '{"port":"Brest"}',
        },
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 2},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 123,
    },
}
MESSAGE = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-20250514",
    "content": [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "tide", "input": {"port": "Brest"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "output_tokens": 50,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 2000,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    },
}
GEMINI = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [{"text": "4 m"}, {"functionCall": {"name": "tide", "args": {"port": "Brest"}}}],
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 70,
        "toolUsePromptTokenCount": 9,
        "totalTokenCount": 184,
        "cachedContentTokenCount": 40,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 88},
            {"modality": "AUDIO", "tokenCount": 12},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
    },
    "modelVersion": "gemini-2.5-pro",
    "responseId": "r-1",
}
CONVERSE = {
    "ResponseMetadata": {"RequestId": "req-1", "HTTPStatusCode": 200},
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"text": "Let me look."},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "tide", "input": {"port": "Brest"}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {
        "inputTokens": 10,
        "outputTokens": 50,
        "totalTokens": 360,
        "cacheReadInputTokens": 200,
        "cacheWriteInputTokens": 100,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 60}, {"ttl": "1h", "inputTokens": 40}],
    },
    "metrics": {"latencyMs": 12},
}
OLLAMA = {
    "model": "llama3.2",
    "created_at": "2025-08-01T00:00:00Z",
    "message": {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "tide", "arguments": {"port": "Brest"}}}],
    },
    "done_reason": "stop",
    "done": True,
    "total_duration": 5589157167,
    "prompt_eval_count": 26,
    "eval_count": 298,
}
GENERATED = {
    "model": "llama3.2",
    "created_at": "2025-08-01T00:00:00Z",
    "response": "4 m",
    "done": True,
    "done_reason": "length",
    "context": [1, 2],
    "prompt_eval_count": 26,
    "eval_count": 298,
}
COHERE = {
    "id": "c14c80c3",
    "finish_reason": "TOOL_CALL",
    "message": {
        "role": "assistant",
        "tool_plan": "Look.",
        "tool_calls": [
            {"id": "tide_1", "type": "function", "function": {"name": "tide", "arguments": '{"port":"Brest"}'}}
        ],
    },
    "usage": {
        "billed_units": {"input_tokens": 15, "output_tokens": 10},
        "tokens": {"input_tokens": 75, "output_tokens": 12},
    },
}
LANGCHAIN = {
    "content": "Let me look.",
    "additional_kwargs": {"tool_calls": [{"id": "call_1"}], "refusal": None},
    "response_metadata": {
        "model_name": "gpt-4o-2024-08-06",
        "finish_reason": "tool_calls",
        "id": "chatcmpl-9",
        "model_provider": "openai",
    },
    "type": "ai",
    "id": "run--1",
    "tool_calls": [{"name": "tide", "args": {"port": "Brest"}, "id": "call_1", "type": "tool_call"}],
    "invalid_tool_calls": [],
    "usage_metadata": {
        "input_tokens": 350,
        "output_tokens": 240,
        "total_tokens": 590,
        "input_token_details": {
            "audio": 10,
            "cache_creation": 0,
            "cache_read": 100,
            "ephemeral_5m_input_tokens": 5,
            "ephemeral_1h_input_tokens": 6,
        },
        "output_token_details": {"audio": 10, "reasoning": 200},
    },
}

ASKED = {"name": "tide", "arguments": '{"port":"Brest"}'}
ASKED_AS_DICT = {"name": "tide", "arguments": {"port": "Brest"}}

# By name: a response, and what it says; the completion is in the test after this one.
SAMPLES: dict[str, tuple[dict[str, Any], dict[str, object]]] = {
    "chat": (
        CHAT,
        {
            "model": "gpt-4o-2024-08-06",
            "prompt_tokens": 1200,
            "completion_tokens": 80,
            "cached_tokens": 1000,
            "reasoning_tokens": 20,
            "input_audio_tokens": 7,
            "output_audio_tokens": 3,
            "finish_reason": "tool_calls",
            "tool_calls": [{"id": "call_1", **ASKED}],
            "response_id": "chatcmpl-9",
        },
    ),
    "response": (
        RESPONSE,
        {
            "model": "gpt-5-2025-08-07",
            "prompt_tokens": 36,
            "completion_tokens": 87,
            "cached_tokens": 30,
            "cache_write_tokens": 2,
            "reasoning_tokens": 64,
            "finish_reason": "completed",
            "tool_calls": [{"id": "call_1", **ASKED}],
            "response_id": "resp_1",
        },
    ),
    "message": (
        MESSAGE,
        {
            "model": "claude-sonnet-4-20250514",
            "provider": "anthropic",
            "prompt_tokens": 2310,
            "completion_tokens": 50,
            "cached_tokens": 2000,
            "cache_write_tokens": 300,
            "cache_write_1h_tokens": 200,
            "finish_reason": "tool_use",
            "tool_calls": [{"id": "toolu_1", **ASKED_AS_DICT}],
            "response_id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        },
    ),
    "gemini": (
        GEMINI,
        {
            "model": "gemini-2.5-pro",
            "provider": "google",
            "prompt_tokens": 109,
            "completion_tokens": 75,
            "cached_tokens": 40,
            "reasoning_tokens": 70,
            "input_audio_tokens": 12,
            "cached_audio_tokens": 4,
            "finish_reason": "STOP",
            "tool_calls": [{"id": None, **ASKED_AS_DICT}],
            "response_id": "r-1",
        },
    ),
    "converse": (
        CONVERSE,
        {
            "provider": "bedrock",
            "prompt_tokens": 310,
            "completion_tokens": 50,
            "cached_tokens": 200,
            "cache_write_tokens": 100,
            "cache_write_1h_tokens": 40,
            "finish_reason": "tool_use",
            "tool_calls": [{"id": "tooluse_1", **ASKED_AS_DICT}],
            "response_id": "req-1",
        },
    ),
    "ollama": (
        OLLAMA,
        {
            "model": "llama3.2",
            "provider": "ollama",
            "prompt_tokens": 26,
            "completion_tokens": 298,
            "finish_reason": "stop",
            "tool_calls": [{"id": None, **ASKED_AS_DICT}],
        },
    ),
    "generated": (
        GENERATED,
        {
            "model": "llama3.2",
            "provider": "ollama",
            "prompt_tokens": 26,
            "completion_tokens": 298,
            "finish_reason": "length",
        },
    ),
    "cohere": (
        COHERE,
        {
            "provider": "cohere",
            "prompt_tokens": 15,
            "completion_tokens": 10,
            "finish_reason": "TOOL_CALL",
            "tool_calls": [{"id": "tide_1", **ASKED}],
            "response_id": "c14c80c3",
        },
    ),
    "langchain": (
        LANGCHAIN,
        {
            "model": "gpt-4o-2024-08-06",
            "provider": "openai",
            "prompt_tokens": 350,
            "completion_tokens": 240,
            "cached_tokens": 100,
            "cache_write_tokens": 11,
            "cache_write_1h_tokens": 6,
            "reasoning_tokens": 200,
            "input_audio_tokens": 10,
            "output_audio_tokens": 10,
            "finish_reason": "tool_calls",
            "tool_calls": [{"id": "call_1", **ASKED_AS_DICT}],
            "response_id": "chatcmpl-9",
        },
    ),
}
WITHOUT = ("completion", "plain", "rest")


def content(reply: Reply | None) -> dict[str, object] | None:
    """Return the content of a reply, without the response itself."""
    if reply is None:
        return None
    return {name: value for name, value in reply._asdict().items() if value is not None and name not in WITHOUT}


class Model:
    """Stands for pydantic's model: an object that knows its fields, and tells them when it is asked."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def model_dump(self, *, exclude_none: bool = False, warnings: bool = True) -> dict[str, Any]:
        """Return the fields as a dict of their own."""
        assert not warnings
        return {name: value for name, value in vars(self).items() if not (exclude_none and value is None)}


Model.__module__ = "pydantic.main"


def of_package(package: str, fields: dict[str, Any], name: str = "Answer") -> Any:
    """Return an object as a library makes it: a model whose class is in a package of it."""
    return type(name, (Model,), {"__module__": f"{package}.types.answer"})(**fields)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_response_has_its_usage(name: str) -> None:
    """Model, tokens by LLMEvent's conventions, finish reason, tool calls and id, from the JSON of each API."""
    response, expected = SAMPLES[name]
    before = json.dumps(response)
    assert content(read(response)) == expected
    assert json.dumps(response) == before


@pytest.mark.parametrize(
    ("package", "name", "provider"),
    [
        ("openai", "chat", None),
        ("openai", "response", None),
        ("groq", "chat", "groq"),
        ("mistralai", "chat", "mistral"),
        ("anthropic", "message", "anthropic"),
        ("google.genai", "gemini", "google"),
        ("ollama", "ollama", "ollama"),
        ("cohere", "cohere", "cohere"),
        ("langchain_core", "langchain", "openai"),
    ],
)
def test_an_object_of_a_library_has_the_content_of_its_json(package: str, name: str, provider: str | None) -> None:
    """It is recognised by the package of its class, or of a base class of the program's own class."""
    response, expected = SAMPLES[name]
    made = of_package(package, response)
    mine = type("Mine", (type(made),), {"__module__": "my_program"})(**response)
    for one in (made, mine):
        assert content(read(one)) == {**expected, **({"provider": provider} if provider else {})}


def test_google_library_names_have_underscores() -> None:
    """A response with the names and the enums of google-genai has the same content."""

    class Word(enum.StrEnum):
        STOP = "STOP"
        AUDIO = "AUDIO"

    response = {
        "candidates": [
            {
                "content": {"parts": [{"text": "4 m"}, {"function_call": {"name": "tide", "args": {"port": "Brest"}}}]},
                "finish_reason": Word.STOP,
            }
        ],
        "usage_metadata": {
            "prompt_token_count": 100,
            "candidates_token_count": 5,
            "thoughts_token_count": 70,
            "tool_use_prompt_token_count": 9,
            "cached_content_token_count": 40,
            "prompt_tokens_details": [{"modality": Word.AUDIO, "token_count": 12}],
            "cache_tokens_details": [{"modality": Word.AUDIO, "token_count": 4}],
        },
        "model_version": "gemini-2.5-pro",
        "response_id": "r-1",
    }
    assert content(read(of_package("google", response))) == SAMPLES["gemini"][1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"x_groq": {"id": "req_1"}}, {"provider": "groq"}),
        ({"prompt_filter_results": []}, {"provider": "azure"}),
        ({"id": "gen-1", "provider": "DeepInfra"}, {"provider": "openrouter"}),
        ({"provider": "of my own"}, {"provider": None}),
        ({"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}}, {"cached_tokens": 4}),
        (
            {"usage": {"prompt_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}},
            {"prompt_tokens": 9, "cached_tokens": 4, "cache_write_tokens": 3},
        ),
        (
            {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 40}}},
            {"prompt_tokens": 49, "cached_tokens": 40},
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 35,
                    "completion_tokens_details": {"reasoning_tokens": 20},
                }
            },
            {"completion_tokens": 25, "reasoning_tokens": 20},
        ),
        ({"usage": None}, {"prompt_tokens": None, "model": "gpt-4o-2024-08-06"}),
        (
            {"usage": {"prompt_tokens": -1, "completion_tokens": True}},
            {"prompt_tokens": None, "completion_tokens": None},
        ),
        ({"usage": {"prompt_tokens": 3.0, "completion_tokens": 1.5}}, {"prompt_tokens": 3, "completion_tokens": None}),
        (
            {"choices": [{"text": "hi", "finish_reason": "stop"}]},
            {"completion": {"role": "assistant", "content": "hi"}},
        ),
        (
            {"choices": [{"message": {"role": "assistant", "content": at}, "finish_reason": "stop"} for at in "ab"]},
            {
                "completion": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
                "finish_reason": "stop",
            },
        ),
        (
            {"choices": [{"message": {"role": "assistant", "function_call": ASKED}}]},
            {"tool_calls": [{"id": None, **ASKED}], "finish_reason": None},
        ),
        ({"choices": []}, {"completion": None, "prompt_tokens": 1200}),
    ],
)
def test_what_others_say_in_openais_shape(change: dict[str, Any], expected: dict[str, object]) -> None:
    """Gateways and makers add to it, count in their own way, or leave things out."""
    reply = read({**CHAT, **change})
    assert reply is not None
    assert {name: getattr(reply, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "msg_bdrk_01"}, {"provider": "bedrock"}),
        ({"id": "msg_vrtx_01"}, {"provider": "vertex_ai"}),
        ({"model": "kimi-k3"}, {"provider": None, "prompt_tokens": 2310}),
        (
            {"usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": None}},
            {"prompt_tokens": 10, "cached_tokens": None, "cache_write_tokens": None},
        ),
        (
            {"usage": {"input_tokens": 10, "cache_creation_input_tokens": 30}},
            {"prompt_tokens": 40, "cache_write_tokens": 30, "completion_tokens": None},
        ),
    ],
)
def test_who_sent_anthropics_message(change: dict[str, Any], expected: dict[str, object]) -> None:
    """Its id tells of Bedrock and Vertex AI; what another maker sends in this shape is not Anthropic's."""
    reply = read({**MESSAGE, **change})
    assert reply is not None
    assert {name: getattr(reply, name) for name in expected} == expected


def test_litellm_has_the_provider() -> None:
    """The provider is beside the fields of its response."""
    response = of_package("litellm", CHAT)
    type(response)._hidden_params = {"custom_llm_provider": "bedrock", "api_key": "k"}
    reply = read(response)
    assert reply is not None
    assert (reply.provider, reply.prompt_tokens) == ("bedrock", 1200)


def test_a_result_of_langchain_holds_messages() -> None:
    """Of several answers to one prompt each has the tokens of the call; those of several prompts are added."""
    message = of_package("langchain_core", LANGCHAIN, "AIMessage")
    made = of_package("langchain_core", {"text": "", "type": "ChatGeneration", "message": message})
    result = of_package("langchain_core", {"generations": [[made, made], [made]], "llm_output": None}, "LLMResult")
    reply = read(result)
    assert reply is not None
    assert (reply.model, reply.prompt_tokens, reply.completion_tokens) == ("gpt-4o-2024-08-06", 700, 480)
    assert isinstance(reply.completion, list)
    assert len(reply.completion) == 3


def test_a_result_of_langchain_holds_texts() -> None:
    """An older model answers in text, and the result counts its tokens."""
    made = of_package("langchain_core", {"text": "hi", "generation_info": {"finish_reason": "stop"}})
    output = {"model_name": "gpt-3.5", "token_usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    reply = read(of_package("langchain_core", {"generations": [[made]], "llm_output": output}, "LLMResult"))
    assert reply is not None
    assert content(reply) == {"model": "gpt-3.5", "prompt_tokens": 3, "completion_tokens": 2, "finish_reason": "stop"}
    assert reply.completion == {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_of_a_response_is_lost_or_kept_twice(name: str) -> None:
    """Every text of it is in the completion or in the rest, and none of the answer in both."""
    response, _ = SAMPLES[name]
    reply = read(response)
    assert reply is not None
    assert reply.plain is response
    kept = [text for part in (reply.completion, reply.rest) for text in texts(part)]
    assert set(kept) >= set(texts(response)) - {"call_1", "tool_call"}
    assert sum("Brest" in text or text in ("4 m", "Let me look.") for text in kept) == sum(
        "Brest" in text or text in ("4 m", "Let me look.") for text in texts(response)
    )


def texts(value: object) -> Iterator[str]:
    """Return every text in a value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


# What is no response


class Refuses:
    """An object whose attributes all raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    @property
    def __class__(self) -> Any:
        raise RuntimeError("class")

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise RuntimeError(kind)

    @property
    def choices(self) -> Any:
        """Raise what ends a program."""
        raise KeyboardInterrupt

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __len__(self) -> int:
        raise RuntimeError("len")

    __hash__ = None  # type: ignore[assignment]


class Stream:
    """A stream of a library: reading from it would take its items away."""

    touched: ClassVar[list[str]] = []

    def __iter__(self) -> Iterator[object]:
        self.touched.append("iter")
        return iter(())

    def __next__(self) -> object:
        self.touched.append("next")
        raise StopIteration

    def __getattr__(self, name: str) -> Any:
        self.touched.append(name)
        raise AttributeError(name)

    def model_dump(self, **_: object) -> dict[str, Any]:
        """Read the stream to its end."""
        self.touched.append("model_dump")
        return CHAT


Stream.__module__ = "openai"


class Loud(dict[str, Any]):
    """A dict whose own methods raise."""

    def get(self, *_: object) -> Any:
        """Raise, as all of its methods do."""
        raise RuntimeError("get")

    keys = items = values = copy = __iter__ = __getitem__ = __contains__ = get


class Comparable:
    """An array: comparing it gives another array, which is neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "choices",
        7,
        [CHAT],
        {},
        {"choices": ["red", "blue"]},
        {"choices": [{"text": "red"}], "usage": "often"},
        {"choices": [1, {"message": {}}], "usage": {"prompt_tokens": 3}},
        {"candidates": [{"content": {"parts": []}, "name": "Ada"}]},
        {"candidates": [{"name": "Ada"}], "usageMetadata": None},
        {"type": "message", "role": "assistant", "content": "hello", "usage": {}},
        {"type": "message", "role": "user", "content": [], "usage": {"input_tokens": 3}},
        {"object": "response", "output": "text"},
        {"output": {"text": "x"}, "stopReason": "end", "usage": {"inputTokens": 3}},
        {"model": "car", "done": True, "message": "sold", "eval_count": 3},
        {"model": "m", "done": False, "message": {"role": "assistant"}, "eval_count": 3},
        {"id": 1, "message": {"role": "user"}, "usage": {}, "finish_reason": "x"},
        {"type": "human", "response_metadata": {}, "content": "hi"},
        {1: 2, None: 3},
    ],
)
def test_what_only_looks_like_a_response_is_left_alone(value: object) -> None:
    """A program's own dicts and values have no content."""
    assert read(value) is None


@pytest.mark.parametrize(
    "make",
    [
        MagicMock,
        lambda: MagicMock(**CHAT),
        lambda: MagicMock(spec=Model(**CHAT)),
        lambda: Model(**CHAT),
        lambda: object,
        lambda: Refuses,
        Refuses,
        Comparable,
        lambda: {"choices": Comparable(), "usage": {"prompt_tokens": 3}},
        lambda: {"object": Comparable(), "output": []},
        lambda: {"type": Comparable(), "response_metadata": {}},
        lambda: {"type": Refuses(), "role": "assistant", "content": [], "usage": {"input_tokens": 3}},
    ],
)
def test_what_answers_everything_or_nothing_is_left_alone(make: Callable[[], object]) -> None:
    """Mocks, arrays, streams and objects that raise say nothing, and nothing is raised."""
    assert read(make()) is None


def test_a_stream_of_a_library_is_not_touched() -> None:
    """Its class is no model, whatever methods it has."""
    assert read(Stream()) is None
    assert Stream.touched == []


def test_the_methods_of_a_dict_are_not_called() -> None:
    """A response of a dict's subclass is read as a dict."""
    choices = [Loud(choice) for choice in CHAT["choices"]]  # type: ignore[attr-defined]
    assert content(read(Loud({**CHAT, "choices": choices, "usage": Loud(CHAT["usage"])}))) == SAMPLES["chat"][1]  # type: ignore[call-overload]


def test_iterators_and_coroutines_are_not_run() -> None:
    """A generator is as it was, and a coroutine can still be awaited."""
    numbers = iter(range(3))

    def generate() -> Iterator[int]:
        yield 1

    async def answer() -> dict[str, Any]:
        return CHAT

    generator, coroutine = generate(), answer()
    assert [read(one) for one in (numbers, generator, coroutine)] == [None] * 3
    assert (next(numbers), next(generator), asyncio.run(coroutine)) == (0, 1, CHAT)


@pytest.mark.parametrize("error", [RuntimeError("no"), TypeError("no"), RecursionError(), MemoryError()])
def test_an_object_whose_dump_raises(error: BaseException) -> None:
    """Exceptions of a library's own method do not reach the program."""
    kind = type("Answer", (Model,), {"__module__": "openai.types", "model_dump": lambda self, **_: raise_it(error)})
    assert read(kind()) is None


def raise_it(error: BaseException) -> None:
    """Raise an exception."""
    raise error


def test_pydantic_1_and_older_methods_are_understood() -> None:
    """A method without options is called without, and `dict` if there is no `model_dump`."""
    bare = type("Answer", (Model,), {"__module__": "openai.types", "model_dump": lambda self: vars(self)})

    class Older:
        def dict(self, *, exclude_none: bool) -> dict[str, Any]:
            return CHAT if exclude_none else {}

    Older.__module__ = "pydantic.main"
    older = type("Answer", (Older,), {"__module__": "openai.types"})
    for response in (bare(**CHAT), older()):
        assert content(read(response)) == SAMPLES["chat"][1]


def test_a_response_without_end_is_read_in_bounds() -> None:
    """Of a million parts the first some thousands are read; all of them are kept."""
    part = {"type": "tool_use", "id": "t", "name": "tide", "input": {}}
    reply = read({**MESSAGE, "content": [part] * 1_000_000})
    assert reply is not None
    assert reply.tool_calls is not None
    assert len(reply.tool_calls) == responses.MOST
    assert isinstance(reply.completion, dict)
    assert len(reply.completion["content"]) == 1_000_000


# In an LLM call


def recorded(session: Session) -> dict[str, Any]:
    """Return the newest event of a session."""
    *_, newest = session.events
    return newest


def test_a_call_is_filled_from_what_it_returned() -> None:
    """Model, tokens, cost, completion and the rest come from the response; it is kept once."""
    with start_session() as session:
        session.record(LLMEvent(prompt="how high is the tide?", returns=MESSAGE))
        event = recorded(session)
    assert (event["model"], event["tokens_in"], event["tokens_out"]) == ("claude-sonnet-4-20250514", 2310, 50)
    assert (event["tokens_cached"], event["cache_write_tokens"], event["cache_write_1h_tokens"]) == (2000, 300, 200)
    # 10 at 3 $, 2,000 at 0.3 $, 100 at 3.75 $, 200 at 6 $, 50 at 15 $ a million
    assert event["cost"] == 10 * 3_000 + 2_000 * 300 + 100 * 3_750 + 200 * 6_000 + 50 * 15_000
    assert event["provider"] == "anthropic"
    assert event["finish_reason"] == "tool_use"
    assert event["response_id"] == MESSAGE["id"]
    assert event["completion"] == {"role": "assistant", "content": MESSAGE["content"]}
    assert event["tool_calls"] == [{"id": "toolu_1", "name": "tide"}]
    assert event["returns"] == {name: value for name, value in MESSAGE.items() if name != "content"}


def test_what_the_program_gives_wins() -> None:
    """At construction or as an attribute later; the model that answered is kept beside the one that was asked."""
    with start_session() as session:
        call = LLMEvent(returns=CHAT, model="gpt-4o", completion="a word of my own", prompt_tokens=5, cost=0.5)
        call.finish_reason = "because"
        session.record(call)
        event = recorded(session)
    assert (event["model"], event["response_model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (event["completion"], event["tokens_in"], event["tokens_out"]) == ("a word of my own", 1005, 80)
    assert (event["finish_reason"], event["cost"]) == ("because", 500_000_000)
    assert event["returns"] == CHAT
    assert event["tool_calls"] == [{"id": "call_1", **ASKED}]
    assert call.model == "gpt-4o"


@pytest.mark.parametrize(("given", "prompt"), [(None, 2310), (10, 2310), (2310, 2310), (11, 2311)])
def test_the_tokens_of_a_cache_are_counted_once(given: int | None, prompt: int) -> None:
    """The prompt may be given as the provider counts it, as a whole, or not at all."""
    with start_session() as session:
        session.record(LLMEvent(returns=MESSAGE, prompt_tokens=given))
        assert recorded(session)["tokens_in"] == prompt


def test_a_response_is_read_when_the_call_is_recorded() -> None:
    """Its result may be set later, and recording the object again reads the new one."""
    with start_session() as session:
        call = LLMEvent(prompt="p")
        call.returns = CHAT
        session.record(call)
        call.returns = GENERATED
        session.record(call)
        assert [event["model"] for event in session.events] == ["gpt-4o-2024-08-06", "llama3.2"]
    assert (call.model, call.completion, call.returns) == (None, None, GENERATED)


def test_an_object_is_kept_as_its_fields() -> None:
    """The row has the fields that are set, whether or not the completion is among them."""
    with start_session() as session:
        session.record(LLMEvent(returns=of_package("openai", {**CHAT, "service_tier": None})))
        taken = recorded(session)
        session.record(LLMEvent(returns=of_package("openai", {**CHAT, "service_tier": None}), completion="mine"))
        given = recorded(session)
    assert taken["returns"]["choices"] == [{"index": 0, "logprobs": None, "finish_reason": "tool_calls"}]
    assert given["returns"] == CHAT
    assert taken["completion"]["tool_calls"] == CHAT["choices"][0]["message"]["tool_calls"]  # type: ignore[index]


@pytest.mark.parametrize("make", [lambda: {"answer": 42}, MagicMock, Stream, Refuses, lambda: "text"])
def test_other_results_of_a_call_stay_as_they_are(make: Callable[[], object]) -> None:
    """A value that is not a response sets no field, and is kept like any other."""
    with start_session() as session:
        session.record(LLMEvent(returns=make(), model="gpt-4o", prompt_tokens=9, completion_tokens=2))
        event = recorded(session)
    assert (event["tokens_in"], event["tokens_out"], event.get("completion")) == (9, 2, None)
    assert event["returns"] is not None


def test_an_operation_is_filled_from_what_it_returned() -> None:
    """An LLM call that was opened by hand, too."""
    with start_session() as session:
        with session.operation("ask", kind="llm", prompt="p") as call:
            call.returns(CHAT)
        event = recorded(session)
    assert (event["model"], event["tokens_in"], event["finish_reason"]) == ("gpt-4o-2024-08-06", 1200, "tool_calls")
    assert event["completion"]["role"] == "assistant"


@pytest.mark.parametrize(("response", "is_copy"), [(CHAT, True), ({**CHAT, "id": "chatcmpl-10"}, False)])
@pytest.mark.parametrize("own", [{"returns": CHAT}, {"response_id": "chatcmpl-9", "completion_tokens": 80}])
def test_a_call_that_records_itself_is_identified_by_its_response(
    response: dict[str, Any], is_copy: bool, own: dict[str, object]
) -> None:
    """An event with the same response is the same call, and counts once."""
    with start_session() as session:
        call = LLMEvent(model="gpt-4o", prompt="p")
        rows = session.begin("llm", "by itself", call=call, by_itself="openinference")
        assert rows is not None
        for name, value in own.items():
            setattr(call, name, value)
        rows.finish({})
        session.record(LLMEvent(returns=response))
        assert recorded(session)["kind"] == ("llm_copy" if is_copy else "llm")
        assert session.get_analytics()["LLM calls"] == (1 if is_copy else 2)


def test_a_large_response_is_kept_once() -> None:
    """Ten megabytes of answer are in the row, or beside the journal, one time."""
    text = "".join(f"{number:07d} " for number in range(1_300_000))
    response = {**MESSAGE, "content": [{"type": "text", "text": text}]}
    with start_session() as session:
        session.record(LLMEvent(returns=response))
        event = recorded(session)
    assert event["completion"]["content"][0]["text"]["$len"] == len(text)
    assert "content" not in event["returns"]


# With the libraries themselves, where they are installed

CLASSES = [
    ("openai.types.chat", "ChatCompletion", "chat"),
    ("openai.types.responses", "Response", "response"),
    ("anthropic.types", "Message", "message"),
    ("google.genai.types", "GenerateContentResponse", "gemini"),
    ("ollama", "ChatResponse", "ollama"),
    ("ollama", "GenerateResponse", "generated"),
    ("cohere.v2.types", "V2ChatResponse", "cohere"),
    ("groq.types.chat", "ChatCompletion", "chat"),
    ("mistralai.client.models", "ChatCompletionResponse", "chat"),
    ("litellm", "ModelResponse", "chat"),
    ("langchain_core.messages", "AIMessage", "langchain"),
]
PROVIDERS = {"groq": "groq", "mistralai": "mistral"}


@pytest.mark.filterwarnings("ignore")  # a library's own, when it is imported
@pytest.mark.parametrize(("module", "name", "sample"), CLASSES)
def test_objects_of_the_libraries_have_the_same_content(
    module: str, name: str, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that the real library makes of the JSON has the content of the JSON."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    package = module.partition(".")[0]
    pytest.importorskip(package)
    kind = getattr(pytest.importorskip(module), name, None)
    response, expected = SAMPLES[sample]
    try:
        made = kind(**response) if package in ("litellm", "langchain_core") else kind.model_validate(response)  # type: ignore[misc, union-attr]
    except (AttributeError, ValueError) as error:
        pytest.skip(f"this release of {package} does not know all of it: {error}")
    provider = {"provider": PROVIDERS[package]} if package in PROVIDERS else {}
    assert content(read(made)) == {**expected, **provider}
