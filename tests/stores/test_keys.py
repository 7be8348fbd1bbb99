"""What every store of virtual keys promises; nothing here knows which one answers."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scribe_router import stores
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.keys import CHANGES, PAGE, Changes, Kept, Keys
from scribe_router.stores.redis_keys import RedisKeys
from scribe_router.stores.sqlite_book import VERSION
from scribe_router.stores.sqlite_keys import SqliteKeys
from tests.stores.redis_servers import Server, tell
from tests.stores.test_sqlite_migration import FIRST
from tests.support.examples import examples

Open = Callable[[], Keys]


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def open_keys(request: pytest.FixtureRequest, path: Path) -> Iterator[Open]:
    """Open the same keys once more, as another process would; all are closed at the end."""
    opened: list[Keys] = []
    url = None if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")

    def build() -> Keys:
        opened.append(SqliteKeys(path) if url is None else RedisKeys(url, deadline=5.0))
        return opened[-1]

    yield build
    for each in opened:
        each.close()


@pytest.fixture
def keys(open_keys: Open) -> Keys:
    return open_keys()


async def names(keys: Keys) -> list[str]:
    return [kept.text async for kept in keys.every()]


async def test_what_is_written_is_found_by_others(keys: Keys, open_keys: Open) -> None:
    assert await keys.find("1") == (0, None)
    assert await keys.named("ann") is None
    assert await keys.write("1", "ann", "é\n\x00", 0)
    assert await keys.write("2", "ann-2", "b", 0)
    other = open_keys()
    assert await other.find("1") == (2, Kept("1", 1, "é\n\x00"))
    assert await other.named("ann") == Kept("1", 1, "é\n\x00")
    assert await other.named("an") is None
    assert await other.named("ann-") is None
    assert await other.named("ann-2") == Kept("2", 2, "b")


async def test_a_record_is_changed_from_the_version_that_was_seen(keys: Keys) -> None:
    assert await keys.write("1", "ann", "a", 0)
    assert not await keys.write("1", "ann", "x", 0), "its id is taken"
    assert not await keys.write("2", "ann", "x", 0), "its name is taken"
    assert not await keys.write("1", "bob", "x", 0)
    assert not await keys.write("2", "bob", "x", 7), "there is none"
    assert not await keys.write("1", "ann", "x", 2)
    assert not await keys.write("1", "bob", "x", 1), "a name stays"
    assert await keys.write("1", "ann", "b", 1)
    assert not await keys.write("1", "ann", "c", 1)
    assert await keys.find("1") == (2, Kept("1", 2, "b"))
    assert await names(keys) == ["b"]


async def test_of_all_who_change_it_at_once_one_does(keys: Keys, open_keys: Open) -> None:
    several = [keys, *(open_keys() for _ in range(3))]
    for before in range(5):
        done = await asyncio.gather(*(each.write("1", "ann", f"{at}", before) for at, each in enumerate(several)))
        assert sum(done) == 1
        assert await keys.find("1") == (before + 1, Kept("1", before + 1, str(done.index(True))))


async def test_what_has_changed(keys: Keys, open_keys: Open) -> None:
    assert await keys.changed(0) == Changes(0, ())
    for number in range(3):
        await keys.write(str(number), f"n{number}", "a", 0)
    found = await open_keys().changed(0)
    assert (found.version, sorted(found.ids or ())) == (3, ["0", "1", "2"])
    await keys.write("0", "n0", "b", 1)
    assert await keys.changed(3) == Changes(4, ("0",))
    assert await keys.changed(4) == Changes(4, ())
    assert await keys.changed(9) == Changes(4, ()), "who has seen more than there is can tell"


async def test_many(keys: Keys) -> None:
    count = CHANGES + 1
    await asyncio.gather(*(keys.write(f"{number}", f"n{number:05}", f"{number}", 0) for number in range(count)))
    assert await keys.changed(0) == Changes(count, None)
    assert len((await keys.changed(1)).ids or ()) == CHANGES
    assert count > 2 * PAGE
    assert await names(keys) == [str(number) for number in range(count)]


steps = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), max_size=30)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_both_stores_do_what_a_table_does(
    tmp_path: Path, redis_server: Server, steps: list[tuple[int, int, int]]
) -> None:
    tell(redis_server, "FLUSHALL")
    (tmp_path / "keys.db").unlink(missing_ok=True)
    stores: list[Keys] = [SqliteKeys(tmp_path / "keys.db"), RedisKeys(redis_server.url, deadline=5.0)]
    model: dict[str, tuple[str, int]] = {}

    async def run() -> None:
        version = 0
        for number, name, behind in steps:
            identity, known = str(number), model.get(str(number))
            before = max(0, (known[1] if known else 0) - behind)
            taken = {each: whose for whose, (each, _) in model.items()}.get(f"n{name}", identity)
            fits = known == (f"n{name}", before) if known else before == 0 and taken == identity
            assert [await each.write(identity, f"n{name}", "t", before) for each in stores] == [fits] * 2
            if fits:
                version += 1
                model[identity] = f"n{name}", version
        for store in stores:
            changes = await store.changed(version // 2)
            assert changes.version == version
            assert set(changes.ids or ()) == {whose for whose, (_, at) in model.items() if at > version // 2}
            assert [each.id async for each in store.every()] == sorted(model, key=lambda whose: model[whose][0])

    try:
        asyncio.run(run())
    finally:
        for each in stores:
            each.close()


async def test_a_closed_store_says_so(keys: Keys) -> None:
    await keys.changed(0)
    keys.close()
    keys.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await keys.write("1", "ann", "a", 0)


async def test_a_redis_that_is_away(server: Server) -> None:
    keys = RedisKeys(server.url)
    assert await keys.write("1", "ann", "a", 0)
    server.kill()
    for ask in (keys.find("1"), keys.changed(0), keys.write("1", "ann", "b", 1)):
        with pytest.raises(StoreUnavailable, match=f"keys at redis://127.0.0.1:{server.port}: "):
            await ask
    server.start()
    await asyncio.sleep(0.1)
    assert await keys.find("1") == (1, Kept("1", 1, "a"))
    keys.close()


async def test_an_operator_waits_longer_than_a_request_for_a_silent_redis(server: Server) -> None:
    hasty, patient = stores.open_keys(server.url), stores.open_keys(server.url, patient=True)
    assert await patient.write("1", "ann", "a", 0)
    assert await hasty.find("1") == (1, Kept("1", 1, "a"))
    tell(server, "CLIENT", "PAUSE", "400", "ALL")
    with pytest.raises(StoreUnavailable, match="no answer within 50 ms"):
        await hasty.find("1")
    assert await patient.find("1") == (1, Kept("1", 1, "a"))
    hasty.close()
    patient.close()


async def test_a_redis_that_may_forget_is_not_trusted(server: Server) -> None:
    tell(server, "CONFIG", "SET", "appendonly", "no")
    keys, careless = RedisKeys(server.url), RedisKeys(server.url, accepted_loss=True)
    with pytest.raises(StoreUnavailable, match="appendonly is no"):
        await keys.write("1", "ann", "a", 0)
    assert await careless.write("1", "ann", "a", 0)
    keys.close()
    careless.close()


async def test_an_older_file_gets_the_table(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(FIRST)
    keys = SqliteKeys(path)
    assert await keys.write("1", "ann", "a", 0)
    keys.close()
    with contextlib.closing(sqlite3.connect(path)) as new:
        assert new.execute("PRAGMA user_version").fetchone() == (VERSION,)


async def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    keys = SqliteKeys(tmp_path)
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await keys.find("1")
    keys.close()
