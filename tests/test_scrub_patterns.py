"""Patterns of the user remove what recording would remove, and nothing of what localops itself has written."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock, config
from localops.decorators import tool
from localops.encoding.redact import Redactor
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.reading import given_scores
from localops.transfer import scrubbed
from localops.upkeep.scrub import Scrubbed, of_views, scrub
from localops.upkeep.sweep import Sweep, Swept

OURS = [r"[0-9a-f]{64}", r"[0-9a-f]{32}", r"[0-9a-f]{8}-[0-9a-f-]+", r"param\w+", r"\b(?:tool|Success|blob|len|head)\b"]
LARGE = "word " * 300_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the home of the tests."""
    return tmp_path / "home"


def _patterns(home: Path, *patterns: str) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "config.toml").write_text(f"redact = {json.dumps(patterns, ensure_ascii=False)}\n", encoding="utf-8")


def _record(**options: Any) -> None:
    """Record a session with a large value, a step, an error and a file."""
    localops.init(auto_start_session=False, **options)
    session = localops.start_session(tags=["a"])
    assert session is not None

    @tool(once=True)
    def charge(order: str) -> dict[str, str]:
        return {"receipt": order}

    charge("o1")
    session.record(localops.ToolEvent(name="fetch", params={"q": 1}, returns=LARGE))
    session.record(localops.ErrorEvent(trigger_event=localops.ActionEvent(name="act"), details="no"))
    session.end_session("Success")
    localops.api.client().close()


def _read(home: Path) -> dict[tuple[bytes, int], Stored]:
    with Reader(str(home / "default" / config.JOURNAL)) as reader:
        return {(row.id, row.phase): row for row in reader.stream()}


def _write(home: Path, *written: rows.Row) -> None:
    (home / "default").mkdir(parents=True, mode=0o700, exist_ok=True)
    with closing(Journal(str(home / "default"))) as journal:
        for row in written:
            assert journal.append(row)


def _row(kind: str = "tool", body: Any = None) -> rows.Row:
    at = clock.now_ns()
    return rows.make(kind, clock.new_id(at), id=clock.new_id(at), at_ns=at, body=json.dumps(body))


def _sweep(home: Path) -> Swept:
    search = Sweep(str(home))
    search.project("default")
    return search.result


def _scrub(home: Path) -> Scrubbed:
    done = scrub(str(home), "default")
    assert done.is_clean, done
    return done


def test_what_is_ours_is_no_secret(home: Path) -> None:
    """Digests, ids, names of fields and of states stay, whatever fits them, and so no file loses its row."""
    _record(redact=False)
    before = _read(home)
    _patterns(home, *OURS)
    assert _sweep(home).places == []
    assert _scrub(home).rows == 0
    assert _read(home) == before


def test_recording_leaves_them_too(home: Path) -> None:
    """With the same patterns a session is recorded as without them, as its rows are not readable otherwise."""
    _patterns(home, *OURS)
    _record()
    bodies = [json.loads(row.body) for row in _read(home).values() if row.body]
    named = {name for body in bodies for name in body}
    assert named >= {"participant", "machine", "params", "returns", "once", "trigger"}
    assert not any("[redacted" in name for name in named)
    [start] = [body for body in bodies if "participant" in body]
    [step] = [body["once"] for body in bodies if "args" in body.get("once", {})]
    [error] = [body["trigger"] for body in bodies if "trigger" in body]
    assert all(len(text) == 32 for text in (start["participant"], start["machine"], step["args"], step["by"]))
    assert len(error["id"]) == 36
    assert _sweep(home).rules == {}


def test_what_the_program_gave_stays_in_reach(home: Path) -> None:
    """The same words are removed from what is the program's: values, nested names, and the beginning of a file."""
    digest = "0123456789abcdef" * 4
    kept = {"$blob": digest, "$len": 5, "head": f"see {digest}"}
    _write(home, _row(body={"params": {"params": digest, "seen": [{"participant": digest[:32]}, kept]}}))
    _patterns(home, *OURS)
    done = _scrub(home)
    assert done.rules == {"pattern": 4}
    [row] = [row for row in _read(home).values() if row.kind == "tool"]
    note = "[redacted:pattern]"
    assert json.loads(row.body or "")["params"] == {
        note: note,
        "seen": [{"participant": note}, {**kept, "head": f"see {note}"}],
    }


