"""The functions of `import localops`, for the one client of this process.

They have the names and arguments of AgentOps' functions.  Unless `strict=True` is given, they print a warning instead
of raising an exception, and the program continues.  Only a budget raises, as it is meant to stop the program.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from functools import wraps

from localops import host, output
from localops.careful import attribute, class_name, first_entries, is_a
from localops.clock import new_id, now_ns
from localops.config import IGNORED, OPTIONS, Config, nearest
from localops.encoding import facets
from localops.errors import ConfigError, LocalopsError, NoSession, UnusableBudget
from localops.interruption import attempt, deliver, hold, hold_if_programs, seems_programs, waiting
from localops.recording import client as clients
from localops.recording import events, scores
from localops.recording.context import find_session, scope
from localops.recording.scores import CODE
from localops.recording.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Literal, ParamSpec, TypeVar, overload

    from localops.errors import Uncertain
    from localops.recording.client import Client
    from localops.recording.events import Event
    from localops.recording.loop_watch import Loop

    P = ParamSpec("P")
    R = TypeVar("R")
    T = TypeVar("T")

_only_as_parent = False  # this process did not call `init`: record only if its parent has a session
_client: Client | None = None  # the client of this process; everything else is passed as an argument
_lock = threading.RLock()  # held while the client or a session is created
_PATIENCE = 5.0  # seconds


def _reset() -> None:
    """Drop the client and its sessions; for tests, which share a process."""
    if (instrument := sys.modules.get("localops.instrument")) is not None:
        instrument.stop()
    if (threads := sys.modules.get("localops.instrument.threads")) is not None:
        threads.stop()
    running = swap_client(None)
    if running is not None:
        running.sessions.clear()
        running.retire()
    scope.set((None, None, None))


def swap_client(other: Client | None) -> Client | None:
    """Make `other` the client of this process, and return the previous one; for tests, which share a process."""
    global _client
    before, _client = _client, other
    return before


def client() -> Client:
    """Return the client of this process; without an `init`, its settings come from the environment."""
    return _client if _client is not None else in_turn(_the_client)


def _the_client() -> Client:
    global _client
    if _client is None:
        _client = clients.Client(Config.usable())
        _record_libraries(_client.config)
    return _client


def _record_libraries(config: Config) -> None:
    """Record the calls of model libraries, unless that is switched off; if this fails, print a warning."""
    try:
        _switch_on(config)
    except Exception as error:
        # The edge: with no file descriptors left, for example, nothing can be imported.
        if not hold_if_programs(error):
            output.say_once("libraries", f"the calls of model libraries are not recorded: {error}")


def _switch_on(config: Config) -> None:
    if config.threads or (config.threads is None and os.environ.get("LOCALOPS_RUN")):
        from localops.instrument import threads

        threads.carry_on()
    if config.instrument_llm_calls:
        from localops import instrument

        instrument.start(_span_provider, with_threads=config.threads is not False)
    elif (switched_on := sys.modules.get("localops.instrument")) is not None:
        switched_on.stop()  # by an earlier call, such as configure(), with the settings of the environment


def record_as_parent() -> None:
    """Record model libraries in a child of multiprocessing that did not call `init`, if its parent has a session."""
    global _only_as_parent
    _only_as_parent = _client is None
    client()


def _span_provider() -> Any:
    """Return the tracer provider whose spans go to the journal."""
    from localops.otel import providers

    return providers.library_provider()


def _session_of_span(reason: str) -> Session | None:
    """Return the session of a span; None in a child process if neither it nor its parent has one.

    Under `localops run`, if the program starts no session, start one.
    """
    running = client()
    if _only_as_parent and running.current() is None:
        return None
    if os.environ.get("LOCALOPS_RUN") and running.latest is None and running.current() is None:
        return in_turn(lambda: running.current() or running.start())
    return running.place(reason)


find_session[:] = [_session_of_span]


def in_turn(function: Callable[[], T]) -> T:
    """Call a function that creates the client or a session, in one thread at a time.

    Wait for other threads only for a limited time: if a signal handler calls this during a write, and another thread is
    waiting for that write, they would wait for each other forever.
    """
    lock, taken = _lock, list[bool]()
    try:
        # One call of C takes the lock and stores that: between two calls, a signal handler could raise.
        taken.extend(map(lock.acquire, (True,), (_PATIENCE,)))
        return function()
    finally:
        if taken and taken[0]:
            lock.release()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that the child does not have may hold the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def client_if_any() -> Client | None:
    """Return the client if the program has one, or if this process may have its parent's session."""
    return client() if _client is not None or host.maker() is not None else None


