"""`localops prices`: known prices, and prices for calls that were recorded without one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import localops


@pytest.fixture(autouse=True)
def _home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()


def test_the_table_is_listed_by_word(command: Any, as_json: Any) -> None:
    """Every line contains the word, and the table has its date."""
    document = as_json("prices", "list", "gpt-4o")
    assert document["prices"]
    assert all("gpt-4o" in price["model"] for price in document["prices"])
    assert document["table"]["date"].startswith("20")
    assert "gpt-4o" in command("prices", "list", "gpt-4o", "openai")[1]


def test_a_price_is_shown_with_its_source(command: Any, tmp_path: Path) -> None:
    """The source is the shipped table or the user's own; an unknown model exits with 1."""
    assert "genai-prices" in command("prices", "show", "gpt-4o")[1]
    (tmp_path / "home" / "config.toml").write_text('[prices."mine"]\ninput = 1\noutput = 2\n')
    assert "your own price" in command("prices", "show", "mine")[1]
    assert command("prices", "show", "unknown-model")[0] == 1


def test_prices_have_their_units(command: Any, as_json: Any, tmp_path: Path) -> None:
    """A price is in dollars, for how many of what, and exact: it is never rounded."""
    (tmp_path / "home" / "config.toml").write_text(
        '[prices."mine"]\ninput = 1.0375\noutput = 12\nweb_searches = 5\naudio_seconds = 0.36\n'
    )
    _, out, _ = command("prices", "show", "mine")
    for words in (
        "$1.0375 for a million tokens",
        "$12.00 for a million",
        "a thousand web searches",
        "$0.36 for an hour",
    ):
        assert words in out
    _, out, _ = command("prices", "list", "mine")
    assert "$1.0375  $12.00" in out
    assert "US dollars for a million tokens" in out
    assert as_json("prices", "list", "mine")["table"]["per"]["web_searches"] == 1000


def test_a_price_is_set_for_calls_that_had_none(command: Any, as_json: Any) -> None:
    """The session's cost is what it would have been; a second time changes nothing."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.LLMEvent(model="mine", prompt_tokens=1_000_000, completion_tokens=1_000_000))
    report = as_json("prices", "set", "mine", "--input", "1", "--output", "2.5")
    expected = {"calls": 1, "cost_usd": 3.5, "cost_nano": 3_500_000_000, "same": 0, "unknown": 0}
    assert report["projects"]["default"] == expected
    assert session.get_analytics()["Cost"] == "3.500000"
    code, out, _ = command("prices", "set", "mine", "--input", "1", "--output", "2.5")
    assert code == 0
    assert "1 already had that price" in out
    assert '[prices."mine"]\ninput = 1' in out


def test_a_model_without_calls_is_distinguished_from_a_priced_one(command: Any) -> None:
    """A typing error gets the names that are nearly the same."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt_tokens=1, completion_tokens=1))
    price = ("--input", "1", "--output", "1")
    typed = command("prices", "set", "gpt-4o-mni", *price)[1]
    assert "no call of 'gpt-4o-mni' is recorded: did you mean 'gpt-4o-mini'?\n" in typed
    assert "no call of 'zzzzzz' is recorded\n" in command("prices", "set", "zzzzzz", *price)[1]
    assert "no recorded call of gpt-4o-mini lacks a price" in command("prices", "set", "gpt-4o-mini", *price)[1]


def test_an_invalid_price_is_wrong_usage(command: Any) -> None:
    """Text for a price changes nothing."""
    assert command("prices", "set", "mine", "--input", "cheap", "--output", "1")[0] == 2


def test_a_missing_price_has_suggestions(command: Any) -> None:
    """The message names providers with such a model, or a similar name; the exit code is 1."""
    code, _, err = command("prices", "show", "meta-llama/llama-3.3-70b-instruct:free")
    assert code == 1
    assert "that name no provider have no price; with --provider there is one: openrouter" in err
    code, _, err = command("prices", "show", "gpt-4o", "--provider", "nosuch")
    assert code == 1
    assert "from provider 'nosuch' have no price" in err
    assert "openai" in err
    assert "did you mean 'gpt-4o-mini'" in command("prices", "show", "gpt-4o-mnii")[2]
    assert "did you mean" not in command("prices", "show", "zzzzzzzzzz")[2]
    assert command("prices", "show", "meta-llama/llama-3.3-70b-instruct:free", "--provider", "openrouter")[0] == 0


def test_an_imported_table_is_listed_with_its_origin(command: Any, as_json: Any, tmp_path: Path) -> None:
    """The date and the file are shown for people and programs; an older table changes nothing."""
    day = (datetime.now(tz=UTC).date() + timedelta(days=1)).isoformat()
    models = {"acme-1": [None, "input=1 output=2"]}
    for name, date in (("new", day), ("old", "2020-01-01")):
        document = {"version": "9.9", "date": date, "providers": {"acme": {"match": ["acme-*"], "models": models}}}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    assert as_json("prices", "import", str(tmp_path / "new.json"))["imported"] is True
    assert "nothing was changed" in command("prices", "import", str(tmp_path / "old.json"))[1]
    listed = as_json("prices", "list", "acme")
    assert listed["table"]["imported"]["origin"] == f"file {tmp_path / 'new.json'}"
    assert "imported" in command("prices", "list", "acme")[1]
    assert command("prices", "import", str(tmp_path / "missing.json"))[0] == 1
    assert command("prices", "export", "-o", str(tmp_path / "out.json"))[0] == 0
    assert json.loads((tmp_path / "out.json").read_text())["providers"]["acme"]["models"] == models


def test_recorded_calls_are_priced_by_an_imported_table(command: Any, as_json: Any, tmp_path: Path) -> None:
    """`apply` prices them by model and project, and a second time there is nothing to do."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.LLMEvent(model="acme-1", prompt_tokens=1_000_000, completion_tokens=0))
    day = (datetime.now(tz=UTC).date() + timedelta(days=1)).isoformat()
    acme = {"match": ["acme-*"], "models": {"acme-1": [None, "input=1 output=2"]}}
    document = {"version": "9.9", "date": day, "providers": {"acme": acme}}
    (tmp_path / "new.json").write_text(json.dumps(document))
    assert command("prices", "import", str(tmp_path / "new.json"))[0] == 0
    assert as_json("prices", "apply")["projects"]["default"]["acme-1"]["calls"] == 1
    assert command("prices", "apply")[1] == ""
    session.end_session("Success")
