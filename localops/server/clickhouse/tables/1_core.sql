-- Every row of every session, as the journals have it.  A row that comes again replaces itself: the greatest rev stays.
create table if not exists lo_event {on_cluster} (
  project String,
  session String,                        -- ids are written in hex, which is in the order of their bytes
  id String,
  phase UInt8,
  seq UInt64,                            -- the order of arrival in the project
  kind String,
  name Nullable(String),
  parent Nullable(String),
  agent Nullable(String),
  at_ns Int64,
  start_ns Nullable(Int64),
  end_ns Nullable(Int64),
  model Nullable(String),
  tokens_in Nullable(Int64),
  tokens_out Nullable(Int64),
  tokens_cached Nullable(Int64),
  tokens_reasoning Nullable(Int64),
  tokens_cache_write Nullable(Int64),
  cost Nullable(Int64),                  -- nano-dollars
  failed Nullable(Int64),
  tags Nullable(String),
  format Int64,
  sum Int64,
  body Nullable(String),
  words Nullable(String),                -- what is searched, of a row that is not plain ASCII: its words without case and accents
  day Date,                              -- of the session, by its id: it never changes, so that twins meet in one partition
  rev UInt64
) engine = {engine:lo_event} partition by toYYYYMM(day) order by (project, session, id, phase)
settings index_granularity = 4096;

-- The state of every session: what it adds up to.  The newest state replaces the others.
create table if not exists lo_session {on_cluster} (
  project String,
  session String,
  day Date,
  rev UInt64,
  gone UInt8,                            -- 1: deleted, and not stored again
  gone_ns Int64,
  name Nullable(String),
  state String,                          -- open, Success, Failure, Indeterminate
  host Nullable(String),
  first_ns Int64,
  last_ns Int64,
  rows UInt64,
  events UInt64,
  actions UInt64,
  llm_calls UInt64,
  tool_calls UInt64,
  errors UInt64,
  failed UInt64,
  tokens_in Int64,
  tokens_out Int64,
  tokens_cached Int64,
  tokens_cache_write Int64,
  tokens_reasoning Int64,
  cost Int64,                            -- nano-dollars
  unpriced UInt64,
  tags Array(String),
  models Array(String),
  derived String                         -- JSON of the rows that a hub's mirror keeps of it
) engine = {engine:lo_session} partition by toYYYYMM(day) order by (project, session)
settings index_granularity = 1024;

-- The batches that came from each journal.
create table if not exists lo_received {on_cluster} (
  project String,
  journal String,
  first UInt64,
  last UInt64,
  id String,
  phase UInt8,
  at_ns Int64,
  gone UInt8,                            -- 1: forgotten, as the journal went on with other rows
  rev UInt64
) engine = {engine:lo_received} order by (project, journal, last, first);
