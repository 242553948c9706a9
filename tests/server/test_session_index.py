"""Sessions in columns: the same lists as by the indexes, any order, and counts that add up."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import analytics, facts
from localops.reading.analytics import Chosen, Totals
from localops.reading.home import Filters, Home
from localops.server.home_reader import HomeReader
from localops.server.home_store import HomeStore
from localops.server.session_index import DIMS, SORTS

MODELS, TAGS, AGENTS = ("gpt-4o", "o3-mini"), ("nightly", "weekly", "rare"), ("planner", "writer")


def _session(chance: random.Random, at: int) -> Iterator[rows.Row]:
    """Yield the rows of a session that never ran."""
    session, agent = clock.new_id(at), clock.new_id(at)
    tags = encode.dumps(chance.sample(TAGS, chance.randrange(3))).decode()
    where = encode.dumps({"host": host} if (host := chance.choice((None, "Ada", "bee"))) else {}).decode()
    yield rows.make("session", session, id=session, at_ns=at, name=f"run {chance.randrange(5)}", tags=tags, body=where)
    yield rows.make("agent", session, id=agent, at_ns=at + 1, name=chance.choice(AGENTS))
    for _ in range(chance.randrange(4)):
        tokens = (chance.randrange(9), chance.randrange(9), None, None)
        model, cost = chance.choice(MODELS), chance.choice((None, 0, 10**9, 2 * 10**9))
        yield rows.make(
            "llm", session, id=clock.new_id(at), at_ns=at + 5, model=model, tokens=tokens, cost=cost, agent=agent
        )
    if chance.random() < 0.5:
        yield rows.make("tool", session, id=clock.new_id(at), at_ns=at + 6, name="search", failed=1)
        yield rows.make("error", session, id=clock.new_id(at), at_ns=at + 7, name="TimeoutError")
    if chance.random() < 0.8:
        ended = at + chance.randrange(10, 10**10)
        yield rows.make(
            "end", session, id=clock.new_id(at), at_ns=ended, name=chance.choice(("Success", "Failure")), body="{}"
        )


def _fill(folder: Path, many: int, seed: int, *, fold: bool) -> None:
    chance = random.Random(seed)
    journal = Journal(str(folder))
    begin = clock.now_ns() - 10**15 + seed * 10**14
    for number in range(many):
        # Sessions of one moment are in the order they came in.
        session_rows = list(_session(chance, begin + number // 2 * 10**9))
        if fold:
            journal.add(session_rows)
        else:
            for row in session_rows:
                journal.append(row)
    if fold:
        journal.fold()
    journal.close()


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home of two projects, all folded; each test gets a copy of it."""
    home = tmp_path_factory.mktemp("catalogue") / "home"
    for seed, project in enumerate(("one", "two")):
        _fill(home / project, 24, seed, fold=True)
    return home


@pytest.fixture
def store(folded: Path, tmp_path: Path) -> Iterator[HomeReader]:
    """Return a home of two projects, the last sessions of which are not folded."""
    home = tmp_path / "home"
    subprocess.run(["cp", "-r", folded, home], check=True)
    made = HomeReader(str(home))
    made.warm(None)
    _fill(home / "one", 6, 5, fold=False)
    yield made
    made.close()


def _all(store: HomeReader, filters: Filters, limit: int = 7, **bounds: Any) -> list[dict[str, Any]]:
    """Return a whole list, read page by page."""
    sessions: list[dict[str, Any]] = []
    page, before = store.sessions(None, filters, before=None, limit=limit, **bounds)
    sessions += page
    while before is not None:
        page, before = store.sessions(None, filters, before=before, limit=limit, **bounds)
        sessions += page
    return sessions


FILTERS = [
    Filters(),
    Filters(state="Failure"),
    Filters(state="Indeterminate"),
    Filters(tag="rare"),
    Filters(model="o3-mini", tag="nightly"),
    Filters("Success", "weekly", "gpt-4o", "planner"),
    Filters(since=clock.now_ns() - 10**15 + 10 * 10**9, until=clock.now_ns() - 10**15 + 10**14),
    Filters(tag="none"),
]
NAMES = ["all", "failed", "open", "tag", "model and tag", "four", "time", "nothing"]


