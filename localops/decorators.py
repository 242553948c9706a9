"""Decorators: a function, method, generator or class becomes an operation (or a session, or an agent) of its own.

What they wrap stays what it was: same signature, same type, a class stays a class.  Without a session the function
simply runs.  An operation writes one row when it opens and one when it ends; an exception is recorded, linked to the
operation it happened in, and goes on its way.
"""

from __future__ import annotations

import inspect
import weakref
from functools import wraps

from localops import api
from localops.context import scope
from localops.errors import LocalopsError
from localops.output import say_once
from localops.session import Operation, Session, failure_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable
    from typing import Any, Protocol, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

    class Decorator(Protocol):
        """Used bare, or with options."""

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
            capture_request: bool = True,
            capture_response: bool = True,
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
            capture_request: bool = True,
            capture_response: bool = True,
        ) -> Callable[[F], F]: ...


class _Plan:
    """What one decorator does to one function: the kind and name of its operation, and what is captured."""

    __slots__ = ("cost", "defaults", "extra", "kind", "name", "names", "request", "response", "rest", "tags", "takes_session")

    def __init__(self, kind: str, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.kind = kind
        self.name = options.get("name") or getattr(function, "__name__", None) or type(function).__name__
        self.tags = options.get("tags")
        self.cost = options.get("cost")
        self.request = options.get("capture_request", True)
        self.response = options.get("capture_response", True)
        self.extra = {key: options[key] for key in ("version", "spec") if options.get(key) is not None}
        self.names, self.rest, self.defaults = _parameters(function)
        self.takes_session = "session" in self.names

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The arguments of a call by name, without `self` and `cls`."""
        names = self.names
        found = {**self.defaults, **dict(zip(names, args, strict=False))} if args or self.defaults else {}
        if len(args) > len(names):
            found[self.rest] = args[len(names) :]
        if kwargs:
            found.update(kwargs)
        if names and names[0] in ("self", "cls"):
            found.pop(names[0], None)
        if self.extra:
            found.update({f"{key} of {self.kind}": value for key, value in self.extra.items()})
        return found or None

    def begin(self, session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        params = self.given(args, kwargs) if self.request and session.config.capture else (self.extra or None)
        agent = _agent_of(args[0], session) if args and hasattr(args[0], _AGENTS) else None
        return session.begin(self.kind, self.name, params, agent=agent, tags=self.tags, cost=self.cost)

    def session(self, kwargs: dict[str, Any]) -> Session | None:
        """Where this call is recorded; AgentOps' `session=` is taken out unless the function asks for it itself."""
        given = kwargs.get("session")
        if isinstance(given, Session):
            if not self.takes_session:
                del kwargs["session"]
            return given
        session = scope.get()[0]
        return session if session is not None else _current(self.name)


def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """Names of the positional parameters, of the one that takes the rest, and the defaults."""
    code = getattr(function, "__code__", None)
    if code is None:
        return (), "args", {}
    names = code.co_varnames[: code.co_argcount]
    after = code.co_argcount + code.co_kwonlyargcount
    rest = code.co_varnames[after] if code.co_flags & inspect.CO_VARARGS else "args"
    positional = getattr(function, "__defaults__", None) or ()
    defaults = dict(zip(names[len(names) - len(positional) :], positional, strict=True))
    return names, rest, {**defaults, **(getattr(function, "__kwdefaults__", None) or {})}


def _current(name: str) -> Session | None:
    client = api._client
    if client is None:
        say_once("decorated before init", f"{name}() ran before localops.init(): it is not recorded")
        return None
    return client.current()


def _end(operation: Operation, plan: _Plan, result: object) -> None:
    """The operation returned."""
    fields: dict[str, object] = {}
    if result is not None and plan.response and operation.session.config.capture:
        fields["returns"] = result
        if plan.kind == "action" and getattr(result, "screenshot", None) is not None:
            fields["screenshot"] = operation.session._keep_media(result.screenshot)  # type: ignore[attr-defined]
    operation.finish(fields)


def _fail(operation: Operation, error: BaseException) -> None:
    """The operation raised; a cancelled or interrupted one is no error, but it did not end well either."""
    operation.finish({} if isinstance(error, Exception) else {"ended_by": type(error).__name__}, failed=True)
    if isinstance(error, Exception):
        operation.error(error)


def _wrap(plan: _Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with an operation around each call, of the same kind of function as before."""
    if inspect.isasyncgenfunction(function):
        return _wrap_async_generator(plan, function)
    if inspect.iscoroutinefunction(function):
        return _wrap_async(plan, function)
    if inspect.isgeneratorfunction(function):
        return _wrap_generator(plan, function)
    return _wrap_plain(plan, function)


def _inside(operation: Operation) -> tuple[Session, bytes, bytes | None]:
    return operation.session, operation.id, operation.id if operation.kind == "agent" else operation.agent


def _wrap_plain(plan: _Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        session = plan.session(kwargs)
        if session is None:
            return function(*args, **kwargs)
        operation = plan.begin(session, args, kwargs)
        token = scope.set(_inside(operation))
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _fail(operation, error)
            raise
        finally:
            scope.reset(token)
        _end(operation, plan, result)
        return result

    return wrapper


def _wrap_async(plan: _Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        session = plan.session(kwargs)
        if session is None:
            return await function(*args, **kwargs)
        operation = plan.begin(session, args, kwargs)
        token = scope.set(_inside(operation))
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            _fail(operation, error)
            raise
        finally:
            scope.reset(token)
        _end(operation, plan, result)
        return result

    return wrapper


class _Stream:
    """The life of a generator as an operation: its scope holds only while its own code runs."""

    def __init__(self, plan: _Plan, session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.operation = plan.begin(session, args, kwargs)
        self.yielded = 0

    def __enter__(self) -> None:
        self._token = scope.set(_inside(self.operation))

    def __exit__(self, *failure: object) -> None:
        scope.reset(self._token)

    def ended(self, result: object = None) -> None:
        """It was exhausted or closed."""
        self.operation.finish({"yielded": self.yielded, **({"returns": result} if result is not None else {})})

    def failed(self, error: BaseException) -> None:
        """It raised."""
        _fail(self.operation, error)


def _wrap_generator(plan: _Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        session = plan.session(kwargs)
        if session is None:
            return (yield from function(*args, **kwargs))
        stream = _Stream(plan, session, args, kwargs)
        inner = function(*args, **kwargs)
        step, value = inner.send, None
        while True:
            try:
                with stream:
                    item = step(value)
            except StopIteration as stop:
                stream.ended(stop.value)
                return stop.value
            except BaseException as error:
                stream.failed(error)
                raise
            stream.yielded += 1
            try:
                value = yield item
                step = inner.send
            except GeneratorExit:
                with stream:
                    inner.close()
                stream.ended()
                raise
            except BaseException as error:
                step, value = inner.throw, error

    return wrapper


def _wrap_async_generator(plan: _Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        session = plan.session(kwargs)
        if session is None:
            async for item in function(*args, **kwargs):
                yield item
            return
        stream = _Stream(plan, session, args, kwargs)
        inner = function(*args, **kwargs)
        step, value = inner.asend, None
        while True:
            try:
                with stream:
                    item = await step(value)
            except StopAsyncIteration:
                stream.ended()
                return
            except BaseException as error:
                stream.failed(error)
                raise
            stream.yielded += 1
            try:
                value = yield item
                step = inner.asend
            except GeneratorExit:
                with stream:
                    await inner.aclose()
                stream.ended()
                raise
            except BaseException as error:
                step, value = inner.athrow, error

    return wrapper


# Agents: each instance of an agent class is one, and what happens in its methods belongs to it.

_AGENTS = "_localops_agents"


def _agent_of(instance: object, session: Session) -> bytes | None:
    """The instance's agent id in a session; told to the session when it is first needed there."""
    known: dict[bytes, bytes] = getattr(instance, _AGENTS)
    if session._id not in known:
        name = getattr(instance, "agentops_agent_name", type(instance).__name__)
        known[session._id] = _as_bytes(session.create_agent(name))
    return known[session._id]


def _as_bytes(agent_id: str) -> bytes:
    from localops.events import to_id

    return to_id(agent_id)


def _agent_class(cls: type, name: str | None) -> type:
    """The same class, whose instances are agents."""
    construct = cls.__init__  # type: ignore[misc]

    @wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = kwargs.pop("agentops_name", None)
        if not hasattr(self, _AGENTS):
            self.__dict__[_AGENTS] = {}
            self.__dict__["agentops_agent_name"] = given or name or cls.__name__
        session = _session_of(kwargs)
        if session is not None:
            self.__dict__["agentops_agent_id"] = _agent_of(self, session).hex()  # type: ignore[union-attr]
        with _as_agent(self, session):
            construct(self, *args, **kwargs)

    cls.__init__ = __init__  # type: ignore[misc]
    for attribute, value in list(vars(cls).items()):
        if inspect.isfunction(value) and not attribute.startswith("__"):
            setattr(cls, attribute, _in_agent(value))
    return cls


def _session_of(kwargs: dict[str, Any]) -> Session | None:
    given = kwargs.get("session")
    return given if isinstance(given, Session) else scope.get()[0] or (api._client.current() if api._client else None)


class _as_agent:  # noqa: N801  reads as `with _as_agent(self, session)`
    """The scope in which an instance acts."""

    __slots__ = ("token",)

    def __init__(self, instance: object, session: Session | None) -> None:
        self.token = None
        if session is not None and hasattr(instance, _AGENTS):
            here = scope.get()
            parent = here[1] if here[0] is session else None
            self.token = scope.set((session, parent, _agent_of(instance, session)))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *failure: object) -> None:
        if self.token is not None:
            scope.reset(self.token)


def _in_agent(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method in which everything recorded belongs to the instance; it writes no row itself."""
    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def asynchronous(self: Any, *args: Any, **kwargs: Any) -> Any:
            with _as_agent(self, _session_of({})):
                return await method(self, *args, **kwargs)

        return asynchronous
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        return method  # between two items the caller's code runs: only its own decorator can tell them apart

    @wraps(method)
    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _as_agent(self, _session_of({})):
            return method(self, *args, **kwargs)

    return plain


# Sessions: each call of the function is one.


def _wrap_session(plan: _Plan, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a session around each call: Success when it returns, Failure when it raises."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            with _SessionOf(plan, args, kwargs) as mine:
                result = await function(*args, **kwargs)
                mine.returned(result)
                return result

        return asynchronous
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def async_stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with _SessionOf(plan, args, kwargs):
                async for item in function(*args, **kwargs):
                    yield item

        return async_stream
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def stream(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with _SessionOf(plan, args, kwargs):
                return (yield from function(*args, **kwargs))

        return stream

    @wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with _SessionOf(plan, args, kwargs) as mine:
            result = function(*args, **kwargs)
            mine.returned(result)
            return result

    return plain


class _SessionOf:
    """The session of one call."""

    def __init__(self, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._plan, self._args, self._kwargs = plan, args, kwargs
        self.session: Session | None = None

    def __enter__(self) -> _SessionOf:
        self._before = scope.get()
        client = api.client()
        try:
            params = self._plan.given(self._args, self._kwargs) if self._plan.request and client.config.capture else None
            self.session = client.start(self._plan.tags, name=self._plan.name, params=params)
        except LocalopsError as error:
            if client.config.strict:
                raise
            say_once("session", f"{self._plan.name}() is not recorded: {error}")
        return self

    def returned(self, result: object) -> None:
        """What the function gave back goes with the session's end."""
        if self.session is not None and result is not None and self._plan.response and self.session.config.capture:
            self.session.returns = result

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.session is not None and self.session.is_running:
            if error is None or kind is GeneratorExit:
                self.session.end_session("Success")
            else:
                self.session.end_session("Failure", failure_reason(error))
        scope.set(self._before)


def _session_class(cls: type, plan: _Plan) -> type:
    """The same class, each instance a session: begun when it is made, ended when it goes."""
    construct = cls.__init__  # type: ignore[misc]

    @wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        before = scope.get()
        session = api.client().start(plan.tags, name=plan.name)
        weakref.finalize(self, session.end_session, "Success")
        self.__dict__["_localops_session"] = session
        try:
            construct(self, *args, **kwargs)
        except BaseException as error:
            session.end_session("Failure", failure_reason(error))
            raise
        finally:
            scope.set(before)

    cls.__init__ = __init__  # type: ignore[misc]
    for attribute, value in list(vars(cls).items()):
        if inspect.isfunction(value) and not attribute.startswith("__"):
            setattr(cls, attribute, _in_session(value))
    return cls


def _in_session(method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def asynchronous(self: Any, *args: Any, **kwargs: Any) -> Any:
            token = scope.set((self._localops_session, None, None))
            try:
                return await method(self, *args, **kwargs)
            finally:
                scope.reset(token)

        return asynchronous

    @wraps(method)
    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = scope.set((self._localops_session, None, None))
        try:
            return method(self, *args, **kwargs)
        finally:
            scope.reset(token)

    return plain


def _decorate(kind: str, target: Any, options: dict[str, Any]) -> Any:
    """Whatever was decorated, decorated: functions, classes, and the two kinds of method that are not functions yet."""
    if isinstance(target, staticmethod | classmethod):
        return type(target)(_decorate(kind, target.__func__, options))
    if isinstance(target, type):
        if kind == "agent":
            return _agent_class(target, options.get("name"))
        if kind == "session":
            return _session_class(target, _Plan(kind, target, options))
        options = {"name": target.__name__, **options}
        target.__init__ = _wrap(_Plan(kind, target.__init__, options), target.__init__)  # type: ignore[misc]
        return target
    if not callable(target):
        raise TypeError(f"@{kind} decorates functions, methods and classes, not a {type(target).__name__}")
    plan = _Plan(kind, target, options)
    return _wrap_session(plan, target) if kind == "session" else _wrap(plan, target)


def _decorator(kind: str, doc: str) -> Decorator:
    def decorator(target: Any = None, /, **options: Any) -> Any:
        if isinstance(target, str):
            options["name"], target = target, None
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
tool = _decorator("tool", "Each call is a tool call; `cost=` says what it costs in US dollars.")
guardrail = _decorator("guardrail", "Each call is a guardrail; `spec=` says of what: 'input' or 'output'.")


def record_action(event_name: str | None = None) -> Callable[[F], F]:
    """AgentOps' decorator for actions: each call is one, with its arguments and what it returns."""
    return lambda function: _decorate("action", function, {"name": event_name})  # type: ignore[no-any-return]


def record_tool(tool_name: str | None = None) -> Callable[[F], F]:
    """AgentOps' decorator for tools: each call is a tool call."""
    return lambda function: _decorate("tool", function, {"name": tool_name})  # type: ignore[no-any-return]


def record_function(event_name: str) -> Callable[[F], F]:
    """AgentOps' older name for `record_action`."""
    return record_action(event_name)


def track_agent(name: str | None = None) -> Callable[[F], F]:
    """AgentOps' decorator for agents: a class whose instances are agents, or a function that is one."""
    return lambda target: _decorate("agent", target, {"name": name})  # type: ignore[no-any-return]


__all__ = [
    "agent",
    "guardrail",
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
