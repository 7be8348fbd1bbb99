"""What strategies promise whatever they choose among; which one goes first is in tests/cases/plan/strategies.yaml."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scribe_router.policies.strategies import BUILT_IN, Ask, Load, Option

seen = st.one_of(st.none(), st.floats(0.001, 100))
loads = st.builds(Load, in_flight=st.integers(0, 50), first_token=seen, tokens_per_second=seen)
options = st.lists(
    st.builds(
        Option,
        id=st.text(max_size=3),
        model=st.just("m"),
        weight=st.sampled_from([0.0, 0.5, 1.0, 9.0]),
        bound=st.one_of(st.none(), st.integers(0, 10**12)),
        load=loads,
        abilities=st.dictionaries(st.sampled_from(["coding", "speed"]), st.floats(0, 10)),
    ),
    max_size=6,
)
asks = st.builds(
    Ask,
    weighs=st.dictionaries(st.sampled_from(["coding", "cost", "speed", "unheard"]), st.floats(0.1, 9)),
    turn=st.integers(0, 10**9),
)


@pytest.mark.parametrize("name", BUILT_IN)
@given(found=options, ask=asks)
def test_each_option_has_a_score_that_compares(name: str, found: list[Option], ask: Ask) -> None:
    scores = BUILT_IN[name](found, ask)
    assert len(scores) == len(found)
    assert all(each.value == each.value for each in scores), "not a number would compare with nothing"


@given(found=options, ask=asks)
def test_a_capability_is_a_mean_within_its_scale(found: list[Option], ask: Ask) -> None:
    assert all(-10.000001 <= each.value <= 0 for each in BUILT_IN["capability"](found, ask))


def test_a_round_gives_each_its_turn() -> None:
    three = [Option(name, "m", 1.0, None, Load(), {}) for name in "abc"]
    first = Counter()  # type: Counter[str]
    for turn in range(300):
        scores = BUILT_IN["round_robin"](three, Ask({}, turn))
        first[min(zip(scores, "abc", strict=True))[1]] += 1
    assert first == {"a": 100, "b": 100, "c": 100}


def test_twice_the_price_is_half_the_points() -> None:
    two = [Option("a", "m", 1.0, 100, Load(), {}), Option("b", "m", 1.0, 200, Load(), {})]
    assert [each.value for each in BUILT_IN["capability"](two, Ask({"cost": 1.0}))] == [-10.0, -5.0]


def test_free_is_the_best_price() -> None:
    two = [Option("a", "m", 1.0, 0, Load(), {}), Option("b", "m", 1.0, 200, Load(), {})]
    assert [each.value for each in BUILT_IN["capability"](two, Ask({"cost": 1.0}))] == [-10.0, 0.0]
