"""Damaged or missing rows and blobs of a project, as checks found them; `/health` reports them until they are repaired.

It is a small file in the project's folder, so that it outlives the hub, and `hub check` can write it beside it.
"""

from __future__ import annotations

import os
from contextlib import suppress

from localops import host
from localops.encoding import encode
from localops.journal import blobs, stored
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.journal.reader import Reader
    from localops.server.proof import Checked

    Damaged = dict[str, list[object]]

FILE = "damage.json"
# Of each sort: more of them are not listed, and found by the next check.
_MOST = 1_000
# Rows by id and phase, or by seq; blobs by digest; what SQLite says of the structure.
_ROWS, _SEQS, _BLOBS, _FAULTS = "rows", "seqs", "blobs", "faults"


def sight(folder: str) -> tuple[int, int] | None:
    """Return a value that changes when other damage becomes known in a project; None without damage."""
    try:
        facts = os.stat(os.path.join(folder, FILE))
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino


def add_rows(folder: str, identities: Iterable[tuple[bytes, int]]) -> None:
    """Note rows that are missing or damaged."""
    _add(folder, _ROWS, [[id.hex(), phase] for id, phase in identities])


def add_blobs(folder: str, digests: Iterable[str]) -> None:
    """Note blobs that are missing or damaged."""
    _add(folder, _BLOBS, list(digests))


def take(folder: str, checked: Checked) -> None:
    """Replace the known damage by the result of a check of the whole project."""
    things: Damaged = {
        _SEQS: [*checked.damaged, *checked.lost],
        _BLOBS: list(checked.missing),
        _FAULTS: list(checked.faults),
    }
    _write(folder, things)


def look_again(folder: str, reader: Reader) -> bool:
    """Forget what has been repaired; return whether any damage remains."""
    things = _read(folder)
    left: Damaged = {
        _ROWS: [each for each in things[_ROWS] if not _is_whole_row(reader, each)],
        _SEQS: [seq for seq in things[_SEQS] if not _is_whole_seq(reader, seq)],
        _BLOBS: [digest for digest in things[_BLOBS] if blobs.flaw(folder, str(digest))],
        # Only a check of every page can show that it is repaired.
        _FAULTS: things[_FAULTS],
    }
    if left != things:
        _write(folder, left)
    return any(left.values())


def _is_whole_row(reader: Reader, identity: object) -> bool:
    match identity:
        case [str(id), int(phase)]:
            with suppress(UnicodeDecodeError):
                row = stored.one(reader, bytes.fromhex(id), phase)
                return row is not None and row.is_intact
    return False


def _is_whole_seq(reader: Reader, seq: object) -> bool:
    with suppress(UnicodeDecodeError):
        page = stored.named(reader.ask(statements("hub.sql")["all_rows"], {"after": int(str(seq)) - 1, "many": 1}))
        return bool(page) and page[0].seq == seq and page[0].is_intact
    return False


def _add(folder: str, sort: str, more: list[object]) -> None:
    if not more:
        return
    things = _read(folder)
    known = things[sort]
    things[sort] = [*known, *(each for each in more if each not in known)][:_MOST]
    _write(folder, things)


def _read(folder: str) -> Damaged:
    document: object = {}
    with suppress(OSError, ValueError), open(os.path.join(folder, FILE), "rb") as file:
        document = encode.loads(file.read())
    facts = document if isinstance(document, dict) else {}
    lists = {sort: facts.get(sort) for sort in (_ROWS, _SEQS, _BLOBS, _FAULTS)}
    return {sort: each if isinstance(each, list) else [] for sort, each in lists.items()}


def _write(folder: str, things: Damaged) -> None:
    """Write the damage to the file; without any, remove the file."""
    path = os.path.join(folder, FILE)
    if not any(things.values()):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    temporary = f"{path}.{os.getpid()}"
    handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as file:
        host.keep_owner(handle, folder)
        file.write(encode.dumps({sort: each[:_MOST] for sort, each in things.items()}) + b"\n")
        file.flush()
        os.fsync(handle)
    host.replace(temporary, path)
