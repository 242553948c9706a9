-- Parts of several statements, which include them by name in braces; the braces also give values for words in capitals.

-- session_end --
-- The valid end of a session: the newest end that a program wrote, unless a process started or joined later; else the
-- newest derived end, unless a later row shows that the session continued.  ROWS has the bookkeeping rows of sessions,
-- LAST is the time of the last row of SESSION.
select s.name, s.at_ns, s.implied, s.seq
from ROWS s
where s.session = SESSION
  and s.kind = 'end'
  and (s.implied = 0 and s.at_ns >= coalesce((
      select max(j.at_ns)
      from ROWS j
      where j.session = SESSION
        and j.kind in ({starts})
        and j.implied = 0), 0)
    or s.implied = 1 and s.at_ns >= LAST)
order by s.implied, s.at_ns desc, s.id desc
limit 1;

-- last_row --
-- The time of a session's last row.
select max(last_ns)
from (
  select last_ns from total where session = :session
  union all
  select at_ns from tail where session = :session
);

-- ended_row --
-- The seq of an event's row; for an operation, of its closing row.  ID is the event's id.
coalesce(
  (select seq from id_of where id = ID and phase = 0),
  (select seq from event not indexed where seq > (select seq from mark) and id = ID and phase = 0));

-- opened_row --
-- The seq of the opening row of an operation.  ID is its id.
coalesce(
  (select seq from id_of where id = ID and phase = 1),
  (select seq from event not indexed where seq > (select seq from mark) and id = ID and phase = 1));

-- ended_past_mark --
-- Whether a program ended a session after the last start or join, by the rows of `event` after the mark.
coalesce(
  max(iif(kind = 'end' and json_extract(body, '$.derived') is null, at_ns, null))
    >= coalesce(max(iif(kind in ({starts}), at_ns, null)), 0), 0);

-- open_calls_of_one --
-- The model and the agent of each LLM call without an end in a session.
select begun.model, begun.agent
from (
  select o.id, o.model, o.agent
  from total t
  join unfinished u on u.key = t.key
  join event o on o.seq = u.seq
  where t.session = :session
    and o.kind = 'llm'
  union all
  select id, model, agent
  from event not indexed
  where seq > (select seq from mark)
    and session = :session
    and phase = 1
    and kind = 'llm'
) begun
where not exists (select 1 from id_of i where i.id = begun.id and i.phase = 0)
  and not exists (
    select 1 from event d not indexed
    where d.seq > (select seq from mark) and d.id = begun.id and d.phase = 0);

-- count_in_body --
-- The count KEY in the body of a row; null without a valid one.
case
  when kind = 'llm' and phase = 0 and instr(body, 'KEY') > 0 and json_valid(body)
    and json_type(body, '$.KEY') = 'integer'
    and json_extract(body, '$.KEY') between 0 and 1000000000000
  then json_extract(body, '$.KEY') end;

-- count_in_total --
-- The value of the column NAME of `total` for a session `t`, in a journal without this column.
(
    select coalesce(sum(e.NAME), 0)
    from main.event_of o
    cross join event e on e.seq = o.seq
    where o.key = t.key
  );

-- count_in_facet --
-- The value of the column NAME of `facet` for a part `t` of a session.
iif(t.dim in ('model','agent_id','tag'), (
    select coalesce(sum(e.NAME), 0)
    from main.event_of o
    cross join event e on e.seq = o.seq
    where o.key = t.key
      and e.NAME is not null
      and case t.dim
        when 'model' then e.model = t.value
        when 'agent_id' then lower(hex(e.agent)) = t.value
        else exists (select 1 from json_each(e.tags) j where j.value = t.value) end
  ), 0);

-- count_column --
-- The migration that turns the count KEY in bodies into the column NAME of rows and totals.
alter table event add column NAME integer;

update event set NAME = {count_in_body}
where kind = 'llm'
  and instr(body, 'KEY') > 0;

-- The calls that are folded and have it.
create temp table counted as
select t.key, t.first_ns, e.model, lower(hex(e.agent)) as agent, e.tags, e.NAME as tokens
from event e not indexed
join total t on t.session = e.session
where e.NAME is not null
  and e.seq <= (select seq from mark);

alter table total add column NAME integer not null default 0;

update total set NAME = c.tokens
from (
  select key, sum(tokens) as tokens
  from temp.counted
  group by key
) c
where total.key = c.key;

alter table facet add column NAME integer not null default 0;

update facet set NAME = c.tokens
from (
  select 'model' as dim, model as value, first_ns, key, sum(tokens) as tokens
  from temp.counted
  where model is not null
  group by model, key
  union all
  select 'agent_id', agent, first_ns, key, sum(tokens)
  from temp.counted
  where agent is not null
  group by agent, key
  union all
  select 'tag', j.value, s.first_ns, s.key, sum(s.tokens)
  from temp.counted s
  join json_each(s.tags) j
  group by j.value, s.key
) c
where facet.dim = c.dim
  and facet.value = c.value
  and facet.start_ns = c.first_ns
  and facet.key = c.key;

