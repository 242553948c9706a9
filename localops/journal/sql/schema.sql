-- The journal, format 1.  One stream of rows (event); the tables after `mark` are derived from it and can be rebuilt.
-- Open a copy (`localops backup`) with any SQLite tool; open the live file only read-only and from another process.

-- Facts about this file.  Keys: journal (its id), lineage (the ids it had before, the last one first), place (where it
-- was last written), writer (the oldest schema that may write here), about (a sentence for a person who finds it).
create table meta(
  key text primary key,                  -- what is told
  value text not null
) strict, without rowid;

-- The stream.  Rows are never updated, except that scrub puts notes in the place of secrets; only prune deletes some.
create table event(
  seq integer primary key,               -- order of commit in this journal; never used twice (see the trigger)
  id blob not null,                      -- 16 bytes, UUIDv7; with phase the identity of the row
  phase integer not null,                -- 1: an operation opened; 0: everything else
  session blob not null,                 -- 16 bytes; all zero for rows about the journal itself
  kind text not null,                    -- session join leave tags end price scored … | agent operation action llm tool error …
  name text,                             -- of the action, tool, session, error type; of an end: the end state; of a score: what
                                         -- is judged
  parent blob,                           -- the operation it happened in; of an error: the event that failed; of a price: the call;
                                         -- of a score: the event that is judged; of session, join and leave: the participant
  agent blob,                            -- the id of the agent row it belongs to
  at_ns integer not null,                -- when it was recorded, by the recorder's clock
  start_ns integer,                      -- when it began, if that was earlier
  end_ns integer,                        -- when it ended, if the program said so; of a score: when it was given
  model text,                            -- of an LLM call
  tokens_in integer,                     -- of the prompt, cached ones included
  tokens_out integer,                    -- of the completion, reasoning included
  tokens_cached integer,                 -- of the prompt, read from a cache
  tokens_reasoning integer,              -- of the completion, spent on thinking
  cost integer,                          -- nano-dollars; null: not known
  failed integer,                        -- 1: it raised, or was recorded with an error
  tags text,                             -- its own tags, a JSON array
  format integer not null,               -- of the body
  sum integer not null,                  -- crc32 of all the columns before it and the body
  body text,                             -- JSON: params, returns and what else belongs to the kind
  tokens_cache_write integer,            -- of the prompt, written to a cache: a copy of what the body has, and so it is
                                         -- neither sent nor in the checksum
  check(length(id) = 16),
  check(length(session) = 16)
) strict;

-- The guarantee of AUTOINCREMENT without its cost of a page per commit.
create trigger seq_is_never_reused before delete on event
when old.seq = (select max(seq) from event)
begin
  select raise(abort, 'the newest row of a journal stays: its seq must not be used again');
end;

-- The rows that each remote has, as ranges of seq; a row is unsent when it is in no range and not parked.
create table delivered(
  remote text not null,                  -- its name
  first integer not null,                -- seq the range begins with
  last integer not null,                 -- seq it ends with
  primary key(remote, first)
) strict, without rowid;

-- Rows that a remote does not take: they are kept here, and do not hold up others.
create table parked(
  remote text not null,                  -- its name
  seq integer not null,                  -- of the row
  final integer not null,                -- 1: refused for good; 0: set aside, tried again with each pass; 2: dropped
  reason text not null,                  -- what the remote said
  at_ns integer not null,                -- when
  primary key(remote, seq)
) strict, without rowid;

-- The receipts of remotes, one for each batch.
create table receipt(
  key integer primary key,
  remote text not null,                  -- its name
  at_ns integer not null,                -- when it came
  rows integer not null,                 -- that it is for
  body text not null                     -- JSON, as the remote wrote it
) strict;

-- The last result of each remote.
create table contact(
  remote text primary key,               -- its name
  peer text,                             -- who answered there, by the id it goes by
  ok_ns integer,                         -- when a pass last came to its end
  failed_ns integer,                     -- when one last did not
  error text                             -- and why; null after a pass that did
) strict, without rowid;

-- The batches that were imported from other journals, so that a hub knows what it has of each.
create table received(
  journal text not null,                 -- its id
  first integer not null,                -- seq there that the batch begins with
  last integer not null,                 -- seq there that it ends with
  id blob not null,                      -- of the row at `last`
  phase integer not null,                -- of that row
  at_ns integer not null,                -- when it came
  primary key(journal, last, first)
) strict, without rowid;

-- Sessions that were deleted here and do not come back when they are sent again.
create table gone(
  session blob primary key,              -- its id
  at_ns integer not null                 -- when it was deleted
) strict, without rowid;

