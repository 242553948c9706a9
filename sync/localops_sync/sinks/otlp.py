"""The sink for OpenTelemetry: sends sessions as traces, over OTLP/HTTP, to any back end.

A batch is one request.  No back end promises to store a span once, so span ids are derived from the rows' ids, and a
row that is sent again is the same span again.  Rows without a span (an opened operation, tags, a price) count as taken.

A wrong URL or option makes a back end refuse everything, often with the status that it has for bad spans.  So a row is
parked only when the back end has taken some span in the same pass.  Where it has taken none yet, a plain span of our
own is sent first; if that is refused, too, a person must act.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from urllib.parse import urlsplit

from localops import output
from localops.encoding import encode
from localops.errors import ConfigError
from localops.otlp import json_request
from localops.otlp.evaluation import START as EVALUATION
from localops.otlp.openinference import OpenInference
from localops.otlp.semconv import GenAI
from localops.otlp.translation import Translation, check_span
from localops.transfer.bundle import Ack
from localops.transfer.remotes import check_url
from localops_sync.sink import Blocked, Offline, Refused, TooLarge, WrongKey
from localops_sync.sinks import otlp_wire
from localops_sync.sinks.otlp_agentops import AgentOps
from localops_sync.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.reader import Reader
    from localops.otlp.semconv import Names
    from localops.otlp.translation import Group
    from localops.transfer.bundle import Batch
    from localops.transfer.remotes import Remote
    from localops_sync.transport import Reply

# The options of `localops remote add … --option NAME=VALUE`, and their values; the first is the default.
OPTIONS: dict[str, tuple[str, ...]] = {
    "protocol": ("protobuf", "json"),
    "semconv": ("both", "genai", "openinference"),
    "auth": ("bearer", "agentops", "none"),
    "header": (),  # the header for the key, which is sent without "Bearer": `x-api-key`
    "auth_url": (),  # where AgentOps issues tokens
    "annotations": ("none", "phoenix"),  # phoenix: scores are sent to its API for annotations, too
}
_TRACES = "/v1/traces"
_ANNOTATIONS = "/v1/span_annotations?sync=false"  # of Phoenix, which knows one by its span, its name and its author
_AGENTOPS = {"otlp.agentops.ai": "https://api.agentops.ai"}  # where its cloud issues the tokens for this host
_TOKEN_SECONDS = 20.0
_LEVEL = 5  # of compression
_MOST_NOTES = 5  # of a pass: a back end may remark on each batch


class Otlp:
    """A connection to a back end that speaks OTLP/HTTP."""

    def __init__(self, remote: Remote, source: Reader, folder: str, transport: Transport) -> None:
        self.remote, self.source, self.folder, self.transport = remote, source, folder, transport
        self.notes: list[str] = []  # remarks of the back end, although it accepted everything
        self._protocol = _option(remote, "protocol")
        self._auth = _option(remote, "auth")
        self._path = "" if urlsplit(remote.url).path.rstrip("/").endswith(_TRACES) else _TRACES
        # Whether it has accepted some in this pass, so that a refusal is about the spans.
        self._takes_spans = False
        # A refusal of a request without spans: a back end may refuse any such request.
        self._refusal: Refused | TooLarge | None = None
        self._token: _Token | None = None
        self._names = _names(remote)
        self._annotates = _option(remote, "annotations") == "phoenix"
        if self._annotates and (not self._path or _option(remote, "semconv") == "genai"):
            raise ConfigError(
                f"remote {remote.name!r}: the option annotations=phoenix needs a URL without {_TRACES}, and semconv "
                "both or openinference"
            )
        if self._auth == "agentops":
            self._token = _Token(remote, transport)

    def send(self, batch: Batch) -> Ack:
        """Send the spans of a batch, if it has any."""
        translation = Translation(batch, self.source, self.folder, self._names, metadata_only=self.remote.metadata_only)
        groups = translation.groups()
        if groups:
            try:
                self._post_spans(groups)
            except (Refused, TooLarge) as error:
                # While the batch can be halved, a half may be taken, which saves the span of our own.
                if not self._takes_spans and (self._refusal or len(batch.rows) == 1):
                    self._send_check_span(error)
                raise
        return Ack()

    def check(self) -> str:
        """Send a request without spans, which a back end answers like any other; return what it is."""
        try:
            self._judge(self._post([]), 0)
        except (Refused, TooLarge) as error:
            # Some back ends refuse an empty request.  They are there and know the key; `prove` sends them a span.
            self._refusal = error
        return f"OTLP/HTTP in {self._protocol} at {self.transport.where}"

    def prove(self) -> str | None:
        """Return a remark if the back end refused the check and takes a span; raise Blocked if it takes neither."""
        if self._refusal is None:
            return None
        self._send_check_span(self._refusal)
        return "a request without spans is refused, one with a span is taken"

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()
        if self._token is not None:
            self._token.close()

    def _post_spans(self, groups: list[Group]) -> None:
        self._judge(self._post(groups), sum(len(spans) for _, spans in groups))
        self._takes_spans = True
        if self._annotates and (annotations := _annotations(groups)):
            headers = {"Content-Type": otlp_wire.JSON, **self._key()}
            body = encode.dumps({"data": annotations})
            self.transport.ask("POST", _ANNOTATIONS, body=body, headers=headers, expected=(200, 204))

    def _send_check_span(self, refusal: Refused | TooLarge) -> None:
        """Raise Blocked when the back end refuses a plain span as well: then the rows are not the reason."""
        try:
            self._post_spans([check_span(self.folder)])
        except (Refused, TooLarge) as error:
            also = "" if str(error) == str(refusal) else f" ({error})"
            raise Blocked(
                f"{refusal}; it refuses a plain span as well{also}, so it is not about the rows: "
                "check its URL, the option protocol, and the headers that the back end requires"
            ) from error

    def _post(self, groups: list[Group]) -> Reply:
        if self._protocol == "json":
            kind, body = otlp_wire.JSON, json_request.as_json(groups)
        else:
            kind, body = otlp_wire.PROTOBUF, otlp_wire.as_protobuf(groups)
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        packed = _gzip(body)
        if self._token is not None:
            reply = self._try(packed, {**headers, **self._token.header()}, 200, 401, 415)
            if reply.status != 401:
                return self._understood(reply)
            self._token.forget()
            headers.update(self._token.header())
        return self._understood(self._try(packed, {**headers, **self._key()}, 200, 415))

    def _try(self, body: bytes, headers: dict[str, str], *expected: int) -> Reply:
        return self.transport.ask("POST", self._path, body=body, headers=headers, expected=expected)

    def _key(self) -> dict[str, str]:
        key = self.transport.key
        if key is None or self._auth != "bearer":
            return {}
        header = self.remote.options.get("header")
        return {header: key} if header else {"Authorization": f"Bearer {key}"}

    def _understood(self, reply: Reply) -> Reply:
        """Return the reply; raise Blocked if it refuses protocol or compression, which are the same for every row."""
        if reply.status == 415:
            other = "json" if self._protocol == "protobuf" else "protobuf"
            raise Blocked(
                f"{self.transport.where} answered 415: it does not take {self._protocol} with gzip; "
                f"try the option protocol={other}"
            )
        return reply

    def _judge(self, reply: Reply, sent: int) -> None:
        """Raise Refused unless the reply confirms that everything was taken; OTLP does not name rejected spans."""
        where = self.transport.where
        try:
            rejected, remark = otlp_wire.partial_success(reply.kind(), reply.body)
        except ValueError as error:
            raise Offline(f"{where} does not answer as OTLP does ({error}); nothing counts as sent") from error
        remark = output.cut(output.clean(" ".join(remark.split())), 200)
        if self.transport.key:
            remark = remark.replace(self.transport.key, "***")
        if rejected:
            raise Refused(f"{where} rejected {rejected} of {sent} spans{f': {remark}' if remark else ''}")
        note = f"{where} says: {remark}"
        if remark and note not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(note)


class _Token:
    """The token that AgentOps issues for an API key and requires with each request; kept in memory only."""

    def __init__(self, remote: Remote, transport: Transport) -> None:
        self._key = transport.key
        self._token: str | None = None
        # The remote's headers are for the back end, not for the service that issues tokens.
        issuer = replace(remote, url=_auth_url(remote), headers={})
        self._transport = Transport(issuer, budget=transport.budget, whole=_TOKEN_SECONDS)

    def header(self) -> dict[str, str]:
        """Return the token as a header; request one if there is none."""
        if self._token is None:
            self._token = self._ask()
        return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """Drop the token, which is not accepted any more."""
        self._token = None

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _ask(self) -> str:
        body = encode.dumps({"api_key": self._key})
        try:
            reply = self._transport.ask("POST", "/v3/auth/token", body=body, headers={"Content-Type": otlp_wire.JSON})
        except (Refused, TooLarge) as error:
            # The key is refused, not the rows.
            raise WrongKey(f"{error}; it does not accept the key: set another with `localops remote key`") from error
        payload = reply.json()
        token = payload.get("token") if isinstance(payload, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Offline(f"{self._transport.where} answered without a token; nothing counts as sent")
        return token


def _annotations(groups: list[Group]) -> list[dict[str, object]]:
    """Return the scores among spans in the form of Phoenix's API."""
    annotations: list[dict[str, object]] = []
    for span in (span for _, spans in groups for span in spans if span.judged is not None):
        given = {name.removeprefix(EVALUATION): value for name, value in span.attributes.items()}
        result = {key: given[key] for key in ("label", "score", "explanation") if key in given}
        metadata = encode.loads(str(given["metadata"])) if "metadata" in given else {}
        annotations.append(
            {
                "span_id": span.judged.hex() if span.judged is not None else "",
                "name": given["name"],
                "annotator_kind": given["annotator_kind"],
                "identifier": given.get("identifier", ""),
                "result": result,
                "metadata": metadata,
            }
        )
    return annotations


