"""Who holds a virtual key: from memory, as long as the store says that nothing has changed.

A process asks its store a few times a second, while there are requests, which keys were written since it asked last,
and forgets those. So a look-up costs the same for ten keys and a hundred thousand, and a key that was revoked anywhere
is refused here within a second. Where the store cannot be asked for that long, nobody is let in.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

from pydantic import ValidationError

from scribe_router.errors import AuthenticationError, Unavailable
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.keys import (
    Lock,
    VirtualKey,
    digest,
    genuine,
    lock,
    over,
    parsed,
    refusal,
    signing_secrets,
)
from scribe_router.principals import Principal
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.keys import Keys

log = logging.getLogger("scribe_router.keyring")
FRESH = 0.2  # seconds for which nothing is asked
STALE = 0.8  # seconds after which nobody is let in before the store has answered
MOST = 131_072  # keys that are remembered, about half a kilobyte each
MOST_UNKNOWN = 4_096
WRONG = "the key is wrong"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Signer:
    """Whom a key's id stands for, with what it may sign, and why it is over (None: it is not). Nothing of it has been
    shown yet."""

    principal: Principal
    secrets: tuple[bytes, ...] = field(repr=False)
    over: str | None


class Keyring:
    """The keys of one store, as one process sees them. It belongs to one event loop."""

    def __init__(
        self,
        policy: AccessPolicy,
        store: Keys,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._store, self._clock, self._monotonic = policy, store, clock, monotonic
        self._hash_key = policy.hash_key()
        self._locks: dict[str, Lock] = {}
        self._unknown: dict[str, None] = {}
        self._seen, self._asked = 0, -inf
        self._writes = self._heard = 0  # of this process: how many there were, and how many before it asked
        self._asking: asyncio.Task[None] | None = None

    async def principal(self, bearer: str) -> Principal:
        """Whose key this is. Raises `AuthenticationError`; `Unavailable` where nobody can say."""
        parts = parsed(bearer)
        if parts is None:
            raise AuthenticationError(WRONG)
        identity, secret = parts
        found = await self._found(identity)
        why = refusal(found, digest(identity, secret, self._hash_key), self._clock())
        if why is not None:
            raise AuthenticationError(f"the key {why}")
        return found.principal

    async def signer(self, identity: str) -> Signer:
        """Whose signatures have this id. Raises as `principal` does."""
        found, now = await self._found(identity), self._clock()
        return Signer(found.principal, signing_secrets(identity, found, self._hash_key, now), over(found, now))

    @staticmethod
    def identity(bearer: str) -> str | None:
        """The public part of what looks like a virtual key, whoever made it."""
        parts = parsed(bearer)
        return None if parts is None else parts[0]

    def forget(self) -> None:
        """Ask the store before anybody else is let in: this process has written to it."""
        self._writes += 1

    async def aclose(self) -> None:
        """Let go of the store. Idempotent."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        self._store.close()

    async def _found(self, identity: str) -> Lock:
        try:
            await self._confirm()
            return self._locks.get(identity) or await self._looked_up(identity)
        except StoreUnavailable as problem:
            raise Unavailable(str(problem), retry_after=1.0) from problem

    async def _confirm(self) -> None:
        """See that what is remembered is no older than it may be."""
        now = self._monotonic()
        if self._heard == self._writes and now - self._asked < FRESH:
            return
        asking = self._ask()
        while self._heard < self._writes or now - self._asked >= STALE:
            await asyncio.shield(asking if not asking.done() else self._ask())

    def _ask(self) -> "asyncio.Task[None]":
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._follow())
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._asking

    async def _follow(self) -> None:
        began, writes = self._monotonic(), self._writes
        changes = await self._store.changed(self._seen)
        if changes.version < self._seen:
            self._locks.clear()
            self._asked = -inf
            raise StoreUnavailable("the store of the keys came back without its last writes; restore it, start anew")
        for known in (self._locks, self._unknown):
            for identity in known.copy() if changes.ids is None else changes.ids:
                known.pop(identity, None)
        self._seen, self._asked, self._heard = changes.version, began, writes

    async def _looked_up(self, identity: str) -> Lock:
        if identity in self._unknown or not genuine(identity, self._hash_key):
            raise AuthenticationError(WRONG)
        newest, kept = await self._store.find(identity)
        current = newest >= self._seen  # else it may have been written since that look, which nobody would tell
        if kept is None:
            if current:
                _remember(self._unknown, identity, None, MOST_UNKNOWN)
            raise AuthenticationError(WRONG)
        found = self._lock(kept.text)
        if current:
            _remember(self._locks, identity, found, MOST)
        return found

    def _lock(self, text: str) -> Lock:
        try:
            return lock(VirtualKey.model_validate_json(text), self._policy.fields)
        except ValidationError as problem:
            what = problem.errors(include_input=False)
            log.error("a key cannot be read; was it written by a newer program? %s", what)
            raise StoreUnavailable("this key cannot be read; the log has more") from None


def _remember(known: dict[str, T], identity: str, found: T, most: int) -> None:
    while len(known) >= most:
        del known[next(iter(known))]
    known[identity] = found
