"""The handlers of all protocols of AgentOps."""

from __future__ import annotations

from localops.server.intake.agentops_v2 import AgentOpsV2
from localops.server.intake.agentops_v4 import AgentOpsV4


class AgentOps(AgentOpsV2, AgentOpsV4):
    """Handles the requests that clients of AgentOps send to its server."""
