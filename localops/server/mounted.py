"""A server below a path of a proxy that has other servers beside it, as in https://example/localops/.

The path is an option of whoever starts the server and never taken from a header: any client could send one, and with it
choose where the links of a page lead.
"""

from __future__ import annotations

import re

from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_ROOT = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")  # nothing in it needs an escape, wherever it is printed


def check_root(root: str, paths: Iterable[str]) -> str:
    """Return the path to be below, without a slash at its end; `paths` are those that the server answers at itself.

    >>> check_root("/tools/localops/", ["/s/{session}"])
    '/tools/localops'
    """
    given = root.rstrip("/")
    if not given:
        return ""
    if not _ROOT.fullmatch(given):
        raise ConfigError(
            f"invalid root path: expected a path such as /localops (letters, digits, . _ ~ -), got {root!r}; "
            "give the path below which the proxy serves"
        )
    first = _first(given)
    if first in {_first(path) for path in paths}:
        raise ConfigError(
            f"invalid root path: expected a path that is not one of the server's own, got {root!r}; "
            f"begin it with another word than {first!r}"
        )
    return given


def _first(path: str) -> str:
    return path.split("/")[1]


class Mounted:
    """Take the root path off what is asked for; a proxy may have taken it off before."""

    def __init__(self, app: ASGIApp, *, root: str) -> None:
        self.app, self.root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self.root}/"):
            scope = {**scope, "path": scope["path"][len(self.root) :] or "/"}
        await self.app(scope, receive, send)
