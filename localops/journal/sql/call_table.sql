-- The LLM and tool calls of a project, one row per call, in the derived file call_table.db, which may be deleted.
-- `last_of_batch`, `batch`, `row_at` and `operations` run on the journal, all others on call_table.db.  The parts that
-- begin with `where_`, `value_` and `by_` are put together in call_query.py.

-- schema --
create table about(
  journal text not null,                 -- the id of the journal it was made from
  made_ns integer not null,              -- when: numbers that were read before mean nothing now
  upto integer not null                  -- the last seq that is in it
) strict;
create table session(
  num integer primary key,               -- short for the session in `call`
  id blob not null unique
) strict;
create table label(
  num integer primary key,
  dim text not null,                     -- tool, model, error, message, prompt, or args: a tool with its arguments
  key integer not null,                  -- a digest, the same in every project
  text text not null,                    -- of args: the arguments as JSON
  cut integer not null,                  -- 1: the text is longer
  seq integer not null,                  -- of a row that has it
  unique(dim, key)
) strict;
create table call(
  num integer primary key,
  id blob not null unique,
  seq integer not null,                  -- of the row it ended with; while it has not ended, of the one it began with
  session integer not null,              -- session.num
  kind text not null,                    -- llm or tool
  began_ns integer not null,
  took_ns integer,
  first_ns integer,                      -- until the first token
  tool integer, model integer, prompt integer, args integer, error integer, message integer,  -- label.num
  error_seq integer,                     -- of the error that it failed with, its own or that of an operation inside
  {tokens integer},
  cost integer,                          -- nano-dollars; null: not known
  unpriced integer not null,             -- 1: it has no price
  unbilled integer not null,             -- 1: it failed before it was billed
  failed integer not null,
  finished integer not null              -- 0: it has begun but not ended
) strict;
create index call_open on call(session) where finished = 0;
create table early(                      -- rows about a call that has not ended yet, or about what is no call
  parent blob not null,
  seq integer not null,
  primary key(parent, seq)
) strict, without rowid;

-- last_of_batch --
-- The last seq of the next :many rows, on the journal.
{last_of_next};

-- batch --
-- The rows about calls; a call becomes `llm_copy` when it turns out to be counted elsewhere.
select seq, id, phase, session, kind, name, parent, at_ns, start_ns, end_ns, model, {tokens}, cost, failed,
  iif(kind = 'price', json_extract(body, '$.was') is null, 0) as is_first_price,
  iif(kind in ('llm','tool','error'), body, null) as body
from event
where seq > :after
  and seq <= :upto
  and kind in ('llm','tool','llm_copy','error','price','pruned')
order by seq;

-- row_at --
select seq, id, phase, session, kind, name, parent, at_ns, start_ns, end_ns, model, {tokens}, cost, failed,
  iif(kind = 'price', json_extract(body, '$.was') is null, 0) as is_first_price,
  iif(kind in ('llm','tool','error'), body, null) as body
from event
where seq = :seq;

-- operations --
-- Operations by a JSON array of their ids in hex, on the journal: the one around each, whether it is a call, and whether
-- it failed.
select e.id, max(e.parent), max(e.kind in ('llm','tool')), max(coalesce(e.failed, 0))
from (
  select i.seq
  from json_each(:ids) j
  cross join id_of i on i.id = unhex(j.value)
  union
  select seq
  from event not indexed
  where seq > (select seq from mark)
    and id in (select unhex(value) from json_each(:ids))
) there
cross join event e on e.seq = there.seq
group by e.id;

-- begin_call --
insert into call(id, seq, session, kind, began_ns, tool, model, prompt, args, unpriced, unbilled, failed, finished)
values(:id, :seq, :session, :kind, :began_ns, :tool, :model, :prompt, :args, 0, 0, 0, 0)
on conflict(id) do update set
  prompt = coalesce(prompt, excluded.prompt),
  args = iif(:has_args, excluded.args, args);

-- end_call --
insert into call(id, seq, session, kind, began_ns, took_ns, first_ns, tool, model, prompt, args, error, message, {tokens},
  cost, unpriced, unbilled, failed, finished)
values(:id, :seq, :session, :kind, :began_ns, :took_ns, :first_ns, :tool, :model, :prompt, :args, :error, :message, {:tokens},
  :cost, :unpriced, :unbilled, :failed, 1)
on conflict(id) do update set
  seq = excluded.seq,
  kind = excluded.kind,
  began_ns = excluded.began_ns,
  took_ns = excluded.took_ns,
  first_ns = excluded.first_ns,
  tool = excluded.tool,
  model = coalesce(excluded.model, model),
  prompt = coalesce(excluded.prompt, prompt),
  args = iif(:has_args or args is null, excluded.args, args),
  error = coalesce(excluded.error, error),
  message = coalesce(excluded.message, message),
  {tokens = excluded.tokens},
  cost = excluded.cost,
  unpriced = excluded.unpriced,
  unbilled = excluded.unbilled,
  failed = excluded.failed,
  finished = 1;

