"""There always is a session: one that cannot record yet counts, warns once, and continues when it can."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import localops
from localops import Config
from localops.journal import spill
from localops.recording.client import Client
from localops.upkeep.doctor import examine
from tests import programs

_NO_DESCRIPTORS = """
import localops, os, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True: held.append(os.open(os.devnull, os.O_RDONLY))
except OSError: pass
session = localops.init()  # loads the code of the package, too
joined = localops.start_session(inherited_session_id=session.session_id)
assert joined is session
for _ in range(100): localops.record(localops.ActionEvent(action_type="without"))
assert session._journal.counts["dropped"] == 101  # with the row that the session begins with
for handle in held: os.close(handle)
for _ in range(20): localops.record(localops.ActionEvent(action_type="with"))
time.sleep(0.6)
for _ in range(20): localops.record(localops.ActionEvent(action_type="with"))
counts = session._journal.counts
print(counts["dropped"], session.get_analytics()["Actions"])
"""


def _dropped() -> list[str]:
    home = os.environ["LOCALOPS_HOME"]
    return [finding.text for finding in examine(home, ["default"]) if "could not be written anywhere" in finding.text]


def test_a_session_without_descriptors_counts_and_recovers() -> None:
    """Losses are counted and named; the session begins in the journal as soon as files can be opened."""
    done = programs.run(_NO_DESCRIPTORS, fresh=True)
    assert done.stdout == "100 40\n", done.stderr
    assert done.stderr.count("is lost") == 1
    assert "100 rows could not be written anywhere and are lost; see `localops doctor`" in done.stderr
    assert "100 events could not be written anywhere" in _dropped()[0]
    with programs.reader() as journal:
        assert journal.ask("select count(*) from event where kind = 'session'") == [(1,)]
        assert '"place":0' not in journal.ask("select body from event where kind = 'session'")[0][0]
    assert programs.standing()[:2] == ("Indeterminate", "process exited without end_session")


def test_the_first_use_without_descriptors_is_counted() -> None:
    """A decorated function runs, and record() counts, where not even our code can be loaded in the usual way."""
    code = _NO_DESCRIPTORS.partition("session = ")[0]
    code += (
        "double = localops.tool(lambda number: 2 * number)\nprint(localops.session(double)(4))\n"
        "localops.record(localops.ActionEvent(action_type='without'))\n"
        "print(localops.start_session()._journal.counts['dropped'])"
    )
    done = programs.run(code, fresh=True)
    # Five rows of the session with the call, two of the event and the session that it is kept in, one of the last.
    assert (done.returncode, done.stdout) == (0, "8\n8\n"), done.stderr


def test_a_file_of_the_program_is_not_taken_for_the_reserve() -> None:
    """A daemon closes all descriptors after the import, and opens its files under their numbers."""
    code = (
        "import localops, os\nos.closerange(3, 64)\n"
        "held = [os.memfd_create(str(number)) for number in range(8)]\n"
        "localops.init()\n"
        "for handle in held: os.write(handle, b'mine')\n"
        "print(len({os.fstat(handle).st_ino for handle in held}))"
    )
    done = programs.run(code, fresh=True)
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr


_NOWHERE = """
import atexit, localops, os, sys
session = localops.init()
if sys.argv[1:]: atexit.register(os.unlink, os.environ["XDG_STATE_HOME"])
for _ in range(10): localops.record(localops.ActionEvent(action_type="lost"))
"""


def _blocked(tmp_path: Path) -> dict[str, str]:
    """A home and a state folder that are files, so that nothing can be written."""
    for name in ("home", "state"):
        (tmp_path / name).write_text("")
    return {}


def test_what_is_lost_until_the_end_is_reported_at_the_end(tmp_path: Path) -> None:
    """If not even the number can be stored, it is printed on stderr."""
    _blocked(tmp_path)
    done = programs.run(_NOWHERE)
    assert done.returncode == 0
    assert "13 rows could not be written anywhere and are lost; this figure could not be written either" in done.stderr


def test_the_figure_is_kept_where_it_can_be(tmp_path: Path) -> None:
    """A place that takes a row at the very end takes the figure, and doctor shows it."""
    _blocked(tmp_path)
    done = programs.run(_NOWHERE, "unblock")
    assert "11 rows could not be written anywhere and are lost; see `localops doctor`" in done.stderr
    (tmp_path / "home").unlink()
    programs.run("import localops; localops.init(); localops.end_session()")
    assert "11 events could not be written anywhere" in _dropped()[0]


def test_sigterm_says_what_was_lost(tmp_path: Path) -> None:
    """The handler gives the account that the exit would have given."""
    _blocked(tmp_path)
    done = programs.run(_NOWHERE + "import signal, time\nos.kill(os.getpid(), signal.SIGTERM); time.sleep(9)")
    assert done.returncode == -15
    assert "13 rows could not be written anywhere and are lost" in done.stderr


def test_a_clock_before_1970_is_not_an_error() -> None:
    """A machine whose clock was never set records, as of 1970."""
    code = (
        "import time\ntime.time_ns = lambda: -(10**18)\nimport localops\n"
        "with localops.init() as session: localops.record(localops.ActionEvent(action_type='early'))\n"
        "print(session.init_timestamp[:4], session.end_state)"
    )
    done = programs.run(code, fresh=True)
    assert (done.stdout, done.returncode) == ("1970 Success\n", 0), done.stderr
    assert programs.names() == ["early"]
    with programs.reader() as journal:
        assert journal.ask("select count(*) from event where not json_valid(body)") == [(0,)]


def test_a_home_whose_name_is_not_text_is_recorded_into(tmp_path: Path) -> None:
    """A path of bytes that are no UTF-8 has a journal like any other, which the commands read."""
    home = os.fsdecode(os.fsencode(str(tmp_path)) + b"/h\xff")
    code = (
        "import localops\nwith localops.init() as session:\n"
        "    for _ in range(5): localops.record(localops.ActionEvent(action_type='a'))\n"
        "print(session._journal.counts['dropped'])"
    )
    done = programs.run(code, env={"LOCALOPS_HOME": home})
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    assert done.stderr == ""
    command = "from localops.cli import main; main(['sessions', '--json'])"
    [session] = json.loads(programs.run(command, env={"LOCALOPS_HOME": home}).stdout)["sessions"]
    assert (session["state"], spill.count(os.path.join(home, "default"))) == ("Success", 0)


def test_what_a_session_can_do_without_never_keeps_it_from_starting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that cannot be described, for one."""
    monkeypatch.setattr("os.getcwd", lambda: 1 / 0)
    client = Client(Config(signals=False))
    session = client.start()
    session.record(localops.ActionEvent())
    assert session.get_analytics()["Actions"] == 1
    capsys.readouterr()
    client.close()


_INTERRUPTED = """
import sys, localops

class Alarm:
    def find_spec(self, name, path=None, target=None):
        if name == "localops.api":
            sys.meta_path.remove(self)
            raise TimeoutError("of a signal handler")

sys.meta_path.insert(0, Alarm())
try:
    localops.init
except TimeoutError:
    print("arrived")
"""


def test_an_exception_of_the_program_arrives_while_the_code_is_loaded() -> None:
    """It is an OSError too, but not one that another descriptor would help against."""
    assert programs.run(_INTERRUPTED, fresh=True).stdout == "arrived\n"
