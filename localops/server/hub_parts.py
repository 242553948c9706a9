"""The parts that only a hub has: handlers for senders, third-party clients and the operator, and background work.

The pages of a local home start without these modules.
"""

from __future__ import annotations

from localops.server.intake.agentops import AgentOps
from localops.server.intake.otlp import OtlpApi, release_spans
from localops.server.operator_api import OperatorApi
from localops.server.survey import Survey
from localops.server.sync_api import SyncApi
from localops.server.upkeep import Upkeep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from localops.server.event_stream import EventStreams
    from localops.server.limits import Shares
    from localops.server.threads import Service


def handlers(service: Service, shares: Shares) -> dict[str, Any]:
    """Return the handlers that store data, by `api` of their endpoints."""
    return {"sync": SyncApi(service, shares), "otlp": OtlpApi(service, shares), "agentops": AgentOps(service, shares)}


def operator_api(service: Service, shares: Shares, streams: EventStreams) -> OperatorApi:
    """Return the handlers for monitoring."""
    assert service.keys is not None
    assert service.health is not None
    survey = Survey(service.store, service.keys.folder, service.look)
    return OperatorApi(service, shares, streams, service.health, survey, service.keys.folder)


def beside(service: Service) -> list[Coroutine[Any, Any, None]]:
    """Return the background work of a hub."""
    assert service.policy is not None
    upkeep = Upkeep(service, service.policy, service.limits.upkeep)
    return [release_spans(service), service.refusals.work(), upkeep.work()]
