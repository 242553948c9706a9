"""Scrubbed rows: how a row without a secret replaces the row with it, here and on every hub.

A row is written again under its seq and its identity, with notes in the place of secrets.  Beside it a row of the
journal itself says so: its `parent` is the event, its body has the phase, both checksums and how often each rule
applied, never what was removed.  Its id follows from the identity and the old checksum, so that one look at an index
tells whether a row that comes again is one that was scrubbed.

A hub gets both rows together.  It takes the new one only if that is what it has, with notes in some places: a key to
send cannot make it forget or change anything else.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from itertools import zip_longest
from typing import NamedTuple

from localops.encoding import encode, own_fields, recorded
from localops.encoding.redact import NOTE
from localops.journal import blobs, rows, stored
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import Any

    from localops.journal.reader import Reader
    from localops.journal.rows import Row
    from localops.journal.stored import Stored

    Execute = Callable[..., Any]
    IsFileCut = Callable[[str, str], bool]

KIND, NAME = "journal", "scrubbed"
REFUSED = (
    "it was scrubbed there, and this is the row of before: run `localops scrub` here, too, with the hub's patterns in "
    "config.toml (`redact`)"
)
OTHERWISE = (
    "it was scrubbed there with other rules, and still has a text that was removed here: put the patterns of both into "
    "config.toml (`redact`) and run `localops scrub` and `localops sync` here; if that replaces "
    "nothing, scrub the hub with the patterns of both, and run `localops parked retry` and `localops sync` here"
)
MORE = "it is there with more removed than here"
# Marks the rows in a journal: people read the next one.
WAITS = "it was scrubbed, and the hub is of a release that cannot replace what it has: upgrade the hub"
REPLACED_NEXT = "it was scrubbed here, and is on the hub as it was before: the next `localops sync` replaces it there"
# In meta: the seqs of the rows about those that were scrubbed; and that a scrub, or its last part, was not finished.
_SEQS, UNFINISHED = "scrubbed", "scrub unfinished"
_KEEP = "insert or replace into meta values(?, ?)"
_KEPT = "select value from meta where key = ?"
_KNOWN = "select 1 from id_of where id = ? and phase = 0"
_HELD = "held"
_ABOUT = (
    "select 1 from id_of i cross join event e on e.seq = i.seq "
    "where i.id between ? and ? and e.kind = ? and e.name = ? and e.parent = ? limit 1"
)
_BODIES = _ABOUT.replace("select 1", "select e.id, cast(e.body as blob)").removesuffix(" limit 1")
_STEPS = _BODIES.replace("e.id", "e.at_ns")
_LISTED = "select seq, parent, body from event where seq between ? and ? and kind = ? and name = ?"
_COLUMNS = frozenset(("seq", "kind", "name", "model", "tags", "sum", "body"))  # that may differ
_BLOB = re.compile(r"blob:[0-9a-f]{64}")
# As in a text; longer labels are not written.
_NOTE_IN_FILE = re.compile(rb"\[redacted:[^\[\]]{0,200}\]")
_MOST_COMPARED = 64 << 20  # bytes of a file, which is read whole


class Replacement(NamedTuple):
    """A row about a row that was scrubbed."""

    seq: int
    event: bytes
    phase: int


class Since(NamedTuple):
    """What was scrubbed of a row since it had a certain checksum."""

    at_ns: int  # of the newest scrub
    values: int  # that were replaced; 0 if that is unknown


def id_of(id: bytes, phase: int, total: int) -> bytes:
    """Return the id of the row about a row with this identity and checksum; it sorts by the time of that row."""
    digest = bytearray(sha256(b"localops scrubbed %b %d %d" % (id, phase, total)).digest()[:10])
    # The version and the variant of a UUID whose content is our own.
    digest[0] = digest[0] & 0x0F | 0x80
    digest[2] = digest[2] & 0x3F | 0x80
    return id[:6] + bytes(digest)


def made(
    was: Stored, now: Stored, *, at_ns: int, rules: Mapping[str, int], files: Mapping[str, str], held: bool = False
) -> list[Row]:
    """Return the rows about a replacement: one, or one for each form that a remote may have of the row.

    `files` are the digests of files that were replaced, each with the new one; `held`: the old row was scrubbed on
    another machine, and counts as being here.
    """
    # In pairs: a rule has the name of what it removes, and a value beside such a name is removed.
    facts: dict[str, object] = {"rules": sorted(rules.items())}
    if files:
        facts["files"] = dict(files)
    if held:
        facts[_HELD] = True
    made: dict[bytes, Row] = {}
    for old, new in zip(_forms(was), _forms(now), strict=True):
        id = id_of(was.id, was.phase, old.sum)
        if old.sum != new.sum and id not in made:
            body = encode.dumps({"phase": was.phase, "was": old.sum, "now": new.sum, **facts}).decode()
            made[id] = rows.make(KIND, rows.NO_SESSION, id=id, at_ns=at_ns, name=NAME, parent=was.id, body=body)
    return list(made.values())


def _forms(row: Stored) -> tuple[Stored, ...]:
    return row, *bundle.without_content_as_sent(row)


def is_about(row: Stored) -> bool:
    """Return whether a row is about one that was scrubbed."""
    return row.kind == KIND and row.name == NAME and row.parent is not None


def about(some: Iterable[Stored]) -> list[Stored]:
    """Return those of some rows that are about others which were scrubbed."""
    return [row for row in some if row.kind == KIND and row.name == NAME and row.parent is not None]


def old_files(row: Stored) -> list[str]:
    """Return the digests of the files that were replaced, from a row about one that was scrubbed."""
    try:
        fields = encode.loads(row.body or "null")
    except ValueError:
        return []
    files = fields.get("files") if isinstance(fields, dict) else None
    return [digest for digest in files if blobs.is_digest(digest)] if isinstance(files, dict) else []


def has_some(execute: Execute) -> bool:
    """Return whether any row of the journal was scrubbed; most journals have none, and need no look-ups."""
    return execute(_KEPT, (_SEQS,)).get is not None


def is_unfinished(reader: Reader) -> bool:
    """Return whether secrets may still be left in the files of a journal in which rows were scrubbed."""
    return bool(reader.ask(_KEPT, (UNFINISHED,)))


def begin(execute: Execute) -> None:
    """Note in the open transaction that rows are scrubbed, and let SQLite overwrite what it frees."""
    execute("pragma secure_delete = on").fetchall()
    execute(_KEEP, (UNFINISHED, "1"))


def add(execute: Execute, seqs: Iterable[int]) -> None:
    """Store the seqs of rows about scrubbed ones, in the open transaction, so that they are found without a scan."""
    known = execute(_KEPT, (_SEQS,)).get
    ranges = [(first, last) for first, last in encode.loads(known)] if known else []
    merged = bundle.merged([*ranges, *((seq, seq) for seq in seqs)])
    execute(_KEEP, (_SEQS, encode.dumps(merged).decode()))


def finish(execute: Execute) -> None:
    """Note in the open transaction that no traces are left in the files."""
    execute("delete from meta where key = ?", (UNFINISHED,))
    execute("pragma secure_delete = off").fetchall()


def was_scrubbed(execute: Execute, row: Stored, beside: Collection[bytes] = ()) -> bool:
    """Return whether a row is one that was scrubbed since; `beside`: ids of rows that come with it."""
    id = id_of(row.id, row.phase, row.sum)
    return id in beside or execute(_KNOWN, (id,)).get is not None


def is_settled(reason: str) -> bool:
    """Return whether a remote has a refused row with more removed, so that nothing has to be done.

    Earlier releases added advice after that reason.
    """
    return reason.startswith(MORE)


def is_of_scrub(reason: str) -> bool:
    """Return whether a row is refused as the one here was scrubbed."""
    return reason in (REFUSED, OTHERWISE) or is_settled(reason)


def is_held(execute: Execute, row: Stored) -> bool:
    """Return whether an earlier scrub produced this form of a row, so that this scrub only removes more of it."""
    between = (row.id[:6], row.id[:6] + b"\xff" * 10, KIND, NAME, row.id)
    before = id_of(row.id, row.phase, row.sum)
    for id, body in execute(_BODIES, between).fetchall():
        try:
            facts = encode.loads(body or b"{}")
        except ValueError:
            continue
        if facts.get("phase") == row.phase and (facts.get("now") == row.sum or (id == before and facts.get(_HELD))):
            return True
    return False


def has_been(execute: Execute, event: bytes) -> bool:
    """Return whether a row of this event was scrubbed here."""
    # The ids of the rows about it begin like its own, see `id_of`.
    return execute(_ABOUT, (event[:6], event[:6] + b"\xff" * 10, KIND, NAME, event)).get is not None


def is_known(execute: Execute, row: Row) -> bool:
    """Return whether a row about one that was scrubbed is here already."""
    return execute(_KNOWN, row[:1]).get is not None


def is_folded_otherwise(was: Stored, now: Stored) -> bool:
    """Return whether derived tables hold something that is not in the row any more."""
    return (was.kind, was.name, was.model, was.tags) != (
        now.kind,
        now.name,
        now.model,
        now.tags,
    ) or now.kind in rows.BOOKS


def is_old(reader: Reader, id: bytes, phase: int, total: int) -> bool:
    """Return whether a row of this checksum was scrubbed since."""
    return bool(reader.ask(_KNOWN, (id_of(id, phase, total),)))


def since(reader: Reader, row: Stored, total: int) -> Since | None:
    """Return what was scrubbed of a row since it had this checksum; None if nothing was."""
    if not is_old(reader, row.id, row.phase, total):
        return None
    steps, made_at = _steps(reader, row)
    at_ns = values = 0
    while total in steps:
        total, rules, is_held = steps.pop(total)
        at_ns = max(at_ns, made_at.get(total, 0))
        # The number of values that another machine's scrub replaced is unknown.
        values += 0 if is_held else rules
    return Since(at_ns, values)


def _steps(reader: Reader, row: Stored) -> tuple[dict[int, tuple[int, int, bool]], dict[int, int]]:
    """Return for each checksum that a row had the one after it, and the time at which each was made."""
    steps: dict[int, tuple[int, int, bool]] = {}
    made_at: dict[int, int] = {}
    between = (row.id[:6], row.id[:6] + b"\xff" * 10, KIND, NAME, row.id)
    for at_ns, body in reader.ask(_STEPS, between):
        try:
            facts = encode.loads(body or b"{}")
        except ValueError:
            continue
        if facts.get("phase") != row.phase:
            continue
        is_held = bool(facts.get(_HELD))
        steps[facts["was"]] = facts["now"], sum(many for _, many in facts["rules"]), is_held
        if not is_held or facts["now"] not in made_at:
            made_at[facts["now"]] = at_ns
    return steps, made_at


def all_of(reader: Reader) -> list[Replacement]:
    """Return what was scrubbed in a journal, in order."""
    replacements = []
    for (ranges,) in reader.ask(_KEPT, (_SEQS,)):
        for first, last in encode.loads(ranges):
            for seq, event, body in reader.ask(_LISTED, (first, last, KIND, NAME)):
                replacements.append(Replacement(seq, event, int(encode.loads(body)["phase"])))
    return replacements


# Whether a row is another one with notes in the place of secrets


def _any_file(*_: str) -> bool:
    return True


def same_file(was: str, now: str) -> bool:
    """Return whether two digests are equal, and so the files."""
    return was == now


def is_cut(old: Stored, new: Stored, is_file_cut: IsFileCut = _any_file) -> bool:
    """Return whether a row is another one, whole or without its content, with notes in some places.

    `is_file_cut` returns whether a file may take the place of another one, by their digests: any may, if not given.
    """
    return any(_is_cut(form, new, is_file_cut) for form in _forms(old))


def is_cut_file(project: str, was: str, now: str) -> bool:
    """Return whether a blob is another one with notes in some places, both by digest; False if that cannot be known."""
    if was == now:
        return True
    try:
        paths = blobs.find(project, was), blobs.find(project, now)
        if max(map(os.path.getsize, paths)) > _MOST_COMPARED:
            return False
        old, new = (_bytes_of(path) for path in paths)
    except (OSError, ValueError):
        return False
    at = done = 0
    for note in _NOTE_IN_FILE.finditer(new):
        part = new[done : note.start()]
        at = old.find(part, at) if done else (0 if old.startswith(part) else -1)
        if at < 0:
            return False
        at += len(part)
        done = note.end()
    last = new[done:]
    return bool(done) and old.endswith(last) and len(old) - len(last) >= at


def _bytes_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _is_cut(old: Stored, new: Stored, is_file_cut: IsFileCut) -> bool:
    for name, was, now in zip(old._fields, old, new, strict=True):
        if was != now and name not in _COLUMNS:
            return False
    # Our own kinds decide which totals a row counts for: they must not change.
    if old.kind != new.kind and old.kind in rows.OWN_KINDS:
        return False
    return (
        all(is_cut_text(getattr(old, name), getattr(new, name)) for name in ("kind", "name", "model"))
        and _is_cut_json(old.tags, new.tags, is_file_cut)
        and _is_cut_json(old.body, new.body, is_file_cut)
    )


def is_cut_text(old: str | None, new: str | None) -> bool:
    """Return whether a text is another one with parts of it replaced by notes.

    >>> is_cut_text("my key sk-123", "my key [redacted:openai]"), is_cut_text("paid 5", "paid 6")
    (True, False)
    """
    if old is None or new is None or old == new:
        return old == new
    first, *others = NOTE.split(new)
    if not others or not old.startswith(first):
        return False
    *middle, last = others
    at = len(first)
    for part in middle:
        at = old.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return old.endswith(last) and len(old) - len(last) >= at


def _is_cut_json(old: str | None, new: str | None, is_file_cut: IsFileCut) -> bool:
    if old is None or new is None:
        return old == new
    try:
        was, now = encode.loads(old), encode.loads(new)
    except ValueError:
        return is_cut_text(old, new)
    if isinstance(was, dict) and isinstance(now, dict):
        # The number of secrets that were removed is counted there.
        was.pop("notes", None)
        now.pop("notes", None)
        # A result that was changed is not returned to a resumed program.
        unkept = own_fields.without_result(was.get("once"))
        if unkept is not None and now.get("once") == unkept:
            now["once"] = was["once"]
    return _is_cut_value(was, now, is_file_cut)


def _is_cut_value(was: Any, now: Any, is_file_cut: IsFileCut) -> bool:
    if (old := recorded.octets(was)) is not None and (new := recorded.octets(now)) is not None:
        return was.keys() == now.keys() and is_cut_text(old.decode("latin-1"), new.decode("latin-1"))
    if isinstance(was, dict) and isinstance(now, dict):
        if (is_other := _names_other_file(was, now)) and not is_file_cut(was["$blob"], now["$blob"]):
            return False
        return len(was) == len(now) and all(
            is_cut_text(key, new_key)
            and (
                (is_other and (key == "$blob" or (key == "$len" and type(new_value) is int)))
                or _is_cut_value(value, new_value, is_file_cut)
            )
            for (key, value), (new_key, new_value) in zip(was.items(), now.items(), strict=True)
        )
    if isinstance(was, list) and isinstance(now, list):
        return all(_is_cut_value(item, new, is_file_cut) for item, new in zip_longest(was, now, fillvalue=_Nothing))
    if isinstance(now, str):
        if isinstance(was, str):
            if _BLOB.fullmatch(was) and _BLOB.fullmatch(now):
                return is_file_cut(was.removeprefix("blob:"), now.removeprefix("blob:"))
            return is_cut_text(was, now)
        return bool(NOTE.fullmatch(now))
    # Python considers 1, 1.0 and True equal; in JSON they differ.
    return type(was) is type(now) and bool(was == now)


def _names_other_file(was: dict[Any, Any], now: dict[Any, Any]) -> bool:
    """Return whether two values are references to files, and not to the same one."""
    digests = was.get("$blob"), now.get("$blob")
    return digests[0] != digests[1] and all(isinstance(each, str) and blobs.is_digest(each) for each in digests)


class _Nothing:
    """Placeholder for an item that one of two lists lacks."""


# What remotes have of rows that are scrubbed here


def hold_back(
    execute: Execute, seqs: Iterable[int], about: Collection[int], hubs: Collection[str], at_ns: int
) -> dict[str, int]:
    """Mark scrubbed rows that remotes have, in the open transaction: hubs are to get them again, others cannot.

    Those rows and the ones `about` them wait for a hub that can replace a row.  Return the other remotes that have
    some, each with how many.
    """
    others: dict[str, int] = {}
    behind: set[str] = set()
    for seq in seqs:
        # A hub has an earlier form of it, and is to get neither that one nor this one alone.
        behind.update(remote for (remote,) in execute(_WAITING, (seq, WAITS)).fetchall())
        # For example, it was refused because of the content that is now removed.
        execute("delete from parked where seq = ? and final < 2 and reason <> ?", (seq, WAITS))
        for remote, first, last in execute(_DELIVERED, (seq, seq)).fetchall():
            if remote not in hubs:
                others[remote] = others.get(remote, 0) + 1
                continue
            behind.add(remote)
            execute("delete from delivered where remote = ? and first = ?", (remote, first))
            for low, high in bundle.without([(first, last)], [seq]):
                execute("insert into delivered values(?, ?, ?)", (remote, low, high))
            execute(_PARK, (remote, seq, WAITS, at_ns))
    for remote in behind:
        for seq in about:
            execute(_PARK, (remote, seq, WAITS, at_ns))
    return others


_DELIVERED = "select remote, first, last from delivered where first <= ? and last >= ?"
_WAITING = "select remote from parked where seq = ? and reason = ?"
_PARK = "insert or replace into parked values(?, ?, 0, ?, ?)"


def behind(reader: Reader) -> list[str]:
    """Return the remotes that have rows as they were before they were scrubbed, and are to replace them."""
    statement = "select distinct remote from parked where reason = ? order by remote"
    return [remote for (remote,) in reader.ask(statement, (WAITS,))]


def reached(reader: Reader) -> set[str]:
    """Return the remotes that a pass has reached: one that was interrupted may have left something there."""
    return {
        remote for (remote,) in reader.ask("select remote from contact where ok_ns is not null or peer is not null")
    }


def pairs(reader: Reader, unsent: Iterable[Replacement]) -> Iterator[list[Stored]]:
    """Yield the rows about scrubbed rows, each after the scrubbed row itself, if that is still here."""
    for each in unsent:
        row = stored.one(reader, each.event, each.phase)
        about = stored.named(reader.ask(_ROW, (each.seq,)))
        yield [*([row] if row is not None else []), *about]


_ROW = f"select {', '.join(stored.Stored._fields)} from event where seq = ?"  # noqa: S608