def _quietly(function: Callable[P, R]) -> Callable[P, R | None]:
    """Wrap a function so that it prints warnings instead of raising exceptions, unless the client is strict."""

    @wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            result = function(*args, **kwargs)
            if waiting:
                deliver()
            return result
        except UnusableBudget:  # a budget is meant to stop the program
            raise
        except Exception as error:  # the edge: recording never breaks the recorded program
            if _has_wrong_arguments(error):
                _add_hint(function, error)
                raise
            if kwargs.get("strict") is True or (_client is not None and _client.config.strict):
                raise
            if seems_programs(error):
                raise
            _warn(function.__name__.lstrip("_"), error)
            return None

    return quiet


def _has_wrong_arguments(error: Exception) -> bool:
    """Return whether a function was called with wrong arguments, so that its code did not run."""
    trace = error.__traceback__
    return trace is None or trace.tb_next is None


def _add_hint(function: Callable[..., object], error: Exception) -> None:
    """Add a note to the TypeError of a misspelt argument with the probable name, as Python does since 3.13."""
    import inspect
    import re

    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown is None or "Did you mean" in str(error):
        return
    name, parameters = unknown[1], inspect.signature(function).parameters
    near = nearest(name, parameters)
    if near is not None:
        error.add_note(f"Did you mean {near!r}?")
    elif name in OPTIONS and "config" in parameters:
        error.add_note(f"{name!r} is an option of a Config: config=localops.Config({name}=...)")


def _warn(what: str, error: Exception) -> None:
    if isinstance(error, NoSession):  # once: an agent's loop would cause it in every step
        many = _client is not None and bool(_client.open_sessions())
        output.say_once(f"{what} {'with none current' if many else 'without a session'}", str(error))
    else:
        output.say(str(error) if isinstance(error, LocalopsError) else f"{what}: {type(error).__name__}: {error}")


def _always(function: Callable[P, Session]) -> Callable[P, Session]:
    """Wrap a function so that it always returns a session: if it fails, one with the client's options."""
    quiet = _quietly(function)

    @wraps(function)
    def started(*args: P.args, **kwargs: P.kwargs) -> Session:
        session = quiet(*args, **kwargs)
        return session if session is not None else client().start()

    return started


if TYPE_CHECKING:

    @overload
    def init(
        api_key: str | None = None,
        parent_key: str | None = None,
        endpoint: str | None = None,
        max_wait_time: int | None = None,
        max_queue_size: int | None = None,
        tags: Iterable[str] | str | None = None,
        default_tags: Iterable[str] | str | None = None,
        instrument_llm_calls: bool | None = None,
        auto_start_session: Literal[True] | None = None,
        inherited_session_id: uuid.UUID | str | None = None,
        skip_auto_end_session: bool | None = None,
        *,
        trace_name: str | None = None,
        project: str | None = None,
        home: str | os.PathLike[str] | None = None,
        durability: str | None = None,
        strict: bool | None = None,
        redact: bool | Callable[[str], str] | Iterable[str] | None = None,
        budget_usd: float | None = None,
        on_budget: Callable[[Session, float, float], object] | None = None,
        on_loop: Callable[[Session, Loop], object] | None = None,
        polling: Iterable[str] | None = None,
        capture: bool | None = None,
        signals: bool | None = None,
        threads: bool | None = None,
        env_data_opt_out: bool | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
        **others: Any,
    ) -> Session: ...
    @overload
    def init(api_key: str | None = None, *, auto_start_session: Literal[False], **options: Any) -> None: ...
    @overload
    def init(api_key: str | None = None, *, auto_start_session: bool | None, **options: Any) -> Session | None: ...


