-- The statements of a post-mortem.  Values are bound; :session is always the 16-byte id.  They read only bodies that
-- they return.  Each is limited by a number, or to both ends of a session: its rows up to :head and from :tail on.

-- edges --
-- The last seq of the first :many rows of a session, and the first of its last :many; null with fewer rows.
select
  (select seq from session_row where session = :session order by seq limit 1 offset :many - 1),
  (select seq from session_row where session = :session order by seq desc limit 1 offset :many - 1);

-- troubles --
-- The errors and failed operations of a session, oldest first.
select e.seq, e.id, e.kind, e.name, e.parent, e.agent, e.at_ns, e.model, e.failed, e.cost, e.tokens_in, e.tokens_out
{from_both_ends}
  and (e.kind = 'error' or e.failed = 1 and e.phase = 0)
order by e.at_ns, e.kind <> 'error', e.id
limit :many;

-- thread_ends --
-- The rows about exceptions that ended a thread of a session, oldest first.
select e.at_ns, e.body
{from_both_ends}
  and e.kind = 'journal'
  and e.name = :name
  and e.body is not null
order by e.at_ns, e.id
limit :many;

-- stopped_loops --
-- The rows of a session about loops that its program's `on_loop` stopped, oldest first.
select r.seq, e.at_ns
{from_both_ends}
  and e.kind = 'guardrail'
  and e.name = 'on_loop'
  and e.body is not null
order by r.seq
limit :many;

-- uncounted --
-- The LLM calls of a session that ended without token counts and without a cost.
select e.id, e.name, e.model, e.failed
{from_both_ends}
  and e.kind = 'llm'
  and e.phase = 0
  and e.cost is null
  and e.tokens_in is null
  and e.tokens_out is null
order by r.seq
limit :many;

-- spent --
-- The LLM calls of a session that ended, in the order they began, with the additions by later prices, and whether the
-- cost is known.
with later as materialized (
  select e.parent, sum(e.cost) as cost
  from session_row r
  cross join event e on e.seq = r.seq
  where r.session = :session
    and e.kind = 'price'
  group by e.parent)
select e.id, e.model, e.agent, coalesce(e.cost, 0) + coalesce(l.cost, 0), e.tokens_in, e.tokens_out, e.tokens_cached,
  e.cost is not null or l.parent is not null
from session_row r
cross join event e on e.seq = r.seq
left join later l on l.parent = e.id
where r.session = :session
  and e.kind = 'llm'
  and e.phase = 0
order by coalesce(e.start_ns, e.at_ns), e.id;

-- calls_of_ids --
-- The LLM and tool calls in a JSON array of ids in hex, with the additions by later prices.
select e.id, e.kind, e.failed, e.cost, e.tokens_in, e.tokens_out
from json_each(:ids) j
cross join event e on e.seq = {ended_row ID=unhex(j.value)}
where e.kind in ('llm', 'tool');

-- prices_of_ids --
-- The additions by later prices to calls in a JSON array of ids in hex.
select e.parent, sum(e.cost)
{from_both_ends}
  and e.kind = 'price'
  and hex(e.parent) in (select upper(value) from json_each(:ids))
group by e.parent;

-- details --
-- The text of each error in a JSON array of seqs, if it is short enough to be compared.
select e.seq, case when octet_length(e.body) <= 100000 and json_valid(e.body) then json_extract(e.body, '$.details') end
from json_each(:seqs) j
cross join event e on e.seq = j.value;

-- halves --
-- The rows of an operation, without their bodies: where it began and where it ended.
select {e.half}
from event e
where e.seq in (
  (select seq from id_of where id = :id and phase = 1),
  (select seq from id_of where id = :id and phase = 0),
  (select seq from event not indexed where seq > (select seq from mark) and id = :id and phase = 1),
  (select seq from event not indexed where seq > (select seq from mark) and id = :id and phase = 0));

-- last_rows --
-- The :few last rows of a session up to a time, among the :many that were written last, without their bodies; `cut_off`
-- is 1 if a call ended with its session.
select {e.half},
  e.kind = 'llm' and e.phase = 0 and instr(e.body, '"ended_by":"end of') > 0
