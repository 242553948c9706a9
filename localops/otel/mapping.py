"""What a span of OpenTelemetry says, in the words of localops: its kind, request, answer, tokens and error.

Pure and total: plain values in, a `Reading` out, whatever the attributes hold; nothing of OpenTelemetry is imported.
The tables at the top name what is read of each convention.  To have one more attribute read, add a line to one of
them; what no table names is kept as it came, under `attributes`.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.interruption import attempt
from localops.recording.events import describe
from localops.recording.usage import prompt_without_cache, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Attributes = Mapping[str, Any]
    Message = dict[str, Any]

# The tables.  A name on the left is an attribute, the word on the right the field that it is read into; where a span
# has several names of one field, the first counts, and those that say something else are kept as they came.

# The semantic conventions for generative AI, from 1.27 until 1.42-dev.
GENAI = {
    "gen_ai.operation.name": "kind",
    "gen_ai.provider.name": "provider",
    "gen_ai.system": "provider",  # until 1.36
    "gen_ai.request.model": "model",
    "gen_ai.response.model": "response_model",
    "gen_ai.response.id": "response_id",
    "gen_ai.response.finish_reasons": "finish_reason",
    "gen_ai.response.time_to_first_chunk": "time_to_first_token",
    "gen_ai.server.time_to_first_token": "time_to_first_token",
    "gen_ai.request.stream": "stream",
    "gen_ai.system_instructions": "system_instructions",
    "gen_ai.input.messages": "prompt",
    "gen_ai.prompt": "prompt",  # until 1.27
    "gen_ai.output.messages": "completion",
    "gen_ai.completion": "completion",  # until 1.27
    "gen_ai.tool.definitions": "tool_definitions",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.prompt_tokens": "input_tokens",  # until 1.26
    "gen_ai.usage.output_tokens": "completion_tokens",
    "gen_ai.usage.completion_tokens": "completion_tokens",  # until 1.26
    "gen_ai.usage.cache_read.input_tokens": "cached_tokens",
    "gen_ai.usage.cache_write.input_tokens": "cache_write_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_tokens",  # until 1.41
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "gen_ai.usage.audio.input_tokens": "input_audio_tokens",
    "gen_ai.usage.audio.output_tokens": "output_audio_tokens",
    "gen_ai.tool.name": "tool_name",
    "gen_ai.tool.call.id": "call_id",
    "gen_ai.tool.call.arguments": "input",
    "gen_ai.tool.call.result": "output",
    "gen_ai.tool.description": "definition.description",
    "gen_ai.tool.type": "definition.type",
    "gen_ai.agent.name": "agent_name",
    "gen_ai.agent.id": "agent_id",
    "gen_ai.agent.description": "agent_description",
    "gen_ai.agent.version": "agent_version",
    "gen_ai.workflow.name": "workflow_name",
    "gen_ai.conversation.id": "thread_id",
    "gen_ai.retrieval.query.text": "input",
    "gen_ai.retrieval.documents": "output",
    "error.type": "error.type",
    "error.message": "error.message",
    "exception.type": "error.type",
    "exception.message": "error.message",
    "exception.stacktrace": "error.stack",
    "user.id": "user_id",
    "enduser.id": "user_id",
    "session.id": "session_id",
}
# OpenInference: Phoenix and Arize.
OPENINFERENCE = {
    "openinference.span.kind": "kind",
    "llm.provider": "provider",
    "llm.system": "provider",
    "llm.request.model_name": "model",
    "llm.response.model_name": "response_model",
    "llm.model_name": "some_model",  # that of the answer, where there is one
    "embedding.model_name": "some_model",
    "reranker.model_name": "some_model",
    "llm.finish_reason": "finish_reason",
    "llm.invocation_parameters": "parameters",
    "embedding.invocation_parameters": "parameters",
    "input.value": "input",
    "output.value": "output",
    "llm.token_count.prompt": "input_tokens",
    "llm.token_count.completion": "completion_tokens",
    "llm.token_count.prompt_details.cache_read": "cached_tokens",
    "llm.token_count.prompt_details.cache_write": "cache_write_tokens",
    "llm.token_count.prompt_details.audio": "input_audio_tokens",
    "llm.token_count.completion_details.reasoning": "reasoning_tokens",
    "llm.token_count.completion_details.audio": "output_audio_tokens",
    "llm.cost.total": "cost",
    "tool.name": "tool_name",
    "tool.id": "call_id",
    "tool_call.id": "call_id",
    "tool_call.function.name": "tool_name",
    "tool_call.function.arguments": "input",
    "tool.description": "definition.description",
    "tool.parameters": "definition.parameters",
    "tool.json_schema": "definition.json_schema",
    "agent.name": "agent_name",
    "metadata": "metadata",
    "tag.tags": "tags",
}
# OpenLLMetry, by Traceloop.
TRACELOOP = {
    "traceloop.span.kind": "kind",
    "llm.request.type": "kind",
    "traceloop.entity.name": "entity_name",
    "traceloop.workflow.name": "workflow_name",
    "traceloop.entity.input": "input",
    "traceloop.entity.output": "output",
    "gen_ai.task.input": "input",
    "gen_ai.task.output": "output",
    "gen_ai.task.name": "entity_name",
    "llm.is_streaming": "stream",
    "gen_ai.is_streaming": "stream",
    "llm.user": "user_id",
    "gen_ai.user": "user_id",
    "traceloop.association.properties.session_id": "session_id",
    "traceloop.association.properties.user_id": "user_id",
    "llm.response.finish_reason": "finish_reason",
    "llm.response.stop_reason": "finish_reason",
    "gen_ai.response.finish_reason": "finish_reason",
    "gen_ai.response.stop_reason": "finish_reason",
    "gen_ai.usage.cache_read_input_tokens": "cached_tokens",
    "gen_ai.usage.cache_creation_input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning_tokens": "reasoning_tokens",
    "llm.usage.reasoning_tokens": "reasoning_tokens",
    "llm.usage.cache_read_input_tokens": "cached_tokens",
    "llm.usage.cache_creation_input_tokens": "cache_write_tokens",
    "llm.usage.prompt_tokens": "input_tokens",
    "llm.usage.completion_tokens": "completion_tokens",
}
# AgentOps 0.4.
AGENTOPS = {
    "agentops.span.kind": "kind",
    "gen_ai.request.type": "kind",
    "gen_ai.request.streaming": "stream",
    "gen_ai.request.system_instruction": "system_instructions",
    "gen_ai.request.instructions": "system_instructions",
    "gen_ai.streaming.time_to_first_token": "time_to_first_token",
    "gen_ai.usage.total_cost": "cost",
    "agentops.entity.name": "entity_name",
    "operation.name": "entity_name",
    "agentops.tags": "tags",
    "agentops.guardrail.spec": "spec",
    "operation.version": "version",
    "agent.id": "agent_id",
    "agent.role": "agent_role",
    "tool.result": "output",
    "tool.call.id": "call_id",
    **{f"agentops.{kind}.input": "input" for kind in "entity agent workflow task tool guardrail operation".split()},
    **{f"agentops.{kind}.output": "output" for kind in "entity agent workflow task tool guardrail operation".split()},
}
# Our own, as `localops sync` sends sessions to OpenTelemetry back ends; what has no other name is `localops.body.NAME`.
LOCALOPS = {"localops.event.kind": "own_kind"}
TABLES = (GENAI, OPENINFERENCE, TRACELOOP, AGENTOPS, LOCALOPS)
OWN = "localops.body."

# What is said in many attributes, each with a number in its name.
NUMBERED = {
    "llm.input_messages.": "prompt",
    "llm.output_messages.": "completion",
    "llm.tools.": "tool_definitions",
    "gen_ai.prompt.": "prompt",
    "gen_ai.completion.": "completion",
    "llm.prompts.": "prompt",
    "llm.completions.": "completion",
    "llm.request.functions.": "tool_definitions",
    "gen_ai.request.functions.": "tool_definitions",
    "gen_ai.request.tools.": "tool_definitions",
    "retrieval.documents.": "output",
    "reranker.output_documents.": "output",
    "reranker.input_documents.": "input",
    "embedding.embeddings.": "embeddings",
}
# What a request was made with: the rest of the name is that of the parameter.
PARAMETERS = ("gen_ai.request.", "llm.request.")
# Facts under names of the program's own.
FACTS = ("traceloop.association.properties.", "trace.metadata.", "langfuse.trace.metadata.", "langfuse.metadata.")
# What repeats what is read elsewhere, or says how something else is to be read.
REPEATED = frozenset(
    "input.mime_type output.mime_type llm.token_count.total llm.usage.total_tokens gen_ai.usage.total_tokens"
    " traceloop.entity.path gen_ai.completion.chunk".split()
)

# The words for kinds.  Embeddings are model calls that have a price, so they count as such.
KINDS = {
    **dict.fromkeys("llm chat completion text_completion generate_content generate".split(), "llm"),
    **dict.fromkeys("embeddings embedding".split(), "llm"),
    **dict.fromkeys("tool execute_tool function mcp".split(), "tool"),
    **dict.fromkeys("agent invoke_agent".split(), "agent"),
    **dict.fromkeys("workflow invoke_workflow session trace".split(), "workflow"),
    **dict.fromkeys("task execute_task chain prompt plan".split(), "task"),
    **dict.fromkeys("retriever retrieval".split(), "retriever"),
    **dict.fromkeys("reranker rerank".split(), "reranker"),
    **dict.fromkeys("guardrail guardrails".split(), "guardrail"),
    **dict.fromkeys("evaluator evaluation".split(), "evaluator"),
    **dict.fromkeys("operation create_agent http text unknown".split(), "operation"),
}

# What happens in a span, and which field says it.
FIRST_TOKEN = frozenset(("First Token Stream Event", "gen_ai.content.completion.chunk", "llm.content.completion.chunk"))
CONTENT = {
    "gen_ai.content.prompt": {"gen_ai.prompt": "prompt"},
    "gen_ai.content.completion": {"gen_ai.completion": "completion"},
    "gen_ai.client.inference.operation.details": {
        name: field for name, field in GENAI.items() if name.startswith("gen_ai.")
    },
}
MESSAGES = {  # one message each, from 1.28 until 1.36
    "gen_ai.system.message": ("prompt", "system"),
    "gen_ai.user.message": ("prompt", "user"),
    "gen_ai.assistant.message": ("prompt", "assistant"),
    "gen_ai.tool.message": ("prompt", "tool"),
    "gen_ai.choice": ("completion", "assistant"),
}

_FIELDS: dict[str, tuple[str, int]] = {}
for _rank, (_name, _field) in enumerate(pair for table in TABLES for pair in table.items()):
    _FIELDS.setdefault(_name, (_field, _rank))
_STARTS = (*NUMBERED, *PARAMETERS, *FACTS, OWN)
_NAMES = frozenset(_FIELDS) | REPEATED
_LAST = len(_FIELDS) + 1_000

TOKENS = (
    "input_tokens completion_tokens cached_tokens cache_write_tokens reasoning_tokens input_audio_tokens"
    " output_audio_tokens"
).split()
_COLUMNS = ("completion_tokens", "cached_tokens", "reasoning_tokens")  # others are said only where there are some
_JSON = frozenset(
    "prompt completion system_instructions tool_definitions input output parameters metadata"
    " definition.parameters definition.json_schema".split()
)
_LLM_ONLY = frozenset("provider response_model response_id finish_reason time_to_first_token stream".split())
_MOST_TEXT = 64 << 20  # a longer text is kept as text
_DEEPEST = 40  # dots in the name of a numbered attribute
_MOST_NUMBERED = 100_000


class Error:
    """Why a span failed, as far as it says so."""

    __slots__ = ("message", "stack", "type")

    def __init__(self, type: str | None, message: str | None, stack: str | None) -> None:
        self.type, self.message, self.stack = type, message, stack

    def __repr__(self) -> str:
        return f"<Error {self.type}: {self.message}>"


class Reading:
    """What a span says: `fields` are for the body of its rows, `figures` for the columns of an LLM call."""

    __slots__ = (
        "errors",
        "failed",
        "fields",
        "figures",
        "kind",
        "kinds",
        "name",
        "said_kind",
        "span_name",
        "status",
        "tags",
    )

    def __init__(self, name: str) -> None:
        self.kind = "operation"
        self.kinds: list[str] = []  # the words for it, as they came
        self.said_kind = False
        self.span_name = name
        self.name = name
        self.fields: dict[str, Any] = {}
        self.figures: dict[str, Any] = {}
        self.tags: list[Any] | None = None
        self.status: str | None = None
        self.failed = False
        self.errors: list[Error] = []

    def __repr__(self) -> str:
        return f"<Reading {self.kind} {self.name!r}>"


def read(
    name: object,
    attributes: Attributes | None,
    *,
    scope: str | None = None,
    events: Iterable[tuple[str, int | None, Attributes | None]] = (),
    status: str | None = None,
    message: str | None = None,
    start_ns: int | None = None,
    links: Sequence[Mapping[str, Any]] = (),
    before: Reading | None = None,
) -> Reading:
    """Return what a span says.

    before: what it said when it started; then these are the attributes that came since, and what repeats the request
    in other words is left out.
    events: name, time in nanoseconds and attributes of each. status: "ERROR", "OK" or "UNSET"; message: beside it.
    scope: the name of the library that made it. start_ns: when it began. links: other spans that it belongs to.
    """
    reading = Reading(name if type(name) is str else describe(name))
    attributes = attributes if attributes is not None else {}
    reading.status, reading.failed = status, status == "ERROR"
    if not events and not reading.failed and _is_plain(attributes):
        if before is None:
            reading.kind = _kind_of_name(reading.name, scope or "")
        else:
            _go_on(reading, before)
        if attributes:
            reading.fields["attributes"] = _lists(attributes)
    else:
        attempt(lambda: _Reader(scope or "", before).read(reading, attributes, events, message, start_ns), None)
    if links:
        reading.fields["links"] = list(links)
    return reading


def _go_on(reading: Reading, before: Reading) -> None:
    """Let a span be what it was when it started."""
    reading.kind, reading.said_kind, reading.kinds = before.kind, before.said_kind, before.kinds
    reading.figures = before.figures
    if reading.span_name == before.span_name:
        reading.name = before.name


def _is_plain(attributes: Attributes) -> bool:
    """Return whether no table has one of these attributes: so it is with most spans, and asking takes long."""
    if not _NAMES.isdisjoint(attributes):
        return False
    return not any(type(name) is not str or name.startswith(_STARTS) for name in attributes)


def _lists(attributes: Attributes) -> dict[str, Any]:
    """Return attributes as JSON has them."""
    return {name: list(value) if type(value) is tuple else value for name, value in attributes.items()}


class _Reader:
    """Gathers what the attributes of one span say, and puts it together."""

    def __init__(self, scope: str, before: Reading | None) -> None:
        self.scope = scope
        self.before = before
        self.known = before.fields if before is not None else {}
        self.said: dict[str, Any] = {}
        self.rank: dict[str, int] = {}
        self.numbered: dict[str, dict[str, Any]] = {}
        self.parameters: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self.own: dict[str, Any] = {}
        self.is_ours = False
        self.names: dict[str, str] = {}  # which attribute said a field
        self.kinds: list[str] = list(before.kinds) if before is not None else []

    def read(
        self,
        reading: Reading,
        attributes: Attributes,
        events: Iterable[tuple[str, int | None, Attributes | None]],
        message: str | None,
        start_ns: int | None,
    ) -> None:
        for name, value in attributes.items():
            known = _FIELDS.get(name)
            if known is not None:
                self.take(name, known[0], value, known[1])
            elif name not in REPEATED:
                self.take_other(name, value)
        self.take_events(reading, events, start_ns)
        self.spell_out(reading)
        if reading.failed:
            self.explain(reading, message)

    # Gathering

    def take(self, name: str, field: str, value: Any, rank: int) -> None:
        """Take what a name of a field says; of two that differ, the later in the tables is kept as it came."""
        if value is None:
            return
        if field == "kind":
            self.kinds.append(value.lower() if type(value) is str else describe(value).lower())
        if field not in self.said:
            self.said[field], self.rank[field], self.names[field] = value, rank, name
            return
        before = self.said[field]
        if rank < self.rank[field]:
            name, self.names[field] = self.names[field], name
            self.said[field], self.rank[field] = value, rank
            before, value = value, before
        if before != value and field != "kind":
            self.others[name] = value

    def take_other(self, name: str, value: Any) -> None:
        """Take an attribute that no table has as a whole."""
        if type(name) is not str or not name.startswith(_STARTS):
            self.others[name if type(name) is str else describe(name)] = value
            return
        for start, field in NUMBERED.items():
            if name.startswith(start):
                if field in self.known:
                    return
                rest = name[len(start) :]
                if rest.partition(".")[0].isdecimal() and rest.count(".") < _DEEPEST:
                    self.numbered.setdefault(field, {}).setdefault(start, {})[rest] = value
                else:
                    self.others[name] = value
                return
        if name.startswith(OWN):
            self.take_own(name[len(OWN) :], value)
            return
        for starts, into in ((PARAMETERS, self.parameters), (FACTS, self.facts)):
            for start in starts:
                if name.startswith(start):
                    into.setdefault(name[len(start) :], value)
                    return

    def take_own(self, field: str, value: Any) -> None:
        """Take a field that localops sent; a number was sent as its text."""
        if field in TOKENS or field in ("time_to_first_token", "stream"):
            value = attempt(lambda: encode.loads(value), value)
        if field in TOKENS:
            self.said[field] = value
        else:
            self.own[field] = _parsed(value)

    def take_events(
        self, reading: Reading, events: Iterable[tuple[str, int | None, Attributes | None]], start_ns: int | None
    ) -> None:
        """Take what happened in the span: exceptions, contents, the first part of an answer."""
        kept: list[dict[str, Any]] = []
        exceptions: list[dict[str, Any]] = []
        chunks = 0
        for name, at, given in events:
            about = dict(given or {})
            if name == "exception" or name.endswith(".exception"):
                kept.append({"name": name, **({"at": at} if at is not None else {}), **about})
                exceptions.append(kept[-1])
                continue
            if name in FIRST_TOKEN:
                chunks += 1
                if chunks == 1 and at is not None and start_ns is not None:
                    self.said.setdefault("time_to_first_token", max(0, at - start_ns) / 1e9)
                is_read = True
            else:
                is_read = self.take_content(name, about)
            if about or not is_read:
                kept.append({"name": name, **({"at": at} if at is not None else {}), **about})
        if reading.failed and exceptions:  # the last one is why; those before were handled in it
            reading.errors.append(_error_of(exceptions[-1]))
            kept = [event for event in kept if event is not exceptions[-1]]
        if kept:
            reading.fields["events"] = kept
        if chunks > 1:
            reading.fields["chunks"] = chunks

    def take_content(self, name: str, about: dict[str, Any]) -> bool:
        """Take what an event says of a request or an answer out of it; return whether it is such an event."""
        if name in CONTENT:
            for attribute, field in CONTENT[name].items():
                if attribute in about:
                    self.take(attribute, field, about.pop(attribute), _FIELDS[attribute][1] + _LAST)
            return True
        if name in MESSAGES:
            field, role = MESSAGES[name]
            messages = self.said.setdefault(f"events.{field}", [])
            messages.append(_message_of_event(about, role))
            about.clear()
            return True
        return False

    # Putting together

    def spell_out(self, reading: Reading) -> None:
        """Turn what was gathered into fields."""
        reading.kind, reading.said_kind = self.kind(reading.name)
        reading.kinds = self.kinds
        for field in _JSON & self.said.keys():
            self.said[field] = _parsed(self.said[field])
        for field, starts in self.numbered.items():
            self.said[f"numbered.{field}"] = [
                item for start, found in starts.items() for item in _list_of(found, _wording(start))
            ]
        if reading.kind == "llm":
            self.spell_out_call(reading)
        else:
            self.spell_out_work(reading)
        self.spell_out_rest(reading)

    def kind(self, name: str) -> tuple[str, bool]:
        """Return the kind, and whether an attribute says it."""
        own = self.pop("own_kind")
        if type(own) is str and own:
            self.is_ours = True
            return own[:64], True
        known = [KINDS[word] for word in self.kinds if word in KINDS]
        if known:
            # Several conventions on one span: an agent that says `chat` as well is the agent.
            return next((kind for kind in known if kind not in ("operation", "task")), known[0]), True
        if self.kinds:
            return self.kinds[0][:64], True
        if self.before is not None and self.before.said_kind:
            return self.before.kind, True
        if self.said.keys() & {"prompt", "completion", "input_tokens", "completion_tokens", "model"} and (
            "model" in self.said or "provider" in self.said or "some_model" in self.said
        ):
            return "llm", True
        if "tool_name" in self.said or "call_id" in self.said:
            return "tool", True
        return _kind_of_name(name, self.scope), False

    def pop(self, field: str) -> Any:
        """Take a field out, or None."""
        return self.said.pop(field, None)

    def spell_out_call(self, reading: Reading) -> None:
        """Spell out the fields of a call of a language model."""
        fields = reading.fields
        if self.is_ours:  # then these are no messages
            self.own.update({to: self.said.pop(of) for of, to in _OWN_PLACES if of in self.said})
        request, asked = self.request()
        response, answered = self.response()
        self.spell_out_model(reading, asked, answered)
        for field in ("prompt", "system_instructions", "tool_definitions"):
            said = _first(asked.get(field), *self.pops(field))
            if field not in self.known:  # else it was said when the call began
                fields[field] = _tidy(said)
        fields["completion"] = _tidy(_first(answered.get("completion"), *self.pops("completion")))
        fields["tool_calls"] = _tool_calls(fields["completion"])
        reasons = _first(self.pop("finish_reason"), answered.get("finish_reason"), _reasons(fields["completion"]))
        fields["finish_reason"] = _one(reasons)
        fields["response_id"] = _first(self.pop("response_id"), answered.get("id"))
        fields["response"] = response
        stream = _first(self.pop("stream"), asked.get("stream"))
        fields["stream"] = stream if type(stream) is bool else None
        fields["time_to_first_token"] = _number(self.pop("time_to_first_token"))
        fields["params"] = self.params(
            request, has_tools="tool_definitions" in fields or "tool_definitions" in self.known
        )
        self.count(reading.figures)

    def pops(self, field: str) -> tuple[Any, Any, Any]:
        """Take out what attributes, events and numbered attributes say of a field."""
        return self.pop(field), self.pop(f"events.{field}"), self.pop(f"numbered.{field}")

    def spell_out_model(self, reading: Reading, asked: dict[str, Any], answered: dict[str, Any]) -> None:
        """Spell out which model was asked, and which one answered."""
        figures = reading.figures
        if self.before is not None:
            figures.update(self.before.figures)
        parameters = self.said.get("parameters")
        in_parameters = parameters.get("model") if type(parameters) is dict else None
        some = self.pop("some_model")
        response_model = self.pop("response_model") or answered.get("model") or some
        model = self.pop("model") or asked.get("model") or figures.get("model") or in_parameters or response_model
        figures["model"] = model
        if response_model != model:
            reading.fields["response_model"] = response_model
        provider = _first(self.pop("provider"), figures.get("provider"))
        figures["provider"] = provider.lower() if type(provider) is str else provider  # older ones say OpenAI

    def params(self, request: dict[str, Any], *, has_tools: bool) -> dict[str, Any]:
        """Return the parameters of a request beside what has a field of its own."""
        parameters = self.pop("parameters")
        named = parameters if type(parameters) is dict else {"parameters": parameters}
        params = {**self.parameters, **named, **request}
        self.parameters = {}
        left_out = {"model", "model_name", "messages", *(("tools",) if has_tools else ())}
        if type(params.get("stream")) is bool:
            left_out.add("stream")
        return {name: value for name, value in params.items() if value is not None and name not in left_out}

    def request(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a whole request in `input.value` says beside what has a field, and what has one."""
        given = self.said.get("input")
        if type(given) is not dict or not _is_request(given):
            if "prompt" in self.known or self.said.keys() & {"prompt", "numbered.prompt"}:
                self.pop("input")  # it says the same in another form
            elif given is not None:
                self.said["prompt"] = self.pop("input")
            return {}, {}
        self.pop("input")
        rest = dict(given)
        asked = {}
        for field, names in _REQUEST.items():
            for name in names:
                if rest.get(name) is not None:
                    asked[field] = rest.pop(name)
                    break
        if "stream" in rest:
            asked["stream"] = rest["stream"]
        return rest, asked

    def response(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a whole response in `output.value` says beside what has a field, and what has one."""
        given = self.pop("output")
        is_langchain = type(given) is dict and type(given.get("generations")) is list
        if is_langchain and "numbered.completion" in self.said:
            return _langchain_reply(given)
        if type(given) is not dict or not _is_response(given):
            if given is not None and not self.said.keys() & {"completion", "numbered.completion"}:
                self.said["completion"] = given
            return {}, {}
        rest = dict(given)
        answer: dict[str, Any] = {"id": rest.pop("id", None), "model": rest.pop("model", None)}
        for name in _ECHOED:
            rest.pop(name, None)
        if "input_tokens" in self.said:
            rest.pop("usage", None)
        answer["completion"], answer["finish_reason"] = _answer_of(rest)
        return {key: value for key, value in rest.items() if value not in (None, [], {})}, answer

    def count(self, figures: dict[str, Any]) -> None:
        """The tokens, as `LLMEvent` takes them: some providers' prompts without what a cache gave or took."""
        counts = {field: whole(self.said.pop(field)) for field in TOKENS if field in self.said}
        prompt = counts.pop("input_tokens", None)
        if prompt is not None and "agentops" not in self.scope:  # which hands on what the provider said
            cached, written = counts.get("cached_tokens") or 0, counts.get("cache_write_tokens") or 0
            prompt = prompt_without_cache(prompt, cached, written, figures.get("provider"), figures.get("model"))
        if prompt is not None:
            figures["prompt_tokens"] = prompt
        figures.update({name: count for name, count in counts.items() if count or name in _COLUMNS})
        if "cost" in self.said:
            figures["cost"] = _number(self.pop("cost"))

    def spell_out_work(self, reading: Reading) -> None:
        """The fields of anything else: what went in and came out."""
        fields = reading.fields
        if self.scope.startswith("agentops") and "input" not in self.said:  # for which these are the arguments
            self.said["input"] = self.pop("definition.parameters")
        given = [self.pop("input"), self.pop("prompt"), self.pop("numbered.prompt"), self.pop("numbered.input")]
        gave = [
            self.pop("output"), self.pop("completion"), self.pop("numbered.completion"), self.pop("numbered.output")
        ]  # fmt: skip
        fields["params"] = _tidy(_first(*given))
        fields["returns"] = _tidy(_first(*gave))
        definition = {
            word: self.pop(f"definition.{word}")
            for word in ("description", "type", "parameters", "json_schema")
            if f"definition.{word}" in self.said
        }
        if reading.kind == "tool":
            fields["call_id"] = self.pop("call_id")
            fields["definition"] = definition or None
            reading.figures["cost"] = _number(self.pop("cost"))
        elif definition:
            fields["definition"] = definition
        if "model" in self.said or "some_model" in self.said:
            fields["model"] = self.pop("model") or self.pop("some_model")
        counts = {field: value for field in TOKENS if (value := self.pop(field)) is not None}
        if counts:
            fields["usage"] = counts  # of the calls inside of it, which have their own rows
        if self.parameters:
            fields["parameters"] = self.parameters
            self.parameters = {}

    def spell_out_rest(self, reading: Reading) -> None:
        """Name, tags, facts, and whatever no other field took."""
        fields, said = reading.fields, self.said
        self.spell_out_name(reading)
        reading.tags = _tags(self.pop("tags"))
        metadata = self.pop("metadata")
        if self.facts:
            metadata = {**(metadata if type(metadata) is dict else {}), **self.facts}
        fields["metadata"] = metadata
        embeddings = self.pop("numbered.embeddings")
        if not (fields.get("prompt") or self.known.get("prompt")) or not fields.get("completion"):  # else they say it
            fields["embeddings"] = embeddings
        said.pop("kind", None)
        words = sorted(set(self.kinds))
        if words and words != [reading.kind] and not self.is_ours:
            fields["operation"] = _single(words)
        for field, value in said.items():
            # What is left of these is said elsewhere, in a form that holds more.
            if not field.startswith(("error.", "numbered.", "events.")):
                fields.setdefault(field, value)
        fields["attributes"] = _lists(self.others)
        fields.update(self.own)
        known = self.known
        for field in _MERGED & known.keys() & fields.keys():
            if type(fields[field]) is dict and type(known[field]) is dict:
                fields[field] = {**known[field], **fields[field]}
        reading.fields = {
            field: value
            for field, value in fields.items()
            if value is not None and value != [] and value != {} and (not known or value != known.get(field))
        }

    def spell_out_name(self, reading: Reading) -> None:
        """The name that it is listed under, where the conventions have one beside that of the span."""
        said, span_name = self.said, reading.name
        wanted = {"tool": ("tool_name", "entity_name"), "agent": ("agent_name", "entity_name"), "llm": ()}
        names = wanted.get(reading.kind, ("entity_name",))
        if reading.kind == "workflow":
            names = ("entity_name", "workflow_name")
        found = next((said.pop(name) for name in names if type(said.get(name)) is str and said[name]), None)
        if found is not None:
            reading.name = found
            if found not in span_name:
                reading.fields["span_name"] = span_name
        elif self.before is not None and span_name == self.before.span_name:
            reading.name = self.before.name
        entity = said.get("entity_name")
        if entity is not None and (entity == reading.name or (type(entity) is str and entity in span_name)):
            del said["entity_name"]

    def explain(self, reading: Reading, message: str | None) -> None:
        """Say why it failed, where no exception does."""
        said = self.said
        if reading.errors:
            return
        kind, text = said.get("error.type"), said.get("error.message")
        if kind is None and text is None and message is None:
            return
        error = Error(_text(kind), _text(text if text is not None else message), _text(said.get("error.stack")))
        reading.errors.append(error)


_ECHOED = ("object", "tools", "instructions", "input", "messages")  # a response repeats what was asked
_MERGED = frozenset("params definition metadata parameters".split())  # more of it may come later
_OWN_PLACES = (("input", "params"), ("output", "returns"))
_REQUEST = {
    "prompt": ("messages", "input", "contents", "prompt"),
    "model": ("model", "model_id", "modelId"),
    "system_instructions": ("system", "instructions", "system_instruction", "systemInstruction"),
    "tool_definitions": ("tools", "functions"),
}


def _is_request(given: dict[str, Any]) -> bool:
    """Return whether a value is the whole request of a client: messages of a form that is known, or a text."""
    prompt = next((given[name] for name in _REQUEST["prompt"] if given.get(name) is not None), None)
    if type(prompt) is str:
        return "model" in given
    if type(prompt) is not list or not prompt:
        return False
    return all(type(each) is str or (type(each) is dict and "lc" not in each) for each in prompt)


def _is_response(given: dict[str, Any]) -> bool:
    """Return whether a value is the whole response of a client."""
    return any(type(given.get(key)) is list for key in ("choices", "output", "candidates", "content", "data"))


def _answer_of(rest: dict[str, Any]) -> tuple[Any, Any]:
    """Take the answer and the reason why it ended out of a response."""
    choices = rest.get("choices")
    if type(choices) is list:
        del rest["choices"]
        messages = [each.get("message", each) if type(each) is dict else each for each in choices]
        reasons = [each.get("finish_reason") for each in choices if type(each) is dict]
        left = [_without(each, "message finish_reason index") for each in choices if type(each) is dict]
        if any(left):
            rest["choices"] = left
        return _single(list(map(_lean, messages))), _single([reason for reason in reasons if reason is not None])
    if type(rest.get("content")) is list:
        message = {"role": rest.pop("role", "assistant"), "content": [_lean(each) for each in rest.pop("content")]}
        rest.pop("type", None)
        return message, rest.pop("stop_reason", None)
    if type(rest.get("output")) is list:
        return [_lean(each) for each in rest.pop("output")], None
    return _first(rest.pop("candidates", None), rest.pop("data", None)), None


def _langchain_reply(result: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what LangChain's result of a call says beside the answer, which it says in a form of its own."""
    about = result.get("llm_output")
    rest = dict(about) if type(about) is dict else {}
    if "id" not in rest:
        at: Any = result["generations"]
        for step in (0, 0, "message", "kwargs", "response_metadata"):
            is_there = step in at if type(at) is dict else type(at) is list and bool(at) and step == 0
            at = at[step] if is_there else None
        rest = dict(at) if type(at) is dict else rest
    rest.pop("token_usage", None)
    answer = {"id": rest.pop("id", None), "model": rest.pop("model_name", None)}
    return {key: value for key, value in rest.items() if value not in (None, [], {})}, answer


def _lean(value: Any) -> Any:
    """Return a dict without what is not set."""
    if type(value) is not dict:
        return value
    return {key: each for key, each in value.items() if each is not None or key == "content"}


def _without(value: dict[str, Any], names: str) -> dict[str, Any]:
    left = names.split()
    return {key: each for key, each in value.items() if key not in left and each is not None}


def _first(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    return None


def _one(value: Any) -> Any:
    """Return a list of one as that one, any other sequence as a list."""
    if isinstance(value, (list, tuple)):
        return _single(list(value))
    return value


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values or None


def _number(value: Any) -> float | None:
    if type(value) is float or type(value) is int:
        return value
    if type(value) is str:
        return attempt(lambda: float(value), None)
    return None


def _text(value: Any) -> str | None:
    return None if value is None else value if type(value) is str else describe(value)


def _parsed(value: Any) -> Any:
    """Return what a text in JSON says; anything else as it is."""
    if type(value) is tuple:
        return list(value)
    if type(value) is not str or len(value) > _MOST_TEXT or value[:1] not in ("{", "[", '"'):
        return value
    try:
        return encode.loads(value)
    except ValueError:
        return value


def _tidy(value: Any) -> Any:
    """Return messages without names that are not given."""
    if type(value) is not list:
        return value
    return [
        {key: each for key, each in message.items() if each is not None or key == "content"}
        if type(message) is dict
        else message
        for message in value
    ]


def _tags(given: Any) -> list[Any] | None:
    if given is None:
        return None
    given = _parsed(given)
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _error_of(about: dict[str, Any]) -> Error:
    return Error(
        _text(about.get("exception.type")),
        _text(about.get("exception.message")),
        _text(about.get("exception.stacktrace")),
    )


def _message_of_event(about: dict[str, Any], role: str) -> Message:
    about.pop("gen_ai.system", None)
    about.pop("gen_ai.provider.name", None)
    message = _parsed(about.pop("message", None))
    content = {**(message if type(message) is dict else {}), **{key: _parsed(value) for key, value in about.items()}}
    return {"role": role, **content}


_INSTRUMENTORS = (
    "opentelemetry.instrumentation.",
    "opentelemetry.util.genai",
    "openinference.",
    "agentops",
    "traceloop",
)


def _kind_of_name(name: str, scope: str) -> str:
    """Return the kind that a span's name tells, where its library says it in an attribute only when it ends."""
    if not scope.startswith(_INSTRUMENTORS):
        return "operation"
    first, _, rest = name.partition(" ")
    if rest and first in KINDS:
        return KINDS[first]
    last = name.rpartition(".")[2]
    return KINDS[last] if "." in name and last in KINDS and last not in ("completion", "text", "mcp") else "operation"


def _reasons(completion: Any) -> list[Any] | None:
    """Return why each answer ended, where the answers say it."""
    messages = completion if type(completion) is list else [completion]
    reasons = [message.get("finish_reason") for message in messages if type(message) is dict]
    return reasons if reasons and not {None, "unknown"}.intersection(map(_text, reasons)) else None


def _tool_calls(completion: Any) -> list[Any] | None:
    """Return the tools that an answer asks for, in whichever form it has them."""
    messages = completion if type(completion) is list else [completion]
    calls: list[Any] = []
    for message in messages:
        if type(message) is not dict:
            continue
        if type(message.get("tool_calls")) is list:
            calls += map(_tool_call, message["tool_calls"])
            continue
        if message.get("type") == "function_call":
            calls.append(_tool_call(message))
        for parts in (message.get("parts"), message.get("content")):
            if type(parts) is list:
                calls += [
                    _tool_call(p) for p in parts if type(p) is dict and p.get("type") in ("tool_call", "tool_use")
                ]
    return calls or None


def _tool_call(call: Any) -> Any:
    """Return a call as id, name and arguments."""
    if type(call) is not dict:
        return call
    inner = call.get("function")
    function = inner if type(inner) is dict else call
    arguments = _first(function.get("arguments"), function.get("input"), function.get("args"))
    found = {
        "id": _first(call.get("call_id"), call.get("id")),
        "name": function.get("name"),
        "arguments": _parsed(arguments),
    }
    return {key: value for key, value in found.items() if value is not None}


# Attributes with numbers


def _wording(start: str) -> Callable[[Any], Any]:
    return {
        "llm.input_messages.": _openinference_message,
        "llm.output_messages.": _openinference_message,
        "llm.tools.": _openinference_tool,
    }.get(start, _plain_item)


def _list_of(found: dict[str, Any], wording: Callable[[Any], Any]) -> Iterator[Any]:
    """Put together what many attributes say, number by number."""
    root: dict[str, Any] = {}
    for name, value in found.items():
        at = root
        *path, last = name.split(".")
        for step in path:
            inner = at.get(step)
            if type(inner) is not dict:
                inner = at[step] = {} if inner is None else {"": inner}
            at = inner
        if type(at.get(last)) is dict:
            at[last][""] = value
        else:
            at[last] = value
    for number in sorted(root, key=int):
        yield wording(_in_lists(root[number]))


def _in_lists(value: Any) -> Any:
    """Return nested dicts with lists where all keys are numbers."""
    if type(value) is tuple:
        return list(value)
    if type(value) is not dict:
        return value
    if value and all(key.isdecimal() for key in value):
        return [_in_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _in_lists(each) for key, each in value.items()}


def _plain_item(item: Any) -> Any:
    """OpenLLMetry's and AgentOps' messages, tools and documents."""
    if type(item) is not dict:
        return item
    if len(item) == 1 and type(inner := next(iter(item.values()))) is dict:  # document.content, embedding.vector
        item = inner
    return {
        key: _parsed(value) if key in ("content", "arguments", "parameters", "metadata") else value
        for key, value in item.items()
    }


def _openinference_message(item: Any) -> Any:
    message = item.get("message") if type(item) is dict else None
    if type(message) is not dict:
        return item
    found = {key: value for key, value in message.items() if key not in ("contents", "tool_calls")}
    if type(message.get("contents")) is list:
        found["content"] = [_openinference_part(part) for part in message["contents"]]
    calls = message.get("tool_calls")
    if type(calls) is list:
        found["tool_calls"] = [_openinference_call(call) for call in calls]
        if type(found.get("content")) is list:  # newer ones say each call among the contents as well
            found["content"] = [part for part in found["content"] if part not in found["tool_calls"]]
    return found


def _openinference_part(part: Any) -> Any:
    inner = part.get("message_content") if type(part) is dict else None
    call = part.get("tool_call") if type(part) is dict else None
    if type(call) is dict:
        return _openinference_call(part)
    if type(inner) is not dict:
        return part
    image = inner.get("image")
    url = (
        image.get("image", image).get("url")
        if type(image) is dict and type(image.get("image", image)) is dict
        else None
    )
    if url is not None:
        return {"type": "image_url", "image_url": {"url": url}}
    return inner


def _openinference_call(call: Any) -> Any:
    inner = call.get("tool_call") if type(call) is dict else None
    return {"type": "function", **inner} if type(inner) is dict else call


def _openinference_tool(item: Any) -> Any:
    tool = item.get("tool") if type(item) is dict else None
    if type(tool) is not dict:
        return item
    return _parsed(tool["json_schema"]) if len(tool) == 1 and "json_schema" in tool else tool
