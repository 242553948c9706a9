"""The commands that send: a module each, with a function of the same name, called by `localops`."""

from __future__ import annotations
