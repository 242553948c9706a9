-- The statements of a hub for a sender that verifies its rows.  Values are bound; :session is always the 16-byte id.

-- seqs --
-- A page of the seqs of a session's rows.
select seq
from session_row
where session = :session
  and seq > :after
order by seq
limit :many;

-- newest --
select max(seq)
from event;

-- id_at --
select id
from event
where seq = :seq;

-- repaired --
-- The seq at which a repair ended, after which rows have other seqs.
select cast(value as integer)
from meta
where key = 'repaired';

-- stored --
-- The number of rows: folded ones by session, and those that are not folded yet.
select coalesce(sum(rows), 0) + max(0, coalesce((select max(seq) from event), 0) - coalesce((select seq from mark), 0))
from total;

-- older --
-- Sessions whose last row is older than a time, oldest first, from a given place.
select session, last_ns, key
from total
where last_ns < :before_ns
  and (last_ns, key) > (:last_ns, :key)
  and session != zeroblob(16)
order by last_ns, key
limit :many;

-- deleted --
-- The sessions that were deleted here.
select session
from gone;

-- gone_by --
-- The row about a session's deletion.
select e.body
from event e
where e.seq in (
    select seq
    from id_of
    where id >= :low
      and id < :high
    union all
    select seq
    from event not indexed
    where seq > (select seq from mark)
      and id >= :low
      and id < :high)
  and e.kind = 'pruned'
  and e.parent = :session
  and e.at_ns = :at_ns
  and e.body is not null;

-- received_from --
-- The batches that were imported from a journal.
select first, last, id, phase
from received
where journal = :journal
order by last desc;

-- counted --
-- The number of rows that came from a journal.
select cast(value as integer)
from meta
where key = :key;

-- machine_of --
-- The machine that a journal was last sent from.
select value
from meta
where key = :key;

-- seen_journals --
-- When the first and the newest rows of each journal arrived.
select journal, min(at_ns), (
  select n.at_ns
  from received n
  where n.journal = r.journal
  order by n.last desc, n.first desc
  limit 1)
from received r
group by journal
order by 3;

-- newest_of --
-- The rows at the ends of a journal's newest batches.
select id, phase
from received
where journal = :journal
order by last desc, first desc
limit :many;

-- journals --
-- The rows about the ids of journals.
select body
from event not indexed
where kind = 'journal'
  and body is not null;

-- next_seq --
-- The seq of the row after another.
select min(seq)
from event
where seq > :after;

-- all_rows --
-- A page of the rows after a seq.
select {columns}
from event
where seq > :after
order by seq
limit :many;

-- senders --
-- The journals that rows were imported from.
select distinct journal
from received;

-- lost --
-- The places of rows that disappeared without a deletion, as prune deletes their ids, too.
select i.seq
from id_of i
where not exists (
  select 1
  from event e
  where e.seq = i.seq)
order by i.seq;

-- sums --
-- The numbers of sessions and of their rows.
select count(distinct session), sum(rows)
from (
  select session, rows
  from total not indexed
  where session <> zeroblob(16)
  union all
  select session, rows
  from tail);