-- add_error --
-- The last recorded error of a call is the one that made it fail.
update call set
  error = :error,
  message = :message,
  error_seq = :seq,
  failed = max(failed, :failed)
where id = :parent
  and finished = 1;

-- add_inner_error --
-- If a failed call has no error of its own, the error of an operation inside it is used.
update call set
  error = :error,
  message = :message,
  error_seq = :seq
where id = :parent
  and finished = 1
  and failed = 1
  and error is null;

-- add_price --
update call set
  cost = iif(:cost is null, cost, coalesce(cost, 0) + :cost),
  {counts = iif(:counts is null, counts, coalesce(counts, 0) + :counts)},
  unpriced = unpriced - :is_first_price,
  unbilled = max(unbilled, :unbilled)
where id = :parent
  and finished = 1;

-- details --
-- The calls with these numbers.
select c.num, c.id, c.seq, s.id as session, c.kind, c.began_ns, c.took_ns, c.first_ns, t.text as tool, m.text as model,
  e.text as error, c.error_seq, {c.tokens}, c.cost, c.unbilled, c.failed, c.finished
from call c
join session s on s.num = c.session
left join label t on t.num = c.tool
left join label m on m.num = c.model
left join label e on e.num = c.error
where c.num in (select value from json_each(:nums));

-- place --
-- The rows after a place: smaller values, then calls with the same value that began earlier; calls without a value come
-- last.
(VALUE < :value or VALUE is null or VALUE = :value and (c.began_ns, c.id) < (:began_ns, :id))

-- place_ascending --
(VALUE > :value or VALUE is null or VALUE = :value and (c.began_ns, c.id) < (:began_ns, :id))

-- place_without_value --
(VALUE is null and (c.began_ns, c.id) < (:began_ns, :id))

-- page --
-- Read backwards: as most calls are stored in the order of their starts, the first rows then stay on the page.
select num, value, began_ns, id
from (
  select c.num, VALUE as value, c.began_ns, c.id
  from call c
  where CONDITIONS
  order by c.num desc
  limit -1)
order by value is null, value DIRECTION, began_ns desc, id desc
limit :many

-- value_began --
c.began_ns

-- value_seconds --
c.took_ns

-- value_cost --
c.cost

-- value_tokens --
case when c.tokens_in is not null or c.tokens_out is not null then coalesce(c.tokens_in, 0) + coalesce(c.tokens_out, 0) end

-- value_first_token --
c.first_ns

-- where_kind --
c.kind = :kind

-- where_tool --
c.tool in (select value from json_each(:tool))

-- where_model --
c.model in (select value from json_each(:model))

-- where_error --
c.failed = 1 and c.error in (select value from json_each(:error))

-- where_not_tool --
c.tool is null or c.tool not in (select value from json_each(:not_tool))

-- where_not_model --
c.model is null or c.model not in (select value from json_each(:not_model))

-- where_not_error --
c.failed = 0 or c.error is null or c.error not in (select value from json_each(:not_error))

-- where_prompt --
c.prompt = :prompt

-- where_same --
c.args = :same

-- where_argument --
c.args in (select value from json_each(:argument))

-- where_message --
c.failed = 1 and c.message = :message

-- where_failed --
c.failed = 1

-- where_session --
c.session = :session

-- where_id --
c.id = :id

-- where_sessions --
-- A byte for each session, by its number: 1 for a chosen one.
substr(:sessions, c.session + 1, 1) = x'01'

-- where_matching --
-- A byte for each call, by its number: 1 for one with the words that are searched.
substr(:matching, c.num + 1, 1) = x'01'

-- where_like --
-- For grouped calls: the groups with a text in their label.
GROUP in (select num from label where +dim = :dim and instr(lower(text), lower(:like)))

-- with_ids --
-- The calls with the ids of a JSON array of hex.
select num, id, error_seq
from call
where id in (select unhex(value) from json_each(:ids));

-- with_argument --
-- The tools with arguments that contain a text, and those that are cut, with the row that has the whole arguments.  Not
-- by the index, which is slower for nearly all labels.
select num, seq, instr(lower(text), lower(:argument)) > 0 as has
from label
where +dim = 'args'
  and (cut = 1 or instr(lower(text), lower(:argument)));

-- by_tool --
c.tool

-- by_model --
c.model

-- by_prompt --
c.prompt

-- by_arguments --
c.args

-- by_error --
coalesce(c.error, 0)

-- by_message --
coalesce(c.message, 0)

-- by_repeat --
c.args

-- by_all --
0

-- sums --
-- A duration counts at most a day, as in the view facet_part.
sum(c.finished) as calls,
  sum(1 - c.finished) as unfinished,
  sum(c.failed) as failed,
  sum(c.finished and c.kind = 'llm') as llms,
  {coalesce(sum(c.tokens), 0) as tokens},
  coalesce(sum(c.cost), 0) as cost,
  sum(c.unpriced) as unpriced,
  coalesce(sum(min(c.took_ns, 86400000000000)), 0) as took_ns,
  max(c.num) as newest,
  min(c.began_ns) as earliest_ns,
  max(c.began_ns) as latest_ns,
  min(iif(c.failed = 1, c.began_ns, null)) as first_failed_ns

