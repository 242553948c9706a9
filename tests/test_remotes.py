"""Remotes are kept for their user alone, their keys where the user wants them, and their addresses can be called."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from localops.errors import ConfigError
from localops.reading.home import REMOTES
from localops.transfer import remotes
from localops.transfer.remotes import Remote


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Every field is loaded again, and the file is for its user alone."""
    mine = {
        "a": Remote("a", "https://hub.example", key="sesame", ca="/ca.pem", headers={"X": "y"}, metadata_only=True),
        "b": Remote("b", "http://[::1]:8000/below", "otlp", key_env="HUB_KEY", options={"k": "v"}),
    }
    remotes.save(str(tmp_path), mine)
    assert remotes.load(str(tmp_path)) == mine
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_no_file_is_no_remotes(tmp_path: Path) -> None:
    """A project has no remotes until one is added."""
    assert remotes.load(str(tmp_path)) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"a": 1}',
        b'{"a": {}}',
        b'{"a": {"url": "http://h", "typo": 1}}',
        b'{"a": {"url": "http://[::1"}}',
        b'{"a": {"url": 7}}',
        b'{"a":' * 100_000,
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, content: bytes) -> None:
    """A file that was edited to something else is named in one error, never a traceback."""
    (tmp_path / REMOTES).write_bytes(content)
    with pytest.raises(ConfigError, match=r"remotes\.json"):
        remotes.load(str(tmp_path))


@pytest.mark.parametrize("url", ["http://h", "https://hub.example:8443/below/", "http://[::1]:80"])
def test_addresses(url: str) -> None:
    """An address loses its last slash and nothing else."""
    assert remotes.check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hub.example",
        "ftp://hub.example",
        "http://",
        "http://[::1",
        "http://h:port",
        "http://h:99999",
        "http://me:pass@h",
        "http://h/?a=b",
        "http://h/#a",
    ],
)
def test_invalid_addresses(url: str) -> None:
    """An address that cannot be called, or contains a password, is refused at once."""
    with pytest.raises(ConfigError):
        remotes.check_url(url)


def test_keys_come_from_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is stored, in a variable or in a file; a missing one is an error that names the place."""
    path = tmp_path / "key"
    for remote, hint in [
        (Remote("a", "http://h", key_env="HUB_KEY"), "HUB_KEY"),
        (Remote("a", "http://h", key_file=str(path)), str(path)),
    ]:
        with pytest.raises(ConfigError, match=hint):
            remote.secret()
    path.write_text("  sesame\n")
    monkeypatch.setenv("HUB_KEY", "sesame\n")
    for remote in [
        Remote("a", "http://h", key="sesame"),
        Remote("a", "http://h", key_env="HUB_KEY"),
        Remote("a", "http://h", key_file=str(path)),
    ]:
        assert remote.secret() == "sesame"
        assert "sesame" not in repr(remote)
    path.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        Remote("a", "http://h", key_file=str(path)).secret()
