"""From an exchange to its answer: plan, admit, and one attempt after the other until one answers.

It knows when to wait, which deployment is next and when to give up. What an attempt consists of is `attempts.py`; where
requests come from, and what is kept of them, is not known here.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from scribe_router.attempts import Attempts
from scribe_router.counting import counted
from scribe_router.errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    RateLimitExceeded,
    RequestError,
    UpstreamRateLimited,
)
from scribe_router.exchange import AttemptFailed, Call, Exchange, Passed
from scribe_router.limiter import Limiter
from scribe_router.outcome import error_for, limited, refused
from scribe_router.plan import Plan, Snapshot, day, plan_of
from scribe_router.policies.access import by_operator
from scribe_router.policies.tokens import Counted
from scribe_router.principals import ANYWHERE, Demand, Principal
from scribe_router.registry import Registry
from scribe_router.state import State
from scribe_router.stream import Answer, AnswerStream
from scribe_router.upstream.shape import Shaped
from scribe_router.walk import Step, Walk

R = TypeVar("R", bound=RequestError)


class AttemptLoop:
    """The loop over the deployments of one registry."""

    def __init__(
        self,
        registry: Registry,
        attempts: Attempts,
        limiter: Limiter,
        state: State,
        clock: Callable[[], float],
        randomness: random.Random,
    ) -> None:
        self._registry, self._attempts, self._limiter, self._state = registry, attempts, limiter, state
        self._clock, self._random = clock, randomness
        self._turns: Counter[str] = Counter()

    async def run(self, exchange: Exchange, deadline: float) -> Answer | AnswerStream:
        """Plan, admit and walk. Where every circuit is open and the policy waits: again, once a probe may go."""
        waits = self._registry.breaker is not None and self._registry.breaker.all_open == "wait"
        while True:
            try:
                exchange.plan = await self._first_plan(exchange)
                if not self._registry.routes(exchange.plan.model):  # of names that clients make up, there is no end
                    self._turns[exchange.plan.model] += 1
                exchange.warnings += [each for each in exchange.plan.warnings if each not in exchange.warnings]
                first = exchange.plan.candidates[0]
                await self._limiter.admit(exchange, partial(self._attempts.shaped, exchange, first))
                return await self._walk(exchange, exchange.plan, deadline)
            except CircuitOpen as error:
                seconds = error.retry_after or 0.0
                if not waits or exchange.abandoned or not await self._paused(exchange, seconds, deadline):
                    raise

    def plan(
        self,
        call: Call,
        principal: Principal,
        tokens: tuple[Counted, ...] = (),
        *,
        seed: int,
        demand: Demand = ANYWHERE,
    ) -> Plan:
        """The plan of a call as it would be walked now. Raises what `plan_of` raises."""
        now = self._clock()
        today, seen, full = day(now), self._state, self._limiter.full()
        snapshot = Snapshot(today, seed, seen.load(now), self._turns, now, seen.circuits, full)
        return plan_of(call, self._registry, snapshot, principal, counted=tokens, demand=demand)

    async def _first_plan(self, exchange: Exchange) -> Plan:
        """Where a tokenizer has to be asked it does not hold up other requests."""
        call, who = exchange.call, exchange.principal
        if exchange.of is not None and exchange.downgraded:  # what is held for this round pays for the cheaper way
            call = replace(call, body={**call.body, "model": exchange.downgraded[-1].requested})
            who = by_operator(who)
        planned = partial(self.plan, call, who, seed=self._random.getrandbits(32), demand=exchange.demand)
        try:
            found = planned()
            if not found.uncounted:
                return found
            return planned(await asyncio.to_thread(counted, exchange.call, found.uncounted))
        except RequestError as error:
            exchange.unplanned = error.message
            raise

    async def _walk(self, exchange: Exchange, way: Plan, deadline: float) -> Answer | AnswerStream:
        """The loop itself: which deployment next, when to wait, when to give up."""
        walk = Walk(way, self._registry.retries)
        step: Step | None = walk.start()
        failures: list[AttemptFailed] = []
        refusals: list[RequestError] = []
        while step is not None:
            if step.wait and not await self._paused(exchange, step.wait, deadline):
                break
            try:
                return await self._attempts.make(exchange, step.candidate, deadline)
            except AttemptFailed as failure:
                failures.append(failure.with_traceback(None))  # a kept traceback would keep the exchange alive
                if exchange.abandoned or self._clock() >= deadline:
                    break
                step = walk.failed(step.candidate, failure, self._random.random())
            except BudgetExceeded as refusal:
                refusals.append(_passed(exchange, step, refusal))
                step = walk.refused() if refusal.elsewhere else None
                if step is None and (cheaper := self._downgraded(exchange, refusal, walk.tried)) is not None:
                    walk, refusals = cheaper, []  # what is told is what the cheaper way would have cost
                    step = walk.start()
            except (CircuitOpen, UpstreamRateLimited, RateLimitExceeded) as refusal:  # what this deployment is at now
                refusals.append(_passed(exchange, step, refusal).with_traceback(None))
                told = limited(refusal)
                step = walk.failed(step.candidate, told, self._random.random()) if told else walk.refused()
            except RequestError as refusal:
                raise error_for(failures, refusal) from None
        late = DeadlineExceeded("the deadline passed") if self._clock() >= deadline else None
        raise error_for(failures, late or refused(refusals))

    async def _paused(self, exchange: Exchange, seconds: float, deadline: float) -> bool:
        """Wait within the deadline; whether there is still somebody to send anything for."""
        if self._clock() + seconds >= deadline:
            return False
        await asyncio.sleep(seconds)
        return not exchange.abandoned

    def _downgraded(self, exchange: Exchange, refusal: BudgetExceeded, tried: set[str]) -> Walk | None:
        """The way that a limit names for a request that does not fit; None where it names none, or nothing new."""
        name = self._registry.budgets.limit(refusal.limit).downgrade_to
        if name is None:
            return None
        cheaper = replace(exchange.call, body={**exchange.call.body, "model": name})
        try:
            tokens = exchange.plan.facts.size.counted if exchange.plan is not None else ()
            who, seed = by_operator(exchange.principal), self._random.getrandbits(32)
            way = self.plan(cheaper, who, tokens, seed=seed, demand=exchange.demand)  # of the name that was asked for
        except (ModelNotFound, PermissionDenied, InvalidRequest, CircuitOpen):
            # It is for another api, is elsewhere than the key may be served, lacks the effort, keeps failing.
            return None
        fresh = tuple(each for each in way.candidates if each.deployment not in tried)
        if not fresh:
            return None
        exchange.downgraded.append(way)
        exchange.warnings += [f"limit {refusal.limit} is short, so {name} serves", *way.warnings]
        via = f"downgrade by limit {refusal.limit}"
        way = replace(way, candidates=tuple(replace(each, via=via) for each in fresh))
        return Walk(way, self._registry.retries, tried)

    def following(self, served: Exchange, following: Exchange) -> Shaped:
        """The next round's request, as whoever served the one before would get it."""
        last, ways = served.attempts[-1].deployment, [each for each in (served.plan, *served.downgraded) if each]
        candidates = (each for way in ways for each in (*way.candidates, *way.context_window, *way.content_policy))
        return self._attempts.shaped(following, next(each for each in candidates if each.deployment == last))


def _passed(exchange: Exchange, step: Step, refusal: R) -> R:
    exchange.passed.append(Passed(step.candidate.deployment, refusal.code, refusal.message))
    return refusal
