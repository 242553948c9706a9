"""The speeds of calls are calculated once for the requests that come together, and again when there are new calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import localops
from localops.reading.call_query import Source
from localops.reading.call_table import CallTable
from localops.reading.home import Home
from localops.server.known_speeds import KnownSpeeds


@contextmanager
def _source(folder: Path) -> Iterator[Source]:
    with Home(str(folder)) as home:
        [project] = home.projects
        table = CallTable(project.folder)
        try:
            table.extend(project.reader)
            yield Source(project, table, None, lambda _: False)
        finally:
            table.close()


def test_one_pass_serves_all_until_there_are_other_calls(tmp_path: Path) -> None:
    """The same choice of sessions has the same figures; another choice, new calls and a new table have others."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    known = KnownSpeeds()

    def record(cached: int) -> bytes:
        session = localops.start_session()
        assert session is not None
        call = localops.LLMEvent(model="gpt-4o", prompt="why", completion="so")
        call.prompt_tokens, call.completion_tokens, call.cached_tokens = 100, 10, cached
        session.record(call)
        session.end_session("Success")
        return session.session_id.bytes

    first = record(50)
    with _source(tmp_path) as source:
        speeds = known.of([source])
        assert known.of([source]) is speeds
    record(100)
    with _source(tmp_path) as source:
        assert known.of([source]).facts("model", "gpt-4o")["cache_hit_rate"] == 0.75
        of_first = Source(source.project, source.table, [first], source.is_running)
        assert known.of([of_first]).facts("kind", "llm")["cache_hit_rate"] == 0.5
        assert known.of([source]).facts("kind", "llm")["cache_hit_rate"] == 0.75
        path = Path(source.project.folder) / "call_table.db"
    path.unlink()
    with _source(tmp_path) as source:
        again = known.of([source])
        assert again.facts("tool", "nothing")["percentiles"] is None
        assert again.facts("model", "gpt-4o")["cache_hit_rate"] == 0.75
