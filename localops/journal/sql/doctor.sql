-- The statements of doctor.  A `table_` statement reads a derived table without its keys, which change when it is rebuilt.

-- losses --
-- The rows about events that were spilled, lost or cut.
select s.session, e.body, e.at_ns
from story s
join event e on e.seq = s.seq
where s.kind = 'loss'
  and e.body is not null;

-- maybe_incomplete --
-- The sessions that lost rows, lack their first row, had one of the processes in the JSON array :moved, or were imported
-- from spans that state how many rows of steps there were.
select session
from story
where kind = 'loss'
  or hex(participant) in (select upper(value) from json_each(:moved))
union
select s.session
from story s
join event e on e.seq = s.seq
where s.kind in ('end', 'metadata')
  and e.body like '%"once_rows"%'
union
select session
from session_total
where session <> zeroblob(16)
  and session not in (select session from story where kind = 'session')
order by session;

-- resumed --
-- The sessions that were resumed.
select distinct s.session
from story s
join event e on e.seq = s.seq
where s.kind = 'join'
  and e.body like '%"resumed"%';

-- with_steps --
-- The sessions with `once` steps.  :field is the beginning of their field in a body.
select distinct session
from event
where instr(body, :field) > 0;

-- unattributed --
-- The sessions for events whose session was unknown, and their numbers of events.
select s.session, t.events
from story s
join event e on e.seq = s.seq
join session_total t on t.session = s.session
where s.kind = 'session'
  and s.name = 'unattributed'
  and json_extract(e.body, '$.unattributed') = 1
order by s.at_ns;

-- first_row --
-- The first row, which two journals have in common only if one is a copy of the other.
select id
from event
order by seq
limit 1;

-- sessions --
select session
from session_total;

-- texts --
-- The texts of rows that may contain secrets, page by page; as bytes, so that a flipped bit does not hide other rows.
select
  seq,
  id,
  session,
  at_ns,
  cast(kind || char(0) || coalesce(name, '') || char(0) || coalesce(model, '') || char(0) || coalesce(tags, '') as blob),
  cast(body as blob)
from event
where seq > :after
order by seq
limit :many;

-- twice --
-- Identities with more than one row, the number of surplus rows, and whether totals count these as well.
select id, count(*) - 1, max(kind <> 'journal')
from event
group by id, phase
having count(*) > 1
order by min(seq);

-- clock_steps --
-- The number of changes of the wall clock.
select count(*)
from story
where kind = 'clock';

-- table_total --
select session, {totals}, first_ns, last_ns, last_seq, name, state, implied, ended_ns
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

-- table_scored --
select t.session, s.name, s.target, s.author, s.given_ns, s.id, s.seq, s.seen_ns, s.type, s.number, s.label, s.version
from scored s
join total t on t.key = s.key
order by t.session, s.name, s.target, s.author, s.given_ns, s.id;

-- table_facet --
select f.dim, f.value, t.session, f.start_ns, f.whole, {f.figures}
from facet f
join total t on t.key = f.key
order by f.dim, f.value, t.session;
