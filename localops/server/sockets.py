"""The sockets that the server listens on: of an address and port, or a Unix socket for proxies of the same machine."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Others of the group can connect: a proxy runs as another user.
_MODE = 0o660


@contextmanager
def listening(host: str, port: int, *, else_any: bool = False) -> Iterator[socket.socket]:
    """Yield a socket that is bound to an address; OSError with its name if it cannot be used.

    `else_any`: use any free port if this one is taken.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        # So that the message names the host.
        error.filename = host
        raise
    # With the protocol named, asyncio turns Nagle's algorithm off; else each response waits 40 ms for the client.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
        except OSError as error:
            if not else_any:
                error.filename = f"{host}:{port}"
                raise
            listener.bind((place[0], 0, *place[2:]))
        listener.set_inheritable(False)
        yield listener


@contextmanager
def unix_listening(path: str) -> Iterator[socket.socket]:
    """Yield a Unix socket for this user and group, in place of one that no process listens on; it is removed at last.

    OSError with its name if another process listens there, or if the path is that of anything else.
    """
    _remove_dead(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Not chmod afterwards: others could connect before it.
        before = os.umask(0o777 & ~_MODE)
        try:
            listener.bind(path)
        except OSError as error:
            # The system calls a long name "AF_UNIX path too long", without a number.
            error.filename = path
            raise
        finally:
            os.umask(before)
        ours = os.stat(path).st_ino
        try:
            yield listener
        finally:
            # Another hub may have replaced it in the meantime.
            with suppress(OSError):
                if os.stat(path).st_ino == ours:
                    os.unlink(path)


def _remove_dead(path: str) -> None:
    """Remove the socket of a killed process."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            # A full backlog, for example: a process listens.
            return
