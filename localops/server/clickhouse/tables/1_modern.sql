-- The same columns and keys for servers since 23, in half the room: written to disk before an insert returns.
create table if not exists lo_event {on_cluster} (
  project LowCardinality(String),
  session String codec(ZSTD(3)),
  id String codec(ZSTD(3)),
  phase UInt8 codec(ZSTD(1)),
  seq UInt64 codec(Delta, ZSTD(1)),
  kind LowCardinality(String),
  name LowCardinality(Nullable(String)),
  parent Nullable(String) codec(ZSTD(3)),
  agent LowCardinality(Nullable(String)),
  at_ns Int64 codec(Delta, ZSTD(1)),
  start_ns Nullable(Int64) codec(Delta, ZSTD(1)),
  end_ns Nullable(Int64) codec(Delta, ZSTD(1)),
  model LowCardinality(Nullable(String)),
  tokens_in Nullable(Int64) codec(T64, ZSTD(1)),
  tokens_out Nullable(Int64) codec(T64, ZSTD(1)),
  tokens_cached Nullable(Int64) codec(T64, ZSTD(1)),
  tokens_reasoning Nullable(Int64) codec(T64, ZSTD(1)),
  tokens_cache_write Nullable(Int64) codec(T64, ZSTD(1)),
  cost Nullable(Int64) codec(T64, ZSTD(1)),
  failed Nullable(Int64) codec(T64, ZSTD(1)),
  tags Nullable(String) codec(ZSTD(3)),
  format Int64 codec(T64, ZSTD(1)),
  sum Int64 codec(T64, ZSTD(1)),
  body Nullable(String) codec(ZSTD(3)),
  words Nullable(String) codec(ZSTD(3)),
  day Date codec(ZSTD(1)),
  rev UInt64 codec(Delta, ZSTD(1)),
  -- What search.py compares with, to the letter.
  index by_text lower(concat(ifNull(body, ''), ' ', ifNull(name, ''), ' ', ifNull(model, ''), ' ', ifNull(tags, ''), ' ', ifNull(words, ''))) type ngrambf_v1(4, 32768, 2, 0) granularity 1,
  -- Sessions begin in the order of their ids, so that rows of one time are near each other.
  index by_seq seq type minmax granularity 1,
  index by_rev rev type minmax granularity 1
) engine = {engine:lo_event} partition by toYYYYMM(day) order by (project, session, id, phase)
settings index_granularity = 4096, fsync_after_insert = 1;

create table if not exists lo_session {on_cluster} (
  project LowCardinality(String),
  session String codec(ZSTD(3)),
  day Date codec(ZSTD(1)),
  rev UInt64,
  gone UInt8,
  gone_ns Int64,
  name Nullable(String) codec(ZSTD(3)),
  state LowCardinality(String),
  host LowCardinality(Nullable(String)),
  first_ns Int64 codec(Delta, ZSTD(1)),
  last_ns Int64 codec(Delta, ZSTD(1)),
  rows UInt64 codec(T64, ZSTD(1)),
  events UInt64 codec(T64, ZSTD(1)),
  actions UInt64 codec(T64, ZSTD(1)),
  llm_calls UInt64 codec(T64, ZSTD(1)),
  tool_calls UInt64 codec(T64, ZSTD(1)),
  errors UInt64 codec(T64, ZSTD(1)),
  failed UInt64 codec(T64, ZSTD(1)),
  tokens_in Int64 codec(T64, ZSTD(1)),
  tokens_out Int64 codec(T64, ZSTD(1)),
  tokens_cached Int64 codec(T64, ZSTD(1)),
  tokens_cache_write Int64 codec(T64, ZSTD(1)),
  tokens_reasoning Int64 codec(T64, ZSTD(1)),
  cost Int64 codec(T64, ZSTD(1)),
  unpriced UInt64 codec(T64, ZSTD(1)),
  tags Array(LowCardinality(String)),
  models Array(LowCardinality(String)),
  derived String codec(ZSTD(3))
) engine = {engine:lo_session} partition by toYYYYMM(day) order by (project, session)
settings index_granularity = 1024, fsync_after_insert = 1;

create table if not exists lo_received {on_cluster} (
  project LowCardinality(String),
  journal String,
  first UInt64,
  last UInt64,
  id String,
  phase UInt8,
  at_ns Int64,
  gone UInt8,
  rev UInt64
) engine = {engine:lo_received} order by (project, journal, last, first)
settings fsync_after_insert = 1;
