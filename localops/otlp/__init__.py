"""OTLP in files: spans that a collector or a program has written become sessions (`localops import --otlp`)."""
