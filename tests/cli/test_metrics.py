"""`localops analytics --format openmetrics`: all figures for a monitoring system, equal to those of the other forms."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser

import localops
from localops import Config
from localops.cli import main

# It has no types of its own.
_parsed: Any = parser.text_string_to_metric_families


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as done:
        main(["analytics", *arguments])
    printed = capsys.readouterr()
    assert done.value.code in (None, 0), printed.err
    return printed.out


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in _parsed(text)
        for sample in family.samples
    }


def _record(project: str, model: str, end: str | None) -> None:
    session = localops.start_session(config=Config(project=project))
    assert session is not None
    session.record(localops.LLMEvent(model=model, prompt_tokens=10, completion_tokens=4, cost=0.25))
    session.record(localops.ErrorEvent(details="broken"))
    if end is not None:
        session.end_session(end)


def test_the_figures_are_those_of_the_other_forms(capsys: pytest.CaptureFixture[str]) -> None:
    """By project, state and model; a model whose name has quotes and a backslash is a label like any other."""
    odd = 'my "own"\\model\nof two lines'
    _record("a", "gpt-4o", "Success")
    _record("a", odd, "Failure")
    _record("b", "gpt-4o", "Success")
    seen = _samples(_run(capsys, "--format", "openmetrics"))

    def figure(name: str, **labels: str) -> float | None:
        return seen.get((f"localops_{name}", frozenset(labels.items())))

    assert (figure("sessions", project="a", state="Success"), figure("sessions", project="a", state="Failure")) == (
        1,
        1,
    )
    assert (figure("llm_calls", project="a"), figure("errors", project="b")) == (2, 1)
    assert figure("tokens", project="a", kind="in") == 20
    assert figure("model_calls", project="a", model=odd) == 1
    assert (figure("cost_dollars", project="a"), figure("model_cost_dollars", project="b", model="gpt-4o")) == (
        0.5,
        0.25,
    )
    whole = json.loads(_run(capsys, "--json"))
    for name in ("llm_calls", "errors", "events"):
        assert sum(value for (key, _), value in seen.items() if key == f"localops_{name}") == whole[name], name
    assert sum(value for (key, _), value in seen.items() if key == "localops_sessions") == whole["sessions"]
    only = _samples(_run(capsys, "--format", "openmetrics", "--project", "b"))
    assert {dict(labels).get("project", "b") for _, labels in only} == {"b"}


def test_sessions_that_have_no_end_are_counted_by_what_became_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """One that runs, and one whose process has died."""
    _record("a", "gpt-4o", None)
    code = "import os, localops; localops.start_session(config=localops.Config(project='a')); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    seen = _samples(_run(capsys, "--format", "openmetrics"))
    states = {dict(labels)["state"]: many for (name, labels), many in seen.items() if name == "localops_sessions"}
    assert states == {"Running": 1, "Indeterminate": 1}


def test_a_file_is_replaced_in_one_step(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is whole, other users may read it, no other file is left, and a failure leaves the old one."""
    _record("a", "gpt-4o", "Success")
    path = tmp_path / "localops.prom"
    path.write_text("old")
    assert _run(capsys, "--format", "openmetrics", "-o", str(path)) == ""
    assert ("localops_events", frozenset({("project", "a")})) in _samples(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044 & ~_umask()
    assert sorted(os.listdir(tmp_path)) == ["home", "localops.prom"]
    for wrong in (
        ["-o", str(path)],
        ["--format", "openmetrics", "--by", "model"],
        ["--format", "openmetrics", "--json"],
    ):
        with pytest.raises(SystemExit) as done:
            main(["analytics", *wrong])
        assert done.value.code == 2
    with pytest.raises(SystemExit) as done:
        main(["analytics", "--format", "openmetrics", "-o", str(tmp_path / "missing" / "x.prom")])
    assert (done.value.code, "cannot write" in capsys.readouterr().err) == (1, True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_empty_home_has_no_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer is valid and says when it was made."""
    os.mkdir(os.environ["LOCALOPS_HOME"])
    assert {name for name, _ in _samples(_run(capsys, "--format", "openmetrics"))} == {
        "localops_written_timestamp_seconds"
    }
