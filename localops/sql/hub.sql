-- What a hub asks when a sender wants proof.  Values are bound; :session is always the 16-byte id.

-- seqs --
-- Where the rows of a session are, a page of them.
select seq
from session_row
where session = :session
  and seq > :after
order by seq
limit :many;

-- newest --
select max(seq)
from event;

-- id_at --
select id
from event
where seq = :seq;

-- received_from --
-- What came in from a journal.
select first, last, id, phase
from received
where journal = :journal
order by last desc;
