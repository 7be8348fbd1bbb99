"""What holds for every plan, whatever the registry."""

from collections import Counter
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.errors import CircuitOpen, ModelNotFound
from scribe_router.exchange import Category, OptimizeFor
from scribe_router.facts import Facts
from scribe_router.plan import Candidate, Plan, Snapshot, plan
from scribe_router.policies.breaker import BreakerPolicy, Circuit
from scribe_router.policies.strategies import BUILT_IN, Load
from scribe_router.registry import Registry
from tests.policies.registries import TODAY, registry
from tests.support.examples import examples

MODELS = ("a", "b", "c", "d", "e")
GROUPS = ("g", "h")
ALIASES = ("x", "y")
NAMES = (*MODELS, *GROUPS, *ALIASES)
NOW = 1_000.0


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    """Five models, two groups, two aliases, and any fallbacks between them: circles and empty lists too."""
    deployments = [row for model in MODELS for row in draw(st.lists(rows(model), min_size=1, max_size=3))]
    numbered = [{**row, "id": f"{row['model']}-{number}"} for number, row in enumerate(deployments)]
    tiers = st.lists(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True), min_size=1, max_size=3)
    tables = st.dictionaries(
        st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True), max_size=6
    )
    return registry(
        {
            "deployments": numbered,
            "groups": {name: draw(tiers) for name in GROUPS},
            "routing": {"strategies": draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(BUILT_IN))))},
            "aliases": {name: draw(st.sampled_from((*MODELS, *GROUPS))) for name in ALIASES},
            "fallbacks": draw(tables),
            "context_window_fallbacks": draw(tables),
            "content_policy_fallbacks": draw(tables),
            "last_resort": draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)),
        }
    )


def rows(model: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "model": st.just(model),
            "order": st.integers(0, 2),
            "price": st.sampled_from([None, (0, 0), (1, 2), (5, 20)]),
            "abilities": st.dictionaries(st.sampled_from(["coding", "speed"]), st.floats(0, 10)),
            "weight": st.sampled_from([0.0, 0.1, 1.0, 9.0]),
            "missing": st.sampled_from([None, None, None, "KEY is not set"]),
            "mode": st.sampled_from(["chat", "chat", "chat", "embedding"]),
            "wire": st.sampled_from(["openai", "openai", "anthropic"]),
            "litellm_lane_for_tools": st.booleans(),
        }
    )


requests = st.builds(
    Facts,
    api=st.sampled_from(["chat", "chat", "embeddings"]),
    model=st.sampled_from(NAMES),
    tools=st.booleans(),
    letters=st.integers(0, 10**6),
    optimize_for=st.sampled_from([None, None, *get_args(OptimizeFor)]),
    fallback_enabled=st.booleans(),
    provider=st.sampled_from([None, "openai"]),
    lane=st.sampled_from([None, None, "wire", "litellm"]),
)


identities = [f"{model}-{number}" for model in MODELS for number in range(15)]
loads = st.dictionaries(
    st.sampled_from(identities), st.builds(Load, st.integers(0, 9), st.one_of(st.none(), st.floats(0.1, 9)))
)
turns = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 99))
circuits = st.dictionaries(
    st.sampled_from(identities),
    st.builds(
        Circuit,
        failures=st.integers(0, 9),
        category=st.just(Category.SERVER),
        opened=st.sampled_from([None, 700.0, 800.0]),
        until=st.sampled_from([900.0, 1_001.0, 1_060.0]),
        probing=st.booleans(),
        rest=st.sampled_from([0.0, 1_010.0]),
    ),
    max_size=40,
)


def planned(request: Facts, known: Registry, snapshot: Snapshot) -> Plan | None:
    try:
        return plan(request, known, snapshot)
    except (ModelNotFound, CircuitOpen):
        return None


def behind(known: Registry, name: str) -> set[str]:
    """Every deployment behind a name."""
    models = [model for tier in known.members(known.resolve(name)) for model in tier]
    return {identity for model in models for identity in known.models[model]}


snapshots = st.builds(Snapshot, st.just(TODAY), st.integers(0, 2**32 - 1), loads, turns)


