"""`localops doctor`: check the home, and report what to do about problems."""

from __future__ import annotations

import shlex

import click

from localops import config
from localops.cli.common import Moment, at_most_one, dim, json_option, place, place_options, print_json, styled
from localops.errors import NotFound
from localops.output import clean, counted
from localops.reading.home import known, used
from localops.upkeep import doctor as doctors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.upkeep.findings import Finding


@click.command()
@click.option("--deep", is_flag=True, help="Read every row and blob, and compare derived tables with a rebuild.")
@click.option("--fix", is_flag=True, help="Check as with --deep, and fix what can be fixed without loss.")
@click.option("--secrets", is_flag=True, help="Search what was recorded for secrets, with today's rules, instead.")
@click.option("--since", type=Moment(), metavar="TIME", help="With --secrets: only what was recorded since.")
@click.option(
    "--bundle",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True),
    help="With --secrets: this bundle, backup, export, log or folder instead of the home; repeatable.",
)
@place_options
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    deep: bool,
    fix: bool,
    secrets: bool,
    since: int | None,
    files: tuple[str, ...],
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Check the home for problems, and report what to do about them.

    Exit code 1 if there is a problem. --fix moves rows from spill files into the journal, takes read access from
    other users and rebuilds derived tables, unless rows are lost, of which only those tables know; for a damaged
    journal use `localops repair`.

    --secrets reports by rule and place, never the secret itself: exit code 1 if there is one, 3 if there is none in
    what could be read, but something could not be read.
    """
    if secrets:
        from localops.cli import secrets_found

        at_most_one(secrets=secrets, deep=deep, fix=fix)
        context.exit(secrets_found.report(home, project, files, since_ns=since or 0, as_json=as_json))
    if files or since is not None:
        raise click.UsageError("--bundle and --since are for --secrets")
    folder, only = place(home, project)
    names = known(folder)
    if only is not None and only not in names:
        config.check_home(folder)
        raise NotFound(f"no project {only!r} in {folder}")
    # A folder without a journal is not a project yet, unless it is named.
    names = used(folder, names) if only is None else [only]
    mended: list[Finding] = []
    if fix:
        findings, mended = doctors.mend(folder, names)
    else:
        findings = list(doctors.examine(folder, names, deep=deep))
    deep = deep or fix
    faults = [finding for finding in findings if finding.fault]
    if as_json:
        facts = {"home": folder, "projects": names, "deep": deep, "ok": not faults}
        print_json({**facts, "findings": _plain(findings), "mended": _plain(mended)})
    else:
        _print(folder, names, findings, mended, deep=deep)
        # Without it, `localops repair … --replace` would take the journal of another home.
        if home is not None and any("localops " in (finding.cure or "") for finding in findings):
            print(dim(f"Give --home {clean(shlex.quote(folder))} to each of these commands as well."))
    if faults:
        context.exit(1)


def _plain(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [
        {"where": finding.where, "text": finding.text, "cure": finding.cure, "fault": finding.fault}
        for finding in findings
    ]


def _print(
    folder: str, names: Sequence[str], findings: Sequence[Finding], mended: Sequence[Finding], *, deep: bool
) -> None:
    for finding in mended:
        _line("fixed", "green", finding)
    for finding in findings:
        _line("wrong", "red", finding) if finding.fault else _line("note", "yellow", finding)
    if names and not any(finding.fault for finding in findings):
        many = counted(len(names), "project")
        print(f"No problems in {many} in {clean(folder)}.")
        if not deep:
            print(dim("`localops doctor --deep` reads every row and blob as well."))


def _line(word: str, colour: str, finding: Finding) -> None:
    print(f"{styled(word.ljust(7), colour)}{clean(finding.where)}: {clean(finding.text)}")
    if finding.cure and word != "fixed":
        print(dim(f"       {clean(finding.cure)}"))
