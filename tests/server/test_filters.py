"""Filters with several values, exclusions and patterns: lists, counts and figures against a plain computation."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import filters as filtering
from localops.reading.analytics import Chosen
from localops.reading.filters import FACETS, Filters
from localops.reading.home import Home
from localops.server.home_reader import HomeReader
from localops.server.request import TooMany
from tests.examples import examples

VALUES = {
    "tag": ("nightly", "weekly", "rare", "release-1", "release-2", "a[b]?"),
    "model": ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"),
    "agent": ("planner", "writer"),
    "tool": ("search", "read_file"),
    "user": ("ann", "bob"),
    "conversation": ("c-1", "c-2"),
    "meta": ("team=sea", "team=air", "crew=a"),
    "name": ("answer", "ask", "Büro"),
    "host": ("Ada", "bee"),
    "error": ("TimeoutError", "ValueError"),
    "state": ("Success", "Failure"),
}
PATTERNS = {"tag": "release-*", "model": "gpt-4o*", "meta": "team=*", "name": "a*", "tool": "*_file", "error": "*Error"}


@dataclass
class Run:
    """A session, and the values of its facets."""

    session: bytes
    began: int
    facets: dict[str, set[str]] = field(default_factory=dict)
    cost: int = 0


def _some(chance: random.Random, name: str, most: int = 2) -> list[str]:
    return chance.sample(VALUES[name], chance.randrange(min(most, len(VALUES[name])) + 1))


def _record(journal: Journal, chance: random.Random, at: int) -> Run:
    """Record a session with random values."""
    run = Run(clock.new_id(at), at)
    chosen = {name: set(_some(chance, name)) for name in ("tag", "model", "agent", "tool", "meta", "error")}
    chosen |= {name: set(_some(chance, name, 1)) for name in ("user", "conversation", "name", "host")}
    run.facets = chosen
    named = [*(f"user={one}" for one in chosen["user"]), *(f"conversation={one}" for one in chosen["conversation"])]
    tags = encode.dumps([*chosen["tag"], *named, *chosen["meta"]]).decode()
    host, name = next(iter(chosen["host"]), None), next(iter(chosen["name"]), None)
    body = encode.dumps({"host": host} if host else {}).decode()

    def row(kind: str, **columns: Any) -> rows.Row:
        return rows.make(kind, run.session, id=clock.new_id(at), at_ns=at + 5, **columns)

    written = [rows.make("session", run.session, id=run.session, at_ns=at, name=name, tags=tags, body=body)]
    written += [row("agent", name=one) for one in chosen["agent"]]
    # An agent is one of a session only where something happened in it.
    written += [row("action", agent=one[rows.COLUMNS.index("id")]) for one in written[1:]]
    for model in chosen["model"]:
        if chance.random() < 0.3:
            # A call that never ended.
            written.append(row("llm", model=model, phase=rows.OPEN))
        else:
            cost = chance.choice((0, 10**9))
            run.cost += cost
            written.append(row("llm", model=model, cost=cost))
    written += [row("tool", name=tool) for tool in chosen["tool"]]
    written += [row("error", name=error) for error in chosen["error"]]
    state = chance.choice(VALUES["state"])
    written.append(rows.make("end", run.session, id=clock.new_id(at), at_ns=at + 10, name=state, body="{}"))
    run.facets["state"] = {state}
    journal.add(written)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[HomeReader, list[Run]]:
    """Return a home of two projects, of which some sessions are not folded, and what was recorded."""
    home, chance, recorded = tmp_path_factory.mktemp("filters") / "home", random.Random(16), []
    begin = clock.now_ns() - 10**15
    journals = [Journal(str(home / project)) for project in ("one", "two")]
    for number in range(90):
        recorded.append(_record(journals[number % 2], chance, begin + number * 10**9))
        if number == 70:
            for journal in journals:
                journal.fold()
    for journal in journals:
        journal.close()
    return HomeReader(str(home)), recorded


def _fits(pattern: str, value: str) -> bool:
    """Return whether a value is a pattern's, in which `*` is any text."""
    begin, star, end = pattern.partition("*")
    if not star:
        return value == pattern
    return value.startswith(begin) and value.endswith(end) and len(value) >= len(begin) + len(end)


