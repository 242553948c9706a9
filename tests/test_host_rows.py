"""A session's rows about its machine, and opting out of them."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest

import localops
from localops import Session, clock, host
from tests import programs


def begun(*, opt_out: bool = False) -> Session:
    """Return a session, with or without its machine."""
    session = localops.init(env_data_opt_out=opt_out)
    assert session is not None
    return session


def test_what_costs_nothing_is_there_at_once() -> None:
    """Versions, operating system and folders are in the first row."""
    environment = begun().host_env
    assert environment["OS"]["Hostname"] == os.uname().nodename
    assert environment["Project Working Directory"] == {"Project Working Directory": os.getcwd()}
    assert "Installed Packages" not in environment


def test_the_rest_comes_with_the_end() -> None:
    """Hardware and packages are recorded before a session ends, once."""
    session = begun()
    session.end_session("Success")
    assert {"SDK", "OS", "CPU", "RAM", "Disk", "Installed Packages"} <= set(session.host_env)
    assert "apsw" in session.host_env["Installed Packages"]["Installed Packages"]
    kinds = [row[2] for row in session._journal.all("story", session=session._id)]
    assert kinds.count("host") == 1


def test_a_session_that_lasts_writes_the_rest_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first row after half a second writes it, so that it survives a kill."""
    session = begun()
    session.began_ns -= 10**9  # as if a second had passed
    session._journal._file.look_at = 0.0
    session.record(localops.ActionEvent())
    assert "Installed Packages" in session.host_env
    assert session.is_running


def test_opting_out_really_opts_out(tmp_path: os.PathLike[str]) -> None:
    """Neither the host's name nor its hardware or packages is in any file, while it runs or after."""
    session = begun(opt_out=True)
    assert set(session.host_env) == {"SDK"}
    running = _contents(tmp_path)
    session.end_session("Success")
    written = running + _contents(tmp_path)
    assert b'"machine":' in written
    for word in (
        '"host":',
        "Hostname",
        os.uname().version,
        "Installed Packages",
        os.getcwd(),
        f"on {host.hostname()}",
    ):
        assert word.encode() not in written


def test_the_next_session_does_not_look_at_the_machine_again() -> None:
    """A second session of a process has the same packages in its rows, and no folder of packages is read for it."""
    done = programs.run(
        "import localops, sys\nseen = []\n"
        "def watch(event, arguments):\n    if event == 'os.scandir': seen.append(arguments)\n"
        "sys.addaudithook(watch)\nfirst = localops.init()\nfirst.end_session('Success')\nassert seen\n"
        "seen.clear()\nsecond = localops.start_session()\nsecond.end_session('Success')\nassert not seen, seen\n"
        "what = [each.host_env['Installed Packages'] for each in (first, second)]\nassert what[0] == what[1]\n"
        "assert 'apsw' in what[1]['Installed Packages']"
    )
    assert (done.returncode, done.stderr) == (0, "")


def _contents(folder: os.PathLike[str]) -> bytes:
    """All that is in the files below a folder, read elsewhere: closing one here would free its locks."""
    paths = [os.path.join(top, name) for top, _, names in os.walk(folder) for name in names]
    return subprocess.run(["cat", *paths], capture_output=True, check=True).stdout


def test_a_machine_that_cannot_be_described_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If reading the machine fails, a warning is printed, and the session ends as it should."""

    def fail() -> None:
        raise OSError("no /proc today")

    session = begun()
    session.details = fail  # type: ignore[assignment]
    assert session.end_session("Success") == "0.00"
    assert "could not be described" in capsys.readouterr().err


def test_times_are_of_this_machine() -> None:
    """A session begins now, by the recorder's own clock."""
    before = clock.now_ns()
    session = begun()
    assert before <= session.began_ns <= clock.now_ns()
    assert abs(session.began_ns - time.time_ns()) < 3600 * 10**9
    assert host.identity()["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("redact", "secret", "names", "written"),
    [
        (True, "", ("tiktoken-0.14.0", "token-1.0"), {"tiktoken": "0.14.0", "token": "1.0"}),
        (True, "my-own-name-7", ("my_own_name_7-2.0",), {"[redacted:env MY_TOKEN]": "2.0"}),
        (lambda text: text.replace("2.0", "two"), "", ("example-2.0",), {"example": "two"}),
        (True, "", (b"odd\xff-3.0", b"example-2.0"), {"odd\ufffd": "3.0", "example": "2.0"}),
    ],
)
def test_packages_are_searched_for_the_users_own_words_only(
    redact: Any,
    secret: str,
    names: tuple[str | bytes, ...],
    written: dict[str, str],
    tmp_path: os.PathLike[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package may be called like a secret; words and hooks of the user hold for packages, too."""
    for name in names:
        os.mkdir(os.path.join(os.fsencode(tmp_path), os.fsencode(name) + b".dist-info"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MY_TOKEN", secret)
    session = localops.init(redact=redact)
    assert session is not None
    session.end_session("Success")
    packages = session.host_env["Installed Packages"]["Installed Packages"]
    assert written.items() <= packages.items(), packages
    assert {"SDK", "CPU", "RAM"} <= set(session.host_env)
