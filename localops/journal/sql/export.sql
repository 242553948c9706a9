-- Statements of exports.

-- places --
-- A page of a session's events in the order they were written, after :after: when each began and ended.
select e.seq, e.id, e.phase, coalesce(e.start_ns, e.at_ns), coalesce(e.end_ns, e.at_ns)
from {page_after}
join event e on e.seq = page.at
where e.kind not in ({books})
order by e.seq;

-- of_seqs --
-- The rows of a JSON array of seqs.
select {e.columns}
from json_each(:seqs) j
cross join event e on e.seq = j.value;
