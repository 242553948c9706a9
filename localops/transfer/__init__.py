"""Transfer: batches of rows for other homes and remotes, their import, and the record of what was delivered."""

from __future__ import annotations
