"""Sentences about steps whose result the program provided when it resumed a run."""

from __future__ import annotations

from datetime import datetime

from localops import output
from localops.reading import recorded_steps
from localops.reading.sentences import Recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

MAYBE = "it may or may not have happened"
SINCE = {
    recorded_steps.DECIDED: "when resumed, the program provided its result, and it did not run again",
    recorded_steps.AGAIN_AND_DECIDED: "it ran again when resumed; later the program provided its result",
    recorded_steps.DONE: "it ran again when resumed, and is done",
    recorded_steps.FAILED: "it ran again when resumed, and failed",
    recorded_steps.UNCERTAIN: f"it began again when resumed, and did not end; {MAYBE}",
    recorded_steps.RUNNING: "it runs again",
}
"""What became of an operation when its session was resumed, by the words of `recorded_steps.since`."""


def sentences(step: Facts) -> list[Sentence]:
    """Return the sentences about a step (facts of `recorded_steps`) whose result was provided."""
    tried = f"It was tried {step['tries']} times; the last began" if step["tries"] > 1 else "It began"
    by = " and has no end"
    if step["ended_by"]:
        by = f" and was interrupted by {step['ended_by']}"
    elif step["ended"]:
        by = " and is done, but its result could not be restored"
    return [[f"{tried} at {when(step['began'])} UTC{in_process(step['process'])}{by}."], gave(step["given"])]


def gave(given: Facts) -> Sentence:
    """Return which process provided the result of a step, and when."""
    who = f"process {given['process']['pid']}" if given["process"] else "the program"
    what: Sentence = [" ", Recorded(given["result"])] if given["result"] else [" a value"]
    return [f"At {when(given['at'])} UTC {who} provided", *what, " as its result, without calling it."]


def in_process(process: Facts | None) -> str:
    """Return a phrase with the process, or an empty text if it is not known."""
    return f" in process {process['pid']}" if process and process["pid"] else ""


def when(text: str) -> str:
    """Format a time of a document for sentences."""
    return output.when(round(datetime.fromisoformat(text).timestamp() * 1e9))
