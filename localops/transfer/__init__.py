"""Transfer: rows on their way to other homes and remotes, and what is known to have arrived."""

from __future__ import annotations
