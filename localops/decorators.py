"""Decorators: a function, method, generator or class becomes an operation, a session or an agent.

What they wrap keeps its signature and its type, and a class remains a class.  Without a session the function simply
runs.  An operation writes one row when it opens and one when it ends; an exception is recorded, linked to its
operation, and raised on.
"""

from __future__ import annotations

import inspect
import uuid
import weakref
from functools import partial, wraps

from localops import api
from localops.careful import attribute, class_name, is_a, name_of
from localops.clock import new_id
from localops.config import nearest
from localops.errors import JournalError, NoSession
from localops.interruption import attempt, deliver, hold, hold_if_programs, is_programs, seems_programs, waiting
from localops.output import say_once
from localops.recording.context import Stay, around, here, parameters, scope
from localops.recording.events import LLMEvent, describe
from localops.recording.operation_rows import OperationRows
from localops.recording.session import Session
from localops.recording.usage import nano, say_unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol, TypeVar, overload

    from localops.errors import Uncertain

    F = TypeVar("F", bound=Callable[..., Any])

    class Decorator(Protocol):
        """A decorator that is used bare, or with options."""

        @overload
        def __call__(self, function: F, /) -> F: ...
        @overload
        def __call__(
            self,
            name: str | None = None,
            /,
            *,
            version: object = None,
            tags: Iterable[str] | str | None = None,
            cost: float | None = None,
            spec: str | None = None,
            polling: bool = False,
            capture_request: bool = True,
            capture_response: bool = True,
            once: bool = False,
            key: object = None,
            idempotent: bool = False,
            on_uncertain: Callable[[Uncertain], object] | None = None,
        ) -> Callable[[F], F]: ...
        @overload
        def __call__(
            self,
            *,
            name: str,
            version: object = None,
            tags: Iterable[str] | str | None = None,
            cost: float | None = None,
            spec: str | None = None,
            polling: bool = False,
            capture_request: bool = True,
            capture_response: bool = True,
            once: bool = False,
            key: object = None,
            idempotent: bool = False,
            on_uncertain: Callable[[Uncertain], object] | None = None,
        ) -> Callable[[F], F]: ...


_Parameter = inspect.Parameter
_BY_POSITION = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)


