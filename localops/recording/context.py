"""The place in a run: the session, the operation and the agent that events recorded now belong to.

It is a context variable, so each asyncio task has its own.  A new thread begins without one: pass yours with `carry`.
`around` gives the calls of a function of any kind their own place.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from functools import wraps

from localops.interruption import attempt, deliver, waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from contextvars import Token
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    # A session (of a layer above, so its class cannot be named here) or None, an operation, an agent.
    Scope = tuple[Any, bytes | None, bytes | None]
    Begin = Callable[[tuple[Any, ...], dict[str, Any]], "Stay | None"]

NOWHERE: Scope = (None, None, None)
scope: ContextVar[Scope] = ContextVar("localops.scope", default=NOWHERE)

spans: list[Callable[[Scope], Scope]] = []
"""At most one function: it returns the innermost of the given place and the current span of OpenTelemetry."""

runs: list[Callable[[Scope], Scope]] = []
"""At most one function: it returns the innermost of the given place and the LangChain run around it."""

find_session: list[Callable[[str], Any]] = []
"""One function, set by `api.py`: it returns the session for a span outside of any; its argument is a warning."""


def here() -> Scope:
    """Return the place of the calling code: its operation, or its span if that is recorded."""
    return spans[0](outside_spans()) if spans else outside_spans()


def outside_spans() -> Scope:
    """Return the operation that the calling code is in, without regard to spans."""
    return runs[0](scope.get()) if runs else scope.get()


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function, bound to the session, operation and agent of the place where `carry` is called.

    For threads and pools, which begin without a context:

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(carry(print), "recorded where I was submitted").result()
    recorded where I was submitted
    """
    here = copy_context()

    @wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A copy, because one context cannot be entered twice at a time.
        return here.copy().run(function, *args, **kwargs)

    return carried


class Stay:
    """The time that one call spends in a place: its code runs with that scope, then `ended` or `failed` is called.

    A generator enters it once for each item, so what its caller does in between is not inside.
    """

    __slots__ = ("_token", "where")

    def __init__(self, where: Scope) -> None:
        self.where = where
        self._token: Token[Scope] | None = None

    def __enter__(self) -> None:
        if waiting:
            deliver()
        before = scope.get()
        try:
            self._token = scope.set(self.where)
        except BaseException:
            # A signal handler may have raised after the place was set.
            scope.set(before)
            raise

    def __exit__(self, *failure: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Restore the caller's scope once: `__exit__` may be interrupted before it begins."""
        token, self._token = self._token, None
        if token is not None:
            try:
                scope.reset(token)
            except ValueError:
                # An abandoned coroutine is closed from another context: there is nothing to restore.
                pass

    def ended(self, result: object, yielded: int | None = None) -> None:
        """Note that the call returned, or that its generator was exhausted after `yielded` items."""

    def closed(self, yielded: int) -> None:
        """Note that its generator was closed after `yielded` items, before its end."""
        self.ended(None, yielded)

    def failed(self, error: BaseException, yielded: int | None = None) -> None:
        """Note that the call raised, or that `ended` did, in which case the end may be written already."""


class _Unwatched(Stay):
    """A call without a place of its own."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, *failure: object) -> None: ...


def around(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """Return the function with a `Stay` around each call; it remains the same kind of function.

    `begin` gets the arguments and may take a keyword out of them; if it returns None, the function simply runs.
    """
    # Imported here: it would take most of the start of a program that decorates no function.
    from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

    if isasyncgenfunction(function):
        return _around_async_generator(function, begin)
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        return _around_coroutine(function, begin)
    if isgeneratorfunction(function):
        return _around_generator(function, begin)
    return _around_plain(function, begin)


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function by name; none if it cannot be inspected."""
    from inspect import signature

    nothing: Mapping[str, inspect.Parameter] = {}
    return attempt(lambda: signature(function).parameters, nothing)


def _end(stay: Stay, result: object, yielded: int, *, closed: bool = False) -> None:
    """Call `ended` or `closed` of a stay whose generator has ended; if that is interrupted, call `failed`."""
    try:
        if closed:
            stay.closed(yielded)
        else:
            stay.ended(result, yielded)
    except BaseException as error:
        try:
            stay.leave()
            stay.failed(error, yielded)
        except BaseException:  # interrupted: its end is written first
            stay.leave()
            stay.failed(error, yielded)
            raise
        raise


# The lines for a failure are repeated for each kind of call below.  If they were a function, the program's signal
# handler could raise on entering it, before its `try`, and the end of the call would not be written.


def _around_plain(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        stay = begin(args, kwargs)
        if stay is None:
            return function(*args, **kwargs)
        try:
            with stay:
                result = function(*args, **kwargs)
            stay.ended(result)
        except BaseException as error:
            try:
                stay.leave()
                stay.failed(error)
            except BaseException:  # interrupted: its end is written first
                stay.leave()
                stay.failed(error)
                raise
            raise
        return result

    return wrapper


def _around_coroutine(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        stay = begin(args, kwargs)
        if stay is None:
            return await function(*args, **kwargs)
        try:
            with stay:
                result = await function(*args, **kwargs)
            stay.ended(result)
        except BaseException as error:
            try:
                stay.leave()
                stay.failed(error)
            except BaseException:  # interrupted: its end is written first
                stay.leave()
                stay.failed(error)
                raise
            raise
        return result

    return wrapper


def _around_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        stay = begin(args, kwargs)
        inner = function(*args, **kwargs)
        if stay is None:
            return (yield from inner)
        yielded = 0
        step, value = inner.send, None
        while True:
            try:
                with stay:
                    item = step(value)
            except StopIteration as stop:
                _end(stay, stop.value, yielded)
                return stop.value
            except GeneratorExit:
                _end(stay, None, yielded, closed=True)
                raise
            except BaseException as error:
                try:
                    stay.leave()
                    stay.failed(error, yielded)
                except BaseException:  # interrupted: its end is written first
                    stay.leave()
                    stay.failed(error, yielded)
                    raise
                raise
            yielded += 1
            try:
                value = yield item
                step = inner.send
            except BaseException as error:  # thrown in by the caller (also GeneratorExit): pass it to the generator
                step, value = inner.throw, error

    return wrapper


def _around_async_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        stay = begin(args, kwargs) or _Unwatched(NOWHERE)
        inner = function(*args, **kwargs)
        yielded = 0
        step, value = inner.asend, None
        while True:
            try:
                with stay:
                    item = await step(value)
            except StopAsyncIteration:
                _end(stay, None, yielded)
                return
            except GeneratorExit:
                _end(stay, None, yielded, closed=True)
                raise
            except BaseException as error:
                try:
                    stay.leave()
                    stay.failed(error, yielded)
                except BaseException:  # interrupted: its end is written first
                    stay.leave()
                    stay.failed(error, yielded)
                    raise
                raise
            yielded += 1
            try:
                value = yield item
                step = inner.asend
            except BaseException as error:  # as above
                step, value = inner.athrow, error

    return wrapper
