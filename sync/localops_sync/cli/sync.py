"""`localops sync`: makes a pass for every project and remote, from cron or by hand."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress

import click

from localops import clock, config, output
from localops.cli import common
from localops.encoding import encode
from localops.errors import LocalopsError
from localops.journal import spill
from localops.journal.reader import Reader, SQLiteError, user_message
from localops.reading.home import REMOTES, Home, Project, sent_nowhere
from localops.transfer import clocks, delivery, remotes
from localops_sync import exit_codes
from localops_sync.exit_codes import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.transfer.remotes import Remote

# This file's time is when --quiet last printed that nothing arrives; it is beside the journal.
_WARNED = "sync.warned"
# For each remote, the last message of code 3 or 4, and when it was printed; beside the journal.
_PRINTED = "sync.said"
_HOUR, _DAY = 3_600.0, 86_400.0
# Seconds until the same message is printed again.
_EVERY = {exit_codes.ACT: _HOUR, exit_codes.PARKED: _DAY}
_BAR_EVERY = 0.1  # seconds between two updates of the progress bar


class _Amount(common.WholeNumber):
    """A number of bytes or rows as people write it: 500, 10k, 2MB."""

    name = "amount"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return the number."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmg]?)b?(?:/s)?", value.strip(), re.IGNORECASE)
        if not match or not (amount := int(float(match[1]) * 1000 ** " kmg".index(match[2].lower() or " "))):
            self.fail(f"expected a number such as 500, 10k or 2MB, got {value!r}", parameter, context)
        return amount


@click.command(epilog=exit_codes.EXPLAINED)
@click.option("--remote", metavar="NAME", help="Only to this remote; otherwise to every one.")
@click.option("--session", "ident", metavar="ID", help="Only this session's rows.")
@click.option("--ended-only", is_flag=True, help="Leave out sessions that may still be running.")
@click.option("--watch", type=click.FloatRange(min=1), metavar="SECONDS", help="Repeat, with so many seconds between.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to this long if another sync is running.",
)
@click.option("--max-seconds", type=click.FloatRange(min=0.1), metavar="N", help="End after so many seconds.")
@click.option("--max-rows", type=_Amount(), metavar="N", help="Send at most so many rows.")
@click.option(
    "--max-bytes",
    type=_Amount(),
    metavar="N",
    help="End once so many bytes were sent: 10MB. Only the last batch of rows may exceed it.",
)
@click.option("--bwlimit", type=_Amount(), metavar="N", help="Send at most so many bytes per second: 100k.")
@click.option("--verify", is_flag=True, help="After sending, check that the hub still has every row it signed for.")
@click.option("--dry-run", is_flag=True, help="Only print what would be sent; open no connection.")
@click.option("--quiet", is_flag=True, help="Print only what a person has to act on.")
@common.place_options
@common.json_option
def sync(**given: Any) -> None:
    """Send every remote the rows that it does not have yet.

    It makes one pass and ends, for cron or by hand. Rows that cannot be sent now are kept for a later pass.
    """
    wanted = _Request(given)
    while True:
        outcomes = list(wanted.outcomes())
        _print(outcomes, wanted)
        # For a file or a pipe: with --watch the next line may be hours away.
        sys.stdout.flush()
        code = exit_codes.worst(outcome.code for outcome in outcomes)
        if not wanted.watch or code in (exit_codes.USAGE, exit_codes.INTERRUPTED):
            raise click.exceptions.Exit(code)
        try:
            time.sleep(wanted.watch)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(exit_codes.INTERRUPTED) from None


class _Request:
    """The options of the command, and the passes they ask for."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.home, self.project = common.place(given["home"], given["project"])
        self.remote: str | None = given["remote"]
        self.ident: str | None = given["ident"]
        self.watch: float | None = given["watch"]
        self.as_json: bool = given["as_json"]
        self.quiet: bool = given["quiet"]
        self.dry_run: bool = given["dry_run"]
        self._given = given
        self._warned: set[str] = set()
        self.session: bytes | None = None
        if self.ident is not None:
            with Home(self.home, self.project) as opened:
                owner, self.session = opened.find(self.ident)
                self.project = owner.name

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of each remote of each project, one after another."""
        none = True
        # With --watch this is one pass of many.
        self._warned.clear()
        for name in self._projects():
            try:
                known = remotes.load(config.project_folder(self.home, name))
            except LocalopsError as error:
                none = False
                yield Outcome(name, "", exit_codes.ACT, str(error))
                continue
            for remote in known.values():
                if self.remote in (None, remote.name):
                    none = False
                    outcome = self._sync_one(name, remote)
                    yield outcome
                    if outcome.code == exit_codes.INTERRUPTED:
                        return
        if none:
            yield Outcome(self.project or "", "", exit_codes.USAGE, self._nothing())

    def without_remote(self) -> list[str]:
        """Return the projects whose rows no pass sends anywhere, though others have a remote."""
        lacking, _ = sent_nowhere(self.home, self._projects())
        return lacking if self.remote is None and self.ident is None else []

    def _projects(self) -> list[str]:
        known = sorted({*config.projects(self.home), *spill.strays(self.home)})
        return known if self.project is None else [name for name in known if name == self.project]

    def _nothing(self) -> str:
        where = f"in {self.home}" if self.project is None else f"for project {self.project!r} in {self.home}"
        what = "remote" if self.remote is None else f"remote {self.remote!r}"
        return f"there is no {what} {where}: add one with `localops remote add NAME URL`"

    def _sync_one(self, name: str, remote: Remote) -> Outcome:
        try:
            project = Project(self.home, name)
        except (LocalopsError, SQLiteError, OSError) as error:
            return Outcome(name, remote.name, exit_codes.UNEXPECTED, user_message(error))
        try:
            if not project.exists:
                return Outcome(name, remote.name, elsewhere=self._elsewhere(project.folder))
            ledger = delivery.Ledger(project.reader, project.folder, remote.name)
            if self.dry_run:
                waiting = ledger.waiting()
                files = 0 if remote.metadata_only or remote.kind != "hub" else ledger.waiting_files()
                return Outcome(name, remote.name, left=waiting.rows, bytes=waiting.bytes + files)
            idle = not (ledger.has_work() or ledger.is_due(at_once=not self.quiet) or spill.waiting(project.folder))
        finally:
            project.close()
        outcome = Outcome(name, remote.name) if idle and not self._given["verify"] else self._send(name, remote)
        if outcome.code == exit_codes.DONE:
            _add_unsettled(outcome, project.folder)
        return outcome

    def _elsewhere(self, folder: str) -> list[str]:
        """Return the projects with rows and no remote, once the remote here has waited a day for its first row.

        Most likely the remote was meant for one of them.  In the first day, the setup may not be finished yet.
        """
        try:
            age = time.time() - os.stat(os.path.join(folder, REMOTES)).st_mtime
        except OSError:  # removed this moment
            return []
        return sent_nowhere(self.home, config.projects(self.home))[0] if age >= _DAY and not self.dry_run else []

    def _send(self, name: str, remote: Remote) -> Outcome:
        # Late import: `requests` takes as long to load as everything else together.
        from localops_sync import budget, worker

        given = self._given
        bar = _bar(name, remote.name) if not (self.as_json or self.quiet) and sys.stderr.isatty() else None
        outcome = worker.sync(
            self.home,
            name,
            remote,
            budget=budget.PassBudget(
                max_seconds=given["max_seconds"],
                max_rows=given["max_rows"],
                max_bytes=given["max_bytes"],
                bytes_per_second=given["bwlimit"],
            ),
            limits=delivery.Limits(session=self.session, ended_only=given["ended_only"], grows=True),
            wait=given["wait"],
            check_all=given["verify"],
            ask=not self.quiet,
            on_progress=bar,
        )
        if bar is not None:
            sys.stderr.write("\r\x1b[K")
        if outcome.code in exit_codes.QUIET and outcome.code != exit_codes.DONE:
            outcome.late_ns = _late_since(config.project_folder(self.home, name), remote.name)
        return outcome

    def prints(self, outcome: Outcome) -> bool:
        """Return whether an outcome is printed with --quiet."""
        is_new = self._is_new(outcome)
        return self.warns_of(outcome) if outcome.code in exit_codes.QUIET else is_new

    def _is_new(self, outcome: Outcome) -> bool:
        """Return whether a message was not printed within the hour (code 4) or the day (3); True for other codes."""
        if not outcome.project:  # no project has a remote
            return True
        path = os.path.join(config.project_folder(self.home, outcome.project), _PRINTED)
        known = _load_printed(path)
        at, before = known.pop(outcome.remote, (0.0, None))
        every = _EVERY.get(outcome.code)
        if every is None:
            if before is not None:
                _save_printed(path, known)
            return True
        if before == outcome.message and 0 <= time.time() - at < every:
            return False
        _save_printed(path, {**known, outcome.remote: (time.time(), outcome.message)})
        return True

    def warns_of(self, outcome: Outcome) -> bool:
        """Return whether to print a warning with --quiet that needs no action: once a day while nothing arrives."""
        return (outcome.late_ns is not None or bool(outcome.elsewhere)) and self._is_daily(outcome.project)

    def warns_of_project(self, name: str) -> bool:
        """Return whether to print with --quiet that a project has no remote: once a day, from its second day on."""
        return _is_old(config.project_folder(self.home, name)) and self._is_daily(name)

    def _is_daily(self, project: str) -> bool:
        """Return whether a project had no warning within the day; it has one now."""
        path = os.path.join(config.project_folder(self.home, project), _WARNED)
        try:
            age = time.time() - os.stat(path).st_mtime
            # A time in the future means that the clock was wrong, and counts as long ago.
            if -_HOUR < age < _DAY and project not in self._warned:
                return False
        except OSError:  # not there yet
            pass
        # The other remotes of this pass are printed as well.
        self._warned.add(project)
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            os.utime(path)
        return True


def _add_unsettled(outcome: Outcome, folder: str) -> None:
    """Set the code of a pass that went well where earlier ones left something that a person has to settle."""
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            ledger = delivery.Ledger(reader, folder, outcome.remote)
            parked, loss = sum(not row.is_scrubbed for row in ledger.parked()), ledger.loss()
    except (LocalopsError, SQLiteError, OSError, UnicodeDecodeError):  # the pass has reported it
        return
    if loss is not None:
        those = output.counted(loss.rows, "row that it had was", "rows that it had were")
        outcome.worse(
            exit_codes.PARKED,
            f"{those} lost there after being pruned here: restore a newer backup of it and run `localops sync "
            f"--verify`, or `localops remote acknowledge {outcome.remote}`",
        )
    elif parked:
        are_parked = output.counted(parked, "row is", "rows are")
        outcome.worse(
            exit_codes.PARKED, f"{are_parked} parked: `localops parked list` shows why; then `retry` or `drop`"
        )


def _load_printed(path: str) -> dict[str, tuple[float, str]]:
    try:
        with open(path, "rb") as file:
            record = encode.loads(file.read())
        return {str(remote): (float(at), str(message)) for remote, (at, message) in record.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _save_printed(path: str, messages: dict[str, tuple[float, str]]) -> None:
    # Then the message is printed again.
    with suppress(OSError):
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            file.write(encode.dumps(messages))


def _is_old(folder: str) -> bool:
    """Return whether the first row of a project is more than a day old; before that, its setup may not be finished."""
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            times = delivery.Ledger(reader, folder, "").ask("first_at")
    except (LocalopsError, SQLiteError, OSError, UnicodeDecodeError):
        return False
    return any(clock.now_ns() - int(at_ns) >= _DAY * 1e9 for (at_ns,) in times)  # one at most


def _late_since(folder: str, remote: str) -> int | None:
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            return delivery.Ledger(reader, folder, remote).late_since()
    except (LocalopsError, SQLiteError, OSError, UnicodeDecodeError):
        # The pass has reported it.
        return None


def _bar(project: str, remote: str) -> Callable[[int, int], None]:
    """Return a function that draws the progress on one line, over the one before."""
    shown = 0.0

    def show(sent: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _BAR_EVERY:
            shown = time.monotonic()
            share = output.bar(sent / total if total else 1.0, 24)
            sys.stderr.write(
                f"\r\x1b[K{project} → {remote}  {share}  {output.count(sent)} of {output.count(total)} rows"
            )
            sys.stderr.flush()

    return show


def _print(outcomes: list[Outcome], wanted: _Request) -> None:
    if wanted.as_json:
        code = exit_codes.worst(outcome.code for outcome in outcomes)
        common.print_json(
            {
                "exit_code": code,
                "dry_run": wanted.dry_run,
                "remotes": [_facts(each) for each in outcomes],
                "without_remote": wanted.without_remote(),
            }
        )
        return
    for outcome in outcomes:
        if not wanted.quiet or wanted.prints(outcome):
            _say(outcome, f"{outcome.project} → {outcome.remote}", wanted)
    named = {name for outcome in outcomes for name in outcome.elsewhere}  # in the warning about that remote
    for name in wanted.without_remote():
        if not wanted.quiet:
            output.say(f"project {name} has no remote: its rows are not sent anywhere")
        elif name not in named and wanted.warns_of_project(name):
            output.say(
                f"project {name} has no remote: its rows are not sent anywhere; add one with `localops remote add NAME "
                f"URL --project {name}`, or give `localops sync` the --remote or --project that you mean"
            )


def _say(outcome: Outcome, name: str, wanted: _Request) -> None:
    if wanted.dry_run and outcome.code == exit_codes.DONE:
        print(f"{name}  {_rows(outcome.left)} to send, about {common.bytes_text(outcome.bytes)} before compression")
    elif outcome.sent:
        scrubbed = f" ({output.count(outcome.replaced)} of them replace what a scrub here has changed)"
        print(f"{name}  {_rows(outcome.sent)} delivered{scrubbed if outcome.replaced else ''}, {_left_note(outcome)}")
    elif outcome.code == exit_codes.DONE and not outcome.notes and outcome.compared is None and not wanted.quiet:
        print(f"{name}: nothing to send")
    notes = [*outcome.notes]
    if outcome.compared is not None and outcome.code == exit_codes.DONE and not wanted.quiet:
        notes += [_compared(outcome), *(f"session {each} was deleted on the hub" for each in outcome.deleted)]
        notes += (f"session {each} was pruned on the hub, for its age or size" for each in outcome.pruned)
    for note in notes:
        output.say(f"{name}: {note}")
    if outcome.late_ns is not None:
        output.say(f"{name}: nothing has arrived there since {output.when(outcome.late_ns)} UTC")
    # Without --quiet, every pass prints a line for each of them.
    if outcome.elsewhere and wanted.quiet:
        output.say(f"{name}: {_never_recorded(outcome)}")
    if outcome.message:
        output.say(f"{name}: {outcome.message}{_waiting_note(outcome)}" if outcome.remote else outcome.message)


def _left_note(outcome: Outcome) -> str:
    """Return how many rows a pass leaves; after a successful one, they are new or of other sessions."""
    if outcome.code == exit_codes.DONE and outcome.left:
        return f"{_rows(outcome.left)} for the next pass"
    return f"{output.count(outcome.left)} left"


def _waiting_note(outcome: Outcome) -> str:
    """Return how many rows a failed pass leaves, and since when they wait."""
    if outcome.code not in (exit_codes.OFFLINE, exit_codes.ACT) or not outcome.left:
        return ""
    since = outcome.oldest_ns
    known = since is not None and clocks.is_past(since, clock.now_ns())
    return f"; {_rows(outcome.left)} kept{f', since {output.when(since)} UTC' if since and known else ''}"


def _never_recorded(outcome: Outcome) -> str:
    """Return why a project with a remote sends nothing, and what to do."""
    first, *others = outcome.elsewhere
    them = f"project {first}" if not others else f"projects {', '.join(outcome.elsewhere)}"
    return (
        f"nothing has ever been recorded into project {outcome.project}; the rows of {them} are not sent anywhere: "
        f"add a remote with `localops remote add {outcome.remote} URL --project {first}`, "
        f"or remove this one with `localops remote remove {outcome.remote} --project {outcome.project}`"
    )


def _rows(count: int) -> str:
    return output.counted(count, "row")


def _compared(outcome: Outcome) -> str:
    without = " in what is sent there: metadata only, without content" if outcome.metadata_only else ""
    but = ""
    if outcome.given_up:
        were = output.counted(outcome.given_up, "row that was", "rows that were")
        but = f" but for {were} given up here by `localops parked drop`"
    other = "other " if outcome.scrubbed_there else ""
    return f"{output.counted(outcome.compared or 0, 'session')} compared, no {other}difference{but}{without}"


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "project": outcome.project,
        "remote": outcome.remote,
        "code": outcome.code,
        "outcome": exit_codes.NAMES[outcome.code],
        "message": outcome.message or None,
        "rows_sent": outcome.sent,
        "rows_left": outcome.left,
        "oldest_left_ns": outcome.oldest_ns,
        "rows_parked": outcome.parked,
        "bytes": outcome.bytes,
        "requests": outcome.requests,
        "sessions_compared": outcome.compared,
        "rows_scrubbed_there": outcome.scrubbed_there if outcome.compared is not None else None,
        "rows_given_up": outcome.given_up if outcome.compared is not None else None,
        "metadata_only": outcome.metadata_only,
        "sessions_deleted_there": outcome.deleted,
        "sessions_pruned_there": outcome.pruned,
        "late_since_ns": outcome.late_ns,
        "notes": outcome.notes,
    }