def _passes(run: Run, filters: Filters) -> bool:
    """Return whether a session passes, by the definition of the filters."""
    if filters.min_cost is not None and run.cost < filters.min_cost:
        return False
    if not all(any(_fits(pattern, value) for value in run.facets["tag"]) for pattern in filters.all_tag):
        return False
    for name in FACETS:
        having = run.facets[name]
        excluded = getattr(filters, f"not_{name}")
        if any(_fits(pattern, value) for pattern in excluded for value in having):
            return False
        wanted = getattr(filters, name)
        # Each name of metadata is a facet of its own.
        groups = {pair.partition("=")[0] for pair in wanted} if name == "meta" else {""} if wanted else set()
        for group in groups:
            patterns = [one for one in wanted if one.startswith(group)]
            if not any(_fits(pattern, value) for pattern in patterns for value in having):
                return False
    return True


def _random_filters(chance: random.Random) -> Filters:
    chosen: dict[str, Any] = {}
    for name in chance.sample(FACETS, chance.randrange(1, 4)):
        values = chance.sample(VALUES[name], chance.randrange(1, min(3, len(VALUES[name])) + 1))
        if name in PATTERNS and chance.random() < 0.4:
            values = [PATTERNS[name]]
        chosen[name if chance.random() < 0.6 else f"not_{name}"] = values
    return Filters(**chosen, min_cost=10**9 if chance.random() < 0.2 else None)


def _cases() -> Iterator[Filters]:
    yield Filters()
    for name, pattern in PATTERNS.items():
        yield Filters()._replace(**{name: pattern})
        yield Filters()._replace(**{f"not_{name}": pattern})
    yield Filters(all_tag=VALUES["tag"][:2])
    yield Filters(all_tag=[VALUES["tag"][1], PATTERNS["tag"]], tag=VALUES["tag"][:2], not_tag=VALUES["tag"][-1])
    chance = random.Random(3)
    for _ in range(examples(12)):
        yield _random_filters(chance)


def test_lists_and_counts_are_those_of_a_plain_computation(runs: tuple[HomeReader, list[Run]]) -> None:
    """The list by the indexes, the one by columns, its counts and its sums have the sessions that pass."""
    store, recorded = runs
    sizes = Counter[bool]()
    for filters in _cases():
        expected = [run.session.hex() for run in reversed(recorded) if _passes(run, filters)]
        sizes[bool(expected)] += 1
        with Home(store.folder) as home:
            assert [one.session.hex() for one in home.sessions(filters)] == expected, filters
        for sort in ("began", "cost"):
            listed, following = store.sessions(None, filters, before=None, limit=500, sort=sort)
            assert following is None
            assert sorted(one["session_id"].replace("-", "") for one in listed) == sorted(expected), filters
        counts: Any = store.facets(None, None, filters)
        assert counts["sessions"] == len(expected)
        cost = sum(run.cost for run in recorded if _passes(run, filters))
        chosen: Any = store.analytics(None, None, Chosen(filters=filters), limit=1)
        assert (chosen["sessions"], chosen["cost_nano"]) == (len(expected), cost), filters
        summary: Any = store.summary(None, filters, None)
        assert (summary["now"]["sessions"], summary["now"]["cost_nano"]) == (len(expected), cost)
        by_model: Any = store.analytics(None, "model", Chosen(filters=filters), limit=10)["lines"]
        models = Counter(model for run in recorded if _passes(run, filters) for model in run.facets["model"])
        assert {line["model"]: line["sessions"] for line in by_model} == models, filters
    assert sizes[True] > sizes[False]


def _counted(recorded: list[Run], filters: Filters, name: str) -> Counter[str]:
    """Count the values of a facet by definition; each name of metadata is a facet of its own."""

    def others(value: str) -> list[str]:
        return [one for one in filters.meta if name == "meta" and one.partition("=")[0] != value.partition("=")[0]]

    return Counter(
        value
        for run in recorded
        for value in run.facets[name]
        if _passes(run, filters._replace(**{name: others(value)}))
    )


