"""What goes wrong, in no provider's words. Each wire has its own shape and its own words for a `Reason`."""

from dataclasses import dataclass
from typing import Final, Literal

Reason = Literal[
    "request", "authentication", "permission", "missing", "timeout", "size", "rate", "context", "content",
    "overloaded", "server",
]  # fmt: skip

REASONS: Final[dict[int, Reason]] = {
    401: "authentication",
    403: "permission",
    404: "missing",
    408: "timeout",
    413: "size",
    429: "rate",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


@dataclass(frozen=True)
class Fault:
    """An error to report. `message` replaces the words that the provider would use; `retry_after` is in seconds."""

    status: int
    reason: Reason
    message: str | None = None
    retry_after: int | None = None


class Refused(Exception):
    """Ends an exchange with an error of the provider's kind."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def of_status(status: int, retry_after: int | None = None, reason: Reason | None = None) -> Fault:
    """The typical fault behind a status; 429 asks for one second of patience unless told otherwise."""
    if retry_after is None and status == 429:
        retry_after = 1
    return Fault(status, reason or REASONS.get(status, "request" if status < 500 else "server"), None, retry_after)


def invalid(message: str) -> Refused:
    """A request that the provider cannot read."""
    return Refused(Fault(400, "request", message))
