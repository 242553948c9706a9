"""The commands on the pages do what the page promises, in their order."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import localops
from localops import config
from localops.journal.reader import Reader
from localops.reading.home import Home
from localops.server.keys import Keys
from tests import transcripts
from tests.server.agentops_clients import Client
from tests.server.hubs import PATH, TOP, RealHub, batch_of, hub, session_rows, wait_until
from tests.shims import Shim
from tests.sync.agentops_server import KEY, Service, serving
from tests.transcripts import SESSION, Claude, text

_README = TOP / "README.md"
_PAGES = {page.stem: page for page in [_README, TOP / "CONTRIBUTING.md", *(TOP / "localops" / "docs").glob("*.md")]}
_FENCE = re.compile(
    r"^(?: *<!-- not run: (?P<reason>\S.*?) -->\n)?(?P<indent> *)```(?P<language>[\w-]*).*\n(?P<text>(?:.*\n)*?) *```$",
    re.MULTILINE,
)
_SHELLS = ("sh", "bash", "zsh", "shell", "console", "crontab")
# Lines that are left out, and why; the other lines of their blocks run. A whole block that cannot run is marked in its
# page: <!-- not run: the reason -->
_LEFT_OUT = {
    "pip ": "installs packages",
    "tar ": "needs what pip made",
    "datasette": "does not end",
    "systemctl": "needs root; the test starts and stops the hub",
    "localops hub serve": "does not end; the test has a hub",
    "localops import run.lops.receipts --take-prices": "needs the receipts of a hub; tests/sync/test_carried_prices.py",
    "LOCALOPS_TAKE_PRICES=1": "needs a hub that offers prices; as above",
    "localops open": "does not end; tests/sync/test_opened_file.py looks at its pages",
    "_LOCALOPS_COMPLETE=fish_source": "needs fish",
}
# Programs that a machine may lack.
_OTHERS = ("jq", "sqlite3")
# The pages whose blocks are run by one test, some of them one after another on the same machine, and those that have a
# test of their own.
_PLAIN = "README quickstart recipes+why+compare journal recording resume hub-keys llm-calls loops scores".split()
_OWN = {
    "agentops-sync",
    "carry",
    "coding-agents",
    "dashboard",
    "formats",
    "hub",
    "hub-agentops",
    "hub-operations",
    "hub-otlp",
    "hub-upgrade",
    "opentelemetry",
    "otlp",
    "sync",
}


def _blocks(page: str) -> list[list[str]]:
    """Return the commands of each shell block of a page that is not marked as one that cannot run."""
    blocks = []
    for fence in _FENCE.finditer(_PAGES[page].read_text()):
        if _is_shell(fence) and not fence["reason"]:
            lines = [_command(line) for line in fence["text"].splitlines()]
            blocks.append([line for line in lines if line and not line.startswith(("#", *_LEFT_OUT))])
    return blocks


def _is_shell(fence: re.Match[str]) -> bool:
    return fence["language"] in _SHELLS or fence["text"].startswith("$ ")


def _command(line: str) -> str:
    """Return a line without the time and the user of a crontab, and with the command that is on the path."""
    line = re.sub(r"^\*/5 \* \* \* \* (?:localops (?=localops ))?", "", line.strip())
    return re.sub(r"^(?:/home/ada/venv|/opt/localops)/bin/", "", line)


class _Shell:
    """Runs commands as a page has them, with the names of that page meaning things of this test."""

    def __init__(self, tmp_path: Path, real: RealHub) -> None:
        programs = tmp_path / "bin"
        (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (programs / "python").chmod(0o700)
        self.folder, self.key = tmp_path, real.key
        key = tmp_path / "hub.key"
        key.write_text(real.key)
        key.chmod(0o600)
        self.home = tmp_path / "home"
        self.environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": PATH}
        self.environment |= {"KEY": real.key, "LOCALOPS_HOME": str(self.home)}
        if curl := shutil.which("curl"):  # an answer of 404 is a failure here
            (programs / "curl").write_text(f'#!/bin/sh\nexec {curl} -sS --fail-with-body "$@"\n')
            (programs / "curl").chmod(0o700)
        self.names = {
            "https://hub.example:8642": real.url,
            "~/hub.key": str(key),
            "/var/lib/localops": str(real.data),
            "/srv/localops": str(real.data),
            "/backup": str(tmp_path / "backup"),
            "/media/stick": str(tmp_path),
            "/var/lib/node_exporter": str(tmp_path),
            "chown -R localops:": f"chown -R {os.getuid()}",
        }

    def run(self, lines: list[str]) -> str:
        script = "\n".join(lines)
        for name, meaning in self.names.items():
            script = script.replace(name, meaning)
        # A person confirms at the terminal; there is none here.
        script = re.sub(r"^(localops hub delete (?!.*--yes).*)$", r"\1 --yes", script, flags=re.MULTILINE)
        command = ["bash", "-euc", script]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=f"{self.key}\n" if "cat >" in script else "y\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub with a key to the project of the pages."""
    with hub(tmp_path, "research") as real:
        yield real


