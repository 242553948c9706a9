"""The details of a session on its page, besides its figures, and all facts about one event."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from localops import config
from localops.encoding import encode, pricing
from localops.errors import ConfigError
from localops.journal import blobs, participants, rows, stored, wire
from localops.reading import analytics, facts, finish_reasons, media_types, open_ends, previews, session_state
from localops.reading.story import Milestone, Story, unpacked
from localops.reading.timeline import ask, row_at
from localops.recording.events import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Protocol

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts
    from localops.reading.home import Listed
    from localops.reading.snapshot import Snapshot
    from localops.transfer.delivery import Ledger

    class Where(Protocol):
        """An open project."""

        @property
        def name(self) -> str:
            """The name of the project."""

        @property
        def folder(self) -> str:
            """The folder of the project."""

        @property
        def reader(self) -> Reader:
            """The reader of the project's journal."""


# The most rows of a session to compare its calls with the price table, which takes about 50 ms.
_COMPARED = 2_000
# The most ranges of rows missing at a remote to look up.
_GAPS = 1_000
# The newest receipts to search for that of a session.
_RECEIPTS = 100


def more(project: Where, snapshot: Snapshot) -> Facts:
    """Return host, metadata, video, agents, processes, remotes and the sources of the cost."""
    story = snapshot.story
    return {
        "host_env": story.host_env,
        "metadata": story.metadata,
        "video": _video(project, story.video),
        "host": _host(story.host_env),
        "agents": [part.value for part in snapshot.parts["agent"]],
        "participants": list(_participants(project, story)),
        "open_ends": open_ends.notices(snapshot),
        "sync": [_remote(project, name, snapshot) for name in _remotes(project.folder)],
        "provenance": _provenance(project, snapshot),
    }


def of_list(sessions: Sequence[Listed]) -> dict[bytes, Facts]:
    """Return the details of listed sessions: agents, models, host, the reason of the state and its cause."""
    details: dict[bytes, Facts] = {}
    for project in dict.fromkeys(one.project for one in sessions):
        mine = [one for one in sessions if one.project is project]
        ids = encode.dumps([one.session.hex() for one in mine]).decode()
        parts: dict[bytes, dict[str, list[str]]] = {}
        for session, dim, value in ask(project.reader, "catalogue_parts_of", ids=ids):
            parts.setdefault(session, {}).setdefault(dim, []).append(value)
        milestones: dict[bytes, list[Milestone]] = {}
        for session, *columns in ask(project.reader, "began", ids=ids):
            milestones.setdefault(session, []).append(Milestone(*columns))
        ends = {session: (name, body) for session, name, body in ask(project.reader, "ended", ids=ids)}
        for one in mine:
            story = Story(milestones.get(one.session, ()))
            # The derived tables do not have its rows yet.
            if one.session not in milestones:
                snapshot = project.snapshot(one.session)
                story = snapshot.story
                parts[one.session] = {dim: [part.value for part in snapshot.parts[dim]] for dim in ("agent", "model")}
            own = parts.get(one.session, {})
            reason = _reason(one, ends.get(one.session))
            details[one.session] = {
                "agents": sorted(own.get("agent", []), key=str.casefold),
                "models": sorted(own.get("model", []), key=str.casefold),
                "host": story.host,
                "reason": reason,
                "cause": facts.cause_of(reason),
                "inside": _inside(one) if one.state == "Running" else None,
            }
    return details


def _inside(one: Listed) -> str | None:
    """Return the newest of the innermost open operations of a running session."""
    begun = stored.unfinished(one.project.reader, one.session)
    parents = {each.parent for each in begun}
    innermost = next((each for each in reversed(begun) if each.id not in parents), None)
    return None if innermost is None else innermost.name or innermost.kind


def _reason(one: Listed, end: tuple[str | None, str | None] | None) -> str | None:
    """Return the reason of a session's state: the recorded one, else the derived one."""
    if end is not None and end[0] == one.state:
        reason = unpacked(end[1]).get("reason")
        return reason if reason is None else str(reason)
    return None if one.state == "Running" else one.project.standing(one.session).reason


def _host(host_env: dict[str, Any]) -> str | None:
    system = host_env.get("OS")
    return system.get("Hostname") if isinstance(system, dict) else None


def _video(project: Where, value: object) -> Facts | None:
    if not isinstance(value, str):
        return None
    scheme, _, rest = value.partition(":")
    return attachment(project, rest) if scheme == "blob" else {"url": value}


def _participants(project: Where, story: Story) -> Iterator[Facts]:
    """Yield the processes that recorded into the session, in the order in which they joined."""
    hub = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(project.folder)), session_state.HUB))
    for card, came, left in story.participants():
        is_gone = left is not None or session_state.found_dead(story, came)
        yield {
            "host": card.get("host"),
            "pid": card.get("pid"),
            "alive": False if is_gone else None if hub else participants.is_alive(project.folder, card),
            "began": iso(came),
            "last": iso(left) if left else None,
        }


def _remotes(folder: str) -> list[str]:
    # Imported late: prune imports search, whose patterns take 3 ms to compile.
    from localops.upkeep import prune

    try:
        return [*prune.remotes(folder)]
    except ConfigError:
        return []


def _remote(project: Where, name: str, snapshot: Snapshot) -> Facts:
    """Return how many rows of a session a remote has, and when it sent the receipt."""
    # Imported late, as most homes have no remotes.
    from localops.transfer import delivery

    ledger = delivery.Ledger(project.reader, project.folder, name)
    gaps = encode.dumps(ledger.gaps(upto=snapshot.totals.last_seq)[-_GAPS:]).decode()
    [(waiting, parked)] = ask(project.reader, "at_remote", session=snapshot.id, remote=name, gaps=gaps)
    return {
        "remote": name,
        "delivered": snapshot.totals.rows - waiting - parked,
        "waiting": waiting,
        "parked": parked,
        "receipt_at": None if waiting else _receipt_time(ledger, snapshot.totals.last_seq),
    }


