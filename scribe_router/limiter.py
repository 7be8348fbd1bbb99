"""Limits of rate around a request and its attempts: what they take of them, and what they give back at their end.

Joins the policy and the store; knows nothing of HTTP, nor how anything is counted.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from scribe_router.counters import Allowance, Draw
from scribe_router.deployment import Deployment
from scribe_router.errors import RateLimitExceeded
from scribe_router.exchange import Attempt, Exchange, Reached
from scribe_router.policies.limits import LimitsPolicy, Scope, draws
from scribe_router.policies.tokens import LETTERS_OF_A_TOKEN
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.windows import Taken, Windows
from scribe_router.upstream.shape import Shaped, default_cap

log = logging.getLogger("scribe_router.limiter")


class Limiter:
    """Takes before and gives back after: of the caller's limits once for a request, of a place's for each attempt.

    While the store is away nobody is limited, which the log says once; with `closed` nobody is served.
    """

    def __init__(
        self, policy: LimitsPolicy, windows: Windows, clock: Callable[[], float], *, closed: bool = False
    ) -> None:
        self._policy, self._windows, self._clock, self._closed = policy, windows, clock, closed
        self._taken: dict[str, Taken] = {}
        self._full: dict[str, tuple[float, str]] = {}
        self._away = False

    async def admit(self, exchange: Exchange, shaped: Callable[[], Shaped]) -> None:
        """Take of the caller's limits, once for a request, however often it is planned; `shaped` is the request as its
        first candidate would get it.

        Raises `RateLimitExceeded`, with nothing taken, and `StoreUnavailable`.
        """
        if exchange.id in self._taken:
            return
        wanted = draws(self._policy, _caller(exchange), exchange.principal.grant.limits, of_caller=True)
        taken = await self._take(exchange.id, _sized(tuple(wanted), shaped))
        if taken is not None:
            exchange.allowances = dict(_allowances(taken))
            _check(taken)

    async def enter(self, exchange: Exchange, attempt: Attempt, shaped: Shaped) -> None:
        """Take of the limits of where an attempt goes. Raises as `admit` does."""
        values = {**_caller(exchange), **_place(shaped.deployment)}
        wanted = draws(self._policy, values, exchange.principal.grant.limits, of_caller=False)
        taken = await self._take(attempt.id, _sized(tuple(wanted), lambda: shaped))
        self._full.pop(attempt.deployment, None)
        try:
            _check(taken)
        except RateLimitExceeded as refusal:
            self._full = self._still_full()  # of the deployments behind a wildcard there is no end
            self._full[attempt.deployment] = (self._clock() + (refusal.retry_after or 0.0), refusal.message)
            raise

    def leave(self, attempt: Attempt) -> None:
        """The attempt has been settled, or was never sent. Idempotent."""
        self._leave(attempt.id, sent=attempt.ended is not None, tokens=_used(attempt))

    def close(self, exchange: Exchange) -> None:
        """The request has ended. Idempotent."""
        each = [_used(attempt) for attempt in exchange.attempts]
        tokens = None if None in each else sum(used for used in each if used is not None)
        self._leave(exchange.id, sent=bool(exchange.attempts), tokens=tokens)

    def full(self) -> Mapping[str, str]:
        """Deployments that refused a moment ago, as far as this process was told, and why."""
        return {deployment: why for deployment, (_, why) in self._still_full().items()}

    async def state(self) -> list[dict[str, Any]]:
        """Each limit with what is in use and how often it refused. Raises `StoreUnavailable`."""
        standing = await self._windows.standing()
        return [
            {
                "id": limit.id,
                "scope": list(limit.scopes),
                "most": limit.most,
                "refused": standing.hits.get(limit.id, 0),
                "in_use": {
                    n.partition("|")[2]: used for n, used in standing.used.items() if n.startswith(f"{limit.id}|")
                },
            }
            for limit in self._policy.limits
        ]

    def _still_full(self) -> dict[str, tuple[float, str]]:
        now = self._clock()
        return {name: told for name, told in self._full.copy().items() if now < told[0]}  # other loops write to it

    async def _take(self, name: str, wanted: tuple[Draw, ...]) -> Taken | None:
        """None where there is nothing to take, or nowhere to count it; what is taken is kept under `name`."""
        if not wanted:
            return None
        try:
            taken = await self._windows.take(wanted)
        except StoreUnavailable as problem:
            if self._closed:
                raise
            if not self._away:
                log.error("%s; until it is back no limit of rate holds", problem)
            self._away = True
            return None
        self._away = False
        if taken.granted:
            self._taken[name] = taken
        return taken

    def _leave(self, name: str, *, sent: bool, tokens: int | None) -> None:
        taken = self._taken.pop(name, None)
        if taken is None:
            return
        found = [(draw, _change(draw, sent=sent, tokens=tokens)) for draw in taken.draws]
        if changes := [(draw, change) for draw, change in found if change]:
            self._windows.give(taken.at, changes)


def _caller(exchange: Exchange) -> dict[Scope, str]:
    who = exchange.principal
    return {"key": who.name, "user": who.user, "team": who.team}


def _place(deployment: Deployment) -> dict[Scope, str]:
    place: dict[Scope, str] = {"model": deployment.model, "deployment": deployment.id}
    return {**place, "provider": deployment.provider, "account": deployment.key_name or ""}


def _sized(wanted: tuple[Draw, ...], shaped: Callable[[], Shaped]) -> tuple[Draw, ...]:
    """With the tokens that the request may use: its input, at a guess, and the output that it may have."""
    if not any(draw.rate == "tokens" for draw in wanted):
        return wanted
    request = shaped()
    answers = 0 if request.api == "embeddings" else request.choices
    output = (request.requested_cap or default_cap(request)) * answers
    tokens = min(len(request.encoded()) // LETTERS_OF_A_TOKEN, request.deployment.window or inf) + output
    return tuple(replace(draw, amount=int(tokens)) if draw.rate == "tokens" else draw for draw in wanted)


def _used(attempt: Attempt) -> int | None:
    """Tokens that an attempt used; None where nobody can tell."""
    if attempt.usage is not None:
        return attempt.usage.input + attempt.usage.output
    nothing = attempt.ended is None or attempt.reached in (Reached.NOT_CONNECTED, Reached.REPLIED)
    return 0 if nothing else None


def _change(draw: Draw, *, sent: bool, tokens: int | None) -> int:
    """What a draw is changed by at the end."""
    if draw.rate == "concurrent" or not sent:
        return -draw.amount
    return tokens - draw.amount if draw.rate == "tokens" and tokens is not None else 0


def _allowances(taken: Taken) -> Iterator[tuple[Any, Allowance]]:
    """Of requests and of tokens, the limit that leaves least."""
    for rate in ("requests", "tokens"):
        found = []
        for index, (draw, look) in enumerate(zip(taken.draws, taken.looks, strict=True)):
            if draw.rate == rate:
                used = look.used + (draw.amount if taken.granted else 0)
                found.append(Allowance(draw.most, max(0, draw.most - used), taken.reset(index)))
        if found:
            yield rate, min(found, key=lambda each: (each.remaining, each.most))


def _check(taken: Taken | None) -> None:
    """Raises `RateLimitExceeded` where something does not fit: it names what takes longest."""
    if taken is None or taken.granted:
        return
    index = max(range(len(taken.draws)), key=taken.wait)
    draw, used = taken.draws[index], taken.looks[index].used
    allows = f"{draw.most} requests at once" if draw.rate == "concurrent" else f"{draw.most} {draw.rate} a minute"
    text = f"limit {draw.limit} ({draw.scope}) allows {allows}, {used} are in use, this request needs {draw.amount}"
    raise RateLimitExceeded(text, retry_after=taken.wait(index))
