"""A program that has loaded libraries, and runs code in copies of itself: to import them again takes a second each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

from . import programs

# A copy is a process like any other: it has the environment, folder and streams that it is given, runs the code as
# its main module, and ends as an interpreter does, with its exit handlers. All that differs is what is loaded.
_PROGRAM = """
import gc, importlib, json, os, sys
gc.disable()
for name in sys.argv[1:]:
    importlib.import_module(name)
del sys.argv[1:]
gc.freeze()  # else each copy would look through all of it for garbage, and so have memory of its own for it
gc.enable()
while line := sys.stdin.readline():
    if (child := os.fork()) == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
request = json.loads(line)
os.environ.clear()
os.environ.update(request["environment"])
os.chdir(request["folder"])
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number in (1, 2):
    os.dup2(os.open(request["streams"][number - 1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
code = compile(request["code"], "<string>", "exec")
kept = {"code", "kept", "name", "__name__", "__builtins__", "__doc__", "__loader__", "__spec__", "__package__"}
for name in set(globals()) - kept:
    del globals()[name]
del kept, name
exec(code)
"""


class Warm:
    """Runs programs in which libraries are loaded already.

    >>> with Warm("openai") as warm:
    ...     warm.run("import sys; print('openai' in sys.modules)").stdout
    'True\\n'
    """

    def __init__(self, *libraries: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *libraries],
            env={**os.environ, "PYTHONPATH": programs._PATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
        """Run a program to its end, in the environment of the test and with what `env` adds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            streams = [str(Path(folder) / name) for name in ("out", "err")]
            request = {
                "code": code,
                "environment": {**os.environ, "PYTHONPATH": programs._PATH, **(env or {})},
                "folder": os.getcwd(),
                "streams": streams,
            }
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
            assert answer, f"the program that holds the libraries ended with {self._process.wait()}"
            out, err = (Path(stream).read_text() for stream in streams)
        return CompletedProcess(["python", "-c", code], int(answer), out, err)

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.communicate(timeout=60)
