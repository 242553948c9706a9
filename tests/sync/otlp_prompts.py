"""Prompts and completions as each maker's library takes and gives them, and the parts that they become."""

from __future__ import annotations

from typing import Any

IMAGE = "iVBORw0KGgo="
WEATHER = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Oslo"}}
RAIN = {"type": "tool_call_response", "id": "c1", "response": {"sky": "rain"}}


def text(words: str) -> dict[str, str]:
    """Return a part of text."""
    return {"type": "text", "content": words}


def blob(content: str = IMAGE, mime_type: str = "image/png") -> dict[str, str]:
    """Return a part with bytes of a picture or a sound."""
    return {"type": "blob", "mime_type": mime_type, "modality": mime_type.partition("/")[0], "content": content}


PROMPTS: dict[str, tuple[Any, list[tuple[str, list[dict[str, Any]]]]]] = {
    "text": ("hi", [("user", [text("hi")])]),
    "nothing": (None, []),
    "texts": (["a", None, "b"], [("user", [text("a")]), ("user", [text("b")])]),
    "an object of a program's own": ({"question": 7}, [("user", [text('{"question":7}')])]),
    "and one that has a text": ({"text": "x", "score": 7}, [("user", [text('{"text":"x","score":7}')])]),
    "no content": (
        [{"role": "assistant", "content": None}, {"role": "user", "content": []}],
        [("assistant", []), ("user", [])],
    ),
    "gemini": (
        [
            {"role": "user", "parts": [{"text": "hi"}, {"inline_data": {"mime_type": "image/png", "data": IMAGE}}]},
            {"role": "model", "parts": [{"text": "hm", "thought": True}]},
            {"role": "model", "parts": [{"function_call": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}}}]},
            {"role": "user", "parts": [{"function_response": {"id": "c1", "response": {"sky": "rain"}}}]},
        ],
        [
            ("user", [text("hi"), blob()]),
            ("assistant", [{"type": "reasoning", "content": "hm"}]),
            ("assistant", [WEATHER]),
            ("user", [RAIN]),
        ],
    ),
    "gemini's request, in its other spelling": (
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": ["hi", {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v"}}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
            ],
        },
        [
            ("system", [text("Be brief.")]),
            ("user", [text("hi"), {"type": "uri", "mime_type": "video/mp4", "modality": "video", "uri": "gs://b/v"}]),
            ("assistant", [{"type": "tool_call", "id": None, "name": "weather", "arguments": {}}]),
        ],
    ),
    "gemini's code": (
        [{"role": "model", "parts": [{"executable_code": {"code": "1"}}, {"code_execution_result": {"output": "1"}}]}],
        [
            (
                "assistant",
                [
                    {
                        "type": "server_tool_call",
                        "id": None,
                        "name": "code_execution",
                        "server_tool_call": {"type": "code_execution", "code": {"code": "1"}},
                    },
                    {
                        "type": "server_tool_call_response",
                        "id": None,
                        "server_tool_call_response": {"type": "code_execution", "result": {"output": "1"}},
                    },
                ],
            )
        ],
    ),
    "anthropic": (
        {
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}},
                        {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}},
                        {"type": "document", "source": {"type": "file", "file_id": "f1"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "x"},
                        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c1", "content": {"sky": "rain"}}],
                },
            ],
        },
        [
            ("system", [text("Be brief.")]),
            (
                "user",
                [
                    blob(),
                    {"type": "uri", "mime_type": None, "modality": "image", "uri": "https://e.org/a.png"},
                    {"type": "file", "mime_type": None, "modality": "document", "file_id": "f1"},
                ],
            ),
            ("assistant", [{"type": "reasoning", "content": "hm"}, WEATHER]),
            ("user", [RAIN]),
        ],
    ),
    "openai chat": (
        [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
                    {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "f1"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": {"sky": "rain"}},
        ],
        [
            ("system", [text("Be brief.")]),
            (
                "user",
                [
                    text("hi"),
                    blob(),
                    {"type": "uri", "mime_type": None, "modality": "image", "uri": "https://e.org/a.png"},
                    blob("AAAA", "audio/wav"),
                    {"type": "file", "mime_type": None, "modality": "document", "file_id": "f1"},
                ],
            ),
            ("assistant", [WEATHER]),
            ("tool", [RAIN]),
        ],
    ),
    "openai responses": (
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": {"city": "Oslo"}},
                {"type": "function_call_output", "call_id": "c1", "output": {"sky": "rain"}},
            ],
        },
        [
            ("system", [text("Be brief.")]),
            ("user", [text("hi")]),
            ("assistant", [{"type": "reasoning", "content": "hm"}, WEATHER]),
            ("tool", [RAIN]),
        ],
    ),
    "bedrock": (
        {
            "system": [{"text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": IMAGE}}}],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "x"}}},
                        {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Oslo"}}},
                    ],
                },
                {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": {"sky": "rain"}}}]},
            ],
        },
        [
            ("system", [text("Be brief.")]),
            ("user", [text("hi"), blob()]),
            ("assistant", [{"type": "reasoning", "content": "hm"}, WEATHER]),
            ("user", [RAIN]),
        ],
    ),
    "the conventions": (
        [{"role": "user", "parts": [text("hi"), WEATHER, RAIN, blob(), {"type": "reasoning", "content": "hm"}]}],
        [("user", [text("hi"), WEATHER, RAIN, blob(), {"type": "reasoning", "content": "hm"}])],
    ),
    "langchain": (
        [{"type": "system", "content": "Be brief."}, {"type": "human", "content": "hi"}],
        [("system", [text("Be brief.")]), ("user", [text("hi")])],
    ),
    "parts without a message": (
        [
            {"type": "text", "text": "hi"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        ],
        [("user", [text("hi"), blob()])],
    ),
}


COMPLETIONS: dict[str, tuple[Any, list[dict[str, Any]], list[str] | None]] = {
    "text": ("hi", [text("hi")], None),
    "openai chat": (
        {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]},
        [text("hi")],
        ["stop"],
    ),
    "openai's older one": ({"choices": [{"text": "hi", "index": 0, "finish_reason": "stop"}]}, [text("hi")], ["stop"]),
    "openai responses": (
        {
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "web_search_call", "id": "w", "status": "completed"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": {"city": "Oslo"}},
            ],
        },
        [
            {"type": "reasoning", "content": ""},
            {
                "type": "server_tool_call",
                "id": "w",
                "name": "web_search_call",
                "server_tool_call": {"type": "web_search_call", "status": "completed"},
            },
            text("hi"),
            WEATHER,
        ],
        ["completed"],
    ),
    "anthropic": (
        {"role": "assistant", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"},
        [text("hi")],
        ["end_turn"],
    ),
    "gemini": (
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}]},
        [text("hi")],
        ["STOP"],
    ),
    "bedrock": (
        {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "max_tokens"},
        [text("hi")],
        ["max_tokens"],
    ),
    "ollama": (
        {"message": {"role": "assistant", "content": "hi"}, "done_reason": "stop"},
        [text("hi")],
        ["stop"],
    ),
}
