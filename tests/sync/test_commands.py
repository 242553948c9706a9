"""Output and exit codes of `localops sync` and its neighbours, as a script and a person see them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import apsw
import pytest

from localops import cli, output
from localops_sync.cli.sync import _Request
from tests import ports, warm
from tests.server.hubs import RealHub
from tests.sync.chaos import Authority, Chaos, Exchange
from tests.sync.homes import Sender, identities
from tests.warm import localops


@pytest.fixture
def sender(tmp_path: Path, real: RealHub) -> Sender:
    """Return a home with three rows and one about the journal, none of them sent."""
    sender = Sender(tmp_path / "home", real.url, real.new_key(tmp_path.name.strip("_")))
    sender.write(3)
    return sender


def _localops(sender: Sender, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: starting one takes longer than most passes do."""
    output._said.clear()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--home", sender.home])
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def _process(sender: Sender, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a script does."""
    return localops(*arguments, "--home", sender.home)


def test_rows_that_are_left_are_in_the_exit_code(sender: Sender) -> None:
    """A pass that may send fewer rows than there are ends with 6; one that may send just as many, with 0."""
    assert _process(sender, "sync", "--max-rows", "2").returncode == 6
    assert _process(sender, "sync", "--max-rows", "2").returncode == 0


def test_a_comparison_that_finds_nothing_is_silent_in_cron(sender: Sender) -> None:
    """`--verify --quiet` prints nothing without a difference; without --quiet it prints how much was compared."""
    done = _localops(sender, "sync", "--verify", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "1 session compared, no difference" in _localops(sender, "sync", "--verify").stderr
    [report] = json.loads(_localops(sender, "sync", "--verify", "--json").stdout)["remotes"]
    assert (report["sessions_compared"], report["notes"]) == (1, [])


def test_a_key_to_another_project_gets_nothing(sender: Sender, real: RealHub) -> None:
    """Rows of one project do not go into another because somebody mixed up two keys; `remote test` says it, too."""
    assert _localops(sender, "sync").returncode == 0
    mixed_up = Sender(Path(sender.home), real.url, real.new_key("elsewhere"))
    mixed_up.write(1)
    done = _localops(mixed_up, "sync")
    assert (done.returncode, "is to project elsewhere" in done.stderr) == (4, True)
    assert _localops(mixed_up, "remote", "test", "hub").returncode == 4
    there = real.folder.parent / "elsewhere" / "journal.db"
    assert not there.exists() or len(identities(str(there))) <= 1


def test_rows_left_are_reported_when_the_key_cannot_be_read(sender: Sender, tmp_path: Path) -> None:
    """A pass that could not begin still reports the rows that are left."""
    path = tmp_path / "key"
    path.write_text("x")
    Sender(Path(sender.home), sender.remote.url, "", key_file=str(path))
    path.unlink()
    [report] = json.loads(_localops(sender, "sync", "--json").stdout)["remotes"]
    assert (report["code"], report["rows_left"]) == (4, 4)
    assert "[Errno" not in report["message"]


def test_a_remote_that_is_not_there_is_named_once(sender: Sender) -> None:
    """`--remote` with an unknown name: the line begins with what is wrong."""
    done = _localops(sender, "sync", "--remote", "typo")
    assert (done.returncode, done.stderr.startswith("localops: there is no remote 'typo'")) == (2, True)


@pytest.mark.parametrize("command", [["receipts"], ["parked", "list"], ["parked", "retry"], ["parked", "drop", "1"]])
def test_a_remote_that_is_not_there_is_an_error(sender: Sender, command: list[str]) -> None:
    """Each command says so, with exit code 1; one that is there, and has nothing to list, is no error."""
    done = _localops(sender, *command, "--remote", "other")
    assert (done.returncode, "there is no remote 'other'" in done.stderr) == (1, True)
    assert "there is no remote" not in _localops(sender, *command, "--remote", "hub").stderr


def test_rows_that_are_not_parked_are_neither_dropped_nor_retried(sender: Sender) -> None:
    """A number that no parked row has is an error, not a success for no row."""
    for what in ("drop", "retry"):
        done = _localops(sender, "parked", what, "3")
        assert (done.returncode, "no parked row has the number 3" in done.stderr) == (1, True)


def test_prune_refuses_an_unknown_remote(sender: Sender) -> None:
    """A misspelt `--include-unsent` is an error."""
    done = _localops(sender, "prune", "--older-than", "1d", "--include-unsent", "hbu", "--yes")
    assert (done.returncode, "unknown remote 'hbu'" in done.stderr) == (1, True)


def test_remote_test_and_sync_agree_about_who_must_act(sender: Sender) -> None:
    """If no server listens, both end with 5."""
    for command in (["sync"], ["remote", "test", "hub"]):
        away = Sender(Path(sender.home), "http://127.0.0.1:9", "k")
        assert _localops(away, *command).returncode == 5


@pytest.mark.parametrize(("name", "message"), [("a b", "invalid remote name"), ("ok", "has no options: speed")])
def test_an_invalid_remote_is_refused_when_it_is_added(sender: Sender, name: str, message: str) -> None:
    """An invalid name, and an option that a hub does not have, are refused."""
    done = _localops(sender, "remote", "add", name, "http://127.0.0.1:9", "--key", "k", "--option", "speed=9")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem: No such file"),
        (["--ca", __file__], "it holds no certificate"),
        (["--kind", "otlp", "--option", "protocol=grpc"], "expected one of protobuf, json"),
        (["--kind", "otlp", "--option", "speed=9"], "unknown option 'speed'"),
        (["--kind", "otlp", "--option", "header=x"], ""),
        (["--kind", "otlp", "--option", "auth=agentops", "--option", "header=x"], "goes with auth=bearer"),
        (["--kind", "agentops", "--option", "speed=9"], "has no options: speed"),
        (["--header", "X-Team=a\nX-More: b"], "the header X-Team has characters that HTTP cannot carry"),
    ],
)
def test_invalid_options_are_refused_when_a_remote_is_added(sender: Sender, options: list[str], message: str) -> None:
    """`remote add` checks options and certificates, not the first pass at night."""
    done = _localops(sender, "remote", "add", "ok", "http://127.0.0.1:9", "--key", "k", *options)
    assert (done.returncode, message in done.stderr) == (2 if message else 0, True), done.stderr


def test_a_certificate_that_is_not_known_names_the_way_out(sender: Sender, tmp_path: Path) -> None:
    """`remote test` says what `remote move --ca` is for; after it, what is there is asked."""
    authority = Authority(tmp_path)
    with Chaos(tls=authority.context()) as server:
        _localops(sender, "remote", "move", "hub", server.url)
        done = _localops(sender, "remote", "test", "hub")
        assert (done.returncode, "remote move NAME URL --ca FILE" in done.stdout) == (4, True), done.stdout
        assert _localops(sender, "remote", "move", "hub", server.url, "--ca", authority.path).returncode == 0
        assert "ok  certificate" in _localops(sender, "remote", "test", "hub").stdout


def test_http_and_https_mixed_up_is_explained(sender: Sender, real: RealHub, tmp_path: Path) -> None:
    """A hub without a certificate behind https://, and one with a certificate behind http://, are explained."""
    _localops(sender, "remote", "move", "hub", real.url.replace("http:", "https:"))
    done = _localops(sender, "remote", "test", "hub")
    assert (done.returncode, "does not speak https" in done.stdout) == (4, True), done.stdout
    with Chaos(tls=Authority(tmp_path).context()) as server:
        _localops(sender, "remote", "move", "hub", server.url.replace("https:", "http:"))
        done = _localops(sender, "remote", "test", "hub")
    assert (done.returncode, "speaks https there" in done.stdout) == (5, True), done.stdout


def test_a_test_leaves_nothing_behind(tmp_path: Path, real: RealHub) -> None:
    """A remote is tested before anything was recorded, and no journal is created."""
    sender = Sender(tmp_path / "home", real.url, real.new_key("untouched"))
    assert _localops(sender, "remote", "test", "hub").returncode == 0
    assert os.listdir(sender.folder) == ["remotes.json"]


def test_one_broken_file_stops_no_other_project(sender: Sender) -> None:
    """An unreadable file is reported, and in the exit code if it was asked for; the others' remotes work."""
    there = Path(sender.home) / "other"
    there.mkdir()
    (there / "remotes.json").write_text("{")
    moving = ["move", "hub", sender.remote.url]
    for command, code in (["list"], 4), (["test", "hub"], 0), (moving, 0), (["test", "x"], 4):
        done = _localops(sender, "remote", *command)
        assert (done.returncode, "other/remotes.json" in done.stderr) == (code, True), done.stderr
    report = json.loads(_localops(sender, "remote", "list", "--json").stdout)
    assert ([each["name"] for each in report["remotes"]], len(report["unreadable"])) == (["hub"], 1)
    assert _localops(sender, "sync").returncode == 4
    assert _localops(sender, "receipts").stdout.count("hub") == 1


_CONFINED = ["unshare", "--map-root-user", "--mount"]
_can_confine = pytest.mark.skipif(
    subprocess.run([*_CONFINED, "true"], capture_output=True, check=False).returncode != 0,
    reason="needs a mount namespace",
)


def _mounted(sender: Sender, mount: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command, with something mounted over the home ($0) that only it sees."""
    command = [*_CONFINED, "sh", "-c", f'{mount} && exec "$@"', sender.home]
    command += [sys.executable, "-m", "localops", *arguments, "--home", sender.home]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@_can_confine
def test_a_read_only_home_is_reported(sender: Sender) -> None:
    """`remote test` works there; what would change something says that it cannot, and names the file."""
    ro = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    assert _mounted(sender, ro, "remote", "test", "hub").returncode == 0
    done = _mounted(sender, ro, "remote", "remove", "hub", "--yes")
    assert (done.returncode, done.stderr) == (2, f"localops: {sender.folder} cannot be written: hub was not removed\n")
    done = _mounted(sender, ro, "remote", "move", "hub", "http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (1, f"localops: {sender.folder}/remotes.json: Read-only file system\n")


@_can_confine
def test_a_full_disk_is_named_as_such(sender: Sender) -> None:
    """If a reader's small file does not fit, the error is not `disk I/O error`; nothing is lost by it."""
    full = (
        'cp -a "$0" "$0.kept" && mount -t tmpfs -o size=1m none "$0" && cp -a "$0.kept/." "$0" && '
        '{ head -c 1m /dev/zero >"$0/filler" 2>/dev/null; true; }'
    )
    for command in ["sync"], ["remote", "test", "hub"], ["parked", "list"]:
        done = _mounted(sender, full, *command)
        assert (done.returncode, "the disk is full" in done.stderr) == (1, True), done.stderr


def test_a_port_that_is_taken_is_named(real: RealHub, tmp_path: Path) -> None:
    """`hub serve` names the address that it could not listen on."""
    port = real.url.rpartition(":")[2]
    command = [sys.executable, "-m", "localops", "hub", "serve", "--data", str(tmp_path), "--port", port]
    done = warm.run(command, capture_output=True, timeout=60)
    assert (done.returncode, f"127.0.0.1:{port}" in done.stderr, "[Errno" in done.stderr) == (1, True, False)


def test_a_certificate_without_its_key_is_reported(tmp_path: Path) -> None:
    """`hub serve` names the files, not a line of OpenSSL's source alone."""
    path = tmp_path / "cert.pem"
    path.write_text("none")
    command = [sys.executable, "-m", "localops", "hub", "serve", "--data", str(tmp_path), "--tls-cert", str(path)]
    done = warm.run(command, capture_output=True, timeout=60)
    assert (done.returncode, str(path) in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_key_is_changed_and_what_was_sent_stays_known(sender: Sender, real: RealHub) -> None:
    """`remote key` sets another key; the next pass sends only new rows."""
    assert _localops(sender, "sync").returncode == 0
    sender.write(1)
    assert _localops(sender, "remote", "key", "hub").returncode == 2
    changed = _localops(sender, "remote", "key", "hub", "--key", real.new_key(Path(sender.home).parent.name.strip("_")))
    assert changed.returncode == 0
    [report] = json.loads(_localops(sender, "sync", "--json").stdout)["remotes"]
    assert (report["code"], report["rows_sent"]) == (0, 1)
    signed = [each["signature"] for each in json.loads(_localops(sender, "receipts", "--json").stdout)["receipts"]]
    assert signed == ["good", "by an older key"]


def test_a_key_that_others_can_read_prints_a_warning(sender: Sender, tmp_path: Path) -> None:
    """Anyone who can read the key's file can write to the hub: it is reported when it is set, and by doctor."""
    path = _key_file(tmp_path, sender)
    path.chmod(0o644)
    arguments = ("remote", "add", "again", sender.remote.url, "--key-file", str(path))
    assert f"chmod 600 {path}" in _localops(sender, *arguments).stderr
    assert f"the mode of {path} is 0644" in _localops(sender, "doctor").stdout
    path.chmod(0o600)
    assert "chmod" not in _localops(sender, "remote", "key", "again", "--key-file", str(path)).stderr
    assert "the mode of" not in _localops(sender, "doctor").stdout


def test_a_folder_without_a_journal_is_no_project(sender: Sender) -> None:
    """Other folders in the home are not counted, and have no remote."""
    (Path(sender.home) / "notes").mkdir()
    checked = _localops(sender, "doctor").stdout
    assert ("default: " in checked, "notes" in checked) == (True, False)
    added = _localops(sender, "remote", "add", "again", sender.remote.url, "--key", sender.remote.key or "")
    assert (added.returncode, "added again for project default" in added.stderr) == (0, True)


def test_a_remote_that_is_there_already_is_changed_not_removed(sender: Sender) -> None:
    """Removing it would forget what it has: the advice is to move it, or to give it another key."""
    done = _localops(sender, "remote", "add", "hub", "http://127.0.0.1:9", "--key", "k")
    assert (done.returncode, "localops remote move" in done.stderr, "remove" in done.stderr) == (2, True, False)
    done = _localops(sender, "remote", "key", "hub", "--key", "schlüssel")
    assert (done.returncode, "its key has characters" in done.stderr) == (2, True), done.stderr


def test_an_offline_pass_reports_that_rows_are_kept(sender: Sender) -> None:
    """The message shows that nothing is lost."""
    assert _localops(sender, "remote", "move", "hub", "http://127.0.0.1:1").returncode == 0
    done = _localops(sender, "sync")
    assert (done.returncode, "; 4 rows kept, since 2" in done.stderr) == (5, True)


def test_a_problem_for_a_person_is_printed_once_an_hour(sender: Sender) -> None:
    """Cron must not mail every five minutes; another problem, or the same one after a success, is printed at once."""
    good = sender.remote.key or ""
    _localops(sender, "remote", "key", "hub", "--key", "6b1f2f0e-0000-4000-8000-000000000009")
    first, again = (_localops(sender, "sync", "--quiet") for _ in range(2))
    assert (first.returncode, again.returncode, again.stderr) == (4, 4, "")
    assert "; 4 rows kept, since 2" in first.stderr
    assert "4 rows kept" in _localops(sender, "sync").stderr
    kept = Path(sender.folder) / "sync.said"
    assert kept.stat().st_mode & 0o777 == 0o600
    printed = json.loads(kept.read_text())
    for at in 0.0, time.time() + 86_400:
        kept.write_text(json.dumps({"hub": [at, printed["hub"][1]]}))
        assert "4 rows kept" in _localops(sender, "sync", "--quiet").stderr
    _localops(sender, "remote", "key", "hub", "--key", good)
    assert _localops(sender, "sync", "--quiet").returncode == 0
    assert json.loads(kept.read_text()) == {}
    assert _localops(sender, "sync").stdout == "default → hub: nothing to send\n"
    assert _localops(sender, "sync", "--quiet").stdout == ""


def test_a_budget_that_is_used_up_is_no_mail(sender: Sender) -> None:
    """Rows that are left for the next pass by a budget need no person."""
    done = _localops(sender, "sync", "--quiet", "--max-rows", "2")
    assert (done.returncode, done.stdout, done.stderr) == (6, "", "")


def test_a_day_without_success_is_reported_once_a_day(sender: Sender) -> None:
    """Under --quiet a machine that is offline for a day speaks, once, and again a day later, but not before."""
    gone = Sender(Path(sender.home), f"http://127.0.0.1:{ports.free()}", sender.remote.key or "")
    assert _localops(gone, "sync", "--quiet").stderr == ""
    connection = apsw.Connection(gone.journal)
    connection.execute("update event set at_ns = at_ns - 90000000000000")
    connection.close()
    first, again = (_localops(gone, "sync", "--quiet") for _ in range(2))
    assert (first.returncode, again.returncode, again.stderr) == (5, 5, "")
    assert "nothing has arrived there since" in first.stderr
    warned = Path(gone.folder) / "sync.warned"
    assert warned.stat().st_mode & 0o777 == 0o600
    os.utime(warned, (0, 0))
    assert "nothing has arrived there since" in _localops(gone, "sync", "--quiet").stderr


def _misplaced(sender: Sender) -> Path:
    """Give a home without a remote one for a project without rows; return that project's folder."""
    assert _localops(sender, "remote", "remove", "hub", "--yes").returncode == 0
    added = _localops(sender, "remote", "add", "hub", sender.remote.url, "--key", "k", "--project", "research")
    assert added.returncode == 0
    return Path(sender.home) / "research"


def _a_day_ago(path: Path) -> None:
    then = path.stat().st_mtime - 90_000
    os.utime(path, (then, then))


def test_a_remote_of_an_empty_project_is_reported_once_a_day(sender: Sender) -> None:
    """Under --quiet, after the remote has waited for a day while another project has no remote; code 0."""
    folder = _misplaced(sender)
    done = _localops(sender, "sync", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    _a_day_ago(folder / "remotes.json")
    first, again = (_localops(sender, "sync", "--quiet") for _ in range(2))
    assert (first.returncode, first.stdout, again.returncode, again.stderr) == (0, "", 0, "")
    assert first.stderr.count("\n") == 1
    assert "recorded into project research; the rows of project default are not sent anywhere" in first.stderr
    assert "localops remote add hub URL --project default" in first.stderr
    _a_day_ago(folder / "sync.warned")
    assert "are not sent anywhere" in _localops(sender, "sync", "--quiet", "--project", "research").stderr
    assert _localops(sender, "sync").stderr.count("not sent anywhere") == 1


def test_a_project_that_waits_for_its_first_row_is_no_mail(sender: Sender) -> None:
    """Nothing is mixed up if existing rows have a remote, or if the command only looks."""
    folder = _misplaced(sender)
    _a_day_ago(folder / "remotes.json")
    assert _localops(sender, "sync", "--quiet", "--dry-run").stderr == ""
    Sender(Path(sender.home), sender.remote.url, sender.remote.key or "")
    done = _localops(sender, "sync", "--quiet")
    assert (done.returncode, done.stderr, (folder / "sync.warned").exists()) == (0, "", False)


def test_watching_prints_a_reminder_once_a_day(sender: Sender) -> None:
    """A process with a pass every second prints a line once that it would print once a day from cron."""
    _a_day_ago(_misplaced(sender) / "remotes.json")
    given = dict.fromkeys(("project", "remote", "ident", "max_seconds", "max_rows", "max_bytes", "bwlimit"))
    flags = {"as_json": False, "quiet": True, "dry_run": False, "verify": False, "ended_only": False}
    wanted = _Request({**given, **flags, "home": sender.home, "watch": 1.0, "wait": 0.0})
    spoke = [[wanted.warns_of(outcome) for outcome in wanted.outcomes()] for _ in range(3)]
    assert spoke == [[True], [False], [False]]


def test_doctor_names_what_keeps_rows_from_a_remote(sender: Sender, tmp_path: Path) -> None:
    """A missing key is kept as the last error; `remote test` ends as `sync` does."""
    _localops(sender, "remote", "key", "hub", "--key-file", str(_key_file(tmp_path, sender)))
    (tmp_path / "key").unlink()
    assert _localops(sender, "sync").returncode == 4
    assert _localops(sender, "remote", "test", "hub").returncode == 4
    done = _localops(sender, "doctor")
    assert (done.returncode, "Thank you" in done.stdout) == (1, False)
    assert "sync to remote hub failed at" in done.stdout
    assert "rows wait" in done.stdout
    connection = apsw.Connection(sender.journal)
    connection.execute("update event set at_ns = at_ns - 90000000000000")
    connection.close()
    assert "nothing has arrived there since" in _localops(sender, "doctor").stdout
    _key_file(tmp_path, sender)
    assert _localops(sender, "sync").returncode == 3  # the times of the rows were changed
    report = _localops(sender, "doctor").stdout
    assert ("failed" in report, "arrived" in report, "parked, and not on remote hub" in report) == (False, False, True)


def _key_file(folder: Path, sender: Sender) -> Path:
    path = folder / "key"
    path.write_text(sender.remote.key or "")
    path.chmod(0o600)
    return path


def test_a_clock_that_differs_is_no_mail(sender: Sender, real: RealHub) -> None:
    """Rows that were delivered need no person, whatever the notes of the pass."""

    def behind(exchange: Exchange) -> None:
        answer = exchange.passed()
        kept = {name: value for name, value in answer.headers.items() if name.lower() != "date"}
        answer.headers = {**kept, "Date": "Sat, 21 Nov 2020 03:00:00 GMT"}
        exchange.answer(answer)

    with Chaos(behind=real.url) as way:
        way.always(behind)
        _localops(sender, "remote", "move", "hub", way.url)
        done = _localops(sender, "sync", "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        tested = _localops(sender, "remote", "test", "hub")
        assert (tested.returncode, "no  clock" in tested.stdout) == (4, True)
        looked = _localops(sender, "doctor")
        assert (looked.returncode, "days ahead of that of remote hub" in looked.stdout) == (1, True)
        sender.write(1)
        assert "clock" in _localops(sender, "sync").stderr
    _localops(sender, "remote", "move", "hub", real.url)
    sender.write(1)
    assert _localops(sender, "sync").returncode == 0
    assert "clock was" not in _localops(sender, "doctor").stdout
    assert not (Path(sender.folder) / "sync.clock").exists()


def test_a_pass_under_a_wrong_clock_suppresses_no_message(sender: Sender, real: RealHub) -> None:
    """A message's time that is a year ahead counts as never, once the clock is right again."""
    assert _localops(sender, "sync").returncode == 0
    sender.write(1)
    year, days = 365 * 86_400, 90_000 * 10**9
    connection = apsw.Connection(sender.journal)
    connection.execute("update contact set ok_ns = ok_ns + ?", (year * 10**9,))
    connection.execute("update receipt set at_ns = at_ns + ?", (year * 10**9,))
    connection.execute("update event set at_ns = at_ns - ?", (days,))
    connection.close()
    warned = Path(sender.folder) / "sync.warned"
    warned.touch()
    os.utime(warned, (time.time() + year, time.time() + year))
    assert "clock was wrong" in _localops(sender, "status").stdout
    assert "the clock was wrong" in _localops(sender, "doctor").stdout
    assert "nothing has arrived there since" in _localops(sender, "doctor").stdout
    assert sender.ledger().is_due()
    _localops(sender, "remote", "move", "hub", f"http://127.0.0.1:{ports.free()}")
    first, again = (_localops(sender, "sync", "--quiet") for _ in range(2))
    assert (first.returncode, again.returncode, again.stderr) == (5, 5, "")
    assert "nothing has arrived there since" in first.stderr
