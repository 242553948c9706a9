"""Open a file in a temporary home, so that its contents can be viewed without an import.

The file is only read.  Unreadable parts are reported, and the rest is shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from localops import config, output
from localops.coding.recording import Project
from localops.config import Config
from localops.errors import BundleError, ConfigError, LocalopsError, NotFound
from localops.journal import blobs
from localops.journal.journal import Journal
from localops.otlp import importing
from localops.reading import sqlite_export
from localops.transfer import row_lines
from localops.upkeep import salvage
from localops_sync import bundle_file, file_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PROJECT = "file"  # for rows that do not name one
_EXPECTED = "expected a bundle, a journal, or an export of localops (sqlite, jsonl or otlp)"


@dataclass
class Opened:
    """An opened file: its kind, and the problems of reading it."""

    kind: str
    problems: list[str] = field(default_factory=list)


def unpack(path: str, home: str) -> Opened:
    """Put the contents of a file into an empty home; raise ConfigError for a file of another kind."""
    if not os.path.isfile(path):
        raise NotFound(f"{path} is not a file" if os.path.exists(path) else f"there is no file {path}")
    kind, take = _kind_of(path)
    opened = Opened(kind)
    opened.problems += take(path, home)
    return opened


def _kind_of(path: str) -> tuple[str, Callable[[str, str], list[str]]]:
    kind = file_kinds.of(path)
    if kind == file_kinds.EMPTY_JOURNAL:
        raise ConfigError(f"{path} is a damaged journal, and no row is left in it: open a backup")
    if kind is None:
        raise ConfigError(f"{path} cannot be opened: {_EXPECTED}")
    # Other JSON is read as OTLP, too: spans may follow other lines.
    return _READERS.get(kind, ("otlp", _otlp))


def _bundle(path: str, home: str) -> list[str]:
    problems = []
    try:
        parts = bundle_file.unpack(home, path)
    except BundleError as error:
        if not os.listdir(home):
            raise BundleError(str(error).removesuffix("; nothing new was imported")) from error
        return [str(error).replace("was imported", "can be seen").replace("imported", "seen")]
    for part in parts:
        problems += [f"row {seq} of {part.project} was left out: {why}" for seq, why in part.refused.items()]
    return problems


def _rows(path: str, home: str) -> list[str]:
    journal = Journal(config.project_folder(home, _PROJECT), gather=True)
    try:
        return row_lines.take(journal, path).problems
    finally:
        journal.close()


def _otlp(path: str, home: str) -> list[str]:
    project = Project(Config(home=home, project=_PROJECT))
    try:
        report = importing.take_file(project, path)
    finally:
        project.journal.close()
    if not report.rows:
        first = f" ({report.problems[0]})" if report.problems else ""
        raise ConfigError(f"{path} holds no rows and no spans: {_EXPECTED}{first}")
    return report.problems


def _journal(path: str, home: str) -> list[str]:
    folder = config.project_folder(home, _project_of(path))
    saved = salvage.save(path, folder)
    _link_blobs(os.path.dirname(os.path.abspath(path)), folder)
    problems = []
    if saved.lost:
        damaged = f", {output.count(saved.broken)} of them damaged" if saved.broken else ""
        lost = output.counted(saved.lost, "row is", "rows are")
        problems.append(f"{lost} lost{damaged}: `localops repair {path}` saves the others for good")
    if saved.cut:
        problems.append(f"the file is {output.counted(saved.cut, 'page')} shorter than it was: rows on them are lost")
    return problems


def _project_of(path: str) -> str:
    """Return the name of the project that a journal is in, if it is in one."""
    name = os.path.basename(os.path.dirname(os.path.abspath(path)))
    try:
        return config.check_project(name)
    except LocalopsError:
        return _PROJECT


def _link_blobs(beside: str, folder: str) -> None:
    """Make the long values of a journal readable, which are in files beside it."""
    for blob in blobs.stored(beside):
        place = blobs.path_of(folder, os.path.basename(blob))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(os.path.abspath(blob), place)


def _sqlite(path: str, home: str) -> list[str]:
    journals: dict[str, Journal] = {}
    problems: list[str] = []
    try:
        for project, some in sqlite_export.projects_and_rows(path, problems):
            if project not in journals:
                journals[project] = Journal(config.project_folder(home, config.check_project(project)), gather=True)
            journals[project].add(some)
        for journal in journals.values():
            journal.fold()
    finally:
        for journal in journals.values():
            journal.close()
    return problems


_READERS: dict[str, tuple[str, Callable[[str, str], list[str]]]] = {
    file_kinds.BUNDLE: ("bundle", _bundle),
    file_kinds.ROWS: ("rows", _rows),
    file_kinds.JOURNAL: ("journal", _journal),
    file_kinds.SQLITE: ("sqlite", _sqlite),
}
