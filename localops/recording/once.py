"""Steps: calls that run once in a session, even if its run is killed and resumed several times.

The n-th call of a step with the same arguments is matched with the n-th recorded call.  If the recorded call is done,
its result is returned; if it failed, the step runs again; if it was interrupted, the program decides what to do.
A call gets its number when it begins; the number of a failed call is used again.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count, islice

from localops.clock import iso, new_id, now_ns
from localops.encoding import encode, faithful
from localops.encoding.redact import NOTE
from localops.errors import StepError, Uncertain
from localops.journal import rows
from localops.output import say_once
from localops.reading import recorded_steps
from localops.reading.recorded_steps import ONCE, Recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from localops.recording.recorder import Recorder
    from localops.recording.session import Session

    Hook = Callable[[Uncertain], object]

inside: ContextVar[tuple[bytes, str]] = ContextVar("localops.step", default=(b"", ""))
"""The session and the path of the step that the calling code is in."""

RUN = object()  # `Steps.known` returns it for a call that must run


class RunAgain:
    """The class of `localops.run_again`: an `on_uncertain` hook returns it to run the step again."""

    def __repr__(self) -> str:
        return "localops.run_again"


run_again = RunAgain()


class Turn:
    """One call of a step: its name and arguments, and the rows that are recorded about it."""

    __slots__ = (
        "_free_numbers",
        "_is_released",
        "_own_number",
        "digest",
        "inside",
        "is_again",
        "key",
        "kind",
        "name",
        "recorded",
    )

    def __init__(self, kind: str, name: str, digest: str, around: str) -> None:
        self.kind, self.name, self.digest, self.inside = kind, name, digest, around
        self.recorded: Recorded | None = None
        self.key: str | None = None  # from `key=`, which identifies the call instead of its arguments
        self.is_again = False  # idempotent: it runs again if it was interrupted
        self._is_released = False
        self._free_numbers: list[int] = []
        self._own_number: list[int] = []

    @property
    def number(self) -> int:
        """Return the number of this call among those with the same arguments."""
        return self._own_number[0]

    def take(self, free: list[int], counter: Any) -> None:
        """Take the lowest free number."""
        self._free_numbers = free
        # One call of C takes the number and stores it: between two calls, a signal handler could raise.
        try:
            self._own_number.extend(map(heappop, (free,)))
        except IndexError:
            self._own_number.extend(islice(counter, 1))

    @property
    def path(self) -> str:
        """Return the identity of the step, as steps inside it refer to it."""
        return recorded_steps.path(self.inside, self.name, self.digest, self.number)

    def release(self) -> None:
        """Free the number for another call, once: this call was not made, or it failed."""
        if self._own_number and not self._is_released:
            self._is_released = True  # a signal handler cannot run between this and the next call, which is C code
            heappush(self._free_numbers, self._own_number[0])


class Steps:
    """The steps of one session in the process that began or resumed it."""

    def __init__(self, recorder: Recorder, recorded: Iterable[Recorded] = (), hook: Hook | None = None) -> None:
        self.hook = hook
        self.pid = os.getpid()
        self._recorder = recorder
        self._recorded = {step.key: step for step in recorded}
        # By step: the free numbers below the counter, and the counter.  A number is taken from either by one call of
        # C, so threads need no lock.
        self._slots: dict[tuple[str, str, str], tuple[list[int], Any]] = {}
        numbers: dict[tuple[str, str, str], list[int]] = {}
        for *step, number in self._recorded:
            numbers.setdefault((step[0], step[1], step[2]), []).append(number)
        for key, known in numbers.items():
            self._slots[key] = sorted(known), count(max(known) + 1)
        # A scrub may have cut a secret out of a recorded name.
        self._scrubbed = [key for key in numbers if NOTE.search(key[1])]

    def take(self, kind: str, name: str, digest: str) -> Turn:
        """Return the turn of a call, with the lowest free number and the recorded call of that number."""
        session, path = inside.get()
        around = path if session == self._recorder.session else ""
        key = around, self._recorder.writer.text(name), digest
        turn = Turn(kind, key[1], digest, around)
        if self._scrubbed and key not in self._slots:
            key = next((known for known in self._scrubbed if _is_same(known, key)), key)
        try:
            turn.take(*(self._slots.get(key) or self._slots.setdefault(key, ([], count(1)))))
            turn.recorded = self._recorded.get((*key, turn.number))
        except BaseException:
            turn.release()
            raise
        return turn

    def known(self, turn: Turn, *, idempotent: bool) -> Any:
        """Return the recorded result of a call, or RUN. Raise Uncertain if it is not known whether it may run."""
        step = turn.recorded
        if step is None:
            return RUN
        if step.state == recorded_steps.FAILED:
            if not recorded_steps.is_changed(self._recorder.journal, step):
                return RUN
            step.distrust()
        why = ""
        if step.state == recorded_steps.DONE:
            try:
                return recorded_steps.result(self._recorder.journal, self._recorder.journal.folder, step)
            except recorded_steps.NotKept as error:
                why = str(error)
        if idempotent:
            return RUN
        raise self._uncertain(step, why)

    def _uncertain(self, step: Recorded, why: str) -> Uncertain:
        journal = self._recorder.journal
        ran_in = recorded_steps.process(self._recorder.story(), step)
        where = f" in process {ran_in['pid']} on {ran_in['host'] or 'an unnamed host'}" if ran_in else ""
        began = iso(step.began_ns)
        what = f"{step.kind} {step.name!r}, begun at {began}{where},"
        decide = "give on_uncertain= a function that decides, or mark it idempotent=True if it may run twice"
        if step.state == recorded_steps.DONE:
            message = f"{what} is done, but its result cannot be restored: {why}. It did not run again: {decide}"
        elif step.is_distrusted:
            message = (
                f"{what} has a row of its end that was changed: it may have happened. It did not run again: {decide}"
            )
        else:
            how = f"was interrupted by {step.ended_by}" if step.ended_by else "was in progress when its run ended"
            message = f"{what} {how}: it may or may not have happened. It did not run again: {decide}"
        return Uncertain(
            message,
            name=step.name,
            kind=step.kind,
            params=recorded_steps.params(journal, step),
            began=began,
            ended_by=step.ended_by,
            process=ran_in,
            happened=True if step.state == recorded_steps.DONE else None,
            number=step.number,
            event_id=rows.id_text(step.id),
        )

    def mark(self, turn: Turn) -> dict[str, object]:
        """Return the fields of a call's opening row that identify its step."""
        participant = self._recorder.journal.participate()
        mark: dict[str, object] = {"args": turn.digest, "n": turn.number, "by": participant.id.hex()}
        if turn.inside:
            mark["in"] = turn.inside
        if turn.is_again:
            mark["again"] = True
        if turn.key is not None:
            mark["keyed"] = True
            # Outside of the mark, which is not searched for secrets.
            return {ONCE: mark, recorded_steps.KEY: turn.key}
        return {ONCE: mark}

    def decided(self, turn: Turn, result: object) -> None:
        """Write the result that the program has chosen for an uncertain step."""
        what = f"what on_uncertain= returned for {turn.name}()"
        fields, problem = keep(self._recorder, what, result, name="returns")
        mark = {"args": turn.digest, "n": turn.number, "kind": turn.kind}
        if turn.inside:
            mark["in"] = turn.inside
        if problem:
            raise StepError(
                f"{turn.name}() did not run again, and {what} {problem}: it cannot be restored when the run is "
                "resumed. Return plain data, a dataclass, a pydantic model, None or localops.run_again"
            )
        at, step = now_ns(), turn.recorded
        body = {ONCE: {**mark, **fields.pop(ONCE)}, **fields}
        if result is not None:
            body.setdefault("returns", result)
        row = rows.make(
            recorded_steps.RESOLUTION,
            self._recorder.session,
            id=new_id(at),
            at_ns=at,
            name=turn.name,
            parent=step.id if step is not None else None,
            body=self._recorder.writer.encode(body),
        )
        if not self._recorder.journal.append(row, sync=True):
            raise StepError(f"the decision about {turn.name}() could not be written: no result was returned")


