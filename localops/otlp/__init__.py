"""OTLP: spans and log records of files and requests become rows of sessions, and rows become spans."""
