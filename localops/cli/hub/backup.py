"""`localops hub backup`: copy the data folder while the hub serves."""

from __future__ import annotations

import click

from localops import output
from localops.cli.common import bytes_text, json_option, print_json
from localops.cli.hub.common import data_option, folder_of, keys_of, note, owned, some
from localops.errors import LocalopsError
from localops.reading import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.backups import Made

# Exit code if the hub lacks blobs.
_LACKS = 3


@click.command()
@data_option
@click.option("--to", "into", metavar="FOLDER", help="Folder of backups: each has the time as its name.")
@click.option("-o", "--output", "path", metavar="FOLDER", help="Write one backup to this folder; it must not exist.")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="With --to: then remove all but the newest N.")
@click.option("--verify", is_flag=True, help="Read the backup again, and compare digests and checksums.")
@json_option
@click.pass_context
def backup(
    context: click.Context, data: str, into: str | None, path: str | None, keep: int | None, verify: bool, as_json: bool
) -> None:
    """Copy a hub's journals, blobs, keys and deletions, while it serves.

    With --store, a backup has only the rows that are in the cache: back up ClickHouse by its own means, too.

    Each backup is a complete data folder for `localops hub restore`. With --to, a blob of the last backup is not copied
    again: both backups share the file. If a backup fails or is killed, earlier ones stay unchanged. Exit code 3 if
    blobs of the hub are damaged (they are left out) or lost (they are taken from the last backup).
    """
    from localops.server import backups

    if (into is None) == (path is None):
        raise click.UsageError("give either --to FOLDER, or -o FOLDER for a single backup")
    if path is not None and keep is not None:
        raise click.UsageError("--keep does nothing with -o: leave out one of them")
    keys = keys_of(data)
    # To read a journal, SQLite may create files beside it.
    with owned(keys.folder):
        if into is not None:
            # With --verify, older backups are removed only after this one was read again.
            made = backups.make(keys, folder_of(into), keep=None if verify else keep)
        else:
            made = backups.make_one(keys, folder_of(path or ""))
        note(keys.folder, "hub.backup", to=made.folder)
    if verify:
        _verify(made)
        if into is not None and keep is not None:
            made.removed = backups.prune(folder_of(into), keep)
    if as_json:
        print_json({**vars(made), "verified": verify, "store": mirrored.store_of(keys.folder)})
    else:
        _print(made, mirrored.store_of(keys.folder), verified=verify)
    if made.damaged or made.lost:
        context.exit(_LACKS)


def _verify(made: Made) -> None:
    from localops.server import backups, restores

    manifest = backups.Manifest.read(made.folder)
    assert manifest is not None
    problems = backups.problems(made.folder, manifest)
    problems += [flaw for project in made.projects for flaw in restores.flaws(made.folder, project)]
    if problems:
        # An older backup is better: `restore --from` the folder must not take this one.
        aside = backups.set_aside(made.folder)
        raise LocalopsError(
            f"the backup {aside} is not good: {some(problems, 5)}; it is restored only if you name it, and does not "
            "count for --keep"
        )


def _print(made: Made, url: str | None, *, verified: bool) -> None:
    new = f"{output.count(made.new_blobs)} of them new ({bytes_text(made.new_bytes)})"
    many = f"{output.counted(len(made.projects), 'project')} and {output.counted(made.blobs, 'blob')}, {new}"
    output.say(f"wrote {many}, and the keys to {made.folder}")
    if url is not None:
        output.say(
            f"rows that only {url} has are not in it: back up that database as well, with ClickHouse's own means"
        )
    if made.damaged:
        output.say(
            f"{output.counted(len(made.damaged), 'blob is', 'blobs are')} damaged on the hub, and not in the backup "
            f"({some(made.damaged, 3)}): `localops sync --verify` on the machines sends what they still have"
        )
    if made.lost:
        output.say(
            f"{output.counted(len(made.lost), 'blob is', 'blobs are')} missing or damaged on the hub, and kept as in "
            f"the last backup ({some(made.lost, 3)}): `localops sync --verify` on the machines sends "
            "what they still have"
        )
    if made.removed:
        output.say(f"removed {output.counted(len(made.removed), 'older backup')}: {some(made.removed, 5)}")
    if not verified:
        output.say(
            f"the copy was not read again: --verify does that, and so does `localops hub check --data {made.folder}`"
        )
