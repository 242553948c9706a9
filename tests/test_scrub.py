"""A scrub replaces what a sweep finds, and leaves nothing of it in any file; everything else does not change."""

from __future__ import annotations

import json
import os
import random
import signal
import string
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from localops import clock, config
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.spill import Spill
from localops.journal.stored import Stored
from localops.reading.call_table import CallTable
from localops.reading.home import Filters, Home
from localops.transfer import remotes, scrubbed
from localops.upkeep import doctor
from localops.upkeep.scrub import Scrubbed, scrub
from tests import warm
from tests.examples import sized

R = random.Random(15)
KEY = "sk-ant-api03-" + "".join(R.choices(string.ascii_letters + string.digits, k=40)) + "7a"
PASSWORD = "Tr0ub4dor&3-" + "".join(R.choices(string.ascii_lowercase, k=8))
# None of them is changed by being written again.
PLAIN: dict[str, Any] = {
    "n": [1, 1.5, -0.0, 1e300, 12345678901234567890],
    "text": "ü\u2028\U0001f600",
    "none": None,
    "": {},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a project."""
    path = tmp_path / "home" / "default"
    path.mkdir(parents=True, mode=0o700)
    (tmp_path / "home").chmod(0o700)
    return path


def _row(kind: str = "tool", body: Any = None, **columns: Any) -> rows.Row:
    at = clock.now_ns()
    text = body if isinstance(body, str | None) else json.dumps(body, ensure_ascii=False)
    return rows.make(
        kind, columns.pop("session", clock.new_id(at)), id=clock.new_id(at), at_ns=at, body=text, **columns
    )


def _write(folder: Path, *written: rows.Row) -> None:
    with closing(Journal(str(folder))) as journal:
        for row in written:
            assert journal.append(row)


def _read(folder: Path) -> dict[tuple[bytes, int], Stored]:
    with Reader(str(folder / config.JOURNAL)) as reader:
        return {(row.id, row.phase): row for row in reader.stream()}


def _scrub(folder: Path) -> Scrubbed:
    return scrub(str(folder.parent), folder.name)


def _holds(folder: Path, *secrets: str) -> list[str]:
    """Return the files that hold a secret, as they are on disk."""
    # In a process of its own, as closing a file of SQLite here would free its locks.
    words = [word for secret in secrets or (KEY, PASSWORD) for word in ("-e", secret)]
    looked = subprocess.run(["grep", "-rlaF", *words, str(folder)], capture_output=True, text=True, check=False)
    assert looked.returncode < 2, looked.stderr
    return looked.stdout.splitlines()


def _fields(row: Stored) -> dict[str, Any]:
    fields = json.loads(row.body or "{}")
    fields.pop("notes", None)
    return fields  # type: ignore[no-any-return]


def test_secrets_become_notes_and_all_else_stays(folder: Path) -> None:
    """In values, under names, in keys, names, models and tags; a row without a secret is not written again."""
    secret = [
        _row(body={"params": {**PLAIN, "headers": [{"Authorization": f"Bearer {KEY}"}], "db_password": PASSWORD}}),
        _row(body={"params": {"seen": {KEY: 1}, "argv": ["x", "--password", PASSWORD, "y"], "token": 12345678}}),
        _row(name=f"use {KEY}", model=f"m {KEY}", tags=json.dumps(["a", f"k={KEY}"]), body={"returns": PLAIN}),
        _row("llm", tokens=(10, 2, None, None), cost=7, body={"prompt": f"{KEY} and {KEY}", "notes": {"redacted": 2}}),
        _row(body=f'{{"not json: {KEY}'),
    ]
    clean = [_row(body={"params": PLAIN, "note": "[redacted:password]"}, name="plain"), _row(body=None)]
    _write(folder, *secret, *clean)
    before = _read(folder)
    done = _scrub(folder)
    assert done.is_clean
    assert (done.rows, done.files) == (5, 0)
    assert done.rules == {"authorization": 1, "password": 2, "anthropic": 7, "token": 1}
    after = _read(folder)
    first, second, third, fourth, fifth = (after[row[:2]] for row in secret)
    assert _fields(first)["params"] == {
        **PLAIN,
        "headers": [{"Authorization": "[redacted:authorization]"}],
        "db_password": "[redacted:password]",
    }
    assert _fields(second)["params"] == {
        "seen": {"[redacted:anthropic]": 1},
        "argv": ["x", "--password", "[redacted:password]", "y"],
        "token": "[redacted:token]",
    }
    assert (third.name, third.model) == ("use [redacted:anthropic]", "m [redacted:anthropic]")
    assert json.loads(third.tags or "") == ["a", "k=[redacted:anthropic]"]
    assert json.loads(fourth.body or "") == {
        "prompt": "[redacted:anthropic] and [redacted:anthropic]",
        "notes": {"redacted": 4},
    }
    assert fifth.body == '{"not json: [redacted:anthropic]'
    for row in clean:
        assert after[row[:2]] == before[row[:2]]
    unchanged = [name for name in Stored._fields if name not in ("name", "model", "tags", "sum", "body")]
    for identity, row in before.items():
        assert all(getattr(after[identity], name) == getattr(row, name) for name in unchanged)
        assert after[identity].is_intact
        assert scrubbed.is_cut(row, after[identity])


def test_nothing_of_it_is_left_in_the_files(folder: Path) -> None:
    """Not in free pages, the WAL, indexes and derived tables, nor in what was cut off or spilled."""
    session = clock.new_id()
    large = ("word " * 300 + f"key {KEY}\n").encode() * 1_000
    digest = blobs.keep(str(folder), large)
    _write(
        folder,
        _row("session", session=session, name=f"run {KEY}", tags=json.dumps([KEY]), body={}),
        *[_row(session=session, body={"params": {"api_key": KEY, "pad": "x" * (n * 97 % 9_000)}}) for n in range(300)],
        _row(session=session, body={"returns": {"$blob": digest, "$len": len(large), "head": large[:900].decode()}}),
        _row("scored", session=session, name="kind", body={"value": f"like {KEY}", "by": "ann"}),
        _row("tool", session=session, name=f"fetch {KEY}", body={"params": {"url": f"https://x.example/{KEY}"}}),
    )
    assert Spill(str(folder)).write(_row(session=session, body={"params": {"password": PASSWORD}}))
    with Home(str(folder.parent)) as home:
        [project] = home.projects
        project.index().extend()
        table = CallTable(project.folder)
        table.extend(project.reader)
        table.close()
        [listed] = home.sessions(Filters(text="word"))
        figures = listed
    assert len(_holds(folder)) >= 3
    assert "call_table.db" in " ".join(map(str, _holds(folder)))
    done = _scrub(folder)
    assert done.is_clean, done
    assert done.files == 1
    assert _holds(folder) == []
    [path] = blobs.stored(str(folder))
    assert Path(path).read_bytes() == large.replace(KEY.encode(), b"[redacted:anthropic]")
    [named] = [row for row in _read(folder).values() if "$blob" in (row.body or "")]
    returned = _fields(named)["returns"]
    assert (returned["$blob"], returned["$len"]) == (os.path.basename(path), os.path.getsize(path))
    assert [finding for finding in doctor.examine(str(folder.parent), ["default"], deep=True) if finding.fault] == []
    with Home(str(folder.parent)) as home:
        home.projects[0].index().extend()
        [again] = home.sessions(Filters(text="word"))
        assert again[2:5] == figures[2:5]
        assert (again.events, again.cost, again.tokens_in) == (figures.events, figures.cost, figures.tokens_in)
        assert again.name == "run [redacted:anthropic]"


def test_a_second_scrub_has_nothing_to_do(folder: Path) -> None:
    """It writes no row, and the rows about the first are no secrets themselves, whatever their rules are called."""
    _write(folder, _row(body={"params": {"password": PASSWORD, "token": KEY}}))
    assert _scrub(folder).rows == 1
    before = _read(folder)
    [about] = [row for row in before.values() if scrubbed.is_about(row)]
    assert _fields(about)["rules"] == [["password", 1], ["token", 1]]
    done = _scrub(folder)
    assert (done.is_clean, done.rows, done.secrets) == (True, 0, 0)
    assert _read(folder) == before


def test_a_row_that_is_damaged_is_left_and_named(folder: Path) -> None:
    """Replacing it would give its damaged contents a valid checksum."""
    _write(folder, _row(body={"params": {"text": f"{KEY} one"}}))
    [bad] = [(row.id, row.phase) for row in _read(folder).values() if row.kind == "tool"]
    connection = apsw.Connection(str(folder / config.JOURNAL))
    connection.execute("update event set body = replace(body, 'one', 'two') where id = ?", (bad[0],))
    connection.close()
    done = _scrub(folder)
    assert (done.is_clean, done.rows, done.damaged) == (False, 0, [rows.id_text(bad[0])])
    assert done.left is not None
    assert done.left.secrets == 1


def test_what_cannot_be_written_again_is_reported(folder: Path) -> None:
    """A journal that was set aside as damaged, and lines that no release can read."""
    _write(folder, _row(body={"params": {"text": KEY}}))
    aside = folder / f"{config.JOURNAL}.corrupt-20260101-000000-1"
    aside.write_bytes(b"\0 old page " + KEY.encode())
    done = _scrub(folder)
    assert (done.rows, done.is_clean) == (1, False)
    assert done.left is not None
    assert [place.file for place in done.left.places] == [str(aside)]


def test_a_remote_that_cannot_replace_rows_is_named(folder: Path) -> None:
    """With the number of rows that it has; a hub gets them again, and other remotes do not."""
    _write(folder, _row(body={"a": 1}), _row(body={"params": {"text": KEY}}), _row(body=None))
    about = {
        name: remotes.Remote(name, "http://127.0.0.1:9", kind=kind) for name, kind in (("h", "hub"), ("o", "otlp"))
    }
    remotes.save(str(folder), about)
    connection = apsw.Connection(str(folder / config.JOURNAL))
    [(first,)] = connection.execute("select min(seq) from event where body is not null and kind = 'tool'")
    for name in ("h", "o", "removed"):
        connection.execute("insert into delivered values(?, ?, ?)", (name, first, first + 2))
    connection.close()
    done = _scrub(folder)
    assert (done.hubs, done.sent) == (["h"], {"o": 1, "removed": 1})
    with Reader(str(folder / config.JOURNAL)) as reader:
        assert reader.ask("select remote, first, last from delivered order by remote, first") == [
            ("h", first, first),
            ("h", first + 2, first + 2),
            ("o", first, first + 2),
            ("removed", first, first + 2),
        ]


# Records until its stdin ends, and once after that.
_RECORDER = """
import select, sys, localops
localops.init(redact=False, auto_start_session=False)
session = localops.start_session(name="beside")
print("ready", flush=True)
n, is_over = 0, []
while not is_over:
    is_over, _, _ = select.select([0], [], [], 0.005)
    session.record(localops.ActionEvent(name=f"step {n}", params={"text": sys.argv[1] + f" {n}"}))
    print(n, flush=True)
    n += 1
session.end_session("Success")
"""


def test_a_recorder_beside_it_loses_nothing(folder: Path) -> None:
    """Each acknowledged event is there once; what it recorded meanwhile is for the next scrub."""
    _write(folder, *[_row(body={"params": {"text": KEY, "pad": "x" * 2_000}}) for _ in range(sized(400, 2_000))])
    command = [sys.executable, "-c", _RECORDER, KEY]
    with warm.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as recorder:
        assert recorder.stdin is not None
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "ready\n"
        for _ in range(sized(2, 12)):
            _scrub(folder)
        recorder.stdin.close()
        acknowledged = recorder.stdout.read().split()
    assert recorder.returncode == 0
    done = _scrub(folder)
    assert done.is_clean, done
    assert done.rows > 0
    assert _holds(folder) == []
    names = [row.name for row in _read(folder).values() if row.kind == "action"]
    assert sorted(map(str, names)) == sorted(f"step {n}" for n in acknowledged)


def test_a_scrub_that_was_killed_is_done_by_the_next(folder: Path) -> None:
    """At any point: no row is lost, and nothing is left after the last one."""
    large = (f"some text, and {KEY}\n" * 60_000).encode()
    digest = blobs.keep(str(folder), large)
    body = {"returns": {"$blob": digest, "$len": len(large), "head": "some"}}
    _write(
        folder,
        *[_row(name=f"{KEY} {n}", tags=json.dumps([KEY]), body={"params": {"pad": "x" * 500}}) for n in range(600)],
        *[_row(body=body) for _ in range(20)],
    )
    before = {identity: row.at_ns for identity, row in _read(folder).items()}
    command = [sys.executable, "-m", "localops", "scrub", "--yes", "--home", str(folder.parent)]
    began = time.monotonic()
    R.seed(clock.now_ns())
    killed = 0
    for _ in range(sized(5, 12)):
        process = warm.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # The first one soon: a quick machine may be done before any other.
            process.wait(R.uniform(0.05, 1.5) if killed else 0.05)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        if time.monotonic() - began > 30:
            break
    assert killed > 0
    done = _scrub(folder)
    assert done.is_clean, done
    assert _holds(folder) == []
    after = _read(folder)
    assert {identity: after[identity].at_ns for identity in before} == before
    with Reader(str(folder / config.JOURNAL)) as reader:
        assert not scrubbed.is_unfinished(reader)


def test_the_last_steps_are_done_again_if_they_were_not_finished(folder: Path) -> None:
    """Rows are clean then, and free pages and derived tables are not."""
    session = clock.new_id()
    _write(folder, _row("session", session=session, name=f"run {KEY}", tags=json.dumps([KEY]), body={}))
    with closing(Journal(str(folder))) as journal:
        journal.fold()
        [(seq, was)] = [(row.seq, row) for row in _read(folder).values() if row.kind == "session"]
        now = was._replace(name="run", tags="[]").with_body("{}")

        def work(execute: Any) -> None:
            scrubbed.begin(execute)
            execute("pragma secure_delete = off").fetchall()
            execute("update event set name = ?, tags = ?, sum = ? where seq = ?", (now.name, now.tags, now.sum, seq))

        journal.transact(work)
    assert _holds(folder) != []
    done = _scrub(folder)
    assert (done.rows, done.is_clean) == (0, True)
    assert _holds(folder) == []


def test_patterns_of_the_user_count(folder: Path) -> None:
    """Those of config.toml, as for a search; what is around a match stays."""
    (folder.parent / "config.toml").write_text('redact = ["\\\\bDE\\\\d{20}\\\\b"]\n')
    _write(folder, _row(body={"params": {"iban": "pay DE12345678901234567890 now"}}))
    done = _scrub(folder)
    assert (done.is_clean, done.rules) == (True, {"pattern": 1})
    [row] = [row for row in _read(folder).values() if row.kind == "tool"]
    assert _fields(row)["params"] == {"iban": "pay [redacted:pattern] now"}


def test_an_empty_home_is_left_alone(tmp_path: Path) -> None:
    """No journal is made to be scrubbed."""
    (tmp_path / "home" / "other").mkdir(parents=True)
    assert scrub(str(tmp_path / "home"), "other").is_clean
    assert list((tmp_path / "home" / "other").iterdir()) == []
