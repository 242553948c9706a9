"""Upkeep: checking, pruning, salvaging and repricing what a home holds."""

from __future__ import annotations
