"""AgentOps' names for attributes of spans: each class has the words as AgentOps 0.4 writes them.

A line is a name and its word; a `#` begins a class.
"""

from __future__ import annotations

import enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY = "suppress_language_model_instrumentation"

# The module that AgentOps has each class in.
MODULES = {
    "agent": "AgentAttributes",
    "core": "CoreAttributes",
    "enum": "LLMRequestTypeValues",
    "instrumentation": "InstrumentationAttributes",
    "langchain": "LangChainAttributeValues LangChainAttributes",
    "message": "MessageAttributes",
    "meters": "Meters",
    "resource": "ResourceAttributes",
    "span_attributes": "SpanAttributes",
    "span_kinds": "AgentOpsSpanKindValues SpanKind",
    "status": "ToolStatus",
    "tool": "ToolAttributes",
    "workflow": "WorkflowAttributes",
}
_ENUMS = frozenset(("AgentOpsSpanKindValues", "LLMRequestTypeValues", "ToolStatus"))

_NAMES = """
# AgentAttributes
AGENT_ID agent.id
AGENT_NAME agent.name
AGENT_ROLE agent.role
AGENT_TOOLS agent.tools
AGENT_MODELS agent.models
TOOLS tools
HANDOFFS handoffs
FROM_AGENT from_agent
TO_AGENT to_agent
AGENT_REASONING agent.reasoning
# CoreAttributes
ERROR_TYPE error.type
ERROR_MESSAGE error.message
TAGS agentops.tags
TRACE_ID trace.id
SPAN_ID span.id
PARENT_ID parent.id
GROUP_ID group.id
# LLMRequestTypeValues
COMPLETION completion
CHAT chat
RERANK rerank
EMBEDDING embedding
UNKNOWN unknown
# InstrumentationAttributes
NAME instrumentation.name
VERSION instrumentation.version
LIBRARY_NAME library.name
LIBRARY_VERSION library.version
INSTRUMENTATION_TYPE instrumentation.type
# LangChainAttributeValues
CHAIN_KIND_SEQUENTIAL sequential
CHAIN_KIND_LLM llm
CHAIN_KIND_ROUTER router
ROLE_SYSTEM system
ROLE_USER user
ROLE_ASSISTANT assistant
ROLE_FUNCTION function
ROLE_TOOL tool
# LangChainAttributes
SESSION_TAGS langchain.session.tags
LLM_NAME langchain.llm.name
LLM_MODEL langchain.llm.model
CHAIN_NAME langchain.chain.name
CHAIN_TYPE langchain.chain.type
CHAIN_ERROR langchain.chain.error
CHAIN_KIND langchain.chain.kind
CHAIN_VERBOSE langchain.chain.verbose
AGENT_ACTION_LOG langchain.agent.action.log
AGENT_ACTION_INPUT langchain.agent.action.input
AGENT_ACTION_TOOL langchain.agent.action.tool
AGENT_FINISH_RETURN_VALUES langchain.agent.finish.return_values
AGENT_FINISH_LOG langchain.agent.finish.log
TOOL_NAME langchain.tool.name
TOOL_INPUT langchain.tool.input
TOOL_OUTPUT langchain.tool.output
TOOL_DESCRIPTION langchain.tool.description
TOOL_ERROR langchain.tool.error
TOOL_ARGS_SCHEMA langchain.tool.args_schema
TOOL_RETURN_DIRECT langchain.tool.return_direct
CHAT_MESSAGE_ROLES langchain.chat_message.roles
CHAT_MODEL_TYPE langchain.chat_model.type
TEXT_CONTENT langchain.text.content
LLM_ERROR langchain.llm.error
# MessageAttributes
PROMPT_ROLE gen_ai.prompt.{i}.role
PROMPT_CONTENT gen_ai.prompt.{i}.content
PROMPT_TYPE gen_ai.prompt.{i}.type
PROMPT_SPEAKER gen_ai.prompt.{i}.speaker
TOOL_CALL_ID gen_ai.request.tools.{i}.id
TOOL_CALL_TYPE gen_ai.request.tools.{i}.type
TOOL_CALL_NAME gen_ai.request.tools.{i}.name
TOOL_CALL_DESCRIPTION gen_ai.request.tools.{i}.description
TOOL_CALL_ARGUMENTS gen_ai.request.tools.{i}.arguments
COMPLETION_ID gen_ai.completion.{i}.id
COMPLETION_TYPE gen_ai.completion.{i}.type
COMPLETION_ROLE gen_ai.completion.{i}.role
COMPLETION_CONTENT gen_ai.completion.{i}.content
COMPLETION_FINISH_REASON gen_ai.completion.{i}.finish_reason
COMPLETION_SPEAKER gen_ai.completion.{i}.speaker
COMPLETION_TOOL_CALL_ID gen_ai.completion.{i}.tool_calls.{j}.id
COMPLETION_TOOL_CALL_TYPE gen_ai.completion.{i}.tool_calls.{j}.type
COMPLETION_TOOL_CALL_STATUS gen_ai.completion.{i}.tool_calls.{j}.status
COMPLETION_TOOL_CALL_NAME gen_ai.completion.{i}.tool_calls.{j}.name
COMPLETION_TOOL_CALL_DESCRIPTION gen_ai.completion.{i}.tool_calls.{j}.description
COMPLETION_TOOL_CALL_ARGUMENTS gen_ai.completion.{i}.tool_calls.{j}.arguments
COMPLETION_ANNOTATION_START_INDEX gen_ai.completion.{i}.annotations.{j}.start_index
COMPLETION_ANNOTATION_END_INDEX gen_ai.completion.{i}.annotations.{j}.end_index
COMPLETION_ANNOTATION_TITLE gen_ai.completion.{i}.annotations.{j}.title
COMPLETION_ANNOTATION_TYPE gen_ai.completion.{i}.annotations.{j}.type
COMPLETION_ANNOTATION_URL gen_ai.completion.{i}.annotations.{j}.url
# Meters
LLM_GENERATION_CHOICES gen_ai.client.generation.choices
LLM_TOKEN_USAGE gen_ai.client.token.usage
LLM_OPERATION_DURATION gen_ai.client.operation.duration
LLM_COMPLETIONS_EXCEPTIONS gen_ai.openai.chat_completions.exceptions
LLM_STREAMING_TIME_TO_FIRST_TOKEN gen_ai.openai.chat_completions.streaming_time_to_first_token
LLM_STREAMING_TIME_TO_GENERATE gen_ai.openai.chat_completions.streaming_time_to_generate
LLM_EMBEDDINGS_EXCEPTIONS gen_ai.openai.embeddings.exceptions
LLM_EMBEDDINGS_VECTOR_SIZE gen_ai.openai.embeddings.vector_size
LLM_IMAGE_GENERATIONS_EXCEPTIONS gen_ai.openai.image_generations.exceptions
LLM_ANTHROPIC_COMPLETION_EXCEPTIONS gen_ai.anthropic.completion.exceptions
AGENT_RUNS gen_ai.agent.runs
AGENT_TURNS gen_ai.agent.turns
AGENT_EXECUTION_TIME gen_ai.agent.execution_time
# ResourceAttributes
PROJECT_ID agentops.project.id
SERVICE_NAME service.name
SERVICE_VERSION service.version
ENVIRONMENT agentops.environment
DEPLOYMENT_ENVIRONMENT deployment.environment
SDK_NAME agentops.sdk.name
SDK_VERSION agentops.sdk.version
HOST_MACHINE host.machine
HOST_NAME host.name
HOST_NODE host.node
HOST_OS_RELEASE host.os_release
HOST_PROCESSOR host.processor
HOST_SYSTEM host.system
HOST_VERSION host.version
CPU_COUNT cpu.count
CPU_PERCENT cpu.percent
MEMORY_TOTAL memory.total
MEMORY_AVAILABLE memory.available
MEMORY_USED memory.used
MEMORY_PERCENT memory.percent
IMPORTED_LIBRARIES imported_libraries
# SpanAttributes
LLM_SYSTEM gen_ai.system
LLM_REQUEST_MODEL gen_ai.request.model
LLM_REQUEST_MAX_TOKENS gen_ai.request.max_tokens
LLM_REQUEST_TEMPERATURE gen_ai.request.temperature
LLM_REQUEST_TOP_P gen_ai.request.top_p
LLM_REQUEST_TOP_K gen_ai.request.top_k
LLM_REQUEST_SEED gen_ai.request.seed
LLM_REQUEST_SYSTEM_INSTRUCTION gen_ai.request.system_instruction
LLM_REQUEST_CANDIDATE_COUNT gen_ai.request.candidate_count
LLM_REQUEST_STOP_SEQUENCES gen_ai.request.stop_sequences
LLM_REQUEST_TYPE gen_ai.request.type
LLM_REQUEST_STREAMING gen_ai.request.streaming
LLM_REQUEST_FREQUENCY_PENALTY gen_ai.request.frequency_penalty
LLM_REQUEST_PRESENCE_PENALTY gen_ai.request.presence_penalty
LLM_REQUEST_FUNCTIONS gen_ai.request.functions
LLM_REQUEST_HEADERS gen_ai.request.headers
LLM_REQUEST_INSTRUCTIONS gen_ai.request.instructions
LLM_REQUEST_VOICE gen_ai.request.voice
LLM_REQUEST_SPEED gen_ai.request.speed
LLM_PROMPTS gen_ai.prompt
LLM_COMPLETIONS gen_ai.completion
LLM_CONTENT_COMPLETION_CHUNK gen_ai.completion.chunk
LLM_RESPONSE_MODEL gen_ai.response.model
LLM_RESPONSE_FINISH_REASON gen_ai.response.finish_reason
LLM_RESPONSE_STOP_REASON gen_ai.response.stop_reason
LLM_RESPONSE_ID gen_ai.response.id
LLM_USAGE_COMPLETION_TOKENS gen_ai.usage.completion_tokens
LLM_USAGE_PROMPT_TOKENS gen_ai.usage.prompt_tokens
LLM_USAGE_TOTAL_TOKENS gen_ai.usage.total_tokens
LLM_USAGE_CACHE_CREATION_INPUT_TOKENS gen_ai.usage.cache_creation_input_tokens
LLM_USAGE_CACHE_READ_INPUT_TOKENS gen_ai.usage.cache_read_input_tokens
LLM_USAGE_REASONING_TOKENS gen_ai.usage.reasoning_tokens
LLM_USAGE_STREAMING_TOKENS gen_ai.usage.streaming_tokens
LLM_USAGE_TOOL_COST gen_ai.usage.total_cost
LLM_TOKEN_TYPE gen_ai.token.type
LLM_USER gen_ai.user
LLM_OPENAI_RESPONSE_SYSTEM_FINGERPRINT gen_ai.openai.system_fingerprint
LLM_OPENAI_RESPONSE_INSTRUCTIONS gen_ai.openai.instructions
LLM_OPENAI_API_BASE gen_ai.openai.api_base
LLM_OPENAI_API_VERSION gen_ai.openai.api_version
LLM_OPENAI_API_TYPE gen_ai.openai.api_type
AGENTOPS_ENTITY_OUTPUT agentops.entity.output
AGENTOPS_ENTITY_INPUT agentops.entity.input
AGENTOPS_SPAN_KIND agentops.span.kind
AGENTOPS_ENTITY_NAME agentops.entity.name
AGENTOPS_DECORATOR_SPEC agentops.{entity_kind}.spec
AGENTOPS_DECORATOR_INPUT agentops.{entity_kind}.input
AGENTOPS_DECORATOR_OUTPUT agentops.{entity_kind}.output
OPERATION_NAME operation.name
OPERATION_VERSION operation.version
AGENTOPS_SESSION_END_STATE agentops.session.end_state
LLM_STREAMING_TIME_TO_FIRST_TOKEN gen_ai.streaming.time_to_first_token
LLM_STREAMING_TIME_TO_GENERATE gen_ai.streaming.time_to_generate
LLM_STREAMING_DURATION gen_ai.streaming_duration
LLM_STREAMING_CHUNK_COUNT gen_ai.streaming.chunk_count
HTTP_METHOD http.method
HTTP_URL http.url
HTTP_ROUTE http.route
HTTP_STATUS_CODE http.status_code
HTTP_REQUEST_HEADERS http.request.headers
HTTP_RESPONSE_HEADERS http.response.headers
HTTP_REQUEST_BODY http.request.body
HTTP_RESPONSE_BODY http.response.body
HTTP_USER_AGENT http.user_agent
HTTP_REQUEST_ID http.request_id
# AgentOpsSpanKindValues
WORKFLOW workflow
SESSION session
TASK task
OPERATION operation
AGENT agent
TOOL tool
LLM llm
CHAIN chain
TEXT text
GUARDRAIL guardrail
HTTP http
UNKNOWN unknown
# SpanKind
AGENT_ACTION agent.action
AGENT_THINKING agent.thinking
AGENT_DECISION agent.decision
LLM_CALL llm.call
WORKFLOW_STEP workflow.step
WORKFLOW workflow
SESSION session
TASK task
OPERATION operation
AGENT agent
TOOL tool
LLM llm
UNKNOWN unknown
CHAIN chain
TEXT text
GUARDRAIL guardrail
HTTP http
# ToolStatus
EXECUTING executing
SUCCEEDED succeeded
FAILED failed
# ToolAttributes
TOOL_ID tool.id
TOOL_NAME tool.name
TOOL_DESCRIPTION tool.description
TOOL_PARAMETERS tool.parameters
TOOL_RESULT tool.result
TOOL_STATUS tool.status
# WorkflowAttributes
WORKFLOW_NAME workflow.name
WORKFLOW_TYPE workflow.type
WORKFLOW_ID workflow.workflow_id
WORKFLOW_RUN_ID workflow.run_id
WORKFLOW_DESCRIPTION workflow.description
WORKFLOW_INPUT workflow.input
WORKFLOW_INPUT_TYPE workflow.input.type
WORKFLOW_OUTPUT workflow.output
WORKFLOW_OUTPUT_TYPE workflow.output.type
WORKFLOW_FINAL_OUTPUT workflow.final_output
WORKFLOW_STEP_TYPE workflow.step.type
WORKFLOW_STEP_STATUS workflow.step.status
WORKFLOW_MAX_TURNS workflow.max_turns
WORKFLOW_DEBUG_MODE workflow.debug_mode
WORKFLOW_MONITORING workflow.monitoring
WORKFLOW_TELEMETRY workflow.telemetry
WORKFLOW_MEMORY_TYPE workflow.memory_type
WORKFLOW_STORAGE_TYPE workflow.storage_type
WORKFLOW_SESSION_ID workflow.session_id
WORKFLOW_SESSION_NAME workflow.session_name
WORKFLOW_USER_ID workflow.user_id
WORKFLOW_APP_ID workflow.app_id
WORKFLOW_INPUT_PARAMETER_COUNT workflow.input.parameter_count
WORKFLOW_INPUT_PARAMETER_KEYS workflow.input.parameter_keys
WORKFLOW_METHOD_PARAMETER_COUNT workflow.method.parameter_count
WORKFLOW_METHOD_RETURN_TYPE workflow.method.return_type
WORKFLOW_OUTPUT_CONTENT_TYPE workflow.output.content_type
WORKFLOW_OUTPUT_EVENT workflow.output.event
WORKFLOW_OUTPUT_MODEL workflow.output.model
WORKFLOW_OUTPUT_MODEL_PROVIDER workflow.output.model_provider
WORKFLOW_OUTPUT_MESSAGE_COUNT workflow.output.message_count
WORKFLOW_OUTPUT_TOOL_COUNT workflow.output.tool_count
WORKFLOW_OUTPUT_IS_STREAMING workflow.output.is_streaming
WORKFLOW_OUTPUT_IMAGE_COUNT workflow.output.image_count
WORKFLOW_OUTPUT_VIDEO_COUNT workflow.output.video_count
WORKFLOW_OUTPUT_AUDIO_COUNT workflow.output.audio_count
WORKFLOW_SESSION_WORKFLOW_ID workflow.session.workflow_id
WORKFLOW_SESSION_USER_ID workflow.session.user_id
WORKFLOW_SESSION_STATE_KEYS workflow.session.state_keys
WORKFLOW_SESSION_STATE_SIZE workflow.session.state_size
WORKFLOW_SESSION_STORAGE_TYPE workflow.session.storage_type
WORKFLOW_SESSION_RETURNED_SESSION_ID workflow.session.returned_session_id
WORKFLOW_SESSION_CREATED_AT workflow.session.created_at
WORKFLOW_SESSION_UPDATED_AT workflow.session.updated_at
"""


def _classes() -> dict[str, Any]:
    """Return a class for each group of names: an enumeration, or a plain one whose attributes are texts."""
    groups: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for line in _NAMES.strip().splitlines():
        name, _, word = line.partition(" ")
        if name == "#":
            names = groups.setdefault(word, {})
        else:
            names[name] = word
    return {
        title: enum.Enum(title, names) if title in _ENUMS else type(title, (), names) for title, names in groups.items()
    }


globals().update(_classes())
