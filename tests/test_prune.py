"""Prune removes whole ended sessions, each leaving one row, and never what a remote still needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.errors import ConfigError
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.rollups import DERIVED
from localops.journal.stored import Stored
from localops.reading import analytics
from localops.reading.search import Index
from localops.upkeep import prune


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return the folder of the project that these tests record into."""
    return str(tmp_path / "home" / "default")


@pytest.fixture
def journal(folder: str) -> Iterator[Journal]:
    """Return the journal, opened to be pruned."""
    journal = Journal(folder)
    yield journal
    journal.close()


def _record(name: str, many: int = 3, *, end: bool = True) -> bytes:
    session = localops.start_session(name=name, tags=[name])
    assert session is not None
    for index in range(many):
        session.record(localops.LLMEvent(model="gpt-4o", prompt="x" * 500, prompt_tokens=index, completion_tokens=1))
        session.record(localops.ToolEvent(name=f"tool {index}"))
    session.begin("tool", "never finished")
    if end:
        session.end_session("Success")
    return session.session_id.bytes


def _look(folder: str, session: bytes, *unsent: str) -> prune.Choice:
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return prune.look(reader, folder, session, unsent=unsent)


def _derived(journal: Journal) -> dict[str, int]:
    counts = {}

    def count(execute: object) -> None:
        for table in DERIVED:
            counts[table] = execute(f"select count(*) from {table}").fetchone()[0]  # type: ignore[operator]

    journal.transact(count)
    return counts


def test_a_pruned_session_leaves_one_row_about_it(folder: str, journal: Journal) -> None:
    """Rows, digest, figures and state of the removed session stay known; the other session is untouched."""
    gone, stays = _record("gone"), _record("stays")
    before = analytics.totals(journal, stays)
    choice = _look(folder, gone)
    taken = prune.take(journal, [choice])
    assert (taken.sessions, taken.rows) == (1, choice.rows)
    (row,) = [row for row in _rows(folder) if row.kind == "pruned"]
    facts = json.loads(row.body or "")
    assert (row.parent, facts["rows"], facts["state"], facts["totals"]["llms"]) == (gone, choice.rows, "Success", 3)
    assert row.is_intact
    assert analytics.totals(journal, stays) == before
    assert analytics.totals(journal, gone) == analytics.NOTHING


def _rows(folder: str) -> list[Stored]:
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return list(reader.stream())


def test_what_is_derived_equals_a_rebuild(folder: str, journal: Journal) -> None:
    """After a prune nothing derived is left over, and nothing is missing."""
    gone, _ = _record("gone"), _record("stays")
    prune.take(journal, [_look(folder, gone)])
    before = _derived(journal)
    journal.rebuild()
    assert _derived(journal) == before


def test_a_running_session_stays(folder: str, journal: Journal) -> None:
    """An open session is never removed."""
    choice = _look(folder, _record("open", end=False))
    assert choice.stays == "it is running"
    assert prune.take(journal, [choice]).sessions == 0


def test_rows_that_a_remote_lacks_stay(folder: str, journal: Journal) -> None:
    """Unsent rows are only taken when that remote is named, and sent ones are free to go."""
    session = _record("unsent")
    Path(folder, "remotes.json").write_text('{"hub": {"url": "https://hub.example"}}')
    assert _look(folder, session).stays == f"hub lacks {_look(folder, session).rows} of its rows"
    assert _look(folder, session, "hub").stays is None
    journal.transact(lambda execute: execute("insert into delivered values('hub', 1, 1000)"))
    assert (_look(folder, session).stays, _look(folder, session).delivered) == (None, ["hub"])


def test_remotes_that_cannot_be_read_stop_everything(folder: str) -> None:
    """If it is not known which remotes need the rows, they are not removed."""
    session = _record("x")
    Path(folder, "remotes.json").write_text("{")
    with pytest.raises(ConfigError, match="not known what was sent"):
        _look(folder, session)