def test_short_bytes_and_the_kind_of_an_own_event(home: Path) -> None:
    """Recording removes secrets from both, so a scrub does, and a hub takes the row."""
    data = b"\xff pay MONE-1234 now"
    _write(
        home,
        _row("kind MONE-77", {"params": {"b": {"$bytes": b64encode(data).decode(), "$len": len(data)}}}),
        _row("llm", {"params": {"$bytes": "MONE"}}),
    )
    _patterns(home, r"MONE-\d+", "llm")
    before = _read(home)
    assert sorted(place.field or "" for place in _sweep(home).places) == ["kind", "params.b"]
    assert _scrub(home).rules == {"pattern": 2}
    [row] = [row for row in _read(home).values() if row.kind.startswith("kind ")]
    clean = b"\xff pay [redacted:pattern] now"
    assert row.kind == "kind [redacted:pattern]"
    assert json.loads(row.body or "")["params"]["b"] == {"$bytes": b64encode(clean).decode(), "$len": len(clean)}
    was = before[row.id, row.phase]
    assert scrubbed.is_cut(was, row)
    # A kind of ours decides what a row counts as.
    assert not scrubbed.is_cut(was._replace(kind="llm"), row._replace(kind="[redacted:pattern]"))


def test_a_row_does_not_keep_the_first_part_of_a_secret(home: Path) -> None:
    """Where the beginning of a file that a row has ends within one."""
    text = "é" * 995 + "PINE-1234 " + LARGE
    digest = blobs.keep(str(home / "default"), text.encode())
    _write(home, _row(body={"returns": {"$blob": digest, "$len": len(text.encode()), "head": text[:1000]}}))
    [was] = [row for row in _read(home).values() if row.kind == "tool"]
    _patterns(home, r"PINE-\d+")
    _scrub(home)
    row = _read(home)[was.id, 0]
    assert json.loads(row.body or "")["returns"]["head"] == "é" * 995 + "[redacted:pattern]"
    assert scrubbed.is_cut(was, row)


def test_long_values_and_bytes_under_a_name_are_found_by_it(home: Path) -> None:
    """As when they are recorded, where the whole value is replaced; their file goes, too."""
    digest = blobs.keep(str(home / "default"), LARGE.encode())
    long = {"$blob": digest, "$len": len(LARGE), "head": LARGE[:1000]}
    given = {"password": long, "api_key": {"$bytes": "aHVudGVyMjI=", "$len": 8}, "note": {"$bytes": "aA==", "$len": 1}}
    _write(home, _row(body={"params": given}))
    assert _sweep(home).rules == {"password": 1, "api_key": 1}
    _scrub(home)
    [row] = [row for row in _read(home).values() if row.kind == "tool"]
    hidden = {"password": "[redacted:password]", "api_key": "[redacted:api_key]", "note": given["note"]}
    assert json.loads(row.body or "")["params"] == hidden
    assert list(blobs.stored(str(home / "default"))) == []


def test_a_hub_takes_a_step_whose_result_was_scrubbed(home: Path) -> None:
    """The row says that it keeps no result any more, which is no secret; nothing else may be changed of it."""
    once = {"kept": "returns"}
    _write(home, _row(body={"once": once, "returns": {"ticket": "PINE-12"}}), _row(body={"once": once, "returns": 1}))
    _patterns(home, r"PINE-\d+")
    [was, other] = [row for row in _read(home).values() if row.kind == "tool"]
    _scrub(home)
    row = _read(home)[was.id, 0]
    unkept = {"kept": None, "why": "a scrub removed a secret from it"}
    assert json.loads(row.body or "")["once"] == unkept
    assert scrubbed.is_cut(was, row)
    assert _read(home)[other.id, 0] == other
    assert not scrubbed.is_cut(was, row.with_body((row.body or "").replace("a scrub removed", "I removed")))


def test_notes_are_not_searched(home: Path) -> None:
    """A pattern that fits a note does not put another one into it; a match around a note has all of it."""
    redactor = Redactor(patterns=["PINE|pattern", r"name: .*", r"\] \w+"])
    once, count = redactor.clean("a PINE and name: PINE x")
    assert (once, count) == ("a [redacted:pattern] and [redacted:pattern]", 2)
    assert redactor.clean(once) == ("a [redacted:pattern] [redacted:pattern]", 1)
    assert redactor.clean("see [redacted:pattern]") == ("see [redacted:pattern]", 0)
    _patterns(home, "PINE|pattern")
    _write(home, _row(body={"params": {"text": "PINE pattern"}}))
    assert _scrub(home).rules == {"pattern": 2}
    assert (_scrub(home).rows, _sweep(home).secrets) == (0, 0)


_HEX = "aabbccddee123456789012ffeeddccbbaa99887766554433221100aabbccddee"  # 64 digits, with a number among them


