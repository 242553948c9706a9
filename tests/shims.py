"""`localops` for the shell scripts of tests: each call runs in a copy of a program that has loaded the commands."""

from __future__ import annotations

import marshal
import os
import socket
import sys
import threading
from pathlib import Path

from tests import warm

# Passes its streams, arguments and environment on, and ends as the copy does.  `socket` and `json` would take longer to
# load than all of it takes.
_CLIENT = """#!{python} -IS
import _socket, marshal, os, sys
mask = os.umask(0o077)
request = marshal.dumps((sys.argv[1:], dict(os.environ), os.getcwd(), mask))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
door.connect({door!r})
door.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
code = int(door.recv(20))
sys.exit(code if code >= 0 else 128 - code)
"""


class Shim:
    """A file `localops` in a folder for the path of a shell, for as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.bind(str(folder / "door"))
        self._door.listen()
        self._one_at_a_time = threading.Lock()  # to start one looks at the umask, which belongs to the process
        script = folder / "localops"
        script.write_text(_CLIENT.format(python=sys.executable, door=str(folder / "door")))
        script.chmod(0o700)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            call, _ = self._door.accept()
            line, streams, _, _ = socket.recv_fds(call, 1 << 20, 3)
            if not line:
                call.close()
                return
            threading.Thread(target=self._run, args=(call, line, streams)).start()

    def _run(self, call: socket.socket, line: bytes, streams: list[int]) -> None:
        arguments, environment, folder, mask = marshal.loads(line)
        with call:
            with self._one_at_a_time:
                before = os.umask(mask)
                try:
                    copy = warm.ours().start(
                        warm.MAIN,
                        arguments,
                        environment,
                        **dict(zip(("stdin", "stdout", "stderr"), streams, strict=True)),
                        cwd=folder,
                        is_all=True,
                    )
                finally:
                    os.umask(before)
            for stream in streams:
                os.close(stream)
            call.send(str(copy.wait()).encode())

    def __enter__(self) -> Shim:
        return self

    def __exit__(self, *failure: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(self._door.getsockname())
        self._thread.join()
        self._door.close()
