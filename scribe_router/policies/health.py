"""Whether keys are tried at the start, and hosts asked in between: `policies/health.yaml`.

What is asked is a list of models. It tells whether the host is there and takes the key, and nothing of its models.
"""

from typing import Literal

from pydantic import Field

from scribe_router.exchange import AttemptFailed, Category
from scribe_router.policies.schema import Shape

Verdict = Literal["right", "wrong", "unknown"]
_REFUSALS = (400, 401, 403)  # Gemini refuses a wrong key with 400
_TOLD = frozenset({Category.NETWORK, Category.TIMEOUT, Category.AUTHENTICATION})


class Probes(Shape):
    """Every `every_seconds` the hosts are asked of the deployments whose circuit's pause is over (`open`), or of those
    in use as well (`all`)."""

    every_seconds: float = Field(default=30, ge=1)
    which: Literal["open", "all"] = "open"

    def due(self, circuit: str, opened_by: Category | None) -> bool:
        """Whether a deployment is asked about: `circuit` is closed, open or half_open, `opened_by` its last failure."""
        if circuit == "closed":
            return self.which == "all"
        return circuit == "half_open" and opened_by in _TOLD


class HealthPolicy(Shape):
    """`verify` tries each key at the start of `serve`: `warn` logs what is not right, `fail` does not start with a
    wrong one. An answer has to come within `seconds`, and `at_once` of them are waited for together; nobody is asked
    later than that. `probes` ask in between."""

    verify: Literal["off", "warn", "fail"] = "off"
    seconds: float = Field(default=10, gt=0, le=300)
    at_once: int = Field(default=8, ge=1, le=100)
    probes: Probes | None = None


def verdict(failure: AttemptFailed | None, *, public: bool = False) -> Verdict:
    """What the end of a request for a list of models says of the key; nothing where the list is for everybody."""
    if failure is None:
        return "unknown" if public else "right"
    return "wrong" if failure.category is Category.AUTHENTICATION and failure.status in _REFUSALS else "unknown"


def told(failure: AttemptFailed | None, opened_by: Category | None) -> bool:
    """Whether the end of such a request says anything of a circuit whose last failure was `opened_by`."""
    return (failure.category if failure is not None else opened_by) in _TOLD
