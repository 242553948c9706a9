"""A span that is sent again after a scrub of the hub: neither its old row nor its file is stored again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from localops.upkeep.scrub import scrub
from tests.server.hubs import hub


def test_what_was_scrubbed_does_not_come_back(tmp_path: Path) -> None:
    """It counts as known: a collector can neither scrub nor do anything about a refusal."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.arguments": json.dumps({"text": "OAK-12345 " + "word " * 300_000}),
    }
    span = {
        "traceId": "5b8aa5a2d2c872e8321cf37308d69df2",
        "spanId": "051581bf3cb55c13",
        "name": "execute_tool search",
        "kind": 1,
        "startTimeUnixNano": "1760000000000000000",
        "endTimeUnixNano": "1760000001000000000",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    with hub(tmp_path) as server:

        def send() -> object:
            return server.ask("POST", "/v1/traces", body, headers={"Content-Type": "application/json"})

        assert send() == (200, {})
        (server.data / "config.toml").write_text("redact = ['OAK-[0-9]+']\n")
        assert scrub(str(server.data), server.project).secrets
        assert send() == send() == (200, {})
        held = subprocess.run(["grep", "-rlaF", "OAK-12345", str(server.folder)], capture_output=True, check=False)
        assert held.stdout == b""
