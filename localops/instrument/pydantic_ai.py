"""An instrumentor for pydantic-ai, which makes spans by itself once it is asked to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PydanticAIInstrumentor:
    """Asks pydantic-ai for the spans of all agents."""

    def instrument(self, *, tracer_provider: Any, **_: Any) -> None:
        """Have every agent make spans for this provider, but those that were given settings of their own."""
        from pydantic_ai import Agent
        from pydantic_ai.models.instrumented import InstrumentationSettings

        if not Agent._instrument_default:  # the program has not asked for them itself
            Agent.instrument_all(InstrumentationSettings(tracer_provider=tracer_provider))
