"""A server below a path of a proxy, as in https://example/localops/.

The path is an option of the command and never read from a header: any client can send a header, and could choose where
the links of a page lead.
"""

from __future__ import annotations

import re

from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

# No character that needs escaping in HTML, JSON or an address.
_ROOT = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def check_root(root: str, paths: Iterable[str]) -> str:
    """Return the root path without a slash at its end, checked against `paths`, the server's own addresses.

    >>> check_root("/tools/localops/", ["/s/{session}"])
    '/tools/localops'
    """
    path = root.rstrip("/")
    if not path:
        return ""
    if not _ROOT.fullmatch(path):
        raise ConfigError(
            f"invalid root path: expected a path such as /localops (letters, digits, . _ ~ -), got {root!r}; "
            "give the path below which the proxy serves"
        )
    first = _first_part(path)
    if first in {_first_part(own) for own in paths}:
        raise ConfigError(
            f"invalid root path: expected a path that is not one of the server's own, got {root!r}; "
            f"begin it with another word than {first!r}"
        )
    return path


def _first_part(path: str) -> str:
    return path.split("/")[1]


class Mounted:
    """Middleware that removes the root path from requests, unless the proxy has done so."""

    def __init__(self, app: ASGIApp, *, root: str) -> None:
        self.app, self.root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the path below the root."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self.root}/"):
            scope = {**scope, "path": scope["path"][len(self.root) :] or "/"}
        await self.app(scope, receive, send)
