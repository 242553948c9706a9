"""Removal of a remote: its record is deleted, except for facts about its rows that a prune needs."""

from __future__ import annotations

from dataclasses import dataclass

from localops.transfer import bundle, carried, doubts
from localops.transfer.delivery import statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.journal.journal import Journal
    from localops.transfer.delivery import Ledger


@dataclass(frozen=True)
class Removed:
    """The rows that a removed remote may lack."""

    rows: int  # of which it has no receipt, or one that is doubted
    doubt: str | None  # why its receipts were doubted
    deleted: int  # sessions that a person has deleted there


def forget(ledger: Ledger, journal: Journal, *, metadata_only: bool = False) -> Removed:
    """Delete everything about a remote, except which rows it lacks; a remote of the same name starts afresh.

    It lacks all of them if it gets no content, or if a prune has seen that its receipts are wrong.
    """
    remote, doubt, deleted = ledger.remote, ledger.doubt(), ledger.deleted()
    lacking, here = 0, 0

    def work(execute: Callable[..., Any]) -> None:
        nonlocal lacking, here
        newest = execute(statement("newest")).get or 0
        trusted = not metadata_only and doubt is None
        held = execute(statement("delivered"), {"remote": remote}).fetchall() if trusted else []
        ranges = bundle.difference([(1, newest)], held) if newest else []
        bounds = [{"first": first, "last": last} for first, last in ranges]
        lacking = sum(execute(statement("waiting"), each).fetchone()[0] for each in bounds)
        here = sum(bool(execute("select 1 from total where session = ?", (each,)).fetchall()) for each in deleted)
        for table in ("delivered", "parked", "receipt", "contact"):
            execute(f"delete from {table} where remote = ?", (remote,))  # noqa: S608
        for key in (doubts.loss_key(remote), doubts.key(remote), doubts.removed_key(remote), carried.key(remote)):
            execute("delete from meta where key = ?", (key,))
        if lacking:
            record = (doubts.removed_key(remote), doubts.removed_text(ranges, doubt.why if doubt else None))
            execute("insert or replace into meta values(?, ?)", record)

    journal.transact(work, full=True, folded=False)
    return Removed(lacking, doubt.why if doubt else None, here)