@pytest.fixture
def shell(tmp_path: Path, real: RealHub) -> Iterator[_Shell]:
    """Return a machine on which a session was recorded."""
    _record()
    (tmp_path / "bin").mkdir()
    with Shim(tmp_path / "bin"):
        yield _Shell(tmp_path, real)


def _record() -> None:
    session = localops.start_session(name="a run")
    assert session is not None
    session.record(localops.ActionEvent("step", params={"q": "x" * 1_100_000}))
    session.end_session("Success")


def _sent(shell: _Shell) -> bool:
    status = shell.run(["localops status"])
    return " hub " in status and [line.split()[2] for line in status.splitlines() if " hub " in line] == ["0"]


_SPANS = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
provider.get_tracer("tests").start_span("a span").end()
provider.shutdown()
"""

_AGENT = """import sys
import agentops
agentops.init()
agentops.record(agentops.ActionEvent(action_type=sys.argv[1] if sys.argv[1:] else "step"))
agentops.end_session("Success")
"""


def test_every_block_of_commands_is_run_or_marked() -> None:
    """A new page, or a new block on one that has had none, needs a test or a reason."""
    assert {*"+".join(_PLAIN).split("+"), *_OWN} == {page for page in _PAGES if _blocks(page)}
    for page in _PAGES:
        assert all(_blocks(page)), f"{page} has a block of which nothing is run: mark it"
        reasons = " ".join(fence["reason"] or "" for fence in _FENCE.finditer(_PAGES[page].read_text()))
        assert all((TOP / path).exists() for path in re.findall(r"(?:tests|scripts)/[\w/.]+", reasons))


@pytest.mark.parametrize("pages", _PLAIN)
def test_the_commands_of_a_page_run(pages: str, shell: _Shell, real: RealHub, tmp_path: Path) -> None:
    """Each shell block of the page runs, over a home with a run in it."""
    for name in ("agent.py", "app.py", "fetch.py", "think.py", "report.py", "package/module.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(_AGENT if name in ("agent.py", "app.py", "package/module.py") else "")
    (tmp_path / "my_scores.py").write_text("def score_events(session):\n    return float(len(session.tool_calls))\n")
    shell.names |= {"/elsewhere": str(tmp_path / "elsewhere"), "exec python agent.py": "localops run agent.py"}
    shell.names |= {"python agent.py": "localops run agent.py", "&& sqlite3 copy.db": "&& sqlite3 copy.db .tables"}
    shell.names["localops demo"] = "localops sessions"  # the demo has an error, which the gate for CI would find
    shell.names["3f9a1c02"] = _handle(real)
    with Home() as home:
        [(session, event)] = home.projects[0].reader.ask("select session, id from event where kind = 'action'")
    shell.names |= {"01a227cd": session.hex(), "01a227ce": event.hex()}
    if pages == "README":  # it compares the newest run with the one before
        _record()
    shell.environment["SLURM_JOB_ID"], shell.environment["SCRATCH"] = "7", str(tmp_path / "scratch")
    missing = [name for name in _OTHERS if shutil.which(name) is None]
    for lines in [lines for page in pages.split("+") for lines in _blocks(page)]:
        here = [line for line in lines if not missing or not re.search(rf"\b({'|'.join(missing)})\b", line)]
        if here:
            shell.run(here)


def _handle(real: RealHub) -> str:
    """Return the handle of a new key of the hub."""
    key = Keys(str(real.data)).find(real.new_key("spare"))
    assert key is not None
    return key.handle


def test_the_page_about_the_hub(shell: _Shell, real: RealHub) -> None:
    """From the first key to a restored backup, which holds every row, every file and every key."""
    real.take(batch_of(session_rows(3), journal="c" * 32))
    last = batch_of(session_rows(3), journal="d" * 32)
    real.take(last)
    shell.names["01a1fcf0"] = last.rows[0].session.hex()
    shell.names["3f9a1c02"] = _handle(real)
    keys = None
    for lines in _blocks("hub"):
        if lines[0].startswith("localops hub restore"):
            assert _sent(shell)
            keys = [key.sha256 for key in Keys(str(real.data)).all()]
            real.stop()
        shell.run(lines)
    assert keys == [key.sha256 for key in Keys(str(real.data)).all()]
    real.start()
    shell.run(["localops sync --verify"])
    assert len([name for _, _, names in os.walk(real.folder / "blobs") for name in names]) == 1
    assert os.stat(real.folder / "journal.db").st_mode & 0o077 == 0


def test_the_page_about_sync(shell: _Shell, real: RealHub) -> None:
    """The commands to copy send everything; the address and the key can be changed."""
    for lines in _blocks("sync"):
        shell.run([line.replace("https://new.example:8642", real.url) for line in lines])
    assert _sent(shell)


# Ids, times and durations, which differ each time a program runs.
_MADE_UP = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d[T ][\d:.+]+|<?\d+(\.\d+)?m?s\b|\"(seconds|ts|dur)\":[\d.e-]+"
)


def test_the_page_about_formats(shell: _Shell) -> None:
    """Each output of the page is that of its program, but for ids, times and durations."""
    page = _PAGES["formats"].read_text()
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (shell.folder / "tide.py").write_text(program)
    shell.run(["python tide.py"])
    for lines in _blocks("formats"):
        shell.run(lines)
    out = {form: shell.run([f"localops export last --format {form}"]) for form in ("md", "atif", "sft", "perfetto")}
    plain = {form: _MADE_UP.sub("…", text) for form, text in out.items()}
    [transcript] = re.findall(r"````md\n(.*?)````", page, re.DOTALL)
    assert plain["md"] == _MADE_UP.sub("…", transcript)
    shown = [_MADE_UP.sub("…", line) for line in re.findall(r"^```json\n(\{.*\}\n)```", page, re.MULTILINE)]
    for form, line in zip(("atif", "sft", "perfetto"), shown[-3:], strict=True):
        assert line.strip() in plain[form], form


def test_the_page_about_carrying(shell: _Shell, tmp_path: Path) -> None:
    """On three machines: carried rows are on the hub, and the machine that recorded them knows it."""
    text = (TOP / "localops" / "docs" / "carry.md").read_text()
    block, again = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    _, first, relay, back = re.split(r"^# .*\n", block, flags=re.MULTILINE)
    shell.run(first.splitlines())
    shell.environment["LOCALOPS_HOME"] = str(tmp_path / "relay")
    shell.run(relay.splitlines())
    shell.environment["LOCALOPS_HOME"] = str(shell.home)
    shell.run(back.splitlines())
    assert _sent(shell)
    with Reader(os.path.join(config.project_folder(str(tmp_path / "hub"), "research"), "journal.db")) as reader:
        assert {"session", "end"} <= {row.kind for row in reader.stream()}
    make, deliver = again.splitlines()  # a hub that was restored gets every row once more
    shell.run([make])
    shell.environment["LOCALOPS_HOME"] = str(tmp_path / "relay")
    shell.run([deliver])


def test_the_page_about_agentops_clients(shell: _Shell, real: RealHub) -> None:
    """A session is read with the key, and as a trace with the token that the key is exchanged for."""
    client = Client(real).begin()
    client.events(client.call(), client.tool())
    client.end()
    create, read = _blocks("hub-agentops")
    assert re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", shell.run(create))
    shell.environment |= {"AGENTOPS_API_KEY": real.key, "SESSION": client.session, "BEARER": ""}
    shell.environment["TRACE"] = client.session.replace("-", "")
    stats, export, token, spans, metrics = re.split(r"\n(?=curl)", "\n".join(read))
    assert json.loads(shell.run([stats]))["cost"] == 0.0125
    assert len(json.loads(shell.run([export]))["llms"]) == 1
    shell.environment["BEARER"] = json.loads(shell.run([token]))["bearer"]
    assert len(json.loads(shell.run([spans]))["spans"]) == 2
    assert json.loads(shell.run([metrics]))["total_tokens"] == 2000


def test_the_page_about_watching_a_hub(shell: _Shell, real: RealHub, tmp_path: Path) -> None:
    """A hub with a listener for metrics and a log of JSON, which systemd writes to as well."""
    real.take(batch_of(session_rows(3)))
    real.stop()
    [options] = re.findall(r'LOCALOPS_HUB_OPTIONS="(.*?)"', _PAGES["hub-operations"].read_text())
    log = tmp_path / "hub.log"
    log.write_text("Starting localops-hub.service - localops hub...\n")
    command = [sys.executable, "-m", "localops", "hub", "serve", "--data", str(real.data)]
    with log.open("a") as file:
        process = subprocess.Popen(
            [*command, "--port", "0", "--metrics", "0", *options.split()],
            env=shell.environment,
            stdout=file,
            stderr=file,
        )
    try:
        wait_until(lambda: '"event":"start"' in log.read_text().replace(" ", "") and " listens at " in log.read_text())
        [metrics] = re.findall(r"metrics at http://([\d.:]+)/metrics", log.read_text())
        [url] = re.findall(r" listens at (http://[\d.:]+)", log.read_text())
        real.url, sent = url, batch_of(session_rows(3))
        invalid = [*sent.rows[:-1], sent.rows[-1]._replace(sum=1)]
        assert len(real.take(replace(sent, rows=invalid))[1]["refused"]) == 1
        shell.names |= {"127.0.0.1:9642": metrics, "journalctl -u localops-hub -o cat": f"cat '{log}'"}
        serve, crontab, logs, senders = _blocks("hub-operations")
        assert "localops_hub_ready 1" in shell.run(serve)
        shell.run(crontab)
        assert "localops_sessions" in (tmp_path / "localops.prom").read_text()
        if shutil.which("jq"):
            assert '"kind": "invalid"' in shell.run(logs)
        assert "research" in shell.run(senders)
    finally:
        process.terminate()
        process.wait(30)


def test_the_page_about_spans_for_a_hub(shell: _Shell, real: RealHub) -> None:
    """The SDK of OpenTelemetry sends to the hub because of these variables alone."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    [exports] = _blocks("hub-otlp")
    shell.run([*exports, f"python -c '{_SPANS}'"])
    [session] = real.ask("GET", "/api/1/sessions")[1]["sessions"]
    assert session["name"] == "a span"


