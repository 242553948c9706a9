-- Totals across the sessions of a journal.  A session's totals belong to the time when it began, so that breakdowns by
-- session, by day and without any have the same sums.  Statements run with the common tables `running`, `own` and `chosen`, and
-- those that need a :dim with `part` as well.  Sessions with rows past the mark are few, and read one by one; the facets
-- of all others have the session's start, and are read in its order.

-- running --
-- The sessions in a JSON array of ids in hex, which last until :now_ns; the journal does not show that they run.
select unhex(value) as session
from json_each(:running);

-- own --
-- The current tags of sessions with rows past the mark: like the view session_tag, but only for these.
select s.session, j.value as tag
from (
  select session, at_ns, seq,
    max(iif(kind = 'tags' and name = 'set', at_ns, 0)) over (partition by session) as since
  from (
    select session, at_ns, seq, kind, name
    from milestone
    where session in (select session from tail)
      and kind in ({starts}, 'tags')
    union all
    select session, at_ns, seq, kind, name
    from event not indexed
    where seq > (select seq from mark)
      and kind in ({starts}, 'tags')
  )
) s
cross join event e on e.seq = s.seq
cross join json_each(e.tags) j
where s.at_ns >= s.since
group by s.session, j.value;

-- chosen --
-- The chosen sessions: those that began in [:since, :until), have the tag or an event with it (all if :tag is null),
-- and are in a JSON array of ids in hex (all if :sessions is null).
select t.session, {t.totals}, t.first_ns,
  iif(t.session in (select session from running), max(t.last_ns, :now_ns), t.last_ns) as last_ns, t.last_seq, t.key
from session_total t
where t.first_ns >= :since
  and t.first_ns < :until
  and (:sessions is null or t.session in (select unhex(value) from json_each(:sessions)))
  and (:tag is null
    or t.session in (select session from own where tag = :tag)
    or t.key in (
      select key from facet
      where dim = 'tag' and value = :tag
        and (whole = 0 or events > 0 or key not in (select key from total where session in (select session from tail))))
    or t.session in (
      select p.session from facet_part p
      where p.seq > (select seq from mark) and p.dim = 'tag' and p.value = :tag));

-- names --
-- The values of facets of one kind (:dim), at most :most, found without reading the facets of each: their number, and
-- they as a JSON array.
with recursive name(value) as (
  select min(value)
  from facet
  where dim = :dim
  union all
  select (select min(value) from facet where dim = :dim and value > name.value)
  from name
  where name.value is not null
  limit :most
)
select count(*), json_group_array(value)
from name
where value is not null;

-- part --
-- The totals of the chosen sessions by model, tool, agent (by id) or tag of events (:dim): a row for each value of each
-- session, where `who` is the session's key, or its id if it has rows past the mark.  A session that has only begun an LLM
-- call of a model or an agent has a row for it, with zeros.
select f.key as who, f.value, f.start_ns, {f.figures}
from facet f
where f.dim = :dim /* of these names */
  and f.whole = 0
  and f.start_ns >= :since
  and f.start_ns < :until
  and (:tag is null or f.key in (select key from facet where dim = 'tag' and value = :tag))
  and (:sessions is null
    or f.key in (select key from total where session in (select unhex(value) from json_each(:sessions))))
  and f.key not in (select key from total where session in (select session from tail))
union all
select c.session, p.value, c.first_ns, {sum(p.figures)}
from (
  select t.session, f.value, {f.figures}
  from total t
  join facet f on f.key = t.key and +f.dim = :dim
  where t.session in (select session from tail)
  union all
  select session, value, {figures}
  from facet_part
  where seq > (select seq from mark)
    and dim = :dim
    and value is not null
) p
cross join chosen c on c.session = p.session
where c.session in (select session from tail)
group by c.session, p.value
union all
select who, value, start_ns, {0 as figures}
from (
  select distinct iif(c.session in (select session from tail), c.session, c.key) as who,
    iif(:dim = 'model', e.model, lower(hex(e.agent))) as value, c.first_ns as start_ns, c.session, c.key
  from unfinished_operation u
  cross join event e on e.seq = u.seq
  cross join chosen c on c.session = u.session
  where u.kind = 'llm'
    and (:dim = 'model' and e.model is not null or :dim = 'agent_id' and e.agent is not null)
) o
where not exists (select 1 from facet f where f.key = o.key and +f.dim = :dim and f.value = o.value)
  and not exists (
    select 1 from facet_part p
    where p.seq > (select seq from mark) and p.session = o.session and p.dim = :dim and p.value = o.value);

-- quarters --
-- By the quarter of an hour in which sessions began, as every time zone's days consist of such; their sums are the
-- totals.  Durations are added up as seconds and rest: with a clock that jumped, their sum may not fit into 64 bits.
select first_ns / 900000000000 as quarter, count(*) as sessions,
  sum(events) as events, sum(actions) as actions, sum(llms) as llms, sum(tools) as tools, sum(errors) as errors,
  sum(failed) as failed, {sum(tokens) as tokens}, sum(cost) as cost, sum(unpriced) as unpriced,
  min(sum((last_ns - first_ns) / 1000000000), 9000000000) * 1000000000
    + min(sum((last_ns - first_ns) % 1000000000), 200000000000000000) as took_ns
