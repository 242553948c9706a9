"""Store sessions of AgentOps' v2 protocol as rows.

The client sends the whole session with each change.  Several processes may send the same one (an inherited session),
and each knows only its own part.  So each is a participant here, and its tags are compared with those that it sent
before.  An end ends the session if the process that began it sends it; that of another participant counts until a
later row shows that the session continued.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import NamedTuple

from localops.encoding import encode
from localops.journal import rows
from localops.recording import events
from localops.server.intake import tolerant
from localops.server.intake.agentops_events import RAW, time_ns
from localops.server.intake.desk import problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from localops.journal.rows import Row
    from localops.reading.story import Milestone, Story
    from localops.server.intake.desk import Desk, ForeignWriter

    Sent = Mapping[str, Any]

_STATES = {"success": "Success", "fail": "Failure", "failure": "Failure", "indeterminate": "Indeterminate"}
# Characters of a reason, which may hold a traceback.
_LONGEST_REASON = 100_000
# An attribute of a session of 0.3.18 and earlier, in which an end time means that it has ended.
_OF_EARLIER = "stop_flag"


class Participant(NamedTuple):
    """A process that sends data of a session."""

    session: bytes
    id: bytes


def participant(sent: Sent) -> Participant:
    """Return the process that sends a session, by when it began it; ValueError without a valid id."""
    given = sent.get("session_id") or sent.get("id")
    if not isinstance(given, str) or not events.is_uuid(given):
        raise ValueError("invalid session_id: expected a UUID")
    session = uuid.UUID(given)
    began = tolerant.dumps(sent.get("init_timestamp"))
    return Participant(session.bytes, uuid.uuid5(session, f"agentops participant {began}").bytes)


def begin(desk: Desk, who: Participant, sent: Sent) -> None:
    """Store that a process began a session, or joined it."""
    _store(desk, who, _start_rows(desk, who, sent, desk.story(who.session)))
    # The session may have ended already.
    if sent.get("end_timestamp"):
        update(desk, who, sent)


def update(desk: Desk, who: Participant, sent: Sent) -> None:
    """Store what is new in a session."""
    story = desk.story(who.session)
    made = list(_start_rows(desk, who, sent, story))
    has_ended = any(one.participant == who.id for one in story.of_kind(*rows.LEAVES))
    ends_ns = _end_ns(sent, desk.last_ns(who.session) or events.now_ns())
    # Otherwise it was sent before the end, and arrived after it.
    if ends_ns is not None or not has_ended:
        made += _changes(desk, who, sent, story)
    if ends_ns is not None:
        made += _end_rows(desk.writer(who.session), who, sent, ends_ns, is_first=_is_first(story, who))
    _store(desk, who, made)


def agent(desk: Desk, session: bytes, sent: Sent) -> None:
    """Store an agent; ValueError without an id."""
    given = sent.get("id")
    if not given:
        raise ValueError("invalid id: expected the id of the agent")
    writer = desk.writer(session)
    name = sent.get("name")
    at = desk.last_ns(session) or events.now_ns()
    known = writer.agent_id(given)
    fields = {"agent_id": given, **({"logs": sent["logs"]} if sent.get("logs") else {})}
    title = writer.text(name) if isinstance(name, str) and name else "Default Agent"
    _add(desk, session, [writer.note("agent", known, at, fields=fields, name=title)])


def thread(desk: Desk, session: bytes, sent: Sent) -> None:
    """Store a thread, to which calls of models refer; ValueError without an id."""
    given = sent.get("id")
    if not given:
        raise ValueError("invalid id: expected the id of the thread")
    beside(desk, session, "thread", dict(sent))


def beside(desk: Desk, session: bytes, name: str, fields: dict[str, object]) -> None:
    """Store what is sent in addition to events, once."""
    writer = desk.writer(session)
    digest = hashlib.sha256(tolerant.dumps(fields).encode("utf-8", "backslashreplace")).hexdigest()
    id = uuid.uuid5(uuid.UUID(bytes=session), f"agentops {name} {digest}").bytes
    at = desk.last_ns(session) or events.now_ns()
    _add(desk, session, [rows.make(RAW, session, id=id, at_ns=at, name=name, body=writer.encode(fields))])


# The rows


def _start_rows(desk: Desk, who: Participant, sent: Sent, story: Story) -> Iterator[Row]:
    """Yield the row of a process that is new in the session."""
    if _start_of(story, who) is not None:
        return
    writer = desk.writer(who.session)
    is_begun = desk.row(who.session) is not None
    at = time_ns(sent.get("init_timestamp")) or desk.last_ns(who.session) or events.now_ns()
    fields = _card(sent)
    yield writer.note(
        "join" if is_begun else "session",
        uuid.uuid5(uuid.UUID(bytes=who.id), "join").bytes if is_begun else who.session,
        at,
        fields=fields,
        parent=who.id,
        tags=writer.tags_text(_tags(sent) or []),
    )


def _changes(desk: Desk, who: Participant, sent: Sent, story: Story) -> Iterator[Row]:
    """Yield rows for tags, a video or a machine that differ from what the process sent before."""
    writer, named = desk.writer(who.session), uuid.UUID(bytes=who.id)
    at = max(desk.last_ns(who.session) or 0, *(one.at_ns for one in story.of_kind(*rows.STARTS, "tags")), 0) + 1
    start = _start_of(story, who)
    tags = _tags(sent)
    if tags is not None and start is not None:
        yield from _tag_rows(writer, who, story, writer.tag_list(tags), at, _counts(sent.get("event_counts")))
    video = sent.get("video")
    if video and video != story.video:
        fields = {"video": video}
        digest = _digest(fields)
        yield writer.note("video", uuid.uuid5(named, f"video {digest}").bytes, at, fields=fields)
    machine = sent.get("host_env")
    if isinstance(machine, dict) and machine and start is not None:
        fields = {"host_env": machine}
        text = writer.encode(fields)
        if encode.loads(text)["host_env"] != start.body.get("host_env"):
            yield writer.note("host", uuid.uuid5(named, f"host {_digest(fields)}").bytes, at, body=text)


def _tag_rows(
    writer: ForeignWriter, who: Participant, story: Story, tags: list[str], at: int, counts: dict[str, int]
) -> Iterator[Row]:
    """Yield a row for the tags that the process added, or, if it removed some, for all that are left.

    `counts` are numbers of events that the process had recorded: they show that an update is older but arrived late.
    """
    if any(counts.get(kind, many) < many for kind, many in _counts_with_tags(story, who).items()):
        return
    sent_by = _tags_by_participant(story)
    before = sent_by.pop(who.id, [])
    added = [tag for tag in tags if tag not in before]
    of_others = {tag for listed in sent_by.values() for tag in listed}
    removed = {tag for tag in before if tag not in tags} - of_others
    if not added and not removed and set(tags) == set(before):
        return
    left = [tag for tag in story.tags if tag not in removed]
    number = sum(one.body.get("participant") == who.id.hex() for one in story.of_kind("tags"))
    yield writer.note(
        "tags",
        uuid.uuid5(uuid.UUID(bytes=who.id), f"tags {number} {_digest(tags)}").bytes,
        at,
        fields={"participant": who.id.hex(), "tags": tags, **({"event_counts": counts} if counts else {})},
        name="set" if removed else "add",
        tags=encode.dumps([*left, *(tag for tag in added if tag not in left)] if removed else added).decode(),
    )


def _counts(given: object) -> dict[str, int]:
    """Return the numbers of events that an update names."""
    if not isinstance(given, dict):
        return {}
    return {kind: many for kind, many in given.items() if isinstance(kind, str) and type(many) is int}


def _counts_with_tags(story: Story, who: Participant) -> dict[str, int]:
    """Return how many events a process had recorded when its tags changed last."""
    counts: dict[str, int] = {}
    for one in story.of_kind("tags"):
        if one.body.get("participant") == who.id.hex():
            counts = _counts(one.body.get("event_counts"))
    return counts


def _end_rows(writer: ForeignWriter, who: Participant, sent: Sent, at: int, *, is_first: bool) -> Iterator[Row]:
    """Yield the row of the session's end; from a process that joined, that it left, and of the possible end."""
    given = sent.get("end_state")
    state = _STATES.get(given.lower() if isinstance(given, str) else "", "Indeterminate")
    reason = sent.get("end_state_reason")
    why: dict[str, object] = {"reason": writer.text(reason, _LONGEST_REASON)} if reason else {}
    # AgentOps refuses other words, and its clients do not send them.
    if isinstance(given, str) and given.lower() not in _STATES:
        why["end_state"] = given
    named, digest = uuid.UUID(bytes=who.id), _digest([at, state, why])
    if is_first:
        yield writer.note("end", uuid.uuid5(named, f"end {digest}").bytes, at, fields=why, name=state, parent=who.id)
        return
    left = {"end_state": state, **why}
    yield writer.note("leave", uuid.uuid5(named, f"leave {digest}").bytes, at, fields=left, parent=who.id)
    if "reason" not in why:
        why["reason"] = "a process that had joined the session ended it"
    why["derived"] = 1
    yield writer.note("end", uuid.uuid5(named, f"end {digest}").bytes, at, fields=why, name=state)


