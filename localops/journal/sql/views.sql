-- The views of the journal.  Each is exact at every moment: it adds the rows past the mark to the folded tables.
-- They are dropped and created again whenever they change, as they hold no data.  SQLite 3.40 is new enough.

-- The values that each row past the mark adds to its session's totals.
create view tail as
select
  session,
  seq,
  at_ns,
  1 as rows,
  phase = 0 and kind not in ({books}, 'agent') as events,
  phase = 0 and kind in ('action','operation','task','workflow') as actions,
  phase = 0 and kind = 'llm' as llms,
  phase = 0 and kind = 'tool' as tools,
  phase = 0 and kind = 'error' as errors,
  coalesce(failed, 0) as failed,
  {coalesce(tokens, 0) as tokens},
  iif(kind in ('llm','tool','price'), coalesce(cost, 0), 0) as cost,
  iif(kind = 'llm' and phase = 0, cost is null,
    iif(kind = 'price' and json_extract(body, '$.was') is null, -1, 0)) as unpriced
from event not indexed
where seq > (select seq from mark)
  and session <> zeroblob(16);

-- The seqs of the rows of sessions.  Rows past the mark are searched from the mark on, not from the seq of a caller's
-- condition: the cast prevents SQLite from using the index for that.
create view session_row as
select t.session, o.seq
from total t
join event_of o on o.key = t.key
union all
select session, cast(seq as integer)
from event not indexed
where seq > (select seq from mark)
  and session <> zeroblob(16);

-- Each session's totals, by its 16-byte id; `key` is its key in `total`, null until it is folded.  Nearly all sessions
-- have no row past the mark, so their totals are read from `total`, in any order that it has an index for.
create view session_total as
select session, {totals}, first_ns, last_ns, last_seq, key
from total
where session not in (select session from tail)
union all
select
  session,
  {sum(totals)},
  min(first_ns),
  max(last_ns),
  max(last_seq),
  max(key)
from (
  select session, {totals}, first_ns, last_ns, last_seq, key
  from total
  where session in (select session from tail)
  union all
  select session, {totals}, at_ns, at_ns, seq, null
  from tail
)
group by session;

-- The bookkeeping rows of sessions: participants, tags and ends, in any order.
create view story as
select session, at_ns, id, seq, kind, name, participant, implied
from milestone
union all
select session, at_ns, id, seq, kind, name, iif(kind in ({attendance}), parent, null),
  coalesce(json_extract(body, '$.derived'), json_extract(body, '$.forked'), 0)
from event not indexed
where seq > (select seq from mark)
  and kind in ({milestones});

-- The current tags of each session: those of the newest `set`, and what was added since.
create view session_tag as
select s.session, j.value as tag, min(s.at_ns + j.key) as nth
from story s
join event e on e.seq = s.seq
join json_each(e.tags) j
where s.kind in ({starts}, 'tags')
  and s.at_ns >= coalesce((
    select max(t.at_ns)
    from story t
    where t.session = s.session
      and t.kind = 'tags'
      and t.name = 'set'
  ), 0)
group by s.session, j.value;

-- The values that a row adds to the parts of its session: by model, tool, agent and its own tags.
-- Durations are at most a day: programs give times like 0 or the year 2200, and their sum must fit a column.  A tool is
-- listed when it is called, so that a session that died in it can be searched by it; it counts when it returns.
create view facet_part as
select seq, session, 'model' as dim, model as value,
  kind = 'llm' as events, coalesce(failed, 0) as failed,
  {coalesce(tokens, 0) as tokens},
  coalesce(cost, 0) as cost,
  iif(kind = 'llm', cost is null, iif(kind = 'price' and json_extract(body, '$.was') is null, -1, 0)) as unpriced,
  iif(kind = 'llm', min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0) as took_ns
from event not indexed
where model is not null and phase = 0 and kind in ('llm','price','error')
union all
select seq, session, 'tool', iif(kind = 'tool', coalesce(name, ''), json_extract(body, '$.trigger.name')),
  kind = 'tool' and phase = 0, coalesce(failed, 0), {0 as tokens}, iif(kind = 'tool', coalesce(cost, 0), 0), 0,
  iif(kind = 'tool' and phase = 0, min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0)
from event not indexed
where kind = 'tool'
  or phase = 0 and kind = 'error' and failed = 1 and json_extract(body, '$.trigger.kind') = 'tool'