from chosen
group by 1
order by 1;

-- unfinished --
-- The operations without an end, with session, tool, model and agent.
select u.session, u.kind, iif(u.kind = 'tool', coalesce(u.name, ''), null), e.model, lower(hex(u.agent))
from unfinished_operation u
cross join event e on e.seq = u.seq;

-- lacking --
-- The sessions of which rows are missing here, or may be: the first row, or lost ones.
select t.session
from total t
where t.name is null
  and t.session not in (select session from tail)
  and not exists (select 1 from milestone s where s.session = t.session and s.kind = 'session')
union
select s.session
from story s
cross join event e on e.seq = s.seq
where s.kind = 'loss'
group by s.session
having sum(json_extract(e.body, '$.dropped')) > 0
  or sum(json_extract(e.body, '$.damaged')) > 0
  or sum(json_extract(e.body, '$.left')) > 0;

-- died --
-- The sessions with a derived end, in which a process joined and did not record its exit.
select t.session
from total t
where t.implied = 1
  and t.session not in (select session from tail)
  and exists (
    select 1 from milestone s
    where s.session = t.session
      and s.kind in ({starts})
      and s.participant is not null
      and not exists (
        select 1 from milestone l
        where l.session = t.session
          and l.participant = s.participant
          and l.kind in ({leaves})
          and (l.at_ns, l.id) > (s.at_ns, s.id)));

-- decided --
-- The number of chosen sessions that ended in each state; `undecided` has the others, whose states must be read.
select t.state, count(*)
from chosen c
join total t on t.session = c.session
where t.state <> 'open'
  and c.session not in (select session from tail)
group by 1;

-- undecided --
-- The sessions whose states must be read: without an end, or with rows past the mark.
select session
from total
where state = 'open'
union
select session
from tail;

-- whole_tags --
-- The tags of sessions, by a JSON array of their ids in hex.
select t.session, f.value
from json_each(:ids) j
cross join total t on t.session = unhex(j.value)
cross join facet f on f.key = t.key and +f.dim = 'tag'
where f.whole = 1
  and t.session not in (select session from tail)
union all
select session, tag
from own
where session in (select unhex(value) from json_each(:ids));

-- among --
-- The chosen sessions of a JSON array of ids in hex, and when they began.
select session, first_ns
from chosen
where session in (select unhex(value) from json_each(:ids));

-- by_session --
-- The most expensive first.
select session, 1 as sessions,
  events, actions, llms, tools, errors, failed, {tokens}, cost, unpriced,
  last_ns - first_ns as took_ns
from chosen
order by cost desc, first_ns desc
limit :many;

-- by_facet --
-- By model or tool.
select value, count(*) as sessions, {sum(figures)}
from part
group by value
order by sum(cost) desc, sum(events) desc, value;

-- by_agent --
-- By the names of agents; agents without a name are shown by their ids with dashes.
select
  coalesce(e.name, n.name, substr(p.value, 1, 8) || '-' || substr(p.value, 9, 4) || '-' || substr(p.value, 13, 4)
    || '-' || substr(p.value, 17, 4) || '-' || substr(p.value, 21)) as agent,
  count(distinct p.who) as sessions, {sum(p.figures)}
from part p
left join id_of i on i.id = unhex(p.value) and i.phase = 0
left join event e on e.seq = i.seq
left join (
  with named as materialized (
    select id, name
    from event not indexed
    where seq > (select seq from mark)
      and kind = 'agent'
      and phase = 0
  )
  select id, name
  from named
) n on n.id = unhex(p.value)
group by 1
order by sum(p.cost) desc, sum(p.events) desc, 1;

-- by_tag --
-- By tag: the totals of sessions with the tag; for other sessions, those of single events with the tag.
select value, sum(sessions), {sum(figures)}
from (
  select f.value, count(*) as sessions, sum(t.events) as events, sum(t.failed) as failed, {sum(t.tokens) as tokens},
    sum(t.cost) as cost, sum(t.unpriced) as unpriced,
    sum(iif(t.session in (select session from running), max(t.last_ns, :now_ns), t.last_ns) - t.first_ns) as took_ns
  from facet f
  cross join total t on t.key = f.key
  where f.dim = 'tag' /* of these names */
    and f.whole = 1
    and f.start_ns >= :since
    and f.start_ns < :until
    and (:tag is null or f.key in (select key from facet where dim = 'tag' and value = :tag))
    and (:sessions is null or t.session in (select unhex(value) from json_each(:sessions)))
    and t.session not in (select session from tail)
  group by f.value
  union all
  select o.tag, 1, c.events, c.failed, {c.tokens}, c.cost,
    c.unpriced, c.last_ns - c.first_ns
  from own o
  cross join chosen c on c.session = o.session
  union all
  select p.value, 1, {p.figures}
  from part p
  where p.events > 0
    and not exists (select 1 from own o where o.session = p.who and o.tag = p.value)
)
group by value
order by sum(cost) desc, sum(events) desc, value;

