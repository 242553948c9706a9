"""Names of OpenLLMetry, by Traceloop."""

from __future__ import annotations

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
    "gen_ai.usage.cache_read_input_tokens": "cached_tokens",
    "gen_ai.usage.cache_creation_input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning_tokens": "reasoning_tokens",
    "llm.usage.reasoning_tokens": "reasoning_tokens",
    "llm.usage.cache_read_input_tokens": "cached_tokens",
    "llm.usage.cache_creation_input_tokens": "cache_write_tokens",
    "llm.usage.prompt_tokens": "input_tokens",
    "llm.usage.completion_tokens": "completion_tokens",
}