def _names(remote: Remote) -> Names:
    """Return the vocabulary that a back end reads."""
    if _option(remote, "auth") == "agentops":
        return AgentOps()
    semconv = _option(remote, "semconv")
    return OpenInference() if semconv == "openinference" else GenAI(complemented=semconv == "both")


def _option(remote: Remote, name: str) -> str:
    """Return an option of a remote, or its default."""
    known = OPTIONS[name]
    value = remote.options.get(name, known[0])
    if value not in known:
        raise ConfigError(f"remote {remote.name!r}: invalid option {name}={value}: expected one of {', '.join(known)}")
    return value


def check_options(remote: Remote) -> None:
    """Raise ConfigError for options that are unknown, or do not go together."""
    unknown = sorted(set(remote.options) - set(OPTIONS))
    if unknown:
        raise ConfigError(f"remote {remote.name!r}: unknown option {unknown[0]!r}; there are {', '.join(OPTIONS)}")
    _option(remote, "protocol")
    auth = _option(remote, "auth")
    if _option(remote, "semconv") != "both" and auth == "agentops":
        raise ConfigError(
            f"remote {remote.name!r}: the option semconv does not go with auth=agentops, which has its own"
        )
    for name, wanted in (("header", "bearer"), ("auth_url", "agentops")):
        if name in remote.options and auth != wanted:
            raise ConfigError(f"remote {remote.name!r}: the option {name} goes with auth={wanted}, not auth={auth}")
    if auth == "agentops":
        _auth_url(remote)
        if remote.key is remote.key_env is remote.key_file is None:
            raise ConfigError(f"remote {remote.name!r} has no key: auth=agentops gets a token for one")


def _auth_url(remote: Remote) -> str:
    """Return where tokens are issued: as configured, else AgentOps' own address, else the host of the traces."""
    # Never the address of AgentOps for another host: a key must not be sent to a party that was not configured.
    configured = remote.options.get("auth_url")
    if configured is not None:
        return check_url(configured)
    parts = urlsplit(remote.url)
    return _AGENTOPS.get(parts.hostname or "", f"{parts.scheme}://{parts.netloc}")


def _gzip(data: bytes) -> bytes:
    """Return gzip without a timestamp, so that equal requests have equal bytes."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()
