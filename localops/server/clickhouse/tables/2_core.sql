-- What a hub's journals note beside rows, by key: how many rows came from each journal, for example.
create table if not exists lo_meta {on_cluster} (
  project String,
  key String,
  value Nullable(String),                -- null: noted no more
  rev UInt64
) engine = {engine:lo_meta} order by (project, key);
-- Prices that were given later count against calls without one, whichever comes first.
alter table lo_session {on_cluster} modify column unpriced Int64;
