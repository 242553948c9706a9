-- From schema 5 to 6: tokens_cache_write is a column, of rows and of totals.  Until then it was in bodies alone.
-- Views are made again after every migration.

alter table event add column tokens_cache_write integer;

update event set tokens_cache_write = case
  when kind = 'llm' and phase = 0 and instr(body, 'cache_write_tokens') > 0 and json_valid(body)
    and json_type(body, '$.cache_write_tokens') = 'integer'
    and json_extract(body, '$.cache_write_tokens') between 0 and 1000000000000
  then json_extract(body, '$.cache_write_tokens') end
where kind = 'llm'
  and instr(body, 'cache_write_tokens') > 0;

-- The calls that are folded, which are few.
create temp table written as
select t.key, t.first_ns, e.model, lower(hex(e.agent)) as agent, e.tags, e.tokens_cache_write as tokens
from event e not indexed
join total t on t.session = e.session
where e.tokens_cache_write is not null
  and e.seq <= (select seq from mark);

alter table total add column tokens_cache_write integer not null default 0;

update total set tokens_cache_write = w.tokens
from (
  select key, sum(tokens) as tokens
  from temp.written
  group by key
) w
where total.key = w.key;

alter table facet add column tokens_cache_write integer not null default 0;

update facet set tokens_cache_write = w.tokens
from (
  select 'model' as dim, model as value, first_ns, key, sum(tokens) as tokens
  from temp.written
  where model is not null
  group by model, key
  union all
  select 'agent_id', agent, first_ns, key, sum(tokens)
  from temp.written
  where agent is not null
  group by agent, key
  union all
  select 'tag', j.value, s.first_ns, s.key, sum(s.tokens)
  from temp.written s
  join json_each(s.tags) j
  group by j.value, s.key
) w
where facet.dim = w.dim
  and facet.value = w.value
  and facet.start_ns = w.first_ns
  and facet.key = w.key;

drop table temp.written;
