"""Who may call, and what it may: `policies/access.yaml`. Absent, only loopback may, as the principal `local`."""

import hmac
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from scribe_router.policies.addresses import Forwarding, networks
from scribe_router.policies.schema import Shape
from scribe_router.principals import EVERYTHING, LOCAL, Grant, Principal

SHORTEST = 20
MASTER = Principal("master", "master", grant=EVERYTHING)
# Parts of keys that stand in manuals, and so in lists of those who guess.
WELL_KNOWN = (
    *("sk-1234", "changeme", "change-me", "change_me", "replace-me", "replace_me", "placeholder", "example"),
    *("password", "your-key", "your_key", "your-master-key", "your_master_key", "sk-master", "sk-scribe-"),
)
EXPLAIN = "x-scribe-explain"
Name = Literal[
    "enable_search",
    "fallback_enabled",
    "hide_thinking",
    "mcp_tools",
    "metadata.experiment_unit",
    "metadata.regions",
    "metadata.tags",
    "metadata.task",
    "metadata.zero_retention",
    "models",
    "optimize_for",
    "provider",
    "reasoning_effort",
    "thinking_budget",
    "user",
    "x-scribe-explain",
    "*",
]
# Vendors' own fields for the same wish: who may not say it in our words may not in theirs.
SPELLINGS: Mapping[str, str] = {
    **dict.fromkeys(("reasoning", "thinking", "enable_thinking", "think", "output_config"), "reasoning_effort"),
    "web_search_options": "enable_search",
}
_PLAIN = frozenset(
    "enable_search fallback_enabled hide_thinking mcp_tools models optimize_for provider reasoning_effort "
    "thinking_budget user".split()
)
_LABELS = ("experiment_unit", "regions", "tags", "task", "zero_retention")  # of metadata


class AccessPolicy(Shape):
    """Every route but health needs a key: the master key, which may all, or a virtual key, which may what it says.

    `master_key` comes from the environment, and so does `pepper`, with which virtual keys are hashed; without it the
    hash rests on the master key, and a new master key ends every virtual key. `fields` are those of our request fields
    that a virtual key may set that names none itself (`*` for all). With `user_from_request` the holder of the master
    key says in a request's `user` whom its money is charged to; without it that is `master`. With `admin_port` what is
    below `/admin` is there alone. A deployment without its provider's key is an error unless left out on purpose.

    Whoever is not in one of the networks `addresses` is refused, whatever its key; none of them means anywhere. Who a
    request comes from is the other end of its connection, and where that is one of `trusted_proxies` what it says in
    `forwarded_header`.
    """

    master_key: SecretStr
    pepper: SecretStr | None = None
    fields: tuple[Name, ...] = ("reasoning_effort",)
    user_from_request: bool = False
    admin_port: int | None = Field(default=None, ge=1, le=65535)
    addresses: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    forwarded_header: Forwarding = "x-forwarded-for"
    on_missing_key: Literal["error", "leave_out"] = "error"

    @field_validator("master_key", "pepper")
    @classmethod
    def _strong(cls, key: SecretStr | None) -> SecretStr | None:
        value = "" if key is None else key.get_secret_value()
        if key is not None and (len(value) < SHORTEST or any(each in value.lower() for each in WELL_KNOWN)):
            raise ValueError(f"too weak; give it at least {SHORTEST} random characters")
        return key

    @field_validator("addresses", "trusted_proxies")
    @classmethod
    def _networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        networks(addresses)
        return addresses

    def hash_key(self) -> bytes:
        """What virtual keys are hashed with."""
        secret = (self.pepper or self.master_key).get_secret_value().encode()
        return blake2b(secret, digest_size=32, person=b"virtual keys").digest()


def authenticate(policy: AccessPolicy | None, bearer: str | None, *, loopback: bool) -> Principal | None:
    """The principal of a caller who holds no virtual key, or None. Timing does not depend on the key."""
    if policy is None:
        return LOCAL if loopback else None
    if bearer is None:
        return None
    expected = policy.master_key.get_secret_value().encode()
    return MASTER if hmac.compare_digest(bearer.encode(), expected) else None


def administers(principal: Principal) -> bool:
    """Whether a principal may see what others did: the master key, and without `access.yaml` whoever is on loopback."""
    return principal.grant.administers


def may_explain(principal: Principal) -> bool:
    """Whether a principal may see how its own request was planned, by `x-scribe-explain: 1`: the plan names every
    deployment."""
    return may_set(principal.grant, EXPLAIN)


def may_use(models: Collection[str], *names: str) -> bool:
    """Whether one of the names of a model is among `models`, patterns with at most one `*`."""
    return "*" in models or any(_matches(pattern, name) for pattern in models for name in names)


def _matches(pattern: str, name: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return name == pattern
    return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)


def may_set(grant: Grant, field: str) -> bool:
    """Whether a principal may set one of our request fields."""
    return "*" in grant.fields or field in grant.fields


def not_allowed(grant: Grant, body: Mapping[str, Any]) -> str | None:
    """The first field of a request that its principal may not set; None where it may all that it sets."""
    if "*" in grant.fields:
        return None
    return next((field for field, of in _ours(body) if of not in grant.fields), None)


def _ours(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Our fields that a request sets, each with the name that allows it. What is null is not set."""
    for name, value in body.items():
        allowed_by = SPELLINGS.get(name, name)
        if value is not None and allowed_by in _PLAIN:
            yield name, allowed_by
    tools = body.get("tools")
    if isinstance(tools, list) and any(isinstance(each, Mapping) and each.get("type") == "mcp" for each in tools):
        yield "tools", "mcp_tools"
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping):
        yield from ((f"metadata.{each}",) * 2 for each in _LABELS if metadata.get(each) is not None)


def by_operator(principal: Principal) -> Principal:
    """The principal where the operator chose the name for it: of models anyone, with every other bound as before."""
    return replace(principal, grant=replace(principal.grant, models=EVERYTHING.models))
