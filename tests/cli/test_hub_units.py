"""`localops hub units`: files that run as they are printed, checked by the programs that read them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from localops.cli.group import commands
from localops.cli.hub.units import UNITS
from tests import warm
from tests.server.hubs import PATH

_NAMES = sorted(os.listdir(UNITS))
_SERVICES = [name for name in _NAMES if name.endswith((".service", ".timer"))]


def _printed(*arguments: str) -> str:
    done = warm.run(
        [sys.executable, "-m", "localops", "hub", "units", *arguments],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": PATH},
    )
    return done.stdout


def test_every_file_is_listed_and_printed() -> None:
    """The list has a line for each file of the package; an unknown name is refused with the others."""
    listed = _printed()
    assert [name for name in _NAMES if name not in listed] == []
    for name in _NAMES:
        assert len(_printed(name).splitlines()) > 5
    with pytest.raises(subprocess.CalledProcessError) as refused:
        _printed("../hub.md")
    assert "localops-hub.service" in refused.value.stderr


@pytest.mark.parametrize("name", [name for name in _NAMES if not name.endswith(".timer")])
def test_the_commands_in_a_file_exist(name: str) -> None:
    """With these options."""
    text = Path(UNITS, name).read_text().replace("\\\n", " ")
    calls = re.findall(r"^ExecStart=\S*/localops (.*)$", text, re.MULTILINE)
    calls += [
        " ".join(re.findall(r'"([^"]*)"', line)[1:]) for line in re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    ]
    assert len(calls) == 1
    words = [word for word in calls[0].split() if word != "$LOCALOPS_HUB_OPTIONS"]
    values = [re.sub(r"\$\{\w+\}", "/x", word) for word in words]
    command: click.Command = commands
    context = command.make_context("localops", list(values), resilient_parsing=True)
    while isinstance(command, click.Group) and values and not values[0].startswith("-"):
        inner, values = command.get_command(context, values[0]), values[1:]
        assert inner is not None
        command = inner
        context = command.make_context(command.name, list(values), parent=context, resilient_parsing=True)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in values if word.startswith("-")} <= known


@pytest.mark.parametrize("name", _SERVICES)
def test_systemd_accepts_a_unit(name: str, tmp_path: Path) -> None:
    """It finds no unknown setting, and every program of the unit."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    for each in _SERVICES:
        # Where this runs without an installed command, another program stands for it.
        text = _printed(each)
        for shipped in ("/opt/localops/bin/localops", "%h/.local/bin/localops"):
            text = text.replace(shipped, sys.executable)
        (tmp_path / each).write_text(text)
    command = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no"]
    done = subprocess.run([*command, tmp_path / name], capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or name in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    (tmp_path / name).write_text((tmp_path / name).read_text().replace("Description=", "Desription="))
    done = subprocess.run([*command, tmp_path / name], capture_output=True, text=True, check=False, timeout=60)
    assert "Desription" in done.stderr


def test_the_hub_has_little_access() -> None:
    """The exposure that systemd computes stays low."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", f"{UNITS}/localops-hub.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "nrecognized option" in done.stderr:
        pytest.skip("this systemd cannot compute it offline")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_of_a_container_asks_the_hub() -> None:
    """Its HEALTHCHECK is a program that fails if the hub is not well; nothing listens at its port here, or a hub."""
    text = Path(UNITS, "Containerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r'HEALTHCHECK .*?"-c", "(.*)"\]', text)
    assert "127.0.0.1:8642/health" in line
    compile(line, "HEALTHCHECK", "exec")
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


def test_a_reload_needs_no_program_but_the_shell() -> None:
    """A minimal Debian has no /bin/kill; systemd gives the pid to the shell, whose own `kill` sends the signal."""
    text = Path(UNITS, "localops-hub.service").read_text()
    (words,) = re.findall(r"^ExecReload=(.*)$", text, re.MULTILINE)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        command = shlex.split(words.replace("${MAINPID}", str(process.pid)))
        subprocess.run(command, check=True, timeout=60, env={"PATH": ""})
        assert process.wait(60) == -signal.SIGHUP
