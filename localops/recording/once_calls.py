"""Decorated functions that run once in a session: `@tool(once=True)` and the like.

A call whose result is recorded returns it without running.  `recording/once.py` matches calls with recorded ones.
"""

from __future__ import annotations

import inspect
from functools import wraps

from localops.careful import attribute, class_name
from localops.errors import ConfigError, StepError, Uncertain
from localops.interruption import deliver, waiting
from localops.output import say_once
from localops.recording import once as steps
from localops.recording.context import Stay, around

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import Any, Protocol

    from localops.recording.operation_rows import OperationRows
    from localops.recording.session import Session

    class Plan(Protocol):
        """A decorator's data about its function; the class is in a layer above."""

        kind: str
        name: str
        names: tuple[str, ...]
        request: bool
        response: bool
        defaults: dict[str, Any]
        more: dict[str, Any]

        def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
            """Return the arguments of a call by name."""

        def session(self, kwargs: dict[str, Any]) -> Session | None:
            """Return the session of a call."""

        def open(
            self,
            session: Session,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            more: dict[str, Any],
            *,
            synced: bool = False,
        ) -> OperationRows | None:
            """Write the opening row of a call."""

    class Call(Stay, Protocol):  # type: ignore[misc]
        """A call that is an operation; the class is in a layer above."""

        operation: OperationRows
        over: bool

        def __init__(self, plan: Plan, session: Session, operation: OperationRows) -> None: ...


_TURN = "localops turn"  # the keyword that passes a call on to `_Step.begin`; a parameter's name has no space

_named: dict[str, tuple[str, set[str]]] = {}
"""The function of each step, by name: of two steps with one name, each could get the results of the other."""


def once(function: Callable[..., Any], plan: Plan, options: dict[str, Any], call: type[Call]) -> Callable[..., Any]:
    """Wrap a function so that each of its calls runs once in a session."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{plan.name}() is a generator, which cannot run once: what it yields is used before it has ended. "
            "Return a list instead"
        )
    _claim_name(function, plan.name)
    step = _Step(function, plan, options, call)
    recorded = around(function, step.begin)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(attribute(type(function), "__call__")):
        return _once_coroutine(function, recorded, step)
    return _once_plain(function, recorded, step)


def _claim_name(function: Callable[..., Any], name: str) -> None:
    title = str(attribute(function, "__qualname__") or class_name(function))
    # A module can be loaded twice, as `__main__` and by its name; a notebook cell has a new file name on each run.
    places = {attribute(function, "__module__"), attribute(attribute(function, "__code__"), "co_filename")}
    mine = {str(place) for place in places if place is not None} or {"an unknown place"}
    known, known_places = _named.setdefault(name, (title, mine))
    if known != title or not mine & known_places:
        raise ConfigError(
            f"two steps that run once are called {name!r}: {known} in {sorted(known_places)[0]}, and {title} in "
            f"{sorted(mine)[0]}; give one of them another name=, as results are found by it"
        )


class _Step:
    """One function that runs once: what all its calls share."""

    def __init__(self, function: object, plan: Plan, options: dict[str, Any], call: type[Call]) -> None:
        self.plan = plan
        self._call = call
        self._code = _code_of(function)
        self._key = options.get("key")
        self._has_key = "key" in options
        self._idempotent = bool(options.get("idempotent"))
        self._hook = options.get("on_uncertain")

    def take(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _StepCall | None:
        """Return a call with its recorded result, if there is one; None without a session."""
        session = self.plan.session(kwargs)
        if session is None:
            return None
        table = steps.of(session, self.plan.name)
        digest, key = self._digest(session, args, kwargs)
        turn = table.take(self.plan.kind, self.plan.name, digest)
        try:
            turn.key, turn.is_again = key, self._idempotent
            step_call = _StepCall(session, table, turn)
            try:
                step_call.result = table.known(turn, idempotent=self._idempotent)
            except Uncertain as error:
                step_call.uncertain, step_call.hook = error, self._hook or table.hook
                if step_call.hook is None:
                    raise
            return step_call
        except BaseException:
            turn.release()
            raise

    def _digest(self, session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str | None]:
        """Return the digest of a call's key or arguments, and the text of the key, if it has one."""
        plan, recorder = self.plan, session.recorder
        if self._has_key:
            key = self._key(*args, **kwargs) if callable(self._key) else self._key
            return steps.digest_of_key(recorder, plan.name, key)
        if not (plan.request and session.config.capture):
            raise StepError(
                f"{plan.name}() did not run: its arguments are not recorded (capture is off), so that the call would "
                "not be recognised when its run is resumed; give once=True a key="
            )
        if args and plan.names[:1] == ("self",):
            _warn_of_object(plan.name, args[0])
        return steps.digest(recorder, plan.name, plan.given(args, kwargs), plan.defaults), None

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stay:
        """Begin a call; if this cannot be recorded, raise StepError, as the call must not run."""
        step_call: _StepCall = kwargs.pop(_TURN)
        session, turn = step_call.session, step_call.turn
        try:
            more = {**self.plan.more, **step_call.table.mark(turn)}
            operation = self.plan.open(session, args, kwargs, more, synced=True)
            if operation is None or not operation.is_kept:
                raise StepError(
                    f"{self.plan.name}() did not run: that it begins could not be written; see `localops doctor`"
                )
            return _OnceCall(self.plan, session, self._call(self.plan, session, operation), turn, self._code)
        except BaseException:
            turn.release()
            raise


