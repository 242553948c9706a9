"""The derived files of a project: indexes of words, arguments or digests of its rows."""

from __future__ import annotations

import os

from localops.journal import derived_file
from localops.reading import call_table
from localops.reading.calls import CallIndex
from localops.reading.search import Index


def forget(folder: str) -> None:
    """Delete them, as they do not notice that rows were deleted or replaced; each is created again when it is used."""
    for name in (Index.FILE, CallIndex.FILE, call_table.FILE):
        derived_file.forget(os.path.join(folder, name))
