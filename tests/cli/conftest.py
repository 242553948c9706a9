"""Fixtures of the tests of commands: run one, and get its exit code, output and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from localops import cli

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `localops` in this process: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def as_json(command: Command) -> Callable[..., dict[str, Any]]:
    """Run `localops … --json`, which must succeed, and return the document."""

    def run(*arguments: str) -> dict[str, Any]:
        code, out, err = command(*arguments, "--json")
        assert (code, err) == (0, "")
        document: dict[str, Any] = json.loads(out)
        assert document["schema_version"] == 1
        return document

    return run
