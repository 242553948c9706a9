"""Sentences about the errors of a run: their causes, where they happened, and what followed."""

from __future__ import annotations

from localops import output
from localops.reading import causes, ending_error
from localops.reading.run_words import named, nanoseconds, when, with_input
from localops.reading.sentences import Linked, Recorded, Word
from localops.reading.waste import CANCELLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

_OUTCOMES = {
    "left": "No recorded operation caught it; whether the program caught it is not recorded.",
    "ended the run": "Nothing caught it: it ended the run.",
}
_ENDED_A_PART = ("ended a thread", "ended a process", "ended an earlier run")
_TITLES = {
    ending_error.EXCEPTION: "Error that ended the run",
    ending_error.REASON: "Error that ended the run",
    ending_error.LAST: "Last failure before the end",
    None: "",
}


def title(last_error: Facts | None) -> str:
    """Return the heading of the section about the last error."""
    return _TITLES[None if last_error is None else last_error["ended_run"]]


def sentences(findings: Facts, which: str) -> Iterator[Sentence]:
    """Yield the sentences about `first_error` or `last_error`; the first of them links to it."""
    if (error := findings[which]) is None:
        return
    first, *rest = _sentences(findings, which, error)
    yield Linked(first, error["id"], error["seq"])
    yield from rest


def _sentences(findings: Facts, which: str, error: Facts) -> Iterator[Sentence]:
    at = f", {output.short_duration(nanoseconds(error['seconds_in']))} in, at {when(error['at'])} UTC."
    if error["message"] is None and error["same"] is None:
        ended: Sentence = [" was ended by ", Word(error["type"])] if error["type"] else [" failed without an error"]
        ended = [" was cancelled"] if error["type"] == CANCELLED else ended
        yield [*(named(error["path"][-1]) if error["path"] else ["An operation"]), *ended, at]
    else:
        yield from _with_causes(error, at, is_known=which == "last_error" and is_of_first(findings))
    yield from _timed_out(error)
    yield from _parts(error)
    yield from _where(error)
    yield from (_origin(one, findings["session_id"]) for one in error["origins"])
    yield from _outcome(error)
    yield from _ending(error)
    yield from _later_calls(error["again"])
    if error["same"] and error["same"]["later"]:
        later = output.counted(error["same"]["later"], "more error", "more errors")
        yield [f"{later} with the same type and message came later, the last at {when(error['same']['last'])} UTC."]
    if error["same"] and error["same"]["of_type"]:
        later = output.counted(error["same"]["of_type"], "more error", "more errors")
        yield [f"{later} of the same type came later with other messages."]


def is_of_first(findings: Facts) -> bool:
    """Return whether, by its traceback, the error that ended the run was caused by the first error."""
    first, last = findings["first_error"], findings["last_error"]
    root = _causes(last)[:1] if last is not None else []
    return bool(root) and first is not None and not _causes(first) and _is_same(root[0], first)


def _is_same(cause: Facts, error: Facts) -> bool:
    is_type = causes.last_part(cause["type"]) == causes.last_part(error["type"] or "")
    return is_type and cause["message"] == (error["message"] or "")


def _with_causes(error: Facts, at: str, *, is_known: bool) -> Iterator[Sentence]:
    """Name the first cause of an error and the line that raised it, then what it led to, up to the error."""
    own = _exception({"type": error["type"] or "error", "message": error["message"]})
    if not (known := _causes(error)):
        yield [*own, at]
        return
    first, *then = known
    if not is_known:
        yield [*_exception(first), *_raised(first["place"]), "."]
    root = "The first error" if is_known else "It"
    following = [*(_exception(one) for one in then), own]
    sentence: Sentence = []
    for number, (before, one) in enumerate(zip(known, following, strict=True)):
        is_cause = before["led_by"] == causes.CAUSE
        if number:
            sentence += [", which led to ", *one] if is_cause else ["; while that was handled, came ", *one]
        else:
            sentence += [f"{root} led to ", *one] if is_cause else [f"While {_inside(root)} was handled, came ", *one]
    yield [*sentence, at]


def _inside(root: str) -> str:
    return root[0].lower() + root[1:]


def _causes(error: Facts) -> Sequence[Facts]:
    """Return the exceptions that led to an error; none for a timeout, whose cause is only its own cancellation."""
    return [] if _is_late(error) else error["causes"]


def _is_late(error: Facts) -> bool:
    known, is_limit = error["causes"], (error["type"] or "").endswith("TimeoutError")
    return bool(known) and is_limit and known[0]["type"].endswith("CancelledError")


def _timed_out(error: Facts) -> Iterator[Sentence]:
    """Say what took too long, if a time limit ended it."""
    if _is_late(error) and error["causes"][0]["place"]:
        yield ["When the time limit was reached, it was waiting ", *_at_place(error["causes"][0]["place"]), "."]


