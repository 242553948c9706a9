-- What a hub's journals note beside rows, by key: how many rows came from each journal, for example.
create table if not exists lo_meta {on_cluster} (
  project String,
  key String,
  value Nullable(String),                -- null: noted no more
  rev UInt64
) engine = {engine:lo_meta} order by (project, key);
