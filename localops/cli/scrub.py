"""`localops scrub`: replace the secrets that `localops doctor --secrets` finds."""

from __future__ import annotations

import os
import sys
import time

import click

from localops import output
from localops.cli import long_searches, secrets_found
from localops.cli.common import chosen_projects, json_option, place_options, print_json
from localops.output import clean, counted
from localops.reading import session_state
from localops.reading.home import used
from localops.upkeep import scrub as scrubbing
from localops.upkeep import sweep, temporary_folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from localops.upkeep.scrub import Scrubbed
    from localops.upkeep.sweep import Swept

_SHOWN = 5  # files of a line, without --json
_LEFT = 3  # the exit code when something is left
_RECORDED = ("row", "blob", "unfinished", "spill")  # sources of what programs record


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be replaced, as `localops doctor --secrets` does.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@place_options
@json_option
def scrub(dry_run: bool, yes: bool, home: str | None, project: str | None, as_json: bool) -> None:
    """Replace the secrets that `localops doctor --secrets` finds, here and on hubs.

    Rows and files get notes such as [redacted:openai] in place of secrets, and no file of the home has the secrets any
    more; times, figures and ids stay. Hubs replace their copies at the next `localops sync`. Programs can record
    meanwhile. Older backups, exports and bundles still have the secrets, so revoke or change these secrets.
    """
    folder, names = chosen_projects(home, project)
    names = names if project is not None else used(folder, names)
    if dry_run or not yes:
        began = time.monotonic()
        swept = secrets_found.swept(folder, names, (), 0, whole=project is None)
        if dry_run and as_json:
            print_json({**secrets_found.facts(folder, names, (), swept), "dry_run": True})
        else:
            secrets_found.show(swept, time.monotonic() - began)
        # An unfinished scrub was confirmed when it began.
        if dry_run or not (swept.secrets or swept.unfinished) or (swept.secrets and not _is_confirmed(swept.secrets)):
            raise click.exceptions.Exit(_LEFT if swept.unread or swept.damaged else 0)
    temporary_folders.remove_left()
    with long_searches.reported("the scrub"):
        of_home = scrubbing.of_views(folder) if project is None else 0
        done = _scrubbed(folder, names)
    _note_on_hub(folder, done)
    if as_json:
        print_json({"home": folder, "views": of_home, "projects": list(map(_facts, done))})
    else:
        if of_home:
            print(f"Saved views of the home: {counted(of_home, 'secret')} replaced.")
        for each in done:
            _print(each, is_of_hub=_is_of_hub(folder))
        if used_rules := next((each.left for each in done if each.left is not None), None):
            output.say(f"searched {secrets_found.rules_used(used_rules)}")
        if of_home or any(each.secrets for each in done):
            output.say("revoke or change these secrets: older backups, exports and bundles still have them")
    if not all(each.is_clean for each in done):
        raise click.exceptions.Exit(_LEFT)


def _is_confirmed(many: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("cannot ask for confirmation without a terminal: use --yes, or --dry-run to only show")
    return click.confirm(f"Replace {counted(many, 'secret')} for good?", err=True)


def _scrubbed(folder: str, names: Sequence[str]) -> list[Scrubbed]:
    if not sys.stderr.isatty():
        return [scrubbing.scrub(folder, name) for name in names]
    with click.progressbar(length=sweep.total(folder, names) or 1, label="scrubbing", file=sys.stderr) as bar:
        return [scrubbing.scrub(folder, name, progress=bar.update) for name in names]


def _note_on_hub(folder: str, done: Sequence[Scrubbed]) -> None:
    """Append a line to the audit log, if the home is that of a hub."""
    if not _is_of_hub(folder):
        return
    from localops.server.audit import Audit

    for each in done:
        if each.rows or each.files:
            Audit(folder).note("rows.scrub", project=each.project, rows=each.rows, files=each.files)


def _is_of_hub(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, session_state.HUB))


