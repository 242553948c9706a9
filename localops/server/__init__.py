"""What localops says over HTTP: the hub, which takes rows in for many machines, and the reading of any home.

A request comes in by `serving.py` (bytes), `guard.py` (browsers), `entrance.py` (keys, shares, failures) and one of the
addresses in `doors.py`; it is answered by `taking.py` (senders), `reads.py` (programs) or `pages.py` (people), each of
which asks `store.py`, where rows are kept.  `app.py` puts them together.  The only importer of Starlette and uvicorn;
they come with `localops[ui]`.
"""

from __future__ import annotations
