"""Names of AgentOps 0.4."""

from __future__ import annotations

FIELDS = {
    "agentops.span.kind": "kind",
    "gen_ai.request.type": "kind",
    "gen_ai.request.streaming": "stream",
    "gen_ai.request.system_instruction": "system_instructions",
    "gen_ai.request.instructions": "system_instructions",
    "gen_ai.streaming.time_to_first_token": "time_to_first_token",
    "gen_ai.usage.total_cost": "cost",
    "agentops.entity.name": "entity_name",
    "operation.name": "entity_name",
    "agentops.tags": "tags",
    "agentops.guardrail.spec": "spec",
    "operation.version": "version",
    "agent.id": "agent_id",
    "agent.role": "agent_role",
    "tool.result": "output",
    "tool.call.id": "call_id",
    **{f"agentops.{kind}.input": "input" for kind in "entity agent workflow task tool guardrail operation".split()},
    **{f"agentops.{kind}.output": "output" for kind in "entity agent workflow task tool guardrail operation".split()},
}
