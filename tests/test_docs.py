"""The pages that ship with the package: their code runs, and nothing that a user can meet is missing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import localops
from localops import cli, config, decorators, errors
from localops.cli.group import commands
from localops.cli.topics import TOPICS

from . import programs
from .model_server import ModelServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parent.parent
PAGES = sorted((TOP / "localops" / "docs").glob("*.md"))
README = TOP / "README.md"
RUN = [README, *(page for page in PAGES if page.stem in ("quickstart", "recording", "opentelemetry", "runs", "loops"))]


def _page(name: str) -> str:
    return (TOP / "localops" / "docs" / f"{name}.md").read_text()


def _program(page: Path) -> tuple[str, str]:
    """Return the Python blocks of a page as one program, and its output according to the page."""
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    code = [text for kind, text in blocks if kind == "python"]
    after = zip(blocks[1:], blocks, strict=False)
    return "\n".join(code), "".join(text for (kind, text), (before, _) in after if (kind, before) == ("text", "python"))


def _without_times(text: str) -> str:
    return re.sub(r"\d+\.\ds", "…s", text)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_code_of_a_page_prints_the_output_of_the_page(page: Path, tmp_path: Path) -> None:
    """A reader who copies the examples gets that output."""
    program, output = _program(page)
    (tmp_path / "program.py").write_text(program)
    with ModelServer() as server:
        models = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "x"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "program.py"],
            cwd=tmp_path,
            env={**os.environ, **models, "PYTHONPATH": str(TOP)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert _without_times(done.stdout) == _without_times(output)


def test_the_readme_shows_what_its_first_example_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """`localops show last` prints what the README has for such a run, except for ids, times, host and process."""
    [shown] = re.findall(r"^localops show last .*\n```\n\n```text\n([^`]*)```$", README.read_text(), re.MULTILINE)
    with (
        localops.start_session(name="app.py") as session,
        session.operation("ChatCompletion", "llm", model="gpt-4o-mini", prompt="Where is Lyon?") as call,
    ):
        call.usage(prompt_tokens=24, cached_tokens=4, completion_tokens=5)
    with pytest.raises(SystemExit):
        cli.main(["show", "last"])
    assert _of_any_run(capsys.readouterr().out) == _of_any_run(shown)


@pytest.mark.parametrize(("page", "command"), [("why", ["why"]), ("compare", ["diff", "last"])])
def test_a_page_shows_what_its_command_prints(
    page: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """After the page's program, except for ids and times."""
    program, shown = re.findall(r"^```(?:python|text)\n(.*?)^```$", _page(page), re.MULTILINE | re.DOTALL)
    with contextlib.suppress(LookupError):  # the error that `why` is about
        exec(compile(program, "/srv/app/agent.py", "exec"), {})
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(command)
    assert _of_any_run(capsys.readouterr().out) == _of_any_run(shown)


def _of_any_run(shown: str) -> str:
    """Return the output of a command without what differs from run to run."""
    ids, times = r"\b[0-9a-f]{8}-[0-9a-f]{4}[0-9a-f-]*", r"<?\b[\d.]+m?s\b|\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d"
    machine = r"(?<=^(?:began|host ) {6}).*|^took  .*|(?<=^processes  ).*"
    shown = re.sub(f"{machine}|{ids}|{times}", "…", shown, flags=re.MULTILINE)
    return shown.strip()


# Examples have few types.
_LENIENT = "# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls\n"

# On this page each block is a file, and the second imports the first.
_IMPORTS = "from trip import plan\n"

# What the fragments on these pages take for granted.
_BEFORE = {
    "recipes": "def my_agent(*arguments): return arguments\n",
}


