"""`otlp`: sessions as OTLP in JSON, a request a line, as OpenTelemetry's collector writes it to files.

What `localops sync` sends is written here, by the same code, so that `localops import --otlp` imports it row by
row.  A session that has not ended has a root as well, and its open operations are spans that end with it.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import rows, stored
from localops.otlp.json_request import as_json
from localops.otlp.semconv import GenAI
from localops.otlp.translation import Translation
from localops.reading import analytics
from localops.transfer.bundle import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from localops.journal.stored import Stored
    from localops.reading.analytics import Later
    from localops.reading.export import Run

_AT_ONCE = 500  # rows in a request
_MOST_SIZE = 4 << 20  # characters of their bodies


def write(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write the spans of sessions, at most a few hundred in a request."""
    for run in runs:
        has_end = False
        for some in _batches(run):
            has_end = has_end or any(row.kind == "end" for row in some)
            if groups := _translation(run, some).groups():
                file.write(as_json(groups) + b"\n")
        # What a derived end leaves under way goes with that end.
        if not has_end or (run.unfinished and not run.standing.derived):
            rest = _translation(run, [])
            file.write(as_json(rest.under_way(run) if has_end else rest.without_end(run)) + b"\n")


def _translation(run: Run, some: list[Stored]) -> Translation:
    return Translation(Batch("", (), some, ()), run.reader, run.folder, GenAI(), metadata_only=False)


def _batches(run: Run) -> Iterator[list[Stored]]:
    """Yield a session's rows in requests, each with what later rows add to it."""
    later = analytics.afterwards(run.reader, run.id)
    some: list[Stored] = []
    size = 0
    for row in stored.of_session(run.reader, run.id):
        known = later.get(row.id) if row.phase == rows.DONE else None
        some.append(row if known is None else _with(row, known))
        size += len(row.body or "")
        if len(some) >= _AT_ONCE or size >= _MOST_SIZE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _with(row: Stored, later: Later) -> Stored:
    """Return a call with its later price and tokens, which are rows that become no span."""
    tokens = {name: getattr(later, name) for name in rows.SENT_TOKENS if getattr(row, name) is None}
    cost = row.cost if later.cost is None else (row.cost or 0) + later.cost
    body = row.body
    if later.unbilled:
        fields = encode.loads(body) if body else {}
        body = encode.dumps({**fields, "billed": False}).decode() if isinstance(fields, dict) else body
    return row._replace(**tokens, cost=cost, body=body)
