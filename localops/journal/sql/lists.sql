-- The lists of sessions and events.  Each reads an index in the list's order and tests every filter for each session,
-- so that no set of matches is built.  Unset filters are null.  `fresh` are sessions with rows past the mark, which
-- home.py reads one by one.  :facets is a JSON array of [clause, dim, value, is a
-- pattern, excluded]: a session must have a value of each clause, or none if it is excluded.

-- behind --
-- How many rows are past the mark.
select (select coalesce(max(seq), 0) from event) - seq
from mark;

-- fresh --
select distinct session
from tail;

-- sessions_by_start --
{list_of}
from total t
where {on_page}
order by t.first_ns desc, t.key desc
limit :many;

-- sessions_by_state --
{list_of}
from total t
where t.state = :state
  and {on_page}
order by t.first_ns desc, t.key desc
limit :many;

-- sessions_by_facet --
{list_of}
from facet f
cross join total t on t.key = f.key
where f.dim = :dim
  and f.value = :value
  and (f.start_ns < :before_ns or f.start_ns = :before_ns and f.key < :before_key)
  and f.start_ns between :since and :before_ns
  and (:state is null or t.state = :state)
  and {on_page}
order by f.start_ns desc, f.key desc
limit :many;

-- sessions_by_open_call --
-- The sessions that began a call of a model which has not ended, and have no other call of it: those are in `facet`.
{list_of}
from (
  select distinct u.key
  from unfinished u
  cross join event e on e.seq = u.seq
  where e.kind = 'llm'
    and e.model = :value
) begun
cross join total t on t.key = begun.key
where not exists (
    select 1 from facet f where f.dim = :dim and f.value = :value and f.start_ns = t.first_ns and f.key = t.key)
  and (:state is null or t.state = :state)
  and {on_page}
order by t.first_ns desc, t.key desc
limit :many;

-- sessions_by_score --
-- The sessions that have a score or had one.
{list_of}
from (
  select distinct key
  from scored
  where name = :score
) judged
cross join total t on t.key = judged.key
where (:state is null or t.state = :state)
  and {on_page}
order by t.first_ns desc, t.key desc
limit :many;

-- sessions_as_asked --
-- The ids of the sessions that have a score as asked, those with rows past the mark too.
with asked as materialized (
  select value ->> 0 as name, value ->> 1 as author, value ->> 2 as op, value ->> 3 as number, value ->> 4 as label
  from json_each(:scores)),
s as (
  select *, row_number() over (partition by session, name, target, author order by given_ns desc, id desc) as nth
  from score_row
  where name in (select name from asked)
)
select distinct s.session
from asked a
join s on s.name = a.name
where s.nth = 1
  and {is_as_asked};

-- score_values --
-- What sessions are sorted by of a score that counts, by session: the mean of its numbers, and the first of its categories, each of those of the session as a whole, else of its events.
select session,
  coalesce(avg(iif(target = x'', number, null)), avg(number)),
  coalesce(min(iif(target = x'', label, null)), min(label))
from (
  select *, row_number() over (partition by session, target, author order by given_ns desc, id desc) as nth
  from score_row
  where name = :score
)
where nth = 1
  and type is not null
group by session;

-- score_names --
-- The names of the scores that count.
select distinct name
from (
  select *, row_number() over (partition by session, name, target, author order by given_ns desc, id desc) as nth
  from score_row
  where name <> ''
)
where nth = 1
  and type is not null
order by name
limit 100;

-- judged_by --
-- The last score of each author of a JSON array for each session: its version, and the time of the session's last row then.
select session, author, version, seen_ns
from (
  select *, row_number() over (partition by session, author order by given_ns desc, id desc) as nth
  from score_row
  where author in (select value from json_each(:authors))
)
where nth = 1;

-- sessions_by_id --
-- The sessions of a JSON array of ids in hex: few enough to be sorted.
{list_of}
from json_each(:ids) chosen
cross join total t on t.session = unhex(chosen.value)
where (:state is null or t.state = :state)
  and {on_page}
order by t.first_ns desc, t.key desc
limit :many;

