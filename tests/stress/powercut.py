"""A disk whose power can be cut: a VFS that remembers every write, and which of them were synced.

`Disk.cut` makes the files as they could be after a power cut at a given moment: all that was synced, and of what was
written since then each 512-byte sector with some probability only.  `Disk.fault` is called before each operation and
may raise: a disk that is full or breaks.  Shared memory and locks are the real ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import apsw

_KEPT = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_SECTOR = 512

Fault = Callable[[str, str], None]


class Disk(apsw.VFS):
    """The log of a disk: (operation, file, offset, bytes) in the order of time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[tuple[str, str, int, bytes]] = []
        self.logging = True
        self.lying = False  # about syncs, as cheap disks do
        self.fault: Fault | None = None
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: D102, N802
        self.ask("open", name)
        return _File(self, name, flags) if flags[0] & _KEPT else apsw.VFSFile("", name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: D102, N802
        self.ask("delete", filename)
        super().xDelete(filename, syncdir)
        self.note("delete", filename)

    def ask(self, what: str, name: object) -> None:
        """Give the fault its chance."""
        if self.fault is not None:
            self.fault(what, os.path.basename(str(name)))

    def note(self, what: str, name: str, where: int = 0, data: bytes = b"") -> None:
        """Remember what happened."""
        if self.logging:
            self.log.append((what, os.path.basename(name), where, data))

    def cut(self, moment: int, folder: str, random: Random) -> None:
        """Leave in the folder what the disk may hold when its power fails at that moment of the log."""
        survives = random.random()
        files: dict[str, bytearray] = {}
        waiting: dict[str, list[tuple[str, int, bytes]]] = {}
        for what, name, where, data in self.log[:moment]:
            if what == "sync":
                _apply(files, name, waiting.pop(name, []))
            elif what == "delete":
                files.pop(name, None)
                waiting.pop(name, None)
            else:
                waiting.setdefault(name, []).append((what, where, data))
        for name, pending in waiting.items():
            _apply(files, name, [each for one in pending for each in _torn(one, survives, random)])
        for name, content in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self.disk.ask("read", self.path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.ask("write", self.path)
        super().xWrite(data, offset)
        self.disk.note("write", self.path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.disk.ask("truncate", self.path)
        super().xTruncate(newsize)
        self.disk.note("truncate", self.path, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.ask("sync", self.path)
        super().xSync(flags)
        if not self.disk.lying:
            self.disk.note("sync", self.path)


def _apply(files: dict[str, bytearray], name: str, writes: list[tuple[str, int, bytes]]) -> None:
    content = files.setdefault(name, bytearray())
    for what, where, data in writes:
        if what == "truncate":
            del content[where:]
        else:
            content.extend(bytes(max(0, where - len(content))))
            content[where : where + len(data)] = data


def _torn(one: tuple[str, int, bytes], survives: float, random: Random) -> list[tuple[str, int, bytes]]:
    """Return the part of one write that reaches the disk: each sector does or does not, as a whole."""
    what, where, data = one
    if what == "truncate":
        return [one] if random.random() < survives else []
    pieces = range(0, len(data), _SECTOR)
    return [(what, where + at, data[at : at + _SECTOR]) for at in pieces if random.random() < survives]
