"""What `import agentops` finds in a program started by `localops run`: localops, under that name.

Its folder goes to the front of PYTHONPATH, so that a subprocess of the program finds it too.
"""

from __future__ import annotations

from localops.agentops import answer

answer()  # puts itself where this module was to be