union all
select seq, session, 'agent_id', lower(hex(agent)),
  kind <> 'price', coalesce(failed, 0), {coalesce(tokens, 0)}, iif(kind in ('llm','tool','price'), coalesce(cost, 0), 0),
  iif(kind = 'llm', cost is null, iif(kind = 'price' and json_extract(body, '$.was') is null, -1, 0)),
  iif(kind in ('llm','tool'), min(max(coalesce(end_ns, at_ns) - coalesce(start_ns, at_ns), 0), 86400000000000), 0)
from event not indexed
where agent is not null and phase = 0 and kind <> 'agent'
union all
select seq, session, 'agent', name, {0 as figures}
from event not indexed
where kind = 'agent' and name is not null
union all
select e.seq, e.session, 'tag', j.value,
  1, coalesce(e.failed, 0), {coalesce(e.tokens, 0)}, iif(e.kind in ('llm','tool'), coalesce(e.cost, 0), 0),
  e.kind = 'llm' and e.cost is null, 0
from event e not indexed
join json_each(e.tags) j
where e.tags is not null and e.phase = 0 and e.kind not in ({starts}, 'tags');

-- A session in readable form.  State `open` means that no end was recorded: whether it still runs is not in the file
-- but in the locks beside it, so use `localops sessions`.  For the same reason `seconds` ends at the last row, also in a
-- running session; commands, pages and exports count a running session until now.
create view session as
select
  {id_text ID=t.session} as session_id,
  (select e.name from story s join event e on e.seq = s.seq
    where s.session = t.session and s.kind in ({starts}) and e.name is not null
    order by s.at_ns, s.id limit 1) as name,
  coalesce((select name from ({session_end ROWS=story SESSION=t.session LAST=t.last_ns})), 'open') as state,
  {time_text NS=t.first_ns} as began,
  (t.last_ns - t.first_ns) / 1e9 as seconds,
  t.events,
  t.llms as llm_calls,
  t.tools as tool_calls,
  t.actions,
  t.errors,
  t.failed,
  {t.tokens},
  t.cost / 1e9 as cost_usd,
  t.unpriced,
  (select json_group_array(tag) from (select g.tag from session_tag g where g.session = t.session order by g.nth)) as tags
from session_total t;

-- An event in readable form; bookkeeping rows are only in `event`.  Ids are written as in the view `session`, so that
-- `event_detail.session = session.session_id` joins them.  `phase` is `began` for the row that opened an operation and
-- `ended` for every other: one call may have both, so count where it is `ended`.  Only `ended` rows have `milliseconds`,
-- and a `failed` of 0 or 1; agents and errors cannot fail and have none.  `cost_usd` includes later prices, and `failed`
-- is 1 for an event whose error was recorded later, as in totals: to read either scans the stream once more.
-- An error that names a model call as its trigger has that call's `model`: count calls where `kind` is `llm`.
create view event_detail as
with later as materialized (
  select parent, sum(iif(kind = 'price', cost, null)) as cost, max(kind = 'error') as failed
  from event
  where kind = 'price' or kind = 'error' and failed = 1
  group by parent
)
select
  e.seq,
  {id_text ID=e.id} as id,
  {id_text ID=e.session} as session,
  iif(e.phase = 1, 'began', 'ended') as phase,
  e.kind,
  e.name,
  iif(e.parent is null, null, {id_text ID=e.parent}) as parent,
  iif(e.agent is null, null, {id_text ID=e.agent}) as agent,
  strftime('%Y-%m-%dT%H:%M:%S', coalesce(e.start_ns, e.at_ns) / 1000000000, 'unixepoch')
    || printf('.%06dZ', coalesce(e.start_ns, e.at_ns) % 1000000000 / 1000) as began,
  iif(e.phase = 1, null, max(coalesce(e.end_ns, e.at_ns) - coalesce(e.start_ns, e.at_ns), 0) / 1e6) as milliseconds,
  e.model,
  {e.tokens},
  iif(e.kind = 'llm' and e.phase = 0,
    (select iif(e.cost is null and count(l.cost) = 0, null, coalesce(e.cost, 0) + coalesce(sum(l.cost), 0))
      from later l
      where l.parent = e.id),
    e.cost) / 1e9 as cost_usd,
  iif(e.phase = 1 or e.kind in ('error','agent'), null,
    coalesce(e.failed, (select l.failed from later l where l.parent = e.id), 0)) as failed,
  e.tags,
  json_extract(e.body, '$.params') as params,
  json_extract(e.body, '$.returns') as returns,
  e.body
