"""Keys: shown once, stored as digests, invalid once they are revoked."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path

import pytest

from localops import clock
from localops.errors import Ambiguous, ConfigError, NotFound
from localops.server import usage
from localops.server.home_store import HomeStore
from localops.server.keys import Keys, Unreadable
from localops.transfer import bundle
from tests.server.hubs import hub, wait_until

_DAY = 86_400_000_000_000


def test_a_key_opens_its_project(tmp_path: Path) -> None:
    """It is a UUID, as AgentOps' clients want it; another UUID opens nothing."""
    keys = Keys(str(tmp_path))
    secret = keys.create("mine", "for the cluster")
    assert str(uuid.UUID(secret)) == secret
    key = keys.find(secret)
    assert key is not None
    assert (key.project, key.note) == ("mine", "for the cluster")
    assert keys.find(str(uuid.uuid4())) is None
    assert keys.find(secret.upper()) == keys.find(secret.title()) == key
    assert keys.find("") is None
    assert keys.find("\ud800") is None


def test_a_key_names_its_hub(tmp_path: Path) -> None:
    """So a machine that never calls the hub knows whose receipts to accept; keys of earlier releases have no name."""
    keys, another = Keys(str(tmp_path / "one")), Keys(str(tmp_path / "another"))
    secrets = {keys.create("mine") for _ in range(50)}
    assert len({secret[:8] for secret in secrets}) == len({secret[-8:] for secret in secrets}) == 50
    for secret in secrets:
        assert bundle.is_key_of(secret, keys.hub)
        assert bundle.is_key_of(secret.upper(), keys.hub)
        assert bundle.is_key_of(secret, another.hub) is False
    assert bundle.is_key_of(str(uuid.uuid4()), keys.hub) is None
    assert bundle.is_key_of("none", keys.hub) is None


def test_a_key_is_not_kept(tmp_path: Path) -> None:
    """Its digest is, in a file for its owner alone."""
    keys = Keys(str(tmp_path))
    secret = keys.create("mine")
    file = tmp_path / "hub.json"
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_id_of_a_hub_stays(tmp_path: Path) -> None:
    """It is made once for a data folder."""
    first = Keys(str(tmp_path)).hub
    assert len(first) == 32
    assert Keys(str(tmp_path)).hub == first
    assert Keys(str(tmp_path / "another")).hub != first


def test_a_change_is_seen_after_an_earlier_read(tmp_path: Path) -> None:
    """The hub and the command that makes keys are two processes."""
    hub, command = Keys(str(tmp_path)), Keys(str(tmp_path))
    secret = command.create("mine")
    assert hub.find(secret) is not None
    assert command.revoke(command.all()[0].handle).revoked
    assert hub.find(secret) is None
    assert hub.all()[0].revoked


