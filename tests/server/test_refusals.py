"""What a hub refuses is counted by reason, and in its log with the reasons: the operator need not ask the clients."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from localops.server import refusals
from localops.server.metrics import REASONS, Metrics
from localops.server.policy import Policy
from localops.server.refusals import CONFLICT, INVALID, QUOTA, Refusals
from tests.server.hubs import batch_of, hub, session_rows
from tests.server.spans import new_trace, request, run_of, send, span
from tests.server.test_metrics import figure, figures, watched

_LINE = re.compile(r"project default: (\d+) (invalid|conflicting|request)\S* .*?refused \(.*?\): (.*)")


def test_each_refusal_is_counted_and_has_its_reason_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rows of senders, spans, and what a quota keeps out; one line for the first of a kind, the others later."""
    with hub(tmp_path, "default", "--metrics", "0") as running:
        about = watched(capfd)
        sent = batch_of(session_rows(3), journal="1" * 32)
        assert running.take(sent)[0] == 200
        invalid = [*sent.rows[:-1], sent.rows[-1]._replace(sum=1)]
        for _ in range(3):
            assert len(running.take(replace(sent, rows=invalid))[1]["refused"]) == 1
        trace = new_trace()
        assert send(running, request(span(trace, 1), {**span(trace, 2), "spanId": "ab"})).refused == 1
        assert send(running, request(span(trace, 1, "another name"))).refused == 1
        Policy(str(running.data)).change("default", rows_per_day=1)
        assert send(running, request(*run_of(new_trace()))).status == 429
        now = figures(f"{about}/metrics?projects=1")
        running.stop()
        counted = {
            (door, reason): figure(now, "localops_hub_refusals_total", door=door, reason=reason)
            for door in ("sync", "otlp", "agentops")
            for reason in REASONS
        }
        assert {key: many for key, many in counted.items() if many} == {
            ("sync", INVALID): 3,
            ("otlp", INVALID): 1,
            ("otlp", CONFLICT): 1,
            ("otlp", QUOTA): 1,
        }
        assert figure(now, "localops_hub_project_refusals_total", project="default", reason=INVALID) == 4
    lines = _LINE.findall(capfd.readouterr().err)
    # The first of a kind at once, those that follow within the minute at the end.
    assert [(many, kind) for many, kind, _ in lines] == [
        ("1", "invalid"),
        ("1", "conflicting"),
        ("1", "request"),
        ("3", "invalid"),
    ]
    assert "another span is stored here under this trace and span id" in lines[1][2]
    assert "has stored its 1 row of today" in lines[2][2]


def test_refusals_are_one_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For each project and kind; the next line has what was not in one, with a few short reasons."""
    noted = Refusals(Metrics())
    for number in range(5):
        noted.note("p", "sync", INVALID, 2, [f"reason {number} {'x' * 1_000}"])
    noted.note("q", "otlp", INVALID, 1, ["another project"])
    err = capsys.readouterr().err
    assert (err.count("\n"), "project p: 2 invalid rows refused (sync): reason 0" in err) == (2, True)
    noted.write()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(refusals, "_EVERY", 0.0)
    noted.write()
    err = capsys.readouterr().err
    assert (err.count("\n"), "project p: 8 invalid rows" in err, "reason 3" in err, "reason 4" in err) == (
        1,
        True,
        True,
        False,
    )
    assert len(err) < 1_000
    noted.write(all_of_them=True)
    assert capsys.readouterr().err == ""
