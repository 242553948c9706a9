"""Files of rows in an S3-compatible bucket, by way of obstore, which signs the requests."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from localops import host
from localops.errors import ConfigError, LocalopsError
from localops.journal import blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from obstore.store import ClientConfig, RetryConfig, S3Store

_OPTIONS = ("endpoint", "region")
_EXAMPLE = "s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION"
# Seconds for a connection, and for one request: a piece of a file is 5 MB.
_CONNECT, _REQUEST = 5, 60
# The sender waits for the answer, and retries by itself.
_RETRIES: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_PIECE = 1 << 20
_FIRST = 64  # bytes that tell what a file is
_TOGETHER = 4  # pieces of a file that are sent at the same time
_LONGEST = 200  # characters of an error of the library
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class BucketError(LocalopsError, OSError):
    """The bucket cannot be used now; senders keep their rows."""


class DamagedFile(BucketError):
    """A file in the bucket has other contents than its name says."""


class Place(NamedTuple):
    """The bucket, prefix and options in a URL."""

    url: str
    bucket: str
    prefix: str
    options: dict[str, str]


def place(url: str) -> Place:
    """Parse a URL; raise ConfigError for one that is invalid or has a password."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme != "s3" or not parts.netloc or parts.fragment:
        raise ConfigError(f"invalid --files: expected {_EXAMPLE}, got {url!r}")
    if "@" in parts.netloc:
        raise ConfigError(f"invalid --files: a URL that others can read must have no key; set {_KEYS}")
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise ConfigError(f"invalid --files: expected the options {', '.join(_OPTIONS)}, got {', '.join(unknown)}")
    endpoint = options.get("endpoint", "https://")
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"invalid --files: expected an endpoint such as https://HOST:9000, got {endpoint!r}")
    return Place(url, parts.netloc, parts.path.strip("/"), options)


class Bucket:
    """A bucket that has the files of a hub's projects, as PREFIX/PROJECT/DIGEST."""

    def __init__(self, where: Place) -> None:
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError as error:
            raise ConfigError(f"missing package for a bucket: pip install 'localops[s3]' ({error})") from error
        self._obstore = obstore
        self.url = where.url
        self._where = f"the bucket {where.bucket} at {where.options.get('endpoint', 'Amazon S3')}"
        self._store = self._open_store(S3Store, where)

    def _open_store(self, make: type[S3Store], where: Place) -> S3Store:
        endpoint = where.options.get("endpoint")
        client: ClientConfig = {
            "connect_timeout": timedelta(seconds=_CONNECT),
            "timeout": timedelta(seconds=_REQUEST),
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
        }
        settings: dict[str, Any] = {"region": where.options.get("region", os.environ.get("AWS_REGION", "us-east-1"))}
        if endpoint is not None:
            settings["endpoint"] = endpoint
        try:
            return make(
                where.bucket, prefix=where.prefix or None, client_options=client, retry_config=_RETRIES, **settings
            )
        except self._obstore.exceptions.BaseError as error:
            raise ConfigError(f"invalid --files: {str(error)[:_LONGEST]}") from error

    def check(self) -> None:
        """Raise BucketError unless the bucket answers and may be listed."""
        with self._errors():
            next(iter(self._obstore.list(self._store, chunk_size=1)), None)

    # As the place of the files of a home

    def put(self, project: str, digest: str, path: str) -> None:
        """Store the file at a path there, and note that in its project."""
        with open(path, "rb") as file:
            first = file.read(blobs.HEAD)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            with self._errors():
                try:
                    self._obstore.put(self._store, _key(project, digest), file, max_concurrency=_TOGETHER)
                except FileNotFoundError as error:
                    raise BucketError(f"{self._where} is not there: create it, or correct --files") from error
        blobs.note(project, digest, first, size)

    def fetch(self, project: str, digest: str) -> None:
        """Download a file to its path; BucketError if the one in the bucket is damaged or cannot be read now."""
        place = blobs.path_of(project, digest)
        temporary = os.path.join(os.path.dirname(os.path.dirname(place)), f".{os.getpid()}-{os.urandom(6).hex()}")
        seen = hashlib.sha256()
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "wb") as file:
                blobs.mark_written(handle)
                for piece in self._pieces(project, digest):
                    seen.update(piece)
                    file.write(piece)
                host.keep_owner(file.fileno(), project)
            if seen.hexdigest() != digest:
                raise DamagedFile(f"{self._where} has a damaged file {_key(project, digest)}")
            os.replace(temporary, place)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def flaw(self, project: str, digest: str) -> str | None:
        """Read a file there, and return why it cannot be used; BucketError if nothing can be read now."""
        seen = hashlib.sha256()
        try:
            for piece in self._pieces(project, digest):
                seen.update(piece)
        except FileNotFoundError as error:
            return str(error)
        return None if seen.hexdigest() == digest else f"{self._where} has a damaged file {_key(project, digest)}"

    def remove(self, project: str, digest: str) -> None:
        """Delete a file there."""
        with self._errors():
            self._obstore.delete(self._store, _key(project, digest))

    def stored(self, project: str) -> Iterator[tuple[str, int]]:
        """Yield the digests and sizes of the files of a project that are there."""
        with self._errors():
            for page in self._obstore.list(self._store, prefix=os.path.basename(project)):
                for each in page:
                    digest = str(each["path"]).rpartition("/")[2]
                    if blobs.is_digest(digest):
                        yield digest, int(each["size"])

    def take_over(self, project: str) -> int:
        """Note files of the bucket that this folder has no note of; return their number."""
        many = 0
        known = blobs.digests(project) | blobs.marked(project, blobs.DOOMED)
        for digest, size in self.stored(project):
            if digest not in known:
                # Gone since it was listed.
                with suppress(FileNotFoundError), self._errors():
                    key = _key(project, digest)
                    first = bytes(self._obstore.get_range(self._store, key, start=0, length=min(size, _FIRST)))
                    blobs.note(project, digest, first, size)
                    many += 1
        return many

    def _pieces(self, project: str, digest: str) -> Iterator[bytes]:
        key = _key(project, digest)
        try:
            with self._errors():
                for piece in self._obstore.get(self._store, key).stream(min_chunk_size=_PIECE):
                    yield bytes(piece)
        except FileNotFoundError:
            # The library has the same error for a missing bucket, which does not show that the file is missing.
            self.check()
            raise FileNotFoundError(f"{self._where} lacks the file {key}") from None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the library into BucketError, except for a missing file."""
        try:
            yield
        except self._obstore.exceptions.BaseError as error:
            raise BucketError(f"{self._where} {_why(str(error))}") from error


def _why(text: str) -> str:
    """Return the problem and what to do, from the text of an error of the library."""
    # Of "Error performing GET URL in 2 ms - Server returned non-2xx status code: 403 Forbidden: <xml>".
    answer = text.partition("\n")[0].rpartition(" - ")[2].partition(": <")[0]
    if "status code: 403" in text or "status code: 401" in text or "credential" in text.lower():
        return f"refuses access: check {_KEYS}, and what their policy allows ({answer})"
    if "NoSuchBucket" in text:
        return "is not there: create it, or correct --files"
    if "status code" in text:
        return f"cannot be used now: {answer}"
    return f"does not answer: check the endpoint of --files, and that its server runs ({answer[:_LONGEST]})"


def _key(project: str, digest: str) -> str:
    return f"{os.path.basename(project)}/{digest}"
