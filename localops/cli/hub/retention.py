"""`localops hub retention`: how long each project keeps its sessions."""

from __future__ import annotations

import click

from localops import clock, config, output
from localops.cli.common import Group, Span, json_option, print_json, print_table, short_id
from localops.cli.hub.common import data_option, keys_of, note, owned, project_option, store_of, warn_if_unknown
from localops.journal.rows import id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.server.home_store import HomeStore
    from localops.server.policy import Rules
    from localops.upkeep.prune import Choice, Pruned

_OFF = "none"
_DAY_NS = 86_400_000_000_000


class _Age(Span):
    """An age on the command line, or `none`."""

    name = "age"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return nanoseconds; `none` as it is."""
        if value == _OFF:
            return value
        age = super().convert(value, parameter, context)
        if not age:
            self.fail("invalid age: 0 would keep nothing; use 90d or 1y", parameter, context)
        return age


@click.group(cls=Group)
def retention() -> None:
    """Choose how long projects keep their sessions on a hub."""


@retention.command("set")
@data_option
@project_option
@click.option(
    "--keep", type=_Age(), metavar="AGE", help="Remove sessions of this age: 90d, 1y. `none`: keep them for ever."
)
@click.option(
    "--keep-failed", type=_Age(), metavar="AGE", help="The same for sessions that failed. By default, as --keep."
)
@click.option(
    "--include-unknown/--ended-only",
    "unknown",
    default=None,
    help="Whether to remove sessions without an end, too. By default, they stay.",
)
def set_retention(data: str, project: str, keep: Any, keep_failed: Any, unknown: bool | None) -> None:
    """Set how long a project keeps its sessions, counted from their last row; what is not named stays.

    Within an hour, the hub removes older sessions with their files. It does not ask the machines that sent them, and
    does not store them again when they are sent once more.
    """
    from localops.server.policy import Policy

    given = {"keep_ns": keep, "keep_failed_ns": keep_failed, "unknown": unknown}
    changes = {name: None if value == _OFF else value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("choose how long: --keep or --keep-failed")
    folder = keys_of(data).folder
    with owned(folder):
        rules = Policy(folder).change(project, **changes)
        note(folder, "retention.set", **_in_json(project, rules))
    output.say(f"project {project}: {', '.join(f'{name} {value}' for name, value in _facts(rules).items())}")
    warn_if_unknown(folder, project)


def _facts(rules: Rules) -> dict[str, str]:
    return {
        "keep": _age(rules.keep_ns),
        "keep failed": _age(rules.keep_ns if rules.keep_failed_ns is None else rules.keep_failed_ns),
        "without an end": "as others" if rules.unknown else "kept",
    }


def _age(ns: int | None) -> str:
    if ns is None:
        return "for ever"
    days, rest = divmod(ns, _DAY_NS)
    return output.short_duration(ns) if rest or not days else f"{days}d"


@retention.command("list")
@data_option
@json_option
def list_retention(data: str, as_json: bool) -> None:
    """List how long projects keep their sessions."""
    from localops.server.policy import Policy
    from localops.server.retention import keeps_for_ever

    rules = {name: each for name, each in Policy(keys_of(data).folder).all().items() if not keeps_for_ever(each)}
    if as_json:
        print_json({"retention": [_in_json(name, each) for name, each in rules.items()]})
    elif rules:
        lines = [(name, *_facts(each).values()) for name, each in rules.items()]
        print_table(lines, ("project", "keep", "failed ones", "without an end"), soft=("project",))
    else:
        output.say("every project keeps its sessions for ever: `localops hub retention set` changes that")


def _in_json(project: str, rules: Rules) -> dict[str, Any]:
    def seconds(ns: int | None) -> float | None:
        return None if ns is None else ns / 1e9

    return {
        "project": project,
        "keep_seconds": seconds(rules.keep_ns),
        "keep_failed_seconds": seconds(rules.keep_failed_ns),
        "include_unknown": rules.unknown,
    }


@retention.command()
@data_option
@click.option("--project", metavar="NAME", help="Only of this project.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@json_option
def apply(data: str, project: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove sessions older than the rules allow, as a hub does by itself. It can serve meanwhile."""
    from localops.server.audit import named
    from localops.server.policy import Policy
    from localops.server.retention import keeps_for_ever

    folder = keys_of(data).folder
    known = config.projects(folder)
    removed: dict[str, Any] = {}
    lines: list[tuple[str, Choice]] = []
    with store_of(folder) as store:
        for name, rules in Policy(folder).all().items():
            if name not in known or project not in (None, name) or keeps_for_ever(rules):
                continue
            going, taken = _apply(store, name, rules, dry_run=dry_run)
            lines += [(name, choice) for choice in going]
            if taken is not None:
                removed[name] = {"sessions": taken.sessions, "rows": taken.rows, "files": taken.blobs}
                note(folder, "session.retire", project=name, **removed[name], ids=named(taken.removed))
    if as_json:
        sessions = [_session_facts(name, choice) for name, choice in lines]
        print_json({"dry_run": dry_run, "sessions": sessions, "removed": removed})
    elif lines:
        print_table(
            [
                (short_id(each.session), name, each.name, each.state, output.when(each.last_ns)[:16])
                for name, each in lines
            ],
            ("id", "project", "name", "state", "last row (UTC)"),
            soft=("name", "project"),
        )
    many = sum(each["sessions"] for each in removed.values())
    output.say(_summary(len(lines), None if dry_run else many))


def _summary(older: int, removed: int | None) -> str:
    """Return how many sessions are older than the rules keep them, and how many were removed; None in a dry run."""
    many = output.counted(older, "session is", "sessions are")
    if removed is None:
        return f"{many} older than the rules keep them: nothing was removed"
    if not older:
        return "no session is older than the rules keep it"
    stay = f"; {output.counted(older - removed, 'one')} got new rows meanwhile" if older > removed else ""
    return f"{output.counted(removed, 'session was', 'sessions were')} removed: older than the rules keep them{stay}"


def _session_facts(project: str, choice: Choice) -> dict[str, Any]:
    return {
        "project": project,
        "session": id_text(choice.session),
        "name": choice.name,
        "state": choice.state,
        "rows": choice.rows,
    }


def _apply(store: HomeStore, project: str, rules: Rules, *, dry_run: bool) -> tuple[list[Choice], Pruned | None]:
    """Remove the old sessions of a project in parts; return them, and the sum of what was removed."""
    from localops.errors import LocalopsError
    from localops.server.retention import BEGIN
    from localops.upkeep.prune import Pruned

    going: list[Choice] = []
    whole, place = Pruned(), BEGIN
    now_ns = clock.now_ns()
    while True:
        part = store.expired(project, rules, now_ns, place)
        going += part.going
        if part.going and not dry_run:
            taken = store.retire(project, part.going)
            whole.sessions += taken.sessions
            whole.rows += taken.rows
            whole.blobs += taken.blobs
            whole.removed += taken.removed
            if taken.failed is not None:
                raise LocalopsError(f"{project}: {taken.failed}")
        if part.following is None:
            return going, whole if whole.sessions else None
        place = part.following
