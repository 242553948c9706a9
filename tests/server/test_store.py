"""A home as a hub's store: blobs in pieces, permanent deletion, several projects side by side."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localops.journal import blobs
from localops.journal.journal import Journal
from localops.reading import analytics
from localops.reading.home import Filters
from localops.server.home_store import HomeStore
from localops.server.request import Garbled, Misplaced, TooMany, Unavailable
from localops.transfer import scrubbed
from localops.transfer.bundle import Previous
from localops.upkeep import prune
from tests.server.hubs import RealHub, batch_of, session_rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HomeStore]:
    """Return a store without a hub around it."""
    made = HomeStore(str(tmp_path / "data"))
    yield made
    made.close()


def _take(store: HomeStore, project: str = "p", **options: object) -> bytes:
    sent = session_rows(**options)  # type: ignore[arg-type]
    store.ingest(project, batch_of(sent, journal=os.urandom(16).hex()), refused={}, by="hub", key="key")
    return bytes(sent[0][2])


_DATA = os.urandom(10_000)
_DIGEST = hashlib.sha256(_DATA).hexdigest()


def test_a_blob_comes_in_pieces(store: HomeStore, tmp_path: Path) -> None:
    """A blob exists when its last piece does; until then the store reports how much it has."""
    assert store.blob("p", _DIGEST) == (0, False)
    assert store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA[:4_000]) == 4_000
    assert store.blob("p", _DIGEST) == (4_000, False)
    assert store.add_to_blob("p", _DIGEST, 4_000, len(_DATA), _DATA[4_000:]) == len(_DATA)
    assert store.blob("p", _DIGEST) == (len(_DATA), True)
    path = Path(blobs.path_of(str(tmp_path / "data" / "p"), _DIGEST))
    assert path.read_bytes() == _DATA
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA) == len(_DATA)


def test_what_upkeep_has_to_sweep_is_seen(store: HomeStore, tmp_path: Path) -> None:
    """An upload that was abandoned a week ago, and traces of scrubbed rows; nothing after they are removed."""
    _take(store)
    assert not store.is_untidy("p")
    with closing(Journal(str(tmp_path / "data" / "p"))) as journal:
        journal.transact(scrubbed.begin)
        assert store.is_untidy("p")
        journal.transact(lambda execute: execute("delete from meta where key = ?", (scrubbed.UNFINISHED,)))
    assert not store.is_untidy("p")
    store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA[:4_000])
    assert not store.is_untidy("p")
    [upload] = (tmp_path / "data" / "p" / "uploads").iterdir()
    os.utime(upload, (1e9, 1e9))
    assert store.is_untidy("p")
    store.sweep("p")
    assert not store.is_untidy("p")
    assert not upload.exists()


@pytest.mark.parametrize(("at", "total"), [(1, 10_000), (5_000, 10_000), (0, 10)])
def test_a_piece_that_does_not_fit_is_refused(store: HomeStore, at: int, total: int) -> None:
    """A piece behind a gap or beyond the end is refused with the offset to continue at."""
    with pytest.raises(Misplaced) as refused:
        store.add_to_blob("p", _DIGEST, at, total, _DATA[:100])
    assert refused.value.offset == 0


def test_a_blob_with_another_digest_is_thrown_away(store: HomeStore) -> None:
    """A blob with another digest is discarded, and begun again."""
    with pytest.raises(Garbled):
        store.add_to_blob("p", _DIGEST, 0, 5, b"wrong")
    assert store.blob("p", _DIGEST) == (0, False)


def test_a_beginning_that_is_too_long_is_thrown_away(store: HomeStore) -> None:
    """The sender gave too large a size, so that nothing could be added to it."""
    store.add_to_blob("p", _DIGEST, 0, 1 << 20, _DATA + b"and more")
    with pytest.raises(Misplaced) as refused:
        store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA)
    assert refused.value.offset == 0
    assert store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA) == len(_DATA)
    assert store.blob("p", _DIGEST) == (len(_DATA), True)


def test_two_hubs_of_one_folder_do_not_mix_a_blob_up(store: HomeStore, tmp_path: Path) -> None:
    """If both put the same piece at once, one of them gets the current offset."""
    other = HomeStore(str(tmp_path / "data"))
    results: Counter[str] = Counter()

    def send(to: HomeStore, at: int) -> None:
        try:
            to.add_to_blob("p", _DIGEST, at, len(_DATA), _DATA[at : at + 500])
            results["taken"] += 1
        except (Misplaced, Unavailable):
            results["not taken"] += 1

    for at in range(0, len(_DATA), 500):
        both = [threading.Thread(target=send, args=(to, at)) for to in (store, other)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    other.close()
    assert store.blob("p", _DIGEST) == (len(_DATA), True)
    assert results["taken"] in (20, 21)  # each piece once; the sender of the last one may find the blob complete


def test_a_blob_that_is_whole_survives_a_power_cut(store: HomeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both its bytes and its name are synced, as no sender would send it again."""
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA)
    path = Path(blobs.path_of(os.path.join(store.folder, "p"), _DIGEST))
    assert {each.stat().st_ino for each in (path, path.parent, path.parent.parent)} <= synced


