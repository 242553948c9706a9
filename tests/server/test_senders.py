"""The machines that send to a hub: their release, silence and short names, for those of the key's project only."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import apsw
import pytest

from localops import clock
from localops.journal import rows
from localops.server.senders import short_names
from tests.server.hubs import RealHub, batch_of, hub
from tests.warm import localops

_DAY = 86_400_000_000_000


def _from(machine: str, release: str) -> list[rows.Row]:
    """Return a session that names its machine and the release that recorded it."""
    session = clock.new_id()
    sdk = {"Name": "localops", "AgentOps SDK Version": release}
    body = json.dumps({"host": machine, "host_env": {"SDK": sdk}})
    at = clock.now_ns()
    begun = rows.make("session", session, id=clock.new_id(at), at_ns=at, name="a run", parent=clock.new_id(), body=body)
    return [begun, *(rows.make("llm", session, id=clock.new_id(), at_ns=clock.now_ns(), model="m") for _ in range(2))]


def test_short_names_are_as_long_as_they_must_be() -> None:
    """Ids that were made in the same second begin alike: a short one would name several journals."""
    alike = [f"01a22723{n:x}f" for n in range(3)]
    names = short_names([*alike, "01b2272300", "0c"])
    assert names == {
        alike[0]: "01a227230",
        alike[1]: "01a227231",
        alike[2]: "01a227232",
        "01b2272300": "01b22723",
        "0c": "0c",
    }
    many = [clock.new_id().hex() for _ in range(200)]
    assert len(set(short_names(many).values())) == 200


def test_a_machine_keeps_its_name_without_its_sessions(tmp_path: Path) -> None:
    """Also its release, and when its newest row was recorded, after all of its sessions were removed."""
    with hub(tmp_path) as running:
        batch = batch_of(_from("tern", "0.1.0"))
        running.take(batch)
        before = running.ask("GET", "/api/1/senders")[1]["senders"]
        where = ("--data", str(running.data), "--project", "default")
        assert localops("hub", "delete", "--all", *where, "--yes").returncode == 0
        [kept] = running.ask("GET", "/api/1/senders")[1]["senders"]
        assert (kept["host"], kept["release"]) == ("tern", "0.1.0") == (before[0]["host"], before[0]["release"])
        assert abs(kept["lag_seconds"] - before[0]["lag_seconds"]) < 0.002
        # The next session may come from elsewhere.
        assert running.take(batch_of(_from("gull", "0.2.0"), first=4))[0] == 200
        assert running.ask("GET", "/api/1/senders")[1]["senders"][0]["host"] == "gull"


def _login(running: RealHub, key: str) -> str:
    """Return the cookie of a browser that has logged in."""
    body = json.dumps({"token": key}).encode()
    sent = {"Content-Type": "application/json", "X-Localops": "1"}
    request = urllib.request.Request(f"{running.url}/login", body, sent, method="POST")
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(reply.headers["Set-Cookie"]).partition(";")[0]


def _page(running: RealHub, key: str) -> str:
    request = urllib.request.Request(f"{running.url}/senders", headers={"Cookie": _login(running, key)})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(reply.read().decode())


@pytest.mark.foreign_open
def test_a_project_sees_its_machines(tmp_path: Path) -> None:
    """As JSON and as a page: release, rows, and a mark on one that was silent for long; a key has its project only."""
    with hub(tmp_path, "mine") as running:
        other = running.new_key("theirs")
        for key, machine, journal in ((running.key, "tern", "1"), (running.key, "gull<b>", "2"), (other, "heron", "3")):
            batch = batch_of(_from(machine, "0.1.0"), journal=journal * 32)
            assert running.take(batch, key=key)[0] == 200
        running.stop()
        connection = apsw.Connection(str(running.folder / "journal.db"))
        connection.execute("update received set at_ns = at_ns - ? where journal = ?", (3 * _DAY, "1" * 32))
        connection.close()
        running.start()
        silent, heard = running.ask("GET", "/api/1/senders")[1]["senders"]
        assert (silent["host"], silent["silent"], silent["release"], silent["rows"]) == ("tern", True, "0.1.0", 3)
        assert (heard["host"], heard["silent"], heard["silent_seconds"] < 1_000) == ("gull<b>", False, True)
        assert silent["silent_seconds"] >= 3 * 86_400
        assert [each["host"] for each in running.ask("GET", "/api/1/senders", key=other)[1]["senders"]] == ["heron"]
        page = _page(running, running.key)
        assert ("tern" in page, "gull&lt;b&gt;" in page, "heron" in page, "gull<b>" in page) == (
            True,
            True,
            False,
            False,
        )
        assert (page.count(">silent<"), "3 days ago" in page, 'href="/senders"' in page) == (1, True, True)
        assert "heron" in _page(running, other)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{running.url}/senders", timeout=30)
        with refused.value as error:
            assert error.code == 401


def test_a_hub_without_machines_says_so(running: RealHub) -> None:
    """The page is there before the first rows are."""
    empty = running.new_key("empty")
    assert running.ask("GET", "/api/1/senders", key=empty)[1]["senders"] == []
    assert "No machine has sent rows yet" in _page(running, empty)
