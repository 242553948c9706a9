"""The content of the responses of model libraries."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from typing import Any

import pytest

from localops.recording.responses import read
from tests.library_responses import ASKED, CHAT, LANGCHAIN, MESSAGE, SAMPLES, content, of_package


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
    """Every text of it is in the completion or in the rest, and no text of the answer is in both."""
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
