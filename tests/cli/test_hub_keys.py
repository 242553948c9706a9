"""`localops hub key`: names, scopes, ends and replacements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from localops.server.keys import Keys
from tests import warm


def _localops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "-m", "localops", *arguments], capture_output=True, timeout=60)


def test_a_key_is_listed_with_all_that_limits_it(tmp_path: Path) -> None:
    """Its name, scopes and end, and when it was last used; never the key itself."""
    data = ("--data", str(tmp_path))
    options = ("--project", "mine", "--name", "laptop of Ada", "--scope", "send", "--expires", "10d")
    made = _localops("hub", "key", "create", *data, *options)
    [listed] = json.loads(_localops("hub", "key", "list", *data, "--json").stdout)["keys"]
    shown = {name: listed[name] for name in ("project", "name", "scopes", "state", "revoked", "last_used")}
    assert shown == {
        "project": "mine",
        "name": "laptop of Ada",
        "scopes": ["send"],
        "state": "good",
        "revoked": None,
        "last_used": None,
    }
    table = _localops("hub", "key", "list", *data)
    assert "laptop of Ada" in table.stdout
    assert "ends in 9 days" in table.stderr
    assert made.stdout.strip() not in table.stdout + table.stderr


def test_a_secret_in_its_name_is_stored_nowhere(tmp_path: Path) -> None:
    """Neither among the keys nor in the audit log; by our rules and by patterns of the hub's folder."""
    secret = "ghp_" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3d"
    (tmp_path / "config.toml").write_text("redact = ['PINE-[0-9]+']\n", encoding="utf-8")
    made = _localops(
        *("hub", "key", "create", "--data", str(tmp_path), "--project", "mine", "--note", f"CI {secret} PINE-1")
    )
    assert made.returncode == 0, made.stderr
    assert "stored as 'CI [redacted:github] [redacted:pattern]'" in made.stderr
    for path in tmp_path.rglob("*.json*"):
        assert secret not in path.read_text(encoding="utf-8")
        assert "PINE-1" not in path.read_text(encoding="utf-8")


def test_a_key_is_rotated(tmp_path: Path) -> None:
    """The new key is printed once; both work, until the overlap ends."""
    data = ("--data", str(tmp_path))
    first = _localops("hub", "key", "create", *data, "--project", "mine", "--name", "cluster").stdout.strip()
    handle = json.loads(_localops("hub", "key", "list", *data, "--json").stdout)["keys"][0]["key"]
    done = json.loads(_localops("hub", "key", "rotate", handle, *data, "--overlap", "1h", "--json").stdout)
    assert (done["name"], done["replaces"]["handle"], done["expires"]) == ("cluster", handle, None)
    assert f"key {done['handle']} replaces it" in _localops("hub", "key", "list", *data).stderr
    keys = Keys(str(tmp_path))
    assert [keys.find(secret) is not None for secret in (first, done["key"])] == [True, True]
    assert [key.expires is None for key in keys.all()] == [False, True]
    assert _localops("hub", "key", "rotate", handle, *data, "--overlap", "0s").returncode == 0
    assert keys.find(first) is None


def test_wrong_limits_are_refused(tmp_path: Path) -> None:
    """No key is created whose limits could not work."""
    data = ("--data", str(tmp_path))
    wrong = _localops("hub", "key", "create", *data, "--project", "mine", "--expires", "10x")
    assert (wrong.returncode, "use 90d from now, or a day" in wrong.stderr) == (2, True)
    for options in (
        ("--project", "mine", "--scope", "all"),
        ("--project", "mine", "--expires", "2020-01-01"),
        ("--project", "mine", "--expires", "soon"),
        ("--scope", "send"),
        (),
    ):
        assert _localops("hub", "key", "create", *data, *options).returncode == 2
    assert _localops("hub", "key", "create", *data, "--scope", "admin").returncode == 0
    assert [key.scopes for key in Keys(str(tmp_path)).all()] == [("admin",)]
