"""A network at its worst: scripts that arrive twice, or again much later, or whose answers are lost on the way."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from scribe_router.exchange import Mark
from scribe_router.stores import redis as store
from scribe_router.stores import redis_cluster_scripts as cluster
from scribe_router.stores import redis_rounds
from scribe_router.stores import redis_scripts as one
from scribe_router.stores.contract import Granted, StoreUnavailable
from scribe_router.stores.redis import RedisLedger
from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_cluster import Cluster
from scribe_router.stores.redis_link import Lost, NotSent, OneServer, Waiting
from tests.stores.ledger_rows import charge, row, settlement
from tests.stores.redis_servers import Server, tell

REPEATED = {script.sha for script in (cluster.GRANT, cluster.APPLY, cluster.SETTLE, cluster.RELEASE, cluster.DONE)}
REPEATED |= {script.sha for script in (one.SETTLE, one.RELEASE)}
SENT: list[Call] = []


class Twice(OneServer):
    def run(self, calls: Sequence[Call]) -> list[Any]:
        SENT.extend(calls)
        first = super().run(calls)
        super().run(calls)
        return first


class ClusterTwice(Cluster):
    def run(self, calls: Sequence[Call]) -> list[Any]:
        SENT.extend(calls)
        first = super().run(calls)
        super().run(calls)
        return first


class Losing:
    """Some calls are never sent, and of some that ran the answer is lost."""

    chance: random.Random | None = None

    def lose(self, calls: Sequence[Call], run: Callable[[Sequence[Call]], list[Any]]) -> list[Any]:
        if self.chance is None:
            return run(calls)
        fates = ["answered"] * len(calls)
        if calls and self.chance.random() < 0.5:
            fates[self.chance.randrange(len(calls))] = self.chance.choice(["lost", "not sent"])
        answers = iter(run([call for call, fate in zip(calls, fates, strict=True) if fate != "not sent"]))
        heard = [NotSent("not sent") if fate == "not sent" else next(answers) for fate in fates]
        return [Lost("lost") if fate == "lost" else answer for answer, fate in zip(heard, fates, strict=True)]


class LosingOne(Losing, OneServer):
    def run(self, calls: Sequence[Call]) -> list[Any]:
        return self.lose(calls, super().run)


class LosingCluster(Losing, Cluster):
    def run(self, calls: Sequence[Call]) -> list[Any]:
        return self.lose(calls, super().run)


@pytest.fixture(params=["redis", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


async def work(ledger: RedisLedger, choose: random.Random) -> set[str]:
    """Some of everything, on limits that are short; the attempts that were granted."""
    granted: set[str] = set()
    charges = [charge("a", 60), charge("b", 40), charge("c", 25)]
    for number in range(12):
        name, bound = f"a{number}", choose.randint(1, 20)
        some = choose.sample(charges, choose.randint(1, 3))
        try:
            answer = await ledger.reserve(row(name, bound, *some), choose.randint(1, bound))
        except StoreUnavailable:
            continue
        granted |= {name} if isinstance(answer, Granted) else set()
        if isinstance(answer, Granted) and choose.random() < 0.7:
            mark = choose.choice([Mark.SWEPT, Mark.COMPUTED, Mark.BOUND])
            ledger.settle(
                settlement(name, answer.amount if mark is Mark.SWEPT else choose.randint(0, answer.amount), mark)
            )
            if mark is Mark.SWEPT and choose.random() < 0.5:
                ledger.settle(settlement(name, choose.randint(0, answer.amount)))
            if choose.random() < 0.3:
                await ledger.release([name], 1.0)
    await ledger.flush()
    return granted


@pytest.mark.parametrize("seed", range(5))
async def test_repeats_change_nothing(
    url: str,
    redis_server: Server,
    redis_masters: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(store, "OneServer", Twice)
    monkeypatch.setattr(store, "Cluster", ClusterTwice)
    for server in (redis_server, *redis_masters):
        tell(server, "FLUSHALL")
    SENT.clear()
    choose, ledger = random.Random(seed), RedisLedger(url, deadline=5.0)
    try:
        await work(ledger, choose)
        before = await ledger.counters()
        assert await ledger.check() == []
        late = [call for call in SENT if call.command[1] in REPEATED]
        choose.shuffle(late)
        link = ledger._link(waiting=Waiting(5.0), writes=True)
        link.run(late)
        link.close()
        await ledger.flush()
        assert await ledger.counters() == before
        assert await ledger.check() == []
    finally:
        ledger.close()


@pytest.mark.parametrize("seed", range(5))
async def test_lost_answers_leave_nothing_half_done(
    url: str,
    redis_server: Server,
    redis_masters: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Whatever got lost, in the end each row is whole, and what nobody was granted is not reserved."""
    monkeypatch.setattr(store, "OneServer", LosingOne)
    monkeypatch.setattr(store, "Cluster", LosingCluster)
    monkeypatch.setattr(redis_rounds, "RETRY", 0.001)
    for server in (redis_server, *redis_masters):
        tell(server, "FLUSHALL")
    choose, ledger = random.Random(seed), RedisLedger(url, deadline=5.0)
    try:
        await ledger.flush()
        monkeypatch.setattr(Losing, "chance", choose)
        granted = await work(ledger, choose)
        monkeypatch.setattr(Losing, "chance", None)
        await ledger.flush()
        assert await ledger.check() == []
        open_rows = {each["attempt"] for each in await ledger.rows() if each["state"] == "reserved"}
        assert open_rows <= granted
    finally:
        ledger.close()
