"""Bundle files: rows to carry to a machine with a network, and receipts to carry back.

The file is a zip that any tool can open: `about.json` describes it, `<project>/rows.ndjson` holds batches as they are
sent over HTTP (bundle.py), `<project>/blobs/<digest>` the files that rows name.  It is written under another name,
synced, and only then renamed to its own.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain

from localops import __version__, clock, config, host, output
from localops.encoding import price_table
from localops.errors import BundleError, ConfigError, JournalError, LocalopsError, NotFound
from localops.journal import blobs
from localops.journal.journal import Journal
from localops.journal.reader import Reader, SQLiteError, reason
from localops.reading import analytics, session_state
from localops.transfer import bundle, delivery, ingest, remotes, stated_rows, validation
from localops.transfer.returned import Returned
from localops.upkeep import erasing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any

    from localops.transfer.bundle import Batch
    from localops.transfer.delivery import Ledger

_ABOUT = "about.json"
_PRICES = "prices.json"
_LINE = 128 << 20  # bytes of one line: a row holds 64 MiB at most
_PIECE = 1 << 20
_BLOB = re.compile(r"^([^/]+)/blobs/([0-9a-f]{64})$")
_ZIPPED = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass
class Part:
    """The part of one project in a bundle, or the result of its import."""

    project: str
    sender: str = ""  # the project that the bundle is from, for its receipts
    without_key: bool = False  # it went into a hub, which has no key for that project
    rows: int = 0
    new: int = 0
    gone: int = 0  # rows of sessions that were pruned or deleted here, which stay out
    blobs: int = 0
    waiting: int = 0  # rows that are set aside, and not in the bundle
    lacking: int = 0  # missing or damaged blobs that rows name
    damaged: int = 0  # rows that fail their checksums, which an import leaves out
    refused: dict[int, str] = field(default_factory=dict)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    remote: str | None = None
    states_rows: bool = False  # its batches state how many rows the sessions have

    @property
    def origin(self) -> str:
        """Return the project on the machine that the rows come from."""
        return self.sender or self.project


@dataclass(frozen=True)
class Share:
    """What goes into a bundle from a project: the rows that a remote lacks, or whole sessions."""

    project: str
    remote: str | None = None
    sessions: tuple[bytes, ...] = ()


# Packing


class NothingToPack(NotFound):
    """A bundle would be empty; `waiting` rows are set aside, mostly because a file is missing."""

    def __init__(self, waiting: int, message: str) -> None:
        super().__init__(message)
        self.waiting = waiting


def pack(home: str, shares: Iterable[Share], path: str, *, prices: bytes | None = None) -> list[Part]:
    """Write a bundle; it is complete and on disk when this returns.  Raise NotFound when it would be empty.

    `prices` is a price table for the machine that imports the bundle.
    """
    temporary = f"{path}.{os.getpid()}.part"
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with open(handle, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
                parts = [_pack_part(home, share, packed) for share in shares]
                if prices is not None:
                    packed.writestr(_PRICES, prices)
                packed.writestr(_ABOUT, json.dumps(_about(parts), indent=2))
            file.flush()
            os.fsync(file.fileno())
        if not any(part.rows for part in parts):
            waiting = sum(part.waiting for part in parts)
            raise NothingToPack(
                waiting, f"there are no rows to write: {_reasons(parts)}; {path} was not written{_hint(parts)}"
            )
        host.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # it may not exist yet
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            # The temporary name means nothing to the user.
            error.filename = path
        raise
    return parts


def _reasons(parts: list[Part]) -> str:
    reasons = [f"no row of {part.project} is unsent to {part.remote}" for part in parts if part.remote]
    if waiting := sum(part.waiting for part in parts):
        rows = "1 row waits" if waiting == 1 else f"{waiting} rows wait"
        reasons.append(f"but {rows}: `localops parked list` shows for what")
    return ", ".join(reasons) or "no row was recorded"


def _hint(parts: list[Part]) -> str:
    if not any(part.remote for part in parts):
        return ""
    return (
        "; for a hub that was set back to an older backup, `localops bundle -o FILE` without --remote packs every row"
    )


def _about(parts: list[Part]) -> dict[str, Any]:
    listed = [
        {
            "project": part.project,
            "remote": part.remote,
            "rows": part.rows,
            "blobs": part.blobs,
            "states_rows": part.states_rows,
        }
        for part in parts
    ]
    return {
        "localops": bundle.WIRE,
        "about": "Rows of localops journals; import them with `localops import`.",
        "by": f"localops {__version__}",
        "made_ns": clock.now_ns(),
        "parts": listed,
    }


def _pack_part(home: str, share: Share, packed: zipfile.ZipFile) -> Part:
    folder = config.project_folder(home, share.project)
    needed: Counter[str] = Counter()
    metadata_only = share.remote is not None and remotes.load(folder)[share.remote].metadata_only
    part = Part(share.project, remote=share.remote, states_rows=not metadata_only)
    # Collects spilled rows, and can make all rows safe from a power cut.
    journal = Journal(folder, gather=True)
    try:
        with Reader(journal.path) as reader:
            ledger = delivery.Ledger(reader, folder, share.remote or "")
            _make_durable(journal)
            part.waiting = sum(not row.final for row in ledger.parked())
            with packed.open(f"{share.project}/rows.ndjson", "w", force_zip64=True) as rows:
                for batch in _batches(ledger, share, metadata_only=metadata_only):
                    rows.write(bundle.pack(batch))
                    part.rows += len(batch.rows)
                    part.damaged += sum(not row.is_intact for row in batch.rows)
                    needed.update(blobs.named(row.body for row in batch.rows))
    finally:
        journal.close()
    for digest in [] if metadata_only else needed:
        try:
            path = blobs.find(folder, digest)
            # Otherwise the whole bundle would count as damaged.
            if not blobs.is_whole(path, digest):
                raise FileNotFoundError(path)
            packed.write(path, f"{share.project}/blobs/{digest}", _compression(path))
            part.blobs += 1
        except FileNotFoundError:
            part.lacking += 1
    return part


def _compression(path: str) -> int:
    """Return whether to compress a file in the zip: films and pictures are compressed already."""
    with open(path, "rb") as file:
        head = file.read(blobs.HEAD)
    return zipfile.ZIP_DEFLATED if blobs.pays(len(head), len(zlib.compress(head, 1))) else zipfile.ZIP_STORED


def _make_durable(journal: Journal) -> None:
    """Make the rows safe from a power cut, after which other rows would get their seqs."""
    try:
        journal.secure()
    except SQLiteError as error:
        raise JournalError(
            f"{journal.path} cannot be written ({reason(error)}), but rows must be safe from a power cut before they "
            "go into a bundle: if the home can only be read, make the bundle from a copy"
        ) from error


def _batches(ledger: Ledger, share: Share, *, metadata_only: bool) -> Iterator[Batch]:
    for session in share.sessions or (None,):
        limits = delivery.Limits(session=session, metadata_only=metadata_only, scrubs=session is None)
        batches = (batch for batch in ledger.batches(limits) if batch.rows)
        # Without content, the rows have other checksums.
        yield from batches if metadata_only else _with_totals(ledger, batches)


def _with_totals(ledger: Ledger, batches: Iterable[Batch]) -> Iterator[Batch]:
    """State in each batch how many rows the sessions have that end with it, and in the last one of all others."""
    upcoming = None
    unstated: dict[bytes, None] = {}
    for batch in batches:
        if upcoming is not None:
            yield _stating(ledger, upcoming, unstated, is_last=False)
        upcoming = batch
    if upcoming is not None:
        yield _stating(ledger, upcoming, unstated, is_last=True)


def _stating(ledger: Ledger, batch: Batch, unstated: dict[bytes, None], *, is_last: bool) -> Batch:
    unstated |= dict.fromkeys(row.session for row in batch.rows)
    upto = batch.rows[-1].seq
    totals: list[dict[str, Any]] = []
    for session in list(unstated):
        if len(totals) == delivery.MOST_TOTALS:
            break
        figures = analytics.totals(ledger.reader, session)
        # Rows that are added meanwhile are not in the bundle.
        if is_last or figures.last_seq <= upto:
            totals.append(stated_rows.total(session, figures, stated_rows.of(ledger.reader, session, upto)))
            del unstated[session]
    return replace(batch, totals=totals)


# Importing


def is_bundle(path: str) -> bool:
    """Return whether a file is a bundle, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(4) in _ZIPPED


