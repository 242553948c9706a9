"""What a page says of one session beside its figures, and all there is of one event."""

from __future__ import annotations

import os

from localops import alive, analytics, blobs, config, encode, ends, lines, pricing, rows
from localops.errors import ConfigError
from localops.events import iso
from localops.server import facts
from localops.server.timeline import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from localops.analytics import Totals
    from localops.delivery import Ledger
    from localops.home import Listed, Project
    from localops.reader import Reader
    from localops.server.facts import Facts

_PRICED_ANEW = 2_000  # rows of a session whose calls are held against the price table: some 50 ms
_GAPS = 1_000  # ranges of rows that a remote lacks, looked at one by one
_RECEIPTS = 100  # the newest ones, among which that of a session is looked for
_STORED = ("seq", *rows.COLUMNS)
_ID, _PHASE, _SESSION, _KIND = map(_STORED.index, ("id", "phase", "session", "kind"))

# What a file is, by its first bytes: its name and what was said of it are whoever recorded it's word.
_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "video/webm"),
)


def more(project: Project, session: bytes, figures: Totals) -> Facts:
    """Where and by whom it was recorded, what was noted, how its cost came about, who has it."""
    story = [(row, encode.loads(row[7]) if row[7] else {}) for row in project.reader.all("story", session=session)]
    told: dict[str, Any] = {"host_env": {}, "metadata": {}, "video": None}
    for row, body in story:
        told["host_env"].update(body.get("host_env") or {})
        told["metadata"].update(body.get("metadata") or {})
        if row[2] == "video":
            told["video"] = _video(project, body.get("video"))
    return {
        **told,
        "host": _host(told["host_env"]),
        "agents": [part.value for part in analytics.parts(project.reader, session, "agent")],
        "participants": list(_participants(project, story)),
        "sync": [_remote(project, name, session, figures) for name in _remotes(project.folder)],
        "provenance": _provenance(project, session, figures),
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
        story: dict[bytes, list[tuple[str, str | None, dict[str, Any]]]] = {}
        for session, kind, name, body in ask(project.reader, "began_and_ended", ids=ids):
            story.setdefault(session, []).append((kind, name, encode.loads(body) if body else {}))
        for one in mine:
            if one.session not in story:  # not folded yet
                parts[one.session] = {
                    dim: [part.value for part in analytics.parts(project.reader, one.session, dim)]
                    for dim in ("agent", "model")
                }
                told_by = project.reader.all("story", session=one.session)
                story[one.session] = [(row[2], row[3], encode.loads(row[7]) if row[7] else {}) for row in told_by]
            rows_of = story[one.session]
            told[one.session] = {
                "agents": sorted(parts.get(one.session, {}).get("agent", []), key=str.casefold),
                "models": sorted(parts.get(one.session, {}).get("model", []), key=str.casefold),
                "host": next((body["host"] for kind, _, body in rows_of if kind == "session" and "host" in body), None),
                "reason": _reason(one, rows_of),
            }
    return told


def _reason(one: Listed, story: Sequence[tuple[str, str | None, dict[str, Any]]]) -> str | None:
    """Why a session stands as it does; what nobody wrote down is asked of its standing."""
    said = [body for kind, name, body in story if kind == "end" and name == one.state]
    declared = [body for body in said if not body.get("derived")]
    if said:
        reason = (declared or said)[-1].get("reason")
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


def _participants(project: Project, story: Sequence[tuple[Any, dict[str, Any]]]) -> Iterator[Facts]:
    """The processes that took part, in the order they came."""
    left = {row[4]: row[0] for row, _ in story if row[2] in ("leave", "end") and row[4]}
    hub = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(project.folder)), ends.HUB))
    seen = set()
    for row, card in story:
        if row[2] not in ("session", "join") or not row[4] or row[4] in seen:
            continue
        seen.add(row[4])
        gone = left.get(row[4])
        yield {
            "host": card.get("host"),
            "pid": card.get("pid"),
            "alive": False if gone else None if hub else alive.is_alive(project.folder, card),
            "began": iso(row[0]),
            "last": iso(gone) if gone else None,
        }


def _remotes(folder: str) -> list[str]:
    from localops import prune  # knows search, whose patterns take 3 ms to compile

    try:
        return prune.remotes(folder)
    except ConfigError:
        return []


