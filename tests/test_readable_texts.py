"""Recorded values as texts for comparisons."""

from __future__ import annotations

import base64
import json
import random

from localops.reading import readable_texts

_DATA = base64.b64encode(random.Random(1).randbytes(600)).decode()


def test_a_conversation_is_one_message_below_the_other() -> None:
    """A picture stands alone in its line; what a message has beside its text follows it; other JSON has its lines."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_DATA}"}}
    messages = [
        {"role": "system", "content": "Be kind.\nBe brief."},
        {"role": "user", "content": [{"type": "text", "text": "See:"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]},
    ]
    lines = readable_texts.in_lines(json.dumps(messages)).split("\n")
    assert lines[:6] == ["system:", "Be kind.", "Be brief.", "", "user:", "See:"]
    assert lines[6] == picture["image_url"]["url"]  # type: ignore[index]
    assert lines[7:9] == ["", "assistant:"]
    assert '"name": "look"' in lines[12]
    assert readable_texts.in_lines('{"a": "b\\nc"}') == '{\n  "a": "b\nc"\n}'
    assert readable_texts.in_lines("[no JSON") == "[no JSON"


def test_encoded_data_has_its_type_and_size() -> None:
    """Equal data has the same number in several texts; long words that are no data stay."""
    named = readable_texts.naming_data()
    texts = [f"a data:image/png;base64,{_DATA} b", f"{_DATA[4:]} c", f"{_DATA} d", "x" * 1_000]
    assert list(map(named, texts)) == [
        "a [data 1: image/png, 0.6 kB] b",
        "[data 2: base64, 0.6 kB] c",
        "[data 1: base64, 0.6 kB] d",
        "x" * 1_000,
    ]
