"""Settings are read from the call, the environment or the file, and an invalid one is explained."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops import Config, config
from localops.errors import ConfigError, UnusableBudget
from tests import programs


def test_defaults() -> None:
    """Without any settings a Config has the documented defaults."""
    config = Config()
    assert (config.durability, config.redact, config.capture, config.signals) == ("process", True, True, True)
    assert (config.api_key, config.budget_usd, config.strict, config.auto_start_session) == (
        None,
        None,
        False,
        True,
    )


def test_the_nearest_place_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The call wins over LOCALOPS_…, then AGENTOPS_…, then the home's config.toml, then the default."""
    home = tmp_path / "home"
    home.mkdir()
    home.joinpath("config.toml").write_text('trace_name = "file"\nstrict = true\n')
    assert (Config().trace_name, Config().strict) == ("file", True)
    monkeypatch.setenv("AGENTOPS_TRACE_NAME", "agentops")
    assert Config().trace_name == "agentops"
    monkeypatch.setenv("LOCALOPS_TRACE_NAME", "localops")
    assert Config().trace_name == "localops"
    assert Config(trace_name="call").trace_name == "call"


@pytest.mark.parametrize(("word", "value"), [("1", True), ("TRUE", True), ("yes", True), ("off", False), ("0", False)])
def test_switches_in_the_environment(word: str, value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual words turn a switch on and off."""
    monkeypatch.setenv("AGENTOPS_ENV_DATA_OPT_OUT", word)
    assert Config().env_data_opt_out is value


def test_tags_in_the_environment_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Default tags are separated by commas."""
    monkeypatch.setenv("AGENTOPS_DEFAULT_TAGS", "a, b,,c")
    assert Config().default_tags == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durabilty": "power"}, "did you mean 'durability'?"),
        ({"zzz": 1}, "the options are api_key"),
        ({"durability": "eternal"}, "expected 'process'"),
        ({"wait": float("nan")}, "a number above 0"),
        ({"max_value": float("inf")}, "a number above 0"),
        ({"capture": 3.5}, "true or false"),
        ({"on_budget": "stop"}, "a function"),
        ({"strict": "perhaps"}, "true or false"),
        ({"project": ".hidden"}, "1 to 64 letters"),
        ({"default_tags": 5}, "default_tags: expected a list of strings, got 5"),
    ],
)
def test_a_wrong_option_says_what_is_right(options: dict[str, Any], message: str) -> None:
    """A Config made by hand refuses invalid options; `usable` leaves them out."""
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        Config(**options)
    assert Config.usable(**options) == Config()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the home's config.toml."""

    def write(text: str) -> Path:
        path = tmp_path / "home" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("value", ["abc", "", "$5", "0", "-1", "inf", "nan", True])
def test_a_budget_that_cannot_be_read_stops(value: object) -> None:
    """An invalid budget stops the program, strict or not: it must not run without the limit that it asked for."""
    for make in (Config, Config.usable, Config().but):
        with pytest.raises(UnusableBudget, match="invalid budget_usd: expected a number above 0"):
            make(budget_usd=value)


