"""AgentOps' modules, of 0.3 and of 0.4, and where each name that programs import from them comes from here.

What stands under NOTHING warns once when it is used, and does nothing.
"""

from __future__ import annotations

AGENTOPS = "localops.agentops"
CORE = "localops.dropin.core"
HELPERS = "localops.dropin.helpers"
SEMCONV = "localops.dropin.semconv"
NOTHING = "localops.dropin.inert"

# By the name of a module below `agentops`; `agentops` itself also has all of localops.agentops.
MODULES: dict[str, dict[str, str]] = {
    "": {
        CORE: "StatusCode logger tracer",
        HELPERS: "check_agentops_update deprecated warn_deprecated_param",
        SEMCONV: ("AgentAttributes CoreAttributes SpanAttributes SpanKind ToolAttributes WorkflowAttributes"),
        NOTHING: "AgentOpsLogger get_current_span tracker",
    },
    "cli": {
        NOTHING: "main",
    },
    "client": {
        AGENTOPS: "Client get_client",
        NOTHING: "ApiClient",
    },
    "client.api": {
        NOTHING: "ApiClient AuthTokenResponse BaseApiClient V3Client V4Client",
    },
    "client.api.base": {
        NOTHING: "BaseApiClient TokenFetcher",
    },
    "client.api.types": {
        NOTHING: "AuthTokenResponse UploadedObjectResponse",
    },
    "client.api.versions": {
        NOTHING: "V3Client V4Client",
    },
    "client.api.versions.v3": {
        NOTHING: "V3Client",
    },
    "client.api.versions.v4": {
        HELPERS: "get_agentops_version",
        NOTHING: "V4Client",
    },
    "client.client": {
        AGENTOPS: "Client",
        CORE: "tracer",
        NOTHING: "ApiClient",
    },
    "client.http": {},
    "client.http.http_adapter": {
        NOTHING: "BaseHTTPAdapter",
    },
    "client.http.http_client": {
        NOTHING: "HttpClient",
    },
    "config": {
        AGENTOPS: "Config Configuration",
    },
    "decorators": {
        AGENTOPS: (
            "agent guardrail operation record_action record_function record_tool session task tool trace "
            "track_agent track_endpoint workflow"
        ),
    },
    "descriptor": {
        HELPERS: "agentops_property",
    },
    "enums": {
        AGENTOPS: "ERROR EndState EventType SUCCESS TraceState UNSET",
    },
    "event": {
        AGENTOPS: "ActionEvent ErrorEvent Event EventType LLMEvent ToolEvent",
    },
    "exceptions": {
        AGENTOPS: (
            "AgentOpsApiJwtExpiredException AgentOpsClientNotInitializedException ApiServerException "
            "InvalidApiKeyException MultiSessionException NoApiKeyException NoSessionException"
        ),
    },
    "helpers": {
        HELPERS: (
            "AgentOpsJSONEncoder check_agentops_update check_call_stack_for_agent_id "
            "debug_print_function_params filter_unjsonable get_ISO_time get_agentops_version get_cpu_details "
            "get_current_directory get_disk_details get_env_bool get_env_int get_env_list get_host_env "
            "get_installed_packages get_os_details get_ram_details get_sdk_details get_virtual_env "
            "is_jsonable safe_serialize serialize_uuid"
        ),
    },
    "helpers.dashboard": {
        CORE: "logger",
        HELPERS: "get_trace_url log_trace_url",
    },
    "helpers.deprecation": {
        HELPERS: "deprecated warn_deprecated_param",
    },
    "helpers.env": {
        HELPERS: "get_env_bool get_env_int get_env_list",
    },
    "helpers.serialization": {
        HELPERS: ("AgentOpsJSONEncoder filter_unjsonable is_jsonable model_to_dict safe_serialize serialize_uuid"),
    },
    "helpers.system": {
        HELPERS: (
            "get_cpu_details get_current_directory get_disk_details get_host_env get_imported_libraries "
            "get_installed_packages get_os_details get_ram_details get_sdk_details get_sys_packages "
            "get_virtual_env"
        ),
    },
    "helpers.time": {
        HELPERS: "get_ISO_time",
    },
    "helpers.version": {
        CORE: "logger",
        HELPERS: "check_agentops_update get_agentops_version",
        NOTHING: "version",
    },
    "host_env": {
        HELPERS: (
            "get_agentops_details get_cpu_details get_current_directory get_disk_details get_host_env "
            "get_installed_packages get_os_details get_python_details get_ram_details get_sdk_details "
            "get_sys_packages get_virtual_env"
        ),
    },
    "http_client": {
        NOTHING: "HttpClient HttpStatus Response",
    },
    "instrumentation": {
        CORE: ("get_active_libraries instrument_all instrument_one logger tracer uninstrument_all"),
        HELPERS: "get_library_version",
        NOTHING: "InstrumentorLoader",
    },
    "instrumentation.agentic": {},
    "instrumentation.agentic.ag2": {},
    "instrumentation.agentic.agno": {},
    "instrumentation.agentic.crewai": {},
    "instrumentation.agentic.google_adk": {},
    "instrumentation.agentic.haystack": {},
    "instrumentation.agentic.langgraph": {},
    "instrumentation.agentic.openai_agents": {
        NOTHING: "LIBRARY_NAME LIBRARY_VERSION",
    },
    "instrumentation.agentic.openai_agents.attributes": {},
    "instrumentation.agentic.openai_agents.attributes.common": {
        CORE: "get_span_attributes",
        NOTHING: (
            "get_agent_span_attributes get_common_instrumentation_attributes get_function_span_attributes "
            "get_generation_span_attributes get_handoff_span_attributes get_response_span_attributes"
        ),
    },
    "instrumentation.agentic.openai_agents.attributes.completion": {
        HELPERS: "model_to_dict",
        NOTHING: ("get_chat_completions_attributes get_generation_output_attributes get_raw_response_attributes"),
    },
    "instrumentation.agentic.openai_agents.attributes.model": {
        NOTHING: "get_model_attributes",
    },
    "instrumentation.agentic.openai_agents.attributes.tokens": {
        NOTHING: "extract_nested_usage get_token_metric_attributes process_token_usage",
    },
    "instrumentation.agentic.openai_agents.exporter": {
        NOTHING: "OpenAIAgentsExporter",
    },
    "instrumentation.agentic.openai_agents.instrumentor": {
        NOTHING: "OpenAIAgentsInstrumentor",
    },
    "instrumentation.agentic.openai_agents.processor": {
        NOTHING: "OpenAIAgentsProcessor",
    },
    "instrumentation.agentic.smolagents": {},
    "instrumentation.agentic.xpander": {},
    "instrumentation.common": {},
    "instrumentation.common.attributes": {
        HELPERS: "get_agentops_version",
        NOTHING: (
            "AttributeMap _extract_attributes_from_mapping get_base_span_attributes get_base_trace_attributes "
            "get_common_attributes"
        ),
    },
    "instrumentation.common.instrumentor": {
        NOTHING: "get_meter get_tracer unwrap wrap",
    },
    "instrumentation.common.metrics": {},
    "instrumentation.common.objects": {},
    "instrumentation.common.span_management": {
        NOTHING: "safe_set_attribute",
    },
    "instrumentation.common.streaming": {
        NOTHING: (
            "AsyncStreamWrapper BaseStreamWrapper StreamingResponseHandler SyncStreamWrapper "
            "create_stream_wrapper_factory"
        ),
    },
    "instrumentation.common.token_counting": {
        NOTHING: "TokenUsage",
    },
    "instrumentation.common.version": {},
    "instrumentation.common.wrappers": {
        NOTHING: (
            "WrapConfig _create_wrapper _finish_span_error _finish_span_success _unwrap _update_span unwrap "
            "wrap wrap_function_wrapper"
        ),
    },
    "instrumentation.providers": {},
    "instrumentation.providers.anthropic": {
        NOTHING: "LIBRARY_NAME LIBRARY_VERSION",
    },
    "instrumentation.providers.anthropic.attributes": {},
    "instrumentation.providers.anthropic.attributes.common": {
        NOTHING: "extract_request_attributes get_common_instrumentation_attributes",
    },
    "instrumentation.providers.anthropic.attributes.message": {
        NOTHING: ("get_message_request_attributes get_stream_attributes get_stream_event_attributes"),
    },
    "instrumentation.providers.anthropic.attributes.tools": {
        NOTHING: "extract_tool_definitions extract_tool_use_blocks get_tool_attributes",
    },
    "instrumentation.providers.anthropic.event_handler_wrapper": {
        NOTHING: "EventHandleWrapper",
    },
    "instrumentation.providers.anthropic.instrumentor": {
        NOTHING: "AnthropicInstrumentor otel_unwrap wrap_function_wrapper",
    },
    "instrumentation.providers.anthropic.stream_wrapper": {
        NOTHING: ("AsyncStreamContextManagerWrapper messages_stream_async_wrapper messages_stream_wrapper"),
    },
    "instrumentation.providers.google_genai": {},
    "instrumentation.providers.ibm_watsonx_ai": {},
    "instrumentation.providers.mem0": {},
    "instrumentation.providers.openai": {
        NOTHING: "LIBRARY_NAME LIBRARY_VERSION",
    },
    "instrumentation.providers.openai.attributes": {},
    "instrumentation.providers.openai.attributes.common": {
        NOTHING: (
            "Response get_common_instrumentation_attributes get_response_attributes get_response_kwarg_attributes"
        ),
    },
    "instrumentation.providers.openai.attributes.response": {
        NOTHING: (
            "ComputerTool FileSearchTool FunctionTool InputTokensDetails OutputTokensDetails "
            "ResponseComputerToolCall ResponseFileSearchToolCall ResponseFunctionToolCall "
            "ResponseFunctionWebSearch ResponseOutputMessage ResponseOutputText ResponseReasoningItem "
            "WebSearchTool _extract_attributes_from_mapping_with_index get_response_kwarg_attributes "
            "get_response_output_attributes get_response_output_message_attributes "
            "get_response_output_text_attributes get_response_response_attributes "
            "get_response_tool_computer_attributes get_response_tool_file_search_attributes "
            "get_response_tool_web_search_attributes get_response_tools_attributes "
            "get_response_usage_attributes"
        ),
    },
    "instrumentation.providers.openai.instrumentor": {
        NOTHING: "OpenaiInstrumentor is_openai_v1 wrap_function_wrapper",
    },
    "instrumentation.providers.openai.utils": {
        NOTHING: "is_openai_v1",
    },
    "instrumentation.utilities": {},
    "instrumentation.utilities.concurrent_futures": {},
    "integration": {},
    "integration.callbacks": {},
    "integration.callbacks.dspy": {
        NOTHING: "DSPyCallbackHandler",
    },
    "integration.callbacks.dspy.callback": {
        NOTHING: "DSPyCallbackHandler",
    },
    "integration.callbacks.langchain": {
        AGENTOPS: "AsyncLangchainCallbackHandler LangchainCallbackHandler",
    },
    "integration.callbacks.langchain.callback": {
        AGENTOPS: "AsyncLangchainCallbackHandler LangchainCallbackHandler",
    },
    "integration.callbacks.langchain.utils": {
        NOTHING: "get_model_info",
    },
    "langchain_callback_handler": {
        AGENTOPS: "LangchainCallbackHandler",
    },
    "legacy": {
        AGENTOPS: (
            "ActionEvent ErrorEvent Event LLMEvent Session ToolEvent TraceContext end_all_sessions "
            "end_session start_session track_agent track_tool"
        ),
        CORE: "logger tracer",
        HELPERS: "deprecated",
    },
    "legacy.event": {
        AGENTOPS: "ActionEvent ErrorEvent Event EventType LLMEvent ToolEvent",
    },
    "llms": {},
    "llms.providers": {},
    "llms.providers.ai21": {
        NOTHING: "AI21Provider",
    },
    "llms.providers.anthropic": {
        NOTHING: "AnthropicProvider",
    },
    "llms.providers.base": {
        NOTHING: "BaseProvider",
    },
    "llms.providers.cohere": {
        NOTHING: "CohereProvider",
    },
    "llms.providers.gemini": {
        NOTHING: "GeminiProvider",
    },
    "llms.providers.groq": {
        NOTHING: "GroqProvider",
    },
    "llms.providers.litellm": {
        NOTHING: "LiteLLMProvider",
    },
    "llms.providers.llama_stack_client": {
        NOTHING: "LlamaStackClientProvider",
    },
    "llms.providers.mistral": {
        NOTHING: "MistralProvider",
    },
    "llms.providers.ollama": {
        NOTHING: "OllamaProvider",
    },
    "llms.providers.openai": {
        NOTHING: "OpenAiProvider",
    },
    "llms.providers.taskweaver": {
        NOTHING: "TaskWeaverProvider",
    },
    "llms.tracker": {
        CORE: "LlmTracker",
    },
    "log_config": {
        CORE: "logger",
        NOTHING: "AgentOpsLogFileFormatter AgentOpsLogFormatter",
    },
    "logging": {
        CORE: "configure_logging logger",
        NOTHING: "setup_print_logger upload_logfile",
    },
    "logging.config": {
        CORE: "configure_logging logger",
        NOTHING: "intercept_opentelemetry_logging",
    },
    "logging.formatters": {
        NOTHING: "AgentOpsLogFileFormatter AgentOpsLogFormatter",
    },
    "logging.instrument_logging": {
        NOTHING: "_original_print setup_print_logger upload_logfile",
    },
    "meta_client": {
        HELPERS: "MetaClient handle_exceptions",
    },
    "partners": {},
    "partners.autogen_logger": {
        CORE: "logger",
        NOTHING: "AutogenLogger",
    },
    "partners.langchain_callback_handler": {
        AGENTOPS: "AsyncLangchainCallbackHandler LangchainCallbackHandler",
        NOTHING: "get_model_from_kwargs",
    },
    "partners.taskweaver_event_handler": {
        NOTHING: "TaskWeaverEventHandler",
    },
    "sdk": {
        AGENTOPS: ("TraceContext agent guardrail operation session task tool trace track_endpoint workflow"),
        CORE: "TracingConfig StatusCode",
    },
    "sdk.attributes": {
        CORE: (
            "get_global_resource_attributes get_session_end_attributes get_span_attributes "
            "get_system_resource_attributes get_trace_attributes logger"
        ),
        HELPERS: "get_imported_libraries",
    },
    "sdk.core": {
        AGENTOPS: "TraceContext",
        CORE: "TracingCore get_system_resource_attributes tracer",
        HELPERS: "log_trace_url",
        NOTHING: "setup_telemetry",
    },
    "sdk.decorators": {
        AGENTOPS: "agent guardrail operation session task tool trace track_endpoint workflow",
        CORE: "create_entity_decorator operation_decorator",
        HELPERS: "deprecated",
        SEMCONV: "SpanKind",
    },
    "sdk.decorators.factory": {
        CORE: "create_entity_decorator tracer",
    },
    "sdk.decorators.utility": {
        CORE: "set_entity_path set_workflow_name",
    },
    "sdk.descriptors": {},
    "sdk.descriptors.classproperty": {
        HELPERS: "ClassPropertyDescriptor classproperty",
    },
    "sdk.exporters": {
        CORE: "logger",
        NOTHING: "AuthenticatedOTLPExporter",
    },
    "sdk.processors": {
        CORE: "logger",
        NOTHING: "InternalSpanProcessor upload_logfile",
    },
    "sdk.types": {
        CORE: "ISOTimeStamp TracingConfig",
    },
    "semconv": {
        SEMCONV: (
            "AgentAttributes AgentOpsSpanKindValues CoreAttributes InstrumentationAttributes "
            "LLMRequestTypeValues LangChainAttributeValues LangChainAttributes MessageAttributes Meters "
            "ResourceAttributes SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY SpanAttributes SpanKind "
            "ToolAttributes ToolStatus WorkflowAttributes"
        ),
    },
    "semconv.agent": {
        SEMCONV: "AgentAttributes",
    },
    "semconv.core": {
        SEMCONV: "CoreAttributes",
    },
    "semconv.enum": {
        SEMCONV: "LLMRequestTypeValues",
    },
    "semconv.instrumentation": {
        SEMCONV: "InstrumentationAttributes",
    },
    "semconv.langchain": {
        SEMCONV: "LangChainAttributeValues LangChainAttributes",
    },
    "semconv.message": {
        SEMCONV: "MessageAttributes",
    },
    "semconv.meters": {
        SEMCONV: "Meters",
    },
    "semconv.resource": {
        SEMCONV: "ResourceAttributes",
    },
    "semconv.span_attributes": {
        SEMCONV: "SpanAttributes",
    },
    "semconv.span_kinds": {
        SEMCONV: "AgentOpsSpanKindValues SpanKind",
    },
    "semconv.status": {
        SEMCONV: "ToolStatus",
    },
    "semconv.tool": {
        SEMCONV: "ToolAttributes",
    },
    "semconv.workflow": {
        SEMCONV: "WorkflowAttributes",
    },
    "session": {
        AGENTOPS: "EndState Session",
        NOTHING: "SessionExporter",
    },
    "singleton": {
        HELPERS: "ao_instances clear_singletons conditional_singleton singleton",
    },
    "time_travel": {
        NOTHING: (
            "TimeTravel check_time_travel_active fetch_completion_override_from_time_travel_cache "
            "fetch_time_travel_id find_cache_hit set_time_travel_active_state"
        ),
    },
    "validation": {
        AGENTOPS: ("ValidationError get_trace_details get_trace_metrics print_validation_summary validate_trace_spans"),
        CORE: "check_llm_spans",
        NOTHING: "get_jwt_token get_jwt_token_sync",
    },
}
