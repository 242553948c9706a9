-- The rows in which loops are searched.  Values are bound; :session is the 16-byte id.

-- calls --
-- A page of the calls and errors of a session in the order they were written, after :after, with bodies only for tool
-- calls and errors, as only these are compared.  An error in an operation is repeated for each failed tool call around
-- it, if all operations in between failed: the exception passed through them, but is recorded only once.
with recursive around(seq, id, depth) as (
  select e.seq, inner_one.parent, 1
  from {page_after}
  cross join event e on e.seq = page.at
  cross join event inner_one on inner_one.seq = {ended_row ID=e.parent}
  where e.kind = 'error'
    and e.parent is not null
    and inner_one.failed = 1
    and inner_one.parent is not null
  union
  select around.seq, one.parent, around.depth + 1
  from around
  cross join event one on one.seq = {ended_row ID=around.id}
  where one.failed = 1
    and one.parent is not null
    and around.depth < 50
)
select e.seq, e.id, e.phase, e.kind, e.name, tool.id, e.agent, e.at_ns, e.start_ns, e.end_ns, null as failed, e.cost,
  e.tokens_in, e.tokens_out, e.body
from around
cross join event tool on tool.seq = {ended_row ID=around.id}
cross join event e on e.seq = around.seq
where tool.kind = 'tool'
  and tool.failed = 1
union all
select e.seq, e.id, e.phase, e.kind, e.name, e.parent, e.agent, e.at_ns, e.start_ns, e.end_ns, e.failed, e.cost,
  e.tokens_in, e.tokens_out,
  iif(e.kind = 'tool' or e.kind = 'error' and e.parent is not null, e.body, null)
from {page_after}
cross join event e on e.seq = page.at
where e.kind in ('tool','llm','error','price')
order by 1;

-- page_end --
-- The last seq of such a page.
select max(seq)
from (
  select seq
  from session_row
  where session = :session
    and seq > :after
  order by seq
  limit :many
);

-- stopped --
-- The rows about loops that the program's `on_loop` stopped, oldest first.
select e.at_ns, e.body
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and e.kind = 'guardrail'
  and e.name = 'on_loop'
  and e.body is not null
order by r.seq
limit :many;