def init(
    api_key: str | None = None,
    parent_key: str | None = None,  # noqa: ARG001
    endpoint: str | None = None,  # noqa: ARG001
    max_wait_time: int | None = None,  # noqa: ARG001
    max_queue_size: int | None = None,  # noqa: ARG001
    tags: Iterable[str] | str | None = None,
    default_tags: Iterable[str] | str | None = None,
    instrument_llm_calls: bool | None = None,
    auto_start_session: bool | None = None,
    inherited_session_id: uuid.UUID | str | None = None,
    skip_auto_end_session: bool | None = None,
    *,
    trace_name: str | None = None,
    project: str | None = None,
    home: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    strict: bool | None = None,
    redact: bool | Callable[[str], str] | Iterable[str] | None = None,
    budget_usd: float | None = None,
    on_budget: Callable[[Session, float, float], object] | None = None,
    on_loop: Callable[[Session, Loop], object] | None = None,
    polling: Iterable[str] | None = None,
    capture: bool | None = None,
    signals: bool | None = None,
    threads: bool | None = None,
    env_data_opt_out: bool | None = None,
    user: str | None = None,
    conversation: str | None = None,
    metadata: Mapping[str, object] | None = None,
    **others: Any,
) -> Session | None:
    """Set up recording, and start and return a session, or return None with `auto_start_session=False`.

    A second call returns the open session, and warns if its options differ; if none is open, it starts one. Nothing
    is sent anywhere, and no key is needed. Options that are left out are those of an earlier call, else they come from
    the environment (`LOCALOPS_PROJECT`, …) or from the home's config.toml; see `localops help configuration`.

    api_key: chooses the project, as at AgentOps: same key, same project.
    project: the project's name.
    home: the folder that holds the projects [LOCALOPS_HOME, else the user's data folder].
    tags: tags of this session. default_tags: tags of every session from now on.
    trace_name: the session's name [the script's].
    user, conversation, metadata: who and what this session is about; sessions are found and counted by them.
    inherited_session_id: join this session of another process instead of starting one; a subprocess with
        `session.env()` does so without it.
    auto_start_session: False only sets up recording. skip_auto_end_session: frameworks do not end sessions.
    durability: "process" (default) survives a crash of the process, "power" also one of the machine.
    strict: raise exceptions instead of printing warnings.
    redact: False turns redaction off; patterns, or a function of a text, are used beside the built-in rules.
    budget_usd: raise BudgetExceeded when the session has cost so much, or call on_budget.
    on_loop: called with session and Loop when tool calls come around for the third time; it may raise LoopDetected.
    polling: names of tools whose calls repeat by intent.
    capture: False leaves out arguments and results of decorated functions.
    signals: False leaves SIGTERM alone. env_data_opt_out: True records nothing about the machine.
    threads: True lets threads and thread pools begin in the session and operation where they were started
        [True under `localops run`, and once calls of a model library are recorded].
    instrument_llm_calls: False does not record model libraries [their calls are recorded if the extra of localops
        for the library is installed].

    parent_key, endpoint, max_wait_time and max_queue_size are accepted because AgentOps has them, and do nothing.
    """
    options = {
        "api_key": api_key,
        "default_tags": default_tags,
        "auto_start_session": auto_start_session,
        "skip_auto_end_session": skip_auto_end_session,
        "trace_name": trace_name,
        "project": project,
        "home": home,
        "durability": durability,
        "strict": strict,
        "redact": redact,
        "budget_usd": budget_usd,
        "on_budget": on_budget,
        "on_loop": on_loop,
        "polling": polling,
        "capture": capture,
        "signals": signals,
        "threads": threads,
        "env_data_opt_out": env_data_opt_out,
        "instrument_llm_calls": instrument_llm_calls,
        **others,
    }
    given = {name: value for name, value in options.items() if value is not None and name not in IGNORED}
    about = facets.tags(user, conversation)
    outcome = in_turn(lambda: _init(given, tags, inherited_session_id, about, metadata, strict=strict))
    if outcome is not None:
        return outcome[0]
    return None if auto_start_session is False else client().start()  # `_init` failed and printed a warning


