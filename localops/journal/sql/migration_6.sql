-- From schema 5 to 6: tokens_cache_write is a column.  Until then it was in bodies alone.
-- Views are made again after every migration.

{count_column NAME=tokens_cache_write KEY=cache_write_tokens};
