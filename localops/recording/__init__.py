"""Recording: the functions that a program calls, and the way of an event to its row in the journal."""

from __future__ import annotations
