"""The derived files of a project that hold words, arguments or digests of its rows."""

from __future__ import annotations

from localops.reading import call_table, calls, search


def forget(folder: str) -> None:
    """Delete them: rows were deleted or replaced, which they do not notice.  The next look makes each again."""
    for index in (search, calls, call_table):
        index.forget(folder)
