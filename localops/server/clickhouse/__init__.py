"""The hub's rows in ClickHouse."""
