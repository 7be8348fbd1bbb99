"""One of two deployments is dead: what fails, what the others pay: `python bench/dead_deployment.py [--quick]`.

Three routers in front of one sandbox: with a live deployment alone, with one more whose port is closed, with one more
that takes connections and resets them. 10,000 calls to each, eight at once; each caller asks all three in turn, so that
whatever else the machine does falls on all alike. A circuit rests for two seconds, so it is probed while this runs.

Exits with 1 when 1 % of the calls of either fail, or when the median of the calls that succeeded after its circuit had
opened is more than 5 % above that of the router without the dead one.
"""

import argparse
import asyncio
import itertools
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from _forward import BODY, configure, model, sandbox

from scribe_router import Router
from scribe_router.errors import RequestError
from scribe_router.exchange import Call
from scribe_router.stream import Answer

AT_ONCE, CALLS = 8, 10_000
MOST_FAILED, MOST_SLOWER = 0.01, 1.05
ALONE, REFUSED, RESET = "without a dead one", "its port is closed", "it resets connections"
BREAKER = {"failures": 5, "open_seconds": 2, "longest_seconds": 2}


@dataclass
class Case:
    """A router and what became of its calls: `took` are the seconds of those that succeeded once it knew."""

    router: Router
    failed: int = 0
    to_the_dead: int = 0
    took: list[float] = field(default_factory=list)

    @property
    def knows(self) -> bool:
        """Whether the circuit of whatever is dead has opened."""
        return all(each["circuit"] != "closed" for each in self.router.health() if each["deployment"] == "dead")

    async def call(self) -> None:
        knew, began = self.knows, time.perf_counter()
        try:
            answer = await self.router.serve(Call("chat", BODY))
        except RequestError:
            self.failed += 1
            return
        took = time.perf_counter() - began
        if knew:
            self.took.append(took)
        assert isinstance(answer, Answer)
        self.to_the_dead += answer.exchange.attempts[0].deployment == "dead"


@contextmanager
def closed_port() -> Iterator[str]:
    """An address that nobody listens at, and that nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


async def cases(opened: AsyncExitStack, folder: Path, base: str, closed: str) -> dict[str, Case]:
    alive, refusing, resetting = (model("m", url) for url in (base, closed, base))
    resetting["litellm_params"] = {**resetting["litellm_params"], "model": "openai/reset"}
    found = {}
    for number, (name, dead) in enumerate({ALONE: None, REFUSED: refusing, RESET: resetting}.items()):
        rows = [{**alive, "model_info": {**alive["model_info"], "id": "alive"}}]
        if dead is not None:
            rows.append({**dead, "model_info": {**dead["model_info"], "id": "dead"}})
        config = configure(folder / str(number), {"model_list": rows}, {"breaker": BREAKER})
        found[name] = Case(Router.from_yaml(config))
        opened.push_async_callback(found[name].router.aclose)
    return found


async def measured(calls: int) -> dict[str, Case]:
    """So many calls to each."""
    async with AsyncExitStack() as opened:
        base, closed = opened.enter_context(sandbox()), opened.enter_context(closed_port())
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        found = await cases(opened, folder, base, closed)
        orders = itertools.cycle(itertools.permutations(found.values()))
        turns = itertools.islice(orders, calls)

        async def caller() -> None:
            for order in turns:
                for each in order:
                    await each.call()

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    calls = CALLS // 5 if parser.parse_args().quick else CALLS
    found = asyncio.run(measured(calls))
    alone = median(found.pop(ALONE).took)
    print(
        f"{calls} calls to each, {AT_ONCE} at once; the median of one is {alone * 1e3:.2f} ms where nothing is dead\n"
    )
    print(f"{'one of two is dead':<24}{'failed':>8}{'sent to it':>12}{'median beside that':>20}")
    missed = 0
    for name, each in found.items():
        slower = median(each.took) / alone
        missed += each.failed >= MOST_FAILED * calls or slower > MOST_SLOWER
        print(f"{name:<24}{each.failed:>8}{each.to_the_dead:>12}{slower:>20.3f}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