def _warn_of_object(name: str, instance: object) -> None:
    """Warn that calls of a method on different objects count as the same: an object's attributes are not compared."""
    held = attribute(instance, "__dict__")
    if type(held) is dict and held:
        say_once(
            f"object of {name}",
            f"{name}() runs once for its arguments, whatever object it is called on: another object that makes the "
            "same call when the run is resumed is given this one's result. Give once=True a key= that names the "
            "object, such as key=lambda self, order: [self.name, order]",
        )


def _code_of(function: object) -> object:
    """Return the code object of a function, which is in the traceback of its exceptions; None if it is not Python."""
    code = attribute(function, "__code__") or attribute(attribute(type(function), "__call__"), "__code__")
    # Our wrappers share one code object, so use that of the wrapped function.
    while attribute(code, "co_filename") == around.__code__.co_filename:
        function = attribute(function, "__wrapped__")
        code = attribute(function, "__code__")
    return code


class _StepCall:
    """One call of a step, and what the journal has about it."""

    __slots__ = ("hook", "result", "session", "table", "turn", "uncertain")

    def __init__(self, session: Session, table: steps.Steps, turn: steps.Turn) -> None:
        self.session, self.table, self.turn = session, table, turn
        self.result: Any = steps.RUN
        self.uncertain: Uncertain | None = None
        self.hook: steps.Hook | None = None

    def decide(self, decision: object) -> None:
        """Use the decision of the hook: run the step again, or use the returned value as its result."""
        if decision is steps.run_again:
            self.result = steps.RUN
        else:
            self.table.decided(self.turn, decision)
            self.result = decision

    def ask(self) -> Any:
        """Call the hook and return its decision."""
        assert self.hook is not None
        assert self.uncertain is not None
        return self.hook(self.uncertain)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Let another call have its turn if there is no decision."""
        if error is not None:
            self.turn.release()


class _OnceCall(Stay):
    """A call of a step that runs: an operation; steps called in it are recorded as inside it."""

    __slots__ = ("_call", "_code", "_has_returned", "_inside", "_plan", "_session", "_turn")

    def __init__(self, plan: Plan, session: Session, call: Call, turn: steps.Turn, code: object) -> None:
        super().__init__(call.where)
        self._code = code
        self._plan, self._session, self._call, self._turn = plan, session, call, turn
        self._has_returned = False
        self._inside: Token[tuple[bytes, str]] | None = None

    def __enter__(self) -> None:
        super().__enter__()
        self._inside = steps.inside.set((self._session.recorder.session, self._turn.path))

    def leave(self) -> None:
        """Restore the caller's place."""
        token, self._inside = self._inside, None
        if token is not None:
            try:
                steps.inside.reset(token)
            except ValueError:
                # As in `Stay.leave`.
                pass
        super().leave()

    def ended(self, result: object, yielded: int | None = None) -> None:  # noqa: ARG002
        """Write the result so that it can be restored; raise StepError if its class prevents that."""
        self._has_returned = True
        plan, recorder = self._plan, self._session.recorder
        may_keep = plan.response and self._session.config.capture
        problem, what = "", f"what {plan.name}() returned"
        if result is None or may_keep:
            name = "exact" if plan.kind == "llm" else "returns"
            fields, problem = steps.keep(recorder, what, result, name=name)
        else:
            fields = {**steps.left_out(what), "returns_left_out": True}
        if result is not None and may_keep:
            fields["returns"] = result
        self._call.operation.finish(fields)
        self._call.over = True
        if waiting:
            deliver()
        if problem:
            raise StepError(
                f"{plan.name}() ran, but what it returned {problem}: it cannot be restored when its run is resumed. "
                "Return plain data, a dataclass or a pydantic model, or None"
            )

    def failed(self, error: BaseException, yielded: int | None = None) -> None:
        """Write that it failed; if the exception came from outside the step, write that it was interrupted."""
        if self._call.over:
            return
        self._turn.release()
        if self._has_returned or not self._came_through(error):
            self._call.operation.interrupted({}, error)
            self._call.over = True
        else:
            self._call.failed(error, yielded)

    def _came_through(self, error: BaseException) -> bool:
        """Return whether an exception came from the function: its code is in the traceback, or is not known.

        A signal handler may also raise one after the function has returned, before its end is written.
        """
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not self._code:
            trace = trace.tb_next
        return self._code is None or trace is not None


def _once_plain(function: Callable[..., Any], recorded: Callable[..., Any], step: _Step) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        step_call = step.take(args, kwargs)
        if step_call is None:
            return function(*args, **kwargs)
        if step_call.uncertain is not None:
            with step_call:
                decision = step_call.ask()
                if inspect.iscoroutine(decision):
                    decision.close()
                    raise StepError(
                        f"{step.plan.name}() did not run again: its on_uncertain= is async, and it is not; give it a "
                        "function that returns the result"
                    )
                step_call.decide(decision)
        if step_call.result is not steps.RUN:
            return step_call.result
        return recorded(*args, **kwargs, **{_TURN: step_call})

    return wrapper


def _once_coroutine(function: Callable[..., Any], recorded: Callable[..., Any], step: _Step) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        step_call = step.take(args, kwargs)
        if step_call is None:
            return await function(*args, **kwargs)
        if step_call.uncertain is not None:
            with step_call:
                decision = step_call.ask()
                if inspect.isawaitable(decision):
                    decision = await decision
                step_call.decide(decision)
        if step_call.result is not steps.RUN:
            return step_call.result
        return await recorded(*args, **kwargs, **{_TURN: step_call})

    return wrapper
