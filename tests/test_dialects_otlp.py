"""Sessions are exported as OTLP and imported again, and no figure changes."""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path

import pytest

import localops
from localops import dialects
from localops.coding.recording import Project
from localops.config import Config
from localops.decorators import tool
from localops.otlp.importing import take
from localops.reading import facts, waste
from localops.reading.export import Run
from tests import programs, recorded_runs, warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def exported(runs: Sequence[Run], name: str = "otlp") -> bytes:
    """Return sessions in a format."""
    file = io.BytesIO()
    dialects.write(name, runs, file)
    return file.getvalue()


def figures(run: Run) -> dict[str, Any]:
    """Return every figure of a session, with its name and its tags."""
    report = run.report(percentiles=True)
    parts = facts.beyond_totals(report)
    return {
        **facts.totals(report.totals, at_least=run.cost_at_least),
        **{name: parts[name] for name in ("unfinished", "by_model", "by_tool", "by_agent", "percentiles")},
        "state": run.standing.state,
        "reason": run.standing.reason,
        "name": run.story.name,
        "tags": run.story.tags,
        "metadata": run.story.metadata,
        "took": run.totals.last_ns - run.totals.first_ns,
    }


def import_into(home: Path, file: Path) -> list[str]:
    """Import a file of OTLP into a new home; return the problems."""
    project = Project(Config(home=str(home)))
    try:
        return take(project, str(file)).problems
    finally:
        project.journal.close()


def test_out_and_in_again_changes_no_figure(tmp_path: Path) -> None:
    """Sessions of all kinds, killed and priced later: the figures of each are the same in the home that imports it."""
    recorded_runs.record_all()
    file = tmp_path / "runs.jsonl"
    with recorded_runs.opened() as runs:
        before = {run.id: figures(run) for run in runs}
        file.write_bytes(exported(runs))
    assert import_into(tmp_path / "other", file) == []
    with recorded_runs.opened(tmp_path / "other") as runs:
        after = {run.id: figures(run) for run in runs}
    assert after.keys() == before.keys()
    for id, known in before.items():
        assert after[id] == known, known["name"]


async def _looks() -> None:
    """Call two tools at once, three times; now the one ends first, now the other."""
    for first in ("tide", "wind", "tide"):
        is_over = asyncio.Event()

        async def look(name: str, is_first: bool, is_over: asyncio.Event) -> None:
            @tool(name=name)
            async def call() -> int:
                if is_first:
                    is_over.set()
                else:
                    await is_over.wait()
                return 1

            await call()

        await asyncio.gather(*(look(name, name == first, is_over) for name in ("tide", "wind")))


def test_out_and_in_again_changes_no_loop(tmp_path: Path) -> None:
    """Neither of calls at the same time nor of calls inside others: spans come in the order in which they end."""
    session = localops.start_session()
    asyncio.run(_looks())
    for _ in range(3):
        with session.operation("plan", kind="tool", params={"q": 1}):
            pass
        with session.operation("pack", kind="tool", params={"q": 1}):
            with session.operation("ask", kind="llm", model="gpt-4o") as ask:
                ask.usage(prompt_tokens=5, completion_tokens=1)
            for _ in range(2):
                with session.operation("fold", kind="tool", params={"q": 1}):
                    pass
    session.end_session("Success")

    def loops_in(run: Run) -> list[Any]:
        listed = waste.of(run.project, run, run.reader)["loops"]
        return [(one["kind"], one["calls"], one["rounds"], one["wasted"]) for one in listed]

    with recorded_runs.opened() as runs:
        (tmp_path / "runs.otlp.jsonl").write_bytes(exported(runs))
        [before] = map(loops_in, runs)
    assert [one[:3] for one in before] == [("cycle", 6, 3), ("cycle", 6, 3)]
    assert [one[3]["llm_calls"] for one in before] == [0, 2]
    import_into(tmp_path / "other", tmp_path / "runs.otlp.jsonl")
    with recorded_runs.opened(tmp_path / "other") as runs:
        assert list(map(loops_in, runs)) == [before]


def test_imported_spans_are_exported_unchanged(tmp_path: Path) -> None:
    """A second trip changes nothing: the spans of the import are those of the first export."""
    recorded_runs.record_all()
    file = tmp_path / "runs.jsonl"
    with recorded_runs.opened() as runs:
        file.write_bytes(exported(runs))
    import_into(tmp_path / "other", file)
    with recorded_runs.opened(tmp_path / "other") as runs:
        again = exported(runs)

    def spans(data: bytes) -> dict[str, Any]:
        requests = [json.loads(line) for line in data.splitlines()]
        each = [
            span
            for request in requests
            for group in request["resourceSpans"]
            for scope in group["scopeSpans"]
            for span in scope["spans"]
        ]
        return {f"{span['traceId']} {span['spanId']}": span["name"] for span in each}

    assert spans(again) == spans(file.read_bytes())


