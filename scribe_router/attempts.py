"""One upstream attempt: take its place, reserve, forward, learn, settle, leave.

It knows the order of these steps. What each of them decides is a policy's, and how bytes travel is a lane's.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from scribe_router.accounts import Accounts
from scribe_router.exchange import Attempt, AttemptFailed, Exchange, Json, Lane, Reached
from scribe_router.limiter import Limiter
from scribe_router.outcome import fault, too_late
from scribe_router.passages import redacting
from scribe_router.plan import Candidate
from scribe_router.redaction import Redaction
from scribe_router.registry import Registry
from scribe_router.state import State
from scribe_router.stream import Answer, AnswerStream, Finish, Source, Tape, assembled
from scribe_router.upstream.events import StreamReader, completed, served_by, unthinking, usage_of
from scribe_router.upstream.failures import concealed
from scribe_router.upstream.litellm_lane import LiteLLMLane, warm_up
from scribe_router.upstream.shape import Shaped, shape
from scribe_router.upstream.thinking import Thoughts
from scribe_router.upstream.wire import WireLane


class Forward(Protocol):
    """A lane: a way to send a shaped request."""

    async def call(self, shaped: Shaped) -> Json: ...
    def stream(self, shaped: Shaped) -> AsyncIterator[Json]: ...


class Attempts:
    """Attempts at the deployments of one registry. `spawn` runs what outlives the client, `close` ends an exchange
    whose stream has ended, with its outcome."""

    def __init__(
        self,
        registry: Registry,
        accounts: Accounts,
        limiter: Limiter,
        state: State,
        redaction: Redaction,
        clock: Callable[[], float],
        *,
        spawn: Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"],
        close: Callable[[Exchange, str], None],
    ) -> None:
        self._registry, self._accounts, self._limiter, self._state = registry, accounts, limiter, state
        self._redaction = redaction
        self._clock, self._spawn, self._close = clock, spawn, close
        self._wire = WireLane(registry.retries.connect_seconds, registry.retries.headers_seconds)
        self._litellm = LiteLLMLane()
        self._lanes: dict[Lane, Forward] = {"wire": self._wire, "litellm": self._litellm}

    def shaped(self, exchange: Exchange, candidate: Candidate) -> Shaped:
        """The request as a candidate gets it, without an output cap yet."""
        deployment = self._registry.deployment(candidate.deployment)
        auto = exchange.plan.auto if exchange.plan else None
        return shape(exchange.call, deployment, auto, candidate.lane, candidate.mode)

    async def make(self, exchange: Exchange, candidate: Candidate, deadline: float) -> Answer | AnswerStream:
        """One upstream attempt. Whatever happens after the reservation, it is settled exactly once.

        Raises `AttemptFailed`; `CircuitOpen` or `UpstreamRateLimited` where this deployment is left alone now; and what
        `Limiter.enter` and `Accounts.reserve` raise. Nothing is kept of it but after `AttemptFailed`.
        """
        shaped = self.shaped(exchange, candidate)
        deployment = shaped.deployment
        attempt = Attempt(
            id=f"at-{secrets.token_hex(12)}",
            deployment=deployment.id,
            model=deployment.litellm_model,
            provider=deployment.provider,
            lane=candidate.lane,
            started=self._clock(),
            via=candidate.via,
            upstream_limits=shaped.upstream_limits,
            round=exchange.number,
        )
        entry = self._state.begin(deployment.id, attempt.started, early=candidate.early)

        def leave(failure: AttemptFailed | None) -> None:
            self._state.end(entry, failure, self._clock(), attempt.usage.output if attempt.usage else 0)
            self._limiter.leave(attempt)

        try:
            await self._limiter.enter(exchange, attempt, shaped)
            shaped = await self._accounts.reserve(exchange, attempt, shaped)
        except BaseException:
            leave(fault(Reached.NOT_CONNECTED))
            raise
        exchange.attempts.append(attempt)
        attempt.effort = shaped.said
        warnings = (*shaped.warnings, *shaped.left_out)
        exchange.warnings += [each for each in warnings if each not in exchange.warnings]

        def settle(usage: Json | None, failure: AttemptFailed | None) -> None:
            try:
                self._accounts.settle(attempt, shaped.deployment, usage, failure, reader.streamed)
            finally:
                leave(failure)

        reader = StreamReader(shaped.choices, counting=deployment.cancel == "abort")
        left, first = max(0.0, deadline - self._clock()), self._registry.retries.first_token_seconds
        try:
            async with asyncio.timeout(left if first is None else min(left, first)):
                if exchange.call.stream:
                    answer = await self._stream(exchange, attempt, shaped, reader, settle)
                    self._state.answered(entry, self._clock())
                    return answer
                lane = self._lanes[attempt.lane]
                body = await (assembled(lane.stream(shaped), reader) if shaped.stream else lane.call(shaped))
        except AttemptFailed as failure:
            failure.error = concealed(failure.error, deployment.secrets)
            settle(reader.usage, failure)
            raise
        except TimeoutError:
            late = too_late(first, left, self._registry.retries.deadline_seconds)
            late.reached = Reached.STREAMED if reader.committed else late.reached
            settle(reader.usage, late)
            raise late from None
        except BaseException:
            settle(reader.usage, fault(Reached.LOST))
            raise
        attempt.provided_by, attempt.served = served_by(body)
        settle(usage_of(body), None)
        completes = exchange.call.api == "completions"
        body = completed(body) if completes else Thoughts(tagged=deployment.think_tags).named(body)
        if exchange.call.body.get("hide_thinking") is True:
            body = unthinking(body)
        body = self._redaction.answer(body)
        return Answer(exchange, {**body, "model": exchange.requested})

    async def _stream(
        self,
        exchange: Exchange,
        attempt: Attempt,
        shaped: Shaped,
        reader: StreamReader,
        settle: Finish,
    ) -> AnswerStream:
        def finish(usage: Json | None, failure: AttemptFailed | None) -> None:
            settle(usage, failure)
            self._close(exchange, failure.category.value if failure else "answered")

        source = Source(
            events=self._lanes[attempt.lane].stream(shaped),
            reader=reader,
            finish=finish,
            thoughts=Thoughts(tagged=shaped.deployment.think_tags),
            idle=self._registry.retries.idle_seconds,
            drain=self._registry.retries.deadline_seconds,
            abort=shaped.deployment.cancel == "abort",
            tape=Tape() if exchange.cache else None,
            edit=redacting(self._redaction.answering()),
            shown=not exchange.demand.hipaa,
        )
        head = await source.open()
        attempt.provided_by, attempt.served = max(map(served_by, head))
        source.start(self._spawn)
        attempt.first_token = self._clock()
        return AnswerStream(exchange, head, source)

    async def warm_up(self) -> None:
        """Import LiteLLM, which takes some seconds, if a deployment needs it."""
        deployments, rows = self._registry.deployments.values(), (each.row for each in self._registry.wildcards)
        if any(each.lane == "litellm" and not each.missing for each in (*deployments, *rows)):
            await asyncio.to_thread(warm_up)

    async def aclose(self) -> None:
        """Close the connections of both lanes. Idempotent."""
        await self._wire.aclose()
        self._litellm.close()