def _is_same(known: tuple[str, str, str], key: tuple[str, str, str]) -> bool:
    """Return whether a recorded step is this one, except that a secret was scrubbed from its name."""
    # Imported here, as almost no session has such a step.
    from localops.transfer import scrubbed

    return (known[0], known[2]) == (key[0], key[2]) and scrubbed.is_cut_text(key[1], known[1])


def of(session: Session, name: str) -> Steps:
    """Return the steps of a session. Raise StepError if this process cannot match steps with recorded ones."""
    recorder = session.recorder
    if session.is_unattributed:
        raise StepError(
            f"{name}() did not run: a step that runs once needs a session, and it is not clear which one; call it in "
            "the context of one, or pass session="
        )
    if not recorder.steps and recorder.began_in == os.getpid():
        recorder.steps.append(Steps(recorder))
    if not recorder.steps or recorder.steps[0].pid != os.getpid():
        raise StepError(
            f"{name}() did not run: steps that run once belong to the process that began the session, or that "
            "continued it with localops.resume(); call it there, or begin a session of its own in this process"
        )
    known: Steps = recorder.steps[0]
    return known


def digest(recorder: Recorder, name: str, params: dict[str, Any] | None, defaults: dict[str, Any]) -> str:
    """Return a digest of a call's arguments. Raise StepError for arguments that a resumed run would not recognise.

    An argument that equals its default is left out, so that adding a parameter with a default keeps the digest.
    """
    packed: dict[str, Any] = {}
    for argument, value in (params or {}).items():
        plain = _pack(recorder, name, f"its argument {argument!r}", value)
        if argument in defaults and plain == _pack_default(recorder, defaults[argument]):
            continue
        packed[argument] = plain
    if recorder.writer.encoder.redacts({"params": packed}):
        raise StepError(
            f"{name}() did not run: its arguments hold a secret, which is not recorded, so that the call would not be "
            "recognised. Give once=True a key=, such as key=lambda order, token: order, from a run's first process on: "
            "a call that was recorded without it would run again"
        )
    return _digest(packed)


