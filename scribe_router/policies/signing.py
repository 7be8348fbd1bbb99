"""Signed requests: what is signed, and whether a signature is right and fresh. docs/signing.md has the scheme in words.

Pure over bytes and numbers; it knows neither where keys come from nor which nonces were seen before.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

SIGNATURE, TIMESTAMP, NONCE = "x-scribe-signature", "x-scribe-timestamp", "x-scribe-nonce"
SCHEME = "v1"
SKEW = 300  # seconds that the clocks of both sides may differ
_CLAIM = re.compile(r"v1:([A-Za-z0-9_.-]{1,128}):([0-9a-f]{64})", re.ASCII)
_TIMESTAMP = re.compile(r"(?:0|[1-9][0-9]{0,11})", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)


class BadSignature(ValueError):
    """Why a request is refused; safe to show."""


@dataclass(frozen=True, slots=True)
class Signable:
    """A request as it travels: `path` and `query` as they stand in its first line, without the question mark."""

    method: str
    path: bytes
    query: bytes
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers of a request say: which key signed, when (seconds since the epoch), and with which nonce."""

    key: str
    timestamp: int
    nonce: str
    signature: str

    @property
    def once(self) -> str:
        """What may come once: the nonce of this key."""
        return f"{self.key}:{self.nonce}"

    def until(self, skew: int = SKEW) -> float:
        """How long the nonce has to be remembered: the window, and as much for clocks of replicas that differ."""
        return float(self.timestamp + 2 * skew)


def claim(headers: Mapping[str, str]) -> Claim | None:
    """The claim of a request's headers (names in lower case); None where nothing is signed. Raises `BadSignature`."""
    found = {name: headers.get(name) for name in (SIGNATURE, TIMESTAMP, NONCE)}
    if not any(value is not None for value in found.values()):
        return None
    for name, value in found.items():
        if value is None:
            raise BadSignature(f"{name} is missing; a signed request has all three headers")
    signature, timestamp, nonce = (str(value) for value in found.values())
    parts = _CLAIM.fullmatch(signature)
    if parts is None:
        raise BadSignature(f"{SIGNATURE} is not {SCHEME}:KEY-ID:64 hexadecimal digits")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise BadSignature(f"{TIMESTAMP} is not a whole number of seconds since 1970")
    if not _NONCE.fullmatch(nonce):
        raise BadSignature(f"{NONCE} is not 16 to 64 letters, digits, - and _")
    return Claim(parts[1], int(timestamp), nonce, parts[2])


def verify(claimed: Claim, request: Signable, secret: bytes, now: float, skew: int = SKEW) -> None:
    """Raises `BadSignature` where the time is outside of the window, or the signature is another one.

    How long it takes tells nothing of the right signature. Whether the nonce is new is seen afterwards.
    """
    if not abs(now - claimed.timestamp) <= skew:
        raise BadSignature(f"{TIMESTAMP} is more than {skew} s from this clock; sign each request as it is sent")
    expected = signature(secret, claimed.key, claimed.timestamp, claimed.nonce, request)
    if not hmac.compare_digest(expected.encode(), claimed.signature.encode()):
        raise BadSignature("the signature does not fit the request")


def signed(secret: bytes, key: str, timestamp: int, nonce: str, request: Signable) -> dict[str, str]:
    """The headers that sign a request. Raises `ValueError` for a key's id or a nonce that no header can hold."""
    headers = {
        SIGNATURE: f"{SCHEME}:{key}:{signature(secret, key, timestamp, nonce, request)}",
        TIMESTAMP: str(timestamp),
        NONCE: nonce,
    }
    claim(headers)
    return headers


def signature(secret: bytes, key: str, timestamp: int, nonce: str, request: Signable) -> str:
    """HMAC-SHA256 over the canonical text, in hexadecimal digits."""
    text = canonical(key, timestamp, nonce, request)
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def canonical(key: str, timestamp: int, nonce: str, request: Signable) -> bytes:
    """What is signed. No part of it can hold the end of a line, so each text belongs to one request."""
    if not _METHOD.fullmatch(request.method):
        raise BadSignature("the method is not one of capital letters")
    parts = (
        f"scribe-hmac-sha256-{SCHEME}",
        key,
        str(timestamp),
        nonce,
        request.method,
        _path(request.path),
        _query(request.query),
        hashlib.sha256(request.body).hexdigest(),
    )
    return "\n".join(parts).encode()


def secret_of(pepper: bytes, key: str) -> str:
    """The secret that belongs to a key's id, for a server that keeps none: who knows `pepper` finds it again."""
    return hmac.new(pepper, b"scribe-router signing\n" + key.encode(), hashlib.sha256).hexdigest()


def _path(path: bytes) -> str:
    """Each segment with one spelling of its bytes; `%2F` stays apart from a slash. Dots and double slashes stay."""
    return "/".join(map(_spelled, path.split(b"/"))) or "/"


def _query(query: bytes) -> str:
    """The parts in the order in which they came, each with one spelling; `+` is a space there."""
    return "&".join("=".join(map(_spelled, part.replace(b"+", b"%20").split(b"=", 1))) for part in query.split(b"&"))


def _spelled(part: bytes) -> str:
    """Letters, digits and `-._~` as they are, every other byte as `%` and two capital hexadecimal digits."""
    return quote(unquote_to_bytes(part), safe="")
