"""A program that has loaded libraries, and runs code in copies of itself: to import them again would cost most of the
time of many tests.

A copy is a process like any other: it has the arguments, environment, folder and streams that it is given, runs the
code as its main module, gets signals, and ends as an interpreter does, with its exit handlers. All that differs is what
is loaded, and who its parent is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

# Each request comes with four descriptors: the three streams of the copy, and where its pid and its exit status go.
# A copy ends without taking its modules apart, which costs more than most of them do: all that a program can tell is
# done by then, as the function that ends it is the first to be registered, and so the last to be called.
_PROGRAM = """
import atexit, gc, importlib, json, os, select, signal, socket, sys, time
def end(codes):
    import os, sys  # the program has no names but its own
    if codes:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except Exception:  # the interpreter reports it
            return
        os._exit(codes[0] & 0xff)
def run(code, space, codes):
    del space["run"], space["arguments"]
    try:
        exec(code, space)
    except SystemExit as asked:
        codes.append(asked.code if isinstance(asked.code, int) else 0 if asked.code is None else 1)
        raise
    codes.append(0)
codes = []
atexit.register(end, codes)
gc.disable()
for name in sys.argv[2:]:
    importlib.import_module(name)
gc.freeze()  # else each copy would look through all of it for garbage, and so have memory of its own for it
gc.enable()
door = socket.socket(fileno=int(sys.argv[1]))
poll = select.poll()
poll.register(door, select.POLLIN)
controls, copies = {}, {}
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    ready = {descriptor for descriptor, _ in poll.poll()}
    for copy in copies.keys() & ready:
        child, status = copies.pop(copy)
        poll.unregister(copy)
        os.close(copy)
        try:
            os.write(status, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        except BrokenPipeError:  # no one waits for it
            pass
        os.close(status)
    asked = controls.keys() & ready
    if door.fileno() in ready:
        control = door.accept()[0]
        controls[control.fileno()] = control
        poll.register(control, select.POLLIN)
    if not asked:
        continue
    number = asked.pop()
    try:
        line, given, _, _ = socket.recv_fds(controls[number], 1 << 20, 4)
    except ConnectionResetError:  # what asked was killed
        line = b""
    if not line:
        poll.unregister(number)
        controls.pop(number).close()
        if not controls:
            door.close()
            for child, _ in copies.values():
                os.waitpid(child, 0)
            os._exit(0)
        continue
    if (child := os.fork()) == 0:
        break
    for descriptor in given[:3]:
        os.close(descriptor)
    os.write(given[3], b"%d\\n" % child)
    copy = os.pidfd_open(child)
    copies[copy] = child, given[3]
    poll.register(copy, select.POLLIN)
door.close()
for control in controls.values():
    control.close()
signal.signal(signal.SIGINT, signal.default_int_handler)
for copy, (_, status) in copies.items():
    os.close(copy)
    os.close(status)
os.close(given.pop())
request = json.loads(line)
os.environ.clear()
os.environ.update(request["environment"])
sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))  # as at the start of an interpreter
time.tzset()
os.umask(request["umask"])
os.chdir(request["folder"])
for number in (0, 1, 2):
    os.dup2(given[number], number)
    os.close(given[number])
    name = ("stdin", "stdout", "stderr")[number]
    old = getattr(sys, name)
    buffering = 1 if number == 2 else -1
    new = open(number, old.mode, buffering, encoding=old.encoding, errors=old.errors, closefd=False)
    setattr(sys, name, new)
    setattr(sys, f"__{name}__", new)
sys.argv[:] = ["-c", *request["arguments"]]
code = compile(request["code"], "<string>", "exec")
kept = {"run", "code", "codes", "kept", "name"}
kept |= {"__name__", "__builtins__", "__doc__", "__loader__", "__spec__", "__package__"}
for name in set(globals()) - kept:
    del globals()[name]