def _card(sent: Sent) -> dict[str, object]:
    """Return what is known about the process and its machine."""
    machine = sent.get("host_env")
    if not isinstance(machine, dict):
        return {"client": "agentops"}
    sdk, system = machine.get("SDK"), machine.get("OS")
    release = sdk.get("AgentOps SDK Version") if isinstance(sdk, dict) else None
    card: dict[str, object] = {"client": f"agentops {release}" if isinstance(release, str) else "agentops"}
    name = system.get("Hostname") if isinstance(system, dict) else None
    if isinstance(name, str) and name:
        card["host"] = name
    return {**card, "host_env": machine}


def _end_ns(sent: Sent, last_ns: int) -> int | None:
    """Return when the session ended, by default the time of its last row; None if it is running.

    Clients of 0.3.19 and later send an end time already while it runs, from the first get_analytics() on; earlier ones
    send `is_running: true` even when they end it.
    """
    at = time_ns(sent.get("end_timestamp"))
    is_decided = sent.get("end_state") not in (None, "", "Indeterminate")
    if at is None:
        return last_ns if is_decided and sent.get("is_running") is not True else None
    runs = sent.get("is_running") is True and _OF_EARLIER not in sent
    return at if is_decided or not runs else None


def _tags(sent: Sent) -> list[str] | None:
    """Return the tags of a session; None if the request has none."""
    given = sent.get("tags")
    if given is None:
        return None
    listed = given if isinstance(given, list) else [given] if given != "" else []
    return [tag if isinstance(tag, str) else tolerant.dumps(tag) for tag in listed]


