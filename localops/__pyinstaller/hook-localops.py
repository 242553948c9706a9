"""A program that imports localops takes its prices and its SQL along."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_data_files

from localops.__pyinstaller import RECORDING

datas = collect_data_files("localops", includes=RECORDING)
