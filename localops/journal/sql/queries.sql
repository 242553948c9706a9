-- The named queries of the library.  Values are bound; :session is always the 16-byte id.

-- totals --
-- The exact totals of a session: the folded totals plus the rows past the mark.
select
  {sum(totals)},
  min(first_ns), max(last_ns), max(last_seq)
from (
  select {totals}, first_ns, last_ns, last_seq
  from total
  where session = :session
  union all
  select {totals}, at_ns, at_ns, seq
  from tail
  where session = :session
)
having count(*) > 0;

-- last_ns --
-- The time of a session's last row.
{last_row};

-- story --
-- The bookkeeping rows of a session, oldest first, and whether each is the valid end.
with mine as materialized (
  select session, at_ns, id, kind, name, participant, implied, seq, ({last_row}) as last_ns
  from story
  where session = :session
)
select s.at_ns, s.id, s.kind, s.name, s.participant, s.implied, e.tags, e.body, s.seq,
  s.kind = 'end' and s.seq is (select seq from ({session_end ROWS=mine SESSION=:session LAST=s.last_ns}))
from mine s
join event e on e.seq = s.seq
order by s.at_ns, s.id;

-- declared_end --
-- The valid end of a session, if a program wrote it.  :waiting has the session's bookkeeping rows that are not in the
-- journal yet, as a JSON array of [at_ns, id in hex, kind, name, implied, body].
with known as materialized (
  select session, at_ns, id, kind, name, implied, seq, null as body
  from story
  where session = :session
    and kind in ({starts}, 'end')
  union all
  select :session, value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, null, value ->> 5
  from json_each(:waiting)
)
select n.name, n.at_ns, n.implied, coalesce(k.body, e.body)
from ({session_end ROWS=known SESSION=:session LAST=9223372036854775807}) n
left join known k on k.at_ns = n.at_ns and k.kind = 'end' and n.seq is null and k.seq is null
left join event e on e.seq = n.seq;

-- session_tags --
-- Like the view session_tag, but filtered by session first.
with mine as materialized (
  select at_ns, seq, kind, name
  from milestone
  where session = :session
    and kind in ({starts}, 'tags')
  union all
  select at_ns, seq, kind, name
  from event not indexed
  where seq > (select seq from mark)
    and session = :session
    and kind in ({starts}, 'tags')
)
select j.value
from mine m
cross join event e on e.seq = m.seq
cross join json_each(e.tags) j
where m.at_ns >= coalesce((select max(at_ns) from mine where kind = 'tags' and name = 'set'), 0)
group by j.value
order by min(m.at_ns + j.key);

-- open_sessions --
-- Sessions without an end, at most :many.  A session that both began and ended past the mark is not among them.
select session from total where state = 'open'
union
select session
from event not indexed
where seq > (select seq from mark)
  and session <> zeroblob(16)
group by session
having not {ended_past_mark}
limit :many;

-- newest --
-- The newest row.
select max(seq)
from event;

-- size_after --
-- The number of rows after :seq, and the bytes of their bodies.
select count(*), coalesce(sum(octet_length(body)), 0)
from event
where seq > :seq;

-- newest_row_id --
-- The id of the newest row.
select id
from event
order by seq desc
limit 1;

-- identities --
-- The identities of a session's rows.
select e.id, e.phase
from (
  select seq as at
  from session_row
  where session = :session
) page
join event e on e.seq = page.at;

-- open_since --
-- The sessions that have rows after :seq, the newest seq of each, and whether its end is among them; no rows if there
-- are more than :many.
select
  session,
  max(seq),
  {ended_past_mark}
from event not indexed
where seq > :seq
  and session <> zeroblob(16)
  and (select max(seq) from event) - :seq <= :many
group by session;

-- books_since --
-- The newest row, and whether a start, join, leave or end is among those after :seq.
select max(seq), coalesce(max(kind in ({attendance})), 0)
from event not indexed
where seq > :seq;

-- spent --
-- The cost of one session so far, in nano-dollars.
select coalesce(sum(cost), 0)
from (
  select cost from total where session = :session
  union all
  select cost from tail where session = :session
);

-- reported_tokens --
-- The token counts of a session's calls; null for one that no call reported.
select {sum(e.tokens)}
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and e.kind in ('llm', 'price');