-- All tables below are derived: folded from the stream in batches, up to and including mark.seq.
create table mark(
  one integer primary key check(one = 1),
  seq integer not null                   -- the last row that is folded
) strict;

create table total(
  key integer primary key,               -- short for the session in the tables below
  session blob not null unique,          -- its id
  rows integer not null,                 -- of any kind
  events integer not null,               -- rows of work that have ended
  actions integer not null,              -- action, operation, task and workflow rows
  llms integer not null,
  tools integer not null,
  errors integer not null,
  failed integer not null,               -- operations that raised
  tokens_in integer not null,            -- of all LLM calls, as the next three and the last
  tokens_out integer not null,
  tokens_cached integer not null,
  tokens_reasoning integer not null,
  cost integer not null,                 -- nano-dollars, of llm, tool and price rows
  unpriced integer not null,             -- llm calls without a price
  first_ns integer not null,             -- at_ns of its first row
  last_ns integer not null,              -- at_ns of its last row
  last_seq integer not null,             -- the seq written last
  name text,                             -- of its first start that has one
  state text not null default 'open',    -- open, Success, Failure, Indeterminate
  implied integer not null default 0,    -- 1: the end was derived, and a later row undoes it
  ended_ns integer,                      -- when; null while open
  moved integer not null default 0,      -- 1: an earlier row came in, and what is sorted by first_ns must follow
  tokens_cache_write integer not null default 0
) strict;
create index total_moved on total(key) where moved = 1;
create index total_by_start on total(first_ns desc, key desc);
create index total_by_state on total(state, first_ns desc, key desc);

-- The seq of a row, by its identity.
create table id_of(
  id blob not null,                      -- of the row
  phase integer not null,                -- of the row
  seq integer not null,                  -- where it is
  primary key(id, phase)
) strict, without rowid;

-- The rows of a session, in order.
create table event_of(
  key integer not null,                  -- total.key
  seq integer not null,                  -- where the row is
  primary key(key, seq)
) strict, without rowid;

-- Operations that have begun but not ended.
create table unfinished(
  id blob primary key,                   -- of the operation
  key integer not null,                  -- total.key
  seq integer not null                   -- of the row it opened with
) strict, without rowid;
create index unfinished_by_session on unfinished(key);

-- The bookkeeping rows of a session: participants, tags, ends.
create table milestone(
  session blob not null,                 -- its id
  at_ns integer not null,                -- as in event, and so are the next two
  id blob not null,
  seq integer not null,
  kind text not null,                    -- session join leave tags end host video metadata loss clock
  name text,                             -- as in event
  participant blob,                      -- the process, by its id
  implied integer not null,              -- of an end: derived, not declared; of a join: a fork, not a decision
  primary key(session, at_ns, id, kind)
) strict, without rowid;

-- The values that a session can be filtered by, with the totals of that part of it.
create table facet(
  dim text not null,                     -- tag, model, agent (by name), agent_id, tool
  value text not null,                   -- what it is called
  start_ns integer not null,             -- of the session
  key integer not null,                  -- total.key
  whole integer not null default 0,      -- 1: a tag of the session itself
  events integer not null default 0,     -- calls, or events, of that part
  failed integer not null default 0,     -- of these
  tokens_in integer not null default 0,
  tokens_out integer not null default 0,
  tokens_cached integer not null default 0,
  tokens_reasoning integer not null default 0,
  cost integer not null default 0,
  unpriced integer not null default 0,
  took_ns integer not null default 0,    -- how long they took together
  tokens_cache_write integer not null default 0,
  primary key(dim, value, start_ns desc, key)
) strict, without rowid;
create index facet_by_session on facet(key, dim);

-- Scores and notes.  Of those with the same target, name and author the newest counts.
create table scored(
  key integer not null,                  -- total.key
  name text not null,                    -- what is judged; empty: a note
  target blob not null,                  -- the id of the event; empty: the session as a whole
  author text not null,                  -- who judged it
  given_ns integer not null,             -- when
  id blob not null,                      -- of the row
  seq integer not null,                  -- where it is
  seen_ns integer not null,              -- the time of the session's last row then
  type text,                             -- number, bool or text; null: the score was withdrawn
  number real,                           -- its value; of a bool 0 or 1
  label text,                            -- the value that is a text
  version text,                          -- of what judged it
  primary key(key, name, target, author, given_ns, id)
) strict, without rowid;
create index scored_by_name on scored(name, key);
