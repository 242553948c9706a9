-- The statements that look for the call that returned a value.  Values are bound; :session is the 16-byte id.

-- first_row --
-- The first of the last :many rows of a session up to a seq whose bodies have no more than so many bytes together.
select min(at)
from (
  select page.at, sum(coalesce(octet_length(e.body), 0)) over (order by page.at desc) as size
  from {page_up_to}
  cross join event e on e.seq = page.at
)
where size <= :bytes;

-- rows_with --
-- The first rows of a session, from a seq to before another, that have a text in their bodies.
select e.seq, e.id, e.kind, e.phase, e.name, e.body
{from_range}
  and instr(e.body, :text) > 0
order by r.seq
limit :many;

-- results --
-- The rows of a session, from a seq to before another, that may have the result of a call other than an LLM call.
select e.seq, e.id, e.kind, e.phase, e.name, e.body
{from_range}
  and e.kind <> 'llm'
  and e.kind <> 'error'
  and instr(e.body, '"returns":') > 0
order by r.seq;