def test_the_code_of_the_pages_has_types_that_fit(tmp_path: Path) -> None:
    """A reader who copies the examples into a typed program needs no assertion that there is a session."""
    for page in [README, *PAGES]:
        program, _ = _program(page)
        if program:
            name = page.stem.lower().replace("-", "_")
            program = _BEFORE.get(page.stem, "") + program.replace(_IMPORTS, "")
            (tmp_path / f"{name}_page.py").write_text(_LENIENT + program)
    # With the settings of scripts/check, and so with its cache: what was looked through there need not be again.
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    wrong = done.stdout.splitlines()
    assert (wrong, done.stderr) == ([], "")


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_the_first_blocks_of_a_page_import_what_they_use(page: Path) -> None:
    """The README's blocks are pasted one by one; of a page, the first block that uses localops imports it."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    using = [block for block in blocks if re.search(r"^[^#\n]*\blocalops\.(?!decorators)", block, re.MULTILINE)]
    for block in using if page == README else using[:1]:
        assert "import localops" in block


def test_the_example_of_a_session_in_a_cell_says_nothing_on_stderr() -> None:
    """A reader who copies it gets no warning."""
    [block] = [
        text for text in re.findall(r"```python\n(.*?)```", _page("jupyter"), re.DOTALL) if "as experiment" in text
    ]
    done = programs.run("import localops\n" + block)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_of_a_log_has_its_own_time(tmp_path: Path) -> None:
    """The program of the recipe makes a session of the log there, and importing it again adds nothing."""
    recipe = _page("recipes").partition("## Record a run that happened before")[2]
    log, program, commands = (
        re.findall(rf"```{of}\n(.*?)```", recipe, re.DOTALL)[0] for of in ("json", "python", "sh")
    )
    (tmp_path / "runs.jsonl").write_text(log)
    (tmp_path / "spans.py").write_text(program)

    def run(command: str) -> str:
        for name, means in (("localops", f"{sys.executable} -m localops"), ("python", sys.executable)):
            command = re.sub(f"^{name} ", f"{means} ", command, flags=re.MULTILINE)
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        return subprocess.run(
            ["sh", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True
        ).stdout

    assert "tide report  Success" in run(commands)
    assert "0 rows are new" in run("localops import --otlp spans.json")
    [session] = json.loads(run("localops sessions --json"))["sessions"]
    assert (session["began"][:19], session["seconds"]) == ("2025-03-01T08:00:00", 9.0)
    assert (session["llm_calls"], session["tool_calls"], session["errors"]) == (1, 1, 1)


def test_every_page_is_listed_once() -> None:
    """`localops help` and the README list each page under one heading, and no other."""
    listed = [topic for pages in TOPICS.values() for topic in pages]
    assert sorted(listed) == sorted(page.stem for page in PAGES)


def test_pages_made_from_the_code_are_as_the_code_is() -> None:
    """Every command, option, table, column, view and named query is in the pages as it is now."""
    done = subprocess.run(
        [sys.executable, str(TOP / "scripts" / "docs.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted({*localops.__all__, *decorators.__all__}))
def test_every_public_name_is_explained(name: str) -> None:
    """Each name that can be imported is on the page about recording, as code."""
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", _page("recording")), f"{name} is not on the page"


@pytest.mark.parametrize("option", [*config.OPTIONS, *sorted(config.IGNORED)])
def test_every_option_is_explained(option: str) -> None:
    """Each option is in the table of configuration.md, with its variable; the ignored ones are named."""
    line = re.search(rf"^\| `{option}` .*$", _page("configuration"), re.MULTILINE)
    if option in config.IGNORED:
        assert f"`{option}`" in _page("configuration")
    else:
        assert line
        assert f"LOCALOPS_{option.upper()}" in line[0] or option in ("on_budget", "on_loop")


@pytest.mark.parametrize("error", [name for name in vars(errors) if name[0].isupper() and name != "TYPE_CHECKING"])
def test_every_error_is_explained(error: str) -> None:
    """Each error class is on the page about recording."""
    assert f"{error}`" in _page("recording")


def test_every_link_leads_somewhere() -> None:
    """No page points to a file, or to a help topic, that is not there."""
    for page in [README, *PAGES]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} points to {link}"
        for topic in re.findall(r"`localops help ([a-z]+)`", page.read_text()):
            assert topic in {other.stem for other in PAGES}, f"{page.name} names the topic {topic}"


def _commands(page: Path) -> Iterator[list[str]]:
    """The words of each call of localops that a page shows: in a shell, a crontab, a unit, or a sentence."""
    blocks = re.findall(r"```(?:sh|ini)\n(.*?)```|`(localops [^`]*)`", page.read_text(), re.DOTALL)
    code = "\n".join(block or " ".join(inline.split()) for block, inline in blocks).replace("\\\n", " ")
    for call in re.findall(r"(?:^|&& |[(;/] ?)localops ([a-z][^|&;#>)\n]*)", code, re.MULTILINE):
        yield call.replace('"', " ").replace("'", " ").split()


def test_every_command_in_a_page_exists() -> None:
    """No page has a command, or an option, that does not exist."""
    for page in [README, *PAGES]:
        for words in _commands(page):
            shown, place = f"{page.name} has `localops {' '.join(words)}`", [*words]
            command: click.Command | None = commands
            while isinstance(command, click.Group) and place and not place[0].startswith("-"):
                command = command.get_command(click.Context(command), place.pop(0))
            assert command, shown
            options = {each for param in command.params for each in param.opts} | {"--help"}
            if command.name != "run":  # what follows is for the program
                assert {each.partition("=")[0] for each in place if each.startswith("--")} <= options, shown


@pytest.mark.parametrize(
    ("setting", "environment"),
    [
        ('wait = "soon"', {}),
        ("= not toml", {}),
        ('[prices."my-model"]\ncached = 3', {}),
        ("", {"LOCALOPS_PROJECT": "a b", "LOCALOPS_STRICT": "perhaps"}),
    ],
)
def test_a_setting_that_cannot_be_used_is_reported_and_recording_continues(
    setting: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistake in config.toml or in the environment does not stop recording."""
    home = Path(os.environ["LOCALOPS_HOME"])
    home.mkdir()
    (home / "config.toml").write_text(setting)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = localops.init(default_tags=["kept"], redact=["("], durabilty="power")
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt_tokens=9))
    assert (session.get_analytics()["LLM calls"], session.tags) == (1, ["kept"])
    warnings = capsys.readouterr().err
    assert "left out" in warnings
    assert "did you mean 'durability'?" in warnings


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_pages_for_developers_name_files_that_are_there(page: str) -> None:
    """A path in them starts at the top, at `localops/` or at the file's own package."""
    text = (TOP / page).read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w./]+/[\w.]*(?:\.(?:py|sql|js|md))?)`", text)) - {
        "dist/",
        "tests/test_NAME.py",
        "web/NAME.js",
    }
    assert len(paths) > 2
    assert [path for path in sorted(paths) if _for_developers(path) is None] == []


def test_the_table_of_changes_names_what_is_in_the_files() -> None:
    """For "`NAME` in `folder/file.py`", the file contains the name."""
    text = (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8")
    places = re.findall(r"((?:`\w+`(?:, | and | or )?)+) (?:in|of) `([\w.]+/[\w./]+\.(?:py|sql|js))`", text)
    named = [(name, path) for names, path in places for name in re.findall(r"\w+", names) if name not in ("and", "or")]
    assert len(named) > 50
    texts = {path: file.read_text(encoding="utf-8") for _, path in named if (file := _for_developers(path)) is not None}
    assert [(name, path) for name, path in named if not re.search(rf"\b{name}\b", texts.get(path, ""))] == []


def _for_developers(path: str) -> Path | None:
    """Return the file or folder that the pages for developers call so."""
    tops = (TOP, TOP / "localops", TOP / "sync")
    return next((top / path for top in tops if (top / path).exists()), None)


def test_each_framework_has_a_program_with_its_output() -> None:
    """Every client of the table of what was tried; `scripts/clients --page` runs the programs."""
    tried = re.findall(r"^\| (\S+).*? \d[\d.]* \|", _page("llm-calls"), re.MULTILINE)
    shown = re.findall(
        r"^<!-- made by scripts/clients --page (.*) -->\n\n```text\n[^`]+```$", _page("frameworks"), re.MULTILINE
    )
    assert set(tried) - set(shown) == set()