@pytest.mark.parametrize("name", FACETS)
def test_a_facet_is_counted_under_the_other_filters(runs: tuple[HomeReader, list[Run]], name: str) -> None:
    """Each value has the number of sessions that it would leave in place of what is chosen of its facet."""
    store, recorded = runs
    for filters in (
        Filters(),
        Filters(not_tag="nightly", model="gpt-4o*"),
        Filters(all_tag=VALUES["tag"][0], tag=VALUES["tag"][1]),
        Filters()._replace(**{name: VALUES[name][0]}),
        Filters(tag=VALUES["tag"][0], user=VALUES["user"][0], not_meta=VALUES["meta"][0]),
        Filters(tag=VALUES["tag"][0], meta=VALUES["meta"][0], state="Success")._replace(
            **{f"not_{name}": VALUES[name][-1]}
        ),
    ):
        expected = _counted(recorded, filters, name)
        replies: list[Any] = [store.facets(None, None, filters, of=name)]
        # These are counted where they are asked for only.
        replies += [store.facets(None, None, filters)] if name not in ("name", "host", "error") else []
        for counts in replies:
            shown = {value: many for value, many in counts[name] if name != "tag" or "=" not in value}
            assert shown == expected, filters
    value = VALUES[name][0]
    part = value[1:4].upper()
    counts = store.facets(None, None, Filters(), of=name, like=part)
    assert value in [one for one, _ in counts[name]]
    assert all(part.casefold() in one.casefold() for one, _ in counts[name])


def test_filters_are_read_in_one_way() -> None:
    """Texts by name become filters; an invalid one is named."""
    read = filtering.parsed(
        {"tag": ["a", "b", ""], "not_state": ["fail"], "min_seconds": ["0.000000001"], "max_cost": ["1.5"], "x": ["y"]}
    )
    assert read == Filters(tag=("a", "b"), not_state="Failure", min_took=1, max_cost=1_500_000_000)
    for name, text in (
        ("state", "Sleeping"),
        ("meta", "team"),
        ("since", "soon"),
        ("min_cost", "1e9"),
        ("max_seconds", "9" * 30),
    ):
        with pytest.raises(ConfigError, match=name):
            filtering.parsed({name: [text]})
    with pytest.raises(ConfigError, match="too many"):
        filtering.parsed({"tag": [str(number) for number in range(201)]})


def test_a_duration_of_days_is_the_same_everywhere() -> None:
    """`7d` are 168 hours before now."""
    week = filtering.parsed({"since": ["7d"]}).since
    assert week is not None
    assert abs(clock.now_ns() - week - 7 * 86_400 * 10**9) < 600 * 10**9


def test_a_summary_has_the_period_before(runs: tuple[HomeReader, list[Run]]) -> None:
    """Its figures are those of the sessions of that period."""
    store, recorded = runs
    first, last = Filters(until=recorded[40].began), Filters(since=recorded[40].began, state="Success")
    both: Any = store.summary(None, last, first)
    assert (both["now"]["sessions"] + both["before"]["sessions"], both["before"]["sessions"]) == (
        40 + sum("Success" in run.facets["state"] for run in recorded[40:]),
        40,
    )
    assert both["now"]["states"] == {"Success": both["now"]["sessions"]}
    assert both["before"]["cost_nano"] == sum(run.cost for run in recorded[:40])


def test_what_is_filtered_is_exported(runs: tuple[HomeReader, list[Run]]) -> None:
    """As one file, the newest session first; too many events are refused."""
    store, recorded = runs
    file, filters = io.BytesIO(), Filters(tag="nightly", not_state="Failure")
    store.write_all(None, filters, "jsonl", file, most=10_000)
    wanted = [run.session.hex() for run in reversed(recorded) if _passes(run, filters)]
    written = [json.loads(line) for line in file.getvalue().splitlines()]
    assert list(dict.fromkeys(line["session"].replace("-", "") for line in written if line.get("session"))) == wanted
    with pytest.raises(TooMany):
        store.write_all(None, filters, "jsonl", io.BytesIO(), most=1)


