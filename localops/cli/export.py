"""`localops export`: write sessions to a file or stdout."""

from __future__ import annotations

import codecs
import io
import os
import sys
import uuid
from contextlib import contextmanager
from inspect import cleandoc
from itertools import islice

import click

from localops import dialects, output
from localops.cli import filters
from localops.cli.common import bytes_text, json_option, look, place_options, print_json
from localops.errors import ConfigError, NotFound
from localops.reading import export as exports
from localops.reading.home import Filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from localops.reading.export import Run
    from localops.reading.home import Home, Project

_BINARY = ("sqlite", "parquet")


def _list_formats(command: click.Command) -> click.Command:
    """Add what each format is to the help of the command."""
    width = max(map(len, dialects.FORMATS))
    lines = "\n".join(f"{name:{width}}  {one.about}" for name, one in dialects.FORMATS.items())
    command.help = cleandoc(command.help or "").replace("{formats}", f"\b\n{lines}")
    return command


@_list_formats
@click.command()
@click.argument("sessions", nargs=-1, metavar="[ID|last]...")
@click.option("--all", "everything", is_flag=True, help="Every session.")
@click.option(
    "--format", "form", type=click.Choice([*dialects.FORMATS]), help="[default: by the ending of FILE; json on stdout]"
)
@click.option(
    "--table",
    type=click.Choice(["events", "sessions"]),
    help="With csv and parquet: what a line is of [default: events]",
)
@click.option(
    "-o", "--output", "path", default="-", metavar="FILE", help="Target, or its folder; - is stdout [default: -]"
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@filters.options
@click.option("-n", "--limit", type=click.IntRange(min=1), help="At most this many, the newest.")
@place_options
@json_option
def export(
    sessions: tuple[str, ...],
    everything: bool,
    form: str | None,
    table: str | None,
    path: str,
    force: bool,
    limit: int | None,
    home: str | None,
    project: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Export sessions: for other tools, for people, or for models.

    {formats}

    Without an ID, the newest session is exported; with filters, every session that passes all of them. A summary is
    printed on stderr; with --json and a FILE it is JSON on stdout.
    """
    wanted = filters.chosen(given)
    several = everything or limit is not None or wanted != Filters()
    if several and sessions:
        raise click.UsageError("give ids, or --all, --limit and filters, not both")
    is_folder = os.path.isdir(path)
    if path != "-" and not is_folder:
        _check_place(path, force=force)
    if is_folder and form is None:
        raise ConfigError(f"{path} is a directory: give --format, or a file in it")
    form = form if is_folder and form else _form(form, path)
    if table is not None and form not in dialects.TABULAR:
        raise click.UsageError(
            f"--table is for {' and '.join(dialects.TABULAR)}, and the format is {form}: leave it out"
        )
    with look(home, project) as opened:
        filters.prepare(opened, wanted)
        runs = _Runs(_sessions_to_export(opened, sessions or ("last",), wanted if several else None), limit)
        if not runs:
            reason = f"no session matches these filters{filters.unknown_score(opened, wanted)}"
            raise NotFound(reason if wanted != Filters() else opened.nothing_yet())
        if path == "-":
            _to_stdout(form, runs, table)
            return
        if is_folder:
            path = os.path.join(path, runs.file_name(form))
            _check_place(path, force=force)
        _to_file(form, runs, path, table)
    size = os.path.getsize(path)
    if as_json:
        print_json({"file": os.path.abspath(path), "format": form, "sessions": len(runs), "bytes": size})
    elif size == 0:
        # Training data has conversations: sessions without an answer have no line.
        output.say(f"{os.path.abspath(path)} is empty: no session of {len(runs):,} has an answered LLM call for {form}")
    else:
        output.say(f"wrote {_sessions(len(runs))} as {form} to {os.path.abspath(path)} ({bytes_text(size)})")


class _Runs:
    """The chosen sessions; each is read when it is written, and not kept in memory."""

    def __init__(self, pairs: Iterator[tuple[Project, bytes]], limit: int | None) -> None:
        self._pairs = list(islice(pairs, limit))

    def __len__(self) -> int:
        return len(self._pairs)

    def file_name(self, form: str) -> str:
        """Return the name of a file of these sessions; of one with its id, as others may have its name and date."""
        if len(self) > 1:
            return dialects.file_name(dialects.SEVERAL, form)
        [run] = self
        stem, id = dialects.stem_of(run), str(uuid.UUID(bytes=run.id))
        return dialects.file_name(stem if stem.endswith(id) else f"{stem}-{id[:13]}", form)

    def __iter__(self) -> Iterator[Run]:
        for project, session in self._pairs:
            yield exports.Run(project.name, project.folder, project.reader, session)


def _form(form: str | None, path: str) -> str:
    """Return the format; the option and the ending of the file must not contradict each other."""
    if path == "-":
        return form or "json"
    ending = os.path.splitext(path)[1].lower()
    named = dialects.named_by(ending)
    if form is None and named is None:
        problem = (
            f"unknown ending {ending!r}" if ending else f"the format of {path} is unknown, because it has no ending"
        )
        endings = ", ".join(dict.fromkeys(ending for one in dialects.FORMATS.values() for ending in one.endings))
        raise click.UsageError(f"{problem}: give --format, or one of the endings {endings}")
    if form and named and ending not in dialects.FORMATS[form].endings:
        raise click.UsageError(f"--format is {form}, but the ending of {path} means {named}: change one of them")
    return form or named or "json"


def _check_place(path: str, *, force: bool) -> None:
    """Refuse a target that cannot be written or must not be replaced, before anything is read."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f"cannot write {os.path.basename(path)}: the folder {folder} does not exist; create it first")
    if os.path.lexists(path) and not force:
        raise ConfigError(f"{path} already exists: --force replaces it")


def _sessions(many: int) -> str:
    return output.counted(many, "session")


def _sessions_to_export(
    opened: Home, idents: Collection[str], wanted: Filters | None
) -> Iterator[tuple[Project, bytes]]:
    if wanted is not None:
        yield from ((listed.project, listed.session) for listed in opened.sessions(wanted))
    else:
        yield from (opened.find(ident) for ident in dict.fromkeys(idents))


def _to_stdout(form: str, runs: _Runs, table: str | None) -> None:
    out = sys.stdout.buffer
    if sys.stdout.isatty():
        if form in _BINARY:
            raise click.UsageError(f"cannot print a file of {form} on a terminal: name a file with -o")
        dialects.write(form, runs, _Terminal(), table=table)
        return
    if form != "sqlite":
        dialects.write(form, runs, out, table=table)
        return
    # SQLite cannot write to a pipe.
    from localops.upkeep import temporary_folders

    temporary_folders.remove_left()
    with temporary_folders.made(temporary_folders.EXPORT) as folder:
        path = os.path.join(folder, "export.db")
        exports.write_sqlite(runs, path)
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                out.write(piece)


class _Terminal(io.BytesIO):
    """A terminal as a file, without control characters: recorded text must not control the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any, /) -> int:
        """Print some bytes of text."""
        print(output.clean(self._decoder.decode(bytes(data)), newlines=True), end="")
        return len(bytes(data))


def _to_file(form: str, runs: _Runs, path: str, table: str | None) -> None:
    # The bar is on stderr, so that it is not in exported text.
    with _progress(runs) as shown:
        dialects.write_file(form, shown, path, table=table)


@contextmanager
def _progress(runs: _Runs) -> Iterator[Iterable[Run]]:
    """Return the runs, with a progress bar if there are several and stderr is a terminal."""
    if len(runs) < 2 or not sys.stderr.isatty():
        yield runs
        return
    with click.progressbar(runs, label="sessions", file=sys.stderr) as bar:
        yield bar
