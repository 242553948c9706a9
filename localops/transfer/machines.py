"""The machine whose journal rows come from: kept beside the rows, as all sessions that name it may be removed."""

from __future__ import annotations

from typing import NamedTuple

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from localops.journal.stored import Stored

    Execute = Callable[..., Any]

_PUT = "insert or replace into meta values(?, ?)"


class Machine(NamedTuple):
    """What the beginning of a session says about its machine."""

    host: str | None
    release: str | None  # of localops that recorded it


def key_of(journal: str) -> str:
    """Return the key in `meta` of the machine that a journal was last sent from."""
    return f"machine of {journal}"


def note(execute: Execute, journal: str, row: Stored) -> None:
    """Keep the machine that the row of a session's beginning names, if it does."""
    try:
        body = encode.loads(row.body) if row.body else {}
    # A damaged body.
    except ValueError:
        return
    host = body.get("host") if isinstance(body, dict) else None
    if isinstance(host, str):
        execute(_PUT, (key_of(journal), encode.dumps([host, release(body.get("host_env"))]).decode()))


def read(text: str) -> Machine:
    """Return the machine that was kept."""
    host, version = encode.loads(text)
    return Machine(host, version)


def release(host_env: object) -> str | None:
    """Return the release of localops that recorded a session, from what the session says of its machine."""
    sdk: Mapping[str, Any] | None = host_env.get("SDK") if isinstance(host_env, dict) else None
    named = sdk.get("AgentOps SDK Version") if isinstance(sdk, dict) and sdk.get("Name") == "localops" else None
    return named if isinstance(named, str) else None
