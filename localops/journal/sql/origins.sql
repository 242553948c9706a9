-- The statements that search for the call that returned a value.  Values are bound; :session is the 16-byte id.

-- first_row --
-- The first of the last rows of a session up to a seq: at most :many rows, whose bodies have at most :bytes in total.
select min(at)
from (
  select page.at, sum(coalesce(octet_length(e.body), 0)) over (order by page.at desc) as size
  from {page_up_to}
  cross join event e on e.seq = page.at
)
where size <= :bytes;

-- rows_with --
-- The first rows of a session with a text in their bodies, from a seq until before another.
select e.seq, e.id, e.kind, e.phase, e.name, e.body
{from_range}
  and instr(e.body, :text) > 0
order by r.seq
limit :many;

-- results --
-- The rows of a session that may have the result of a call except LLM calls, from a seq until before another.
select e.seq, e.id, e.kind, e.phase, e.name, e.body
{from_range}
  and e.kind <> 'llm'
  and e.kind <> 'error'
  and instr(e.body, '"returns":') > 0
order by r.seq;
