"""What the access check costs beside a bare forward, and how soon a revoked key is refused: `python bench/access.py`.

One process, 32 in flight, SQLite, as bench/ledger.py, whose `bare` is the forward. In turns:

- bare:  the router's whole path to the sandbox, without limits, and a ledger that grants everything, writes nothing
- ten:   the guard in front of an application that does nothing, ten keys in turn
- many:  the same with a hundred thousand keys, every one of which is used
- open:  the same without `access.yaml`, for what the guard itself costs

Then three proxies on one store, SQLite and a Redis: a key is used at all of them without a pause and revoked at the
first; each one's last answer with it is timed against the moment at which the revocation was answered.

Exits with 1 when the check costs more than 0.1 of the bare forward of the same run, when a hundred thousand keys cost
20 % more than ten, or when a revocation takes a second. `--quick` has fewer rounds.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from _forward import BODY, Free, Work, configure, measured, model, sandbox

from scribe_router import Router
from scribe_router.exchange import Call, CallOptions
from scribe_router.keyring import Keyring
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.keys import RANDOM, Spec, made
from scribe_router.server.guard import Guard
from scribe_router.stores.sqlite_keys import SqliteKeys
from tests.stores.redis_servers import one_server
from tests.support.proxy import serving

MOST, UNEQUAL, SECOND = 0.1, 1.2, 1.0
MANY, REPEATED = 100_000, 10
POLICY = AccessPolicy.model_validate({"master_key": "bench-0123456789-abcdef"})


async def filled(path: Path, count: int) -> tuple[SqliteKeys, list[str]]:
    """A store of so many keys, and their texts."""
    store, now = SqliteKeys(path), time.time()
    await store.changed(0)  # the file, and its table
    specs = (Spec(name=f"key-{number}", models=("*",)) for number in range(count))
    each = [made(spec, os.urandom(RANDOM), POLICY.hash_key(), now) for spec in specs]
    rows = ((key.id, key.name, number + 1, key.model_dump_json()) for number, (_, key) in enumerate(each))
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany("INSERT INTO keys (id, name, version, text) VALUES (?, ?, ?, ?)", rows)
    texts = [text for text, _ in each]
    random.Random(1).shuffle(texts)
    return store, texts


def read_again(texts: list[str]) -> list[str]:
    """The same keys in another order than they are remembered in; each a text just made, since that is what a request
    is read into, and fetching old ones from memory would be the benchmark's own cost."""
    return [text.encode().decode() for text in random.Random(2).sample(texts, len(texts))]


async def nothing(*_: object) -> None:
    return None


def checks(guard: Guard, texts: list[str]) -> Work:
    """A request by each key in turn, as a client sends it."""
    turn = itertools.cycle(texts)

    async def check() -> None:
        await guard(_scope(next(turn)), nothing, nothing)  # type: ignore[arg-type]

    return check


