"""Asks hosts in between whether they are there and take their key: `probes` in `policies/health.yaml`.

A probe is an attempt like any other for the circuit, by the circuit's own rules: one at a time, after its pause. What a
list of models cannot tell, it does not say.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from scribe_router.credentials import Question, by_question
from scribe_router.deployment import Deployment
from scribe_router.errors import CircuitOpen, UpstreamRateLimited
from scribe_router.exchange import AttemptFailed, Reached
from scribe_router.outcome import fault
from scribe_router.policies.breaker import CLOSED
from scribe_router.policies.health import told
from scribe_router.registry import Registry
from scribe_router.state import Entry, State
from scribe_router.upstream.listings import ask_all

log = logging.getLogger("scribe_router.probes")


class Probes:
    """The probes of one registry's deployments. Without a policy of them it does nothing."""

    def __init__(self, registry: Registry, state: State, clock: Callable[[], float]) -> None:
        self._health, self._state, self._clock = registry.health, state, clock
        usable = (each for each in registry.deployments.values() if not each.missing)
        groups: Mapping[Question | None, list[Deployment]] = by_question(usable) if registry.health.probes else {}
        self._groups = {each: behind for each, behind in groups.items() if each is not None}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask every so many seconds, in a task of the running loop. `aclose` belongs into the same loop."""
        if self._task is None and self._groups:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def aclose(self) -> None:
        """Ask no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        policy = self._health.probes
        while policy is not None:
            await asyncio.sleep(policy.every_seconds)
            try:
                await self.look()
            except Exception:
                log.exception("the hosts could not be asked; the next time is in %g s", policy.every_seconds)

    async def look(self) -> None:
        """Ask once about every deployment that is due."""
        begun = {each: entries for each, behind in self._groups.items() if (entries := self._begun(behind))}
        failures: list[AttemptFailed | None] = [fault(Reached.NOT_CONNECTED)] * len(begun)
        try:
            asked = [(each.url, dict(each.headers)) for each in begun]
            failures = await ask_all(asked, self._health.seconds, self._health.at_once) if asked else failures
        finally:  # whatever happens: a circuit would wait for its probe for ever
            for entries, failure in zip(begun.values(), failures, strict=True):
                for entry in entries:
                    self._end(entry, failure)

    def _begun(self, deployments: list[Deployment]) -> list[Entry]:
        """What begins of those that are due."""
        policy, now, begun = self._health.probes, self._clock(), []
        for each in deployments:
            circuit = self._state.circuits.get(each.id, CLOSED)
            if policy is not None and policy.due(circuit.state(now), circuit.category):
                with suppress(CircuitOpen, UpstreamRateLimited):  # a request is its probe
                    begun.append(self._state.begin(each.id, now, timed=False))
        return begun

    def _end(self, entry: Entry, failure: AttemptFailed | None) -> None:
        before = self._state.circuits.get(entry.deployment, CLOSED).category
        said = failure if told(failure, before) else fault(Reached.NOT_CONNECTED)
        self._state.end(entry, said, self._clock())