arguments = code, globals(), codes
del kept, name, code, codes
run(*arguments)
"""


_TOP = Path(__file__).parent.parent


def _modules(*folders: str, top: Path = _TOP) -> Iterator[str]:
    """Yield the modules in folders of a checkout."""
    for folder in folders:
        for file in sorted((top / folder).rglob("*.py")):
            parts = file.relative_to(top).with_suffix("").parts
            yield ".".join(parts[parts[0] == "sync" :]).removesuffix(".__init__")


# What commands and hubs load: all of ours that they may need, and what takes the longest of others.
_OURS = (
    *_modules("localops/cli", "localops/coding", "localops/reading", "localops/server"),
    *_modules("localops/transfer", "localops/upkeep", "sync/localops_sync"),
    "localops.__main__",
    "anyio._backends._asyncio",
    "click._textwrap",
    "concurrent.futures.thread",
    "ctypes",
    "difflib",
    "encodings.idna",
    "glob",
    "gzip",
    "pwd",
    "resource",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)
# What a program loads that records.
_RECORDER = (
    "localops.api",
    "localops.decorators",
    "localops.host",
    "localops.encoding.pricing",
    "localops.reading.analytics",
    "localops.reading.recorded_steps",
    "localops.reading.session_state",
    "localops.recording.client",
    "localops.recording.loop_watch",
    "localops.recording.once",
    "localops.recording.operation",
    "localops.recording.operation_rows",
    "localops.recording.process_exit",
    "localops.recording.scores",
    "asyncio",
    "concurrent.futures.thread",
)
MAIN = "from localops.__main__ import main\nmain()"


class Copy(subprocess.Popen[str]):
    """A running copy: whatever a Popen can do."""

    def __init__(self, arguments: list[str], status: int, pipes: Mapping[str, IO[str]]) -> None:
        self.args = arguments
        self.stdin, self.stdout, self.stderr = (pipes.get(name) for name in ("stdin", "stdout", "stderr"))
        self.returncode: int | None = None
        # What communicate() looks at.
        self.text_mode = True
        self._communication_started = False
        self._input = None
        self._child_created = False  # it is waited for by the program that it is a copy of
        self._status = os.fdopen(status, "rb", buffering=0)
        self._read = b""
        self._until(1, None)
        self.pid = int(self._read.split(b"\n")[0])
        _running.add(self)

    def _until(self, lines: int, deadline: float | None) -> bool:
        """Read as many lines of the keeper's; return whether they arrived in time."""
        while self._read.count(b"\n") < lines:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            if not select.select([self._status], [], [], left)[0]:
                return False
            piece = self._status.read(100)
            assert piece, "the program that holds the libraries has ended"
            self._read += piece
        return True

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code: that of a signal is negative."""
        if self.returncode is None:
            if not self._until(2, None if timeout is None else time.monotonic() + timeout):
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self._read.split(b"\n")[1])
            self._status.close()
            _running.discard(self)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ends just now
                os.kill(self.pid, number)


# The run of tests that this process has a part in.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
# The copies that run, and the programs that they are copies of.
_running: set[Copy] = set()
_holders: dict[tuple[str, ...], Warm] = {}


def running() -> set[Copy]:
    """Return the copies that had not ended when they were last checked."""
    return _running.copy()


def holders() -> set[int]:
    """Return the programs that hold libraries; they continue from test to test."""
    return {holder.pid for holder in _holders.values() if holder.pid is not None}


def holding(*libraries: str) -> Warm:
    """Return the program that has these libraries, and that runs until the tests end.

    The processes of pytest-xdist share it: to load model libraries takes as long as fifty tests.
    """
    if libraries not in _holders:
        digest = hashlib.sha256("\n".join(libraries).encode()).hexdigest()[:16]
        _holders[libraries] = Warm(*libraries, name=f"{_RUN}-{digest}")
    return _holders[libraries]


def ours() -> Warm:
    """Return the program that has loaded what commands of localops need."""
    return holding(*_OURS)


def recorder() -> Warm:
    """Return the program that has loaded what it takes to record."""
    return holding(*_RECORDER)


def with_models() -> Warm:
    """Return the program that has loaded model libraries, and after them what it takes to record."""
    return holding("openai", "anthropic", "openinference.instrumentation.openai", *_RECORDER)


def testing() -> Warm:
    """Return the program that has loaded pytest, and what it takes to record."""
    return holding("pytest", *_RECORDER)


def of(top: Path) -> Warm:
    """Return a program that has loaded what commands of another checkout need; it ends with its `with` block."""
    folders = "localops/cli", "localops/reading", "localops/server", "sync/localops_sync"
    return Warm(*_modules(*folders, top=top), top=top)


def localops(*arguments: object, timeout: float = 120) -> CompletedProcess[str]:
    """Run a command of localops to its end."""
    return ours().run(MAIN, arguments=list(map(str, arguments)), timeout=timeout)


def start(
    command: Sequence[object], env: Mapping[str, str] | None = None, *, holder: Warm | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start a copy for a command as subprocess takes it: `python -m localops ...` or `python -c CODE ...`."""
    python, option, what, *arguments = map(str, command)
    assert (python, option == "-c" or what == "localops") == (sys.executable, True), command
    code = what if option == "-c" else MAIN
    if holder is None:
        holder = ours() if code == MAIN or "from localops.cli" in code else recorder()
    return holder.start(code, arguments, env, is_all=env is not None, **options)


