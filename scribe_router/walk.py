"""The order of attempts through a plan as failures come in. Pure: pauses are returned, not slept.

A category decides: walk on to the next candidate, go to the chain that is meant for this failure, wait and try
again, or stop. Every candidate is tried before anything is waited for.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from scribe_router.exchange import AttemptFailed
from scribe_router.plan import Candidate, Plan
from scribe_router.policies.retries import RULES, WHAT_FOLLOWS, RetriesPolicy, pause


@dataclass(frozen=True, slots=True)
class Step:
    """Try `candidate` after `wait` seconds."""

    candidate: Candidate
    wait: float = 0.0


class Walk:
    """One request's way through its plan. `tried` are deployments that another way has led to before."""

    def __init__(self, plan: Plan, policy: RetriesPolicy, tried: Iterable[str] = ()) -> None:
        self._plan = plan
        self._policy = policy
        self._queue = list(plan.candidates)
        self._failures: Counter[tuple[str, str]] = Counter()
        self._waiting: list[Step] = []
        self.tried = set(tried)

    def start(self) -> Step:
        """The first attempt. A plan has at least one candidate."""
        return self._take()

    def failed(self, candidate: Candidate, failure: AttemptFailed, draw: float) -> Step | None:
        """What follows the failure of `candidate`; None when nothing may. `draw` in [0, 1) spreads the pause."""
        follows = WHAT_FOLLOWS[failure.category]
        if follows == "stop":
            return None
        if follows == "context_window":
            self._only(self._plan.context_window, lambda each: _wider(each, candidate))
        elif follows == "content_policy":
            self._only(self._plan.content_policy, lambda each: False)
        elif not candidate.early:  # its circuit is open: one try is a probe, another one is none
            self._remember(candidate, failure, draw)
        return self._take() if self._queue else self._wait()

    def refused(self) -> Step | None:
        """What follows where nothing was sent, because this candidate may not be paid for: the next one, at once."""
        return self._take() if self._queue else self._wait()

    def _take(self) -> Step:
        candidate = self._queue.pop(0)
        self.tried.add(candidate.deployment)
        return Step(candidate)

    def _only(self, chain: tuple[Candidate, ...], stays: Callable[[Candidate], bool]) -> None:
        """Go on with what `stays` of the candidates, then with the chain; of what is waited for, with the same."""
        of_chain = {each.deployment for each in chain}
        self._waiting = [
            step for step in self._waiting if step.candidate.deployment in of_chain or stays(step.candidate)
        ]
        ahead = {each.deployment: each for each in (*filter(stays, self._queue), *chain)}
        self._queue = [each for each in ahead.values() if each.deployment not in self.tried]

    def _remember(self, candidate: Candidate, failure: AttemptFailed, draw: float) -> None:
        key = candidate.deployment, RULES.get(failure.category, failure.category.value)
        self._failures[key] += 1
        seconds = pause(self._policy, failure.category, self._failures[key], retry_after=failure.retry_after, draw=draw)
        if seconds is not None:
            self._waiting.append(Step(candidate, seconds))

    def _wait(self) -> Step | None:
        """The shortest pause comes first, and counts for the others too."""
        if not self._waiting:
            return None
        step = min(self._waiting, key=lambda each: each.wait)
        self._waiting.remove(step)
        self._waiting = [replace(each, wait=each.wait - step.wait) for each in self._waiting]
        return step


def _wider(each: Candidate, failed: Candidate) -> bool:
    """Whether a request that was too long for `failed` may fit into `each`, as far as the windows are known.

    A general fallback stands in for a deployment that is down, not for one that is too small: it counts only when it
    was a fallback that was too small.
    """
    known = each.window is not None and failed.window is not None
    return known and (each.window or 0) > (failed.window or 0) and (failed.fallback or not each.fallback)