def unpack(home: str, path: str, *, project: str | None = None, key: str | None = None) -> list[Part]:
    """Import a bundle, each row once; raise BundleError when it is damaged, and keep everything before the damage.

    A file that cannot be written, as on a full disk, is no damage: LocalopsError.
    """
    parts: list[Part] = []
    try:
        with zipfile.ZipFile(path) as packed:
            listed = contents(packed)
            if project is not None and len(listed) != 1:
                raise BundleError(f"{path} holds {len(listed)} projects: --project is for one; leave it out")
            for source in listed:
                sender, states = source.project, source.states_rows
                parts.append(Part(project or sender, sender=sender, remote=source.remote, states_rows=states))
                _unpack_part(home, parts[-1], packed, key)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        taken = any(part.new or part.blobs for part in parts)
        kept = "its intact part was imported, the rest was not" if taken else "nothing new was imported"
        if isinstance(error, OSError) and error.errno not in _SEEKS:
            kept = "a part of it was imported" if taken else "nothing new was imported"
            room = ": make room" if error.errno in _FULL else ""
            raise LocalopsError(f"{path} was not imported ({reason(error)}), {kept}{room}; import it again") from error
        raise BundleError(f"{path} is damaged ({error}); {kept}") from error
    return parts


# zipfile raises it for an offset that flipped bits have made negative.
_SEEKS = (None, errno.EINVAL)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# zipfile raises these for flipped bits, depending on their place.  RuntimeError: the bit for encryption.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    RuntimeError,
    ValueError,
    OverflowError,
    OSError,
)


