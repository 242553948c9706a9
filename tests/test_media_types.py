"""Types of files are known by their first bytes, also of those that are stored as base64."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest

from localops.reading import media_types
from localops.reading.media_types import HEAD, UNKNOWN, Kind

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(80)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, Kind("image/png")),
        (WAV, Kind("audio/wav")),
        (b64encode(PNG), Kind("image/png", is_text=True)),
        (b"data:image/jpeg;charset=x;base64," + b64encode(PNG), Kind("image/png", is_text=True)),
        (b"data:image/svg+xml;base64," + b64encode(b"<svg onload='x'/>"), Kind(UNKNOWN)),
        (b"data:image/png;base64,%%%", Kind(UNKNOWN)),
        (b"iVBORw0KGgo is how base64 of a PNG begins.", Kind(UNKNOWN)),
        (b"", Kind(UNKNOWN)),
    ],
)
def test_types(content: bytes, kind: Kind) -> None:
    """The data decides, not a recorded name."""
    assert media_types.kind_of(content[:HEAD]) == kind


@pytest.mark.parametrize(
    "text", [b64encode(PNG), urlsafe_b64encode(PNG), b64encode(PNG).rstrip(b"="), b"\n" + b64encode(PNG)]
)
def test_base64_is_decoded(text: bytes) -> None:
    """In each alphabet, with and without its padding."""
    assert media_types.decoded(text) == media_types.decoded(b"data:a/b;base64," + text) == PNG


def test_a_picture_becomes_an_address() -> None:
    """Of the type that it has; other values have none."""
    address = "data:image/png;base64," + b64encode(PNG).decode()
    values = [address, b64encode(PNG).decode(), {"$bytes": b64encode(PNG).decode(), "$len": len(PNG)}]
    assert [media_types.picture_address(value) for value in values] == [address] * 3
    others: list[object] = [None, 1, "blob:0", "é", {}, b64encode(WAV).decode()]
    assert [media_types.picture_address(value) for value in others] == [None] * 6
