"""THE request path, readable from top to bottom: open, plan, and for each candidate reserve, forward, learn, settle.

It knows the order of the steps. What each step decides is a policy's, and how bytes travel is a lane's.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from unicodedata import category

from scribe_router.accounts import Accounts
from scribe_router.alerts import Alerts
from scribe_router.cache import Cache
from scribe_router.errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    RequestError,
    Unavailable,
    UpstreamRateLimited,
)
from scribe_router.exchange import (
    LOCAL,
    Attempt,
    AttemptFailed,
    Call,
    Exchange,
    Json,
    Lane,
    Principal,
    Reached,
)
from scribe_router.facts import allowed, facts
from scribe_router.journal import Journal, summary
from scribe_router.outcome import error_for, fault, limited, refused, too_late
from scribe_router.plan import Candidate, Plan, Snapshot, plan
from scribe_router.policies.parameters import admit
from scribe_router.python_api import PythonApi
from scribe_router.registry import Registry
from scribe_router.state import State
from scribe_router.stores import open_ledger
from scribe_router.stores.contract import Ledger, StoreUnavailable
from scribe_router.stream import Answer, AnswerStream, Finish, Source, Tape, assembled, replayed
from scribe_router.upstream.events import StreamReader, served_by, unthinking, usage_of
from scribe_router.upstream.litellm_lane import LiteLLMLane, warm_up
from scribe_router.upstream.shape import Shaped, shape
from scribe_router.upstream.thinking import Thoughts
from scribe_router.upstream.wire import WireLane
from scribe_router.walk import Step, Walk

log = logging.getLogger("scribe_router.router")
requests = logging.getLogger("scribe_router.requests")
DRAIN_SECONDS = 30.0


class Forward(Protocol):
    """A lane: a way to send a shaped request."""

    async def call(self, shaped: Shaped) -> Json: ...
    def stream(self, shaped: Shaped) -> AsyncIterator[Json]: ...


class Router(PythonApi):
    """Routes requests as a registry says. One instance serves any number of calls, from several event loops."""

    def __init__(
        self,
        registry: Registry,
        *,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
    ) -> None:
        self.registry = registry
        self.ledger = ledger if ledger is not None else open_ledger(registry.store.url, registry.store.durability)
        self.journal = Journal(Path(registry.store.journal) if registry.store.journal else None)
        self._clock, self._random = clock, randomness or random.Random()  # noqa: S311  (spreads load, guards nothing)
        self.alerts = Alerts(self.ledger, registry.budgets, clock)
        self._accounts = Accounts(self.alerts, registry.budgets, clock, needs_ledger=registry.needs_ledger)
        self._cache = Cache(registry.cache, registry.version, clock)
        self.state = State(registry.breaker)
        self._wire = WireLane(registry.retries.connect_seconds, registry.retries.headers_seconds)
        self._litellm = LiteLLMLane()
        self._lanes: dict[Lane, Forward] = {"wire": self._wire, "litellm": self._litellm}
        self._turns: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        super().__init__()

    # -- the path

    async def serve(self, call: Call, principal: Principal = LOCAL) -> Answer | AnswerStream:
        """Serve one request. A client that hangs up does not stop what the provider bills: it is read and settled.

        Raises a `RequestError`.
        """
        exchange = self._open(call, principal)
        task = self._spawn(self._serve(exchange))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.callers.discard(exchange.id)
            task.add_done_callback(_abandon)
            raise

    def plan(self, call: Call, *, seed: int | None = None) -> Plan:
        """The plan of a call, as `serve` would walk it. Raises `ModelNotFound`, `InvalidRequest` and `CircuitOpen`."""
        seed, now = self._random.getrandbits(32) if seed is None else seed, self._clock()
        call, _ = allowed(call, self.registry.features)
        known = facts(call, self.registry.effort, self.registry.routing)
        today, seen = datetime.fromtimestamp(now, UTC).date(), self.state
        return plan(known, self.registry, Snapshot(today, seed, seen.load(now), self._turns, now, seen.circuits))

    def health(self) -> list[Json]:
        """What this process has seen of each deployment: its circuit, what is in flight, latency, the last failure."""
        return self.state.health(self.registry.deployments.values(), self._clock())

    def _open(self, call: Call, principal: Principal) -> Exchange:
        options = call.options
        for name, value in (("user", options.user), ("team", options.team)):
            # SQLite reads a name within JSON up to its NUL, and no store keeps half of a surrogate pair.
            if any(category(letter) in ("Cc", "Cs") for letter in value or ""):
                text = f"{name} holds a control character, or half of one letter"
                raise InvalidRequest(text, code="invalid_value", param=name)
        who = Principal(principal.name, options.user or principal.user, options.team or principal.team)
        named = call.model or self.registry.routing.default(call.api)
        return Exchange(f"ex-{secrets.token_hex(12)}", call, who, self.registry.version, self._clock(), named)

    async def _serve(self, exchange: Exchange) -> Answer | AnswerStream:
        try:
            exchange.warnings += admit(exchange.call.api, exchange.call.body)
            exchange.call, taken_out = allowed(exchange.call, self.registry.features)
            exchange.warnings += taken_out
            answer = await self._answered(exchange)
        except RequestError as error:
            self._refused(exchange, error)
            raise
        except StoreUnavailable as error:
            raise self._refused(exchange, Unavailable(str(error), retry_after=1.0)) from error
        except Exception as error:
            log.exception("%s ended with a fault of the router", exchange.id)
            raise self._refused(exchange, InternalError("a fault of the router; its log has more")) from error
        if isinstance(answer, Answer):
            self._close(exchange, "answered")
        return answer

    async def _answered(self, exchange: Exchange) -> Answer | AnswerStream:
        """From the cache, from an identical request that is under way, or from upstream."""
        deadline = exchange.opened + (exchange.call.options.timeout or self.registry.retries.deadline_seconds)
        found = await self._cache.serve(exchange, deadline, lambda: self._planned(exchange, deadline), self._spawn)
        return self._replay(exchange, found) if isinstance(found, Tape) else found

    async def _planned(self, exchange: Exchange, deadline: float) -> Answer | AnswerStream:
        """Plan and walk. Where every circuit is open and the policy waits: again, once a probe may go."""
        waits = self.registry.breaker is not None and self.registry.breaker.all_open == "wait"
        while True:
            try:
                exchange.plan = self.plan(exchange.call)
                if not self.registry.routes(exchange.plan.model):  # of names that clients make up, there is no end
                    self._turns[exchange.plan.model] += 1
                exchange.warnings += [each for each in exchange.plan.warnings if each not in exchange.warnings]
                return await self._walk(exchange, exchange.plan, deadline)
            except CircuitOpen as error:
                seconds = error.retry_after or 0.0
                if not waits or exchange.abandoned or self._clock() + seconds >= deadline:
                    raise
            await asyncio.sleep(seconds)

    async def _walk(self, exchange: Exchange, way: Plan, deadline: float) -> Answer | AnswerStream:
        """The attempt loop: which deployment next, when to wait, when to give up."""
        walk = Walk(way, self.registry.retries)
        step: Step | None = walk.start()
        failures: list[AttemptFailed] = []
        refusals: list[RequestError] = []
        while step is not None:
            if step.wait and self._clock() + step.wait >= deadline:
                break
            if step.wait:
                await asyncio.sleep(step.wait)
            try:
                return await self._attempt(exchange, step.candidate, deadline)
            except AttemptFailed as failure:
                failures.append(failure.with_traceback(None))  # a kept traceback would keep the exchange alive
                if exchange.abandoned or self._clock() >= deadline:
                    break
                step = walk.failed(step.candidate, failure, self._random.random())
            except BudgetExceeded as refusal:
                refusals.append(refusal)
                step = walk.refused() if refusal.elsewhere else None
                if step is None and (cheaper := self._downgraded(exchange, refusal, walk.tried)) is not None:
                    walk, refusals = cheaper, []  # what is told is what the cheaper way would have cost
                    step = walk.start()
            except (CircuitOpen, UpstreamRateLimited) as refusal:  # what others were told of this deployment
                refusals.append(refusal.with_traceback(None))
                told = limited(refusal)
                step = walk.failed(step.candidate, told, self._random.random()) if told else walk.refused()
            except RequestError as refusal:
                raise error_for(failures, refusal) from None
        late = DeadlineExceeded("the deadline passed") if self._clock() >= deadline else None
        raise error_for(failures, late or refused(refusals))

    def _downgraded(self, exchange: Exchange, refusal: BudgetExceeded, tried: set[str]) -> Walk | None:
        """The way that a limit names for a request that does not fit; None where it names none, or nothing new."""
        name = self.registry.budgets.limit(refusal.limit).downgrade_to
        if name is None:
            return None
        cheaper = replace(exchange.call, body={**exchange.call.body, "model": name})
        try:
            way = self.plan(cheaper)
        except (ModelNotFound, InvalidRequest, CircuitOpen):  # it is for another api, lacks the effort, keeps failing
            return None
        fresh = tuple(each for each in way.candidates if each.deployment not in tried)
        if not fresh:
            return None
        exchange.warnings += [f"limit {refusal.limit} is short, so {name} serves", *way.warnings]
        via = f"downgrade by limit {refusal.limit}"
        way = replace(way, candidates=tuple(replace(each, via=via) for each in fresh))
        return Walk(way, self.registry.retries, tried)

    async def _attempt(self, exchange: Exchange, candidate: Candidate, deadline: float) -> Answer | AnswerStream:
        """One upstream attempt. Whatever happens after the reservation, it is settled exactly once.

        Raises `CircuitOpen` or `UpstreamRateLimited` where this deployment is left alone now.
        """
        deployment = self.registry.deployment(candidate.deployment)
        auto = exchange.plan.auto if exchange.plan else None
        shaped = shape(exchange.call, deployment, auto, candidate.lane, candidate.mode)
        attempt = Attempt(
            id=f"at-{secrets.token_hex(12)}",
            deployment=deployment.id,
            model=deployment.litellm_model,
            provider=deployment.provider,
            lane=candidate.lane,
            started=self._clock(),
            via=candidate.via,
        )
        entry = self.state.begin(deployment.id, attempt.started, early=candidate.early)
        try:
            shaped = await self._accounts.reserve(exchange, attempt, shaped)
        except BaseException:
            self.state.end(entry, fault(Reached.NOT_CONNECTED), self._clock())
            raise
        exchange.attempts.append(attempt)
        attempt.effort = shaped.said
        warnings = (*shaped.warnings, *shaped.left_out)
        exchange.warnings += [each for each in warnings if each not in exchange.warnings]

        def settle(usage: Json | None, failure: AttemptFailed | None) -> None:
            try:
                self._accounts.settle(attempt, shaped.deployment, usage, failure, reader.streamed)
            finally:
                self.state.end(entry, failure, self._clock(), attempt.usage.output if attempt.usage else 0)

        reader = StreamReader(shaped.choices, counting=deployment.cancel == "abort")
        left, first = max(0.0, deadline - self._clock()), self.registry.retries.first_token_seconds
        try:
            async with asyncio.timeout(left if first is None else min(left, first)):
                if exchange.call.stream:
                    answer = await self._stream(exchange, attempt, shaped, reader, settle)
                    self.state.answered(entry, self._clock())
                    return answer
                lane = self._lanes[attempt.lane]
                body = await (assembled(lane.stream(shaped), reader) if shaped.stream else lane.call(shaped))
        except AttemptFailed as failure:
            settle(reader.usage, failure)
            raise
        except TimeoutError:
            late = too_late(first, left, self.registry.retries.deadline_seconds)
            late.reached = Reached.STREAMED if reader.committed else late.reached
            settle(reader.usage, late)
            raise late from None
        except BaseException:
            settle(reader.usage, fault(Reached.LOST))
            raise
        attempt.provided_by, attempt.served = served_by(body)
        settle(usage_of(body), None)
        body = Thoughts(tagged=deployment.think_tags).named(body)
        if exchange.call.body.get("hide_thinking") is True:
            body = unthinking(body)
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
            idle=self.registry.retries.idle_seconds,
            drain=self.registry.retries.deadline_seconds,
            abort=shaped.deployment.cancel == "abort",
            tape=Tape() if exchange.cache else None,
        )
        head = await source.open()
        attempt.provided_by, attempt.served = max(map(served_by, head))
        source.start(self._spawn)
        attempt.first_token = self._clock()
        return AnswerStream(exchange, head, source)

    def _replay(self, exchange: Exchange, tape: Tape) -> AnswerStream:
        def finish(_: Json | None, failure: AttemptFailed | None) -> None:
            self._close(exchange, failure.category.value if failure else "answered")

        idle, drain = self.registry.retries.idle_seconds, self.registry.retries.deadline_seconds
        return replayed(exchange, tape, finish, self._spawn, idle=idle, drain=drain)

    def _refused(self, exchange: Exchange, error: RequestError) -> RequestError:
        error.exchange = exchange
        self._close(exchange, error.code)
        return error

    def _close(self, exchange: Exchange, outcome: str) -> None:
        exchange.outcome, exchange.ended = outcome, self._clock()
        self.journal.write(exchange)
        if requests.isEnabledFor(logging.INFO):
            requests.info(summary(exchange))

    # -- life

    async def warm_up(self) -> None:
        """Open what the first calls would wait for: the ledger, and LiteLLM, which takes some seconds to import."""
        with suppress(StoreUnavailable):
            await self.ledger.flush()
        deployments, rows = self.registry.deployments.values(), (each.row for each in self.registry.wildcards)
        if any(each.lane == "litellm" and not each.missing for each in (*deployments, *rows)):
            await asyncio.to_thread(warm_up)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Finish what is under way (30 s at most), settle, and let go of connections and files. Idempotent."""
        loop = asyncio.get_running_loop()
        mine = {task for task in self._tasks if task.get_loop() is loop and task is not asyncio.current_task()}
        if mine:
            _, late = await asyncio.wait(mine, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.alerts.aclose()
        self._cache.close()
        await self._wire.aclose()
        self._litellm.close()
        self.ledger.close()
        self.journal.close()


def _abandon(task: "asyncio.Task[Any]") -> None:
    """The client has gone: an answer that still comes as a stream is read to its end."""
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), AnswerStream):
        task.get_loop().create_task(task.result().aclose())