@pytest.mark.parametrize("patterns", [(r"\d{6,}", r"[0-9a-f]{64}"), (r"[0-9a-f]{64}", r"\d{6,}")])
def test_each_pattern_sees_the_text_as_it_is(patterns: tuple[str, ...]) -> None:
    """Whatever their order: what one of them matches is a part of what another one does."""
    assert len(_HEX) == 64
    assert Redactor(patterns=patterns).clean(f"a {_HEX} b") == ("a [redacted:pattern] b", 1)
    name = f"{_HEX[:10]}sk-ant-api03-{_HEX}"
    assert Redactor(patterns=[rf"{_HEX[:10]}\S+"]).clean(name) == ("[redacted:pattern]", 1)


CARD = 4111111111111111


def _cards(**options: Any) -> None:
    localops.init(auto_start_session=False, **options)
    session = localops.start_session()
    assert session is not None
    params = {"card": CARD, "float": float(CARD), "many": [CARD, 12], "small": 0.1234567890123456, "yes": True}
    session.record(localops.ToolEvent(name="pay", params=params, returns=CARD))
    session.record(localops.LLMEvent(prompt=[CARD], model="m", time_to_first_token=1e14))
    session.end_session("Success")
    localops.api.client().close()


def _of_kinds(home: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    bodies = {row.kind: json.loads(row.body or "{}") for row in _read(home).values()}
    return bodies["tool"], bodies["llm"]


def test_digits_of_numbers_are_searched_with_patterns(home: Path) -> None:
    """As it is recorded and afterwards, alike; figures of ours and the digits behind a point stay."""
    note = "[redacted:pattern]"
    _cards(redact=[r"\d{13,16}"])
    recorded = _of_kinds(home)
    paid, asked = recorded
    assert paid["params"] == {"card": note, "float": note, "many": [note, 12], "small": 0.1234567890123456, "yes": True}
    assert (paid["returns"], paid["notes"]) == (note, {"redacted": 4})
    assert (asked["prompt"], asked["time_to_first_token"]) == ([note], 1e14)
    home.rename(home.with_name("recorded"))
    _cards(redact=True)
    _patterns(home, r"\d{13,16}")
    assert _sweep(home).rules == {"pattern": 5}
    assert scrub(str(home), "default").is_clean
    assert _of_kinds(home) == recorded


def test_without_patterns_numbers_are_not_looked_at(home: Path) -> None:
    """A number has no shape of a secret."""
    _cards()
    assert _of_kinds(home)[0]["params"]["card"] == CARD


def test_a_pattern_for_every_word_converges(home: Path) -> None:
    """Numbers that were put behind equal keys and views are ours."""
    _patterns(home, r"\w+")
    (home / "views.json").write_text('{"views": [{"name": "one", "filters": {}}, {"name": "two", "filters": {}}]}\n')
    _write(home, _row(body={"params": {f"k{n}": {"x": n} for n in range(9)}}))
    _scrub(home)
    views = of_views(str(home))
    [row] = [row for row in _read(home).values() if row.kind == "tool"]
    note = "[redacted:pattern]"
    assert list(json.loads(row.body or "")["params"]) == [note, *(f"{note}#{n}" for n in range(2, 10))]
    assert (views, of_views(str(home)), _scrub(home).rows, _sweep(home).secrets) == (2, 0, 0, 0)


def test_scores_whose_names_become_one_are_numbered(home: Path) -> None:
    """Otherwise the newer would hide the other; later scores of one name share a number, and a hub accepts all."""
    localops.init(auto_start_session=False, redact=True)
    session = localops.start_session()
    assert session is not None
    for name, value in (("like PINE-1", 0.1), ("like PINE-2", 0.2), ("like PINE-3", 0.3), ("like PINE-2", 0.4)):
        session.score(name, value)
    session.end_session("Success")
    localops.api.client().close()
    before = _read(home)
    _patterns(home, r"PINE-\d")
    assert _scrub(home).rows == 4
    after = _read(home)
    assert all(scrubbed.is_cut(before[identity], after[identity]) for identity in before)
    with Reader(str(home / "default" / config.JOURNAL)) as reader:
        given = given_scores.of_session(reader, session.session_id.bytes)
    assert sorted((one.name, one.value) for one in given if one.counts) == [
        ("like [redacted:pattern 2]", 0.4),
        ("like [redacted:pattern 3]", 0.3),
        ("like [redacted:pattern]", 0.1),
    ]
    assert (_scrub(home).rows, _sweep(home).secrets) == (0, 0)
