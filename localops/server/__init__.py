"""What localops says over HTTP: the hub, which takes rows in for many machines, and the reading of any home.

`app.py` knows HTTP, `store.py` knows where rows are kept, `keys.py` who may come in, `bodies.py` and `serving.py`
how much of a client is borne.  The only importer of Starlette and uvicorn; they come with `localops[ui]`.
"""

from __future__ import annotations
