"""Names of OpenInference: Phoenix and Arize."""

from __future__ import annotations

FIELDS = {
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
