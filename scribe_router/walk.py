"""The order of attempts through a plan as failures come in. Pure: pauses are returned, not slept.

A category decides: walk on to the next candidate, go to the chain that is meant for this failure, wait and try
again, or stop. Every candidate is tried before anything is waited for.
"""

from collections import Counter
from dataclasses import dataclass

from scribe_router.exchange import AttemptFailed, Category
from scribe_router.plan import Candidate, Plan
from scribe_router.policies.retries import WHAT_FOLLOWS, RetriesPolicy, pause


@dataclass(frozen=True, slots=True)
class Step:
    """Try `candidate` after `wait` seconds."""

    candidate: Candidate
    wait: float = 0.0


class Walk:
    """One request's way through its plan."""

    def __init__(self, plan: Plan, policy: RetriesPolicy) -> None:
        self._plan = plan
        self._policy = policy
        self._queue = list(plan.candidates)
        self._failures: Counter[tuple[str, Category]] = Counter()
        self._waiting: list[Step] = []
        self.tried: set[str] = set()

    def start(self) -> Step:
        """The first attempt. A plan has at least one candidate."""
        return self._take()

    def failed(self, candidate: Candidate, failure: AttemptFailed, draw: float) -> Step | None:
        """What follows the failure of `candidate`; None when nothing may. `draw` in [0, 1) spreads the pause."""
        follows = WHAT_FOLLOWS[failure.category]
        if follows == "stop":
            return None
        if follows == "context_window":
            self._only(self._plan.context_window, self._wider(candidate))
        elif follows == "content_policy":
            self._only(self._plan.content_policy, [])
        else:
            self._remember(candidate, failure, draw)
        if self._queue:
            return self._take()
        return self._wait()

    def _take(self) -> Step:
        candidate = self._queue.pop(0)
        self.tried.add(candidate.deployment)
        return Step(candidate)

    def _wider(self, failed: Candidate) -> list[Candidate]:
        rest = [each for each in self._queue if not each.fallback]
        return [each for each in rest if failed.window and each.window and each.window > failed.window]

    def _only(self, chain: tuple[Candidate, ...], rest: list[Candidate]) -> None:
        self._waiting.clear()
        self._queue = [each for each in (*rest, *chain) if each.deployment not in self.tried]

    def _remember(self, candidate: Candidate, failure: AttemptFailed, draw: float) -> None:
        key = candidate.deployment, failure.category
        self._failures[key] += 1
        seconds = pause(self._policy, failure.category, self._failures[key], retry_after=failure.retry_after, draw=draw)
        if seconds is not None:
            self._waiting.append(Step(candidate, seconds))

    def _wait(self) -> Step | None:
        if not self._waiting:
            return None
        step = min(self._waiting, key=lambda each: each.wait)
        self._waiting = [
            Step(each.candidate, max(0.0, each.wait - step.wait)) for each in self._waiting if each != step
        ]
        return step
