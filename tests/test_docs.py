"""The pages that ship with the package: their code runs, and nothing that a user can meet is missing from them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import localops

TOP = Path(__file__).parent.parent
PAGES = TOP / "localops" / "docs"
ALL = "\n".join(page.read_text() for page in [*sorted(PAGES.glob("*.md")), TOP / "README.md"])


def _program(page: Path) -> tuple[str, str]:
    """The Python blocks of a page as one program, and what the page says that it prints."""
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    said = [text for (kind, text), before in zip(blocks[1:], blocks, strict=False) if (kind, before[0]) == ("text", "python")]
    return "\n".join(text for kind, text in blocks if kind == "python"), "".join(said)


def _without_times(text: str) -> str:
    return re.sub(r"\d+\.\ds", "…s", text)


@pytest.mark.parametrize("page", [TOP / "README.md", PAGES / "quickstart.md", PAGES / "recording.md"], ids=lambda page: page.name)
def test_the_code_of_a_page_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """A reader who copies the examples sees what was promised."""
    program, said = _program(page)
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _without_times(done.stdout) == _without_times(said)


@pytest.mark.parametrize(
    ("setting", "environment"),
    [
        ('wait = "soon"', {}),
        ("= not toml", {}),
        ('[prices."my-model"]\ncached = 3', {}),
        ("", {"LOCALOPS_PROJECT": "a b", "LOCALOPS_STRICT": "perhaps"}),
    ],
)
def test_a_setting_that_cannot_be_used_is_said_and_recording_goes_on(
    setting: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody loses a run to a mistake in config.toml or in the environment."""
    home = Path(os.environ["LOCALOPS_HOME"])
    home.mkdir()
    (home / "config.toml").write_text(setting)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = localops.init(default_tags=["kept"], redact=["("], durabilty="power")
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt_tokens=9))
    assert (session.get_analytics()["LLM calls"], session.tags) == (1, ["kept"])
    said = capsys.readouterr().err
    assert "left out" in said
    assert "did you mean 'durability'?" in said
