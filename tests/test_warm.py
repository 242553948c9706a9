"""Copies of a loaded program, which tests run instead of new programs."""

from __future__ import annotations

import os
import uuid

from tests import programs
from tests.warm import Warm


def test_a_program_with_a_limit_on_files_writes_no_byte_code() -> None:
    """A file of byte code that is cut at the limit breaks every program that imports it later."""
    code = "import sys; print(sys.dont_write_bytecode)"
    assert programs.run(code + "  # RLIMIT_FSIZE").stdout == "True\n"
    assert programs.run(code).stdout == "False\n"


def test_a_shared_program_ends_with_the_last_process_that_uses_it() -> None:
    """The processes of pytest-xdist end at different times, and each may be the one that started it."""
    name = uuid.uuid4().hex
    first, second = Warm("json", name=name), Warm("json", name=name)
    assert first.pid is not None
    assert second.pid is None
    with second:
        with first:
            for user in (first, second):
                assert user.run("import os; print(os.getppid())").stdout == f"{first.pid}\n"
        assert second.run("import sys; print('json' in sys.modules)").stdout == "True\n"
    assert os.waitpid(first.pid, 0) == (first.pid, 0)
