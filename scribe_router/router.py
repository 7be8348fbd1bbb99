"""THE request path, readable from top to bottom: open, plan, admit, and one attempt after the other until one answers.

It knows the order of the steps. What each step decides is a policy's, and what an attempt consists of is `attempts.py`.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unicodedata import category

from scribe_router import feedback
from scribe_router.access import Access
from scribe_router.accounts import Accounts
from scribe_router.alerts import Alerts
from scribe_router.attempts import Attempts
from scribe_router.cache import Cache
from scribe_router.counting import counted, settled
from scribe_router.credentials import Finding, verified
from scribe_router.errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    RateLimitExceeded,
    RequestError,
    Unavailable,
    UpstreamRateLimited,
)
from scribe_router.exchange import AttemptFailed, Call, Exchange, Json, Passed
from scribe_router.facts import allowed
from scribe_router.journal import Journal, summary
from scribe_router.limiter import Limiter
from scribe_router.outcome import error_for, limited, refused
from scribe_router.plan import Plan, Snapshot, facts_of, plan_of
from scribe_router.policies import residency
from scribe_router.policies.access import administers, by_operator, not_allowed
from scribe_router.policies.parameters import admit
from scribe_router.policies.tokens import Counted
from scribe_router.policies.tool_requests import Wanted, wanted
from scribe_router.principals import ANYWHERE, LOCAL, Demand, Principal
from scribe_router.probes import Probes
from scribe_router.python_api import PythonApi
from scribe_router.redaction import Redaction
from scribe_router.registry import Registry
from scribe_router.requested import demand_of, planned_name
from scribe_router.state import State
from scribe_router.stores import open_ledger, open_windows
from scribe_router.stores.contract import Ledger, StoreUnavailable
from scribe_router.stream import Answer, AnswerStream, Source, Tape, restored
from scribe_router.upstream.events import Events, StreamReader
from scribe_router.upstream.shape import Shaped
from scribe_router.upstream.thinking import Thoughts
from scribe_router.walk import Step, Walk

if TYPE_CHECKING:
    from scribe_router.tool_rounds import ToolRounds

log = logging.getLogger("scribe_router.router")
requests = logging.getLogger("scribe_router.requests")
DRAIN_SECONDS = 30.0
R = TypeVar("R", bound=RequestError)


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
        journal = Path(registry.store.journal) if registry.store.journal else None
        self.journal = Journal(journal, clock=clock, keep=registry.store.keep)
        self._clock, self._random = clock, randomness or random.Random()  # noqa: S311  (spreads load, guards nothing)
        self.alerts = Alerts(self.ledger, registry.budgets, clock)
        accounts = Accounts(self.alerts, registry.budgets, clock, needs_ledger=registry.needs_ledger)
        self._cache = Cache(registry.cache, registry.version, clock)
        self._windows = open_windows(registry.store.url, clock)
        self.limiter = Limiter(registry.limits, self._windows, clock, closed=registry.store.fail == "closed")
        self.state = State(registry.breaker, registry.deployments)
        self._redaction = Redaction(registry.redaction, secrets.token_bytes(32))
        self.access = Access(registry, clock)
        self.probes = Probes(registry, self.state, clock)
        self.findings: tuple[Finding, ...] = ()
        self._attempts = Attempts(
            registry, accounts, self.limiter, self.state, self._redaction, clock, spawn=self._spawn, close=self._close
        )
        self._rounds = self._tool_rounds(accounts)
        providers = {each.provider for each in registry.deployments.values()}
        self._labels = frozenset(providers | registry.routing.known_tasks() | registry.effort.known_tasks())
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

    def plan(self, call: Call, *, seed: int | None = None, principal: Principal = LOCAL) -> Plan:
        """The plan of a call, as `serve` would walk it.

        Raises `ModelNotFound`, `PermissionDenied`, `InvalidRequest` and `CircuitOpen`.
        """
        seed = self._random.getrandbits(32) if seed is None else seed
        return settled(partial(self._plan, call, seed, principal), call)

    def _plan(
        self,
        call: Call,
        seed: int,
        principal: Principal,
        tokens: tuple[Counted, ...] = (),
        *,
        demand: Demand = ANYWHERE,
    ) -> Plan:
        now = self._clock()
        today, seen, full = _day(now), self.state, self.limiter.full()
        snapshot = Snapshot(today, seed, seen.load(now), self._turns, now, seen.circuits, full)
        return plan_of(call, self.registry, snapshot, principal, counted=tokens, demand=demand)

    async def report(self, body: Json, principal: Principal = LOCAL) -> Json:
        """Keep what a client says of an answer under an experiment. Raises a `RequestError`."""
        said = feedback.read(body)
        try:
            return await feedback.keep(self.ledger, said, principal, administers=administers(principal))
        except StoreUnavailable as error:
            raise Unavailable(str(error), retry_after=1.0) from error

    def health(self) -> list[Json]:
        """What this process has seen of each deployment: its circuit, what is in flight, latency, the last failure; and
        what its host said of its key, None where that was not asked."""
        keys = {name: each.verdict for each in self.findings for name in each.deployments}
        seen = self.state.health(self.registry.deployments.values(), self._clock())
        return [{**each, "key": keys.get(each["deployment"])} for each in seen]

    async def verify(self) -> tuple[Finding, ...]:
        """Try every key at its host, whatever the policy says; `health` shows what came of it from then on."""
        self.findings = await verified(self.registry)
        return self.findings

    def _open(self, call: Call, principal: Principal) -> Exchange:
        options = call.options
        for name, value in (("user", options.user), ("team", options.team)):
            # SQLite reads a name within JSON up to its NUL, and no store keeps half of a surrogate pair.
            if any(category(letter) in ("Cc", "Cs") for letter in value or ""):
                text = f"{name} holds a control character, or half of one letter"
                raise InvalidRequest(text, code="invalid_value", param=name)
        who = replace(principal, user=options.user or principal.user, team=options.team or principal.team)
        named = call.model or self.registry.routing.default(call.api)
        demand = who.grant.demand & self.registry.residency.demand(named, self.registry.resolve(named))
        return Exchange(
            f"ex-{secrets.token_hex(12)}", call, who, self.registry.version, self._clock(), named, demand=demand
        )

    async def _serve(self, exchange: Exchange) -> Answer | AnswerStream:
        try:
            _permit(exchange, self.registry)
            admit(exchange.call.api, exchange.call.body)
            exchange.call, taken_out = allowed(exchange.call, self.registry.features)
            exchange.warnings += taken_out
            exchange.call, private = self._redaction.request(exchange.call)
            answer = restored(await self._answered(exchange), private)
        except RequestError as error:
            self._refused(exchange, error)
            raise
        except StoreUnavailable as error:
            raise self._refused(exchange, Unavailable(str(error), retry_after=1.0)) from error
        except asyncio.CancelledError:
            self.limiter.close(exchange)
            raise
        except Exception as error:
            # The text of a fault, and of its cause, may quote the request.
            shown = not exchange.demand.hipaa
            log.error("%s ended with a fault of the router: %s", exchange.id, type(error).__name__, exc_info=shown)
            raise self._refused(exchange, InternalError("a fault of the router; its log has more")) from error
        if isinstance(answer, Answer):
            self._close(exchange, "answered")
        return answer

    async def _answered(self, exchange: Exchange) -> Answer | AnswerStream:
        """From the cache, from an identical request that is under way, or from upstream."""
        asked = wanted(exchange.call.api, exchange.call.body)
        self._place(exchange)
        deadline = exchange.opened + (exchange.call.options.timeout or self.registry.retries.deadline_seconds)
        if asked:
            return await self._with_tools(exchange, asked, deadline)
        found = await self._cache.serve(exchange, deadline, lambda: self._planned(exchange, deadline), self._spawn)
        return self._replay(exchange, found) if isinstance(found, Tape) else found

    def _place(self, exchange: Exchange) -> None:
        """What is demanded of whatever serves, and the arm of an experiment: also of an answer from the cache, and of
        tools, which have no plan."""
        registry, body = self.registry, exchange.call.body
        exchange.demand = residency.asked(body, exchange.demand)
        if registry.experiments.experiments or registry.residency.on:
            known = facts_of(exchange.call, registry, exchange.principal)
            name = planned_name(known, registry, _day(exchange.opened))
            exchange.exposure = registry.exposure(name, known.unit)
            exchange.demand &= demand_of(name, known, registry)
        if exchange.demand.hipaa:
            exchange.call = replace(exchange.call, body=residency.unlabelled(body, self._labels))
        if (place := residency.led_away(body, exchange.demand)) is not None:
            text = f"{place} leads to a server that is not known here, which this request is not to be shown to"
            raise PermissionDenied(text, code="region_not_allowed", param=place)

    async def _with_tools(self, exchange: Exchange, asked: Wanted, deadline: float) -> Answer | AnswerStream:
        """From as many rounds as the model wants tools."""
        if self._rounds is None:
            off = self.registry.mcp.servers and not self.registry.mcp.enabled
            text = "MCP tools are switched off" if off else "no MCP server is configured here, see policies/mcp.yaml"
            raise InvalidRequest(text, code="feature_off", param=asked.names[0][1])
        talk = await self._rounds.begin(exchange, asked, deadline)
        if not exchange.call.stream:
            return await self._rounds.plain(talk)
        return await self._started(exchange, self._rounds.events(talk))

    def _tool_rounds(self, accounts: Accounts) -> "ToolRounds | None":
        """What runs MCP tools; None where there are none, so that their client need not be imported."""
        policy = self.registry.mcp
        if not policy.enabled or not policy.servers:
            return None
        from scribe_router.tool_rounds import ToolRounds

        return ToolRounds(policy, accounts, self._clock, self._planned, self._following, self._redaction.told)

    def _following(self, served: Exchange, following: Exchange) -> Shaped:
        """The next round's request, as whoever served the one before would get it."""
        last, ways = served.attempts[-1].deployment, [each for each in (served.plan, *served.downgraded) if each]
        candidates = (each for way in ways for each in (*way.candidates, *way.context_window, *way.content_policy))
        return self._attempts.shaped(following, next(each for each in candidates if each.deployment == last))

    async def _planned(self, exchange: Exchange, deadline: float) -> Answer | AnswerStream:
        """Plan, admit and walk. Where every circuit is open and the policy waits: again, once a probe may go."""
        waits = self.registry.breaker is not None and self.registry.breaker.all_open == "wait"
        while True:
            try:
                exchange.plan = await self._first_plan(exchange)
                if not self.registry.routes(exchange.plan.model):  # of names that clients make up, there is no end
                    self._turns[exchange.plan.model] += 1
                exchange.warnings += [each for each in exchange.plan.warnings if each not in exchange.warnings]
                first = exchange.plan.candidates[0]
                await self.limiter.admit(exchange, partial(self._attempts.shaped, exchange, first))
                return await self._walk(exchange, exchange.plan, deadline)
            except CircuitOpen as error:
                seconds = error.retry_after or 0.0
                if not waits or exchange.abandoned or not await self._paused(exchange, seconds, deadline):
                    raise

    async def _first_plan(self, exchange: Exchange) -> Plan:
        """Where a tokenizer has to be asked it does not hold up other requests."""
        call, who = exchange.call, exchange.principal
        if exchange.of is not None and exchange.downgraded:  # what is held for this round pays for the cheaper way
            call = replace(call, body={**call.body, "model": exchange.downgraded[-1].requested})
            who = by_operator(who)
        planned = partial(self._plan, call, self._random.getrandbits(32), who, demand=exchange.demand)
        try:
            found = planned()
            if not found.uncounted:
                return found
            return planned(await asyncio.to_thread(counted, exchange.call, found.uncounted))
        except RequestError as error:
            exchange.unplanned = error.message
            raise

    async def _walk(self, exchange: Exchange, way: Plan, deadline: float) -> Answer | AnswerStream:
        """The attempt loop: which deployment next, when to wait, when to give up."""
        walk = Walk(way, self.registry.retries)
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
        name = self.registry.budgets.limit(refusal.limit).downgrade_to
        if name is None:
            return None
        cheaper = replace(exchange.call, body={**exchange.call.body, "model": name})
        try:
            tokens = exchange.plan.facts.size.counted if exchange.plan is not None else ()
            who, seed = by_operator(exchange.principal), self._random.getrandbits(32)
            way = self._plan(cheaper, seed, who, tokens, demand=exchange.demand)  # of the name that was asked for
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
        return Walk(way, self.registry.retries, tried)

    def _replay(self, exchange: Exchange, tape: Tape) -> AnswerStream:
        source = self._source(exchange, tape.events(), self.registry.retries.idle_seconds)
        source.start(self._spawn)
        return AnswerStream(exchange, [], source)

    async def _started(self, exchange: Exchange, events: Events) -> AnswerStream:
        source = self._source(exchange, events, idle=None)  # each round has clocks of its own
        head = await source.open()
        source.start(self._spawn)
        return AnswerStream(exchange, head, source)

    def _source(self, exchange: Exchange, events: Events, idle: float | None) -> Source:
        """Chunks that are no attempt's own, read as one stream that ends the exchange."""

        def finish(_: Json | None, failure: AttemptFailed | None) -> None:
            self._close(exchange, failure.category.value if failure else "answered")

        drain = self.registry.retries.deadline_seconds
        thoughts, shown = Thoughts(tagged=False), not exchange.demand.hipaa
        return Source(events, StreamReader(), finish, thoughts=thoughts, idle=idle, drain=drain, shown=shown)

    def _refused(self, exchange: Exchange, error: RequestError) -> RequestError:
        error.exchange = exchange
        self._close(exchange, error.code)
        return error

    def _close(self, exchange: Exchange, outcome: str) -> None:
        if exchange.of is not None:  # a round of a request, which goes on
            return
        exchange.outcome, exchange.ended = outcome, self._clock()
        self.limiter.close(exchange)
        self.journal.write(exchange)
        if requests.isEnabledFor(logging.INFO):
            requests.info(summary(exchange))

    # -- life

    async def warm_up(self) -> None:
        """Open what the first calls would wait for: the ledger, and LiteLLM, which takes some seconds to import."""
        with suppress(StoreUnavailable):
            await self.ledger.flush()
        await self._attempts.warm_up()

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
        if self._rounds is not None:
            await self._rounds.sessions.aclose()
        await self.probes.aclose()
        self._cache.close()
        await self._attempts.aclose()
        await self.access.aclose()
        self.ledger.close()
        self._windows.close()
        self.journal.close()


def _day(moment: float) -> date:
    return datetime.fromtimestamp(moment, UTC).date()


def _passed(exchange: Exchange, step: Step, refusal: R) -> R:
    exchange.passed.append(Passed(step.candidate.deployment, refusal.code, refusal.message))
    return refusal


def _permit(exchange: Exchange, registry: Registry) -> None:
    """Raises `PermissionDenied` for a field that its principal may not set, and for who names a limit that is gone."""
    who = exchange.principal
    for name in who.grant.limits:
        if name not in registry.named_limits:
            text = f"the limit {name}, which {who.name} names, is not there any more; make another key, or the limit"
            raise PermissionDenied(text, code="limit_missing")
    field = not_allowed(who.grant, exchange.call.body)
    if field is not None:
        text = f"{who.name} may not set {field}; whoever made the key can allow it"
        raise PermissionDenied(text, code="field_not_allowed", param=field)


def _abandon(task: "asyncio.Task[Any]") -> None:
    """The client has gone: an answer that still comes as a stream is read to its end."""
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), AnswerStream):
        task.get_loop().create_task(task.result().aclose())
