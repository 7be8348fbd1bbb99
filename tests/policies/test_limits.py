"""Limits of rate: which of them hold, for whom, and what a request takes of each."""

from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.counters import Draw
from scribe_router.policies.limits import LimitsPolicy, RateLimit, Scope, draws

VALUES: dict[Scope, str] = {
    "key": "master",
    "user": "ann",
    "team": "",
    "model": "fast",
    "deployment": "fast-eu",
    "provider": "groq",
    "account": "GROQ_API_KEY",
}


def policy(**limit: Any) -> LimitsPolicy:
    return LimitsPolicy.model_validate({"limits": [{"id": "a", **limit}]})


@pytest.mark.parametrize(
    ("scope", "whose", "of_caller"),
    [
        ("key", "key:master", True),
        ("user", "user:ann", True),
        (["key", "user"], "key:master,user:ann", True),
        ("model", "model:fast", False),
        ("deployment", "deployment:fast-eu", False),
        ("provider", "provider:groq", False),
        ("account", "account:GROQ_API_KEY", False),
        (["user", "provider"], "user:ann,provider:groq", False),
    ],
)
def test_whose_it_is(scope: Any, whose: str, of_caller: bool) -> None:
    limits = policy(scope=scope, requests_per_minute=3)
    assert list(draws(limits, VALUES, of_caller=of_caller)) == [Draw("a", whose, "requests", 3, 1)]
    assert list(draws(limits, VALUES, of_caller=not of_caller)) == []


def test_a_callers_limit_looks_at_the_caller_alone() -> None:
    caller: dict[Scope, str] = {"key": "master", "user": "ann", "team": ""}
    limits = {"limits": [{"id": n, "scope": n, "concurrent": 1} for n in ("user", "team", "provider", "key")]}
    found = draws(LimitsPolicy.model_validate(limits), caller, of_caller=True)
    assert [each.limit for each in found] == ["user", "key"], "who has no team is under no limit of teams"


@pytest.mark.parametrize(
    ("only", "held"), [({}, True), ({"provider": ["groq", "openai"]}, True), ({"provider": ["openai"]}, False)]
)
def test_only_narrows(only: Any, held: bool) -> None:
    assert bool(list(draws(policy(scope="provider", concurrent=1, only=only), VALUES, of_caller=False))) is held


def test_a_named_limit_holds_for_those_who_name_it() -> None:
    limits = policy(scope=["key", "provider"], concurrent=1, named=True)
    assert list(draws(limits, VALUES, of_caller=False)) == list(draws(limits, VALUES, ("b",), of_caller=False)) == []
    assert [draw.limit for draw in draws(limits, VALUES, ("a",), of_caller=False)] == ["a"]
    with pytest.raises(ValidationError, match="has key among its scopes"):
        policy(scope="user", concurrent=1, named=True)


def test_a_row_limits_what_it_names() -> None:
    limits = policy(scope="user", requests_per_minute=3, tokens_per_minute=500, concurrent=2)
    assert [(each.rate, each.most, each.counter) for each in draws(limits, VALUES, of_caller=True)] == [
        ("requests", 3, "a|user:ann|requests"),
        ("tokens", 500, "a|user:ann|tokens"),
        ("concurrent", 2, "a|user:ann|concurrent"),
    ]


@pytest.mark.parametrize("empty", ["", None])
def test_a_variable_that_is_not_set_limits_nothing(empty: Any) -> None:
    assert RateLimit.model_validate({"id": "a", "scope": "user", "requests_per_minute": empty}).most == {}


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"scope": []}, "name at least one scope"),
        ({"scope": ["user", "user"]}, "each once"),
        ({"scope": "user", "only": {"team": ["red"]}}, "only names values of team"),
        ({"scope": "user", "requests_per_minute": 0}, "greater than or equal to 1"),
        ({"scope": "all"}, "Input should be"),
        ({"scope": "user", "id": "A b"}, "should match pattern"),
        ({"scope": "user", "window": "day"}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense(limit: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        policy(**limit)


def test_two_limits_with_one_id() -> None:
    row = {"id": "a", "scope": "user"}
    with pytest.raises(ValidationError, match="two limits have the id a"):
        LimitsPolicy.model_validate({"limits": [row, row]})
