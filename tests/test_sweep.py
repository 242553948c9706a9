"""A search for secrets reports each rule that applies today, and its place, and never the secret."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import random
import sqlite3
import string
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import cli, clock
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.spill import Spill
from localops.upkeep import file_search, sweep

R = random.Random(15)
KEY = "sk-ant-api03-" + "".join(R.choices(string.ascii_letters + string.digits, k=40)) + "7a"
PASSWORD = "Tr0ub4dor&3-" + "".join(R.choices(string.ascii_lowercase, k=8))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home that was recorded into without redaction."""
    localops.init(redact=False, auto_start_session=False)
    session = localops.start_session(tags=["clean"])
    assert session is not None
    session.record(localops.ActionEvent(name="plan", params={"steps": ["read the file", {"tokens": 12}]}))
    session.record(localops.ToolEvent(name="fetch", params={"headers": [{"x": 1}, {"Authorization": f"Bearer {KEY}"}]}))
    session.record(
        localops.ActionEvent(name="login", params={"db_password": PASSWORD}, returns=f"used {KEY} twice: {KEY}")
    )
    session.end_session("Success")
    localops.api.client().close()
    return tmp_path / "home"


def _sweep(home: Path, *names: str, **options: Any) -> sweep.Swept:
    search = sweep.Sweep(str(home), **options)
    for name in names or ("default",):
        search.project(name)
    return search.result


def _fields(swept: sweep.Swept) -> list[tuple[str | None, str]]:
    return sorted((place.field, place.rule) for place in swept.places if place.source == "row")


def test_each_place_has_its_rule_session_event_and_field(home: Path) -> None:
    """Nested values, values with a secret's name, and two in one text; equal secrets have equal digests."""
    swept = _sweep(home)
    assert _fields(swept) == [
        ("params.db_password", "password"),
        ("params.headers[1].Authorization", "authorization"),
        ("returns", "anthropic"),
        ("returns", "anthropic"),
    ]
    (by_name,) = (place for place in swept.places if place.rule == "password")
    assert (by_name.length, by_name.project) == (len(PASSWORD), "default")
    with Reader(str(home / "default" / "journal.db")) as reader:
        events = {rows.id_text(row.id): row for row in reader.stream()}
    assert by_name.event is not None
    row = events[by_name.event]
    assert (row.name, rows.id_text(row.session)) == ("login", by_name.session)
    digests = {place.digest for place in swept.places if place.rule == "anthropic"}
    assert len(digests - {None}) == len(digests) == 1


def test_what_recording_has_redacted_is_no_secret(tmp_path: Path) -> None:
    """What today's rules have removed leaves notes, which no rule of the search reports."""
    session = localops.start_session()
    assert session is not None
    texts = [f"Bearer {KEY}", f"password={PASSWORD}", f"curl -u me:{PASSWORD} https://me:{PASSWORD}@host/"]
    params = {"token": KEY, "texts": texts, "argv": ["x", "--password", KEY]}
    session.record(localops.ActionEvent(name="a", params=params))
    session.end_session("Success")
    localops.api.client().close()
    # An earlier release knew the key by its shape, and not the name before it.
    at, notes = clock.now_ns(), {"api_key": "[redacted:openai]", "secret": "a [redacted:x]", "note": "[redacted:y]"}
    with closing(Journal(str(tmp_path / "home" / "default"))) as journal:
        body = json.dumps({"params": notes})
        journal.append(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at, body=body))
    swept = _sweep(tmp_path / "home")
    assert (swept.rules, swept.rows > 2) == ({"secret": 1}, True)


def test_what_a_column_has_no_room_for_cuts_no_note(tmp_path: Path) -> None:
    """Notes in a kind, name, tag or author are never cut; those that an earlier release cut are no secrets."""
    session = localops.start_session()
    assert session is not None
    for room in range(20, 46):
        session.record(localops.Event("k" * room + f" password={PASSWORD}"))
        name = "n" * (448 + room) + f" password={PASSWORD}"
        session.record(localops.ActionEvent(name=name, tags=["t" * (192 + room) + f" password={PASSWORD}"]))
    session.end_session("Success")
    localops.api.client().close()
    with closing(Journal(str(tmp_path / "home" / "default"))) as journal, Reader(journal.path) as reader:
        for [kind] in reader.ask("select kind from event where kind like 'kkk%'"):
            assert "[redacted:password]" in kind
        at = clock.now_ns()
        for length in range(len("[red"), len("[redacted:password]")):
            kind = "kind password=" + "[redacted:password]"[:length]
            journal.append(rows.make(kind, clock.new_id(at), id=clock.new_id(at), at_ns=at))
    assert _sweep(tmp_path / "home").rules == {}


