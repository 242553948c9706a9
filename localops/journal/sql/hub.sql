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

-- next_seq --
-- Where the row after a seq is.
select min(seq)
from event
where seq > :after;

-- all_rows --
-- The rows after a seq, a page of them.
select seq, id, phase, session, kind, name, parent, agent, at_ns, start_ns, end_ns, model, tokens_in, tokens_out,
  tokens_cached, tokens_reasoning, cost, failed, tags, format, sum, body
from event
where seq > :after
order by seq
limit :many;

-- senders --
-- From which journals rows came in.
select distinct journal
from received;
