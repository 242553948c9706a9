"""The names of attributes by convention, with our fields for them.

In each table, the key is an attribute, the value the field that it is read into.  If a span has several attributes for
a field, the first in the tables counts, and those with other values are kept unchanged.  To read one more attribute,
add a line to the table of its convention.
"""

from __future__ import annotations

from localops.journal import token_kinds
from localops.otel.names import agentops, genai, openinference, traceloop

# Our own attributes, which `localops sync` sends; what no convention has a name for is sent as `localops.body.NAME`.
OURS = "ours."  # the prefix of the fields in this table
LOCALOPS = {
    "localops.event.kind": "ours.kind",
    "localops.event.id": "ours.id",
    "localops.event.parent": "ours.parent",
    "localops.event.agent": "ours.agent",
    "localops.event.at": "ours.at",
    "localops.event.phase": "ours.phase",
    "localops.event.step": "ours.step",
    "localops.session.id": "ours.session",
    "localops.session.once_rows": "ours.once_rows",
    "localops.session.derived": "ours.derived",
    "localops.session.processes": "ours.processes",
    "localops.exact": "ours.exact",
}
TABLES = (genai.FIELDS, openinference.FIELDS, traceloop.FIELDS, agentops.FIELDS, LOCALOPS)
OWN = "localops.body."

# Values that are spread over many attributes, each with a number in its name.
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
# Parameters of a request: the rest of the name is that of the parameter.
PARAMETERS = ("gen_ai.request.", "llm.request.")
# Metadata: the rest of the name is the program's own.
FACTS = ("traceloop.association.properties.", "trace.metadata.", "langfuse.trace.metadata.", "langfuse.metadata.")
# Attributes that repeat others, or describe the format of others: they are not kept.
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

# Events of a span, and the fields that they are read into.
FIRST_TOKEN = frozenset(("First Token Stream Event", "gen_ai.content.completion.chunk", "llm.content.completion.chunk"))
CONTENT = {
    "gen_ai.content.prompt": {"gen_ai.prompt": "prompt"},
    "gen_ai.content.completion": {"gen_ai.completion": "completion"},
    "gen_ai.client.inference.operation.details": {
        name: field for name, field in genai.FIELDS.items() if name.startswith("gen_ai.")
    },
}
MESSAGES = {  # one message per event, from 1.28 until 1.36
    "gen_ai.system.message": ("prompt", "system"),
    "gen_ai.user.message": ("prompt", "user"),
    "gen_ai.assistant.message": ("prompt", "assistant"),
    "gen_ai.tool.message": ("prompt", "tool"),
    "gen_ai.choice": ("completion", "assistant"),
}

FIELDS: dict[str, tuple[str, int]] = {}
for _rank, (_name, _field) in enumerate(pair for table in TABLES for pair in table.items()):
    FIELDS.setdefault(_name, (_field, _rank))
STARTS = (*NUMBERED, *PARAMETERS, *FACTS, OWN)
NAMES = frozenset(FIELDS) | REPEATED
LAST = len(FIELDS) + 1_000

TOKENS = tuple(dict.fromkeys(token_kinds.read_from("genai").values()))
# Other fields are present only if they have a value.
COLUMNS = tuple(kind.field for kind in token_kinds.OF_ROW if kind.field != "prompt_tokens")
IN_JSON = frozenset(
    "prompt completion system_instructions tool_definitions input output parameters metadata"
    " definition.parameters definition.json_schema".split()
)


def sent(table: dict[str, str]) -> dict[str, str]:
    """Return the attribute under which each field is sent: the first one in a table."""
    by_field: dict[str, str] = {}
    for attribute, field in table.items():
        by_field.setdefault(field, attribute)
    return by_field
