"""`localops prune`: old sessions taken out, whole, and told of."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import replace
from importlib import import_module

import click

from localops import output
from localops.cli.common import (
    Moment,
    json_option,
    look,
    place_options,
    print_json,
    print_table,
    short_id,
)
from localops.errors import LocalopsError, NotFound
from localops.journal.journal import Journal
from localops.journal.rows import id_text
from localops.reading.home import Filters
from localops.upkeep import prune as pruning
from localops.upkeep.doctor import leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.reading.home import Home, Project
    from localops.upkeep.prune import Choice, Taken

    Found = list[tuple[Project, Choice]]

_WORKER = "localops_sync"
_STATES = ("Success", "Failure", "Indeterminate")
_UNITS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}


class _Size(click.ParamType[int]):
    """A size in bytes as people write it: 500MB, 1.5GB, 2GiB."""

    name = "size"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B?", value.strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no size: say 500MB or 2GiB", parameter, context)
        number, unit, binary = found.groups()
        scale = _UNITS[unit.upper()]
        return round(float(number) * (1024 ** (len(str(scale)) // 3) if binary else scale))


@click.command()
@click.option("--older-than", type=Moment(), metavar="AGE", help="Sessions that ended before: 30d, 12h, a day.")
@click.option("--keep-size", type=_Size(), metavar="SIZE", help="The oldest, until each journal fits: 1GB.")
@click.option(
    "--state",
    type=click.Choice(["Success", "Failure", "Indeterminate"], case_sensitive=False),
    help="Only such sessions.",
)
@click.option("--session", "idents", multiple=True, metavar="ID", help="This session; may be given again.")
@click.option("--include-unsent", "unsent", multiple=True, metavar="REMOTE", help="Even if REMOTE lacks rows.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@place_options
@json_option
def prune(
    older_than: int | None,
    keep_size: int | None,
    state: str | None,
    idents: tuple[str, ...],
    unsent: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Take whole ended sessions out, and keep one row that tells of each.

    What still runs stays, and so does what a remote of the project does not have yet, unless that remote is
    named with --include-unsent. A hub that can be reached is asked whether it still has what it signed for, and
    the files. Blobs that nothing refers to any more go too, and the disk gets its space back.
    """
    if older_than is None and keep_size is None and state is None and not idents:
        raise click.UsageError("say what may go: --older-than, --keep-size, --state or --session")
    with look(home, project) as opened:
        _check_remotes(opened, unsent)
        found = list(_chosen(opened, idents, state, older_than, unsent))
        if keep_size is not None:
            found = _oldest(found, keep_size)
        found = _asked(found, unsent)
    going = [(where, choice) for where, choice in found if choice.stays is None]
    if not as_json:
        _show(found)
    taken: dict[str, Taken] = {}
    if going and not dry_run and (yes or _agreed(len(going))):
        taken = _take(going)
    if as_json:
        print_json(_facts(found, taken, dry_run=dry_run))
    for name, told in taken.items() if not as_json else ():
        _tell(name, told)


def _check_remotes(opened: Home, unsent: tuple[str, ...]) -> None:
    """A name that is misspelt must not look like consent, nor like the lack of it."""
    there = {name for each in opened.projects for name in pruning.remotes(each.folder)}
    if unknown := sorted({*unsent} - there):
        raise NotFound(f"there is no remote {unknown[0]!r}: `localops remote list` shows what there is")


def _chosen(
    opened: Home, idents: tuple[str, ...], state: str | None, older_than: int | None, unsent: tuple[str, ...]
) -> Iterator[tuple[Project, Choice]]:
    """The sessions that are meant, each with the reason why it stays, if there is one."""
    if idents:
        named = [opened.find(ident) for ident in dict.fromkeys(idents)]
    else:
        named = [(listed.project, listed.session) for listed in opened.sessions(Filters(state=state))]
    for where, session in named:
        choice = pruning.look(where.reader, where.folder, session, unsent=unsent)
        if (state is None or choice.state == state) and (older_than is None or choice.last_ns < older_than):
            yield where, choice


