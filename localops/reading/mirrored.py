"""A home that is only the cache of a store says so in a file, so that no command takes it for all that is stored."""

from __future__ import annotations

import os

from localops import host
from localops.encoding import encode
from localops.errors import ConfigError

NAME = "store.json"


def store_of(folder: str) -> str | None:
    """Return the URL of the store that a home is the cache of; None for a home that has its own rows."""
    path = os.path.join(folder, NAME)
    try:
        with open(path, "rb") as file:
            return str(encode.loads(file.read())["store"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): start the hub with --store, which writes it again"
        ) from error


def note(folder: str, url: str) -> None:
    """Note that a home is the cache of the store at a URL, which has no password."""
    host.write_private(os.path.join(folder, NAME), encode.dumps({"store": url}) + b"\n")


def forget(folder: str) -> None:
    """Note that a home has all of its rows again."""
    os.unlink(os.path.join(folder, NAME))
    host.sync_folder(folder)


def refuse(folder: str) -> None:
    """Raise ConfigError if a home is only a cache, of which a command would see a part."""
    url = store_of(folder)
    if url is not None:
        raise ConfigError(
            f"{folder} is only the cache of a hub whose rows are in {url}: use the pages of the hub, "
            f"`localops hub ... --data {folder}`, or the command on the machine that has recorded the session"
        )
