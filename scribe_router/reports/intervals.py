"""Means, parts and quantiles with 95 % intervals that stay true when one unit has many observations. Pure.

Observations of one unit are alike, so it is units that are counted, not observations. How far an estimate may be off is
told by the jackknife: what it would have been without each unit in turn. Means get a t interval of that, bent by the
skew of the units (P. Hall, 1992), since costs and times have long tails; parts of a whole (0 or 1) get Wilson's, with
as many observations as independent ones would be worth the same; quantiles get the observations at which that interval
holds their level (J. Francisco and W. Fuller, 1991). A difference of means gets Welch's t interval, any other the
bounds that its two intervals imply (MOVER), since arms share no units.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil, copysign, cos, expm1, hypot, inf, isfinite, pi, sin, sqrt
from statistics import NormalDist

OUTSIDE = 0.05  # the part of all samples whose intervals miss the truth

Units = Sequence[Sequence[float]]  # what was observed of each unit


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate, between what it may be with 95 % confidence. Of a single unit nothing is known: the bounds are
    infinite. `count` is how many observations it rests on, of so many `units`; `error` is the standard error of a mean.
    """

    value: float
    low: float
    high: float
    count: int = 0
    units: int = 0
    error: float | None = None


def mean(units: Units) -> Estimate | None:
    """The mean of all observations; None where there are none."""
    found = _ratio([(sum(each), len(each)) for each in units if each])
    if found is None:
        return None
    value, shifts, count = found.value, found.shifts, found.count
    if len(shifts) < 2:
        return Estimate(value, -inf, inf, count, len(shifts))
    t, error, skew = t_quantile(len(shifts) - 1), sqrt(found.variance), _skew(shifts)
    low, high = value - error * _bent(t, skew), value - error * _bent(-t, skew)
    return Estimate(value, low, high, count, len(shifts), error)


def part(units: Units) -> Estimate | None:
    """The part of observations that are 1, of those that are 0 or 1; None where there are none."""
    found = _ratio([(sum(each), len(each)) for each in units if each])
    if found is None:
        return None
    if len(found.shifts) < 2:
        return Estimate(found.value, 0.0, 1.0, found.count, len(found.shifts))
    value, worth, t = found.value, found.worth, t_quantile(len(found.shifts) - 1)
    centre = (value + t**2 / worth / 2) / (1 + t**2 / worth)
    half = t / (1 + t**2 / worth) * sqrt(value * (1 - value) / worth + t**2 / (4 * worth**2))
    low = 0.0 if value == 0 else centre - half  # both are what the formula says, but for its rounding
    high = 1.0 if value == 1 else centre + half
    return Estimate(value, low, high, found.count, len(found.shifts))


def quantile(units: Units, level: float) -> Estimate | None:
    """The least observation that a part `level` of all is not above; None where there are none. A bound is infinite
    where no observation is far enough out to be one."""
    ordered = sorted(chain.from_iterable(units))
    if not ordered:
        return None

    def not_above(value: float) -> Estimate:
        found = part([[float(each <= value) for each in seen] for seen in units])
        assert found is not None  # noqa: S101  (there are observations)
        return found

    value = ordered[max(0, ceil(level * len(ordered)) - 1)]
    low = bisect_left(ordered, level, key=lambda each: not_above(each).high)
    high = bisect_left(ordered, level, key=lambda each: not_above(each).low)
    bounds = (ordered[low] if low > 0 else -inf, ordered[high] if high < len(ordered) else inf)
    return Estimate(value, *bounds, len(ordered), sum(map(bool, units)))


def difference(base: Estimate, other: Estimate) -> Estimate:
    """How much the other is above the base; the skews of two means go out."""
    value = other.value - base.value
    if not all(map(isfinite, (base.low, base.high, other.low, other.high))):
        return Estimate(value, -inf, inf)
    if base.error is not None and other.error is not None:
        half = _welch((base.error, base.units), (other.error, other.units))
        return Estimate(value, value - half, value + half)
    down = hypot(other.value - other.low, base.high - base.value)
    up = hypot(other.high - other.value, base.value - base.low)
    return Estimate(value, value - down, value + up)


def _welch(*means: tuple[float, int]) -> float:
    """Half the interval of a difference between means with these standard errors, of so many units each."""
    variance = sum(error**2 for error, _ in means)
    rest = sum(error**4 / (units - 1) for error, units in means)
    return t_quantile(max(1, int(variance**2 / rest))) * sqrt(variance) if rest else 0.0


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A mean over all observations, and how far it shifts without each unit."""

    value: float
    count: int
    shifts: tuple[float, ...]

    @property
    def variance(self) -> float:
        units = len(self.shifts)
        return (units - 1) / units * sum(each**2 for each in self.shifts)

    @property
    def worth(self) -> float:
        """As how many independent observations it is known, of those that are 0 or 1. Where all are the same that
        cannot be told, and each unit counts as one."""
        spread, variance = self.value * (1 - self.value), self.variance
        return float(len(self.shifts)) if spread <= 0 or variance <= 0 else min(float(self.count), spread / variance)


def _ratio(sums: Sequence[tuple[float, int]]) -> _Ratio | None:
    """Of each unit's sum and count."""
    total, count = sum(each for each, _ in sums), sum(each for _, each in sums)
    if not count:
        return None
    value = total / count
    shifts = ((total - of) / (count - many) - value for of, many in sums) if len(sums) > 1 else (0.0,)
    return _Ratio(value, count, tuple(shifts))


def _skew(shifts: Sequence[float]) -> float:
    """The skew of the estimate: that of what the units contribute, which the shifts mirror."""
    units, middle = len(shifts), sum(shifts) / len(shifts)
    square = sum((each - middle) ** 2 for each in shifts) / units
    return -sum((each - middle) ** 3 for each in shifts) / units / square**1.5 / sqrt(units) if square else 0.0


def _bent(t: float, skew: float) -> float:
    """How many standard errors the estimate is above the truth, where it would be t without a skew."""
    if abs(skew) < 1e-6:
        return t
    cube = 1 + skew * (t - skew / 6)
    return 3 / skew * (copysign(abs(cube) ** (1 / 3), cube) - 1)


def t_quantile(freedom: int) -> float:
    """What Student's t exceeds, up or down, in 5 % of cases: G. W. Hill's algorithm 396 (1970), good to five digits."""
    n = float(freedom)
    if freedom == 1:
        return cos(OUTSIDE * pi / 2) / sin(OUTSIDE * pi / 2)
    if freedom == 2:
        return sqrt(2 / (OUTSIDE * (2 - OUTSIDE)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * sqrt(a * pi / 2) * n
    y = (d * OUTSIDE) ** (2 / n)
    if y <= 0.05 + a:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2)
        return sqrt(n * (y + 1 / (d * OUTSIDE) ** (2 / n)))
    x = NormalDist().inv_cdf(OUTSIDE / 2)
    y = x**2
    c += 0.3 * (n - 4.5) * (x + 0.6) if n < 5 else 0.0
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return sqrt(n * expm1(a * y**2))
