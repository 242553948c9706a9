"""Where a setting comes from, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops import Config, config
from localops.errors import ConfigError


def test_defaults() -> None:
    """With nothing set a Config is the documented one."""
    found = Config()
    assert (found.durability, found.redact, found.capture, found.signals) == ("process", True, True, True)
    assert (found.api_key, found.budget_usd, found.strict, found.auto_start_session) == (
        None,
        None,
        False,
        True,
    )


def test_the_nearest_place_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The call, then LOCALOPS_…, then AGENTOPS_…, then the home's config.toml, then the default."""
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
        ({"durability": "eternal"}, "'power' also that of the machine"),
        ({"budget_usd": 0}, "a number above 0"),
        ({"budget_usd": "free"}, "budget_usd='free'"),
        ({"wait": float("nan")}, "a number above 0"),
        ({"strict": "perhaps"}, "true or false"),
        ({"project": ".hidden"}, "1 to 64 letters"),
        ({"default_tags": 5}, "default_tags=5"),
    ],
)
def test_a_wrong_option_says_what_is_right(options: dict[str, Any], message: str) -> None:
    """A Config made by hand refuses what cannot be used; `usable` leaves it out."""
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        Config(**options)
    assert Config.usable(**options) == Config()


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    """A config.toml that is none is said by its path."""
    home = tmp_path / "home"
    home.mkdir()
    home.joinpath("config.toml").write_text("not = = toml")
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read"):
        Config()


def test_a_configuration_with_changes() -> None:
    """`but` keeps what was given and changes the rest; the first one stays as it was."""
    first = Config(project="a", strict=True)
    second = first.but(project="b")
    assert (first.project, second.project, second.strict) == ("a", "b", True)
    assert first != second
    assert first == Config(project="a", strict=True)


def test_a_key_is_not_shown() -> None:
    """Neither repr nor the project's name shows the key."""
    shown = Config(api_key="very-secret-key")
    assert "very-secret-key" not in repr(shown) + shown.folder()


def test_the_home_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The argument, $LOCALOPS_HOME, then the user's data folder; `~` is the user's."""
    assert config.home(tmp_path / "mine") == str(tmp_path / "mine")
    assert config.home() == os.environ["LOCALOPS_HOME"]
    monkeypatch.delenv("LOCALOPS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.home("~/here") == str(tmp_path / "here")
    assert config.home().startswith(str(tmp_path))


@given(st.text())
def test_a_project_is_a_folder_of_the_home_or_refused(name: str) -> None:
    """No name leads out of the home."""
    try:
        folder = config.project_folder("/home-of-all", name)
    except ConfigError:
        return
    assert os.path.dirname(os.path.normpath(folder)) == "/home-of-all"
