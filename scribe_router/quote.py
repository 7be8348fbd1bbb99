"""What one shaped request can cost, and how far its output may shrink. Knows prices and the shaped body; never the
ledger, nor how much of a limit is left."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.policies.budgets import BudgetsPolicy, Limit, clamps
from scribe_router.policies.parameters import unlisted
from scribe_router.policies.prices import Price, affordable_cap, bound
from scribe_router.policies.surcharges import surcharge
from scribe_router.upstream.shape import Shaped, input_ceiling


@dataclass(frozen=True, slots=True)
class Quote:
    """Tokens that bound a request: `ceiling` in, `choices` answers of a cap and `outside` (thinking that the provider
    does not count towards the cap). `least` is the smallest output cap that clamping may leave."""

    price: Price | None
    ceiling: int
    choices: int
    least: int
    outside: int = 0

    def bound(self, cap: int) -> int:
        """Nano-dollars; zero without a price, since then no limit applies."""
        return bound(self.price, self.ceiling, cap + self.outside, self.choices) if self.price else 0

    def affordable(self, cap: int, granted: int) -> int:
        """The largest cap, up to `cap`, that `granted` pays for."""
        if self.price is None or granted >= self.bound(cap):
            return cap
        fits = affordable_cap(self.price, self.ceiling, granted, self.choices)
        return cap if fits is None else min(cap, fits - self.outside)

    @property
    def input_bound(self) -> int:
        """The most that the input alone can cost, in nano-dollars."""
        return bound(self.price, self.ceiling, 0) if self.price else 0

    def streamed(self, tokens: int) -> int:
        """The most that the input and so much output can cost, in nano-dollars."""
        return bound(self.price, self.ceiling, tokens) if self.price else 0


def quoted(shaped: Shaped, limits: tuple[Limit, ...], policy: BudgetsPolicy) -> Quote:
    """The quote of a request whose output cap is written, under `limits`.

    Raises `BudgetExceeded` or `InvalidRequest` where a limit that can refuse applies, and nothing bounds the cost.
    """
    ceiling = input_ceiling(shaped)
    enforced = [limit for limit in limits if limit.enforced]
    if enforced:
        _check_parameters(shaped, enforced)
        _check_bounded(shaped, ceiling, enforced[0].id)
    return Quote(
        price=shaped.deployment.price,
        # Without a limit the size of what is there will do: it only stands in for usage that never comes.
        ceiling=len(shaped.encoded()) if ceiling is None else ceiling,
        choices=shaped.choices,
        least=_least(shaped, policy) if clamps(limits) else shaped.cap or 0,
        outside=_thinking_outside(shaped),
    )


def _check_parameters(shaped: Shaped, enforced: list[Limit]) -> None:
    dearer = surcharge(shaped.body)
    if dearer is not None:
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
    what = "has no price" if price is None else "has no known window, and the request has content by reference"
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
    if "reasoning" not in deployment.supports or body.get("enable_thinking") is False:
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
