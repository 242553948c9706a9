"""The index of tool calls: what it counts, and that it follows the journal."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops.decorators import tool
from localops.journal import derived_file, stored
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading.calls import CallIndex, Past, digest
from localops.reading.home import Home
from localops.recording.session import Session
from tests import made, warm


@tool
def fetch(url: str, *, tries: int = 1) -> str:
    """Fail for one address."""
    if url == "http://bad":
        raise TimeoutError("no answer")
    return "ok"


def _fetch(url: str, **more: int) -> None:
    try:
        fetch(url, **more)
    except TimeoutError:
        pass


@pytest.fixture
def session() -> Session:
    """A session that is open."""
    return localops.init()


class _Opened:
    """The index of the test's own project, opened again for each look."""

    def __init__(self, home: str) -> None:
        self.home = home

    def past(self, name: str, args: object = None, *, many: int = 5, before: int | None = None) -> Past:
        """Return what the index knows once it has caught up."""
        with Home(self.home) as home:
            project = home.projects[0]
            index = CallIndex(project.folder, project.reader)
            try:
                assert index.catch_up() == 0
                return index.past(name, args, many=many, before=before)
            finally:
                index.close()


@pytest.fixture
def index(session: Session) -> _Opened:
    """The index of the session's project."""
    return _Opened(os.environ["LOCALOPS_HOME"])


def test_calls_are_counted_by_their_arguments(index: _Opened) -> None:
    """Decorated functions: arguments from the row that they began with, failures from the row that they ended with."""
    for url in ("http://bad", "http://bad", "http://good"):
        _fetch(url)
    _fetch("http://bad", tries=3)
    same = index.past("fetch", {"tries": 1, "url": "http://bad"})
    assert (same.is_known, same.same, same.same_failed, same.failed) == (True, 2, 2, 3)
    good = index.past("fetch", {"url": "http://good", "tries": 1})
    assert (good.same, good.same_failed, good.failed) == (1, 0, 3)
    assert index.past("fetch", {"url": "http://other"})[:3] == (True, 0, 0)
    assert index.past("other")[:3] == (False, 0, 0)


def test_an_error_that_is_recorded_later_fails_its_call(session: Session, index: _Opened) -> None:
    """Also when the index had the call already."""
    event = localops.ToolEvent(name="book", params={"nights": 2})
    session.record(event)
    assert index.past("book", {"nights": 2})[1:3] == (1, 0)
    session.record(localops.ErrorEvent(trigger_event=event, exception=ValueError("too many")))
    assert index.past("book", {"nights": 2})[1:3] == (1, 1)


def test_a_call_without_arguments_is_one_with_none(session: Session, index: _Opened) -> None:
    """No parameters, and an empty object, are the same."""
    session.record(localops.ToolEvent(name="ping"))
    session.record(localops.ToolEvent(name="ping", params={}))
    session.record(localops.ToolEvent(name="ping", params={"count": 1}))
    assert index.past("ping", {}).same == 2


def test_a_call_that_has_not_ended_is_no_call_yet(session: Session, index: _Opened) -> None:
    """A call that began in an earlier read is counted when it ends."""
    running = session.operation("wait", kind="tool", params={"for": "it"})
    running.open()
    assert not index.past("wait").is_known
    running.fail(TimeoutError("too long"))
    running.close()
    assert index.past("wait", {"for": "it"})[:3] == (True, 1, 1)


def test_failures_are_paged_by_seq(session: Session, index: _Opened) -> None:
    """Newest first, each once."""
    for _ in range(5):
        _fetch("http://bad")
    first = index.past("fetch", many=2)
    second = index.past("fetch", many=2, before=first.newest_failed[-1])
    third = index.past("fetch", many=2, before=second.newest_failed[-1])
    seqs = [*first.newest_failed, *second.newest_failed, *third.newest_failed]
    assert (len(seqs), seqs) == (5, sorted(set(seqs), reverse=True))


def test_the_index_is_made_again_when_it_is_gone_or_of_another_journal(session: Session, index: _Opened) -> None:
    """It is derived: after it was deleted, damaged or left over from another journal, the answers are the same."""
    _fetch("http://bad")
    assert index.past("fetch").failed == 1
    folder = Path(index.home) / "default"
    derived_file.forget(str(folder / CallIndex.FILE))
    assert not (folder / CallIndex.FILE).exists()
    assert index.past("fetch").failed == 1
    (folder / CallIndex.FILE).write_bytes(b"no database" * 1_000)
    assert index.past("fetch").failed == 1
    assert (folder / CallIndex.FILE).stat().st_mode & 0o777 == 0o600


def test_the_index_of_deleted_sessions_is_deleted(session: Session, index: _Opened) -> None:
    """`localops prune` leaves no digest of what was called."""
    _fetch("http://bad")
    localops.end_session("Success")
    assert index.past("fetch").failed == 1
    command = [sys.executable, "-m", "localops", "prune", "--session", str(session.session_id), "--yes"]
    done = warm.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not (Path(index.home) / "default" / CallIndex.FILE).exists()


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=5))
)
def test_a_digest_depends_on_no_order(values: dict[str, object]) -> None:
    """Equal arguments have one digest, whatever the order of their keys."""
    plain = {key: value for key, value in values.items() if key != "more"}
    assert digest(plain) == digest(dict(reversed(plain.items())))
    assert digest({**plain, "more": 1}) != digest(plain)


def test_arguments_count_whatever_order_the_rows_were_stored_in(session: Session, tmp_path: Path) -> None:
    """An import may store closing rows first."""
    _fetch("http://one")
    with closing(Journal(str(tmp_path / "default"))) as copy, Reader(session._journal.path) as reader:
        copy.add(made.with_closings_first(row.bare for row in stored.of_session(reader, session._id)))
    assert _Opened(str(tmp_path)).past("fetch", {"tries": 1, "url": "http://one"}).same == 1


def test_an_index_of_an_earlier_version_is_replaced(session: Session, index: _Opened) -> None:
    """It may have no arguments of calls whose closing row was stored first."""
    _fetch("http://one")
    assert index.past("fetch", {"tries": 1, "url": "http://one"}).same == 1
    with closing(apsw.Connection(str(Path(index.home) / "default" / CallIndex.FILE))) as file:
        file.execute("update call set args = ?", (digest(None),))
        assert index.past("fetch", {"tries": 1, "url": "http://one"}).same == 0
        file.pragma("user_version", 1)
    assert index.past("fetch", {"tries": 1, "url": "http://one"}).same == 1


def test_an_error_that_is_stored_before_its_call_counts(session: Session, tmp_path: Path) -> None:
    """All rows of an import may be in reversed order."""
    event = localops.ToolEvent(name="book", params={"nights": 2})
    session.record(event)
    session.record(localops.ErrorEvent(trigger_event=event, exception=ValueError("too many")))
    with closing(Journal(str(tmp_path / "default"))) as copy, Reader(session._journal.path) as reader:
        copy.add([row.bare for row in reversed(list(stored.of_session(reader, session._id)))])
    assert _Opened(str(tmp_path)).past("book", {"nights": 2})[1:3] == (1, 1)
