"""The PyInstaller hook for programs that record with localops; PyInstaller finds it by its entry point."""

from __future__ import annotations

import os

RECORDING = ["encoding/prices.json", "journal/sql/*.sql"]
"""The data files that the library reads."""
COMMANDS = ["docs/*.md", "docs/units/*", "web/**/*", "server/clickhouse/tables/*.sql"]
"""The data files that the commands and the dashboard read beside them."""


def get_hook_dirs() -> list[str]:
    """Return the folders with hooks."""
    return [os.path.dirname(__file__)]
