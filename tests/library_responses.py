"""Responses of model libraries as JSON and as objects, and what each says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from localops.recording.responses import Reply

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
    """Imitates pydantic's model: an object that knows its fields, and returns them."""

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
