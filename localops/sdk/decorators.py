"""The decorators, where programs written for AgentOps 0.4 look for them; `localops.decorators` has them."""

from __future__ import annotations

from localops.agentops import track_endpoint
from localops.decorators import agent, guardrail, llm, operation, session, task, tool, trace, workflow

__all__ = [
    "agent",
    "guardrail",
    "llm",
    "operation",
    "session",
    "task",
    "tool",
    "trace",
    "track_endpoint",
    "workflow",
]
