"""The module `agentops` under `localops run`: localops, with the names of AgentOps 0.3 and 0.4.

Nothing is recorded here.  The names lead to the functions of `localops`; what AgentOps does on its server (the
validation of spans) is answered from the journal.
"""

from __future__ import annotations

import enum
import sys

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
    host,
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
from localops.errors import NoSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping
    from typing import Any

    from localops.reading.analytics import Totals

TraceContext = Session
Configuration = Config
NoSessionException = NoSession
track_tool = record_tool
track_endpoint = operation


class TraceState(enum.StrEnum):
    """The end of a trace: Success, Failure (AgentOps' `Error`) or Indeterminate (its `Unset`)."""

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
    """The end of a session of AgentOps 0.3."""

    SUCCESS = "Success"
    FAIL = "Fail"
    INDETERMINATE = "Indeterminate"


class MultiSessionException(LocalopsError):
    """Several sessions are open and none is current here: call the method on the session itself."""


class ValidationError(LocalopsError):
    """A trace does not contain what was expected."""


# localops raises none of these: a program may catch them by name.


class ApiServerException(LocalopsError):
    """AgentOps' server refused a request."""


class NoApiKeyException(LocalopsError):
    """AgentOps got no key."""


class InvalidApiKeyException(LocalopsError):
    """AgentOps got an invalid key."""


class AgentOpsClientNotInitializedException(LocalopsError, RuntimeError):
    """AgentOps was used before its init()."""


class AgentOpsApiJwtExpiredException(LocalopsError):
    """The token for AgentOps' server has expired."""


class Client:
    """AgentOps' client object: each one is a handle on the one client of this process."""

    init = initialize = staticmethod(init)
    configure = staticmethod(configure)
    record = staticmethod(record)
    start_session = staticmethod(start_session)
    end_session = staticmethod(end_session)
    end_all_sessions = staticmethod(end_all_sessions)
    get_session = staticmethod(get_session)
    add_tags = staticmethod(add_tags)
    set_tags = staticmethod(set_tags)
    stop_instrumenting = staticmethod(stop_instrumenting)

    def create_agent(
        self, name: str, agent_id: uuid.UUID | str | None = None, session: Session | None = None
    ) -> str | None:
        """Register an agent with the session that is given, else the current one, and return its id."""
        return create_agent(name, agent_id) if session is None else session.create_agent(name, agent_id)

    def add_default_tags(self, tags: Iterable[str]) -> None:
        """Add these tags to every session started from now on."""
        configure(default_tags=tags)

    def get_default_tags(self) -> list[str]:
        """Return the tags of every new session."""
        return list(api.client().config.default_tags)

    def unsuppress_logs(self) -> None:
        """Do nothing: localops has no log to switch on."""

    def add_pre_init_warning(self, message: str) -> None:
        """Do nothing: localops prints its warnings at once."""

    @property
    def initialized(self) -> bool:
        """Return whether it can be used: always, as that needs no key and no network."""
        return True

    is_initialized = initialized

    @property
    def current_session_ids(self) -> list[str]:
        """Return the ids of the sessions that are open in this process, oldest first."""
        return [str(session.session_id) for session in reversed(api.client().open_sessions())]

    @property
    def session_count(self) -> int:
        """Return how many sessions are open in this process."""
        return len(self.current_session_ids)

    @property
    def has_sessions(self) -> bool:
        """Return whether any session is open in this process."""
        return self.session_count > 0

    @property
    def is_multi_session(self) -> bool:
        """Return whether more than one session is open in this process."""
        return self.session_count > 1

    @property
    def config(self) -> Config:
        """Return the options for the sessions started from now on."""
        return api.client().config

    @property
    def host_env(self) -> dict[str, Any]:
        """Return the machine and the Python that this process runs on, as far as they may be collected."""
        return host.environment(self.config.env_data_opt_out)

    def get_current_jwt(self) -> None:
        """Return None: there is no server that needs a token."""

    @property
    def api_key(self) -> str | None:
        """Return the API key in use, if there is one."""
        return self.config.api_key

    @property
    def parent_key(self) -> None:
        """Return None: a session has no second project here."""


def get_client() -> Client:
    """Return the client of this process."""
    return Client()