@_quietly
def _init(
    given: Mapping[str, Any],
    tags: Iterable[str] | str | None,
    inherited: uuid.UUID | str | None,
    about: list[str],
    metadata: Mapping[str, object] | None,
    *,
    strict: bool | None,  # noqa: ARG001 (for `_quietly`)
) -> tuple[Session | None]:
    global _client, _only_as_parent
    _only_as_parent = False
    options = {name: value for name, value in given.items() if name != "auto_start_session"}  # for this call only
    config = Config.usable(**options) if _client is None else _client.config.but(**options)
    with_start_option = config.but(**given) if len(options) < len(given) else config
    if _client is not None and _client.open_sessions():
        return (_init_again(_client, config, tags, inherited),)
    if _client is None:
        _client = clients.Client(config)
    else:
        _client.config = config
    _record_libraries(config)
    inherited = inherited or os.environ.get("LOCALOPS_SESSION_ID")
    if not with_start_option.auto_start_session:
        if inherited:
            output.say("inherited_session_id is not used with auto_start_session=False: give it to start_session()")
        return (None,)
    session = _client.start(tags, inherited, about=about)
    if metadata is not None:
        session.update_metadata(metadata, facets=True)
    return (session,)


def _init_again(
    running: Client, config: Config, tags: Iterable[str] | str | None, inherited: uuid.UUID | str | None
) -> Session:
    """Return the open session at a second `init`, and warn of options that differ."""
    if inherited is not None and running.get(inherited) is None:
        return running.start(tags, inherited, config=config)
    session = running.current()
    if session is None or not session.is_running:
        # The oldest one, as newer ones may belong to other threads.
        session = next(iter(running.open_sessions()[::-1]), None)
    if session is None:  # another thread has ended it meanwhile
        return running.start(tags, config=config)
    differing = [name for name in config.given if getattr(config, name) != getattr(running.config, name)]
    if not set(session.recorder.writer.tag_list(tags)) <= set(session.tags):
        differing.append("tags")
    if differing:
        output.say(
            f"init() was called again with other options ({', '.join(sorted(differing))}); the open session "
            "keeps the first ones. Use start_session(config=...) for a session with its own."
        )
    return session


@_quietly
def configure(api_key: str | None = None, **options: Any) -> None:
    """Change options for new sessions; open sessions keep theirs.

    `default_tags` are added to the earlier ones, as in AgentOps.
    """
    running = client()
    options["api_key"] = api_key
    given = {name: value for name, value in options.items() if name not in IGNORED}
    if given.get("default_tags") is not None:
        added = Config.usable(default_tags=given["default_tags"]).default_tags
        given["default_tags"] = list(dict.fromkeys([*running.config.default_tags, *added]))
    running.config = running.config.but(**given)


