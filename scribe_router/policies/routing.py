"""How a model is chosen: `policies/routing.yaml`. Names, defaults and the order within one model."""

import random
from collections.abc import Sequence
from math import inf
from typing import Protocol, TypeVar

from pydantic import Field

from scribe_router.policies.schema import Shape


class RoutingPolicy(Shape):
    """`default_model` serves requests that name none. Output caps (tokens) apply where a request and its deployment
    name none; the second one to models that reason. With `strict_search` a candidate without a web search is left out
    where a request has `enable_search`; else it serves, and says that it did not search."""

    default_model: str | None = None
    default_embedding_model: str | None = None
    output_cap: int = Field(default=4096, ge=1)
    output_cap_reasoning: int = Field(default=16384, ge=1)
    strict_search: bool = False


class Weighted(Protocol):
    """What the order within one model looks at."""

    @property
    def order(self) -> int: ...
    @property
    def weight(self) -> float: ...


W = TypeVar("W", bound=Weighted)


def in_order(deployments: Sequence[W], seed: int) -> list[W]:
    """The deployments of one tier: lower `order` first, equal ones in an order drawn by `weight`: one with 9 stands
    before one with 1 in nine of ten draws. A weight of zero goes last within its order."""
    draw = random.Random(seed)  # noqa: S311  (spreads load, guards nothing)
    keyed = [(each.order, draw.expovariate(each.weight) if each.weight > 0 else inf, each) for each in deployments]
    return [each for _, _, each in sorted(keyed, key=lambda item: item[:2])]
