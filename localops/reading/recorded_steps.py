"""The recorded `once` steps of a session, whose results a resumed run gets.

A step is a call of a function that is marked `once=True`.  Several runs may have tried it; its state is that of the
last attempt that is done, or else of the last attempt.  A result that the program set counts as a done attempt.
"""

from __future__ import annotations

import os
from collections import Counter, namedtuple
from hashlib import blake2b

from localops.clock import iso
from localops.encoding import encode, faithful, own_fields
from localops.encoding.redact import NOTE
from localops.journal import blobs, rows, stored
from localops.output import when
from localops.reading import missing_steps, previews
from localops.reading.story import KNOWN_LEFT, KNOWN_STARTS, Story, presumed_dead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NamedTuple

    from localops.journal.stored import Source
    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot
    from localops.reading.story import Milestone

    class Try(NamedTuple):
        """A row of the query `once_steps`."""

        seq: int
        id: bytes
        phase: int
        kind: str
        name: str | None
        at_ns: int
        once: str | None
        ended_ns: int | None
        failed: int | None
        kept: str | None
        ended_by: str | None
        has_blob: int
else:
    Try = namedtuple("Try", "seq id phase kind name at_ns once ended_ns failed kept ended_by has_blob")

ONCE = "once"  # the field of a body that identifies the step, and in the closing row, how its result was kept
KEY = "step_key"  # the field with the beginning of the key, if the program passed one
RESOLUTION = "resolution"  # the kind of a row with a result that the program set for a step
DONE, UNCERTAIN, FAILED, RUNNING = "done", "uncertain", "failed", "running"
DECIDED, AGAIN_AND_DECIDED = "decided", "again and decided"  # results of an attempt, in addition to these states
SHOWN = 1_000  # steps in a JSON document
PREVIEW = 200  # characters of the arguments or the key
_GONE = "the file with a large part of its result is not here"
_CHANGED = "its row was changed after it was written, as its checksum shows"
_UNKNOWN: dict[str, Any] = {"kept": None, "why": "its row says nothing of a result"}


def path(inside: str, name: str, digest: str, number: int) -> str:
    """Return the path of a step, to which the steps inside it refer."""
    return blake2b(encode.dumps([inside, name, digest, number]), digest_size=8).hexdigest()


class NotKept(Exception):
    """The result of a step is missing or was changed; the message has the reason."""