@given(registries(), requests, snapshots, circuits, st.sampled_from(["probe", "fail", None]))
@settings(max_examples=examples(120), deadline=None)
def test_every_plan_with_circuits(
    known: Registry, request: Facts, snapshot: Snapshot, seen: dict[str, Circuit], all_open: Any
) -> None:
    known = replace(known, breaker=None if all_open is None else BreakerPolicy(all_open=all_open))
    healthy = planned(request, known, snapshot)
    snapshot = replace(snapshot, now=NOW, circuits=seen)
    found = planned(request, known, snapshot)
    assert found == planned(request, known, replace(snapshot, circuits=MappingProxyType(seen))), "one answer to one ask"
    if healthy is None:
        assert found is None, "an open circuit opens no way"
        return
    blocked = {name for name, circuit in seen.items() if circuit.blocked(NOW)}
    left = [each.deployment for each in healthy.candidates if each.deployment not in blocked]
    if found is None:
        assert not left
        assert all_open != "probe"
        return
    assert plan(request, known, found.snapshot) == found, "what a plan keeps is all that it was made from"
    assert set(found.snapshot.circuits) <= set(seen)
    if left:
        assert [each.deployment for each in found.candidates] == left, "the others stay in their order"
        assert not any(each.early for each in found.candidates)
    else:
        assert {each.deployment for each in found.candidates} == {each.deployment for each in healthy.candidates}
        assert all(each.early for each in found.candidates)
        since = [seen[each.deployment].opened or 0.0 for each in found.candidates]
        assert since == sorted(since), "the one that opened first"
    assert not {each.deployment for each in found.excluded} & {each.deployment for each in found.candidates}


@given(registries(), requests, snapshots)
@settings(max_examples=examples(80), deadline=None)
def test_every_plan(known: Registry, request: Facts, snapshot: Snapshot) -> None:
    found = planned(request, known, snapshot)
    assert found == planned(request, known, snapshot), "the same question has one answer"
    other = replace(snapshot, seed=snapshot.seed + 1)
    _a_seed_changes_the_order_and_nothing_else(found, planned(request, known, other))
    if found is None:
        return
    for chain in (found.candidates, found.context_window, found.content_policy):
        _no_deployment_twice(chain)
        _all_can_serve(chain, known, request)
    _nothing_behind_the_name_is_forgotten(found, known)
    _what_was_asked_for_comes_first(found)
    assert not {each.deployment for each in found.excluded} & {each.deployment for each in found.candidates}
    if not request.fallback_enabled:
        assert not any(each.fallback for each in found.candidates)
        assert found.context_window == found.content_policy == ()


def _a_seed_changes_the_order_and_nothing_else(found: Plan | None, other: Plan | None) -> None:
    assert (found is None) == (other is None)
    if found is not None and other is not None:
        for name in ("candidates", "context_window", "content_policy"):
            ids = [{each.deployment for each in getattr(one, name)} for one in (found, other)]
            assert ids[0] == ids[1]


def _no_deployment_twice(chain: tuple[Candidate, ...]) -> None:
    assert [identity for identity, times in Counter(each.deployment for each in chain).items() if times > 1] == []


def _all_can_serve(chain: tuple[Candidate, ...], known: Registry, request: Facts) -> None:
    for each in chain:
        deployment = known.deployments[each.deployment]
        assert deployment.missing is None
        assert (deployment.mode == "chat") == (request.api == "chat")
        assert each.lane == "litellm" or deployment.wire == "openai" or deployment.lane == "wire"
        assert request.lane in (None, each.lane)
        if request.tools and deployment.litellm_lane_for_tools:
            assert each.lane == "litellm"


def _nothing_behind_the_name_is_forgotten(found: Plan, known: Registry) -> None:
    mine = {each.deployment for each in found.candidates if not each.fallback}
    left_out = {each.deployment for each in found.excluded}
    assert mine <= behind(known, found.requested) <= mine | left_out


def _what_was_asked_for_comes_first(found: Plan) -> None:
    assert list(found.candidates) == sorted(found.candidates, key=lambda each: each.fallback)


@pytest.mark.parametrize(("heavy", "share"), [(9, 0.9), (1, 0.5), (0.5, 1 / 3), (0, 0.0)])
def test_weights_share_the_traffic(heavy: float, share: float) -> None:
    known = registry({"deployments": [{"id": "heavy", "model": "m", "weight": heavy}, {"id": "light", "model": "m"}]})
    plans = [plan(Facts("chat", "m"), known, Snapshot(TODAY, seed)) for seed in range(2000)]
    first = sum(found.candidates[0].deployment == "heavy" for found in plans) / len(plans)
    # Four standard deviations of 2,000 draws.
    assert abs(first - share) <= 4 * (share * (1 - share) / 2000) ** 0.5
