"""Recorded runs as read-only tools for agents, over the Model Context Protocol.

`tools.py` has the tools and their arguments, `memory.py` reads, `answers.py` keeps an answer small and its recorded
text apart from ours, `server.py` speaks the protocol.
"""
