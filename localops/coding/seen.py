"""A list of completely imported transcripts, so that the next import reads only changed ones.

The note lies beside the journal as `transcripts.json`, and counts only for the journal that it was written for: after a
repair, which gives it another id, rows may be missing.  It can be deleted: the next import then reads all again.
"""

from __future__ import annotations

import os
from contextlib import suppress

from localops.encoding import encode
from localops.journal import rows, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.coding.recording import Project

_NAME = "transcripts.json"


class Seen:
    """The size and time of every transcript that was imported whole into a project."""

    def __init__(self, project: Project) -> None:
        self._journal = project.journal
        self._path = os.path.join(project.folder, _NAME)
        self._files: dict[str, list[int]] = {}
        self._looked: dict[str, list[int]] = {}
        self._is_changed = False
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            with open(self._path, "rb") as file:
                note = encode.loads(file.read())
            # In this order: a journal has its id once it has been opened.
            if self._holds(bytes.fromhex(note["row"])) and note["journal"] == self._journal.id:
                self._files = dict(note["files"])

    def _holds(self, id: bytes) -> bool:
        """Return whether the journal has the row that was its newest; a backup that was put back may lack it."""
        return any(stored.one(self._journal, id, phase) is not None for phase in (rows.DONE, rows.OPEN))

    def are_current(self, paths: Iterable[str]) -> bool:
        """Return whether nothing was written to any of these files since they were imported."""
        # Check each file now: its state before the import is noted after it.
        current = [self._is_current(path) for path in paths]
        return all(current)

    def _is_current(self, path: str) -> bool:
        key = os.path.abspath(path)
        try:
            status = os.stat(path)
        except OSError:
            return False
        self._looked[key] = [status.st_size, status.st_mtime_ns]
        return self._files.get(key) == self._looked[key]

    def add(self, paths: Iterable[str]) -> None:
        """Note that these files were imported completely, with their state before the import."""
        for key in map(os.path.abspath, paths):
            if key in self._looked:
                self._files[key] = self._looked[key]
                self._is_changed = True

    def save(self) -> None:
        """Write the note; where that fails, the next import reads everything again."""
        newest = self._journal.one("newest_row_id") if self._is_changed else None
        if newest is None:
            return
        files = {path: seen for path, seen in self._files.items() if os.path.exists(path)}
        temporary = f"{self._path}.{os.getpid()}"
        with suppress(OSError), open(temporary, "wb") as file:
            file.write(encode.dumps({"journal": self._journal.id, "row": newest[0].hex(), "files": files}))
        with suppress(OSError):
            os.replace(temporary, self._path)
