"""Names of OpenLLMetry, by Traceloop."""

from __future__ import annotations

from localops.journal import token_kinds

FIELDS = {
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
    **token_kinds.read_from("traceloop"),
}
