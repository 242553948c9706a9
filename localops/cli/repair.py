"""`localops repair`: save the rows of a damaged journal into a new one."""

from __future__ import annotations

import os
import shutil
import time
from itertools import count

import click

from localops import config, host, output
from localops.cli.common import json_option, place, place_options, print_json
from localops.errors import JournalError, NotFound
from localops.upkeep import salvage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.upkeep.salvage import Saved

_INCOMPLETE = 3  # the exit code


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@click.option("-o", "--output", "target", metavar="FOLDER", help="Folder for the new journal.")
@click.option("--replace", is_flag=True, help="Put the new journal in place, and keep the damaged one beside it.")
@place_options
@json_option
def repair(
    file: str | None, target: str | None, replace: bool, home: str | None, project: str | None, as_json: bool
) -> None:
    """Save the rows of a damaged journal into a new one.

    FILE is any journal, also one that was set aside; without it, --project chooses the journal. Each row is
    verified by its checksum. The damaged file is never changed. Rows of sessions that were pruned from this
    journal are left out. Every row is sent to the remotes again; a hub stores each row once.

    Exit code 3 if rows are lost; the new journal is written even then.

    \b
    localops repair --project default --replace
    localops repair journal.db.corrupt-20261121-031245 -o saved
    """
    folder, only = place(home, project, may_be_new=file is not None)
    if (file is None) == (only is None):
        raise click.UsageError("give either a FILE or --project")
    path = file or os.path.join(config.project_folder(folder, only or ""), config.JOURNAL)
    if not os.path.isfile(path):
        raise NotFound(f"file {path} does not exist")
    if replace and target:
        raise click.UsageError("give either -o or --replace, not both")
    if replace and os.path.basename(path) != config.JOURNAL:
        raise click.UsageError("--replace works on a project's journal.db only: leave it out, and give -o")
    # A program that has the damaged file open would continue to write to it under its new name.
    if replace:
        _refuse_if_held(path)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    new = target or _free(f"{path}.repaired-{stamp}")
    saved = _save(path, new)
    aside = _swap(path, new, stamp) if replace else None
    _print(saved, path if replace else os.path.join(new, config.JOURNAL), aside, as_json=as_json)
    if saved.lost or saved.cut:
        raise click.exceptions.Exit(_INCOMPLETE)


def _free(name: str) -> str:
    """Return a path that does not exist: this name, or with a number."""
    # A repair that was killed within this second may have left something under the first name.
    names = (name if n == 1 else f"{name}-{n}" for n in count(1))
    return next(each for each in names if not os.path.lexists(each))


def _save(path: str, new: str) -> Saved:
    """Save the rows; remove what was written if that fails."""
    was_there = os.path.exists(new)
    try:
        return salvage.save(path, new)
    except BaseException:
        if not was_there:
            shutil.rmtree(new, ignore_errors=True)
        raise


def _refuse_if_held(path: str) -> None:
    from localops.upkeep.doctor import holders

    if held := holders(path):
        raise JournalError(f"{path} is open in {', '.join(held)}: end that first, or save to a new folder with -o")


def _swap(path: str, new: str, stamp: str) -> str:
    """Rename the damaged file with its -wal and -shm, put the new one in place, and return the new name."""
    aside = _free(f"{path}.damaged-{stamp}")
    # A WAL belongs to its file: left behind, SQLite would apply it to the new one.
    for side in ("", "-wal", "-shm"):
        if os.path.exists(path + side):
            os.rename(path + side, aside + side)
    os.rename(os.path.join(new, config.JOURNAL), path)
    host.sync_folder(os.path.dirname(path))
    # The folder that `save` created around the journal.
    shutil.rmtree(new)
    return aside


def _print(saved: Saved, path: str, aside: str | None, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "rows": saved.rows,
            "lost": saved.lost,
            "broken": saved.broken,
            "pruned": saved.removed,
            "cut": saved.cut,
        }
        print_json({"journal": os.path.abspath(path), "kept_aside": aside, **facts})
        return
    share = saved.rows / max(1, saved.rows + saved.lost)
    print(f"{output.counted(saved.rows, 'row is', 'rows are')} saved in {output.clean(path)}")
    if saved.lost:
        broken = f", {output.count(saved.broken)} of them damaged" if saved.broken else ""
        print(f"{output.counted(saved.lost, 'row is', 'rows are')} lost ({output.percent(1 - share)}){broken}")
    else:
        print("up to the last row that was read, no row is missing")
    if saved.cut:
        print(f"the file is {output.counted(saved.cut, 'page')} too short: rows on these cannot be counted")
    if saved.removed:
        were = output.counted(saved.removed, "row of a pruned session was", "rows of pruned sessions were")
        print(f"{were} left out")
    if aside:
        print(
            f"the damaged journal is kept as {output.clean(aside)}: keep it until you have seen that nothing is missing"
        )
