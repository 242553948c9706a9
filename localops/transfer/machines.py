"""The machine of a journal that was received, stored apart from the sessions that name it: these may be removed."""

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
    """A machine, as the first row of a session describes it."""

    host: str | None
    release: str | None  # of localops


def key_of(journal: str) -> str:
    """Return the key in `meta` of the machine that a journal was last sent from."""
    return f"machine of {journal}"


def note(execute: Execute, journal: str, row: Stored) -> None:
    """Store the machine that the first row of a session names, if it names one."""
    try:
        body = encode.loads(row.body) if row.body else {}
    # A damaged body.
    except ValueError:
        return
    host = body.get("host") if isinstance(body, dict) else None
    if isinstance(host, str):
        execute(_PUT, (key_of(journal), encode.dumps([host, release(body.get("host_env"))]).decode()))


def read(text: str) -> Machine:
    """Return the machine from its stored text."""
    host, version = encode.loads(text)
    return Machine(host, version)


def release(host_env: object) -> str | None:
    """Return the release of localops that recorded a session, from its description of the machine."""
    sdk: Mapping[str, Any] | None = host_env.get("SDK") if isinstance(host_env, dict) else None
    named = sdk.get("AgentOps SDK Version") if isinstance(sdk, dict) and sdk.get("Name") == "localops" else None
    return named if isinstance(named, str) else None
