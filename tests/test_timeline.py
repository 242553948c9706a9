"""The events of a session for its timeline, in columns."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import pytest

import localops
from localops import ActionEvent
from localops.journal import stored
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import timeline
from localops.reading.snapshot import Snapshot
from tests import made


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


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_an_operation_has_one_line_at_its_first_row_whatever_that_is(tmp_path: Path, limit: int) -> None:
    """An import may store the closing row first; what is inside the operation refers to the line."""
    session = localops.start_session()
    with session.operation("around"):
        localops.record(ActionEvent(action_type="inside"))
    with closing(Journal(str(tmp_path))) as copy:
        with Reader(session._journal.path) as reader:
            copy.add(made.with_closings_first(row.bare for row in stored.of_session(reader, session._id)))
        copy.fold()
    lines: list[tuple[str, int, int, int]] = []
    with Reader(copy.path) as reader:
        snapshot = Snapshot(reader, "", session._id)
        page = timeline.page(reader, snapshot, after=0, limit=limit)
        while True:
            names = [page["names"][number] for number in page["name"]]
            lines += zip(names, page["seq"], page["parent"], page["dur_us"], strict=True)
            if page["next"] is None:
                break
            page = timeline.page(reader, snapshot, after=page["next"], limit=limit)
    around = {name: line for name, *line in lines}["around"]
    assert {name: parent for name, _, parent, _ in lines}["inside"] == around[0]
    assert around[2] >= 0
