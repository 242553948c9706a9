"""A home that is only the cache of a store, or has its files in a bucket, says so in a file.

So no command takes it for all that is stored.
"""

from __future__ import annotations

import os

from localops import host
from localops.encoding import encode
from localops.errors import ConfigError

NAME = "store.json"
FILES = "files.json"


def store_of(folder: str) -> str | None:
    """Return the URL of the store that a home is the cache of; None for a home that has its own rows."""
    return _noted(os.path.join(folder, NAME), "store")


def files_of(folder: str) -> str | None:
    """Return the URL of the bucket that has the files of a home; None for a home that has them itself."""
    return _noted(os.path.join(folder, FILES), "files")


def _noted(path: str, option: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return str(encode.loads(file.read())[option])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): start the hub with --{option}, which writes it again"
        ) from error


def note(folder: str, url: str) -> None:
    """Note that a home is the cache of the store at a URL, which has no password."""
    host.write_private(os.path.join(folder, NAME), encode.dumps({"store": url}) + b"\n")


def note_files(folder: str, url: str) -> None:
    """Note that the files of a home are in the bucket at a URL, which has no key."""
    host.write_private(os.path.join(folder, FILES), encode.dumps({"files": url}) + b"\n")


def forget_files(folder: str) -> None:
    """Note that a home has all of its files again."""
    os.unlink(os.path.join(folder, FILES))
    host.sync_folder(folder)


def forget(folder: str) -> None:
    """Note that a home has all of its rows again."""
    os.unlink(os.path.join(folder, NAME))
    host.sync_folder(folder)


def refuse(folder: str) -> None:
    """Raise ConfigError if a home is only a cache, of which a command would see a part."""
    store, files = store_of(folder), files_of(folder)
    if store is not None or files is not None:
        what = f"rows are in {store}" if store is not None else f"files are in {files}"
        raise ConfigError(
            f"{folder} is only the cache of a hub whose {what}: use the pages of the hub, "
            f"`localops hub ... --data {folder}`, or the command on the machine that has recorded the session"
        )
