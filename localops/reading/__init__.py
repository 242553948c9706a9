"""Reading: homes and projects, the state of sessions, their totals, search and export."""

from __future__ import annotations
