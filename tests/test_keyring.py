"""Who holds a key, from memory: how long that counts, what is asked of the store, and what happens while it is away."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from scribe_router import keyring as module
from scribe_router.errors import AuthenticationError, Unavailable
from scribe_router.keyring import FRESH, STALE, Keyring
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.keys import RANDOM, Spec, VirtualKey, made
from scribe_router.principals import Principal
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.keys import Changes, Kept, Keys
from scribe_router.stores.redis_keys import RedisKeys
from scribe_router.stores.sqlite_keys import SqliteKeys
from tests.stores.redis_servers import one_server, tell

POLICY = AccessPolicy.model_validate({"master_key": "k" * 10 + "0123456789"})
NOW = 1_795_170_000.0
numbers = itertools.count(1)


class Counted:
    """A real store that can be told to be away, and counts what it is asked."""

    def __init__(self, store: Keys) -> None:
        self.store, self.away, self.finds, self.changes = store, False, 0, 0
        self.looked, self.slow = asyncio.Event(), asyncio.Event()
        self.slow.set()

    async def find(self, identity: str) -> tuple[int, Kept | None]:
        self.finds += 1
        self._check()
        found = await self.store.find(identity)
        self.looked.set()
        await self.slow.wait()
        return found

    async def named(self, name: str) -> Kept | None:
        return await self.store.named(name)

    async def write(self, identity: str, name: str, text: str, before: int) -> bool:
        return await self.store.write(identity, name, text, before)

    async def changed(self, since: int) -> Changes:
        self.changes += 1
        self._check()
        return await self.store.changed(since)

    def every(self) -> AsyncIterator[Kept]:
        return self.store.every()

    def close(self) -> None:
        self.store.close()

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("keys: away")


class Clock:
    """Monotonic seconds, which go when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counted]:
    found = Counted(SqliteKeys(tmp_path / "keys.db"))
    yield found
    found.close()


@pytest.fixture
def ring(store: Counted, clock: Clock) -> Keyring:
    return Keyring(POLICY, cast("Keys", store), lambda: NOW, clock)


async def new(store: Counted, name: str) -> tuple[str, VirtualKey]:
    text, key = made(Spec(name=name, models=("*",)), next(numbers).to_bytes(RANDOM, "little"), POLICY.hash_key(), NOW)
    assert await store.write(key.id, key.name, key.model_dump_json(), 0)
    return text, key


async def revoke(store: Counted, key: VirtualKey) -> None:
    _, kept = await store.store.find(key.id)
    assert kept is not None
    assert await store.write(key.id, key.name, key.model_copy(update={"revoked": NOW}).model_dump_json(), kept.version)


async def refused(ring: Keyring, text: str) -> str:
    with pytest.raises(AuthenticationError) as refusal:
        await ring.principal(text)
    return refusal.value.message


async def settled(ring: Keyring) -> None:
    """Until what was asked in passing has been answered."""
    if ring._asking is not None:
        await asyncio.gather(ring._asking, return_exceptions=True)


async def test_a_key_is_looked_up_once(ring: Keyring, store: Counted, clock: Clock) -> None:
    text, _ = await new(store, "ann")
    for _ in range(50):
        found = await ring.principal(text)
        clock.now += FRESH / 100
    assert (found.name, found.user) == ("ann", "ann")
    assert (store.finds, store.changes) == (1, 1)
    assert isinstance(found, Principal)


async def test_a_revoked_key_is_refused_before_it_is_stale(ring: Keyring, store: Counted, clock: Clock) -> None:
    text, key = await new(store, "ann")
    await ring.principal(text)
    await revoke(store, key)
    clock.now += FRESH + 0.01
    await ring.principal(text)  # still counts, and asks in passing
    await settled(ring)
    assert await refused(ring, text) == "the key was revoked"


async def test_after_a_silence_the_store_is_asked_first(ring: Keyring, store: Counted, clock: Clock) -> None:
    text, key = await new(store, "ann")
    await ring.principal(text)
    await revoke(store, key)
    clock.now += STALE + 0.01
    assert await refused(ring, text) == "the key was revoked"
    assert STALE < 1.0


async def test_what_this_process_writes_counts_at_once(ring: Keyring, store: Counted) -> None:
    text, key = await new(store, "ann")
    await ring.principal(text)
    await revoke(store, key)
    await ring.principal(text)
    ring.forget()
    assert await refused(ring, text) == "the key was revoked"


async def test_a_look_under_way_does_not_hide_a_write(ring: Keyring, store: Counted, clock: Clock) -> None:
    """A record that was read before it was written anew, and comes after that is known, must not be remembered."""
    text, key = await new(store, "ann")
    store.slow.clear()
    looking = asyncio.create_task(ring.principal(text))
    await store.looked.wait()
    await revoke(store, key)
    clock.now += STALE + 0.01
    await refused(ring, "sk-scribe-" + "0" * 18 + "-" + "A" * 43)  # somebody else learns what has changed
    store.slow.set()
    await looking
    assert await refused(ring, text) == "the key was revoked"


