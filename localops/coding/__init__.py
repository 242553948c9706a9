"""Runs of coding agents (Claude Code, Codex): recorded by their hooks, or imported from their transcripts."""
