"""`localops doctor`: is everything as it should be, and what to do if not."""

from __future__ import annotations

import click

from localops import config
from localops.cli.common import dim, json_option, place, place_options, print_json, say_missing_home, styled
from localops.errors import NotFound
from localops.output import clean, counted
from localops.reading.home import known, used
from localops.upkeep import doctor as doctors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.upkeep.doctor import Finding


@click.command()
@click.option("--deep", is_flag=True, help="Read every row and blob, and compare what is derived with a rebuild.")
@click.option("--fix", is_flag=True, help="Look deep, and mend what can be mended without loss.")
@place_options
@json_option
@click.pass_context
def doctor(context: click.Context, deep: bool, fix: bool, home: str | None, project: str | None, as_json: bool) -> None:
    """Look for anything wrong with the home, and say what to do about it.

    Exit code 1 when something is wrong. --fix takes in waiting rows, closes files that others can read and
    builds derived tables again; a damaged journal is for `localops repair`.
    """
    say_missing_home(home)
    folder, only = place(home, project)
    names = known(folder)
    if only is not None and only not in names:
        config.check_home(folder)
        raise NotFound(f"there is no project {only!r} in {folder}")
    names = used(folder, names) if only is None else [only]
    mended: list[Finding] = []
    if fix:
        found, mended = doctors.mend(folder, names)
    else:
        found = list(doctors.examine(folder, names, deep=deep))
    deep = deep or fix
    faults = [finding for finding in found if finding.fault]
    if as_json:
        facts = {"home": folder, "projects": names, "deep": deep, "ok": not faults}
        print_json({**facts, "findings": _plain(found), "mended": _plain(mended)})
    else:
        _say(folder, names, found, mended, deep=deep)
    if faults:
        context.exit(1)


def _plain(found: Sequence[Finding]) -> list[dict[str, object]]:
    return [{"where": f.where, "text": f.text, "cure": f.cure, "fault": f.fault} for f in found]


def _say(folder: str, names: Sequence[str], found: Sequence[Finding], mended: Sequence[Finding], *, deep: bool) -> None:
    for finding in mended:
        _line("mended", "green", finding)
    for finding in found:
        _line("wrong", "red", finding) if finding.fault else _line("note", "yellow", finding)
    if names and not any(finding.fault for finding in found):
        many = counted(len(names), "project")
        print(f"All is well with {many} in {clean(folder)}. Thank you for asking.")
        if not deep:
            print(dim("`localops doctor --deep` reads every row and blob as well."))


def _line(word: str, colour: str, finding: Finding) -> None:
    print(f"{styled(word.ljust(7), colour)}{clean(finding.where)}: {clean(finding.text)}")
    if finding.cure and word != "mended":
        print(dim(f"       {clean(finding.cure)}"))
