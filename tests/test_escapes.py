"""A text without its escapes: only what is near them is searched again, and each place is one of the text."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from localops.encoding.escapes import readings
from localops.encoding.redact import Redactor

PART = 1 << 16  # characters that are undone at once
COLOURED = "\x1b[36mauth\x1b[0m=\x1b[35mNone\x1b[0m "


def test_a_place_of_a_reading_is_one_of_the_text() -> None:
    """Each character of the decoded text has the place in the original where it is written, through all levels."""
    text = "first \x1b[31mone\x1b[0m %2561%20b \\u0026amp;c " + "far " * 500 + "&lt;d&gt; =3D=\nend"
    for reading in readings(text, bool):
        for at, sign in enumerate(reading.text):
            start, end, label = reading.origin((at, at + 1, "x"))
            assert (end > start, label) == (True, "x")
            assert text[start:end] == sign or text[start] in "\\%&=\x1b"


def test_what_is_far_from_escapes_is_not_searched_again() -> None:
    """In a long text, only the surroundings of an escape are decoded and searched again."""
    text = f"{'word ' * 9_000}\\u003d{'word ' * 9_000}%3D"
    searched = [end - start for reading in readings(text, bool) for start, end in reading.zones]
    assert len(searched) == 2
    assert max(searched) < 2_000


def filler(size: int) -> str:
    """Return so many characters, at the end of which are escapes."""
    return "." * (size - 900) + "%20" * 300


@pytest.mark.parametrize(
    "text", ["password%3Dhunter22 ", r"api_token\u003dZq9hunter22\u0026", "DB_PASSWORD\x1b[0m=Zq9h22 "]
)
def test_a_secret_at_the_end_of_a_part(text: str) -> None:
    """A secret that lies across the place where one part ends and the next one begins is removed as a whole."""
    alone = Redactor().clean(f"{text} %20")[0]
    for before in range(PART - len(text) - 1, PART + 2):
        clean, count = Redactor().clean(f"{filler(before)}{text} %20")
        assert (count, clean[before:]) == (1, alone), before


def test_an_innocent_text_at_the_end_of_a_part() -> None:
    """Where a part ends, the sequences that follow are no values of the names before them."""
    for more in range(0, len(COLOURED), 4):
        text = filler(PART - more) + COLOURED * 400
        assert Redactor().clean(text) == (text, 0), more


def test_a_long_secret_is_cut_by_an_escape() -> None:
    """A value that continues after an escape is removed as a whole, however far its name is from the escape."""
    value = f"{'aB3-' * 700}\\u002b{'xY7-' * 30}"
    assert Redactor().clean(f"say token={value} end")[0] == "say token=[redacted:token] end"


@pytest.mark.parametrize(
    "text",
    [
        "5\x1b[1mghp_",
        "Bearer\x1b[0m",
        "tool --password\x1b[0m",
        r"Bearer\u001b[0m",
        "Bearer%1B%5B0m",
        "\x80 Bearer\x1b[0m",
    ],
)
def test_a_colour_between_words(text: str) -> None:
    """A colour that joins what are two words is read as a blank, too, wherever else colours are in the text."""
    secret = "aB3dE6gH9jK2mN5pQ8sT1vW4"
    line = "\x1b[32mok\x1b[0m the token: it is \x1b[1m7\x1b[0m\n"
    assert secret not in Redactor().clean(f"{line * 30}{text}{secret} {line * 30}")[0]


@pytest.mark.parametrize("safe", ["", "/", "+/="])
def test_a_key_that_is_longer_than_what_is_undone_at_once(safe: str) -> None:
    """A private key in an address is removed to its end where a part of the text ends in it, and on one line."""
    body = "Zq9/hunter22+" * 900
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    for key, before in ((lines, PART - 100), (lines, PART - 8_000), (body, 100)):
        pem = f"-----BEGIN RSA PRIVATE KEY-----\n{key}\n-----END RSA PRIVATE KEY-----"
        text = f"{'x ' * (before // 2)}{quote(pem, safe=safe)} and {'y ' * 9_000}"
        assert Redactor().clean(text) == (f"{'x ' * (before // 2)}[redacted:private_key] and {'y ' * 9_000}", 1), before
