"""Deployments in the order of a name's strategy, each with what its place rests on. Pure.

It knows the strategies and what they look at; never why a deployment may serve.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter

from scribe_router.deployment import Deployment
from scribe_router.facts import Facts
from scribe_router.policies.prices import bound
from scribe_router.policies.routing import WEIGHTED
from scribe_router.policies.strategies import IDLE, Ask, Load, Option
from scribe_router.policies.tokens import LETTERS_OF_A_TOKEN
from scribe_router.registry import Registry


class Ordering:
    """For one request. `load` and `turns` are the parts of those given that strategies have looked at."""

    def __init__(self, request: Facts, registry: Registry, loads: Mapping[str, Load], turns: Mapping[str, int]) -> None:
        self._request, self._registry, self._loads, self._turns = request, registry, loads, turns
        self.load: dict[str, Load] = {}
        self.turns: dict[str, int] = {}

    def of(self, name: str, target: str, drawn: list[Deployment]) -> Iterable[tuple[Deployment, str]]:
        """The deployments behind a name, or its alias's `target`, as the name's strategy puts them. It sees them in the
        order of their names; equal ones stay as they were drawn."""
        named = self._registry.strategy(name, self._request.optimize_for)
        if named == WEIGHTED:
            return ((each, "") for each in drawn)
        known = sorted(drawn, key=attrgetter("id"))
        scores = self._registry.strategies[named](self._options(known), self._ask(target))
        scored = {each.id: score for each, score in zip(known, scores, strict=True)}
        return ((each, scored[each.id].shown) for each in sorted(drawn, key=lambda each: scored[each.id].value))

    def _ask(self, target: str) -> Ask:
        request, routing = self._request, self._registry.routing
        self.turns[target] = self._turns.get(target, 0)
        return Ask(routing.weighs(request.task, request.optimize_for), self.turns[target])

    def _options(self, known: list[Deployment]) -> list[Option]:
        """The deployments as strategies see them, with what this request could cost at each."""
        tokens, cap, loads = self._request.letters // LETTERS_OF_A_TOKEN + 1, self._request.cap, self._loads
        found = []
        for each in known:
            most = None if each.price is None else bound(each.price, tokens, cap or each.default_output_cap)
            self.load[each.id] = load = loads.get(each.id, IDLE)
            found.append(Option(each.id, each.model, each.weight, most, load, each.abilities))
        return found
