"""A hub whose journal is damaged: operator and senders get the reason, and no client a path."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from localops.journal import rows
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until
from tests.sync.homes import Sender
from tests.sync.operating import run_localops

_PAGE = 4096


def _damage(own: RealHub, how: str) -> None:
    """Overwrite the first page, or all but the first, of the journal of a hub that does not run."""
    path = own.folder / "journal.db"
    data = bytearray(path.read_bytes())
    part = slice(0, 100) if how == "first page" else slice(_PAGE, len(data))
    data[part] = b"\xa5" * len(data[part])
    path.write_bytes(data)


@pytest.mark.foreign_open
@pytest.mark.parametrize("how", ["first page", "other pages"])
def test_a_hub_says_that_its_journal_is_damaged(tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    """503 for every request and for `/health`, one line on stderr with the reason, and `remote test` fails."""
    with hub(tmp_path / "own", fresh=0.1) as own:
        sender = Sender(tmp_path / "home", own.url, own.key)
        sender.write(50)
        assert sender.sync().code == 0
        own.stop()
        _damage(own, how)
        # The hub looks at its journals when it starts.
        capfd.readouterr()
        own.start()
        replies = [own.ask("GET", path) for path in ("/sync/1/hello?seq=1&id=" + "0" * 32, "/api/1/sessions")]
        replies += [own.ask("POST", "/sync/1/missing", b'{"rows":[]}'), own.take(batch_of(session_rows()))]
        health = own.ask("GET", "/health", key="")
        assert [status for status, _ in [*replies, health]] == [503] * 5, (replies, health)
        assert str(tmp_path) not in json.dumps([replies, health])
        assert health[1]["problems"] == ["a journal cannot be read: it may be damaged"]
        err = capfd.readouterr().err
        assert (err.count(" 503: the journal cannot be read now: "), str(own.folder / "journal.db") in err) == (1, True)
        done = run_localops(sender.home, "remote", "test", "hub")
        assert done.returncode != 0
        reported = "the hub reports: the journal of this project cannot be read: it may be damaged"
        assert f"no  health      {reported}" in done.stdout


@pytest.mark.foreign_open
def test_health_remembers_a_damaged_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The newest rows can be read, and so can most sessions; one request met the damage."""
    marked = session_rows(400, body=json.dumps({"params": {"q": "the marked text " * 20}}))
    with hub(tmp_path, fresh=0.1) as own:
        assert own.take(batch_of(marked, journal="1" * 32))[0] == 200
        assert own.take(batch_of(session_rows(400), journal="2" * 32))[0] == 200
        own.stop()
        path = own.folder / "journal.db"
        data = bytearray(path.read_bytes())
        pages = [at for at in range(0, len(data), _PAGE) if data[at : at + _PAGE].count(b"the marked text") > 20]
        at = pages[len(pages) // 2]
        data[at : at + _PAGE] = b"\xa5" * _PAGE
        path.write_bytes(data)
        own.start()
        assert own.ask("GET", "/health", key="")[0] == 200
        session = rows.id_text(marked[0][rows.COLUMNS.index("session")])
        status, reply = own.ask("GET", f"/api/1/sessions/{session}/events?limit=1000")
        assert (status, str(tmp_path) in json.dumps(reply)) == (503, False)
        wait_until(lambda: own.ask("GET", "/health", key="")[0] == 503)
        assert own.ask("GET", "/health", key="")[1]["problems"] == [
            "a journal is damaged: the log of the hub says which"
        ]
        assert os.fspath(path) in capfd.readouterr().err