-- cached_input --
-- The tokens that came from a cache and all tokens in, of those calls of a session that report both.
select coalesce(sum(tokens_cached), 0), coalesce(sum(tokens_in), 0)
from (
  select sum(e.tokens_cached) as tokens_cached, sum(e.tokens_in) as tokens_in
  from session_row r
  cross join event e on e.seq = r.seq
  where r.session = :session
    and e.kind in ('llm', 'price')
    and e.phase = 0
  group by iif(e.kind = 'price', e.parent, e.id))
where tokens_cached is not null
  and tokens_in is not null;

-- unfinished --
-- The operations of a session without an end, oldest first.
select id, kind, name, parent, agent, at_ns, model
from (
  select o.id, o.kind, o.name, o.parent, o.agent, o.at_ns, o.model
  from total t
  join unfinished u on u.key = t.key
  join event o on o.seq = u.seq
  where t.session = :session
  union all
  select id, kind, name, parent, agent, at_ns, model
  from event not indexed
  where seq > (select seq from mark)
    and session = :session
    and phase = 1
) o
where not exists (select 1 from id_of i where i.id = o.id and i.phase = 0)
  and not exists (
    select 1 from event d not indexed
    where d.seq > (select seq from mark) and d.id = o.id and d.phase = 0)
order by at_ns;

-- events --
-- A page of a session's rows in the order they were written, after :after.
select {e.columns}
from {page_after}
join event e on e.seq = page.at
order by e.seq;

-- newest_rows_of --
-- The :many last rows of a session up to a seq, the newest first.
select {e.columns}
from {page_up_to}
cross join event e on e.seq = page.at
order by e.seq desc;

-- row --
-- A row by its identity.
select {e.columns}
from event e
where e.seq = coalesce(
  (select seq from id_of where id = :id and phase = :phase),
  (select seq from event not indexed where seq > (select seq from mark) and id = :id and phase = :phase));

-- noted --
-- The ids of those of a JSON array, in hex, that have a closing row, as notes have.
select unhex(j.value)
from json_each(:ids) j
where exists (select 1 from id_of i where i.id = unhex(j.value) and i.phase = 0)
  or exists (
    select 1 from event e not indexed
    where e.seq > (select seq from mark) and e.id = unhex(j.value) and e.phase = 0);

-- opening_rows --
-- The rows with which operations began, by a JSON array of their ids in hex.
select {e.columns}
from json_each(:ids) j
cross join id_of i on i.id = unhex(j.value) and i.phase = 1
cross join event e on e.seq = i.seq
union all
select {e.columns}
from event e not indexed
where e.seq > (select seq from mark)
  and e.phase = 1
  and e.id in (select unhex(value) from json_each(:ids));

-- errors_near --
-- The errors of a session among the rows after one seq up to another, the newest first.
select {columns}
from event not indexed
where seq > :after
  and seq <= :upto
  and session = :session
  and kind = 'error'
order by seq desc;

-- errors_of --
-- The errors inside an event, oldest first.
select {e.columns}
from session_row r
join event e on e.seq = r.seq
where r.session = :session
  and e.kind = 'error'
  and e.parent = :id
order by e.seq
limit 10;

-- known_session --
select exists(select 1 from total where session = :session)
  or exists(select 1 from event not indexed where seq > (select seq from mark) and session = :session);

-- parts --
-- A session's totals by part: model, tool, agent_id, tag.  Models, agents and tools are listed from when a call begins,
-- so a session that died in the call can be searched by them; the call counts when it ends.
select value, {sum(figures)}
from (
  select f.value, {f.figures}
  from total t
  join facet f on f.key = t.key and +f.dim = :dim
  where t.session = :session
  union all
  select value, {figures}
  from facet_part
  where seq > (select seq from mark)
    and session = :session
    and dim = :dim
  union all
  select iif(:dim = 'model', model, lower(hex(agent))), {0 as figures}
  from ({open_calls_of_one})
  where :dim = 'model' and model is not null
    or :dim = 'agent_id' and agent is not null
)
group by value
order by 2 desc, 1;

-- all_parts --
-- The same for all dimensions except tags: model, tool, agent_id with the agent's name, and the names of agents.
select dim, value, {sum(figures)},
  iif(dim = 'agent_id', (select name from event where seq = {ended_row ID=unhex(value)}), null)
from (
  select f.dim, f.value, {f.figures}
  from total t
  join facet f on f.key = t.key and +f.dim in ('model','tool','agent_id','agent')
  where t.session = :session
  union all
  select dim, value, {figures}
  from facet_part
  where seq > (select seq from mark)
    and session = :session
    and dim in ('model','tool','agent_id','agent')
  union all
  select 'model', model, {0 as figures}
  from ({open_calls_of_one})
  where model is not null
  union all
  select 'agent_id', lower(hex(agent)), {0 as figures}
  from ({open_calls_of_one})
  where agent is not null
)
group by dim, value
order by dim, 3 desc, 2;

