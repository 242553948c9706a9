-- For a connection that reads a journal of a schema before 6, which stays unchanged: the tables with the columns that
-- migration_6.sql adds.

create temp view event as
select *, case
  when kind = 'llm' and phase = 0 and instr(body, 'cache_write_tokens') > 0 and json_valid(body)
    and json_type(body, '$.cache_write_tokens') = 'integer'
    and json_extract(body, '$.cache_write_tokens') between 0 and 1000000000000
  then json_extract(body, '$.cache_write_tokens') end as tokens_cache_write
from main.event;

create temp view total as
select t.*, (
    select coalesce(sum(e.tokens_cache_write), 0)
    from main.event_of o
    cross join event e on e.seq = o.seq
    where o.key = t.key
  ) as tokens_cache_write
from main.total t;

create temp view facet as
select f.*, iif(f.dim in ('model','agent_id','tag'), (
    select coalesce(sum(e.tokens_cache_write), 0)
    from main.event_of o
    cross join event e on e.seq = o.seq
    where o.key = f.key
      and e.tokens_cache_write is not null
      and case f.dim
        when 'model' then e.model = f.value
        when 'agent_id' then lower(hex(e.agent)) = f.value
        else exists (select 1 from json_each(e.tags) j where j.value = f.value) end
  ), 0) as tokens_cache_write
from main.facet f;
