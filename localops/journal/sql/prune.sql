-- The statements of prune.  The deletions run in this order, inside one transaction, over a journal that is folded to
-- its end; :key is the session's key in `total`.

-- missing --
-- The number of a session's rows that a remote lacks, including dropped rows, which are stored nowhere else.
select count(*)
from session_row r
where r.session = :session
  and not exists (
    select 1
    from delivered d
    where d.remote = :remote
      and d.first <= r.seq
      and d.last >= r.seq);

-- removed --
-- The remotes that were removed or are no longer in remotes.json, and as JSON the seqs that they lacked then.
select substr(key, 9), value
from meta
where key glob 'removed *'
union all
select remote, null
from contact
order by 1;

-- delivered --
-- The seqs that each remote has.
select remote, first, last
from delivered;

-- doubted --
-- The remotes whose state is uncertain.
select substr(key, 7), value
from meta
where key glob 'doubt *';

-- deleted --
-- The remotes on which sessions were deleted, and these sessions as JSON.
select substr(key, 9), value
from meta
where key glob 'deleted *';

-- any_row --
select 1
from event
where seq between :first and :last
limit 1;

-- sent_nowhere --
-- The number of a session's rows in ranges, which are JSON.
select count(*)
from session_row r
where r.session = :session
  and exists (
    select 1
    from json_each(:ranges) j
    where r.seq between json_extract(j.value, '$[0]') and json_extract(j.value, '$[1]'));

-- weight --
-- The approximate size of a session in the file.
select coalesce(sum(300 + coalesce(octet_length(e.body), 0)), 0)
from total t
join event_of o on o.key = t.key
join event e on e.seq = o.seq
where t.session = :session;

-- totals --
-- A session's totals, in the order of analytics.Totals.
select {totals}, first_ns, last_ns, last_seq
from total
where key = :key;

-- identities --
-- The identities of a session's rows, and their checksums.
select e.id, e.phase, e.sum
from event_of o
join event e on e.seq = o.seq
where o.key = :key;

-- naming_blobs --
-- The bodies of a session's rows that may refer to a blob.
select cast(e.body as blob)
from event_of o
join event e on e.seq = o.seq
where o.key = :key
  and instr(e.body, 'blob') > 0;

-- bodies_with_blobs --
-- Every body that may refer to a blob.
select body
from event not indexed
where instr(body, 'blob') > 0;

-- delete_ids --
delete from id_of
where (id, phase) in (
  select e.id, e.phase
  from event_of o
  join event e on e.seq = o.seq
  where o.key = :key);

-- delete_lost_ids --
-- The ids of rows that are no longer in the file; the first condition avoids checking every id if there are none.
delete from id_of
where exists (
    select 1
    from event_of o
    where o.key = :key
      and not exists (select 1 from event e where e.seq = o.seq))
  and seq in (select seq from event_of where key = :key);

-- delete_parked --
delete from parked
where seq in (select seq from event_of where key = :key);

-- delete_events --
delete from event
where seq in (select seq from event_of where key = :key);

-- delete_places --
delete from event_of
where key = :key;

-- delete_unfinished --
delete from unfinished
where key = :key;

-- delete_facets --
delete from facet
where key = :key;

-- delete_scores --
delete from scored
where key = :key;

-- delete_milestones --
delete from milestone
where session = :session;

-- delete_total --
delete from total
where key = :key;
