"""The vocabulary of the GenAI semantic conventions, and the table of the kinds of event that each vocabulary uses.

The names of attributes are those of `localops/otel/names/`, so that what is sent can be read again.  `Names` is the
protocol of a vocabulary; there are two more, in `openinference.py` and for AgentOps.  What has no name in them is sent
under `localops.`.  Each text is sent once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from localops.journal import token_kinds
from localops.otel.messages import in_parts, reasons, text, with_calls
from localops.otel.names import agentops, genai, openinference, sent
from localops.otel.tool_definitions import tool_definitions
from localops.otlp import evaluation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from localops.otel.messages import Message
    from localops.otlp.evaluation import Result

    Value = str | bool | int | float | list[str]
    Attributes = dict[str, Value]

    class Names(Protocol):
        """A vocabulary."""

        finished: int
        failed: dict[str, str]
        explains: bool
        is_exact: bool
        has_system: bool  # an attribute for system instructions; else they are the first message
        session: str | None
        user: str | None
        conversation: str
        agent: tuple[str, str]

        @property
        def usage(self) -> Mapping[str, tuple[str, ...]]:
            """The attributes for tokens and cost."""

        def name(self, shape: Shape, kind: str, title: str | None) -> str:
            """Return the name of a span."""

        def about(self, shape: Shape, title: str | None) -> Attributes:
            """Return the attributes for its kind and name."""

        def readers_kind(self, shape: Shape) -> Attributes:
            """Return its kind for readers that do not derive it from the operation."""

        def model(self, model: str | None, provider: str | None) -> Attributes:
            """Return the requested model and its provider."""

        def input(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
            """Return its input."""

        def output(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
            """Return its output."""

        def prompt(self, messages: list[Message]) -> Attributes:
            """Return the messages of a prompt."""

        def completion(self, messages: list[Message]) -> Attributes:
            """Return the messages of a completion."""

        def call(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:
            """Return the rest of an LLM call, and the keys of its body that are in these attributes."""

        def tool(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:
            """Return the rest of a tool call, and the keys of its body that are in these attributes."""

        def tags(self, tags: list[str]) -> Attributes:
            """Return the tags of a session or an event."""

        def metadata(self, metadata: dict[str, Any]) -> Attributes:
            """Return the metadata of a session in one attribute, for readers that expect that."""

        def evaluation(self, one: Result) -> tuple[Attributes, Attributes | None]:
            """Return the attributes of a score, and those of its event."""

        def state(self, state: str) -> str:
            """Return the end state of a session."""


# The schema of the conventions: they are still in development, and have no number in their own repository yet.
SCHEMA = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

INTERNAL, CLIENT = 1, 3  # kinds of span
UNSET, OK, ERROR = 0, 1, 2  # states of a span


@dataclass(frozen=True)
class Shape:
    """The span and attribute names of a kind of event."""

    agentops: str  # in AgentOps' agentops.span.kind, agentops.<kind>.input, and at the end of the span's name there
    kind: int = INTERNAL
    operation: str | None = None  # gen_ai.operation.name, the beginning of the span's name
    title: str | None = None  # the attribute for its name
    input: str | None = None  # the attribute for its input
    output: str | None = None  # the attribute for its output
    openinference: str = "CHAIN"  # openinference.span.kind


_GENAI = sent(genai.FIELDS)
_OPENINFERENCE = sent(openinference.FIELDS)
_ARGUMENTS, _RESULT = _GENAI["input"], _GENAI["output"]

SHAPES = {
    "llm": Shape("llm", CLIENT, "chat", openinference="LLM"),
    "tool": Shape(
        "tool",
        operation="execute_tool",
        title=_GENAI["tool_name"],
        input=_ARGUMENTS,
        output=_RESULT,
        openinference="TOOL",
    ),
    "agent": Shape("agent", operation="invoke_agent", title=_GENAI["agent_name"], openinference="AGENT"),
    "workflow": Shape("workflow", operation="invoke_workflow", title=_GENAI["workflow_name"]),
    "task": Shape("task"),
    "operation": Shape("operation"),
    "action": Shape("operation"),
    "guardrail": Shape("guardrail", openinference="GUARDRAIL"),
    "retriever": Shape("operation", operation="retrieval", openinference="RETRIEVER"),
    "reranker": Shape("operation", openinference="RERANKER"),
    "evaluator": Shape("operation", openinference="EVALUATOR"),
    "session": Shape("session"),
}
OTHER = Shape("unknown")  # errors, and a program's own types of events
CREATED = Shape("agent", operation="create_agent", title=_GENAI["agent_name"], openinference="AGENT")  # only announced
# LLM calls whose body names another operation than a chat.
_CALLS = {
    word: Shape("llm", CLIENT, word, openinference="EMBEDDING" if word == "embeddings" else "LLM")
    for word in ("embeddings", "text_completion", "generate_content")
}
# The kinds that readers of OpenInference derive from `gen_ai.operation.name`.
_DERIVED = frozenset(("LLM", "TOOL", "AGENT", "EMBEDDING", "RETRIEVER"))


def call_shape(word: object) -> Shape:
    """Return the shape of an LLM call for the operation that its body names."""
    return _CALLS.get(word if isinstance(word, str) else "", SHAPES["llm"])


# Vendors that do not publish their weights, under the conventions' names, with prefixes of their models' names.  The
# name of an open model, or a platform's own name, does not show who ran the model.
_MAKERS = {
    "openai": r"gpt-[345]|chatgpt-|o[134](-|$)|text-embedding-(3|ada)",
    "anthropic": r"claude-",
    "gcp.gen_ai": r"gemini-",
    "x_ai": r"grok-[2-9]",
}


def maker(model: str | None) -> str | None:
    """Return the vendor of a model, if its name leaves no doubt: the best guess at the provider."""
    return next((name for name, begins in _MAKERS.items() if re.match(begins, model or "", re.IGNORECASE)), None)


INPUT, OUTPUT = "input.value", "output.value"  # OpenInference
COST = sent(agentops.FIELDS)["cost"]  # AgentOps' name; the conventions have none
TAGS = "agentops.tags"
BODY = "localops.body."

# Parameters of a request that the conventions name, with the names that clients use, and their type.
_PARAMETERS: dict[str, tuple[tuple[str, ...], type]] = {
    "max_tokens": (("max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens", "maxOutputTokens"), int),
    "temperature": (("temperature",), float),
    "top_p": (("top_p", "topP"), float),
    "top_k": (("top_k", "topK"), int),
    "frequency_penalty": (("frequency_penalty", "frequencyPenalty"), float),
    "presence_penalty": (("presence_penalty", "presencePenalty"), float),
    "seed": (("seed",), int),
    "choice.count": (("n", "candidate_count", "candidateCount"), int),
}
_STOPS = ("stop", "stop_sequences", "stopSequences")
_MOST = 1 << 63


class GenAI:
    """The names of the semantic conventions, complemented by those of OpenInference.

    OpenInference's are read by Phoenix, MLflow and others: kind, input and output, cost, tags and metadata.
    """

    # The conventions require it for a span that did not fail.
    finished = UNSET
    failed = {"error.type": "_OTHER"}  # noqa: RUF012  the conventions' value for an unknown type
    explains = True  # a failed span has its error's message as well, as readers look for it there
    is_exact = True  # what the names cannot express of a row is sent, too, so that the row can be read again
    has_system = True
    session: str | None = _GENAI["session_id"]
    user: str | None = _GENAI["user_id"]
    conversation = _GENAI["thread_id"]
    agent = (_GENAI["agent_id"], _GENAI["agent_name"])

    def __init__(self, *, complemented: bool = True) -> None:
        self._complemented = complemented
        self.usage = {**token_kinds.sent_as("genai"), "cost_usd": (COST,)}
        if complemented:  # Phoenix reads these only under its own names
            for figure, also in {**token_kinds.sent_as("also"), "cost_usd": (_OPENINFERENCE["cost"],)}.items():
                self.usage[figure] += also

    def name(self, shape: Shape, kind: str, title: str | None) -> str:
        """Return the name of a span."""
        return " ".join(filter(None, (shape.operation, title))) or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """Return the attributes for its kind and name."""
        return present(
            {
                _GENAI["kind"]: shape.operation,
                shape.title or "": title if shape.title else None,
                **self.readers_kind(shape),
            }
        )

    def readers_kind(self, shape: Shape) -> Attributes:
        """Return its kind for readers of OpenInference that do not derive it from the operation."""
        if not self._complemented or (shape.operation and shape.openinference in _DERIVED):
            return {}
        return {_OPENINFERENCE["kind"]: shape.openinference}

    def model(self, model: str | None, provider: str | None) -> Attributes:
        """Return the requested model and its provider."""
        return present({_GENAI["model"]: model, _GENAI["provider"]: provider})

    def input(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
        """Return its input as text with its MIME type; if a call has messages, readers show those instead."""
        return self._value(shape.input or INPUT, f"{BODY}params", value, has_messages=has_messages)

    def output(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
        """Return its output, as `input` does."""
        return self._value(shape.output or OUTPUT, f"{BODY}returns", value, has_messages=has_messages)

    def _value(self, name: str, own: str, value: object, *, has_messages: bool) -> Attributes:
        if has_messages or (name in (INPUT, OUTPUT) and not self._complemented):
            name = own
        return {name: text(value), **mime_type(name, value)}

    def prompt(self, messages: list[Message]) -> Attributes:
        """Return the messages of a prompt."""
        return {_GENAI["prompt"]: text([in_parts(each) for each in messages])} if messages else {}

    def completion(self, messages: list[Message]) -> Attributes:
        """Return the messages of a completion, and their finish reasons."""
        if not messages:
            return {}
        answers = [{"finish_reason": "unknown", **in_parts(each)} for each in messages]
        why = reasons(messages)
        return {_GENAI["completion"]: text(answers), **({_GENAI["finish_reason"]: why} if why else {})}

    def call(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:
        """Return the rest of an LLM call: its request without the prompt, and facts about the response."""
        attributes: Attributes = {}
        placed = set()
        for key, kinds in (
            ("response_id", str),
            ("response_model", str),
            ("stream", bool),
            ("time_to_first_token", float | int),
        ):
            value = body.get(key)
            if isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool)):
                attributes[_GENAI[key]] = float(value) if key == "time_to_first_token" else value
                placed.add(key)
        if body.get("finish_reason") is not None:
            given = body["finish_reason"]
            attributes[_GENAI["finish_reason"]] = [text(each) for each in (given if type(given) is list else [given])]
            placed.add("finish_reason")
        if body.get("system_instructions") is not None:
            parts = in_parts({"role": "system", "content": body["system_instructions"]})["parts"]
            attributes[_GENAI["system_instructions"]] = text(parts)
            placed.add("system_instructions")
        if body.get("tool_definitions") is not None:
            attributes[_GENAI["tool_definitions"]] = text(tool_definitions(body["tool_definitions"]))
            placed.add("tool_definitions")
        attributes |= request_parameters(body.get("params"))
        return attributes, frozenset(placed)

    def tool(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:
        """Return the id of a tool call, and the tool's definition that the model had."""
        definition = definition_of(body)
        attributes = {
            _GENAI["call_id"]: body.get("call_id"),
            _GENAI["definition.description"]: definition.get("description"),
            _GENAI["definition.type"]: definition.get("type"),
        }
        given = {name: value for name, value in attributes.items() if isinstance(value, str)}
        placed = {"call_id"} if _GENAI["call_id"] in given else set()
        if self._complemented and isinstance(definition.get("parameters"), dict):
            given[_OPENINFERENCE["definition.parameters"]] = text(definition["parameters"])
        if definition and (self._complemented or definition.keys() <= {"name", "description", "type"}):
            placed.add("definition")
        return {**given}, frozenset(placed)

    def tags(self, tags: list[str]) -> Attributes:
        """Return the tags of a session or an event."""
        return {TAGS: tags, **({_OPENINFERENCE["tags"]: tags} if self._complemented else {})}

    def metadata(self, metadata: dict[str, Any]) -> Attributes:
        """Return the metadata of a session in one attribute, as readers of OpenInference expect."""
        return {_OPENINFERENCE["metadata"]: text(metadata)} if metadata and self._complemented else {}

    def evaluation(self, one: Result) -> tuple[Attributes, Attributes | None]:
        """Return the attributes of a score, and those of its event."""
        own = evaluation.genai(one)
        return own | (evaluation.openinference(one) if self._complemented else {}), own

    def state(self, state: str) -> str:
        """Return the end state of a session."""
        return state


