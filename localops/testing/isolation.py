"""A part of a process that records into a home of its own, with none of the settings around it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from localops import api, instrument, output
from localops.reading import session_state
from localops.recording import process_exit
from localops.recording.context import NOWHERE, scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.recording.client import Client

_OURS = ("LOCALOPS_", "AGENTOPS_")


@contextmanager
def isolated(home: str) -> Iterator[None]:
    """Record into `home` inside the block; afterwards restore the client, the sessions and the settings.

    Sessions that are still open at the end are ended as at the end of a process.
    """
    settings = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_OURS)}
    os.environ["LOCALOPS_HOME"] = home
    place = scope.get()
    scope.set(NOWHERE)
    notices = output.swap_notices({})
    before = api.swap_client(None)
    was_awaited = before is not None and process_exit.uninstall(before)
    libraries_were_on, threads_were_on = instrument.is_on(), _threads_are_on()
    try:
        yield
    finally:
        inner = api.swap_client(before)
        if inner is not None:
            _end(inner)
        if before is not None and was_awaited:
            process_exit.install(before)
        if not libraries_were_on:
            instrument.stop()
        if _threads_are_on() and not threads_were_on:
            sys.modules["localops.instrument.threads"].stop()
        output.swap_notices(notices)
        scope.set(place)
        for name in [name for name in os.environ if name.startswith(_OURS)]:
            del os.environ[name]
        os.environ.update(settings)


def _threads_are_on() -> bool:
    threads = sys.modules.get("localops.instrument.threads")
    return threads is not None and threads.is_on()


def _end(client: Client) -> None:
    """End the sessions of a client, as the end of the process would, and close its journals.

    A task that outlives the test then finds its session ended, and not one that it could record into.
    """
    try:
        for session in [*client.open_sessions(), *client.open_unattributed()]:
            if session.owned():
                session.end_unasked("Indeterminate", session_state.LEFT_OPEN)
            else:
                session.leave()
    finally:
        client.retire()