-- hosts --
-- The host of each session of a JSON array of ids in hex, and of each that is not folded yet.
select m.session, json_extract(e.body, '$.host')
from json_each(:ids) j
cross join milestone m on m.session = unhex(j.value) and m.kind = 'session'
cross join event e on e.seq = m.seq
union all
select session, json_extract(body, '$.host')
from event not indexed
where seq > (select seq from mark)
  and kind = 'session';

-- error_classes --
-- The classes of the errors of the sessions of a JSON array of ids in hex, and of all that are not folded yet.
select distinct t.session, e.name
from json_each(:ids) j
cross join total t on t.session = unhex(j.value)
cross join event_of o on o.key = t.key
cross join event e on e.seq = o.seq
where t.errors > 0
  and e.kind = 'error'
  and e.name is not null
union
select session, name
from event not indexed
where seq > (select seq from mark)
  and kind = 'error'
  and name is not null;

-- how_many --
-- How many sessions have a value, counted up to :most.
select count(*)
from (
  select 1 from facet
  where dim = :dim and value = :value
  limit :most
);

-- how_many_scored --
-- How many sessions have or had a score, counted up to :most.
select count(*)
from (
  select distinct key from scored
  where name = :score
  limit :most
);

-- how_many_in_state --
select count(*)
from (
  select 1 from total
  where state = :state
  limit :most
);

-- key_of --
-- The position of a session in the list.
select first_ns, key
from total
where session = :session;

-- sessions_like --
-- Sessions with an id between two others, at most :many.
select session from total where session between :low and :high
union
select distinct session from tail where session between :low and :high
limit :many;

-- events_like --
-- Events with an id between two others, at most :many.
select id, max(session)
from (
  select e.id, e.session
  from id_of i
  join event e on e.seq = i.seq
  where i.id between :low and :high
    and e.kind not in ({books})
  union all
  select id, session
  from event not indexed
  where seq > (select seq from mark)
    and id between :low and :high
    and kind not in ({books})
)
group by id
limit :many;

-- notes_like --
-- Bookkeeping rows of sessions with an id between two others, at most :many.
select id, max(session)
from (
  select e.id, e.session
  from id_of i
  join event e on e.seq = i.seq
  where i.id between :low and :high
    and e.kind in ({books})
    and e.kind <> 'journal'
  union all
  select id, session
  from event not indexed
  where seq > (select seq from mark)
    and id between :low and :high
    and kind in ({books})
    and kind <> 'journal'
)
group by id
limit :many;

-- newest_rows --
-- The last rows of a journal, newest first.
select {columns}
from event
order by seq desc
limit :many;

-- rows_after --
select {columns}
from event
where seq > :after
order by seq
limit :many;

-- last_seq --
select coalesce(max(seq), 0)
from event;

-- how_many_sessions --
-- How many sessions a journal has, those of its newest rows among them.
select (select count(*) from total)
  + (select count(*) from (select distinct session from tail) f where f.session not in (select session from total));

-- standing_of_journal --
-- The figures of a journal in `localops status`.
select
  (select count(*) from total)
    + (select count(*) from (select distinct session from tail) f where f.session not in (select session from total)),
  (select sum(events) from session_total),
  (select max(at_ns) from event where seq = (select max(seq) from event)),
  (select sum(coalesce(json_extract(e.body, '$.dropped'), 0))
    from story s join event e on e.seq = s.seq where s.kind = 'loss'),
  (select sum(coalesce(json_extract(e.body, '$.cut'), 0))
    from story s join event e on e.seq = s.seq where s.kind = 'loss');

-- ended --
-- How many sessions have ended in each state, but for those with rows past the mark.
select state, count(*)
from total not indexed
where state <> 'open'
  and session <> zeroblob(16)
  and session not in (select session from tail)
group by state;

-- not_ended --
-- The sessions without an end, and those with rows past the mark.
select session
from total not indexed
where state = 'open'
  and session <> zeroblob(16)
union
select session
from tail;

-- newest_at --
-- When the newest row was recorded.
select at_ns
from event
order by seq desc
limit 1;
