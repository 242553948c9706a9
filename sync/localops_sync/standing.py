"""Check that a hub still has the rows of its receipts; prune does this before it removes sessions.

The result is kept in the journal, as a later prune may not reach the hub.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from localops import output
from localops.errors import LocalopsError
from localops.journal.journal import Journal
from localops.transfer import delivery, remotes
from localops_sync import verify
from localops_sync.sink import Offline
from localops_sync.sinks.hub import Hub
from localops_sync.transport import Transport
from localops_sync.worker import recognise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from localops.journal.reader import Reader
    from localops.transfer.delivery import Ledger
    from localops.transfer.remotes import Remote
    from localops_sync.verify import Difference

# Seconds.  Short, as prune has to work without a network, too.
_CONNECT = 3.0
_WHOLE = 20.0  # for a request and its answer


@dataclass
class Standing:
    """The answer of a hub."""

    set_back: bool = False  # it lacks rows that it signed for
    differs: dict[bytes, Difference] = field(default_factory=dict)  # what it lacks of each session
    asked: frozenset[bytes] = frozenset()  # the sessions that it answered for
    refused: str | None = None  # why it did not answer although it was reached: it may have lost everything
    unreached: str | None = None  # why it could not be reached


@dataclass
class _Side:
    folder: str
    remote: Remote
    reader: Reader
    ledger: Ledger


def ask(folder: str, reader: Reader, name: str, sessions: Collection[tuple[bytes, int]]) -> Standing:
    """Ask a remote, if it is a hub, whether it was set back, and what it lacks of sessions (each with its rows)."""
    try:
        remote = remotes.load(folder).get(name)
        if remote is None or remote.kind != "hub":
            return Standing()
        side = _Side(folder, remote, reader, delivery.Ledger(reader, folder, name))
        hub = Hub(remote, reader, folder, Transport(remote, connect=_CONNECT, silence=_WHOLE, whole=_WHOLE))
    except LocalopsError as error:  # the key cannot be read
        return Standing(refused=str(error))
    is_met = False
    try:
        hub.position = side.ledger.position()
        hub.check()
        is_met = True
        recognise(remote, side.ledger, hub)
        if hub.kept is False:
            return Standing(set_back=True)
        differs = verify.differences(side, hub, sessions)
        return Standing(differs=differs, asked=frozenset(session for session, _ in sessions))
    except Offline as error:
        # A proxy or a hub that fails was reached: it may be another hub, or one that cannot read its rows.
        return Standing(refused=str(error)) if is_met or error.answered else Standing(unreached=str(error))
    except LocalopsError as error:
        return Standing(refused=str(error))
    finally:
        hub.close()


def keep(folder: str, reader: Reader, name: str, standing: Standing) -> None:
    """Store the reason to doubt the receipts of a remote, and mark the rows that it lacks as unsent.

    Store which sessions were deleted there, too, for a prune that cannot reach the remote.
    """
    why = _doubt(standing)
    ledger = delivery.Ledger(reader, folder, name)
    before, gone = ledger.deleted(), {session for session, lacks in standing.differs.items() if lacks.deleted}
    deleted = (before - standing.asked) | gone
    if why is None and deleted == before:
        return
    seqs = frozenset[int]().union(*(lacks.seqs for lacks in standing.differs.values()))
    journal = Journal(folder, gather=True)
    try:
        ledger.keep_deleted(journal, deleted)
        if why is not None:
            ledger.keep_doubt(journal, why, seqs)
    finally:
        journal.close()


def _doubt(standing: Standing) -> str | None:
    if standing.refused is not None:
        return f"it could not be asked whether it has its rows: {standing.refused}"
    if standing.set_back:
        return "it was restored or repaired"
    rows = sum(lacks.rows for lacks in standing.differs.values())
    files = sum(lacks.files for lacks in standing.differs.values())
    parts = [output.counted(many, what) for many, what in ((rows, "row"), (files, "file")) if many]
    return f"it lacked {' and '.join(parts)} that it had signed for" if parts else None
