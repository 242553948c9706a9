"""A bundle handed on: this machine has a network, and the hub's own receipts are what its sender waits for.

The batches of a bundle go to the hub as they are, under the numbers of the journal they come from, so what the hub
signs is for the rows of that journal.  What was handed on before is known there, and signed for again.  Here the same
rows count as delivered, too.
"""

from __future__ import annotations

import os
import zipfile
from contextlib import closing

from localops import config
from localops.errors import ConfigError
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer import bundle, delivery, remotes
from localops_sync import bundle_file
from localops_sync.bundle_file import Part
from localops_sync.sink import TooLarge
from localops_sync.sinks.hub import Hub
from localops_sync.transport import Transport
from localops_sync.worker import recognise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.transfer.bundle import Ack, Batch
    from localops.transfer.remotes import Remote


def deliver(home: str, path: str, name: str, *, project: str | None = None) -> list[Part]:
    """Hand the rows of a bundle that was taken in here to a hub, under their own numbers: the receipts are the hub's.

    Raises Trouble when the hub cannot be reached or takes nothing.
    """
    with zipfile.ZipFile(path) as packed:
        parts = bundle_file.contents(packed)
        return [_deliver_part(home, project or part.project, part, packed, name) for part in parts]


def check(home: str, path: str, name: str, *, project: str | None = None) -> None:
    """Raise ConfigError unless each project of a bundle has that hub here, and its key: before anything is taken in."""
    try:
        with zipfile.ZipFile(path) as packed:
            projects = [project or each.project for each in bundle_file.contents(packed)]
    except bundle_file.DAMAGE:
        return  # whoever takes it in reports it
    for each in projects:
        remotes.check_headers(_hub(home, each, name))


def _hub(home: str, project: str, name: str) -> Remote:
    remote = remotes.load(config.project_folder(home, project)).get(name)
    if remote is None or remote.kind != "hub":
        raise ConfigError(
            f"project {project!r} has no hub called {name!r} here, and nothing was taken in: "
            "`localops remote list` shows what there is"
        )
    return remote


def _deliver_part(home: str, project: str, told: Part, packed: zipfile.ZipFile, name: str) -> Part:
    folder = config.project_folder(home, project)
    remote = _hub(home, project, name)
    part = Part(project, sender=told.project, remote=told.remote)
    with Reader(os.path.join(folder, config.JOURNAL)) as reader, closing(Journal(folder, gather=True)) as journal:
        transport = Transport(remote)
        hub = Hub(remote, reader, folder, transport)
        ledger = delivery.Ledger(reader, folder, name)
        try:
            hub.check()
            recognise(remote, ledger, hub)
            with packed.open(f"{told.project}/rows.ndjson") as lines:
                for batch, refused in bundle_file.batches(lines):
                    part.refused.update(refused)
                    for some, ack in _handed_on(hub, batch, remote, part):
                        ledger.adopt(journal, some, ack, peer=hub.id)
        finally:
            hub.close()
    return part


def _handed_on(hub: Hub, batch: Batch, remote: Remote, part: Part) -> Iterator[tuple[Batch, Ack]]:
    """Send a batch, in halves where it is too large: each part of it, and what became of that."""
    if remote.metadata_only and any(bundle.without_content(row) != row for row in batch.rows):
        raise ConfigError(f"remote {remote.name!r} takes no content, and the bundle holds some: it is not handed on")
    try:
        ack = hub.send(batch)
    except TooLarge:
        if len(batch.rows) == 1:
            raise
        for half in bundle.halves(batch):
            yield from _handed_on(hub, half, remote, part)
        return
    part.rows += len(batch.rows) - len(ack.refused) - len(ack.withheld)
    part.new += ack.stored
    part.refused.update(ack.refused | ack.withheld)
    if ack.receipt is not None:
        part.receipts.append(ack.receipt)
    yield batch, ack
