"""Encoding: how any value becomes JSON without its secrets, and what a call costs."""

from __future__ import annotations