def test_a_budget_in_the_environment_or_the_file_is_no_less_a_limit(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid budget stops there too, unless the variable is empty or a nearer place has a valid one."""
    written("budget_usd = 'a lot'")
    with pytest.raises(UnusableBudget, match=r"config\.toml: invalid budget_usd: expected .*, got 'a lot'"):
        Config.usable()
    written("budget_usd = 2")
    monkeypatch.setenv("LOCALOPS_BUDGET_USD", "abc")
    with pytest.raises(UnusableBudget, match=r"invalid LOCALOPS_BUDGET_USD: expected .*, got 'abc'"):
        Config.usable()
    assert Config.usable(budget_usd=3).budget_usd == 3
    monkeypatch.setenv("LOCALOPS_BUDGET_USD", "")
    assert Config.usable().budget_usd == 2


def test_a_file_that_cannot_be_read_may_hold_a_budget(
    written: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A syntax error beside a budget stops, unless a nearer place has one; any other prints a warning."""
    written("budget_usd = 2\ntags = [")
    with pytest.raises(UnusableBudget, match=r"config\.toml cannot be read"):
        Config.usable()
    assert Config.usable(budget_usd=3).budget_usd == 3
    written("durability = power")
    assert Config.usable().durability == "process"
    assert capsys.readouterr().err.count("config.toml cannot be read") == 2


def test_a_broken_settings_file_is_named(written: Callable[[str], Path]) -> None:
    """The error for an invalid config.toml has its path."""
    written("not = = toml")
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read"):
        Config()


def test_an_unknown_name_prints_a_warning(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt name in the file or in a variable does not stop recording, but prints a warning; strict raises."""
    path = written("durabilty = 'power'\nhome = '/elsewhere'\n[prices.mine]\ninput = 1\n[other]\nx = 1")
    monkeypatch.setenv("LOCALOPS_BUDGET_US", "5")
    monkeypatch.setenv("LOCALOPS_OF_MY_OWN", "5")
    assert Config.usable() == Config()
    warnings = capsys.readouterr().err
    assert warnings.splitlines() == [
        f"localops: {path}: there is no option 'durabilty' (did you mean 'durability'?); it is left out",
        f"localops: {path}: home cannot be set in a file; it is left out",
        f"localops: {path}: there is no option 'other'; it is left out",
        "localops: unknown variable LOCALOPS_BUDGET_US (did you mean LOCALOPS_BUDGET_USD?); it is left out",
    ]
    with pytest.raises(ConfigError, match="'durabilty'"):
        Config.usable(strict=True)
    monkeypatch.setenv("LOCALOPS_STRICT", "1")
    with pytest.raises(ConfigError, match="'durabilty'"):
        Config.usable()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = ", "cannot be read"),
        ("durabilty = 1", "did you mean 'durability'?"),
        ("wait = 'long'", "config.toml: invalid wait: expected a number above 0, got 'long'"),
        ("budget_usd = 'abc'", "config.toml: invalid budget_usd: expected a number above 0, got 'abc'"),
        ("prices = 3", "invalid prices: expected a table, got 3"),
        ("[prices]\nmine = 3", 'invalid prices."mine": expected a table of prices by part'),
        ("[prices.mine]\ninptu = 3", 'prices."mine" has inptu'),
    ],
)
def test_problems_of_a_home_are_listed(text: str, problem: str, written: Callable[[str], Path]) -> None:
    """`problems` returns each problem of config.toml as a sentence, and none for a valid file."""
    home = str(written(text).parent)
    (sentence,) = config.problems(home)
    assert problem in sentence
    written('durability = "power"\n[prices.mine]\ninput = 1\noutput = 1')
    assert config.problems(home) == []


def test_a_wrong_variable_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`problems` checks the environment, too."""
    monkeypatch.setenv("LOCALOPS_WAIT", "long")
    monkeypatch.setenv("LOCALOPS_BUDGET_USD", "abc")
    problems = [problem.split(":")[0] for problem in config.problems(str(tmp_path))]
    assert problems == ["invalid LOCALOPS_BUDGET_USD", "invalid LOCALOPS_WAIT"]


def test_a_configuration_with_changes() -> None:
    """`but` returns a configuration with changes; the first one does not change."""
    first = Config(project="a", strict=True)
    second = first.but(project="b")
    assert (first.project, second.project, second.strict) == ("a", "b", True)
    assert first != second
    assert first == Config(project="a", strict=True)


def test_a_change_that_cannot_be_used_changes_nothing() -> None:
    """An invalid change leaves the earlier value, not the default, in its place."""
    assert Config(durability="power").but(durability="eternal").durability == "power"


def test_a_key_is_not_shown() -> None:
    """Neither repr nor the project's name shows the key."""
    shown = Config(api_key="very-secret-key")
    assert "very-secret-key" not in repr(shown) + shown.folder()


def test_home_follows_argument_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The home is the argument, $LOCALOPS_HOME, or the user's data folder; `~` is the user's own folder."""
    assert config.home(tmp_path / "mine") == str(tmp_path / "mine")
    assert config.home() == os.environ["LOCALOPS_HOME"]
    monkeypatch.delenv("LOCALOPS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.home("~/here") == str(tmp_path / "here")
    assert config.home().startswith(str(tmp_path))


def test_the_home_of_an_unknown_user_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown user has no home folder: no folder called `~no-such-user` is created."""
    with pytest.raises(ConfigError, match="home folder of an existing user"):
        config.home("~no-such-user/runs")


def test_a_relative_home_without_a_working_directory_is_left_out(tmp_path: Path) -> None:
    """The session is recorded where a program without that setting records, with one warning."""
    code = (
        "import os, sys; os.rmdir(os.getcwd())\n"
        "import localops; session = localops.init(); session.record(localops.ActionEvent())\n"
        "print(session.get_analytics()['Actions'], session.env()['LOCALOPS_HOME'])"
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    environment = {"LOCALOPS_HOME": "runs", "XDG_DATA_HOME": str(tmp_path)}
    done = programs.run(code, cwd=gone, env=environment)
    assert done.stdout.strip() == f"1 {tmp_path / 'localops'}"
    assert done.stderr.count("the working directory does not exist any more") == 1
    assert str(tmp_path / "localops") in done.stderr


def test_a_relative_home_without_a_working_directory_cannot_be_read(tmp_path: Path) -> None:
    """A command fails with exit code 2, and so does a strict init."""
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os; os.rmdir(os.getcwd())\nfrom localops import cli; cli.main(['status'])"
    done = programs.run(code, cwd=gone, env={"LOCALOPS_HOME": "runs"})
    assert (done.returncode, "the working directory does not exist any more" in done.stderr) == (2, True)


@pytest.mark.parametrize("place", ["", "not/absolute"])
def test_a_user_without_a_home_folder_has_one_among_the_temporary_files(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No folder is made in the working directory; a place that another user made first is not used."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("LOCALOPS_HOME")
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, place)
    own = tmp_path / f"localops-{os.getuid()}"
    assert config.home() == str(own / ".local" / "share" / "localops")
    assert config.state_folder() == str(own / ".local" / "state" / "localops")
    own.mkdir()
    own.chmod(0o777)
    assert config.home().startswith(os.devnull)


@given(st.text())
def test_a_project_is_a_folder_of_the_home_or_refused(name: str) -> None:
    """No project name leads out of the home."""
    try:
        folder = config.project_folder("/home-of-all", name)
    except ConfigError:
        return
    assert os.path.dirname(os.path.normpath(folder)) == "/home-of-all"


def test_every_variable_of_the_page_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable that the documentation names is not taken for a misspelt one."""
    page = (Path(localops.__file__).parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in sorted({*re.findall(r"LOCALOPS_[A-Z_]+[A-Z]", page)} - {*os.environ}):
        monkeypatch.setenv(name, "1")
    assert [problem for problem in config.problems(str(tmp_path)) if "unknown" in problem] == []


_ACME, _EMP = "ACME-" + "0A" * 10, "EMP-123456"


@pytest.mark.parametrize(
    ("options", "variable", "kept"),
    [
        ({}, None, {_EMP}),
        ({"redact": True}, None, {_EMP}),
        ({"redact": [r"EMP-\d{6}"]}, None, set()),
        ({"redact": lambda text: text}, None, {_EMP}),
        ({}, "true", {_EMP}),
        ({"redact": False}, None, {_ACME, _EMP}),
        ({}, "false", {_ACME, _EMP}),
    ],
)
def test_patterns_of_the_home_hold_beside_others(
    written: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    variable: str | None,
    kept: set[str],
) -> None:
    """Those in its file hold whatever a program asks for, unless it asks for no redaction."""
    written("redact = ['ACME-[0-9A-F]{20}']")
    if variable is not None:
        monkeypatch.setenv("LOCALOPS_REDACT", variable)
    session = localops.init(**options)
    assert session is not None
    session.record(localops.ActionEvent(action_type="step", params={"at": f"{_ACME} {_EMP}"}))
    [event] = [event for event in session.events if event["kind"] == "action"]
    assert {secret for secret in (_ACME, _EMP) if secret in str(event)} == kept


def test_a_bad_pattern_in_the_file_is_reported_though_another_setting_is_nearer(written: Callable[[str], Path]) -> None:
    """Once, with its file."""
    written("redact = ['ACME-(']")
    given: list[dict[str, Any]] = [{}, {"redact": True}]
    for options in given:
        with pytest.raises(ConfigError) as refused:
            Config(**options)
        assert str(refused.value).count("config.toml: invalid redact: expected valid regular expressions") == 1


@pytest.mark.parametrize("in_file", [True, False])
def test_a_broken_pattern_turns_off_no_other(
    written: Callable[[str], Path], capsys: pytest.CaptureFixture[str], in_file: bool
) -> None:
    """It is named with its text and its place, as are the valid ones; the built-in rules still apply."""
    patterns: list[Any] = ["ACME-(", r"EMP-\d{6}"]
    if in_file:
        written(f"redact = {json.dumps(patterns)}")
    else:
        patterns.append(b"EMP")
    session = localops.init() if in_file else localops.init(redact=patterns)
    assert session is not None
    key = "sk-ant-api03-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h" + "7a"
    session.record(localops.ActionEvent(action_type="step", params={"at": f"{_EMP} {key}"}))
    [event] = [event for event in session.events if event["kind"] == "action"]
    assert event["params"] == {"at": "[redacted:pattern] [redacted:anthropic]"}
    warning = capsys.readouterr().err
    assert "got 'ACME-(' as number 1 (missing ), unterminated subpattern at position 5)" in warning
    assert warning.count("in use: 'EMP-") == 1


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("redact = 'PINE-[0-9]+'", "got 'PINE-[0-9]+'; put a single pattern into a list, too: redact = ['…']"),
        ("[redact]\npatterns = ['PINE-[0-9]+']", "; write redact = ['…'] above all tables"),
        ("[redact]", "; write redact = ['…'] above all tables"),
    ],
)
def test_a_redact_that_is_no_list_is_an_error(written: Callable[[str], Path], text: str, advice: str) -> None:
    """With the form that is meant, also where another place is nearer."""
    written(text)
    given: list[dict[str, Any]] = [{}, {"redact": True}]
    for options in given:
        with pytest.raises(ConfigError) as refused:
            Config(**options)
        assert "config.toml: invalid redact: expected true, false, a list of patterns" in str(refused.value)
        assert str(refused.value).count(advice) == 1
