"""`localops hub restore`: put a backup in place."""

from __future__ import annotations

import click

from localops import output
from localops.cli.common import json_option, print_json
from localops.cli.hub.common import data_option, folder_of, some
from localops.cli.hub.common import note as log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.restores import Restored


@click.command()
@click.option(
    "--from", "place", required=True, metavar="FOLDER", help="A backup, or a folder of them for the newest good one."
)
@data_option
@click.option("--replace", is_flag=True, help="Move what is in the data folder aside, if it is not empty.")
@click.option(
    "--as-in", "old", metavar="FOLDER", help="A data folder with later deletions and keys, or its log of deletions."
)
@json_option
def restore(place: str, data: str, replace: bool, old: str | None, as_json: bool) -> None:
    """Restore a data folder from a backup, while no hub serves it.

    Every file is compared with its digest first; if one is damaged, nothing of that backup is restored. Sessions that
    were deleted after the backup was made are deleted again, and keys get their latest state: both are read from the
    folder that --replace moves aside, or from that of --as-in. After that, start the hub.
    """
    from localops.server import restores

    done = restores.restore(
        folder_of(place), folder_of(data), replace=replace, old=None if old is None else folder_of(old)
    )
    log(done.folder, "hub.restore", backup=done.backup)
    if as_json:
        print_json(vars(done))
        return
    made = f", made {done.made[:16].replace('T', ' ')} UTC" if done.made else ""
    output.say(f"restored {output.counted(len(done.projects), 'project')} to {done.folder} from {done.backup}{made}")
    for note in done.notes:
        output.say(note)
    _print(done)


def _print(done: Restored) -> None:
    if done.deleted:
        here = output.counted(done.revived, "of them was", "of them were")
        output.say(f"deleted again: {output.counted(done.deleted, 'session')}; {here} in the backup")
    if done.replaced is not None:
        output.say(f"the folder that was there is now {done.replaced}: remove it when you are sure")
    these = (
        f"{output.counted(len(done.keys), 'key works', 'keys work')}: {some(done.keys, 5)}"
        if done.keys
        else "no key works"
    )
    if done.newer_keys:
        output.say(f"{these}, as in the replaced folder")
    else:
        output.say(f"{these}; revoke again any that was revoked since the backup was made")
        output.say(
            "sessions that were deleted after the backup was made are here again, unless --as-in names the folder in "
            "which they were deleted: see `localops hub delete`"
        )
    output.say(
        "next: start the hub. At its next `localops sync` each machine sees which of its rows are missing here, and "
        "sends those that it still has; do not `prune` on a machine before"
    )
