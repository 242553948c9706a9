"""Where prompts differ that begin alike."""

from __future__ import annotations

import pytest

from localops.reading.prompt_differences import differences

RULES = "\n".join(f"Rule {number}. Keep the words of a ticket as they are." for number in range(40))


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        # Far behind what a list shows; the rest of the sentence stands around the words.
        (
            [f"{RULES}\nAnswer in one short sentence. Sign it.", f"{RULES}\nAnswer in one long sentence. Sign it."],
            [("Answer in one", "short", "sentence."), ("Answer in one", "long", "sentence.")],
        ),
        # Words are whole, in front and behind.
        (
            ["You keep the books of a bank: unsigned.", "You keep the books of a bank: designed."],
            [("", "unsigned.", ""), ("", "designed.", "")],
        ),
        # One ends where the other goes on.
        (
            ["You keep the books of a bank.", "You keep the books of a bank. Be kind."],
            [("You keep the books of a", "bank.", ""), ("You keep the books of a", "bank. Be kind.", "")],
        ),
        (["You keep the books.", "You sweep the floor.", None, ""], [None, None, None, None]),
        (["You keep the books of a bank."] * 2, [None, None]),
        (["You keep the books of a bank."], [None]),
    ],
)
def test_a_prompt_is_known_by_what_differs(
    prompts: list[str | None], expected: list[tuple[str, str, str] | None]
) -> None:
    """The nearest other prompt counts; texts that part at once, or are the same, need no difference."""
    assert [each and each[1:] for each in differences(prompts)] == expected


def test_three_versions_differ_from_their_nearest() -> None:
    """Whatever their order is."""
    begin = "You are a careful agent of a shop. "
    versions = [f"{begin}Be {word}." for word in ("zealous", "brief", "kind")]
    assert [each and each.text for each in differences(versions)] == ["zealous.", "brief.", "kind."]