def definition_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the tool's definition in the body of a tool call; an empty dict if it is not an object."""
    definition = body.get("definition")
    definitions = tool_definitions(definition) if isinstance(definition, dict) and definition else []
    return definitions[0] if len(definitions) == 1 else {}


def request_parameters(params: object) -> Attributes:
    """Return the parameters of a request that the conventions name."""
    if not isinstance(params, dict):
        return {}
    attributes: Attributes = {}
    for name, (keys, kind) in _PARAMETERS.items():
        value = next((params[key] for key in keys if params.get(key) is not None), None)
        if isinstance(value, int | float) and not isinstance(value, bool) and (kind is float or fits(value)):
            attributes[f"gen_ai.request.{name}"] = kind(value)
    stops = next((params[key] for key in _STOPS if params.get(key)), None)
    stops = [stops] if isinstance(stops, str) else stops
    if isinstance(stops, list) and all(isinstance(each, str) for each in stops):
        attributes["gen_ai.request.stop_sequences"] = stops
    return attributes


def fits(value: object) -> bool:
    """Return whether a value is a whole number that an attribute can hold."""
    return isinstance(value, int | float) and value == value // 1 and -_MOST <= value < _MOST


def completion_of(body: dict[str, Any], messages: list[Message]) -> list[Message]:
    """Return the messages of a completion, with the separately recorded tool calls and finish reason."""
    whole = with_calls(messages, body.get("tool_calls"))
    reason = body.get("finish_reason")
    if len(whole) == 1 and isinstance(reason, str) and whole[0].get("finish_reason") is None:
        return [{**whole[0], "finish_reason": reason}]
    return whole


def mime_type(name: str, value: object) -> Attributes:
    """Return the MIME type of an input or output with a name of OpenInference."""
    if name not in (INPUT, OUTPUT):
        return {}
    return {name.replace("value", "mime_type"): "text/plain" if isinstance(value, str) else "application/json"}


def present(attributes: dict[str, Any]) -> Attributes:
    """Return the attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}