@pytest.mark.parametrize("filters", FILTERS, ids=NAMES)
def test_a_list_is_that_of_the_walk(store: HomeReader, filters: Filters) -> None:
    """Newest first, from columns or by the indexes, the list has the same sessions and the same figures."""
    with Home(store.folder) as home:
        walked = [(one.session.hex(), one.state, one.cost, one.errors) for one in home.sessions(filters)]
    listed = _all(store, filters)
    shown = [(one["session_id"].replace("-", ""), one["state"], one["cost_nano"], one["errors"]) for one in listed]
    assert sorted(shown) == sorted(walked)
    assert [one["began"] for one in listed] == sorted((one["began"] for one in listed), reverse=True)


@pytest.mark.parametrize("ascending", [True, False])
def test_any_order_page_by_page(store: HomeReader, ascending: bool) -> None:
    """Each session is listed once, in the requested order, on one of four pages; equal ones newest first."""

    def value(one: dict[str, Any]) -> Any:
        known = {"cost": one["cost_nano"], "tokens": one["tokens_in"] + one["tokens_out"]}
        known["host"] = (one["host"] or "").casefold()
        known |= {dim: ", ".join(one[dim]).casefold() for dim in ("tags", "agents", "models")}
        return known[sort] if sort in known else one[sort]

    for sort in SORTS:
        listed = _all(store, Filters(), limit=15, sort=sort, ascending=ascending)
        assert len({one["session_id"] for one in listed}) == len(listed) == 54, sort
        values = [value(one) for one in listed]
        assert values == sorted(values, reverse=not ascending), sort
        for one, other in pairwise(listed):
            if value(one) == value(other):
                assert one["began"] >= other["began"], sort


def test_bounds_include_what_is_equal_to_them(store: HomeReader) -> None:
    """Bounds of cost, duration, errors and tools narrow a list."""
    everything = _all(store, Filters())
    cases: list[tuple[Filters, Callable[[dict[str, Any]], bool]]] = [
        (Filters(min_cost=10**9), lambda one: one["cost_nano"] >= 10**9),
        (Filters(max_cost=10**9), lambda one: one["cost_nano"] <= 10**9),
        (Filters(min_took=10**9, max_took=5 * 10**9), lambda one: 1 <= one["seconds"] <= 5),
        (Filters(errors=True), lambda one: one["errors"] > 0),
        (Filters(tool="search"), lambda one: one["tool_calls"] > 0),
    ]
    for filters, passes in cases:
        ids = {one["session_id"] for one in _all(store, filters)}
        assert ids == {one["session_id"] for one in everything if passes(one)}
        assert 0 < len(ids) < len(everything)


@pytest.mark.parametrize("filters", FILTERS, ids=NAMES)
def test_counts_are_those_of_the_lists_they_lead_to(store: HomeReader, filters: Filters) -> None:
    """Each value's count is the number of sessions when it is chosen beside the other filters."""
    facets: Any = store.facets(None, None, filters)
    assert facets["sessions"] == len(_all(store, filters)) == sum(many for _, many in facets["project"])
    assert facets["exact"]
    for dim in DIMS:
        for value, many in facets[dim]:
            assert many == len(_all(store, filters._replace(**{dim: value}), limit=50))


