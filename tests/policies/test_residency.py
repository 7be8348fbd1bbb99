"""policies/residency.yaml: demands add up and never widen; what is not known of a place is not so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scribe_router.errors import InvalidRequest
from scribe_router.policies.residency import Place, ResidencyPolicy, asked, led_away, misplaced
from scribe_router.principals import ANYWHERE, Demand

REGIONS = ("eu", "us", "china")
demands = st.builds(
    Demand,
    st.none() | st.lists(st.sampled_from(REGIONS), unique=True).map(tuple),
    st.none() | st.integers(0, 90),
    st.booleans(),
)
places = st.builds(Place, st.none() | st.sampled_from(REGIONS), st.none() | st.integers(0, 90), st.booleans())


@given(demands, demands, places)
def test_both_demands_are_each_of_them(one: Demand, other: Demand, place: Place) -> None:
    apart = misplaced(place, one) is None and misplaced(place, other) is None
    assert (misplaced(place, one & other) is None) is apart
    assert one & ANYWHERE == ANYWHERE & one == one
    assert (one & other) & one == one & other


@given(demands, st.none() | st.lists(st.sampled_from(REGIONS), min_size=1), st.none() | st.booleans(), places)
def test_a_request_only_ever_narrows(demand: Demand, regions: Any, zero: Any, place: Place) -> None:
    found = asked({"metadata": {"regions": regions, "zero_retention": zero}}, demand)
    if misplaced(place, found) is None:
        assert misplaced(place, demand) is None
        assert not regions or place.region in regions
        assert not zero or place.retention == 0


@given(demands)
def test_what_is_unknown_is_not_so(demand: Demand) -> None:
    assert (misplaced(Place(None, None, False), demand) is None) == (demand == ANYWHERE)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"regions": "eu"}, "metadata.regions"),
        ({"regions": []}, "metadata.regions"),
        ({"regions": [1]}, "metadata.regions"),
        ({"regions": {"eu": True}}, "metadata.regions"),
        ({"zero_retention": "true"}, "metadata.zero_retention"),
        ({"zero_retention": 1}, "metadata.zero_retention"),
    ],
)
def test_a_wish_that_cannot_be_read_is_refused(metadata: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked({"metadata": metadata}, ANYWHERE)
    assert caught.value.param == field


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": "eu"}, {"metadata": {"regions": None}}])
def test_what_is_not_said_is_not_asked(body: dict[str, Any]) -> None:
    assert asked(body, ANYWHERE) == ANYWHERE


def test_names_add_up() -> None:
    names = {
        "here": {"regions": ["eu", "us"]},
        "group": {"regions": ["eu"], "retention": 30},
        "x": {"retention": "zero"},
    }
    policy = ResidencyPolicy.model_validate({"names": names})
    assert policy.demand("here", "group") == Demand(("eu",), 30)
    assert policy.demand("group", "x") == Demand(("eu",), 0)
    assert policy.demand("nobody") == ANYWHERE
    assert ResidencyPolicy(hipaa=True).demand("nobody") == Demand(hipaa=True)


def test_where_nothing_may_be_kept() -> None:
    assert Demand(hipaa=True).keeps_nothing
    assert Demand(retention=0).keeps_nothing
    assert not Demand(("eu",), 30).keeps_nothing


def test_a_tool_of_a_strangers_server() -> None:
    body = {"tools": [{"type": "function"}, {"type": "mcp", "server_url": "https://x.example"}]}
    assert led_away(body, Demand(("eu",))) == "tools[1]"
    assert led_away(body, ANYWHERE) is None
    assert led_away({"tools": [{"type": "mcp", "server_label": "mine"}]}, Demand(("eu",))) is None
    assert led_away({"tools": "none"}, Demand(hipaa=True)) is None


@pytest.mark.parametrize("retention", [-1, "never", 1.5])
def test_retention_is_zero_or_days(retention: Any) -> None:
    with pytest.raises(ValidationError):
        ResidencyPolicy.model_validate({"names": {"a": {"retention": retention}}})