class _Plan:
    """The plan of one decorator for one function: the kind and name of its operation, and what is captured."""

    __slots__ = (
        "cost",
        "defaults",
        "kind",
        "more",
        "name",
        "names",
        "own_session",
        "request",
        "response",
        "rest",
        "tags",
    )

    def __init__(self, kind: str, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.kind = kind
        self.name = options.get("name") or attribute(function, "__name__") or class_name(function)
        self.tags = options.get("tags")
        self.cost = options.get("cost")
        if self.cost is not None and nano(self.cost) is None:
            say_unusable("cost", self.cost)
        self.request = options.get("capture_request", True)
        self.response = options.get("capture_response", True)
        self.more = {key: options[key] for key in ("version", "spec") if options.get(key) is not None}
        if options.get("polling"):
            self.more["polling"] = True
        taken = parameters(function)
        self.names = tuple(name for name, one in taken.items() if one.kind in _BY_POSITION)
        self.rest = next((name for name, one in taken.items() if one.kind is _Parameter.VAR_POSITIONAL), "args")
        self.defaults = {name: one.default for name, one in taken.items() if one.default is not _Parameter.empty}
        self.own_session = "session" in taken

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Return the arguments of a call by name, without `self` and `cls`."""
        names = self.names
        given: dict[str, Any] = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            given[self.rest] = args[len(names) :]
        if kwargs:
            given.update(kwargs)
        if self.defaults:
            given = {**given, **{name: value for name, value in self.defaults.items() if name not in given}}
        if names and names[0] in ("self", "cls"):
            given.pop(names[0], None)
        if self.own_session and is_a(given.get("session"), Session):
            del given["session"]
        return given or None

    def session(self, kwargs: dict[str, Any]) -> Session | None:
        """Return the session of a call; AgentOps' `session=` is removed unless the function has such a parameter."""
        return _session_of(self.name, kwargs, self.own_session)

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        """Begin the operation of a call; return None if it cannot be recorded."""
        session = self.session(kwargs)
        if session is None:
            return None
        operation = self.open(session, args, kwargs, self.more)
        if operation is None:
            return None
        try:
            return _Call(self, session, operation)
        except BaseException as error:  # the program is interrupted; the call raises it when it begins
            hold(error)
            return _Call(self, session, operation)

    def open(
        self,
        session: Session,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        more: dict[str, Any],
        *,
        synced: bool = False,
    ) -> OperationRows | None:
        """Write that a call has begun, and return what ends it."""
        params = self.given(args, kwargs)
        if params is not None and not (self.request and session.config.capture):
            params, more = None, {**more, "params_left_out": True}
        agent = _agent_of(args[0], session) if args else None
        call, params = _llm_call(params) if self.kind == "llm" else (None, params)
        return session.begin(
            self.kind,
            self.name,
            params,
            agent=agent,
            tags=self.tags,
            cost=self.cost,
            more=more,
            call=call,
            synced=synced,
        )

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Run | None:
        """Start the session of a call; return None if that fails."""
        params = None
        if self.request and (api.client().config.capture):
            params = self.given(args, kwargs)
        session = _started(self, params)
        return _Run(self, session) if session is not None else None


def _llm_call(params: dict[str, Any] | None) -> tuple[LLMEvent, dict[str, Any] | None]:
    """Return the LLM call of a function call, and the arguments that are not part of it."""
    rest = dict(params or {})
    given = next((name for name in ("messages", "prompt", "input") if name in rest), None)
    prompt = rest.pop(given) if given is not None else None
    model, provider = (rest.pop(name) if is_a(rest.get(name), str) else None for name in ("model", "provider"))
    return LLMEvent(prompt=prompt, model=model, provider=provider), rest or None


class _Call(Stay):
    """A call that is an operation."""

    __slots__ = ("operation", "over", "plan", "session")

    def __init__(self, plan: _Plan, session: Session, operation: OperationRows) -> None:
        self.plan, self.session, self.operation, self.over = plan, session, operation, False
        self._token = None
        agent = operation.id if operation.kind == "agent" else operation.agent
        self.where = (session, operation.id, agent)

    def ended(self, result: object, yielded: int | None = None) -> None:
        """Write what it returned."""
        fields: dict[str, object] = {} if yielded is None else {"yielded": yielded}
        if result is not None and self.plan.response and self.session.config.capture:
            fields["returns"] = result
            if self.plan.kind == "action":
                fields.update(self._screenshot(result))
        elif result is not None:
            fields["returns_left_out"] = True
        self.operation.finish(fields)
        self.over = True
        if waiting:
            deliver()

    def failed(self, error: BaseException, yielded: int | None = None) -> None:
        """Write that it raised; a cancelled or interrupted call has no error, but is no success either."""
        if self.over:
            return
        fields: dict[str, object] = {} if yielded is None else {"yielded": yielded}
        try:
            if is_a(error, Exception):
                self.operation.finish(fields, failed=True, error=error)
                self.operation.error(error)
            else:
                self.operation.interrupted(fields, error)
        except JournalError:  # strict, and written nowhere
            self.over = True
            raise
        self.over = True  # not before: if this is interrupted, it is done again
        if waiting:
            deliver()

    def _screenshot(self, result: object) -> dict[str, object]:
        """Return the screenshot that the result of an action may carry."""
        picture = attribute(result, "screenshot")
        return {} if picture is None else {"screenshot": self.session.recorder.writer.keep_media(picture)}


class _Run(Stay):
    """A call that is a session: Success when it returns, Failure when it raises."""

    __slots__ = ("plan", "session")

    def __init__(self, plan: _Plan, session: Session) -> None:
        self.plan, self.session = plan, session
        self.where = (session, None, None)
        self._token = None

    def ended(self, result: object, yielded: int | None = None) -> None:  # noqa: ARG002
        """End it, with the result of the function."""
        if result is not None and self.plan.response and self.session.config.capture:
            self.session.returns = result
        self.session.finish()

    def closed(self, yielded: int) -> None:  # noqa: ARG002
        """End it as Indeterminate: its caller may have had enough, or be gone."""
        self.session.finish(GeneratorExit())

    def failed(self, error: BaseException, yielded: int | None = None) -> None:  # noqa: ARG002
        """End it as Failure, with the exception."""
        self.session.finish(error)


def _session_of(name: str, kwargs: dict[str, Any], own_session: bool) -> Session | None:
    """Return the session of a call: the one that was passed, else the current one."""
    given = kwargs.get("session")
    if given is not None and is_a(given, Session):
        if not own_session:
            del kwargs["session"]
        return given
    session: Session | None = here()[0]
    return session if session is not None else _current(name)


def _current(name: str) -> Session | None:
    client = api.client_if_any()
    if client is None:
        say_once("decorated before init", f"{name}() ran before localops.init(): it is not recorded")
        return None
    try:
        return client.need(f"{name}() is not recorded")
    except NoSession as error:
        if client.config.strict:
            raise
        if client.is_ambiguous() or client.is_over:
            return client.place(f"{name}() does not know its session")
        say_once(f"decorated, sessions open: {bool(client.open_sessions())}", str(error))
        return None


def _started(plan: _Plan, params: object = None) -> Session | None:
    """Return a session for a call or an instance; the caller's place stays the same."""
    client, before = api.client(), scope.get()
    try:
        return client.start(plan.tags, name=plan.name, params=params)
    except Exception as error:  # the edge: recording never breaks the program that is recorded
        if client.config.strict or is_programs(error):
            raise
        say_once("session", f"{plan.name}() is not recorded: {error}")
        return None
    finally:
        scope.set(before)


_ACTING = ("__call__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__next__")


def _methods(cls: type, begin: Callable[..., Stay | None]) -> None:
    """Run each method that the class itself defines in the place that `begin` returns for its instance."""
    for name, value in list(vars(cls).items()):
        if inspect.isfunction(value) and (name in _ACTING or not name.startswith("__")):
            setattr(cls, name, around(value, begin))


def _constructor(cls: type) -> Callable[..., None]:
    """Return the constructor of a class; that of `object`, called by name, checks the arguments of `__new__`."""
    construct: Callable[..., None] = cls.__init__  # type: ignore[misc]
    own_new: Callable[..., object] = cls.__new__
    if construct is object.__init__ and own_new is not object.__new__:
        return lambda self, *args, **kwargs: None  # noqa: ARG005
    return construct


def _watched(cls: type, kind: str, watch: Callable[[], None]) -> type:
    """Return the class, changed by `watch`; one that cannot be changed (built in, or sealed) is not recorded."""
    try:
        watch()
    except BaseException as error:  # the edge: the metaclass of an unknown class
        if not isinstance(error, Exception) and seems_programs(error):
            raise
        name, why = name_of(cls), f"{class_name(error)}: {describe(error)}"
        say_once(f"class {name}", f"@{kind} cannot change the class {name}: it is not recorded ({why})")
    return cls


def _operation_class(cls: type, kind: str, options: dict[str, Any]) -> type:
    """Return the class, whose construction is an operation."""

    def watch() -> None:
        construct = _constructor(cls)
        plan = _Plan(kind, construct, {"name": name_of(cls), **options})
        cls.__init__ = wraps(cls.__init__)(around(construct, plan.begin))  # type: ignore[misc]

    return _watched(cls, kind, watch)


class _Held:
    """A value that belongs to one object, and is freed with it."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Any) -> None:
        self.value = value


class _Beside:
    """Values that belong to objects of the program.

    They are kept beside the objects: many take no new attribute (`__slots__`, frozen, a `__setattr__` of their own),
    and one would change how they compare, print and pickle.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, _Held]] = {}

    def get(self, instance: object) -> Any:
        """Return the value that belongs to an object; None if there is none."""
        entry = self._known.get(id(instance))
        if entry is None:
            return None
        mark, held = entry
        same = mark() is instance if isinstance(mark, weakref.ref) else mark is type(instance)
        return held.value if same else None

    def put(self, instance: object, value: Any) -> _Held:
        """Keep a value for an object as long as the object lives."""
        key, held = id(instance), _Held(value)
        try:
            self._known[key] = (weakref.ref(instance, partial(self._known.pop, key)), held)
        except TypeError:  # it has no weak references: it is recognised by its type, and its deletion is watched
            self._known[key] = (type(instance), held)
            self._watch_deletion(type(instance))
        return held

    def _watch_deletion(self, cls: type) -> None:
        before = attribute(cls, "__del__")
        if attribute(before, "_localops") is self:
            return

        def __del__(instance: object) -> None:  # noqa: N807
            self._known.pop(id(instance), None)
            if before is not None:
                before(instance)

        __del__._localops = self  # type: ignore[attr-defined]
        try:
            cls.__del__ = __del__  # type: ignore[attr-defined]
        except BaseException as error:  # a metaclass that lets nothing be added: the values of its instances stay
            hold_if_programs(error)


