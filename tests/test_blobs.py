"""Blobs lie under the digest of their bytes, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from localops import blobs
from tests import programs


def test_a_blob_is_found_under_its_digest(tmp_path: Path) -> None:
    """Bytes and files are kept under their SHA-256, once, private, and come back the same."""
    data = os.urandom(3 << 20)
    (tmp_path / "video").write_bytes(data)
    digest = blobs.keep(str(tmp_path), data)
    assert digest == hashlib.sha256(data).hexdigest() == blobs.keep_file(str(tmp_path), str(tmp_path / "video"))
    kept = Path(blobs.path_of(str(tmp_path), digest))
    assert kept.read_bytes() == data
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()] == [kept]


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "/", "0" * 63 + "\n"]
)
def test_only_digests_name_blobs(name: str) -> None:
    """What is no SHA-256 in lower case never becomes a path."""
    with pytest.raises(ValueError, match="not a SHA-256"):
        blobs.path_of("/project", name)


def test_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    """A blob that could not be written whole is an OSError, and no part of it stays."""
    code = (
        "import resource, signal, sys\nfrom localops import blobs\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\nblobs.keep(sys.argv[1], b'x' * 300_000)"
    )
    assert "OSError" in programs.run(code, tmp_path).stderr
    assert [each for each in (tmp_path / "blobs").rglob("*") if each.is_file()] == []
