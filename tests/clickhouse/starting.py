"""Wait for a ClickHouse that was started."""

from __future__ import annotations

import time
from collections.abc import Callable

from localops.server.clickhouse.engine import Engine, EngineError

SECONDS = 120.0


def wait_until_it_answers(
    engine: Engine, is_running: Callable[[], bool], what_it_wrote: Callable[[], str] = str
) -> None:
    """Return when a ClickHouse answers; fail with what it wrote if it has ended or takes too long."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            engine.ask("select 1 as one")
            break
        except EngineError as error:
            if not is_running() or time.monotonic() > until:
                raise AssertionError(f"ClickHouse did not start: {what_it_wrote()[-2_000:]}") from error
            time.sleep(0.02)
    engine.close()
