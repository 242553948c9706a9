"""Names of the semantic conventions for generative AI, from 1.27 until 1.42-dev."""

from __future__ import annotations

from localops.journal import token_kinds

FIELDS = {
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
    **token_kinds.read_from("genai", "genai_before"),
    "gen_ai.tool.name": "tool_name",
    "gen_ai.tool.call.id": "call_id",
    "gen_ai.tool.call.arguments": "input",
    "gen_ai.tool.call.result": "output",
    "gen_ai.tool.description": "definition.description",
    "gen_ai.tool.type": "definition.type",
    "mcp.method.name": "mcp_method",
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
