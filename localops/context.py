"""Where in a run we are: the session, the operation and the agent that what happens now belongs to.

A context variable, so asyncio tasks each have their own.  A new thread begins with none: hand it yours with `carry`.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from localops.session import Session

    P = ParamSpec("P")
    R = TypeVar("R")

    Scope = tuple[Session | None, bytes | None, bytes | None]  # session, operation, agent

NOWHERE: Scope = (None, None, None)
scope: ContextVar[Scope] = ContextVar("localops.scope", default=NOWHERE)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """The function, bound to the session, operation and agent of the place where `carry` is called.

    For threads and pools, which begin without a context:

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(carry(print), "recorded where I was submitted").result()
    recorded where I was submitted
    """
    here = copy_context()

    @wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return here.copy().run(function, *args, **kwargs)  # a copy: one context cannot be entered twice at a time

    return carried