def test_a_running_session_has_a_root_and_open_operations(tmp_path: Path) -> None:
    """Open operations are in the file, marked as such, and are open again after an import."""
    session = localops.start_session(name="now")
    assert session is not None
    with session.operation("wait"), recorded_runs.opened() as runs:
        data = exported(runs)
        assert exported(runs) == data
    session.end_session("Success")
    [request] = [json.loads(line) for line in data.splitlines()]
    names = {span["name"]: span for group in request["resourceSpans"] for span in group["scopeSpans"][0]["spans"]}
    assert names.keys() == {"now", "wait"}
    assert names["wait"]["status"]["message"] == "no end of it was recorded"
    file = tmp_path / "runs.jsonl"
    file.write_bytes(data)
    assert import_into(tmp_path / "other", file) == []
    with recorded_runs.opened(tmp_path / "other") as runs:
        [run] = runs
        assert (run.story.name, [one.name for one in run.unfinished]) == ("now", ["wait"])


def test_a_session_of_many_rows_is_written_in_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has at most a few hundred spans, so that no reader has to hold more."""
    session = localops.start_session(name="long")
    assert session is not None
    for number in range(1_200):
        session.record(localops.ActionEvent("step", params={"n": number}))
    session.end_session("Success")
    with recorded_runs.opened() as runs:
        lines = exported(runs).splitlines()
    many = [len(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]) for line in lines]
    assert sum(many) == 1_201
    assert max(many) <= 500


def test_the_home_that_is_read_is_not_written(tmp_path: Path) -> None:
    """An export changes no journal: a second one of the same sessions has the same bytes, in every format."""
    recorded_runs.record_all()
    with recorded_runs.opened() as runs:
        rows = {run.id: run.totals.rows for run in runs}
    for name in dialects.FORMATS:
        if name != "sqlite":
            with recorded_runs.opened() as runs:
                first = exported(runs, name)
            with recorded_runs.opened() as runs:
                assert exported(runs, name) == first, name
    with recorded_runs.opened() as runs:
        assert {run.id: run.totals.rows for run in runs} == rows
    assert os.path.isdir(os.environ["LOCALOPS_HOME"])


def _first_and_last(home: Path | None) -> tuple[int, int]:
    with recorded_runs.opened(home) as runs:
        [run] = runs
        return run.totals.first_ns, run.totals.last_ns


@pytest.mark.parametrize("with_root", [True, False])
def test_what_came_after_the_end_makes_an_imported_run_no_longer(tmp_path: Path, with_root: bool) -> None:
    """Scores, notes and stars that were given later, also where the root of the run is in another file."""
    session = localops.start_session(name="scored")
    assert session is not None
    call = recorded_runs.llm("hi", "ho")
    session.record(call)
    session.end_session("Success")
    session.score("correct", 0.5)
    session.score("useful", True, event=call)
    session.note("see the ticket")
    session.star()
    before = _first_and_last(None)
    with recorded_runs.opened() as runs:
        request = json.loads(exported(runs))
    [group] = request["resourceSpans"]
    spans = group["scopeSpans"][0]["spans"]
    latest = max(int(span["endTimeUnixNano"]) for span in spans)
    assert latest > before[1]
    if not with_root:
        group["scopeSpans"][0]["spans"] = [span for span in spans if span.get("parentSpanId")]
    file = tmp_path / "runs.jsonl"
    file.write_text(json.dumps(request))
    assert import_into(tmp_path / "other", file) == []
    after = _first_and_last(tmp_path / "other")
    assert after[1] == before[1]
    assert not with_root or after == before


def _why(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what `localops why` prints of the newest session of a home."""
    monkeypatch.setenv("LOCALOPS_HOME", str(home))
    return warm.localops("why", "last").stdout.splitlines()


_DIES = """
import os, localops
session = localops.init(trace_name="killed")
localops.record(localops.ActionEvent("step"))
with session.operation("sail"):
    os.kill(os.getpid(), 9)
"""


def test_the_end_of_a_killed_run_is_explained_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program has declared it, and the run took at least its time."""
    programs.run(_DIES)
    file = tmp_path / "runs.jsonl"
    with recorded_runs.opened() as runs:
        file.write_bytes(exported(runs))
    # A child of an imported run cannot be seen, so `why` names it only where the run was recorded.
    child = "; a child that it forked may go on, and is shown here as soon as it records"
    before = [line.replace(child, "") for line in _why(Path(os.environ["LOCALOPS_HOME"]), monkeypatch)]
    assert import_into(tmp_path / "other", file) == []
    after = _why(tmp_path / "other", monkeypatch)
    assert any("process died inside operation 'sail'. No end was recorded" in line for line in after)
    assert set(before) - set(after) == {"  Its process no longer runs: the lock that it held is free."}
    assert set(after) - set(before) == {"  It was imported, not recorded while it ran."}


def test_a_run_that_was_exported_while_it_ran_has_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it ended is not in its file."""
    session = localops.start_session(name="now")
    assert session is not None
    file = tmp_path / "runs.jsonl"
    with recorded_runs.opened() as runs:
        file.write_bytes(exported(runs))
    session.end_session("Success")
    assert import_into(tmp_path / "other", file) == []
    assert any("Whether it has ended is not known" in line for line in _why(tmp_path / "other", monkeypatch))
