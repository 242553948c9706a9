"""A program with the commands in it takes along each of them, which are imported by name, and their pages."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

from localops.__pyinstaller import COMMANDS

datas = collect_data_files("localops", includes=COMMANDS)
hiddenimports = [
    name for package in ("localops.cli", "localops.coding", "localops_sync") for name in collect_submodules(package)
]
