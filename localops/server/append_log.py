"""Files of a hub that are only appended to, a line for each event: the audit log, and the log of deletions."""

from __future__ import annotations

import os

from localops import host


def append(path: str, line: bytes, *, synced: bool) -> None:
    """Append lines to a file for its owner, whole or not at all; OSError if there is no room."""
    is_new = not os.path.exists(path)
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if is_new:
            host.keep_owner(handle, os.path.dirname(path) or ".")
        size = os.fstat(handle).st_size
        # A line that a power cut has left incomplete must not spoil the next one.
        begin = b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""
        data = begin + line
        if (written := os.write(handle, data)) != len(data):
            # Lines that other processes appended in the meantime stay.
            if os.fstat(handle).st_size == size + written:
                os.ftruncate(handle, size)
            raise OSError("the disk is full")
        if synced:
            os.fsync(handle)
    finally:
        os.close(handle)
    if is_new and synced:
        host.sync_folder(os.path.dirname(path) or ".")
