"""`localops export`: write sessions to a file or stdout."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

import click

from localops import host, output
from localops.cli.common import bytes_text, json_option, look, place_options, print_json
from localops.errors import ConfigError, NotFound
from localops.reading import export as exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localops.reading.export import Run
    from localops.reading.home import Home

_ENDINGS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".html": "html",
    ".htm": "html",
}


@click.command()
@click.argument("sessions", nargs=-1, metavar="[ID|last]...")
@click.option("--all", "everything", is_flag=True, help="Every session.")
@click.option(
    "--format", "form", type=click.Choice(exports.FORMATS), help="[default: by the ending of FILE; json on stdout]"
)
@click.option("-o", "--output", "path", default="-", metavar="FILE", help="Target; - is stdout [default: -]")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@place_options
@json_option
def export(
    sessions: tuple[str, ...],
    everything: bool,
    form: str | None,
    path: str,
    force: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Export sessions: JSON, rows, a spreadsheet, SQLite or a web page.

    \b
    json    the keys of AgentOps' export, and more
    jsonl   every row as stored, one JSON object a line
    csv     one line an event
    sqlite  a file for Datasette, sqlite-utils or sqlite3
    html    one page that needs no network

    Without an ID, the newest session is exported. A summary is printed on stderr; with --json and a FILE it is
    JSON on stdout.
    """
    if everything and sessions:
        raise click.UsageError("give ids or --all, not both")
    if path != "-":
        _check_place(path, force=force)
    form = _form(form, path)
    with look(home, project) as opened:
        runs = list(_chosen(opened, sessions or ("last",), everything=everything))
        if not runs:
            raise NotFound(opened.nothing_yet())
        if path == "-":
            _to_stdout(form, runs)
            return
        _to_file(form, runs, path)
    size = os.path.getsize(path)
    if as_json:
        print_json({"file": os.path.abspath(path), "format": form, "sessions": len(runs), "bytes": size})
    else:
        output.say(f"wrote {_sessions(len(runs))} as {form} to {os.path.abspath(path)} ({bytes_text(size)})")


def _form(form: str | None, path: str) -> str:
    """Return the format; the option and the ending of the file must not contradict each other."""
    if path == "-":
        return form or "json"
    ending = os.path.splitext(path)[1].lower()
    named = _ENDINGS.get(ending)
    if form is None and named is None:
        problem = (
            f"unknown ending {ending!r}" if ending else f"the format of {path} is unknown, because it has no ending"
        )
        raise click.UsageError(f"{problem}: give --format, or one of the endings {', '.join(_ENDINGS)}")
    if form and named and form != named:
        raise click.UsageError(f"--format is {form}, but the ending of {path} means {named}: change one of them")
    return form or named or "json"


def _check_place(path: str, *, force: bool) -> None:
    """Refuse a target that cannot be written or must not be replaced, before anything is read."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory: give a file in it")
    if not os.path.isdir(folder):
        raise ConfigError(f"cannot write {os.path.basename(path)}: the folder {folder} does not exist; create it first")
    if os.path.lexists(path) and not force:
        raise ConfigError(f"{path} already exists: --force replaces it")


def _sessions(many: int) -> str:
    return output.counted(many, "session")


def _chosen(opened: Home, idents: Iterable[str], *, everything: bool) -> Iterator[Run]:
    if everything:
        pairs = ((listed.project, listed.session) for listed in opened.sessions())
    else:
        pairs = (opened.find(ident) for ident in dict.fromkeys(idents))
    for project, session in pairs:
        yield exports.Run(project.name, project.folder, project.reader, session)


def _to_stdout(form: str, runs: list[Run]) -> None:
    out = sys.stdout.buffer
    if sys.stdout.isatty():
        _to_terminal(form, runs)
        return
    if form != "sqlite":
        exports.WRITERS[form](runs, out)
        return
    # SQLite cannot write to a pipe.
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "export.db")
        exports.write_sqlite(runs, path)
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                out.write(piece)


def _to_terminal(form: str, runs: list[Run]) -> None:
    """Print without control characters: recorded text must not control the terminal."""
    if form == "sqlite":
        raise click.UsageError("cannot print a SQLite file on a terminal: name a file with -o")
    import io

    text = io.BytesIO()
    exports.WRITERS[form](runs, text)
    print(output.clean(text.getvalue().decode(), newlines=True), end="")


def _to_file(form: str, runs: list[Run], path: str) -> None:
    """Write a temporary file and rename it when it is complete, so that a reader never sees half a file."""
    folder, name = os.path.split(os.path.abspath(path))
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        # The bar is on stderr, so that it cannot end up in exported text.
        with _progress(runs) as shown:
            if form == "sqlite":
                exports.write_sqlite(shown, unfinished)
            else:
                # Readable by its owner only, like the journal that it comes from.
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                with open(os.open(unfinished, flags, 0o600), "wb") as file:
                    exports.WRITERS[form](shown, file)
                    file.flush()
                    os.fsync(file.fileno())
        host.replace(unfinished, path)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise


@contextmanager
def _progress(runs: list[Run]) -> Iterator[Iterable[Run]]:
    """Return the runs, with a progress bar if there are several and stderr is a terminal."""
    if len(runs) < 2 or not sys.stderr.isatty():
        yield runs
        return
    with click.progressbar(runs, label="sessions", file=sys.stderr) as bar:
        yield bar