def test_a_blob_that_a_sender_asks_about_is_kept(store: HomeStore) -> None:
    """The rows that refer to it may be about to arrive, however old the blob is."""
    store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA)
    os.utime(blobs.path_of(os.path.join(store.folder, "p"), _DIGEST), (0, 0))
    assert store.blob("p", _DIGEST) == (len(_DATA), True)
    journal = Journal(os.path.join(store.folder, "p"))
    assert prune.sweep_blobs(journal) == (0, 1)
    journal.close()


def test_an_empty_blob_is_one_too(store: HomeStore) -> None:
    """Its only piece has no bytes."""
    digest = hashlib.sha256(b"").hexdigest()
    assert store.add_to_blob("p", digest, 0, 0, b"") == 0
    assert store.blob("p", digest) == (0, True)


def test_blobs_are_sent_over_http(running: RealHub) -> None:
    """HEAD returns how much is there, PATCH adds to it, and a wrong offset is answered with the right one."""
    path = f"/sync/1/blobs/{_DIGEST}"

    def send(at: int, piece: bytes) -> tuple[int, dict[str, object]]:
        headers = {"Upload-Offset": str(at), "Upload-Length": str(len(_DATA))}
        return running.ask("PATCH", path, piece, headers=headers)

    assert send(0, _DATA[:6_000])[1]["offset"] == 6_000
    status, headers = running.ask("HEAD", path)
    assert (status, headers["upload-offset"], headers["upload-complete"]) == (200, "6000", "?0")
    status, reply = send(0, _DATA[:6_000])
    assert (status, reply["offset"]) == (409, 6_000)
    assert send(6_000, _DATA[6_000:])[0] == 200
    assert running.ask("HEAD", path)[1]["upload-complete"] == "?1"
    assert running.ask("PATCH", path, b"x")[0] == 400
    assert running.ask("HEAD", "/sync/1/blobs/..%2fhub.json")[0] == 404


def test_a_deleted_session_does_not_come_back(store: HomeStore) -> None:
    """Ended or not, a resend is accepted and not stored, and rows behind it are not held up."""
    for end in ("Success", None):
        sent = session_rows(2, end=end)
        session, journal = sent[0][2], os.urandom(16).hex()
        store.ingest("p", batch_of(sent, journal=journal), refused={}, by="hub", key="key")
        assert store.delete("p", session)
        assert store.stats("p", session) is None
        assert store.figures("p", [session])[session]["gone"]
        ack, gone = store.ingest("p", batch_of(sent, journal=journal), refused={}, by="hub", key="key")
        assert (ack.stored, gone) == (0, len(sent))
        last = sent[-1]
        previous = Previous(len(sent), last[0], last[1], last[-2], last[2])
        behind = batch_of(session_rows(1), 10, journal=journal, previous=previous)
        assert store.ingest("p", behind, refused={}, by="hub", key="key")[0].stored == 3
    assert not store.delete("p", session)


def test_one_store_reads_all_projects_for_one_person(store: HomeStore) -> None:
    """Without a project every one of them is asked: a local home."""
    first, second = _take(store, "one"), _take(store, "two")
    assert store.stats("one", second) is None
    assert store.stats(None, second)
    listed, following = store.sessions(None, Filters(), before=None, limit=10)
    assert ([one["project"] for one in listed], following) == (["two", "one"], None)
    assert store.analytics(None, None, analytics.Chosen(), limit=10)["sessions"] == 2
    by_model = store.analytics(None, "model", analytics.Chosen(), limit=10)["lines"]
    assert [line["sessions"] for line in by_model] == [2]
    assert store.session(None, first)["session_id"] == str(uuid.UUID(bytes=first))  # type: ignore[index]


