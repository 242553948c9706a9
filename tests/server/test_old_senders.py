"""What senders of earlier schemas sent is stored by this hub, each row once, with the same figures.

`fixtures/rows_sent_by_schema_<number>.gz` is the body of a request that the last code of that schema sent: two
sessions, recorded with `env_data_opt_out`. `tests/stress/test_upgrade.py` runs that code itself, where the history is
there.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from localops.journal.sql import SCHEMA
from tests.server.hubs import RealHub, hub

_FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.mark.parametrize("schema", [SCHEMA - 2, SCHEMA - 1])
def test_rows_of_an_old_sender_are_stored(tmp_path: Path, schema: int) -> None:
    """The reply has a receipt; sent again, the rows are known; sessions have their ends and figures."""
    body = gzip.decompress((_FIXTURES / f"rows_sent_by_schema_{schema}.gz").read_bytes())
    rows = json.loads(body.split(b"\n")[0])["rows"]
    with hub(tmp_path) as running:
        status, reply = _send(running, body)
        assert (status, reply["stored"], reply["known"], reply["refused"]) == (200, rows, 0, []), reply
        assert reply["receipt"]
        status, reply = _send(running, body)
        assert (status, reply["stored"], reply["known"]) == (200, 0, rows)
        sessions = running.ask("GET", "/api/1/sessions")[1]["sessions"]
        assert [(each["state"], each["llm_calls"], each["tokens_in"], each["tokens_out"]) for each in sessions] == [
            ("Success", 1, 10, 2)
        ] * 2


def _send(running: RealHub, body: bytes) -> tuple[int, dict[str, object]]:
    packed = gzip.compress(body)
    status, reply = running.ask("POST", "/sync/1/rows", packed, headers={"Content-Encoding": "gzip"})
    return status, reply
