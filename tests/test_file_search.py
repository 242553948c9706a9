"""A file is searched as the text that it is, and what is found is what recording would have removed."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from localops.encoding.redact import Redactor
from localops.journal import blobs
from localops.upkeep import file_search
from localops.upkeep.cleaning import Cleaner
from localops.upkeep.sweep import Sweep

NOTE = "[redacted:pattern]"
PATTERNS = [
    r"Müller-\d+",
    r"€ \d+",
    r"密码\d+",
    r"M\wller-\d+",
    r"M.ller-\d+",
    r"[^\x00-\x7f]-\d{8}",
    r"\d{8}",
    r"(?<=Konto )\d+",
    r"😀+",
    r"1+",
]


def _clean(text: str, *patterns: str) -> str:
    """Return a text with a note for each secret that a search of its bytes finds."""
    data, redactor = text.encode(), Redactor(patterns=patterns)
    file = io.BytesIO(data)
    cleaned, done = b"", 0
    for at, secret, label in file_search.secrets(file, file.read(file_search.WINDOW), redactor, seen=lambda _: None):
        assert data[at : at + len(secret)] == secret
        cleaned += data[done:at] + f"[redacted:{label}]".encode()
        done = at + len(secret)
    return (cleaned + data[done:]).decode()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_file_loses_what_its_text_would_have_lost(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever pieces begin and end: in a character, in a match, or in one that is longer than a piece."""
    monkeypatch.setattr(file_search, "WINDOW", 512)
    monkeypatch.setattr(file_search, "_OVERLAP", 64)
    chance = random.Random(pattern)
    words = "Müller-123 € 45 密码678 ü-12345678 12345678901234567 Konto 99 😀😀 ende ä word -\n".split(" ")
    for _ in range(20):
        text = "".join(chance.choice(words) + chance.choice(("", " ")) for _ in range(600))
        text += "x" * chance.randrange(2_000) + "ende" + "1" * chance.randrange(2_000)
        assert _clean(text, pattern) == Redactor(patterns=[pattern]).clean(text)[0]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_scrubbed_file_keeps_its_encoding(encoding: str, tmp_path: Path) -> None:
    """One that is no UTF-8 is searched with each byte as a character, as when it was recorded."""
    home, folder = tmp_path / "home", tmp_path / "home" / "default"
    folder.mkdir(parents=True)
    (home / "config.toml").write_text('redact = ["[^\\\\x00-\\\\x7f]-\\\\d{8}"]\n')
    text = "Ärger ü-12345678 ende\n" * 60_000
    digest = blobs.keep(str(folder), text.encode(encoding))
    sweep = Sweep(str(home))
    [clean], _ = Cleaner(sweep).file(str(folder), blobs.path_of(str(folder), digest))
    data = Path(blobs.path_of(str(folder), clean)).read_bytes()
    assert data.decode(encoding) == text.replace("ü-12345678", NOTE)
    sweep.project("default")
    assert sweep.result.rules == {"pattern": 60_000}
