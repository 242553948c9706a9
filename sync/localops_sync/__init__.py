"""The sync worker: it carries unsent rows from a journal to the remotes a user has added, and nowhere else.

`worker.py` makes a pass, `sinks/` holds a destination each (`sink.py` says how to add one), `transport.py` is the only
place that calls anybody.  Nothing that records imports any of it.
"""

from __future__ import annotations
