"""Copies of a loaded program, which tests run instead of new programs."""

from __future__ import annotations

from tests import programs


def test_a_program_with_a_limit_on_files_writes_no_byte_code() -> None:
    """A file of byte code that is cut at the limit breaks every program that imports it later."""
    code = "import sys; print(sys.dont_write_bytecode)"
    assert programs.run(code + "  # RLIMIT_FSIZE").stdout == "True\n"
    assert programs.run(code).stdout == "False\n"
