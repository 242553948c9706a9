"""Servers of ClickHouse that are shards and replicas of each other, with Debian's ZooKeeper, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from localops.server.clickhouse.engine import Address, Engine, EngineError, address
from tests import ports
from tests.clickhouse.servers import _USERS
from tests.clickhouse.starting import SECONDS, wait_until_it_answers

_JARS = "/usr/share/java/zookeeper.jar"
_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_CONFIG = """<yandex>
<logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/errors.log</errorlog></logger>
<http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><interserver_http_port>{between}</interserver_http_port>
<interserver_http_host>127.0.0.1</interserver_http_host><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><users_config>{folder}/users.xml</users_config>
<mark_cache_size>67108864</mark_cache_size>
<default_profile>default</default_profile><default_database>default</default_database>
<zookeeper><node><host>127.0.0.1</host><port>{keeper}</port></node>
<session_timeout_ms>5000</session_timeout_ms></zookeeper>
<macros><shard>{shard}</shard><replica>{replica}</replica></macros>
<distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
<remote_servers><all>{shards}</all></remote_servers>
</yandex>"""


def is_there() -> bool:
    """Return whether the programs of a cluster are installed."""
    return all(map(shutil.which, ("clickhouse-server", "java"))) and os.path.exists(_JARS)


class Node:
    """One server; it can be killed, have its disk wiped, and be started again."""

    def __init__(self, folder: Path, config: str, http: int) -> None:
        self.folder, self.http = folder, http
        folder.mkdir()
        (folder / "config.xml").write_text(config)
        (folder / "users.xml").write_text(_USERS)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.http}"

    def engine(self, database: str = "default") -> Engine:
        """Return an engine that asks this server alone."""
        return Engine(Address((f"http://{self.host}",), database), seconds=30.0)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; `wait`: return when it answers."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["clickhouse-server", f"--config-file={self.folder}/config.xml"],
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until_it_answers(self.engine(), lambda: self.is_running, (self.folder / "output").read_text)

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def wipe(self, other: Node) -> None:
        """Delete all that it has stored, and prepare it as ClickHouse's handbook says for a replica on a new disk.

        It gets the definitions of the tables from another one, and a mark that it is to fetch everything.
        """
        data = self.folder / "data"
        shutil.rmtree(data)
        shutil.copytree(other.folder / "data" / "metadata", data / "metadata")
        (data / "flags").mkdir()
        (data / "flags" / "force_restore_data").touch()

    def close(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            self.kill()


class Cluster:
    """So many shards of so many replicas each; its name is `all`."""

    def __init__(self, folder: Path, *, shards: int, replicas: int) -> None:
        self._keeper_port = ports.free()
        self._folder = folder
        places = [(shard, replica) for shard in range(shards) for replica in range(replicas)]
        taken = {place: (ports.free(), ports.free(), ports.free()) for place in places}
        described = "".join(
            "<shard><internal_replication>true</internal_replication>"
            + "".join(
                f"<replica><host>127.0.0.1</host><port>{taken[shard, replica][1]}</port></replica>"
                for replica in range(replicas)
            )
            + "</shard>"
            for shard in range(shards)
        )
        self._keep()
        self.nodes = {}
        for shard, replica in places:
            http, tcp, between = taken[shard, replica]
            name = f"{shard}-{replica}"
            config = _CONFIG.format(
                folder=folder / name, http=http, tcp=tcp, between=between, keeper=self._keeper_port,
                shard=shard, replica=replica, shards=described,
            )  # fmt: skip
            self.nodes[shard, replica] = Node(folder / name, config, http)
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait()
        self._try_statements()

    def _try_statements(self) -> None:
        """Run a statement on all servers: 18.16 may crash at the first ones after its start."""
        first, *_ = self.nodes.values()
        until = time.monotonic() + SECONDS
        while True:
            try:
                first.engine().do("create database if not exists tried on cluster all")
                return
            except EngineError:
                assert time.monotonic() < until
            for node in self.nodes.values():
                if not node.is_running:
                    node.start()
                    node.wait()

    def _keep(self) -> None:
        data = self._folder / "keeper"
        data.mkdir()
        config = data / "zoo.cfg"
        config.write_text(
            f"tickTime=500\ndataDir={data}\nclientPort={self._keeper_port}\nclientPortAddress=127.0.0.1\n"
            "maxClientCnxns=0\nadmin.enableServer=false\n"
        )
        jars = ":".join(str(path) for path in sorted(Path("/usr/share/java").glob("*.jar")) if _is_needed(path.name))
        with (data / "output").open("wb") as output:
            self._keeper = subprocess.Popen(
                ["java", "-Xmx256m", "-cp", f"{jars}:/etc/zookeeper/conf", _MAIN, str(config)],
                cwd=data,
                stdout=output,
                stderr=output,
            )
        until = time.monotonic() + SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._keeper_port), timeout=1):
                    return
            except OSError:
                assert self._keeper.poll() is None, (data / "output").read_text()[-2_000:]
                assert time.monotonic() < until
                time.sleep(0.05)

    def url(self, database: str, **options: object) -> str:
        """Return the URL of a database on all hosts."""
        hosts = ",".join(node.host for node in self.nodes.values())
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"clickhouse://default@{hosts}/{database}?cluster=all{more}"

    def close(self) -> None:
        """End it all."""
        for node in self.nodes.values():
            node.close()
        self._keeper.kill()
        self._keeper.wait()


class Hosts:
    """A cluster as one server: its databases are on all of it."""

    def __init__(self, servers: Cluster, **options: object) -> None:
        self._servers, self._options = servers, options

    def engine(self, database: str) -> Engine:
        """Return an engine for a database."""
        return Engine(address(self.url(database), {}))

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return self._servers.url(database, **self._options)


def _is_needed(name: str) -> bool:
    parts = (
        "zookeeper",
        "slf4j-api",
        "slf4j-simple",
        "log4j",
        "netty",
        "jline",
        "commons-cli",
        "snappy",
        "metrics-core",
    )
    return name.startswith(parts)
