"""Sentences about the last call and the last answer of a model, and what that asked for."""

from __future__ import annotations

from localops import output
from localops.reading import finish_reasons
from localops.reading.run_words import linked, named, nanoseconds, when
from localops.reading.sentences import Recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence


def sentences(findings: Facts) -> Iterator[Sentence]:
    """Yield the sentences about the call that ended last, the last answer, and what that asked for."""
    one, answer = findings["last_operation"], findings["last_answer"]
    if one is not None:
        how = "failed" if one["failed"] else "ended"
        took = output.short_duration(nanoseconds(one["seconds"]))
        none = ", with an empty result." if one["result_is_empty"] else ", with no recorded result."
        result: Sentence = [", with the result ", Recorded(one["result"]), "."] if one["result"] else [none]
        ended = f", {how} at {when(one['ended'])} UTC after {took}"
        yield linked(["Last completed call: ", *named(one), ended, *result], one)
    if answer is not None:
        yield from _answer(answer, is_known=one is not None and answer["id"] == one["id"])
        if findings["how"] != "running" and findings["state"] != "Success":
            yield from (_asked(asked) for asked in answer["asked_last"])


def _answer(answer: Facts, *, is_known: bool) -> Iterator[Sentence]:
    """State the last answer; if it is already shown as the last operation, state only why the model stopped."""
    which: Sentence = [
        "Last model answer (",
        *named(answer),
        f", at {when(answer['ended'])} UTC)",
    ]
    if answer["is_empty"] and (answer["stopped"] or not is_known):
        yield linked([*which, " was empty", *_why_stopped(answer, ": "), "."], answer)
    elif not is_known and answer["answer"]:
        yield linked([*which, ": ", Recorded(answer["answer"])], answer)
        if answer["stopped"]:
            yield ["That answer is not complete", *_why_stopped(answer, ": "), "."]
    elif answer["stopped"]:
        yield linked([*which, " is not complete", *_why_stopped(answer, ": "), "."], answer)


def _asked(asked: Facts) -> Sentence:
    """Say which call the model asked for last has no result."""
    missing = asked["asked"] - asked["ended"]
    if asked["ended"]:
        of = f"Of {output.counted(asked['asked'], 'call')} of "
        has = "has" if missing == 1 else "have"
        return [of, Recorded(asked["tool"]), f" that the model asked for, {missing} {has} no recorded result."]
    listed: Sentence = []
    for number, call in enumerate(asked["calls"]):
        listed += [", " if number else "", Recorded(call)]
    rest = asked["asked"] - len(asked["calls"])
    more = f" and {output.count(rest)} more of this tool" if rest > 0 else ""
    return [
        "The model asked for ",
        *listed,
        more,
        f", and {'its result is' if missing == 1 else 'their results are'} not recorded.",
    ]


def _why_stopped(answer: Facts, before: str) -> Sentence:
    """State why a model stopped, and the share of reasoning in its answer."""
    words: Sentence = []
    if answer["stopped"]:
        known = finish_reasons.in_words(answer["stopped"])
        words = (
            [f"{known} (", Recorded(answer["stopped"]), ")"]
            if known
            else ["it stopped for ", Recorded(answer["stopped"])]
        )
    if answer["tokens_reasoning"] and answer["tokens_out"]:
        of = f"{output.count(answer['tokens_reasoning'])} of {output.counted(answer['tokens_out'], 'token')}"
        words += ["; " if words else "", f"{of} were reasoning"]
    return [before, *words] if words else []
