"""Upkeep: checks, prunes, repairs and reprices the projects of a home."""

from __future__ import annotations