-- by_kind --
-- By kind of event; reads every row of the journal.  Durations are at most a day, as in the view facet_part.  What later
-- rows add to an event, its price or that it failed, counts for its kind.
select kind, count(distinct session) as sessions, sum(n), sum(failed), {sum(tokens)}, sum(cost), sum(unpriced), sum(took_ns)
from (
  select iif(kind = 'price', 'llm', kind) as kind, session, phase = 0 and kind <> 'price' as n,
    iif(kind = 'error', 0, failed) as failed, {tokens},
    iif(kind in ('llm','tool','price'), cost, 0) as cost,
    iif(kind = 'price', -(json_extract(body, '$.was') is null), kind = 'llm' and phase = 0 and cost is null) as unpriced,
    iif(phase = 0 and kind <> 'price', min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0)
      as took_ns
  from event
  where (kind = 'price' or kind not in ({books}, 'agent'))
    and session in (select session from chosen)
  union all
  select coalesce(json_extract(body, '$.trigger.kind'), 'error'), session, 0, 1, {0 as tokens}, 0, 0, 0
  from event
  where kind = 'error' and failed = 1
    and session in (select session from chosen)
)
group by kind
order by 3 desc, 1;

-- by_kind_of_one --
-- The same for one session.
select kind, 1 as sessions, sum(n), sum(failed), {sum(tokens)}, sum(cost), sum(unpriced), sum(took_ns)
from (
  select iif(kind = 'price', 'llm', kind) as kind, e.session, phase = 0 and kind <> 'price' as n,
    iif(kind = 'error', 0, failed) as failed, {tokens},
    iif(kind in ('llm','tool','price'), cost, 0) as cost,
    iif(kind = 'price', -(json_extract(body, '$.was') is null), kind = 'llm' and phase = 0 and cost is null) as unpriced,
    iif(phase = 0 and kind <> 'price', min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0)
      as took_ns
  from session_row r
  join event e on e.seq = r.seq
  where r.session = :session
    and (e.kind = 'price' or e.kind not in ({books}, 'agent'))
  union all
  select coalesce(json_extract(body, '$.trigger.kind'), 'error'), r.session, 0, 1, {0 as tokens}, 0, 0, 0
  from session_row r
  join event e on e.seq = r.seq
  where r.session = :session
    and kind = 'error' and failed = 1
)
group by kind
order by 3 desc, 1;

-- by_kind_between --
-- The same of the rows after :after up to :upto, by session, for the mirror of a hub.  A later row about an
-- event counts in the range that the later row is in.
with part as materialized (
  select session, iif(kind = 'price', 'llm', kind) as kind,
    iif(kind = 'error' and failed = 1, coalesce(json_extract(body, '$.trigger.kind'), 'error'), null) as failing,
    count(*) as many,
    sum(phase = 0 and kind <> 'price') as n,
    sum(iif(kind = 'error', 0, coalesce(failed, 0))) as failed,
    {sum(coalesce(tokens, 0)) as tokens},
    sum(iif(kind in ('llm','tool','price'), coalesce(cost, 0), 0)) as cost,
    sum(iif(kind = 'price', -(json_extract(body, '$.was') is null), kind = 'llm' and phase = 0 and cost is null)) as unpriced,
    sum(iif(phase = 0 and kind <> 'price', min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000),
      0)) as took_ns
  from event not indexed
  where seq > :after and seq <= :upto
    and (kind = 'price' or kind not in ({books}, 'agent')) /* only some */
  group by 1, 2, 3)
select session, kind, sum(n), sum(failed), {sum(tokens)}, sum(cost), sum(unpriced), sum(took_ns)
from (
  select session, kind, n, failed, {tokens}, cost, unpriced, took_ns
  from part
  union all
  select session, failing, 0, many, {0 as tokens}, 0, 0, 0
  from part
  where failing is not null
)
where true
group by session, kind;

-- quarters_by_model --
-- The cost and tokens of models, by the quarter of an hour in which the sessions began.
select start_ns / 900000000000 as quarter, value, sum(events), sum(tokens_in), sum(tokens_out), sum(cost), sum(unpriced)
from part
group by 1, 2;

-- scores --
-- The valid scores of the chosen sessions: the newest of each author, unless it withdraws an earlier one.
select name, author, target <> x'', type, number, label, session
from (
  select *, row_number() over (partition by session, name, target, author order by given_ns desc, id desc) as nth
  from score_row
  where name <> ''
    and session in (select session from chosen)
)
where nth = 1
  and type is not null;
