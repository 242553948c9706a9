-- The index of a project's tool calls by their arguments, in the derived file calls.db, which may be deleted.
-- It has digests and no text; the rows are read from the journal.  The statements `last_of_batch`, `batch` and `row_at`
-- run on the journal, the other statements on calls.db.

-- schema --
create table about(
  journal text not null,                 -- the id of the journal it was made from
  upto integer not null                  -- the last seq that is in it
) strict;
create table opened(
  id blob primary key,                   -- of a call that has begun
  args integer not null                  -- the digest of its arguments
) strict, without rowid;
create table failed_early(
  id blob primary key                    -- of an operation that has an error, but no row in `call` yet
) strict, without rowid;
create table call(
  seq integer primary key,               -- of the row it ended with
  id blob not null,
  tool integer not null,                 -- the digest of the tool's name
  args integer not null,
  failed integer not null                -- 1: it raised, or an error about it was recorded later
) strict;
create index call_by_args on call(tool, args, seq);
create index call_failed on call(tool, seq) where failed = 1;
create index call_by_id on call(id);

-- last_of_batch --
-- The last seq of the next :many rows, on the journal.
{last_of_next};

-- batch --
select seq, id, phase, kind, name, parent, failed, body
from event
where seq > :after
  and seq <= :upto
  and (kind = 'tool' or kind = 'error' and failed = 1)
order by seq;

-- row_at --
select {columns}
from event
where seq = ?;

-- same --
-- The newest calls of a tool with the same arguments.
select seq, failed
from call
where tool = :tool
  and args = :args
order by seq desc
limit :many;

-- count_same --
-- The number of such calls among the newest :many, and how many of them failed.
select count(*), coalesce(sum(failed), 0)
from (
  select failed
  from call
  where tool = :tool
    and args = :args
  order by seq desc
  limit :many
);

-- failures --
-- The newest failed calls of a tool before a seq.
select seq
from call
where tool = :tool
  and failed = 1
  and seq < :before
order by seq desc
limit :many;

-- count_failures --
-- The number of failed calls of a tool, at most :many.
select count(*)
from (
  select 1
  from call
  where tool = :tool
    and failed = 1
  limit :many
);

-- any_call --
select 1
from call
where tool = :tool
limit 1;
