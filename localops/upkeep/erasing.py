"""The end of a scrub: remove all traces of earlier contents from the files of a project."""

from __future__ import annotations

from contextlib import suppress

from localops.journal import blobs
from localops.journal.reader import Reader, SQLiteError, user_message
from localops.reading import indexes
from localops.transfer import scrubbed
from localops.upkeep import prune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from localops.journal.journal import Journal

_TRIES = 3  # each waits some seconds for readers


def erase(journal: Journal, files: Collection[str] = (), *, anyway: bool = False) -> str | None:
    """Remove the traces of scrubbed rows from the files of a project; return why some may remain, or None.

    `files` are the blobs that only the old rows named.  With `anyway`, a large journal is packed even while others
    record into it; their rows may go to spill files meanwhile.  The next call removes what remains.
    """
    if not files or any(blobs.is_here(journal.folder, digest) for digest in files):
        prune.sweep_blobs(journal, anyway=files)
    with Reader(journal.path) as reader:
        if not scrubbed.is_unfinished(reader):
            return None
    # They contain words and arguments of the rows before the scrub.
    indexes.forget(journal.folder)
    if not (anyway or prune.can_pack(journal)):
        return "other programs record into the journal, and packing it would take long"
    try:
        # Free pages, and free space in other pages, still contain earlier contents.
        is_empty = journal.compact() or any(journal.empty_wal() for _ in range(_TRIES))
    except SQLiteError as error:
        with suppress(SQLiteError):
            journal.empty_wal()
        return f"the journal could not be packed: {user_message(error)}"
    if not is_empty:
        return "another program reads the journal, so that its WAL cannot be emptied"
    journal.transact(scrubbed.finish, full=True, folded=False)
    return None
