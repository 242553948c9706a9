"""Retention: a hub removes whole old sessions, and does not store them again when machines send them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.journal import blobs, rows
from localops.server import audit, retention
from localops.server.home_store import HomeStore
from localops.server.keys import Keys
from localops.server.policy import Policy, Rules
from localops_sync import exit_codes
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until
from tests.sync.homes import Sender
from tests.warm import localops

_DAY = 86_400_000_000_000


def _aged(days: float, *, end: str | None = "Success", body: str | None = None) -> list[rows.Row]:
    """Return the rows of a session whose last row is so many days old."""
    return session_rows(2, end=end, body=body or '{"params":{"q":"why"}}', age_ns=round(days * _DAY))


def _id(made: list[rows.Row]) -> str:
    return batch_of(made).rows[0].session.hex()


def _there(running: RealHub, made: list[rows.Row]) -> bool:
    return running.ask("GET", f"/api/1/sessions/{_id(made)}")[0] == 200


def _take(running: RealHub, *sessions: list[rows.Row]) -> None:
    for number, made in enumerate(sessions):
        status, answer = running.take(batch_of(made, journal=f"{number:032x}"))
        assert (status, answer["refused"]) == (200, [])


def test_a_hub_removes_what_it_need_not_keep(tmp_path: Path) -> None:
    """Old ended sessions go, with their files; younger, failed and running ones stay, and other projects' too."""
    data = b"film" * 1_000
    digest = hashlib.sha256(data).hexdigest()
    with hub(tmp_path, upkeep=0.2) as running:
        blobs.keep(str(running.folder), data)
        path = blobs.path_of(str(running.folder), digest)
        old, young = _aged(40, body=json.dumps({"params": {"$blob": digest}})), _aged(20)
        failed, failed_long_ago, open_ended = _aged(40, end="Failure"), _aged(400, end="Failure"), _aged(40, end=None)
        _take(running, old, young, failed, failed_long_ago, open_ended)
        os.utime(path, (time.time() - 7_200,) * 2)
        other = running.new_key("other")
        elsewhere = _aged(40)
        assert running.take(batch_of(elsewhere), key=other)[0] == 200
        where = ("hub", "retention", "set", "--data", str(running.data), "--project", "default")
        assert localops(*where, "--keep", "30d", "--keep-failed", "1y").returncode == 0
        wait_until(lambda: not _there(running, old), 60)
        wait_until(lambda: not _there(running, failed_long_ago), 60)
        assert all(_there(running, made) for made in (young, failed, open_ended))
        assert running.ask("GET", f"/api/1/sessions/{_id(elsewhere)}", key=other)[0] == 200
        assert not os.path.exists(path)
        again = running.take(batch_of(old, journal="f" * 32))[1]
        assert (again["gone"], again["stored"]) == (4, 0)
        assert localops(*where, "--include-unknown").returncode == 0
        wait_until(lambda: not _there(running, open_ended), 60)
        assert running.stop() == 0
        lines = [line for line in audit.read(str(running.data)) if line["action"] == "session.retire"]
        assert (sum(line["sessions"] for line in lines), {line["project"] for line in lines}) == (3, {"default"})
        assert sum(line["files"] for line in lines) == 1


@pytest.mark.foreign_open
def test_a_damaged_journal_keeps_no_other_from_its_rules(tmp_path: Path) -> None:
    """The projects after it are looked at in the same run."""
    with hub(tmp_path, upkeep=0.2) as running:
        damaged = running.data / "damaged"
        damaged.mkdir(mode=0o700)
        (damaged / "journal.db").write_bytes(b"\xa5" * 10_000)
        Policy(str(running.data)).change("default", keep_ns=30 * _DAY)
        old = _aged(40)
        _take(running, old)
        wait_until(lambda: not _there(running, old), 60)


