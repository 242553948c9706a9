"""What the hub's commands share: options, and access to its keys and its store."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

import click

from localops import clock, config, host, output
from localops.cli.common import Span
from localops.errors import ConfigError, NotFound
from localops.reading import filters, mirrored, session_state
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    from localops.server.clickhouse.store import ClickHouseStore
    from localops.server.files_elsewhere import FilesElsewhere
    from localops.server.home_store import HomeStore
    from localops.server.keys import Keys
    from localops.server.limits import Limits

    F = TypeVar("F", bound=Callable[..., Any])


def data_option(command: F) -> F:
    """Add the option --data."""
    return click.option("--data", required=True, metavar="FOLDER", help="The hub's data folder.")(command)


def new_option(command: F) -> F:
    """Add the option --new."""
    text = "Start a new hub in a folder with journals and without hub.json; it has a new id, and old keys do not work."
    return click.option("--new", is_flag=True, help=text)(command)


def project_option(command: F) -> F:
    """Add the option --project, which must be given."""
    return click.option("--project", required=True, metavar="NAME", help="The project.")(command)


class Later(Span):
    """A time in the future on the command line: `90d` from now, a day, or an ISO time (UTC unless it has a zone)."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nanoseconds since 1970."""
        if isinstance(value, int):
            return value
        at_ns = events.to_ns(value.strip()) if "-" in value else None
        if at_ns is None:
            try:
                at_ns = clock.now_ns() + filters.span(value)
            except ConfigError:
                self.fail(f"invalid time {value!r}: use 90d from now, or a day such as 2027-12-31", parameter, context)
        if at_ns <= clock.now_ns():
            self.fail(f"invalid time {value!r}: expected a future one, such as 90d or 2027-12-31", parameter, context)
        return at_ns


def note(folder: str, action: str, **facts: Any) -> None:
    """Append a line about a command to the audit log of a hub."""
    from localops.server.audit import Audit

    Audit(folder).note(action, **facts)


def is_confirmed(question: str) -> bool:
    """Ask for confirmation; return the answer, or refuse without a terminal."""
    if not sys.stdin.isatty():
        raise click.UsageError("cannot ask for confirmation without a terminal, and nothing was deleted: use --yes")
    confirmed = click.confirm(question, err=True)
    if not confirmed:
        output.say("nothing was deleted")
    return confirmed


def warn_if_unknown(folder: str, project: str) -> None:
    """Warn about rules of a project that does not exist: its name may be misspelt, or its keys may come later."""
    if project not in config.projects(folder):
        output.say(f"there is no project {project} yet: its rules work once `localops hub key create` makes it")


@contextmanager
def store_of(folder: str) -> Iterator[HomeStore]:
    """Yield the store of a data folder; files that are written stay the owner's."""
    store = open_store(mirrored.store_of(folder), folder)
    with owned(folder):
        try:
            yield store
        finally:
            store.close()


def open_store(
    url: str | None, folder: str, *, limits: Limits | None = None, bound: int | None = None, waits: bool = False
) -> HomeStore:
    """Return the store of a hub: its folder, or ClickHouse at a URL, for which the folder is a cache.

    `waits`: for a hub, which takes the lease later, and may start while ClickHouse cannot be reached.
    """
    from localops.server.home_store import HomeStore

    store = HomeStore(folder, limits=limits) if url is None else _on_clickhouse(url, folder, limits, bound, waits=waits)
    files = mirrored.files_of(folder)
    if files is not None:
        store.files = files_at(folder, files)
    return store


def files_at(folder: str, url: str) -> FilesElsewhere:
    """Return the files of a data folder in the bucket at a URL."""
    from localops.server.bucket import Bucket, place
    from localops.server.files_elsewhere import FilesElsewhere

    return FilesElsewhere(folder, Bucket(place(url)))


@contextmanager
def with_files(folder: str) -> Iterator[None]:
    """Inside a `with` block, read the files of a data folder from their bucket, if they are in one."""
    url = mirrored.files_of(folder)
    if url is None:
        yield
        return
    files = files_at(folder, url)
    try:
        files.bucket.check()
        yield
    finally:
        files.close()


def _on_clickhouse(url: str, folder: str, limits: Limits | None, bound: int | None, *, waits: bool) -> ClickHouseStore:
    from localops.server.clickhouse import lease
    from localops.server.clickhouse.engine import Engine, EngineError, address
    from localops.server.clickhouse.mirror import BOUND
    from localops.server.clickhouse.store import ClickHouseStore

    store = ClickHouseStore(folder, Engine(address(url)), limits=limits, bound=bound or BOUND)
    own = lease.Lease(store.engine, folder, store.make_tables)
    try:
        store.make_tables()
        if waits:
            store.lease = own
        else:
            # A hub may be serving this folder.
            lease.require_no_other(own)
            store.turns_of_others = own.turns_of_others
    except EngineError as error:
        if not error.is_passing:
            raise ConfigError(f"invalid --store: {error}" if waits else f"the store of {folder}: {error}") from error
        if not waits:
            raise
        store.lease = own
        output.say(f"{error}; senders keep their rows until it answers")
    return store


@contextmanager
def owned(folder: str) -> Iterator[None]:
    """Give files that root writes to the owner of the data folder, whose hub could not read them otherwise."""
    try:
        yield
    finally:
        host.keep_owners(folder)


def folder_of(data: str) -> str:
    """Return the absolute path of a data folder."""
    return os.path.abspath(os.path.expanduser(data))


def keys_of(data: str) -> Keys:
    """Return the keys of an existing hub; only `create` and `serve` start a new one."""
    from localops.server.keys import Keys, has_journals, lost

    folder = folder_of(data)
    if not os.path.exists(os.path.join(folder, session_state.HUB)):
        if has_journals(folder):
            raise ConfigError(lost(folder))
        raise NotFound(f"{folder} is not the data folder of a hub: start one with `localops hub key create`")
    return Keys(folder)


def some(items: Sequence[object], most: int) -> str:
    """Return the first items as text, and how many more there are."""
    more = f", and {output.count(len(items) - most)} more" if len(items) > most else ""
    return f"{', '.join(map(str, items[:most]))}{more}"