def test_the_page_about_upgrades(shell: _Shell, real: RealHub, tmp_path: Path) -> None:
    """The backup of before is put in place, and the hub serves it."""
    real.take(batch_of(session_rows(3)))
    shell.run(["localops hub backup --data /var/lib/localops --to /backup/localops --verify"])
    [backup] = (tmp_path / "backup" / "localops").iterdir()
    shell.names["2026-11-28T02-30-00Z"] = backup.name
    check, restore = _blocks("hub-upgrade")
    shell.run(check)
    real.stop()
    shell.run(restore)
    real.start()
    assert len(real.ask("GET", "/api/1/sessions")[1]["sessions"]) == 1


def test_the_page_about_traces(shell: _Shell, real: RealHub) -> None:
    """A hub is a back end that takes spans; the remote of AgentOps is added only."""
    shell.names["https://collector.example:4318"] = real.url
    shell.names["--kind otlp --project"] = f"--kind otlp --key-file {shell.names['~/hub.key']} --project"
    shell.environment["AGENTOPS_API_KEY"] = real.key
    send, add = _blocks("otlp")
    shell.run(send)
    assert [session["name"] for session in real.ask("GET", "/api/1/sessions")[1]["sessions"]] == ["a run"]
    shell.run(add)


def test_the_page_about_the_service_of_agentops(shell: _Shell) -> None:
    """The session is there, in a copy of the service."""
    service = Service()
    shell.environment["AGENTOPS_API_KEY"] = KEY
    with serving(service) as shell.names["https://api.agentops.ai"]:
        for lines in _blocks("agentops-sync"):
            shell.run(lines)
    assert [session["end_state"] for session in service.sessions.values()] == ["Success"]


