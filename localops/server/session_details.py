"""What a page says of one session beside its figures, and all there is of one event."""

from __future__ import annotations

import os
from typing import NamedTuple

from localops import config
from localops.encoding import encode, pricing
from localops.errors import ConfigError
from localops.journal import blobs, lines, participants, rows, stored
from localops.reading import analytics, facts, session_state
from localops.reading.story import Milestone, Story
from localops.recording.events import iso
from localops.server.timeline import ask, row_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts
    from localops.reading.home import Listed, Project
    from localops.reading.snapshot import Snapshot
    from localops.transfer.delivery import Ledger

_PRICED_ANEW = 2_000  # rows of a session whose calls are held against the price table: some 50 ms
_GAPS = 1_000  # ranges of rows that a remote lacks, looked at one by one
_RECEIPTS = 100  # the newest ones, among which that of a session is looked for

# What a file is, by its first bytes: its name and what was said of it are whoever recorded it's word.
_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "video/webm"),
)


def more(project: Project, seen: Snapshot) -> Facts:
    """Return where and by whom it was recorded, what was noted, how its cost came about, who has it."""
    story = seen.story
    return {
        "host_env": story.host_env,
        "metadata": story.metadata,
        "video": _video(project, story.video),
        "host": _host(story.host_env),
        "agents": [part.value for part in seen.parts["agent"]],
        "participants": list(_participants(project, story)),
        "sync": [_remote(project, name, seen) for name in _remotes(project.folder)],
        "provenance": _provenance(project, seen),
    }


def of_list(found: Sequence[Listed]) -> dict[bytes, Facts]:
    """What a list says of sessions beside their figures: agents, models, host, and why they ended as they did."""
    told: dict[bytes, Facts] = {}
    for project in dict.fromkeys(one.project for one in found):
        mine = [one for one in found if one.project is project]
        ids = encode.dumps([one.session.hex() for one in mine]).decode()
        parts: dict[bytes, dict[str, list[str]]] = {}
        for session, dim, value in ask(project.reader, "catalogue_parts_of", ids=ids):
            parts.setdefault(session, {}).setdefault(dim, []).append(value)
        milestones: dict[bytes, list[Milestone]] = {}
        for session, *columns in ask(project.reader, "began_and_ended", ids=ids):
            milestones.setdefault(session, []).append(Milestone(*columns))
        for one in mine:
            story = Story(milestones.get(one.session, ()))
            if one.session not in milestones:  # not folded yet
                seen = project.snapshot(one.session)
                story = seen.story
                parts[one.session] = {dim: [part.value for part in seen.parts[dim]] for dim in ("agent", "model")}
            own = parts.get(one.session, {})
            told[one.session] = {
                "agents": sorted(own.get("agent", []), key=str.casefold),
                "models": sorted(own.get("model", []), key=str.casefold),
                "host": story.host,
                "reason": _reason(one, story),
            }
    return told


def _reason(one: Listed, story: Story) -> str | None:
    """Return why a session stands as it does; what nobody wrote down is asked of its standing."""
    ended = [end.body for end in story.of_kind("end") if end.name == one.state]
    declared = [body for body in ended if not body.get("derived")]
    if ended:
        reason = (declared or ended)[-1].get("reason")
        return reason if reason is None else str(reason)
    return None if one.state == "Running" else one.project.standing(one.session).reason


def _host(host_env: dict[str, Any]) -> str | None:
    found = host_env.get("OS")
    return found.get("Hostname") if isinstance(found, dict) else None


def _video(project: Project, value: object) -> Facts | None:
    if not isinstance(value, str):
        return None
    scheme, _, rest = value.partition(":")
    return attachment(project, rest) if scheme == "blob" else {"url": value}


def _participants(project: Project, story: Story) -> Iterator[Facts]:
    """Return the processes that took part, in the order they came."""
    hub = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(project.folder)), session_state.HUB))
    for card, came, left in story.participants():
        yield {
            "host": card.get("host"),
            "pid": card.get("pid"),
            "alive": False if left else None if hub else participants.is_alive(project.folder, card),
            "began": iso(came),
            "last": iso(left) if left else None,
        }


def _remotes(folder: str) -> list[str]:
    from localops.upkeep import prune  # knows search, whose patterns take 3 ms to compile

    try:
        return prune.remotes(folder)
    except ConfigError:
        return []


def _remote(project: Project, name: str, seen: Snapshot) -> Facts:
    """How much of a session a remote has, and when it signed for that."""
    from localops.transfer import delivery  # most homes have no remotes

    ledger = delivery.Ledger(project.reader, project.folder, name)
    gaps = ledger.gaps()[-_GAPS:]
    waiting = sum(
        ask(project.reader, "rows_between", session=seen.id, first=first, last=last)[0][0] for first, last in gaps
    )
    parked = ask(project.reader, "parked", session=seen.id, remote=name)[0][0]
    return {
        "remote": name,
        "delivered": seen.totals.rows - waiting - parked,
        "waiting": waiting,
        "parked": parked,
        "receipt_at": None if waiting else _signed(ledger, seen.totals.last_seq),
    }


