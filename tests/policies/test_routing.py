"""The order of deployments within a tier."""

from collections import Counter
from dataclasses import dataclass

import pytest

from scribe_router.exchange import Api
from scribe_router.policies.routing import RoutingPolicy, in_order


@dataclass(frozen=True)
class Place:
    name: str
    order: int = 0
    weight: float = 1.0


def order(places: list[Place], seed: int) -> str:
    return "".join(place.name for place in in_order(places, seed))


def test_lower_orders_come_first_whatever_the_weight() -> None:
    places = [Place("c", 2, 100.0), Place("a", 0, 0.1), Place("b", 1, 0.0)]
    assert {order(places, seed) for seed in range(50)} == {"abc"}


def test_a_seed_is_an_order() -> None:
    places = [Place(name) for name in "abcd"]
    assert [order(places, seed) for seed in range(20)] == [order(places, seed) for seed in range(20)]
    assert len({order(places, seed) for seed in range(200)}) == 24


def test_a_weight_of_zero_is_last_of_its_order() -> None:
    places = [Place("z", weight=0.0), Place("a"), Place("b", weight=9.0), Place("y", order=1)]
    assert {order(places, seed)[2:] for seed in range(50)} == {"zy"}


def test_nine_to_one() -> None:
    first = Counter(order([Place("a", weight=1.0), Place("b", weight=9.0)], seed)[0] for seed in range(2000))
    assert 1740 <= first["b"] <= 1860


def test_tiny_weights_share_as_well_as_large_ones() -> None:
    first = Counter(order([Place("a", weight=1e-6), Place("b", weight=9e-6)], seed)[0] for seed in range(2000))
    assert 1740 <= first["b"] <= 1860


@pytest.mark.parametrize(("api", "name"), [("chat", "talks"), ("completions", "talks"), ("embeddings", "embeds")])
def test_what_serves_a_request_without_a_name(api: Api, name: str) -> None:
    policy = RoutingPolicy(default_model="talks", default_embedding_model="embeds")
    assert policy.default(api) == name
    assert RoutingPolicy().default(api) == ""
