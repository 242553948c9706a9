"""Delivery of a bundle to a hub, from a machine that has a network: its sender waits for the hub's own receipts.

The batches of a bundle are sent to the hub unchanged, under the seqs of the journal they come from, so the hub signs
for the rows of that journal.  The hub recognises rows that it has already, and signs for them again.  The same rows
count as delivered here, too.
"""

from __future__ import annotations

import os
import zipfile
from contextlib import closing
from dataclasses import replace

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
    """Send the rows of an imported bundle to a hub, under their own seqs; return the parts with the hub's receipts.

    Raise Trouble when the hub cannot be reached or accepts nothing.
    """
    with zipfile.ZipFile(path) as packed:
        parts = bundle_file.contents(packed)
        return [_deliver_part(home, project or part.project, part, packed, name) for part in parts]


def check(home: str, path: str, name: str, *, project: str | None = None) -> None:
    """Raise ConfigError unless each project of a bundle has that hub here, and its key; call it before importing."""
    try:
        with zipfile.ZipFile(path) as packed:
            projects = [project or part.project for part in bundle_file.contents(packed)]
    except bundle_file.DAMAGE:
        return  # the import reports it
    for project_name in projects:
        remotes.check_headers(_hub(home, project_name, name))


def _hub(home: str, project: str, name: str) -> Remote:
    remote = remotes.load(config.project_folder(home, project)).get(name)
    if remote is None or remote.kind != "hub":
        raise ConfigError(
            f"project {project!r} has no hub called {name!r} here, and nothing was imported: "
            "`localops remote list` shows what there is"
        )
    return remote


def _deliver_part(home: str, project: str, source: Part, packed: zipfile.ZipFile, name: str) -> Part:
    folder = config.project_folder(home, project)
    remote = _hub(home, project, name)
    part = Part(project, sender=source.project, remote=source.remote)
    with Reader(os.path.join(folder, config.JOURNAL)) as reader, closing(Journal(folder, gather=True)) as journal:
        transport = Transport(remote)
        hub = Hub(remote, reader, folder, transport)
        ledger = delivery.Ledger(reader, folder, name)
        try:
            hub.check()
            recognise(remote, ledger, hub)
            with packed.open(f"{source.project}/rows.ndjson") as lines:
                for batch, refused in bundle_file.batches(lines):
                    part.refused.update(refused)
                    # What a bundle states of sessions is for the machine that imports it.
                    batch = replace(batch, totals=())
                    for some, ack in _send(hub, batch, remote, part):
                        ledger.adopt(journal, some, ack, peer=hub.id)
        finally:
            hub.close()
    return part


def _send(hub: Hub, batch: Batch, remote: Remote, part: Part) -> Iterator[tuple[Batch, Ack]]:
    """Send a batch, in halves where it is too large; yield each part with its Ack."""
    # The hub signs for rows with the sender's checksums, so content cannot be left out here.
    if remote.metadata_only and any(map(bundle.has_content, batch.rows)):
        raise ConfigError(f"remote {remote.name!r} takes no content, and the bundle has some: it was not sent there")
    try:
        ack = hub.send(batch)
    except TooLarge:
        if len(batch.rows) == 1:
            raise
        for half in bundle.halves(batch):
            yield from _send(hub, half, remote, part)
        return
    part.rows += len(batch.rows) - len(ack.refused) - len(ack.withheld)
    part.new += ack.stored
    part.refused.update(ack.refused | ack.withheld)
    if ack.receipt is not None:
        part.receipts.append(ack.receipt)
    yield batch, ack
