"""A virtual key: what is kept of it, how it is made, and whether it opens. Of its secret only a keyed hash is kept.

`sk-scribe-<id>-<secret>`: the id is public, and its last six letters show that we made it, so that no store is asked
for one that cannot be; the secret has 256 bits. Randomness and the time are arguments.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from scribe_router.policies.addresses import networks
from scribe_router.policies.schema import Retention, Shape, days
from scribe_router.policies.signing import secret_of
from scribe_router.principals import Grant, Principal

PREFIX = "sk-scribe-"
RANDOM = 6 + 32  # bytes that a new key takes, and 32 that a new secret does
LONGEST = 256
RESERVED = ("master", "local", "litellm")
_KEY = re.compile(rf"{PREFIX}([0-9a-f]{{18}})-([A-Za-z0-9_-]{{43}})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIDY = re.compile(r"[^\s*]*\*?[^\s*]*")


class Spec(Shape):
    """What somebody asks of a new key, and what is kept of it.

    `name` is what ledger, limits and audit log call it, for good. `user` and `team` are who its money is charged to;
    without a `user` that is the key's own name. `models` are patterns of models, groups and aliases. `fields` are those
    of our request fields that it may set; without them those of `access.yaml`. `regions` are where it may be served,
    `addresses` the networks that it must call from; none of them means anywhere. `retention` is how long what serves it
    may keep what it is sent (`zero`, or days), and with `hipaa` only covered places serve it. `limits` are those of
    budgets.yaml and limits.yaml that are `named` and are to hold for it. `signed: required` takes signed requests only.
    `expires` is in seconds since the epoch.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    user: str = ""
    team: str = ""
    models: tuple[str, ...] = Field(min_length=1)
    fields: tuple[str, ...] | None = None
    tools: tuple[str, ...] = ()
    mcp_groups: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    retention: Retention | None = None
    hipaa: bool = False
    limits: tuple[str, ...] = ()
    signed: Literal["required", "no"] = "no"
    expires: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"{name} is a name of the router's own; choose another")
        return name

    @field_validator("user", "team")
    @classmethod
    def _plain(cls, name: str) -> str:
        if len(name) > LONGEST or _CONTROL.search(name):
            raise ValueError(f"at most {LONGEST} letters, without control characters")
        return name

    @field_validator("models", "tools", "mcp_groups", "regions", "limits")
    @classmethod
    def _patterns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name or len(name) > LONGEST or not _TIDY.fullmatch(name) or _CONTROL.search(name):
                raise ValueError("each is a name, with at most one * and without spaces")
        return names

    @field_validator("addresses")
    @classmethod
    def _networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        networks(addresses)
        return addresses

    def described(self) -> dict[str, Any]:
        """What may be shown of it."""
        return self.model_dump(mode="json", exclude={"secrets"})


class Secret(Shape):
    """The keyed hash of one secret, which opens `until` some time (None: as long as the key)."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    until: float | None = None


class VirtualKey(Spec):
    """A key as the store keeps it. Times are seconds since the epoch."""

    id: str
    created: float
    revoked: float | None = None
    secrets: tuple[Secret, ...] = Field(repr=False)

    @model_validator(mode="after")
    def _opens(self) -> "VirtualKey":
        if not self.secrets:
            raise ValueError("a key has a secret")
        return self


@dataclass(frozen=True, slots=True)
class Lock:
    """What a key is compared with, and whom it lets in. An end that never comes is infinity."""

    digests: tuple[tuple[bytes, float], ...]
    expires: float
    revoked: bool
    principal: Principal


def parsed(bearer: str) -> tuple[str, str] | None:
    """The id and the secret of what looks like a virtual key; None for anything else."""
    found = _KEY.fullmatch(bearer)
    return (found[1], found[2]) if found else None


def genuine(identity: str, hash_key: bytes) -> bool:
    """Whether we made this id."""
    return hmac.compare_digest(_ending(identity[:12], hash_key), identity[12:])


def digest(identity: str, secret: str, hash_key: bytes) -> bytes:
    """What is kept of a secret."""
    return blake2b(f"{identity}-{secret}".encode(), digest_size=32, key=hash_key, person=b"secret").digest()


def made(spec: Spec, randomness: bytes, hash_key: bytes, now: float) -> tuple[str, VirtualKey]:
    """A new key, which is told once, and what is kept of it. `randomness` are `RANDOM` bytes."""
    begin = randomness[:6].hex()
    identity = begin + _ending(begin, hash_key)
    secret = _text(randomness[6:])
    kept = Secret(digest=digest(identity, secret, hash_key).hex())
    return _told(identity, secret), VirtualKey(**spec.model_dump(), id=identity, created=now, secrets=(kept,))


def rotated(key: VirtualKey, randomness: bytes, hash_key: bytes, now: float, grace: float) -> tuple[str, VirtualKey]:
    """The key with a new secret; the one before opens for `grace` seconds more, and any older one no longer."""
    secret = _text(randomness[:32])
    newest = Secret(digest=digest(key.id, secret, hash_key).hex())
    old = (key.secrets[0].model_copy(update={"until": now + grace}),) if grace > 0 else ()
    return _told(key.id, secret), key.model_copy(update={"secrets": (newest, *old)})


def lock(key: VirtualKey, fields: Iterable[str]) -> Lock:
    """What the key is checked against; `fields` are those of a key that names none."""
    grant = Grant(
        models=key.models,
        fields=tuple(fields) if key.fields is None else key.fields,
        tools=key.tools,
        mcp_groups=key.mcp_groups,
        regions=key.regions,
        addresses=key.addresses,
        limits=key.limits,
        signed=key.signed == "required",
        retention=days(key.retention),
        hipaa=key.hipaa,
    )
    digests = tuple((bytes.fromhex(each.digest), inf if each.until is None else each.until) for each in key.secrets)
    principal = Principal(key.name, key.user or key.name, key.team, _shared(grant))
    return Lock(digests, inf if key.expires is None else key.expires, key.revoked is not None, principal)


def refusal(lock: Lock, shown: bytes, now: float) -> str | None:
    """Why a digest does not open; None where it does. Only who has the secret is told more than that it is wrong."""
    right = [hmac.compare_digest(kept, shown) and now < until for kept, until in lock.digests]
    if True not in right:
        return "is wrong"
    return over(lock, now)


def over(lock: Lock, now: float) -> str | None:
    """Why a key opens nothing any more, whoever shows it; None where it does."""
    if lock.revoked:
        return "was revoked"
    return "has expired" if now >= lock.expires else None


def signing_secret(identity: str, digest: bytes, hash_key: bytes) -> str:
    """With what the holder of a secret signs: it follows from what is kept of that, so it ends with it, and nothing
    more is kept."""
    return secret_of(hash_key, f"{identity}-{digest.hex()}")


def signing_secrets(identity: str, lock: Lock, hash_key: bytes, now: float) -> tuple[bytes, ...]:
    """With what a key may be signed for now: one, or two while it is rotated."""
    return tuple(signing_secret(identity, kept, hash_key).encode() for kept, until in lock.digests if now < until)


@lru_cache(maxsize=4096)
def _shared(grant: Grant) -> Grant:
    """Keys that may the same share one grant: a hundred thousand of them are remembered."""
    return grant


def _ending(begin: str, hash_key: bytes) -> str:
    return blake2b(begin.encode(), digest_size=3, key=hash_key, person=b"id").hexdigest()


def _text(secret: bytes) -> str:
    return urlsafe_b64encode(secret).decode().rstrip("=")


def _told(identity: str, secret: str) -> str:
    return f"{PREFIX}{identity}-{secret}"
