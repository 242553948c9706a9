-- The sessions whose rows go into the tables for a statement, newest first.

-- every --
select session
from session_total
order by first_ns desc, key desc;

-- with_tools --
-- The sessions that may have a loop or a failing tool, newest first.
select session
from session_total
where tools > 2 or failed > 0 and tools > 0
order by first_ns desc, key desc;