from {page_up_to}
cross join event e on e.seq = page.at
where e.at_ns <= :until
order by e.at_ns desc, e.phase, e.id desc
limit :few;

-- ended_inside --
-- The operations that ended directly inside those in a JSON array of ids in hex, up to a time, among the :many rows of a
-- session that were written last: the :few newest of each, newest first, with their total number, and the number with that kind and name.
select *
from (
  select {e.half},
    count(*) over (partition by e.parent) as of_all,
    count(*) over (partition by e.parent, e.kind, e.name) as alike,
    row_number() over (partition by e.parent order by e.at_ns desc, e.id desc) as place
  from {page_up_to}
  cross join event e on e.seq = page.at
  where e.phase = 0
    and e.at_ns <= :until
    and hex(e.parent) in (select upper(value) from json_each(:ids))
    and e.kind not in ({books})
    and e.kind not in ('error', 'agent')
    and coalesce(e.name, '') not in ('budget', 'on_loop')
    and not (e.kind = 'llm' and instr(e.body, '"ended_by":"end of') > 0))
where place <= :few
order by at_ns desc, id desc;

-- last_answers --
-- The last successful LLM calls up to a time, among the :many rows of a session that were written last, newest first.
select {e.half}
from {page_up_to}
cross join event e on e.seq = page.at
where e.kind = 'llm'
  and e.phase = 0
  and e.failed is null
  and e.at_ns <= :until
order by e.at_ns desc, e.id desc
limit :few;

-- tokens_of --
-- The tokens of the answer in a row, and how many of them were reasoning.
select tokens_out, tokens_reasoning
from event
where seq = :seq;

-- begun_after --
-- The first operation that began after a time, among the :many rows after a seq: of one agent, or else of any.
select {e.half}
from {page_after}
cross join event e on e.seq = page.at
where e.kind not in ({books})
  and e.kind not in ('error', 'agent')
  and coalesce(e.name, '') not in ('budget', 'on_loop')
  and coalesce(e.start_ns, e.at_ns) >= :since
order by e.agent is not :agent, coalesce(e.start_ns, e.at_ns), e.id
limit 1;

-- begun_since --
-- The numbers of operations and of LLM calls that began after a time, among the :many rows after a seq.
select count(distinct case when e.kind <> 'llm' then e.id end), count(distinct case when e.kind = 'llm' then e.id end)
from {page_after}
cross join event e on e.seq = page.at
where e.kind not in ({books})
  and e.kind not in ('error', 'agent')
  and coalesce(e.name, '') not in ('budget', 'on_loop')
  and coalesce(e.start_ns, e.at_ns) >= :since;

-- succeeded_since --
-- The successful calls of an agent that began after a time, of a kind and, except for LLM calls, of a name, among the
-- :many rows after a seq.
select e.id
from {page_after}
cross join event e on e.seq = page.at
where e.phase = 0
  and e.failed is null
  and e.kind = :kind
  and e.agent is :agent
  and (e.kind = 'llm' or e.name is :name)
  and coalesce(e.start_ns, e.at_ns) >= :since
order by e.at_ns, e.id
limit :few;

-- calls_after --
-- The calls of one name that began after a time and ended among the :many rows after a seq, in the order they began.
select e.seq, e.id, e.failed
from {page_after}
cross join event e on e.seq = page.at
where e.kind = :kind
  and e.phase = 0
  and e.name is :name
  and e.model is :model
  and coalesce(e.start_ns, e.at_ns) >= :since
order by coalesce(e.start_ns, e.at_ns), e.id;

-- count_with --
-- The number of operations with a text in a body, among the first :many rows of both ends of a session.
select count(distinct e.id)
from (
  select r.seq
  from session_row r
  where r.session = :session
    and (r.seq <= :head or r.seq >= :tail)
  order by r.seq
  limit :many
) page
cross join event e on e.seq = page.seq
where e.kind <> 'error'
  and e.kind not in ({books})
  and instr(e.body, :text) > 0;
