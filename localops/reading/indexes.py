"""The derived files of a project that hold words, arguments or digests of its rows."""

from __future__ import annotations

import os

from localops.journal import derived_file
from localops.reading import call_table
from localops.reading.calls import CallIndex
from localops.reading.search import Index


def forget(folder: str) -> None:
    """Delete them: rows were deleted or replaced, which they do not notice.  The next look makes each again."""
    for name in (Index.FILE, CallIndex.FILE, call_table.FILE):
        derived_file.forget(os.path.join(folder, name))
