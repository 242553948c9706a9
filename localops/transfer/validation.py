"""What a row or a batch from elsewhere has to be so that it can do no harm here, however it was made.

A line that can be read (`wire.py`) may still hold what the folding, a figure or a reader would stumble over, and with
it every row behind.  What our own recorders write passes all of this.
"""

from __future__ import annotations

from dataclasses import replace

from localops.encoding import encode
from localops.errors import BundleError
from localops.journal import rows
from localops.journal.stored import Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.transfer.bundle import Batch

_LATEST_NS = 4_102_444_800_000_000_000  # the year 2100
_MOST_TOKENS = 10**12  # of one call; millions of such still fit a column
_MOST_COST = 10**14  # nano-dollars of one call: $100,000
_DEPTH = 200  # of JSON: what is written around it has to stay under 254, our recorders write 130
_NAME = 4_096  # characters of a name; our recorders keep 256
_MOST_RANGES = 50_000
_MOST_TOTALS = 10_000  # sessions whose figures are looked up; our senders tell those of 1,000
_MOST_NAMES = 1_000  # of a journal: it gets another whenever it is moved
_WIDE = 1 << 62

_TOLD = {  # what is read out of bodies, and as what
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
_COUNTS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning", "cost")
_LOOKED_AT = ("phase", "kind", "name", "at_ns", "model", *_COUNTS, "failed", "tags", "format")
_READ = rows.BOOKS | {"error"}  # kinds whose bodies are read for more than to be shown


def admit(batch: Batch, refused: dict[int, str]) -> Batch:
    """The batch with the rows that can be taken; why the others cannot be is put to `refused`."""
    try:
        check_rows(batch.rows)
    except ValueError:  # one of them cannot: which?
        return replace(batch, rows=[row for row in batch.rows if _passes(row, refused)])
    return batch


def _passes(row: Stored, refused: dict[int, str]) -> bool:
    try:
        check_rows([row])
    except ValueError as error:
        refused[row.seq] = str(error)
        return False
    return True


def check_rows(found: Sequence[Stored]) -> None:
    """Raise ValueError when one of these rows cannot be taken: why, in words.

    Column by column: there are thousands of rows in a batch, and in most columns few different values.
    """
    if not found:
        return
    columns = dict(zip(Stored._fields, zip(*found, strict=True), strict=True))
    told = {name: set(columns[name]) for name in _LOOKED_AT}
    if told["phase"] - {rows.DONE, rows.OPEN} or told["failed"] - {None, 0, 1}:
        raise ValueError("phase and failed are 0 or 1")
    if min(told["at_ns"]) < 0 or max(told["at_ns"]) > _LATEST_NS:
        raise ValueError("at_ns is no time that a clock can show")
    for name in _COUNTS:
        most = _MOST_COST if name == "cost" else _MOST_TOKENS
        if any(abs(count) > most for count in told[name] if count is not None):
            raise ValueError(f"{name} is more than any call has")
    _check_times(columns["start_ns"], columns["end_ns"])
    texts = told["kind"] | told["name"] | told["model"]
    if "" in told["kind"] or max(len(text or "") for text in texts) > _NAME or min(told["format"]) < 1:
        raise ValueError("kind, name, model or format are none")
    if not all(map(_are_tags, told["tags"] - {None})):
        raise ValueError("tags are a JSON array of texts")
    _check_bodies(columns["kind"], columns["name"], columns["body"])


def _check_bodies(kinds: Sequence[str], names: Sequence[str | None], bodies: Sequence[str | None]) -> None:
    for kind, name, body in zip(kinds, names, bodies, strict=True):
        if (kind == "end" and not name) or (kind == "loss" and body is None):
            raise ValueError(f"{kind} row without {'a state as its name' if kind == 'end' else 'a body'}")
        if body is not None and (kind in _READ or len(body) > 2 * _DEPTH):
            _check_body(kind, body)


def _check_times(starts: Sequence[int | None], ends: Sequence[int | None]) -> None:
    """What a program gave as beginning and end is shown, and added up."""
    given = [at for column in (starts, ends) for at in {*column} if at is not None]
    if given and (min(given) < -_LATEST_NS or max(given) > _LATEST_NS):
        raise ValueError("start_ns or end_ns is no time that a clock can show")


def _are_tags(text: str) -> bool:
    try:
        found = encode.loads(text)
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(tag, str) for tag in found)


def _check_body(kind: str, body: str) -> None:
    deep = body.count("[") + body.count("{") > _DEPTH
    if not deep and kind not in _READ:
        return
    found = encode.loads(body)
    if deep and _is_deeper(found, _DEPTH):
        raise ValueError(f"the body is nested more than {_DEPTH} deep")
    if kind in _READ:
        _check_facts(found)


def _check_facts(found: Any) -> None:
    """What is read out of a body has to be what its readers take it for."""
    if not isinstance(found, dict):
        raise ValueError("the body is a JSON object")
    wrong = [name for name, kind in _TOLD.items() if not isinstance(found.get(name), kind | None)]
    trigger = found["trigger"] if isinstance(found.get("trigger"), dict) else {}
    wrong += [f"trigger.{name}" for name in ("id", "kind", "name") if not isinstance(trigger.get(name), str | None)]
    if trigger.get("kind") == "tool" and trigger.get("name") is None:  # its failures are counted under that
        wrong.append("trigger.name")
    if trigger.get("id") is not None and not _is_uuid(trigger["id"]):  # it is looked up
        wrong.append("trigger.id")
    if found.get("participant") is not None and not _is_id(found["participant"]):  # becomes a file's name
        wrong.append("participant")
    if wrong:
        raise ValueError(f"{wrong[0]} is not what it has to be")


def _is_uuid(text: object) -> bool:
    return isinstance(text, str) and _is_id(text.replace("-", "").lower())


def _is_deeper(found: Any, most: int) -> bool:
    level: list[Any] = [found]
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
    """Raise BundleError for a header that could not have been made by a sender of ours."""
    names = [batch.journal, *batch.lineage]
    if len(names) > _MOST_NAMES or not all(map(_is_id, names)):
        raise BundleError("the header names no journal")
    if len(batch.ranges) > _MOST_RANGES or any(not _is_seq(first) or not _is_seq(last) for first, last in batch.ranges):
        raise BundleError("the header's ranges are none")
    if any(first > last for first, last in batch.ranges) or not all(0 <= row.seq < _WIDE for row in batch.rows):
        raise BundleError("the header's ranges are none")
    previous = batch.previous
    if previous and not (
        _is_seq(previous.seq) and previous.phase in (0, 1) and len(previous.id) == len(previous.session) == 16
    ):
        raise BundleError("the header's previous row is none")
    if len(batch.totals) > _MOST_TOTALS or not all(map(_is_total, batch.totals)):
        raise BundleError("the header's totals are none")


def _is_seq(value: object) -> bool:
    return type(value) is int and 0 < value < _WIDE


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) == 32 and set(value) <= set("0123456789abcdef")


def _is_total(told: object) -> bool:
    return isinstance(told, dict) and _is_id(told.get("session")) and type(told.get("rows")) is int
