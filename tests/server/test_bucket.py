"""Files of rows in an S3-compatible bucket: a real server on loopback, which checks every signature."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from localops import config
from localops.errors import ConfigError
from localops.journal import blobs
from localops.reading import mirrored
from localops.server.bucket import Bucket, BucketError, place
from localops.server.files_elsewhere import FilesElsewhere
from localops.server.home_store import HomeStore
from localops.server.request import Unavailable
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until
from tests.server.s3 import BUCKET, ENVIRONMENT, S3
from tests.warm import localops

pytest.importorskip("obstore")

_FILM = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
_DIGEST = hashlib.sha256(_FILM).hexdigest()
_KEY = f"hubs/one/default/{_DIGEST}"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """Return an empty bucket, and let this process in."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    server = S3()
    yield server
    server.close()


def _store(folder: Path, s3: S3, bound: int = 1 << 30) -> HomeStore:
    store = HomeStore(str(folder / "hub"))
    store.migrate("default")
    store.files = FilesElsewhere(store.folder, Bucket(place(s3.url)), bound=bound)
    return store


def _put(running: RealHub, data: bytes) -> int:
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
    digest = hashlib.sha256(data).hexdigest()
    return running.ask("PATCH", f"/sync/1/blobs/{digest}", data, headers=headers)[0]


