"""For every session a hub has the figures of the machine that recorded it, to the last digit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import localops
from localops.reading import analytics
from localops.reading.home import Filters, Home
from localops.server.home_store import HomeStore
from localops.transfer import bundle, validation
from localops.transfer.delivery import Ledger, Limits
from localops.upkeep.repricing import reprice
from tests.examples import examples

_MODEL = st.sampled_from(["gpt-4o-mini", "gpt-4o", "own-model", "\u202eodd \0 name", None])
_COUNT = st.none() | st.integers(0, 10**9)
_TAGS = st.none() | st.lists(st.sampled_from(["a", "b", "ü", '"']), max_size=3)

_LLM = st.builds(
    lambda model, tokens_in, tokens_out, cost, tags: localops.LLMEvent(
        model=model, prompt_tokens=tokens_in, completion_tokens=tokens_out, cost=cost, tags=tags, prompt="why"
    ),
    _MODEL,
    _COUNT,
    _COUNT,
    st.none() | st.floats(0, 100),
    _TAGS,
)
_TOOL = st.builds(
    lambda name, cost, tags: localops.ToolEvent(name=name, cost=cost, tags=tags),
    st.sampled_from(["search", "fetch"]),
    st.none() | st.floats(0, 1),
    _TAGS,
)
_ACTION = st.builds(lambda kind: localops.ActionEvent(action_type=kind), st.sampled_from(["plan", "llms", "odd one"]))
_ERROR = st.builds(lambda text: localops.ErrorEvent(exception=ValueError(text)), st.text(max_size=5))

_SESSION = st.fixed_dictionaries(
    {
        "tags": _TAGS,
        "events": st.lists(_LLM | _TOOL | _ACTION | _ERROR, max_size=8),
        "more_tags": _TAGS,
        "agent": st.sampled_from([None, "planner"]),
        "state": st.sampled_from(["Success", "Failure", "Indeterminate"]),
        "again": st.booleans(),
    }
)


def _record(plan: dict[str, Any]) -> None:
    session = localops.start_session(tags=plan["tags"])
    assert session is not None
    if plan["agent"]:
        session.create_agent(name=plan["agent"])
    for event in plan["events"]:
        session.record(event)
    if plan["more_tags"]:
        session.add_tags(plan["more_tags"])
    session.end_session(plan["state"])
    if plan["again"]:  # a later job goes on with it
        joined = localops.start_session(inherited_session_id=str(session.session_id))
        assert joined is not None
        joined.record(localops.ToolEvent(name="late"))
        joined.end_session("Success")


def _carry(home: str, hub: HomeStore, many: int) -> None:
    """Take all rows of a home to the hub as in a sync, every batch twice."""
    with Home(home) as opened:
        ledger = Ledger(opened.projects[0].reader, opened.projects[0].folder, "hub")
        for batch in ledger.batches(Limits(rows=many)):
            for _ in range(2):
                batch_there, refused = bundle.unpack(bundle.pack(batch).splitlines())
                batch_there = validation.admit(batch_there, refused)
                assert not refused
                hub.ingest("default", batch_there, refused=refused, by="hub", key="key")


@settings(max_examples=examples(6))
@given(plans=st.lists(_SESSION, min_size=1, max_size=4), many=st.integers(1, 40), repriced=st.booleans())
def test_the_hub_says_what_the_machine_says(
    tmp_path_factory: pytest.TempPathFactory, plans: list[dict[str, Any]], many: int, repriced: bool
) -> None:
    """Sessions, their figures, their exports and every breakdown are equal."""
    top = tmp_path_factory.mktemp("truth")
    os.environ["LOCALOPS_HOME"] = str(top / "home")  # the test's own fixture puts it back
    localops.init(auto_start_session=False)
    for plan in plans:
        _record(plan)
    localops.api._reset()
    if repriced:
        _reprice(top / "home")
    here, there = HomeStore(str(top / "home")), HomeStore(str(top / "hub"))
    try:
        _carry(str(top / "home"), there, many)
        _compare(here, there)
    finally:
        here.close()
        there.close()


def _reprice(home: Path) -> None:
    from localops.encoding.pricing import Prices
    from localops.journal.journal import Journal

    journal = Journal(str(home / "default"), gather=True)
    reprice(journal, "own-model", Prices({"own-model": {"input": 1.5, "output": 2.5}}), source="test")
    journal.close()


def _compare(here: HomeStore, there: HomeStore) -> None:
    listed, _ = here.sessions("default", Filters(), before=None, limit=100)
    assert there.sessions("default", Filters(), before=None, limit=100) == (listed, None)
    for one in listed:
        session = bytes.fromhex(str(one["session_id"]).replace("-", ""))
        assert there.session("default", session) == here.session("default", session)
        assert there.stats("default", session) == here.stats("default", session)
        assert there.document("default", session, most=10_000) == here.document("default", session, most=10_000)
    for by in (None, *analytics.ACROSS):
        for chosen in (analytics.Chosen(), analytics.Chosen(tag="a")):
            expected = here.analytics("default", by, chosen, limit=100)
            assert there.analytics("default", by, chosen, limit=100) == expected