@_always
def start_session(
    tags: Iterable[str] | str | None = None,
    inherited_session_id: uuid.UUID | str | None = None,
    *,
    name: str | None = None,
    config: Config | None = None,
    user: str | None = None,
    conversation: str | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Session:
    """Start a session, or join the one that another process began, and make it the current one.

    A `config` applies to this session only.  Without an earlier `init`, the settings come from the environment.
    A session is always returned: rows that cannot be written yet are counted, and written when that is possible.
    `user`, `conversation` and `metadata` say who and what it is about; sessions can be found and counted by them.
    """
    if config is not None and not isinstance(config, Config):
        raise ConfigError(f"invalid config: expected a localops.Config, got {type(config).__name__}")
    about = facets.tags(user, conversation)
    session = client().start(tags, inherited_session_id, name=name, config=config, about=about)
    if metadata is not None:
        session.update_metadata(metadata, facets=True)
    return session


def resume(
    session_id: uuid.UUID | str,
    tags: Iterable[str] | str | None = None,
    *,
    on_uncertain: Callable[[Uncertain], object] | None = None,
    incomplete: bool = False,
    config: Config | None = None,
) -> Session:
    """Continue a session that was killed or has ended, and make it the current one.

    Inside it, a call of a function decorated with `once=True` returns its recorded result if there is one, and runs
    otherwise.  A call that was running when the run ended raises Uncertain, unless `on_uncertain` decides: it is called
    with that exception, and returns the result, or `localops.run_again`.

    session_id: an id, its beginning, or "last" for the newest session of the project.  The session may be imported.

    incomplete: with True, the session is resumed even if rows of it are or may be missing.  Steps whose rows are
    missing run again.

    Unlike `start_session` this always raises exceptions: NotFound or Ambiguous for the id, NotResumable for a session
    in which another process takes part, or whose steps may be missing here.
    """
    if config is not None and not isinstance(config, Config):
        raise ConfigError(f"invalid config: expected a localops.Config, got {type(config).__name__}")
    running = client()
    folder, id = _session_to_resume(running, events.describe(session_id), config)
    options: dict[str, Any] = {"config": config, "on_uncertain": on_uncertain, "incomplete": incomplete}
    return in_turn(lambda: running.resume(folder, id, tags, **options))


def _session_to_resume(running: Client, ident: str, config: Config | None) -> tuple[str, bytes]:
    """Return the project folder and the id of a session that a program names."""
    # Imported here, as few programs resume.
    from localops.recording import resuming

    own = (config.on(running.config) if config is not None else running.config).folder()
    return resuming.find(own, ident, running.sessions)


@_quietly
def end_session(
    session_or_status: str | Session | None = None,
    end_state_reason: str | None = None,
    video: str | None = None,
    is_auto_end: bool = False,
    *,
    end_state: str | None = None,
    **others: Any,
) -> str | None:
    """End the current session, or the given one, and return its cost in US dollars, as text.

    The state is the first argument or `end_state`.  `is_auto_end` is for frameworks: with
    `skip_auto_end_session=True` such a call is ignored.
    """
    running = client()
    if is_auto_end and running.config.skip_auto_end_session:
        return None
    if is_a(session_or_status, Session):
        session, otherwise = session_or_status, "Success"
        state: Any = end_state
    else:
        session, otherwise = running.need("end_session"), "Indeterminate"
        state = end_state if events.is_given(end_state) else session_or_status
    return session.end_session(state if events.is_given(state) else otherwise, end_state_reason, video, **others)


@_quietly
def end_all_sessions(end_state: str = "Indeterminate", end_state_reason: str | None = None) -> None:
    """End every session that is open in this process; one that it only joined ends for all processes."""
    for session in client().open_sessions():
        session.end_session(end_state, end_state_reason)


@_quietly
def get_session(session_id: uuid.UUID | str) -> Session | None:
    """Return the open session of this process with that id, a UUID or its text; None if there is none."""
    return client().get(session_id)


@_quietly
def _session_for(what: str) -> Session:
    return client().place(what)


def record(event: Event) -> None:
    """Write an event to the current session; once this returns, the event survives a crash of the process.

    If there is no current session, the event goes to the session "unattributed" of this process.
    """
    at = 0
    try:
        at = now_ns()  # before the session is opened, which may take longer than the event
        session = _session_for(f"{class_name(event)} was not recorded in a session of yours")
    except BaseException as error:
        if not seems_programs(error):  # strict
            raise
        hold(error)
        session = client().place(
            "an event was not recorded in a session of yours"
        )  # not wrapped: that would raise `error`
    if session is not None:
        session.record(event, _at=at)
    elif waiting:
        deliver()


@_quietly
def add_tags(tags: Iterable[str] | str) -> None:
    """Add tags to the current session."""
    client().need("add_tags").add_tags(tags)


@_quietly
def set_tags(tags: Iterable[str] | str) -> None:
    """Replace the tags of the current session."""
    client().need("set_tags").set_tags(tags)


@_quietly
def score(
    session_id: uuid.UUID | str,
    name: str,
    value: float | bool | str | None,
    *,
    by: str = CODE,
    comment: object = None,
    version: str | None = None,
    event: Event | uuid.UUID | str | None = None,
    home: str | os.PathLike[str] | None = None,
    project: str | None = None,
) -> str | None:
    """Score a session of any process, running or ended, or one event of it; return the id of the score.

    `session_id` may be the beginning of an id.  See `Session.score` for the value and the author; None as the value
    withdraws the score of the same name and author.  Without a `project`, all projects of the home are searched.
    """
    id = event.id if is_a(event, events.Event) else event
    return _give(session_id, scores.checked(scores.Score(name, value, by, comment, version, id)), home, project)


@_quietly
def note(
    session_id: uuid.UUID | str,
    text: object,
    *,
    by: str = CODE,
    event: Event | uuid.UUID | str | None = None,
    home: str | os.PathLike[str] | None = None,
    project: str | None = None,
) -> str | None:
    """Store a note about a session of any process, running or ended, or about one event of it; return its id."""
    id = event.id if is_a(event, events.Event) else event
    return _give(session_id, scores.note(text, by, id), home, project)


def _give(
    session_id: object, given: scores.Score, home: str | os.PathLike[str] | None, project: str | None
) -> str | None:
    from localops.upkeep import scoring  # here, as few programs need it

    config = _client.config if _client is not None else Config.usable()
    folder = home if home is not None else config.home
    written = scoring.give(config, events.describe(session_id), given, home=folder, project=project)
    return str(written["id"])


@_quietly
def create_agent(name: str, agent_id: uuid.UUID | str | None = None) -> str | None:
    """Register an agent in the current session, and return its id.

    If there is no session yet, it is registered in the next one.
    """
    running = client()
    if running.current() is None and not running.open_sessions():
        known = str(agent_id if agent_id is not None else uuid.UUID(bytes=new_id()))
        running.later_agent(name, known)
        return known
    return running.need("create_agent").create_agent(name, agent_id)


@_always
def start_trace(trace_name: str = "session", tags: Mapping[str, object] | Iterable[str] | str | None = None) -> Session:
    """Start a session, which AgentOps now calls a trace; tags given as a mapping also become its metadata."""
    if is_a(tags, dict):
        nothing: dict[object, object] = {}
        pairs = attempt(lambda: first_entries(tags), nothing)
        session = client().start(
            [f"{events.describe(key)}:{events.describe(value)}" for key, value in pairs.items()], name=trace_name
        )
        session.update_metadata(tags)
        return session
    return client().start(tags, name=trace_name)


@_quietly
def end_trace(trace_context: Session | None = None, end_state: str = "Success") -> str | None:
    """End a trace, or all open ones; AgentOps' `Error` is a Failure."""
    state = attribute(end_state, "value", end_state)
    state = {"error": "Failure", "unset": "Indeterminate"}.get(events.describe(state).lower(), state)
    if trace_context is not None:
        return trace_context.end_session(state)
    for session in client().open_sessions():
        session.end_session(state)
    return None


@_quietly
def update_trace_metadata(metadata: Mapping[str, object], prefix: str = "trace.metadata") -> bool:
    """Store facts about the current session; return True when they are written."""
    client().need("update_trace_metadata").update_metadata(metadata, prefix)
    return True


def get_api_key() -> str | None:
    """Return the API key in use, if there is one."""
    return client().config.api_key


def set_api_key(api_key: str) -> None:
    """Use this key for new sessions."""
    configure(api_key=api_key)


def set_parent_key(parent_key: str) -> None:
    """Do nothing; accepted because AgentOps has it, for a second project that a session belongs to."""


def stop_instrumenting() -> None:
    """Stop recording the calls of model libraries; the next `init` starts it again."""
    from localops import instrument

    instrument.stop()


__all__ = [
    "OPTIONS",
    "add_tags",
    "client",
    "configure",
    "create_agent",
    "end_all_sessions",
    "end_session",
    "end_trace",
    "events",
    "get_api_key",
    "get_session",
    "init",
    "note",
    "record",
    "resume",
    "score",
    "set_api_key",
    "set_parent_key",
    "set_tags",
    "start_session",
    "start_trace",
    "stop_instrumenting",
    "update_trace_metadata",
]
