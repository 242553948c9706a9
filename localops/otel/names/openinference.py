"""Names of OpenInference: Phoenix and Arize."""

from __future__ import annotations

from localops.journal import token_kinds

FIELDS = {
    "openinference.span.kind": "kind",
    "llm.provider": "provider",
    "llm.system": "provider",
    "llm.request.model_name": "model",
    "llm.response.model_name": "response_model",
    "llm.model_name": "some_model",  # the model of the answer, if there is one
    "llm.input_model_name": "model",
    "llm.output_model_name": "response_model",
    "embedding.model_name": "some_model",
    "reranker.model_name": "some_model",
    "llm.finish_reason": "finish_reason",
    "llm.invocation_parameters": "parameters",
    "embedding.invocation_parameters": "parameters",
    "input.value": "input",
    "output.value": "output",
    **token_kinds.read_from("openinference"),
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
    "user.id": "user_id",
    "session.id": "session_id",
    "metadata": "metadata",
    "tag.tags": "tags",
}
