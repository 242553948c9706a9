"""The sync worker: it will carry unsent rows from a journal to the remotes a user has added.

It is not part of this release, and nothing here can be called yet. Recording and reading are complete without
it; rows recorded now are kept, and can be sent by a later release.
"""

from __future__ import annotations
