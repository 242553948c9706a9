"""localops.output: notices that never raise, safe text, and figures in the same form everywhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops import output

SECOND = 1_000_000_000
DOLLAR = 1_000_000_000


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_say_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A notice is one line with our name before it, whatever the message holds."""
    output.say("two\nlines \x1b[31m")
    assert capsys.readouterr() == ("", "localops: two\\x0alines \\x1b[31m\n")


class Broken(io.StringIO):
    """A user's own stderr that raises."""

    def write(self, text: str) -> int:
        """Fail in a way that no stream should."""
        raise RuntimeError("no")


def closed() -> io.StringIO:
    """Return a stderr that was closed."""
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed(), Broken()], ids=["none", "closed", "broken"])
def test_say_never_raises(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice does not end the program, whatever replaces stderr."""
    monkeypatch.setattr(sys, "stderr", stream)
    output.say("hello")


def test_say_survives_a_closed_descriptor() -> None:
    """With descriptor 2 closed (`2>&-`) the program continues and ends normally."""
    code = "import os; os.close(2); from localops.output import say; say('x'); print('on')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert done.stdout == "on\n"


def test_say_once_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The same key is printed once in a process; another key is printed, too."""
    for key in ("test_output 1", "test_output 2", "test_output 1"):
        output.say_once(key, key)
    assert capsys.readouterr().err == "localops: test_output 1\nlocalops: test_output 2\n"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain – 日本 é 🙂", "plain – 日本 é 🙂"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202egnp.exe", "a\\u{202e}gnp.exe"),
        ("pass\u200bword", "pass\\u{200b}word"),
        ("\U000e0041", "\\u{e0041}"),
        ("\ud800", "\\u{d800}"),
        ("a\tb\r\n", "a\\x09b\\x0d\\x0a"),
    ],
)
def test_clean_examples(text: str, safe: str) -> None:
    """Escapes, bidi overrides, zero-width characters, tags and lone surrogates become visible."""
    assert output.clean(text) == safe


@given(st.text(st.characters(), max_size=50), st.booleans())
def test_clean_text_is_harmless(text: str, newlines: bool) -> None:
    """No control or invisible character is left, line feeds only on request, and the text can be encoded."""
    safe = output.clean(text, newlines=newlines)
    left = {c for c in safe if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert left <= ({"\n"} if newlines else set())
    safe.encode()


def test_table_lays_out_columns() -> None:
    """Columns are aligned by what a terminal shows, not by how many characters that takes."""
    rows: list[list[object]] = [["日本", 7], ["e\u0301\x1b", None]]
    assert output.table(rows, ["name", "n"], align="lr").splitlines() == [
        "name   n",
        "─────  ─",
        "日本   7",
        "e\u0301\\x1b  –",
    ]


def test_table_cuts_the_widest_column_first() -> None:
    """A line that is too long loses the end of its longest cell."""
    assert output.table([["short", "x" * 50]], ["a", "b"], width=20).splitlines()[2] == "short  xxxxxxxxxxxx…"


@given(
    st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30), st.integers()), max_size=5),
    st.integers(10, 60),
)
def test_table_fits_its_width(rows: list[tuple[str, str, int]], width: int) -> None:
    """No line is wider than asked for, and no row is lost or broken in two."""
    lines = output.table(rows, ["first", "second", "third"], align="lrr", width=width).split("\n")
    assert len(lines) == 2 + len(rows)
    assert all(output.cells_wide(line) <= width for line in lines)


@given(st.text(max_size=30), st.integers(1, 40))
def test_cut_text_fits(text: str, width: int) -> None:
    """Cut text takes no more cells than it may; text that fits is left as it is."""
    short = output.cut(text, width)
    assert output.cells_wide(short) <= width
    assert short == text or short.endswith("…")


