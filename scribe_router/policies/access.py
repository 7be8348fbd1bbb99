"""Who may call: `policies/access.yaml`. Absent, only loopback may, as the principal `local`."""

import hmac
from typing import Literal

from pydantic import SecretStr, field_validator

from scribe_router.exchange import LOCAL, Principal
from scribe_router.policies.schema import Shape

SHORTEST = 20
MASTER = Principal("master", "master")
WELL_KNOWN = frozenset({"sk-1234", "changeme", "secret", "password", "sk-master", "sk-scribe-master"})


class AccessPolicy(Shape):
    """`master_key` comes from the environment; a deployment without its key is an error unless left out on purpose.

    With `user_from_request` the holder of the key says in a request's `user` whom its money is charged to: for an
    application in front of many people. Without it all that the key asks for is charged to one user, `master`.
    """

    master_key: SecretStr
    user_from_request: bool = False
    on_missing_key: Literal["error", "leave_out"] = "error"

    @field_validator("master_key")
    @classmethod
    def _strong(cls, key: SecretStr) -> SecretStr:
        value = key.get_secret_value()
        if len(value) < SHORTEST or value.lower() in WELL_KNOWN:
            raise ValueError(f"too weak; give it at least {SHORTEST} random characters")
        return key


def authenticate(policy: AccessPolicy | None, bearer: str | None, *, loopback: bool) -> Principal | None:
    """The principal of a caller, or None when it has to be refused. Timing does not depend on the key."""
    if policy is None:
        return LOCAL if loopback else None
    if bearer is None:
        return None
    expected = policy.master_key.get_secret_value().encode()
    return MASTER if hmac.compare_digest(bearer.encode(), expected) else None


def administers(principal: Principal) -> bool:
    """Whether a principal may see what others did: the master key, and without `access.yaml` whoever is on loopback."""
    return principal in (LOCAL, MASTER)


def may_explain(principal: Principal) -> bool:
    """Whether a principal may see how its own request was planned, by `x-scribe-explain: 1`: the plan names every
    deployment."""
    return administers(principal)