def _receipt_time(ledger: Ledger, seq: int) -> str | None:
    for _, at_ns, receipt in ledger.receipts(_RECEIPTS):
        if any(first <= seq <= last for first, last in receipt.get("ranges") or ()):
            return iso(at_ns)
    return None


def _provenance(project: Where, snapshot: Snapshot) -> Facts:
    """Count the calls whose cost came from the program, those priced with the table, and those without a price.

    A row does not store the source of its cost, so the cost is compared with the one by the current table.
    """
    try:
        prices = config.prices(os.path.dirname(project.folder))
    except ConfigError:
        prices = pricing.Prices()
    counts: dict[str, Any] = {
        "unpriced": snapshot.totals.unpriced,
        "table": {"version": prices.version, "date": prices.date},
    }
    if snapshot.totals.rows > _COMPARED:
        return {**counts, "given": None, "priced": None, "later": None, "unbilled": None}
    costs = list(map(_Cost._make, ask(project.reader, "costs", session=snapshot.id)))
    calls = [cost for cost in costs if cost.kind == "llm"]
    known = [call for call in calls if not call.is_unbilled]
    by_table = sum(call.nano == _priced(prices, call) for call in known)
    later = {price.parent for price in costs if price.kind == "price"}
    unbilled = {price.parent for price in costs if price.kind == "price" and price.name == rows.UNBILLED}
    return {
        **counts,
        "given": len(known) - by_table,
        "priced": by_table,
        "later": len(later - unbilled),
        "unbilled": len(unbilled) + len(calls) - len(known),
    }


class _Cost(NamedTuple):
    """A row of the statement `costs`: the cost of an LLM call, or an addition by a later price."""

    kind: str
    name: str | None
    parent: bytes | None
    at_ns: int
    start_ns: int | None
    model: str
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    nano: int
    body: str | None

    @property
    def is_unbilled(self) -> bool:
        """Return whether it was recorded as not billed by the provider."""
        return bool(self.nano == 0 and self.body and encode.loads(self.body).get("billed") is False)


def _priced(prices: pricing.Prices, call: _Cost) -> int | None:
    body = encode.loads(call.body) if call.body else {}
    usage = pricing.usage_of(call.tokens_in, call.tokens_out, call.tokens_cached, body)
    at_ns = call.at_ns if call.start_ns is None else call.start_ns
    return prices.cost_of_call(call.model, usage, provider=body.get("provider"), at_ns=at_ns)


# One event


def event(project: Where, session: bytes, named: int | bytes) -> Facts | None:
    """Return all facts about the event of a row's seq or with an id, its stored rows, and its attachments."""
    row = row_at(project.reader, named) if isinstance(named, int) else _row_of(project.reader, named)
    if row is None or row.session != session or row.kind in rows.BOOKS:
        return None
    other = stored.one(project.reader, row.id, 1 - row.phase)
    done, opened = (other, row) if row.phase == rows.OPEN and other else (row, other)
    event_facts = facts.event(done, opened, analytics.afterwards(project.reader, session).get(row.id))
    both = [each for each in (opened, done) if each is not None]
    return {
        **event_facts,
        "project": project.name,
        "entry": min(each.seq for each in both),
        "agent_name": analytics.agent_name(project.reader, done.agent.hex()) if done.agent else None,
        "parent_entry": entry_of(project.reader, event_facts["parent"]),
        "trigger_entry": entry_of(project.reader, trigger_of(event_facts)),
        "empty": why_empty(event_facts),
        "raw": [encode.loads(wire.from_row(each.bare)) for each in both],
        "attachments": [attachment(project, digest) for digest in blobs.named([each.body for each in both])],
    }


def why_empty(event_facts: Facts) -> str | None:
    """Return why an LLM call's answer is empty, or an empty text if that is unknown; None if there is an answer."""
    if event_facts["kind"] != "llm" or not event_facts["finished"] or event_facts["failed"]:
        return None
    if not previews.is_empty_result("llm", event_facts):
        return None
    return finish_reasons.of_empty(event_facts)


def trigger_of(event_facts: Facts) -> object:
    """Return the id of the event that caused an error; by default its parent."""
    if event_facts["kind"] != "error":
        return None
    trigger: Any = event_facts.get("trigger")
    return (trigger.get("id") if isinstance(trigger, dict) else None) or event_facts["parent"]


def entry_of(reader: Reader, id: object) -> int | None:
    """Return the first seq of an event."""
    try:
        key = bytes.fromhex(id.replace("-", "")) if isinstance(id, str) else b""
    # An id from another system.
    except ValueError:
        return None
    row = _row_of(reader, key) if key else None
    return row.seq if row else None


def _row_of(reader: Reader, id: bytes) -> stored.Stored | None:
    """Return the first row of an event."""
    return stored.one(reader, id, rows.OPEN) or stored.one(reader, id, rows.DONE)


def attachment(project: Where, digest: str) -> Facts:
    """Return a blob's media type, size and URL; `bytes` is None if the blob is not stored here."""
    first: bytes = b""
    size: int | None = None
    with suppress(OSError, ValueError):
        first, size = blobs.head(project.folder, digest)
    return {
        "blob": digest,
        "digest": digest,
        "bytes": size,
        "kind": media_types.kind_of(first).name,
        "url": f"/blobs/{project.name}/{digest}",
    }
