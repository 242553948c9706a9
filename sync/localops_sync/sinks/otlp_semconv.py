"""What things are called in OpenTelemetry: one table for the kinds of event, and the two vocabularies it serves.

GenAI is that of the semantic conventions, of which one version is named here.  AgentOps is what its cloud reads: it
takes every span with a `gen_ai.` attribute for an LLM call, tells the others apart by how their names end, and knows
nothing of newer names.  What neither has a word for is under `localops.`.  Each text is sent once.

Beside GenAI's names go the few of OpenInference that Phoenix, MLflow and others read where GenAI has none: the kind of
a span, its input and output, and its session.
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
    """What a kind of event becomes."""

    agentops: str  # AgentOps' word for it: agentops.span.kind, agentops.<kind>.input, the end of its name there
    kind: int = INTERNAL
    operation: str | None = None  # gen_ai.operation.name, which the name begins with
    title: str | None = None  # where its name goes
    given: str | None = None  # where its input goes
    gave: str | None = None  # where its output goes
    openinference: str | None = None  # openinference.span.kind, where readers do not tell it from the operation


SHAPES = {
    "llm": Shape("llm", CLIENT, "chat"),
    "tool": Shape(
        "tool",
        operation="execute_tool",
        title="gen_ai.tool.name",
        given="gen_ai.tool.call.arguments",
        gave="gen_ai.tool.call.result",
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

# The makers that keep their weights, in the conventions' words, and how the names of their models begin.  The name of a
# model that anybody may run, or a platform's own name for one, tells nothing of who ran it.
_MAKERS = {
    "openai": r"gpt-[345]|chatgpt-|o[134](-|$)|text-embedding-(3|ada)",
    "anthropic": r"claude-",
    "gcp.gen_ai": r"gemini-",
    "x_ai": r"grok-[2-9]",
}


def maker(model: str | None) -> str | None:
    """Whose model it is, where its name leaves no doubt: the best guess at who ran it."""
    return next((name for name, begins in _MAKERS.items() if re.match(begins, model or "", re.IGNORECASE)), None)


_INPUT, _OUTPUT = "input.value", "output.value"  # OpenInference
_COST = "gen_ai.usage.total_cost"  # AgentOps' word; the conventions have none


class GenAI:
    """The semantic conventions."""

    finished = UNSET  # what did not fail says nothing: so the conventions want it
    failed = {"error.type": "_OTHER"}  # noqa: RUF012  their word where nobody knows it
    explains = True  # what failed says why: readers look for it there, and not at the span of the error
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
        """The name of a span."""
        return " ".join(filter(None, (shape.operation, title))) or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """What it is."""
        return _said(
            {
                "gen_ai.operation.name": shape.operation,
                shape.title or "": title if shape.title else None,
                **self.readers_kind(shape),
            }
        )

    def readers_kind(self, shape: Shape) -> Attributes:
        """Return its kind in the word of those who do not know it from the operation."""
        return {} if shape.openinference is None else {"openinference.span.kind": shape.openinference}

    def given(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
        """Return its input, as text and with its form; that of a call with messages is not what readers show."""
        place = "localops.body.params" if has_messages else shape.given or _INPUT
        return {place: text(value), **_form(place, value)}

    def gave(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:
        """Return its output."""
        place = "localops.body.returns" if has_messages else shape.gave or _OUTPUT
        return {place: text(value), **_form(place, value)}

    def prompt(self, messages: list[Message]) -> Attributes:
        """What a model was asked."""
        return {"gen_ai.input.messages": text([in_parts(each) for each in messages])} if messages else {}

    def completion(self, messages: list[Message]) -> Attributes:
        """What it answered."""
        if not messages:
            return {}
        answers = [{"finish_reason": "unknown", **in_parts(each)} for each in messages]
        why = reasons(messages)
        return {"gen_ai.output.messages": text(answers), **({"gen_ai.response.finish_reasons": why} if why else {})}

    def state(self, state: str) -> str:
        """How a session ended."""
        return state


class AgentOps:
    """What AgentOps' cloud reads."""

    finished = OK  # it counts everything else as indeterminate
    failed: dict[str, str] = {}  # noqa: RUF012  the status is all that it reads
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
        """The name of a span; its end is what the cloud tells the kinds apart by."""
        return f"{title or kind}.{shape.agentops}" if shape is not OTHER else title or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """What it is."""
        own = f"{shape.agentops}.name" if shape.title else ""
        return _said({"operation.name": title, own: title if own else None})

    def readers_kind(self, shape: Shape) -> Attributes:  # noqa: ARG002
        """Return nothing: it knows kinds by `agentops.span.kind` and the ends of names."""
        return {}

    def given(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:  # noqa: ARG002
        """Return its input."""
        return {f"agentops.{_word(shape)}.input": text(value)}

    def gave(self, shape: Shape, value: object, *, has_messages: bool = False) -> Attributes:  # noqa: ARG002
        """Return its output."""
        return {f"agentops.{_word(shape)}.output": text(value)}

    def prompt(self, messages: list[Message]) -> Attributes:
        """What a model was asked."""
        return _numbered("gen_ai.prompt", messages)

    def completion(self, messages: list[Message]) -> Attributes:
        """What it answered."""
        return _numbered("gen_ai.completion", messages)

    def state(self, state: str) -> str:
        """How a session ended, in its word for it."""
        return "Fail" if state == "Failure" else state


def _word(shape: Shape) -> str:
    return "entity" if shape.agentops in ("session", "unknown") else shape.agentops


def _form(place: str, value: object) -> Attributes:
    if place not in (_INPUT, _OUTPUT):
        return {}
    return {place.replace("value", "mime_type"): "text/plain" if isinstance(value, str) else "application/json"}


def _said(found: dict[str, Any]) -> Attributes:
    return {name: value for name, value in found.items() if value is not None}


def _numbered(prefix: str, messages: list[Message]) -> Attributes:
    """Messages as AgentOps has them: an attribute for each thing there is to say about each of them."""
    found: Attributes = {}
    for number, message in enumerate(messages):
        start = f"{prefix}.{number}"
        for key in ("role", "content", "finish_reason"):
            value = message.get(key, message.get("parts") if key == "content" else None)
            if value is not None:
                found[f"{start}.{key}"] = text(value)
        for place, call in enumerate(calls(message)):
            said = {
                f"{start}.tool_calls.{place}.{key}": text(value) for key, value in call.items() if value is not None
            }
            found.update(said)
    return found
