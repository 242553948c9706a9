"""The destinations of rows: a module for each kind of remote."""

from __future__ import annotations

from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.reader import Reader
    from localops.transfer.remotes import Remote
    from localops_sync.sink import Sink
    from localops_sync.transport import Transport


def check_options(remote: Remote) -> None:
    """Raise ConfigError for options that a remote of its kind does not have, or not in this combination."""
    if remote.kind == "otlp":
        from localops_sync.sinks import otlp

        otlp.check_options(remote)
    elif remote.options:
        raise ConfigError(f"a remote of kind {remote.kind} has no options: {', '.join(remote.options)}")


def open_sink(remote: Remote, source: Reader, folder: str, transport: Transport) -> Sink:
    """Return the sink for a remote; each kind is imported only when it is needed."""
    check_options(remote)
    if remote.kind == "hub":
        from localops_sync.sinks.hub import Hub

        return Hub(remote, source, folder, transport)
    if remote.kind == "otlp":
        from localops_sync.sinks.otlp import Otlp

        return Otlp(remote, source, folder, transport)
    if remote.kind == "agentops":
        from localops_sync.sinks.agentops import AgentOps

        return AgentOps(remote, source, folder, transport)
    raise ConfigError(
        f"remote {remote.name!r} is of kind {remote.kind!r}, which this release does not know; upgrade it"
    )
