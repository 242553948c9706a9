-- The same columns and keys for servers since 23.
create table if not exists lo_meta {on_cluster} (
  project LowCardinality(String),
  key String,
  value Nullable(String),
  rev UInt64
) engine = {engine:lo_meta} order by (project, key)
settings fsync_after_insert = 1;
alter table lo_session {on_cluster} modify column unpriced Int64 codec(T64, ZSTD(1));
