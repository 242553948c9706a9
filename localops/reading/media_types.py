"""Media types of stored files, by their first bytes: recorded names and types are not trusted.

A picture in a message is often a text, as base64 or a `data:` address; a long one is stored as that text.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

UNKNOWN = "application/octet-stream"
HEAD = 64
"""The first bytes that are looked at."""

_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"WAVE", 8, "audio/wav"),
    (b"OggS", 0, "audio/ogg"),
    (b"fLaC", 0, "audio/flac"),
    (b"ID3", 0, "audio/mpeg"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "video/webm"),
)
_ADDRESS = re.compile(rb"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=\s-]*")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n"


class Kind(NamedTuple):
    """The media type of a file, and whether its content is base64 of that type."""

    name: str
    is_text: bool = False


def kind_of(head: bytes) -> Kind:
    """Return the media type of a file by its first bytes.

    >>> kind_of(b"GIF89a").name, kind_of(b"data:text/x;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAA")
    ('image/gif', Kind(name='image/gif', is_text=True))
    """
    name = _by_sign(head)
    if name != UNKNOWN:
        return Kind(name)
    name = _by_sign(decoded(head[:HEAD]) or b"")
    return Kind(name, is_text=name != UNKNOWN)


def decoded(text: bytes) -> bytes | None:
    """Return the bytes that a text has as base64, or as a `data:` address; None for any other text."""
    address = _ADDRESS.match(text)
    encoded = text[address.end() :] if address else text
    if not _BASE64.fullmatch(encoded):
        return None
    digits = encoded.translate(_STANDARD, _BLANKS).rstrip(b"=")
    # A single digit left over, as of a beginning, is not a byte.
    whole = digits[: len(digits) - (len(digits) % 4 == 1)]
    return a2b_base64(whole + b"=" * (-len(whole) % 4))


def picture_address(value: object) -> str | None:
    """Return a recorded picture, a text or bytes, as a `data:` address; None for any other value."""
    text = value.get("$bytes") if isinstance(value, dict) else value
    if not isinstance(text, str):
        return None
    encoded = text.encode("ascii", "replace")
    kind = kind_of(encoded[:HEAD])
    if not kind.is_text or not kind.name.startswith("image/"):
        return None
    content = b2a_base64(decoded(encoded) or b"", newline=False).decode()
    return f"data:{kind.name};base64,{content}"


def _by_sign(head: bytes) -> str:
    for sign, at, kind in _SIGNS:
        if head[at : at + len(sign)] == sign:
            return kind
    return UNKNOWN
