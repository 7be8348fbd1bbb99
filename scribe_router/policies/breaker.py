"""When a deployment is left alone: `policies/breaker.yaml`. A pure state machine; the clock is an argument.

Closed, it counts failures in a row. Open, nothing is sent until a pause is over. Half-open, one probe at a time goes
through; some successes close it, one failure opens it anew. What began before it opened says nothing of it any more.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from pydantic import Field

from scribe_router.exchange import AttemptFailed, Category
from scribe_router.policies.schema import Shape

State = Literal["closed", "open", "half_open"]
# What tells of the deployment. A rate limit tells that it lives, and all others tell of the request.
COUNTS = frozenset(
    {
        *(Category.SERVER, Category.NETWORK, Category.TIMEOUT, Category.STREAM),
        *(Category.AUTHENTICATION, Category.NOT_FOUND),
    }
)
FORBIDDEN, OVERLOADED = 403, 529  # some hosts say 403 to content that they flag; 529 is a rate limit of nobody's own
POLL_SECONDS = 0.25  # until another look, while a probe of unknown length is under way
CLOCK_SLEW = 0.05  # seconds by which the clock may fall behind the pause that a walk has made


class BreakerPolicy(Shape):
    """A circuit opens after `failures` in a row, for `open_seconds`; each failed probe doubles that up to
    `longest_seconds`, which bounds a provider's Retry-After too. `successes` of probes close it. `all_open` is what
    becomes of a request for which every circuit is open: `probe` tries the one that opened first, `fail` refuses it,
    `wait` waits within its deadline."""

    failures: int = Field(default=5, ge=1, le=1_000)
    open_seconds: float = Field(default=60.0, gt=0, le=3_600)
    longest_seconds: float = Field(default=300.0, gt=0, le=86_400)
    successes: int = Field(default=2, ge=1, le=100)
    all_open: Literal["probe", "fail", "wait"] = "probe"


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit of one deployment; times are seconds since the epoch.

    `failures` in a row, the last of `category`. `opened` is since when it is not closed, `until` when a probe may go,
    `openings` how often it opened in a row, `successes` those of probes since, `generation` how often it ever opened.
    `rest` is the moment that the provider named by Retry-After.
    """

    failures: int = 0
    category: Category | None = None
    opened: float | None = None
    until: float = 0.0
    openings: int = 0
    successes: int = 0
    probing: bool = False
    generation: int = 0
    rest: float = 0.0

    def state(self, now: float) -> State:
        """Closed, open, or half-open: a probe may go, or is under way."""
        if self.opened is None:
            return "closed"
        return "half_open" if now >= self.until or self.probing else "open"

    def blocked(self, now: float) -> bool:
        """Whether nothing may be sent: the pause is not over, or a probe is under way."""
        return self.opened is not None and (self.probing or now < self.until)

    def in_the_way(self, now: float) -> bool:
        """Whether a plan has anything to say of it: it is blocked, or it rests."""
        return self.opened is not None or self.rest > now

    def wait(self, now: float) -> float:
        """Seconds until it is worth another look."""
        return max(self.until - now, POLL_SECONDS)

    def resting(self, now: float) -> float:
        """Seconds until the moment that the provider named; 0 once it has come."""
        left = self.rest - now
        return left if left > CLOCK_SLEW else 0.0

    def reason(self, now: float) -> str:
        """Why it is not closed, with the numbers."""
        times = f"{self.failures} failure{'s' if self.failures != 1 else ''}"
        why = f"{times} in a row (the last: {self.category})"
        then = "a probe is under way" if self.probing else f"a probe may go in {max(0, ceil(self.until - now))} s"
        return f"{why}, {then}"


CLOSED = Circuit()


def tells(failure: AttemptFailed | None) -> bool | None:
    """Whether an attempt's end speaks for the deployment (True), against it (False), or not of it at all (None)."""
    if failure is None:
        return True
    against = failure.category in COUNTS or failure.status == OVERLOADED
    return False if against and not failure.blameless and failure.status != FORBIDDEN else None


def admitted(circuit: Circuit, now: float, *, early: bool = False) -> Circuit | None:
    """The circuit once another attempt has begun, or None where it may not. `early` does not wait for the pause."""
    if circuit.opened is None:
        return circuit
    if circuit.probing or (now < circuit.until and not early):
        return None
    return replace(circuit, probing=True)


def ended(
    circuit: Circuit, policy: BreakerPolicy, failure: AttemptFailed | None, now: float, *, generation: int, probe: bool
) -> Circuit:
    """The circuit after the end of an attempt that began in `generation`, as a `probe` or not."""
    after = failure.retry_after if failure is not None else None
    if after:
        circuit = replace(circuit, rest=max(circuit.rest, now + min(after, policy.longest_seconds)))
    if generation != circuit.generation:
        return circuit
    if probe:
        circuit = replace(circuit, probing=False)
    good = tells(failure)
    if good:
        return _succeeded(circuit, policy, now, probe=probe)
    return circuit if good is None or failure is None else _failed(circuit, policy, failure.category, now)


def _succeeded(circuit: Circuit, policy: BreakerPolicy, now: float, *, probe: bool) -> Circuit:
    if circuit.opened is None:
        return replace(circuit, failures=0) if circuit.failures else circuit
    if not probe:
        return circuit
    if circuit.successes + 1 >= policy.successes:
        return Circuit(generation=circuit.generation, rest=circuit.rest)
    return replace(circuit, successes=circuit.successes + 1, until=min(circuit.until, now))


def _failed(circuit: Circuit, policy: BreakerPolicy, category: Category, now: float) -> Circuit:
    """One more failure: enough of them in a row open the circuit, and one does while it is not closed."""
    circuit = replace(circuit, failures=circuit.failures + 1, category=category)
    if circuit.opened is None and circuit.failures < policy.failures:
        return circuit
    # A probe that did not wait for the pause makes the next one no longer.
    openings = circuit.openings + (now >= circuit.until)
    longest = max(policy.open_seconds, policy.longest_seconds)
    seconds = min(policy.open_seconds * 2.0 ** min(openings - 1, 32), longest)
    return replace(
        circuit,
        opened=now if circuit.opened is None else circuit.opened,
        until=now + seconds,
        openings=openings,
        successes=0,
        probing=False,
        generation=circuit.generation + 1,
    )
