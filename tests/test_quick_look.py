"""The quick look at a whole body: it passes what is innocent, so that only a few bodies are visited value by value."""

from __future__ import annotations

import pytest

from localops.encoding import beginnings
from localops.encoding.encode import dumps
from localops.encoding.redact import Redactor
from tests.examples import sized


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
    # Of letters and digits, the first and the last ones; scripts/stress tries them all.
    ascii = [sign for sign in map(chr, range(128)) if not sign.isalnum() or sign in "azAZ09" or sized(0, 1)]
    signs = ["", *ascii, "\x85", "é", "😀", "\\n", '\\"', "\\u0001"]
    rest = "aB3dE6gH9jK2mN5pQ8sT1vW4" * 5
    redactor, seen = Redactor(), 0
    for prefix in prefixes:
        for sign in signs:
            text = f"x{sign}{prefix}{rest}"
            if redactor.clean(text)[1]:
                seen += 1
                assert redactor.suspects(dumps({"params": text})), text
    assert seen > 10 * len(prefixes)


@pytest.mark.parametrize("begun", ["240b_", "240b-", "ABCD-12", "0f0f_0f0x_", "0f0f-0f0f0f0f0f0x"])
def test_a_token_that_begins_like_a_part_of_a_uuid_is_seen(begun: str) -> None:
    """Of the long runs of letters and digits only whole UUIDs are passed over, which nearly every body has."""
    redactor = Redactor()
    text = "sq0atp-" + (begun + "fAu65sEEcVnJ6r3Bo2")[:22]
    assert redactor.clean(text) == ("[redacted:square]", 1)
    # The first texts are searched in another way.
    assert all(redactor.suspects(dumps({"params": text})) for _ in range(100))
    body = dumps({"params": "01a22722-2d02-7fdc-aa31-1c8ef068c643 01a22722_2d02_7fdc_aa31_1c8ef068c643_x"})
    assert not redactor.suspects(body)