def test_what_a_hub_has_removed_is_settled_for_its_machine(tmp_path: Path) -> None:
    """A sender gets no error, verifies, and does not send the session again."""
    with hub(tmp_path / "own") as running:
        sender = Sender(tmp_path / "home", running.url, running.key)
        session = clock.new_id()
        sender.write(5, session=session)
        assert sender.sync().code == exit_codes.DONE
        where = ("--data", str(running.data))
        options = ("--project", "default", "--keep", "1ms", "--include-unknown")
        assert localops("hub", "retention", "set", *where, *options).returncode == 0
        done = localops("hub", "retention", "apply", *where)
        assert (done.returncode, "1 session was removed" in done.stderr) == (0, True), done.stderr
        assert running.ask("GET", f"/api/1/sessions/{session.hex()}")[0] == 404
        outcome = sender.sync(verify=True)
        assert (outcome.code, outcome.left) == (exit_codes.DONE, 0), outcome
        assert running.ask("GET", f"/api/1/sessions/{session.hex()}")[0] == 404


def test_apply_shows_first_what_it_would_remove(tmp_path: Path) -> None:
    """With --dry-run nothing goes; without it the same sessions do, also where no hub runs."""
    data = ("--data", str(tmp_path))
    keys = Keys(str(tmp_path))
    keys.create("p")
    store = HomeStore(str(tmp_path))
    store.migrate("p")
    old, young = _aged(3), _aged(1)
    for number, made in enumerate((old, young)):
        store.ingest("p", batch_of(made, journal=f"{number:032x}"), refused={}, by=keys.hub, key="k")
    store.close()
    assert "for ever" in localops("hub", "retention", "list", *data).stderr
    assert json.loads(localops("hub", "retention", "apply", *data, "--json").stdout)["sessions"] == []
    done = localops("hub", "retention", "set", *data, "--project", "p", "--keep", "2d")
    assert (done.returncode, "no project" in done.stderr) == (0, False)
    for rules in ("retention", "quota"):
        limit = ("--keep", "2d") if rules == "retention" else ("--rows", "5")
        done = localops("hub", rules, "set", *data, "--project", "nosuch", *limit)
        assert (done.returncode, "there is no project nosuch yet" in done.stderr) == (0, True)
        localops("hub", rules, "set", *data, "--project", "nosuch", limit[0], "none")
    [listed] = json.loads(localops("hub", "retention", "list", *data, "--json").stdout)["retention"]
    assert listed["keep_seconds"] == 2 * 86_400
    for options in (("--dry-run",), ("--dry-run",), ()):
        done = json.loads(localops("hub", "retention", "apply", *data, *options, "--json").stdout)
        assert [each["session"].replace("-", "") for each in done["sessions"]] == [_id(old)]
        assert done["removed"] == ({} if options else {"p": {"sessions": 1, "rows": 4, "files": 0}})
    assert json.loads(localops("hub", "retention", "apply", *data, "--json").stdout)["sessions"] == []
    assert localops("hub", "retention", "set", *data, "--project", "p", "--keep", "none").returncode == 0
    assert json.loads(localops("hub", "retention", "list", *data, "--json").stdout)["retention"] == []
    for wrong in ((), ("--keep", "0s"), ("--keep", "long")):
        assert localops("hub", "retention", "set", *data, "--project", "p", *wrong).returncode == 2


def test_a_part_is_bounded_and_the_next_one_continues(tmp_path: Path, monkeypatch: Any) -> None:
    """Sessions that stay do not stop the search, and all old ones are found in the end."""
    monkeypatch.setattr(retention, "_LOOKED_AT", 3)
    monkeypatch.setattr(retention, "_SESSIONS", 2)
    keys = Keys(str(tmp_path))
    store = HomeStore(str(tmp_path))
    store.migrate("p")
    kept = [_aged(10 + number, end=None) for number in range(4)]
    old = [_aged(5 + number / 10) for number in range(5)]
    for number, made in enumerate((*kept, *old)):
        store.ingest("p", batch_of(made, journal=f"{number:032x}"), refused={}, by=keys.hub, key="k")
    rules = Rules(keep_ns=2 * _DAY)
    place, parts = retention.BEGIN, []
    while True:
        part = store.expired("p", rules, clock.now_ns(), place)
        parts.append([choice.session.hex() for choice in part.going])
        if part.following is None:
            break
        place = part.following
    store.close()
    assert [each for part in parts for each in part] == [_id(made) for made in reversed(old)]
    assert max(map(len, parts)) == 2
    assert replace(rules, keep_ns=None) == Policy(str(tmp_path)).of("p")
