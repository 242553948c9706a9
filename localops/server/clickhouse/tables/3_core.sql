-- The hubs that write here: one at a time, as long as it renews its row.
create table if not exists lo_lease {on_cluster} (
  holder String,                         -- drawn by each process
  place String,                          -- its data folder, on its machine since the last boot
  folder String,
  host String,
  pid UInt32,
  started Int64,                         -- seconds since 1970, by the clock of this server, as is the next
  renewed Int64,
  ended UInt8,                           -- 1: given back
  rev UInt64
) engine = {engine:lo_lease} order by (holder);
