"""Quotas of a project: what is over one is refused with the reason, and no other project notices."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from localops.errors import ConfigError
from localops.server import policy, usage
from localops.server.policy import Policy, Rules
from localops.server.quotas import OverQuota, Quotas
from localops.server.usage import Usage
from localops_sync import exit_codes
from tests.server.agentops_clients import Client
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until
from tests.server.spans import BOTH, encoded, new_trace, request, run_of, send, span, stored, taken
from tests.sync.homes import Sender, identities
from tests.warm import localops


def _set(running: RealHub, *options: str, project: str = "default") -> None:
    done = localops("hub", "quota", "set", "--data", str(running.data), "--project", project, *options)
    assert done.returncode == 0, done.stderr


def _quotas(running: RealHub) -> Any:
    return json.loads(localops("hub", "quota", "list", "--data", str(running.data), "--json").stdout)["quotas"]


def test_a_full_project_stores_nothing_more(tmp_path: Path) -> None:
    """It answers 507, but reads still work, as do other projects; with a higher quota it stores again."""
    with hub(tmp_path) as running:
        other = running.new_key("other")
        _set(running, "--rows", "5")
        first, second = batch_of(session_rows(3)), batch_of(session_rows(3), journal="b" * 32)
        assert running.take(first)[0] == 200
        status, answer = running.take(second)
        assert (status, "has all that it may store: 5 rows" in answer["message"]) == (507, True)
        assert running.take(second, key=other)[0] == 200
        digest = hashlib.sha256(b"film").hexdigest()
        headers = {"Upload-Offset": "0", "Upload-Length": "4"}
        assert running.ask("PATCH", f"/sync/1/blobs/{digest}", b"film", headers=headers)[0] == 507
        assert running.ask("GET", "/api/1/analytics")[1]["sessions"] == 1
        [listed] = _quotas(running)
        assert (listed["project"], listed["rows"]) == ("default", {"most": 5, "used": 5})
        _set(running, "--rows", "6")
        assert running.take(second)[0] == 200
        _set(running, "--rows", "none", "--bytes", "1000")
        assert running.take(batch_of(session_rows(1), journal="c" * 32))[0] == 507
        _set(running, "--bytes", "none")
        assert running.take(batch_of(session_rows(1), journal="c" * 32))[0] == 200
        assert _quotas(running) == []


def test_the_quota_of_a_day_is_counted_across_restarts(tmp_path: Path) -> None:
    """It answers 429 until midnight; a row that is sent again counts once."""
    with hub(tmp_path) as running:
        _set(running, "--rows-per-day", "8")
        first = batch_of(session_rows(3))
        for _ in range(3):
            assert running.take(first)[0] == 200
        assert running.stop() == 0
        [listed] = _quotas(running)
        assert listed["rows_per_day"] == {"most": 8, "used": 5}
        running.start()
        assert running.take(batch_of(session_rows(3), journal="b" * 32))[0] == 200
        status, answer = running.take(batch_of(session_rows(3), journal="c" * 32))
        assert (status, "8 rows of today" in answer["message"]) == (429, True)


def test_a_killed_hub_does_not_forget_the_day(tmp_path: Path) -> None:
    """What is stored is in the file with the batch, and files count as well as rows."""
    with hub(tmp_path) as running:
        _set(running, "--rows-per-day", "8", "--bytes-per-day", "1GB")
        # Uses of keys are written at most once a minute.
        assert running.take(batch_of(session_rows(1), journal="a" * 32))[0] == 200
        assert running.take(batch_of(session_rows(3), journal="b" * 32))[0] == 200
        [listed] = _quotas(running)
        assert listed["rows_per_day"] == {"most": 8, "used": 8}
        digest = hashlib.sha256(b"film").hexdigest()
        headers = {"Upload-Offset": "0", "Upload-Length": "4"}
        before = listed["bytes_per_day"]["used"]
        running.kill()
        running.start()
        assert running.take(batch_of(session_rows(3), journal="c" * 32))[0] == 429
        _set(running, "--rows-per-day", "none")
        assert running.ask("PATCH", f"/sync/1/blobs/{digest}", b"film", headers=headers)[0] == 200
        running.kill()
        [listed] = _quotas(running)
        assert listed["bytes_per_day"]["used"] == before + 4


def test_a_day_begins_with_nothing_used(tmp_path: Path) -> None:
    """What was stored on another day does not count, nor does a file that cannot be read."""
    file = tmp_path / usage.NAME
    file.write_text(json.dumps({"keys": {}, "days": {"p": {"day": "2020-01-01", "rows": 9, "bytes": 9}}}))
    used = Usage(str(tmp_path))
    assert used.today("p") == (0, 0)
    used.count("p", 2, 30)
    used.count("p", 1, 20)
    assert used.today("p") == (3, 50)
    used.save()
    assert Usage(str(tmp_path)).today("p") == (3, 50)
    file.write_text("{")
    assert Usage(str(tmp_path)).today("p") == (0, 0)


def test_what_is_stored_is_counted_between_measurements(tmp_path: Path) -> None:
    """A project is measured once, then counted; it is full when the sum reaches its quota."""
    rules = Policy(str(tmp_path))
    rules.change("p", bytes=1_000)
    measured: list[str] = []

    def measure(project: str) -> tuple[int, int]:
        measured.append(project)
        return 10, 500

    quotas = Quotas(rules, Usage(str(tmp_path)), measure)
    assert quotas.is_stale("p", rules.of("p"))
    assert not quotas.is_stale("other", rules.of("other"))
    quotas.measure("p")
    assert not quotas.is_stale("p", rules.of("p"))
    quotas.count("p", 1, 499)
    quotas.check("p", rules.of("p"))
    quotas.count("p", 1, 1)
    with pytest.raises(OverQuota, match="1,000 bytes"):
        quotas.check("p", rules.of("p"))
    assert measured == ["p"]


def test_the_rate_of_a_project_is_shared_by_its_keys(tmp_path: Path) -> None:
    """Two keys together may make no more requests than one; another project is free."""
    with hub(tmp_path) as running:
        second, other = running.new_key("default"), running.new_key("other")
        _set(running, "--rate", "0.05")
        assert running.ask("GET", "/sync/1/hello")[0] == 200
        status, answer = running.ask("GET", "/sync/1/hello", key=second)
        assert (status, answer["message"]) == (429, "too many requests: project default may make 0.05 a second")
        assert {running.ask("GET", "/sync/1/hello", key=other)[0] for _ in range(5)} == {200}


def test_rules_are_kept_and_changed_one_by_one(tmp_path: Path) -> None:
    """Another process sees them at once; those of a newer release are refused."""
    rules, reader = Policy(str(tmp_path)), Policy(str(tmp_path))
    rules.change("p", rows=5, rate=2.0)
    rules.change("p", rows=None, bytes=7)
    assert reader.of("p") == Rules(bytes=7, rate=2.0)
    assert reader.of("q") == policy.NONE
    file = tmp_path / policy.NAME
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text('{"projects":{"p":{"colour":"blue"}}}')
    with pytest.raises(ConfigError, match="newer release"):
        reader.of("p")


def test_a_sender_keeps_what_a_quota_refuses(tmp_path: Path) -> None:
    """Nothing is parked: a full project needs a person, a full day does not, and later everything is stored."""
    with hub(tmp_path / "own") as running:
        sender = Sender(tmp_path / "home", running.url, running.key)
        sender.write(20)
        assert sender.sync().code == exit_codes.DONE
        sender.write(20)
        _set(running, "--rows", "10")
        full = sender.sync()
        assert (full.code, full.parked, full.left) == (exit_codes.ACT, 0, 20), full
        assert "may store: 10 rows" in full.message
        assert sender.sync(verify=True).code == exit_codes.ACT
        _set(running, "--rows", "none", "--rows-per-day", "5")
        later = sender.sync()
        assert (later.code, later.parked, later.left, later.requests) == (exit_codes.BUDGET, 0, 20, 2)
        assert "5 rows of today" in later.message
        _set(running, "--rows-per-day", "none")
        assert sender.sync().code == exit_codes.DONE
        assert sender.identities() <= identities(str(running.folder / "journal.db"))


def test_wrong_quotas_are_refused(tmp_path: Path) -> None:
    """A quota of nothing would refuse everything, which revoking the keys does better."""
    with hub(tmp_path) as running:
        where = ("hub", "quota", "set", "--data", str(running.data), "--project", "default")
        for options in (
            (),
            ("--rows", "0"),
            ("--rows", "many"),
            ("--rate", "0"),
            ("--bytes", "big"),
            ("--bytes-per-day", "0"),
        ):
            assert localops(*where, *options).returncode == 2
        assert not (running.data / policy.NAME).exists()


def test_rules_that_cannot_be_read_refuse_everything(tmp_path: Path) -> None:
    """A limit must not be ignored: senders keep their rows, and /health reports it; no response has a path."""
    with hub(tmp_path, fresh=0) as running:
        (running.data / policy.NAME).write_text("{")
        for status, answer in (running.take(batch_of(session_rows(1))), running.ask("GET", "/api/1/sessions")):
            assert status == 503
            assert str(tmp_path) not in json.dumps(answer)
        assert running.ask("GET", "/health")[1]["problems"] == ["the rules of projects cannot be read"]
        (running.data / policy.NAME).unlink()
        assert running.take(batch_of(session_rows(1)))[0] == 200


def test_what_clients_of_agentops_send_counts_too(tmp_path: Path) -> None:
    """Whatever the door."""
    with hub(tmp_path) as running:
        _set(running, "--rows-per-day", "3")
        client = Client(running).begin()
        assert client.events(client.action(), client.action(), client.action())[0] == 200
        assert client.events(client.action())[0] == 429
        assert running.take(batch_of(session_rows(1)))[0] == 429


def test_spans_that_wait_are_stored_though_the_project_is_full(tmp_path: Path) -> None:
    """They were acknowledged before; later spans are refused."""
    with hub(tmp_path, trace_wait=1.0) as running:
        _set(running, "--rows", "7")
        waits, whole = new_trace(), new_trace()
        taken(running, *run_of(waits)[:3])
        taken(running, *run_of(whole))
        reply = send(running, request(*run_of(new_trace())))
        assert (reply.status, reply.refused) == (507, 8)
        assert "has all that it may store" in reply.message
        wait_until(lambda: len(stored(running, waits)) == 4)


@pytest.mark.parametrize("kind", BOTH)
def test_spans_count_too(tmp_path: Path, kind: str) -> None:
    """As rows of their traces, once those are stored."""
    with hub(tmp_path) as running:
        _set(running, "--rows-per-day", "2", "--bytes-per-day", "1MB")
        trace = new_trace()
        assert send(running, encoded(request(span(trace, 1)), kind), kind)[0] == 200
        assert len(stored(running, trace)) == 1
        assert send(running, encoded(request(span(new_trace(), 1)), kind), kind)[0] == 429
        running.stop()
        [listed] = _quotas(running)
        assert listed["rows_per_day"]["used"] >= 2
        assert listed["bytes_per_day"]["used"] > 200
