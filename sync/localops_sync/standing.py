"""Whether a hub still has what it signed for, as far as one small question tells: what prune asks before it takes."""

from __future__ import annotations

from localops import delivery, remotes
from localops_sync.sinks.hub import Hub
from localops_sync.transport import Transport
from localops_sync.worker import recognise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reader import Reader

_CONNECT = 3.0  # seconds
_WHOLE = 10.0  # seconds for the question and its answer: prune works without a network, too


def is_set_back(folder: str, reader: Reader, name: str) -> bool:
    """Whether a remote is a hub that was set back behind what it signed for last.

    Raises Trouble when it cannot be asked, ConfigError when its key cannot be read.
    """
    remote = remotes.load(folder).get(name)
    ledger = delivery.Ledger(reader, folder, name)
    position = ledger.position()
    if remote is None or remote.kind != "hub" or position is None:
        return False
    hub = Hub(remote, reader, folder, Transport(remote, connect=_CONNECT, silence=_WHOLE, whole=_WHOLE))
    try:
        hub.position = position
        hub.check()
        recognise(remote, ledger, hub)
    finally:
        hub.close()
    return hub.kept is False
