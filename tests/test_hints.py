"""Misspelt names: the message has the name that was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import localops
from localops.config import nearest


@pytest.mark.parametrize(
    ("option", "meant"),
    [("state", "end_state"), ("end_stat", "end_state"), ("reason", "end_state_reason"), ("foo", "")],
)
def test_an_unknown_option_of_end_session_is_reported_with_the_nearest(
    capsys: pytest.CaptureFixture[str], option: str, meant: str
) -> None:
    """A misspelt end state would leave a session Indeterminate with no name to look for."""
    localops.init()
    options: dict[str, Any] = {option: "Success"}
    localops.end_session(**options)
    err = capsys.readouterr().err
    assert f"has no option {option!r}" in err
    assert f"did you mean {meant}?" in err if meant else "did you mean" not in err


def test_a_strict_session_says_it_in_the_error() -> None:
    """The error for an unknown option has the nearest one, too."""
    session = localops.start_session(config=localops.Config(strict=True))
    with pytest.raises(localops.LocalopsError, match=r"did you mean end_state\?"):
        session.end_session(state="Success")


@pytest.mark.parametrize(
    ("function", "option", "hint"),
    [
        (localops.start_session, "tag", "Did you mean 'tags'?"),
        (localops.create_agent, "nam", "Did you mean 'name'?"),
        (localops.start_session, "budget_usd", "config=localops.Config(budget_usd=...)"),
        (localops.add_tags, "zzz", None),
    ],
)
def test_an_argument_that_a_function_lacks_is_noted_with_the_nearest(
    function: Callable[..., object], option: str, hint: str | None
) -> None:
    """It is a TypeError, as everywhere in Python; the suggestion is below the traceback."""
    with pytest.raises(TypeError) as caught:
        function(**{option: "a"})
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert hint in text if hint else "mean" not in text


def test_the_nearest_name_is_a_similar_one_or_one_that_contains_it() -> None:
    """Other names are not suggested."""
    known = ("end_state", "end_state_reason", "video")
    assert [nearest(name, known) for name in ("vidoe", "reason", "state", "x")] == [
        "video",
        "end_state_reason",
        "end_state",
        None,
    ]
