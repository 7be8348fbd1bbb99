"""THE request path, readable from top to bottom: open, permit, redact, answer, restore, close.

It knows the order of the steps, and what outlives them. What a request is at its arrival is `arrival.py`, how it gets
to an answer `attempt_loop.py`, and what each step decides is a policy's.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scribe_router import feedback
from scribe_router.access import Access
from scribe_router.accounts import Accounts
from scribe_router.alerts import Alerts
from scribe_router.arrival import arrived, permit, place
from scribe_router.attempt_loop import AttemptLoop
from scribe_router.attempts import Attempts
from scribe_router.cache import Cache
from scribe_router.counting import settled
from scribe_router.credentials import Finding, verified
from scribe_router.errors import InternalError, InvalidRequest, RequestError, Unavailable
from scribe_router.exchange import AttemptFailed, Call, Exchange, Json
from scribe_router.facts import allowed
from scribe_router.journal import Journal, summary
from scribe_router.limiter import Limiter
from scribe_router.plan import Plan
from scribe_router.policies.access import administers
from scribe_router.policies.parameters import admit
from scribe_router.policies.tool_requests import Wanted, wanted
from scribe_router.principals import LOCAL, Principal
from scribe_router.probes import Probes
from scribe_router.python_api import PythonApi
from scribe_router.redaction import Redaction
from scribe_router.registry import Registry
from scribe_router.state import State
from scribe_router.stores import open_ledger, open_windows
from scribe_router.stores.contract import Ledger, StoreUnavailable
from scribe_router.stream import Answer, AnswerStream, Source, Tape, restored
from scribe_router.upstream.events import Events, StreamReader
from scribe_router.upstream.thinking import Thoughts

if TYPE_CHECKING:
    from scribe_router.tools.rounds import ToolRounds

log = logging.getLogger("scribe_router.router")
requests = logging.getLogger("scribe_router.requests")
DRAIN_SECONDS = 30.0


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
        self._loop = AttemptLoop(registry, self._attempts, self.limiter, self.state, clock, self._random)
        self._rounds = self._tool_rounds(accounts)
        self._tasks: set[asyncio.Task[Any]] = set()
        super().__init__()

    # -- the path

    async def serve(self, call: Call, principal: Principal = LOCAL) -> Answer | AnswerStream:
        """Serve one request. A client that hangs up does not stop what the provider bills: it is read and settled.

        Raises a `RequestError`.
        """
        exchange = arrived(call, principal, self.registry, self._clock())
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
        return settled(partial(self._loop.plan, call, principal, seed=seed), call)

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

    async def _serve(self, exchange: Exchange) -> Answer | AnswerStream:
        try:
            permit(exchange, self.registry)
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
        place(exchange, self.registry)
        deadline = exchange.opened + (exchange.call.options.timeout or self.registry.retries.deadline_seconds)
        if asked:
            return await self._with_tools(exchange, asked, deadline)
        found = await self._cache.serve(exchange, deadline, lambda: self._loop.run(exchange, deadline), self._spawn)
        return self._replay(exchange, found) if isinstance(found, Tape) else found

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
        from scribe_router.tools.rounds import ToolRounds

        return ToolRounds(policy, accounts, self._clock, self._loop.run, self._loop.following, self._redaction.told)

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


def _abandon(task: "asyncio.Task[Any]") -> None:
    """The client has gone: an answer that still comes as a stream is read to its end."""
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), AnswerStream):
        task.get_loop().create_task(task.result().aclose())