# Agents: each instance of an agent class is one, and what happens in its methods belongs to it.

_AGENT = "_localops_agent"
_MARK = object()
_agents = _Beside()


class _Agent:
    """The agent of an instance: its name, and its id in each session that it acted in."""

    __slots__ = ("first", "ids", "name", "written")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.first = uuid.UUID(bytes=new_id())
        self.ids: dict[bytes, uuid.UUID] = {}
        self.written: set[bytes] = set()

    def id(self, session: Session) -> bytes:
        """Return its id in a session; its first session uses the id that it was created with."""
        key = session.recorder.session
        if key not in self.ids:
            self.ids[key] = uuid.UUID(bytes=new_id()) if self.ids else self.first
        return self.ids[key].bytes

    def create_in(self, session: Session, instance: object) -> bytes:
        """Write its name to a session, once, and return its id there."""
        id, key = self.id(session), session.recorder.session
        if key not in self.written:
            self.written.add(key)
            session.add_agent(self.name_of(instance), self.ids[key])
        return id

    def name_of(self, instance: object) -> str:
        """Return its name: the one that was given, else one that the program put on it, else that of its class."""
        if self.name is not None:
            return self.name
        own = _own(instance, "agentops_agent_name")
        return own or _own(instance, "role") or class_name(instance)


