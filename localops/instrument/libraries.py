"""The libraries that are recorded, and the instrumentors that can do it.

An instrumentor of OpenInference comes first: its span holds the whole request when it starts, so that a process that
dies in the middle of a call leaves the prompt.  OpenTelemetry's own add the request only at the end.
"""

from __future__ import annotations

_OPENINFERENCE = "openinference.instrumentation"
_OFFICIAL = "opentelemetry.instrumentation"

# The module whose import switches recording on: (the extra that installs an instrumentor, the instrumentors in order).
LIBRARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "openai": (
        "localops[openai]",
        (
            f"{_OPENINFERENCE}.openai:OpenAIInstrumentor",
            f"{_OFFICIAL}.genai.openai:OpenAIInstrumentor",
            f"{_OFFICIAL}.openai_v2:OpenAIInstrumentor",
            f"{_OFFICIAL}.openai:OpenAIInstrumentor",
        ),
    ),
    "anthropic": (
        "localops[anthropic]",
        (
            f"{_OPENINFERENCE}.anthropic:AnthropicInstrumentor",
            f"{_OFFICIAL}.genai.anthropic:AnthropicInstrumentor",
            f"{_OFFICIAL}.anthropic:AnthropicInstrumentor",
        ),
    ),
    "langchain_core": (
        "localops[langchain]",
        (f"{_OPENINFERENCE}.langchain:LangChainInstrumentor", f"{_OFFICIAL}.langchain:LangchainInstrumentor"),
    ),
    "google.genai": (
        "localops[llms]",
        (
            f"{_OPENINFERENCE}.google_genai:GoogleGenAIInstrumentor",
            f"{_OFFICIAL}.google_genai:GoogleGenAiSdkInstrumentor",
        ),
    ),
    "litellm": ("localops[llms]", (f"{_OPENINFERENCE}.litellm:LiteLLMInstrumentor",)),
    "groq": ("localops[llms]", (f"{_OPENINFERENCE}.groq:GroqInstrumentor", f"{_OFFICIAL}.groq:GroqInstrumentor")),
    "mistralai": (
        "localops[llms]",
        (f"{_OPENINFERENCE}.mistralai:MistralAIInstrumentor", f"{_OFFICIAL}.mistralai:MistralAiInstrumentor"),
    ),
    "boto3": ("localops[llms]", (f"{_OPENINFERENCE}.bedrock:BedrockInstrumentor",)),
    "ollama": ("opentelemetry-instrumentation-ollama", (f"{_OFFICIAL}.ollama:OllamaInstrumentor",)),
    "cohere": ("opentelemetry-instrumentation-cohere", (f"{_OFFICIAL}.cohere:CohereInstrumentor",)),
    "llama_index.core": ("localops[llms]", (f"{_OPENINFERENCE}.llama_index:LlamaIndexInstrumentor",)),
    "agents": ("localops[llms]", (f"{_OPENINFERENCE}.openai_agents:OpenAIAgentsInstrumentor",)),
    "crewai": ("localops[llms]", (f"{_OPENINFERENCE}.crewai:CrewAIInstrumentor",)),
    "smolagents": ("localops[llms]", (f"{_OPENINFERENCE}.smolagents:SmolagentsInstrumentor",)),
    "dspy": ("openinference-instrumentation-dspy", (f"{_OPENINFERENCE}.dspy:DSPyInstrumentor",)),
    "agno": ("openinference-instrumentation-agno", (f"{_OPENINFERENCE}.agno:AgnoInstrumentor",)),
    "pydantic_ai": ("localops[llms]", ("localops.instrument.pydantic_ai:PydanticAIInstrumentor",)),
    "mcp": ("localops[mcp]", ("localops.instrument.mcp_calls:MCPInstrumentor",)),
    "haystack": ("openinference-instrumentation-haystack", (f"{_OPENINFERENCE}.haystack:HaystackInstrumentor",)),
}

# Used for much else as well: no warning if they have no instrumentor, as a user may not expect one.
QUIET = frozenset(("boto3", "agents", "mcp"))
