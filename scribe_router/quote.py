"""What one shaped request can cost, and how far its output may shrink. Knows prices and the shaped body; never the
ledger, nor how much of a limit is left."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import nan
from typing import Any

from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.policies.budgets import BudgetsPolicy, Limit, clamps
from scribe_router.policies.parameters import unlisted
from scribe_router.policies.prices import Price, affordable_cap, bound, fee, surcharged, with_images
from scribe_router.policies.surcharges import Asked, asked
from scribe_router.upstream.shape import Shaped, input_ceiling

_IMAGES = ("image_url", "input_image", "image")
SEARCHING_MODELS = ("gpt-*-search-api*", "gpt-*-search-preview*")


@dataclass(frozen=True, slots=True)
class Quote:
    """Tokens that bound a request: `ceiling` in, `choices` answers of a cap and `outside` (thinking that the provider
    does not count towards the cap). `least` is the smallest output cap that clamping may leave. `price` holds for the
    `terms` (service tier, place, speed) that were asked for, `fees` are nano-dollars for web searches."""

    price: Price | None
    ceiling: int
    choices: int
    least: int
    outside: int = 0
    fees: int = 0
    terms: Mapping[str, str] = field(default_factory=dict)

    def bound(self, cap: int) -> int:
        """Nano-dollars; zero without a price, since then no limit applies."""
        return bound(self.price, self.ceiling, cap + self.outside, self.choices) + self.fees if self.price else 0

    def affordable(self, cap: int, granted: int) -> int:
        """The largest cap, up to `cap`, that `granted` pays for."""
        if self.price is None or granted >= self.bound(cap):
            return cap
        fits = affordable_cap(self.price, self.ceiling, granted - self.fees, self.choices)
        return cap if fits is None else min(cap, fits - self.outside)

    @property
    def input_bound(self) -> int:
        """The most that the input and the fees can cost, in nano-dollars."""
        return bound(self.price, self.ceiling, 0) + self.fees if self.price else 0

    def streamed(self, tokens: int) -> int:
        """The most that the input, the fees and so much output can cost, in nano-dollars."""
        return bound(self.price, self.ceiling, tokens) + self.fees if self.price else 0


def quoted(shaped: Shaped, limits: tuple[Limit, ...], policy: BudgetsPolicy) -> Quote:
    """The quote of a request whose output cap is written, under `limits`.

    Raises `BudgetExceeded` or `InvalidRequest` where a limit that can refuse applies, and nothing bounds the cost.
    """
    price, extra = shaped.deployment.price, _asked(shaped)
    least = _least(shaped, policy) if clamps(limits) else shaped.cap or 0
    ceiling = _ceiling(shaped, extra.searches, least)
    enforced = [limit for limit in limits if limit.enforced]
    if enforced:
        _check_parameters(shaped, extra.unbounded, enforced)
        _check_bounded(shaped, ceiling, enforced[0].id)
    return Quote(
        price=price and surcharged(price, extra.terms.values()),
        # Without a limit the size of what is there will do: it only stands in for usage that never comes.
        ceiling=len(shaped.encoded()) if ceiling is None else ceiling,
        choices=shaped.choices,
        least=least,
        outside=_thinking_outside(shaped),
        fees=fee(price, max(extra.searches, _always_searches(shaped))) if price else 0,
        terms=extra.terms,
    )


def for_request(shaped: Shaped, limits: tuple[Limit, ...]) -> Shaped:
    """The request with the price that holds for it: of the dearest model that may serve it, with its images. Where a
    limit can refuse, the provider is told to serve at no higher one, if it listens."""
    deployment = shaped.deployment
    if shaped.body.get("models"):
        deployment = deployment.among(shaped.body["models"]) or deployment
    if deployment.price is not None:
        price = with_images(deployment.price, _images(shaped.body.get("messages")))
        deployment = deployment if price is deployment.price else replace(deployment, price=price)
    shaped = shaped if deployment is shaped.deployment else replace(shaped, deployment=deployment)
    told = deployment.price_ceiling and shaped.api != "embeddings" and any(limit.enforced for limit in limits)
    if not told or deployment.price is None:
        return shaped
    return replace(shaped, body={**shaped.body, "provider": _ceiled(shaped.body.get("provider"), deployment.price)})


def _ceiled(wanted: Any, price: Price) -> dict[str, Any]:
    """A client's provider preferences with the highest price of a host, in USD per million tokens."""
    said = wanted if isinstance(wanted, Mapping) else {}
    theirs = said["max_price"] if isinstance(said.get("max_price"), Mapping) else {}
    ours = {
        "prompt": max(rates.input for _, rates in price.tiers) / 1_000_000,
        "completion": max(rates.output for _, rates in price.tiers) / 1_000_000,
    }
    lower = {name: theirs[name] for name in ours if 0 <= _number(theirs.get(name)) < ours[name]}
    return {**said, "max_price": {**theirs, **ours, **lower}}


