-- What doctor asks.  A `table_` statement shows a derived table without the keys that differ from one building to another.

-- losses --
-- What could not be written at once, as processes told of it.
select s.session, e.body
from story s
join event e on e.seq = s.seq
where s.kind = 'loss'
  and e.body is not null;

-- unattributed --
-- The sessions that processes keep for events whose session could not be known, and how many events are in them.
select s.session, t.events
from story s
join event e on e.seq = s.seq
join session_total t on t.session = s.session
where s.kind = 'session'
  and s.name = 'unattributed'
  and json_extract(e.body, '$.unattributed') = 1
order by s.at_ns;

-- first_row --
-- What two journals have in common only when one is a copy of the other.
select id
from event
order by seq
limit 1;

-- sessions --
select session
from session_total;

-- twice --
-- Identities that stand more than once, and how often too often: figures count each of these rows.
select id, count(*) - 1
from event
group by id, phase
having count(*) > 1
order by min(seq);

-- clock_steps --
-- How often the wall clock was changed.
select count(*)
from story
where kind = 'clock';

-- table_total --
select session, rows, events, actions, llms, tools, errors, failed, tokens_in, tokens_out, tokens_cached, tokens_reasoning,
  cost, unpriced, first_ns, last_ns, last_seq, name, state, implied, ended_ns
from total
order by session;

-- table_id_of --
select id, phase, seq
from id_of
order by id, phase;

-- table_event_of --
select t.session, o.seq
from event_of o
join total t on t.key = o.key
order by o.seq;

-- table_unfinished --
select u.id, t.session, u.seq
from unfinished u
join total t on t.key = u.key
order by u.id;

-- table_milestone --
select session, at_ns, id, seq, kind, name, participant, implied
from milestone
order by session, at_ns, id, kind;

-- table_facet --
select f.dim, f.value, t.session, f.start_ns, f.whole, f.events, f.failed, f.tokens_in, f.tokens_out, f.tokens_cached,
  f.tokens_reasoning, f.cost, f.unpriced, f.took_ns
from facet f
join total t on t.key = f.key
order by f.dim, f.value, t.session;
