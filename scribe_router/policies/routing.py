"""How a model is chosen: `policies/routing.yaml`. Names, defaults, tasks, and which strategy orders what."""

import random
from collections.abc import Mapping, Sequence
from math import inf
from operator import itemgetter
from typing import Annotated, Protocol, TypeVar

from pydantic import Field

from scribe_router.exchange import Api, OptimizeFor
from scribe_router.policies.schema import OfTask, Shape, Traits, When

Weights = dict[str, Annotated[float, Field(gt=0)]]
WEIGHTED = "weighted"  # the strategy of what names none
AUTO = "auto"  # the model's name that leaves the choice to the rules
_OPTIMIZE: Mapping[OptimizeFor, str] = {
    "cost": "cheapest",
    "speed": "fastest",
    "quality": "capability",
    "reasoning": "capability",
    "balance": "capability",
}
_BALANCE: Weights = {"coding": 2, "reasoning": 2, "cost": 3, "speed": 3}
LOOKED_AT = 20_000  # letters of the last message of the user that keywords are sought in


class Task(When):
    """`task` is what a request is that is all that the rule says, where its metadata names none. `keywords` are sought
    in the user's last message, in any case, one is enough; `han` is the least part of its letters that are Chinese."""

    task: str = Field(min_length=1)
    keywords: tuple[str, ...] = ()
    han: float | None = Field(default=None, gt=0, le=1)

    def names(self, traits: Traits, text: str) -> bool:
        """Whether a request with these traits, whose user said `text` last, is of this task."""
        said = not self.keywords or any(each.lower() in text.lower() for each in self.keywords)
        return self.holds(traits) and said and (self.han is None or _chinese(text) >= self.han)


def _chinese(text: str) -> float:
    """The part of a text that is Chinese characters."""
    return sum("\u4e00" <= letter <= "\u9fff" for letter in text) / (len(text) or 1)


class Choice(OfTask):
    """`model` is what serves a request for the model `auto` that is all that the rule says."""

    model: str


class RoutingPolicy(Shape):
    """`default_model` serves requests that name none. Output caps (tokens) apply where a request and its deployment
    name none; the second one to models that reason.

    `strategies` order what is behind a model, group or alias; `optimize_for` is which one a request's wish of that name
    means, whatever it asks for. `weights` say how much each ability counts, by task or by wish. `tasks` tell what a
    request is, the first rule that holds; `auto` what serves the model of that name. With `strict_search` a candidate
    without a web search is left out where a request has `enable_search`; else it serves, and says that it did not
    search.
    """

    default_model: str | None = None
    default_embedding_model: str | None = None
    output_cap: int = Field(default=4096, ge=1)
    output_cap_reasoning: int = Field(default=16384, ge=1)
    strategies: dict[str, str] = Field(default_factory=dict)
    optimize_for: dict[OptimizeFor, str] = Field(default_factory=dict)
    weights: dict[str, Weights] = Field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    auto: tuple[Choice, ...] = ()
    strict_search: bool = False

    def default(self, api: Api) -> str:
        """The name of a request that has none; empty where there is none."""
        return (self.default_embedding_model if api == "embeddings" else self.default_model) or ""

    def wished(self, wish: OptimizeFor) -> str:
        """The strategy for a request's wish."""
        return self.optimize_for.get(wish) or _OPTIMIZE[wish]

    def weighs(self, task: str | None, wish: OptimizeFor | None) -> Weights:
        """How much each ability counts for a wish, else for a task."""
        return self.weights.get(wish or "") or self.weights.get(task or "") or self.weights.get("balance") or _BALANCE

    def task(self, traits: Traits, text: str) -> str | None:
        """What a request is that does not say; `text` is the last message of its user."""
        return next((each.task for each in self.tasks if each.names(traits, text[:LOOKED_AT])), None)

    def known_tasks(self) -> frozenset[str]:
        """The tasks that mean something here."""
        ruled = (task for each in self.auto for task in each.task or ())
        return frozenset((*self.weights, *(each.task for each in self.tasks), *ruled))

    def chosen(self, traits: Traits) -> str | None:
        """What serves the model `auto` for a request; None where no rule holds."""
        for rule in self.auto:
            if rule.holds(traits):
                return rule.model
        return None


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
    if len(deployments) < 2:
        return [*deployments]
    draw = random.Random(seed)  # noqa: S311  (spreads load, guards nothing)
    keyed = [(each.order, draw.expovariate(each.weight) if each.weight > 0 else inf, each) for each in deployments]
    return [each for _, _, each in sorted(keyed, key=itemgetter(0, 1))]
