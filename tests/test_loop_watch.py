"""What the alarm of a session stores, and that it raises in time."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

import localops
from localops import ToolEvent
from localops.reading import loops, post_mortem, post_mortem_page
from localops.reading.home import Home
from localops.reading.sentences import plain


@pytest.mark.parametrize("form", ["one row", "two rows", "both"])
def test_a_cycle_of_any_length_is_noticed_in_its_third_round(form: str) -> None:
    """Wherever it begins, though only every second call is looked at, and in whatever order its keys are."""
    heard: list[int] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(len(loop.calls)))
    numbers = count()

    def call(number: int, round: int) -> None:
        params: dict[str, Any] = {"page": number, "of": "the harbour", "more": {"a": [number], "b": None}}
        if round % 2:
            params = {**dict(reversed(params.items())), "more": {"b": None, "a": [number]}}
        if form == "one row" or (form == "both" and next(numbers) % 3):
            session.record(ToolEvent(name="read", params=params, returns="nothing"))
            return
        with session.operation("read", kind="tool", params=params) as operation:
            operation.returns("nothing")

    for period in range(1, loops.LONGEST + 1):
        for before in (1, 2):
            page = 100 * period + 50 * before
            for number in range(before):
                call(page + 40 + number, 0)
            heard.clear()
            for number in range(loops.ALARM * period):
                assert heard == []
                call(page + number % period, number // period)
            assert heard == [loops.ALARM * period]


def test_what_is_recorded_beside_the_arguments_is_no_part_of_them() -> None:
    """Also where it is as long each time, and where there is no result."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(str(loop)))
    for number in range(10, 13):
        session.record(ToolEvent(name="save", params={"page": 1, "of": 2}, logs=f"attempt {number}"))
    assert heard == ["save: returned the same result again, 3 times"]


def test_a_loop_that_was_stopped_has_one_row() -> None:
    """The program caught the exception each time: the row says which loop it was, and no operation is its last."""

    def stop(session: object, loop: object) -> None:
        raise localops.LoopDetected(str(loop))

    session = localops.start_session(config=localops.Config(on_loop=stop))
    refused = 0
    for _ in range(9):
        try:
            with session.operation("look", kind="tool", params={"at": 1}) as operation:
                operation.returns("calm")
        except localops.LoopDetected:
            refused += 1
    session.end_session("Success")
    rows = [event for event in session.events if event["kind"] == "guardrail"]
    assert refused == 7
    assert [(row["name"], row["params"]["loop"], row["params"]["error"]) for row in rows] == [
        ("on_loop", "look: returned the same result again, 3 times", "LoopDetected")
    ]
    with Home() as home:
        project, id = home.find("last")
        facts = post_mortem.of(project.name, project.snapshot(id), project.reader)
    page = [plain(one) for _, sentences in post_mortem_page.sections(facts) for one in sentences]
    [sentence] = [one for one in page if "on_loop" in one]
    assert sentence.startswith("The program's on_loop stopped a loop with LoopDetected at ")
    assert sentence.endswith(" UTC: 'look: returned the same result again, 3 times'.")
