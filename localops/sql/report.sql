-- Figures across the sessions of a journal.  A session's figures belong to the moment it began, so every breakdown by
-- session, day or nothing at all has the same sums.  The others are asked with `chosen` as a table of their own.

-- chosen --
-- The sessions that figures are about: begun in [:since, :until), with the tag or with an event that has it (:tag null:
-- all of them).
select t.*
from session_total t
where t.first_ns >= :since
  and t.first_ns < :until
  and (:tag is null
    or t.key in (select key from facet where dim = 'tag' and value = :tag)
    or t.session in (
      select e.session
      from event e not indexed
      join json_each(e.tags) j
      where e.seq > (select seq from mark) and e.tags is not null and j.value = :tag));

-- quarters --
-- By the quarter of an hour they began in, which every zone's days are made of; added up they are the totals.
select first_ns / 900000000000 as quarter, count(*) as sessions,
  sum(events) as events, sum(actions) as actions, sum(llms) as llms, sum(tools) as tools, sum(errors) as errors,
  sum(failed) as failed, sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out, sum(tokens_cached) as tokens_cached,
  sum(tokens_reasoning) as tokens_reasoning, sum(cost) as cost, sum(unpriced) as unpriced,
  sum(last_ns - first_ns) as took_ns
from chosen
group by 1
order by 1;

-- by_session --
-- The dearest first.
select session, 1 as sessions,
  events, actions, llms, tools, errors, failed, tokens_in, tokens_out, tokens_cached, tokens_reasoning, cost, unpriced,
  last_ns - first_ns as took_ns
from chosen
order by cost desc, first_ns desc
limit :many;

-- by_facet --
-- By model, tool or agent (:dim agent_id: by the agent's name, where it has one).
select value, count(distinct coalesce(key, session)) as sessions, sum(events), sum(failed), sum(tokens_in),
  sum(tokens_out), sum(tokens_cached), sum(tokens_reasoning), sum(cost), sum(unpriced), sum(took_ns)
from (
  select f.key, null as session, iif(:dim = 'agent_id', coalesce(
      (select e.name from id_of i join event e on e.seq = i.seq where i.id = unhex(f.value) and i.phase = 0), f.value),
      f.value) as value,
    f.events, f.failed, f.tokens_in, f.tokens_out, f.tokens_cached, f.tokens_reasoning, f.cost, f.unpriced, f.took_ns
  from facet f
  where f.dim = :dim
    and f.key in (select key from chosen)
  union all
  select c.key, c.session, p.value, p.events, p.failed, p.tokens_in, p.tokens_out, p.tokens_cached, p.tokens_reasoning,
    p.cost, p.unpriced, p.took_ns
  from facet_part p
  join chosen c on c.session = p.session
  where p.seq > (select seq from mark)
    and p.dim = :dim
)
where value is not null
group by value
order by sum(cost) desc, sum(events) desc, value;

-- by_tag --
-- By tag: all figures of the sessions that have it, else those of the single events that have it.
select value, count(distinct key) as sessions, sum(events), sum(failed), sum(tokens_in), sum(tokens_out),
  sum(tokens_cached), sum(tokens_reasoning), sum(cost), sum(unpriced), sum(took_ns)
from (
  select c.key, f.value, c.events, c.failed, c.tokens_in, c.tokens_out, c.tokens_cached, c.tokens_reasoning, c.cost,
    c.unpriced, c.last_ns - c.first_ns as took_ns
  from chosen c
  cross join facet f indexed by facet_by_session on f.key = c.key and f.dim = 'tag'
  where f.whole = 1
  union all
  select f.key, f.value, f.events, f.failed, f.tokens_in, f.tokens_out, f.tokens_cached, f.tokens_reasoning, f.cost,
    f.unpriced, f.took_ns
  from facet f
  where f.dim = 'tag' and f.whole = 0
    and f.key in (select key from chosen)
)
group by value
order by sum(cost) desc, sum(events) desc, value;

-- by_kind --
-- By kind of event; looks at every row of the journal.  A call took a day at most, as in the view facet_part.
select kind, count(distinct session) as sessions, sum(phase = 0), sum(failed), sum(tokens_in), sum(tokens_out),
  sum(tokens_cached), sum(tokens_reasoning), sum(iif(kind in ('llm','tool','price'), cost, 0)),
  sum(kind = 'llm' and phase = 0 and cost is null),
  sum(iif(phase = 0, min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0))
from event
where kind not in ('session','join','leave','tags','end','clock','journal','pruned','loss','host','video','metadata','agent')
  and session in (select session from chosen)
group by kind
order by 3 desc, 1;

-- by_kind_of_one --
-- The same for one session.
select e.kind, 1 as sessions, sum(e.phase = 0), sum(e.failed), sum(e.tokens_in), sum(e.tokens_out),
  sum(e.tokens_cached), sum(e.tokens_reasoning), sum(iif(e.kind in ('llm','tool','price'), e.cost, 0)),
  sum(e.kind = 'llm' and e.phase = 0 and e.cost is null),
  sum(iif(e.phase = 0, min(max(coalesce(e.end_ns, e.at_ns) - coalesce(e.start_ns, e.at_ns), 0), 86400000000000), 0))
from (
  select o.seq as at
  from total t
  join event_of o on o.key = t.key
  where t.session = :session
  union all
  select seq
  from event not indexed
  where seq > (select seq from mark)
    and session = :session
) mine
join event e on e.seq = mine.at
where e.kind not in ('session','join','leave','tags','end','clock','journal','pruned','loss','host','video','metadata','agent')
group by e.kind
order by 3 desc, 1;

-- quarters_by_state --
-- How sessions ended, by the quarter of an hour they began in; those that may still run are in `undecided`.
select c.first_ns / 900000000000 as quarter, t.state, count(*)
from chosen c
join total t on t.key = c.key
where t.state <> 'open'
  and c.session not in (select session from tail)
group by 1, 2;

-- undecided --
select c.session, c.first_ns
from chosen c
left join total t on t.key = c.key
where coalesce(t.state, 'open') = 'open'
  or c.session in (select session from tail);

-- quarters_by_model --
-- What models cost and read, by the quarter of an hour in which the sessions began.
select quarter, value, sum(events), sum(tokens_in), sum(tokens_out), sum(cost), sum(unpriced)
from (
  select f.start_ns / 900000000000 as quarter, f.value, f.events, f.tokens_in, f.tokens_out, f.cost, f.unpriced
  from facet f
  where f.dim = 'model'
    and f.start_ns >= :since
    and f.start_ns < :until
    and (:tag is null or f.key in (select key from chosen))
  union all
  select c.first_ns / 900000000000, p.value, p.events, p.tokens_in, p.tokens_out, p.cost, p.unpriced
  from facet_part p
  join chosen c on c.session = p.session
  where p.seq > (select seq from mark)
    and p.dim = 'model'
)
where value is not null
group by 1, 2;

-- extents --
-- How long each session took, in nanoseconds, and what it cost.
select last_ns - first_ns, cost
from chosen;
