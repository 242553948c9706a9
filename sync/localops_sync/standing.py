"""A check of whether a hub still has what it signed for, with a few requests: prune makes it before it deletes."""

from __future__ import annotations

from dataclasses import dataclass, field

from localops.journal import blobs
from localops.transfer import delivery, remotes
from localops_sync.sinks.hub import Hub
from localops_sync.transport import Transport
from localops_sync.worker import recognise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.journal.reader import Reader
    from localops.transfer.delivery import Ledger

# Seconds.  Short, as prune has to work without a network, too.
_CONNECT = 3.0
_WHOLE = 20.0  # for a request and its answer
_AT_ONCE = 500  # files in one request


@dataclass
class Standing:
    """The answer of a hub."""

    set_back: bool = False  # it lacks rows that it signed for
    lacking: dict[bytes, int] = field(default_factory=dict)  # how many files of each session it lacks


def ask(folder: str, reader: Reader, name: str, sessions: Iterable[bytes]) -> Standing:
    """Ask a remote, if it is a hub, whether it was set back, and whether it has the files of sessions.

    Raise Trouble when it cannot be reached, ConfigError when its key cannot be read.
    """
    remote = remotes.load(folder).get(name)
    if remote is None or remote.kind != "hub":
        return Standing()
    ledger = delivery.Ledger(reader, folder, name)
    hub = Hub(remote, reader, folder, Transport(remote, connect=_CONNECT, silence=_WHOLE, whole=_WHOLE))
    try:
        hub.position = ledger.position()
        hub.check()
        recognise(remote, ledger, hub)
        standing = Standing(hub.kept is False)
        if not (standing.set_back or remote.metadata_only) and "blobs" in hub.proves:
            standing.lacking = _lacking(hub, ledger, sessions)
    finally:
        hub.close()
    return standing


def _lacking(hub: Hub, ledger: Ledger, sessions: Iterable[bytes]) -> dict[bytes, int]:
    named = {session: _named(ledger, session) for session in sessions}
    digests = list(dict.fromkeys(digest for each in named.values() for digest in each))
    missing: set[str] = set()
    for at in range(0, len(digests), _AT_ONCE):
        missing.update(hub.missing_blobs(digests[at : at + _AT_ONCE]))
    return {session: len(missing.intersection(each)) for session, each in named.items() if not missing.isdisjoint(each)}


def _named(ledger: Ledger, session: bytes) -> list[str]:
    return blobs.named(body for (body,) in ledger.ask("naming_files", session=session, remote=ledger.remote))