def test_keys_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    """No process overwrites a key that another has just written."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(Keys(str(tmp_path)).create("p"))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    keys = Keys(str(tmp_path))
    assert all(keys.find(secret) for secret in made)
    assert len(keys.all()) == len(made) == 8


def test_a_handle_names_one_key(tmp_path: Path) -> None:
    """No match and several matches are errors."""
    keys = Keys(str(tmp_path))
    for _ in range(20):
        keys.create("p")
    with pytest.raises(NotFound):
        keys.revoke("x")
    with pytest.raises(NotFound):
        keys.revoke("")
    several = next(key.sha256[0] for key in keys.all() if sum(key.sha256[0] == k.sha256[0] for k in keys.all()) > 1)
    with pytest.raises(Ambiguous):
        keys.revoke(several)


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    """It is not taken for an empty one, which would silently lock everyone out."""
    (tmp_path / "hub.json").write_text("{}")
    with pytest.raises(ConfigError):
        Keys(str(tmp_path))


def test_keys_that_vanish_open_nothing(tmp_path: Path) -> None:
    """Keys that were read before do not count, as one may have been revoked since; once the file is back, they do."""
    keys = Keys(str(tmp_path))
    secret = keys.create("mine")
    (tmp_path / "hub.json").rename(tmp_path / "away")
    for ask in (keys.all, lambda: keys.find(secret), lambda: keys.create("other")):
        with pytest.raises(Unreadable, match="missing"):
            ask()
    (tmp_path / "away").rename(tmp_path / "hub.json")
    assert keys.find(secret) is not None


def test_no_hub_begins_where_one_has_lost_its_keys(tmp_path: Path) -> None:
    """A folder with journals and without keys belongs to a hub that was not restored whole; a new one is refused."""
    Keys(str(tmp_path))
    store = HomeStore(str(tmp_path))
    store.migrate("mine")
    store.close()
    (tmp_path / "hub.json").unlink()
    with pytest.raises(ConfigError, match=r"restore hub\.json"):
        Keys(str(tmp_path))
    assert not (tmp_path / "hub.json").exists()
    assert Keys(str(tmp_path), new=True).hub


def test_the_file_of_usual_keys_is_that_of_earlier_releases(tmp_path: Path) -> None:
    """A key without scopes in the file may always send and read; only other keys have more fields."""
    keys = Keys(str(tmp_path))
    usual = keys.match(keys.create("mine", "laptop"))
    assert usual is not None
    stored = json.loads((tmp_path / "hub.json").read_text())["keys"][0]
    assert set(stored) == {"sha256", "project", "created", "note"}
    assert (usual.scopes, usual.expires, usual.state) == (("send", "read"), None, "good")
    keys.create("mine", scopes=("read",), expires_ns=clock.now_ns() + _DAY)
    assert {"scopes", "expires"} < set(json.loads((tmp_path / "hub.json").read_text())["keys"][1])


@pytest.mark.parametrize("news", [{"rights": "all"}, {"scopes": ["write"]}])
def test_keys_of_a_newer_release_are_refused(tmp_path: Path, news: dict[str, object]) -> None:
    """A limit that is not understood must not be ignored."""
    Keys(str(tmp_path)).create("mine")
    file = tmp_path / "hub.json"
    document = json.loads(file.read_text())
    document["keys"][0] |= news
    file.write_text(json.dumps(document))
    with pytest.raises(Unreadable, match="newer release"):
        Keys(str(tmp_path))


def test_a_key_without_a_project_is_for_the_hub(tmp_path: Path) -> None:
    """It neither sends nor reads."""
    keys = Keys(str(tmp_path))
    key = keys.find(keys.create(None, scopes=("admin",)))
    assert key is not None
    assert (key.project, key.may("read"), key.may("send"), key.may("admin")) == ("", False, False, True)
    for scopes in ((), ("read",), ("admin", "read"), ("write",)):
        with pytest.raises(ConfigError):
            keys.create(None, scopes=scopes)


def test_an_expired_key_opens_nothing(tmp_path: Path) -> None:
    """It is refused with an error that says why; one that ends soon is reported before."""
    now = clock.now_ns()
    with hub(tmp_path, fresh=0) as running:
        ended = running.new_key("default", expires_ns=now - 1)
        ending = running.new_key("default", expires_ns=now + 3 * _DAY)
        running.new_key("default", expires_ns=now + 30 * _DAY)
        for path, status in (
            ("/sync/1/hello", 401),
            ("/api/1/sessions", 401),
            (f"/v2/sessions/{uuid.uuid4()}/stats", 400),
        ):
            got, answer = running.ask("GET", path, key=ended)
            assert got == status
            assert "expired at 20" in answer["message"]
        status, greeting = running.ask("GET", "/sync/1/hello", key=ending)
        assert (status, greeting["key"]["expires"][:4].isdigit()) == (200, True)
        health = running.ask("GET", "/health")[1]
        assert (health["status"], health["warnings"]) == ("ok", ["1 key ends within 14 days"])
    keys = Keys(str(running.data))
    assert [key.sha256 for key in keys.expiring()] == [key.sha256 for key in [keys.match(ending)] if key is not None]
    assert keys.find(ended) is None


def test_a_rotated_key_works_until_its_overlap_ends(tmp_path: Path) -> None:
    """The new one has its project, name, scopes and lifetime; the old one ends no later than it did anyway."""
    keys = Keys(str(tmp_path))
    now = clock.now_ns()
    first = keys.create("mine", "laptop", scopes=("send",), expires_ns=now + 90 * _DAY)
    handle = keys.all()[0].handle
    secret, old = keys.rotate(handle, overlap_ns=7 * _DAY)
    new = keys.find(secret)
    assert new is not None
    assert (new.project, new.note, new.scopes) == ("mine", "laptop", ("send",))
    assert new.days_left == pytest.approx(90, abs=0.1)
    assert old.days_left == pytest.approx(7, abs=0.1)
    assert keys.find(first) == old
    assert (old.replaced_by, new.replaced_by, keys.expiring()) == (new.handle, None, [])
    _, old = keys.rotate(old.handle, overlap_ns=30 * _DAY)
    assert old.days_left == pytest.approx(7, abs=0.1)
    keys.rotate(new.handle, overlap_ns=0)
    assert keys.find(secret) is None
    with pytest.raises(ConfigError, match="expired"):
        keys.rotate(new.handle, overlap_ns=_DAY)


def test_the_last_use_of_a_key_survives_a_restart(tmp_path: Path) -> None:
    """It is written when a key is used, but not with every request, and when the hub stops."""
    began = clock.now_ns()
    with hub(tmp_path) as running:
        unused = running.new_key("default")
        running.ask("GET", "/sync/1/hello")
        wait_until(lambda: usage.load(str(running.data)))
        written = (running.data / usage.NAME).stat().st_mtime_ns
        [first] = usage.load(str(running.data)).values()
        running.ask("GET", "/sync/1/hello")
        running.ask("GET", "/sync/1/hello")
        assert (running.data / usage.NAME).stat().st_mtime_ns == written
        assert running.stop() == 0
        keys = Keys(str(running.data))
        used, other = keys.match(running.key), keys.match(unused)
        assert used is not None
        assert other is not None
        after = usage.load(str(running.data))
        assert began < first < after[used.sha256]
        assert other.sha256 not in after
        running.start()
        running.ask("GET", "/sync/1/hello", key=unused)
        wait_until(lambda: other.sha256 in usage.load(str(running.data)))
        assert usage.load(str(running.data))[used.sha256] == after[used.sha256]
