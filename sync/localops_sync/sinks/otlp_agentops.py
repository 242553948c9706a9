"""The vocabulary of AgentOps' cloud.

The cloud takes every span with a `gen_ai.` attribute for an LLM call, recognises other kinds by the end of their names,
and ignores newer names.
"""

from __future__ import annotations

from localops.journal import token_kinds
from localops.otel.messages import calls, text
from localops.otlp.semconv import BODY, COST, OK, OTHER, TAGS, present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.otel.messages import Message
    from localops.otlp.evaluation import Result
    from localops.otlp.semconv import Attributes, Shape


class AgentOps:
    """The vocabulary of AgentOps' cloud."""

    finished = OK  # the cloud counts anything else as indeterminate
    failed: dict[str, str] = {}  # noqa: RUF012  the cloud reads the status alone
    explains = False
    is_exact = False
    has_system = True  # under its own name
    session: str | None = None
    user: str | None = None
    usage = {  # noqa: RUF012  a table
        **token_kinds.sent_as("for_agentops"),
        "tokens": ("gen_ai.usage.total_tokens",),
        "cost_usd": (COST,),
    }
    conversation = f"{BODY}thread_id"
    agent = ("agent.id", "agent.name")

    def name(self, shape: Shape, kind: str, title: str | None) -> str:
        """Return the name of a span; the cloud recognises the kind by its end."""
        return f"{title or kind}.{shape.agentops}" if shape is not OTHER else title or kind

    def about(self, shape: Shape, title: str | None) -> Attributes:
        """Return the attributes for its name."""
        own = f"{shape.agentops}.name" if shape.title else ""
        return present({"operation.name": title, own: title if own else None})

    def readers_kind(self, shape: Shape) -> Attributes:  # noqa: ARG002
        """Return no attributes: the cloud recognises kinds by `agentops.span.kind` and the ends of names."""
        return {}

    def model(self, model: str | None, provider: str | None) -> Attributes:
        """Return the requested model and its provider."""
        return present({"gen_ai.request.model": model, "gen_ai.system": provider})

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

    def call(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:  # noqa: ARG002
        """Return nothing: the cloud has no names for the rest of an LLM call."""
        return {}, frozenset()

    def tool(self, body: dict[str, Any]) -> tuple[Attributes, frozenset[str]]:  # noqa: ARG002
        """Return nothing: the cloud has no names for the rest of a tool call."""
        return {}, frozenset()

    def tags(self, tags: list[str]) -> Attributes:
        """Return the tags of a session or an event."""
        return {TAGS: tags}

    def metadata(self, metadata: dict[str, Any]) -> Attributes:  # noqa: ARG002
        """Return nothing: the cloud reads each fact under its own name."""
        return {}

    def evaluation(self, one: Result) -> tuple[Attributes, Attributes | None]:  # noqa: ARG002
        """Return no attributes: the cloud would take a score for an LLM call, and gets none."""
        return {}, None

    def state(self, state: str) -> str:
        """Return the end state of a session, in the cloud's spelling."""
        return "Fail" if state == "Failure" else state


def _word(shape: Shape) -> str:
    return "entity" if shape.agentops in ("session", "unknown") else shape.agentops


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
