"""A newer price table than the shipped one: imported from a file, a hub, a bundle or receipts, and passed on.

It is kept as `prices.json` in the home, with where it came from, and is used while the shipped table is not newer.
Nothing takes or gives one unasked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime

from localops import config, host
from localops.encoding import price_table
from localops.encoding.pricing import SHIPPED, date_of
from localops.errors import ConfigError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.encoding.price_table import Table


@dataclass(frozen=True)
class Imported:
    """The result of an offered table."""

    version: str
    date: str
    used_before: str  # the date of the table that was in use
    models: int
    left_out: int  # models with a rate that this release does not know: their calls stay unpriced

    @property
    def is_new(self) -> bool:
        """Return whether the table was accepted."""
        return self.date > self.used_before


def read(path: str) -> bytes:
    """Read a file that may be a table; raise NotFound or ConfigError if it is missing or cannot be one."""
    try:
        with open(path, "rb") as file:
            return file.read(price_table.MOST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def take(home: str, data: bytes, *, origin: str, now_ns: int) -> Imported:
    """Check a table, and use it from now on if it is newer than the one in use; raise ConfigError if it is invalid."""
    today = datetime.fromtimestamp(now_ns / 1e9, tz=UTC)
    table = price_table.checked(data, today=today.date())
    taken = Imported(table.version, table.date, in_use(home), table.models, table.left_out)
    if taken.is_new:
        _write(home, table, origin, today)
    return taken


def _write(home: str, table: Table, origin: str, now: datetime) -> None:
    host.make_private(home)
    path = config.price_table(home)
    content = table.written({"origin": origin, "at": now.isoformat(timespec="seconds")})
    try:
        host.write_private(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def in_use(home: str) -> str:
    """Return the date of the table that is used in a home: the imported one, or the shipped one."""
    return max(date_of(config.price_table(home)) or "", date_of(SHIPPED) or "")


def current(home: str) -> bytes:
    """Return the table that is used in a home, as it is passed on: without its origin."""
    imported = config.price_table(home)
    path = imported if (date_of(imported) or "") > (date_of(SHIPPED) or "") else SHIPPED
    # Checked again, as the file may have changed: only a valid table is passed on.
    return price_table.checked(read(path), today=date.max).written()


def problem(home: str) -> str | None:
    """Return the problem of the imported table of a home, if it has one."""
    path = config.price_table(home)
    if not os.path.exists(path):
        return None
    try:
        price_table.checked(read(path), today=date.max)
    except (ConfigError, NotFound) as error:
        return f"{path}: {error}"
    return None
