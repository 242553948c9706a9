"""A newer price table: checked, used while it is newer, and never half believed."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock, config
from localops.encoding import price_table
from localops.encoding.pricing import SHIPPED, Prices, Usage, date_of
from localops.errors import ConfigError
from localops.journal.journal import Journal
from localops.journal.stored import of_session
from localops.reading import analytics
from localops.upkeep import doctor, imported_prices, repricing

TODAY = date(2030, 1, 31)
NOW_NS = 1_896_000_000 * 10**9  # 2030-01-30


def table(models: dict[str, str | list[str]], day: str = "2030-01-01") -> dict[str, Any]:
    """Return a table with a model of each name, by its prices."""
    priced = {name: [None, *([prices] if isinstance(prices, str) else prices)] for name, prices in models.items()}
    return {"version": "9.9", "date": day, "providers": {"acme": {"match": ["acme-*"], "models": priced}}}


def _data(**changes: Any) -> bytes:
    return json.dumps({**table({"acme-1": "input=1 output=2"}), **changes}).encode()


def _home(tmp_path: Path) -> str:
    (tmp_path / "home").mkdir(exist_ok=True)
    return str(tmp_path / "home")


def _take(home: str, document: dict[str, Any]) -> imported_prices.Imported:
    return imported_prices.take(home, json.dumps(document).encode(), origin="file x", now_ns=NOW_NS)


def test_the_shipped_table_is_valid() -> None:
    """What we write passes our own checks unchanged."""
    data = Path(SHIPPED).read_bytes()
    checked = price_table.checked(data, today=TODAY)
    assert checked.left_out == 0
    assert checked.models > 1_000
    again = json.loads(checked.written())
    assert again["providers"] == json.loads(data)["providers"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"no", "expected JSON"),
        (b"[]", "expected what"),
        (_data(providers={}), "expected what"),
        (_data(date="2031-01-01"), "this machine's clock"),
        (_data(date="soon"), "expected a date"),
        (_data(version=7), "version"),
        (_data(providers={"acme": {"models": {}, "discount": 1}}), "upgrade localops"),
        (_data(providers={"acme": {"models": {"a": ["a"]}}}), "not a pattern and prices"),
        (_data(providers={"acme": {"models": {"a": [None, "input=-1"]}}}), "input=-1"),
        (_data(providers={"acme": {"models": {"a": [None, "input=1e9"]}}}), "input=1e9"),
        (_data(providers={"acme": {"models": {"a": [None, "input=1,9:2,5:3"]}}}), "input=1,9:2,5:3"),
        (_data(providers={"acme": {"models": {"a": [None, "from=2030-13-01 input=1"]}}}), "from=2030-13-01"),
        (_data(providers={"acme": {"models": {"a": [None, "hours=25:00-26:00 input=1"]}}}), "hours="),
        (_data(providers={"acme": {"models": {"a": [None, "input=1 input=2"]}}}), "NAME=VALUE"),
        (_data(providers={"acme": {"models": {"a": ["/(a+)+$/", "input=1"]}}}), "may take long"),
        (_data(providers={"acme": {"models": {"a": ["/(x+\\\\)*/", "input=1"]}}}), "may take long"),
        (_data(providers={"acme": {"models": {"a": ["/a*b*c*d/", "input=1"]}}}), "may take long"),
        (_data(providers={"acme": {"models": {"a": ["/(/", "input=1"]}}}), "invalid regular"),
        (_data(providers={"acme": {"models": {"a": [{"some": []}, "input=1"]}}}), "unknown form"),
        (_data(providers={"acme": {"models": {}, "resells": ["other"]}}), "resells"),
    ],
)
def test_an_invalid_table_is_refused_with_its_reason(document: bytes, why: str) -> None:
    """Nothing of a table is used when one part of it is wrong."""
    with pytest.raises(ConfigError, match="invalid price table") as refused:
        price_table.checked(document, today=TODAY)
    assert why in str(refused.value)


def test_a_model_with_an_unknown_rate_is_unpriced_and_not_too_cheap(tmp_path: Path) -> None:
    """It keeps its name, so that no other model's price applies to it."""
    home = _home(tmp_path)
    taken = _take(home, table({"acme-1": "input=1 thoughts=9", "acme-2": "input=1 output=2"}))
    assert (taken.models, taken.left_out, taken.is_new) == (2, 1, True)
    prices = config.prices(home)
    usage = Usage(input=1_000_000, output=1_000_000)
    assert prices.cost("acme-1", usage, at_ns=NOW_NS) is None
    assert prices.cost("acme-2", usage, at_ns=NOW_NS) == 3 * 10**9


