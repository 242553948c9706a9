"""The journal: rows on disk, who writes them, and how they are read back."""

from __future__ import annotations