drop table temp.counted;

-- list_of --
-- How a list of sessions begins.
with fresh as materialized (select unhex(value) as session from json_each(:fresh)),
wanted as materialized (
  select value ->> 0 as number, value ->> 1 as dim, value ->> 2 as value, value ->> 3 as is_glob, value ->> 4 as excluded
  from json_each(:facets)),
clause as materialized (select distinct number, dim, excluded from wanted),
asked as materialized (
  select value ->> 0 as name, value ->> 1 as author, value ->> 2 as op, value ->> 3 as number, value ->> 4 as label
  from json_each(:scores))
select {t.listed};

-- on_page --
-- Whether a session is past the end of the previous page, matches the filters, and is not in the JSON array :fresh.
(t.first_ns, t.key) < (:before_ns, :before_key)
  and t.first_ns >= :since
  and not exists (
    select 1 from clause c
    where c.excluded = (
      exists (
        select 1 from facet p
        cross join wanted w on w.number = c.number
        where p.key = t.key and p.dim = c.dim and iif(w.is_glob, p.value glob w.value, p.value = w.value))
      or c.dim = 'model' and exists (
        select 1 from unfinished u
        cross join event o on o.seq = u.seq
        cross join wanted w on w.number = c.number
        where u.key = t.key and o.kind = 'llm' and iif(w.is_glob, o.model glob w.value, o.model = w.value))))
  and not exists (
    select 1 from asked a
    where not exists (
      select 1 from scored s
      where s.key = t.key
        and s.name = a.name
        and {is_as_asked}
        and not exists (
          select 1 from scored n
          where n.key = s.key and n.name = s.name and n.target = s.target and n.author = s.author
            and (n.given_ns, n.id) > (s.given_ns, s.id))))
  and t.session not in (select session from fresh);

-- score_of_row --
-- The columns of the table `scored`, except its key, from a row of kind `scored`.
coalesce(e.name, '') as name,
  coalesce(e.parent, x'') as target,
  cast(coalesce(json_extract(e.body, '$.by'), '') as text) as author,
  coalesce(e.end_ns, e.at_ns) as given_ns,
  e.id,
  e.seq,
  e.at_ns as seen_ns,
  case json_type(e.body, '$.value')
    when 'true' then 'bool' when 'false' then 'bool' when 'text' then 'text'
    when 'integer' then 'number' when 'real' then 'number' end as type,
  iif(json_type(e.body, '$.value') in ('true','false','integer','real'), cast(json_extract(e.body, '$.value') as real), null)
    as number,
  iif(json_type(e.body, '$.value') = 'text', json_extract(e.body, '$.value'), null) as label,
  cast(json_extract(e.body, '$.version') as text) as version;

-- is_as_asked --
-- Whether a score `s` matches a filter `a` by author and value; without an operator, any value except false.
(a.author is null or s.author = a.author)
  and s.type is not null
  and case
    when a.op is null then s.type <> 'bool' or s.number = 1
    when a.label is not null then case a.op when '=' then s.label = a.label else s.label is not a.label end
    else case a.op
      when '<' then s.number < a.number
      when '<=' then s.number <= a.number
      when '>' then s.number > a.number
      when '>=' then s.number >= a.number
      when '=' then s.number = a.number
      else s.number is not a.number end
    end;

-- page_after --
-- The seqs of the :many rows of a session after a seq, in the order they were written.
(
  select seq as at
  from session_row
  where session = :session
    and seq > :after
  order by seq
  limit :many
) page;

-- from_both_ends --
-- The rows of a session up to :head and from :tail on.
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and (r.seq <= :head or r.seq >= :tail);

-- from_range --
-- The rows of a session that are work, from a seq to before another.
from session_row r
cross join event e on e.seq = r.seq
where r.session = :session
  and r.seq >= :first
  and r.seq < :before
  and e.kind not in ({books});

-- last_of_next --
-- The last seq of the next :many rows, on the journal.
select max(seq)
from (
  select seq
  from event
  where seq > :after
  order by seq
  limit :many
);

-- page_up_to --
-- The seqs of the :many last rows of a session up to a seq.
(
  select seq as at
  from session_row
  where session = :session
    and seq <= :upto
  order by seq desc
  limit :many
) page;

-- id_text --
-- The id ID as text.
lower(substr(hex(ID), 1, 8) || '-' || substr(hex(ID), 9, 4) || '-' || substr(hex(ID), 13, 4)
    || '-' || substr(hex(ID), 17, 4) || '-' || substr(hex(ID), 21));

-- time_text --
-- The time NS, nanoseconds since 1970, as text in UTC.
strftime('%Y-%m-%dT%H:%M:%S', NS / 1000000000, 'unixepoch')
    || printf('.%06dZ', NS % 1000000000 / 1000);
