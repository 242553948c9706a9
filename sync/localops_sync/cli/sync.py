"""`localops sync`: one pass over every project and remote, for cron and for people."""

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
from localops.transfer import delivery, remotes
from localops_sync import exit_codes
from localops_sync.exit_codes import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.transfer.remotes import Remote

_WARNED = "sync.warned"  # beside the journal: when --quiet last printed that nothing arrives there
_SAID = "sync.said"  # beside the journal: for each remote, what somebody has to act upon and when --quiet printed it
_HOUR, _DAY = 3_600.0, 86_400.0
_BAR_EVERY = 0.1  # seconds between two pictures of the progress


class _Amount(click.ParamType[int]):
    """A number of bytes or rows as people write it: 500, 10k, 2MB."""

    name = "amount"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmg]?)b?(?:/s)?", value.strip(), re.IGNORECASE)
        if not found or not (amount := int(float(found[1]) * 1000 ** " kmg".index(found[2].lower() or " "))):
            self.fail(f"{value!r} is no amount: say 500, 10k or 2MB", parameter, context)
        return amount


@click.command(epilog=exit_codes.EXPLAINED)
@click.option("--remote", metavar="NAME", help="Only to this remote; otherwise to every one.")
@click.option("--session", "ident", metavar="ID", help="Only this session's rows.")
@click.option("--ended-only", is_flag=True, help="Leave out sessions that may still go on.")
@click.option("--watch", type=click.FloatRange(min=1), metavar="SECONDS", help="Make a pass every so often, for ever.")
@click.option("--wait", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Wait for another sync.")
@click.option("--max-seconds", type=click.FloatRange(min=0.1), metavar="N", help="End after so long.")
@click.option("--max-rows", type=_Amount(), metavar="N", help="Send no more rows.")
@click.option(
    "--max-bytes",
    type=_Amount(),
    metavar="N",
    help="End once so many bytes went: 10MB. Only the last batch of rows may go beyond.",
)
@click.option("--bwlimit", type=_Amount(), metavar="N", help="Send no faster, in bytes a second: 100k.")
@click.option("--verify", is_flag=True, help="Then compare with what the hub has, row by row.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent; calls nobody.")
@click.option(
    "--quiet",
    is_flag=True,
    help="Print only what needs somebody.",
)
@common.place_options
@common.json_option
def sync(**given: Any) -> None:
    """Send every remote what it does not have yet.

    One pass, and done: for cron, or by hand. What cannot be sent now is kept, and goes with a later pass.
    """
    wanted = _Wanted(given)
    while True:
        outcomes = list(wanted.outcomes())
        _tell(outcomes, wanted)
        sys.stdout.flush()  # into a file or a pipe as well: with --watch the next word may be hours away
        code = exit_codes.worst(outcome.code for outcome in outcomes)
        if not wanted.watch or code in (exit_codes.USAGE, exit_codes.INTERRUPTED):
            raise click.exceptions.Exit(code)
        try:
            time.sleep(wanted.watch)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(exit_codes.INTERRUPTED) from None


class _Wanted:
    """What was asked for."""

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
                found, self.session = opened.find(self.ident)
                self.project = found.name

    def outcomes(self) -> Iterator[Outcome]:
        """One after another, how it went with each remote of each project."""
        none = True
        self._warned.clear()  # with --watch this is one pass of many
        for name in self._projects():
            try:
                found = remotes.load(config.project_folder(self.home, name))
            except LocalopsError as error:
                none = False
                yield Outcome(name, "", exit_codes.ACT, str(error))
                continue
            for remote in found.values():
                if self.remote in (None, remote.name):
                    none = False
                    outcome = self._one(name, remote)
                    yield outcome
                    if outcome.code == exit_codes.INTERRUPTED:
                        return
        if none:
            yield Outcome(self.project or "", "", exit_codes.USAGE, self._nothing())

    def without_remote(self) -> list[str]:
        """The projects whose rows no pass sends anywhere, though others have a remote."""
        lacking, _ = sent_nowhere(self.home, self._projects())
        return lacking if self.remote is None and self.ident is None else []

    def _projects(self) -> list[str]:
        known = sorted({*config.projects(self.home), *spill.strays(self.home)})
        return known if self.project is None else [name for name in known if name == self.project]

    def _nothing(self) -> str:
        where = f"in {self.home}" if self.project is None else f"for project {self.project!r} in {self.home}"
        what = "remote" if self.remote is None else f"remote {self.remote!r}"
        return f"there is no {what} {where}: add one with `localops remote add NAME URL`"

    def _one(self, name: str, remote: Remote) -> Outcome:
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
            idle = not (ledger.has_work() or ledger.is_due() or spill.waiting(project.folder))
        finally:
            project.close()
        if idle and not self._given["verify"]:
            return Outcome(name, remote.name)
        return self._send(name, remote)

    def _elsewhere(self, folder: str) -> list[str]:
        """Return the projects without a remote that have rows, once a remote has waited here for a day for a first row.

        Most likely the remote was meant for one of them.  Until then somebody may still be setting things up.
        """
        try:
            age = time.time() - os.stat(os.path.join(folder, REMOTES)).st_mtime
        except OSError:  # removed this moment
            return []
        return sent_nowhere(self.home, config.projects(self.home))[0] if age >= _DAY and not self.dry_run else []

    def _send(self, name: str, remote: Remote) -> Outcome:
        from localops_sync import budget, worker  # requests takes as long to load as everything else together

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
            on_progress=bar,
        )
        if bar is not None:
            sys.stderr.write("\r\x1b[K")
        if outcome.code in exit_codes.QUIET and outcome.code != exit_codes.DONE:
            outcome.late_ns = _late_since(config.project_folder(self.home, name), remote.name)
        return outcome

    def speaks_of(self, outcome: Outcome) -> bool:
        """Whether an outcome is to be printed with --quiet."""
        is_new = self._is_new(outcome)
        return self.warns_of(outcome) if outcome.code in exit_codes.QUIET else is_new

    def _is_new(self, outcome: Outcome) -> bool:
        """Whether somebody has to act, and has not read the same words within the hour."""
        path = os.path.join(config.project_folder(self.home, outcome.project), _SAID)
        known = _kept_words(path)
        at, before = known.pop(outcome.remote, (0.0, None))
        if outcome.code != exit_codes.ACT:
            if before is not None:
                _keep_words(path, known)
            return True
        if before == outcome.message and 0 <= time.time() - at < _HOUR:
            return False
        _keep_words(path, {**known, outcome.remote: (time.time(), outcome.message)})
        return True

    def warns_of(self, outcome: Outcome) -> bool:
        """Whether an outcome that needs nobody is to be printed with --quiet: once a day while nothing arrives."""
        if outcome.late_ns is None and not outcome.elsewhere:
            return False
        path = os.path.join(config.project_folder(self.home, outcome.project), _WARNED)
        try:
            age = time.time() - os.stat(path).st_mtime
            if -_HOUR < age < _DAY and outcome.project not in self._warned:  # of a future day: the clock was wrong
                return False
        except OSError:  # it is not there yet
            pass
        self._warned.add(outcome.project)  # of each of its remotes
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            os.utime(path)
        return True