def validate_trace_spans(
    trace_id: uuid.UUID | str | None = None,
    trace_context: Session | None = None,
    max_retries: int = 10,  # noqa: ARG001  the journal has it already: there is nothing to wait for
    retry_delay: float = 1.0,  # noqa: ARG001
    check_llm: bool = True,
    min_spans: int = 1,
    api_key: str | None = None,  # noqa: ARG001
) -> dict[str, Any]:
    """Check in the journal whether a session has events, and LLM calls among them.

    If not, the answer is AgentOps' for a validation that could not be done (`validation_skipped`, with the reason).
    With `strict=True` that is a ValidationError instead.  Raise ValueError if no session is given and none is
    current.
    """
    id, events, metrics = _looked_up(trace_id, trace_context)
    models = [str(event["model"] or event["name"]) for event in events if event["kind"] == "llm"]
    result: dict[str, Any] = {
        "trace_id": id,
        "span_count": len(events),
        "spans": [{**event, "span_name": event["name"] or event["kind"]} for event in events],
        "has_llm_spans": bool(models),
        "llm_span_names": models,
        "metrics": metrics,
    }
    reason = None
    if len(events) < min_spans:
        reason = f"the session has {len(events)} events, expected {min_spans}"
    elif check_llm and not models:
        reason = "the session has no LLM call: record each with LLMEvent"
    if reason is None:
        return result
    if api.client().config.strict:
        raise ValidationError(reason)
    return {**result, "validation_skipped": True, "reason": reason}


def _looked_up(
    trace_id: uuid.UUID | str | None, trace_context: Session | None
) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """Return the id of the session, its events and its figures; it may have ended, here or in another process."""
    client = api.client()
    session = trace_context
    if session is None:
        session = client.get(trace_id) if trace_id is not None else client.current() or client.latest
    if session is not None:
        return session.session_id.hex, list(session.events), _metrics(session.figures(), session.get_analytics())
    if trace_id is None:
        raise ValueError("No trace ID found. Provide either trace_id or trace_context parameter.")
    from localops.reading import analytics
    from localops.reading.home import Home

    with Home(client.config.home) as home:
        project, id = home.find(str(trace_id))
        figures = analytics.totals(project.reader, id)
        events = list(analytics.events(project.reader, id))
        running = project.standing(id).ended_ns is None
        return id.hex(), events, _metrics(figures, analytics.contract(figures, running=running))


def _metrics(figures: Totals, contract: Mapping[str, object]) -> dict[str, Any]:
    """Return the figures under AgentOps' names for them in 0.4 and in 0.3."""
    return {
        "total_tokens": figures.tokens_in + figures.tokens_out,
        "prompt_tokens": figures.tokens_in,
        "completion_tokens": figures.tokens_out,
        "total_cost": contract["Cost"],
        **contract,
    }


def print_validation_summary(result: dict[str, Any]) -> None:
    """Print the result of `validate_trace_spans` in a few lines."""
    lines = [
        f"trace {result.get('trace_id', '?')}",
        f"  events     {result.get('span_count', 0)}",
        f"  LLM calls  {', '.join(result.get('llm_span_names') or ()) or 'none'}",
    ]
    if result.get("validation_skipped"):
        lines.append(f"  not validated: {result.get('reason', 'no reason is known')}")
    sys.stdout.write("\n".join(lines) + "\n")


def get_trace_details(trace_id: str, *_: Any, **__: Any) -> dict[str, Any]:
    """Return the events of a session from the journal, in AgentOps' words."""
    result = validate_trace_spans(trace_id, check_llm=False, min_spans=0)
    return {"trace_id": result["trace_id"], "spans": result["spans"]}


def get_trace_metrics(trace_id: str, *_: Any, **__: Any) -> dict[str, Any]:
    """Return the figures of a session from the journal, in AgentOps' words."""
    metrics: dict[str, Any] = validate_trace_spans(trace_id, check_llm=False, min_spans=0)["metrics"]
    return metrics


# These are loaded when they are asked for: LangChain is slow to import, and may not be installed.
_HANDLERS = ("LangchainCallbackHandler", "AsyncLangchainCallbackHandler")


def __getattr__(name: str) -> Any:
    """Return a name that is loaded on first use: handlers for LangChain, and the names of `localops.dropin`."""
    if name in _HANDLERS:
        from localops import langchain

        return getattr(langchain, name)
    if name.startswith("__"):
        raise AttributeError(f"module 'agentops' has no attribute {name!r}")
    from localops.dropin import finder

    return finder.find("", name)


def answer() -> None:
    """Install `agentops`, and the modules below it, in this process."""
    from localops.dropin import finder

    own = sys.modules[__name__]
    own.__path__ = []
    own.__class__ = finder.Module
    sys.modules["agentops"] = own
    finder.install()


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
