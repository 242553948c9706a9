"""Find the events of a session that contain the words of a text, a part of the session at a time.

Prompts of long conversations have megabytes each, so a complete search may take a minute.  It goes from the newest row
to the oldest, and each request continues where the last one stopped: no row is read twice.
"""

from __future__ import annotations

import time

from localops.encoding import encode
from localops.journal import rows
from localops.journal.sql import statements
from localops.reading.search import NEWEST, Query, Searched, strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts
    from localops.reading.home import Project

# Seconds that one request searches, so that its matches can be shown.
_SECONDS = 0.5
# Pages show up to this many messages of a prompt; of a longer one, earlier messages are folded.
_FEW = 2
# The roles of a model's messages, and the types of items of its answers.
_ANSWERS = frozenset(("assistant", "model", "function_call", "reasoning"))
_FIRST_ROWS = statements("pages.sql")["first_rows"]


def matching(
    where: Project, session: bytes, text: str, *, after: int = 0, before: int = NEWEST, limit: int = 1_000
) -> Facts:
    """Return the events with all words, by the seqs of their first rows, and `next_before` to continue, or null.

    The events in `repeats` have the words only in messages that a prompt repeats from earlier calls.  `upto` is the
    last seq in the index, which may lack the newest rows.
    """
    index = where.index()
    unread = index.catch_up()
    upto = index.upto
    until = time.monotonic() + _SECONDS
    query = Query(text)
    matches: list[int] = []
    news: list[int] = []
    next_before = None
    for row, is_match in index.rows_of(text, session, after=after, before=before):
        if is_match and row.kind not in rows.BOOKS:
            matches.append(row.seq)
            if not _only_repeats(row, query):
                news.append(row.seq)
        if len(matches) >= limit or time.monotonic() > until:
            next_before = row.seq
            break
    entries = _entries(where, session, matches)
    repeats = sorted({*entries}.difference(_entries(where, session, news)))
    return {"entries": entries, "repeats": repeats, "next_before": next_before, "upto": upto, "unread": unread}


def _only_repeats(row: Searched, query: Query) -> bool:
    """Return whether a call has the words only in the messages of its prompt up to the previous answer."""
    body = encode.loads(row.body) if row.kind == "llm" and row.body else None
    if not isinstance(body, dict):
        return False
    prompt = body.get("prompt")
    if not isinstance(prompt, list) or len(prompt) <= _FEW:
        return False
    answers = [at for at, one in enumerate(prompt[:-1]) if isinstance(one, dict) and _speaker(one) in _ANSWERS]
    if not answers:
        return False
    new = list({**body, "prompt": prompt[answers[-1] + 1 :]}.values())
    return not query.is_in("\n".join([row._replace(body=None).text, *strings(new)]))


def _speaker(message: dict[str, object]) -> object:
    speaker = message.get("role") or message.get("type")
    return speaker if isinstance(speaker, str) else None


def _entries(where: Project, session: bytes, seqs: list[int]) -> list[int]:
    """Return the seqs of the first rows of the events that these rows belong to."""
    if not seqs:
        return []
    values = {"session": session, "seqs": f"[{','.join(map(str, seqs))}]"}
    return sorted({int(seq) for (seq,) in where.reader.ask(_FIRST_ROWS, values)})
