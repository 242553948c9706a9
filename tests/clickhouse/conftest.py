"""A real ClickHouse server in a temporary folder, on loopback; without the program, its tests are skipped."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localops.server.clickhouse.engine import Address, Engine, EngineError

_CONFIG = """<yandex>
<logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/errors.log</errorlog></logger>
<http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><users_config>{folder}/users.xml</users_config>
<mark_cache_size>67108864</mark_cache_size>
<default_profile>default</default_profile><default_database>default</default_database>
</yandex>"""
_USERS = """<yandex>
<profiles>
<default><max_memory_usage>2000000000</max_memory_usage></default>
<reader><readonly>1</readonly></reader>
</profiles>
<users>
<default><password></password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></default>
<locked><password>geheim und lang</password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></locked>
<reader><password></password><networks><ip>127.0.0.1</ip></networks>
<profile>reader</profile><quota>default</quota></reader>
</users>
<quotas><default/></quotas>
</yandex>"""
_START_SECONDS = 30.0


class Server:
    """A server that can be killed and started again with what it stored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        (folder / "config.xml").write_text(_CONFIG.format(folder=folder, http=self.port, tcp=_free_port()))
        (folder / "users.xml").write_text(_USERS)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"clickhouse://default@127.0.0.1:{self.port}/{database}"

    def engine(self, database: str = "default", user: str = "default", password: str = "") -> Engine:
        """Return an engine for a database."""
        return Engine(Address((f"http://127.0.0.1:{self.port}",), database, user, password))

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        program = shutil.which("clickhouse-server")
        assert program is not None
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen(
                [program, f"--config-file={self.folder}/config.xml"], stdout=output, stderr=output, cwd=self.folder
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.engine().ask("select 1 as one")
                return
            except EngineError:
                if self._process.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"ClickHouse did not start: {(self.folder / 'output').read_text()[-2000:]}")
                time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop the server."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server for all tests; each takes a database of its own."""
    if shutil.which("clickhouse-server") is None:
        pytest.skip("clickhouse-server is not installed")
    server = Server(tmp_path_factory.mktemp("clickhouse"))
    yield server
    server.stop()


@pytest.fixture
def own_clickhouse(tmp_path: Path) -> Iterator[Server]:
    """Return a server for one test, which may kill it."""
    if shutil.which("clickhouse-server") is None:
        pytest.skip("clickhouse-server is not installed")
    server = Server(tmp_path)
    yield server
    server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
