-- From schema 4 to 5: a session can be searched by a tool that it is in, or died in; see facet_part in views.sql.
-- Only tools that returned were folded before.  Views are made again after every migration.

insert or ignore into facet(dim, value, start_ns, key)
select 'tool', coalesce(e.name, ''), t.first_ns, t.key
from unfinished u
join event e on e.seq = u.seq
join total t on t.key = u.key
where e.kind = 'tool';