def test_columns_and_keys_are_searched_and_never_shown(home: Path) -> None:
    """A name, a tag, and the key of a mapping may be a secret; the path shows the note in its place."""
    at = clock.now_ns()
    with closing(Journal(str(home / "default"))) as journal:
        body = json.dumps({"params": {"seen": {KEY: 1}}})
        journal.append(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at, name=f"use {KEY}", body=body))
        # A rule may need both lines.
        lines = f'- name: API_TOKEN\n  value: "{PASSWORD}"'
        journal.append(rows.make("llm", clock.new_id(at), id=clock.new_id(at), at_ns=at, model=lines))
        journal.append(rows.make("tags", clock.new_id(at), id=clock.new_id(at), at_ns=at, tags=json.dumps([KEY])))
    swept = _sweep(home)
    assert {"name", "model", "tags", 'params.seen["[redacted:anthropic]"]'} <= {place.field for place in swept.places}
    assert KEY not in repr(swept)
    assert PASSWORD not in repr(swept)


def test_short_secrets_have_no_digest(home: Path) -> None:
    """A password must not be guessed from a report."""
    at = clock.now_ns()
    with closing(Journal(str(home / "default"))) as journal:
        body = json.dumps({"params": {"password": "hunter22"}})
        journal.append(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at, body=body))
    (place,) = (place for place in _sweep(home).places if place.field == "params.password")
    assert (place.length, place.digest) == (8, None)


def test_since_leaves_out_what_is_older(home: Path) -> None:
    """Rows and files from before are not searched."""
    old = os.path.join(home, "default", "blobs", "aa")
    os.makedirs(old)
    path = Path(old, "a" * 64)
    path.write_text(f"key {KEY}")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert _sweep(home).rules["anthropic"] == 3
    assert _sweep(home, since_ns=clock.now_ns() + 10**9).rules == {}