def test_a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output into a file or a pipe is not cut, unless COLUMNS says so."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output.terminal_width(io.StringIO()) is None
    monkeypatch.setenv("COLUMNS", "72")
    assert output.terminal_width(io.StringIO()) == 72


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_a_terminal_has_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """The width of a terminal is the terminal's own."""
    import fcntl
    import struct
    import termios

    monkeypatch.delenv("COLUMNS", raising=False)
    main, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 93, 0, 0))
    with open(main, "rb"), open(other, "w") as stream:
        assert output.terminal_width(stream) == 93


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ("0.04", "0.0s"),
        ("0.05", "0.1s"),
        ("59.96", "60.0s"),
        ("60", "1m 0.0s"),
        ("3605", "1h 5.0s"),
        ("90123.25", "25h 2m 3.2s"),
        ("-2", "59m 58.0s"),
    ],
)
def test_duration_reads_as_in_agentops(seconds: str, text: str) -> None:
    """A duration in the analytics is written as the programs that read it expect."""
    assert output.duration(int(Decimal(seconds) * SECOND)) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "<1ms"),
        (80_000, "<1ms"),
        (340_000_000, "340ms"),
        (999_600_000, "1.0s"),
        (3_200_000_000, "3.2s"),
        (59_970_000_000, "1m 00s"),
        (125 * SECOND, "2m 05s"),
        (11_520 * SECOND, "3h 12m"),
        (86_399 * SECOND, "1d 00h"),
        (-2 * SECOND, "-2.0s"),
    ],
)
def test_short_duration(ns: int, text: str) -> None:
    """A duration in a table is short, and never rounds up into `60.0s` or `60m`."""
    assert output.short_duration(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "just now"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7200, "2 h ago"),
        (47 * 3600, "47 h ago"),
        (3 * 86_400, "3 days ago"),
        (-300, "in 5 min"),
    ],
)
def test_ago(seconds: int, text: str) -> None:
    """The age of something is in one unit; a clock that runs ahead is not hidden."""
    assert output.ago(seconds * SECOND) == text


@pytest.mark.parametrize(
    ("zone", "text"),
    [(None, "2026-11-21 03:12:45"), ("UTC", "2026-11-21 03:12:45"), ("Asia/Kolkata", "2026-11-21 08:42:45")],
)
def test_when(zone: str | None, text: str) -> None:
    """A moment is written in UTC, or in the zone that was asked for."""
    pytest.importorskip("zoneinfo").ZoneInfo("Asia/Kolkata")
    assert output.when(1_795_230_765 * SECOND + 999_999_999, zone) == text


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (100, "0.000000"), (500, "0.000001"), (10**8, "0.100000"), (5 * DOLLAR, "5.000000")],
)
def test_cost_reads_as_in_agentops(nano: int, text: str) -> None:
    """A cost in the analytics has two digits when there is none, else six."""
    assert output.cost(nano) == text


@given(st.integers(-(10**18), 10**18))
def test_cost_is_exact(nano: int) -> None:
    """Every amount is rounded once, halves away from zero, and never goes through a float."""
    exact = (Decimal(nano) / DOLLAR).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    assert output.cost(nano) == ("0.00" if nano == 0 else str(exact))


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "unpriced"),
        (0, "$0.00"),
        (1, "<$0.000001"),
        (42_000, "$0.000042"),
        (12_300_000, "$0.0123"),
        (12_345_678_901, "$12.35"),
        (1_234_567 * DOLLAR, "$1,234,567.00"),
        (-5 * DOLLAR, "-$5.00"),
    ],
)
def test_money(nano: int | None, text: str) -> None:
    """The smaller an amount, the more digits it gets; what has no price is not shown as nothing."""
    assert output.money(nano) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [("2.5", "$2.50"), ("10", "$10.00"), ("0.0375", "$0.0375"), ("4.125", "$4.125"), ("1500.10", "$1,500.10")],
)
def test_rate(dollars: str, text: str) -> None:
    """A price has whole cents at least, and all the digits it has."""
    assert output.rate(dollars) == text


@given(st.text(st.sampled_from("ab 日\u0301\n"), max_size=60), st.integers(2, 12))
def test_wrapped_text_fits_and_is_whole(text: str, width: int) -> None:
    """No line is wider than asked for, and nothing but spaces is lost."""
    lines = output.wrap(text, width)
    assert all(output.cells_wide(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_text_is_wrapped_at_spaces() -> None:
    """Between words, where there are any; a long word is broken."""
    assert output.wrap("one two three\nfour", 8) == ["one two", "three", "four"]
    assert output.wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "    "), (1e-9, "▏   "), (0.5, "██  "), (0.6, "██▍ "), (1, "████"), (7, "████")],
)
def test_bar(fraction: float, text: str) -> None:
    """A bar has always its full width, and something small is not nothing."""
    assert output.bar(fraction, 4) == text


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour goes to a terminal, and not to a pipe, a dumb terminal or someone who set NO_COLOR."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.colour("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
    assert output.colour("x", "red", io.StringIO()) == "x"
    assert output.colour("x", "red", closed()) == "x"
    monkeypatch.setenv("TERM", "dumb")
    assert output.colour("x", "red", Terminal()) == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.colour("x", "red", Terminal()) == "x"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_csv_cell_is_not_a_formula(text: str) -> None:
    """A spreadsheet shows recorded text, and does not run it."""
    assert output.csv_cell(text) == "'" + text
    assert output.csv_cell("plain = text") == "plain = text"
