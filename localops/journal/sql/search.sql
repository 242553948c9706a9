-- The full-text index of a project, in the derived file search.db, which may be deleted.
-- A passage consists of consecutive rows of a session; the index has its words, and the rows are then checked.
-- `fts` keeps no text. Its rowid is passage.id: session key * 2^24 + number, so a session is one range.

-- schema --
create table about(
  journal text not null,                 -- the id of the journal it was made from
  upto integer not null                  -- the last seq that is in it
) strict;
create table session(
  key integer primary key,
  id blob not null unique
) strict;
create table passage(
  id integer primary key,
  first_seq integer not null,
  last_seq integer not null
) strict;
create virtual table fts using fts5(words, content = '', detail = none, columnsize = 0, tokenize = 'ascii');

-- rows --
-- The searched columns of rows; this and rows_between run on the journal, the other statements on search.db.
select seq, session, kind, name, at_ns, model, tags, id, parent, body
from event
where seq > :after
order by seq
limit :many;

-- rows_between --
select seq, session, kind, name, at_ns, model, tags, id, parent, body
from event
where seq between :first and :last
  and session = :session
order by seq desc;

-- rows_after --
-- The same rows, oldest first.
select seq, session, kind, name, at_ns, model, tags, id, parent, body
from event
where seq between :first and :last
  and session = :session
order by seq;

-- passages --
-- A page of the passages with all words, the newest session's first.
select fts.rowid, p.first_seq, p.last_seq, s.id
from fts
join passage p on p.id = fts.rowid
join session s on s.key = fts.rowid >> 24
where fts match :match
  and fts.rowid >= :first
  and fts.rowid < :before
order by fts.rowid desc
limit 50;

-- newest_passage --
-- The newest passage with all words, which belongs to the newest session.
select rowid
from fts
where fts match :match
  and rowid >= :first
  and rowid < :before
order by rowid desc
limit 1;

-- passages_in_order --
-- A page of the passages with all words, and with rows after a seq, in the order in which they were recorded.
select fts.rowid, p.first_seq, p.last_seq, s.id
from fts
join passage p on p.id = fts.rowid
join session s on s.key = fts.rowid >> 24
where fts match :match
  and fts.rowid >= :first
  and fts.rowid < :before
  and p.last_seq > :after
order by fts.rowid
limit 50;

-- passages_between --
-- The passages with all words that were indexed with the rows after a seq, up to another; a page of them.
select fts.rowid, p.first_seq, p.last_seq, s.id
from fts
join passage p on p.id = fts.rowid
join session s on s.key = fts.rowid >> 24
where fts match :match
  and fts.rowid < :before
  and p.first_seq > :after
  and p.last_seq <= :upto
order by fts.rowid desc
limit 50;

-- any_passage --
select 1
from fts
where fts match :match
  and rowid >= :first
  and rowid < :before
limit 1;

-- keys --
-- The keys of the sessions of a JSON array of ids in hex.
select s.key, s.id
from json_each(:ids) j
join session s on s.id = unhex(j.value);

-- keys_between --
-- The sessions of a range of passages that have all words in one.
select distinct rowid >> 24
from fts
where fts match :match
  and rowid >= :first
  and rowid < :before;

-- how_often --
-- The number of passages with a word, at most :many.
select count(*)
from (
  select 1
  from fts
  where fts match :match
  limit :many
);

-- sessions --
select s.id
from (select rowid as id from fts where fts match :match limit :many) matching
join session s on s.key = matching.id >> 24;
