"""`python -m localops`: the same as the `localops` command."""

from __future__ import annotations

from localops.cli import main

if __name__ == "__main__":
    main()