def _kept_words(path: str) -> dict[str, tuple[float, str]]:
    try:
        with open(path, "rb") as file:
            found = encode.loads(file.read())
        return {str(remote): (float(at), str(words)) for remote, (at, words) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep_words(path: str, words: dict[str, tuple[float, str]]) -> None:
    with suppress(OSError):  # then they are said again
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            file.write(encode.dumps(words))


def _late_since(folder: str, remote: str) -> int | None:
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            return delivery.Ledger(reader, folder, remote).late_since()
    except (LocalopsError, SQLiteError, OSError, UnicodeDecodeError):  # the pass has said it
        return None


def _bar(project: str, remote: str) -> Callable[[int, int], None]:
    """How far it is, on one line that is written over."""
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


def _tell(outcomes: list[Outcome], wanted: _Wanted) -> None:
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
        if not wanted.quiet or wanted.speaks_of(outcome):
            _say(outcome, f"{outcome.project} → {outcome.remote}", wanted)
    for name in [] if wanted.quiet else wanted.without_remote():
        output.say(f"project {name} has no remote: its rows are sent nowhere")


def _say(outcome: Outcome, name: str, wanted: _Wanted) -> None:
    if wanted.dry_run and outcome.code == exit_codes.DONE:
        print(f"{name}  {_rows(outcome.left)} to send, about {common.bytes_text(outcome.bytes)} before compression")
    elif outcome.sent:
        print(f"{name}  {_rows(outcome.sent)} delivered, {output.count(outcome.left)} left")
    elif outcome.code == exit_codes.DONE and not outcome.notes and outcome.compared is None and not wanted.quiet:
        print(f"{name}: nothing to send")
    notes = [*outcome.notes]
    if outcome.compared is not None and outcome.code == exit_codes.DONE and not wanted.quiet:
        notes += [_compared(outcome.compared), *(f"session {each} was deleted on the hub" for each in outcome.deleted)]
    for note in notes:
        output.say(f"{name}: {note}")
    if outcome.late_ns is not None:
        output.say(f"{name}: nothing has arrived there since {output.when(outcome.late_ns)} UTC")
    if outcome.elsewhere and wanted.quiet:  # without --quiet each of them has a line of its own, with every pass
        output.say(f"{name}: {_never_recorded(outcome)}")
    if outcome.message:
        output.say(f"{name}: {outcome.message}{_kept(outcome)}" if outcome.remote else outcome.message)


def _kept(outcome: Outcome) -> str:
    """How many rows a pass that could not deliver leaves, and since when they wait."""
    if outcome.code not in (exit_codes.OFFLINE, exit_codes.ACT) or not outcome.left:
        return ""
    since = outcome.oldest_ns
    known = since is not None and delivery.is_past(since, clock.now_ns())
    return f"; {_rows(outcome.left)} kept{f', since {output.when(since)} UTC' if since and known else ''}"


def _never_recorded(outcome: Outcome) -> str:
    """Why a project that has a remote sends nothing, and what to do."""
    first, *others = outcome.elsewhere
    them = f"project {first}" if not others else f"projects {', '.join(outcome.elsewhere)}"
    return (
        f"nothing has ever been recorded into project {outcome.project}; the rows of {them} are sent nowhere: "
        f"add a remote with `localops remote add {outcome.remote} URL --project {first}`, "
        f"or remove this one with `localops remote remove {outcome.remote} --project {outcome.project}`"
    )


def _rows(count: int) -> str:
    return output.counted(count, "row")


def _compared(sessions: int) -> str:
    return f"{output.counted(sessions, 'session')} compared, no difference"


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
        "sessions_deleted_there": outcome.deleted,
        "late_since_ns": outcome.late_ns,
        "notes": outcome.notes,
    }
