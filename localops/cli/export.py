"""`localops export`: runs handed on, as a file or on stdout."""

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
@click.option("--all", "everything", is_flag=True, help="Every session there is.")
@click.option(
    "--format", "form", type=click.Choice(exports.FORMATS), help="[default: by FILE's ending; json on stdout]"
)
@click.option("-o", "--output", "path", default="-", metavar="FILE", help="Where to; - is stdout [default: -]")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
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
    """Hand sessions on: JSON, rows, a spreadsheet, SQLite or a web page.

    \b
    json    the keys of AgentOps' export, and more
    jsonl   every row as it is kept, one JSON object a line
    csv     one line per event
    sqlite  a file for Datasette, sqlite-utils or sqlite3
    html    one page to look at or to send; it needs no network

    Without an id the newest session is meant. What was written is said on stderr; with --json and a FILE it
    is reported as JSON.
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
    """The format that was asked for, and that the file's name speaks of."""
    if path == "-":
        return form or "json"
    ending = os.path.splitext(path)[1].lower()
    named = _ENDINGS.get(ending)
    if form is None and named is None:
        told = f"no format ends in {ending!r}" if ending else f"{path} has no ending to tell the format by"
        raise click.UsageError(f"{told}: say --format, or end it in {', '.join(_ENDINGS)}")
    if form and named and form != named:
        raise click.UsageError(f"--format is {form}, but {path} ends as {named} does: which is meant?")
    return form or named or "json"


def _check_place(path: str, *, force: bool) -> None:
    """What cannot be written, or must not be replaced, is said before anything is read."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder: name a file in it")
    if not os.path.isdir(folder):
        raise ConfigError(f"there is no folder {folder} to write {os.path.basename(path)} in")
    if os.path.lexists(path) and not force:
        raise ConfigError(f"{path} is there already: --force replaces it")


def _sessions(many: int) -> str:
    return output.counted(many, "session")


def _chosen(opened: Home, idents: Iterable[str], *, everything: bool) -> Iterator[Run]:
    if everything:
        found = ((listed.project, listed.session) for listed in opened.sessions())
    else:
        found = (opened.find(ident) for ident in dict.fromkeys(idents))
    for project, session in found:
        yield exports.Run(project.name, project.folder, project.reader, session)


def _to_stdout(form: str, runs: list[Run]) -> None:
    out = sys.stdout.buffer
    if sys.stdout.isatty():
        _to_terminal(form, runs)
        return
    if form != "sqlite":
        exports.WRITERS[form](runs, out)
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "export.db")
        exports.write_sqlite(runs, path)
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                out.write(piece)


def _to_terminal(form: str, runs: list[Run]) -> None:
    """Recorded text must not steer the terminal it is shown on."""
    if form == "sqlite":
        raise click.UsageError("a SQLite file is nothing for a terminal: give it a name with -o")
    import io

    text = io.BytesIO()
    exports.WRITERS[form](runs, text)
    print(output.clean(text.getvalue().decode(), newlines=True), end="")


def _to_file(form: str, runs: list[Run], path: str) -> None:
    """Write beside the place and move in when it is whole, so that no reader sees half a file."""
    folder, name = os.path.split(os.path.abspath(path))
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with _progress(runs) as shown:
            if form == "sqlite":
                exports.write_sqlite(shown, unfinished)
            else:
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
    """The runs, with a bar on a terminal when there is something to wait for."""
    if len(runs) < 2 or not sys.stderr.isatty():
        yield runs
        return
    with click.progressbar(runs, label="sessions", file=sys.stderr) as bar:
        yield bar
