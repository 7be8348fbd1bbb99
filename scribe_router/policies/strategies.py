"""Which of several deployments goes first: one function for each strategy, registered by its name. Pure.

A strategy gives each option a score, the lowest first, with the words that `explain` shows for it. Options of one score
keep the order that the configuration gives them. A package registers its own under the entry points
`scribe_router.strategies`; the smallest is two lines:

    def shortest_name(options, ask):
        return [Score(len(each.model), each.model) for each in options]
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from operator import mul
from typing import NamedTuple

from scribe_router.money import usd
from scribe_router.values import value

TYPICAL_OUTPUT = 256  # tokens after which an answer counts as received, when deployments are compared by speed
UNKNOWN = 5.0  # of ten: an ability that nobody wrote down


class Score(NamedTuple):
    """`value`: the lowest goes first. `shown` is for people."""

    value: float
    shown: str


@value
class Load:
    """What was seen of a deployment lately: requests in flight, seconds to its first token and tokens per second after
    it (None: not seen)."""

    in_flight: int = 0
    first_token: float | None = None
    tokens_per_second: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long a typical answer takes."""
        if self.first_token is None:
            return None
        rest = TYPICAL_OUTPUT / self.tokens_per_second if self.tokens_per_second else 0.0
        return self.first_token + rest


IDLE = Load()


@value
class Option:
    """A deployment to choose. `bound` is about the most that the request can cost here, in nano-dollars (None: no
    price), `abilities` are numbers from 0 to 10 by name."""

    id: str
    model: str
    weight: float
    bound: int | None
    load: Load
    abilities: Mapping[str, float]


@value
class Ask:
    """What the request brings to the choice: how much each ability `weighs`, and the `turn` of its name in a round."""

    weighs: Mapping[str, float]
    turn: int = 0


Strategy = Callable[[Sequence[Option], Ask], Sequence[Score]]
BUILT_IN: dict[str, Strategy] = {}


def strategy(function: Strategy) -> Strategy:
    """Register a strategy under the name of its function."""
    BUILT_IN[function.__name__] = function
    return function


@strategy
def weighted(options: Sequence[Option], ask: Ask) -> Sequence[Score]:
    """Shares of the traffic, by `weight`: the order that is drawn stays."""
    return [Score(0.0, "")] * len(options)


@strategy
def round_robin(options: Sequence[Option], ask: Ask) -> Sequence[Score]:
    """Each in turn."""
    count = len(options)
    shown = f"turn {ask.turn % count + 1} of {count}" if count else ""
    return [Score((place - ask.turn) % count, shown) for place in range(count)]


@strategy
def cheapest(options: Sequence[Option], ask: Ask) -> Sequence[Score]:
    """The least that this very request can cost at most; what has no price goes last."""
    return [
        Score(inf, "no price") if each.bound is None else Score(each.bound, f"about {usd(each.bound)} usd")
        for each in options
    ]


@strategy
def fastest(options: Sequence[Option], ask: Ask) -> Sequence[Score]:
    """The shortest time to a typical answer, as seen lately; what was not seen goes first, and is seen then."""
    return [
        Score(-1.0, "not measured") if (seconds := each.load.seconds) is None else Score(seconds, f"{seconds:.2f} s")
        for each in options
    ]


@strategy
def least_busy(options: Sequence[Option], ask: Ask) -> Sequence[Score]:
    """The fewest requests in flight for its weight, in this process."""
    return [
        Score(each.load.in_flight / each.weight if each.weight else inf, f"{each.load.in_flight} in flight")
        for each in options
    ]


@strategy
def capability(options: Sequence[Option], ask: Ask) -> Sequence[Score]:
    """The best mean of the abilities that weigh for the task. `cost` is worked out of this request's bounds, `speed` of
    what was seen, where anything was; the rest are the numbers of `policies/capabilities.yaml`."""
    weights = [*ask.weighs.values()]
    total = sum(weights) or 1.0
    columns = [_ability(name, options) for name in ask.weighs]
    shown = "%.1f of 10 (" + ", ".join(name.replace("%", "%%") + " %.1f" for name in ask.weighs) + ")"
    scores = []
    for _, *seen in zip(options, *columns, strict=True):
        mean = sum(map(mul, seen, weights)) / total
        scores.append(Score(-mean, shown % (mean, *seen)))
    return scores


def _ability(name: str, options: Sequence[Option]) -> Sequence[float]:
    """What each option has of an ability, from 0 to 10."""
    if name == "cost":
        bounds = [each.bound for each in options]
        least = min([each for each in bounds if each is not None], default=0)
        return [0.0 if each is None else _share(least, each) for each in bounds]
    known = [each.abilities.get(name, UNKNOWN) for each in options]
    if name != "speed":
        return known
    times = [each.load.seconds for each in options]
    shortest = min([each for each in times if each is not None], default=0.0)
    return [said if seen is None else _share(shortest, seen) for said, seen in zip(known, times, strict=True)]


def _share(best: float, own: float) -> float:
    """Ten for the best, five for what takes twice as much."""
    return 10.0 if own <= best else 10.0 * best / own
