"""Encoding: write any value as JSON without its secrets, and compute the cost of a call."""

from __future__ import annotations
