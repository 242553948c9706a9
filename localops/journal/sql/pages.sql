-- The statements that only web pages need.  Values are bound; :session is always the 16-byte id.

-- mark --
select seq
from mark;

-- timeline --
-- A page of a session's rows without their bodies, each with its other half: an operation's opening or closing row.
select e.seq, e.id, e.phase, e.kind, e.name, e.parent, e.agent, e.at_ns, e.start_ns, e.end_ns, e.model,
  e.tokens_in, e.tokens_out, e.cost, e.failed,
  (select i.seq from id_of i where i.id = e.id and i.phase = 1 - e.phase) as other,
  e.kind = 'llm' and e.cost = 0 and json_valid(e.body) and json_type(e.body, '$.billed') is 'false' as unbilled
from {page_after}
cross join event e on e.seq = page.at
order by e.seq;

-- fresh_rows --
-- The seqs of a session's rows past the mark.
select id, phase, seq
from event not indexed
where seq > (select seq from mark)
  and session = :session;

-- ends_of --
-- The rows at the seqs of a JSON array, with the columns of `timeline`.
select e.seq, e.id, e.phase, e.kind, e.name, e.parent, e.agent, e.at_ns, e.start_ns, e.end_ns, e.model,
  e.tokens_in, e.tokens_out, e.cost, e.failed, null,
  e.kind = 'llm' and e.cost = 0 and json_valid(e.body) and json_type(e.body, '$.billed') is 'false'
from json_each(:seqs) j
cross join event e on e.seq = j.value;

-- first_seqs --
-- The first seqs of the events of a JSON array of ids in hex.
select i.id, min(i.seq)
from json_each(:ids) j
cross join id_of i on i.id = unhex(j.value)
group by i.id;

-- row_at --
select {columns}
from event
where seq = :seq;

-- at_remote --
-- The number of a session's rows in gaps, a JSON array of pairs of seqs, and the number that a remote refuses.
select
  (select count(*)
  from json_each(:gaps) j
  cross join session_row r on r.seq between j.value ->> 0 and j.value ->> 1
  where r.session = :session),
  (select count(*)
  from parked p
  cross join event e on e.seq = p.seq
  where p.remote = :remote
    and e.session = :session);

-- costs --
-- The LLM calls of a session and the additions of later rows to calls, for sessions with few rows.
select e.kind, e.name, e.parent, e.at_ns, e.start_ns, e.model, e.tokens_in, e.tokens_out, e.tokens_cached, e.cost, e.body
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and e.kind in ('llm','price')
  and e.phase = 0
  and e.cost is not null;

-- rows_of_kind --
-- A page of a session's rows of one kind.
select {e.columns}
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and r.seq > :after
  and e.kind = :kind
order by e.seq
limit :many;

-- first_rows --
-- The first rows of the events of rows in a session; the rows are a JSON array of seqs.
select min(e.seq)
from json_each(:seqs) j
cross join event r on r.seq = j.value
cross join event e on e.id = r.id
where r.session = :session
group by r.id;

-- catalogue --
-- Every folded session, as a line of the list.
select {listed}
from total;

-- catalogue_parts --
-- The values that sessions can be filtered by, and the keys of the sessions that have them.
select dim, value, group_concat(key)
from facet
where dim in ('tag', 'model', 'agent', 'tool')
group by dim, value;

-- open_models --
-- The models of calls without an end, as values of their sessions.
with done as materialized (
  select id
  from event not indexed
  where seq > (select seq from mark)
    and phase = 0
    and kind = 'llm'
)
select e.session, 'model', e.model
from unfinished u
cross join event e on e.seq = u.seq
where e.kind = 'llm'
  and e.model is not null
  and u.id not in (select id from done)
union
select session, 'model', model
from event not indexed
where seq > (select seq from mark)
  and phase = 1
  and kind = 'llm'
  and model is not null
  and id not in (select id from done)
  and not exists (select 1 from id_of i where i.id = event.id and i.phase = 0);

-- how_many_sessions --
select count(*)
from total;

-- changed --
-- Sessions with rows after a seq, and whether any of these is past the mark.
select session, max(seq) > (select seq from mark)
from event not indexed
where seq > :after
  and session <> zeroblob(16)
group by session;

-- catalogue_of --
-- The lines of the sessions of a JSON array of ids in hex.
select {t.listed}
from json_each(:ids) j
cross join total t on t.session = unhex(j.value);

-- catalogue_parts_of --
-- The filter values of the folded rows of sessions, without the tags of sessions that have newer rows.
select t.session, f.dim, f.value
from json_each(:ids) j
cross join total t on t.session = unhex(j.value)
cross join facet f on f.key = t.key
where +f.dim in ('tag', 'model', 'agent', 'tool')
  and (f.whole = 0 or f.events > 0 or t.session not in (select session from tail));

-- fresh_parts --
select distinct session, dim, value
from facet_part
where seq > (select seq from mark)
  and dim in ('tag', 'model', 'agent', 'tool')
  and value is not null;

-- tags_of --
-- The tags of each session of a JSON array of ids in hex, in order, for sessions without rows past the mark.
select session, value
from (
  select m.session, j.value, min(m.at_ns + j.key) as place
  from json_each(:ids) i
  cross join milestone m on m.session = unhex(i.value) and m.kind in ({starts}, 'tags')
  cross join event e on e.seq = m.seq
  cross join json_each(e.tags) j
  where m.at_ns >= coalesce((
      select max(s.at_ns) from milestone s where s.session = m.session and s.kind = 'tags' and s.name = 'set'), 0)
  group by m.session, j.value
)
order by session, place;

-- began --
-- The start rows of each session of a JSON array of ids in hex, with the columns of `story`.
select m.session, m.at_ns, m.id, m.kind, m.name, m.participant, m.implied, e.tags, e.body, m.seq
from json_each(:ids) j
cross join milestone m on m.session = unhex(j.value)
cross join event e on e.seq = m.seq
where m.kind = 'session'
order by m.session, m.at_ns, m.id;

-- ended --
-- The valid end of each session in a JSON array of ids in hex, for sessions without rows past the mark.
select t.session, e.name, e.body
from json_each(:ids) j
cross join total t on t.session = unhex(j.value)
cross join event e on e.seq = (select seq from ({session_end ROWS=milestone SESSION=t.session LAST=t.last_ns}));