def digest_of_key(recorder: Recorder, name: str, key: object) -> tuple[str, str]:
    """Return the digest of a key that the program gives a call, and the beginning of its text."""
    packed = _pack(recorder, name, "its key", key)
    if recorder.writer.encoder.redacts({"params": packed}):
        raise StepError(f"{name}() did not run: its key holds a secret; give another key=")
    return _digest({"$key": packed}), encode.dumps(packed).decode()[: recorded_steps.PREVIEW]


def _pack(recorder: Recorder, name: str, what: str, value: object) -> Any:
    try:
        return faithful.pack(value, recorder.writer.encoder.redacts_bytes)
    except faithful.Unfaithful as error:
        raise StepError(
            f"{name}() did not run: {what} {error}, so that the call would not be recognised when its run is resumed. "
            "Give once=True a key= that returns plain data, such as key=lambda order, client: order"
        ) from error


def _pack_default(recorder: Recorder, value: object) -> Any:
    try:
        return faithful.pack(value, recorder.writer.encoder.redacts_bytes)
    except faithful.Unfaithful:
        return RUN  # equal to no value


def _digest(packed: Any) -> str:
    return blake2b(encode.sorted_dumps(packed), digest_size=16).hexdigest()


def keep(recorder: Recorder, what: str, result: object, *, name: str) -> tuple[dict[str, Any], str]:
    """Return the fields that store a result, and why values of its class cannot be restored, or an empty text.

    If only the content prevents storing it (a secret, its size), the fields mark it as not kept, and a warning about
    `what` is printed.
    """
    if result is None:
        return {ONCE: {"kept": "none"}}, ""
    try:
        packed = faithful.pack(result, recorder.writer.encoder.redacts_bytes)
        if faithful.pack(faithful.unpack(packed)) != packed:
            kind = type(result).__name__
            raise faithful.Unfaithful(f"is of the class {kind}, which changes when it is stored and read again")
    except faithful.HoldsSecret as error:
        return _not_kept(what, f"it {error}"), ""
    except faithful.Unfaithful as error:
        return {ONCE: {"kept": None, "why": f"it {error}"}}, str(error)
    if name == "returns" and not faithful.is_plain(result):
        name = "exact"
    body = encode.loads(recorder.writer.encode({name: packed}))
    try:
        if faithful.whole(body.get(name), lambda known: _blob(recorder, known)) == packed:
            return {ONCE: {"kept": name}, **({} if name == "returns" else {name: packed})}, ""
    except (OSError, ValueError):
        pass
    secret = "redacted" in body.get("notes", {})
    return _not_kept(what, "it holds a secret, which is not kept" if secret else "it is too large to be kept"), ""


def _blob(recorder: Recorder, known: str) -> bytes:
    return recorded_steps.read_blob(recorder.journal.folder, known)


def _not_kept(what: str, why: str) -> dict[str, Any]:
    say_once(
        f"result: {what}",
        f"{what} cannot be restored when its run is resumed: {why}. It would raise "
        "localops.Uncertain then, or ask on_uncertain=",
    )
    return {ONCE: {"kept": None, "why": why}}


def left_out(what: str) -> dict[str, Any]:
    """Return the fields for a result that is not recorded because capture is off."""
    return _not_kept(what, "results are not recorded (capture is off)")