def contents(packed: zipfile.ZipFile) -> list[Part]:
    """Return the parts that a bundle announces; raise BundleError when it holds fewer files than that."""
    try:
        with packed.open(_ABOUT) as file:
            about = json.loads(file.read(_PIECE))
        if about["localops"] != bundle.WIRE:
            raise BundleError(f"unknown format: expected {bundle.WIRE}, got {about['localops']}: upgrade localops")
        parts = [
            Part(
                config.check_project(part["project"]),
                blobs=int(part.get("blobs", 0)),
                remote=part.get("remote"),
                states_rows=part.get("states_rows") is True,
            )
            for part in about["parts"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"its {_ABOUT} cannot be read: {error}") from error
    for part in parts:
        here = len(_blobs_of(packed, part.project))
        if here < part.blobs:
            announced = f"{output.counted(part.blobs, 'file')} of project {part.project}"
            raise BundleError(f"it announces {announced} and holds {here}: some are missing")
    return parts


def _blobs_of(packed: zipfile.ZipFile, project: str) -> dict[str, str]:
    """Return the members of a project that are blobs, by their digests."""
    matches = map(_BLOB.match, packed.namelist())
    return {match[2]: match[0] for match in matches if match and match[1] == project}


def _unpack_part(home: str, part: Part, packed: zipfile.ZipFile, key: str | None) -> None:
    folder = config.project_folder(home, part.project)
    hub, part.without_key = _hub_of(home, part.project, key)
    # Files first: a hub takes a row only after the files that it names.
    for digest, member in _blobs_of(packed, part.origin).items():
        if not os.path.exists(blobs.path_of(folder, digest)):
            _take_blob(folder, packed, member, digest)
            part.blobs += 1
    journal = Journal(folder, gather=True)
    erased: list[str] = []
    is_erased = False
    try:
        journal.fold()  # opens it
        # Not on a hub, whose rows are those of its senders.
        returned = Returned(journal) if hub is None else None
        stated = stated_rows.OfBundle(journal)
        with packed.open(f"{part.origin}/rows.ndjson") as rows:
            for batch, refused in batches(rows):
                stated.add(batch)
                batch = replace(batch, totals=())
                ack, gone = ingest.take(
                    journal, batch, by=hub or journal.id, key=key, refused=refused, copy=hub is None
                )
                part.rows += len(batch.rows)
                part.new += ack.stored
                part.gone += gone
                part.refused.update(ack.refused)
                if ack.receipt is not None:
                    part.receipts.append(ack.receipt)
                if ack.erased is not None:
                    is_erased = True
                    erased += ack.erased
        journal.fold()
        if returned is not None:
            returned.note()
            journal.add(list(stated.compared(journal)))
            journal.fold()
        if is_erased and (why := erasing.erase(journal, erased)) is not None:
            output.say(f"traces of scrubbed rows are left in {folder} ({why}): run `localops scrub` later")
    except DAMAGE:
        if hub is None and part.states_rows and part.new:
            journal.fold()
            journal.add(list(stated.compared(journal, is_cut=True)))
            journal.fold()
        raise
    finally:
        journal.close()


def _hub_of(home: str, project: str, key: str | None) -> tuple[str | None, bool]:
    """Return the id of the hub whose data folder this home is, if any, and whether it has no key for a project.

    Raise ConfigError for a key of another project, or one that is not the hub's: such receipts would be accepted.
    """
    try:
        with open(os.path.join(home, session_state.HUB), encoding="utf-8") as file:
            document = json.load(file)
        # A UUID is issued in lower case, and may be typed otherwise.
        spellings = {key or "", (key or "").lower()}
        digests = {hashlib.sha256(spelling.encode("utf-8", "replace")).hexdigest() for spelling in spellings}
        valid = [entry for entry in document["keys"] if not entry.get("revoked")]
        projects = {entry["project"] for entry in valid if entry["sha256"] in digests}
        without_key = all(entry["project"] != project for entry in valid)
        hub = str(document["hub"])
    except FileNotFoundError:
        return None, False
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{os.path.join(home, session_state.HUB)} cannot be read: {error}") from error
    if projects and project not in projects:
        raise ConfigError(f"the key is for project {min(projects)!r} of this hub, and the rows go into {project!r}")
    if key and not projects:
        raise ConfigError(
            f"invalid key: expected a key of the hub in {home}, got one that it does not know or has revoked; give the "
            f"key of the machine that the rows are from (`localops hub key create --data {home} --project {project}` "
            "makes one), or none: the receipts are unsigned then"
        )
    return hub, without_key


def _take_blob(folder: str, packed: zipfile.ZipFile, member: str, digest: str) -> None:
    try:
        with packed.open(member) as file:
            blobs.keep_pieces(folder, iter(lambda: file.read(_PIECE), b""), digest)
    except ValueError as error:
        raise BundleError(f"the blob {digest[:12]}… in it is damaged: {error}") from error


def batches(rows: IO[bytes]) -> Iterator[tuple[Batch, dict[int, str]]]:
    """Yield the batches of a file of rows, each with the rows that were left out and why.

    A batch of a bundle may come without the ones before it, so its reference to the one before is dropped.
    """
    buffered = io.BufferedReader(rows, _PIECE)  # type: ignore[type-var]
    lines = (line.rstrip(b"\n") for line in iter(lambda: buffered.readline(_LINE), b""))
    for head in lines:
        batch, refused = bundle.unpack(chain([head], lines))
        validation.check(batch)
        yield validation.admit(replace(batch, previous=None), refused), refused


def prices_in(path: str) -> bytes | None:
    """Return the price table in a bundle or a file of receipts, or None."""
    try:
        if not is_bundle(path):
            with open(path, encoding="utf-8") as file:
                table = json.load(file).get("prices")
            return table.encode() if isinstance(table, str) else None
        with zipfile.ZipFile(path) as packed, packed.open(_PRICES) as member:
            return member.read(price_table.MOST + 1)
    except (*DAMAGE, AttributeError, RecursionError):
        # The import of the rest has reported what is wrong with the file.
        return None


# Receipts


def write_receipts(parts: Iterable[Part], path: str, *, prices: bytes | None = None) -> int:
    """Write the receipts of an import to a file, for the machine that the rows came from; return their number.

    `prices` is a price table for that machine.
    """
    entries = [
        {"project": part.origin, "remote": part.remote, "receipt": receipt}
        for part in parts
        for receipt in part.receipts
    ]
    with open(path, "w", encoding="utf-8") as file:
        # As one text, as people read the rest of the file.
        table = {} if prices is None else {"prices": prices.decode()}
        json.dump({"localops": bundle.WIRE, "receipts": entries, **table}, file, indent=2)
        file.write("\n")
    return len(entries)


def place_of_receipts(parts: Iterable[Part], path: str) -> str:
    """Return where to write the receipts of an import: to `path`, or beside it if they would replace better ones.

    Those of a hub mark rows as delivered, and those of a copy do not; signed ones are better than unsigned ones.
    """
    try:
        with open(path, encoding="utf-8") as file:
            there = max(_worth(dict(entry["receipt"])) for entry in json.load(file)["receipts"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return path  # missing, or not a file of receipts
    worth = min((_worth(receipt) for part in parts for receipt in part.receipts), default=_OF_HUB)
    if worth >= there:
        return path
    return f"{path}.copy" if worth == _OF_COPY else f"{path}.unsigned"


_OF_COPY, _UNSIGNED_OF_HUB, _OF_HUB = range(3)


def _worth(receipt: dict[str, Any]) -> int:
    if "holder" in receipt:
        return _OF_COPY
    return _OF_HUB if receipt.get("hmac") else _UNSIGNED_OF_HUB


@dataclass
class Signed:
    """The result of importing receipts."""

    project: str
    remote: str
    rows: int = 0
    refused: list[str] = field(default_factory=list)  # why each of the other receipts does not count


def take_receipts(
    home: str, path: str, *, project: str | None = None, remote: str | None = None, unverified: bool = False
) -> list[Signed]:
    """Mark rows as delivered that have signed receipts, if the receipts are for the rows that are here.

    `project` replaces the project that the file names.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document["localops"] != bundle.WIRE:
            raise BundleError(f"unknown format: expected {bundle.WIRE}, got {document['localops']}: upgrade localops")
        entries = [
            (str(entry["project"]), remote or entry["remote"], dict(entry["receipt"])) for entry in document["receipts"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"{path} cannot be imported: expected a bundle, receipts that `localops import` wrote, "
            "or an export as jsonl, or as otlp with --otlp"
        ) from error
    if project is not None and len({sender for sender, _, _ in entries}) > 1:
        raise BundleError(f"{path} holds receipts of several projects: --project is for one; leave it out")
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for sender, name, receipt in entries:
        if name is None:
            raise BundleError(f"{path} names no remote: give the one that has these rows now with --remote")
        grouped.setdefault((project or sender, str(name)), []).append(receipt)
    results = []
    for (owner, name), receipts in grouped.items():
        results.append(Signed(owner, name))
        _take_receipts(config.project_folder(home, owner), results[-1], receipts, unverified=unverified)
    return results


def _take_receipts(folder: str, result: Signed, receipts: list[dict[str, Any]], *, unverified: bool) -> None:
    remote = remotes.load(folder).get(result.remote)
    if remote is None:
        result.refused += [f"project {result.project!r} has no remote {result.remote!r}"] * len(receipts)
        return
    key = remote.secret()
    if not unverified:
        # The ledger refuses the receipt of a copy, signed or not, and with a better reason than a missing signature.
        genuine = [
            receipt
            for receipt in receipts
            if receipt.get("holder") is not None or (key and bundle.is_signed(receipt, key))
        ]
        result.refused += [_UNSIGNED] * (len(receipts) - len(genuine))
        receipts = genuine
    journal = Journal(folder, gather=True)
    try:
        with Reader(journal.path) as reader:
            ledger = delivery.Ledger(reader, folder, result.remote)
            for rows, why in ledger.take_receipts(journal, receipts, metadata_only=remote.metadata_only, key=key):
                result.rows += rows
                result.refused += [] if why is None else [why]
    finally:
        journal.close()


_UNSIGNED = "it is not signed with the key of the remote: accept it with --unverified if you trust it"