@pytest.mark.parametrize("tz", [None, "Asia/Kolkata"])
@pytest.mark.parametrize("tag", [None, "rare", "none"])
def test_figures_are_those_of_the_journal(store: HomeReader, tag: str | None, tz: str | None) -> None:
    """Sums, days and distributions out of columns are what SQL says of the same sessions, folded or not."""
    begin = clock.now_ns() - 10**15
    for chosen in (Chosen(tag=tag), Chosen(begin + 10**10, begin + 10**14, tag)):
        sums, lines, models = analytics.NOTHING, [], []
        with store._home(None) as home:
            readers = [each.reader for each in home.projects]
            assert any(reader.ask("select 1 from tail") for reader in readers)
            for reader in readers:
                sums = Totals(*map(add, sums, analytics.overall(reader, chosen)))
                lines += analytics.across(reader, "day", chosen, tz=tz)
                models += analytics.across(reader, "model", chosen)
        days: Any = store.daily(None, chosen, tz)["days"]
        lasted: Any = store.distributions(None, chosen)
        expected = [facts.part("day", line) for line in analytics.together("day", lines)]
        figures: Any = store.analytics(None, None, chosen, limit=1)
        known = {"sessions": sums.rows, **facts.totals(sums)}
        assert {name: figures[name] for name in figures.keys() - {"states", "success_rate"}} == known
        assert sum(figures["states"].values()) == sums.rows
        assert [{name: day[name] for name in each} for day, each in zip(days, expected, strict=True)] == expected
        assert sum(many for day in days for many in day["states"].values()) == sums.rows
        assert sum(model["cost_nano"] for day in days for model in day["by_model"]) == sum(m.cost for m in models)
        assert sum(bar["sessions"] for bar in lasted["seconds"]["bars"]) == lasted["sessions"] == sums.rows


def test_a_day_has_the_length_of_its_zone(tmp_path: Path) -> None:
    """At the end of summer time a day has 25 hours, and its filter leads to all sessions of these."""
    journal = Journal(str(tmp_path / "home" / "one"))
    midnight = 1_792_879_200  # 25 October 2026 in Berlin, summer time
    for hour in range(-1, 26):
        session = clock.new_id()
        journal.append(rows.make("session", session, id=session, at_ns=(midnight + hour * 3600) * 10**9, body="{}"))
    journal.close()
    store = HomeReader(str(tmp_path / "home"))
    days: Any = store.daily(None, Chosen(), "Europe/Berlin")["days"]
    assert [(day["day"], day["sessions"]) for day in days] == [("2026-10-24", 1), ("2026-10-25", 25), ("2026-10-26", 1)]
    for day in days:
        since, until = (int(datetime.fromisoformat(day["filter"][name]).timestamp()) for name in ("since", "until"))
        assert (
            store.facets(None, None, Filters(since=since * 10**9, until=until * 10**9))["sessions"] == day["sessions"]
        )
    store.close()


def test_it_follows_the_journal(tmp_path: Path) -> None:
    """New sessions, new tags, ends and deletions show in the next answer."""
    home = tmp_path / "home"
    _fill(home / "one", 5, 1, fold=True)
    store = HomeStore(str(home))
    try:
        before = store.sessions("one", Filters(), before=None, limit=50, sort="cost")[0]
        session = clock.new_id()
        journal = Journal(str(home / "one"))
        journal.add([rows.make("session", session, id=session, at_ns=clock.now_ns(), name="new", tags='["a"]')])
        assert store.facets("one", None, Filters(tag="a"))["sessions"] == 1
        journal.add([rows.make("tags", session, id=clock.new_id(), at_ns=clock.now_ns(), name="set", tags='["b"]')])
        journal.fold()
        assert store.facets("one", None, Filters(tag="a"))["sessions"] == 0
        [one] = store.sessions("one", Filters(tag="b"), before=None, limit=50, sort="cost")[0]
        assert one["name"] == "new"
        journal.close()
        assert store.delete("one", session)
        after = store.sessions("one", Filters(), before=None, limit=50, sort="cost")[0]
        assert after == before
    finally:
        store.close()


def test_a_host_is_known_as_soon_as_its_row_is_there(tmp_path: Path) -> None:
    """A session that was listed before its first row was stored is sorted by its host afterwards."""
    home, session, at = tmp_path / "home", clock.new_id(), clock.now_ns()
    journal = Journal(str(home / "one"))
    journal.append(rows.make("action", session, id=clock.new_id(), at_ns=at, name="step", body="{}"))
    _fill(home / "one", 3, 1, fold=True)
    store = HomeReader(str(home))
    _all(store, Filters(), sort="host", ascending=True)
    journal.append(rows.make("session", session, id=session, at_ns=at, name="late", tags="[]", body='{"host":"zoe"}'))
    journal.close()
    assert _all(store, Filters(), sort="host", ascending=True)[-1]["host"] == "zoe"
    store.close()