-- names --
-- The names of rows, by a JSON array of their ids in hex.
select j.value, e.name
from json_each(:ids) j
cross join event e on e.seq = {ended_row ID=unhex(j.value)};

-- afterwards --
-- What later rows add to the events of a session: cost, whether an error was recorded, whether it was billed, tokens.
select e.parent, sum(iif(e.kind = 'price', e.cost, null)), max(e.kind = 'error'),
  max(e.kind = 'price' and e.name is 'failed before it was billed'),
  {sum(e.counts)}
from session_row r
join event e on e.seq = r.seq
where r.session = :session
  and (e.kind = 'price' or e.kind = 'error' and e.failed = 1)
group by e.parent;

-- durations --
-- The duration of each LLM and tool call of a session in nanoseconds: at most a day, as in the view facet_part.
select e.kind, min(max(coalesce(e.end_ns, e.at_ns) - coalesce(e.start_ns, e.at_ns), 0), 86400000000000)
from session_row r
join event e on e.seq = r.seq
where r.session = :session
  and e.phase = 0
  and e.kind in ('llm','tool');

-- scores --
-- The scores and notes of a session and of its events, oldest first, and whether each is the newest of its author.
select s.target, s.name, s.type, s.number, s.label, s.author, s.version, e.body, s.given_ns, s.id, s.seq,
  row_number() over (partition by s.name, s.target, s.author order by s.given_ns desc, s.id desc) = 1
from score_row s
join event e on e.seq = s.seq
where s.session = :session
order by s.given_ns, s.id;

-- late --
-- The number of events that were recorded after the newest declared end, and before a process resumed the session.
-- Events with an earlier time are not counted: they were imported, or waited in a spill file.
select count(*)
from session_row r
join event e on e.seq = r.seq
where r.session = :session
  and r.seq > :after
  and e.at_ns > :at_ns
  and e.at_ns < :before
  and e.phase = 0
  and e.kind not in ({books}, 'agent');

-- last_before --
-- The time of the last row that a run wrote until :at_ns, among the :many rows up to :upto, without later additions.
select max(e.at_ns)
from {page_up_to}
cross join event e on e.seq = page.at
where e.at_ns <= :at_ns
  and (e.kind not in ({books}) or e.kind in ({starts}, {leaves}, 'end', 'host'));

-- calls_of_model --
-- LLM calls of a model after :after, in the order they were written; for a journal that is folded to its end.
select {e.columns}
from facet f
join event_of o on o.key = f.key and o.seq > :after
join event e on e.seq = o.seq
where f.dim = 'model'
  and f.value = :model
  and e.kind = 'llm'
  and e.phase = 0
  and e.model = :model
order by e.seq
limit :many;

-- prices_of_model --
-- The additions by later prices to calls of a model; for a journal that is folded to its end.
select e.parent, e.cost
from facet f
join event_of o on o.key = f.key
join event e on e.seq = o.seq
where f.dim = 'model'
  and f.value = :model
  and e.kind = 'price'
  and e.model = :model;

-- models --
-- The models of recorded LLM calls; for a journal that is folded to its end.
select value
from facet
where dim = 'model'
order by value;

-- known_of --
-- Which events in a JSON array of ids in hex have a closing row here.
select unhex(j.value)
from json_each(:ids) j
where exists(select 1 from id_of where id = unhex(j.value) and phase = 0)
  or exists(select 1 from event not indexed where seq > (select seq from mark) and id = unhex(j.value) and phase = 0);

-- known_sessions --
-- Which sessions have rows, by a JSON array of their ids in hex; for a journal that is folded to its end.
select session
from total
where session in (select unhex(value) from json_each(:ids));

-- gone_of --
-- Which sessions were deleted here, by a JSON array of their ids in hex.
select session
from gone
where session in (select unhex(value) from json_each(:ids));

-- traces_of --
-- The sessions of traces that have another id, from a JSON array of the ids, in hex, of the rows about them.
select e.id, e.parent
from json_each(:ids) j
cross join id_of i on i.id = unhex(j.value) and i.phase = 0
cross join event e on e.seq = i.seq;