def _scope(text: str) -> dict[str, Any]:
    """As the server makes it of each request, just read: a hundred thousand that lie ready would be slow to fetch."""
    headers = {"host": "localhost", "content-type": "application/json", "authorization": f"Bearer {text}"}
    of_client = {"accept": "application/json", "user-agent": "OpenAI/Python 2.0", "content-length": "120"}
    pairs = [(name.encode(), value.encode()) for name, value in {**headers, **of_client}.items()]
    place = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 4000)}
    return {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": pairs, **place}


@asynccontextmanager
async def works(folder: Path, base: str) -> AsyncIterator[dict[str, Work]]:
    """What is measured, by name."""
    found = Router.from_yaml(configure(folder / "bare", {"model_list": [model("m", base)]}, {}))
    free = Router(found.registry, ledger=Free(folder / "free.sqlite3"))
    call = Call("chat", BODY, CallOptions(team="t"))
    rings, guards = [], {}
    for name, count in (("ten", 10), ("many", MANY)):
        store, texts = await filled(folder / f"{name}.sqlite3", count)
        rings.append(Keyring(POLICY, store, time.time))
        guard = Guard(nothing, POLICY, rings[-1])  # type: ignore[arg-type]
        for text in texts:  # from now on all are known
            await guard(_scope(text), nothing, nothing)  # type: ignore[arg-type]
        guards[name] = checks(guard, read_again(texts))
    try:
        yield {
            "bare": lambda: free.serve(call),
            **{name: many_times(work) for name, work in guards.items()},
            "open": many_times(checks(Guard(nothing, None), [""])),  # type: ignore[arg-type]
        }
    finally:
        for each in (found, free, *rings):
            await each.aclose()


def many_times(work: Work) -> Work:
    """Ten in a row: one alone is so short that what starts it would count."""

    async def repeated() -> None:
        for _ in range(REPEATED):
            await work()

    return repeated


async def costs(rounds: int, calls: int) -> dict[str, list[float]]:
    """What each cost in each round, in microseconds of one request."""
    with sandbox() as base, tempfile.TemporaryDirectory() as folder:
        async with works(Path(folder), base) as each:
            found = await measured(each, rounds, calls)
    return {name: [cost / (1 if name == "bare" else REPEATED) for cost in costs] for name, costs in found.items()}


def ratio(cost: dict[str, list[float]], one: str, other: str) -> float:
    """How many times as much one cost as another of the same round, in the median: what else the machine does in a
    round is in both."""
    return median(map(truediv, cost[one], cost[other]))


@contextmanager
def proxies(folder: Path, store: str) -> Iterator[list[str]]:
    """The addresses of three processes on one store."""
    master = {"SCRIBE_MASTER_KEY": POLICY.master_key.get_secret_value()}
    (folder / "policies" / "store.yaml").write_text(json.dumps({"ledger": store}))
    (folder / "policies" / "access.yaml").write_text('{"master_key": "os.environ/SCRIBE_MASTER_KEY"}')
    with ExitStack() as stack:
        yield [stack.enter_context(serving(folder, environment=master)).url for _ in range(3)]


def revoked(urls: list[str], name: str) -> float:
    """Seconds from the answer to a revocation at the first proxy to the last answer to the key at any."""
    master = {"authorization": f"Bearer {POLICY.master_key.get_secret_value()}"}
    made_of = {"name": name, "models": ["*"]}
    made_here = httpx.post(f"{urls[0]}/admin/keys", json=made_of, headers=master, timeout=30).raise_for_status()
    last, going = dict.fromkeys(urls, 0.0), threading.Barrier(len(urls) + 1)

    def use(url: str) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {made_here.json()['key']}"}, timeout=30) as client:
            client.get(f"{url}/v1/models").raise_for_status()
            going.wait()
            while (answer := client.get(f"{url}/v1/models")).status_code == 200:
                last[url] = time.monotonic()
            assert answer.status_code == 401, answer.text

    threads = [threading.Thread(target=use, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    going.wait()
    time.sleep(0.5)
    httpx.post(f"{urls[0]}/admin/keys/{name}/revoke", json={}, headers=master, timeout=30).raise_for_status()
    answered = time.monotonic()
    for thread in threads:
        thread.join()
    return max(0.0, max(last.values()) - answered)


def revocations(times: int) -> Iterator[tuple[str, float]]:
    """The slowest of so many revocations, for each store."""
    with sandbox() as base, tempfile.TemporaryDirectory() as folder, one_server() as server:
        configure(Path(folder), {"model_list": [model("m", base)]}, {})
        for store in ("sqlite:keys.sqlite3", server.url):
            with proxies(Path(folder), store) as urls:
                yield store.partition(":")[0], max(revoked(urls, f"key-{number}") for number in range(times))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds, calls, times = (5, 500, 2) if parser.parse_args().quick else (15, 1000, 5)
    cost = asyncio.run(costs(rounds, calls))
    print(f"processor time of one request, 32 in flight, median of {rounds} rounds\n")
    for name, microseconds in cost.items():
        print(f"{name:<6}{median(microseconds):8.1f} us{ratio(cost, name, 'bare'):8.3f} x the bare forward")
    unequal = ratio(cost, "many", "ten")
    print(f"\n{MANY:,} keys: {unequal:.3f} x ten")
    print(f"\nslowest of {times} revocations on three processes\n")
    slowest = dict(revocations(times))
    for store, seconds in slowest.items():
        print(f"{store:<8}{seconds:6.2f} s")
    dear = max(ratio(cost, name, "bare") for name in ("ten", "many")) > MOST
    return int(dear or not 1 / UNEQUAL <= unequal <= UNEQUAL or max(slowest.values()) >= SECOND)


if __name__ == "__main__":
    sys.exit(main())
