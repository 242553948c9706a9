"""The report of `localops doctor --secrets`: by rule and place, never a secret itself."""

from __future__ import annotations

import sys
import time

import click

from localops.cli import long_searches
from localops.cli.common import check_home, chosen_projects, dim, place, print_json, print_table, styled
from localops.output import clean, count, counted
from localops.reading.home import used
from localops.upkeep import sweep, temporary_folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.upkeep.sweep import Place, Swept

_SHOWN = 20  # places of a rule, without --json
_FEW = 5  # damaged files
FOUND, UNREAD = 1, 3
"""The exit codes if there are secrets or traces of some, and if there are none but something could not be read."""


def report(home: str | None, project: str | None, files: Sequence[str], *, since_ns: int, as_json: bool) -> int:
    """Search projects, or only these files, and print the secrets' places; return the exit code."""
    names: list[str] = []
    if files:
        if project is not None:
            raise click.UsageError("--bundle searches files: leave out --project")
        check_home(home)
        folder = place(home, None)[0]
    else:
        folder, names = chosen_projects(home, project)
        names = names if project is not None else used(folder, names)
    began = time.monotonic()
    result = swept(folder, names, files, since_ns, whole=project is None and not files)
    seconds = time.monotonic() - began
    if as_json:
        print_json(facts(folder, names, files, result))
    else:
        show(result, seconds)
    return FOUND if result.secrets or result.unfinished else UNREAD if result.unread else 0


def swept(folder: str, names: Sequence[str], files: Sequence[str], since_ns: int, *, whole: bool) -> Swept:
    """Search projects and files, and for a whole home also its own files, with a progress bar on a terminal."""
    temporary_folders.remove_left()
    if not sys.stderr.isatty():
        return _search(sweep.Sweep(folder, since_ns=since_ns), names, files, whole=whole)
    # A bar needs a length; for files alone it only shows that the command is running.
    many = sweep.total(folder, names) or 1
    with click.progressbar(length=many, label="searching", file=sys.stderr) as bar:
        return _search(sweep.Sweep(folder, since_ns=since_ns, progress=bar.update), names, files, whole=whole)


def _search(search: sweep.Sweep, names: Sequence[str], files: Sequence[str], *, whole: bool) -> Swept:
    with long_searches.reported("the search"):
        if whole:
            search.home()
        for name in names:
            search.project(name)
        for path in files:
            search.file(path)
    return search.result


def facts(folder: str, names: Sequence[str], files: Sequence[str], swept: Swept) -> dict[str, object]:
    """Return the result for --json."""
    return {"home": folder, "projects": names, "named_files": files, **swept.facts()}


def show(swept: Swept, seconds: float) -> None:
    """Print the result."""
    for rule, many in sorted(swept.rules.items(), key=lambda pair: (-pair[1], pair[0])):
        print(f"{styled(clean(rule), 'red')}: {counted(many, 'place')}")
        places = [place for place in swept.places if place.rule == rule]
        print_table([_line(place) for place in places[:_SHOWN]], ("where", "field", "length", "digest"), align="llrl")
        if many > _SHOWN:
            print(dim(f"and {count(many - _SHOWN)} more: --json lists {count(sweep.MOST_PLACES)} of all rules"))
        print()
    for problem in swept.unread:
        print(f"{styled('not searched', 'yellow')}: {clean(problem)}")
    if swept.damaged:
        more = f" and {len(swept.damaged) - _FEW} more" if len(swept.damaged) > _FEW else ""
        are = "1 file is" if len(swept.damaged) == 1 else f"{len(swept.damaged)} files are"
        what = f"{are} damaged, and no scrub changes that: {', '.join(map(clean, swept.damaged[:_FEW]))}{more}"
        print(f"{styled('damaged', 'yellow')}: {what} (`localops doctor --deep`)")
    for project in swept.unfinished:
        what = f"{clean(project)}: a scrub was not finished, and traces of secrets may be left in its files"
        print(f"{styled('not finished', 'yellow')}: {what}: run `localops scrub --project {clean(project)} --yes`")
    what = f"in what was searched: {counted(swept.rows, 'row')} and {counted(swept.files - swept.binary, 'file')}"
    speed = f"{count(round(swept.rows / seconds))} rows/s, " if swept.rows and seconds > 0.1 else ""
    print(f"{counted(swept.secrets, 'secret') if swept.secrets else 'No secrets'} {what}.")
    print(dim(f"{speed}{swept.bytes / 1e6:.1f} MB searched; {counted(swept.binary, 'file')} without text left out"))
    print(dim(f"searched {rules_used(swept)}"))


def rules_used(swept: Swept) -> str:
    """Name the rules of a search, as homes can have different patterns in `redact`."""
    if swept.patterns:
        return f"with the built-in rules and {counted(swept.patterns, 'pattern')} of your own (`redact`)"
    return "with the built-in rules; this home has no patterns of your own (`redact` in config.toml)"


def _line(place: Place) -> tuple[str, str, str, str | None]:
    of_row = f"{place.session[:13]}/{place.event}" if place.session and place.event else ""
    where = " ".join(filter(None, (place.project, "" if place.source == "row" else place.source, of_row, place.file)))
    beside = f"byte {place.at}" if place.at is not None else ""
    return clean(where), clean(place.field or beside), str(place.length), place.digest
