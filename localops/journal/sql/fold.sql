-- Folds a batch, the rows after :after up to and including :upto, into the derived tables.
-- The statements run in this order inside one immediate transaction; the mark is moved before the totals, so that the
-- views see the new state.

-- batch --
-- Sums of the batch by session, kind and phase, and by the values of most facets.  The rows are scanned and sorted only
-- once, as the statements below read this table.  Durations count at most a day, as in the view facet_part.
create temp table if not exists batch(
  session blob, kind text, phase integer, model text, tool text, agent blob, n integer, failed integer, {tokens integer},
  cost integer, priced integer, took_ns integer, tagged integer, first_ns integer, last_ns integer, last_seq integer);

-- emptied --
delete from temp.batch;

-- gathered --
insert into temp.batch
select
  session, kind, phase, model, iif(kind = 'tool', coalesce(name, ''), null), agent,
  count(*),
  coalesce(sum(failed), 0),
  {coalesce(sum(tokens), 0)},
  coalesce(sum(cost), 0),
  count(cost),
  sum(iif(kind in ('llm','tool') and phase = 0,
    min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0)),
  count(tags),
  min(at_ns),
  max(at_ns),
  max(seq)
from event not indexed
where seq > :after and seq <= :upto
group by 1, 2, 3, 4, 5, 6;

-- survey --
-- Whether the batch has bookkeeping rows, calls and events of agents, other values for facets, prices, opening rows,
-- sessions that began earlier than known, and scores.  rollups.py skips the statements for those that it does not have.
select
  max(kind in ({milestones})),
  max(coalesce(model, tool, agent) is not null),
  max(kind in ('agent','error','price') or tagged > 0 and kind not in ({starts}, 'tags')),
  max(kind = 'price'),
  max(phase = 1),
  max(first_ns < (select t.first_ns from total t where t.session = batch.session)),
  max(kind = 'scored')
from temp.batch;

-- mark --
update mark set seq = :upto;

-- totals --
insert into total(session, {totals}, first_ns, last_ns, last_seq)
select
  session,
  sum(n),
  sum(iif(phase = 0 and kind not in ({books}, 'agent'), n, 0)),
  sum(iif(phase = 0 and kind in ('action','operation','task','workflow'), n, 0)),
  sum(iif(phase = 0 and kind = 'llm', n, 0)),
  sum(iif(phase = 0 and kind = 'tool', n, 0)),
  sum(iif(phase = 0 and kind = 'error', n, 0)),
  sum(failed),
  {sum(tokens)},
  sum(iif(kind in ('llm','tool','price'), cost, 0)),
  sum(iif(kind = 'llm' and phase = 0, n - priced, 0)),
  min(first_ns),
  max(last_ns),
  max(last_seq)
from temp.batch
where session <> zeroblob(16)
group by session
on conflict(session) do update set
  {totals = totals + excluded.totals},
  moved = moved or excluded.first_ns < first_ns,
  first_ns = min(first_ns, excluded.first_ns),
  last_ns = max(last_ns, excluded.last_ns),
  last_seq = max(last_seq, excluded.last_seq),
  -- A derived end is valid only until the session has another row.
  state = iif(implied = 1 and excluded.last_ns > ended_ns, 'open', state),
  ended_ns = iif(implied = 1 and excluded.last_ns > ended_ns, null, ended_ns),
  implied = iif(implied = 1 and excluded.last_ns > ended_ns, 0, implied);

-- ids --
insert or ignore into id_of(id, phase, seq)
select id, phase, seq
from event not indexed
where seq > :after and seq <= :upto;

-- rows_of_sessions --
insert into event_of(key, seq)
select t.key, e.seq
from event e not indexed
join total t on t.session = e.session
where e.seq > :after and e.seq <= :upto;

-- begun --
insert or ignore into unfinished(id, key, seq)
select e.id, t.key, e.seq
from event e not indexed
join total t on t.session = e.session
where e.seq > :after and e.seq <= :upto
  and e.phase = 1
  and not exists (select 1 from id_of i where i.id = e.id and i.phase = 0);

-- finished --
delete from unfinished
where exists (select 1 from id_of i where i.id = unfinished.id and i.phase = 0);

-- milestones --
insert or ignore into milestone(session, at_ns, id, seq, kind, name, participant, implied)
select session, at_ns, id, seq, kind, name, iif(kind in ({attendance}), parent, null),
  coalesce(json_extract(body, '$.derived'), json_extract(body, '$.forked'), 0)
