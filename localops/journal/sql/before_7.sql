-- For a connection that reads a journal of a schema before 7, which stays unchanged: the table that migration_7.sql adds.

create temp view scored as
select t.key, {score_of_row}
from event e
join total t on t.session = e.session
where e.kind = 'scored'
  and e.seq <= (select seq from mark);
