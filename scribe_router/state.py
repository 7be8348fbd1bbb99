"""What this process has seen of its deployments: circuits, what is in flight, speed. Each call is O(1), none waits.

It records attempts as they begin and end; what that means for a circuit is the policy's. The clock is an argument.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from types import MappingProxyType

from scribe_router.deployment import Deployment
from scribe_router.errors import CircuitOpen, UpstreamRateLimited
from scribe_router.exchange import AttemptFailed, Category, Json
from scribe_router.policies.breaker import CLOSED, BreakerPolicy, Circuit, admitted, ended
from scribe_router.policies.strategies import Load

WEIGHT = 0.2  # of the newest figure in an average
MOST_MADE = 1024  # deployments of names that clients thought of, which only wildcards serve
FORGET_SECONDS = 600.0  # after which what was measured counts no more, so that what was slow is seen anew


@dataclass(slots=True)
class Entry:
    """An attempt that has begun. A `probe` holds its circuit half-open until it has `answered` or ended."""

    deployment: str
    started: float
    generation: int
    probe: bool
    answered: float | None = None


@dataclass(slots=True)
class _Seen:
    """`first` and `pace` are averages, seconds to the first content and tokens per second after it; `at` is when."""

    in_flight: int = 0
    first: float | None = None
    pace: float | None = None
    at: float = 0.0
    failure: Category | None = None

    def load(self, now: float) -> Load:
        stale = now - self.at > FORGET_SECONDS
        return Load(self.in_flight) if stale else Load(self.in_flight, self.first, self.pace)


class _Loads(Mapping[str, Load]):
    """What was seen as it counts at a moment: a view of all, which is worked out where it is looked at."""

    def __init__(self, seen: Mapping[str, _Seen], now: float) -> None:
        self._seen, self._now = seen, now

    def __getitem__(self, name: str) -> Load:
        return self._seen[name].load(self._now)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)


class State:
    """Of the deployments of one registry; several event loops may share it. Without a policy circuits stay closed.

    What is seen of those that are `configured` is kept; of others it is that of the last `MOST_MADE`.
    """

    def __init__(self, policy: BreakerPolicy | None, configured: Container[str] = ()) -> None:
        self._policy, self._configured = policy, configured
        self._lock = RLock()  # a stream that the collector drops ends wherever the collector runs, here too
        self._circuits: dict[str, Circuit] = {}
        self._seen: dict[str, _Seen] = {}
        self._made: dict[str, None] = {}

    @property
    def circuits(self) -> Mapping[str, Circuit]:
        """The circuits that have ever counted a failure, by deployment: a view, read-only."""
        return MappingProxyType(self._circuits)

    def load(self, now: float) -> Mapping[str, Load]:
        """What was seen of deployments lately, for strategies: a view."""
        return _Loads(self._seen, now)

    def begin(self, deployment: str, now: float, *, early: bool = False, timed: bool = True) -> Entry:
        """An attempt begins; `end` has to follow. `early` lets a probe go before the circuit's pause is over; what is
        not `timed` says nothing of how fast an answer comes.

        Raises `CircuitOpen`, and `UpstreamRateLimited` before the moment that the provider named.
        """
        with self._lock:
            circuit = self._circuits.get(deployment, CLOSED)
            if rest := circuit.resting(now):
                raise UpstreamRateLimited(f"{deployment} is at its provider's rate limit", retry_after=rest)
            begun = admitted(circuit, now, early=early)
            if begun is None:
                why = f"the circuit of {deployment} is open: {circuit.reason(now)}"
                raise CircuitOpen(why, retry_after=circuit.wait(now))
            if begun is not circuit:
                self._circuits[deployment] = begun
            self._seen.setdefault(deployment, _Seen()).in_flight += 1
            if deployment not in self._configured:
                self._forget_made(deployment)
        return Entry(deployment, now, begun.generation, probe=begun.probing, answered=None if timed else now)

    def _forget_made(self, newest: str) -> None:
        """Forget the one that began the longest ago of those that clients thought of, unless all are in flight."""
        self._made.pop(newest, None)
        self._made[newest] = None
        if len(self._made) > MOST_MADE:
            idle = next((each for each in self._made if not self._seen[each].in_flight), None)
            if idle is not None:
                del self._made[idle], self._seen[idle]
                self._circuits.pop(idle, None)

    def answered(self, entry: Entry, now: float) -> None:
        """The first content of a stream has come: as a probe it has done its part, however long it goes on."""
        with self._lock:
            self._sample(entry, now)
            if entry.probe:
                self._learn(entry, None, now)
                entry.probe = False

    def end(self, entry: Entry, failure: AttemptFailed | None, now: float, output: int = 0) -> None:
        """The attempt has ended, once for each that began; `output` is the number of tokens that came."""
        with self._lock:
            seen = self._seen[entry.deployment]
            seen.in_flight -= 1
            if failure is None and entry.answered is not None and output and now > entry.answered:
                seen.pace = _average(seen.pace, output / (now - entry.answered))
            if failure is None:
                self._sample(entry, now)
            elif failure.category is not Category.INTERNAL:
                seen.failure = failure.category
            self._learn(entry, failure, now)

    def _sample(self, entry: Entry, now: float) -> None:
        if entry.answered is None:
            seen = self._seen[entry.deployment]
            if now - seen.at > FORGET_SECONDS:
                seen.first = seen.pace = None
            seen.first, seen.at = _average(seen.first, now - entry.started), now
            entry.answered = now

    def _learn(self, entry: Entry, failure: AttemptFailed | None, now: float) -> None:
        if self._policy is None:
            return
        before = self._circuits.get(entry.deployment, CLOSED)
        after = ended(before, self._policy, failure, now, generation=entry.generation, probe=entry.probe)
        if after is not before:
            self._circuits[entry.deployment] = after

    def health(self, deployments: Iterable[Deployment], now: float) -> list[Json]:
        """Each deployment as an operator sees it. `latency_seconds` is until the first content of a stream or a plain
        answer, `tokens_per_second` after that; `free_in_seconds` until a probe may go, or what Retry-After names."""
        return [self._health(each, now) for each in deployments]

    def _health(self, deployment: Deployment, now: float) -> Json:
        circuit, seen = self._circuits.get(deployment.id, CLOSED), self._seen.get(deployment.id, _Seen())
        load = seen.load(now)
        free = max(circuit.until - now, circuit.resting(now), 0.0)
        return {
            "deployment": deployment.id,
            "model": deployment.model,
            "provider": deployment.provider,
            "missing": deployment.missing,
            "circuit": circuit.state(now),
            "failures_in_a_row": circuit.failures,
            "free_in_seconds": round(free, 3),
            "in_flight": seen.in_flight,
            "latency_seconds": None if load.first_token is None else round(load.first_token, 6),
            "tokens_per_second": None if load.tokens_per_second is None else round(load.tokens_per_second, 3),
            "last_failure": seen.failure,
        }


def _average(before: float | None, newest: float) -> float:
    return newest if before is None else before + WEIGHT * (newest - before)