async def test_without_a_store_keys_count_for_a_moment_only(ring: Keyring, store: Counted, clock: Clock) -> None:
    text, _ = await new(store, "ann")
    other, _ = await new(store, "bob")
    await ring.principal(text)
    store.away = True
    clock.now += STALE - 0.01
    await ring.principal(text)
    with pytest.raises(Unavailable, match="away") as one:
        await ring.principal(other)
    await settled(ring)
    clock.now += 0.02
    with pytest.raises(Unavailable, match="away"):
        await ring.principal(text)
    assert (one.value.status, one.value.code) == (503, "store_unavailable")
    store.away = False
    assert (await ring.principal(text)).name == "ann"


async def test_what_cannot_be_asks_no_store(ring: Keyring, store: Counted) -> None:
    text, key = await new(store, "ann")
    await ring.principal(text)
    before = store.finds
    for number in range(200):
        forged = f"sk-scribe-{number:018x}-{'A' * 43}"
        assert await refused(ring, forged) == "the key is wrong"
    assert await refused(ring, "nonsense") == "the key is wrong"
    assert await refused(ring, text[:-1] + ("A" if text[-1] != "A" else "B")) == "the key is wrong"
    assert store.finds == before
    assert key.id == ring.identity(text)
    assert ring.identity("nonsense") is None


async def test_a_key_that_nobody_has_yet(ring: Keyring, store: Counted, clock: Clock) -> None:
    spec = Spec(name="late", models=("*",))
    text, key = made(spec, next(numbers).to_bytes(RANDOM, "little"), POLICY.hash_key(), NOW)
    for _ in range(10):
        assert await refused(ring, text) == "the key is wrong"
    assert store.finds == 1, "that there is none is remembered"
    await store.write(key.id, key.name, key.model_dump_json(), 0)
    clock.now += STALE + 0.01
    assert (await ring.principal(text)).name == "late"


async def test_what_is_remembered_is_bounded(
    ring: Keyring, store: Counted, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    monkeypatch.setattr(module, "MOST_UNKNOWN", 3)
    texts = [(await new(store, f"n{number}"))[0] for number in range(9)]
    for text in texts:
        await ring.principal(text)
    for number in range(9):
        randomness = (10**6 + number).to_bytes(RANDOM, "little")
        await refused(ring, made(Spec(name="x", models=("*",)), randomness, POLICY.hash_key(), NOW)[0])
    assert (len(ring._locks), len(ring._unknown)) == (5, 3)
    assert [(await ring.principal(text)).name for text in texts] == [f"n{number}" for number in range(9)]


async def test_many_changes_forget_everything(ring: Keyring, store: Counted, clock: Clock) -> None:
    text, key = await new(store, "ann")
    await ring.principal(text)
    await asyncio.gather(*(new(store, f"n{number}") for number in range(1001)))
    await revoke(store, key)
    clock.now += STALE + 0.01
    assert await refused(ring, text) == "the key was revoked"


async def test_a_record_that_cannot_be_read_opens_nothing(ring: Keyring, store: Counted) -> None:
    text, key = await new(store, "ann")
    _, kept = await store.store.find(key.id)
    assert kept is not None
    newer = kept.text.replace('"name"', '"of_tomorrow":1,"name"')
    assert await store.write(key.id, key.name, newer, kept.version)
    with pytest.raises(Unavailable, match="cannot be read"):
        await ring.principal(text)


async def test_a_store_that_forgot_opens_nothing(clock: Clock) -> None:
    """It came back without the revocation: nobody is let in, where what was seen is more than there is."""
    with one_server() as server:
        store = Counted(RedisKeys(server.url, accepted_loss=True, deadline=5.0))
        ring = Keyring(POLICY, cast("Keys", store), lambda: NOW, clock)
        text, key = await new(store, "ann")
        await revoke(store, key)
        assert await refused(ring, text) == "the key was revoked"
        tell(server, "FLUSHALL")
        assert await store.write(key.id, key.name, key.model_dump_json(), 0)
        clock.now += STALE + 0.01
        for _ in range(3):
            with pytest.raises(Unavailable, match="without its last writes"):
                await ring.principal(text)
        await ring.aclose()


async def test_a_storm_asks_the_store_once(ring: Keyring, store: Counted, clock: Clock) -> None:
    text, _ = await new(store, "ann")
    await ring.principal(text)
    before = store.changes
    clock.now += 10.0
    found = await asyncio.gather(*(ring.principal(text) for _ in range(500)))
    assert {each.name for each in found} == {"ann"}
    assert store.changes == before + 1
