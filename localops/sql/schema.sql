-- The journal, format 1.  One stream of rows (event); everything else is derived from it and can be rebuilt.
-- Open a copy (`localops backup`) with any SQLite tool; open the live file only read-only and from another process.

-- What this file is.  Keys: journal (the id of this journal), place (where it was last written), writer (the oldest
-- schema that may write here), about (a sentence for whoever finds the file).
create table meta(
  key text primary key,
  value text not null
) strict, without rowid;

-- The stream.  Nothing in it is ever updated; only prune removes.
create table event(
  seq integer primary key,               -- order of commit in this journal; never used twice (see the trigger)
  id blob not null,                      -- 16 bytes, UUIDv7; with phase the identity of the row
  phase integer not null,                -- 1: an operation opened; 0: everything else
  session blob not null,                 -- 16 bytes; all zero for rows about the journal itself
  kind text not null,                    -- session join leave tags end price … | agent operation action llm tool error …
  name text,                             -- of the action, tool, session, error type; of an end: the end state
  parent blob,                           -- the operation it happened in; of an error: the event that failed; of a price: the call;
                                         -- of session, join and leave: the participant
  agent blob,                            -- the id of the agent row it belongs to
  at_ns integer not null,                -- when it was recorded, by the recorder's clock
  start_ns integer,                      -- when it began, if that was earlier
  end_ns integer,                        -- when it ended, if the program said so
  model text,
  tokens_in integer,
  tokens_out integer,
  tokens_cached integer,
  tokens_reasoning integer,
  cost integer,                          -- nano-dollars; null: not known
  failed integer,                        -- 1: it raised, or was recorded with an error
  tags text,                             -- its own tags, a JSON array
  format integer not null,               -- of the body
  sum integer not null,                  -- crc32 of all the columns before it and the body
  body text,                             -- JSON: params, returns and what else belongs to the kind
  check(length(id) = 16),
  check(length(session) = 16)
) strict;

-- The promise of AUTOINCREMENT without its cost of a page per commit.
create trigger seq_is_never_reused before delete on event
when old.seq = (select max(seq) from event)
begin
  select raise(abort, 'the newest row of a journal stays: its seq must not be used again');
end;

-- What each remote has, as ranges of seq; unsent means in no range.
create table delivered(
  remote text not null,
  first integer not null,
  last integer not null,
  receipt text,
  primary key(remote, first)
) strict, without rowid;

-- Everything below is derived: folded from the stream in batches, up to and including mark.seq.
create table mark(
  one integer primary key check(one = 1),
  seq integer not null
) strict;

create table total(
  key integer primary key,
  session blob not null unique,
  rows integer not null,
  events integer not null,               -- rows of work that have ended
  actions integer not null,
  llms integer not null,
  tools integer not null,
  errors integer not null,
  failed integer not null,               -- operations that raised
  tokens_in integer not null,
  tokens_out integer not null,
  tokens_cached integer not null,
  tokens_reasoning integer not null,
  cost integer not null,                 -- nano-dollars, of llm, tool and price rows
  unpriced integer not null,             -- llm calls without a price
  first_ns integer not null,
  last_ns integer not null,
  last_seq integer not null,
  name text,
  state text not null default 'open',    -- open, Success, Failure, Indeterminate
  implied integer not null default 0,    -- 1: the end was derived, and a later row undoes it
  ended_ns integer
) strict;
create index total_by_start on total(first_ns desc, key desc);
create index total_by_state on total(state, first_ns desc, key desc);

-- Where a row is, by its identity.
create table id_of(
  id blob not null,
  phase integer not null,
  seq integer not null,
  primary key(id, phase)
) strict, without rowid;

-- The rows of a session, in order.
create table event_of(
  key integer not null,
  seq integer not null,
  primary key(key, seq)
) strict, without rowid;

-- Operations that have begun and not ended.
create table unfinished(
  id blob primary key,
  key integer not null,
  seq integer not null
) strict, without rowid;
create index unfinished_by_session on unfinished(key);

-- The rows that tell a session's story: who took part, its tags, its ends.
create table milestone(
  session blob not null,
  at_ns integer not null,
  id blob not null,
  seq integer not null,
  kind text not null,                    -- session join leave tags end host video metadata loss clock
  name text,
  participant blob,
  implied integer not null,              -- of an end: derived, not declared; of a join: a fork, not a decision
  primary key(session, at_ns, id, kind)
) strict, without rowid;

-- What a session can be found by, with the figures of that part of it.
create table facet(
  dim text not null,                     -- tag, model, agent (by name), agent_id, tool
  value text not null,
  start_ns integer not null,             -- of the session
  key integer not null,
  whole integer not null default 0,      -- 1: a tag of the session itself
  events integer not null default 0,
  failed integer not null default 0,
  tokens_in integer not null default 0,
  tokens_out integer not null default 0,
  tokens_cached integer not null default 0,
  tokens_reasoning integer not null default 0,
  cost integer not null default 0,
  unpriced integer not null default 0,
  took_ns integer not null default 0,
  primary key(dim, value, start_ns desc, key)
) strict, without rowid;
create index facet_by_session on facet(key, dim);
