"""What an exception was raised from, by its recorded traceback."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from localops.reading import causes, facts, session_state
from localops.reading.causes import CAUSE, CONTEXT, Raised


def _parsed(text: str) -> int:
    return int(text)


def _read(text: str) -> int:
    try:
        return _parsed(text)
    except ValueError as error:
        raise LookupError(f"no number: {text}") from error


def _setup() -> None:
    try:
        _read("x")
    except LookupError as error:
        raise RuntimeError("setup failed") from error


def _cleaning_up() -> None:
    try:
        _parsed("x")
    except ValueError:
        open("/nowhere/log")  # noqa: SIM115


def _hiding() -> None:
    try:
        _parsed("x")
    except ValueError:
        raise LookupError("no number\nat all") from None


def _grouped() -> None:
    problems: list[Exception] = [OSError("never raised")]
    for one in (_setup, _cleaning_up):
        try:
            one()
        except Exception as error:
            problems.append(error)
    try:
        raise ExceptionGroup("two steps failed", [problems[0], ExceptionGroup("inner", problems[1:])])
    except ExceptionGroup as error:
        raise RuntimeError("no result") from error


def _in_a_worker() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        list(pool.map(_read, ["x"]))


def _chain(raising: Callable[[], object]) -> list[Raised]:
    try:
        raising()
    except Exception as error:
        return causes.of("".join(traceback.format_exception(error)))
    raise AssertionError


def _brief(chain: list[Raised]) -> list[tuple[str, str | None, str | None]]:
    return [(one.type, one.place and one.place.function, one.led_by) for one in chain]


def test_the_first_cause_comes_first_with_the_line_of_the_program() -> None:
    """Also of an error that another raised while it was handled, and of the line that called a library."""
    assert _brief(_chain(_setup)) == [
        ("ValueError", "_parsed", CAUSE),
        ("LookupError", "_read", CAUSE),
        ("RuntimeError", "_setup", None),
    ]
    assert _brief(_chain(_cleaning_up)) == [
        ("ValueError", "_parsed", CONTEXT),
        ("FileNotFoundError", "_cleaning_up", None),
    ]
    assert _chain(_setup)[0].message == "invalid literal for int() with base 10: 'x'"
    library = _chain(lambda: __import__("json").loads("{broken"))
    assert library[0].type == "json.decoder.JSONDecodeError"
    assert library[0].place is not None
    assert library[0].place.file == __file__


def test_an_exception_that_hides_another_has_no_cause() -> None:
    """`raise ... from None` leaves it out of the traceback."""
    [only] = _chain(_hiding)
    assert (only.type, only.message) == ("LookupError", "no number\nat all")


def test_a_group_has_its_exceptions_with_their_causes() -> None:
    """Those of inner groups too; one that was never raised has no place."""
    group, last = _chain(_grouped)
    assert (group.type, group.led_by, last.type) == ("ExceptionGroup", CAUSE, "RuntimeError")
    assert _brief(list(group.parts)) == [
        ("OSError", None, None),
        ("RuntimeError", "_setup", None),
        ("FileNotFoundError", "_cleaning_up", None),
    ]
    assert [_brief(list(one.causes)) for one in group.parts] == [
        [],
        [("ValueError", "_parsed", CAUSE), ("LookupError", "_read", CAUSE)],
        [("ValueError", "_parsed", CONTEXT)],
    ]


def test_an_exception_of_a_worker_is_one() -> None:
    """A pool raises it again in the parent, with the traceback of the worker as a text."""
    assert _brief(_chain(_in_a_worker)) == [("ValueError", "_parsed", CAUSE), ("LookupError", "_read", None)]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "ValueError: x",
        "goroutine 1 [running]:\nmain.main()",
        "Traceback (most recent call last):",
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()',
        "At a:\n  Traceback (most recent call last):\n  no\n\n\n",
    ],
)
def test_other_texts_have_none(text: object) -> None:
    """A text of another language, or one that was cut, names no cause."""
    assert causes.of(text) == []


def test_a_traceback_of_another_error_is_not_its_own() -> None:
    """A program may pass any text as the logs of an error."""
    text = "".join(traceback.format_exception(ValueError("x")))
    with_frames = "Traceback (most recent call last):\n" + '  File "a.py", line 1, in f\n' + text
    assert causes.of_error(with_frames, "builtins.ValueError")
    assert not causes.of_error(with_frames, "KeyError")


def test_the_reason_of_an_end_has_its_cause_in_a_line() -> None:
    """For the head of a page: the class and the message; for a group, those of its first exception."""

    def reason(raising: Callable[[], object]) -> str:
        try:
            raising()
        except Exception as error:
            return session_state.failure_reason(error)
        raise AssertionError

    assert facts.cause_of(reason(_setup)) == "ValueError: invalid literal for int() with base 10: 'x'"
    assert facts.cause_of(reason(_grouped)) == "OSError: never raised, and 2 more"
    for other in (reason(_hiding), "exit code 3", None, "no such thing\nThe above exception was the direct cause"):
        assert facts.cause_of(other) is None
