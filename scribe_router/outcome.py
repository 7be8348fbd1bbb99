"""What a client is told when every attempt failed: failures in, one error out. Pure."""

from scribe_router.errors import (
    BudgetExceeded,
    ContentPolicyViolation,
    ContextLengthExceeded,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    RequestError,
    UpstreamAuthentication,
    UpstreamError,
    UpstreamRateLimited,
)
from scribe_router.exchange import AttemptFailed, Category


def error_for(failures: list[AttemptFailed], refusal: RequestError | None) -> RequestError:
    """The error of a request after `failures`, ended by `refusal` (ours) or by running out of candidates.

    After a provider's error a refusal of money does not replace it: it is named as the reason that nothing else was
    tried.
    """
    if not failures:
        return refusal or InternalError("no attempt was made")
    last = failures[-1]
    if isinstance(refusal, DeadlineExceeded):
        return DeadlineExceeded(f"the deadline passed after {_times(len(failures))}; the last failure: {last.detail}")
    error = _by_category(last, failures)
    if isinstance(refusal, BudgetExceeded):
        error.message = f"{error.message}; nothing else was tried: {refusal.message}"
        error.args = (error.message,)
    elif refusal is not None:
        return refusal
    return error


def _by_category(last: AttemptFailed, failures: list[AttemptFailed]) -> RequestError:
    tried = f"{last.detail}, after {_times(len(failures))}" if len(failures) > 1 else last.detail
    match last.category:
        case Category.BAD_REQUEST:
            return _provider_refused(last)
        case Category.CONTEXT_LENGTH:
            return ContextLengthExceeded(f"the request is too long for every candidate: {tried}", param="messages")
        case Category.CONTENT_POLICY:
            return ContentPolicyViolation(tried)
        case Category.RATE_LIMIT:
            waits = [failure.retry_after for failure in failures if failure.retry_after is not None]
            return UpstreamRateLimited(tried, retry_after=min(waits, default=None))
        case Category.AUTHENTICATION:
            return UpstreamAuthentication(tried)
        case Category.INTERNAL:
            return InternalError(tried)
        case _:
            return UpstreamError(tried, code=last.category.value)


def _provider_refused(failure: AttemptFailed) -> InvalidRequest:
    """The provider's own words on a bad request: it is about the client's own text, and the client has to mend it."""
    error = failure.error or {}
    said = error.get("message")
    param = error.get("param")
    message = f"{failure.detail}: {said}" if isinstance(said, str) else failure.detail
    return InvalidRequest(message[:2000], code="invalid_request", param=param if isinstance(param, str) else None)


def _times(count: int) -> str:
    return f"{count} attempt{'s' if count != 1 else ''}"
