"""AgentOps' tracer, over sessions and operations: `agentops.tracer`, and what `agentops.sdk` has beside decorators."""

from __future__ import annotations

import enum
import logging

from localops import api, decorators, instrument
from localops.dropin.inert import Inert
from localops.errors import LocalopsError
from localops.recording.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from localops.config import Config
    from localops.recording.operation import Operation

TracingConfig = dict
ISOTimeStamp = str
logger = logging.getLogger("agentops")


class StatusCode(enum.Enum):
    """How a span of OpenTelemetry ends; in OpenTelemetry's own words, for programs that have no SDK of it."""

    UNSET = 0
    OK = 1
    ERROR = 2


_STATES = {"OK": "Success", "ERROR": "Failure", "UNSET": "Indeterminate"}
_KINDS = {"session": "workflow", "trace": "workflow"}


class TracingCore:
    """The tracer: a trace is a session, a span is an operation; all is in the journal when a call returns."""

    @property
    def initialized(self) -> bool:
        """Whether it can be used, which needs no key and no network."""
        return True

    @property
    def config(self) -> Config:
        """The options for the sessions started from now on."""
        return api.client().config

    @staticmethod
    def initialize(*_: Any, **__: Any) -> None:
        """Do nothing: it is ready when it is first used."""

    initialize_from_config = initialize

    def update_config(self, config_updates: Mapping[str, Any]) -> None:
        """Change the options for the sessions started from now on."""
        api.configure(**config_updates)

    def shutdown(self) -> None:
        """Do nothing: every row is written already."""

    def get_tracer(self, name: str = "agentops") -> Any:
        """Return a tracer of OpenTelemetry whose spans are recorded; without its SDK, one that does nothing."""
        try:
            from localops.otel import providers

            return providers.private_provider().get_tracer(name)
        except LocalopsError:
            return NoTracer()

    def start_trace(
        self, trace_name: str = "session", tags: Mapping[str, object] | Iterable[str] | str | None = None
    ) -> Session:
        """Start a session."""
        return api.start_trace(trace_name, tags)

    def end_trace(self, trace_context: Session | None = None, end_state: Any = "Success") -> None:
        """End a session, or all that are open."""
        named = getattr(end_state, "name", None)
        api.end_trace(trace_context, _STATES.get(named, end_state) if isinstance(named, str) else end_state)

    def make_span(
        self,
        operation_name: str,
        span_kind: str,
        version: int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> tuple[Operation, Any, Any]:
        """Begin an operation; return it, no context of OpenTelemetry, and what `finalize_span` is to be given."""
        kind = str(getattr(span_kind, "value", span_kind))
        session = api.client().place("a span of agentops.tracer has no session")
        operation = session.operation(operation_name, _KINDS.get(kind, kind))
        operation.note(**{name: each for name, each in (("version", version), ("attributes", attributes)) if each})
        operation.open()
        stay = operation.inside()
        stay.__enter__()
        return operation, None, stay

    def finalize_span(self, span: Operation, token: Any) -> None:
        """End an operation."""
        if token is not None:
            token.leave()
        span.close()

    def get_active_traces(self) -> dict[str, Session]:
        """Return the sessions that are open in this process, by their ids."""
        return {session.session_id.hex: session for session in api.client().open_sessions()}

    def get_active_trace_count(self) -> int:
        """Return how many sessions are open in this process."""
        return len(self.get_active_traces())


tracer = TracingCore()


class NoTracer(Inert):
    """A tracer of a process without OpenTelemetry: its spans are not recorded."""


def create_entity_decorator(entity_kind: str) -> Callable[..., Any]:
    """Return the decorator of a kind of span."""
    kind = str(getattr(entity_kind, "value", entity_kind))
    decorator: Callable[..., Any] = getattr(decorators, kind, decorators.operation)
    return decorator


operation_decorator = decorators.operation


def set_workflow_name(workflow_name: str) -> None:
    """Do nothing: spans are named by their functions."""


def set_entity_path(entity_path: str) -> None:
    """Do nothing: the path of a span is that of the operations around it."""


# What spans were given


def get_trace_attributes(tags: Any = None) -> dict[str, Any]:
    """Return the attributes of a trace with these tags."""
    if isinstance(tags, dict):
        return {str(key): value for key, value in tags.items()}
    return {"agentops.tags": list(tags)} if isinstance(tags, list | tuple | set) else {}


def get_span_attributes(
    operation_name: str, span_kind: Any, version: int | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Return the attributes of a span."""
    kind = getattr(span_kind, "value", span_kind)
    named = {"agentops.span.kind": kind, "operation.name": operation_name}
    return {**named, **({"operation.version": version} if version is not None else {}), **kwargs}


def get_session_end_attributes(end_state: Any) -> dict[str, Any]:
    """Return the attributes of the end of a session."""
    return {"agentops.session.end_state": getattr(end_state, "value", end_state)}


def get_system_resource_attributes() -> dict[str, Any]:
    """Return what is known of the machine, as attributes."""
    import platform

    return {"host.machine": platform.machine(), "host.name": platform.node(), "host.system": platform.system()}


def get_global_resource_attributes(service_name: str, project_id: str | None = None) -> dict[str, Any]:
    """Return the attributes that all spans of a process share."""
    from localops.dropin.helpers import get_imported_libraries

    named = {"service.name": service_name, "agentops.project.id": project_id}
    libraries = get_imported_libraries()
    return {name: value for name, value in {**named, "imported_libraries": libraries}.items() if value}


# Libraries


def instrument_all() -> None:
    """Record the calls of model libraries, as `init()` does."""
    api.configure(instrument_llm_calls=True)
    api.client()


uninstrument_all = api.stop_instrumenting


def instrument_one(*_: Any, **__: Any) -> None:
    """Do as `instrument_all`."""
    instrument_all()


def get_active_libraries() -> set[str]:
    """Return the libraries whose calls record themselves."""
    return set(instrument.recorded())


class LlmTracker:
    """AgentOps 0.3's switch for the calls of model libraries."""

    def __init__(self, client: Any = None) -> None:
        self.client = client

    def override_api(self) -> None:
        """Record the calls of model libraries, as `init()` does."""
        instrument_all()

    def stop_instrumenting(self) -> None:
        """Record them no longer."""
        api.stop_instrumenting()


# Its log


def configure_logging(*_: Any, **__: Any) -> logging.Logger:
    """Return AgentOps' logger, which is the program's to configure: nothing is written to it here."""
    return logger


# What it reads from its server


def check_llm_spans(spans: Iterable[Mapping[str, Any]]) -> tuple[bool, list[str]]:
    """Return whether there are LLM calls among spans as `validate_trace_spans` has them, and their names."""
    names = [str(span.get("model") or span.get("span_name")) for span in spans if _is_call(span)]
    return bool(names), names


def _is_call(span: Mapping[str, Any]) -> bool:
    attributes = span.get("span_attributes") or {}
    kinds = (span.get("kind"), attributes.get("agentops.span.kind"), attributes.get("gen_ai.request.type"))
    return "llm" in kinds or "chat" in kinds
