"""A hub that cannot store rows or files: senders keep their rows, and the operator sees it as long as it lasts."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest

from localops.journal import blobs
from localops.server.home_store import HomeStore
from localops.server.request import Unavailable
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until
from tests.sync.homes import Sender

_FILM = b"film" * 1_000
_DIGEST = hashlib.sha256(_FILM).hexdigest()
_NOT_STORED = "could not be stored"


def _send_file(own: RealHub) -> int:
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(_FILM))}
    return own.ask("PATCH", f"/sync/1/blobs/{_DIGEST}", _FILM, headers=headers)[0]


def _is_in_trouble(own: RealHub) -> bool:
    answers = [own.ask("GET", path, key="") for path in ("/health", "/ready")]
    return all(status == 503 and _NOT_STORED in str(facts["problems"]) for status, facts in answers)


def _is_well(own: RealHub) -> bool:
    return [own.ask("GET", path, key="")[0] for path in ("/health", "/ready")] == [200, 200]


@pytest.mark.parametrize("folder", ["blobs", "uploads"])
def test_a_folder_of_files_that_cannot_be_used_is_trouble(
    tmp_path: Path, folder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """503, the path in the log only, `/health` and `/ready`; later everything arrives, and nothing is parked."""
    with hub(tmp_path / "own", fresh=0.1, unready=0.0, tried=0.1) as own:
        in_the_way = own.folder / folder
        in_the_way.write_text("in the way")
        capfd.readouterr()
        sender = Sender(tmp_path / "home", own.url, own.key)
        digest = blobs.keep(sender.folder, _FILM)
        sender.write(1, body=json.dumps({"logs": {"$blob": digest, "bytes": len(_FILM)}}))
        done = sender.sync()
        assert (done.parked, done.code) == (0, 5), done
        status, reply = own.ask("HEAD", f"/sync/1/blobs/{_DIGEST}")
        assert status == 503
        assert str(tmp_path) not in json.dumps(reply)
        err = capfd.readouterr().err
        assert (" 503: cannot store anything now: " in err, str(own.folder) in err, "Traceback" in err) == (
            True,
            True,
            False,
        )
        assert _is_in_trouble(own)
        # Rows are stored, files are not.
        assert own.take(batch_of(session_rows(1)))[0] == 200
        assert _is_in_trouble(own)
        in_the_way.unlink()
        assert _send_file(own) == 200
        wait_until(lambda: _is_well(own))
        assert sender.sync().code == 0


def test_only_a_stored_file_ends_the_trouble(tmp_path: Path) -> None:
    """Not the work that the hub does beside requests, nor rows, nor time."""
    with hub(tmp_path, fresh=0.1, unready=0.0, unwell=0.0, tried=0.1, upkeep=0.1) as own:
        in_the_way = own.folder / "uploads"
        in_the_way.write_text("in the way")
        assert _send_file(own) == 503
        for _ in range(10):
            assert _is_in_trouble(own)
            time.sleep(0.1)
        in_the_way.unlink()
        wait_until(lambda: _is_well(own))
        assert _send_file(own) == 200


def test_upkeep_is_no_stored_row(tmp_path: Path) -> None:
    """A run of it does not end what a failed write began."""
    with hub(tmp_path, fresh=0.1, upkeep=0.1) as own:
        in_the_way = own.folder / "uploads"
        in_the_way.write_text("in the way")
        assert _send_file(own) == 503
        in_the_way.unlink()
        for _ in range(10):
            assert own.ask("GET", "/health", key="")[0] == 503
            time.sleep(0.1)
        assert _send_file(own) == 200
        wait_until(lambda: _is_well(own))


def test_other_projects_keep_a_hub_ready(tmp_path: Path) -> None:
    """A proxy keeps sending to a hub if one of its projects can be stored; `/health` reports the other."""
    with hub(tmp_path, fresh=0.1, unready=0.0, tried=0.1) as own:
        own.new_key("other")
        (own.folder / "uploads").write_text("in the way")
        assert _send_file(own) == 503
        assert own.ask("GET", "/ready", key="")[0] == 200
        assert own.ask("GET", "/health", key="")[0] == 503


@pytest.mark.foreign_open
def test_the_reason_names_the_journal(tmp_path: Path) -> None:
    """SQLite's own messages do not."""
    store = HomeStore(str(tmp_path))
    store.migrate("default")
    store.close()
    journal = tmp_path / "default" / "journal.db"
    journal.write_bytes(b"\xa5" * 8_192)
    with pytest.raises(Unavailable) as caught:
        store.migrate("default")
    store.close()
    assert str(journal) in str(caught.value.why)
