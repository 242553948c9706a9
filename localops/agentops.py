"""What `import agentops` answers under `localops run`: localops, with the names of AgentOps 0.3 and 0.4.

Nothing here records.  The names lead to the functions of `localops`; what AgentOps does on its server
(the validation of spans) is answered from the journal.
"""

from __future__ import annotations

import enum
import sys
import types

from localops import (
    ActionEvent,
    Config,
    ErrorEvent,
    Event,
    LLMEvent,
    LocalopsError,
    Session,
    ToolEvent,
    add_tags,
    api,
    configure,
    create_agent,
    end_all_sessions,
    end_session,
    end_trace,
    get_api_key,
    get_session,
    init,
    record,
    record_action,
    record_function,
    record_tool,
    set_api_key,
    set_parent_key,
    set_tags,
    start_session,
    start_trace,
    stop_instrumenting,
    track_agent,
    update_trace_metadata,
)
from localops.decorators import agent, guardrail, operation, session, task, tool, trace, workflow
from localops.errors import NoSession, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable
    from typing import Any

TraceContext = Session
Configuration = Config
NoSessionException = NoSession
track_tool = record_tool
track_endpoint = operation


class TraceState(enum.StrEnum):
    """How a trace ends: Success, Failure (AgentOps' `Error`) or Indeterminate (its `Unset`)."""

    SUCCESS = "Success"
    ERROR = "Error"
    UNSET = "Unset"


SUCCESS, ERROR, UNSET = TraceState


class EventType(enum.StrEnum):
    """The kinds of event that AgentOps 0.3 counts."""

    LLM = "llms"
    ACTION = "actions"
    API = "apis"
    TOOL = "tools"
    ERROR = "errors"


class EndState(enum.StrEnum):
    """How a session of AgentOps 0.3 ends."""

    SUCCESS = "Success"
    FAIL = "Fail"
    INDETERMINATE = "Indeterminate"


class MultiSessionException(LocalopsError):
    """Several sessions are open and none is current here: call the method on the session that is meant."""


class ValidationError(LocalopsError):
    """A trace does not hold what it was expected to hold."""


class Client:
    """AgentOps' client object: each one is a handle on the one client of this process."""

    init = initialize = staticmethod(init)
    configure = staticmethod(configure)
    record = staticmethod(record)
    start_session = staticmethod(start_session)
    end_session = staticmethod(end_session)
    end_all_sessions = staticmethod(end_all_sessions)
    get_session = staticmethod(get_session)
    create_agent = staticmethod(create_agent)
    add_tags = staticmethod(add_tags)
    set_tags = staticmethod(set_tags)
    stop_instrumenting = staticmethod(stop_instrumenting)

    def add_default_tags(self, tags: Iterable[str]) -> None:
        """Give every session started from now on these tags too."""
        configure(default_tags=tags)

    def get_default_tags(self) -> list[str]:
        """The tags that every new session gets."""
        return list(api.client().config.default_tags)

    def unsuppress_logs(self) -> None:
        """AgentOps' switch for its log: there is none here."""

    def add_pre_init_warning(self, message: str) -> None:
        """AgentOps' list of things to say at `init`: nothing waits here."""

    @property
    def initialized(self) -> bool:
        """Whether it can be used, which needs no key and no network."""
        return True

    is_initialized = initialized

    @property
    def current_session_ids(self) -> list[str]:
        """The ids of the sessions that are open in this process."""
        return [str(session.session_id) for session in api.client().open_sessions()]

    @property
    def session_count(self) -> int:
        """How many sessions are open in this process."""
        return len(self.current_session_ids)

    @property
    def has_sessions(self) -> bool:
        """Whether any session is open in this process."""
        return self.session_count > 0

    @property
    def is_multi_session(self) -> bool:
        """Whether more than one session is open in this process."""
        return self.session_count > 1

    @property
    def config(self) -> Config:
        """The options for the sessions started from now on."""
        return api.client().config

    @property
    def api_key(self) -> str | None:
        """The API key in use, if there is one."""
        return self.config.api_key

    @property
    def parent_key(self) -> None:
        """AgentOps' second project for a session: there is none here."""


def get_client() -> Client:
    """The client of this process."""
    return Client()


