"""The remotes of a project: the places that its rows may be sent to, kept in `remotes.json` beside its journal.

Only the user can read that file.  It holds a key, or where to find it: an environment variable, a file.  A key is never
written to a journal, a log or any output.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from localops import host
from localops.errors import ConfigError
from localops.reading.home import REMOTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("hub", "otlp", "agentops")


@dataclass(frozen=True)
class Remote:
    """A place that rows are sent to."""

    name: str
    url: str
    kind: str = "hub"
    key: str | None = field(default=None, repr=False)
    key_env: str | None = None  # the environment variable that holds the key
    key_file: str | None = None  # the file that holds the key
    metadata_only: bool = False  # content stays here
    ca: str | None = None  # a file of certificates to trust instead of the system's
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # sent with each request
    options: dict[str, str] = field(default_factory=dict)  # of its kind

    def secret(self) -> str | None:
        """Return the key, from where it is kept; raise ConfigError when it is not there."""
        if self.key_env is not None:
            value = os.environ.get(self.key_env, "").strip()
            if not value:
                raise ConfigError(f"the key of remote {self.name!r} is in ${self.key_env}, which is not set")
            return value
        if self.key_file is not None:
            try:
                with open(self.key_file, encoding="utf-8") as file:
                    value = file.read().strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise ConfigError(f"the key of remote {self.name!r} cannot be read: {self.key_file}: {why}") from error
            if not value:
                raise ConfigError(f"the key file of remote {self.name!r} is empty: {self.key_file}")
            return value
        return self.key


def load(folder: str) -> dict[str, Remote]:
    """Return the remotes of a project by name, an empty dict without a file; raise ConfigError for an invalid one."""
    path = os.path.join(folder, REMOTES)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        remotes = {name: Remote(name, **fields) for name, fields in sorted(document.items())}
        for remote in remotes.values():
            check_url(remote.url)
        return remotes
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ConfigError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"invalid {path}: expected remotes by name ({error}); repair it, or move it away and add them again"
        ) from error


def save(folder: str, remotes: dict[str, Remote]) -> None:
    """Write the remotes of a project, whole or not at all, readable by its user alone."""
    host.make_private(folder, synced=True)
    path = os.path.join(folder, REMOTES)
    document = {name: _fields(remote) for name, remote in sorted(remotes.items())}
    host.write_private(path, f"{json.dumps(document, indent=2)}\n".encode())


def _fields(remote: Remote) -> dict[str, Any]:
    plain = asdict(remote)
    del plain["name"]
    return {name: value for name, value in plain.items() if value not in (None, False, {}) or name in ("url", "kind")}


def check_authority(remote: Remote) -> None:
    """Raise ConfigError when its file of certificates holds none, for which requests would blame the remote."""
    # Late, as most passes have nothing to send.
    import ssl

    try:
        if remote.ca is not None:
            ssl.create_default_context(cafile=remote.ca)
    except OSError as error:
        # An SSLError is one too.
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"the certificates of remote {remote.name!r} cannot be read: {remote.ca}: {why}") from error


def check_headers(remote: Remote) -> None:
    """Raise ConfigError when the key is missing, or when HTTP cannot carry the key or a header."""
    texts = {"its key": remote.secret() or "", **{f"the header {name}": text for name, text in remote.headers.items()}}
    for source, text in texts.items():
        if not (text.isascii() and text.isprintable()):
            raise ConfigError(f"remote {remote.name!r}: {source} has characters that HTTP cannot carry")


def check_url(url: str) -> str:
    """Return an address that rows can be sent to, without a `/` at its end; raise ConfigError for any other."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        # Half a bracket, a port that is not a number.
        valid = False
    if not valid:
        raise ConfigError(f"invalid address {url!r}: expected https:// (or http://) and a host")
    if parts.username or parts.password:
        raise ConfigError("invalid address: it holds a password; give that as the key (--key, --key-env, --key-file)")
    if parts.query or parts.fragment:
        raise ConfigError(f"invalid address {url!r}: expected no `?` and no `#`; it ends with its path")
    return url.rstrip("/")