def test_a_blob_is_searched_in_windows_and_named_with_its_event(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret anywhere in a large file is found once, also across the border of two windows."""
    folder = str(home / "default")
    monkeypatch.setattr(file_search, "WINDOW", 4096)
    monkeypatch.setattr(file_search, "_OVERLAP", 512)
    filler = "all work and no play\n"
    for before in (0, 3000, 3520, 3584, 3590, 4090, 9000, 20_000):
        text = filler * (before // len(filler)) + "x" * (before % len(filler)) + f" {KEY} " + filler * 400
        digest = blobs.keep(folder, text.encode())
        at = clock.now_ns()
        event = clock.new_id(at)
        with closing(Journal(folder)) as journal:
            body = json.dumps({"returns": {"$blob": digest, "head": "all"}}, separators=(",", ":"))
            journal.append(rows.make("tool", clock.new_id(at), id=event, at_ns=at, body=body))
        swept = _sweep(home)
        (place,) = (place for place in swept.places if place.file and digest in place.file)
        assert (place.source, place.event, place.at) == ("blob", rows.id_text(event), before + 1)
        assert (place.rule, place.length) == ("anthropic", len(KEY))


def test_a_picture_is_not_searched_but_counted(home: Path) -> None:
    """Copied files that are no text are left out, as when they are recorded."""
    blobs.keep(str(home / "default"), b"\x89PNG\0" + KEY.encode())
    swept = _sweep(home)
    assert (swept.files, swept.binary) == (1, 1)


def test_rows_that_wait_and_unreadable_lines_are_searched(home: Path) -> None:
    """Spill files have rows that are not in the journal yet."""
    folder, at = str(home / "default"), clock.now_ns()
    session, event = clock.new_id(at), clock.new_id(at)
    body = json.dumps({"returns": KEY})
    assert Spill(folder).write(rows.make("tool", session, id=event, at_ns=at, body=body))
    Path(folder, "spill", "old.unreadable").write_text(f'{{"body": "{KEY}')
    spilled = [place for place in _sweep(home).places if place.source == "spill"]
    assert [(place.event, place.field) for place in spilled] == [(rows.id_text(event), "returns"), (None, None)]
    assert spilled[1].at == 10


def test_backups_logs_and_bundles_are_searched(home: Path, tmp_path: Path) -> None:
    """A copy of a journal gives the places of rows, a text that of bytes, and a damaged file is reported."""
    search = sweep.Sweep(str(home))
    backup, log, cut = tmp_path / "backup.db", tmp_path / "run.jsonl", tmp_path / "cut.lops"
    with Reader(str(home / "default" / "journal.db")) as reader:
        reader.backup(str(backup))
    log.write_text(f'{{"a": 1}}\n{{"b": "{KEY}"}}\n')
    settings = tmp_path / "settings.yaml"
    settings.write_text(f'- name: API_TOKEN\n  value: "{PASSWORD}"\n')
    search.file(str(settings))
    assert [place.rule for place in search.result.places] == ["token"]
    with zipfile.ZipFile(cut, "w") as packed:
        packed.writestr("default/rows.ndjson", b'{"localops":1}\n')
    torn, packed_log = tmp_path / "torn.lops", tmp_path / "run.xz"
    torn.write_bytes(cut.read_bytes()[:40])
    packed_log.write_bytes(lzma.compress(KEY.encode()))
    for path in (backup, log, cut, torn, packed_log):
        search.file(str(path))
    swept = search.result
    assert [place.field for place in swept.places if place.file == str(backup)].count("returns") == 2
    (place,) = (place for place in swept.places if place.file == str(log))
    assert (place.source, place.at) == ("file", 16)
    assert [str(path) in why for path, why in zip((cut, torn, packed_log), swept.unread, strict=True)] == [True] * 3


def _by_hand(home: Path, path: Path) -> sweep.Swept:
    search = sweep.Sweep(str(home))
    search.file(str(path))
    return search.result


def test_exports_are_searched_also_when_packed(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SQLite, gzip, and tar in gzip; what cannot be read is named, and no success."""
    export, packed, archive = tmp_path / "r6.db", tmp_path / "r6.jsonl.gz", tmp_path / "r6.tgz"
    assert _run(capsys, "export", "--all", "--format", "sqlite", "-o", str(export))[0] == 0
    packed.write_bytes(gzip.compress(f'{{"b": "{KEY}"}}\n'.encode()))
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(export, "out/r6.db")
        log = tarfile.TarInfo("out/log")
        log.size = len(KEY)
        tar.addfile(log, io.BytesIO(KEY.encode()))
    for path, names in ((export, {str(export)}), (packed, {str(packed)}), (archive, {"db", "log"})):
        swept = _by_hand(home, path)
        assert swept.unread == []
        assert {
            str(place.file).removeprefix(f"{archive}:out/r6.").removeprefix(f"{archive}:out/") for place in swept.places
        } == names
        assert swept.rules["anthropic"] >= 1
        assert KEY not in repr(swept)
    assert _by_hand(home, export).rules["password"] >= 1
    capsys.readouterr()
    assert _run(capsys, "doctor", "--secrets", "--bundle", str(packed))[0] == 1
    archive.write_bytes(archive.read_bytes()[:90])
    other = tmp_path / "run.bz2"
    other.write_bytes(b"BZh91AY")
    for path in (archive, other):
        code, out = _run(capsys, "doctor", "--secrets", "--bundle", str(path))
        assert (code, path.name in out) == (3, True)


def test_any_sqlite_file_and_a_folder_are_searched(home: Path, tmp_path: Path) -> None:
    """A column with a secret's name counts as a field does; a picture among blobs is left out, as in a home."""
    folder = tmp_path / "backup"
    (folder / "default" / "blobs" / "aa").mkdir(parents=True)
    (folder / "default" / "blobs" / "aa" / "a").write_bytes(b"\x89PNG\0")
    (folder / "default" / "odd.log").write_text(f"x {KEY}")
    with closing(sqlite3.connect(folder / "any.db")) as database:
        database.execute('create table "a ""b" (n integer, password text, note blob)')
        database.execute('insert into "a ""b" values (1, ?, ?)', (PASSWORD, KEY.encode()))
        database.commit()
    swept = _by_hand(home, folder)
    assert (swept.rules, swept.unread, swept.binary) == ({"password": 1, "anthropic": 2}, [], 1)
    (folder / "odd.bin").write_bytes(b"\0\1")
    assert ["odd.bin" in why for why in _by_hand(home, folder).unread] == [True]


def test_own_rules_and_known_values_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns of config.toml and values of the environment are today's rules, too."""
    (home / "config.toml").write_text("redact = ['re.d']\n")
    monkeypatch.setenv("SOME_PASSWORD", "read the file 1")
    rules = _sweep(home).rules
    assert (rules.get("pattern"), rules.get("env SOME_PASSWORD")) == (1, None)
    monkeypatch.setenv("SOME_PASSWORD", "the file")
    assert _sweep(home).rules.get("env SOME_PASSWORD") == 1


def test_many_places_are_all_counted_and_few_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal full of secrets does not fill the memory."""
    monkeypatch.setattr(sweep, "MOST_PLACES", 2)
    swept = _sweep(home)
    assert (swept.secrets, len(swept.places)) == (4, 2)


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().out


def test_the_command_is_for_people_and_for_ci(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 with a table by rule, and the same as JSON; 0 when there is nothing."""
    code, out = _run(capsys, "doctor", "--secrets")
    assert (code, "password: 1 place" in out, "4 secrets in " in out) == (1, True, True)
    code, text = _run(capsys, "doctor", "--secrets", "--json")
    document = json.loads(text)
    assert (code, document["ok"], document["rules"]["anthropic"], document["places_left_out"]) == (1, False, 2, 0)
    assert KEY not in out + text
    assert PASSWORD not in out + text
    since = ("--since", "2099-01-01")
    assert _run(capsys, "doctor", "--secrets", *since)[0] == 0
    assert _run(capsys, "doctor", *since)[0] == 2
    # Not 1, which means that there are some.
    missing = str(home / "missing.zip")
    assert _run(capsys, "doctor", "--secrets", "--bundle", missing)[0] == 2