def validate_trace_spans(
    trace_id: uuid.UUID | str | None = None,
    trace_context: Session | None = None,
    max_retries: int = 0,  # noqa: ARG001  the journal has it already: there is nothing to wait for
    retry_delay: float = 0.0,  # noqa: ARG001
    check_llm: bool = True,
    min_spans: int = 1,
    api_key: str | None = None,  # noqa: ARG001
) -> dict[str, Any]:
    """Check, in the journal, that a session holds events, LLM calls among them; ValidationError if not."""
    target = trace_context or _find(trace_id)
    found = list(target.events)
    models = [str(event["model"] or event["name"]) for event in found if event["kind"] == "llm"]
    if len(found) < min_spans:
        raise ValidationError(f"the session holds {len(found)} events, and {min_spans} were expected")
    if check_llm and not models:
        raise ValidationError("the session holds no LLM call")
    return {
        "trace_id": target.session_id.hex,
        "span_count": len(found),
        "spans": found,
        "has_llm_spans": bool(models),
        "llm_span_names": models,
        "metrics": target.get_analytics(),
    }


def _find(trace_id: uuid.UUID | str | None) -> Session:
    client = api.client()
    found = client.get(trace_id) if trace_id is not None else client.current()
    if found is None:
        raise NotFound(f"no session {trace_id or ''} is open here: give it as trace_context")
    return found


def print_validation_summary(result: dict[str, Any]) -> None:
    """Write what `validate_trace_spans` found, in three lines."""
    sys.stdout.write(
        f"trace {result['trace_id']}\n"
        f"  events     {result['span_count']}\n"
        f"  LLM calls  {', '.join(result['llm_span_names']) or 'none'}\n"
    )


_EVENTS = ("ActionEvent", "ErrorEvent", "Event", "LLMEvent", "ToolEvent")
_RECORDERS = ("record_action", "record_function", "record_tool", "track_agent")
_DECORATORS = tuple("agent guardrail operation session task tool trace track_endpoint workflow".split())
_STATES = ("ERROR", "SUCCESS", "UNSET", "TraceState")
_VALIDATION = ("ValidationError", "print_validation_summary", "validate_trace_spans")

# Which names AgentOps' own modules are asked for; `agentops` itself has all of them.
MODULES: dict[str, tuple[str, ...]] = {
    "agentops.client": ("Client", "get_client"),
    "agentops.client.client": ("Client",),
    "agentops.config": ("Config", "Configuration"),
    "agentops.decorators": (*_DECORATORS, *_RECORDERS),
    "agentops.enums": ("EndState", "EventType", *_STATES),
    "agentops.event": (*_EVENTS, "EventType"),
    "agentops.exceptions": ("MultiSessionException", "NoSessionException"),
    "agentops.legacy": (
        *_EVENTS,
        "Session",
        "end_all_sessions",
        "end_session",
        "start_session",
        "track_agent",
        "track_tool",
    ),
    "agentops.sdk": (*_DECORATORS, "TraceContext"),
    "agentops.sdk.core": ("TraceContext",),
    "agentops.sdk.decorators": _DECORATORS,
    "agentops.session": ("EndState", "Session"),
    "agentops.validation": _VALIDATION,
}


def answer() -> None:
    """Be `agentops`, and the modules below it, in this process."""
    own = sys.modules[__name__]
    own.__path__ = []
    sys.modules["agentops"] = own
    for name, names in MODULES.items():
        module = types.ModuleType(name, f"AgentOps' {name}, answered by localops.")
        module.__path__ = []
        module.__dict__.update({each: getattr(own, each) for each in names})
        sys.modules[name] = module
    for name in MODULES:
        parent, _, last = name.rpartition(".")
        # `agentops.session` is a decorator as well as a module: in AgentOps the decorator has the name.
        if not hasattr(sys.modules[parent], last):
            setattr(sys.modules[parent], last, sys.modules[name])


__all__ = [
    "ERROR",
    "SUCCESS",
    "UNSET",
    "ActionEvent",
    "Client",
    "ErrorEvent",
    "Event",
    "LLMEvent",
    "Session",
    "ToolEvent",
    "TraceContext",
    "TraceState",
    "ValidationError",
    "add_tags",
    "agent",
    "configure",
    "create_agent",
    "end_all_sessions",
    "end_session",
    "end_trace",
    "get_api_key",
    "get_client",
    "get_session",
    "guardrail",
    "init",
    "operation",
    "print_validation_summary",
    "record",
    "record_action",
    "record_function",
    "record_tool",
    "session",
    "set_api_key",
    "set_parent_key",
    "set_tags",
    "start_session",
    "start_trace",
    "stop_instrumenting",
    "task",
    "tool",
    "trace",
    "track_agent",
    "track_endpoint",
    "track_tool",
    "update_trace_metadata",
    "validate_trace_spans",
    "workflow",
]
