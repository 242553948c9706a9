"""`localops hub check`: read everything that is stored."""

from __future__ import annotations

from contextlib import suppress

import click

from localops import config, output
from localops.cli.common import json_option, print_json, print_table
from localops.cli.hub.common import data_option, keys_of, some, store_of, with_files
from localops.errors import LocalopsError
from localops.journal.reader import SQLiteError, reason
from localops.reading import home as homes
from localops.reading import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.proof import Checked

# The most missing files that are printed with their events.
_MOST_FILES = 10


@click.command()
@data_option
@json_option
@click.pass_context
def check(context: click.Context, data: str, as_json: bool) -> None:
    """Check everything that is stored, for example after a restore.

    It reads every page, every row, every file that a row refers to, and the keys. Exit code 1 if something is
    missing or damaged; `localops sync --verify` on the machines sends it again. The hub can serve meanwhile.
    """
    keys = keys_of(data)
    problems: list[str] = []
    url = mirrored.store_of(keys.folder)
    with with_files(keys.folder):
        checked, unreadable = _check_folder(keys.folder) if url is None else _check_store(keys.folder)
    stored = {result.project for result in checked}.union(unreadable)
    problems += [f"{name}: its journal cannot be read: {reason(error)}" for name, error in unreadable.items()]
    lost = {each.project for each in keys.all() if each.project and each.state == "good"} - stored
    problems += [f"{name}: has a key, but no journal" for name in sorted(lost)]
    problems += [f"{result.project}: {_missing(result)}" for result in checked if result.lacks]
    uses = [line for result in checked for line in _uses(result)]
    broken = _broken if url is None else _broken_cache
    problems += [f"{result.project}: {broken(keys.folder, result)}" for result in checked if result.faults]
    working = [known.handle for known in keys.all() if known.state == "good"]
    if as_json:
        facts = [{**vars(result), "ok": result.is_whole} for result in checked]
        print_json(
            {"hub": keys.hub, "ok": not problems, "projects": facts, "problems": problems, "working_keys": working}
        )
    else:
        lines = [(result.project, *map(output.count, result.figures)) for result in checked]
        headers = ("project", "rows", "damaged", "lost", "files", "missing", "machines")
        print_table(lines, headers, align="lrrrrrr", soft=("project",))
        these = output.counted(len(working), "key works", "keys work")
        output.say(f"{these}: {some(working, 5)}" if working else "no key works")
        if url is not None:
            output.say(f"each row was read from {url}")
        _print_restored(keys.folder, has_keys=bool(working))
        for result in checked:
            if result.unused:
                files = output.counted(result.unused, "file is", "files are")
                output.say(
                    f"{result.project}: {files} here that no row names: a sync is under way, or was interrupted before "
                    "it sent the rows; the hub removes such files after a week"
                )
        # At the end of the output, where they are seen.
        for problem in problems:
            output.say(problem)
        for line in uses[:_MOST_FILES]:
            output.say(line)
        if len(uses) > _MOST_FILES:
            output.say(f"and {output.counted(len(uses) - _MOST_FILES, 'more file')}: --json names them all")
    if problems:
        context.exit(1)


def _print_restored(folder: str, *, has_keys: bool) -> None:
    """Print what is left to do after a restore; a backup may also have been put in place by hand."""
    from localops.server import audit

    was_restored = any(line.get("action") == "hub.restore" for line in audit.read(folder))
    when = "after a restore" if was_restored else "if this folder is a copy of a backup"
    if has_keys:
        output.say(f"{when}: revoke again any of them that was revoked since the backup was made")
    again = f"`localops hub delete --as-in OLD --data {folder}`, with OLD as the folder that it has replaced"
    output.say(f"{when}: sessions that were deleted since the backup was made are here again: {again}")


def _check_folder(folder: str) -> tuple[list[Checked], dict[str, Exception]]:
    """Read the projects of a data folder; return the results, and the errors of those that cannot be read."""
    from localops.server import proof

    checked = []
    with homes.Home(folder, strict=False) as opened:
        unreadable: dict[str, Exception] = dict(opened.unreadable)
        for project in opened.projects:
            try:
                checked.append(proof.check(project.name, project.folder, project.reader))
                _note(project.folder, checked[-1])
            except (LocalopsError, SQLiteError) as error:
                unreadable[project.name] = error
    return checked, unreadable


def _check_store(folder: str) -> tuple[list[Checked], dict[str, Exception]]:
    """Do the same with the projects of a hub whose rows are in ClickHouse."""
    from localops.server.clickhouse.store import ClickHouseStore

    checked: list[Checked] = []
    unreadable: dict[str, Exception] = {}
    with store_of(folder) as store:
        assert isinstance(store, ClickHouseStore)
        for name in store.projects():
            try:
                checked.append(store.check(name))
                _note(config.project_folder(folder, name), checked[-1])
            except (LocalopsError, SQLiteError) as error:
                unreadable[name] = error
    return checked, unreadable


def _note(folder: str, checked: Checked) -> None:
    """Have `/health` report the result; the check may be run by a user who cannot write there."""
    from localops.server import damage

    with suppress(OSError):
        damage.take(folder, checked)


def _broken_cache(folder: str, checked: Checked) -> str:
    """Describe what is wrong with the structure of a cache, and how to mend it."""
    return (
        f"SQLite finds the structure of its cache broken ({some(checked.faults, 2)}): stop the hub, delete "
        f"{config.JOURNAL}* in {config.project_folder(folder, checked.project)}, and start it: it makes them again"
    )


def _uses(checked: Checked) -> list[str]:
    """Return a line for each file that is missing or damaged: which events it belongs to."""
    lines = []
    for digest, uses in checked.uses.items():
        events = [f"{' '.join(filter(None, (use['kind'], use['name'])))} {use['event']}" for use in uses]
        sessions = dict.fromkeys(use["session"] for use in uses)
        of = f"{'session' if len(sessions) == 1 else 'sessions'} {', '.join(sessions)}"
        lines.append(f"{checked.project}: file {digest[:12]}… belongs to {some(events, 3)} of {of}")
    return lines


def _broken(folder: str, checked: Checked) -> str:
    """Describe what is wrong with the structure of a file, and how to mend it."""
    return (
        f"SQLite finds its structure broken ({some(checked.faults, 2)}): stop the hub, then "
        f"`localops repair --home {folder} --project {checked.project} --replace`"
    )


def _missing(checked: Checked) -> str:
    """Describe what a project lacks, and how to get it back."""
    lacks = []
    if checked.damaged:
        many = output.counted(len(checked.damaged), "row is", "rows are")
        lacks.append(f"{many} damaged ({some(checked.damaged, 5)})")
    if checked.lost:
        many = output.counted(len(checked.lost), "row is", "rows are")
        lacks.append(f"{many} lost ({some(checked.lost, 5)})")
    if checked.missing:
        many = output.counted(len(checked.missing), "file is", "files are")
        lacks.append(f"{many} missing or damaged ({some(checked.missing, 3)})")
    cure = "run `localops sync --verify` and then `localops sync` on each machine, which send what it still has"
    return f"{' and '.join(lacks)}: {cure}"