def _own(instance: object, named: str) -> str | None:
    """Return a text that the program itself put on an instance or its class."""

    def read() -> object:
        if type(getattr(type(instance), named, None)) is _Shown:
            return object.__getattribute__(instance, "__dict__").get(named)
        return getattr(instance, named, None)

    value = attempt(read, None)  # the edge: foreign code may run
    return (str.__str__(value) or None) if is_a(value, str) and issubclass(type(value), str) else None


class _Shown:
    """The id or the name of an agent, as AgentOps' programs read them; a value that the program set comes first."""

    def __init__(self, show: Callable[[_Agent, object], str]) -> None:
        self._show = show

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self._show(_agent(instance), instance)


def _agent(instance: object, name: str | None = None) -> _Agent:
    """Return the agent of an instance, new for one that was copied or made without its constructor."""
    agent = _agents.get(instance)
    if agent is None:
        agent = _Agent(name)
        _agents.put(instance, agent)
    assert isinstance(agent, _Agent)
    return agent


def _agent_of(instance: object, session: Session) -> bytes | None:
    """Return the id of an instance's agent; its class is asked, as an instance may answer anything."""
    if attribute(type(instance), _AGENT) is not _MARK:
        return None
    return _agent(instance).create_in(session, instance)


def _as_agent(args: tuple[Any, ...], _: dict[str, Any]) -> Stay | None:
    """Return the place where an agent's method runs; it writes no row itself."""
    client = api.client_if_any()
    session = here()[0] or (client.current() if client is not None else None)
    agent = _agent_of(args[0], session) if session is not None and args else None
    return Stay((session, session.here()[1], agent)) if session is not None and agent is not None else None


def _agent_class(cls: type, name: str | None) -> type:
    """Return the class, whose instances are agents."""

    def watch() -> None:
        construct = _constructor(cls)
        own_session = "session" in parameters(construct)

        @wraps(cls.__init__)  # type: ignore[misc]
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            agent = _agent(self, kwargs.pop("agentops_name", None) or name)
            session = _session_of(name_of(cls), kwargs, own_session)
            if session is None:
                construct(self, *args, **kwargs)
                return
            try:
                with Stay((session, session.here()[1], agent.id(session))):
                    construct(self, *args, **kwargs)
            finally:  # its role is set only now
                agent.create_in(session, self)

        cls.__init__ = __init__  # type: ignore[misc]
        setattr(cls, _AGENT, _MARK)
        if attribute(cls, "agentops_agent_name", _MARK) is _MARK:
            cls.agentops_agent_name = _Shown(_Agent.name_of)  # type: ignore[attr-defined]
        if attribute(cls, "agentops_agent_id", _MARK) is _MARK:
            cls.agentops_agent_id = _Shown(lambda agent, _: str(agent.first))  # type: ignore[attr-defined]
        _methods(cls, _as_agent)

    return _watched(cls, "agent", watch)


# Sessions: each instance of a class is one.

_sessions = _Beside()


def _session_class(cls: type, options: dict[str, Any]) -> type:
    """Return the class, each instance a session: begun when it is created, ended when it is freed."""

    def watch() -> None:
        plan = _Plan("session", cls, options)
        construct = _constructor(cls)

        @wraps(cls.__init__)  # type: ignore[misc]
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            session = _started(plan)
            if session is None:
                construct(self, *args, **kwargs)
                return
            try:
                with Stay((session, None, None)):
                    construct(self, *args, **kwargs)
            except BaseException as error:
                session.finish(error)
                raise
            weakref.finalize(_sessions.put(self, session), session.finish)

        cls.__init__ = __init__  # type: ignore[misc]
        _methods(cls, _in_session)

    return _watched(cls, "session", watch)


