"""The names of OpenTelemetry attributes: a table of the kinds of event, and the two vocabularies that use it.

GenAI is the vocabulary of the semantic conventions, in the version of SCHEMA.  AgentOps is the one that its cloud
reads: the cloud takes every span with a `gen_ai.` attribute for an LLM call, recognises other kinds by the end of their
names, and ignores newer names.  What has no name in either is under `localops.`.  Each text is sent once.

GenAI's names are complemented by those of OpenInference that Phoenix, MLflow and others read where GenAI has none: the
kind of a span, its input and output, and its session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from localops_sync.sinks.otlp_messages import calls, in_parts, reasons, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops_sync.sinks.otlp_messages import Message

    Value = str | bool | int | float | list[str]
    Attributes = dict[str, Value]

# The GenAI conventions are still in development, and have moved to a repository of their own since this version.
SCHEMA = "https://opentelemetry.io/schemas/1.41.1"

INTERNAL, CLIENT = 1, 3  # kinds of span
UNSET, OK, ERROR = 0, 1, 2  # states of a span


@dataclass(frozen=True)
class Shape:
    """The span and attribute names of a kind of event."""

    agentops: str  # in AgentOps' agentops.span.kind, agentops.<kind>.input, and at the end of the span's name there
    kind: int = INTERNAL
    operation: str | None = None  # gen_ai.operation.name, which the span's name begins with
    title: str | None = None  # the attribute for its name
    input: str | None = None  # the attribute for its input
    output: str | None = None  # the attribute for its output
    openinference: str | None = None  # openinference.span.kind, where readers do not derive it from the operation


SHAPES = {
    "llm": Shape("llm", CLIENT, "chat"),
    "tool": Shape(
        "tool",
        operation="execute_tool",
        title="gen_ai.tool.name",
        input="gen_ai.tool.call.arguments",
        output="gen_ai.tool.call.result",
    ),
    "agent": Shape("agent", operation="invoke_agent", title="gen_ai.agent.name"),
    "workflow": Shape("workflow", operation="invoke_workflow", title="gen_ai.workflow.name", openinference="CHAIN"),
    "task": Shape("task", openinference="CHAIN"),
    "operation": Shape("operation", openinference="CHAIN"),
    "action": Shape("operation", openinference="CHAIN"),
    "guardrail": Shape("guardrail", openinference="GUARDRAIL"),
    "session": Shape("session", openinference="CHAIN"),
}
OTHER = Shape("unknown", openinference="CHAIN")  # errors, and event types of a program's own
CREATED = Shape("agent", operation="create_agent", title="gen_ai.agent.name")  # an agent that was only announced

# Vendors that do not publish their weights, by the conventions' names, and how the names of their models begin.  An
# open model, or a platform's own name for a model, does not show who ran it.
_MAKERS = {
    "openai": r"gpt-[345]|chatgpt-|o[134](-|$)|text-embedding-(3|ada)",
    "anthropic": r"claude-",
    "gcp.gen_ai": r"gemini-",
    "x_ai": r"grok-[2-9]",
}


def maker(model: str | None) -> str | None:
    """Return the vendor of a model, if its name leaves no doubt: the best guess at who ran it."""
    return next((name for name, begins in _MAKERS.items() if re.match(begins, model or "", re.IGNORECASE)), None)


_INPUT, _OUTPUT = "input.value", "output.value"  # OpenInference
_COST = "gen_ai.usage.total_cost"  # AgentOps' name; the conventions have none


class GenAI:
    """The vocabulary of the semantic conventions."""

    finished = UNSET  # as the conventions require for a span that did not fail
    failed = {"error.type": "_OTHER"}  # noqa: RUF012  the conventions' value for an unknown type
    explains = True  # a failed span has its error's message, where readers look for it
    session = "session.id"
    usage = {  # noqa: RUF012  a table
        "tokens_in": "gen_ai.usage.input_tokens",
        "tokens_out": "gen_ai.usage.output_tokens",
        "tokens_cached": "gen_ai.usage.cache_read.input_tokens",
        "tokens_reasoning": "gen_ai.usage.reasoning.output_tokens",
        "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
        "cost_usd": _COST,
    }
    provider = "gen_ai.provider.name"
    thread = "gen_ai.conversation.id"
    agent = ("gen_ai.agent.id", "gen_ai.agent.name")

    def name(self, shape: Shape, kind: str, title: str | None) -> str:
        """Return the name of a span."""
        return " ".join(filter(None, (shape.operation, title))) or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """Return the attributes for its kind and name."""
        return _present(
            {
                "gen_ai.operation.name": shape.operation,
                shape.title or "": title if shape.title else None,
                **self.readers_kind(shape),
            }
        )

    def readers_kind(self, shape: Shape) -> Attributes:
        """Return its kind for readers that do not derive it from the operation."""
        return {} if shape.openinference is None else {"openinference.span.kind": shape.openinference}

    def input(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
        """Return its input as text, with its MIME type; readers show the messages of a call instead, if it has any."""
        name = "localops.body.params" if has_messages else shape.input or _INPUT
        return {name: text(value), **_mime_type(name, value)}

    def output(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
        """Return its output, as `input` does."""
        name = "localops.body.returns" if has_messages else shape.output or _OUTPUT
        return {name: text(value), **_mime_type(name, value)}

    def prompt(self, messages: list[Message]) -> Attributes:
        """Return the messages of a prompt."""
        return {"gen_ai.input.messages": text([in_parts(each) for each in messages])} if messages else {}

    def completion(self, messages: list[Message]) -> Attributes:
        """Return the messages of a completion, and their finish reasons."""
        if not messages:
            return {}
        answers = [{"finish_reason": "unknown", **in_parts(each)} for each in messages]
        why = reasons(messages)
        return {"gen_ai.output.messages": text(answers), **({"gen_ai.response.finish_reasons": why} if why else {})}

    def state(self, state: str) -> str:
        """Return the end state of a session."""
        return state


class AgentOps:
    """The vocabulary of AgentOps' cloud."""

    finished = OK  # the cloud counts anything else as indeterminate
    failed: dict[str, str] = {}  # noqa: RUF012  the cloud reads the status alone
    explains = False
    session: str | None = None
    usage = {  # noqa: RUF012  a table
        "tokens_in": "gen_ai.usage.prompt_tokens",
        "tokens_out": "gen_ai.usage.completion_tokens",
        "tokens_cached": "gen_ai.usage.cache_read_input_tokens",
        "tokens_reasoning": "gen_ai.usage.reasoning_tokens",
        "cache_write_tokens": "gen_ai.usage.cache_creation_input_tokens",
        "tokens": "gen_ai.usage.total_tokens",
        "cost_usd": _COST,
    }
    provider = "gen_ai.system"
    thread = "localops.body.thread_id"
    agent = ("agent.id", "agent.name")

    def name(self, shape: Shape, kind: str, title: str | None) -> str:
        """Return the name of a span; the cloud recognises the kind by its end."""
        return f"{title or kind}.{shape.agentops}" if shape is not OTHER else title or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """Return the attributes for its name."""
        own = f"{shape.agentops}.name" if shape.title else ""
        return _present({"operation.name": title, own: title if own else None})

    def readers_kind(self, shape: Shape) -> Attributes:  # noqa: ARG002
        """Return no attributes: the cloud recognises kinds by `agentops.span.kind` and the ends of names."""
        return {}

    def input(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:  # noqa: ARG002
        """Return its input."""
        return {f"agentops.{_word(shape)}.input": text(value)}

    def output(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:  # noqa: ARG002
        """Return its output."""
        return {f"agentops.{_word(shape)}.output": text(value)}

    def prompt(self, messages: list[Message]) -> Attributes:
        """Return the messages of a prompt."""
        return _numbered("gen_ai.prompt", messages)

    def completion(self, messages: list[Message]) -> Attributes:
        """Return the messages of a completion."""
        return _numbered("gen_ai.completion", messages)

    def state(self, state: str) -> str:
        """Return the end state of a session, in the cloud's spelling."""
        return "Fail" if state == "Failure" else state


def _word(shape: Shape) -> str:
    return "entity" if shape.agentops in ("session", "unknown") else shape.agentops


def _mime_type(name: str, value: object) -> Attributes:
    if name not in (_INPUT, _OUTPUT):
        return {}
    return {name.replace("value", "mime_type"): "text/plain" if isinstance(value, str) else "application/json"}


def _present(attributes: dict[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _numbered(prefix: str, messages: list[Message]) -> Attributes:
    """Return messages as AgentOps has them: one attribute for each field of each message."""
    attributes: Attributes = {}
    for number, message in enumerate(messages):
        start = f"{prefix}.{number}"
        for key in ("role", "content", "finish_reason"):
            value = message.get(key, message.get("parts") if key == "content" else None)
            if value is not None:
                attributes[f"{start}.{key}"] = text(value)
        for place, call in enumerate(calls(message)):
            fields = {
                f"{start}.tool_calls.{place}.{key}": text(value) for key, value in call.items() if value is not None
            }
            attributes.update(fields)
    return attributes