def test_a_newer_table_is_used_with_its_origin_and_an_older_one_is_not(tmp_path: Path) -> None:
    """The newest of the imported and the shipped table counts; the user's own prices take precedence."""
    home = _home(tmp_path)
    assert not _take(home, table({"acme-1": "input=5"}, "2020-01-01")).is_new
    assert config.prices(home).origin is None
    assert _take(home, table({"acme-1": "input=1 output=1"})).is_new
    assert not _take(home, table({"acme-1": "input=7 output=7"}, "2029-12-31")).is_new
    prices = config.prices(home)
    assert prices.date == "2030-01-01"
    assert prices.origin is not None
    assert prices.origin["origin"] == "file x"
    assert Path(config.price_table(home)).stat().st_mode & 0o077 == 0
    Path(home, "config.toml").write_text('[prices."acme-1"]\ninput = 3\noutput = 3\n')
    own = config.prices(home).cost("acme-1", Usage(input=1_000_000), at_ns=NOW_NS)
    assert own == 3 * 10**9


def test_a_shipped_table_that_is_newer_counts_again(tmp_path: Path) -> None:
    """After an upgrade the table of the package may be the newer one."""
    home = _home(tmp_path)
    _take(home, table({"acme-1": "input=1 output=1"}))
    path = Path(config.price_table(home))
    path.write_bytes(path.read_bytes().replace(b"2030-01-01", b"2020-01-01", 1))
    assert config.prices(home).date == date_of(SHIPPED)


@pytest.mark.parametrize(
    "damage",
    [
        b'{"date":"2030-01-01"',
        b'{"date":"2030-01-01","version":"9","from":{},"providers":{"a":{"models":{"gpt-4o":[]},"match":["gpt*"]}}}',
    ],
)
def test_a_damaged_file_leaves_the_shipped_prices(tmp_path: Path, damage: bytes, capsys: Any) -> None:
    """A call is priced as if nothing had been imported, one warning says why, and doctor reports it."""
    home = _home(tmp_path)
    Path(config.price_table(home)).write_bytes(damage)
    usage = Usage(input=1_000, output=1_000)
    at = clock.now_ns()
    assert config.prices(home).cost("gpt-4o", usage, at_ns=at) == Prices().cost("gpt-4o", usage, at_ns=at) is not None
    assert "shipped prices are used" in capsys.readouterr().err
    assert [finding.where for finding in doctor.examine(home, []) if finding.fault] == ["prices"]


def test_earlier_calls_are_priced_at_their_day_once(tmp_path: Path) -> None:
    """`apply` prices what had no price, leaves what was given one since, and a second time adds nothing."""
    session = localops.start_session()
    assert session is not None
    for model in ("acme-1", "acme-1", "acme-2", "unknown-9"):
        session.record(localops.LLMEvent(model=model, prompt_tokens=1_000_000, completion_tokens=0))
    localops.api.client().close()
    home = str(tmp_path / "home")
    journal = Journal(str(tmp_path / "home" / "default"))
    mine = Prices({"acme-2": {"input": 8, "output": 8}})
    assert repricing.reprice(journal, "acme-2", mine, source="mine").calls == 1
    _take(
        home,
        table({"acme-1": ["input=5 output=5", "from=2029-01-01 input=1 output=1"], "acme-2": "input=1 output=1"}),
    )
    priced = repricing.reprice_all(journal, config.prices(home))
    assert {model: (one.calls, one.nano) for model, one in priced.items()} == {"acme-1": (2, 10 * 10**9)}
    assert analytics.totals(journal, session.session_id.bytes).cost == 18 * 10**9
    assert analytics.totals(journal, session.session_id.bytes).unpriced == 1
    assert repricing.reprice_all(journal, config.prices(home)) == {}
    sources = {row.name for row in of_session(journal, session.session_id.bytes) if row.kind == "price"}
    assert sources == {"mine", "genai-prices 9.9"}
    journal.close()


def test_new_calls_are_priced_by_the_imported_table(tmp_path: Path) -> None:
    """A program that starts after the import records with its prices."""
    _take(_home(tmp_path), table({"acme-1": "input=2 output=2"}))
    session = localops.start_session()
    assert session is not None
    session.record(localops.LLMEvent(model="acme-1", prompt_tokens=1_000_000, completion_tokens=0))
    localops.api.client().close()
    journal = Journal(str(tmp_path / "home" / "default"))
    assert analytics.totals(journal, session.session_id.bytes).cost == 2 * 10**9
    journal.close()


def test_what_is_exported_can_be_imported_elsewhere(tmp_path: Path) -> None:
    """The table in use travels without its origin, also when it was imported itself."""
    home = _home(tmp_path)
    _take(home, table({"acme-1": "input=2 output=2"}))
    carried = imported_prices.current(home)
    assert b'"from"' not in carried
    other = tmp_path / "other"
    other.mkdir()
    assert imported_prices.take(str(other), carried, origin="bundle y", now_ns=NOW_NS).is_new
    assert config.prices(str(other)).find("acme-1", at_ns=NOW_NS) is not None
