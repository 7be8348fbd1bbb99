"""Pauses: which failures earn one, how they grow, and their limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.exchange import Category
from scribe_router.policies.retries import RULES, WHAT_FOLLOWS, Backoff, RetriesPolicy, pause
from tests.support.examples import examples

SHIPPED = RetriesPolicy(
    rate_limit=Backoff(retries=5, initial_seconds=5),
    server=Backoff(retries=3, initial_seconds=1),
    network=Backoff(retries=3, initial_seconds=0.5),
    timeout=Backoff(retries=2, initial_seconds=0.1),
)


def waits(policy: RetriesPolicy, category: Category, *, draw: float = 0.5) -> list[float | None]:
    """The pauses after the first six failures."""
    found = [pause(policy, category, failures, retry_after=None, draw=draw) for failures in range(1, 7)]
    return [None if each is None else round(each, 6) for each in found]


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        (Category.RATE_LIMIT, [5, 10, 20, 40, 60, None]),
        (Category.SERVER, [1, 2, 4, None, None, None]),
        (Category.NETWORK, [0.5, 1, 2, None, None, None]),
        (Category.STREAM, [0.5, 1, 2, None, None, None]),
        (Category.TIMEOUT, [0.1, 0.2, None, None, None, None]),
        *((category, [None] * 6) for category in Category if category not in RULES),
    ],
)
def test_pauses_grow_and_end(category: Category, expected: list[float | None]) -> None:
    assert waits(SHIPPED, category) == expected


@pytest.mark.parametrize("category", list(Category))
def test_without_the_policy_nothing_is_tried_twice(category: Category) -> None:
    assert waits(RetriesPolicy(), category) == [None] * 6


def test_jitter_spreads_a_pause_and_never_above_the_maximum() -> None:
    assert waits(SHIPPED, Category.RATE_LIMIT, draw=0.0) == [3.75, 7.5, 15, 30, 45, None]
    assert waits(SHIPPED, Category.RATE_LIMIT, draw=0.96) == [6.15, 12.3, 24.6, 49.2, 60, None]


def test_every_category_has_something_that_follows() -> None:
    assert set(WHAT_FOLLOWS) == set(Category)
    assert {category for category, follows in WHAT_FOLLOWS.items() if follows != "walk"}.isdisjoint(RULES)


@given(
    st.sampled_from(list(RULES)),
    st.integers(1, 5),
    st.none() | st.floats(0, 3600),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1),
)
@settings(max_examples=examples(200), deadline=None)
def test_every_pause(category: Category, failures: int, after: float | None, draw: float, jitter: float) -> None:
    policy = SHIPPED.model_copy(update={"jitter": jitter})
    seconds = pause(policy, category, failures, retry_after=after, draw=draw)
    rule = policy.backoff(RULES[category])
    if failures > rule.retries:
        assert seconds is None
        return
    assert seconds is not None
    plain = min(rule.initial_seconds * 2 ** (failures - 1), policy.maximum_seconds)
    assert seconds >= (after or 0.0)
    if after is None:
        assert plain * (1 - jitter) - 1e-9 <= seconds <= min(plain * (1 + jitter), policy.maximum_seconds) + 1e-9
