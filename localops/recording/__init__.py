"""Recording: what a program calls, from an event to its row in the journal."""

from __future__ import annotations
