"""The vocabulary of OpenInference, which Phoenix and Arize read.

Each message, each tool and each part of a message has attributes of its own, with numbers in their names.
"""

from __future__ import annotations

from localops.journal import token_kinds
from localops.otel.messages import in_parts, text
from localops.otel.names import openinference, sent
from localops.otel.tool_definitions import tool_definitions
from localops.otlp import evaluation
from localops.otlp.semconv import (
    BODY,
    COST,
    INPUT,
    OUTPUT,
    TAGS,
    UNSET,
    definition_of,
    mime_type,
    present,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.otel.messages import Message, Part
    from localops.otlp.evaluation import Result
    from localops.otlp.semconv import Attributes, Shape

_NAMES = sent(openinference.FIELDS)
# Vendors whose names in OpenInference differ from those in the GenAI conventions.
_PROVIDERS = {
    "gcp.gen_ai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "x_ai": "xai",
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "mistral_ai": "mistralai",
    "moonshot_ai": "moonshot",
}


class OpenInference:
    """The names of OpenInference."""

    finished = UNSET
    failed: dict[str, str] = {}  # noqa: RUF012  the status and the exception event say it
    explains = True
    is_exact = True
    has_system = False
    session: str | None = _NAMES["session_id"]
    user: str | None = _NAMES["user_id"]
    conversation = f"{BODY}thread_id"  # not `session.id`, which is for our sessions
    agent = (f"{BODY}agent_id", _NAMES["agent_name"])
    usage = {  # noqa: RUF012  a table
        **token_kinds.sent_as("openinference"),
        "tokens": ("llm.token_count.total",),
        "cost_usd": (_NAMES["cost"], COST),
    }

    def name(self, shape: Shape, kind: str, title: str | None) -> str:  # noqa: ARG002
        """Return the name of a span."""
        return title or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """Return the attributes for its kind and name."""
        own = {"TOOL": _NAMES["tool_name"], "AGENT": _NAMES["agent_name"]}.get(shape.openinference)
        return present({**self.readers_kind(shape), own or "": title if own else None})

    def readers_kind(self, shape: Shape) -> Attributes:
        """Return its kind."""
        return {_NAMES["kind"]: shape.openinference}

    def model(self, model: str | None, provider: str | None) -> Attributes:
        """Return the requested model and its provider."""
        known = provider.lower() if provider is not None else ""
        return present({_NAMES["some_model"]: model, _NAMES["provider"]: _PROVIDERS.get(known, provider)})

    def input(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:  # noqa: ARG002
        """Return its input as text, with its MIME type."""
        name = _NAMES["parameters"] if has_messages and isinstance(value, dict) else INPUT
        name = f"{BODY}params" if has_messages and name == INPUT else name
        return {name: text(value), **mime_type(name, value)}

    def output(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:  # noqa: ARG002
        """Return its output, as `input` does."""
        name = f"{BODY}returns" if has_messages else OUTPUT
        return {name: text(value), **mime_type(name, value)}

    def prompt(self, messages: list[Message]) -> Attributes:
        """Return the messages of a prompt."""
        return _messages("llm.input_messages", messages)

    def completion(self, messages: list[Message]) -> Attributes:
        """Return the messages of a completion, and the finish reason of the first."""
        ended = next((message["finish_reason"] for message in messages if message.get("finish_reason")), None)
        return {**_messages("llm.output_messages", messages), **present({_NAMES["finish_reason"]: ended})}

    def call(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:
        """Return the rest of an LLM call: the answering model, the finish reason, and the offered tools."""
        attributes: Attributes = {}
        placed = set()
        for key in ("response_model", "finish_reason"):
            if isinstance(body.get(key), str):
                attributes[_NAMES[key]] = body[key]
                placed.add(key)
        for number, definition in enumerate(tool_definitions(body.get("tool_definitions"))):
            attributes[f"llm.tools.{number}.tool.json_schema"] = text(definition)
            placed.add("tool_definitions")
        return attributes, frozenset(placed)

    def tool(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:
        """Return the id of a tool call, and the tool's definition that the model had."""
        definition = definition_of(body)
        attributes: Attributes = {}
        placed = set()
        if isinstance(body.get("call_id"), str):
            attributes[_NAMES["call_id"]] = body["call_id"]
            placed.add("call_id")
        if definition:
            placed.add("definition")
            parameters = definition.get("parameters")
            attributes |= present(
                {
                    _NAMES["definition.description"]: definition.get("description"),
                    _NAMES["definition.parameters"]: text(parameters) if isinstance(parameters, dict) else None,
                }
            )
        return attributes, frozenset(placed)

    def tags(self, tags: list[str]) -> Attributes:
        """Return the tags of a session or an event."""
        return {TAGS: tags, _NAMES["tags"]: tags}

    def metadata(self, metadata: dict[str, Any]) -> Attributes:
        """Return the metadata of a session."""
        return {_NAMES["metadata"]: text(metadata)} if metadata else {}

    def evaluation(self, one: Result) -> tuple[Attributes, Attributes | None]:
        """Return the attributes of a score; it has no event here."""
        return evaluation.openinference(one), None

    def state(self, state: str) -> str:
        """Return the end state of a session."""
        return state


def _messages(prefix: str, messages: list[Message]) -> Attributes:
    attributes: Attributes = {}
    number = 0
    for message in messages:
        whole = in_parts(message)
        parts: list[Part] = whole["parts"]
        results = [part for part in parts if part["type"] == "tool_call_response"]
        # Here, the result of a tool is a message of its own.
        for part in results:
            start = f"{prefix}.{number}.message"
            attributes[f"{start}.role"] = "tool"
            attributes[f"{start}.content"] = text(part.get("response"))
            if part.get("id") is not None:
                attributes[f"{start}.tool_call_id"] = text(part["id"])
            number += 1
        rest = [part for part in parts if part["type"] != "tool_call_response"]
        if rest or not results:
            attributes |= _message(f"{prefix}.{number}.message", whole, rest)
            number += 1
    return attributes


def _message(start: str, message: Message, parts: list[Part]) -> Attributes:
    attributes: Attributes = {f"{start}.role": text(message["role"])}
    if isinstance(message.get("name"), str):
        attributes[f"{start}.name"] = message["name"]
    asked = [part for part in parts if part["type"] == "tool_call"]
    contents = [part for part in parts if part["type"] != "tool_call"]
    if len(contents) == 1 and contents[0]["type"] == "text":
        attributes[f"{start}.content"] = text(contents[0]["content"])
    else:
        for number, part in enumerate(contents):
            attributes |= _content(f"{start}.contents.{number}.message_content", part)
    for number, part in enumerate(asked):
        call = f"{start}.tool_calls.{number}.tool_call"
        if part.get("id") is not None:
            attributes[f"{call}.id"] = text(part["id"])
        attributes[f"{call}.function.name"] = text(part.get("name", ""))
        arguments = part.get("arguments")
        attributes[f"{call}.function.arguments"] = text({} if arguments is None else arguments)
    return attributes


def _content(start: str, part: Part) -> Attributes:
    kind = part["type"]
    if kind in ("text", "reasoning"):
        return {f"{start}.type": kind, f"{start}.text": text(part.get("content", ""))}
    if kind in ("blob", "uri") and part.get("modality") == "image":
        mime = part.get("mime_type") or "image/png"
        url = part.get("uri") or f"data:{mime};base64,{part.get('content', '')}"
        return {f"{start}.type": "image", f"{start}.image.image.url": text(url)}
    return {f"{start}.type": "text", f"{start}.text": text(part)}
