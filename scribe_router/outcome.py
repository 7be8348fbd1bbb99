"""What a client is told when every attempt failed: failures in, one error out; and failures of our own making. Pure."""

import re
from collections.abc import Sequence

from scribe_router.errors import (
    BudgetExceeded,
    CircuitOpen,
    ContentPolicyViolation,
    ContextLengthExceeded,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    RateLimitExceeded,
    RequestError,
    UpstreamAuthentication,
    UpstreamError,
    UpstreamRateLimited,
)
from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.redaction import without_secrets

_ENDS = (Category.BAD_REQUEST, Category.CONTENT_POLICY, Category.INTERNAL)
# Refusals of ours that say no to one deployment.
_ELSEWHERE = (BudgetExceeded, RateLimitExceeded, CircuitOpen, UpstreamRateLimited)
_PASSES = (Category.SERVER, Category.NETWORK, Category.TIMEOUT, Category.STREAM)
LONGEST = 2000
# What looks like the rest of a key in a provider's own words, masked or cut.
_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|xai|key)[-_][\w*.-]{8,}|\bAIza[\w-]{8,}|\bBearer\s+\S+|(?<=key=)[^\s&\"']+", re.I)


def error_for(failures: list[AttemptFailed], refusal: RequestError | None) -> RequestError:
    """The error of a request after `failures`, ended by `refusal` (ours) or by running out of candidates.

    After a provider's error a refusal of money or rate, or of a deployment that is left alone, does not replace it: it
    is named as the reason that nothing else was tried.
    """
    if not failures:
        return refusal or InternalError("no attempt was made")
    if isinstance(refusal, DeadlineExceeded):
        tries = _times(len(failures))
        return DeadlineExceeded(f"the deadline passed after {tries}; the last failure: {failures[-1].detail}")
    if refusal is not None and not isinstance(refusal, _ELSEWHERE):
        return refusal
    error = _by_category(_telling(failures), failures)
    if refusal is not None:
        error.message = f"{error.message}; nothing else was tried: {refusal.message}"
        error.args = (error.message,)
    return error


def refused(refusals: Sequence[RequestError]) -> RequestError | None:
    """Of our own refusals, one for each candidate, the one that a client is told: one that passes with time before one
    of money, where room comes soonest, else the first."""
    return min(refusals, key=lambda each: (isinstance(each, BudgetExceeded), each.retry_after or 0.0), default=None)


def limited(told: RequestError) -> AttemptFailed | None:
    """A rate limit that another request was told of, as what would have become of this one; None for what is none."""
    if not isinstance(told, UpstreamRateLimited):
        return None
    return AttemptFailed(Category.RATE_LIMIT, Reached.NOT_CONNECTED, told.message, retry_after=told.retry_after)


def too_late(first: float | None, left: float, whole: float) -> AttemptFailed:
    """An attempt that its first-token clock ended, or the deadline: with less than half of the usual one `left`, that
    tells nothing of the deployment. All in seconds."""
    if first is not None and first < left:
        return AttemptFailed(Category.TIMEOUT, Reached.LOST, f"the provider did not begin to answer within {first:g} s")
    detail = "the deadline passed before the provider answered"
    return AttemptFailed(Category.TIMEOUT, Reached.LOST, detail, blameless=left < whole / 2)


def fault(reached: Reached) -> AttemptFailed:
    """A fault of ours."""
    return AttemptFailed(Category.INTERNAL, reached, "a fault of the router")


def _telling(failures: list[AttemptFailed]) -> AttemptFailed:
    """The failure that a client is told: the last one, unless another says that a later try may succeed.

    That is what passes with time; a rate limit only where nothing else of the kind happened.
    """
    last = failures[-1]
    if last.category in _ENDS:
        return last
    passing = [each for each in failures if each.category in _PASSES]
    limited = [each for each in failures if each.category is Category.RATE_LIMIT]
    return (passing or limited or [last])[-1]


def _by_category(told: AttemptFailed, failures: list[AttemptFailed]) -> RequestError:
    tried = f"{told.detail}, after {_times(len(failures))}" if len(failures) > 1 else told.detail
    match told.category:
        case Category.BAD_REQUEST:
            return _provider_refused(told)
        case Category.CONTEXT_LENGTH:
            return ContextLengthExceeded(f"the request is too long for every candidate: {tried}", param="messages")
        case Category.CONTENT_POLICY:
            return ContentPolicyViolation(tried)
        case Category.RATE_LIMIT:
            waits = [each.retry_after for each in failures if each.retry_after is not None]
            return UpstreamRateLimited(tried, retry_after=min(waits, default=None))
        case Category.AUTHENTICATION:
            return UpstreamAuthentication(tried)
        case Category.INTERNAL:
            return InternalError(tried)
        case _:
            return UpstreamError(tried, code=told.category.value)


def _provider_refused(failure: AttemptFailed) -> InvalidRequest:
    """The provider's own words on a bad request: it is about the client's own text, and the client has to mend it."""
    error = failure.error or {}
    said, param = error.get("message"), error.get("param")
    message = (
        f"{failure.detail}: {without_secrets(_KEY.sub('(a key)', said))}" if isinstance(said, str) else failure.detail
    )
    return InvalidRequest(message[:LONGEST], code="invalid_request", param=param if isinstance(param, str) else None)


def _times(count: int) -> str:
    return f"{count} attempt{'s' if count != 1 else ''}"
