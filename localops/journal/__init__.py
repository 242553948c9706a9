"""The journal: rows on disk, the processes that write them, and how they are read back."""

from __future__ import annotations