class Recorded:
    """A step, derived from its attempts and the program's decisions about it."""

    def __init__(self, first: Try, mark: dict[str, Any]) -> None:
        self.name = first.name or ""
        self.digest: str = mark["args"]
        self.number: int = mark["n"]
        self.inside: str = mark.get("in") or ""
        self.is_keyed = bool(mark.get("keyed"))  # recognised by a key that the program passed, not by its arguments
        self.tries: list[bytes] = []
        self.tried = first.id  # the last attempt
        self.state = ""
        self.began_ns, self.ended_ns, self.ended_by, self.by = (
            first.at_ns,
            first.ended_ns,
            first.ended_by,
            mark.get("by"),
        )
        self.is_again = False
        self.given_ns: int | None = None  # when the program set its result instead of running it again
        self.add(first, mark)

    def add(self, one: Try, mark: dict[str, Any]) -> None:
        """Add a later attempt or decision."""
        if self.state == DONE and not _is_newer_result(one):
            return
        self.id, self.seq, self.kind, self.has_blob = one.id, one.seq, one.kind, bool(one.has_blob)
        if one.kind == RESOLUTION:
            # When and where it began, and that it has no end, stay those of its last attempt.
            self.kind, self.state, self.kept, self.given_ns = mark.get("kind") or one.kind, DONE, mark, one.at_ns
            return
        self.began_ns, self.ended_ns, self.given_ns = one.at_ns, one.ended_ns, None
        self.ended_by, self.by = one.ended_by, mark.get("by")
        self.is_again = bool(mark.get("again"))  # it may run twice
        self.tries.append(one.id)
        self.tried = one.id
        self.kept = _parse_object(one.kept) or _UNKNOWN
        if one.ended_ns is None or one.ended_by:
            # It has no end, or was interrupted by Ctrl-C, the cancellation of its task or the end of its session.
            self.state = UNCERTAIN
        else:
            self.state = FAILED if one.failed else DONE

    def distrust(self) -> None:
        """Note that the row with its outcome was changed: its result is not given back, a failure may be a success."""
        self.kept = {"kept": None, "why": _CHANGED}
        if self.state == FAILED:
            self.state = UNCERTAIN

    @property
    def is_distrusted(self) -> bool:
        """Return whether the row with its outcome was changed."""
        return self.kept.get("why") == _CHANGED

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The identity of the step within its session."""
        return self.inside, self.name, self.digest, self.number

    @property
    def is_decided(self) -> bool:
        """Return whether the program set its result instead of running it again."""
        return self.given_ns is not None

    @property
    def is_kept(self) -> bool:
        """Return whether its result can be given back, according to its row, and to `_with_results`."""
        return self.state == DONE and self.kept.get("kept") is not None


def _is_newer_result(one: Try) -> bool:
    """Return whether it replaces a recorded result: a step that is done is tried or decided again only without one."""
    return one.kind == RESOLUTION or not (one.ended_ns is None or one.ended_by or one.failed)


def of(source: Source, session: bytes) -> list[Recorded]:
    """Return the steps of a session, in the order of their first attempts."""
    steps: dict[tuple[object, ...], Recorded] = {}
    for one, mark in _rows_of_steps(source, session):
        key = (mark.get("in") or "", one.name or "", mark["args"], mark["n"])
        if key in steps:
            steps[key].add(one, mark)
        else:
            steps[key] = Recorded(one, mark)
    return list(steps.values())


def _rows_of_steps(source: Source, session: bytes) -> Iterator[tuple[Try, dict[str, Any]]]:
    return ((Try._make(record), mark) for record, mark in missing_steps.rows_of_steps(source, session))


def refusal(source: Source, folder: str, story: Story, session: bytes, *, whole: bool = True) -> str | None:
    """Return why a session cannot be resumed from the rows that are here; None if it can.

    Without `whole`, the events of a session that was recorded by localops are not read.
    """
    if (reason := unknown_steps(source, story, session)) is not None:
        return reason
    missing = missing_rows(source, folder, story, session, whole=whole)
    return None if missing is None else f"{missing}; {missing_steps.GO_ON}"


def missing_rows(source: Source, folder: str, story: Story, session: bytes, *, whole: bool = True) -> str | None:
    """Return why steps of a session may be missing here because rows are; None if nothing indicates it."""
    if story.is_imported and known_rows(source, story, session) is None:
        return missing_steps.UNKNOWN_STEPS
    return missing_steps.reason(source, folder, story, session, whole=whole)


def unknown_steps(source: Source, story: Story, session: bytes) -> str | None:
    """Return why the steps of a session are not known here; None if they are, even if some may be missing."""
    if story.is_unattributed:
        return "it only holds events whose session was unknown"
    if story.metadata_only:
        return "it came without its content, so its steps are not known here"
    if (split := split_at(source, story, session)) is not None:
        return f"{two_histories(split)}: resume it in a home that has only one of them, or begin a new session"
    return missing_steps.UNKNOWN_STEPS if story.is_imported and not missing_steps.stated_rows(story) else None


def split_at(source: Source, story: Story, session: bytes) -> Milestone | None:
    """Return the first resume that lacked a process with steps, or steps of one that it took for dead, or None.

    Then two copies of the session were continued, and both may have run the same steps.  A process without steps has
    repeated none.
    """
    if not story.resumes:
        return None
    steps = steps_by_process(source, session)
    starts = [start for start in story.of_kind(*rows.STARTS) if start.participant]
    for resume in story.resumes:
        if not steps[str(resume.body.get("participant"))]:
            continue
        dead = presumed_dead(resume)
        if any(steps[process] > known for process, known in dead.items()):
            return resume
        known_starts = resume.body.get(KNOWN_STARTS)
        before = [start.participant.hex() for start in starts if start.participant and start.at_ns < resume.at_ns]
        if isinstance(known_starts, int) and known_starts < len(before):
            # Every copy knows the first process.  Earlier releases do not state which had left.
            known_here = {*before[:1], *dead, *(resume.body.get(KNOWN_LEFT) or ())}
            if any(steps[process] for process in before if process not in known_here):
                return resume
    return None


def steps_by_process(source: Source, session: bytes) -> Counter[str]:
    """Return how many attempts at steps each process of a session has recorded."""
    return Counter(str(mark.get("by")) for _, mark in _rows_of_steps(source, session))


def two_histories(split: Milestone) -> str:
    """State that two copies of a session were continued, and where the second one began."""
    return (
        f"it has two histories (process {split.body.get('pid')} resumed a copy of it at {when(split.at_ns)} UTC, "
        "without all rows of another process), so steps may have run twice"
    )


def known_rows(source: Source, story: Story, session: bytes) -> int | None:
    """Return the number of rows about the steps of a session; None if it was imported without all of them.

    Only the spans of localops have the steps, since they state how many there are.
    """
    here = sum(1 for _ in _rows_of_steps(source, session))
    if not story.is_imported:
        return here
    counts = missing_steps.stated_rows(story)
    return here if counts and here >= max(counts) else None


def _parse_object(text: str | None) -> dict[str, Any] | None:
    value = encode.loads(text) if text else None
    return value if isinstance(value, dict) else None


def result(source: Source, folder: str, step: Recorded) -> Any:
    """Return the result of a finished step; raise NotKept if it is missing or was changed."""
    kept = step.kept.get("kept")
    if kept is None:
        raise NotKept(str(step.kept.get("why") or _UNKNOWN["why"]))
    if is_changed(source, step):
        raise NotKept(_CHANGED)
    if kept == "none":
        return None
    row = stored.one(source, step.id, rows.DONE)
    body = _parse_object(row.body) if row is not None else None
    if body is None or kept not in ("returns", "exact") or kept not in body:
        raise NotKept("the row with its result is not here")
    if _is_scrubbed(body, body[kept]):
        raise NotKept(own_fields.NOT_KEPT)
    try:
        return faithful.unpack(faithful.whole(body[kept], lambda digest: read_blob(folder, digest)))
    except faithful.Unfaithful as error:
        raise NotKept(f"its result {error}") from error
    except FileNotFoundError as error:
        raise NotKept(_GONE) from error
    except (OSError, ValueError) as error:
        raise NotKept(f"a large part of its result cannot be read ({error})") from error


def is_changed(source: Source, step: Recorded) -> bool:
    """Return whether the row with the outcome of a step fails its checksum, so that the outcome may be another."""
    try:
        row = stored.one(source, step.id, rows.DONE)
    except UnicodeDecodeError:
        return True
    return row is not None and not row.is_intact


def _is_scrubbed(body: dict[str, Any], kept: Any) -> bool:
    """Return whether a scrub redacted a kept result: a result with a secret is not kept when it is recorded."""
    notes = body.get("notes")
    return isinstance(notes, dict) and "redacted" in notes and NOTE.search(encode.dumps(kept).decode()) is not None


def read_blob(folder: str, digest: str) -> bytes:
    """Return the bytes of a blob; raise ValueError if they were changed."""
    from hashlib import sha256

    with open(blobs.find(folder, digest), "rb") as file:
        data = file.read()
    if sha256(data).hexdigest() != digest:
        raise ValueError(f"the blob {digest[:12]} is damaged")
    return data


def process(story: Story, step: Recorded) -> dict[str, Any] | None:
    """Return pid and host of the process that last tried a step; None if unknown."""
    for card in story.cards():
        if card.get("participant") == step.by:
            return {"pid": card.get("pid"), "host": card.get("host")}
    return None


def given(source: Source, story: Story, step: Recorded) -> Facts | None:
    """Return time, process and preview of a result that the program set for a step; None if it did not."""
    if step.given_ns is None:
        return None
    row = stored.one(source, step.id, rows.DONE)
    body = _parse_object(row.body) if row is not None else None
    # Only the process that resumed the session decides about its steps.
    by = max((one for one in story.resumes if one.at_ns <= step.given_ns), key=lambda one: one.at_ns, default=None)
    return {
        "at": iso(step.given_ns),
        "process": None if by is None else {"pid": by.body.get("pid"), "host": by.body.get("host")},
        "result": "None" if step.kept.get("kept") == "none" else previews.result(step.kind, body),
    }


def params(source: Source, step: Recorded) -> Any:
    """Return the arguments of the last attempt, as recorded: without secrets."""
    body = _opening_body(source, step)
    return body.get("params", body.get("prompt"))


def key_text(source: Source, step: Recorded) -> str | None:
    """Return the key of a step as text; None if there is no key, or an earlier release recorded the step."""
    return _opening_body(source, step).get(KEY) if step.is_keyed else None


def _opening_body(source: Source, step: Recorded) -> dict[str, Any]:
    """Return the body of the opening row of the last attempt; empty if the row is missing."""
    row = stored.one(source, step.tried, rows.OPEN)
    return (_parse_object(row.body) if row is not None else None) or {}


class Forecast:
    """What a resumed run does with the steps of its session: their states, and an action of `_on_resume` for each."""

    def __init__(self, steps: list[Recorded], is_running: bool, refused: set[bytes], *, is_resumable: bool) -> None:
        self.steps, self.refused, self.is_resumable = steps, refused, is_resumable
        self.states = [state_of(step, is_running) for step in steps]
        passed = passed_over(steps)
        self.ways = [
            _on_resume(step, state, passed, is_refused=step.id in refused) if is_resumable else "no resume"
            for step, state in zip(steps, self.states, strict=True)
        ]
        self.behind = self._behind()
        """The ids of the steps inside one that raises: the run reaches them only if that one runs again."""

    def _behind(self) -> set[bytes]:
        raising: set[str] = set()
        behind: set[bytes] = set()
        for step, way in zip(self.steps, self.ways, strict=True):  # outer steps began first
            if step.inside in raising:
                behind.add(step.id)
            if way in ("ask", "refuse") or step.inside in raising:
                raising.add(path(step.inside, step.name, step.digest, step.number))
        return behind

    def counts(self) -> Facts:
        """Return the number of steps per state, and of the actions of a resumed run."""
        each = list(zip(self.steps, self.states, self.ways, strict=True))
        reached = Counter((state, way) for step, state, way in each if step.id not in self.behind)
        behind = Counter(state for step, state, _ in each if step.id in self.behind)
        return {
            "resumable": self.is_resumable,
            **{state: self.states.count(state) for state in (DONE, UNCERTAIN, FAILED, RUNNING)},
            "not_kept": sum(step.state == DONE and not step.is_kept for step in self.steps),
            "refused": len(self.refused),
            # All other uncertain steps raise Uncertain.
            "uncertain_run": reached[UNCERTAIN, "run"],
            "uncertain_not_called": reached[UNCERTAIN, "not called"],
            "done_given": reached[DONE, "give back"],
            "not_kept_run": reached[DONE, "run"],
            "not_kept_asked": reached[DONE, "ask"],
            "done_not_called": reached[DONE, "not called"],
            **{f"{state}_behind": behind[state] for state in (DONE, UNCERTAIN, FAILED)},
        }


def counts(seen: Snapshot) -> Facts | None:
    """Return the counts of `Forecast`, and whether the session is `resumable`; None for a session without steps."""
    steps = _with_results(seen)
    return _forecast(seen, steps, _refused_steps(seen, steps, rules_of(seen))).counts() if steps else None


def _forecast(seen: Snapshot, steps: list[Recorded], refused: set[bytes]) -> Forecast:
    return Forecast(steps, seen.is_running, refused, is_resumable=refusal_of(seen) is None)


def refusal_of(seen: Snapshot, *, whole: bool = True) -> str | None:
    """Return why a session cannot be resumed now; None if it can.  `whole`: see `refusal`."""
    if seen.waiting:
        return "rows of it wait in a spill file, so its steps are not all known; `localops doctor` says what to do"
    return refusal(seen.source, seen.folder, seen.story, seen.id, whole=whole)


def _with_results(seen: Snapshot) -> list[Recorded]:
    """Return the steps of a session, with what a resumed run finds out when it reaches them.

    A result in a blob that is missing, or in a row that was changed, is not kept; a failure in such a row is uncertain.
    """
    steps = of(seen.source, seen.id)
    for step in steps:
        if (step.is_kept or step.state == FAILED) and is_changed(seen.source, step):
            step.distrust()
        elif step.has_blob and step.is_kept:
            row = stored.one(seen.source, step.id, rows.DONE)
            body = (_parse_object(row.body) if row is not None else None) or {}
            if not all(blobs.is_here(seen.folder, digest) for digest in faithful.blobs(body.get(step.kept["kept"]))):
                step.kept = {**step.kept, "kept": None, "why": _GONE}
    return steps


def passed_over(steps: list[Recorded]) -> set[str]:
    """Return the paths of the steps whose results are given back, and of the steps inside, which are not called."""
    passed: set[str] = set()
    for step in steps:  # outer steps began first
        if step.is_kept or step.inside in passed:
            passed.add(path(step.inside, step.name, step.digest, step.number))
    return passed


def rules_of(seen: Snapshot) -> Callable[[dict[str, Any]], bool]:
    """Return a check whether a program with the settings of the session's home would redact plain data."""
    # Created late, as very few sessions have steps.
    from localops.config import Config
    from localops.encoding.todays_rules import redactor

    return encode.Encoder(redactor=redactor(Config.usable(home=os.path.dirname(seen.folder)))).redacts