def _in_session(args: tuple[Any, ...], _: dict[str, Any]) -> Stay | None:
    session = _sessions.get(args[0]) if args else None
    return Stay(session.here()) if isinstance(session, Session) else None


def _decorate(kind: str, target: Any, options: dict[str, Any]) -> Any:
    """Decorate a function, a class, or one of the two kinds of method that are not functions yet."""
    if is_a(target, staticmethod) or is_a(target, classmethod):
        return type(target)(_decorate(kind, target.__func__, options))
    if is_a(target, property) and target.fget is not None:
        return property(_decorate(kind, target.fget, options), target.fset, target.fdel, target.__doc__)
    if options.get("once") and (is_a(target, type) or kind in ("session", "agent")):
        raise TypeError(
            f"@{kind}(once=True) cannot be: a step that runs once is a function or a method, recorded as a tool, a "
            "task, an operation or the like"
        )
    if is_a(target, type):
        if kind == "agent":
            return _agent_class(target, options.get("name"))
        if kind == "session":
            return _session_class(target, options)
        return _operation_class(target, kind, options)
    if not callable(target):
        raise TypeError(f"@{kind} expects a function, method or class, got {type(target).__name__}")
    plan = _Plan(kind, target, options)
    if options.get("once"):
        # Late, as few programs have such steps.
        from localops.recording import once_calls

        return once_calls.once(target, plan, options, _Call)
    return around(target, plan.run if kind == "session" else plan.begin)


_OPTIONS = frozenset(
    "name version tags cost spec polling capture_request capture_response once key idempotent on_uncertain".split()
)


def _warn_of_unknown(kind: str, options: dict[str, Any]) -> None:
    """Warn of unknown options: a misspelt one would silently do nothing."""
    for name in sorted(options.keys() - _OPTIONS):
        near = nearest(name, _OPTIONS)
        hint = f"did you mean {near!r}?" if near else f"the options are {', '.join(sorted(_OPTIONS))}"
        say_once(f"option {name[:40]} of @{kind}", f"@{kind} has no option {name!r}: {hint}")


def _decorator(kind: str, doc: str) -> Decorator:
    def decorator(target: Any = None, /, **options: Any) -> Any:
        if is_a(target, str):
            options["name"], target = target, None
        if options:
            _warn_of_unknown(kind, options)
        if target is None:
            return lambda function: _decorate(kind, function, options)
        return _decorate(kind, target, options)

    decorator.__name__ = decorator.__qualname__ = kind
    decorator.__doc__ = doc
    return decorator


session = _decorator("session", "Each call is a session of its own, named after the function.")
trace = _decorator("session", "AgentOps' newer name for `session`.")
agent = _decorator("agent", "Each instance of the class (or call of the function) is an agent.")
workflow = _decorator("workflow", "Each call is a workflow: an operation that others happen in.")
operation = _decorator("operation", "Each call is an operation.")
task = _decorator("task", "Each call is a task: an operation under another name.")
llm = _decorator(
    "llm", "Each call is a call of a language model; its tokens are read from the response that it returns."
)
tool = _decorator(
    "tool",
    "Each call is a tool call; `cost=` is its cost in US dollars, `polling=True` says that calls repeat by intent.",
)
guardrail = _decorator("guardrail", "Each call is a guardrail; `spec=` says of what: 'input' or 'output'.")


_action = _decorator("action", "Each call is an action.")


def record_action(event_name: str | None = None) -> Callable[[F], F]:
    """Record each call as an action, with its arguments and its result; AgentOps' decorator for actions."""
    return _action(event_name)


def record_tool(tool_name: str | None = None) -> Callable[[F], F]:
    """Record each call as a tool call; AgentOps' decorator for tools."""
    return tool(tool_name)


def record_function(event_name: str) -> Callable[[F], F]:
    """Record each call as an action, under AgentOps' older name for `record_action`."""
    return _action(event_name)


def track_agent(name: str | None = None) -> Callable[[F], F]:
    """Make the instances of a class, or the calls of a function, agents; AgentOps' decorator for agents."""
    return agent(name)


__all__ = [
    "agent",
    "guardrail",
    "llm",
    "operation",
    "record_action",
    "record_function",
    "record_tool",
    "session",
    "task",
    "tool",
    "trace",
    "track_agent",
    "workflow",
]
