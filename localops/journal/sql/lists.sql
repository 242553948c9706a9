-- The lists of sessions and events.  Each reads an index in the order of the list and tests all filters for each
-- session, so it does not build a set of matches.  Unset filters are null.  :fresh has the ids (in hex) of the sessions
-- with rows past the mark when the list was begun, which home.py reads one by one.  :facets is a JSON array of [clause,
-- dim, value, is a pattern, excluded]: a session must have a value of each clause, or must not if the clause is excluded.

-- behind --
-- The number of rows past the mark.
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
-- The sessions whose only calls of a model have not ended; sessions with other calls of it are in `facet`.
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
-- The sessions that have or had a score.
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
-- The ids of the sessions with a matching score, including those with rows past the mark.
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
-- The sort keys of sessions by a valid score, for the whole session or else its events: mean and first category.
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
-- The names of the valid scores.
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
-- For each session and author in a JSON array, the last score: its version, and the session's last time then.
select session, author, version, seen_ns
from (
  select *, row_number() over (partition by session, author order by given_ns desc, id desc) as nth
  from score_row
  where author in (select value from json_each(:authors))
)
where nth = 1;

-- sessions_by_id --
-- The sessions in a JSON array of ids in hex, which are few enough to sort.
{list_of}
from json_each(:ids) chosen
cross join total t on t.session = unhex(chosen.value)
where (:state is null or t.state = :state)
  and {on_page}
order by t.first_ns desc, t.key desc
limit :many;

-- hosts --
-- The host of each session in a JSON array of ids in hex, and of each session that is not folded yet.
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
-- The classes of errors in the sessions in a JSON array of ids in hex, and in all that are not folded yet.
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
-- The number of sessions with a value, at most :most.
select count(*)
from (
  select 1 from facet
  where dim = :dim and value = :value
  limit :most
);

-- how_many_scored --
-- The number of sessions that have or had a score, at most :most.
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
-- The number of sessions in a journal, including those of its newest rows.
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
-- The number of sessions that ended in each state, without those with rows past the mark.
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
