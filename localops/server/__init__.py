"""The HTTP server: the hub, which many machines send rows to, and the pages and reads of any home.

Bytes arrive in `listen.py`, browsers are checked in `browser_guard.py`, keys and shares in `auth.py`; the addresses are
the table in `routes.py`.  `sync_api.py` answers senders, `read_api.py` programs, `pages.py` people; all of them ask the
`store.py` protocol, where rows are kept.  `app.py` puts them together.  Starlette and uvicorn are imported here only;
they come with `localops[ui]`.
"""

from __future__ import annotations
