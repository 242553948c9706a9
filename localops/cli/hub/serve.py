"""`localops hub serve`: run the server."""

from __future__ import annotations

import os

import click

from localops import __version__, output
from localops.cli.hub.common import data_option, folder_of, new_option, open_store
from localops.errors import ConfigError
from localops.reading import mirrored, session_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.home_store import HomeStore
    from localops.server.limits import Limits

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0: any free port.")
@click.option("--tls-cert", metavar="FILE", help="Certificate (PEM), to serve HTTPS.")
@click.option("--tls-key", metavar="FILE", help="Its key (PEM), unless it is in the same file.")
@click.option(
    "--max-body",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    metavar="MB",
    help="The largest request, compressed.",
)
@click.option("--rate", type=click.IntRange(min=1), default=100, show_default=True, help="Requests a second and key.")
@click.option("--root-path", default="", metavar="PATH", help="Path at which a proxy serves it, if any: /localops.")
@click.option("--uds", metavar="PATH", help="Listen on this Unix socket (mode 0660) instead, for a proxy.")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS|NETWORK|unix",
    help="A proxy whose X-Forwarded-For and X-Forwarded-Proto count (repeatable); unix: those of --uds.",
)
@click.option(
    "--metrics",
    "monitoring",
    metavar="[HOST:]PORT",
    help="Answer /metrics, /health and /ready there, without a key; on 127.0.0.1 unless it names a HOST.",
)
@click.option("--access-log", is_flag=True, help="Log each request: address, path and status, never keys.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of log lines."
)
@click.option("--audit-reads", is_flag=True, help="Also note who reads which session in the audit log.")
@click.option("--offer-prices", is_flag=True, help="Offer the hub's price table to senders that accept it.")
@click.option(
    "--store",
    "url",
    metavar="URL",
    help="Keep rows in ClickHouse: clickhouse://USER@HOST:8123/DATABASE, or clickhouses:// for TLS.",
)
@click.option(
    "--mirror",
    type=click.IntRange(min=1),
    default=4_096,
    show_default=True,
    metavar="MB",
    help="With --store: size of the rows of a project that are also here, for reads.",
)
@click.option(
    "--files",
    metavar="URL",
    help="Keep files of rows in an S3-compatible bucket: s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION.",
)
@new_option
@click.pass_context
def serve(
    context: click.Context,
    data: str,
    host: str,
    port: int,
    tls_cert: str | None,
    tls_key: str | None,
    max_body: int,
    rate: int,
    root_path: str,
    uds: str | None,
    proxies: tuple[str, ...],
    monitoring: str | None,
    access_log: bool,
    log_format: str,
    audit_reads: bool,
    offer_prices: bool,
    url: str | None,
    mirror: int,
    files: str | None,
    new: bool,
) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    Running requests are finished first; a second signal ends the hub at once. A decompressed request may be four times
    as large as --max-body. Create keys with `localops hub key create`, also while the hub runs.
    """
    # Imported here, as Starlette and uvicorn are optional packages.
    try:
        from localops.server import listen, logs
        from localops.server.app import app
    except ImportError as error:
        raise ConfigError(f"missing packages for a hub: pip install 'localops[ui]' ({error})") from error
    from localops.server import leftovers, presence
    from localops.server.forwarded import Proxies
    from localops.server.keys import Keys
    from localops.server.limits import Limits

    logs.use(log_format)
    if uds is not None:
        _check_alone(context, "uds", "host", "port", "tls_cert", "tls_key")
    check_tls(host, tls_cert, tls_key)
    named = Proxies(proxies)
    about = None if monitoring is None else watch_at(monitoring)
    folder = folder_of(data)
    begins = not os.path.exists(os.path.join(folder, session_state.HUB))
    # Before it listens: a folder without keys has to be an error, not a hub that refuses every client.
    keys = Keys(folder, new=new)
    logs.use(log_format, keys)
    if begins:
        output.say(
            f"{folder} had no hub: this is a new one, with a new id and without keys; if the data of a hub should be "
            "there (is its disk mounted?), stop this one, and remove the new hub.json first"
        )
    limits = Limits(body=max_body << 20, inflated=4 * max_body << 20, rate=float(rate))
    store = store_at(url, folder, limits, mirror << 20, files)
    # Until the command ends, so that no backup is restored into the folder, and no other hub serves it.
    with presence.serving(folder):
        take_lease(store)
        if store.files is not None:
            store.files.begin(store.projects)
        leftovers.remove(folder)
        listen.serve(
            app(
                store,
                keys,
                limits=limits,
                root_path=root_path,
                access_log=access_log,
                audit_reads=audit_reads,
                offers_prices=offer_prices,
            ),
            host=host,
            port=port,
            limits=limits,
            ready=lambda address: logs.started(
                f"hub {keys.hub[:8]} listens at {address}", hub=keys.hub, version=__version__, url=address
            ),
            cert=tls_cert,
            key=tls_key,
            uds=None if uds is None else folder_of(uds),
            proxies=named,
            monitoring=about,
            watched=lambda address: logs.notice("start", f"metrics at {address}/metrics", url=f"{address}/metrics"),
        )


def _check_alone(context: click.Context, name: str, *others: str) -> None:
    """Refuse options that have no effect with another one."""
    for other in others:
        if context.get_parameter_source(other) is not click.core.ParameterSource.DEFAULT:
            given, spare = (f"--{each.replace('_', '-')}" for each in (name, other))
            raise click.UsageError(f"{spare} does nothing with {given}: leave out one of them")


def store_at(url: str | None, folder: str, limits: Limits, bound: int, files: str | None = None) -> HomeStore:
    """Return the store of a hub, and note in the folder whether it is a cache."""
    _note_files(folder, files)
    known = mirrored.store_of(folder)
    if url is None and known is not None:
        raise ConfigError(
            f"{folder} is only the cache of a hub whose rows are in {known}: add --store {known}, or another URL of it"
        )
    store = open_store(url, folder, limits=limits, bound=bound, waits=True)
    if url is not None and url != known:
        if known is not None:
            output.say(f"{folder} was the cache of {known}, and is that of {url} now: they must be the same database")
        mirrored.note(folder, url)
    return store


def _note_files(folder: str, url: str | None) -> None:
    """Note in a data folder where its files are; ConfigError if a noted place is not given."""
    known = mirrored.files_of(folder)
    if url is None and known is not None:
        raise ConfigError(f"the files of {folder} are in {known}: add --files {known}, or another URL of that bucket")
    if url is not None and url != known:
        from localops.server.bucket import Bucket, place

        Bucket(place(url)).check()
        if known is not None:
            output.say(f"the files of {folder} were in {known}, and are in {url} now: they must be the same bucket")
        mirrored.note_files(folder, url)


def take_lease(store: HomeStore) -> None:
    """Take the lease for writing to ClickHouse, if rows are there; InUse while another hub has it."""
    from localops.server.clickhouse.engine import EngineError
    from localops.server.clickhouse.lease import take_soon
    from localops.server.clickhouse.store import ClickHouseStore

    if not isinstance(store, ClickHouseStore) or store.lease is None:
        return
    try:
        take_soon(store.lease, output.say)
    except EngineError as error:
        if not error.is_passing:
            raise
        # Take it as soon as ClickHouse answers.
        store.lease.keep()


def watch_at(place: str) -> tuple[str, int]:
    """Return host and port for monitoring, and warn if others can reach it."""
    from localops.server.operator_listener import is_loopback

    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _LOOPBACK[0]
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ConfigError(f"invalid --metrics: expected a port such as 9642, or HOST:PORT, got {place!r}")
    if not is_loopback(host):
        output.say(f"metrics on {host} without a key: others on the network can read names of projects and machines")
    return host, int(port)


def check_tls(host: str, cert: str | None, key: str | None) -> None:
    """Check the certificate and its key, and warn about an open address without them."""
    for path in (cert, key):
        if path is not None and not os.path.isfile(path):
            raise ConfigError(f"file {path} does not exist")
    if key is not None and cert is None:
        raise ConfigError("--tls-key without --tls-cert: give the certificate as well")
    if cert is not None:
        _check_pair(cert, key)
    if cert is None and host not in _LOOPBACK:
        output.say(f"serving {host} without TLS: others on the network can read keys and sessions (see --tls-cert)")


def _check_pair(cert: str, key: str | None) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:
        where = f"its key in {key}" if key else "its key in the same file (or give --tls-key)"
        raise ConfigError(
            f"invalid certificate: expected a PEM certificate in {cert} and {where}, got {error}"
        ) from error