def _signed(ledger: Ledger, seq: int) -> str | None:
    for _, at_ns, receipt in ledger.receipts(_RECEIPTS):
        if any(first <= seq <= last for first, last in receipt.get("ranges") or ()):
            return iso(at_ns)
    return None


def _provenance(project: Project, seen: Snapshot) -> Facts:
    """How many calls brought their cost along, how many were priced by the table, and how many nobody priced.

    A row does not say which: its cost is held against that of today's table.
    """
    try:
        prices = pricing.Prices(config.own_prices(os.path.dirname(project.folder)))
    except ConfigError:
        prices = pricing.Prices()
    told: dict[str, Any] = {"unpriced": seen.totals.unpriced, "table": {"version": prices.version, "date": prices.date}}
    if seen.totals.rows > _PRICED_ANEW:
        return {**told, "given": None, "priced": None, "later": None, "unbilled": None}
    every = map(_Call._make, ask(project.reader, "calls", session=seen.id))
    calls = [call for call in every if call.cost is not None]
    known = [call for call in calls if not call.is_unbilled]
    by_table = sum(call.cost == _priced(prices, call) for call in known)
    later = [each for each in analytics.afterwards(project.reader, seen.id).values() if each.cost is not None]
    unbilled = sum(bool(each.unbilled) for each in later)
    return {
        **told,
        "given": len(known) - by_table,
        "priced": by_table,
        "later": len(later) - unbilled,
        "unbilled": unbilled + len(calls) - len(known),
    }


class _Call(NamedTuple):
    """An LLM call, as the statement `calls` gives it."""

    seq: int
    at_ns: int
    start_ns: int | None
    model: str
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    cost: int | None
    body: str | None

    @property
    def is_unbilled(self) -> bool:
        """Whether it was recorded as one that the provider did not charge for."""
        return bool(self.cost == 0 and self.body and encode.loads(self.body).get("billed") is False)


def _priced(prices: pricing.Prices, call: _Call) -> int | None:
    body = encode.loads(call.body) if call.body else {}
    usage = pricing.Usage(
        input=call.tokens_in,
        output=call.tokens_out,
        cached=call.tokens_cached,
        cache_write=body.get("cache_write_tokens"),
    )
    at_ns = call.at_ns if call.start_ns is None else call.start_ns
    return prices.cost(call.model, usage, provider=body.get("provider"), at_ns=at_ns)


# One event


def event(project: Project, session: bytes, seq: int) -> Facts | None:
    """Everything of the event that a row is of: put together, as it is stored, and what it refers to."""
    row = row_at(project.reader, seq)
    if row is None or row.session != session or row.kind in rows.BOOKS:
        return None
    other = stored.one(project.reader, row.id, 1 - row.phase)
    done, opened = (other, row) if row.phase == rows.OPEN and other else (row, other)
    told = facts.event(done, opened, analytics.afterwards(project.reader, session).get(row.id))
    both = [each for each in (opened, done) if each is not None]
    return {
        **told,
        "project": project.name,
        "entry": min(each.seq for each in both),
        "agent_name": analytics.agent_name(project.reader, done.agent.hex()) if done.agent else None,
        "parent_entry": _entry(project.reader, told["parent"]),
        "trigger_entry": _entry(project.reader, _trigger(told)),
        "raw": [encode.loads(lines.from_row(each.bare)) for each in both],
        "attachments": [attachment(project, digest) for digest in blobs.named([each.body for each in both])],
    }


def _trigger(told: Facts) -> object:
    """The event that an error speaks of."""
    found: Any = told.get("trigger")
    return (found.get("id") if isinstance(found, dict) else None) or told["parent"] if told["kind"] == "error" else None


def _entry(reader: Reader, id: object) -> int | None:
    """Where an event began."""
    try:
        key = bytes.fromhex(id.replace("-", "")) if isinstance(id, str) else b""
    except ValueError:  # somebody else's idea of an id
        return None
    for phase in (rows.OPEN, rows.DONE) if key else ():
        row = stored.one(reader, key, phase)
        if row:
            return row.seq
    return None


def attachment(project: Project, digest: str) -> Facts:
    """A blob: what it is, how large, and where it is to be had; `bytes` is null when it is not here."""
    try:
        with open(blobs.find(project.folder, digest), "rb") as file:
            head = file.read(16)
            size: int | None = os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        head, size = b"", None
    return {
        "blob": digest,
        "digest": digest,
        "bytes": size,
        "kind": kind_of(head),
        "url": f"/blobs/{project.name}/{digest}",
    }


def kind_of(head: bytes) -> str:
    """What a file is by its first bytes, as far as we want to know."""
    for sign, at, kind in _SIGNS:
        if head[at : at + len(sign)] == sign:
            return kind
    return "application/octet-stream"