def _remote(project: Project, name: str, session: bytes, figures: Totals) -> Facts:
    """How much of a session a remote has, and when it signed for that."""
    from localops import delivery  # most homes have no remotes

    ledger = delivery.Ledger(project.reader, project.folder, name)
    gaps = ledger.gaps()[-_GAPS:]
    waiting = sum(
        ask(project.reader, "rows_between", session=session, first=first, last=last)[0][0] for first, last in gaps
    )
    parked = ask(project.reader, "parked", session=session, remote=name)[0][0]
    return {
        "remote": name,
        "delivered": figures.rows - waiting - parked,
        "waiting": waiting,
        "parked": parked,
        "receipt_at": None if waiting else _signed(ledger, figures.last_seq),
    }


def _signed(ledger: Ledger, seq: int) -> str | None:
    for _, at_ns, receipt in ledger.receipts(_RECEIPTS):
        if any(first <= seq <= last for first, last in receipt.get("ranges") or ()):
            return iso(at_ns)
    return None


def _provenance(project: Project, session: bytes, figures: Totals) -> Facts:
    """How many calls brought their cost along, how many were priced by the table, and how many nobody priced.

    A row does not say which: its cost is held against that of today's table.
    """
    try:
        prices = pricing.Prices(config.own_prices(os.path.dirname(project.folder)))
    except ConfigError:
        prices = pricing.Prices()
    told: dict[str, Any] = {"unpriced": figures.unpriced, "table": {"version": prices.version, "date": prices.date}}
    if figures.rows > _PRICED_ANEW:
        return {**told, "given": None, "priced": None, "later": None, "unbilled": None}
    calls = [row for row in ask(project.reader, "calls", session=session) if row[7] is not None]
    known = [row for row in calls if not _is_unbilled(row)]
    by_table = sum(row[7] == _priced(prices, row) for row in known)
    later = [each for each in analytics.afterwards(project.reader, session).values() if each.cost is not None]
    unbilled = sum(bool(each.unbilled) for each in later)
    return {
        **told,
        "given": len(known) - by_table,
        "priced": by_table,
        "later": len(later) - unbilled,
        "unbilled": unbilled + len(calls) - len(known),
    }


def _is_unbilled(row: tuple[Any, ...]) -> bool:
    return bool(row[7] == 0 and row[8] and encode.loads(row[8]).get("billed") is False)


def _priced(prices: pricing.Prices, row: tuple[Any, ...]) -> int | None:
    _, at_ns, start_ns, model, given, made, cached, _, body = row
    told = encode.loads(body) if body else {}
    usage = pricing.Usage(input=given, output=made, cached=cached, cache_write=told.get("cache_write_tokens"))
    return prices.cost(model, usage, provider=told.get("provider"), at_ns=start_ns if start_ns is not None else at_ns)


# One event


def event(project: Project, session: bytes, seq: int) -> Facts | None:
    """Everything of the event that a row is of: put together, as it is stored, and what it refers to."""
    found = ask(project.reader, "row_at", seq=seq)
    if not found or found[0][_SESSION] != session or found[0][_KIND] in rows.BOOKS:
        return None
    row = found[0]
    other = project.reader.one("row", id=row[_ID], phase=1 - row[_PHASE])
    done, opened = (other, row) if row[_PHASE] == rows.OPEN and other else (row, other)
    later = analytics.afterwards(project.reader, session)
    told = facts.event(done, opened if opened is not done else None, later.get(row[_ID]))
    stored = [each for each in (opened, done) if each is not None]
    bodies = [each[-1] for each in stored]
    return {
        **told,
        "project": project.name,
        "entry": min(each[0] for each in stored),
        "agent_name": analytics.agent_name(project.reader, done[_STORED.index("agent")].hex())
        if told["agent"]
        else None,
        "parent_entry": _entry(project.reader, told["parent"]),
        "trigger_entry": _entry(project.reader, _trigger(told)),
        "raw": [encode.loads(lines.from_row(tuple(each[1:]))) for each in dict.fromkeys(stored)],
        "attachments": [attachment(project, digest) for digest in blobs.named(bodies)],
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
        found = reader.one("row", id=key, phase=phase)
        if found:
            return int(found[0])
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