from event e
where e.kind not in ({books});

-- LLM and tool calls that have ended, in readable form; ids as in the view `event_detail`.  `error` is the class of the
-- error that a failed call ended with, where one was recorded.
create view call as
with failure as materialized (
  select parent, name, max(seq)
  from event
  where kind = 'error'
    and parent is not null
  group by parent
)
select
  d.session,
  d.seq,
  d.id,
  d.kind,
  iif(d.kind = 'tool', d.name, null) as tool,
  d.model,
  d.began,
  d.milliseconds,
  json_extract(d.body, '$.time_to_first_token') * 1000 as first_token_milliseconds,
  {d.tokens},
  d.cost_usd,
  d.failed,
  iif(d.failed, f.name, null) as error,
  d.params
from event_detail d
join event e on e.seq = d.seq
left join failure f on f.parent = e.id
where d.kind in ('llm','tool')
  and d.phase = 'ended';

-- The tags of each event: its own, and the final tags of its session.  `session` and `id` are those of event_detail.
create view event_tag as
select seq, {id_text ID=session} as session,
  {id_text ID=id} as id, tag
from (
  select e.seq, e.session, e.id, j.value as tag
  from event e
  join json_each(e.tags) j
  where e.phase = 0
    and e.kind not in ({books})
  union
  select e.seq, e.session, e.id, g.tag
  from session_tag g
  join event e on e.session = g.session
  where e.phase = 0
    and e.kind not in ({books})
);

-- Operations that have begun but not ended.
create view unfinished_operation as
select e.session, e.id, e.seq, e.kind, e.name, e.parent, e.agent, e.at_ns
from unfinished u
join event e on e.seq = u.seq
where not exists (
  select 1 from event d not indexed
  where d.seq > (select seq from mark) and d.id = u.id and d.phase = 0)
union all
select o.session, o.id, o.seq, o.kind, o.name, o.parent, o.agent, o.at_ns
from event o not indexed
where o.seq > (select seq from mark)
  and o.phase = 1
  and not exists (select 1 from id_of i where i.id = o.id and i.phase = 0)
  and not exists (
    select 1 from event d not indexed
    where d.seq > (select seq from mark) and d.id = o.id and d.phase = 0);

-- The scores and notes of sessions, by their 16-byte ids; `target` is the id of an event, empty for the session, and a note
-- has an empty name.
create view score_row as
select t.session, s.name, s.target, s.author, s.given_ns, s.id, s.seq, s.seen_ns, s.type, s.number, s.label, s.version
from scored s
join total t on t.key = s.key
union all
select e.session, {score_of_row}
from event e not indexed
where e.seq > (select seq from mark)
  and e.kind = 'scored';

-- Scores in readable form.  Of those of one author for the same name and target the newest is current, unless it takes
-- the others back: its `value` is null.  `event` is null for a score of the session as a whole.
create view score as
select
  {id_text ID=s.session} as session,
  iif(s.target = x'', null, {id_text ID=s.target}) as event,
  s.name,
  coalesce(s.label, s.number) as value,
  s.type,
  s.author,
  s.version,
  json_extract(e.body, '$.comment') as comment,
  {time_text NS=s.given_ns} as given,
  s.type is not null and not exists (
    select 1
    from score_row n
    where n.session = s.session
      and n.name = s.name
      and n.target = s.target
      and n.author = s.author
      and (n.given_ns, n.id) > (s.given_ns, s.id)) as current,
  {id_text ID=s.id} as id,
  s.seq
from score_row s
join event e on e.seq = s.seq
where s.name <> '';

-- Notes in readable form; `event` is null for a note about the session as a whole.
create view note as
select
  {id_text ID=s.session} as session,
  iif(s.target = x'', null, {id_text ID=s.target}) as event,
  json_extract(e.body, '$.comment') as text,
  s.author,
  {time_text NS=s.given_ns} as given,
  {id_text ID=s.id} as id,
  s.seq
from score_row s
join event e on e.seq = s.seq
where s.name = '';
