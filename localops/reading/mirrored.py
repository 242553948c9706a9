"""Mark a home that is only the cache of a store, or has its blobs in a bucket, by a file in it.

So no command takes its content for everything that is stored.
"""

from __future__ import annotations

import os

from localops import host
from localops.encoding import encode
from localops.errors import ConfigError

NAME = "store.json"
FILES = "files.json"


def store_of(folder: str) -> str | None:
    """Return the URL of the store whose cache a home is; None if the home has all its rows."""
    return _noted(os.path.join(folder, NAME), "store")


def files_of(folder: str) -> str | None:
    """Return the URL of the bucket with the blobs of a home; None if the home has them itself."""
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
    """Mark a home as the cache of the store at a URL, which must have no password."""
    host.write_private(os.path.join(folder, NAME), encode.dumps({"store": url}) + b"\n")


def note_files(folder: str, url: str) -> None:
    """Mark that the blobs of a home are in the bucket at a URL, which must have no key."""
    host.write_private(os.path.join(folder, FILES), encode.dumps({"files": url}) + b"\n")


def forget_files(folder: str) -> None:
    """Remove the mark, as the home has all its blobs again."""
    os.unlink(os.path.join(folder, FILES))
    host.sync_folder(folder)


def forget(folder: str) -> None:
    """Remove the mark, as the home has all its rows again."""
    os.unlink(os.path.join(folder, NAME))
    host.sync_folder(folder)


def refuse(folder: str) -> None:
    """Raise ConfigError if a home is only a cache, so that a command would see only a part."""
    store, files = store_of(folder), files_of(folder)
    if store is not None or files is not None:
        what = f"rows are in {store}" if store is not None else f"files are in {files}"
        raise ConfigError(
            f"{folder} is only the cache of a hub whose {what}: use the pages of the hub, "
            f"`localops hub ... --data {folder}`, or the command on the machine that has recorded the session"
        )