def test_the_page_about_spans_in_files(shell: _Shell, tmp_path: Path) -> None:
    """What a collector has written becomes a session."""
    span = {"traceId": "5" * 32, "spanId": "7" * 16, "name": "a span", "startTimeUnixNano": "1700000000000000000"}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "endTimeUnixNano": "1700000001000000000"}]}]}]}
    (tmp_path / "traces.jsonl").write_text(json.dumps(request) + "\n")
    [lines] = _blocks("opentelemetry")
    shell.run(lines)
    assert "a span" in shell.run(["localops sessions"])


def test_the_page_about_coding_agents(shell: _Shell, tmp_path: Path) -> None:
    """The hooks are in the settings, and a transcript is a session."""
    shell.environment["CLAUDE_CONFIG_DIR"] = str(tmp_path / "claude")
    claude = Claude()
    transcript = [claude.user("when is high water?"), claude.answer("m1", text("At noon."))]
    transcripts.write(tmp_path / "claude" / "projects" / "-src-tides" / f"{SESSION}.jsonl", transcript)
    shell.names["install claude-code"] = "install claude-code --yes"  # there is no terminal to confirm at
    [lines] = _blocks("coding-agents")
    assert "SessionStart" in shell.run(lines)
    assert "localops hook claude-code" in (tmp_path / "claude" / "settings.json").read_text()
    assert SESSION[:8] in shell.run(["localops sessions"])


