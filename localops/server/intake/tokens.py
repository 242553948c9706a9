"""Tokens that AgentOps clients get for a key: JSON Web Tokens (HS256) that the hub signs and does not store.

A token is signed with a secret derived from the digest of its key, so it is invalid once the key is revoked, and on
any other hub.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localops.server.keys import Key, Keys

# Seconds for which a token is valid, as at AgentOps: one for a session, and one for a project.
SESSION_LIFE, PROJECT_LIFE = 86_400, 30 * 86_400
_LONGEST = 4_096
_HEAD = {"alg": "HS256", "typ": "JWT"}
_KEY = "key"  # the claim that names the key: by its handle, as its digest is secret


@dataclass(frozen=True)
class Token:
    """A token with a correct signature and a valid key."""

    key: Key
    claims: Mapping[str, Any]
    is_expired: bool

    @property
    def session(self) -> bytes | None:
        """Return the session that the token is for; None for one of a project."""
        return self._id("session_id")

    @property
    def participant(self) -> bytes | None:
        """Return the process of the session that got the token."""
        return self._id("participant")

    def _id(self, name: str) -> bytes | None:
        text = self.claims.get(name)
        return bytes.fromhex(text.replace("-", "")) if isinstance(text, str) else None


def issue(key: Key, now: float, life: int, **claims: object) -> str:
    """Return a token with these claims for a key."""
    payload = {**claims, _KEY: key.handle, "exp": int(now) + life}
    signed = f"{_packed(encode.dumps(_HEAD))}.{_packed(encode.dumps(payload))}"
    return f"{signed}.{_packed(_signature(key, signed))}"


def looks_like(text: str) -> bool:
    """Return whether a text has the form of a token, which no key has."""
    return text.count(".") == 2


def read(keys: Keys, text: str, now: float) -> Token | None:
    """Return a token, expired or not; None if its signature is wrong, or its key is unknown or no longer valid."""
    signed, _, signature = text.rpartition(".")
    claims = _claims(signed)
    if claims is None or len(text) > _LONGEST:
        return None
    for key in keys.all():
        if key.handle == claims[_KEY] and hmac.compare_digest(_packed(_signature(key, signed)), signature):
            return Token(key, claims, now >= claims["exp"]) if key.state == "good" else None
    return None


def _claims(signed: str) -> dict[str, Any] | None:
    try:
        claims = encode.loads(urlsafe_b64decode(signed.partition(".")[2] + "=="))
    except ValueError:  # no base64, or no JSON
        return None
    is_ours = isinstance(claims, dict) and isinstance(claims.get(_KEY), str) and isinstance(claims.get("exp"), int)
    return claims if is_ours else None


def _signature(key: Key, signed: str) -> bytes:
    secret = hmac.digest(bytes.fromhex(key.sha256), b"localops token for AgentOps clients", "sha256")
    return hmac.digest(secret, signed.encode("utf-8", "replace"), "sha256")


def _packed(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
