"""Everything that scribe_router raises at its callers, in Python and over HTTP.

    ScribeError
    ├── ConfigError                 the YAML cannot be used; carries every problem
    └── RequestError                has an HTTP status, an OpenAI error type and a code
        ├── InvalidRequest          400  (413 for a body that is too large)
        │   ├── ContextLengthExceeded
        │   └── ContentPolicyViolation
        ├── AuthenticationError     401
        ├── PermissionDenied        403
        ├── ModelNotFound           404
        ├── OutcomeNotFound         404
        ├── DeadlineExceeded        504
        ├── RateLimitExceeded       429  the caller's own limit
        ├── BudgetExceeded          429  money
        ├── UpstreamRateLimited     429  the provider's limit, at every candidate
        ├── UpstreamError           502
        │   └── UpstreamAuthentication
        ├── Unavailable             503
        │   └── CircuitOpen
        ├── StreamError             an event, after the first content was sent
        └── InternalError           500

The message of a RequestError is safe to show to a client: it never holds a key, a prompt, a
provider's raw text or LiteLLM's configuration hints.
"""

from math import ceil, inf
from typing import Any, ClassVar


class ScribeError(Exception):
    """The root of the tree."""


class ConfigError(ScribeError):
    """The configuration cannot be used. `problems` holds one line for each mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(ScribeError):
    """A request that did not succeed. Class attributes say how it looks over HTTP.

    `retry` is what a client is told: "yes", "no" (`x-should-retry: false`) or "after" (`retry-after`, seconds).
    """

    status: int = 500
    type: ClassVar[str] = "server_error"
    code: str = "internal"
    retry: ClassVar[str] = "no"
    exchange: Any = None  # the exchange that ended with this error, once there is one

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.code = code or type(self).code
        self.status = status or type(self).status

    def to_openai(self) -> dict[str, Any]:
        """The body of the answer in OpenAI's error shape."""
        return {"error": {"message": self.message, "type": self.type, "code": self.code, "param": self.param}}

    def headers(self) -> dict[str, str]:
        """The headers that tell a client whether to try again."""
        if self.retry == "after" and self.retry_after != inf:
            return {"retry-after": str(ceil(max(1.0, self.retry_after or 1.0)))}
        return {} if self.retry == "yes" else {"x-should-retry": "false"}


class InvalidRequest(RequestError):
    """The request is wrong; `code` and `param` name the field."""

    status, type, code = 400, "invalid_request_error", "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    """The request is too long for every candidate."""

    code = "context_length_exceeded"


class ContentPolicyViolation(InvalidRequest):
    """The provider refused the content."""

    code = "content_filter"


class AuthenticationError(RequestError):
    """No key, a wrong key, or a bad signature."""

    status, type, code = 401, "authentication_error", "invalid_api_key"


class PermissionDenied(RequestError):
    """The principal may not do this; `code` is the reason."""

    status, type, code = 403, "permission_error", "permission_denied"


class ModelNotFound(RequestError):
    """No model, group or alias has this name."""

    status, type, code = 404, "invalid_request_error", "model_not_found"


class OutcomeNotFound(RequestError):
    """The ledger has no request of this id that an outcome could be reported of."""

    status, type, code = 404, "invalid_request_error", "request_not_found"


class DeadlineExceeded(RequestError):
    """The deadline of the request passed before an answer came."""

    status, type, code, retry = 504, "timeout_error", "deadline_exceeded", "yes"


class RateLimitExceeded(RequestError):
    """A limit of rate is reached, the caller's or that of every place; `retry_after` is in seconds, infinite for a
    request that is larger than the limit."""

    status, type, code, retry = 429, "rate_limit_error", "rate_limit_exceeded", "after"


class BudgetExceeded(RequestError):
    """A limit of money has too little left. `limit` is its id; `elsewhere` says that another deployment may have room,
    since the limit, or what is wrong, belongs to this one."""

    status, type, code = 429, "insufficient_quota", "budget_exceeded"

    def __init__(self, message: str, *, limit: str, param: str | None = None, elsewhere: bool = False) -> None:
        super().__init__(message, param=param)
        self.limit, self.elsewhere = limit, elsewhere


class UpstreamRateLimited(RequestError):
    """The provider answered 429, at every candidate; `retry_after` is in seconds."""

    status, type, code, retry = 429, "rate_limit_error", "upstream_rate_limited", "after"


class UpstreamError(RequestError):
    """The provider failed, at every candidate; `code` is the category of the last failure."""

    status, type, code, retry = 502, "upstream_error", "upstream_failed", "yes"


class UpstreamAuthentication(UpstreamError):
    """The provider refuses the key that the deployment is configured with."""

    code, retry = "upstream_authentication", "no"


class Unavailable(RequestError):
    """Nothing can serve this now: every circuit is open, or the store is away."""

    status, type, code, retry = 503, "server_error", "store_unavailable", "after"


class CircuitOpen(Unavailable):
    """Every deployment that could serve this has failed too often of late; `retry_after` is in seconds."""

    type, code = "upstream_error", "circuit_open"


class StreamError(RequestError):
    """The stream broke after its first content; what was sent stands, the answer is incomplete."""

    status, type, code = 502, "upstream_error", "stream_interrupted"


class InternalError(RequestError):
    """A fault of ours."""

    status, type, code, retry = 500, "server_error", "internal", "yes"


LLMRateLimitError = RateLimitExceeded
LLMAuthenticationError = AuthenticationError
LLMTokenLimitError = ContextLengthExceeded
LLMInvalidRequestError = InvalidRequest
LLMTimeoutError = DeadlineExceeded
LLMModelNotFoundError = ModelNotFound
LLMContentPolicyError = ContentPolicyViolation
LLMProviderError = UpstreamError
LLMStreamError = StreamError
LLMCostLimitError = BudgetExceeded
