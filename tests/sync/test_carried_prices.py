"""A newer price table is taken from a hub, a bundle or receipts only if both sides ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localops import cli, config
from localops.reading.home import Home
from localops.upkeep import imported_prices
from tests.server.hubs import RealHub, hub
from tests.sync.homes import Sender

# Newer than the shipped table on any day.
_DAY = (datetime.now(tz=UTC).date() + timedelta(days=1)).isoformat()
_TABLE = {
    "version": "9.9",
    "date": _DAY,
    "providers": {"acme": {"match": ["acme-*"], "models": {"acme-1": [None, "input=1 output=2"]}}},
}


@pytest.fixture
def offering(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub that offers a newer table."""
    with hub(tmp_path / "there", "default", "--offer-prices") as running:
        (tmp_path / "newer.json").write_text(json.dumps(_TABLE))
        assert _run("prices", "import", str(tmp_path / "newer.json"), "--home", str(running.data)) == 0
        yield running


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _origin(home: str) -> str | None:
    origin = config.prices(home).origin
    return None if origin is None else origin["origin"]


def test_a_machine_that_wants_it_takes_the_hubs_table_once(tmp_path: Path, offering: RealHub) -> None:
    """The pass after the setting takes it, and the next one does not ask for it again."""
    sender = Sender(tmp_path / "home", offering.url, offering.key)
    sender.write(1)
    assert sender.sync().notes == []
    assert _origin(sender.home) is None
    Path(sender.home, "config.toml").write_text("take_prices = true\n")
    sender.write(1)
    outcome = sender.sync()
    assert outcome.code == 0
    assert [_DAY in note for note in outcome.notes] == [True]
    assert _origin(sender.home) == f"hub {offering.url}"
    assert config.prices(sender.home).date == _DAY
    sender.write(1)
    assert sender.sync().notes == []


def test_a_hub_that_does_not_offer_gives_nothing(tmp_path: Path) -> None:
    """Without --offer-prices there is nothing in the greeting, and nothing at the address."""
    with hub(tmp_path / "there") as silent:
        assert imported_prices.take(str(silent.data), json.dumps(_TABLE).encode(), origin="x", now_ns=_now()).is_new
        assert silent.ask("GET", "/sync/1/prices")[0] == 404
        assert "prices" not in silent.ask("GET", "/sync/1/hello")[1]
        sender = Sender(tmp_path / "home", silent.url, silent.key)
        Path(sender.home, "config.toml").write_text("take_prices = true\n")
        sender.write(1)
        assert sender.sync().code == 0
        assert _origin(sender.home) is None


def test_an_invalid_table_of_a_hub_does_not_stop_the_rows(tmp_path: Path, offering: RealHub) -> None:
    """The rows are delivered, and a note says why the prices were not taken."""
    Path(config.price_table(str(offering.data))).write_text(f'{{"date":"{_DAY}","version":"9","providers":{{}}}}')
    sender = Sender(tmp_path / "home", offering.url, offering.key)
    Path(sender.home, "config.toml").write_text("take_prices = true\n")
    sender.write(2)
    outcome = sender.sync()
    assert outcome.code == 0
    assert ["the prices of the hub were not taken" in note for note in outcome.notes] == [True]
    assert (_origin(sender.home), sender.ledger().has_work()) == (None, False)


def test_receipts_bring_the_table_back(tmp_path: Path, offering: RealHub, capsys: Any) -> None:
    """The hub adds it to the receipts, and the machine without a network takes it from there."""
    sender = Sender(tmp_path / "home", offering.url, offering.key)
    sender.write(2)
    bundle, receipts = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    assert _run("bundle", "-o", bundle, "--remote", "hub", "--home", sender.home) == 0
    key = tmp_path / "key"
    key.write_text(offering.key)
    to_hub = ("import", bundle, "--key-file", str(key), "--receipts", receipts, "--home", str(offering.data))
    assert _run(*to_hub, "--with-prices") == 0
    assert _run("import", receipts, "--home", sender.home) == 0
    assert "--take-prices" in capsys.readouterr().err
    assert _origin(sender.home) is None
    assert _run("import", receipts, "--take-prices", "--home", sender.home) == 0
    assert _origin(sender.home) == f"receipts {receipts}"
    assert not sender.ledger().has_work()


def test_a_bundle_brings_the_table_along(tmp_path: Path, capsys: Any) -> None:
    """Any machine may carry it to any other; without --with-prices it is not in the file."""
    sender = Sender(tmp_path / "home", "http://127.0.0.1:9", "key")
    sender.write(1)
    imported_prices.take(sender.home, json.dumps(_TABLE).encode(), origin="file x", now_ns=_now())
    bare, full, other = str(tmp_path / "bare.lops"), str(tmp_path / "full.lops"), str(tmp_path / "other")
    assert _run("bundle", "-o", bare, "--home", sender.home) == 0
    assert _run("bundle", "-o", full, "--with-prices", "--home", sender.home) == 0
    assert _run("import", bare, "--take-prices", "--home", other) == 0
    assert "has no prices" in capsys.readouterr().err
    assert _run("import", full, "--take-prices", "--home", other) == 0
    assert _origin(other) == f"bundle {full}"
    with Home(other) as opened:
        assert [project.name for project in opened.projects] == ["default"]


def _now() -> int:
    from localops import clock

    return clock.now_ns()
