"""The names and contents of files that a power cut would take back, as they are not synced yet.

A file system may keep the contents of a file that was synced and lose its name, as long as its folder was not
synced after the name was given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Unsynced:
    """Paths whose name (`names`) or content (`contents`) is not on disk yet."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.contents: set[str] = set()

    def made(self, path: Any) -> None:
        """Note that a folder or a file got a new name."""
        self.names.add(os.path.realpath(path))

    def moved(self, source: Any, target: Any) -> None:
        """Note that a file got another name; whether its content is safe goes along."""
        old, new = os.path.realpath(source), os.path.realpath(target)
        self.names.discard(old)
        self.made(new)
        if old in self.contents:
            self.contents.remove(old)
            self.contents.add(new)

    def gone(self, path: Any) -> None:
        """Note that a file was removed: it has nothing to lose."""
        self.names.discard(os.path.realpath(path))
        self.contents.discard(os.path.realpath(path))

    def synced(self, path: str) -> None:
        """Note that a file or a folder was synced."""
        self.contents.discard(path)
        self.names = {name for name in self.names if os.path.dirname(name) != path}


@contextmanager
def unsynced() -> Iterator[Unsynced]:
    """Watch what is created and moved through `os` inside the block, without SQLite's own files."""
    unsafe = Unsynced()
    real = {name: getattr(os, name) for name in ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync")}

    def open_(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        new = bool(flags & os.O_CREAT) and not os.path.exists(path)
        handle: int = real["open"](path, flags, *arguments, **options)
        if new:
            unsafe.made(path)
        if flags & (os.O_WRONLY | os.O_RDWR):
            unsafe.contents.add(os.path.realpath(path))
        return handle

    def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
        real["mkdir"](path, *arguments, **options)
        unsafe.made(path)

    def moving(how: str) -> Any:
        def move(source: Any, target: Any, **options: Any) -> None:
            real[how](source, target, **options)
            unsafe.moved(source, target)

        return move

    def removing(how: str) -> Any:
        def remove(path: Any, **options: Any) -> None:
            real[how](path, **options)
            unsafe.gone(path)

        return remove

    def fsync(handle: int) -> None:
        real["fsync"](handle)
        unsafe.synced(os.readlink(f"/proc/self/fd/{handle}"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_)
        patch.setattr(os, "mkdir", mkdir)
        patch.setattr(os, "rename", moving("rename"))
        patch.setattr(os, "replace", moving("replace"))
        patch.setattr(os, "unlink", removing("unlink"))
        patch.setattr(os, "rmdir", removing("rmdir"))
        patch.setattr(os, "fsync", fsync)
        yield unsafe


def lost(unsafe: Unsynced, below: Path) -> list[str]:
    """Return what a power cut now would take back, below a folder."""
    top = os.path.realpath(below)
    paths = sorted(unsafe.names | unsafe.contents)
    return [os.path.relpath(path, top) for path in paths if path.startswith(top) and os.path.exists(path)]