-- placed --
-- The events of a session with their parents; for a call, also the id of its response and its instrumentor, and for an
-- error, its message.
select e.id, e.parent, e.kind, e.name,
  case
    when e.kind in ('llm', 'llm_copy') then json_extract(e.body, '$.response_id')
    when e.kind = 'error' then json_extract(e.body, '$.details')
  end,
  case when e.kind in ('llm', 'llm_copy') then json_extract(e.body, '$.scope') end
from session_row r
join event e on e.seq = r.seq
where r.session = :session
  and e.phase = 0
  and e.kind not in ({books});

-- gone --
-- When a session was deleted here.
select at_ns
from gone
where session = :session;

-- lacks_rows --
-- Whether rows of a session are missing here, or may be: its first row, or lost ones.
select 1
where not exists (select 1 from story where session = :session and kind = 'session')
union all
select 1
from story s
join event e on e.seq = s.seq
where s.session = :session
  and s.kind = 'loss'
group by s.session
having sum(json_extract(e.body, '$.dropped')) > 0
  or sum(json_extract(e.body, '$.damaged')) > 0
  or sum(json_extract(e.body, '$.left')) > 0;

-- left_elsewhere --
-- The sessions of which events stayed in a journal file that was moved away: how many, and when that was noticed first.
select s.session, sum(json_extract(e.body, '$.left')), min(e.at_ns)
from story s
join event e on e.seq = s.seq
where s.kind = 'loss'
  and json_extract(e.body, '$.left') is not null
group by s.session
having sum(json_extract(e.body, '$.left')) > 0;

-- returned_events --
-- The number of events of a session whose first row came after :seq, and was recorded before :at_ns.
select count(*)
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and r.seq > :seq
  and e.at_ns < :at_ns
  and e.kind not in ({books})
  and (e.phase = 1 or {opened_row ID=e.id} is null);

-- scrubbed_from --
-- The bodies of the rows about scrubs of an event's rows.  Their ids have the same beginning as the event's.
select e.body
from id_of i
cross join event e on e.seq = i.seq
where i.id between :low and :high
  and e.kind = 'journal'
  and e.name = 'scrubbed'
  and e.parent = :event;

-- steps_without_opening_row --
-- The number of closing rows of `once` steps without an opening row.  :field is the beginning of their field in a body.
select count(*)
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and e.phase = 0
  and e.kind not in ({books})
  and e.kind <> 'resolution'
  and instr(e.body, :field) > 0
  and iif(json_valid(e.body), json_extract(e.body, '$.once.kept') in ('none', 'returns', 'exact')
    or json_type(e.body, '$.once.why') = 'text', 0)
  and {opened_row ID=e.id} is null;

-- with_unread_lines --
-- The sessions of which an import found that rows are missing.
select distinct s.session
from story s
join event e on e.seq = s.seq
where s.kind = 'loss'
  and e.body like '%"unread_lines"%';

-- lost_seqs --
-- The rows about rows that a repair lost, with the seqs of these in the damaged journal.
select s.session, s.id, s.at_ns, e.body
from story s
join event e on e.seq = s.seq
where s.kind = 'loss'
  and json_type(e.body, '$.lost_seqs') = 'object';

-- work_rows --
-- The number of a session's rows up to the seq :upto, and the sum of their checksums, without those that readers add.
select count(*), coalesce(sum(e.sum & 4294967295), 0)
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and r.seq <= :upto
  and e.kind not in ({by_readers});

-- step_openings --
-- A page of the opening rows of a session's `once` steps, after :after.  :field is the beginning of their field in a body.
select {e.columns}
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and r.seq > :after
  and e.phase = 1
  and instr(e.body, :field) > 0
order by r.seq
limit :many;

-- once_steps --
-- The recorded `once` steps of a session: each attempt with its outcome, and each decision about a step.  :field is the
-- beginning of their field in a body.
select
  e.seq, e.id, e.phase, e.kind, e.name, e.at_ns,
  iif(json_valid(e.body), json_extract(e.body, '$.once'), null),
  d.at_ns, d.failed,
  iif(json_valid(d.body), json_extract(d.body, '$.once'), null),
  iif(json_valid(d.body), json_extract(d.body, '$.ended_by'), null),
  instr(coalesce(d.body, e.body), '"$blob"') > 0
from session_row r
cross join event e on e.seq = r.seq
left join event d on e.phase = 1 and d.seq = {ended_row ID=e.id}
where r.session = :session
  and (e.phase = 1 or e.kind = 'resolution')
  and instr(e.body, :field) > 0
order by e.at_ns, e.seq;