def _refused_steps(seen: Snapshot, steps: list[Recorded], redacts: Callable[[dict[str, Any]], bool]) -> set[bytes]:
    """Return the ids of the steps whose calls a program would refuse, as by its rules their arguments have a secret.

    They were recorded without these rules: with `redact=False`, or before a rule was added.
    """
    refused = set()
    for step in steps:
        if not step.is_keyed and state_of(step, seen.is_running) != RUNNING:
            arguments = params(seen.source, step)
            if arguments is not None and redacts({"params": arguments}):
                refused.add(step.id)
    return refused


def _has_scrubbed_arguments(source: Source, step: Recorded, arguments: str) -> bool:
    """Return whether a scrub removed a secret from the arguments of a step: the current rules may refuse its call."""
    if NOTE.search(arguments) is None:
        return False
    id = step.tried
    about = source.all("scrubbed_from", low=id[:6], high=id[:6] + b"\xff" * 10, event=id)
    return any((_parse_object(body) or {}).get("phase") == rows.OPEN for (body,) in about)


def facts(seen: Snapshot, *, limit: int = SHOWN, redacts: Callable[[dict[str, Any]], bool] | None = None) -> Facts:
    """Return the first steps of a session as plain facts, and what a resumed run does with each.

    `redacts` checks data by the rules of the program that resumes; the default are the settings of the home.
    """
    steps = _with_results(seen)
    refused = _refused_steps(seen, steps, redacts or rules_of(seen)) if steps else set()
    forecast = _forecast(seen, steps, refused)
    each = zip(steps[:limit], forecast.states, forecast.ways, strict=False)
    return {
        "session_id": rows.id_text(seen.id),
        "name": seen.story.name,
        "state": seen.standing.state,
        "not_resumable": None if forecast.is_resumable else refusal_of(seen),
        "counts": forecast.counts(),
        "steps": [
            {**_step_facts(seen, step), "state": state, "on_resume": way, "behind": step.id in forecast.behind}
            for step, state, way in each
        ],
        "more": max(0, len(steps) - limit),
    }


