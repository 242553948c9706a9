"""Keep spans and log records that wait for the rest of their trace in files, which outlive the process.

The waiting spans of a request are one file, written before the request is answered.  It is deleted when the rows of all
these spans are stored; after a crash in between, they are stored once more, which changes nothing.  The contents are
redacted like everything that localops writes.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from localops import host
from localops.encoding import encode
from localops.otlp.documents import Scope
from localops.otlp.records import Record
from localops.otlp.spans import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Thing = Span | Record

FOLDER = "waiting"
# The suffix of a complete file.
_WHOLE = ".jsonl"


class Spool:
    """The files of waiting spans and records of one project."""

    def __init__(self, folder: str, write: Callable[[dict[str, object]], str]) -> None:
        self._folder, self._write = os.path.join(folder, FOLDER), write
        # The traces in each file that still wait.
        self._traces: dict[str, set[bytes]] = {}
        self._number = 0

    def read(self) -> Iterator[Thing]:
        """Yield everything that waits, oldest first, after a restart."""
        for name in sorted(os.listdir(self._folder) if os.path.isdir(self._folder) else ()):
            path = os.path.join(self._folder, name)
            if not name.endswith(_WHOLE):
                # It is incomplete, so its request was not answered, and the client sends it again.
                with suppress(OSError):
                    os.unlink(path)
                continue
            with open(path, "rb") as file:
                things = [_thing(encode.loads(line)) for line in file if line.strip()]
            self._traces[path] = {thing.trace for thing in things}
            yield from things

    def keep(self, things: Iterable[Thing]) -> None:
        """Write spans and records to a new file, and sync it to disk."""
        many = list(things)
        if not many:
            return
        host.make_private(self._folder, synced=True)
        self._number += 1
        path = os.path.join(self._folder, f"{time.time_ns():020}-{os.getpid()}-{self._number}{_WHOLE}")
        begun = f"{path}.new"
        handle = os.open(begun, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(handle, "wb") as file:
                file.writelines(f"{self._write(_fields(thing))}\n".encode() for thing in many)
                file.flush()
                os.fsync(handle)
            host.replace(begun, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(begun)
            raise
        self._traces[path] = {thing.trace for thing in many}

    def release(self, traces: Iterable[bytes]) -> None:
        """Delete the files in which no other trace waits."""
        gone = set(traces)
        for path, waiting in list(self._traces.items()):
            waiting -= gone
            if not waiting:
                del self._traces[path]
                with suppress(FileNotFoundError):
                    os.unlink(path)


def projects(home: str, names: Iterable[str]) -> list[str]:
    """Return the projects of a home with waiting spans or records."""
    return [name for name in names if files(os.path.join(home, name))]


def files(project: str) -> list[str]:
    """Return the complete files of waiting spans and records, relative to the folder of a project."""
    try:
        with os.scandir(os.path.join(project, FOLDER)) as entries:
            names = [
                each.name for each in entries if each.name.endswith(_WHOLE) and each.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []
    return [os.path.join(FOLDER, name) for name in sorted(names)]


def _fields(thing: Thing) -> dict[str, Any]:
    if isinstance(thing, Record):
        return {
            "log": thing.row.hex(),
            "trace": thing.trace.hex(),
            "span": thing.span.hex() if thing.span is not None else None,
            "at": thing.at,
            "name": thing.name,
            "severity": thing.severity,
            "about": thing.about,
            "attributes": thing.attributes,
            "resource": thing.resource,
            "scope": list(thing.scope),
        }
    return {
        "trace": thing.trace.hex(),
        "id": thing.id.hex(),
        "around": thing.around.hex() if thing.around is not None else None,
        "name": thing.name,
        "start": thing.start,
        "end": thing.end,
        "attributes": thing.attributes,
        "code": thing.code,
        "message": thing.message,
        "moments": list(thing.moments),
        "links": list(thing.links),
        "resource": thing.resource,
        "scope": thing.scope,
        "beside": thing.beside,
    }


def _thing(fields: dict[str, Any]) -> Thing:
    trace = bytes.fromhex(fields["trace"])
    if "log" in fields:
        record = Record(
            trace, None, (fields["at"], None), fields["name"], (None, fields["severity"]), fields["about"],
            fields["attributes"], fields["resource"], Scope(*fields["scope"]),
        )  # fmt: skip
        record.row = bytes.fromhex(fields["log"])
        record.span = bytes.fromhex(fields["span"]) if fields["span"] else None
        return record
    span = Span(
        trace,
        bytes.fromhex(fields["id"]),
        None,
        fields["name"],
        fields["start"],
        fields["end"],
        fields["attributes"],
        code=fields["code"],
        message=fields["message"],
        moments=[(name, at, about) for name, at, about in fields["moments"]],
        links=fields["links"],
        resource=fields["resource"],
        scope=Scope(fields["scope"]),
        beside=fields["beside"],
    )
    span.around = bytes.fromhex(fields["around"]) if fields["around"] else None
    return span
