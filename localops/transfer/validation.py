"""Validation of rows and batches from other machines, which anything may have made.

A row that can be decoded (`wire.py`) may still hold a value on which the fold, a total or a reader would fail, and with
it every row after it.  Everything that our own recorders write is valid.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from localops.encoding import encode
from localops.errors import BundleError
from localops.journal import rows
from localops.journal.stored import Stored, Unread
from localops.recording.scores import KIND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.transfer.bundle import Batch

_LATEST_NS = 4_102_444_800_000_000_000  # the year 2100
# Of one call; the sum of millions of such calls still fits a column.
_MOST_TOKENS = 10**12
_MOST_COST = 10**14  # nano-dollars of one call: $100,000
# Levels of JSON: together with what is written around it, it must stay under 254; our recorders write 130.
_DEPTH = 200
_NAME = 4_096  # characters of a name; our recorders keep 256
_MOST_RANGES = 50_000
# Sessions whose totals are compared; our senders give those of 1,000.
_MOST_TOTALS = 10_000
_MOST_NAMES = 1_000  # ids of a journal: it gets a new one whenever it is moved
_WIDE = 1 << 62
_LARGEST = sys.float_info.max

# The keys of bodies that are read, and their types.
_TYPES = {
    "derived": int,
    "forked": int,
    "spilled": int,
    "dropped": int,
    "cut": int,
    "was": int | str,
    "reason": str,
    "participant": str,
    "machine": str,
    "boot": str,
    "host_env": dict,
    "metadata": dict,
    "trigger": dict,
}
_COUNTS = (*rows.SENT_TOKENS, "cost")
_LOOKED_AT = ("phase", "kind", "name", "at_ns", "model", *_COUNTS, "failed", "tags", "format")
_READ = rows.BOOKS | {"error"}  # kinds whose bodies are read for more than display


def admit(batch: Batch, refused: dict[int, str]) -> Batch:
    """Return the batch with its valid rows; add the reasons of the others to `refused`."""
    try:
        check_rows(batch.rows)
    except ValueError:
        # At least one row is invalid: check them one by one.
        valid = [row for row in batch.rows if _passes(row, refused)]
        invalid = {row.seq: Unread(row.session, row.id, row.phase) for row in batch.rows if row.seq in refused}
        return replace(batch, rows=valid, unread={**batch.unread, **invalid})
    return batch


def _passes(row: Stored, refused: dict[int, str]) -> bool:
    try:
        check_rows([row])
    except ValueError as error:
        refused[row.seq] = str(error)
        return False
    return True


def check_rows(candidates: Sequence[Stored]) -> None:
    """Raise ValueError when one of these rows is invalid."""
    # Column by column: a batch has thousands of rows, and most columns few different values.
    if candidates:
        _check_columns(dict(zip(Stored._fields, zip(*candidates, strict=True), strict=True)))


def check_bare(candidates: Sequence[Row]) -> None:
    """Raise ValueError when one of these rows is invalid; all are complete, with or without counts of their bodies."""
    if candidates:
        # The shortest row ends the columns that are looked at.
        _check_columns(dict(zip(rows.COLUMNS, zip(*candidates, strict=False), strict=False)))


def _check_columns(columns: Mapping[str, Sequence[Any]]) -> None:
    values = {name: set(columns[name]) for name in _LOOKED_AT}
    if values["phase"] - {rows.DONE, rows.OPEN} or values["failed"] - {None, 0, 1}:
        raise ValueError("invalid phase or failed: expected 0 or 1")
    if min(values["at_ns"]) < 0 or max(values["at_ns"]) > _LATEST_NS:
        raise ValueError("invalid at_ns: expected a time between 1970 and 2100")
    for name in _COUNTS:
        most = _MOST_COST if name == "cost" else _MOST_TOKENS
        if any(abs(count) > most for count in values[name] if count is not None):
            raise ValueError(f"invalid {name}: more than any call has")
    _check_times(columns["start_ns"], columns["end_ns"])
    texts = values["kind"] | values["name"] | values["model"]
    if "" in values["kind"]:
        raise ValueError("invalid kind: it is empty")
    if max(len(text or "") for text in texts) > _NAME:
        raise ValueError(f"invalid kind, name or model: longer than {_NAME:,} characters")
    if min(values["format"]) < 1:
        raise ValueError("invalid format: expected a number ≥ 1")
    if not all(map(_are_tags, values["tags"] - {None})):
        raise ValueError("invalid tags: expected a JSON array of texts")
    _check_bodies(columns, values["kind"])


def _check_bodies(columns: Mapping[str, Sequence[Any]], kinds: Collection[str]) -> None:
    # Most batches hold few rows whose bodies are read, or none.
    if not _READ.isdisjoint(kinds):
        for kind, name, body in zip(columns["kind"], columns["name"], columns["body"], strict=True):
            if kind in _READ:
                _check_read(kind, name, body)
    for body in columns["body"]:
        if body is not None and len(body) > 2 * _DEPTH and body.count("[") + body.count("{") > _DEPTH:
            _check_depth(body)


def _check_depth(body: str) -> None:
    if _is_deeper(encode.loads(body), _DEPTH):
        raise ValueError(f"invalid body: nested more than {_DEPTH} deep")


def _check_read(kind: str, name: str | None, body: str | None) -> None:
    """Raise ValueError for a row whose body lacks values that readers need."""
    if (kind == "end" and not name) or (kind == "loss" and body is None):
        raise ValueError(f"invalid {kind} row: expected {'a state as its name' if kind == 'end' else 'a body'}")
    if kind == KIND and body is None:
        raise ValueError(f"invalid {kind} row: expected a body")
    if body is None or kind not in _READ:
        return
    value = encode.loads(body)
    _check_facts(value)
    if kind == KIND:
        _check_score(value)


def _check_times(starts: Sequence[int | None], ends: Sequence[int | None]) -> None:
    """Raise ValueError for starts and ends that could not be shown or added up; a program may give any."""
    times = [at for column in (starts, ends) for at in {*column} if at is not None]
    if times and (min(times) < -_LATEST_NS or max(times) > _LATEST_NS):
        raise ValueError("invalid start_ns or end_ns: expected a time before 2100")


def _are_tags(text: str) -> bool:
    try:
        tags = encode.loads(text)
    except ValueError:
        return False
    return isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)


def _check_score(facts: dict[str, Any]) -> None:
    """Raise ValueError for a score that could not be folded or added up."""
    value = facts.get("value")
    if not isinstance(value, float | int | str | None) or (isinstance(value, float | int) and abs(value) > _LARGEST):
        raise ValueError("invalid value of a score: expected a finite number, true, false, a text or null")
    if not isinstance(facts.get("by"), str) or not isinstance(facts.get("version"), str | None):
        raise ValueError("invalid author or version of a score: expected a text")
    if max(len(text) for text in (value, facts["by"], facts.get("version")) if isinstance(text, str)) > _NAME:
        raise ValueError(f"invalid value, author or version of a score: longer than {_NAME:,} characters")


def _check_facts(facts: Any) -> None:
    """Raise ValueError when a value that is read from a body has another type than its readers expect."""
    if not isinstance(facts, dict):
        raise ValueError("invalid body: expected a JSON object")
    wrong = [name for name, kind in _TYPES.items() if not isinstance(facts.get(name), kind | None)]
    trigger = facts["trigger"] if isinstance(facts.get("trigger"), dict) else {}
    wrong += [f"trigger.{name}" for name in ("id", "kind", "name") if not isinstance(trigger.get(name), str | None)]
    # Failures of tools are counted by name.
    if trigger.get("kind") == "tool" and trigger.get("name") is None:
        wrong.append("trigger.name")
    # Rows are looked up by it.
    if trigger.get("id") is not None and not _is_uuid(trigger["id"]):
        wrong.append("trigger.id")
    # It becomes the name of a file.
    if facts.get("participant") is not None and not _is_id(facts["participant"]):
        wrong.append("participant")
    if wrong:
        raise ValueError(f"invalid {wrong[0]} in the body of a row")


def _is_uuid(text: object) -> bool:
    return isinstance(text, str) and _is_id(text.replace("-", "").lower())


def _is_deeper(value: Any, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def check(batch: Batch) -> None:
    """Raise BundleError for a header that none of our senders writes."""
    names = [batch.journal, *batch.lineage]
    if len(names) > _MOST_NAMES or not all(map(_is_id, names)):
        raise BundleError("invalid header: journal, lineage: expected ids of journals")
    if len(batch.ranges) > _MOST_RANGES or any(not _is_seq(first) or not _is_seq(last) for first, last in batch.ranges):
        raise BundleError(f"invalid header: ranges: expected at most {_MOST_RANGES:,} pairs of seqs")
    if any(first > last for first, last in batch.ranges) or not all(0 <= row.seq < _WIDE for row in batch.rows):
        raise BundleError("invalid header: ranges: a range or a row has an impossible seq")
    previous = batch.previous
    if previous and not (
        _is_seq(previous.seq) and previous.phase in (0, 1) and len(previous.id) == len(previous.session) == 16
    ):
        raise BundleError("invalid header: previous: expected seq, id, phase, sum and session of a row")
    if len(batch.totals) > _MOST_TOTALS or not all(map(_is_total, batch.totals)):
        raise BundleError(f"invalid header: totals: expected those of at most {_MOST_TOTALS:,} sessions")


def _is_seq(value: object) -> bool:
    return type(value) is int and 0 < value < _WIDE


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) == 32 and set(value) <= set("0123456789abcdef")


def _is_total(total: object) -> bool:
    return isinstance(total, dict) and _is_id(total.get("session")) and type(total.get("rows")) is int