def _start_of(story: Story, who: Participant) -> Milestone | None:
    return next((one for one in story.of_kind(*rows.STARTS) if one.participant == who.id), None)


def _is_first(story: Story, who: Participant) -> bool:
    """Return whether a process began the session, or is the only known one."""
    first = next(story.of_kind("session"), None)
    return first is None or first.participant == who.id


def _tags_by_participant(story: Story) -> dict[bytes, list[str]]:
    """Return the tags that each process last sent."""
    tags = {
        one.participant: encode.loads(one.tags) if one.tags else []
        for one in story.of_kind(*rows.STARTS)
        if one.participant
    }
    for one in story.of_kind("tags"):
        sender, listed = one.body.get("participant"), one.body.get("tags")
        if isinstance(sender, str) and isinstance(listed, list):
            tags[bytes.fromhex(sender)] = listed
    return tags


# Storing


def _store(desk: Desk, who: Participant, made: Iterator[Row] | list[Row]) -> None:
    _add(desk, who.session, list(made))


def _add(desk: Desk, session: bytes, made: list[Row]) -> None:
    """Store rows; store one that readers could not parse as text."""
    whole = [rows.whole(row) for row in made]
    valid = []
    for row in whole:
        why = problem(row)
        valid.append(row if why is None else _as_text(desk, session, row, why))
    if valid:
        desk.add(valid)


def _as_text(desk: Desk, session: bytes, row: Row, why: str) -> Row:
    columns = dict(zip(rows.COLUMNS, row, strict=True))
    fields: dict[str, object] = {"problem": why, "kind": columns["kind"], "body": columns["body"]}
    id = uuid.uuid5(uuid.UUID(bytes=session), f"agentops raw {_digest([columns['id'].hex(), columns['body']])}").bytes
    body = desk.writer(session).encode(fields)
    return rows.make(RAW, session, id=id, at_ns=events.now_ns(), name="invalid session", body=body)


def _digest(value: object) -> str:
    return hashlib.sha256(tolerant.dumps(value).encode("utf-8", "backslashreplace")).hexdigest()
