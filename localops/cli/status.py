"""`localops status`: print a line for each project of the home, and one for each of its remotes."""

from __future__ import annotations

import os

import click

from localops import clock, config, output
from localops.cli import common
from localops.errors import ConfigError, JournalError, NotFound
from localops.journal import blobs, spill
from localops.journal.reader import SQLiteError
from localops.journal.sql import statements
from localops.reading.home import Filters, Project, known, nothing_yet, sent_nowhere
from localops.recording import events
from localops.transfer import clocks, delivery, key_ends, remotes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@click.command()
@click.option("--require-remote", is_flag=True, help="Exit code 1 if a project has no remote.")
@common.place_options
@common.json_option
@click.pass_context
def status(context: click.Context, require_remote: bool, home: str | None, project: str | None, as_json: bool) -> None:
    """Show the projects of the home, and what their remotes lack.

    Exit code 1 if a project cannot be read; the others are still shown. A project without a remote only gets a message,
    as not every home has to be sent: --require-remote is for monitoring one that has to be.
    """
    folder, only = common.place(home, project)
    config.check_home(folder)
    statuses = [_look(folder, name) for name in ([only] if only else known(folder))]
    projects = [facts for facts in statuses if facts is not None]
    if only and not projects:
        raise NotFound(f"no project {only!r} in {folder}; there is: {', '.join(known(folder)) or 'none yet'}")
    problems = config.problems(folder)
    lacking, empty = sent_nowhere(folder, [only] if only else known(folder), wanted=require_remote)
    if as_json:
        waiting = sum(facts["spilled_waiting"] for facts in projects)
        facts = {"home": folder, "spilled_waiting": waiting, "projects": projects, "problems": problems}
        common.print_json({**facts, "without_remote": lacking, "without_rows": empty})
    else:
        _report(folder, projects, problems)
        for name in lacking:
            output.say(f"{name} has no remote: its rows are not sent anywhere")
        for name in empty:
            output.say(f"{name} has a remote, but nothing was recorded into it")
    if any(facts["error"] for facts in projects) or (require_remote and lacking):
        context.exit(1)


def _report(folder: str, projects: list[dict[str, Any]], problems: list[str]) -> None:
    if projects:
        print(f"{common.dim('home')}  {output.clean(folder)}")
        print()
        _print(projects)
        _print_remotes([{**remote, "project": facts["project"]} for facts in projects for remote in facts["remotes"]])
    else:
        output.say(nothing_yet(folder))
    for facts in projects:
        if facts["error"]:
            output.say(f"{facts['project']}: {facts['error']}")
        if facts["spilled_waiting"]:
            output.say(
                f"{facts['project']}: {common.waiting_rows(facts['spilled_waiting'])}, not counted in figures yet"
            )
        if many := facts["unattributed"]:
            events_are = output.counted(many, "event is", "events are")
            output.say(f"{facts['project']}: {events_are} unattributed: `localops sessions --tag unattributed`")
        if many := facts["blobs_waiting"]:
            values = output.counted(many, "large value waits", "large values wait")
            output.say(f"{facts['project']}: {values} in the state folder to be moved into blobs/")
    is_wrong = _say_what_remotes_lack(projects)
    for problem in problems:
        output.say(problem)
    waiting = any(facts["error"] or facts["spilled_waiting"] or facts["blobs_waiting"] for facts in projects)
    if is_wrong or waiting:
        output.say("run `localops doctor` to see what to do")


def _say_what_remotes_lack(projects: list[dict[str, Any]]) -> bool:
    """Print what remotes have lost, or lacked when a prune asked them; return whether anything was printed."""
    remotes_of = [(facts["project"], remote) for facts in projects for remote in facts["remotes"]]
    for name, remote in remotes_of:
        if remote["rows_lost"]:
            rows = output.counted(remote["rows_lost"], "row")
            output.say(f"{name}: {remote['remote']} lost {rows} that had been pruned here")
        if warning := key_ends.warning(remote["remote"], remote["key_ends"]):
            output.say(f"{name}: {warning}")
        if remote["doubt"]:
            output.say(f"{name}: when `localops prune` asked {remote['remote']} last, {remote['doubt']}")
    return any(remote["rows_lost"] or remote["doubt"] for _, remote in remotes_of)


def _look(folder: str, name: str) -> dict[str, Any] | None:
    """Return a project's status; None for a folder without a journal."""
    try:
        # A spill file alone counts: its rows belong to a project whose journal could not be written.
        project = Project(folder, name)
        try:
            if not project.exists and not project.waiting:
                return None
            return _facts(project)
        finally:
            project.close()
    except (ConfigError, JournalError, SQLiteError) as error:
        waiting = spill.count(config.project_folder(folder, name))
        return {**_NOTHING, "project": name, "spilled_waiting": waiting, "error": str(error)}