def _facts(done: Scrubbed) -> dict[str, object]:
    left = done.left
    return {
        "project": done.project,
        "rows": done.rows,
        "files": done.files,
        "secrets": done.secrets,
        "views": done.views,
        "unfinished_files_deleted": done.abandoned,
        "uploads_deleted": done.uploads,
        "rules": dict(sorted(done.rules.items())),
        "ok": done.is_clean,
        "unfinished": done.unfinished,
        "damaged_rows": done.damaged,
        "damaged_files": [{"file": path, "has_secrets": has} for path, has in done.damaged_files.items()],
        "left": [vars(place) for place in left.places] if left else [],
        "unread": left.unread if left else [],
        "hubs_behind": done.hubs,
        "hubs_perhaps_behind": done.perhaps,
        "finished_interrupted": done.is_resumed,
        "remotes_that_keep_them": done.sent,
    }


def _print(done: Scrubbed, *, is_of_hub: bool) -> None:
    if done.unfinished is not None and not (done.secrets or done.files or done.is_resumed):
        left = f", {counted(done.left.secrets, 'secret')} left" if done.left is not None and done.left.secrets else ""
        again = "Run this again later" if done.is_for_later else "Then run this again"
        print(f"{clean(done.project)}: not scrubbed{left}: {clean(done.unfinished)}. {again}.")
    else:
        _print_outcome(done)
    if done.damaged_files:
        print(_about_damaged(done.damaged_files, is_of_hub=is_of_hub))


def _print_outcome(done: Scrubbed) -> None:
    what = f"{counted(done.rows, 'row')} and {counted(done.files, 'file')}"
    if done.views:
        what += ", and in its saved views"
    secrets = counted(done.secrets, "secret")
    resumed = "finished an interrupted scrub, and deleted what it had left in files; " if done.is_resumed else ""
    more = "more " if done.is_resumed else ""
    outcome = f"{secrets} replaced in {what}" if done.secrets else f"no {more}secrets to replace"
    print(f"{clean(done.project)}: {resumed}{outcome}.")
    if done.abandoned:
        print(f"Deleted {counted(done.abandoned, 'unfinished file')} that a killed program has left in blobs/.")
    if done.uploads:
        print(f"Deleted {counted(done.uploads, 'unfinished upload')} with a secret: the sender sends it again.")
    for hub in done.perhaps:
        print(
            f"Remote {clean(hub)} may have files of these rows, as files are sent first: `localops sync` deletes them."
        )
    for hub in done.hubs:
        print(f"Remote {clean(hub)} has the old rows: `localops sync` replaces them there.")
    for remote, count in done.sent.items():
        rows = counted(count, "of these rows", "of these rows")
        print(f"Remote {clean(remote)} has {rows}, and they cannot be replaced there.")
    if done.unfinished is not None:
        print(f"Traces may remain in the files: {clean(done.unfinished)}. Run this again later.")
    for event in done.damaged:
        print(f"Event {event} holds a secret and is damaged: it was left as it is (`localops doctor --deep`).")
    if done.left is not None:
        _print_left(done.left, {*done.damaged, *done.damaged_files})


def _about_damaged(files: Mapping[str, bool], *, is_of_hub: bool) -> str:
    """Name files that were not scrubbed, as their contents differ from their digests, and say what to do."""
    shown = [f"{clean(path)}{' (it still holds a secret)' if has else ''}" for path, has in files.items()]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    is_one = len(shown) == 1
    what = "1 file is damaged and was" if is_one else f"{len(shown)} files are damaged and were"
    it = "it" if is_one else "each"
    sent = "run `localops sync --verify` and then `localops sync` on each machine, or " if is_of_hub else ""
    cure = f"{sent}put back what a backup has of {it}, or delete {it} if there is no copy, and run this again"
    return f"{what} not scrubbed: {', '.join(shown[:_SHOWN])}{more}; {cure}."


def _print_left(left: Swept, damaged: AbstractSet[str]) -> None:
    """List what is left; `damaged` has the events and files that were left as they are."""
    for place in left.places:
        where = place.file or f"event {place.event}"
        print(f"Left: {place.rule} in {place.source} {clean(where)}")
    is_new = (damaged.isdisjoint((place.event, place.file)) for place in left.places if place.source in _RECORDED)
    if any(is_new):
        print("A program has recorded this during the scrub: run `localops scrub` again when that program has ended.")
    for problem in left.unread:
        print(f"Not searched: {clean(problem)}")
