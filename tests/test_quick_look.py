"""The quick look at a whole body: it passes what is innocent, so that only a few bodies are visited value by value."""

from __future__ import annotations

import pytest

from localops.encoding import beginnings
from localops.encoding.encode import dumps
from localops.encoding.redact import Redactor


@pytest.mark.parametrize(
    "text",
    [
        "msg_01XFDUDYJgAACzvnptvVoYEL",
        "see concurrent_set_running_or_notify_cancel of task__exception___traceback__",
        "from _pydecimal import *, and _u = 1 or __my_key_of_it",
        "/root/.local/lib/python3.11/site_packages/aaaa/bbbb/cccc",
    ],
)
def test_ids_and_names_of_programs_pass_the_quick_look(text: str) -> None:
    """Lines of coding agents are full of them: to visit each value would take several times as long."""
    assert not Redactor().suspects(dumps({"params": text}))


def test_the_quick_look_sees_each_prefix_behind_any_sign() -> None:
    """Only a letter or digit before a prefix makes it a part of a word; JSON writes some signs with letters."""
    prefixes = [prefix for _, many, *_ in beginnings.PREFIXED for prefix in many.split()]
    signs = ["", *map(chr, range(128)), "\x85", "é", "😀", "\\n", '\\"', "\\u0001"]
    rest = "aB3dE6gH9jK2mN5pQ8sT1vW4" * 5
    seen = 0
    for prefix in prefixes:
        for sign in signs:
            text = f"x{sign}{prefix}{rest}"
            if Redactor().clean(text)[1]:
                seen += 1
                assert Redactor().suspects(dumps({"params": text})), text
    assert seen > 10 * len(prefixes)
