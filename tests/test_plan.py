"""The planner against golden cases: tests/cases/plan/*.yaml. A new case needs no code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from scribe_router.errors import RequestError
from scribe_router.exchange import Api, Call, CallOptions, Lane
from scribe_router.facts import Facts, facts
from scribe_router.plan import Candidate, Plan, Snapshot, plan
from scribe_router.policies.breaker import Circuit
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.reasoning import Asked
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.policies.strategies import Load
from scribe_router.policies.tokens import Counted, Size
from scribe_router.principals import Demand
from tests.policies.registries import TODAY, registry

CASES = Path(__file__).parent / "cases" / "plan"
NOW = 1_000.0
FIELDS = {
    *("case", "request", "seed", "candidates", "error", "context_window", "content_policy", "excluded", "warnings"),
    *("lanes", "requested", "load", "turns", "scores", "circuits", "uncounted"),
}
# What an error names that is not about the model's name.
PARAMS = {
    "circuit_open": None,
    "context_length_exceeded": "messages",
    "vision_unavailable": "messages",
    "audio_unavailable": "messages",
    "tools_unavailable": "tools",
    "json_schema_unavailable": "response_format",
}


def cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.yaml")):
        file = yaml.safe_load(path.read_text(encoding="utf-8"))
        for case in file["cases"]:
            yield pytest.param(file["config"], case, id=f"{path.stem}: {case['case']}")


@pytest.mark.parametrize(("config", "case"), list(cases()))
def test_case(config: dict[str, Any], case: dict[str, Any]) -> None:
    assert set(case) <= FIELDS, "a misspelt expectation would pass"
    asks = {"api": "chat", **case["request"]}
    effort, size = asks.pop("effort", None), dict(asks.pop("size", {}))
    counted = tuple(Counted(**each) for each in size.pop("counted", ()))
    demand = Demand(**{name: _listed(value) for name, value in asks.pop("demand", {}).items()})
    request = Facts(**asks, demand=demand, wish=Asked(effort) if effort else None, size=Size(**size, counted=counted))
    load = {name: Load(**seen) for name, seen in case.get("load", {}).items()}
    circuits = {name: Circuit(**facts) for name, facts in case.get("circuits", {}).items()}
    snapshot = Snapshot(TODAY, case.get("seed", 0), load, case.get("turns", {}), NOW, circuits)
    if "error" in case:
        with pytest.raises(RequestError) as caught:
            plan(request, registry(config), snapshot)
        assert f"{caught.value.code}: {caught.value.message}" == case["error"]
        assert caught.value.param == PARAMS.get(caught.value.code, "model")
        return
    _compare(plan(request, registry(config), snapshot), case)


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _compare(found: Plan, case: dict[str, Any]) -> None:
    for name in ("candidates", "context_window", "content_policy"):
        expected = case.get(name, [])
        assert _as_written(getattr(found, name), expected) == expected, name
    assert {each.deployment: f"{each.rule}: {each.reason}" for each in found.excluded} == case.get("excluded", {})
    assert list(found.warnings) == case.get("warnings", [])
    assert found.uncounted == case.get("uncounted", {})
    assert found.requested == case.get("requested", found.facts.model or found.requested)
    lanes = {each.deployment: each.lane for each in found.candidates}
    assert lanes | case.get("lanes", {}) == lanes
    scores = {each.deployment: each.score for each in found.candidates if each.score}
    assert scores == case.get("scores", scores)


def _as_written(candidates: tuple[Candidate, ...], expected: list[str | dict[str, str]]) -> list[Any]:
    """The candidates in the form in which the case writes each: an id alone, or with the way to it."""
    forms = [*expected, *[""] * len(candidates)]
    return [
        {each.deployment: each.via} if isinstance(form, dict) else each.deployment
        for each, form in zip(candidates, forms, strict=False)
    ]


def test_candidates_say_what_belongs_to_the_name_and_what_does_not() -> None:
    config = {"deployments": ["a", "b", "c"], "fallbacks": {"a": ["b"]}, "last_resort": ["c"]}
    found = plan(Facts("chat", "a"), registry(config), Snapshot(TODAY, 0))
    assert [each.fallback for each in found.candidates] == [False, True, True]


@pytest.mark.parametrize(
    ("body", "options", "expected"),
    [
        ({}, {}, Facts("chat", "")),
        ({"response_format": {"type": "text"}}, {}, Facts("chat", "")),
        ({"response_format": {"type": "json_schema"}}, {}, Facts("chat", "", json_schema=True, size=Size(schema=22))),
        ({"model": "a", "tools": []}, {}, Facts("chat", "a")),
        ({"model": "a", "tools": [{}]}, {}, Facts("chat", "a", tools=True, size=Size(tools=4, tool_count=1))),
        ({"model": "a", "functions": [{}]}, {}, Facts("chat", "a", tools=True, size=Size(tools=4, tool_count=1))),
        ({"model": "a", "reasoning_effort": "none"}, {}, Facts("chat", "a", wish=Asked("none"))),
        ({"model": "a", "reasoning_effort": {"effort": "low"}}, {}, Facts("chat", "a", wish=Asked("low"))),
        ({"model": "a", "reasoning": {"effort": "low"}}, {}, Facts("chat", "a", wish=Asked("low"))),
        ({"model": "a", "fallback_enabled": False}, {}, Facts("chat", "a", fallback_enabled=False)),
        ({"model": "a", "fallback_enabled": None}, {}, Facts("chat", "a")),
        ({"model": "a", "provider": "azure"}, {}, Facts("chat", "a", provider="azure")),
        ({"model": "a", "provider": {"order": ["azure"]}}, {}, Facts("chat", "a")),
        ({"model": "a", "provider": "azure"}, {"provider": "openai"}, Facts("chat", "a", provider="openai")),
        ({"model": "a"}, {"lane": "litellm"}, Facts("chat", "a", lane="litellm")),
    ],
)
def test_facts_of_a_call(body: dict[str, Any], options: dict[str, Any], expected: Facts) -> None:
    assert facts(Call("chat", body, CallOptions(**options)), EffortPolicy(), RoutingPolicy()) == expected


def test_a_lane_and_an_api_are_what_the_cases_may_name() -> None:
    used = [case.values[1]["request"] for case in cases()]
    assert {request.get("lane") for request in used} <= {None, *get_args(Lane)}
    assert {request.get("api", "chat") for request in used} <= set(get_args(Api))
