"""Keys: shown once, kept as digests, gone when they are revoked."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

from localops.errors import Ambiguous, ConfigError, NotFound
from localops.server.home_store import HomeStore
from localops.server.keys import Keys, Unreadable
from localops.transfer import bundle


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
