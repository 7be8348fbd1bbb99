"""Intervals cover the truth as often as they say, where units have many observations of their own kind."""

import random
from collections.abc import Callable, Iterator
from math import exp, inf, isclose
from statistics import NormalDist

import pytest

from scribe_router.reports.intervals import Estimate, Units, difference, mean, part, quantile, t_quantile

EXPERIMENTS, UNITS = 1000, 120
# (how many units in a hundred, how many requests each makes, how often it is satisfied, the level of what it costs):
# who asks much is satisfied more often, and dear.
KINDS = ((60, 1, 0.2, -0.6), (30, 4, 0.4, 0.1), (10, 9, 0.8, 0.9))
SPREAD = 0.7  # of the logarithm of a cost within a unit
REQUESTS = sum(weight * count for weight, count, _, _ in KINDS)


def satisfied(rng: random.Random) -> Units:
    return [[float(rng.random() < often) for _ in range(count)] for _, count, often, _ in kinds(rng)]


def costs(rng: random.Random) -> Units:
    return [[exp(rng.gauss(level, SPREAD)) for _ in range(count)] for _, count, _, level in kinds(rng)]


def kinds(rng: random.Random) -> list[tuple[int, int, float, float]]:
    return rng.choices(KINDS, weights=[each[0] for each in KINDS], k=UNITS)


TRUE_PART = sum(weight * count * often for weight, count, often, _ in KINDS) / REQUESTS
TRUE_MEAN = sum(weight * count * exp(level + SPREAD**2 / 2) for weight, count, _, level in KINDS) / REQUESTS


def true_quantile(level: float) -> float:
    """Where the mixture of all requests has this part below it, in steps of a millionth."""

    def below(log: float) -> float:
        return sum(w * n * NormalDist(at, SPREAD).cdf(log) for w, n, _, at in KINDS) / REQUESTS

    low, high = -9.0, 9.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < level else (low, middle)
    return exp(low)


def covered(draw: Callable[[random.Random], Units], estimate: Callable[[Units], Estimate | None]) -> Iterator[Estimate]:
    """What 1,000 simulated arms are estimated at."""
    rng = random.Random(20261120)
    for _ in range(EXPERIMENTS):
        found = estimate(draw(rng))
        assert found is not None
        yield found


def share(estimates: Iterator[Estimate], truth: float) -> float:
    return sum(each.low <= truth <= each.high for each in estimates) / EXPERIMENTS


def differences(
    draw: Callable[[random.Random], Units], estimate: Callable[[Units], Estimate | None]
) -> Iterator[Estimate]:
    """Of two arms that are the same."""
    rng = random.Random(7)
    for base, other in zip(covered(draw, estimate), covered(lambda _: draw(rng), estimate), strict=True):
        yield difference(base, other)


def test_a_part_is_covered() -> None:
    assert 0.93 <= share(covered(satisfied, part), TRUE_PART) <= 0.97


def test_a_skewed_mean_is_covered() -> None:
    assert 0.93 <= share(covered(costs, mean), TRUE_MEAN) <= 0.97


def test_differences_are_covered() -> None:
    assert 0.93 <= share(differences(satisfied, part), 0.0) <= 0.97
    assert 0.93 <= share(differences(costs, mean), 0.0) <= 0.97


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_quantile_is_covered(level: float) -> None:
    assert 0.93 <= share(covered(costs, lambda units: quantile(units, level)), true_quantile(level)) <= 0.97
    assert 0.93 <= share(differences(costs, lambda units: quantile(units, level)), 0.0) <= 0.97


def test_counting_requests_as_if_each_were_a_unit_would_not_cover() -> None:
    """The simulation is one in which clusters matter: this is what is wrong with the plain formula."""

    def plain(units: Units) -> Estimate | None:
        return mean([[each] for unit in units for each in unit])

    assert share(covered(satisfied, plain), TRUE_PART) < 0.90
    assert share(covered(costs, plain), TRUE_MEAN) < 0.90


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [
        (1, 12.70620),
        (2, 4.30265),
        (3, 3.18245),
        (4, 2.77645),
        (5, 2.57058),
        (9, 2.26216),
        (30, 2.04227),
        (1000, 1.96234),
    ],
)
def test_students_t(freedom: int, expected: float) -> None:
    assert isclose(t_quantile(freedom), expected, abs_tol=1e-5)


def test_a_mean_by_hand() -> None:
    """Two units of one observation each: 1 and 3 is 2, give or take 12.706 standard errors of 1."""
    found = mean([[1.0], [3.0]])
    assert found is not None
    assert (found.value, found.count) == (2.0, 2)
    assert isclose(found.high - found.value, 12.7062, abs_tol=1e-4)
    assert isclose(found.value - found.low, 12.7062, abs_tol=1e-4)


def test_a_long_tail_bends_the_interval_its_way() -> None:
    found = mean([[1.0]] * 30 + [[9.0], [20.0]])
    assert found is not None
    assert found.high - found.value > 1.2 * (found.value - found.low)


def test_units_that_repeat_themselves_say_no_more() -> None:
    once, ten = part([[1.0], [0.0], [0.0], [1.0], [1.0]]), part([[each] * 10 for each in (1.0, 0.0, 0.0, 1.0, 1.0)])
    assert once is not None
    assert ten is not None
    assert (once.value, once.low, once.high) == (ten.value, ten.low, ten.high)


def test_no_failure_yet_is_no_proof() -> None:
    none, of_few = part([[0.0, 0.0]] * 50), part([[0.0, 0.0]] * 5)
    assert none is not None
    assert of_few is not None
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0.05 < none.high < 0.1 < of_few.high < 1


def test_quantiles_by_hand() -> None:
    found = quantile([[float(each)] for each in range(1, 101)], 0.5)
    assert found is not None
    assert (found.value, found.low, found.high) == (50.0, 41.0, 60.0)
    few = quantile([[1.0], [2.0], [3.0]], 0.95)
    assert few is not None
    assert (few.value, few.high) == (3.0, inf), "of three nobody can say how long the longest take"


@pytest.mark.parametrize("estimate", [mean, lambda units: quantile(units, 0.5)])
def test_of_one_unit_nothing_is_known_and_of_none_there_is_nothing(
    estimate: Callable[[Units], Estimate | None],
) -> None:
    assert estimate([[1.0, 2.0, 3.0]]) == Estimate(2.0, -inf, inf, 3, 1)
    assert estimate([]) is None
    assert estimate([[], []]) is None
    assert difference(Estimate(1.0, 0.5, 1.5), Estimate(3.0, -inf, inf)) == Estimate(2.0, -inf, inf)


def test_a_part_of_one_unit_is_anything() -> None:
    assert part([[1.0, 0.0]]) == Estimate(0.5, 0.0, 1.0, 2, 1)
    assert part([]) is None


def test_a_difference_by_hand() -> None:
    found = difference(Estimate(1.0, 0.7, 1.4), Estimate(2.0, 1.7, 2.3))
    assert (found.value, found.low) == (1.0, 0.5)
    assert isclose(found.high, 1.0 + (0.3**2 * 2) ** 0.5)
    means = difference(Estimate(1.0, 0, 2, 9, 5, error=0.3), Estimate(2.0, 1, 3, 9, 5, error=0.4))
    assert isclose(means.high - means.value, 2.36462 * 0.5, abs_tol=1e-4), "Welch: seven degrees of freedom"
