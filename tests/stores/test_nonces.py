"""Each nonce is told apart once, on every store, by whoever asks; and a signed request is let through once."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scribe_router.policies.signing import Signable, signed
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.nonces import SWEPT, MemoryNonces, Nonces, SqliteNonces, open_nonces
from scribe_router.stores.redis_nonces import RedisNonces

PLACES = ["sqlite", "redis", "cluster"]
PATIENT = 5.0  # seconds a busy machine may keep Redis from answering


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_795_170_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger's URL."""
    kind = request.param
    return f"sqlite:{tmp_path}/state/ledger.db" if kind == "sqlite" else str(request.getfixturevalue(f"{kind}_url"))


@pytest.fixture
def two(place: str) -> Iterator[tuple[Nonces, Nonces]]:
    """Two replicas over one place."""
    opened = [
        RedisNonces(place, time.time, silent=PATIENT) if "redis" in place else open_nonces(place, time.time)
        for _ in range(2)
    ]
    yield opened[0], opened[1]
    for each in opened:
        each.close()
        each.close()


@pytest.mark.parametrize("place", PLACES, indirect=True)
async def test_once_on_all_replicas(two: tuple[Nonces, Nonces]) -> None:
    one, other = two
    until = time.time() + 60
    assert await one.remember("key:a", until)
    assert [await each.remember("key:a", until) for each in (one, other)] == [False, False]
    assert await other.remember("key:b", until)
    assert await other.remember("other:a", until)
    for number in range(10):
        answers = await asyncio.gather(*(each.remember(f"k:{number}", until) for each in two * 10))
        assert sum(answers) == 1


@pytest.mark.parametrize("place", PLACES, indirect=True)
async def test_what_has_ended_is_new_again(two: tuple[Nonces, Nonces]) -> None:
    one, other = two
    assert await one.remember("key:a", time.time() + 0.2)
    await asyncio.sleep(0.4)
    assert await other.remember("key:a", time.time() + 60)
    assert not await one.remember("key:a", time.time() + 60)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_has_no_room_is_refused_and_nothing_is_forgotten(kind: str, tmp_path: Path, clock: Clock) -> None:
    nonces = MemoryNonces(clock, 3) if kind == "memory" else SqliteNonces(tmp_path / "n.db", clock, 3)
    for name in "abc":
        assert await nonces.remember(name, clock.now + 10)
    with pytest.raises(StoreUnavailable, match="more signed requests than can be told apart"):
        await nonces.remember("d", clock.now + 10)
    assert [await nonces.remember(name, clock.now + 10) for name in "abc"] == [False] * 3
    clock.now += 10
    assert [await nonces.remember(name, clock.now + 10) for name in "abcd"[:3]] == [True] * 3
    nonces.close()


async def test_a_file_holds_what_is_in_the_window_and_no_more(tmp_path: Path, clock: Clock) -> None:
    nonces = SqliteNonces(tmp_path / "n.db", clock)
    for number in range(3 * SWEPT):
        clock.now += 1.0
        assert await nonces.remember(f"k:{number}", clock.now + 50)
    assert nonces._connection is not None
    assert nonces._connection.execute("SELECT count(*) FROM nonces").fetchone()[0] <= 51
    nonces.close()
    assert (tmp_path / "n.db").stat().st_mode & 0o777 == 0o600
    again = SqliteNonces(tmp_path / "n.db", clock)
    assert not await again.remember(f"k:{3 * SWEPT - 1}", clock.now + 50), "they outlive the process"
    again.close()


async def test_a_store_that_is_away_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for nonces in (
        SqliteNonces(tmp_path / "file" / "n.db", time.time),
        RedisNonces("redis://:hunter2@127.0.0.1:1/0", time.time),
    ):
        with pytest.raises(StoreUnavailable) as raised:
            await nonces.remember("key:a", time.time() + 60)
        assert "hunter2" not in str(raised.value)
        nonces.close()


REPLICA = """
import asyncio, json, sys, time
from scribe_router.errors import RequestError
from scribe_router.policies.signing import BadSignature, Signable, claim
from scribe_router.replay import demand
from scribe_router.stores.nonces import open_nonces
from scribe_router.stores.redis_nonces import RedisNonces

place = sys.argv[1]
nonces = RedisNonces(place, time.time, silent=5.0) if "redis" in place else open_nonces(place, time.time)

async def answer(line):
    asked = json.loads(line)
    request = Signable("POST", b"/v1/chat/completions", b"", asked["body"].encode())
    try:
        await demand(claim(asked["headers"]), request, (b"secret",), nonces, time.time())
    except RequestError as error:
        return f"{error.status} {error.code}: {error.message}"
    return "through"

for line in sys.stdin:
    print(asyncio.run(answer(line)), flush=True)
nonces.close()
"""


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_a_replay_is_refused_by_another_process(place: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    replicas = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", REPLICA, place],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip

    def ask(replica: "subprocess.Popen[str]", headers: dict[str, str], body: str) -> str:
        assert replica.stdin is not None
        assert replica.stdout is not None
        print(json.dumps({"headers": headers, "body": body}), file=replica.stdin, flush=True)
        return replica.stdout.readline().strip()

    try:
        for number in range(5):
            body = f'{{"number": {number}}}'
            request = Signable("POST", b"/v1/chat/completions", b"", body.encode())
            headers = signed(b"secret", "k7Qm2", int(time.time()), f"0123456789abcde{number}", request)
            first, second = replicas[number % 2], replicas[1 - number % 2]
            assert ask(second, headers, body + " ").startswith("401 invalid_signature: the signature does not fit")
            assert ask(first, headers, body) == "through", "a forgery used nothing up"
            for replica in (second, first):
                assert ask(replica, headers, body).startswith("401 invalid_signature: a request with this nonce was")
    finally:
        for replica in replicas:
            replica.communicate(timeout=20)
