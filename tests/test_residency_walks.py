"""Ten thousand random schedules of faults through the planner and the walk, on a simulated clock: whatever fails, and
whatever a limit of money leads to, no place is asked that the request may not be shown to."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scribe_router.errors import RequestError
from scribe_router.exchange import AttemptFailed, Call, Category, Reached
from scribe_router.plan import Plan, Snapshot, plan_of
from scribe_router.policies.access import by_operator
from scribe_router.policies.breaker import Circuit
from scribe_router.policies.residency import Place, misplaced
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.principals import ANYWHERE, Demand, Grant, Principal
from scribe_router.registry import Registry
from scribe_router.walk import Step, Walk
from tests.policies.registries import TODAY, registry

MODELS = ("a", "b", "c", "d")
GROUPS = ("g", "h")
NAMES = (*MODELS, *GROUPS, "x")
REGISTRIES, FEW, EACH = 200, 40, 50
RETRIES = RetriesPolicy()
START, DEADLINE = 1_000.0, 60.0
EU = Demand(("eu",))


def built(draw: random.Random) -> Registry:
    """Models in several places each, with any fallbacks, an experiment, a last resort and demands by name."""

    def some(names: tuple[str, ...], most: int) -> list[str]:
        return draw.sample(names, draw.randint(1, most))

    rows: list[dict[str, Any]] = [
        {
            "id": f"{model}-{number}",
            "model": model,
            "region": draw.choice(["eu", "eu", "us", "china", None]),
            "retention": draw.choice([0, 30, None]),
            "covered": draw.random() < 0.5,
            "window": draw.choice([None, 100, 1000]),
        }
        for model in MODELS
        for number in range(draw.randint(1, 3))
    ]
    tables = [{name: some(NAMES, 3) for name in some(NAMES, 4)} for _ in range(3)]
    named = {
        name: draw.choice([{"regions": ["eu", "us"]}, {"retention": 30}, {"hipaa": True}]) for name in some(NAMES, 2)
    }
    return registry(
        {
            "deployments": rows,
            "groups": {name: some(MODELS, 3) for name in GROUPS},
            "aliases": {"x": draw.choice(GROUPS)},
            "fallbacks": tables[0],
            "context_window_fallbacks": tables[1],
            "content_policy_fallbacks": tables[2],
            "last_resort": some(NAMES, 2),
            "experiments": {
                "e": {"on": "g", "arms": {"one": {"model": "a", "share": 1}, "two": {"model": "h", "share": 1}}}
            },
            "residency": {"names": named} if draw.random() < 0.3 else {},
        }
    )


def served(known: Registry, draw: random.Random, who: Principal, ways: Counter[str]) -> tuple[set[str], Demand]:
    """The deployments that one request reaches, and what is demanded of them. Limits of money refuse as the schedule
    says, once with a cheaper name."""
    name, unit = draw.choice(NAMES), f"u{draw.randint(0, 9)}"
    body = {"model": name, "messages": [], "metadata": {"experiment_unit": unit}}
    circuits = {
        each: Circuit(failures=5, category=Category.SERVER, opened=900.0, until=draw.choice([950.0, 2_000.0]))
        for each in known.deployments
        if draw.random() < 0.1
    }
    snapshot = Snapshot(TODAY, draw.getrandbits(32), now=START, circuits=circuits)
    try:
        way = plan_of(Call("chat", body), known, snapshot, who)
    except RequestError:
        return set(), ANYWHERE
    demand = way.facts.demand
    reached, now = set[str](), START
    for each in _walked(known, way, draw, who, Call("chat", {**body, "model": draw.choice(NAMES)}), snapshot):
        now += each.wait + draw.random() * 5
        if now >= START + DEADLINE:
            break
        ways[each.candidate.via.partition(" ")[0]] += 1
        reached.add(each.candidate.deployment)
    return reached, demand


def _walked(
    known: Registry, way: Plan, draw: random.Random, who: Principal, cheaper: Call, snapshot: Snapshot
) -> Iterator[Step]:
    walk, downgraded = Walk(way, RETRIES), False
    step: Step | None = walk.start()
    while step is not None:
        kind = draw.choice([*Category, "money", "answered"])
        if kind == "money":
            other = None if downgraded else _downgrade(known, way, who, cheaper, snapshot, walk)
            downgraded, walk, step = True, other or walk, other.start() if other is not None else None
            continue
        yield step
        if kind == "answered":
            return
        failure = AttemptFailed(Category(kind), Reached.REPLIED, "a fault", retry_after=draw.choice([None, 1.0]))
        step = walk.failed(step.candidate, failure, draw.random())


def _downgrade(
    known: Registry, way: Plan, who: Principal, cheaper: Call, snapshot: Snapshot, walk: Walk
) -> Walk | None:
    try:
        other = plan_of(cheaper, known, snapshot, by_operator(who), demand=way.facts.demand)
    except RequestError:
        return None
    fresh = tuple(replace(each, via="downgrade") for each in other.candidates if each.deployment not in walk.tried)
    return Walk(replace(other, candidates=fresh), RETRIES, walk.tried) if fresh else None


def outside(known: Registry, reached: set[str], demand: Demand) -> set[str]:
    rows = [known.deployments[each] for each in reached]
    return {each.id for each in rows if misplaced(Place(each.region, each.retention, each.covered), demand)}


def schedules(grant: Grant, registries: int = REGISTRIES) -> Iterator[tuple[Registry, set[str], Demand, Counter[str]]]:
    draw, ways = random.Random(6), Counter[str]()
    who = Principal("key", "ann", grant=grant)
    for _ in range(registries):
        known = built(draw)
        for _ in range(EACH):
            yield known, *served(known, draw, who, ways), ways


@pytest.mark.parametrize("registries", [FEW, pytest.param(REGISTRIES, marks=pytest.mark.slow)])
def test_a_key_of_the_eu_reaches_only_the_eu(registries: int) -> None:
    reaching, seen = 0, Counter[str]()
    for known, reached, demand, ways in schedules(Grant(models=("*",), fields=("*",), regions=("eu",)), registries):
        seen = ways
        regions = {known.deployments[each].region for each in reached}
        assert regions <= {"eu"}
        assert not outside(known, reached, demand & EU)
        reaching += bool(reached)
    assert reaching > registries * EACH / 2
    assert {"arm", "fallback", "context-window", "content-policy", "last", "downgrade", "group", "model"} <= seen.keys()
    assert min(seen.values()) > registries / 10


@pytest.mark.parametrize(
    "grant", [Grant(models=("*",), retention=0), Grant(models=("*",), hipaa=True), Grant(models=("*",))]
)
def test_other_demands_hold_as_well(grant: Grant) -> None:
    for known, reached, demand, _ in schedules(grant, FEW):
        assert not outside(known, reached, demand & grant.demand if reached else demand)


def test_the_same_schedules_lead_out_without_a_demand() -> None:
    """What the others rest on: there is a way out, and it is taken where nothing is demanded."""
    grant = Grant(models=("*",), fields=("*",))
    away = [outside(known, reached, EU) for known, reached, _, _ in schedules(grant, FEW)]
    assert sum(map(bool, away)) > FEW * EACH / 3