def _parts(error: Facts) -> Iterator[Sentence]:
    """Name the exceptions of a group."""
    for one in error["parts"]:
        member = [*_exception(one), *_raised(one["place"]), *_causes_of_member(one)]
        yield ["In ", Word(error["group"] or "it"), ": ", *member, "."]
    if (rest := error["parts_count"] - len(error["parts"])) > 0:
        yield [f"And {output.counted(rest, 'more exception')} in it."]


def _earlier_causes(known: Sequence[Facts]) -> Sentence:
    """Name the exceptions that led to another, the first with its place."""
    first, *then = known
    through: Sentence = []
    for number, one in enumerate(then):
        through += [", " if number else ", which led to ", *_exception(one)]
    return [*_exception(first), *_raised(first["place"]), *through]


def _causes_of_member(one: Facts) -> Sentence:
    """Name what led to an exception of a group."""
    if not one["causes"]:
        return []
    is_cause = all(each["led_by"] == causes.CAUSE for each in one["causes"])
    return [
        "; caused by " if is_cause else "; raised while another was handled: ",
        *_earlier_causes(one["causes"]),
    ]


def _exception(one: Facts) -> Sentence:
    return [Word(one["type"]), *([": ", Recorded(one["message"])] if one["message"] else [])]


def _raised(place: Facts | None) -> Sentence:
    return [] if place is None else [", raised ", *_at_place(place)]


def _at_place(place: Facts) -> Sentence:
    """Return a place in a program: its function, and file and line in a form that editors open."""
    # Names such as `<lambda>`, of modules, lambdas and comprehensions, are left out.
    is_named = place["function"] and not place["function"].startswith("<")
    function: Sentence = ["in ", Recorded(place["function"])] if is_named else []
    at = Word(f"{place['file']}:{place['line']}")
    return [*function, " (", at, ")"] if function else ["at ", at]


def _became(after: Facts) -> Sentence:
    what = _exception({"type": after["type"] or "error", "message": after["message"]})
    return ["It is part of ", *what, "."] if after["is_group"] else ["The program caught it and raised ", *what, "."]


def _outcome(error: Facts) -> Iterator[Sentence]:
    """Say what became of an error: where it was caught, or what it ended, and how the run continued."""
    where = error["where"]
    if error["outcome"] == "caught":
        yield ["It was caught: ", *named(where), ", in which it happened, did not fail."]
    elif error["outcome"] == "noted":
        yield ["It was noted: ", *named(where), ", in which it happened, did not fail."]
    elif error["outcome"] == "replaced" and error["became"] is not None:
        yield ["In ", *named(where), " the program caught it and raised ", Word(error["replaced_by"] or "error"), "."]
    elif error["outcome"] == "replaced":
        yield ["In ", *named(where), " it was followed by ", Word(error["replaced_by"] or "error"), "."]
    elif error["outcome"] == "open":
        yield [*named(where), " around it has not ended, so whether it was caught there is not known."]
    elif error["outcome"] in _ENDED_A_PART:
        yield from _ended_a_part(error)
    elif error["outcome"] == "left" and error["became"] is not None:
        yield _became(error["became"])
    elif error["outcome"] == "left" and (following := error["next"]) is not None:
        yield ["No recorded operation caught it."]
        yield _next(following)
    else:
        yield [_OUTCOMES[error["outcome"]]]


def _ended_a_part(error: Facts) -> Iterator[Sentence]:
    """Say that an error ended a thread or process, and that the run continued without it."""
    name, following = error["thread"], error["next"]
    if error["outcome"] == "ended an earlier run":
        yield ["Nothing caught it: it ended that process."]
        is_next = following is not None and following["after_a_resume"]
        yield _next(following) if is_next else ["The session was resumed after it."]
    elif error["outcome"] == "ended a process":
        rest = ", and the program continued." if error["continued"] else "."
        yield ["Nothing caught it: it ended process ", _process(name or ""), rest]
    else:
        thread: Sentence = ["thread ", Recorded(name)] if name else ["a thread"]
        yield ["Nothing caught it: it ended ", *thread, ", and the program continued."]


def _process(name: str) -> Word | Recorded:
    """Return the name of a process of multiprocessing, or the number of another."""
    return Word(name) if name.isdecimal() else Recorded(name)


def _next(following: Facts) -> Sentence:
    later = output.short_duration(nanoseconds(following["seconds_later"]))
    how = "The session was resumed after it" if following["after_a_resume"] else "The run continued"
    return [f"{how}: the next step was ", *named({**following, "agent": None}), f", {later} later."]


