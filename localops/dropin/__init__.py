"""What programs import from below `agentops`, as AgentOps' own examples, documents and tests do.

`names.py` is the table of AgentOps' modules; `finder.py` answers for them when they are imported, and loads what they
need only when it is asked for.  What makes no sense without AgentOps' server warns once and does nothing.
"""