_NOTHING: dict[str, Any] = {
    "project": "",
    "sessions": 0,
    "running": 0,
    "events": 0,
    "journal_bytes": 0,
    "wal_bytes": 0,
    "blob_bytes": 0,
    "spilled_waiting": 0,
    "dropped": 0,
    "unattributed": 0,
    "cut": 0,
    "blobs_waiting": 0,
    "last_event": None,
    "last_event_ns": None,
    "remotes": [],
    "error": None,
}


def _facts(project: Project) -> dict[str, Any]:
    facts = {
        **_NOTHING,
        "project": project.name,
        "spilled_waiting": project.waiting,
        "blobs_waiting": len(blobs.waiting(project.folder)),
    }
    if not project.exists:
        return facts
    sessions, work, last_ns, dropped, cut = project.ask("standing_of_journal")[0]
    return {
        **facts,
        "sessions": sessions,
        "running": sum(1 for _ in project.sessions(Filters(state="Running"))),
        "events": work or 0,
        "journal_bytes": _size(project.path),
        "wal_bytes": _size(project.path + "-wal"),
        "blob_bytes": blobs.size(project.folder),
        "dropped": dropped or 0,
        "unattributed": sum(many for _, many in project.reader.ask(statements("doctor.sql")["unattributed"])),
        "cut": cut or 0,
        "last_event": None if last_ns is None else events.iso(last_ns),
        "last_event_ns": last_ns,
        "remotes": [_remote(project, remote) for remote in remotes.load(project.folder).values()],
    }


def _remote(project: Project, remote: remotes.Remote) -> dict[str, Any]:
    """Return what a remote lacks, and how the last sync with it ended."""
    ledger = delivery.Ledger(project.reader, project.folder, remote.name)
    waits, contact, loss, doubt = ledger.waiting(), ledger.contact(), ledger.loss(), ledger.doubt()
    files = ledger.waiting_files() if remote.kind == "hub" and not remote.metadata_only else 0
    return {
        "remote": remote.name,
        "metadata_only": remote.metadata_only,
        "rows_waiting": waits.rows + waits.scrubbed,
        "bytes_waiting": waits.bytes + files,
        "oldest_waiting": None if waits.oldest_ns is None else events.iso(waits.oldest_ns),
        "oldest_waiting_ns": waits.oldest_ns,
        "parked": waits.parked,
        "rows_lost": 0 if loss is None else loss.rows,
        "doubt": None if doubt is None else doubt.why,
        "doubted_at": None if doubt is None else events.iso(doubt.at_ns),
        "key_ends": key_ends.load(project.folder).get(remote.name),
        "last_success": None if contact.ok_ns is None else events.iso(contact.ok_ns),
        "last_success_ns": contact.ok_ns,
        "last_error": contact.error,
        "last_error_at": None if contact.failed_ns is None else events.iso(contact.failed_ns),
    }


def _print_remotes(remotes_shown: list[dict[str, Any]]) -> None:
    if not remotes_shown:
        return
    now = clock.now_ns()
    table = [
        (
            remote["project"],
            f"{remote['remote']} (metadata only)" if remote["metadata_only"] else remote["remote"],
            output.count(remote["rows_waiting"]),
            common.bytes_text(remote["bytes_waiting"]) if remote["rows_waiting"] else "–",
            "–" if remote["oldest_waiting_ns"] is None else _ago(remote["oldest_waiting_ns"], now),
            output.count(remote["parked"]),
            "never" if remote["last_success_ns"] is None else _ago(remote["last_success_ns"], now),
            remote["last_error"] or "",
        )
        for remote in remotes_shown
    ]
    headers = ("project", "remote", "unsent", "bytes", "oldest", "parked", "last sync", "last error")
    print()
    common.print_table(table, headers, align="llrrlrl", soft=("last error", "project"), spare=("bytes", "oldest"))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _print(projects: list[dict[str, Any]]) -> None:
    now = clock.now_ns()
    headers = ("project", "sessions", "running", "events", "size", "spilled", "dropped", "cut", "last row")
    spare = [name for name in ("dropped", "spilled", "cut") if not any(facts[_KEYS[name]] for facts in projects)]
    table = [_cells(facts, now) for facts in projects]
    common.print_table(table, headers, align="lrrrrrrrl", soft=("project",), spare=[*spare, "size", "running"])


_KEYS = {"spilled": "spilled_waiting", "dropped": "dropped", "cut": "cut"}


def _cells(facts: dict[str, Any], now: int) -> list[str]:
    waiting = output.count(facts["spilled_waiting"])
    if facts["error"]:
        return [facts["project"], "?", "?", "?", "?", waiting, "?", "?", "cannot be read"]
    return [
        facts["project"],
        output.count(facts["sessions"]),
        output.count(facts["running"]),
        output.count(facts["events"]),
        common.bytes_text(facts["journal_bytes"] + facts["wal_bytes"] + facts["blob_bytes"]),
        waiting,
        output.count(facts["dropped"]),
        output.count(facts["cut"]),
        "none yet" if facts["last_event_ns"] is None else _ago(facts["last_event_ns"], now),
    ]


def _ago(at_ns: int, now: int) -> str:
    return output.ago(now - at_ns) if clocks.is_past(at_ns, now) else "clock was wrong"
