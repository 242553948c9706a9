"""An instrumentor for pydantic-ai, which makes spans itself once they are switched on."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PydanticAIInstrumentor:
    """Switch on pydantic-ai's spans of all agents."""

    def instrument(self, *, tracer_provider: Any, **_: Any) -> None:
        """Let every agent make spans for this provider, unless it has settings of its own."""
        from pydantic_ai import Agent
        from pydantic_ai.models.instrumented import InstrumentationSettings

        if not Agent._instrument_default:  # the program has not switched them on itself
            Agent.instrument_all(InstrumentationSettings(tracer_provider=tracer_provider))
