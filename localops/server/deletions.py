"""The log of deletions of a hub, in its data folder, with a line for each session; it outlives a damaged journal.

A backup has the sessions that were deleted after it was made: after a restore, the log of the replaced folder tells
which of them to delete again.
"""

from __future__ import annotations

import os

from localops import clock, config
from localops.encoding import encode
from localops.errors import ConfigError, LocalopsError, NotFound
from localops.journal.reader import Reader, SQLiteError
from localops.journal.rows import id_text
from localops.journal.sql import statements
from localops.reading import session_state
from localops.recording import events
from localops.server import append_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "deletions.jsonl"


def note(folder: str, project: str, sessions: Iterable[bytes]) -> None:
    """Append sessions to the log of a data folder, synced."""
    at = events.iso(clock.now_ns())
    lines = [encode.dumps({"project": project, "session": id_text(session), "at": at}) for session in sessions]
    if lines:
        append_log.append(os.path.join(folder, NAME), b"".join(line + b"\n" for line in lines), synced=True)


def of(place: str) -> tuple[dict[str, list[bytes]], list[str]]:
    """Return the sessions that were deleted in a data folder, by project, and problems of reading the log.

    `place` is the folder, with its log and its journals, or a log alone.
    """
    by_project: dict[str, dict[bytes, None]] = {}
    problems: list[str] = []
    is_folder = os.path.isdir(place)
    try:
        for project, session in _logged(os.path.join(place, NAME) if is_folder else place, problems):
            by_project.setdefault(project, {})[session] = None
    except FileNotFoundError as error:
        # No session was deleted there, or by an earlier release.
        if not is_folder:
            raise NotFound(f"{place} does not exist: give the data folder that was replaced, or its {NAME}") from error
    if is_folder and not any(os.path.exists(os.path.join(place, name)) for name in (NAME, session_state.HUB)):
        raise NotFound(f"{place} is not the data folder of a hub: give the one that was replaced, or its {NAME}")
    for project in config.projects(place) if is_folder else ():
        try:
            with Reader(os.path.join(place, project, config.JOURNAL)) as reader:
                deleted = reader.ask(statements("hub.sql")["deleted"])
        except NotFound:
            continue
        except (LocalopsError, SQLiteError) as error:
            problems.append(f"{project}: its journal cannot be read, only {NAME} counts: {error}")
            continue
        by_project.setdefault(project, {}).update(dict.fromkeys(session for (session,) in deleted))
    return {project: list(sessions) for project, sessions in by_project.items() if sessions}, problems


def _logged(path: str, problems: list[str]) -> Iterable[tuple[str, bytes]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = encode.loads(line)
                yield config.check_project(record["project"]), bytes.fromhex(record["session"].replace("-", ""))
            except (ValueError, TypeError, KeyError, AttributeError, ConfigError):
                # For example, a line that a full disk has cut: that session is still in the journal.
                problems.append(f"line {number} of {path} is incomplete, and was skipped")
