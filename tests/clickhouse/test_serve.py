"""`localops hub serve --store`: a hub of which only ClickHouse has to be kept."""

from __future__ import annotations

from pathlib import Path

from tests.clickhouse.servers import Server
from tests.server.hubs import batch_of, hub, session_rows


def test_a_hub_serves_from_clickhouse(tmp_path: Path, clickhouse: Server) -> None:
    """Received rows are there after the hub was killed and its journals were deleted."""
    with hub(tmp_path, "default", "--store", clickhouse.url("served")) as running:
        sent = session_rows(3)
        status, answer = running.take(batch_of(sent))
        assert (status, answer["stored"]) == (200, len(sent))
        _, listed = running.ask("GET", "/api/1/sessions")
        running.kill()
        for side in ("", "-wal", "-shm"):
            (running.folder / f"journal.db{side}").unlink(missing_ok=True)
        running.start()
        assert running.ask("GET", "/api/1/sessions") == (200, listed)
        assert listed["sessions"][0]["session_id"].replace("-", "") == sent[0][2].hex()
        status, answer = running.take(batch_of(sent))
        assert (status, answer["stored"], answer["known"]) == (200, 0, len(sent))
    assert clickhouse.engine("served").ask("select count(*) as many from lo_event where kind = 'llm'") == [(3,)]


def test_a_hub_without_its_clickhouse_answers_503(tmp_path: Path, mortal: Server) -> None:
    """It starts, senders keep their rows, and it takes them as soon as ClickHouse answers."""
    mortal.kill()
    with hub(tmp_path, "default", "--store", mortal.url("late")) as running:
        sent = session_rows(3)
        assert running.take(batch_of(sent))[0] == 503
        mortal.start()
        status, answer = running.take(batch_of(sent))
        assert (status, answer["stored"]) == (200, len(sent))
