"""Messages, instructions and tools as the JSON schemas of the GenAI conventions want them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft7Validator, ValidationError

from localops.otel.messages import completion_messages, prompt_messages
from localops.otel.tool_definitions import tool_definitions
from localops.otlp.semconv import GenAI

from .otlp_prompts import COMPLETIONS, PROMPTS
from .test_otlp_round_trip import _CALL

_FOLDER = Path(__file__).parent.parent / "fixtures" / "semconv"
_SCHEMA_OF = {
    "gen_ai.input.messages": "input-messages",
    "gen_ai.output.messages": "output-messages",
    "gen_ai.system_instructions": "system-instructions",
    "gen_ai.tool.definitions": "tool-definitions",
}
_SCHEMAS = {name: json.loads((_FOLDER / f"gen-ai-{file}.json").read_text()) for name, file in _SCHEMA_OF.items()}


def _by_type(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the definition of each type of part: a schema's generic part would let a broken one through."""
    typed = {each.get("properties", {}).get("type", {}).get("const"): each for each in schema["$defs"].values()}
    return {kind: {**each, "$defs": schema["$defs"]} for kind, each in typed.items() if kind is not None}


def check(attributes: dict[str, Any]) -> None:
    """Check every attribute that has a schema, and each part of a known type against what that type needs."""
    for name, schema in _SCHEMAS.items():
        if name not in attributes:
            continue
        value = json.loads(attributes[name])
        Draft7Validator(schema).validate(value)
        known = _by_type(schema)
        for part in [part for item in value for part in item.get("parts", [item])]:
            if part.get("type") in known:
                Draft7Validator(known[part["type"]]).validate(part)


@pytest.mark.parametrize("form", PROMPTS)
def test_a_prompt_of_every_vendor_is_valid(form: str) -> None:
    """In the form of any provider that recorded it."""
    check(GenAI().prompt(prompt_messages(PROMPTS[form][0])))


@pytest.mark.parametrize("form", COMPLETIONS)
def test_a_completion_of_every_vendor_is_valid(form: str) -> None:
    """In the form of any provider that recorded it."""
    check(GenAI().completion(completion_messages(COMPLETIONS[form][0])))


@given(_CALL)
def test_any_call_is_valid(body: dict[str, Any]) -> None:
    """Messages, items, blocks, instructions and tools in any mixture."""
    names = GenAI()
    check(
        {
            **names.prompt(prompt_messages(body.get("prompt"))),
            **names.completion(completion_messages(body.get("completion"))),
            **names.call(body)[0],
        }
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"type": "function", "function": {"name": "tides", "description": "d", "parameters": {"type": "object"}}},
            {"type": "function", "name": "tides", "description": "d", "parameters": {"type": "object"}},
        ),
        (
            {"name": "tides", "description": "d", "input_schema": {"type": "object"}},
            {"type": "function", "name": "tides", "description": "d", "parameters": {"type": "object"}},
        ),
        (
            {"function_declarations": [{"name": "tides", "parameters": {"type": "object"}}]},
            {"type": "function", "name": "tides", "parameters": {"type": "object"}},
        ),
        (
            {"toolSpec": {"name": "tides", "inputSchema": {"json": {"type": "object"}}}},
            {"type": "function", "name": "tides", "parameters": {"type": "object"}},
        ),
        ({"type": "web_search_20250305", "name": "web_search"}, {"type": "web_search_20250305", "name": "web_search"}),
        ({"type": "web_search"}, {"type": "web_search", "name": "web_search"}),
        ("tides", {"type": "function", "name": "tides"}),
    ],
)
def test_tools_of_every_vendor_become_definitions(given: object, expected: dict[str, Any]) -> None:
    """OpenAI's functions, Anthropic's schemas, Gemini's declarations, Bedrock's specs, and tools that a vendor runs."""
    assert tool_definitions([given]) == [expected]
    check({"gen_ai.tool.definitions": json.dumps(tool_definitions([given]))})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gen_ai.input.messages", [{"role": "user", "parts": [{"type": "text"}]}]),
        ("gen_ai.input.messages", [{"parts": []}]),
        ("gen_ai.output.messages", [{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "blob"}]}]),
        ("gen_ai.system_instructions", [{"type": "text", "content": 7}]),
        ("gen_ai.tool.definitions", [{"type": "function", "name": "tides", "parameters": {"type": 7}}]),
    ],
)
def test_the_check_finds_what_is_wrong(name: str, value: Any) -> None:
    """A check that takes everything would say nothing."""
    if name == "gen_ai.tool.definitions":
        definition = _by_type(_SCHEMAS[name])["function"]
        assert not Draft7Validator(definition).is_valid(value[0])
    with pytest.raises(ValidationError):
        check({name: json.dumps(value)})
