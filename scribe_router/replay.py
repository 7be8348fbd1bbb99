"""A signed request is let through once. Knows the order of the steps: signature, time, then the nonce."""

from collections.abc import Iterable

from scribe_router.errors import AuthenticationError, Unavailable
from scribe_router.policies.signing import SKEW, BadSignature, Claim, Signable, verify
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.nonces import Nonces

CODE = "invalid_signature"


async def demand(
    claimed: Claim, request: Signable, secrets: Iterable[bytes], nonces: Nonces, now: float, skew: int = SKEW
) -> None:
    """Raises `AuthenticationError` for a signature that is by none of the secrets, too old or too new, or that was here
    before; `Unavailable` where nobody can tell whether it was."""
    if unfit := _unfit(claimed, request, secrets, now, skew):
        raise AuthenticationError(unfit, code=CODE)
    try:
        first = await nonces.remember(claimed.once, claimed.until(skew))
    except StoreUnavailable as problem:
        raise Unavailable(f"whether this request is new cannot be told: {problem}", retry_after=1.0) from problem
    if not first:
        raise AuthenticationError("a request with this nonce was here before; sign each one anew", code=CODE)


def _unfit(claimed: Claim, request: Signable, secrets: Iterable[bytes], now: float, skew: int) -> str:
    """Why a signature is by none of the secrets; empty where it is."""
    problem = "the key has no secret that signs"
    for secret in secrets:
        try:
            verify(claimed, request, secret, now, skew)
        except BadSignature as error:
            problem = str(error)
        else:
            return ""
    return problem