def _number(value: Any) -> float:
    """A price as OpenRouter reads it, number or text; not a number for anything else."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else nan
    except (ValueError, OverflowError):
        return nan


def _images(messages: Any) -> int:
    parts = (part for message in messages or () for part in _parts(message))
    return sum(isinstance(part, Mapping) and part.get("type") in _IMAGES for part in parts)


def _parts(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, list) else []


def _asked(shaped: Shaped) -> Asked:
    """What the request asks for beyond the listed rates. Only Anthropic's own search can be bounded by the request."""
    price = shaped.deployment.price
    searchable = price is not None and price.search > 0 and shaped.deployment.wire == "anthropic"
    models = "models" in shaped.body and shaped.deployment.among(shaped.body["models"]) is not None
    return asked(shaped.body, price.terms if price else (), searchable=searchable, models=models)


def _always_searches(shaped: Shaped) -> int:
    """One for those of OpenAI's models that search with every answer."""
    return int(any(fnmatchcase(shaped.deployment.upstream_model, pattern) for pattern in SEARCHING_MODELS))


def _ceiling(shaped: Shaped, searches: int, least: int) -> int | None:
    """The most input tokens. What a search finds is read as input, up to the window, again after each search."""
    if not searches:
        return _written(shaped, least)
    window = shaped.deployment.window
    return None if window is None else window * (1 + searches)


def _written(shaped: Shaped, least: int) -> int | None:
    """The most input tokens of the body with any cap down to `least`. It may grow as its cap shrinks: a model that has
    no room left to think takes what it refuses while it does."""
    ceiling, cap = input_ceiling(shaped), shaped.cap or 0
    if ceiling is None or least >= cap or shaped.effort is None:
        return ceiling
    smallest = input_ceiling(shaped.with_cap(least)) or 0
    return max(ceiling, smallest + len(str(cap)) - len(str(least)))


def _check_parameters(shaped: Shaped, dearer: str | None, enforced: list[Limit]) -> None:
    if dearer is not None:
        # What the switch wrote goes by the name that the client, or the operator, knows.
        dearer = "enable_search" if dearer in shaped.searching else dearer
        what = f"{dearer} can cost more than the listed rates, so limit {enforced[0].id} cannot bound it; leave it out"
        raise InvalidRequest(what, code="unbounded_parameter", param=dearer)
    strict = next((limit.id for limit in enforced if limit.unknown_parameters == "refuse"), None)
    unknown = unlisted(shaped.api, shaped.body, shaped.deployment.parameters) if strict else None
    if unknown is not None:
        what = (
            f"it is not known what {unknown} costs, so limit {strict} cannot bound it; leave it out, list it under "
            f"`parameters` of {shaped.deployment.provider} in policies/providers.yaml, or let the limit pass it"
        )
        raise InvalidRequest(what, code="unbounded_parameter", param=unknown)


def _check_bounded(shaped: Shaped, ceiling: int | None, limit: str) -> None:
    price = shaped.deployment.price
    if price is not None and (ceiling is not None or price.free):
        return
    what = "has no price" if price is None else "has no known window, and the request brings in what cannot be measured"
    text = f"{shaped.deployment.id} {what}, so limit {limit} cannot bound its cost"
    raise BudgetExceeded(text, limit=limit, elsewhere=True)


def _least(shaped: Shaped, policy: BudgetsPolicy) -> int:
    """The fewest output tokens that are of use: what the request thinks with, and something to read. A budget of our
    own making shrinks with the cap, a client's does not."""
    budget = _thinking(shaped.body).get("budget_tokens")
    if shaped.effort is not None and budget is not None:
        useful = policy.minimum_useful_output
    elif isinstance(budget, int) and not isinstance(budget, bool):
        useful = budget + policy.minimum_useful_output
    else:
        useful = policy.minimum_useful_reasoning if _reasons(shaped) else policy.minimum_useful_output
    return min(shaped.cap or 0, useful)


def _thinking(body: Mapping[str, Any]) -> Mapping[str, Any]:
    thinking = body.get("thinking")
    return thinking if isinstance(thinking, Mapping) else {}


def _reasons(shaped: Shaped) -> bool:
    """Whether the model reasons before it answers. Claude does so only when it is asked to."""
    body, deployment = shaped.body, shaped.deployment
    if shaped.effort is not None:
        return shaped.effort.level != "none"
    usual = deployment.family is not None and deployment.family.default != "none"
    if not (usual or "reasoning" in deployment.supports) or body.get("enable_thinking") is False:
        return False
    if body.get("reasoning_effort") == "none" or _thinking(body).get("type") == "disabled":
        return False
    return deployment.wire != "anthropic" or "thinking" in body or "reasoning_effort" in body


def _thinking_outside(shaped: Shaped) -> int:
    """Tokens that the model may think beyond the output cap: its budget, else as many as it can put out."""
    deployment = shaped.deployment
    if deployment.cap_includes_thinking or not _reasons(shaped):
        return 0
    budget = shaped.body.get("thinking_budget")
    return budget if isinstance(budget, int) and budget > 0 else deployment.max_output or deployment.default_output_cap