def run_facts(project: str, seen: Snapshot, *, limit: int) -> Facts:
    """Return the steps of a session of a project, as `facts` does."""
    return {"session_id": rows.id_text(seen.id), "project": project, **facts(seen, limit=limit)}


def state_of(step: Recorded, is_running: bool) -> str:
    """Return the state of a step, given whether its session is running."""
    return RUNNING if is_running and step.state == UNCERTAIN and step.ended_ns is None else step.state


def since(seen: Snapshot, steps: list[Recorded]) -> dict[bytes, str]:
    """Return the outcome of each attempt that was followed by another, or by a result that the program set."""
    words: dict[bytes, str] = {}
    for step in steps:
        earlier = AGAIN_AND_DECIDED if step.is_decided else state_of(step, seen.is_running)
        words |= dict.fromkeys(step.tries, earlier)
        words[step.tried] = DECIDED if step.is_decided else earlier
        words.pop(step.id, None)
    return words


def _step_facts(seen: Snapshot, step: Recorded) -> Facts:
    arguments = params(seen.source, step)
    text = "" if arguments is None else encode.dumps(arguments).decode()
    return {
        "id": rows.id_text(step.id),
        "seq": step.seq,
        "kind": step.kind,
        "name": step.name,
        "number": step.number,
        "key": key_text(seen.source, step),
        "input": text[:PREVIEW],
        "scrubbed": _has_scrubbed_arguments(seen.source, step, text),
        "kept": step.is_kept,
        "why": step.kept.get("why") if step.state == DONE else None,
        "tries": len(step.tries),
        "began": iso(step.began_ns),
        "ended": None if step.ended_ns is None else iso(step.ended_ns),
        "ended_by": step.ended_by,
        "process": process(seen.story, step),
        "given": given(seen.source, seen.story, step),
        "inside": bool(step.inside),
    }


def _on_resume(step: Recorded, state: str, passed: set[str], *, is_refused: bool) -> str:
    """Return what a resumed run does when it reaches a step."""
    if step.inside in passed and state != RUNNING:
        return "not called"
    if is_refused:
        return "refuse"
    if state == RUNNING:
        return "wait"
    if state == FAILED:
        return "run"
    return "give back" if step.is_kept else "run" if step.is_again else "ask"
