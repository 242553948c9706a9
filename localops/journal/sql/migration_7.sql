-- From schema 6 to 7: scores and notes.  Rows of them may be here: from a later release, through a bundle or a sync.  They
-- were counted as events.

create table scored(
  key integer not null,                  -- total.key
  name text not null,                    -- what is judged; empty: a note
  target blob not null,                  -- the id of the event; empty: the session as a whole
  author text not null,                  -- who judged it
  given_ns integer not null,             -- when
  id blob not null,                      -- of the row
  seq integer not null,                  -- where it is
  seen_ns integer not null,              -- the time of the session's last row then
  type text,                             -- number, bool or text; null: the score was withdrawn
  number real,                           -- its value; of a bool 0 or 1
  label text,                            -- the value that is a text
  version text,                          -- of what judged it
  primary key(key, name, target, author, given_ns, id)
) strict, without rowid;
create index scored_by_name on scored(name, key);

insert into scored(key, name, target, author, given_ns, id, seq, seen_ns, type, number, label, version)
select t.key, {score_of_row}
from event e not indexed
join total t on t.session = e.session
where e.kind = 'scored'
  and e.seq <= (select seq from mark);

update total set events = events - s.many
from (
  select key, count(*) as many
  from scored
  group by key
) s
where total.key = s.key;