-- all --
-- The figures of all calls; no row if there is none.
select 0 as num, 0 as session, 0 as key, '' as text, 0 as cut, g.*, null as durations
from (select SUMS from call c where CONDITIONS) g
where g.newest is not null

-- grouped --
-- GROUP is one of the columns above, SESSION is 0, or c.session for repeats.
select GROUP as num, SESSION as session,
  SUMS,
  group_concat(min(c.took_ns, 86400000000000)) as durations
from call c
where CONDITIONS
group by 1, 2
having HAVING

-- groups --
-- Labels are looked up only for the first groups.
select g.num, g.session, coalesce(l.key, 0) as key, coalesce(l.text, '') as text, coalesce(l.cut, 0) as cut,
  g.calls, g.unfinished, g.failed, g.llms, {g.tokens}, g.cost, g.unpriced, g.took_ns, g.newest,
  g.earliest_ns, g.latest_ns, g.first_failed_ns, g.durations
from (
  select *
  from (GROUPED)
  order by ORDER, calls desc, num
  limit :many) g
left join label l on l.num = g.num
order by ORDER, g.calls desc, g.num

-- groups_by_key --
-- All groups, in the order of their keys, which are the same in every project.
select g.num, g.session, coalesce(l.key, 0) as key, coalesce(l.text, '') as text, coalesce(l.cut, 0) as cut,
  g.calls, g.unfinished, g.failed, g.llms, {g.tokens}, g.cost, g.unpriced, g.took_ns, g.newest,
  g.earliest_ns, g.latest_ns, g.first_failed_ns, g.durations
from (GROUPED) g
left join label l on l.num = g.num
order by key, g.session

-- order_calls --
calls desc

-- order_failed --
failed desc

-- order_share --
failed * 1.0 / max(calls, 1) desc

-- order_cost --
cost desc

-- order_tokens --
tokens_in + tokens_out desc

-- order_seconds --
took_ns desc

-- order_first --
earliest_ns desc

-- order_last --
latest_ns desc

-- speeds --
-- The values for the figures in call_speeds.py, of calls that have ended, by model or tool; a duration counts at most a
-- day.  A call of less than 0.1 s was answered from a cache or a stub, so it does not count for the tokens per second of
-- its model.
select g.kind, l.key, g.took, g.first, g.tokens_out, g.writing_ns, g.tokens_cached, g.tokens_in
from (
  select c.kind, iif(c.kind = 'tool', c.tool, c.model) as name,
    group_concat(min(c.took_ns, 86400000000000)) as took,
    group_concat(c.first_ns) as first,
    coalesce(sum(iif(c.took_ns >= 100000000, c.tokens_out, 0)), 0) as tokens_out,
    sum(iif(c.tokens_out is null or c.took_ns < 100000000, 0, min(c.took_ns, 86400000000000))) as writing_ns,
    sum(iif(c.tokens_in is null, 0, coalesce(c.tokens_cached, 0))) as tokens_cached,
    sum(iif(c.tokens_cached is null, 0, coalesce(c.tokens_in, 0))) as tokens_in
  from call c
  where c.finished = 1
    and CONDITIONS
  group by c.kind, name) g
left join label l on l.num = g.name

-- open_llm_calls --
-- The groups and sessions of LLM calls without an end.
select distinct GROUP as num, SESSION as session, s.id
from call c
join session s on s.num = c.session
where c.finished = 0
  and c.kind = 'llm'
  and CONDITIONS

-- failing_inputs --
-- The inputs of the failed calls in some groups, with their number and the newest call of each.
select f.num, f.session, a.key as args, e.key as error, f.calls, f.newest
from (
  select GROUP as num, SESSION as session, c.args, c.error, count(*) as calls, max(c.num) as newest
  from call c
  where c.failed = 1
    and GROUP in (select value from json_each(:groups))
    and CONDITIONS
  group by 1, 2, 3, 4) f
left join label a on a.num = f.args
left join label e on e.num = f.error
order by f.calls desc, f.newest desc

-- failing_calls --
-- The tools or models and the messages of the failed calls in some groups, with their number and the newest call of
-- each.  If there are few calls, also the rows of their errors, to compare the whole messages.
select f.num, m.key as message, f.kind, n.key as called, n.text as name, f.calls, f.newest, f.errors
from (
  select GROUP as num, c.message, c.kind, coalesce(c.tool, c.model) as called, count(*) as calls, max(c.num) as newest,
    case when count(*) <= :few then group_concat(c.error_seq) end as errors
  from call c
  where c.failed = 1
    and GROUP in (select value from json_each(:groups))
    and CONDITIONS
  group by 1, 2, 3, 4) f
left join label m on m.num = f.message
left join label n on n.num = f.called