def _shown(running: RealHub) -> bytes:
    request = urllib.request.Request(
        f"{running.url}/blobs/default/{_DIGEST}", headers={"Authorization": f"Bearer {running.key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def test_a_hub_keeps_files_in_a_bucket(tmp_path: Path, s3: S3) -> None:
    """It answers 200 when the bucket has a file; the copy here may be lost, and a page shows it all the same."""
    with hub(tmp_path, "default", "--files", s3.url) as running:
        assert _put(running, _FILM) == 200
        assert s3.objects == {_KEY: _FILM}
        made = session_rows(1, body=json.dumps({"params": {"$blob": _DIGEST}}))
        assert running.take(batch_of(made))[1]["refused"] == []
        path = Path(blobs.path_of(str(running.folder), _DIGEST))
        path.unlink()
        status, answer = running.ask("HEAD", f"/sync/1/blobs/{_DIGEST}")
        assert (status, answer["upload-complete"]) == (200, "?1")
        reads = s3.asked.count(("GET", _KEY))
        events = f"/api/1/sessions/{made[0][2].hex()}/events"
        [call] = [each for each in running.ask("GET", events)[1]["events"] if each["kind"] == "llm"]
        _, seen = running.ask("GET", f"{events}/{call['entry']}")
        [file] = seen["attachments"]
        assert (file["bytes"], file["kind"]) == (len(_FILM), "image/png")
        assert s3.asked.count(("GET", _KEY)) == reads, "what a list shows of a file is noted here"
        assert _shown(running) == _FILM
        assert path.read_bytes() == _FILM
        running.stop()
        running.options = ()
        done = localops("hub", "serve", "--data", running.data, "--port", "0")
        assert done.returncode == 2
        assert f"add --files {s3.url}" in done.stderr
        done = localops("hub", "check", "--data", running.data, "--json")
        assert (done.returncode, json.loads(done.stdout)["projects"][0]["blobs"]) == (0, 1)
        s3.objects[_KEY] = b"other"
        assert localops("hub", "check", "--data", running.data).returncode == 1


def test_a_bucket_that_does_not_answer_loses_nothing(tmp_path: Path, s3: S3) -> None:
    """The sender gets 503 and keeps the file; when it sends it again, the hub already has the bytes."""
    with hub(tmp_path, "default", "--files", s3.url) as running:
        wait_until(lambda: running.ask("GET", "/ready")[0] == 200)
        s3.is_broken = True
        assert _put(running, _FILM) == 503
        status, answer = running.ask("GET", "/ready")
        assert (status, answer["problems"]) == (503, ["rows or files could not be stored"])
        assert running.ask("HEAD", f"/sync/1/blobs/{_DIGEST}")[1]["upload-complete"] == "?0"
        made = session_rows(1, body=json.dumps({"params": {"$blob": _DIGEST}}))
        assert len(running.take(batch_of(made))[1]["refused"]) == 1
        s3.is_broken = False
        headers = {"Upload-Offset": str(len(_FILM)), "Upload-Length": str(len(_FILM))}
        assert running.ask("PATCH", f"/sync/1/blobs/{_DIGEST}", b"", headers=headers)[0] == 200
        assert s3.objects == {_KEY: _FILM}


def test_what_the_bucket_lost_is_asked_for_again(tmp_path: Path, s3: S3) -> None:
    """A file that is missing or damaged there is sent again from here, or by its sender; without a bucket none is."""
    store = _store(tmp_path, s3)
    assert store.files is not None
    store.add_to_blob("default", _DIGEST, 0, len(_FILM), _FILM)
    assert store.missing_blobs("default", [_DIGEST]) == ([], 1)
    s3.is_broken = True
    with pytest.raises(Unavailable):
        store.missing_blobs("default", [_DIGEST])
    s3.is_broken = False
    for there in ({_KEY: b"damaged"}, {}):
        s3.objects = dict(there)
        assert store.missing_blobs("default", [_DIGEST]) == ([], 1)
        store.files.work("default")
        assert s3.objects == {_KEY: _FILM}
        s3.objects = dict(there)
        os.unlink(blobs.path_of(os.path.join(store.folder, "default"), _DIGEST))
        assert store.missing_blobs("default", [_DIGEST]) == ([_DIGEST], 1)
        assert store.blob("default", _DIGEST) == (0, False)
        store.add_to_blob("default", _DIGEST, 0, len(_FILM), _FILM)
        assert s3.objects == {_KEY: _FILM}
    store.close()


def test_a_file_that_was_deleted_goes_from_the_bucket(tmp_path: Path, s3: S3) -> None:
    """At once, or as soon as the bucket answers again."""
    store = _store(tmp_path, s3)
    assert store.files is not None
    folder = config.project_folder(store.folder, "default")
    for is_broken in (False, True):
        store.add_to_blob("default", _DIGEST, 0, len(_FILM), _FILM)
        made = session_rows(1, body=json.dumps({"params": {"$blob": _DIGEST}}))
        batch = batch_of(made, journal=f"{is_broken:032x}")
        assert store.ingest("default", batch, refused={}, by="t", key="k" * 32)[0].refused == {}
        s3.is_broken = is_broken
        assert store.delete("default", made[0][2])
        assert not blobs.is_here(folder, _DIGEST)
        s3.is_broken = False
    assert s3.objects == {_KEY: _FILM}
    store.files.work("default")
    assert s3.objects == {}
    assert blobs.marked(folder, blobs.DOOMED) == set()
    store.close()


def test_a_folder_gives_up_what_the_bucket_has(tmp_path: Path, s3: S3) -> None:
    """Beyond a bound the files that were read least lately are only there; a file that is not there yet stays."""
    folder = tmp_path / "hub" / "default"
    earlier = blobs.keep(str(folder), b"before there was a bucket" * 1_000)
    store = _store(tmp_path, s3, bound=20_000)
    assert store.files is not None
    for number in range(3):
        data = bytes([number]) * 10_000
        store.add_to_blob("default", hashlib.sha256(data).hexdigest(), 0, len(data), data)
    s3.is_broken = True
    with pytest.raises(BucketError):
        store.files.work("default")
    assert Path(blobs.path_of(str(folder), earlier)).exists()
    s3.is_broken = False
    store.files.work("default")
    assert len(s3.objects) == len(blobs.digests(str(folder))) == 4
    assert sum(os.path.getsize(path) for path in blobs.stored(str(folder))) <= 20_000
    assert blobs.size(str(folder)) == 30_000 + 25_000
    with open(blobs.find(str(folder), earlier), "rb") as file:
        assert file.read() == b"before there was a bucket" * 1_000
    store.close()


def test_files_move_to_a_bucket_and_back(tmp_path: Path, s3: S3) -> None:
    """Each is compared by its digest; a hub serves meanwhile on the way there."""
    with hub(tmp_path) as running:
        assert _put(running, _FILM) == 200
        done = localops("hub", "move", "--from", running.data, "--to", s3.url)
        assert (done.returncode, s3.objects) == (0, {_KEY: _FILM})
        running.stop()
        running.options = ("--files", s3.url)
        running.start()
        more = b"another" * 100
        assert _put(running, more) == 200
        assert localops("hub", "move", "--from", s3.url, "--to", running.data).returncode == 1
        running.stop()
        path = Path(blobs.path_of(str(running.folder), _DIGEST))
        path.unlink()
        s3.objects[_KEY] = b"damaged"
        done = localops("hub", "move", "--from", s3.url, "--to", running.data)
        assert (done.returncode, mirrored.files_of(str(running.data))) == (1, s3.url)
        s3.objects[_KEY] = _FILM
        done = localops("hub", "move", "--from", s3.url, "--to", running.data)
        assert (done.returncode, mirrored.files_of(str(running.data))) == (0, None)
        assert path.read_bytes() == _FILM
        running.options = ()
        running.start()
        assert _shown(running) == _FILM


def test_another_folder_takes_over_what_the_bucket_has(tmp_path: Path, s3: S3) -> None:
    """After a disk was lost, or with a backup, which has the notes alone."""
    with hub(tmp_path, "default", "--files", s3.url) as running:
        assert _put(running, _FILM) == 200
        backup = tmp_path / "backup"
        assert localops("hub", "backup", "--data", running.data, "--output", backup).returncode == 0
        assert not any(blobs.stored(str(backup / "default")))
        assert blobs.head(str(backup / "default"), _DIGEST) == (_FILM[:64], len(_FILM))
        running.stop()
        for path in (Path(blobs.path_of(str(running.folder), _DIGEST)),):
            path.unlink()
            Path(f"{path}{blobs.NOTE}").unlink()
        running.start()
        wait_until(lambda: running.ask("HEAD", f"/sync/1/blobs/{_DIGEST}")[1]["upload-complete"] == "?1")
        assert _shown(running) == _FILM


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda url: url.replace("s3:", "gs:"), "expected s3://BUCKET"),
        (lambda url: url.replace(BUCKET, f"me:secret@{BUCKET}"), "must have no key"),
        (lambda url: f"{url}&key=1", "expected the options"),
    ],
)
def test_an_url_says_what_is_wrong(s3: S3, change: object, why: str) -> None:
    """A key in a URL is refused, as others can read it."""
    with pytest.raises(ConfigError, match=why):
        place(change(s3.url))  # type: ignore[operator]


def test_errors_say_what_to_look_at(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """For keys, a bucket, an endpoint."""
    with pytest.raises(BucketError, match="is not there: create it"):
        Bucket(place(s3.url.replace(BUCKET, "other"))).check()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    with pytest.raises(BucketError, match="refuses access: check AWS_ACCESS_KEY_ID"):
        Bucket(place(s3.url)).check()
    with pytest.raises(BucketError, match="does not answer: check the endpoint"):
        Bucket(place(s3.url.rpartition(":")[0] + ":9")).check()