from event not indexed
where seq > :after and seq <= :upto
  and kind in ({milestones});

-- stories --
update total set
  name = (
    select s.name from milestone s
    where s.session = total.session and s.kind in ({starts}) and s.name is not null
    order by s.at_ns, s.id
    limit 1),
  (state, implied, ended_ns) = (
    select coalesce(max(name), 'open'), coalesce(max(implied), 0), max(at_ns)
    from ({session_end ROWS=milestone SESSION=total.session LAST=total.last_ns}))
where session in (
  select session
  from temp.batch
  where kind in ({starts}, 'end')
    and session <> zeroblob(16));

-- scores --
insert or ignore into scored(key, name, target, author, given_ns, id, seq, seen_ns, type, number, label, version)
select t.key, {score_of_row}
from event e not indexed
join total t on t.session = e.session
where e.seq > :after and e.seq <= :upto
  and e.kind = 'scored';

-- first_prices --
update total set unpriced = unpriced - (
  select count(*)
  from event e not indexed
  where e.seq > :after and e.seq <= :upto
    and e.session = total.session
    and e.kind = 'price'
    and json_extract(e.body, '$.was') is null)
where session in (
  select session
  from event not indexed
  where seq > :after and seq <= :upto
    and kind = 'price');

-- moved_starts --
update facet set start_ns = (select t.first_ns from total t where t.key = facet.key)
where key in (select key from total where moved = 1);

-- settled --
update total set moved = 0
where moved = 1;

-- facets --
-- The facets of calls and of events of agents, from the sums of the batch.
insert into facet(dim, value, start_ns, key, {figures})
select
  f.dim, f.value, t.first_ns, t.key,
  {sum(f.figures)}
from (
  select session, 'model' as dim, model as value,
    n as events, failed, {tokens}, cost, n - priced as unpriced, took_ns
  from temp.batch
  where kind = 'llm' and phase = 0 and model is not null
  union all
  select session, 'tool', tool,
    iif(phase = 0, n, 0), failed, {0 as tokens}, cost, 0, took_ns
  from temp.batch
  where kind = 'tool'
  union all
  select session, 'agent_id', lower(hex(agent)),
    n, failed, {tokens}, iif(kind in ('llm','tool'), cost, 0), iif(kind = 'llm', n - priced, 0), took_ns
  from temp.batch
  where agent is not null and phase = 0 and kind not in ('agent','error','price')) f
join total t on t.session = f.session
group by f.dim, f.value, t.key
on conflict(dim, value, start_ns, key) do update set
  {figures = figures + excluded.figures};

-- other_facets --
-- The facets of names of agents, of tags, and of errors and prices, which belong to earlier calls.
insert into facet(dim, value, start_ns, key, {figures})
select
  f.dim, f.value, t.first_ns, t.key,
  {sum(f.figures)}
from facet_part f
cross join event e on e.seq = f.seq
join total t on t.session = f.session
where f.seq > :after and f.seq <= :upto
  and (f.dim in ('agent','tag') or e.kind in ('error','price'))
group by f.dim, f.value, t.key
on conflict(dim, value, start_ns, key) do update set
  {figures = figures + excluded.figures};

-- old_tags --
update facet set whole = 0
where dim = 'tag' and whole = 1 and key in (
  select t.key
  from event e not indexed
  join total t on t.session = e.session
  where e.seq > :after and e.seq <= :upto
    and e.kind = 'tags' and e.name = 'set');

-- new_tags --
insert into facet(dim, value, start_ns, key, whole)
select distinct 'tag', j.value, t.first_ns, t.key, 1
from (
  select session, coalesce((
      select max(s.at_ns)
      from milestone s
      where s.session = batch.session and s.kind = 'tags' and s.name = 'set'
    ), 0) as since
  from temp.batch
  where kind in ({starts}, 'tags')
    and session <> zeroblob(16)
  group by session) touched
cross join total t on t.session = touched.session
cross join milestone m on m.session = touched.session and m.kind in ({starts}, 'tags')
  and m.at_ns >= touched.since
cross join event e on e.seq = m.seq
cross join json_each(e.tags) j
where true
on conflict(dim, value, start_ns, key) do update set whole = 1;

-- no_tags --
delete from facet
where dim = 'tag' and whole = 0 and events = 0;