@pytest.mark.skipif(any(shutil.which(name) is None for name in ("jq", "curl")), reason="the commands need jq and curl")
def test_the_page_about_the_dashboard(shell: _Shell, tmp_path: Path) -> None:
    """A program logs in with the link of `localops ui`, and reads what the pages read."""
    [lines] = _blocks("dashboard")
    [command] = re.findall(r"`localops (ui .*?) > ui.json`", lines[0])
    with (tmp_path / "ui.json").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "localops", *command.split(), "--port", "0"],
            env={**shell.environment, "LOCALOPS_HOME": os.environ["LOCALOPS_HOME"]},
            stdout=file,
        )
    try:
        wait_until(lambda: (tmp_path / "ui.json").read_text().endswith("\n"))
        printed = shell.run([*lines, 'curl -b cookies "${link%%/#*}/api/1/sessions"'])
        assert '"a run"' in printed
        assert '"/api/1/sessions"' in printed
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def recipe(shell: _Shell) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run commands of the page of recipes as CI does, in the home of this test, which has a good run in it."""
    shell.environment["LOCALOPS_HOME"] = os.environ["LOCALOPS_HOME"]

    def run(script: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-ec", script]
        return subprocess.run(
            command, cwd=shell.folder, env=shell.environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def _fail() -> None:
    with contextlib.suppress(TimeoutError), localops.start_session(name="a bad run"):
        raise TimeoutError("no answer")


def _fail_without_an_error() -> None:
    with localops.start_session(name="a bad run") as session, session.operation("look", kind="tool") as look:
        look.fail()


def _die_inside_a_tool() -> None:
    with localops.start_session(name="a bad run") as session:
        code = "import localops, os, signal; localops.init().operation('look', kind='tool').__enter__()"
        child = [sys.executable, "-c", f"{code}; os.kill(os.getpid(), signal.SIGKILL)"]
        environment = os.environ | {"LOCALOPS_SESSION_ID": str(session.session_id)}
        done = subprocess.run(child, env=environment, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL


def _damage() -> None:
    folder = config.project_folder(os.environ["LOCALOPS_HOME"], "damaged")
    script = f"mkdir -p '{folder}' && yes 'no journal' | head -c 8000 > '{folder}/journal.db'"
    subprocess.run(["sh", "-c", script], check=True)


def _reach_a_budget() -> None:
    session = localops.start_session(config=localops.Config(budget_usd=1))
    with contextlib.suppress(localops.BudgetExceeded):
        session.record(localops.LLMEvent(cost=2))
    session.end_session("Success")


@pytest.mark.parametrize(
    ("happens", "is_green"),
    [
        (None, True),
        (_fail, False),
        (_fail_without_an_error, False),
        (_die_inside_a_tool, False),
        (_damage, False),
        (_reach_a_budget, True),
    ],
)
def test_the_gate_is_green_where_every_session_is_known_to_be_good(
    recipe: Callable[[str], subprocess.CompletedProcess[str]], happens: Callable[[], None] | None, is_green: bool
) -> None:
    """A project that cannot be read could hold a failure: it is as bad as one."""
    [gate] = [block for block in _blocks("recipes") if block[0] == "set -e"]
    if happens:
        happens()
    done = recipe("\n".join(gate))
    assert (done.returncode == 0) == is_green, done.stdout + done.stderr
    assert ("a bad run" in done.stdout) == (happens in {_fail, _fail_without_an_error, _die_inside_a_tool})


def test_the_gate_can_ask_for_budgets(recipe: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """With the condition that the page adds, a budget that was reached fails the build."""
    [gate] = [block for block in _blocks("recipes") if block[0] == "set -e"]
    text = (TOP / "localops" / "docs" / "recipes.md").read_text()
    [more] = re.findall(r"`(or exists \(.*?\))`", text, re.DOTALL)
    script = "\n".join(gate).replace("failed > 0", "failed > 0 " + " ".join(more.split()))
    assert recipe(script).returncode == 0
    _reach_a_budget()
    assert recipe(script).returncode == 1


@pytest.mark.skipif(shutil.which("jq") is None, reason="the recipe needs jq")
@pytest.mark.parametrize("fails", [True, False])
def test_the_record_that_ci_keeps_is_that_of_the_failed_run(
    recipe: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path, fails: bool
) -> None:
    """Also if a good run followed it; without a failed one, it has every run."""
    if fails:
        _fail()
        localops.start_session(name="a later run").end_session("Success")
    text = (TOP / "localops" / "docs" / "recipes.md").read_text()
    [script] = re.findall(r"    run: \|\n((?:      .*\n)+)", text)
    done = recipe(re.sub(r"^ {6}", "", script, flags=re.MULTILINE))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run.html").read_text()
    assert [f'"name":"{name}"' in page for name in ("a bad run", "a later run", "a run")] == [fails, False, not fails]
