"""The events of a session for its timeline, in columns."""

from __future__ import annotations

import itertools

import pytest

import localops
from localops import ActionEvent
from localops.journal.reader import Reader
from localops.reading import timeline
from localops.reading.snapshot import Snapshot


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("folded", [True, False])
def test_agents_have_no_line_and_what_they_do_has_a_parent(limit: int, *, folded: bool) -> None:
    """The step that the agent works in, also where the agent began on an earlier page."""
    session = localops.start_session()
    with session.operation("crew", kind="workflow"), session.operation("planner", kind="agent"):
        with session.operation("writer", kind="agent"):
            localops.record(ActionEvent(action_type="write"))
        localops.record(ActionEvent(action_type="plan"))
    if folded:
        session._journal.fold()
    parents: dict[str, tuple[int, int]] = {}
    with Reader(session._journal.path) as reader:
        snapshot = Snapshot(reader, "", session._id)
        after = 0
        for _ in itertools.count():
            page = timeline.page(reader, snapshot, after=after, limit=limit)
            names = [page["names"][number] for number in page["name"]]
            parents |= dict(zip(names, zip(page["seq"], page["parent"], strict=True), strict=True))
            if page["next"] is None:
                break
            after = page["next"]
    assert parents.keys() == {"crew", "write", "plan"}
    crew = parents["crew"][0]
    assert (parents["write"][1], parents["plan"][1]) == (crew, crew)