def _asked(found: Found, unsent: tuple[str, ...]) -> Found:
    """Keep what would go and a hub does not have, though it signed for it; one that cannot be asked is believed."""
    reasons: dict[tuple[Project, bytes], str] = {}
    going = [(where, choice) for where, choice in found if choice.stays is None]
    for where in dict.fromkeys(where for where, _ in going):
        mine = [choice for each, choice in going if each is where]
        for name in sorted({name for choice in mine for name in choice.delivered}.difference(unsent)):
            sessions = [choice.session for choice in mine if name in choice.delivered]
            reasons |= {(where, session): why for session, why in _ask(where, name, sessions).items()}
    return [
        (where, replace(choice, stays=choice.stays or reasons.get((where, choice.session)))) for where, choice in found
    ]


def _ask(where: Project, name: str, sessions: list[bytes]) -> dict[bytes, str]:
    """Ask a remote about sessions that it signed for: why some of them stay."""
    standing = import_module(f"{_WORKER}.standing")  # by name, as its commands are: the library needs no worker
    try:
        now = standing.ask(where.folder, where.reader, name, sessions)
    except LocalopsError as error:
        output.say(f"{where.name} → {name}: {error}; it was not asked whether it still has these rows")
        return {}
    if now.set_back:
        return dict.fromkeys(sessions, f"{name} was set back to an earlier state: `localops sync` first")
    return {
        session: f"{name} lacks {'1 file' if many == 1 else f'{many} files'} of it: `localops sync --verify` first"
        for session, many in now.lacking.items()
    }


def _oldest(found: Found, keep: int) -> Found:
    """Of each journal the oldest sessions, until the rest should fit."""
    chosen: Found = []
    for where in dict.fromkeys(where for where, _ in found):
        mine = sorted((choice for each, choice in found if each is where), key=lambda choice: choice.last_ns)
        size = os.path.getsize(where.path)
        per_weight = size / max(1, sum(choice.weight for choice in mine))
        for choice in mine:
            if size <= keep:
                break
            chosen.append((where, choice))
            if choice.stays is None:
                size -= round(choice.weight * per_weight)
    return chosen


def _agreed(many: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: --yes agrees beforehand, --dry-run only shows")
    return click.confirm(f"Take {_sessions(many)} out for good?", err=True)


def _sessions(many: int) -> str:
    return output.counted(many, "session")


def _take(going: Found) -> dict[str, Taken]:
    taken = {}
    for where in dict.fromkeys(where for where, _ in going):
        for left in leftovers(where.folder):  # whole copies of the journal, with what is taken out in them
            shutil.rmtree(left, ignore_errors=True)
        journal = Journal(where.folder, gather=True)
        try:
            taken[where.name] = pruning.take(journal, [choice for each, choice in going if each is where])
        finally:
            journal.close()
    return taken


def _show(found: Found) -> None:
    if not found:
        print("There is nothing to take out.")
        return
    lines = [
        (
            short_id(choice.session),
            where.name,
            choice.name,
            choice.state,
            output.when(choice.last_ns)[:16],
            output.count(choice.rows),
            f"stays: {choice.stays}" if choice.stays else "goes",
        )
        for where, choice in found
    ]
    headers = ("id", "project", "name", "state", "last row (UTC)", "rows", "then")
    print_table(lines, headers, align="lllllrl", soft=("name", "then"), spare=("project", "rows", "state"))


def _tell(name: str, told: Taken) -> None:
    gone = f"{output.counted(told.rows, 'row')} and {output.counted(told.blobs, 'blob')} are taken out"
    free = output.counted(max(0, told.freed), "byte is", "bytes are")
    print(f"{name}: {_sessions(told.sessions)}, {gone}; {free} free again.")
    if told.sessions and not told.packed:
        print("The space is used again by new rows: the file is not packed while somebody records into it.")
    if told.young:
        which = output.counted(told.young, "blob that no row refers to is", "blobs that no row refers to are")
        print(f"{which} less than an hour old, and may belong to a row that is being written: the next prune takes it.")
    if told.changed:
        print(f"{_sessions(len(told.changed))} went on meanwhile, and stay.")


def _facts(found: Found, taken: dict[str, Taken], *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "sessions": [
            {
                "session_id": id_text(choice.session),
                "project": where.name,
                "name": choice.name,
                "state": choice.state,
                "rows": choice.rows,
                "delivered": choice.delivered,
                "stays": choice.stays,
            }
            for where, choice in found
        ],
        "taken": {
            name: {
                "sessions": told.sessions,
                "rows": told.rows,
                "blobs": told.blobs,
                "young_blobs": told.young,
                "bytes": told.freed,
                "changed": [id_text(session) for session in told.changed],
            }
            for name, told in taken.items()
        },
    }
