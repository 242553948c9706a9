-- What a session's loops are found in.  Values are bound; :session is the 16-byte id.

-- calls --
-- A page of the calls and errors of a session in the order they were written, after :after; bodies only of tool calls and
-- of errors, as nothing else is compared.
select e.seq, e.id, e.phase, e.kind, e.name, e.parent, e.agent, e.at_ns, e.start_ns, e.failed, e.cost, e.tokens_in,
  e.tokens_out,
  iif(e.kind = 'tool' or e.kind = 'error' and e.parent is not null, e.body, null)
from {page_after}
cross join event e on e.seq = page.at
where e.kind in ('tool','llm','error','price')
order by e.seq;

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

-- with_tools --
-- The sessions that may have a loop or a failing tool, newest first.
select session
from session_total
where tools > 2 or failed > 0 and tools > 0
order by first_ns desc, key desc;