def test_users_and_conversations_have_filters_and_counts_of_their_own(tmp_path: Path) -> None:
    """They are tags, and are shown apart from the others."""
    folder = tmp_path / "one"
    for user, team in (("ann", "sea"), ("ann", "land"), ("bob", "sea")):
        config = localops.Config(home=str(tmp_path), project="one")
        localops.start_session(
            tags=["x"], name=f"{user} {team}", config=config, user=user, conversation="c-1", metadata={"team": team}
        ).end_session("Success")
    store = HomeReader(str(folder.parent))
    try:
        for filters, names in (
            (Filters(user="ann"), {"ann sea", "ann land"}),
            (Filters(user="ann", meta=("team=sea",)), {"ann sea"}),
            (Filters(conversation="c-1"), {"ann sea", "ann land", "bob sea"}),
            (Filters(conversation="c-2"), set()),
        ):
            assert {each["name"] for each in _all(store, filters)} == names
            assert store.facets(None, None, filters)["sessions"] == len(names)
        counts: Any = store.facets(None, None, Filters())
        assert sorted(counts["user"]) == [["ann", 2], ["bob", 1]]
        assert counts["conversation"] == [["c-1", 3]]
        assert sorted(counts["tag"]) == [["team=land", 1], ["team=sea", 2], ["x", 3]]
    finally:
        store.close()


def test_words_must_be_in_one_row(tmp_path: Path) -> None:
    """Two words in different events of a session do not match a search for both in one."""
    home = tmp_path / "home"
    for number, texts in enumerate((["red lighthouse"], ["red", "lighthouse"], ["blue"])):
        session = clock.new_id(clock.now_ns() + number)
        journal = Journal(str(home / "one"))
        journal.add([rows.make("session", session, id=session, at_ns=clock.now_ns() + number, name=f"s{number}")])
        for text in texts:
            body = encode.dumps({"params": text}).decode()
            journal.add([rows.make("action", session, id=clock.new_id(), at_ns=clock.now_ns(), body=body)])
        journal.fold()
        journal.close()
    store = HomeReader(str(home))
    try:
        for text, names in (("red", ["s1", "s0"]), ("red lighthouse", ["s0"]), ("green", [])):
            walked, _ = store.sessions(None, Filters(text=text), before=None, limit=5, sort="began")
            store.warm(None)
            listed, _ = store.sessions(None, Filters(text=text), before=None, limit=5)
            assert [one["name"] for one in listed] == [one["name"] for one in walked] == names
    finally:
        store.close()


def test_a_long_search_continues_with_the_next_page(store: HomeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little time there is for a page: all pages together have every session with the words."""
    wanted = Filters(text="run 3")
    whole = [one["session_id"] for one in _all(store, wanted)]
    monkeypatch.setattr("localops.server.session_index._SEARCH_SECONDS", -1.0)
    first, following = store.sessions(None, wanted, before=None, limit=50)
    assert len(first) < len(whole)
    assert following is not None
    assert [one["session_id"] for one in _all(store, wanted)] == whole


def test_the_rows_of_a_text_are_looked_up_again_after_new_ones(tmp_path: Path) -> None:
    """The answer for a text is kept, as each filter beside it asks again, and not longer than it is right."""
    localops.configure(home=str(tmp_path / "home"))
    store, wanted = HomeReader(str(tmp_path / "home")), Filters(text="herring")
    matches = []
    for catch in ("cod", "herring", "cod", "herring"):
        with localops.start_session(name="boat") as session:
            session.record(localops.ActionEvent(action_type="catch", returns=catch))
            matches.append(store.facets(None, None, wanted)["sessions"])
        matches.append(store.facets(None, None, wanted)["sessions"])
    assert matches == [0, 0, 1, 1, 1, 1, 2, 2]
    store.close()
