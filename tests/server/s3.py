"""An S3-compatible server on loopback: objects in memory, signatures checked, as much of the protocol as a hub uses."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY, SECRET, BUCKET = "hub", "a long secret", "files"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


class S3(ThreadingHTTPServer):
    """The server; `objects` are those of its one bucket, by key."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        # What was asked, as method and key.
        self.asked: list[tuple[str, str]] = []
        self.is_broken = False
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of a place in its bucket."""
        return f"s3://{BUCKET}/hubs/one?endpoint=http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815  the names of the protocol

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, key))
        if self.server.is_broken:
            self._say(503, _error("SlowDown"))
        elif not self._is_signed(parts.path, query, body):
            self._say(403, _error("SignatureDoesNotMatch"))
        elif bucket != BUCKET:
            self._say(404, _error("NoSuchBucket"))
        else:
            getattr(self, f"_{self.command.lower()}")(key, query, body)

    def _put(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.server.parts[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.server.objects[key] = body
        self._say(200, b"", ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def _get(self, key: str, query: dict[str, str], _: bytes) -> None:
        if query.get("list-type") == "2":
            self._list(query)
            return
        if key not in self.server.objects:
            self._say(404, _error("NoSuchKey"))
            return
        content = self.server.objects[key]
        headers = {"ETag": '"1"', "Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
        bounds = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if bounds is None:
            self._say(200, content, **headers)
            return
        first, last = int(bounds[1]), min(int(bounds[2]), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._say(206, content[first : last + 1], **headers)

    _head = _get

    def _list(self, query: dict[str, str]) -> None:
        keys = sorted(key for key in self.server.objects if key.startswith(query.get("prefix", "")))
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-30T00:00:00Z</LastModified><ETag>1</ETag>"
            f"<Size>{len(self.server.objects[key])}</Size></Contents>"
            for key in keys
        )
        self._say(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode())

    def _post(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "delete" in query:
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for each in keys:
                self.server.objects.pop(each, None)
            deleted = "".join(f"<Deleted><Key>{each}</Key></Deleted>" for each in keys)
            self._say(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())
        elif "uploads" in query:
            upload = f"upload-{len(self.server.parts)}"
            self.server.parts[upload] = {}
            self._say(200, f"<R><Bucket>b</Bucket><Key>k</Key><UploadId>{upload}</UploadId></R>".encode())
        else:
            pieces = self.server.parts.pop(query["uploadId"])
            self.server.objects[key] = b"".join(pieces[number] for number in sorted(pieces))
            self._say(200, b"<R><Location>l</Location><Bucket>b</Bucket><Key>k</Key><ETag>1</ETag></R>")

    def _delete(self, key: str, _: dict[str, str], __: bytes) -> None:
        self.server.objects.pop(key, None)
        self._say(204, b"")

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _is_signed(self, path: str, query: dict[str, str], body: bytes) -> bool:
        """Calculate the signature of a request, version 4, and compare it with the one in the request."""
        sent = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\w+)/(\w+)/([\w-]+)/s3/aws4_request, ?"
            r"SignedHeaders=([\w;-]+), ?Signature=(\w+)",
            self.headers.get("Authorization") or "",
        )
        if sent is None or sent[1] != KEY:
            return False
        given = self.headers.get("x-amz-content-sha256") or ""
        if given != "UNSIGNED-PAYLOAD" and given != hashlib.sha256(body).hexdigest():
            return False
        names = sent[4].split(";")
        headers = "".join(f"{name}:{(self.headers.get(name) or '').strip()}\n" for name in names)
        asked = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items())
        )
        request = "\n".join([self.command, path, asked, headers, sent[4], given])
        scope = f"{sent[2]}/{sent[3]}/s3/aws4_request"
        signed = "\n".join(
            ["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, hashlib.sha256(request.encode()).hexdigest()]
        )
        secret = f"AWS4{SECRET}".encode()
        for step in (sent[2], sent[3], "s3", "aws4_request"):
            secret = hmac.digest(secret, step.encode(), "sha256")
        return hmac.compare_digest(hmac.digest(secret, signed.encode(), "sha256").hex(), sent[5])


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()
