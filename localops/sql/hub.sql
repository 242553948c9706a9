-- What a hub asks when a sender wants proof.  Values are bound; :session is always the 16-byte id.

-- identities --
-- Which rows a session has, and their checksums.
select e.id, e.phase, e.sum
from session_row r
join event e on e.seq = r.seq
where r.session = :session;

-- sum_of --
-- The checksum of a row by its identity.
select e.sum
from event e
where e.seq = coalesce(
  (select seq from id_of where id = :id and phase = :phase),
  (select seq from event not indexed where seq > (select seq from mark) and id = :id and phase = :phase));