def test_a_session_that_continues_meanwhile_stays(folder: str, journal: Journal) -> None:
    """A late row between looking and removing saves the session."""
    session = localops.start_session()
    assert session is not None
    session.end_session("Success")
    choice = _look(folder, session.session_id.bytes)
    session.record(localops.ActionEvent(action_type="late"))
    taken = prune.take(journal, [choice])
    assert (taken.sessions, taken.changed) == (0, [choice.session])


def test_blobs_go_with_their_last_session(folder: str, journal: Journal) -> None:
    """A blob that no row refers to is removed, one that another session uses stays."""
    shared, own = blobs.keep(folder, b"shared"), blobs.keep(folder, b"own")
    first, second = localops.start_session(name="1"), localops.start_session(name="2")
    assert first is not None
    assert second is not None
    first.record(localops.ActionEvent(screenshot=f"blob:{shared}", params={"$blob": own}))
    second.record(localops.ActionEvent(screenshot=f"blob:{shared}"))
    first.end_session("Success")
    for digest in (shared, own):
        os.utime(blobs.path_of(folder, digest), (0, 0))
    taken = prune.take(journal, [_look(folder, first.session_id.bytes)])
    assert taken.blobs == 1
    assert os.path.exists(blobs.path_of(folder, shared))
    assert not os.path.exists(blobs.path_of(folder, own))


def test_a_blob_that_was_just_kept_stays(folder: str, journal: Journal) -> None:
    """Its row may be on its way."""
    _record("x")
    digest = blobs.keep(folder, b"just now")
    assert prune.sweep_blobs(journal) == (0, 1)
    assert os.path.exists(blobs.path_of(folder, digest))


def test_the_words_of_a_pruned_session_are_found_no_more(folder: str, journal: Journal) -> None:
    """The search index is built again: removed text cannot be read from it."""
    gone, stays = _record("gone"), _record("stays")
    with Reader(journal.path) as reader:
        Index(folder, reader).extend()
        prune.take(journal, [_look(folder, gone)])
        assert not os.path.exists(os.path.join(folder, Index.FILE))
        index = Index(folder, reader)
        index.extend()
        assert index.sessions("tool", most=9) == [stays]


def test_the_space_comes_back(folder: str, journal: Journal) -> None:
    """The file is smaller afterwards, by the number in the report."""
    sessions = [_record(f"{n}", 200) for n in range(3)]
    journal.compact()
    before = os.path.getsize(journal.path)
    taken = prune.take(journal, [_look(folder, session) for session in sessions])
    assert taken.freed > before / 2
    assert os.path.getsize(journal.path) < before / 2


_NARROW = """
import resource, sys
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.upkeep import prune
folder, limit, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
journal = Journal(folder, gather=True)
journal.fold()
journal.empty_wal()
with Reader(journal.path) as reader:
    choices = [prune.look(reader, folder, bytes.fromhex(name)) for name in names]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
taken = prune.take(journal, choices)
print(taken.sessions, taken.failed is not None)
"""


@pytest.mark.foreign_open
def test_little_room_is_enough_for_one_session_after_another(tmp_path: Path) -> None:
    """The WAL is emptied between sessions that are too large together, and before the file is packed."""
    folder = str(tmp_path / "default")
    journal = Journal(folder)
    names = [clock.new_id() for _ in range(4)]
    # The sessions take turns, so that each of them has rows in all pages.
    for count in range(2_000):
        _append(journal, "action", names[count % 4], body=f'{{"params":"{"x" * 300}"}}')
    for session in names:
        _append(journal, "end", session, name="Success")
    journal.close()
    limit = 3 * os.path.getsize(journal.path) // 2
    command = [sys.executable, "-B", "-c", _NARROW, folder, str(limit), *(name.hex() for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "4 False", done


def _append(journal: Journal, kind: str, session: bytes, **columns: Any) -> None:
    at = clock.now_ns()
    assert journal.append(rows.make(kind, session, id=clock.new_id(at), at_ns=at, **columns))
