"""A session of which rows arrive with a wrong checksum is marked, by a bundle and on a hub, until they are intact."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import apsw
import pytest

import localops
from localops import cli
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.reading.story import UNREAD_LINES, Story
from localops_sync import bundle_file
from localops_sync.bundle_file import Share
from tests.server.hubs import RealHub
from tests.sync.homes import Sender


def _record() -> bytes:
    with localops.start_session(name="run") as session:
        for n in range(3):
            session.record(localops.LLMEvent(model="gpt-4o", prompt=f"why {n}", prompt_tokens=9, completion_tokens=1))
    return session.session_id.bytes


def _change(path: str, was: str, now: str) -> None:
    with closing(apsw.Connection(path)) as connection:
        connection.execute("update event set body = replace(body, ?, ?)", (was, now))


def _lacking(path: Path, session: bytes) -> tuple[int, int]:
    """Return how many rows a session lacks, and how many notes state that or cancel one."""
    with Reader(str(path)) as reader:
        story = Story.read(reader, session)
        return story.damaged, sum(UNREAD_LINES in one.body for one in story.of_kind("loss"))


def test_a_bundle_with_changed_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It warns when it is made; the import marks the session once, and an intact bundle takes that back."""
    session, home, there = _record(), str(tmp_path / "home"), str(tmp_path / "there")
    journal, arrived = str(tmp_path / "home" / "default" / "journal.db"), tmp_path / "there" / "default" / "journal.db"
    bundle_file.pack(home, [Share("default")], str(tmp_path / "intact.lops"))
    _change(journal, "why", "who")
    changed = str(tmp_path / "changed.lops")
    assert _code("bundle", "-o", changed) == 3
    assert "3 rows of default were changed after the recording" in capsys.readouterr().err
    for _ in range(2):
        assert _code("import", changed, "--home", there) == 3
        assert _lacking(arrived, session) == (3, 1)
    capsys.readouterr()
    assert _code("sessions", "--home", there, "--json") == 0
    [listed] = json.loads(capsys.readouterr().out)["sessions"]
    assert listed["cost_at_least"]
    for _ in range(2):
        assert _code("import", str(tmp_path / "intact.lops"), "--home", there) == 0
        assert _lacking(arrived, session) == (0, 2)


@pytest.mark.foreign_open
def test_a_hub_that_refuses_changed_rows(
    own: RealHub, sender: Sender, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It marks their session, also where its bundles go; when they are sent again, intact, it takes that back."""
    session, on_hub = _record(), Path(own.data) / "default" / "journal.db"
    _change(sender.journal, "why 1", "who 1")
    assert sender.sync().parked == 1
    assert _lacking(on_hub, session) == (1, 1)

    def copied() -> str:
        file = str(tmp_path / "from-hub.lops")
        bundle_file.pack(str(own.data), [Share("default", sessions=(session,))], file)
        return file

    capsys.readouterr()
    assert _code("steps", "last", "--home", str(own.data)) == 0
    assert "`localops parked` lists them where the run was recorded" in capsys.readouterr().out
    there = tmp_path / "there"
    arrived = there / "default" / "journal.db"
    for _ in range(2):
        assert _code("import", copied(), "--home", str(there)) == 0
        assert _lacking(arrived, session) == (1, 1)
    lines = str(tmp_path / "from-hub.jsonl")
    assert _code("export", "last", "--format", "jsonl", "-o", lines, "--home", str(own.data)) == 0
    _code("import", lines, "--home", str(there))
    assert _lacking(arrived, session) == (1, 1)
    _change(sender.journal, "who 1", "why 1")
    with Reader(sender.journal) as reader:
        [(seq,)] = reader.ask("select seq from event where body like '%why 1%'")
    assert _code("parked", "retry", str(seq)) == 0
    sender.sync()
    assert _lacking(on_hub, session) == (0, 2)
    assert _code("import", copied(), "--home", str(there)) == 0
    assert _lacking(arrived, session) == (0, 2)
    with Reader(str(on_hub)) as reader:
        assert analytics.totals(reader, session).llms == 3


def _code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code
