"""localops: everything an AI agent did, written to disk before the call returns."""

from __future__ import annotations

__version__ = "0.1.0"
