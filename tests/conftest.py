"""The base of every test: its own home, no settings from outside, no program left running."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from localops import interruption, output
from tests import warm as warm_programs
from tests.examples import MORE, examples, sized
from tests.warm import Warm

# How long an example takes, or making one up, says nothing on a busy machine. An ordinary run looks at the same
# examples each time, so that a change is to blame for what it finds; scripts/stress looks at many others.
settings.register_profile(
    "localops",
    max_examples=sized(20, examples(50)),
    deadline=None,
    derandomize=not MORE,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("localops")

# The journal's files: journal.db, the parts of a network file system, and what SQLite puts beside them.
_JOURNAL = re.compile(r"(^|/)(journal|parts/[^/]+)\.db(-wal|-shm|-journal)?(\?.*)?$")

# Where the running test opened a journal without apsw. Closing such a file frees the locks of apsw, without a
# word: acknowledged rows would be lost. apsw itself raises no audit event.
_foreign: list[str] = []


# Whether a process was started since this was last looked at: the children of this one are looked at only then.
_STARTS = frozenset(("subprocess.Popen", "os.fork", "os.posix_spawn", "os.spawn"))
_OPENS = frozenset(("open", "sqlite3.connect"))
_started = True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Hear of an event of the interpreter; there are hundreds of each test, so most are not looked into."""
    global _started
    if event in _OPENS:
        path = arguments[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        # It looks that the file is not open, and that no thread opens it.
        if sys._getframe(1).f_code.co_name == "read_left":
            return
        new = event == "open" and arguments[2] & os.O_EXCL  # a file that was not there has no locks to lose
        if not new and ".db" in (name := os.fsdecode(path)) and _JOURNAL.search(name):
            _foreign.append(f"{event} {path!r}\n{''.join(traceback.format_stack()[:-1])}")
    elif event in _STARTS:
        _started = True


sys.addaudithook(_watch)

_KEPT = pytest.StashKey[str]()  # a folder of this run, gone when it ends


def pytest_configure(config: pytest.Config) -> None:
    """Give the programs that tests start the signals, the byte code and the home folder that they expect."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD):
        if signal.getsignal(number) == signal.SIG_IGN:  # an ignored signal stays ignored across exec
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    kept = config.stash[_KEPT] = tempfile.mkdtemp(prefix="localops-tests-")
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # else each of them would compile the whole package
        os.environ.setdefault("PYTHONPYCACHEPREFIX", os.path.join(kept, "bytecode"))
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home) or not os.access(home, os.W_OK | os.X_OK):
        os.environ["HOME"] = kept


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without the garbage collector: it would take as long again, and find nothing in what stays to the end."""
    gc.disable()
    try:
        _load_own_part(session.config)
        return (yield)
    finally:
        gc.freeze()  # nor is there any in it while the tests run
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the pages, which take the longest.

    Where several processes share the tests, one has all of them then, and others take something else from its end:
    each would start a browser, and record what is looked at.
    """
    items.sort(key=lambda item: item.path.parent.name != "web")


def _load_own_part(config: pytest.Config) -> None:
    """Load a part of the tests first, where several processes load all: the others then find its byte code.

    Assertions are rewritten when a file is compiled, which takes as long as a hundred tests of the usual kind.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args != config.getini("testpaths"):
        return
    own = int(worker["workerid"].removeprefix("gw"))
    for file in sorted(Path(__file__).parent.rglob("test_*.py"))[own :: worker["workercount"]]:
        name = ".".join(file.relative_to(config.rootpath).with_suffix("").parts)
        with contextlib.suppress(Exception, pytest.skip.Exception):  # to be reported when it is collected
            importlib.import_module(name)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the programs that hold libraries, and remove what the programs of the tests have left."""
    warm_programs.end()
    shutil.rmtree(config.stash[_KEPT], ignore_errors=True)
    # pytest looks for garbage five times after this; once is enough in what all tests have left.
    gc.collect()
    gc.freeze()


# What is shown depends on these; pytest-xdist sets COLUMNS to the width of its own output.
_OF_TERMINALS = ("COLUMNS", "LINES", "NO_COLOR", "PAGER")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a home below its own tmp_path, whatever is set outside, and leave no client or warning behind."""
    output._said.clear()
    monkeypatch.setattr(output, "_group", ",")  # a command that ran in this process may have turned it off
    if steps := sys.modules.get("localops.recording.once_calls"):
        steps._named.clear()  # each test names its steps as it likes
    for name in os.environ.copy():
        if name.startswith(("LOCALOPS_", "AGENTOPS_", "XDG_")) or name in _OF_TERMINALS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    if reset := getattr(sys.modules.get("localops.api"), "_reset", None):
        reset()
    held = interruption.waiting.copy()
    interruption.waiting.clear()
    assert held == {}, "the next call of localops would raise these"


@pytest.fixture
def bare_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads begin without a session; they take theirs along once a model library is loaded, as by other tests."""
    monkeypatch.setenv("LOCALOPS_THREADS", "0")


@pytest.fixture(scope="session")
def warm() -> Warm:
    """Start a program that has the model libraries, and then what it takes to record."""
    return warm_programs.with_models()


# The processes that fixtures of a module or of the whole run have started, and that go on from test to test.
_lasting: set[int] = set()


@pytest.fixture(autouse=True)
def _no_program_left() -> Iterator[None]:
    """End whatever the test started and did not end: a test that fails leaves no process behind."""
    global _lasting, _started
    if _started:
        _lasting = set(_children(os.getpid()))
        _started = False
    copies = warm_programs.running()
    yield
    for copy in warm_programs.running() - copies:
        if copy.poll() is None:
            _end(copy.pid)
            copy.wait()
    if not _started:
        return
    lasting = _lasting | warm_programs.holders()
    for child in _children(os.getpid()):
        if child not in lasting and not re.search("resource_tracker|forkserver", _command(child)):
            _end(child)


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started, by any of its threads."""
    children: list[int] = []
    for of_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            children += map(int, of_thread.read_text().split())
    return children


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _end(pid: int) -> None:
    """Kill a process and all that it has started."""
    children = _children(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except OSError:  # it has ended, or somebody else waits for it
        pass
    for child in children:
        _end(child)


@pytest.fixture(autouse=True)
def _only_apsw_opens_journals(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which anything but apsw opened a journal in this process, unless it is marked for it."""
    _foreign.clear()
    yield
    opened, allowed = _foreign.copy(), request.node.get_closest_marker("foreign_open")
    _foreign.clear()
    if opened and not allowed:
        pytest.fail("a journal was opened without apsw: " + "\n".join(opened))
