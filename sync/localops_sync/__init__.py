"""The sync worker: sends unsent rows of a journal to the remotes that a user has added, and nowhere else.

`worker.py` makes a pass, each module in `sinks/` sends to one kind of destination (`sink.py` describes how to add one),
and only `transport.py` opens connections.  Nothing that records imports any of it.
"""

from __future__ import annotations