def run(
    command: Sequence[object],
    *,
    capture_output: bool = False,
    check: bool = False,
    input: str | None = None,
    timeout: float = 120,
    **options: Any,
) -> CompletedProcess[str]:
    """Run a copy for a command to its end, with the options of subprocess.run."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with start(command, **options) as program:
        try:
            out, err = program.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
    done = CompletedProcess(program.args, program.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def end() -> None:
    """End the programs that hold libraries, unless other processes of this run still use them."""
    while _holders:
        _holders.popitem()[1].__exit__()


_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}


class Warm:
    """Runs programs in which libraries are loaded already.

    >>> with Warm("openai") as warm:
    ...     warm.run("import sys; print('openai' in sys.modules)").stdout
    'True\\n'
    """

    def __init__(self, *libraries: str, top: Path = _TOP, name: str | None = None) -> None:
        self._path = os.pathsep.join([str(top), str(top / "sync")])
        self.pid: int | None = None  # of the program, if this process has started it
        self._is_shared = name is not None
        address = f"\0localops-tests-{name or uuid.uuid4().hex}"  # no file, so that none is left
        while (control := _connected(address)) is None:
            with _socket() as door:
                try:
                    door.bind(address)
                except OSError:  # another process was faster
                    continue
                door.listen()
                self.pid = self._started(door, libraries, top)
        self._control = control

    def _started(self, door: socket.socket, libraries: Sequence[str], top: Path) -> int:
        options = () if top == _TOP else ("-P",)  # else it would find our code in the folder that it is started in
        door.set_inheritable(True)
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *options, "-c", _PROGRAM, str(door.fileno()), *libraries],
            {**os.environ, "PYTHONPATH": self._path},
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        )

    def start(
        self,
        code: str,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: str | Path | None = None,
        is_all: bool = False,
    ) -> Copy:
        """Start a program in the environment of the test and with what `env` adds, or in that alone if it is all.

        Its streams are those of the test by default, but stdin is empty; each may be subprocess.PIPE.
        """
        request = {
            "code": code,
            "arguments": list(arguments),
            "environment": {**({} if is_all else os.environ), "PYTHONPATH": self._path, **(env or {})},
            "folder": os.fspath(cwd or os.getcwd()),
            "umask": _umask(),
        }
        pipes: dict[str, IO[str]] = {}
        with contextlib.ExitStack() as stack:

            def ours(descriptor: int) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            def given(name: str, descriptor: int | None) -> int:
                if descriptor == subprocess.DEVNULL or (name, descriptor) == ("stdin", None):
                    return ours(os.open(os.devnull, os.O_RDWR))
                if descriptor != subprocess.PIPE:
                    return _NUMBERS[name] if descriptor is None else descriptor
                read, write = os.pipe()
                pipes[name] = os.fdopen(write, "w") if name == "stdin" else os.fdopen(read)
                return ours(read if name == "stdin" else write)

            streams = [given("stdin", stdin), given("stdout", stdout), given("stderr", stderr)]
            answers, status = os.pipe()
            socket.send_fds(self._control, [json.dumps(request).encode()], [*streams, ours(status)])
        return Copy([sys.executable, "-c", code, *arguments], answers, pipes)

    def run(
        self,
        code: str,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        *,
        input: str = "",
        timeout: float = 120,
    ) -> CompletedProcess[str]:
        """Run a program to its end; one that hangs fails the test."""
        with _files() as (given, out, err):
            given.write(input.encode())
            given.seek(0)
            copy = self.start(code, arguments, env, stdin=given.fileno(), stdout=out.fileno(), stderr=err.fileno())
            try:
                exit_code = copy.wait(timeout)
            except subprocess.TimeoutExpired as late:
                copy.kill()
                copy.wait()
                raise AssertionError(f"it hung, and wrote {Path(err.name).read_text()!r}") from late
            return CompletedProcess(copy.args, exit_code, Path(out.name).read_text(), Path(err.name).read_text())

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *failure: object) -> None:
        self._control.close()
        if self.pid is not None and not self._is_shared:  # a shared one ends with the last process that uses it
            os.waitpid(self.pid, 0)


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _connected(address: str) -> socket.socket | None:
    """Return a connection to the program that listens there, or None."""
    connection = _socket()
    try:
        connection.connect(address)
    except ConnectionRefusedError:
        connection.close()
        return None
    return connection


@contextlib.contextmanager
def _files() -> Iterator[list[IO[bytes]]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(tempfile.NamedTemporaryFile(buffering=0)) for _ in range(3)]


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
