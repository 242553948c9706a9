"""The audit log: who did what, never with a key, and no obstacle for the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from localops.server import audit, auth
from localops.server.audit import Audit
from localops.server.keys import Keys
from localops.server.request import Endpoint
from localops.server.routes import ENDPOINTS
from tests import warm
from tests.server.hubs import PATH, RealHub, batch_of, hub, session_rows, wait_until


def _localops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "-m", "localops", *arguments], capture_output=True, timeout=60)


def _actions(running: RealHub) -> list[str]:
    return [line["action"] for line in audit.read(str(running.data))]


def _log_in(running: RealHub, key: str) -> str:
    body = json.dumps({"token": key}).encode()
    headers = {"Content-Type": "application/json", "Origin": running.url}
    request = urllib.request.Request(running.url + "/login", body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return str(reply.headers["Set-Cookie"]).partition(";")[0]


def _stored(running: RealHub) -> str:
    batch = batch_of(session_rows(3))
    assert running.take(batch)[0] == 200
    return str(uuid.UUID(bytes=batch.rows[0].session))


def test_exports_log_ins_and_commands_are_noted(tmp_path: Path) -> None:
    """Each with who did it, from where and to what; reads are not, and no line has a key."""
    with hub(tmp_path) as running:
        session = _stored(running)
        cookie = _log_in(running, running.key)
        headers = {"Content-Type": "application/json", "Origin": running.url, "Authorization": ""}
        for _ in range(3):
            assert running.ask("POST", "/login", b'{"token":"wrong"}', headers=headers)[0] == 401
        assert running.ask("GET", f"/api/1/sessions/{session}")[0] == 200
        assert running.ask("GET", f"/api/1/sessions/{session}/export")[0] == 200
        assert running.ask("GET", f"/v2/sessions/{session}/export", headers={"Authorization": "", "Cookie": cookie})[0]
        assert running.ask("GET", f"/api/1/sessions/{uuid.uuid4()}/export")[0] == 404
        data = ("--data", str(running.data))
        made = _localops("hub", "key", "create", *data, "--project", "default", "--name", "new").stdout.strip()
        handle = Keys(str(running.data)).all()[1].handle
        assert _localops("hub", "key", "rotate", handle, *data).returncode == 0
        assert _localops("hub", "key", "revoke", handle, *data).returncode == 0
        assert _localops("hub", "delete", session, *data, "--project", "default", "--yes").returncode == 0
        expected = ["login", "login.refused", "session.export", "session.export"]
        expected += ["key.create", "key.rotate", "key.revoke", "session.delete"]
        wait_until(lambda: sorted(_actions(running)) == sorted(expected))
        lines = {line["action"]: line for line in audit.read(str(running.data))}
        export = lines["session.export"]
        known = Keys(str(running.data)).all()[0].handle
        assert (export["key"], export["peer"], export["session"]) == (known, "127.0.0.1", session)
        assert (lines["login"]["key"], lines["login"]["project"]) == (known, "default")
        assert lines["key.create"]["of"] == handle
        assert {lines[f"key.{what}"]["of_name"] for what in ("create", "rotate", "revoke")} == {"new"}
        assert "scopes: send read" in _localops("hub", "audit", *data).stdout
        assert lines["session.delete"]["session"] == session
        assert lines["session.delete"]["user"]
        text = (running.data / audit.NAME).read_text()
        assert running.key not in text
        assert made not in text
        assert (running.data / audit.NAME).stat().st_mode & 0o777 == 0o600
        listed = json.loads(_localops("hub", "audit", *data, "--json").stdout)["audit"]
        assert [line["action"] for line in listed] == _actions(running)
        assert session[:8] in _localops("hub", "audit", *data, "--since", "1h").stdout
        assert json.loads(_localops("hub", "audit", *data, "--project", "none", "--json").stdout)["audit"] == []


def test_a_key_that_does_not_work_is_noted(tmp_path: Path) -> None:
    """Once a minute for an address and a key, with its handle if the hub knows it."""
    with hub(tmp_path) as running:
        keys = Keys(str(running.data))
        revoked = running.new_key("other")
        known = next(key for key in keys.all() if key.project == "other")
        keys.revoke(known.handle)
        for key in (revoked, str(uuid.uuid4()), str(uuid.uuid4())) * 3:
            assert running.ask("GET", "/sync/1/hello", key=key)[0] == 401
        wait_until(lambda: len(_actions(running)) == 2)
        lines = {line["why"]: line for line in audit.read(str(running.data))}
        assert {line["action"] for line in lines.values()} == {"key.refused"}
        assert (lines["revoked"]["key"], lines["revoked"]["project"]) == (known.handle, "other")
        assert lines["unknown"]["peer"] == "127.0.0.1"
        assert revoked not in (running.data / audit.NAME).read_text()


def test_what_was_pruned_is_named(tmp_path: Path) -> None:
    """The line has the ids, and the table as much of each as other lists show."""
    with hub(tmp_path) as running:
        session = _stored(running)
        data = str(running.data)
        done = _localops("prune", "--home", data, "--project", "default", "--session", session, "--yes")
        assert done.returncode == 0, done.stderr
        [line] = list(audit.read(data))
        assert (line["action"], line["sessions"], line["ids"]) == ("session.prune", 1, [session])
        listed = _localops("hub", "audit", "--data", data).stdout
        assert f"  {session[:13]}  " in listed
        Audit(data).note("session.delete", project="default", session=session)
        assert f"  {session[:13]}" in _localops("hub", "audit", "--data", data).stdout.splitlines()[-1]


def test_very_many_ids_are_cut() -> None:
    """A line stays short."""
    ids = [uuid.uuid4().bytes for _ in range(150)]
    assert audit.named(ids) == [str(uuid.UUID(bytes=id)) for id in ids[:100]]


def test_reads_are_noted_on_request(tmp_path: Path) -> None:
    """Reading the same session for a minute is one line for each kind of read, by key and by page."""
    with hub(tmp_path, "default", "--audit-reads") as running:
        session = _stored(running)
        for _ in range(3):
            for path in ("", "/events", "/timeline"):
                assert running.ask("GET", f"/api/1/sessions/{session}{path}")[0] == 200
        assert running.ask("GET", "/api/1/sessions")[0] == 200
        for path in ("loops", "why", "steps"):
            assert running.ask("GET", f"/api/1/sessions/{session}/{path}")[0] == 200
        for _ in range(2):
            assert running.ask("GET", "/api/1/calls?kind=llm&text=private")[0] == 200
        running.stop()
        assert _actions(running) == ["session.read", "call.read"]
        read, calls = audit.read(str(running.data))
        assert (read["session"], calls["filters"]) == (session, "kind,text")


def test_each_read_of_a_session_is_one_that_can_be_noted() -> None:
    """Those of one session, of two, and those that name a baseline."""
    reads = [one for one in ENDPOINTS if one.method == "GET" and one.key and {"a", "{session}"} & _names(one)]
    assert len(reads) > 15
    assert [one.path for one in reads if one.handler not in (*auth._AUDITED, "compare_groups")] == []


def _names(endpoint: Endpoint) -> set[str]:
    return {*endpoint.query, *endpoint.path.split("/")}


def test_an_export_of_many_is_noted(tmp_path: Path) -> None:
    """With the names of the filters, and without what was searched for; also one of everything."""
    with hub(tmp_path) as running:
        _stored(running)
        for query in ("?format=csv&text=private&since=7d", ""):
            asked = urllib.request.Request(
                f"{running.url}/api/1/export{query}", headers={"X-Agentops-Api-Key": running.key}
            )
            with urllib.request.urlopen(asked, timeout=60) as answer:
                assert answer.read()
        running.stop()
        chosen, everything = audit.read(str(running.data))
        assert (chosen["action"], chosen["format"], chosen["filters"]) == ("session.export", "csv", "since,text")
        assert (everything["action"], "filters" in everything) == ("session.export", False)
        assert "private" not in (running.data / audit.NAME).read_text()


def test_the_log_is_split_by_size_and_bounded(tmp_path: Path) -> None:
    """A full file gets a number; lines stay in order, and the oldest file goes at last."""
    log = Audit(str(tmp_path), most=1_000)
    for number in range(400):
        assert log.note("test", number=number)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 10
    assert all(path.stat().st_size <= 1_000 for path in tmp_path.iterdir())
    numbers = [line["number"] for line in audit.read(str(tmp_path))]
    assert numbers == list(range(numbers[0], 400))
    assert numbers[0] > 0


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path) -> None:
    """A power cut can leave half a line; it is passed over, and no empty line is made."""
    log = Audit(str(tmp_path))
    log.note("first")
    with open(tmp_path / audit.NAME, "ab") as file:
        file.write(b'{"at":"2026')
    log.note("second")
    log.note("third")
    assert [line["action"] for line in audit.read(str(tmp_path))] == ["first", "second", "third"]
    assert b"\n\n" not in (tmp_path / audit.NAME).read_bytes()


_FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from localops.server.audit import Audit
log = Audit(sys.argv[1])
size = len(open(sys.argv[1] + "/audit.jsonl", "rb").read())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
print(log.note("lost"), log.note("lost"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(log.note("kept"))
"""


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    """A line is written whole or not at all, and the reason is on stderr; later lines follow."""
    Audit(str(tmp_path)).note("first")
    done: Any = warm.run(
        [sys.executable, "-c", _FULL, str(tmp_path)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": PATH, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.split() == ["False", "False", "True"], done.stderr
    assert "the audit log cannot be written" in done.stderr
    assert [line["action"] for line in audit.read(str(tmp_path))] == ["first", "kept"]
    assert (tmp_path / audit.NAME).read_bytes().count(b"\n") == 2


def test_a_hub_whose_audit_log_cannot_be_written_serves(tmp_path: Path) -> None:
    """Exports still work; the log of the hub reports it to the operator."""
    with hub(tmp_path) as running:
        session = _stored(running)
        (running.data / audit.NAME).mkdir()
        for _ in range(2):
            assert running.ask("GET", f"/api/1/sessions/{session}/export")[0] == 200
        assert running.stop() == 0