def test_a_passage_is_of_an_event_where_one_has_the_words(tmp_path: Path) -> None:
    """The name of a session and how it ended are shown where they alone have them."""
    config = localops.Config(home=str(tmp_path), project="one")
    session = localops.start_session(name="a zebra by night", config=config)
    for text in ("a zebra", "a horse"):
        session.record(localops.ActionEvent(action_type="say", params={"text": text}))
    session.end_session("Success", "the zebra slept")
    store = HomeReader(str(tmp_path))
    try:
        for text, kind in (("zeb*", "action"), ("night", "session"), ("slept", "end")):
            [one] = store.snippets(None, text, [session.session_id.bytes])["snippets"].values()
            assert (one["kind"], one["seq"] is None) == (kind, kind != "action"), text
    finally:
        store.close()


def test_a_search_shows_where_its_words_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginnings of words and phrases are found, each session with a passage and its event."""
    config = localops.Config(home=str(tmp_path), project="one")
    texts = ("the zebra crossing", "crossing the zebra", "a horse")
    ids = []
    for text in texts:
        session = localops.start_session(name=text.split()[-1], config=config)
        session.record(localops.ActionEvent(action_type="say", params={"text": text}))
        session.end_session("Success")
        ids.append(session.session_id)
    store = HomeReader(str(tmp_path))
    try:
        for text, matches in (("zeb*", 2), ('"zebra cros*', 1), ("zebra cros*", 2), ("zeb", 0), ("hors*", 1)):
            listed, _ = store.sessions(None, Filters(text=text), before=None, limit=9)
            assert len(listed) == matches, text
            shown: Any = store.snippets(None, text, [one.bytes for one in ids])
            assert set(shown["snippets"]) == {one["session_id"] for one in listed}
            assert shown["missing"] == []
        file = io.BytesIO()
        store.write_all(None, Filters(text='"zebra cros*'), "json", file, most=99)
        assert (texts[0].encode() in file.getvalue(), texts[1].encode() in file.getvalue()) == (True, False)
        by_name: Any = store.analytics(None, "session", Chosen(filters=Filters(text='"zebra cros*')), limit=9)["lines"]
        assert [line["session"] for line in by_name] == [str(ids[0])]
        summary: Any = store.summary(None, Filters(text='"zebra cros*'), None)["now"]
        assert (summary["sessions"], summary["exact"]) == (1, True)
        monkeypatch.setattr("localops.server.reports._SOON_SECONDS", -1.0)
        monkeypatch.setattr("localops.server.reports._SEARCH_SECONDS", -1.0)
        summary = store.summary(None, Filters(text='"zebra cros*'), None)["now"]
        assert (summary["sessions"], summary["exact"]) == (2, False)
        with pytest.raises(TooMany, match="one word"):
            store.distributions(None, Chosen(filters=Filters(text='"zebra cros*')))
        [one] = store.snippets(None, '"zebra cros*', [one.bytes for one in ids])["snippets"].values()
        assert (one["text"].split("\n")[0][-18:], one["kind"], one["name"]) == (texts[0], "action", "say")
        assert one["seq"] is not None
        [by_id] = store.sessions(None, Filters(text=str(ids[0])), before=None, limit=9)[0]
        assert by_id["name"] == "crossing"
        page: Any = store.events(None, ids[0].bytes, after=0, limit=9)
        [event, *_] = page["events"]
        for text in (event["id"], event["id"][:23]):
            [by_event] = store.sessions(None, Filters(text=text), before=None, limit=9)[0]
            assert by_event.pop("event") == {key: event[key] for key in ("id", "seq", "kind", "name")}
            assert by_event == by_id
            assert store.summary(None, Filters(text=text), None)["now"]["sessions"] == 1
            assert store.write_all(None, Filters(text=text), "jsonl", BytesIO(), most=9)
        assert store.facets(None, None, Filters(text=str(ids[0])))["sessions"] == 1
        assert store.sessions(None, Filters(text=str(ids[0]), name="horse"), before=None, limit=9) == ([], None)
    finally:
        store.close()
