"""Names of the semantic conventions for generative AI, from 1.27 until 1.42-dev."""

from __future__ import annotations

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
