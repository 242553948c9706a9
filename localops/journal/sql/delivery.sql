-- The statements of delivery.py, about the rows that each remote has or lacks.

-- taken --
-- The seqs that are not to be sent to a remote: it has or refuses them, or they were dropped.
select first, last
from delivered
where remote = :remote
union all
select seq, seq
from parked
where remote = :remote;

-- delivered --
select first, last
from delivered
where remote = :remote;

-- touching --
-- The ranges that overlap another, or end where it begins.
select first, last
from delivered
where remote = :remote
  and first >= coalesce((select max(first) from delivered where remote = :remote and first <= :first), :first)
  and first <= :last + 1
  and last >= :first - 1;

-- newest --
select max(seq)
from event;

-- rows --
-- The rows after one seq up to another, in order.
select {columns}
from event
where seq > :after
  and seq <= :upto
order by seq
limit :many;

-- last_of --
-- The newest row in a range.
select {columns}
from event
where seq >= :first
  and seq <= :last
order by seq desc
limit 1;

-- waiting --
-- The number, size and oldest time of the rows between two seqs.
select count(*), sum(200 + coalesce(octet_length(body), 0)), min(at_ns)
from event not indexed
where seq >= :first
  and seq <= :last;

-- seqs --
-- The seqs that exist from one seq up to another.
select seq
from event
where seq >= :first
  and seq <= :last
order by seq;

-- with_blobs --
-- The bodies between two seqs that may name a blob.
select seq, cast(body as blob)
from event
where seq > :after
  and seq <= :last
  and instr(body, 'blob') > 0
order by seq
limit :many;

-- identity_at --
select id, phase
from event
where seq = :seq;

-- meta --
select value
from meta
where key = :key;

-- parked --
-- The rows that a remote refuses, or without a name, that any remote refuses, newest last; or the dropped rows.
select p.remote, p.seq, p.final, p.reason, p.at_ns, e.id, e.phase, e.session, cast(e.kind as blob), cast(e.name as blob)
from parked p
left join event e on e.seq = p.seq
where (:remote is null or p.remote = :remote)
  and (p.final = 2) = :dropped
order by p.remote, p.seq;

-- dropped --
-- The number of rows that a user decided never to send to a remote.
select count(*)
from parked
where remote = :remote
  and final = 2
  and reason not like :settled;

-- pruned --
-- The sessions that were pruned here, with facts about each.
select parent, body
from event
where kind = 'pruned'
  and parent is not null
order by seq;

-- first_at --
-- When the first row was recorded.
select at_ns
from event
order by seq
limit 1;

-- kept_out --
-- The sessions with a row that a remote refuses, or that was dropped.
select distinct e.session
from parked p
join event e on e.seq = p.seq
where p.remote = :remote;

-- naming_files --
-- The bodies of a session's rows that may name a file, except dropped rows.
select e.body
from session_row r
join event e on e.seq = r.seq
where r.session = :session
  and instr(e.body, 'blob') > 0
  and not exists (
    select 1
    from parked p
    where p.remote = :remote
      and p.seq = r.seq
      and p.final = 2);

-- receipts --
select key, remote, at_ns, rows, body
from receipt
where (:remote is null or remote = :remote)
order by key desc
limit :many;

-- contact --
select peer, ok_ns, failed_ns, error
from contact
where remote = :remote;

-- sessions --
-- Every session and its number of rows, in the order of their ids.
select session, rows
from total
where session > :after
order by session
limit :many;

-- rows_without_session --
-- The rows about the journal itself, whose session is all zero.
select {columns}
from event
where seq > :after
  and session = :session
order by seq
limit :many;