def _ending(error: Facts) -> Iterator[Sentence]:
    """Say how certain it is that an error ended the run, if the program itself ended the session."""
    if error["ended_run"] == ending_error.REASON:
        yield ["It ended the run: the reason of the end names it."]
    elif (after := error["began_after"]) is not None:
        operations = output.counted(after["operations"], "more operation")
        what = f"only {operations}" if after["operations"] else "only LLM calls" if after["llm_calls"] else "nothing"
        which, it = ("The last error like it", "that") if after["of_a_repeat"] else ("It", "it")
        yield [f"{which} probably ended the run: {what} began after {it}."]


def common(shared: Facts | None) -> Iterator[Sentence]:
    """Yield the sentences about the input that the calls of most errors share."""
    if shared is None:
        return
    first = shared["first"]
    many = f"{output.count(shared['errors'])} of {output.counted(shared['of'], 'error')} are of calls that were given "
    name: Sentence = [" as ", Recorded(shared["argument"])] if shared["argument"] else []
    sentence: Sentence = [many, Recorded(shared["value"]), *name, ": "]
    for number, one in enumerate(shared["calls"]):
        called: Sentence = [" ", Recorded(one["name"])] if one["name"] else []
        sentence += [", " if number else "", Word(one["kind"]), *called, f" ×{output.count(one['errors'])}"]
    rest = shared["calls_count"] - len(shared["calls"])
    yield [*sentence, f" and {output.count(rest)} more." if rest > 0 else "."]
    last = f"last was at {when(shared['last'])} UTC."
    if first["is_first_error"]:
        yield [f"They begin with the first error above; the {last}"]
        return
    message: Sentence = [": ", Recorded(first["message"])] if first["message"] else []
    yield ["The first was at ", f"{when(first['at'])} UTC: ", Word(first["type"] or "error"), *message, "."]
    yield [f"The {last}"]


def _where(error: Facts) -> Iterator[Sentence]:
    raised: Sentence = ["; raised ", *_at_place(error["place"])] if error["place"] else []
    if not error["path"]:
        yield ["It happened in the session itself, in no operation", *raised, "."]
        return
    sentence: Sentence = ["Where: ", "… > " if error["path_is_cut"] else ""]
    agent = None
    for number, level in enumerate(error["path"]):
        # The agent is named where it changes.
        sentence += [" > " if number else "", *named({**level, "agent": None} if level["agent"] == agent else level)]
        agent = level["agent"]
    yield [*sentence, *with_input(error["input"]), *raised, "."]


def _origin(one: Facts, session: str) -> Sentence:
    """Say which call returned an argument; the page makes a link of the command (`web/why.js`)."""
    call: Sentence = [Word(one["kind"]), " ", Recorded(one["name"] or "(nameless)"), *with_input(one["input"])]
    where = f" (`localops show {session} --event {one['id'][:23]}`)."
    value, argument = Recorded(one["value"]), Recorded(one["argument"]) if one["argument"] else None
    if not one["is_part"]:
        which: Sentence = ["Its argument"] if argument is None else ["The argument ", argument]
        entry = f" in entry {one['entry']} of its list" if one["entry"] else ""
        return [*which, " (", value, ") was returned by ", *call, entry, where]
    place: Sentence = [] if argument is None else [" in the argument ", argument]
    if one["of"] is None:
        return [value, *place, " first appeared in the result of ", *call, where]
    role: Sentence = [] if argument is None else [" as ", argument]
    before: Sentence = ["Before it, ", *named({**one["of"], "agent": None}), " was given ", value, *role]
    return [*before, ", first seen in the result of ", *call, where]


def _later_calls(again: Facts | None) -> Iterator[Sentence]:
    if again is None:
        return
    if not again["calls"]:
        yield ["The call was not retried."]
        return
    calls, failed = again["calls"], again["failed"]
    became = "failed" if again["next_failed"] else "did not fail"
    within = f", in the {output.counted(again['within_rows'], 'row')} after it" if again["within_rows"] else ""
    arguments = {True: "the same arguments", False: "other arguments", None: None}[again["next_same"]]
    given = f", with {arguments}," if arguments else ""
    unknown = "" if arguments else "; whether it had the same arguments is not recorded"
    name = again["name"] or again["model"]
    what: Sentence = [Recorded(name), " was called"] if name else ["The same kind of call was made"]
    if calls == 1:
        yield [*what, f" once more{within}{given} and {became}{unknown}."]
        return
    times = f" {output.count(calls)} more times{within}"
    if 0 < failed < calls:
        yield [*what, f"{times}; {output.count(failed)} of these calls failed. The next{given} {became}{unknown}."]
        return
    following = f"The next had {arguments}" if arguments else "Whether the next had the same arguments is not recorded"
    yield [*what, f"{times}; {'all' if failed else 'none'} of these calls failed. {following}."]
