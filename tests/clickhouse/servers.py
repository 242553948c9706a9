"""A real ClickHouse server in a temporary folder, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from localops.server.clickhouse.engine import Address, Engine
from tests import ports
from tests.clickhouse.starting import wait_until_it_answers

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
# For each line that it reads it starts the program, says its number, and says when that has ended.
_KEEPER = 'while read -r _; do "$@" >>output 2>&1 & echo $!; wait $!; echo; done'


class Server:
    """A server that can be killed and started again with what it stored, also by a test of many that share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = ports.free()
        (folder / "config.xml").write_text(_CONFIG.format(folder=folder, http=self.port, tcp=ports.free()))
        (folder / "users.xml").write_text(_USERS)
        program = shutil.which("clickhouse-server")
        assert program is not None
        # No child of this process, as what a test has started ends with it.
        self._keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", program, f"--config-file={folder}/config.xml"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            text=True,
            bufsize=1,
        )
        self._pid: int | None = None
        self.start()

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"clickhouse://default@127.0.0.1:{self.port}/{database}"

    def engine(self, database: str = "default", user: str = "default", password: str = "") -> Engine:
        """Return an engine for a database."""
        return Engine(Address((f"http://127.0.0.1:{self.port}",), database, user, password))

    @property
    def is_running(self) -> bool:
        """Whether the server runs."""
        return self._pid is not None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.write("\n")
        self._pid = int(self._line())
        process = Path(f"/proc/{self._pid}")
        wait_until_it_answers(self.engine(), process.exists, (self.folder / "output").read_text)

    def kill(self) -> None:
        """Kill the server, and wait until it has ended."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        assert self._line() == ""
        self._pid = None

    def close(self) -> None:
        """Kill the server for good; its folder is the caller's to delete."""
        if self.is_running:
            self.kill()
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()

    def _line(self) -> str:
        assert self._keeper.stdout is not None
        return self._keeper.stdout.readline().strip()