def test_more_projects_than_are_kept_open(store: HomeStore) -> None:
    """Those that have not been written for longest are closed, and opened again when needed."""
    sessions = {f"p{number}": _take(store, f"p{number}", events=1) for number in range(70)}
    assert len(store._journals) <= 64
    for project, session in sessions.items():
        assert store.stats(project, session)
    assert _take(store, "p0")


@pytest.mark.parametrize("asked", [{}, {"kind": "llm"}, {"text": "cat"}])
def test_a_page_of_large_events_is_short(store: HomeStore, asked: dict[str, str]) -> None:
    """A page ends when it is large, however many events were requested, and the next one continues."""
    session = _take(store, events=8, body='{"params":"cat ' + "x" * (3 << 20) + '"}')
    after: Any = 0
    sizes = []
    while after is not None:
        page: Any = store.events("p", session, after=after, limit=1_000, **asked)
        sizes.append(len([one for one in page["events"] if one["kind"] == "llm"]))
        after = page["next_after"]
    assert (sum(sizes), max(sizes)) == (8, 3)


def test_a_session_that_is_too_large_for_one_answer_is_not_begun(store: HomeStore) -> None:
    """An export of many or large rows is refused: it is read page by page."""
    large = _take(store, events=2, body='{"params":"' + "x" * 40_000 + '"}')
    with pytest.raises(TooMany):
        store.document("p", large, most=30)
    session = _take(store, events=20)
    with pytest.raises(TooMany):
        store.document("p", session, most=10)
    assert store.document("p", session, most=30)


@pytest.mark.foreign_open
def test_a_foreign_file_in_place_of_the_journal_is_an_error(tmp_path: Path) -> None:
    """Another program's file in the place of the journal is left alone."""
    path = tmp_path / "p" / "journal.db"
    path.parent.mkdir()
    path.write_bytes(b"something else, and long enough to be looked at" * 100)
    store = HomeStore(str(tmp_path))
    with pytest.raises(Unavailable):
        _take(store)
    assert path.read_bytes().startswith(b"something else")
    store.close()


def test_old_beginnings_of_blobs_are_removed(store: HomeStore, tmp_path: Path) -> None:
    """A blob that has not been continued for a week is removed."""
    store.add_to_blob("p", _DIGEST, 0, len(_DATA), _DATA[:10])
    path = tmp_path / "data" / "p" / "uploads" / _DIGEST
    store.migrate("p")
    assert path.exists()
    os.utime(path, (0, 0))
    store.migrate("p")
    assert not path.exists()


def _asked(store: HomeStore, ask: Callable[[], object]) -> list[str]:
    """Return the statements that SQLite is given while a question is answered, from a home that is open."""
    ask()
    statements: list[str] = []

    def note(_: object, statement: str, __: object) -> bool:
        statements.append(statement)
        return True

    with store._home("p") as home:
        home.projects[0].reader._connection.exec_trace = note
    ask()
    return statements


def test_a_session_page_asks_everything_once(store: HomeStore) -> None:
    """Figures, story and parts of a session are read once for the page, however many of its facts need them."""
    session = _take(store)
    statements = _asked(store, lambda: store.session("p", session))
    assert len(statements) <= 11
    assert max(Counter(statements).values()) == 1


def test_an_export_reads_figures_and_story_once(store: HomeStore) -> None:
    """A document reads only events more than once; a report, which answers what its pages ask, figures as well."""
    session = _take(store)
    own = ("session_row", "exact totals", "seq = ?", "The rows of an operation")
    for ask, often in (
        (lambda: store.document("p", session, most=100), ("session_row",)),
        (lambda: store.write("p", session, "html", io.BytesIO(), most=100), own),
    ):
        counted = Counter(_asked(store, ask))
        more = [statement for statement, count in counted.items() if count > 1]
        assert [statement for statement in more if not any(words in statement for words in often)] == []
