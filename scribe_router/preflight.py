"""Whether a request fits a model: its length in the model's window, and what it needs that the model may lack. Pure.

What is not known excludes nobody: not a window, not an ability, not a length that nobody has counted yet.
"""

from dataclasses import dataclass
from math import ceil

from scribe_router.deployment import Deployment
from scribe_router.facts import Facts
from scribe_router.policies.tokens import Encoding, estimate, surely_fits

# An ability, as LiteLLM's map names it -> what a request that needs it has.
NEEDS = {"vision": "images", "tools": "tools", "json_schema": "a JSON schema", "audio": "audio"}


@dataclass(frozen=True, slots=True)
class Fit:
    """How a request stands to a window: `too_long` says why it does not fit. Where that takes a tokenizer, `encoding`
    is the one to ask, and with more than `enough` of its tokens the request does not fit."""

    too_long: str = ""
    encoding: Encoding | None = None
    enough: int = 0


FITS = Fit()


def fit(deployment: Deployment, request: Facts) -> Fit:
    """How a request stands to a deployment's window."""
    window, family = deployment.window, deployment.tokens
    if window is None:
        return FITS
    cap = _cap(deployment, request)
    room = window - cap
    if surely_fits(request.size, family, room):
        return FITS
    needs = estimate(request.size, family)
    if needs is None:
        return Fit(encoding=family.encoding, enough=ceil(max(0, room) / min(family.least, family.least_wide)))
    if needs.least <= room:
        return FITS
    left = f"window {window:,}" if not cap else f"{room:,} = window {window:,} - output cap {cap:,}"
    beside = request.size.with_it()
    return Fit(f"needs {needs} > {left}, counted by {needs.by}{f', with {beside}' if beside else ''}")


def unmet(deployment: Deployment, request: Facts) -> tuple[str, str] | None:
    """What a request needs and a model is known to lack: (the ability, why)."""
    if deployment.lacks.isdisjoint(request.needs):
        return None
    ability = next(each for each in request.needs if each in deployment.lacks)
    return ability, f"the request has {NEEDS[ability]}, and {deployment.upstream_model} takes none"


def _cap(deployment: Deployment, request: Facts) -> int:
    """The output cap that is written upstream, where it takes room in the window."""
    if not deployment.cap_in_window or request.api == "embeddings":
        return 0
    written = (deployment.params.get(name) for name in ("max_completion_tokens", "max_tokens"))
    return next(filter(None, (request.cap, *written)), deployment.default_output_cap)
