"""Reading: homes and projects, the state of sessions, their figures, search and export."""

from __future__ import annotations
